//! The identity of an alert.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Labels;

/// The hash of a set of labels, 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    /// 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// FNV-1a (RFC 9923) over the names and values in the order of the names, each followed by the byte 255, which UTF-8 does not have.
pub fn fingerprint(labels: &Labels) -> Fingerprint {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for (name, value) in labels.iter() {
        for text in [name, value] {
            text.bytes().for_each(&mut add);
            add(255);
        }
    }
    Fingerprint(hash)
}
