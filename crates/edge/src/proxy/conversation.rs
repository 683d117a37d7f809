//! A connection that speaks HTTP.

use std::error::Error;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dwcp_decide::route::Place;
use hyper::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::line::{Due, Line, REST_MS};
use super::pace::Paces;
use super::rest::{self, Begins};
use super::shared::{Closing, Shared};
use super::turn;
use super::watched::{Socket, Watched};

/// HTTP/2's windows, bytes: of one request's body, and of all of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// The most that is read or written ahead for one client, bytes.
const BUFFER: usize = 128 * 1024;
const SEND_BUFFER: usize = 128 * 1024;
/// How long an orderly end may take when nothing is under way, ms.
pub(super) const FAREWELL_MS: u64 = 1_000;

/// What all requests of a connection have in common.
pub(super) struct Conversation {
    pub shared: Arc<Shared>,
    pub line: Arc<Line>,
    pub place: Option<Place>,
    /// It came by TLS.
    pub secure: bool,
    pub http2: bool,
    /// The other side is a balancer whose word about clients counts.
    pub trusted: bool,
    /// The other side's address.
    pub peer_text: HeaderValue,
    /// Of HTTP/2.
    pub paces: Paces,
}

impl Conversation {
    pub fn new(shared: &Arc<Shared>, line: Line, secure: bool, trusted: bool) -> Conversation {
        let text = line.client.to_string();
        Conversation {
            shared: Arc::clone(shared),
            place: shared.placing.place(line.client),
            line: Arc::new(line),
            secure,
            http2: false,
            trusted,
            peer_text: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            paces: Paces::default(),
        }
    }

    /// Serves HTTP/1.1 until its end; or HTTP/2, when a client without TLS begins with that.
    pub async fn http1<T>(self, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut socket = Socket::http1(io, self.shared.limits.header_bytes, !self.secure);
        let mut begins = rest::until_a_request(&self, &mut socket).await;
        if begins == Begins::Http2 {
            return Box::pin(self.http2(socket.turned())).await;
        }
        let talk = Arc::new(self);
        let limits = &talk.shared.limits;
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(None::<Duration>);
        builder.max_headers(limits.headers).max_header_size(limits.header_bytes).max_buf_size(BUFFER);
        while begins == Begins::Request {
            let lent = Arc::new(Mutex::new(socket));
            let io = TokioIo::new(Watched::new(Arc::clone(&lent), Arc::clone(&talk.line)));
            let turns = Arc::clone(&talk);
            let service = service_fn(move |request| turn::take(Arc::clone(&turns), request));
            let mut conn = Box::pin(builder.serve_connection(io, service).with_upgrades());
            if run(&talk, conn.as_mut(), |conn| conn.graceful_shutdown()).await == Ran::Ended {
                return;
            }
            drop(conn);
            let Some(back) = Arc::into_inner(lent) else { return };
            socket = back.into_inner().unwrap_or_else(PoisonError::into_inner);
            talk.shared.counts.rested.fetch_add(1, Relaxed);
            begins = rest::until_a_request(&talk, &mut socket).await;
        }
    }

    /// Serves HTTP/2 until its end.
    pub async fn http2<T>(mut self, socket: Socket<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.http2 = true;
        let talk = Arc::new(self);
        let limits = &talk.shared.limits;
        let io = Watched::new(Arc::new(Mutex::new(socket)), Arc::clone(&talk.line));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_pending_accept_reset_streams(limits.resets)
            .max_local_error_reset_streams(limits.resets)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        let turns = Arc::clone(&talk);
        let service = service_fn(move |request| turn::take(Arc::clone(&turns), request));
        let mut conn = Box::pin(builder.serve_connection(TokioIo::new(io), service));
        run(&talk, conn.as_mut(), |conn| conn.graceful_shutdown()).await;
    }

    /// How long a connection may take until it is looked at first, ms.
    pub fn first_ms(&self) -> u64 {
        self.shared.limits.header_ms.min(self.shared.limits.idle_ms)
    }

    pub fn due(&self) -> Due {
        let limits = &self.shared.limits;
        if self.http2 && self.paces.rests_ms() >= limits.write_ms {
            return Due::Cut;
        }
        self.line.due(limits)
    }

    /// Drives a connection. Ready: it is over.
    fn poll<C>(&self, conn: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let ended = conn.poll(cx);
        if self.trusted {
            return ended.map(drop);
        }
        let cut_by_library = matches!(&ended, Poll::Ready(Err(error)) if is_too_much(error));
        if cut_by_library {
            let resets = u32::try_from(self.shared.limits.resets).unwrap_or(u32::MAX);
            self.line.admitted.resets.fetch_add(resets, Relaxed);
        }
        if cut_by_library || (ended.is_pending() && self.line.abused.load(Relaxed)) {
            self.shared.counts.abused.fetch_add(1, Relaxed);
            return Poll::Ready(());
        }
        ended.map(drop)
    }

    /// HTTP/2 is never without its parser: it has more to say than requests.
    fn rests(&self) -> bool {
        !self.http2 && self.line.rests()
    }

    /// How long it may be until the connection is looked at, of so many ms.
    fn at_most(&self, wait_ms: u64) -> u64 {
        if self.http2 { wait_ms } else { wait_ms.min(REST_MS) }
    }
}

/// The library ended a connection whose client asks too much of it: mostly by taking requests back faster than they can be begun, of which
/// nobody else hears.
fn is_too_much(error: &hyper::Error) -> bool {
    let of_http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    of_http2.is_some_and(|error| error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

#[derive(Debug, PartialEq, Eq)]
enum Ran {
    Ended,
    /// It waits for its next request; nothing of it is with the parser.
    Rests,
}

/// Drives a connection, and ends it when it is time, when it rests, or when its client takes back too much.
async fn run<C>(talk: &Conversation, mut conn: Pin<&mut C>, farewell: impl Fn(Pin<&mut C>)) -> Ran
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut closing = talk.shared.closing.clone();
    let first_ms = talk.at_most(talk.first_ms());
    let mut timer = std::pin::pin!(tokio::time::sleep(Duration::from_millis(first_ms)));
    let mut leaving = false;
    let mut ends = *closing.borrow_and_update() != Closing::No;
    loop {
        tokio::select! {
            biased;
            () = poll_fn(|cx| talk.poll(conn.as_mut(), cx)) => return Ran::Ended,
            // After it has read what it begins with.
            () = std::future::ready(()), if ends => {
                ends = false;
                farewell(conn.as_mut());
            }
            () = timer.as_mut() => {
                let wait_ms = match talk.due() {
                    Due::Later(_) if !leaving && talk.rests() => return Ran::Rests,
                    Due::Later(wait_ms) => talk.at_most(wait_ms),
                    Due::Idle if leaving => return Ran::Ended,
                    Due::Idle => {
                        leaving = true;
                        farewell(conn.as_mut());
                        FAREWELL_MS
                    }
                    Due::Cut => {
                        talk.line.admitted.slow.store(1, Relaxed);
                        return Ran::Ended;
                    }
                };
                timer.as_mut().reset(Instant::now() + Duration::from_millis(wait_ms));
            }
            changed = closing.changed() => {
                if changed.is_err() || *closing.borrow() == Closing::Now {
                    return Ran::Ended;
                }
                farewell(conn.as_mut());
            }
        }
    }
}

/// A hash of where a client is.
pub(super) fn spread(ip: IpAddr, port: u16) -> u64 {
    let bits = match ip {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
    };
    super::shared::mix(super::shared::mix(bits) ^ u64::from(port))
}
