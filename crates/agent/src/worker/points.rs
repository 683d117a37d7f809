//! What is said on a connection that carries a point in time of a disk from the host it runs on to the one that keeps its
//! copy. The keeping host's file of what is received holds the same words.
//!
//! The keeping host begins: it says which point it has. The other one says which comes next and what it builds on, then what
//! differs, then that this was all; the answer to that is the keeping host's durable word. Whatever ends before it is thrown
//! away there.

use std::io::{self, Read, Write};

use dwcp_types::wire_struct;

/// Bytes of a word before its payload.
pub(super) const HEAD_BYTES: usize = 24;
/// Longest payload, bytes.
pub(super) const PAYLOAD_MAX: usize = 256 << 10;

/// A whole point in time of one VM's disk. Its number rises within an epoch; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub epoch: u64,
    pub number: u64,
    /// When it was, ms since the Unix epoch by the clock of the host that the VM ran on.
    pub at_ms: u64,
}
wire_struct!(Point { 1 epoch, 2 number, 3 at_ms });

impl Point {
    /// True when both are the same point, whatever a clock said.
    pub(super) fn is(&self, other: &Point) -> bool {
        (self.epoch, self.number) == (other.epoch, other.number)
    }
}

/// What comes, and what it builds on; a point of number 0: on nothing, so all of the disk comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begin {
    pub point: Point,
    pub since: Point,
}
wire_struct!(Begin { 1 point, 2 since });

/// What a word is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum About {
    /// The keeping host has this point; payload: a [`Point`].
    #[default]
    Have,
    /// Payload: a [`Begin`].
    Begin,
    /// The payload is what the disk holds at `offset`.
    Data,
    /// The disk holds zeros from `offset` on, `count` bytes.
    Zeros,
    /// That was all: `count` words about the disk.
    Whole,
    /// The point is durably there.
    Noted,
    /// It can't be taken; payload: why.
    Refused,
}

const EVERY: [About; 7] =
    [About::Have, About::Begin, About::Data, About::Zeros, About::Whole, About::Noted, About::Refused];

/// A word without its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub about: About,
    /// Bytes of the payload.
    pub length: u32,
    pub offset: u64,
    pub count: u64,
}

impl Head {
    pub(super) fn bytes(&self) -> [u8; HEAD_BYTES] {
        let about = EVERY.iter().position(|about| *about == self.about).map_or(0, |at| at as u32 + 1);
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&about.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_be_bytes());
        bytes[16..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// Reads a word.
    ///
    /// # Errors
    /// It is none, or longer than any may be.
    pub(super) fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Head, String> {
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let about = usize::try_from(number(0..4)).ok().and_then(|number| EVERY.get(number.checked_sub(1)?));
        let about = *about.ok_or_else(|| format!("a word that is not known: {:?}", &bytes[..4]))?;
        let head = Head { about, length: number(4..8) as u32, offset: number(8..16), count: number(16..24) };
        if head.length as usize > PAYLOAD_MAX {
            return Err(format!("a word of {} bytes is longer than any may be", head.length));
        }
        Ok(head)
    }
}

/// A word that is not about the disk's bytes.
pub(super) fn word(about: About, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(PAYLOAD_MAX)];
    let head = Head { about, length: payload.len() as u32, ..Head::default() };
    [&head.bytes()[..], payload].concat()
}

/// The next word, its payload in `payload`; none at the end between two words. Blocks.
///
/// # Errors
/// What comes is none, or it ends in the middle.
pub(super) fn read(from: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD_BYTES];
    let mut there = 0;
    while there < HEAD_BYTES {
        match from.read(&mut bytes[there..]) {
            Ok(0) if there == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => there += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let head = Head::parse(&bytes).map_err(io::Error::other)?;
    payload.resize(head.length as usize, 0);
    from.read_exact(payload)?;
    Ok(Some(head))
}

/// Writes a word with its payload. Blocks.
///
/// # Errors
/// As the writer's.
pub(super) fn write(to: &mut impl Write, head: &Head, payload: &[u8]) -> io::Result<()> {
    to.write_all(&head.bytes())?;
    to.write_all(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_what_is_none_is_refused() {
        let mut bytes = Vec::new();
        for (at, about) in EVERY.into_iter().enumerate() {
            let head = Head { about, length: 3, offset: 1 << 40 | at as u64, count: u64::MAX - at as u64 };
            write(&mut bytes, &head, b"abc").expect("written");
        }
        let (mut from, mut payload) = (&bytes[..], Vec::new());
        for about in EVERY {
            let head = read(&mut from, &mut payload).expect("a word").expect("not the end");
            assert_eq!((head.about, &payload[..]), (about, &b"abc"[..]));
        }
        assert_eq!(read(&mut from, &mut payload).expect("the end"), None);
        for cut in 1..HEAD_BYTES + 3 {
            assert!(read(&mut &bytes[..cut], &mut payload).is_err(), "cut at {cut}");
        }
        let long = Head { about: About::Data, length: PAYLOAD_MAX as u32 + 1, ..Head::default() };
        assert!(read(&mut &long.bytes()[..], &mut payload).is_err());
        for number in [0, 8, u32::MAX] {
            let mut head = Head { about: About::Data, ..Head::default() }.bytes();
            head[..4].copy_from_slice(&number.to_be_bytes());
            assert!(Head::parse(&head).is_err(), "{number}");
        }
    }
}
