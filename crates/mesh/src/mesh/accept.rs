//! Incoming connections: regions send frames by class, agents talk both ways.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, RecvStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use super::link::{PING, PONG, PeerLink, message, parse};
use super::{Class, Inner, MeshEvent, session};
use crate::frame::{self, FrameError, Received};
use crate::intake::Intake;
use crate::pki::{PeerId, peer_of};

/// A handshake, the client's certificate included, must be done by then.
const HANDSHAKE: Duration = Duration::from_secs(3);

pub(super) async fn run(inner: Arc<Inner>, endpoint: Endpoint) {
    let mut shut = inner.stop.subscribe();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                tasks.spawn(admit(inner.clone(), incoming));
            }
            Some(_) = tasks.join_next() => {}
            _ = shut.wait_for(|stop| *stop) => return,
        }
    }
}

async fn admit(inner: Arc<Inner>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(e) => return inner.refuse(remote, e.to_string()),
    };
    let connection = match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(e)) => return inner.refuse(remote, e.to_string()),
        Err(_) => return inner.refuse(remote, "handshake not done in 3 s".into()),
    };
    match identity(&connection) {
        Ok(peer @ PeerId::Region { number, .. }) => match inner.link(number) {
            Some(link) if link.peer.identity() == peer => receive(&inner, &link, connection).await,
            _ => turn_away(&inner, &connection, format!("{peer}, is not a peer")),
        },
        Ok(PeerId::Host { region, host }) => session::run(&inner, connection, region, host).await,
        Err(e) => turn_away(&inner, &connection, e),
    }
}

pub(super) fn turn_away(inner: &Inner, connection: &Connection, reason: String) {
    connection.close(VarInt::from_u32(3), reason.as_bytes());
    inner.refuse(connection.remote_address(), reason);
}

pub(crate) fn identity(connection: &Connection) -> Result<PeerId, String> {
    let chain =
        connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_deref().and_then(|chain| chain.first()).ok_or("no certificate")?;
    // The verifier has checked chain and federation; here only the name is read.
    peer_of(leaf).map(|(_, peer)| peer)
}

async fn receive(inner: &Arc<Inner>, link: &Arc<PeerLink>, connection: Connection) {
    let old = link.incoming.lock().unwrap_or_else(|e| e.into_inner()).replace(connection.clone());
    if let Some(old) = old {
        // The peer dials again only when its old connection is dead to it; late frames must not mix in.
        old.close(VarInt::from_u32(0), b"replaced");
    }
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => {
                let Ok(stream) = stream else { break };
                streams.spawn(read(inner.clone(), link.clone(), connection.clone(), stream));
            }
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { break };
                answer(&connection, &datagram);
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Answers a ping.
pub(super) fn answer(connection: &Connection, datagram: &[u8]) {
    if let Some((PING, number)) = parse(datagram) {
        let _ = connection.send_datagram(message(PONG, number));
    }
}

async fn read(inner: Arc<Inner>, link: Arc<PeerLink>, connection: Connection, mut stream: RecvStream) {
    let mut class = [0u8; 1];
    let class = match stream.read_exact(&mut class).await {
        Ok(()) => Class::from_byte(class[0]),
        Err(_) => return,
    };
    let Some(class) = class else {
        return turn_away(&inner, &connection, "unknown class of frames".into());
    };
    let intake = Intake { own: Some(link.intake[class.index()].clone()), shared: None };
    loop {
        match frame::read(&mut stream, inner.limits.frame_bytes, &intake).await {
            Ok(Received { bytes, taken, room }) => {
                link.received_bytes.fetch_add(taken, Ordering::Relaxed);
                if !inner.tell(MeshEvent::Frame { from: link.peer.node, class, bytes, room }).await {
                    return;
                }
            }
            Err(FrameError::Read(_)) => return,
            Err(e) => return turn_away(&inner, &connection, e.to_string()),
        }
    }
}
