//! What the data path asks before it serves somebody, and what it tells about whom it served.

use std::net::IpAddr;
use std::sync::Arc;

/// What is to be done with a connection or a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Pass,
    /// Not now: 429 with `Retry-After`.
    Limit {
        retry_after_s: u32,
        /// For the client, one line.
        reason: Arc<str>,
    },
    /// Not at all: 403, or the connection is dropped.
    Deny {
        /// For the client, one line.
        reason: Arc<str>,
    },
    /// Answer this page (HTML) or, to clients that do not ask for HTML, 429.
    Challenge { page: Arc<str> },
    /// Keep it waiting, then close.
    Tarpit,
}

/// A request as far as a guard looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub client: IpAddr,
    pub service: &'a str,
    pub method: &'a str,
    /// Path with query.
    pub path: &'a str,
    pub user_agent: &'a str,
    /// The whole `Cookie` header; empty: none.
    pub cookies: &'a str,
    /// It asks for HTML.
    pub wants_html: bool,
}

/// How something ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// 0: no answer was sent.
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The client was too slow and was cut off.
    pub slow: bool,
    /// HTTP/2 streams that the client reset.
    pub resets: u32,
}

/// Watches the data path. Called for every connection and request: must not wait.
pub trait Guard: Send + Sync {
    /// A connection came (before TLS).
    fn connection(&self, client: IpAddr) -> Verdict;
    /// A connection ended.
    fn connection_ended(&self, client: IpAddr, ended: Ended);
    /// A request came.
    fn request(&self, asked: &Asked<'_>) -> Verdict;
    /// It was answered.
    fn request_ended(&self, asked: &Asked<'_>, ended: Ended);
    /// A DNS question came; false: it is not answered.
    fn dns(&self, client: IpAddr) -> bool;
    /// A proof of work came by POST to [`CHALLENGE_PATH`]: the `Set-Cookie` value and where to go, or why not.
    ///
    /// # Errors
    /// The proof does not hold.
    fn solved(&self, client: IpAddr, user_agent: &str, body: &[u8]) -> Result<(String, String), String>;
}

/// Where proofs of work are posted to.
pub const CHALLENGE_PATH: &str = "/.well-known/dwcp-challenge";

/// Lets everybody pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Guard for Open {
    fn connection(&self, _: IpAddr) -> Verdict {
        Verdict::Pass
    }

    fn connection_ended(&self, _: IpAddr, _: Ended) {}

    fn request(&self, _: &Asked<'_>) -> Verdict {
        Verdict::Pass
    }

    fn request_ended(&self, _: &Asked<'_>, _: Ended) {}

    fn dns(&self, _: IpAddr) -> bool {
        true
    }

    fn solved(&self, _: IpAddr, _: &str, _: &[u8]) -> Result<(String, String), String> {
        Err("nothing was asked".to_owned())
    }
}
