//! Connections to endpoints, kept for later requests.
//!
//! A connection has no task of its own: whoever uses it drives it, and nobody drives those that wait. Before one is used again it is
//! looked at once, which finds it closed if the endpoint closed it meanwhile.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::connect::{Patience, connect};
use super::limits::Limits;
use super::mark::Mark;
use super::sent::Sent;

const SHARDS: usize = 16;
/// The most that is read or written ahead, bytes.
const BUFFER: usize = 128 * 1024;

/// A connection to an endpoint.
pub(super) struct Conn {
    address: SocketAddr,
    send: SendRequest<Sent>,
    run: Option<Connection<TokioIo<TcpStream>, Sent>>,
    /// It came to its end in good order; after an upgrade the socket is in it.
    ended: Option<Connection<TokioIo<TcpStream>, Sent>>,
    /// It served a request before.
    pub reused: bool,
}

/// A request that failed.
pub(super) struct Unsent {
    /// It is here when not a byte of it was sent.
    pub request: Option<Request<Sent>>,
    pub error: hyper::Error,
}

impl Conn {
    /// Drives it.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(run) = &mut self.run {
            if let Poll::Ready(end) = run.poll_without_shutdown(cx) {
                let run = self.run.take();
                self.ended = if end.is_ok() { run } else { None };
            }
        }
    }

    /// It can take another request.
    pub fn is_ready(&self) -> bool {
        self.run.is_some() && self.send.is_ready()
    }

    /// Sends a request and waits until its answer begins.
    pub async fn exchange(&mut self, request: Request<Sent>) -> Result<Response<Incoming>, Unsent> {
        let mut answer = pin!(self.send.try_send_request(request));
        let result = poll_fn(|cx| {
            self.poll(cx);
            if let Poll::Ready(result) = answer.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if self.run.is_none() {
                // Whoever still waits for something of it is told when it is dropped.
                self.ended = None;
                return answer.as_mut().poll(cx);
            }
            Poll::Pending
        });
        result.await.map_err(|mut error| Unsent { request: error.take_message(), error: error.into_error() })
    }

    /// The socket after an upgrade, with what was read too far.
    pub async fn upgraded(mut self) -> Option<(TcpStream, Bytes)> {
        poll_fn(|cx| {
            self.poll(cx);
            if self.run.is_some() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let parts = self.ended?.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }
}

struct Kept {
    conn: Conn,
    since: Instant,
}

/// Those that wait for their next request.
pub(super) struct Upstreams {
    shards: [Mutex<HashMap<SocketAddr, Vec<Kept>>>; SHARDS],
    kept: AtomicUsize,
    builder: Builder,
    limits: Limits,
}

impl Upstreams {
    pub fn new(limits: &Limits) -> Upstreams {
        let mut builder = Builder::new();
        builder.max_headers(limits.headers).max_header_size(2 * limits.header_bytes).max_buf_size(BUFFER);
        Upstreams {
            shards: std::array::from_fn(|_| Mutex::default()),
            kept: AtomicUsize::new(0),
            builder,
            limits: limits.clone(),
        }
    }

    /// One that was kept and is still open, the one used last first.
    pub async fn kept(&self, address: SocketAddr) -> Option<Conn> {
        loop {
            let mut conn = self.take(address)?;
            poll_fn(|cx| {
                let _: () = conn.poll(cx);
                Poll::Ready(())
            })
            .await;
            if conn.is_ready() {
                conn.reused = true;
                return Some(conn);
            }
        }
    }

    fn take(&self, address: SocketAddr) -> Option<Conn> {
        let oldest = Duration::from_millis(self.limits.kept_ms);
        let kept = {
            let mut shard = self.shard(address).lock().unwrap_or_else(PoisonError::into_inner);
            let list = shard.get_mut(&address)?;
            let kept = list.pop()?;
            if list.is_empty() && list.capacity() > 8 {
                shard.remove(&address);
            }
            kept
        };
        self.kept.fetch_sub(1, Relaxed);
        // The others were used even longer ago; they are swept out.
        (kept.since.elapsed() < oldest).then_some(kept.conn)
    }

    /// A new one.
    ///
    /// # Errors
    /// The endpoint can't be connected to, or not in time.
    pub async fn open(&self, address: SocketAddr, mark: Mark, patience: Patience) -> io::Result<Conn> {
        let tcp = connect(address, mark, patience).await?;
        let (send, run) = self.builder.handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
        Ok(Conn { address, send, run: Some(run), ended: None, reused: false })
    }

    /// Keeps one that is ready for its next request, if there is room.
    pub fn put(&self, conn: Conn) {
        if self.kept.load(Relaxed) >= self.limits.kept {
            return;
        }
        let mut shard = self.shard(conn.address).lock().unwrap_or_else(PoisonError::into_inner);
        let list = shard.entry(conn.address).or_default();
        if list.len() < self.limits.kept_per_endpoint {
            list.push(Kept { conn, since: Instant::now() });
            self.kept.fetch_add(1, Relaxed);
        }
    }

    /// Closes those that waited too long.
    pub fn sweep(&self) {
        let oldest = Duration::from_millis(self.limits.kept_ms);
        for shard in &self.shards {
            let mut gone = Vec::new();
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, list| {
                let stay = list.partition_point(|kept| kept.since.elapsed() >= oldest);
                gone.extend(list.drain(..stay));
                !list.is_empty()
            });
            drop(shard);
            self.kept.fetch_sub(gone.len(), Relaxed);
        }
    }

    fn shard(&self, address: SocketAddr) -> &Mutex<HashMap<SocketAddr, Vec<Kept>>> {
        let bits = match address {
            SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()),
            SocketAddr::V6(v6) => v6.ip().to_bits() as u64 ^ u64::from(v6.port()),
        };
        &self.shards[(super::shared::mix(bits) % SHARDS as u64) as usize]
    }
}

/// Drives a connection while something of its answer is waited for.
pub(super) fn drive<T>(
    conn: &mut Option<Conn>,
    cx: &mut Context<'_>,
    mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if let Poll::Ready(part) = part(cx) {
        return Poll::Ready(part);
    }
    let Some(conn) = conn else { return Poll::Pending };
    conn.poll(cx);
    if conn.run.is_none() {
        conn.ended = None;
    }
    part(cx)
}
