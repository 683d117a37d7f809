//! Frames on a stream: four bytes (length, top bit = compressed) and the payload.
//!
//! A compressed payload begins with its length when unpacked, so that the reader can refuse before it allocates.

use std::fmt;

use quinn::{ReadExactError, RecvStream, SendStream, WriteError};

use crate::intake::{Intake, Room};

/// Frames up to this length are not worth compressing.
const COMPRESS_ABOVE_BYTES: usize = 1024;
/// Frames above this length are (un)packed on a blocking thread, so that short frames of others don't wait.
const OFFLOAD_ABOVE_BYTES: usize = 128 * 1024;
const COMPRESSED: u32 = 1 << 31;
const ZSTD_LEVEL: i32 = 1;

/// Why a stream of frames ended.
#[derive(Debug)]
pub(crate) enum FrameError {
    Write(WriteError),
    Read(ReadExactError),
    TooLong { length: usize, limit: usize },
    Unpack(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Write(e) => write!(f, "write: {e}"),
            FrameError::Read(e) => write!(f, "read: {e}"),
            FrameError::TooLong { length, limit } => write!(f, "frame of {length} bytes, limit {limit}"),
            FrameError::Unpack(e) => write!(f, "unpack: {e}"),
        }
    }
}

/// Writes one frame; returns the bytes put on the stream.
pub(crate) async fn write(stream: &mut SendStream, frame: Vec<u8>) -> Result<u64, FrameError> {
    write_as(stream, frame, true).await
}

/// The same, compressed only when that is wanted and worth it. The reader takes either.
pub(crate) async fn write_as(
    stream: &mut SendStream,
    frame: Vec<u8>,
    compress: bool,
) -> Result<u64, FrameError> {
    let packed = if !compress || frame.len() <= COMPRESS_ABOVE_BYTES {
        plain(&frame)
    } else if frame.len() > OFFLOAD_ABOVE_BYTES {
        tokio::task::spawn_blocking(move || pack(&frame))
            .await
            .map_err(|e| FrameError::Unpack(e.to_string()))?
    } else {
        pack(&frame)
    };
    stream.write_all(&packed).await.map_err(FrameError::Write)?;
    Ok(packed.len() as u64)
}

fn plain(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + frame.len());
    out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    out.extend_from_slice(frame);
    out
}

fn pack(frame: &[u8]) -> Vec<u8> {
    let mut out = vec![0u8; 8 + zstd::zstd_safe::compress_bound(frame.len())];
    match zstd::bulk::compress_to_buffer(frame, &mut out[8..], ZSTD_LEVEL) {
        Ok(length) if length + 4 < frame.len() => {
            out.truncate(8 + length);
            out[..4].copy_from_slice(&((length as u32 + 4) | COMPRESSED).to_be_bytes());
            out[4..8].copy_from_slice(&(frame.len() as u32).to_be_bytes());
            out
        }
        _ => plain(frame),
    }
}

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// Bytes taken from the stream.
    pub(crate) taken: u64,
    pub(crate) room: Room,
}

/// Reads one frame of at most `limit` bytes (unpacked), as soon as there is room for it.
pub(crate) async fn read(
    stream: &mut RecvStream,
    limit: usize,
    intake: &Intake,
) -> Result<Received, FrameError> {
    let word = read_word(stream).await?;
    let packed = if word & COMPRESSED == 0 { None } else { Some(read_word(stream).await?) };
    let taken = 4 + u64::from(word & !COMPRESSED);
    let (length, longest) = lengths(word, packed, limit)?;
    let mut room = Room::default();
    if let Some(own) = &intake.own {
        room.add(own.take(longest).await);
    }
    let mut body = vec![0u8; length];
    stream.read_exact(&mut body).await.map_err(FrameError::Read)?;
    if let Some(shared) = &intake.shared {
        room.add(shared.take(longest).await);
    }
    let bytes = match packed {
        None => body,
        Some(unpacked) if length > OFFLOAD_ABOVE_BYTES => {
            tokio::task::spawn_blocking(move || unpack(&body, unpacked as usize))
                .await
                .map_err(|e| FrameError::Unpack(e.to_string()))??
        }
        Some(unpacked) => unpack(&body, unpacked as usize)?,
    };
    Ok(Received { bytes, taken, room })
}

/// How many bytes are still to be read, and the most that the frame takes packed or unpacked. `unpacked` is the length
/// claimed by a compressed frame.
fn lengths(word: u32, unpacked: Option<u32>, limit: usize) -> Result<(usize, usize), FrameError> {
    let said = (word & !COMPRESSED) as usize;
    let length = if unpacked.is_none() { Some(said) } else { said.checked_sub(4) };
    let length = length.ok_or_else(|| FrameError::Unpack("no length".into()))?;
    let longest = length.max(unpacked.unwrap_or(0) as usize);
    if longest > limit { Err(FrameError::TooLong { length: longest, limit }) } else { Ok((length, longest)) }
}

async fn read_word(stream: &mut RecvStream) -> Result<u32, FrameError> {
    let mut word = [0u8; 4];
    stream.read_exact(&mut word).await.map_err(FrameError::Read)?;
    Ok(u32::from_be_bytes(word))
}

/// Unpacks to exactly `length` bytes.
fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, FrameError> {
    let frame = zstd::bulk::decompress(packed, length).map_err(|e| FrameError::Unpack(e.to_string()))?;
    if frame.len() == length {
        Ok(frame)
    } else {
        Err(FrameError::Unpack(format!("{} bytes instead of {length}", frame.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_and_unpacking_gives_the_frame_back() {
        let frame = b"dwcp ".repeat(1000);
        let packed = pack(&frame);
        assert!(packed.len() < frame.len() / 10);
        assert_eq!(unpack(&packed[8..], frame.len()).ok(), Some(frame));
    }

    #[test]
    fn a_claimed_length_above_the_limit_is_refused_before_allocating() {
        let refused =
            |word, unpacked| matches!(lengths(word, unpacked, 1 << 20), Err(FrameError::TooLong { .. }));
        assert!(refused(COMPRESSED | 5, Some(u32::MAX)));
        assert!(refused(COMPRESSED | 0x7fff_ffff, Some(1)));
        assert!(refused(1 + (1 << 20), None));
        assert!(matches!(lengths(1 << 20, None, 1 << 20), Ok((length, _)) if length == 1 << 20));
        assert!(matches!(lengths(COMPRESSED | 3, Some(1), 1 << 20), Err(FrameError::Unpack(_))));
        assert!(matches!(lengths(COMPRESSED | 9, Some(70), 1 << 20), Ok((5, 70))));
    }

    #[test]
    fn a_frame_that_unpacks_to_more_or_less_than_it_claims_is_refused() {
        let packed = pack(&b"dwcp ".repeat(1000));
        assert!(unpack(&packed[8..], 4_999).is_err());
        assert!(unpack(&packed[8..], 5_001).is_err());
    }
}
