//! The HTTP client: endpoints tried in order, writes repeated only under their key.

mod tls;

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use dwcp_api::{Call, Endpoint, IDEMPOTENCY_KEY, MEASURED_WITHIN, PROBLEM_JSON, Problem, REQUEST_ID, encode};
use serde::de::DeserializeOwned;
use ureq::http;

use crate::failure::Failure;
use crate::{Exit, key, settings};

/// How long an endpoint may take to accept a connection, TLS included, on the first round and on the second.
const CONNECT_ROUNDS: [Duration; 2] = [Duration::from_millis(700), Duration::from_millis(3_000)];
/// How long an endpoint may take to answer while there are others to ask.
const ANSWER_WITH_OTHERS: Duration = Duration::from_secs(6);
/// Largest answer that is read.
const LARGEST_ANSWER_BYTES: u64 = 64 << 20;

/// Where to call, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Name for messages.
    pub context: String,
    pub endpoints: Vec<String>,
    /// Path or PEM text.
    pub ca: Option<String>,
    pub token: Option<String>,
    /// For one whole call, over all endpoints.
    pub timeout: Duration,
}

/// Calls one federation.
pub struct Client {
    target: Target,
    /// Endpoints, the last good one first.
    order: Vec<String>,
    tls: Option<ureq::tls::TlsConfig>,
}

type Answer = http::Response<ureq::Body>;

impl Client {
    /// A client; the roots of TLS are read only when an endpoint needs them.
    pub fn new(target: Target) -> Result<Client, Failure> {
        let mut order = target.endpoints.clone();
        if let Some(good) = settings::last_good(&order)
            && let Some(at) = order.iter().position(|endpoint| *endpoint == good)
        {
            let good = order.remove(at);
            order.insert(0, good);
        }
        let tls = match order.iter().any(|endpoint| endpoint.starts_with("https://")) {
            true => Some(tls::config(target.ca.as_deref())?),
            false => None,
        };
        Ok(Client { target, order, tls })
    }

