//! The body of an answer on its way to the client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::pace::Pace;
use super::record::Record;
use super::upstream::{self, Conn, Upstreams};

/// An answer's body. The request ends with it.
// One is made for each request and goes at once: a box for the usual one would cost more.
#[allow(clippy::large_enum_variant)]
pub(super) enum Answer {
    Own(Own),
    Upstream(Box<Upstream>),
}

pub(super) struct Own {
    bytes: Bytes,
    record: Record,
}

/// As it comes from an endpoint.
pub(super) struct Upstream {
    body: Incoming,
    conn: Option<Conn>,
    upstreams: Arc<Upstreams>,
    record: Record,
    idle_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
    /// Says when the client took something last; HTTP/2 only.
    pace: Option<Arc<Pace>>,
}

/// An answer that broke off.
#[derive(Debug)]
pub(super) struct Broken(pub &'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl Answer {
    pub fn own(bytes: Bytes, mut record: Record) -> Answer {
        record.whole = true;
        Answer::Own(Own { bytes, record })
    }

    /// As it comes from an endpoint; with a pace it is told when it is whose turn.
    pub async fn upstream(body: Incoming, conn: Conn, record: Record, pace: Option<Arc<Pace>>) -> Answer {
        let shared = record.shared();
        let (upstreams, idle_ms) = (Arc::clone(&shared.upstreams), shared.limits.answer_idle_ms);
        let conn = Some(conn);
        let mut upstream =
            Upstream { body, conn, upstreams, record, idle_ms, timer: None, waits: false, pace };
        if upstream.body.is_end_stream() {
            poll_fn(|cx| {
                upstream.end(cx);
                Poll::Ready(())
            })
            .await;
        }
        Answer::Upstream(Box::new(upstream))
    }
}

impl Upstream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let body = &mut self.body;
        let frame = upstream::drive(&mut self.conn, cx, |cx| Pin::new(&mut *body).poll_frame(cx));
        let Poll::Ready(frame) = frame else {
            if let Some(pace) = &self.pace {
                pace.waits();
            }
            ready!(self.wait(cx));
            return self.break_off("the endpoint's answer stopped");
        };
        self.waits = false;
        if let Some(pace) = &self.pace {
            pace.moved();
        }
        match frame {
            Some(Ok(frame)) => {
                self.record.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.body.is_end_stream() {
                    self.end(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => self.break_off("the endpoint's answer broke off"),
            None => {
                self.end(cx);
                Poll::Ready(None)
            }
        }
    }

    fn break_off(&mut self, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.conn = None;
        self.record.broken_off = true;
        Poll::Ready(Some(Err(Broken(why))))
    }

    /// Everything came. The connection is for others now, if both sides are done with this request.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.record.whole = true;
        if let Some(mut conn) = self.conn.take() {
            conn.poll(cx);
            if conn.is_ready() {
                self.upstreams.put(conn);
            }
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

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Answer::Own(own) => {
                let bytes = std::mem::take(&mut own.bytes);
                own.record.bytes_out += bytes.len() as u64;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Answer::Upstream(upstream) => upstream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Own(own) => own.bytes.is_empty(),
            Answer::Upstream(upstream) => upstream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Own(own) => SizeHint::with_exact(own.bytes.len() as u64),
            Answer::Upstream(upstream) => upstream.body.size_hint(),
        }
    }
}
