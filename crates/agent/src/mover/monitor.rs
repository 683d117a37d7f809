//! A lasting session with an emulator's monitor: commands by several at once, and events.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, oneshot};

/// Longest message that is read, bytes.
const MESSAGE_MAX: u64 = 1 << 20;
/// Events kept for those who read late.
const EVENTS: usize = 64;
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(5);

type Answer = Result<Value, String>;
type Pending = Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>;

/// A session. It ends when it is dropped.
pub struct Monitor {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
    next: AtomicU64,
}

struct Shared {
    pending: Pending,
    events: broadcast::Sender<Arc<Value>>,
    alive: AtomicBool,
}

impl Shared {
    /// Nobody reads any more: those who wait need not.
    fn end(&self) {
        self.alive.store(false, Ordering::Release);
        self.pending.lock().unwrap_or_else(|e| e.into_inner()).clear();
    }
}

impl Monitor {
    /// Connects and makes the monitor take commands, within `limit`.
    ///
    /// # Errors
    /// Nobody is there in time, or does not answer.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Monitor, String> {
        let begin = async {
            let stream = reach(path).await.map_err(|e| format!("monitor: {e}"))?;
            let (reader, writer) = stream.into_split();
            let mut reader = BufReader::new(reader);
            let greeting = read(&mut reader).await?;
            if greeting.get("QMP").is_none() {
                return Err("monitor: it does not greet".to_string());
            }
            Ok((reader, writer))
        };
        let begun = tokio::time::timeout(limit, begin).await;
        let (reader, writer) = begun.unwrap_or_else(|_| Err("monitor: no greeting in time".to_string()))?;
        let (events, _) = broadcast::channel(EVENTS);
        let shared = Arc::new(Shared { pending: Mutex::default(), events, alive: AtomicBool::new(true) });
        let reader = tokio::spawn(listen(reader, shared.clone()));
        let monitor =
            Monitor { writer: tokio::sync::Mutex::new(writer), shared, reader, next: AtomicU64::new(1) };
        monitor.execute("qmp_capabilities", Value::Null, limit).await?;
        Ok(monitor)
    }

    /// Sends a command and returns what it returned.
    ///
    /// # Errors
    /// The monitor refuses, ends, or does not answer within `limit`; the message says which.
    pub async fn execute(&self, command: &str, arguments: Value, limit: Duration) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer_in, answer) = oneshot::channel();
        self.shared.pending.lock().unwrap_or_else(|e| e.into_inner()).insert(id, answer_in);
        let _forget = Forget(&self.shared.pending, id);
        if !self.is_alive() {
            return Err(format!("{command}: the monitor's connection has ended"));
        }
        let request = match arguments {
            Value::Null => json!({"execute": command, "id": id}),
            arguments => json!({"execute": command, "arguments": arguments, "id": id}),
        };
        let line = format!("{request}\n");
        let asked = async {
            let mut writer = self.writer.lock().await;
            let half = Half(&self.shared);
            writer.write_all(line.as_bytes()).await.map_err(|e| format!("{command}: monitor: {e}"))?;
            std::mem::forget(half);
            drop(writer);
            let ended = |_| format!("{command}: the monitor's connection has ended");
            answer.await.map_err(ended)?.map_err(|error| format!("{command}: {error}"))
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{command}: no answer within {} ms", limit.as_millis())),
        }
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<Value>> {
        self.shared.events.subscribe()
    }

    /// False once its connection has ended.
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Acquire)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Connects; a process that has only just started has not made its sockets yet.
async fn reach(path: &Path) -> std::io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                    && path.parent().is_some_and(Path::exists) =>
            {
                tokio::time::sleep(RETRY).await;
            }
            done => return done,
        }
    }
}

/// A line that is given up half-way would spoil the next, so it ends the session.
struct Half<'a>(&'a Shared);

impl Drop for Half<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Takes a command back that nobody waits for any more.
struct Forget<'a>(&'a Pending, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).remove(&self.1);
    }
}