    /// One call and its answer.
    pub fn call<E: Endpoint>(&self, request: &E::Request) -> Result<E::Response, Failure> {
        let call = encode::<E>(request).map_err(Failure::usage)?;
        let mut answer = self.send(&call, false)?;
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| broken(&call, &error.to_string()))?;
        serde_json::from_slice(&body).map_err(|error| broken(&call, &error.to_string()))
    }

    /// One call whose answer goes on: `each` sees every value until it says stop or the stream ends. Returns whether
    /// `each` stopped it.
    pub fn watch<E: Endpoint>(
        &self,
        request: &E::Request,
        mut each: impl FnMut(E::Response) -> Result<bool, Failure>,
    ) -> Result<bool, Failure>
    where
        E::Response: DeserializeOwned,
    {
        let call = encode::<E>(request).map_err(Failure::usage)?;
        let answer = self.send(&call, true)?;
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let Ok(line) = line else { return Ok(false) };
            if line.trim().is_empty() {
                continue;
            }
            let value = serde_json::from_str(&line).map_err(|error| broken(&call, &error.to_string()))?;
            if !each(value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tries the endpoints in their order, twice. An endpoint that says it can't answer now counts as not reached.
    fn send(&self, call: &Call, stream: bool) -> Result<Answer, Failure> {
        if self.order.is_empty() {
            return Err(nowhere());
        }
        let (request_id, idempotency) = (key::fresh("req_"), key::fresh("key_"));
        let deadline = Instant::now() + self.target.timeout;
        let mut unwell: Option<Failure> = None;
        let mut tried: Vec<String> = Vec::new();
        for connect in CONNECT_ROUNDS {
            let mut worth_another_round = false;
            for endpoint in &self.order {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(self.unreached(tried, unwell));
                }
                let agent = self.agent(connect, left, call, stream);
                match agent.run(self.request(endpoint, call, &request_id, &idempotency)?) {
                    Ok(answer) if answer.status().is_success() => {
                        settings::remember_good(endpoint, &self.target.endpoints);
                        return Ok(answer);
                    }
                    Ok(answer) => {
                        let failure = Failure::from(problem_of(answer, endpoint, &request_id));
                        if !matches!(failure.problem.status, 502..=504) {
                            settings::remember_good(endpoint, &self.target.endpoints);
                            return Err(failure);
                        }
                        tried.push(format!("{endpoint}: {}", failure.problem.title));
                        unwell = Some(failure);
                    }
                    Err(error) => {
                        worth_another_round |= matches!(error, ureq::Error::Timeout(_));
                        tried.push(format!("{endpoint}: {}", why(&error)));
                    }
                }
            }
            if !worth_another_round {
                break;
            }
        }
        Err(self.unreached(tried, unwell))
    }

    fn agent(&self, connect: Duration, left: Duration, call: &Call, stream: bool) -> ureq::Agent {
        let within = if call.measured { MEASURED_WITHIN } else { ANSWER_WITH_OTHERS };
        let answer = if self.order.len() > 1 { within.min(left) } else { left };
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(connect.min(left)))
            .timeout_recv_response(Some(answer))
            .user_agent(concat!("dwcp-cli/", env!("CARGO_PKG_VERSION")));
        if !stream {
            config = config.timeout_global(Some(left));
        }
        if let Some(tls) = &self.tls {
            config = config.tls_config(tls.clone());
        }
        config.build().new_agent()
    }

    fn request(
        &self,
        endpoint: &str,
        call: &Call,
        request_id: &str,
        idempotency: &str,
    ) -> Result<http::Request<Vec<u8>>, Failure> {
        let url = format!("{}{}", endpoint.trim_end_matches('/'), call.target);
        let mut request = http::Request::builder().method(call.method.name()).uri(url);
        request = request.header(REQUEST_ID, request_id).header("accept", "application/json");
        if let Some(token) = &self.target.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if call.method.writes() {
            request = request.header(IDEMPOTENCY_KEY, idempotency);
        }
        let mut bytes = Vec::new();
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json");
            bytes = body.to_string().into_bytes();
        }
        request.body(bytes).map_err(|error| Failure::usage(format!("the request can't be made: {error}")))
    }

    fn unreached(&self, tried: Vec<String>, unwell: Option<Failure>) -> Failure {
        if let Some(mut failure) = unwell {
            if tried.len() > 1 {
                failure.problem.cause.extend(tried);
            }
            return failure;
        }
        let title = format!("no endpoint of '{}' answered", self.target.context);
        let mut failure = Failure::new(Exit::Unreachable, title);
        for attempt in tried {
            if !failure.problem.cause.contains(&attempt) {
                failure = failure.because(attempt);
            }
        }
        failure
            .and_then("VMs, routes and DNS go on with their last good state")
            .suggest("dwcp-cli context show")
            .suggest("dwcp-cli --endpoint https://ADDRESS:7443 …")
    }
}

fn nowhere() -> Failure {
    Failure::usage("no federation is named: there is no context and no --endpoint")
        .suggest("dwcp-cli context add NAME --endpoint https://ADDRESS:7443 --ca ca.pem --token TOKEN")
}

fn broken(call: &Call, why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("the answer to {} {} can't be read", call.method.name(), call.target))
        .because(why.to_owned())
}

fn why(error: &ureq::Error) -> String {
    match error {
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Timeout(what) => format!("no answer in time ({what})"),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The error body, or one made up from the status where there is none.
fn problem_of(mut answer: Answer, endpoint: &str, request_id: &str) -> Problem {
    let status = answer.status();
    let is_problem = answer
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.starts_with(PROBLEM_JSON));
    let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec().unwrap_or_default();
    let parsed = is_problem.then(|| serde_json::from_slice::<Problem>(&body).ok()).flatten();
    let mut problem = parsed.unwrap_or_else(|| {
        let first: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        let reason = status.canonical_reason().unwrap_or("no reason given");
        let problem = Problem::new(
            status.as_u16(),
            "",
            &format!("{endpoint} answered {status}", status = status.as_u16()),
        );
        problem.because(if first.trim().is_empty() { reason.to_owned() } else { first })
    });
    problem.status = status.as_u16();
    if problem.request_id.is_empty() {
        problem.request_id = request_id.to_owned();
    }
    problem
}
