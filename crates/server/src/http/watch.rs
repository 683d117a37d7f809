//! Streams: the answer again whenever it changed, one JSON value a line.

use std::pin::Pin;
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

/// What a stream asks again and again. One loop serves all endpoints: one for each was a twentieth of the program, and of the
/// time that it takes to build.
trait Watched: Send {
    /// The line to send now, when nothing was sent for `quiet`; none when nothing is new.
    fn line(&mut self, quiet: Duration) -> Result<Option<Vec<u8>>, Problem>;

    /// Nothing more will come.
    fn ended(&self) -> bool;

    fn ask<'a>(&'a mut self, call: &'a Call) -> Asking<'a>;
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send + 'a>>;

struct Watching<E: Serve> {
    request: E::Request,
    before: Option<E::Response>,
    now: E::Response,
}

impl<E: Serve> Watched for Watching<E> {
    fn line(&mut self, quiet: Duration) -> Result<Option<Vec<u8>>, Problem> {
        let repeat = E::REPEATS && quiet >= REPEAT_AFTER;
        let news = E::news(self.before.as_ref(), &self.now).or_else(|| repeat.then(|| self.now.clone()));
        let Some(news) = news else { return Ok(None) };
        let mut line = json(&news)?;
        line.push(b'\n');
        E::advance(&mut self.request, &news);
        Ok(Some(line))
    }

    fn ended(&self) -> bool {
        E::ended(&self.now)
    }

    fn ask<'a>(&'a mut self, call: &'a Call) -> Asking<'a> {
        Box::pin(async move {
            let next = E::answer(call, self.request.clone()).await?;
            self.before = Some(std::mem::replace(&mut self.now, next));
            Ok(())
        })
    }
}

/// Answers with a stream. What can be refused is refused before it begins.
pub async fn stream<E: Serve>(
    call: Call,
    request: E::Request,
    interval_ms: u64,
) -> Result<Answered, Problem> {
    let now = E::answer(&call, request.clone()).await?;
    let (lines, receiver) = mpsc::channel(LINES_WAITING);
    let watched = Box::new(Watching::<E> { request, before: None, now });
    tokio::spawn(follow(call, watched, interval_ms, lines));
    Ok(Answered::Stream(receiver))
}

async fn follow(call: Call, mut watched: Box<dyn Watched>, interval_ms: u64, lines: mpsc::Sender<Bytes>) {
    let mut stopping = call.api.stopping.subscribe();
    let (mut sent_at, mut token_at) = (Instant::now(), Instant::now());
    loop {
        let Ok(line) = watched.line(sent_at.elapsed()) else { return };
        if let Some(line) = line {
            if lines.send(Bytes::from(line)).await.is_err() {
                return;
            }
            sent_at = Instant::now();
        }
        if watched.ended() {
            return;
        }
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
        if watched.ask(&call).await.is_err() {
            return;
        }
    }
}
