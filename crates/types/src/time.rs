//! Time as an argument: a monotonic reading for durations and a wall reading for people.

/// Microseconds on one process's monotonic clock. Never compared across processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// Milliseconds between an earlier reading and this one; 0 when `earlier` is later.
    pub fn ms_since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// This reading moved `ms` milliseconds into the future.
    pub fn plus_ms(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms.saturating_mul(1_000)))
    }
}

/// Milliseconds since the Unix epoch (UTC). For records and people, never for deciding who is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// Milliseconds between an earlier wall time and this one; 0 when `earlier` is later.
    pub fn ms_since(self, earlier: Wall) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read together by the shell and handed to every step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic reading.
    pub mono: Mono,
    /// The wall reading.
    pub wall: Wall,
}
