//! One POST to a server that others chose: to no address that is not permitted, along no redirect, and not for long.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use dwcp_telemetry::notify::{Allowed, Outcome, guard};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::secret::Revealed;
use crate::clock;
use crate::outbound;

/// So much of an answer is read, bytes.
const ANSWER: u64 = 4 << 10;

/// What is sent.
pub struct Post<'a> {
    pub url: &'a str,
    /// JSON.
    pub body: &'a [u8],
    pub headers: &'a [(&'a str, String)],
    /// The authority of the server's certificate; the system's without one.
    pub ca_file: Option<&'a str>,
    /// For everything from the look-up of the name to the last byte of the answer.
    pub within: Duration,
    /// What is not to be in the outcome.
    pub revealed: &'a Revealed,
}

/// Sends it once. Nothing that is said names the URL.
pub fn post(post: &Post<'_>, allowed: &Allowed) -> Outcome {
    let url = match guard::url(post.url) {
        Ok(url) => url,
        Err(why) => return Outcome::refused(&why),
    };
    let agent = match agent(post, url.https, allowed) {
        Ok(agent) => agent,
        Err(why) => return Outcome::no_answer(&why),
    };
    let mut request = agent.post(post.url).header("content-type", "application/json");
    for (name, value) in post.headers {
        request = request.header(*name, value);
    }
    match request.send(post.body) {
        Ok(mut answer) => {
            let status = answer.status().as_u16();
            let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let retry_after = header.map(str::to_owned);
            let said = post.revealed.hide(&said(answer.body_mut()));
            Outcome::of_http(status, retry_after.as_deref(), &said, clock::wall_ms())
        }
        Err(ureq::Error::Other(error)) if error.is::<Forbidden>() => Outcome::refused(&error.to_string()),
        Err(error) => Outcome::no_answer(&post.revealed.hide(&format!("{}: {error}", url.host))),
    }
}

/// The beginning of an answer. Its status counts even when the rest is lost.
fn said(body: &mut Body) -> String {
    let mut bytes = Vec::new();
    let _ = body.as_reader().take(ANSWER).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn agent(post: &Post<'_>, https: bool, allowed: &Allowed) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent("dwcpd")
        .max_idle_connections(0)
        .timeout_global(Some(post.within));
    if https {
        config = config.tls_config(outbound::tls(post.ca_file.map(Path::new), None)?);
    }
    let guarded = Guarded { allowed: allowed.clone() };
    Ok(Agent::with_parts(config.build(), DefaultConnector::default(), guarded))
}

/// Looks names up, and gives only addresses that may be connected to: those are what is connected to.
#[derive(Debug)]
struct Guarded {
    allowed: Allowed,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let (mut permitted, mut why) = (self.empty(), String::new());
        for address in found.iter() {
            match self.allowed.check(address.ip()) {
                Ok(()) => permitted.push(*address),
                Err(reason) => why = reason,
            }
        }
        if permitted.is_empty() { Err(ureq::Error::Other(Box::new(Forbidden(why)))) } else { Ok(permitted) }
    }
}

/// Why no address of a name may be connected to.
#[derive(Debug)]
struct Forbidden(String);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Forbidden {}
