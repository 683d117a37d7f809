//! Sockets that listen, and what becomes of who comes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::admission::{self, Entry, Slot};
use super::conversation::Conversation;
use super::line::Line;
use super::passing::{self, Caller};
use super::preface::{self, Preface};
use super::shared::Shared;
use super::tls;
use super::wire::Wire;

/// Connections that wait until they are accepted.
const BACKLOG: u32 = 4096;
/// A pause when the system has no more sockets, ms.
const PAUSE_MS: u64 = 50;
/// So many are accepted at a time, then those that are there have their turn: a storm of connections is no burden to them.
const AT_ONCE: u32 = 8;

/// What is spoken at a socket.
#[derive(Clone)]
pub(super) enum Door {
    Http,
    Https(Arc<ServerConfig>),
    /// A service's own port.
    Tcp(u16),
}

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Other routers of this host serve at the same addresses: the kernel spreads connections over them.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts, until the end.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener, door: Door) {
    let mut end = std::pin::pin!(shared.leaving());
    let mut accepted: u32 = 0;
    loop {
        tokio::select! {
            biased;
            () = end.as_mut() => return,
            came = listener.accept() => match came {
                Ok((tcp, peer)) => {
                    came_in(&shared, tcp, peer, &door);
                    accepted = accepted.wrapping_add(1);
                    if accepted.is_multiple_of(AT_ONCE) {
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) if is_of_one(&error) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
            },
        }
    }
}

/// It concerns the one connection only.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn came_in(shared: &Arc<Shared>, tcp: TcpStream, peer: SocketAddr, door: &Door) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let Some(slot) = Slot::take(shared) else { return };
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let (shared, door) = (Arc::clone(shared), door.clone());
    if shared.trusted.iter().any(|net| net.contains(peer.ip())) {
        tokio::spawn(from_balancer(shared, slot, tcp, peer, door));
    } else {
        let caller = Caller { address: peer, trusted: false };
        let_in(shared, slot, Wire::new(tcp, Bytes::new()), caller, door);
    }
}

/// A balancer may say first for whom it comes.
async fn from_balancer(shared: Arc<Shared>, slot: Slot, mut tcp: TcpStream, peer: SocketAddr, door: Door) {
    let mut read = Vec::new();
    let first = async {
        loop {
            match preface::read(&read) {
                Preface::More if read.len() < preface::LONGEST => {}
                other => return other,
            }
            match tcp.read_buf(&mut read).await {
                Ok(0) | Err(_) => return Preface::Broken,
                Ok(_) => {}
            }
        }
    };
    let within = Duration::from_millis(shared.limits.handshake_ms);
    let caller = match tokio::time::timeout(within, first).await {
        Ok(Preface::None) => Caller { address: peer, trusted: true },
        Ok(Preface::Of { length, client }) => {
            read.drain(..length);
            let address = client.map_or(peer, |client| SocketAddr::new(client, peer.port()));
            Caller { address, trusted: false }
        }
        _ => return,
    };
    let_in(shared, slot, Wire::new(tcp, Bytes::from(read)), caller, door);
}

fn let_in(shared: Arc<Shared>, slot: Slot, wire: Wire, caller: Caller, door: Door) {
    match admission::enter(slot, caller.address.ip()) {
        Entry::In(admitted) => {
            let line = Line::new(caller.address.ip(), admitted);
            let wire = wire.marked(line.mark.clone());
            tokio::spawn(serve(shared, line, wire, caller, door));
        }
        Entry::Closed => {}
        Entry::Tarpit(slot) => {
            shared.counts.tarpitted.fetch_add(1, Relaxed);
            let Ok(place) = Arc::clone(&shared.tarpit).try_acquire_owned() else { return };
            tokio::spawn(async move {
                let _held = (wire, slot, place);
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(shared.limits.tarpit_ms)) => {}
                    () = shared.closed() => {}
                }
            });
        }
    }
}

async fn serve(shared: Arc<Shared>, line: Line, wire: Wire, caller: Caller, door: Door) {
    match door {
        Door::Http => Conversation::new(&shared, line, false, caller.trusted).http1(wire).await,
        // In boxes of their own: most connections wait and should take no more than that needs.
        Door::Https(config) => Box::pin(tls::serve(shared, line, wire, caller, config)).await,
        Door::Tcp(port) => {
            let routes = shared.current.routes();
            let services = routes.table.services.iter();
            if let Some(service) = passing::at_port(services, port) {
                Box::pin(passing::carry(&shared, &line, wire, caller, (routes, service))).await;
            }
        }
    }
}
