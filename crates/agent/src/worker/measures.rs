//! What the host measures of itself.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use dwcp_machine::{dial, disk, memory};
use dwcp_roles::protocol::{CheckRequest, HostMeasures};

use crate::clock::wall_ms;
use crate::host_config::HostConfig;

/// How long the place where the node is to listen is kept open for others to try it.
const LISTEN: Duration = Duration::from_secs(4);
/// Between two looks whether anybody has come.
const LOOK: Duration = Duration::from_millis(10);

/// Measures; and listens for a moment where the node is to be, while its region is not there. Blocks for a few seconds at most.
pub(super) fn measure(config: &HostConfig, not_after_unix: u64, asked: &CheckRequest) -> HostMeasures {
    // Before anything else keeps the host busy: what is measured is the way there.
    let dialed = dial::all(&asked.dial);
    let durable = disk::durability(&config.data_dir);
    let control = config.control_plane.as_ref().map(|here| here.address).filter(|_| !asked.in_service);
    HostMeasures {
        asked_wall_ms: 0,
        fsyncs: durable.count,
        fsync_median_us: durable.median_us,
        fsync_worst_us: durable.worst_us,
        fsync_error: durable.error,
        disk_free_mib: disk::free(&config.data_dir).map(|(_, mib)| mib),
        memory_available_mib: memory::available_mib(),
        certificate_left_s: not_after_unix.saturating_sub(wall_ms() / 1_000),
        control_error: control.and_then(|address| listen(address).err()).unwrap_or_default(),
        dialed,
        answered_wall_ms: wall_ms(),
    }
}

/// Listens where the node is to, TCP and UDP, until somebody has come over both or the time is over.
///
/// # Errors
/// When that place is taken, or is not this host's.
fn listen(address: SocketAddr) -> Result<(), String> {
    let say = |what: &str, error: std::io::Error| format!("{what} {address}: {error}");
    let tcp = TcpListener::bind(address).map_err(|e| say("TCP", e))?;
    let udp = UdpSocket::bind(address).map_err(|e| say("UDP", e))?;
    tcp.set_nonblocking(true).map_err(|e| say("TCP", e))?;
    udp.set_nonblocking(true).map_err(|e| say("UDP", e))?;
    std::thread::spawn(move || answer(&tcp, &udp));
    Ok(())
}

/// Gives datagrams back as they came, never more than came; takes connections and lets the other side end them.
fn answer(tcp: &TcpListener, udp: &UdpSocket) {
    let until = Instant::now() + LISTEN;
    let (mut over_tcp, mut over_udp) = (false, false);
    let mut datagram = [0; 64];
    while Instant::now() < until && !(over_tcp && over_udp) {
        if let Ok((length, from)) = udp.recv_from(&mut datagram) {
            over_udp |= udp.send_to(&datagram[..length], from).is_ok();
        }
        if let Ok((mut stream, _)) = tcp.accept() {
            over_tcp = true;
            // Who closes first keeps the address busy for a while, and the node needs this one.
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            let _ = stream.read(&mut [0; 1]);
            let _ = stream.shutdown(Shutdown::Both);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_place_of_the_node_answers_over_both_and_is_free_again() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        assert!(listen(address).unwrap_err().contains("TCP"), "it is taken");
        drop(free);
        listen(address).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        udp.send_to(b"there?", address).unwrap();
        let mut back = [0; 16];
        assert_eq!(udp.recv(&mut back).unwrap(), 6);
        assert_eq!(&back[..6], b"there?");
        drop(TcpStream::connect(address).unwrap());
        let began = Instant::now();
        while TcpListener::bind(address).is_err() {
            assert!(began.elapsed() < LISTEN, "it is kept although both have come");
            std::thread::sleep(LOOK);
        }
    }
}