async fn listen(mut reader: BufReader<OwnedReadHalf>, shared: Arc<Shared>) {
    while let Ok(mut message) = read(&mut reader).await {
        if message.get("event").is_some() {
            let _ = shared.events.send(Arc::new(message));
            continue;
        }
        let Some(id) = message.get("id").and_then(Value::as_u64) else { continue };
        let waits = shared.pending.lock().unwrap_or_else(|e| e.into_inner()).remove(&id);
        let Some(waits) = waits else { continue };
        let answer = match message.get("error") {
            Some(error) => Err(error["desc"].as_str().map_or_else(|| error.to_string(), str::to_string)),
            None => Ok(message.get_mut("return").map(Value::take).unwrap_or(Value::Null)),
        };
        let _ = waits.send(answer);
    }
    shared.end();
}

async fn read(reader: &mut BufReader<OwnedReadHalf>) -> Answer {
    let mut line = Vec::new();
    let count = reader.take(MESSAGE_MAX).read_until(b'\n', &mut line).await;
    match count.map_err(|e| format!("monitor: {e}"))? {
        0 => Err("monitor: the connection ended".to_string()),
        _ => serde_json::from_slice(&line).map_err(|e| format!("monitor: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn stand(name: &str) -> (std::path::PathBuf, UnixListener) {
        let path = std::env::temp_dir().join(format!("dwcp-monitor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        (path, listener)
    }

    /// Greets, then answers every line by `say` until that gives nothing.
    async fn serve(listener: UnixListener, say: impl Fn(&Value) -> Option<String>) {
        let (stream, _) = listener.accept().await.expect("a client");
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"{\"QMP\": {}}\n").await.expect("written");
        while let Ok(Some(line)) = lines.next_line().await {
            let asked: Value = serde_json::from_str(&line).expect("JSON");
            let Some(answer) = say(&asked) else { return };
            writer.write_all(answer.as_bytes()).await.expect("written");
        }
    }

    #[tokio::test]
    async fn answers_find_whom_they_are_for_and_events_those_who_listen() {
        let (path, listener) = stand("answers").await;
        tokio::spawn(serve(listener, |asked| {
            let id = &asked["id"];
            Some(match asked["execute"].as_str() {
                Some("bad") => format!("{{\"error\": {{\"desc\": \"not so\"}}, \"id\": {id}}}\n"),
                Some(name) => {
                    format!(
                        "{{\"event\": \"E\"}}\n{{\"return\": 1, \"id\": 9999}}\n{{\"return\": \"{name}\", \"id\": {id}}}\n"
                    )
                }
                None => return None,
            })
        }));
        let monitor = Monitor::connect(&path, LIMIT).await.expect("a session");
        let mut events = monitor.events();
        let (a, b) = tokio::join!(
            monitor.execute("one", Value::Null, LIMIT),
            monitor.execute("bad", json!({"x": 1}), LIMIT)
        );
        assert_eq!((a, b), (Ok(json!("one")), Err("bad: not so".to_string())));
        assert_eq!(events.recv().await.expect("an event")["event"], "E");
        std::fs::remove_file(path).expect("remove");
    }

    #[tokio::test]
    async fn a_monitor_that_ends_or_keeps_silent_is_said_so_in_time() {
        let (path, listener) = stand("ends").await;
        tokio::spawn(serve(listener, |asked| match asked["execute"].as_str() {
            Some("qmp_capabilities") => Some(format!("{{\"return\": {{}}, \"id\": {}}}\n", asked["id"])),
            Some("silent") => Some(String::new()),
            _ => None,
        }));
        let monitor = Monitor::connect(&path, LIMIT).await.expect("a session");
        let silent = monitor.execute("silent", Value::Null, Duration::from_millis(100)).await;
        assert_eq!(silent, Err("silent: no answer within 100 ms".to_string()));
        assert!(monitor.is_alive());
        let ended = monitor.execute("end", Value::Null, LIMIT).await;
        assert!(ended.is_err_and(|error| error.contains("connection has ended")));
        assert!(!monitor.is_alive());
        assert!(monitor.execute("again", Value::Null, LIMIT).await.is_err());
        std::fs::remove_file(path).expect("remove");
    }
}
