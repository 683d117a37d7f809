//! A bucket of S3, or of anything that speaks its protocol and knows `If-None-Match: *`.
//!
//! Five kinds of request by a blocking client that the tree has already; names are plain, so that nothing needs escaping, and
//! an object fits into one request. A request without an answer is sent again; a put that is sent twice finds its own
//! object, which the caller tells from another's by its bytes.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dwcp_types::Wall;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body, http};

pub use super::sign::Credentials;
use super::sign::{Request, element, escape, headers, unescape};
use super::{Destination, DestinationError, Listed, Trouble, plain};

/// Where Linux systems keep the roots they trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest that one request may take: a pack over a slow line.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest answer that is no object, bytes.
const LARGEST_ANSWER: u64 = 8 << 20;
/// The most pages of a listing, each of up to 1,000 objects.
const MOST_PAGES: usize = 10_000;

/// Where a bucket is.
#[derive(Clone, Debug)]
pub struct Place {
    /// `https://host[:port]`; the bucket is a part of the path.
    pub endpoint: String,
    /// As signatures name it; `us-east-1` where there are none.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// In front of every name: empty, or plain parts with `/` between them.
    pub prefix: String,
    /// The authority that the endpoint's certificate is checked with; the system's without one.
    pub ca: Option<PathBuf>,
}

/// A bucket.
pub struct S3 {
    place: Place,
    host: String,
    who: Credentials,
    agent: Agent,
}

/// An answer: its status and its bytes.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// The code and the message of an error.
    fn said(&self) -> (String, String) {
        let text = String::from_utf8_lossy(&self.body);
        let find = |tag| element(&text, tag).map(|(inside, _)| unescape(inside)).unwrap_or_default();
        (find("Code"), find("Message"))
    }
}

impl S3 {
    /// A bucket at an endpoint. Nothing is asked yet.
    ///
    /// # Errors
    /// When the place can't be: an endpoint that is no URL, a prefix with other than plain parts, no roots to trust.
    pub fn new(place: Place, who: Credentials) -> Result<S3, String> {
        let (scheme, host) =
            place.endpoint.split_once("://").ok_or("the endpoint has no https:// in front")?;
        let host = host.trim_end_matches('/').to_owned();
        if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains('/') {
            return Err(format!("{:?} is no endpoint such as https://s3.example.com", place.endpoint));
        }
        if !place.prefix.is_empty() && !plain(&place.prefix) {
            return Err(format!("the prefix {:?} has other than letters, digits, -, _ and /", place.prefix));
        }
        let bucket = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if place.bucket.is_empty() || !place.bucket.bytes().all(bucket) {
            return Err(format!("{:?} is no name of a bucket", place.bucket));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(LONGEST))
            .timeout_connect(Some(Duration::from_secs(10)));
        if scheme == "https" {
            config = config.tls_config(tls(&place)?);
        }
        Ok(S3 { agent: config.build().into(), host, who, place })
    }

    fn key(&self, name: &str) -> String {
        match self.place.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// Sends a request, again while there is no answer or one that says to.
    fn send(&self, object: &str, request: &Sending<'_>) -> Result<Answer, DestinationError> {
        let mut wait = FIRST_WAIT;
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.once(request) {
                // A conflict is a put of another writer that is not done yet.
                Ok(answer) if matches!(answer.status, 409 | 429 | 500 | 502 | 503 | 504) => {
                    let (code, message) = answer.said();
                    last = format!("status {}, {code} {message}", answer.status);
                }
                Ok(answer) => return Ok(answer),
                Err(ureq::Error::BodyExceedsLimit(limit)) => {
                    return Err(self.error(Trouble::TooLong, object, format!("more than {limit} bytes")));
                }
                Err(error) => last = error.to_string(),
            }
            thread::sleep(wait);
            wait *= 2;
        }
        Err(self.error(Trouble::NoAnswer, object, format!("{TRIES} times: {last}")))
    }

    fn once(&self, sending: &Sending<'_>) -> Result<Answer, ureq::Error> {
        let Sending { method, path, query, body, limit } = *sending;
        let request = Request { method, host: &self.host, path, query, body };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{path}{mark}{query}", self.place.endpoint.trim_end_matches('/'));
        let mut builder = http::Request::builder().method(method).uri(uri).header("host", &self.host);
        for (name, value) in headers(&request, &self.place.region, &self.who, Wall(now)) {
            builder = builder.header(name, value);
        }
        let mut answer: http::Response<Body> = if method == "PUT" {
            self.agent.run(builder.header("if-none-match", "*").body(body)?)?
        } else {
            self.agent.run(builder.body(())?)?
        };
        let status = answer.status().as_u16();
        let limit = if status == 200 { limit } else { LARGEST_ANSWER };
        // The client counts a body that is as long as its limit as longer.
        let body = answer.body_mut().with_config().limit(limit + 1).read_to_vec()?;
        Ok(Answer { status, body })
    }

