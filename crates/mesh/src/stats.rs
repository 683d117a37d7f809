//! What is measured on a link: round trips, loss, bytes, queues.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// State and measurements of the link to one peer. Rates cover the last 5 s, loss the last 60 s, round trips the last
/// 120 answered pings (one each 500 ms).
#[derive(Debug, Clone, PartialEq)]
pub struct LinkStats {
    /// The peer.
    pub node: u64,
    /// The peer's region.
    pub region: String,
    /// Our connection to it is up.
    pub up: bool,
    /// Median round trip; `None` before the first answer.
    pub rtt_p50_ms: Option<f64>,
    /// 99th percentile of the round trip.
    pub rtt_p99_ms: Option<f64>,
    /// The last answered round trip.
    pub rtt_last_ms: Option<f64>,
    /// The larger of lost packets and unanswered pings, in percent.
    pub loss_percent: f64,
    /// Frame bytes sent since start, as written (compressed).
    pub sent_bytes: u64,
    /// The same frames before they were compressed.
    pub framed_bytes: u64,
    /// Frame bytes received since start, as read (compressed).
    pub received_bytes: u64,
    /// Frame bits sent and received per second.
    pub throughput_bps: u64,
    /// Waiting frames by class, in the order of [`crate::Class::ALL`].
    pub queues: [QueueStats; 4],
    /// Connections made after the first one.
    pub reconnects: u64,
}

/// One queue of a peer and class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Frames that wait.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames refused or lost with the link since start.
    pub dropped: u64,
}

const PINGS: usize = 120;
const SAMPLES: usize = 120;
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// A ping without an answer for this long counts as lost.
const PING_LOST_AFTER: Duration = Duration::from_secs(2);

/// Collects the measurements of one link.
#[derive(Default)]
pub(crate) struct Meter {
    up: bool,
    connections: u64,
    next_ping: u64,
    waiting: VecDeque<(u64, Instant)>,
    /// Outcome of the last pings: the round trip or loss.
    pings: VecDeque<Option<Duration>>,
    last: Option<Duration>,
    samples: VecDeque<Sample>,
    /// Packet counters of the present connection at the last sample.
    base: (u64, u64),
}

struct Sample {
    at: Instant,
    sent_packets: u64,
    lost_packets: u64,
    frame_bytes: u64,
}

impl Meter {
    pub(crate) fn connected(&mut self) {
        self.up = true;
        self.connections += 1;
    }

    pub(crate) fn attempt(&mut self) {
        self.base = (0, 0);
        self.waiting.clear();
    }

    pub(crate) fn disconnected(&mut self) {
        self.up = false;
        for _ in 0..self.waiting.len() {
            self.outcome(None);
        }
        self.waiting.clear();
    }

    /// A new ping leaves now; returns its number.
    pub(crate) fn ping(&mut self, now: Instant) -> u64 {
        while self.waiting.front().is_some_and(|(_, at)| now.duration_since(*at) > PING_LOST_AFTER) {
            self.waiting.pop_front();
            self.outcome(None);
        }
        self.next_ping += 1;
        self.waiting.push_back((self.next_ping, now));
        self.next_ping
    }

    /// An answer came; false when nobody waits for it.
    pub(crate) fn pong(&mut self, number: u64, now: Instant) -> bool {
        let Some(at) = self.waiting.iter().position(|(n, _)| *n == number) else { return false };
        if let Some((_, sent)) = self.waiting.remove(at) {
            let rtt = now.duration_since(sent);
            self.last = Some(rtt);
            self.outcome(Some(rtt));
        }
        true
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    fn outcome(&mut self, rtt: Option<Duration>) {
        if self.pings.len() == PINGS {
            self.pings.pop_front();
        }
        self.pings.push_back(rtt);
    }

    /// Takes the counters of the present connection and the frame bytes since start.
    pub(crate) fn sample(&mut self, now: Instant, sent_packets: u64, lost_packets: u64, frame_bytes: u64) {
        let (sent, lost) =
            (sent_packets.saturating_sub(self.base.0), lost_packets.saturating_sub(self.base.1));
        self.base = (sent_packets, lost_packets);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, sent_packets: sent, lost_packets: lost, frame_bytes });
    }

    fn loss_percent(&self) -> f64 {
        let (sent, lost) =
            self.samples.iter().fold((0, 0), |(s, l), x| (s + x.sent_packets, l + x.lost_packets));
        let percent =
            |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
        let unanswered = self.pings.iter().filter(|p| p.is_none()).count() as u64;
        percent(lost, sent).max(percent(unanswered, self.pings.len() as u64)).min(100.0)
    }

    fn throughput_bps(&self, now: Instant, frame_bytes: u64) -> u64 {
        let Some(first) = self.samples.iter().find(|s| now.duration_since(s.at) <= RATE_WINDOW) else {
            return 0;
        };
        let seconds = now.duration_since(first.at).as_secs_f64().max(0.001);
        (frame_bytes.saturating_sub(first.frame_bytes) as f64 * 8.0 / seconds) as u64
    }

    pub(crate) fn stats(
        &self,
        node: u64,
        region: &str,
        sent_bytes: u64,
        received_bytes: u64,
        queues: [QueueStats; 4],
    ) -> LinkStats {
        let mut rtts: Vec<Duration> = self.pings.iter().flatten().copied().collect();
        rtts.sort_unstable();
        let rank = |q: f64| {
            let last = rtts.len().checked_sub(1)?;
            rtts.get((last as f64 * q).round() as usize).map(|d| d.as_secs_f64() * 1e3)
        };
        LinkStats {
            node,
            region: region.to_owned(),
            up: self.up,
            rtt_p50_ms: rank(0.5),
            rtt_p99_ms: rank(0.99),
            rtt_last_ms: self.last.map(|d| d.as_secs_f64() * 1e3),
            loss_percent: self.loss_percent(),
            sent_bytes,
            framed_bytes: 0,
            received_bytes,
            throughput_bps: self.throughput_bps(Instant::now(), sent_bytes + received_bytes),
            queues,
            reconnects: self.connections.saturating_sub(1),
        }
    }
}
