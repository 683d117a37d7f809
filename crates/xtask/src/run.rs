//! Running other programs, and what went wrong with them.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Why a command stopped, with the process exit code to use.
#[derive(Debug)]
pub struct Failure {
    /// For the person at the terminal; empty when everything was printed already.
    pub message: String,
    /// 1 failed, 2 wrong usage.
    pub code: u8,
}

impl Failure {
    /// A command that failed (exit 1).
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1 }
    }

    /// A command that was typed wrongly (exit 2).
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 2 }
    }

    /// A failure whose details are on the terminal already.
    pub fn told() -> Failure {
        Failure::new("")
    }
}

/// A file or system call that failed: what was tried, on what, and the system's reason.
pub fn fault(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{what} {}: {error}", path.display()))
}

/// Prints one line of progress with the seconds since `since`.
pub fn say(since: Instant, text: &str) {
    println!("[{:6.1}s] {text}", since.elapsed().as_secs_f64());
}

/// A command with no standard input, so that nothing can wait for a person.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command line as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.to_string_lossy());
    }
    line
}

/// Runs to the end with our own output streams.
///
/// # Errors
/// When the program cannot start or does not exit with 0.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let line = shown(command);
    let status = command.status().map_err(|e| Failure::new(format!("cannot run `{line}`: {e}")))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{line}` ended with {status}"))) }
}

/// Runs to the end and returns what it printed, whatever its exit code.
///
/// # Errors
/// When the program cannot start.
pub fn capture(command: &mut Command) -> Result<Output, Failure> {
    let line = shown(command);
    command.output().map_err(|e| Failure::new(format!("cannot run `{line}`: {e}")))
}

/// Runs to the end and returns its standard output as text.
///
/// # Errors
/// When the program cannot start or does not exit with 0; the message carries its standard error.
pub fn text_of(command: &mut Command) -> Result<String, Failure> {
    let line = shown(command);
    let output = capture(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("`{line}` ended with {}: {}", output.status, error.trim())))
}

/// Whether a program of this name is on the path.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Calls `probe` every `every` until it says true or `limit` has passed; returns whether it did.
pub fn wait_until(limit: Duration, every: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    loop {
        if probe() {
            return true;
        }
        if since.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(every);
    }
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_error() {
        let failure = text_of(command("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(failure.message.contains("broken"), "{}", failure.message);
        assert!(failure.message.contains('3'), "{}", failure.message);
    }

    #[test]
    fn waiting_ends_at_its_limit() {
        let millisecond = Duration::from_millis(1);
        assert!(!wait_until(5 * millisecond, millisecond, || false));
        let mut left = 3;
        assert!(wait_until(1000 * millisecond, millisecond, || {
            left -= 1;
            left == 0
        }));
    }
}
