//! A connection's bytes as they go by.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::heads::{Heads, Part};
use super::line::Line;

/// How long what still comes is thrown away, ms.
const LINGER_MS: u64 = 1_000;
/// Read at a time while no parser is there, bytes.
const AT_ONCE: usize = 2 * 1024;

/// A socket, and what is known of what was read of it.
pub(super) struct Socket<T> {
    pub io: T,
    /// Of HTTP/1.
    heads: Option<Heads>,
    /// Read already, and still to be parsed.
    before: BytesMut,
}

/// What came while no parser was there.
pub(super) enum Came {
    /// A part of a head.
    Part,
    /// A whole head, or what has to be refused.
    Request,
    /// The beginning of HTTP/2.
    Http2,
    /// Nothing: it is over.
    End,
}

impl<T> Socket<T> {
    /// Of HTTP/1 with heads of at most so many bytes; with `http2` it may turn out to be of HTTP/2.
    pub fn http1(io: T, most: usize, http2: bool) -> Socket<T> {
        Socket { io, heads: Some(Heads::new(most, http2)), before: BytesMut::new() }
    }

    /// Of HTTP/2, which is watched by its requests.
    pub fn http2(io: T) -> Socket<T> {
        Socket { io, heads: None, before: BytesMut::new() }
    }

    /// It turned out to be of HTTP/2.
    pub fn turned(self) -> Socket<T> {
        Socket { heads: None, ..self }
    }

    /// Nothing was read that nobody has parsed.
    pub fn is_read(&self) -> bool {
        self.before.is_empty()
    }

    fn saw(&mut self, line: &Line, bytes: &[u8]) -> io::Result<()> {
        line.admitted.bytes_in.fetch_add(bytes.len() as u64, Relaxed);
        let Some(heads) = &mut self.heads else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        if line.raw.load(Relaxed) {
            self.heads = None;
            return Ok(());
        }
        let in_body = heads.part() == Part::Body;
        if let Err(why) = heads.see(bytes) {
            line.refuse(why);
            // The request is on its way already: it ends broken. Otherwise it is answered.
            if in_body {
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            return Ok(());
        }
        line.enters(heads.part());
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> Socket<T> {
    /// Reads what is there and keeps it for the parser.
    pub fn poll_more(&mut self, cx: &mut Context<'_>, line: &Line) -> Poll<Came> {
        let mut space = [MaybeUninit::uninit(); AT_ONCE];
        let mut into = ReadBuf::uninit(&mut space);
        if ready!(Pin::new(&mut self.io).poll_read(cx, &mut into)).is_err() {
            return Poll::Ready(Came::End);
        }
        let bytes = into.filled();
        if bytes.is_empty() {
            // Half a head and no more: the parser says so.
            return Poll::Ready(if self.is_read() { Came::End } else { Came::Request });
        }
        self.before.extend_from_slice(bytes);
        let ended = |socket: &Self| socket.heads.as_ref().map_or(0, Heads::ended);
        let whole = ended(self);
        if self.saw(line, bytes).is_err() {
            return Poll::Ready(Came::End);
        }
        if self.heads.as_ref().is_some_and(Heads::is_http2) {
            return Poll::Ready(Came::Http2);
        }
        let in_head = self.heads.as_ref().is_some_and(|heads| heads.part() == Part::Head);
        // Of the first head: behind a whole one a part of the next may stand.
        let in_first = in_head && ended(self) == whole && line.refused().is_none();
        Poll::Ready(if in_first { Came::Part } else { Came::Request })
    }
}

/// A socket in the hands of a parser. Whoever lent it has it back when the parser is gone.
pub(super) struct Watched<T> {
    socket: Arc<Mutex<Socket<T>>>,
    line: Arc<Line>,
    /// What still comes after our last word is read and thrown away until then: a socket that is closed over unread bytes
    /// takes that word back.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl<T> Watched<T> {
    pub fn new(socket: Arc<Mutex<Socket<T>>>, line: Arc<Line>) -> Watched<T> {
        Watched { socket, line, lingers: None }
    }

    fn socket(&self) -> MutexGuard<'_, Socket<T>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(bytes)) => self.line.wrote(Some(*bytes)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.line.wrote(None),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.socket();
        if !socket.is_read() {
            let bytes = socket.before.len().min(into.remaining());
            into.put_slice(&socket.before[..bytes]);
            socket.before.advance(bytes);
            if socket.is_read() {
                socket.before = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let filled = into.filled().len();
        ready!(Pin::new(&mut socket.io).poll_read(cx, into))?;
        Poll::Ready(socket.saw(&self.line, &into.filled()[filled..]))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket().io).poll_write(cx, bytes);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket().io).poll_write_vectored(cx, slices);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket().io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket().io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut socket = this.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if this.lingers.is_none() {
            ready!(Pin::new(&mut socket.io).poll_shutdown(cx))?;
            if !socket.heads.as_ref().is_some_and(|heads| heads.part() == Part::Body) {
                return Poll::Ready(Ok(()));
            }
            this.lingers = Some(Box::pin(tokio::time::sleep(Duration::from_millis(LINGER_MS))));
        }
        let mut thrown = [MaybeUninit::uninit(); 4096];
        loop {
            let mut into = ReadBuf::uninit(&mut thrown);
            match Pin::new(&mut socket.io).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        match &mut this.lingers {
            Some(timer) => timer.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
