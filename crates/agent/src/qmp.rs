//! A small client of QEMU's monitor protocol: one command on one connection, with a limit on time.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
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
    let stream = connect(socket, limit).map_err(|e| format!("monitor: {e}"))?;
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

/// Connects within `limit`: a monitor that takes no connections makes callers wait once its queue of them is full.
fn connect(socket: &Path, limit: Duration) -> io::Result<UnixStream> {
    // SAFETY: all zeros is a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let path = socket.as_os_str().as_bytes();
    // The last byte stays zero.
    let place = address.sun_path.len() - 1;
    let place = address.sun_path.get_mut(..path.len().min(place + 1)).filter(|_| path.len() <= place);
    let place = place.ok_or(io::ErrorKind::InvalidInput)?;
    place.iter_mut().zip(path).for_each(|(to, from)| *to = *from as libc::c_char);
    // SAFETY: plain numbers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    // Linux bounds connecting by the time allowed for sending.
    stream.set_write_timeout(Some(limit))?;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: an address of the length given, that lives through the call.
    if unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stream)
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_monitor_that_takes_no_connections_is_given_up_in_time() {
        let path = std::env::temp_dir().join(format!("dwcp-qmp-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket");
        // SAFETY: plain numbers; the descriptor is the listener's. Only one connection may wait.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let limit = Duration::from_millis(300);
        let _first = connect(&path, limit).expect("the first waits in the queue");
        let began = Instant::now();
        let refused = execute(&path, "query-status", Value::Null, limit);
        assert!(refused.is_err_and(|error| error.starts_with("monitor: ")));
        assert!(began.elapsed() >= limit / 2 && began.elapsed() < limit * 20, "{:?}", began.elapsed());
        std::fs::remove_file(path).expect("remove");
        assert!(connect(Path::new(&"x".repeat(200)), limit).is_err());
    }
}
