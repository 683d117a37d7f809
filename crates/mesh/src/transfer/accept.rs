//! The end that is dialed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::join::{self, Sending};
use super::{Admission, Answer, Inner, NOBODY, OPENING_BYTES, Opening, Pace};
use crate::frame;
use crate::intake::Intake;
use crate::mesh::accept::identity;
use crate::pki::PeerId;

/// Streams that one connection may have open at once.
pub(super) const STREAMS: u32 = 64;
/// Connections of one host at once: one in use, and those of workers that died just before.
const CONNECTIONS_OF_A_HOST: usize = 4;
/// Hosts connected at once.
const HOSTS: usize = 256;
/// The handshake must be done by then.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// An opening must be there by then, and the local socket must have taken the connection.
const OPENING: Duration = Duration::from_secs(3);
/// What the streams of a lost connection may take to end.
const ENDING: Duration = Duration::from_millis(300);

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
    let connected = async { incoming.accept().ok()?.await.ok() };
    let Ok(Some(connection)) = tokio::time::timeout(HANDSHAKE, connected).await else {
        inner.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let host = match identity(&connection) {
        Ok(host @ PeerId::Host { .. }) => host,
        Ok(other) => return turn_away(&inner, &connection, &format!("{other} is no host")),
        Err(reason) => return turn_away(&inner, &connection, &reason),
    };
    let Some(_place) = Place::take(&inner, &host) else {
        return turn_away(&inner, &connection, "too many connections of hosts");
    };
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((send, receive)) = stream else { break };
                // One after the other: their order is what they are told apart by.
                if let Some(begun) = begin(&inner, &host, send, receive).await {
                    streams.spawn(begun.run());
                }
            }
            Some(_) = streams.join_next() => {}
        }
    }
    // Each notices by itself and says so to whom it concerns; one that hangs on its local socket is dropped.
    let ending = async { while streams.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(ENDING, ending).await;
}

fn turn_away(inner: &Inner, connection: &Connection, reason: &str) {
    inner.refused.fetch_add(1, Ordering::Relaxed);
    connection.close(VarInt::from_u32(3), reason.as_bytes());
}

/// A connection's place among those allowed.
struct Place {
    inner: Arc<Inner>,
    host: PeerId,
}

impl Place {
    fn take(inner: &Arc<Inner>, host: &PeerId) -> Option<Place> {
        let mut accepted = inner.accepted.write().unwrap_or_else(|e| e.into_inner());
        let hosts = accepted.len();
        let known = accepted.contains_key(host);
        if !known && hosts >= HOSTS {
            return None;
        }
        let count = accepted.entry(host.clone()).or_default();
        if *count >= CONNECTIONS_OF_A_HOST {
            return None;
        }
        *count += 1;
        Some(Place { inner: inner.clone(), host: host.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut accepted = self.inner.accepted.write().unwrap_or_else(|e| e.into_inner());
        if let Some(count) = accepted.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                accepted.remove(&self.host);
            }
        }
    }
}

/// A stream that was accepted and goes on.
struct Begun {
    sending: Sending,
    receive: RecvStream,
    what: Going,
}

enum Going {
    Joined(UnixStream),
    Standing { end: tokio::sync::oneshot::Receiver<String>, gone: tokio::sync::oneshot::Sender<String> },
}

/// Reads the opening, asks who decides, connects, and answers.
async fn begin(inner: &Inner, host: &PeerId, send: SendStream, mut receive: RecvStream) -> Option<Begun> {
    let mut sending = Sending::new(send);
    let decided = tokio::time::timeout(OPENING, decide(inner, host, &mut receive)).await;
    let decided = decided.unwrap_or_else(|_| Err("the opening was not there in time".to_string()));
    let answer = Answer::bytes(decided.as_ref().map(drop).map_err(String::as_str));
    let told = frame::write(sending.stream(), answer).await.is_ok();
    match decided {
        Ok(Some(what)) if told => Some(Begun { sending, receive, what }),
        Ok(Some(_)) => None,
        Ok(None) => {
            sending.finish();
            None
        }
        Err(_) => {
            inner.refused.fetch_add(1, Ordering::Relaxed);
            sending.finish();
            let _ = receive.stop(VarInt::from_u32(2));
            None
        }
    }
}

async fn decide(inner: &Inner, host: &PeerId, receive: &mut RecvStream) -> Result<Option<Going>, String> {
    let frame = frame::read(receive, OPENING_BYTES, &Intake::default()).await.map_err(|e| e.to_string())?;
    let opening = Opening::read(&frame.bytes)?;
    let acceptor = inner
        .acceptor(opening.kind, opening.vm)
        .ok_or_else(|| format!("{NOBODY} for a {:?} stream of VM {:x}", opening.kind, opening.vm))?;
    match acceptor(host, &opening)? {
        Admission::Socket(path) => {
            let local = UnixStream::connect(&path).await.map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(Some(Going::Joined(local)))
        }
        Admission::Stream(local) => Ok(Some(Going::Joined(local))),
        Admission::Standing { end, gone } => Ok(Some(Going::Standing { end, gone })),
        Admission::Noted => Ok(None),
    }
}

impl Begun {
    async fn run(self) {
        let Begun { mut sending, mut receive, what } = self;
        match what {
            Going::Joined(local) => {
                let (from, to) = local.into_split();
                // The one that dials paces; what goes back is little.
                let free = Pace::new(0);
                let out = join::send(from, sending, &free);
                let _ = tokio::try_join!(out, join::receive(receive, to, &free));
            }
            Going::Standing { end, gone } => {
                let silent = async {
                    match end.await {
                        Ok(reason) => reason,
                        Err(_) => std::future::pending().await,
                    }
                };
                tokio::select! {
                    reason = silent => {
                        let _ = frame::write(sending.stream(), Answer::bytes(Err(&reason))).await;
                        sending.finish();
                    }
                    // The opener says nothing on it: whatever comes is its end.
                    read = receive.read_chunk(1, true) => {
                        let reason = read.map_or_else(|e| e.to_string(), |_| "it was ended".to_string());
                        let _ = gone.send(reason);
                        sending.finish();
                    }
                }
            }
        }
    }
}
