//! One request, from its beginning until its answer was sent or will not be.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use hyper::header::{ACCEPT, COOKIE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Uri};

use crate::figures::Flow;
use crate::guard::{Asked, Ended};
use crate::routes::{Pool, Routes, UnderWay};

use super::access_log::Entry;
use super::conversation::Conversation;
use super::line::Line;
use super::sent::{Fault, Taken};
use super::shared::Shared;
use super::taken_back::End;

/// A client that waited so long for an answer may have reasons to take its request back.
const LONG: Duration = Duration::from_secs(1);

/// Who asked for what.
struct Who {
    method: Method,
    uri: Uri,
    host: String,
    user_agent: Option<HeaderValue>,
    cookies: Option<HeaderValue>,
    wants_html: bool,
    routes: Arc<Routes>,
    service: usize,
}

impl Who {
    fn asked(&self, client: IpAddr) -> Asked<'_> {
        Asked {
            client,
            service: self.service_name(),
            method: self.method.as_str(),
            path: self.uri.path_and_query().map_or("/", |path| path.as_str()),
            user_agent: readable(&self.user_agent),
            cookies: readable(&self.cookies),
            wants_html: self.wants_html,
        }
    }

    fn service_name(&self) -> &str {
        self.routes.table.services.get(self.service).map_or("", |service| &service.name)
    }
}

fn readable(value: &Option<HeaderValue>) -> &str {
    value.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What a request's end tells: the guard, the figures, the log.
pub(super) struct Record {
    shared: Arc<Shared>,
    line: Arc<Line>,
    http2: bool,
    client: IpAddr,
    begun: Instant,
    who: Option<Who>,
    pub status: u16,
    pub retries: u8,
    /// What came of the request's body; none: it has none.
    pub taken: Option<Arc<Taken>>,
    pub bytes_out: u64,
    /// Where it is at.
    under_way: Option<(UnderWay, u32)>,
    flow: Option<Arc<Flow>>,
    upstream: Option<Duration>,
    /// The answer was sent to its end.
    pub whole: bool,
    /// It ended before its end, and not because of the client.
    pub broken_off: bool,
}

impl Record {
    pub fn begin(talk: &Conversation, client: IpAddr) -> Record {
        talk.line.enter();
        talk.shared.requests.fetch_add(1, Relaxed);
        Record {
            shared: Arc::clone(&talk.shared),
            line: Arc::clone(&talk.line),
            http2: talk.http2,
            client,
            begun: Instant::now(),
            who: None,
            status: 0,
            retries: 0,
            taken: None,
            bytes_out: 0,
            under_way: None,
            flow: None,
            upstream: None,
            whole: false,
            broken_off: false,
        }
    }

    /// It is for this service.
    pub fn is_for(&mut self, routes: &Arc<Routes>, service: usize, host: String, parts: &Parts) {
        self.who = Some(Who {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            host,
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            cookies: cookies(&parts.headers),
            wants_html: wants_html(&parts.headers),
            routes: Arc::clone(routes),
            service,
        });
    }

    /// What a guard looks at.
    pub fn asked(&self) -> Option<Asked<'_>> {
        self.who.as_ref().map(|who| who.asked(self.client))
    }

    /// It goes to an endpoint of this region.
    pub fn goes_to(&mut self, pool: &Pool, endpoint: u32, region: u16) {
        self.under_way = pool.begin(endpoint).map(|under_way| (under_way, endpoint));
        self.flow = pool.flows.get(usize::from(region)).cloned();
    }

    /// It failed there and is tried again.
    pub fn again(&mut self) {
        self.retries += 1;
        if let Some(flow) = &self.flow {
            flow.retries.fetch_add(1, Relaxed);
        }
        self.under_way = None;
    }

    /// The endpoint's answer begins.
    pub fn answered(&mut self, took: Duration) {
        self.upstream = Some(took);
        if let Some(flow) = &self.flow {
            flow.upstream.took(took);
        }
    }

    /// How a request of HTTP/2 ended.
    fn end(&self) -> End {
        let in_its_body = self.taken.as_ref().is_some_and(|taken| taken.fault() == Some(Fault::Broken));
        let taken_back = in_its_body || (!self.whole && !self.broken_off);
        match (taken_back, self.upstream) {
            (true, _) if self.begun.elapsed() < LONG => End::TakenBack,
            (false, Some(_)) if self.whole => End::Answered,
            _ => End::Other,
        }
    }

    /// Counts the end of a request of HTTP/2; how many resets the guard has to hear of. What can be under way at a time can be taken back by
    /// a user who leaves a page, or by a line that breaks.
    fn resets(&self) -> u32 {
        if !self.http2 {
            return 0;
        }
        let (end, limits) = (self.end(), &self.shared.limits);
        let balance = self.line.taken_back.ended(end, self.line.now_ms());
        if balance >= f64::from(limits.taken_back) {
            self.line.abused.store(true, Relaxed);
        }
        u32::from(end == End::TakenBack && balance > f64::from(limits.streams))
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn log(&self, bytes_in: u64) {
        let Some(log) = &self.shared.log else { return };
        if !log.wants(self.status, self.shared.fresh()) {
            return;
        }
        let asked = self.asked();
        let endpoint = self.who.as_ref().zip(self.under_way.as_ref()).and_then(|(who, (_, endpoint))| {
            who.routes.table.services.get(who.service)?.endpoints.get(*endpoint as usize)
        });
        log.put(
            &self.shared,
            Entry {
                at: SystemTime::now(),
                client: self.client,
                service: asked.map_or_else(String::new, |asked| asked.service.to_owned()),
                endpoint: endpoint.map_or_else(String::new, |row| row.id.clone()),
                method: asked.map_or_else(String::new, |asked| asked.method.to_owned()),
                host: self.who.as_ref().map_or_else(String::new, |who| who.host.clone()),
                path: asked.map_or_else(String::new, |asked| asked.path.to_owned()),
                status: self.status,
                retries: self.retries,
                bytes_in,
                bytes_out: self.bytes_out,
                took_us: self.begun.elapsed().as_micros() as u64,
                upstream_us: self.upstream.map_or(0, |took| took.as_micros() as u64),
                broken: !self.whole,
            },
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let bytes_in = self.taken.as_ref().map_or(0, |taken| taken.bytes.load(Relaxed));
        if let Some(flow) = &self.flow {
            count(&flow.answers[usize::from(self.status / 100).min(5)], 1);
            count(&flow.bytes_in, bytes_in);
            count(&flow.bytes_out, self.bytes_out);
        }
        let resets = self.resets();
        if let Some(asked) = self.asked() {
            let slow = self.taken.as_ref().is_some_and(|taken| taken.fault() == Some(Fault::Slow));
            let ended = Ended { status: self.status, bytes_in, bytes_out: self.bytes_out, slow, resets };
            self.shared.guard.request_ended(&asked, ended);
        }
        self.log(bytes_in);
        self.shared.requests.fetch_sub(1, Relaxed);
        self.line.leave();
    }
}

fn count(counter: &AtomicU64, by: u64) {
    if by > 0 {
        counter.fetch_add(by, Relaxed);
    }
}

/// All cookies as one: HTTP/2 clients send several headers.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(COOKIE).iter();
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.clone()) };
    let mut all = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        all.extend_from_slice(b"; ");
        all.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&all).ok()
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepts =
        headers.get(ACCEPT).map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()));
    accepts.contains("text/html")
}
