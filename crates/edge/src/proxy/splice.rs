//! Bytes both ways between two sockets, until both sides ended or nothing moved for too long.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is on its way in one direction, bytes.
const BUFFER: usize = 16 * 1024;

/// Carries bytes; how many went from `a` and to `a`, also when it ended badly.
pub(super) async fn splice<A, B>(a: &mut A, b: &mut B, idle_ms: u64) -> (u64, u64)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let seen = Seen {
        begun: Instant::now(),
        last_ms: AtomicU64::new(0),
        from: AtomicU64::new(0),
        to: AtomicU64::new(0),
    };
    let mut a = Side { io: a, seen: &seen };
    let carry = tokio::io::copy_bidirectional_with_sizes(&mut a, b, BUFFER, BUFFER);
    tokio::select! {
        _ = carry => {}
        () = seen.quiet(idle_ms) => {}
    }
    (seen.from.load(Relaxed), seen.to.load(Relaxed))
}

struct Seen {
    begun: Instant,
    last_ms: AtomicU64,
    from: AtomicU64,
    to: AtomicU64,
}

impl Seen {
    /// Comes back when nothing moved for so long.
    async fn quiet(&self, idle_ms: u64) {
        loop {
            let quiet_ms = self.now_ms().saturating_sub(self.last_ms.load(Relaxed));
            if quiet_ms >= idle_ms {
                return;
            }
            tokio::time::sleep(Duration::from_millis(idle_ms - quiet_ms)).await;
        }
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn moved(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, Relaxed);
        self.last_ms.store(self.now_ms(), Relaxed);
    }
}

/// One of the two; all that moves goes through it.
struct Side<'a, T> {
    io: &'a mut T,
    seen: &'a Seen,
}

impl<T: AsyncRead + Unpin> AsyncRead for Side<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = into.filled().len();
        let result = Pin::new(&mut *self.io).poll_read(cx, into);
        if into.filled().len() > filled {
            self.seen.moved(&self.seen.from, into.filled().len() - filled);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Side<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut *self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &result {
            self.seen.moved(&self.seen.to, *count);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}
