//! The worker as the watchdog sees it: a process and a socket that never blocks.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::WatchdogConfig;
use super::children::die_with_parent;
use crate::journal;
use crate::watch_protocol::{Ask, Tell, line};

/// The worker's end of the socket.
pub const CHANNEL_FD: i32 = 3;
/// Shortest time between two starts of the worker.
const RESPAWN: Duration = Duration::from_millis(250);
/// A worker that reads so little that this much waits is ended, bytes.
const WAITING_MAX: usize = 4 << 20;
/// Longest line from the worker, bytes.
const LINE_MAX: usize = 1 << 20;

pub(super) struct WorkerProcess {
    line: Vec<String>,
    nice: libc::c_int,
    child: Option<Child>,
    stream: Option<UnixStream>,
    received: Vec<u8>,
    waiting: Vec<u8>,
    started: Option<Instant>,
}

impl WorkerProcess {
    pub(super) fn new(config: &WatchdogConfig, nice: libc::c_int) -> WorkerProcess {
        let line = config.worker.clone();
        WorkerProcess {
            line,
            nice,
            child: None,
            stream: None,
            received: Vec::new(),
            waiting: Vec::new(),
            started: None,
        }
    }

    /// Waits until the worker says something, a signal comes, or the time is over.
    pub(super) fn wait(&mut self, limit_ms: i32) {
        let fd = self.stream.as_ref().map_or(-1, |stream| stream.as_raw_fd());
        let events = if self.waiting.is_empty() { libc::POLLIN } else { libc::POLLIN | libc::POLLOUT };
        let mut watched = libc::pollfd { fd, events, revents: 0 };
        // SAFETY: one valid pollfd; a negative descriptor is passed over by poll.
        unsafe { libc::poll(&mut watched, 1, limit_ms) };
        self.flush();
    }

    /// Starts the worker when it is not there; takes note of its death.
    pub(super) fn keep_alive(&mut self) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => journal::warn("worker-ended", json!({"status": status.to_string()})),
                Err(error) => journal::warn("worker-ended", json!({"error": error.to_string()})),
            }
            self.child = None;
            self.stream = None;
        }
        if self.started.is_some_and(|at| at.elapsed() < RESPAWN) {
            return;
        }
        self.started = Some(Instant::now());
        match self.start() {
            Ok((child, stream)) => {
                journal::info("worker-started", json!({"worker": child.id()}));
                self.child = Some(child);
                self.stream = Some(stream);
                self.received.clear();
                self.waiting.clear();
            }
            Err(error) => journal::error("worker-not-started", json!({"error": error.to_string()})),
        }
    }

    fn start(&self) -> std::io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs: OwnedFd = theirs.into();
        let (program, arguments) = self.line.split_first().ok_or(ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        die_with_parent(&mut command, self.nice);
        let fd = theirs.as_raw_fd();
        // SAFETY: dup2 and fcntl may be called between fork and exec; `theirs` is open until after the spawn.
        unsafe {
            command.pre_exec(move || {
                let done = if fd == CHANNEL_FD {
                    libc::fcntl(fd, libc::F_SETFD, 0)
                } else {
                    libc::dup2(fd, CHANNEL_FD)
                };
                if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        Ok((command.spawn()?, ours))
    }

    /// Queues a message; without a worker it is dropped, as the next one asks for the list.
    pub(super) fn tell(&mut self, tell: &Tell) {
        if self.stream.is_some() {
            self.waiting.extend(line(tell));
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.waiting.is_empty() {
            match stream.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.waiting.clear();
                    break;
                }
            }
        }
        if self.waiting.len() > WAITING_MAX {
            self.end("it does not read");
        }
    }

    fn end(&mut self, why: &str) {
        journal::warn("worker-killed", json!({"why": why}));
        self.waiting.clear();
        self.stream = None;
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// What the worker asked since the last call.
    pub(super) fn read(&mut self) -> Vec<Ask> {
        let Some(stream) = &mut self.stream else { return Vec::new() };
        let mut buffer = [0; 16 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    // Without its channel a worker is of no use, even if it lives.
                    self.end("it closed its channel");
                    return Vec::new();
                }
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let mut asks = Vec::new();
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            match serde_json::from_slice(&self.received[..end]) {
                Ok(ask) => asks.push(ask),
                Err(error) => journal::error("worker-not-understood", json!({"error": error.to_string()})),
            }
            self.received.drain(..=end);
        }
        if self.received.len() > LINE_MAX {
            self.end("its line is too long");
        }
        asks
    }

    /// Asks the worker to end, then ends it. Takes two seconds at most: what then still hangs in the kernel dies with the
    /// watchdog.
    pub(super) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            // SAFETY: plain numbers; the child was not waited for.
            unsafe { libc::kill(child.id() as libc::pid_t, signal) };
            let deadline = Instant::now() + Duration::from_secs(1);
            while Instant::now() < deadline {
                if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
