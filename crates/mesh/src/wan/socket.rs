//! A UDP socket that sends late, seldom or never, as the table says for the destination.
//!
//! Receiving is untouched: every process shapes what it sends. One thread per socket waits for the next due time and
//! sleeps without a timer when nothing is queued.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use super::{LinkShape, Network, Wan};
use crate::seed::Seed;

/// What a rate-limited link may hold back before it drops, as time on the wire.
const BUFFER: Duration = Duration::from_millis(60);
/// Datagrams in flight on one socket, all links together; a bound on memory (about 100 MB).
const MAX_IN_FLIGHT: usize = 65_536;

/// Socket under QUIC with an emulated WAN behind it.
pub(crate) struct EmulatedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    line: Arc<Line>,
}

struct Line {
    state: Mutex<State>,
    wake: Condvar,
    wan: Wan,
    region: String,
    local: IpAddr,
}

struct State {
    version: u64,
    routes: Vec<Route>,
    /// This socket's own address is isolated.
    isolated: bool,
    isolated_peers: Vec<IpAddr>,
    queue: BinaryHeap<Reverse<Late>>,
    next: u64,
    seed: Seed,
    closed: bool,
}

struct Route {
    network: Network,
    shape: LinkShape,
    /// When the last datagram has left a rate-limited link.
    wire_free: Instant,
    /// Due time of the last datagram: none overtakes it.
    last_due: Instant,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    due: Instant,
    number: u64,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// What happens to one datagram.
enum Fate {
    Now,
    Lost,
    At(Instant),
}

impl EmulatedSocket {
    pub(crate) fn wrap(socket: UdpSocket, wan: Wan, region: &str, seed: u64) -> io::Result<Self> {
        let late = socket.try_clone()?;
        let local = socket.local_addr()?.ip();
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        let state = State {
            version: 0,
            routes: Vec::new(),
            isolated: false,
            isolated_peers: Vec::new(),
            queue: BinaryHeap::new(),
            next: 0,
            seed: Seed::lane(seed, 0x5741_4e00),
            closed: false,
        };
        let line = Arc::new(Line {
            state: Mutex::new(state),
            wake: Condvar::new(),
            wan,
            region: region.to_owned(),
            local,
        });
        let sender = line.clone();
        std::thread::Builder::new().name("wan-line".into()).spawn(move || sender.deliver(&late))?;
        Ok(Self { inner, line })
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn refresh(&self, state: &mut State, now: Instant) {
        let version = self.wan.version();
        if state.version == version {
            return;
        }
        let table = self.wan.table();
        state.version = version;
        state.isolated = table.isolated.contains(&self.local);
        state.isolated_peers = table.isolated.iter().copied().collect();
        let old = std::mem::take(&mut state.routes);
        for (region, networks) in &table.regions {
            for network in networks {
                // The clocks of a known network go on, so that a change of shape reorders nothing.
                let (wire_free, last_due) = old
                    .iter()
                    .find(|r| r.network == *network)
                    .map_or((now, now), |r| (r.wire_free, r.last_due));
                let shape = table.shape(&self.region, region);
                state.routes.push(Route { network: *network, shape, wire_free, last_due });
            }
        }
    }

    fn fate(&self, state: &mut State, to: IpAddr, length: usize, now: Instant) -> Fate {
        self.refresh(state, now);
        if state.isolated || state.isolated_peers.contains(&to) {
            return Fate::Lost;
        }
        let IpAddr::V4(ip) = to.to_canonical() else { return Fate::Now };
        let State { routes, seed, queue, .. } = state;
        let Some(route) = routes.iter_mut().find(|r| r.network.contains(ip)) else { return Fate::Now };
        let shape = route.shape;
        if shape.cut || queue.len() >= MAX_IN_FLIGHT || seed.below(1_000_000) < u64::from(shape.loss_ppm) {
            return Fate::Lost;
        }
        let mut leaves = now;
        if let Some(rate_bps) = shape.rate_bps {
            let start = route.wire_free.max(now);
            if start.duration_since(now) > BUFFER {
                return Fate::Lost;
            }
            let wire_ns = (length as u64 + 28) * 8 * 1_000_000_000 / rate_bps.max(1);
            leaves = start + Duration::from_nanos(wire_ns);
            route.wire_free = leaves;
        }
        let wait = shape.delay_us + seed.below(shape.jitter_us + 1);
        let due = (leaves + Duration::from_micros(wait)).max(route.last_due);
        if due <= now {
            return Fate::Now;
        }
        route.last_due = due;
        Fate::At(due)
    }

    /// True when a link has been cut while a datagram was on its way.
    fn cut_since(&self, state: &mut State, to: IpAddr, now: Instant) -> bool {
        self.refresh(state, now);
        let IpAddr::V4(ip) = to.to_canonical() else { return false };
        state.isolated || state.routes.iter().any(|r| r.shape.cut && r.network.contains(ip))
    }

    /// Body of the sending thread; ends when the socket is gone and nothing is queued.
    fn deliver(&self, socket: &UdpSocket) {
        let mut due = Vec::new();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            while state.queue.peek().is_some_and(|Reverse(late)| late.due <= now) {
                let Some(Reverse(late)) = state.queue.pop() else { break };
                if !self.cut_since(&mut state, late.to.ip(), now) {
                    due.push(late);
                }
            }
            if !due.is_empty() {
                drop(state);
                for late in due.drain(..) {
                    send(socket, &late);
                }
                state = self.lock();
                continue;
            }
            state = match state.queue.peek().map(|Reverse(late)| late.due) {
                Some(next) => {
                    let wait = next.saturating_duration_since(now);
                    self.wake.wait_timeout(state, wait).unwrap_or_else(|e| e.into_inner()).0
                }
                None if state.closed => return,
                None => self.wake.wait(state).unwrap_or_else(|e| e.into_inner()),
            };
        }
    }
}

/// Sends like a network does: what the kernel does not take soon is lost.
fn send(socket: &UdpSocket, late: &Late) {
    for _ in 0..20 {
        match socket.send_to(&late.bytes, late.to) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_micros(50)),
            _ => return,
        }
    }
}

impl AsyncUdpSocket for EmulatedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let now = Instant::now();
        let mut state = self.line.lock();
        match self.line.fate(&mut state, transmit.destination.ip(), transmit.contents.len(), now) {
            Fate::Lost => Ok(()),
            Fate::Now => {
                drop(state);
                self.inner.try_send(transmit)
            }
            Fate::At(due) => {
                let number = state.next;
                state.next += 1;
                let first = state.queue.peek().is_none_or(|Reverse(late)| due < late.due);
                let bytes = transmit.contents.to_vec();
                state.queue.push(Reverse(Late { due, number, to: transmit.destination, bytes }));
                drop(state);
                if first {
                    self.line.wake.notify_one();
                }
                Ok(())
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    // One datagram a call: each has a fate of its own.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl Drop for EmulatedSocket {
    fn drop(&mut self) {
        self.line.lock().closed = true;
        self.line.wake.notify_one();
    }
}

impl fmt::Debug for EmulatedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmulatedSocket({} in {})", self.line.local, self.line.region)
    }
}
