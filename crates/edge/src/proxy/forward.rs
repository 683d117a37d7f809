//! A request goes to an endpoint; to another one when that is dead and nothing can have happened twice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dwcp_decide::route::{Choice, Client, ServiceRow};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, COOKIE, HeaderValue, SET_COOKIE, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::routes::{Pool, Routes, TRIES};

use super::answer::Answer;
use super::connect::Patience;
use super::conversation::Conversation;
use super::mark::Mark;
use super::record::Record;
use super::refusal::Refusal;
use super::sent::{Fault, Sent, Taken};
use super::splice::splice;
use super::upstream::{Conn, Unsent};
use super::wire::Wire;
use super::{headers, health, sticky};

/// How long both sides of a tunnel may take to go over to it, ms.
const UPGRADE_MS: u64 = 10_000;

/// What is to be done.
pub(super) struct Errand {
    pub routes: Arc<Routes>,
    pub service: usize,
    /// The name as the client wrote it.
    pub authority: String,
}

impl Errand {
    fn row(&self) -> &ServiceRow {
        &self.routes.table.services[self.service]
    }

    fn pool(&self) -> &Pool {
        &self.routes.pools[self.service]
    }
}

/// A request until it is answered.
struct Trip<'a> {
    talk: &'a Arc<Conversation>,
    errand: Errand,
    client: Client,
    /// Sending it twice does what sending it once does.
    repeatable: bool,
    request: Option<Request<Sent>>,
    tried: Vec<u32>,
}

/// What came of sending it.
// It lives as long as a look at it.
#[allow(clippy::large_enum_variant)]
enum Sending {
    Answered(Response<Incoming>, Conn),
    /// Another endpoint may be asked.
    Failed(Refusal),
    /// It is over.
    Over(Refusal),
}

/// Forwards a request, and takes its record along.
///
/// # Errors
/// What is answered instead.
pub(super) async fn carry(
    talk: &Arc<Conversation>,
    errand: Errand,
    mut parts: Parts,
    body: Incoming,
    record: &mut Option<Record>,
) -> Result<Response<Answer>, Refusal> {
    let Some(kept) = record.as_mut() else { return Err(Refusal::malformed("no request")) };
    let upgrade = headers::upgrade(&parts);
    let over = upgrade.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());
    headers::request(&mut parts, talk, &errand.authority, upgrade.as_ref()).map_err(Refusal::malformed)?;
    let repeatable = is_idempotent(&parts.method) && upgrade.is_none();
    let body = sent(talk, &mut parts, body, repeatable, kept).await?;
    let client = client(talk, errand.row(), &parts);
    let mut trip = Trip {
        talk,
        errand,
        client,
        repeatable: repeatable && body.again().is_some(),
        request: Some(Request::from_parts(parts, body)),
        tried: Vec::new(),
    };
    let (answer, conn, choice) = trip.run(kept).await?;
    let (mut parts, body) = answer.into_parts();
    let via = &talk.shared.via[usize::from(talk.http2)];
    if let Err(why) = headers::answer(parts.status, &mut parts.headers, via) {
        talk.shared.counts.malformed_answers.fetch_add(1, Relaxed);
        return Err(Refusal::new(
            StatusCode::BAD_GATEWAY,
            format!("the endpoint's answer is no answer: {why}"),
        ));
    }
    let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && over.is_none() {
        let reason = "the endpoint goes over to what nobody asked for";
        return Err(Refusal::new(StatusCode::BAD_GATEWAY, reason));
    }
    let Some(mut record) = record.take() else { return Err(Refusal::malformed("no request")) };
    record.status = parts.status.as_u16();
    trip.set_cookie(choice, &mut parts.headers);
    if let Some(over) = over.filter(|_| switches) {
        talk.line.raw.store(true, Relaxed);
        tokio::spawn(tunnel(Arc::clone(talk), over, conn, record));
        let ended = Record::begin(talk, talk.line.client);
        return Ok(Response::from_parts(parts, Answer::own(Bytes::new(), ended)));
    }
    let pace = talk.http2.then(|| talk.paces.begin());
    Ok(Response::from_parts(parts, Answer::upstream(body, conn, record, pace).await))
}

fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

fn client(talk: &Conversation, service: &ServiceRow, parts: &Parts) -> Client {
    let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let pinned =
        if service.sticky { sticky::pinned(&talk.shared.cookie_key, service, cookies) } else { None };
    Client { key: talk.shared.fresh(), place: talk.place, pinned }
}

/// The body as it is sent: kept here, when it is short and may have to be sent again.
async fn sent(
    talk: &Conversation,
    parts: &mut Parts,
    body: Incoming,
    repeatable: bool,
    record: &mut Record,
) -> Result<Sent, Refusal> {
    if body.is_end_stream() {
        // HTTP/2 ends a body without saying how long it is.
        return Ok(Sent::None);
    }
    let limits = &talk.shared.limits;
    let taken = Arc::new(Taken::default());
    record.taken = Some(Arc::clone(&taken));
    let short = body.size_hint().exact().is_some_and(|length| length <= limits.replay_bytes);
    let streamed = Sent::stream(body, talk.http2, limits, &taken);
    if repeatable && short {
        let body = streamed.collect().await.map_err(at_fault)?;
        return Ok(Sent::Whole(body.to_bytes()));
    }
    if !parts.headers.contains_key(CONTENT_LENGTH) {
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(streamed)
}

fn at_fault(fault: Fault) -> Refusal {
    let status = match fault {
        Fault::Slow => StatusCode::REQUEST_TIMEOUT,
        Fault::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Fault::Broken => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, fault.to_string()).closing()
}

impl Trip<'_> {
    async fn run(&mut self, record: &mut Record) -> Result<(Response<Incoming>, Conn, Choice), Refusal> {
        let shared = &self.talk.shared;
        loop {
            let (routes, service) = (&self.errand.routes, self.errand.service);
            let choice = shared.current.choose_next(routes, service, &self.client, &self.tried);
            let Some(choice) = choice else {
                let reason = "no endpoint of the service is left";
                return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, reason, 1));
            };
            record.goes_to(self.errand.pool(), choice.endpoint, choice.region);
            match self.send(choice, record).await {
                Sending::Answered(answer, conn) => return Ok((answer, conn, choice)),
                Sending::Over(refusal) => return Err(refusal),
                Sending::Failed(refusal) => {
                    self.tried.push(choice.endpoint);
                    if self.tried.len() >= TRIES || self.request.is_none() || self.only_one_left() {
                        return Err(refusal);
                    }
                    if !shared.budgets.take(&self.errand.row().name, self.errand.pool(), shared.now_ms()) {
                        shared.counts.retries_refused.fetch_add(1, Relaxed);
                        return Err(refusal);
                    }
                    record.again();
                }
            }
        }
    }

    fn only_one_left(&self) -> bool {
        self.errand.row().endpoints.len() <= self.tried.len()
    }

    /// Sends it to one endpoint, over a connection that was kept or over a new one.
    async fn send(&mut self, choice: Choice, record: &mut Record) -> Sending {
        let shared = &self.talk.shared;
        let Some(endpoint) = self.errand.row().endpoints.get(choice.endpoint as usize) else {
            return Sending::Failed(Refusal::new(StatusCode::BAD_GATEWAY, "no such endpoint"));
        };
        let address = endpoint.address;
        if let Some(conn) = shared.upstreams.kept(address).await {
            shared.counts.upstream_reused.fetch_add(1, Relaxed);
            // A kept connection may have been closed just now: that says nothing about the endpoint.
            match self.exchange(conn, record).await {
                Sending::Failed(_) if self.request.is_some() => {}
                other => return other,
            }
        }
        shared.counts.upstream_opened.fetch_add(1, Relaxed);
        let mark = Mark::of(self.errand.row().qos, &self.errand.routes.table.policy);
        let patience = Patience::new(shared.limits.connect_ms, self.errand.routes.rtt_ms(choice.region));
        let conn = match shared.upstreams.open(address, mark, patience).await {
            Ok(conn) => conn,
            Err(error) => {
                self.failed(choice, address);
                return Sending::Failed(unreachable(&error));
            }
        };
        let sending = self.exchange(conn, record).await;
        match &sending {
            Sending::Answered(..) => shared.failures.worked(address),
            Sending::Failed(_) => self.failed(choice, address),
            Sending::Over(_) => {}
        }
        sending
    }

    fn failed(&self, choice: Choice, address: SocketAddr) {
        health::failed(&self.talk.shared, self.errand.pool(), choice.endpoint, address);
    }

    async fn exchange(&mut self, mut conn: Conn, record: &mut Record) -> Sending {
        let Some(request) = self.next() else {
            return Sending::Over(Refusal::new(StatusCode::BAD_GATEWAY, "the request was sent already"));
        };
        let begun = Instant::now();
        let within = Duration::from_millis(self.talk.shared.limits.answer_ms);
        let Unsent { request, error } = match tokio::time::timeout(within, conn.exchange(request)).await {
            Ok(Ok(answer)) => {
                record.answered(begun.elapsed());
                return Sending::Answered(answer, conn);
            }
            Ok(Err(unsent)) => unsent,
            Err(_) => {
                let reason = "the endpoint did not answer in time";
                return Sending::Over(Refusal::new(StatusCode::GATEWAY_TIMEOUT, reason));
            }
        };
        if let Some(fault) = record.taken.as_ref().and_then(|taken| taken.fault()) {
            return Sending::Over(at_fault(fault));
        }
        if request.is_some() {
            self.request = request;
        }
        if error.is_parse() {
            self.talk.shared.counts.malformed_answers.fetch_add(1, Relaxed);
            let reason = format!("the endpoint's answer is no answer: {error}");
            return Sending::Over(Refusal::new(StatusCode::BAD_GATEWAY, reason));
        }
        Sending::Failed(Refusal::new(StatusCode::BAD_GATEWAY, "the endpoint closed the connection"))
    }

    /// The request for the next try. It stays here when it may be sent again.
    fn next(&mut self) -> Option<Request<Sent>> {
        if !self.repeatable {
            return self.request.take();
        }
        let request = self.request.as_ref()?;
        let mut copy = Request::new(request.body().again()?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(copy)
    }

    /// A client of a sticky service learns where it is.
    fn set_cookie(&self, choice: Choice, headers: &mut hyper::HeaderMap) {
        let service = self.errand.row();
        if !service.sticky || self.client.pinned == Some(choice.endpoint) {
            return;
        }
        let Some(endpoint) = service.endpoints.get(choice.endpoint as usize) else { return };
        let key = &self.talk.shared.cookie_key;
        if let Ok(cookie) =
            HeaderValue::try_from(sticky::set(key, &service.name, &endpoint.id, self.talk.secure))
        {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

fn unreachable(error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::TimedOut {
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, "the endpoint took no connection in time")
    } else {
        Refusal::new(StatusCode::BAD_GATEWAY, "the endpoint takes no connection")
    }
}

/// What both sides went over to, until its end.
async fn tunnel(talk: Arc<Conversation>, over: OnUpgrade, conn: Conn, mut record: Record) {
    let both = async { Some((over.await.ok()?, conn.upgraded().await?)) };
    let within = Duration::from_millis(UPGRADE_MS);
    let Ok(Some((client, (tcp, early)))) = tokio::time::timeout(within, both).await else { return };
    let (mut client, mut upstream) = (TokioIo::new(client), Wire::new(tcp, early));
    let idle_ms = talk.shared.limits.tunnel_idle_ms;
    tokio::select! {
        (from, to) = splice(&mut client, &mut upstream, idle_ms) => {
            let taken = Taken::default();
            taken.bytes.store(from, Relaxed);
            record.taken = Some(Arc::new(taken));
            record.bytes_out = to;
            record.whole = true;
        }
        () = talk.shared.closed() => {}
    }
}
