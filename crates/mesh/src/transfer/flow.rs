//! How much of a connection's bytes may be unacknowledged.
//!
//! Whoever writes into a stream takes what fits into its buffer for sent. A program that stops a guest and expects the rest
//! to be across soon must not find tens of megabytes still waiting there, so no more is taken than the path carries now.
//!
//! And the receiving end of a stream keeps at most 1024 pieces that are not yet joined, else it ends the connection: where
//! a link drops every other packet, 1024 gaps are there after 2.4 MB. So a window begins below that, grows by less than
//! that a round trip, and goes back when packets are lost.

use std::sync::Weak;
use std::time::{Duration, Instant};

use quinn::{Connection, VarInt};

/// Between two looks at what the path carries.
const LOOK: Duration = Duration::from_millis(25);
/// Taken beyond what may be on its way, so that there always is something to send, bytes.
const AHEAD_BYTES: u64 = 256 << 10;
/// A window of which any packets may be lost, bytes: fewer than 1024 gaps fit into it at the least packet size.
pub(crate) const SAFE_BYTES: u64 = 2 << 20;
/// Most that a window grows a round trip, bytes.
const GROWTH_BYTES: u64 = 1 << 20;
/// Packets lost in one period beyond which a window goes back.
const LOST_MOST: u64 = 150;
/// Shortest period.
const PERIOD: Duration = Duration::from_millis(100);
/// Largest window, bytes: more than 1 Gbit/s carries in a round trip of 310 ms.
const MOST_BYTES: u64 = 64 << 20;
/// Looks without any user until a connection is closed: 30 s.
const UNUSED_LOOKS: u32 = 1200;

/// What may be unacknowledged, by what was lost.
#[derive(Debug)]
struct Window {
    bytes: u64,
    lost_before: u64,
    since: Instant,
    looked: Instant,
}

impl Window {
    fn new(now: Instant) -> Window {
        Window { bytes: SAFE_BYTES, lost_before: 0, since: now, looked: now }
    }

    /// The window from now on. `lost` counts packets from the connection's beginning.
    fn look(&mut self, now: Instant, rtt: Duration, cwnd: u64, lost: u64) -> u64 {
        let trip = rtt.max(PERIOD);
        let passed = now.saturating_duration_since(self.looked).min(trip);
        self.looked = now;
        let enough = cwnd.saturating_add(AHEAD_BYTES).min(MOST_BYTES);
        if lost.saturating_sub(self.lost_before) > LOST_MOST {
            self.bytes = (self.bytes / 2).max(SAFE_BYTES);
            (self.lost_before, self.since) = (lost, now);
        } else {
            let grown = (GROWTH_BYTES as f64 * passed.as_secs_f64() / trip.as_secs_f64()) as u64;
            self.bytes = (self.bytes + grown).min(enough.max(SAFE_BYTES));
            if now.saturating_duration_since(self.since) >= trip {
                (self.lost_before, self.since) = (lost, now);
            }
        }
        self.bytes.min(enough)
    }
}

/// Bounds what is unacknowledged until the connection ends, and closes it when nobody uses it.
pub(super) async fn keep(connection: Connection, users: Weak<()>) {
    let mut window = Window::new(Instant::now());
    let (mut unused, mut before) = (0, SAFE_BYTES);
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let path = connection.stats().path;
        let bytes = window.look(Instant::now(), path.rtt, path.cwnd, path.lost_packets);
        if bytes != before {
            connection.set_send_window(bytes);
            before = bytes;
        }
        unused = if users.strong_count() > 1 { 0 } else { unused + 1 };
        if unused >= UNUSED_LOOKS {
            connection.close(VarInt::from_u32(0), b"not used");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_slowly_goes_back_at_losses_and_never_below_what_is_safe() {
        let begin = Instant::now();
        let rtt = Duration::from_millis(200);
        let mut window = Window::new(begin);
        let mut now = begin;
        let mut look = |window: &mut Window, lost: u64, cwnd: u64| {
            now += LOOK;
            window.look(now, rtt, cwnd, lost)
        };
        let first = look(&mut window, 0, 50 << 20);
        assert!((SAFE_BYTES..SAFE_BYTES + GROWTH_BYTES / 4).contains(&first), "{first}");
        let mut bytes = 0;
        for _ in 0..80 {
            bytes = look(&mut window, 0, 50 << 20);
        }
        assert!(((11 << 20)..=(13 << 20)).contains(&bytes), "1 MiB a round trip: {bytes}");
        assert_eq!(look(&mut window, LOST_MOST + 1, 50 << 20), bytes / 2);
        for lost in 2..100 {
            bytes = look(&mut window, lost * (LOST_MOST + 1), 50 << 20);
        }
        assert_eq!(bytes, SAFE_BYTES);
        // No more than the path carries.
        assert_eq!(look(&mut window, 100 * LOST_MOST, 100_000), 100_000 + AHEAD_BYTES);
    }

    #[test]
    fn what_is_safe_has_no_room_for_the_gaps_that_end_a_connection() {
        // A stream's part of the smallest packets, each received one between two lost ones.
        let least = 1_200 - 60;
        assert!(SAFE_BYTES / (2 * least) < 1_000);
    }
}
