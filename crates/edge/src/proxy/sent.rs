//! The body of a request on its way to an endpoint.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::limits::Limits;

/// Why a body was not sent to its end; the client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Slow = 1,
    TooLong = 2,
    Broken = 3,
}

/// What came of a body.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub bytes: AtomicU64,
    fault: AtomicU8,
}

impl Taken {
    pub fn fault(&self) -> Option<Fault> {
        [Fault::Slow, Fault::TooLong, Fault::Broken]
            .into_iter()
            .find(|fault| *fault as u8 == self.fault.load(Relaxed))
    }
}

/// A body of a request.
pub(super) enum Sent {
    None,
    /// Kept here, so that it can be sent again.
    Whole(Bytes),
    /// As it comes from the client.
    Stream(Box<Stream>),
}

pub(super) struct Stream {
    body: Incoming,
    http2: bool,
    most: u64,
    idle_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
    taken: Arc<Taken>,
}

impl Sent {
    /// As it comes.
    pub fn stream(body: Incoming, http2: bool, limits: &Limits, taken: &Arc<Taken>) -> Sent {
        Sent::Stream(Box::new(Stream {
            body,
            http2,
            most: limits.body_bytes,
            idle_ms: limits.body_idle_ms,
            timer: None,
            waits: false,
            taken: Arc::clone(taken),
        }))
    }

    /// The same once more; none: it is gone.
    pub fn again(&self) -> Option<Sent> {
        match self {
            Sent::None => Some(Sent::None),
            Sent::Whole(bytes) => Some(Sent::Whole(bytes.clone())),
            Sent::Stream(_) => None,
        }
    }
}

impl Stream {
    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.taken.fault.store(fault as u8, Relaxed);
        Poll::Ready(Some(Err(fault)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.wait(cx));
                return self.fail(Fault::Slow);
            };
            self.waits = false;
            let data = match frame {
                // Taken back without an error (NO_ERROR) a body of HTTP/2 looks whole.
                None if self.http2 && !self.body.is_end_stream() => return self.fail(Fault::Broken),
                None => return Poll::Ready(None),
                Some(Err(_)) => return self.fail(Fault::Broken),
                Some(Ok(frame)) => frame.into_data(),
            };
            // Fields after a body say nothing that a server may rely on: they end here.
            let Ok(data) = data else { continue };
            let before = self.taken.bytes.fetch_add(data.len() as u64, Relaxed);
            if before + data.len() as u64 > self.most {
                return self.fail(Fault::TooLong);
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = Instant::now() + Duration::from_millis(self.idle_ms);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Slow => "the body came too slowly",
            Fault::TooLong => "the body is too long",
            Fault::Broken => "the body broke off",
        })
    }
}

impl std::error::Error for Fault {}

impl Body for Sent {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Sent::None => Poll::Ready(None),
            whole @ Sent::Whole(_) => match std::mem::replace(whole, Sent::None) {
                Sent::Whole(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Sent::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Sent::None => true,
            Sent::Whole(bytes) => bytes.is_empty(),
            Sent::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Sent::None => SizeHint::with_exact(0),
            Sent::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Sent::Stream(stream) => stream.body.size_hint(),
        }
    }
}