    fn error(&self, trouble: Trouble, object: &str, why: String) -> DestinationError {
        DestinationError { trouble, place: self.place(), object: object.to_owned(), why }
    }

    fn refused(&self, object: &str, answer: &Answer) -> DestinationError {
        let (code, message) = answer.said();
        let trouble = match (answer.status, code.as_str()) {
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity") => {
                Trouble::NoSpace
            }
            (401 | 403, _) => Trouble::NotPermitted,
            _ => Trouble::Failed,
        };
        self.error(trouble, object, format!("status {}, {code} {message}", answer.status))
    }

    fn path(&self, name: &str) -> String {
        format!("/{}/{}", self.place.bucket, self.key(name))
    }

    fn page(
        &self,
        prefix: &str,
        token: Option<&str>,
        found: &mut Vec<Listed>,
    ) -> Result<Option<String>, DestinationError> {
        let token = token.map(|token| format!("continuation-token={}&", escape(token))).unwrap_or_default();
        let query = format!("{token}list-type=2&prefix={}", escape(&self.key(prefix)));
        let path = format!("/{}", self.place.bucket);
        let sending = Sending { method: "GET", path: &path, query: &query, body: b"", limit: LARGEST_ANSWER };
        let answer = self.send(prefix, &sending)?;
        if answer.status != 200 {
            return Err(self.refused(prefix, &answer));
        }
        let (mut listed, token) = read_page(&answer.body, &self.key(""), prefix);
        found.append(&mut listed);
        Ok(token)
    }
}

/// The objects of a page of a listing whose names begin with `front` and then `prefix`, and the token of the next page.
pub fn read_page(body: &[u8], front: &str, prefix: &str) -> (Vec<Listed>, Option<String>) {
    let text = String::from_utf8_lossy(body);
    let (mut rest, mut found) = (&*text, Vec::new());
    while let Some((inside, behind)) = element(rest, "Contents") {
        rest = behind;
        let key = element(inside, "Key").map(|(key, _)| unescape(key)).unwrap_or_default();
        let bytes = element(inside, "Size").and_then(|(size, _)| size.parse().ok()).unwrap_or(0);
        if let Some(name) = key.strip_prefix(front).filter(|name| name.starts_with(prefix)) {
            found.push(Listed { name: name.to_owned(), bytes });
        }
    }
    let more = element(&text, "IsTruncated").is_some_and(|(more, _)| more == "true");
    (found, element(&text, "NextContinuationToken").filter(|_| more).map(|(token, _)| unescape(token)))
}

/// A request to be sent.
#[derive(Clone, Copy)]
struct Sending<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    body: &'a [u8],
    /// The longest answer, bytes.
    limit: u64,
}

fn tls(place: &Place) -> Result<TlsConfig, String> {
    let path = place.ca.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_ROOTS));
    let pem = std::fs::read(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let roots: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if roots.is_empty() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

impl Destination for S3 {
    fn place(&self) -> String {
        format!("{}/{}/{}", self.place.endpoint.trim_end_matches('/'), self.place.bucket, self.place.prefix)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, DestinationError> {
        let path = self.path(name);
        let sending = Sending { method: "PUT", path: &path, query: "", body: bytes, limit: LARGEST_ANSWER };
        let answer = self.send(name, &sending)?;
        match answer.status {
            200 | 201 | 204 => Ok(true),
            412 => Ok(false),
            _ => Err(self.refused(name, &answer)),
        }
    }

    fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DestinationError> {
        if !plain(name) {
            return Ok(None);
        }
        let path = self.path(name);
        let answer = self.send(name, &Sending { method: "GET", path: &path, query: "", body: b"", limit })?;
        match answer.status {
            200 if answer.body.len() as u64 > limit => {
                Err(self.error(Trouble::TooLong, name, format!("more than {limit} bytes")))
            }
            200 => Ok(Some(answer.body)),
            404 if answer.said().0 != "NoSuchBucket" => Ok(None),
            _ => Err(self.refused(name, &answer)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, DestinationError> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            token = self.page(prefix, token.as_deref(), &mut found)?;
            if token.is_none() {
                found.sort();
                return Ok(found);
            }
        }
        Err(self.error(Trouble::Failed, prefix, format!("a listing of more than {MOST_PAGES} pages")))
    }

    fn delete(&self, name: &str) -> Result<(), DestinationError> {
        let path = self.path(name);
        let sending = Sending { method: "DELETE", path: &path, query: "", body: b"", limit: LARGEST_ANSWER };
        let answer = self.send(name, &sending)?;
        match answer.status {
            200 | 204 | 404 => Ok(()),
            _ => Err(self.refused(name, &answer)),
        }
    }
}
