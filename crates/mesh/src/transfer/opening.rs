//! What is said at the beginning of a stream between agents, and the answer.

use dwcp_types::{ImageDigest, decode, encode, wire_enum, wire_struct};

/// Longest opening and longest answer, bytes.
pub const OPENING_BYTES: usize = 4096;
/// Longest text of a refusal that is sent, bytes.
const REASON_BYTES: usize = 1024;

/// What a stream is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// None that this version knows; always refused.
    #[default]
    Unknown,
    /// Stands while a VM is moved: whoever ends it ends the move.
    Move,
    /// A connection that carries memory.
    Memory,
    /// A connection that carries a disk that is moved.
    Disk,
    /// Says that the source has let go of a VM.
    Released,
    /// A connection to a replica of a disk.
    Replica,
    /// Says what the disk of a VM that moves lies over: `number` is told by what its file holds.
    Base,
    /// Asks for a range of a part of an image: `number` says which part, 0 is the list of them.
    Image,
}
wire_enum!(Kind { 1 Unknown, 2 Move, 3 Memory, 4 Disk, 5 Released, 6 Replica, 7 Base, 130 Image });

/// The first words of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// What it is for.
    pub kind: Kind,
    /// The VM.
    pub vm: u64,
    /// The VM's generation at the target, or the replica's epoch.
    pub generation: u64,
    /// Number of the migration; 0 where there is none.
    pub migration: u64,
    /// Which connection of its kind, from 0; in the order of their opening.
    pub number: u64,
    /// The image; none where there is none.
    pub image: ImageDigest,
    /// Where a range begins, bytes.
    pub offset: u64,
    /// Length of a range, bytes.
    pub bytes: u64,
}
wire_struct!(Opening { 1 kind, 2 vm, 3 generation, 4 migration, 5 number, 130 image, 131 offset, 132 bytes });

impl Opening {
    /// Reads what a peer sent.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<Opening, String> {
        decode(bytes).map_err(|e| format!("not understood: {e}"))
    }
}

/// What comes back: nothing is wrong, or a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Empty when accepted.
    reason: String,
}
wire_struct!(Answer { 1 reason });

impl Answer {
    /// As bytes; a reason that is too long is cut.
    pub fn bytes(result: Result<(), &str>) -> Vec<u8> {
        let reason = match result {
            Ok(()) => String::new(),
            Err("") => "no reason was given".to_string(),
            Err(reason) => {
                let mut end = reason.len().min(REASON_BYTES);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                reason[..end].to_string()
            }
        };
        encode(&Answer { reason })
    }

    /// Reads what a peer sent; what can't be read is a refusal.
    pub fn read(bytes: &[u8]) -> Answer {
        decode(bytes).unwrap_or_else(|e| Answer { reason: format!("an answer that is not understood: {e}") })
    }

    /// Why it was refused or ended; `None` when accepted.
    pub fn reason(&self) -> Option<&str> {
        (!self.reason.is_empty()).then_some(self.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truncation_and_every_changed_byte_of_an_opening_is_read_without_a_panic() {
        let whole = Opening {
            kind: Kind::Disk,
            vm: u64::MAX,
            generation: 7,
            migration: 1 << 40,
            number: 3,
            image: "abc".into(),
            offset: 1 << 33,
            bytes: 9,
        };
        let bytes = encode(&whole);
        assert_eq!(Opening::read(&bytes), Ok(whole));
        for end in 0..bytes.len() {
            assert!(Opening::read(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = (Opening::read(&changed), Answer::read(&changed));
            }
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_an_error_and_a_missing_one_is_unknown() {
        assert_eq!(Opening::read(&[0]).map(|o| o.kind), Ok(Kind::Unknown));
        let mut bytes = encode(&Opening { kind: Kind::Replica, ..Opening::default() });
        assert_eq!(&bytes[..3], &[1, 2, 6]);
        bytes[2] = 99;
        assert!(Opening::read(&bytes).is_err());
    }

    #[test]
    fn a_reason_is_cut_at_a_letter_and_never_becomes_an_acceptance() {
        let long = "é".repeat(4000);
        let bytes = Answer::bytes(Err(&long));
        assert!(bytes.len() < OPENING_BYTES);
        assert!(Answer::read(&bytes).reason().is_some_and(|text| long.starts_with(text)));
        assert!(Answer::read(&Answer::bytes(Err(""))).reason().is_some());
        assert!(Answer::read(&[1, 200]).reason().is_some());
        assert_eq!(Answer::read(&Answer::bytes(Ok(()))).reason(), None);
    }
}
