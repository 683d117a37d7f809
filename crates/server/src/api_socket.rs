//! The address of the API before anybody is let in.
//!
//! An agent that is refused there takes this process for dead and may rest its lease on that (see the decision on fail-static leases).
//! So it opens before the node joins its groups and closes only with the process. It opens no sooner either: a process that
//! reads its store, from another machine maybe, is not silent, which would say nothing.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, channel};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be taken.
const BACKLOG: u32 = 1_024;

/// The address, taken: nobody else can listen there, and whoever knocks is refused.
pub struct ApiSocket {
    address: String,
    socket: TcpSocket,
}

/// What keeps the address taken, and what listens there.
pub type Open = (std::net::TcpListener, TcpListener);

/// What is to be called just before the node joins its groups.
pub type Joins = Box<dyn FnOnce() -> Result<(), String> + Send>;

impl ApiSocket {
    /// Takes the address.
    ///
    /// # Errors
    /// It is none of this machine, or somebody else's.
    pub fn bind(address: &str) -> Result<ApiSocket, String> {
        let socket = bind(address).map_err(|e| format!("the API at {address}: {e}"))?;
        Ok(ApiSocket { address: address.to_owned(), socket })
    }

    /// What opens it, and where it then comes out.
    pub fn opens(self) -> (Joins, Receiver<Open>) {
        let (opened, open) = channel();
        let joins = move || {
            let door = listen(self.socket).map_err(|e| format!("the API at {}: {e}", self.address))?;
            // Whoever starts the node takes it.
            let _ = opened.send(door);
            Ok(())
        };
        (Box::new(joins), open)
    }
}

fn listen(socket: TcpSocket) -> io::Result<Open> {
    let door = socket.listen(BACKLOG)?.into_std()?;
    let listener = TcpListener::from_std(door.try_clone()?)?;
    Ok((door, listener))
}

fn bind(api: &str) -> io::Result<TcpSocket> {
    let mut last = io::Error::other("it names no address");
    for address in api.to_socket_addrs()? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // What is left of the connections of a process before this one is no other door.
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn whoever_knocks_is_refused_until_it_opens_and_nobody_else_gets_the_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let socket = ApiSocket::bind(&address).expect("taken");
        assert!(TcpStream::connect(&address).is_err(), "nobody listens");
        let (joins, open) = socket.opens();
        assert!(TcpStream::connect(&address).is_err() && open.try_recv().is_err());
        joins().expect("open");
        let _door = open.try_recv().expect("open");
        TcpStream::connect(&address).expect("somebody listens");
        assert!(ApiSocket::bind(&address).is_err(), "it is taken");
    }
}
