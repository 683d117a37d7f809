//! An agent's link to its region, or to another region while its own does not answer.

mod dial;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::{mpsc, watch};

use crate::frame;
use crate::intake::Intake;
use crate::mesh::link::{PING, PONG, message, parse};
use crate::mesh::{Limits, Peer};
use crate::pki::{Identity, PeerId};
use crate::queue::{ByteQueue, Sent};
use crate::seed::Seed;
use crate::transport;
use crate::wan::Wan;

/// What an agent's link needs to start.
#[derive(Debug, Clone)]
pub struct AgentLinkConfig {
    /// The host's certificate.
    pub identity: Identity,
    /// Name of the federation; the identity must be of the same.
    pub federation: String,
    /// Servers, best first.
    pub endpoints: Vec<Peer>,
    /// Local UDP address; its IP decides the region in an emulated WAN. `0.0.0.0:0` lets the system choose.
    pub bind: SocketAddr,
    /// An endpoint that has not answered for this long is left alone for the next one, milliseconds.
    pub answer_ms: u64,
    /// While on a fallback, better endpoints are tried each so often, milliseconds.
    pub return_every_ms: u64,
    /// What may wait for sending, bytes.
    pub queue_bytes: usize,
    /// Longest frame, bytes.
    pub frame_bytes: usize,
    /// Seed of back-off jitter and emulated loss.
    pub seed: u64,
    /// The emulated WAN; `None` in production.
    pub wan: Option<Wan>,
    /// The link of a controller replica of the host, under this number, instead of its agent's.
    pub replica: Option<u8>,
}

impl AgentLinkConfig {
    /// The usual settings: 700 ms to answer, better endpoints tried each second, frames of 4 MiB, a queue of 8.
    pub fn new(identity: Identity, endpoints: Vec<Peer>, seed: u64) -> Self {
        Self {
            federation: identity.federation(),
            identity,
            endpoints,
            bind: SocketAddr::from(([0, 0, 0, 0], 0)),
            answer_ms: 700,
            return_every_ms: 1000,
            queue_bytes: 8 << 20,
            frame_bytes: 4 << 20,
            seed,
            wan: None,
            replica: None,
        }
    }

    /// The link of the host's controller replica of this number to its region's server: frames as long as between regions.
    pub fn of_replica(identity: Identity, server: Peer, slot: u8, seed: u64) -> Self {
        let usual = Self::new(identity, vec![server], seed);
        let Limits { frame_bytes, .. } = Limits::default();
        Self { queue_bytes: frame_bytes, frame_bytes, replica: Some(slot), ..usual }
    }

    /// The first frame of a link.
    fn greeting(&self) -> Vec<u8> {
        self.replica.into_iter().collect()
    }
}

/// What happened on an agent's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// Linked to this region's server.
    Up {
        /// The region.
        region: String,
    },
    /// The link to this region's server is gone; queued frames are lost.
    Down {
        /// The region.
        region: String,
    },
    /// A frame came from the linked server.
    Frame {
        /// Content.
        bytes: Vec<u8>,
    },
    /// A server turned us away, or showed a wrong certificate; other endpoints are tried.
    Refused {
        /// The region that was dialed.
        region: String,
        /// Why.
        reason: String,
    },
}

/// Starts agents' links.
pub struct AgentLink;

impl AgentLink {
    /// Begins to dial. Call inside a tokio runtime. Runs until [`AgentLinkHandle::shutdown`].
    ///
    /// # Errors
    /// The local address cannot be bound, or the identity is not a host of this federation.
    pub fn start(config: AgentLinkConfig, events: mpsc::Sender<AgentEvent>) -> io::Result<AgentLinkHandle> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let PeerId::Host { region, .. } = config.identity.peer() else {
            return Err(wrong(format!("{} is not a host's certificate", config.identity.peer())));
        };
        let theirs = config.identity.federation();
        if theirs != config.federation {
            return Err(wrong(format!(
                "the certificate is of federation {theirs}, not {}",
                config.federation
            )));
        }
        let endpoint = transport::endpoint(config.bind, None, config.wan.as_ref(), &region, config.seed)?;
        let inner = Arc::new(Inner {
            endpoint,
            queue: ByteQueue::new(config.queue_bytes, config.frame_bytes),
            endpoints: RwLock::new(config.endpoints.clone()),
            linked: RwLock::new(None),
            events,
            stop: watch::Sender::new(false),
            config,
        });
        tokio::spawn(run(inner.clone()));
        Ok(AgentLinkHandle { inner })
    }
}

struct Inner {
    endpoint: Endpoint,
    queue: ByteQueue,
    endpoints: RwLock<Vec<Peer>>,
    linked: RwLock<Option<(String, Duration)>>,
    events: mpsc::Sender<AgentEvent>,
    stop: watch::Sender<bool>,
    config: AgentLinkConfig,
}

