//! Requests to an etcd cluster: its version 3 API as JSON over HTTP, by a blocking client that the tree has already.
//!
//! Members are asked in turn; one that answered is asked again. A request without an answer may have been carried out, so
//! whoever sends one again must be able to tell: every write here compares what it was decided from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{ClientCert, PrivateKey, TlsConfig};

use super::Place;
use crate::log::Log;
use crate::outbound;
use crate::store::StoreError;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A member that hangs is left for the next one before the node takes its store for stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The same for requests and answers of up to a mebibyte and more.
const LONG_ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A request longer than this is a long one, bytes.
const LONG: usize = 64 << 10;
/// The longest answer, bytes.
const LARGEST_ANSWER: u64 = 256 << 20;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// A silence this long is logged.
const SILENT: Duration = Duration::from_secs(3);

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Whether it was carried out is not known.
    NoAnswer(String),
    /// It was not carried out, and will not be.
    Refused(String),
    /// The revision that was asked for is not kept any more.
    Compacted,
    /// The lease that was named has run out; nothing was carried out.
    NoLease,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::NoAnswer(why) => write!(f, "no answer: {why}"),
            Trouble::Refused(why) => write!(f, "{why}"),
            Trouble::Compacted => write!(f, "its history was compacted meanwhile"),
            Trouble::NoLease => write!(f, "the lease has run out"),
        }
    }
}

/// What is asked for, below `/v3/`, and its JSON.
pub(super) struct Asked {
    pub path: &'static str,
    pub body: String,
    /// The answer may be long.
    pub long: bool,
}

impl Asked {
    pub fn new(path: &'static str, body: &Value) -> Asked {
        let body = body.to_string();
        Asked { path, long: body.len() > LONG, body }
    }
}

/// A key of etcd with what is there.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub revision: u64,
}

/// One change of a transaction; keys as etcd knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Vec<u8>, Vec<u8>),
    /// From, inclusive, and to, exclusive.
    Delete(Vec<u8>, Vec<u8>),
}

impl Change {
    /// What it adds to a request, bytes.
    pub fn bytes(&self) -> usize {
        let (Change::Put(a, b) | Change::Delete(a, b)) = self;
        a.len() + b.len() + 16
    }

    fn json(&self, lease: Option<u64>) -> Value {
        match self {
            Change::Put(key, value) => {
                let mut put = json!({"key": BASE64.encode(key), "value": BASE64.encode(value)});
                if let Some(lease) = lease {
                    put["lease"] = lease.to_string().into();
                }
                json!({ "request_put": put })
            }
            Change::Delete(from, to) => {
                json!({"request_delete_range": {"key": BASE64.encode(from), "range_end": BASE64.encode(to)}})
            }
        }
    }
}

/// A transaction: it is carried out when each key has the revision; otherwise these keys are read.
pub(super) struct Transaction<'a> {
    pub compare: &'a [(&'a [u8], u64)],
    /// Each with the lease it hangs on.
    pub changes: &'a [(&'a Change, Option<u64>)],
}

/// What became of a transaction.
#[derive(Default)]
pub(super) struct Answer {
    pub done: bool,
    /// It named a lease that has run out.
    pub no_lease: bool,
    pub revision: u64,
    /// What each compared key holds, when it was not done.
    pub found: Vec<Option<Held>>,
    pub cluster: u64,
}

/// The members of a cluster.
pub(super) struct Client {
    agent: Agent,
    endpoints: Vec<String>,
    current: AtomicUsize,
    log: Log,
}

