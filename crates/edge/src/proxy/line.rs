//! One connection of a client, from its admission to its end: what it is doing, since when, and whether that is too long.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::admission::Admitted;
use super::heads::{Heads, Part};
use super::limits::Limits;
use super::mark::Marked;

const FIRST: u8 = 0;
const BETWEEN: u8 = 1;
const HEAD: u8 = 2;
const BODY: u8 = 3;

/// How long what still comes is thrown away, ms.
const LINGER_MS: u64 = 1_000;

/// What is known of a connection. Kept as long as anything of it goes on, a tunnel too.
pub(super) struct Line {
    pub client: IpAddr,
    begun: Instant,
    part: AtomicU8,
    /// When the part began, ms after `begun`.
    part_at_ms: AtomicU64,
    /// Since when a write waits, ms after `begun`; 0: none does.
    writes_wait_ms: AtomicU64,
    /// Requests under way.
    busy: AtomicU32,
    /// When the last one ended.
    quiet_at_ms: AtomicU64,
    /// Why everything that comes is refused.
    refused: OnceLock<&'static str>,
    /// Bytes are no HTTP any more.
    pub raw: AtomicBool,
    /// How what is sent to the client is marked.
    pub mark: Arc<Marked>,
    pub admitted: Admitted,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Look again so many ms later.
    Later(u64),
    /// It has been idle long enough: close it in an orderly way.
    Idle,
    /// Too slow.
    Cut,
}

impl Line {
    pub fn new(client: IpAddr, admitted: Admitted) -> Line {
        Line {
            client,
            begun: Instant::now(),
            part: AtomicU8::new(FIRST),
            part_at_ms: AtomicU64::new(0),
            writes_wait_ms: AtomicU64::new(0),
            busy: AtomicU32::new(0),
            quiet_at_ms: AtomicU64::new(0),
            refused: OnceLock::new(),
            raw: AtomicBool::new(false),
            mark: Arc::default(),
            admitted,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 + 1
    }

    /// A request begins.
    pub fn enter(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    /// It ended.
    pub fn leave(&self) {
        self.quiet_at_ms.store(self.now_ms(), Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    pub fn busy(&self) -> u32 {
        self.busy.load(Relaxed)
    }

    /// Why what comes here is refused.
    pub fn refused(&self) -> Option<&'static str> {
        self.refused.get().copied()
    }

    /// What is to be done now.
    pub fn due(&self, limits: &Limits) -> Due {
        let now = self.now_ms();
        let waits = self.writes_wait_ms.load(Relaxed);
        if waits > 0 && now - waits.min(now) >= limits.write_ms {
            return Due::Cut;
        }
        let part_ms = now.saturating_sub(self.part_at_ms.load(Relaxed));
        let part = self.part.load(Relaxed);
        let often = limits.header_ms.min(limits.idle_ms).min(limits.write_ms).max(10);
        if self.busy() > 0 {
            return Due::Later(often);
        }
        let quiet_ms = now.saturating_sub(self.quiet_at_ms.load(Relaxed)).min(part_ms);
        match part {
            HEAD | FIRST if part_ms >= limits.header_ms => Due::Cut,
            HEAD | FIRST => Due::Later(limits.header_ms - part_ms),
            // Nobody reads this body: the answer was sent before.
            _ if quiet_ms >= limits.idle_ms => Due::Idle,
            _ => Due::Later(often.min(limits.idle_ms - quiet_ms).max(1)),
        }
    }

    fn enter_part(&self, part: u8) {
        if self.part.swap(part, Relaxed) != part {
            self.part_at_ms.store(self.now_ms(), Relaxed);
        }
    }
}

/// A connection's bytes as they go by.
pub(super) struct Watched<T> {
    io: T,
    line: Arc<Line>,
    /// Of HTTP/1.
    heads: Option<Heads>,
    /// What still comes after our last word is read and thrown away until then: a socket that is closed over unread bytes
    /// takes that word back.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl<T> Watched<T> {
    /// Of HTTP/1 with heads of at most so many bytes.
    pub fn http1(io: T, line: Arc<Line>, most: usize) -> Watched<T> {
        Watched { io, line, heads: Some(Heads::new(most)), lingers: None }
    }

    /// Of HTTP/2, which is watched by its requests.
    pub fn http2(io: T, line: Arc<Line>) -> Watched<T> {
        line.enter_part(BETWEEN);
        Watched { io, line, heads: None, lingers: None }
    }

    fn saw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.admitted.bytes_in.fetch_add(bytes.len() as u64, Relaxed);
        let Some(heads) = &mut self.heads else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        if self.line.raw.load(Relaxed) {
            self.heads = None;
            return Ok(());
        }
        let in_body = heads.part() == Part::Body;
        if let Err(why) = heads.see(bytes) {
            let _ = self.line.refused.set(why);
            self.line.enter_part(BETWEEN);
            // The request is on its way already: it ends broken. Otherwise it is answered.
            if in_body {
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            return Ok(());
        }
        self.line.enter_part(match heads.part() {
            Part::Between => BETWEEN,
            Part::Head => HEAD,
            Part::Body => BODY,
        });
        Ok(())
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(count)) => {
                self.line.admitted.bytes_out.fetch_add(*count as u64, Relaxed);
                if self.line.writes_wait_ms.load(Relaxed) != 0 {
                    self.line.writes_wait_ms.store(0, Relaxed);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let now = self.line.now_ms();
                let _ = self.line.writes_wait_ms.compare_exchange(0, now, Relaxed, Relaxed);
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, into))?;
        Poll::Ready(self.saw(&into.filled()[filled..]))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !self.heads.as_ref().is_some_and(|heads| heads.part() == Part::Body) {
                return Poll::Ready(Ok(()));
            }
            self.lingers = Some(Box::pin(tokio::time::sleep(Duration::from_millis(LINGER_MS))));
        }
        let mut thrown = [MaybeUninit::uninit(); 4096];
        loop {
            let mut into = ReadBuf::uninit(&mut thrown);
            match Pin::new(&mut self.io).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        match &mut self.lingers {
            Some(timer) => timer.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
