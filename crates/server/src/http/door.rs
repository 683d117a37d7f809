//! One request from its bytes to its answer: id, route, token, body, answer or problem.

use std::sync::Arc;

use dwcp_api::problem::status_of;
use dwcp_api::server::LeaderRead;
use dwcp_api::{
    Endpoint, IDEMPOTENCY_KEY, NDJSON, PROBLEM_JSON, Permission, Problem, REQUEST_ID, TRACEPARENT,
};
use dwcp_telemetry::logs::Traceparent;
use dwcp_types::{Code, Refusal};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::auth::{self, Caller};
use super::body::{self, Outgoing};
use super::call::{Call, digest};
use super::routes::{self, Answered, Arrived, Found};
use super::status_page::Form;
use super::{Api, alertmanager, call, names, prometheus, status_page, web_console};
use crate::clock;
use crate::handle::View;
use crate::telemetry::traces;

const JSON: &str = "application/json";
/// Between two looks of a stream, ms: usual, least, most.
const INTERVAL_MS: (u64, u64, u64) = (250, 50, 60_000);
/// Longest idempotency key and request id.
const LONGEST_ID: usize = 128;

/// Answers a request; never fails.
pub async fn handle(api: Arc<Api>, request: Request<Incoming>) -> Response<Outgoing> {
    let (parts, body) = request.into_parts();
    let caller = header(&parts, TRACEPARENT).and_then(|text| text.parse::<Traceparent>().ok());
    let id = request_id(&parts, caller);
    let head_only = parts.method == Method::HEAD;
    let (instruments, traces, began) = (api.instruments.clone(), api.traces.clone(), clock::mono());
    let mut response = match serve(api, &parts, body, &id).await {
        Ok(response) => response,
        Err(refused) => problem_response(*refused, &id),
    };
    let (status, took_us) = (response.status().as_u16(), clock::mono().0.saturating_sub(began.0));
    let (endpoint, path) = endpoint(&parts);
    instruments.answered(endpoint, status, took_us as f64 / 1e6);
    // Whoever may not come in leaves nothing here but a line of the log.
    if let (Some(traces), Some(path), 0..=400 | 402..) = (traces, path, status) {
        let (request_id, method) = (id.as_str(), parts.method.as_str());
        let writes = !matches!(parts.method, Method::GET | Method::HEAD);
        traces.answered(&traces::Answered { request_id, caller, method, path, status, began, writes });
    }
    if head_only {
        *response.body_mut() = Outgoing::Whole(None);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    // What the API answers is true now; the console's files say themselves how long they hold.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What was asked, in one of a few words, as a path that is none must not make a metric of its own; and its path in the table.
fn endpoint(parts: &Parts) -> (&'static str, Option<&'static str>) {
    let path = parts.uri.path();
    let method = if parts.method == Method::HEAD { "GET" } else { parts.method.as_str() };
    match routes::find(method, path) {
        Found::Route(route, _) => (route.name, Some(route.path)),
        _ if prometheus::is_mine(path) => ("Prometheus", None),
        _ if alertmanager::is_mine(path) => ("Alertmanager", None),
        _ if path == status_page::ANNOUNCE || status_page::form(path).is_some() => ("StatusPage", None),
        _ => ("other", None),
    }
}

struct Refused {
    problem: Problem,
    allow: Option<String>,
}

impl From<Problem> for Box<Refused> {
    fn from(problem: Problem) -> Box<Refused> {
        Box::new(Refused { problem, allow: None })
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_ID && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// The client's own id, or a fresh one: that of a request of a trace leads to the trace (see `trace_of`).
fn request_id(parts: &Parts, caller: Option<Traceparent>) -> String {
    if let Some(given) = header(parts, REQUEST_ID).filter(|text| is_plain(text)) {
        return given.to_owned();
    }
    let front = caller.map_or("req_".to_owned(), |caller| format!("req_{}-", caller.trace));
    auth::fresh_id(&front).unwrap_or_else(|_| "req_unknown".to_owned())
}

async fn serve(
    api: Arc<Api>,
    parts: &Parts,
    incoming: Incoming,
    id: &str,
) -> Result<Response<Outgoing>, Box<Refused>> {
    let path = parts.uri.path();
    if let Some(response) = plain_page(&api, parts, path).await {
        return response;
    }
    if path == prometheus::write::PATH {
        if parts.method != hyper::Method::POST {
            return Err(wrong_method(path, "POST"));
        }
        return Ok(prometheus::write::answer(&api, parts, incoming).await?);
    }
    if prometheus::is_mine(path) {
        return foreign(&api, parts, incoming).await;
    }
    if alertmanager::is_mine(path) {
        return silencer(api, parts, incoming, id).await;
    }
    if path == status_page::ANNOUNCE {
        return announce(api, parts, incoming, id).await;
    }
    // What answers GET answers HEAD, without a body.
    let method = if parts.method == Method::HEAD { "GET" } else { parts.method.as_str() };
    let (route, params) = match routes::find(method, path) {
        Found::Route(route, params) => (route, params),
        Found::OtherMethod(allowed) => return Err(wrong_method(path, &allowed.join(", "))),
        Found::Nothing => return Err(unknown_path(path).into()),
    };
    let (caller, secret) = if route.needs == Permission::Public {
        (Caller::nobody(), None)
    } else {
        let secret = auth::bearer(parts.headers.get(AUTHORIZATION))?;
        let caller = auth::authenticate(&api, secret).await?;
        auth::permit(&caller, route.needs)?;
        (caller, Some(secret))
    };
    let key = idempotency_key(parts)?;
    let body = body::read(incoming).await?;
    let digest = digest(&[method.as_bytes(), path.as_bytes(), &body]);
    let mut query = query(parts.uri.query().unwrap_or(""))?;
    if route.name == LeaderRead::NAME {
        query.rest = by_number(&api, query.rest).await?;
    }
    let seed = secret.zip(key.as_ref()).map(|(secret, key)| {
        auth::Seed::new(secret, &[key.as_bytes(), method.as_bytes(), path.as_bytes(), &body])
    });
    let call = Call { api, caller, key, digest, seed, request_id: id.to_owned() };
    let arrived = Arrived {
        params,
        query: query.rest,
        body,
        consistent: query.consistent,
        interval_ms: query.interval_ms,
    };
    let answered = (route.answer)(call, arrived).await?;
    Ok(match answered {
        Answered::Whole(bytes) => answer(StatusCode::OK, JSON, Outgoing::whole(bytes)),
        Answered::Stream(lines) => answer(StatusCode::OK, NDJSON, Outgoing::Stream(lines)),
    })
}

/// What foreign programs ask for, in the way of Prometheus.
async fn foreign(
    api: &Arc<Api>,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Response<Outgoing>, Box<Refused>> {
    admitted(api, parts, Permission::Read).await?;
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::POST) {
        return Err(wrong_method(parts.uri.path(), "GET, HEAD, POST"));
    }
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let form = body::read(incoming).await?;
    let form = String::from_utf8(form).map_err(|_| Problem::bad_request("the body is no form"))?;
    let fields = [parts.uri.query().unwrap_or(""), &form].join("&");
    let answered = prometheus::answer(api, parts.uri.path(), accept, &fields).await?;
    let mut response = answer(answered.status, "text/plain", Outgoing::whole(answered.body));
    if let Ok(media) = HeaderValue::from_str(answered.media) {
        response.headers_mut().insert(CONTENT_TYPE, media);
    }
    Ok(response)
}

/// Who asks, if that one may do what needs this.
async fn admitted(api: &Api, parts: &Parts, needs: Permission) -> Result<Caller, Box<Refused>> {
    let secret = auth::bearer(parts.headers.get(AUTHORIZATION))?;
    let caller = auth::authenticate(api, secret).await?;
    auth::permit(&caller, needs)?;
    Ok(caller)
}

/// What programs made for Alertmanager ask for.
async fn silencer(
    api: Arc<Api>,
    parts: &Parts,
    incoming: Incoming,
    id: &str,
) -> Result<Response<Outgoing>, Box<Refused>> {
    let (path, method) = (parts.uri.path(), &parts.method);
    let caller = admitted(&api, parts, alertmanager::needs(method)).await?;
    let methods = alertmanager::methods(path).ok_or_else(|| alertmanager::unknown(path))?;
    if !methods.split(", ").any(|known| known == method.as_str()) {
        return Err(wrong_method(path, methods));
    }
    let key = idempotency_key(parts)?;
    let body = body::read(incoming).await?;
    let digest = digest(&[method.as_str().as_bytes(), path.as_bytes(), &body]);
    let call = Call { api, caller, key, digest, seed: None, request_id: id.to_owned() };
    let query = parts.uri.query().unwrap_or("");
    let answered = alertmanager::answer(&call, method, path, query, &body).await;
    let body = answered.body.map_or(Outgoing::Whole(None), |body| Outgoing::whole(body.to_string()));
    Ok(answer(answered.status, JSON, body))
}

/// An incident for the status page, as a form.
async fn announce(
    api: Arc<Api>,
    parts: &Parts,
    incoming: Incoming,
    id: &str,
) -> Result<Response<Outgoing>, Box<Refused>> {
    let path = parts.uri.path();
    let caller = admitted(&api, parts, Permission::Operate).await?;
    if parts.method != hyper::Method::POST {
        return Err(wrong_method(path, "POST"));
    }
    let key = idempotency_key(parts)?;
    let body = body::read(incoming).await?;
    let digest = digest(&[b"POST", path.as_bytes(), &body]);
    let form = String::from_utf8(body).map_err(|_| Problem::bad_request("the body is no form"))?;
    let call = Call { api, caller, key, digest, seed: None, request_id: id.to_owned() };
    let (new, incident) = status_page::announce(&call, &form, &status_page::base(host(parts))).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, JSON, Outgoing::whole(incident.to_string())))
}

fn host(parts: &Parts) -> Option<&str> {
    parts.headers.get(HOST).and_then(|value| value.to_str().ok())
}

/// The status page: for everybody, with the headers under which a browser runs and loads nothing.
async fn status(api: &Arc<Api>, parts: &Parts, form: Form) -> Result<Response<Outgoing>, Box<Refused>> {
    let (media, text) = status_page::answer(api, form, &status_page::base(host(parts))).await?;
    let mut response = answer(StatusCode::OK, media, Outgoing::whole(text));
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&status_page::POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What is served beside the table: the web console, the status page, the document, and whether the process is well.
async fn plain_page(
    api: &Arc<Api>,
    parts: &Parts,
    path: &str,
) -> Option<Result<Response<Outgoing>, Box<Refused>>> {
    let page = web_console::answer(path, &parts.headers);
    let form = status_page::form(path);
    if page.is_none() && form.is_none() && !matches!(path, "/healthz" | "/v1/openapi.json") {
        return None;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(Err(wrong_method(path, "GET, HEAD")));
    }
    if let Some(page) = page {
        return Some(Ok(page));
    }
    if let Some(form) = form {
        return Some(status(api, parts, form).await);
    }
    if path == "/v1/openapi.json" {
        let document = dwcp_api::openapi().to_string();
        return Some(Ok(answer(StatusCode::OK, JSON, Outgoing::whole(document))));
    }
    // Alive means that the node's thread answers.
    Some(match api.node.look(|_| ()).await {
        Some(()) => Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", Outgoing::whole("ok\n"))),
        None => Err(call::stopping().into()),
    })
}

fn idempotency_key(parts: &Parts) -> Result<Option<String>, Problem> {
    let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if is_plain(text) => Ok(Some(text.to_owned())),
        _ => Err(call::bad_value(IDEMPOTENCY_KEY, format!("1 to {LONGEST_ID} visible ASCII characters"))),
    }
}

struct Query {
    rest: String,
    consistent: bool,
    interval_ms: u64,
}

/// Takes the parameters that every read understands out of the query.
fn query(text: &str) -> Result<Query, Problem> {
    let mut query = Query { rest: String::new(), consistent: false, interval_ms: INTERVAL_MS.0 };
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        match name {
            "consistent" => {
                query.consistent = value.parse().map_err(|_| {
                    Problem::bad_request(&format!("consistent: '{value}' is not true or false"))
                })?;
            }
            "interval_ms" => {
                let (_, least, most) = INTERVAL_MS;
                query.interval_ms = match value.parse::<u64>() {
                    Ok(ms) if (least..=most).contains(&ms) => ms,
                    _ => return Err(call::bad_value("interval_ms", format!("{least} to {most}"))),
                };
            }
            _ => {
                if !query.rest.is_empty() {
                    query.rest.push('&');
                }
                query.rest.push_str(pair);
            }
        }
    }
    Ok(query)
}

/// Agents ask for the group of a region by the region's name.
async fn by_number(api: &Api, query: String) -> Result<String, Problem> {
    let Some(name) = query.strip_prefix("group=").and_then(routes::unescape) else { return Ok(query) };
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(query);
    }
    let number = move |view: &View<'_>| {
        let mut regions = view.node.regions().iter();
        let number = regions.find(|(_, region)| region.as_str() == name).map(|(number, _)| *number);
        number.map(|number| format!("group={number}")).ok_or_else(|| names::unknown_region(&name))
    };
    api.node.look(number).await.ok_or_else(call::stopping)?
}

fn unknown_path(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::from(
        &Refusal::new(Code::UnknownEndpoint, "no such endpoint")
            .because(format!("the API has no {shown}"))
            .try_this("GET /v1/openapi.json"),
    )
}

fn wrong_method(path: &str, allow: &str) -> Box<Refused> {
    let problem = Problem::new(405, Code::UnknownEndpoint.as_str(), "the path has no such method")
        .because(format!("{path} takes {allow}"))
        .and_then("nothing was changed");
    Box::new(Refused { problem, allow: Some(allow.to_owned()) })
}

fn answer(status: StatusCode, media: &'static str, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn problem_response(refused: Refused, id: &str) -> Response<Outgoing> {
    let Refused { mut problem, allow } = refused;
    id.clone_into(&mut problem.request_id);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = answer(status, PROBLEM_JSON, Outgoing::whole(body));
    let headers = response.headers_mut();
    if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dwcp\""));
    }
    if problem.status == status_of(Code::Overloaded) || status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
