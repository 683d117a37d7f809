//! A small client of QEMU's monitor protocol: one command on one connection, with a limit on time.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest answer that is read, bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// The monitor's socket of a process, by way of its working directory: short enough for a socket however deep the VM's
/// directory lies.
pub fn socket_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/cwd/{}", crate::qemu::QMP_SOCKET))
}

/// Sends a command and returns what it returned. Blocks up to `limit`.
///
/// # Errors
/// The monitor can't be reached, does not answer in time, or refuses; the message says which.
pub fn execute(socket: &Path, command: &str, arguments: Value, limit: Duration) -> Result<Value, String> {
    let deadline = Instant::now() + limit;
    let stream = UnixStream::connect(socket).map_err(|e| format!("monitor: {e}"))?;
    let mut writer = stream.try_clone().map_err(|e| format!("monitor: {e}"))?;
    let mut reader = BufReader::new(std::io::Read::take(stream, ANSWER_MAX));
    next(&mut reader, deadline, |message| message.get("QMP").is_some())?;
    send(&mut writer, &json!({"execute": "qmp_capabilities"}), deadline)?;
    next(&mut reader, deadline, |message| message.get("return").is_some())?;
    let request = match arguments {
        Value::Null => json!({"execute": command, "id": "dwcp"}),
        arguments => json!({"execute": command, "arguments": arguments, "id": "dwcp"}),
    };
    send(&mut writer, &request, deadline)?;
    let mut answer = next(&mut reader, deadline, |message| message.get("id").is_some_and(|id| id == "dwcp"))?;
    if let Some(error) = answer.get("error") {
        return Err(format!("monitor refuses {command}: {error}"));
    }
    Ok(answer.get_mut("return").map(Value::take).unwrap_or(Value::Null))
}

fn left(deadline: Instant) -> Result<Option<Duration>, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err("monitor: no answer in time".to_string()) } else { Ok(Some(left)) }
}

fn send(stream: &mut UnixStream, message: &Value, deadline: Instant) -> Result<(), String> {
    stream.set_write_timeout(left(deadline)?).map_err(|e| format!("monitor: {e}"))?;
    stream.write_all(format!("{message}\n").as_bytes()).map_err(|e| format!("monitor: {e}"))
}

type Monitor = BufReader<std::io::Take<UnixStream>>;

/// The next message that fits; events and answers to others are passed over.
fn next(reader: &mut Monitor, deadline: Instant, fits: impl Fn(&Value) -> bool) -> Result<Value, String> {
    loop {
        reader.get_ref().get_ref().set_read_timeout(left(deadline)?).map_err(|e| format!("monitor: {e}"))?;
        let mut line = String::new();
        let count = reader.read_line(&mut line).map_err(|e| format!("monitor: no answer in time ({e})"))?;
        if count == 0 {
            return Err("monitor: the connection ended".to_string());
        }
        let message: Value = serde_json::from_str(&line).map_err(|e| format!("monitor: {e}"))?;
        if message.get("error").is_some() && message.get("id").is_none() {
            return Err(format!("monitor: {message}"));
        }
        if fits(&message) {
            return Ok(message);
        }
    }
}
