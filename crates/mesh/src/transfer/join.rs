//! Joins a unix socket and a stream, byte for byte.

use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Pace;

/// Most that is taken from a socket or a stream at once, bytes.
const PIECE_BYTES: usize = 128 << 10;
/// What the other end is told of a stream that was torn down.
const TORN: VarInt = VarInt::from_u32(1);

/// The sending half of a stream. Unless it is finished, dropping it tells the other end that bytes are missing; a stream
/// of the library's own would end as if it were whole.
pub(super) struct Sending {
    stream: SendStream,
    finished: bool,
}

impl Sending {
    pub(super) fn new(stream: SendStream) -> Sending {
        Sending { stream, finished: false }
    }

    pub(super) fn stream(&mut self) -> &mut SendStream {
        &mut self.stream
    }

    /// Says that all was sent.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        // Fails only when the other end has stopped it; then nobody waits for the end.
        let _ = self.stream.finish();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.stream.reset(TORN);
        }
    }
}

/// Sends what the socket gives until its end.
pub(super) async fn send(mut from: OwnedReadHalf, mut to: Sending, pace: &Pace) -> Result<(), String> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).await.map_err(|e| format!("local socket: {e}"))?;
        if count == 0 {
            to.finish();
            return Ok(());
        }
        pace.take(count).await;
        to.stream().write_all(&piece[..count]).await.map_err(|e| e.to_string())?;
        pace.count_sent(count);
    }
}

/// Gives the socket what comes until its end.
pub(super) async fn receive(mut from: RecvStream, mut to: OwnedWriteHalf, pace: &Pace) -> Result<(), String> {
    while let Some(chunk) = from.read_chunk(PIECE_BYTES, true).await.map_err(|e| e.to_string())? {
        to.write_all(&chunk.bytes).await.map_err(|e| format!("local socket: {e}"))?;
        pace.count_received(chunk.bytes.len());
    }
    to.shutdown().await.map_err(|e| format!("local socket: {e}"))
}
