//! Streams: the answer again whenever it changed, one JSON value a line.

use std::time::{Duration, Instant};

use dwcp_api::Problem;
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::auth;
use super::call::Call;
use super::routes::{Answered, Serve};

/// Lines that wait for a slow reader.
const LINES_WAITING: usize = 16;
/// An unchanged answer is sent again after this, so that its ages are true and a reader that went away is noticed.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// How often the caller's token is looked at.
const TOKEN_EVERY: Duration = Duration::from_secs(1);
/// Fields that grow by themselves: a change of these alone is no news.
const GROWING: [&str; 6] = ["as_of", "age_ms", "silent_ms", "lease_left_ms", "replication_lag_ms", "took_us"];

/// An answer as JSON.
pub fn json(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value)
        .map_err(|error| Problem::new(500, "", &format!("the answer can't be written: {error}")))
}

/// Whether the request asks for a stream.
pub fn wanted(request: &impl Serialize) -> bool {
    serde_json::to_value(request).is_ok_and(|value| value["watch"] == Value::Bool(true))
}

/// Whether two answers differ in more than what grows by itself.
pub fn differs(before: &impl Serialize, now: &impl Serialize) -> bool {
    let settled = |mut value: Value| {
        settle(&mut value);
        value
    };
    match (serde_json::to_value(before), serde_json::to_value(now)) {
        (Ok(before), Ok(now)) => settled(before) != settled(now),
        _ => true,
    }
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !GROWING.contains(&name.as_str()));
            fields.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

/// Answers with a stream. What can be refused is refused before it begins.
pub async fn stream<E: Serve>(
    call: Call,
    request: E::Request,
    interval_ms: u64,
) -> Result<Answered, Problem> {
    let first = E::answer(&call, request.clone()).await?;
    let (lines, receiver) = mpsc::channel(LINES_WAITING);
    tokio::spawn(follow::<E>(call, request, first, interval_ms, lines));
    Ok(Answered::Stream(receiver))
}

async fn follow<E: Serve>(
    call: Call,
    mut request: E::Request,
    first: E::Response,
    interval_ms: u64,
    lines: mpsc::Sender<Bytes>,
) {
    let mut stopping = call.api.stopping.subscribe();
    let (mut sent_at, mut token_at) = (Instant::now(), Instant::now());
    let mut before: Option<E::Response> = None;
    let mut now = first;
    loop {
        let repeat = E::REPEATS && sent_at.elapsed() >= REPEAT_AFTER;
        let news = E::news(before.as_ref(), &now).or_else(|| repeat.then(|| now.clone()));
        if let Some(news) = news {
            let Ok(mut line) = json(&news) else { return };
            line.push(b'\n');
            if lines.send(Bytes::from(line)).await.is_err() {
                return;
            }
            E::advance(&mut request, &news);
            sent_at = Instant::now();
        }
        if E::ended(&now) {
            return;
        }
        before = Some(now);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(interval_ms)) => {}
            () = lines.closed() => return,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if token_at.elapsed() >= TOKEN_EVERY {
            token_at = Instant::now();
            let caller = call.caller.clone();
            if !matches!(call.look(move |view| auth::still_holds(view, &caller)).await, Ok(true)) {
                return;
            }
        }
        match E::answer(&call, request.clone()).await {
            Ok(next) => now = next,
            Err(_) => return,
        }
    }
}
