//! Reads and writes of one record are linearizable.
//!
//! One client writes rising numbers to a register, one write at a time; any node is asked to read it behind a barrier. A
//! read must return at least the newest write acknowledged before the read began, at most the newest write begun before it
//! ended, and never less than an earlier read that had ended before it began.

/// The register.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// Newest value whose write was begun.
    pub begun: u64,
    /// Newest value whose write was acknowledged.
    pub acknowledged: u64,
    /// Newest value that a finished read returned.
    pub read: u64,
}

impl Register {
    /// What a read that begins now must at least return.
    pub fn floor(&self) -> u64 {
        self.acknowledged.max(self.read)
    }

    /// A read that had this floor ended with a value; says what is wrong with it.
    pub fn finish_read(&mut self, floor: u64, value: u64) -> Option<String> {
        if value < floor {
            return Some(format!("a read returned {value} after {floor} was known"));
        }
        if value > self.begun {
            return Some(format!("a read returned {value}, which nobody has written"));
        }
        self.read = self.read.max(value);
        None
    }
}
