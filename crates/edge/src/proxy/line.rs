//! One connection of a client, from its admission to its end: what it is doing, since when, and whether that is too long.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::admission::Admitted;
use super::heads::Part;
use super::limits::Limits;
use super::mark::Marked;
use super::taken_back::TakenBack;

const FIRST: u8 = 0;
const BETWEEN: u8 = 1;
const HEAD: u8 = 2;
const BODY: u8 = 3;

/// A connection of HTTP/1 that was quiet for so long rests, ms.
pub(super) const REST_MS: u64 = 250;

/// What is known of a connection. Kept as long as anything of it goes on, a tunnel too.
pub(super) struct Line {
    pub client: IpAddr,
    begun: Instant,
    part: AtomicU8,
    /// When the part began, ms after `begun`.
    part_at_ms: AtomicU64,
    /// Since when a write waits, ms after `begun`; 0: none does.
    writes_wait_ms: AtomicU64,
    /// Requests under way.
    busy: AtomicU32,
    /// When the last one ended.
    quiet_at_ms: AtomicU64,
    /// Why everything that comes is refused.
    refused: OnceLock<&'static str>,
    /// Bytes are no HTTP any more.
    pub raw: AtomicBool,
    pub taken_back: TakenBack,
    /// The client took back too many requests.
    pub abused: AtomicBool,
    /// How what is sent to the client is marked.
    pub mark: Arc<Marked>,
    pub admitted: Admitted,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Look again so many ms later.
    Later(u64),
    /// It has been idle long enough: close it in an orderly way.
    Idle,
    /// Too slow.
    Cut,
}

impl Line {
    pub fn new(client: IpAddr, admitted: Admitted) -> Line {
        Line {
            client,
            begun: Instant::now(),
            part: AtomicU8::new(FIRST),
            part_at_ms: AtomicU64::new(0),
            writes_wait_ms: AtomicU64::new(0),
            busy: AtomicU32::new(0),
            quiet_at_ms: AtomicU64::new(0),
            refused: OnceLock::new(),
            raw: AtomicBool::new(false),
            taken_back: TakenBack::default(),
            abused: AtomicBool::new(false),
            mark: Arc::default(),
            admitted,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 + 1
    }

    /// A request begins.
    pub fn enter(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    /// It ended.
    pub fn leave(&self) {
        self.quiet_at_ms.store(self.now_ms(), Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    pub fn busy(&self) -> u32 {
        self.busy.load(Relaxed)
    }

    /// Why what comes here is refused.
    pub fn refused(&self) -> Option<&'static str> {
        self.refused.get().copied()
    }

    /// What is to be done now.
    pub fn due(&self, limits: &Limits) -> Due {
        let now = self.now_ms();
        let waits = self.writes_wait_ms.load(Relaxed);
        if waits > 0 && now - waits.min(now) >= limits.write_ms {
            return Due::Cut;
        }
        let part_ms = now.saturating_sub(self.part_at_ms.load(Relaxed));
        let part = self.part.load(Relaxed);
        let often = limits.header_ms.min(limits.idle_ms).min(limits.write_ms).max(10);
        if self.busy() > 0 {
            return Due::Later(often);
        }
        let quiet_ms = now.saturating_sub(self.quiet_at_ms.load(Relaxed)).min(part_ms);
        match part {
            HEAD | FIRST if part_ms >= limits.header_ms => Due::Cut,
            HEAD | FIRST => Due::Later(limits.header_ms - part_ms),
            // Nobody reads this body: the answer was sent before.
            _ if quiet_ms >= limits.idle_ms => Due::Idle,
            _ => Due::Later(often.min(limits.idle_ms - quiet_ms).max(1)),
        }
    }

    /// Nothing is under way and nothing is left to be read or written, for a while: no parser is needed.
    pub fn rests(&self) -> bool {
        let now = self.now_ms();
        let since = self.quiet_at_ms.load(Relaxed).max(self.part_at_ms.load(Relaxed));
        self.busy() == 0
            && self.part.load(Relaxed) == BETWEEN
            && self.writes_wait_ms.load(Relaxed) == 0
            && self.refused().is_none()
            && !self.raw.load(Relaxed)
            && now.saturating_sub(since) >= REST_MS
    }

    /// Everything that comes is refused from now on.
    pub fn refuse(&self, why: &'static str) {
        let _ = self.refused.set(why);
        self.enter_part(BETWEEN);
    }

    /// What comes is of this.
    pub fn enters(&self, part: Part) {
        self.enter_part(match part {
            Part::Between => BETWEEN,
            Part::Head => HEAD,
            Part::Body => BODY,
        });
    }

    /// So many bytes were written, or the client takes none for the present.
    pub fn wrote(&self, bytes: Option<usize>) {
        match bytes {
            Some(bytes) => {
                self.admitted.bytes_out.fetch_add(bytes as u64, Relaxed);
                if self.writes_wait_ms.load(Relaxed) != 0 {
                    self.writes_wait_ms.store(0, Relaxed);
                }
            }
            None => {
                let _ = self.writes_wait_ms.compare_exchange(0, self.now_ms(), Relaxed, Relaxed);
            }
        }
    }

    fn enter_part(&self, part: u8) {
        if self.part.swap(part, Relaxed) != part {
            self.part_at_ms.store(self.now_ms(), Relaxed);
        }
    }
}