impl Client {
    pub fn new(place: &Place, log: &Log) -> Result<Client, String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN));
        if place.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
            config = config.tls_config(tls(place)?);
        }
        let endpoints = place.endpoints.iter().map(|one| one.trim_end_matches('/').to_owned()).collect();
        Ok(Client { agent: config.build().into(), endpoints, current: AtomicUsize::new(0), log: log.clone() })
    }

    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Every member, the one that answered last first.
    pub fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.current.load(Ordering::Relaxed), self.endpoints.len());
        (0..count).map(move |at| (first + at) % count)
    }

    /// Asks one member once.
    pub fn ask_at(&self, member: usize, asked: &Asked) -> Result<Value, Trouble> {
        let endpoint = &self.endpoints[member % self.endpoints.len()];
        let lost = |why: String| Trouble::NoAnswer(format!("{endpoint}: {why}"));
        let within = if asked.long { LONG_ANSWER_WITHIN } else { ANSWER_WITHIN };
        let request = self.agent.post(format!("{endpoint}/v3/{}", asked.path));
        let request = request.config().timeout_global(Some(within)).build();
        let request = request.header("content-type", "application/json");
        let mut answer = request.send(asked.body.as_bytes()).map_err(|error| lost(error.to_string()))?;
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = body.map_err(|error| lost(error.to_string()))?;
        let status = answer.status().as_u16();
        match serde_json::from_slice::<Value>(&body) {
            Ok(value) if status == 200 && value.get("error").is_none() => Ok(value),
            Ok(value) => Err(refusal(endpoint, status, &value)),
            Err(_) if status == 200 => Err(lost("an answer that is no JSON".to_owned())),
            Err(_) => Err(refusal(endpoint, status, &Value::Null)),
        }
    }

    /// Asks the member that answered last, once; after a silence the next one has its turn.
    pub fn ask(&self, asked: &Asked) -> Result<Value, Trouble> {
        let member = self.current.load(Ordering::Relaxed);
        let answer = self.ask_at(member, asked);
        if let Err(Trouble::NoAnswer(_)) = answer {
            self.current.store((member + 1) % self.endpoints.len(), Ordering::Relaxed);
        }
        answer
    }

    /// Asks until it is done, for so long.
    pub fn insist(&self, asked: &Asked, patience: Duration) -> Result<Value, StoreError> {
        self.answer(asked, patience)?.map_err(|trouble| refused(&trouble))
    }

    /// Asks until there is an answer, for so long: what was asked for, or why not.
    fn answer(&self, asked: &Asked, patience: Duration) -> Result<Result<Value, Trouble>, StoreError> {
        let began = Instant::now();
        let (mut wait, mut told) = (FIRST_WAIT, false);
        loop {
            let why = match self.ask(asked) {
                Err(Trouble::NoAnswer(why)) => why,
                other => {
                    if told {
                        let silent = began.elapsed().as_secs();
                        self.log.info("state-manager", format!("etcd answers again, after {silent} s"));
                    }
                    return Ok(other);
                }
            };
            if began.elapsed() + wait >= patience {
                return Err(StoreError::Etcd(format!(
                    "etcd gave no answer for {} s ({why}). What was being written was not acknowledged; it is looked at again \
                     when dwcpd starts",
                    patience.as_secs()
                )));
            }
            if !told && began.elapsed() >= SILENT {
                told = true;
                let text = format!(
                    "etcd does not answer ({why}); what is to be written waits, and nothing is acknowledged"
                );
                self.log.warning("state-manager", text);
            }
            thread::sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// A transaction, asked until there is an answer.
    pub fn transact(&self, asked: &Transaction<'_>, patience: Duration) -> Result<Answer, StoreError> {
        let compare = asked.compare.iter().map(|(key, revision)| {
            json!({"key": BASE64.encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string()})
        });
        let read = asked.compare.iter().map(|(key, _)| json!({"request_range": {"key": BASE64.encode(key)}}));
        let body = json!({
            "compare": compare.collect::<Vec<_>>(),
            "success": asked.changes.iter().map(|(change, lease)| change.json(*lease)).collect::<Vec<_>>(),
            "failure": read.collect::<Vec<_>>(),
        });
        let answer = match self.answer(&Asked::new("kv/txn", &body), patience)? {
            Err(Trouble::NoLease) => return Ok(Answer { no_lease: true, ..Answer::default() }),
            other => other.map_err(|trouble| refused(&trouble))?,
        };
        let done = answer.get("succeeded").and_then(Value::as_bool).unwrap_or(false);
        let responses =
            answer.get("responses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let range = |response: &Value| held_in(response.get("response_range").unwrap_or(&Value::Null));
        let found = responses.iter().map(|response| Ok(range(response)?.into_iter().next()));
        let found: Result<Vec<Option<Held>>, StoreError> =
            if done { Ok(Vec::new()) } else { found.collect() };
        let header = answer.get("header").unwrap_or(&Value::Null);
        Ok(Answer {
            done,
            no_lease: false,
            revision: number(header, "revision"),
            found: found?,
            cluster: number(header, "cluster_id"),
        })
    }
}

/// Keys with `from <= key < to` as of a revision, at most so many.
pub(super) fn range(from: &[u8], to: &[u8], most: usize, revision: u64) -> Asked {
    let body = json!({
        "key": BASE64.encode(from),
        "range_end": BASE64.encode(to),
        "limit": most.to_string(),
        "revision": revision.to_string(),
    });
    Asked { long: true, ..Asked::new("kv/range", &body) }
}

/// What an answer to a range holds.
pub(super) fn held_in(answer: &Value) -> Result<Vec<Held>, StoreError> {
    let bytes =
        |held: &Value, name| BASE64.decode(held.get(name).and_then(Value::as_str).unwrap_or_default()).ok();
    let held = answer.get("kvs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let read = held.iter().map(|held| {
        Some(Held {
            key: bytes(held, "key")?,
            value: bytes(held, "value")?,
            revision: number(held, "mod_revision"),
        })
    });
    read.collect::<Option<_>>()
        .ok_or_else(|| StoreError::Etcd("etcd answered with what is no base64".to_owned()))
}

/// Whole numbers come as text, and zero not at all.
pub(super) fn number(value: &Value, name: &str) -> u64 {
    let field = value.get(name);
    field.and_then(|field| field.as_u64().or_else(|| field.as_str()?.parse().ok())).unwrap_or(0)
}

pub(super) fn refused(trouble: &Trouble) -> StoreError {
    StoreError::Etcd(format!("{trouble}. Nothing of that request was acknowledged"))
}

/// Sorts what etcd says into what passes and what stays.
fn refusal(endpoint: &str, status: u16, said: &Value) -> Trouble {
    let why = said.get("error").and_then(Value::as_str).unwrap_or("no reason given");
    let passes = match number(said, "code") {
        // Canceled, unknown, deadline exceeded, aborted, unavailable: no leader, one that changes, a member that stops.
        1 | 2 | 4 | 10 | 14 => true,
        8 => why.contains("too many requests"),
        0 => status >= 500,
        _ => false,
    };
    let text = format!("{endpoint}: {why} (status {status})");
    match () {
        () if why.contains("has been compacted") => Trouble::Compacted,
        () if why.contains("requested lease not found") => Trouble::NoLease,
        () if passes => Trouble::NoAnswer(text),
        () if why.contains("space exceeded") => Trouble::Refused(format!(
            "{text}. Its quota is used up: compact and defragment it or raise --quota-backend-bytes, then `etcdctl alarm disarm`"
        )),
        () => Trouble::Refused(text),
    }
}

fn tls(place: &Place) -> Result<TlsConfig, String> {
    let own = match (&place.certificate, &place.key) {
        (Some(certificate), Some(key)) => {
            let pem = outbound::read(key)?;
            let key = PrivateKey::from_pem(&pem).map_err(|error| format!("{}: {error}", key.display()))?;
            Some(ClientCert::new_with_certs(&outbound::certificates(certificate)?, key))
        }
        _ => None,
    };
    outbound::tls(place.ca.as_deref(), own)
}
