//! What an endpoint is, and how its request travels: path, query, body.

mod strings;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Problem;

/// HTTP method of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    /// The method as HTTP spells it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
    /// Whether the request's fields travel in a JSON body (the others travel in the query).
    pub fn has_body(self) -> bool {
        matches!(self, Method::Post | Method::Put)
    }
    /// Whether it may change something, and so carries an idempotency key.
    pub fn writes(self) -> bool {
        self != Method::Get
    }
}

/// What a caller must be allowed to do. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nobody needs to be known.
    Public,
    /// Reading (role viewer).
    Read,
    /// Changing VMs and regions (role operator).
    Operate,
    /// Tokens, policies, emulated links (role admin).
    Administer,
}

wire! {
    /// What a token may do.
    #[derive(Copy, Eq, PartialOrd, Ord)]
    #[serde(rename_all = "snake_case")]
    pub enum Role {
        /// Reads.
        Viewer,
        /// Reads and changes VMs and regions.
        Operator,
        /// Everything.
        Admin,
    }
}

impl Role {
    /// Whether this role may call an endpoint that needs `needs`.
    pub fn allows(self, needs: Permission) -> bool {
        match self {
            Role::Viewer => needs <= Permission::Read,
            Role::Operator => needs <= Permission::Operate,
            Role::Admin => true,
        }
    }
    /// The role's name as in the API.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// One call of the API. The request's fields named in `PATH` (`{region}`) travel there; the others in the query
/// (GET, DELETE) or in a JSON body (POST, PUT).
pub trait Endpoint {
    /// The endpoint's name: operation id of the OpenAPI document.
    const NAME: &'static str;
    /// One line: what it does.
    const SUMMARY: &'static str;
    const METHOD: Method;
    /// Path with parameters in braces, as axum and OpenAPI both write them.
    const PATH: &'static str;
    const NEEDS: Permission;
    /// Whether `?watch=true` turns the answer into a stream of `Response`, one a line.
    const WATCH: bool;
    /// Whether the answer is measured while the caller waits, for up to [`MEASURED_WITHIN`]; all others come at once.
    const MEASURED: bool;
    type Request: Serialize + DeserializeOwned + JsonSchema;
    type Response: Serialize + DeserializeOwned + JsonSchema;
}

/// What is measured while the caller waits takes no longer: the longest time for which processes are counted, and what it takes to
/// find that somebody does not answer.
pub const MEASURED_WITHIN: Duration = Duration::from_secs(32);

/// A request on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: Method,
    /// See [`Endpoint::MEASURED`].
    pub measured: bool,
    /// Path and query, percent-encoded, beginning with `/v1/`.
    pub target: String,
    /// JSON body of a POST or PUT, without the fields that went into the path and without nulls.
    pub body: Option<Value>,
}

/// Turns a request into what travels. Fails only when a path parameter is empty or not text: a bug of the caller,
/// told as text.
pub fn encode<E: Endpoint>(request: &E::Request) -> Result<Call, String> {
    let value = serde_json::to_value(request).map_err(|e| format!("request of {}: {e}", E::NAME))?;
    let mut fields = match without_nulls(value) {
        Value::Object(fields) => fields,
        Value::Null => serde_json::Map::new(),
        other => return Err(format!("request of {} is not an object: {other}", E::NAME)),
    };
    let mut target = String::new();
    for (index, part) in E::PATH.split('/').enumerate() {
        if index > 0 {
            target.push('/');
        }
        match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            None => target.push_str(part),
            Some(name) => match fields.remove(name) {
                Some(Value::String(text)) if !text.is_empty() => strings::escape(&text, &mut target),
                _ => return Err(format!("{} needs a {name}", E::NAME)),
            },
        }
    }
    let mut body = None;
    if E::METHOD.has_body() {
        body = Some(Value::Object(fields));
    } else {
        let mut mark = '?';
        for (name, value) in fields {
            let Some(text) = strings::plain(&value) else { continue };
            target.push(mark);
            mark = '&';
            strings::escape(&name, &mut target);
            target.push('=');
            strings::escape(&text, &mut target);
        }
    }
    Ok(Call { method: E::METHOD, measured: E::MEASURED, target, body })
}

/// Reads a request as it arrived: path parameters (already percent-decoded), the raw query, the body bytes. Bad
/// input is a [`Problem`] of status 400 that names the field.
#[expect(clippy::result_large_err, reason = "a problem is made once a refused request")]
pub fn decode<E: Endpoint>(
    path: &BTreeMap<String, String>,
    query: Option<&str>,
    body: &[u8],
) -> Result<E::Request, Problem> {
    if !E::METHOD.has_body() {
        let mut fields = strings::split_query(query.unwrap_or(""));
        fields.extend(path.iter().map(|(k, v)| (k.clone(), v.clone())));
        return strings::from_strings(&fields).map_err(|e| Problem::bad_request(&e.to_string()));
    }
    let text = if body.is_empty() { b"{}".as_slice() } else { body };
    let parsed: Value =
        serde_json::from_slice(text).map_err(|e| Problem::bad_request(&format!("body is not JSON: {e}")))?;
    let Value::Object(mut fields) = parsed else {
        return Err(Problem::bad_request("the body must be a JSON object"));
    };
    for (name, value) in path {
        fields.insert(name.clone(), Value::String(value.clone()));
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| unreadable(&error))
}

/// A value that can't be what its field is: `policy.max_latency.to: invalid type: …`.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let field = error.path().to_string();
    // serde_path_to_error writes the whole document as a dot.
    if field == "." {
        return Problem::bad_request(&error.inner().to_string());
    }
    let problem = Problem::bad_request(&format!("{field}: {}", error.inner()));
    Problem { field: Some(field), ..problem }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