impl Inner {
    fn endpoints(&self) -> Vec<Peer> {
        self.endpoints.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn set_linked(&self, linked: Option<(String, Duration)>) {
        *self.linked.write().unwrap_or_else(|e| e.into_inner()) = linked;
    }

    fn answer(&self) -> Duration {
        Duration::from_millis(self.config.answer_ms)
    }
}

/// A running link. Clones are the same link.
#[derive(Clone)]
pub struct AgentLinkHandle {
    inner: Arc<Inner>,
}

impl AgentLinkHandle {
    /// Queues a frame to the linked server. Never waits.
    pub fn send(&self, bytes: Vec<u8>) -> Sent {
        self.inner.queue.push(bytes)
    }

    /// The region linked to and the last round trip.
    pub fn linked(&self) -> Option<(String, Duration)> {
        self.inner.linked.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Sets the servers, best first; used from the next dial on. A link that is up goes over to one that is better now.
    pub fn set_endpoints(&self, endpoints: Vec<Peer>) {
        *self.inner.endpoints.write().unwrap_or_else(|e| e.into_inner()) = endpoints;
    }

    /// The local UDP address.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.endpoint.local_addr()
    }

    /// Closes the link and stops; waits up to half a second until the server can know.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        self.inner.endpoint.close(VarInt::from_u32(0), b"shutdown");
        let _ = tokio::time::timeout(Duration::from_millis(500), self.inner.endpoint.wait_idle()).await;
    }
}

/// An answering server and the stream to it; closed when dropped.
struct Linked {
    region: String,
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"done");
    }
}

async fn run(inner: Arc<Inner>) {
    let mut shut = inner.stop.subscribe();
    tokio::select! {
        () = keep(&inner) => {}
        _ = shut.wait_for(|stop| *stop) => {}
    }
    inner.queue.close();
    let linked = inner.linked.write().unwrap_or_else(|e| e.into_inner()).take();
    if let Some((region, _)) = linked {
        let _ = inner.events.send(AgentEvent::Down { region }).await;
    }
}

async fn keep(inner: &Arc<Inner>) {
    let mut seed = Seed::lane(inner.config.seed, 0x4147);
    let mut back_off_ms = 25;
    let mut next = None;
    let mut stagger = inner.answer();
    loop {
        let found = match next.take() {
            Some(linked) => Some(linked),
            None => dial::first(inner, inner.endpoints(), stagger).await,
        };
        stagger = inner.answer();
        let Some(linked) = found else {
            tokio::time::sleep(Duration::from_millis(1 + seed.below(back_off_ms))).await;
            back_off_ms = (back_off_ms * 2).min(500);
            continue;
        };
        back_off_ms = 25;
        let region = linked.region.clone();
        inner.queue.open();
        inner.set_linked(Some((region.clone(), linked.connection.rtt())));
        if inner.events.send(AgentEvent::Up { region: region.clone() }).await.is_err() {
            return;
        }
        next = serve(inner, linked).await;
        // A server that has just been silent, or said goodbye, is not given the whole time again.
        stagger = inner.answer() / 7;
        inner.queue.close();
        inner.set_linked(None);
        if inner.events.send(AgentEvent::Down { region }).await.is_err() {
            return;
        }
    }
}

/// Works on a link until it ends; gives a better one when that is the reason.
async fn serve(inner: &Arc<Inner>, mut linked: Linked) -> Option<Linked> {
    let Linked { region, connection, send, receive } = &mut linked;
    tokio::select! {
        () = write(inner, send) => None,
        () = read(inner, receive) => None,
        () = watch_answers(inner, region, connection) => None,
        better = dial::better_than(inner, region) => Some(better),
    }
}

async fn write(inner: &Inner, stream: &mut SendStream) {
    loop {
        let frame = inner.queue.pop().await;
        if frame::write(stream, frame).await.is_err() {
            return;
        }
    }
}

async fn read(inner: &Inner, stream: &mut RecvStream) {
    let intake = Intake::default();
    while let Ok(frame) = frame::read(stream, inner.config.frame_bytes, &intake).await {
        if inner.events.send(AgentEvent::Frame { bytes: frame.bytes }).await.is_err() {
            return;
        }
    }
}

/// Pings and returns when nothing has been answered for the time allowed.
async fn watch_answers(inner: &Inner, region: &str, connection: &Connection) {
    let mut tick = tokio::time::interval(inner.answer() / 5);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let begin = Instant::now();
    let mut answered = begin;
    // A round trip longer than the time allowed is no silence: the first answer sets what is usual.
    let mut allowed = inner.answer() + connection.rtt();
    loop {
        tokio::select! {
            biased;
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { return };
                let Some((PONG, sent_us)) = parse(&datagram) else { continue };
                answered = Instant::now();
                let rtt = answered.duration_since(begin).saturating_sub(Duration::from_micros(sent_us));
                allowed = inner.answer() + rtt.min(inner.answer());
                inner.set_linked(Some((region.to_owned(), rtt)));
            }
            _ = tick.tick() => {
                if answered.elapsed() > allowed {
                    return;
                }
                let sent_us = begin.elapsed().as_micros() as u64;
                if connection.send_datagram(message(PING, sent_us)).is_err() {
                    return;
                }
            }
        }
    }
}
