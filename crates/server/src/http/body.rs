//! Bodies: requests read to a limit, answers whole or as a stream.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dwcp_api::{Problem, problem::status_of};
use dwcp_types::Code;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Largest request body, bytes.
const LARGEST_BYTES: usize = 1 << 20;
/// A body that is too large is still read up to here, so that its sender gets to read the refusal.
const DRAINED_BYTES: usize = 64 << 20;
/// How long a body may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(15);

/// The body of an answer.
pub enum Outgoing {
    /// All of it; none once it is sent.
    Whole(Option<Bytes>),
    /// Pieces as they come; ends with its sender.
    Stream(mpsc::Receiver<Bytes>),
}

impl Outgoing {
    pub fn whole(bytes: impl Into<Bytes>) -> Outgoing {
        Outgoing::Whole(Some(bytes.into()))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Stream(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|p| Ok(Frame::data(p))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Outgoing::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads a request's body. Too large: status 413; too slow: 408.
pub async fn read(body: Incoming) -> Result<Vec<u8>, Problem> {
    read_within(body, LARGEST_BYTES).await
}

/// The same of at most so many bytes.
pub async fn read_within(mut body: Incoming, limit: usize) -> Result<Vec<u8>, Problem> {
    match timeout(ARRIVES_WITHIN, read_frames(&mut body, limit)).await {
        Ok(read) => read,
        Err(_) => {
            let title = "the request's body did not arrive in time";
            Err(Problem::new(408, Code::Malformed.as_str(), title)
                .because(format!("limit: {} s", ARRIVES_WITHIN.as_secs()))
                .and_then("nothing was changed"))
        }
    }
}

async fn read_frames(body: &mut Incoming, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut arrived = 0;
    // Of one that says that it is too large nothing is held.
    let held = if body.size_hint().lower() > limit as u64 { 0 } else { limit };
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame.map_err(|error| Problem::bad_request(&format!("the body broke off: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        arrived += data.len();
        if arrived <= held {
            bytes.extend_from_slice(data);
        }
        if arrived > DRAINED_BYTES {
            break;
        }
    }
    if arrived <= limit { Ok(bytes) } else { Err(too_large(limit)) }
}

/// A body of more than so many bytes: status 413.
pub fn too_large(limit: usize) -> Problem {
    Problem::new(status_of(Code::TooLarge), Code::TooLarge.as_str(), Code::TooLarge.page().title)
        .because(format!("a body may have at most {limit} bytes"))
        .and_then("nothing was changed")
}
