//! Alertmanager's API, version 2 (`openapi.yaml` of prometheus/alertmanager): alerts that fire, and silences, for its own tools.

mod json;

use dwcp_api::{Permission, Problem};
use dwcp_telemetry::alerting::{Condition, Conditions, Muted, Phase};
use dwcp_types::{Code, Refusal};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::alerts::look;
use super::call::Call;
use super::prometheus::Fields;
use super::silences::fresh_id;
use crate::clock;
use crate::monitor::alerts::Known;
use crate::monitor::silences;

const FOLDER: &str = "/api/v2/";
/// Whom alerts are for that no route takes: the monitor, which makes incidents of them all.
const RECEIVER: &str = "incidents";
/// How that would be written in Alertmanager's own configuration.
const CONFIG: &str =
    "route:\n  receiver: incidents\n  group_by: [cause, region]\nreceivers:\n  - name: incidents\n";
/// Most filters of a request.
const MOST_FILTERS: usize = 32;

/// An answer; an error's body is a text, as Alertmanager's are.
pub struct Answered {
    pub status: StatusCode,
    /// None: no body.
    pub body: Option<Value>,
}

/// Whether a path is one of these.
pub fn is_mine(path: &str) -> bool {
    path.starts_with(FOLDER)
}

/// What a caller must be allowed to do.
pub fn needs(method: &Method) -> Permission {
    if matches!(*method, Method::GET | Method::HEAD) { Permission::Read } else { Permission::Operate }
}

/// The methods of a path; none: there is no such path.
pub fn methods(path: &str) -> Option<&'static str> {
    match path.strip_prefix(FOLDER)? {
        "status" | "receivers" | "alerts" | "alerts/groups" => Some("GET, HEAD"),
        "silences" => Some("GET, HEAD, POST"),
        path => path.strip_prefix("silence/").filter(|id| !id.is_empty()).map(|_| "GET, HEAD, DELETE"),
    }
}

struct Refused(StatusCode, String);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refused(status, [vec![problem.title], problem.cause].concat().join(": "))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused::from(Problem::from(&refusal))
    }
}

fn bad(why: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, why.into())
}

/// Answers a request of a path and method that there are, whose caller may make it.
pub async fn answer(call: &Call, method: &Method, path: &str, query: &str, body: &[u8]) -> Answered {
    let asked = path.strip_prefix(FOLDER).unwrap_or_default();
    let fields = Fields::of(query);
    let done = match (asked, asked.strip_prefix("silence/")) {
        ("status", _) => Ok(Some(status(call.api.started_ms))),
        ("receivers", _) => Ok(Some(receivers(call))),
        ("alerts", _) => alerts(call, &fields)
            .await
            .map(|all| Some(all.iter().map(|(known, receivers)| json::alert(known, receivers)).collect())),
        ("alerts/groups", _) => alerts(call, &fields).await.map(|all| Some(json::groups(&all))),
        ("silences", _) if *method == Method::POST => post(call, body).await.map(Some),
        ("silences", _) => list(call, &fields).await.map(Some),
        (_, Some(id)) if *method == Method::DELETE => delete(call, id).await.map(|()| None),
        (_, Some(id)) => one(call, id).await.map(Some),
        _ => Err(Refused(StatusCode::NOT_FOUND, format!("there is no {asked} here"))),
    };
    match done {
        Ok(body) => Answered { status: StatusCode::OK, body },
        Err(Refused(status, why)) => Answered { status, body: Some(Value::String(why)) },
    }
}

fn status(started_ms: i64) -> Value {
    let version = json!({ "version": dwcp_types::VERSION, "revision": "", "branch": "", "buildUser": "",
        "buildDate": "", "goVersion": "" });
    json!({
        "cluster": { "status": "disabled" },
        "versionInfo": version,
        "config": { "original": CONFIG },
        "uptime": json::moment(started_ms),
    })
}

/// All receivers by name.
fn receivers(call: &Call) -> Value {
    let settings = call.api.monitor().settings();
    let named = settings.receivers.keys().map(String::as_str).filter(|name| *name != RECEIVER);
    std::iter::once(RECEIVER).chain(named).map(|name| json!({ "name": name })).collect()
}

