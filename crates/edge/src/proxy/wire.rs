//! A client's socket, with what was read of it before it was known what it speaks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::mark::{Mark, Marked};

/// The most that is kept of what a client says first, bytes.
const KEPT_BYTES: usize = 64 * 1024;

pub(super) struct Wire {
    tcp: TcpStream,
    /// Read already, and still to be given out.
    before: Bytes,
    /// What is given out is also kept here.
    kept: Option<Vec<u8>>,
    /// How what is sent is to be marked, and how it is.
    wanted: Arc<Marked>,
    has: Mark,
}

impl Wire {
    pub fn new(tcp: TcpStream, before: Bytes) -> Wire {
        Wire { tcp, before, kept: None, wanted: Arc::default(), has: Mark::default() }
    }

    /// What is sent is marked as this says from then on.
    pub fn marked(mut self, wanted: Arc<Marked>) -> Wire {
        self.wanted = wanted;
        self
    }

    fn mark(&mut self) {
        let wanted = self.wanted.get();
        if wanted != self.has {
            self.has = wanted;
            wanted.put(&self.tcp);
        }
    }

    /// From now on what is read is kept.
    pub fn keeping(mut self) -> Wire {
        self.kept = Some(Vec::new());
        self
    }

    /// What was kept; nothing more is kept.
    pub fn take_kept(&mut self) -> Vec<u8> {
        self.kept.take().unwrap_or_default()
    }

    /// The same socket, from which these bytes are read first.
    pub fn with_before(self, bytes: Vec<u8>) -> Wire {
        Wire { before: [bytes.as_slice(), &self.before].concat().into(), ..self }
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kept) = &mut self.kept {
            if kept.len() + bytes.len() > KEPT_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the first message is too long"));
            }
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = into.filled().len();
        if self.before.has_remaining() {
            let take = self.before.len().min(into.remaining());
            into.put_slice(&self.before.split_to(take));
            if self.before.is_empty() {
                self.before = Bytes::new();
            }
        } else {
            ready!(Pin::new(&mut self.tcp).poll_read(cx, into))?;
        }
        Poll::Ready(self.keep(&into.filled()[filled..]))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.mark();
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.mark();
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
