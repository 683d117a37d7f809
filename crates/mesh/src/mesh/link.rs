//! Our connection to one peer: dialing, writing by class, measuring.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{ClientConfig, Connection, VarInt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Class, Inner, Limits, MeshEvent, Peer};
use crate::frame;
use crate::intake;
use crate::queue::ByteQueue;
use crate::seed::Seed;
use crate::stats::{LinkStats, Meter};
use crate::transport::SERVER_NAME;

const PING_EVERY: Duration = Duration::from_millis(500);
/// A connection without an answer to a ping for so long is given up.
const SILENT: Duration = Duration::from_millis(3000);
/// A dial that has no answer by then is given up; well above the longest round trip on Earth.
const DIAL_MS: u64 = 1000;
/// Back-off between dials: full jitter up to this, doubling from the first to the last.
const BACK_OFF_FIRST_MS: u64 = 50;
const BACK_OFF_LAST_MS: u64 = 1000;

pub(crate) const PING: u8 = 0;
pub(crate) const PONG: u8 = 1;

pub(super) struct PeerLink {
    pub(super) peer: Peer,
    pub(super) queues: [ByteQueue; 4],
    /// Room for what came from the peer, by class.
    pub(super) intake: [intake::Bytes; 4],
    pub(super) received_bytes: AtomicU64,
    pub(super) incoming: Mutex<Option<Connection>>,
    sent_bytes: AtomicU64,
    /// The same before they were compressed.
    framed_bytes: AtomicU64,
    meter: Mutex<Meter>,
    stop: watch::Sender<bool>,
}

impl PeerLink {
    pub(super) fn new(peer: Peer, limits: &Limits) -> Self {
        Self {
            peer,
            queues: limits.queue_bytes.map(|bytes| ByteQueue::new(bytes, limits.frame_bytes)),
            intake: limits.queue_bytes.map(intake::Bytes::new),
            received_bytes: AtomicU64::new(0),
            incoming: Mutex::new(None),
            sent_bytes: AtomicU64::new(0),
            framed_bytes: AtomicU64::new(0),
            meter: Mutex::default(),
            stop: watch::Sender::new(false),
        }
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(old) = self.incoming.lock().unwrap_or_else(|e| e.into_inner()).take() {
            old.close(VarInt::from_u32(0), b"no longer a peer");
        }
    }

    pub(super) fn stats(&self) -> LinkStats {
        let of_frames = self.meter().stats(
            self.peer.node,
            &self.peer.region,
            self.sent_bytes.load(Ordering::Relaxed),
            self.received_bytes.load(Ordering::Relaxed),
            [0, 1, 2, 3].map(|i: usize| self.queues[i].stats()),
        );
        LinkStats { framed_bytes: self.framed_bytes.load(Ordering::Relaxed), ..of_frames }
    }