/// The conditions of all fields `filter`.
fn filters(fields: &Fields) -> Result<Conditions, Refused> {
    if fields.all("filter").count() > MOST_FILTERS {
        return Err(bad(format!("at most {MOST_FILTERS} filters")));
    }
    let mut all = Conditions::default();
    for text in fields.all("filter") {
        let read: Conditions =
            text.parse().map_err(|why: String| bad(format!("bad matcher format: {why}")))?;
        all.0.extend(read.0);
    }
    Ok(all)
}

fn flag(fields: &Fields, name: &str) -> Result<bool, Refused> {
    match fields.get(name) {
        None | Some("" | "true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(bad(format!("{name} in query must be of type boolean"))),
    }
}

/// The alerts that fire, as far as the fields choose, each with whom it is for.
async fn alerts(call: &Call, fields: &Fields) -> Result<Vec<(Known, Vec<String>)>, Refused> {
    let wanted = filters(fields)?;
    let (active, silenced) = (flag(fields, "active")?, flag(fields, "silenced")?);
    let (inhibited, muted) = (flag(fields, "inhibited")?, flag(fields, "muted")?);
    flag(fields, "unprocessed")?;
    let pattern = fields.get("receiver").filter(|pattern| !pattern.is_empty());
    let receiver = pattern.map(|pattern| Condition::of("receiver", pattern, true, false)).transpose();
    let receiver = receiver.map_err(|why| bad(format!("failed to parse receiver param: {why}")))?;
    let settings = call.api.monitor().settings();
    let seen = look(call).await?;
    let mut found = Vec::new();
    for known in seen.alerts {
        let shown = match &known.muted {
            None => active,
            Some(Muted::Silenced(_)) => silenced,
            Some(Muted::Inhibited(_)) => inhibited,
            Some(Muted::Maintenance(_)) => muted,
        };
        let labels = &known.alert.labels;
        let receivers = match settings.receivers_for(labels) {
            [] => vec![RECEIVER.to_owned()],
            some => some.to_vec(),
        };
        let is_for = |receiver: &Condition| receivers.iter().any(|name| receiver.holds_for_value(name));
        let fires = known.alert.phase == Phase::Firing;
        if fires && shown && wanted.hold(labels) && receiver.as_ref().is_none_or(is_for) {
            found.push((known, receivers));
        }
    }
    found.sort_by_key(|(known, _)| known.fingerprint());
    Ok(found)
}

/// Silences of which the conditions fulfil the filters: of each filter's label, the value.
async fn list(call: &Call, fields: &Fields) -> Result<Value, Refused> {
    let wanted = filters(fields)?;
    let now_ms = clock::wall_ms();
    let is_wanted = |conditions: &Conditions| {
        let about = |filter: &Condition, one: &Condition| {
            one.name() == filter.name() && filter.holds_for_value(one.value())
        };
        wanted.0.iter().all(|filter| conditions.0.iter().any(|one| about(filter, one)))
    };
    let all = silences::all(call.api.monitor()).await?;
    let found = all.iter().filter(|(_, silence)| is_wanted(&silence.conditions));
    Ok(found.map(|(id, silence)| json::silence(id, silence, now_ms)).collect())
}

async fn one(call: &Call, id: &str) -> Result<Value, Refused> {
    let all = silences::all(call.api.monitor()).await?;
    let silence = all.get(id).ok_or_else(|| Refused::from(silences::unknown(id)))?;
    Ok(json::silence(id, silence, clock::wall_ms()))
}

async fn post(call: &Call, body: &[u8]) -> Result<Value, Refused> {
    let posted = json::Posted::read(body).map_err(bad)?;
    let now_ms = clock::wall_ms();
    let (given, silence) = posted.silence(&call.caller.user, now_ms).map_err(bad)?;
    let (id, anew) = match given {
        Some(id) => (id, true),
        None => (fresh_id(call)?, false),
    };
    silences::put(call.api.monitor(), &call.asked(), (&id, anew), &silence, now_ms).await?;
    Ok(json!({ "silenceID": id }))
}

async fn delete(call: &Call, id: &str) -> Result<(), Refused> {
    silences::expire(call.api.monitor(), &call.asked(), id, clock::wall_ms()).await?;
    Ok(())
}

/// No path of this name.
pub fn unknown(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::from(
        &Refusal::new(Code::UnknownEndpoint, "no such endpoint")
            .because(format!("of Alertmanager's API there is no {shown} here")),
    )
}
