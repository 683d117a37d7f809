//! A PagerDuty and a Slack that refuse, hang and die for a while before they take anything.

use crate::run::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a request hangs that hangs; longer than anybody waits.
const HANGS: Duration = Duration::from_secs(25);

/// One request.
#[derive(Clone)]
struct Told {
    path: String,
    body: Value,
    taken: bool,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Vec<Told>>,
    /// What is done with the next requests of a path, before everything is taken.
    difficult: Mutex<Vec<(&'static str, Answer)>>,
    over: AtomicBool,
}

#[derive(Clone, Copy)]
enum Answer {
    /// 429, to be tried again after a second.
    Refuses,
    Hangs,
    /// Closes without a word.
    Dies,
}

/// Both, on one port, until it is dropped.
pub struct Receivers {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receivers {
    /// Takes everything at first.
    ///
    /// # Errors
    /// When it can't listen.
    pub fn start() -> Result<Receivers, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("can't listen: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = serving.clone();
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Ok(Receivers { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses, hangs and dies with the next requests.
    pub fn be_difficult(&self) {
        use Answer::{Dies, Hangs, Refuses};
        let plan =
            [("/pagerduty", Refuses), ("/pagerduty", Hangs), ("/pagerduty", Dies), ("/pagerduty", Refuses)];
        let chat = [("/slack", Dies), ("/slack", Refuses), ("/slack", Hangs)];
        let all = plan.into_iter().chain(chat).collect();
        *self.shared.difficult.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn told(&self) -> Vec<Told> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests came.
    pub fn attempts(&self) -> usize {
        self.told().len()
    }

    /// How many requests came that speak of something.
    pub fn tried(&self, about: &str) -> usize {
        self.told().iter().filter(|told| told.body.to_string().contains(about)).count()
    }

    /// The bodies of all requests that were taken.
    pub fn accepted(&self) -> Vec<Value> {
        self.told().into_iter().filter(|told| told.taken).map(|told| told.body).collect()
    }

    /// What PagerDuty has taken of a kind: key and text, one each `dedup_key`, as it folds them.
    pub fn pages(&self, action: &str) -> Vec<(String, String)> {
        let mut pages: Vec<(String, String)> = Vec::new();
        for told in self.told() {
            let taken =
                told.taken && told.path.starts_with("/pagerduty") && told.body["event_action"] == action;
            let key = told.body["dedup_key"].as_str().unwrap_or_default().to_owned();
            if taken && pages.iter().all(|(known, _)| *known != key) {
                pages.push((key, told.body.to_string()));
            }
        }
        pages
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // It wakes up for this one, and ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("").to_owned();
    let mut length = 0usize;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((_, value)) =
            header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length.min(1 << 20)];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let answer = {
        let mut difficult = shared.difficult.lock().unwrap_or_else(PoisonError::into_inner);
        let next = difficult.iter().position(|(of, _)| path.starts_with(of));
        next.map(|next| difficult.remove(next).1)
    };
    let taken = answer.is_none();
    shared.told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { path, body, taken });
    let mut stream = stream;
    match answer {
        None => stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
        Some(Answer::Refuses) => stream.write_all(
            b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        Some(Answer::Hangs) => {
            std::thread::sleep(HANGS);
            Ok(())
        }
        Some(Answer::Dies) => Ok(()),
    }
}