    fn meter(&self) -> std::sync::MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Keeps the link until it is stopped.
pub(super) async fn run(inner: Arc<Inner>, link: Arc<PeerLink>, tls: ClientConfig) {
    let (mut gone, mut shut) = (link.stop.subscribe(), inner.stop.subscribe());
    let keep = keep(&inner, &link, &tls);
    tokio::select! {
        _ = keep => {}
        _ = gone.wait_for(|stop| *stop) => {}
        _ = shut.wait_for(|stop| *stop) => {}
    }
    let was_up = std::mem::take(&mut *link.meter()).is_up();
    for queue in &link.queues {
        queue.close();
    }
    if was_up {
        inner.tell(MeshEvent::Down { node: link.peer.node }).await;
    }
}

async fn keep(inner: &Arc<Inner>, link: &Arc<PeerLink>, tls: &ClientConfig) {
    let mut seed = Seed::lane(inner.seed, link.peer.node);
    let mut back_off_ms = BACK_OFF_FIRST_MS;
    loop {
        if let Some(connection) = dial(inner, link, tls).await {
            // Closes the connection on every way out, this future being dropped included.
            let connection = CloseOnDrop(connection);
            if confirm(link, &connection.0).await {
                back_off_ms = BACK_OFF_FIRST_MS;
                let alive = serve(inner, link, &connection.0).await;
                if !alive {
                    return;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(seed.below(back_off_ms) + 1)).await;
        back_off_ms = (back_off_ms * 2).min(BACK_OFF_LAST_MS);
    }
}

struct CloseOnDrop(Connection);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(VarInt::from_u32(0), b"done");
    }
}

async fn dial(inner: &Inner, link: &PeerLink, tls: &ClientConfig) -> Option<Connection> {
    let connecting = inner.endpoint()?.connect_with(tls.clone(), link.peer.address, SERVER_NAME).ok()?;
    match tokio::time::timeout(Duration::from_millis(DIAL_MS), connecting).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(quinn::ConnectionError::TransportError(e))) => {
            // Our own check of the peer's certificate failed, or the peer refused ours: worth telling.
            inner.refuse(link.peer.address, format!("dialing {}: {}", link.peer.region, e.reason));
            None
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Waits for the first answer: only then has the peer accepted our certificate.
async fn confirm(link: &PeerLink, connection: &Connection) -> bool {
    link.meter().attempt();
    let answered = async {
        loop {
            let number = link.meter().ping(Instant::now());
            if connection.send_datagram(message(PING, number)).is_err() {
                return false;
            }
            let wait = Duration::from_millis(400);
            match tokio::time::timeout(wait, connection.read_datagram()).await {
                Ok(Ok(datagram)) => {
                    if let Some((PONG, number)) = parse(&datagram)
                        && link.meter().pong(number, Instant::now())
                    {
                        return true;
                    }
                }
                Ok(Err(_)) => return false,
                Err(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_millis(DIAL_MS), answered).await.unwrap_or(false)
}

/// Works on an answering connection until it ends; false when the owner of the mesh is gone.
async fn serve(inner: &Arc<Inner>, link: &Arc<PeerLink>, connection: &Connection) -> bool {
    let mut tasks = JoinSet::new();
    for class in Class::ALL {
        let Ok(mut stream) = connection.open_uni().await else { return true };
        let _ = stream.set_priority(class.priority());
        let (inner, link, connection) = (inner.clone(), link.clone(), connection.clone());
        tasks.spawn(async move {
            if stream.write_all(&[class as u8]).await.is_err() {
                return;
            }
            let queue = &link.queues[class.index()];
            loop {
                let frame = queue.pop().await;
                let (length, compress) = (frame.len() as u64, !inner.plain.load(Ordering::Relaxed));
                match frame::write_as(&mut stream, frame, compress).await {
                    Ok(bytes) => {
                        link.framed_bytes.fetch_add(length, Ordering::Relaxed);
                        link.sent_bytes.fetch_add(bytes, Ordering::Relaxed)
                    }
                    Err(_) => return connection.close(VarInt::from_u32(1), b"write failed"),
                };
            }
        });
    }
    link.meter().connected();
    for queue in &link.queues {
        queue.open();
    }
    if !inner.tell(MeshEvent::Up { node: link.peer.node }).await {
        return false;
    }
    measure(link, connection).await;
    for queue in &link.queues {
        queue.close();
    }
    tasks.shutdown().await;
    link.meter().disconnected();
    inner.tell(MeshEvent::Down { node: link.peer.node }).await
}

/// Pings and samples until the connection ends.
async fn measure(link: &PeerLink, connection: &Connection) {
    let mut answered = Instant::now();
    let mut tick = tokio::time::interval(PING_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let now = Instant::now();
                // QUIC's own idle time does not end while the peer's packets come and ours don't arrive.
                if now.duration_since(answered) > SILENT {
                    return connection.close(VarInt::from_u32(1), b"no answer");
                }
                let path = connection.stats().path;
                let frame_bytes = link.sent_bytes.load(Ordering::Relaxed) + link.received_bytes.load(Ordering::Relaxed);
                let number = {
                    let mut meter = link.meter();
                    meter.sample(now, path.sent_packets, path.lost_packets, frame_bytes);
                    meter.ping(now)
                };
                if connection.send_datagram(message(PING, number)).is_err() {
                    return;
                }
            }
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { return };
                if let Some((PONG, number)) = parse(&datagram) {
                    answered = Instant::now();
                    link.meter().pong(number, answered);
                }
            }
        }
    }
}

pub(crate) fn message(kind: u8, number: u64) -> Bytes {
    let mut out = [0u8; 9];
    out[0] = kind;
    out[1..].copy_from_slice(&number.to_be_bytes());
    Bytes::copy_from_slice(&out)
}

pub(crate) fn parse(datagram: &[u8]) -> Option<(u8, u64)> {
    let (kind, number) = datagram.split_first()?;
    Some((*kind, u64::from_be_bytes(number.try_into().ok()?)))
}
