//! Whether a region's API is reached from here, and how fast.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dwcp_roles::protocol::{Dialed, Endpoint};

/// How long a node may take to answer a dial.
const LIMIT: Duration = Duration::from_secs(2);

/// Dials all of them at once; in the order given.
pub fn all(nodes: &[Endpoint]) -> Vec<Dialed> {
    let dials: Vec<_> = nodes.iter().cloned().map(|node| std::thread::spawn(move || one(&node))).collect();
    dials.into_iter().filter_map(|dial| dial.join().ok()).collect()
}

/// The time of a TCP connection: one round trip.
fn one(node: &Endpoint) -> Dialed {
    let failed = |error: String| Dialed { region: node.region.clone(), rtt_us: None, error };
    let host = node.api.strip_prefix("https://").unwrap_or(&node.api).trim_end_matches('/');
    let Ok(address) = host.parse::<SocketAddr>() else {
        return failed(format!("{} is no address", node.api));
    };
    let began = Instant::now();
    match TcpStream::connect_timeout(&address, LIMIT) {
        Ok(_) => {
            let rtt_us = began.elapsed().as_micros() as u64;
            Dialed { region: node.region.clone(), rtt_us: Some(rtt_us), error: String::new() }
        }
        Err(error) => failed(format!("{address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_node_that_listens_is_reached_and_one_that_does_not_is_said() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let node = |api: String| Endpoint { region: "a".into(), node: 1, mesh: String::new(), api };
        let at = there.local_addr().unwrap();
        assert!(one(&node(format!("https://{at}"))).rtt_us.is_some());
        drop(there);
        let gone = one(&node(format!("https://{at}/")));
        assert!(gone.rtt_us.is_none() && gone.error.contains("refused"), "{}", gone.error);
        assert!(one(&node("https://elsewhere".into())).error.contains("no address"));
    }
}
