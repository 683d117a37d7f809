//! Frames on a stream: four bytes (length, top bit = compressed) and the payload.
//!
//! A compressed payload begins with its length when unpacked, so that the reader can refuse before it allocates.

use std::fmt;

use quinn::{ReadExactError, RecvStream, SendStream, WriteError};

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
    let packed = if frame.len() <= COMPRESS_ABOVE_BYTES {
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

/// Reads one frame of at most `limit` bytes (unpacked); returns it with the bytes taken from the stream.
pub(crate) async fn read(stream: &mut RecvStream, limit: usize) -> Result<(Vec<u8>, u64), FrameError> {
    let mut head = [0u8; 4];
    stream.read_exact(&mut head).await.map_err(FrameError::Read)?;
    let head = u32::from_be_bytes(head);
    let length = (head & !COMPRESSED) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut body = vec![0u8; length];
    stream.read_exact(&mut body).await.map_err(FrameError::Read)?;
    let taken = 4 + length as u64;
    if head & COMPRESSED == 0 {
        return Ok((body, taken));
    }
    let frame = if length > OFFLOAD_ABOVE_BYTES {
        tokio::task::spawn_blocking(move || unpack(&body, limit))
            .await
            .map_err(|e| FrameError::Unpack(e.to_string()))??
    } else {
        unpack(&body, limit)?
    };
    Ok((frame, taken))
}

fn unpack(body: &[u8], limit: usize) -> Result<Vec<u8>, FrameError> {
    let (head, packed) =
        body.split_first_chunk::<4>().ok_or_else(|| FrameError::Unpack("no length".into()))?;
    let length = u32::from_be_bytes(*head) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
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
        assert_eq!(unpack(&packed[4..], 1 << 20).ok(), Some(frame));
    }

    #[test]
    fn a_claimed_length_above_the_limit_is_refused_before_allocating() {
        let mut body = u32::MAX.to_be_bytes().to_vec();
        body.extend_from_slice(b"x");
        assert!(matches!(unpack(&body, 1 << 20), Err(FrameError::TooLong { .. })));
    }
}
