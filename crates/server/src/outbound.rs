//! Requests to other people's programs: who is trusted, how long they may take and how much they may say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dwcp_config::region::Remote;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Where Linux systems keep the roots they trust.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest word of theirs that goes into messages, characters.
const LONGEST_WORD: usize = 300;

/// How certificates of another program are checked, and which one is shown to it. `ca`: the authority; the system's without it.
///
/// # Errors
/// The file can't be read, or holds no certificate.
pub fn tls(ca: Option<&Path>, own: Option<ClientCert>) -> Result<TlsConfig, String> {
    let roots = certificates(ca.unwrap_or(Path::new(SYSTEM_ROOTS)))?;
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(own)
        .build())
}

/// A file's bytes.
///
/// # Errors
/// Names the file that can't be read.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))
}

/// The certificates of a PEM file, one at least.
///
/// # Errors
/// Names the file.
pub fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = read(path)?;
    let found: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(found) }
}

/// A program that speaks Prometheus' protocols, called by a thread that may block.
pub struct Caller {
    agent: Agent,
    remote: Remote,
    /// Longest answer, bytes.
    limit: u64,
}

/// What it said.
pub struct Said {
    pub status: u16,
    /// How long it wants to be left alone, ms; when it says so in seconds (RFC 9110, 10.2.3).
    pub retry_after_ms: Option<u64>,
    pub body: Vec<u8>,
}

impl Said {
    /// The beginning of it, for people.
    pub fn word(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * LONGEST_WORD)]);
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let word: String = plain.take(LONGEST_WORD).collect();
        format!("status {}: {}", self.status, word.trim())
    }
}

impl Caller {
    /// Whoever stands in the settings; `limit`: the longest answer that is read, bytes.
    ///
    /// # Errors
    /// The file of the authority can't be used.
    pub fn new(remote: &Remote, within: Duration, limit: u64) -> Result<Caller, String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_global(Some(within));
        if remote.url.starts_with("https://") {
            config = config.tls_config(tls(remote.ca.as_deref().map(Path::new), None)?);
        }
        Ok(Caller { agent: config.build().into(), remote: remote.clone(), limit })
    }

    /// Its address without the scheme.
    pub fn place(&self) -> &str {
        self.remote.place()
    }

    /// Posts `body` below its address.
    ///
    /// # Errors
    /// There is no answer, or a longer one than is read; the token's file can't be read.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Said, String> {
        let mut request = self.agent.post(format!("{}{path}", self.remote.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.authorized(request)?.send(body).map_err(|e| e.to_string()).and_then(|said| self.said(said))
    }

    /// Gets what is below its address.
    ///
    /// # Errors
    /// As [`Caller::post`].
    pub fn get(&self, path: &str) -> Result<Said, String> {
        let request = self.agent.get(format!("{}{path}", self.remote.url));
        self.authorized(request)?.call().map_err(|e| e.to_string()).and_then(|said| self.said(said))
    }

    /// With the token as it lies in its file now: tokens are changed.
    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> Result<ureq::RequestBuilder<B>, String> {
        let Some(path) = &self.remote.bearer_token_file else { return Ok(request) };
        let token =
            String::from_utf8(read(Path::new(path))?).map_err(|_| format!("{path} holds no token"))?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{path} holds no token"));
        }
        Ok(request.header("authorization", format!("Bearer {token}")))
    }

    fn said(&self, mut answer: ureq::http::Response<ureq::Body>) -> Result<Said, String> {
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after_ms = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
        let retry_after_ms = retry_after_ms.map(|seconds| seconds.saturating_mul(1_000));
        let status = answer.status().as_u16();
        // The client counts a body that is as long as its limit as longer.
        let body = answer.body_mut().with_config().limit(self.limit + 1).read_to_vec();
        Ok(Said { status, retry_after_ms, body: body.map_err(|e| e.to_string())? })
    }
}
