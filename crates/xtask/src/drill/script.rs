//! Lines of the operations guide, run by a shell as they are printed there.

use super::stage::Stage;
use crate::federation::CONTEXT;
use crate::run::{Failure, command};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// What a script said, and how long it took.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; none when it was ended after its time limit.
    pub exit: Option<i32>,
    /// Its standard output.
    pub text: String,
    /// Its standard error.
    pub errors: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs a script under `bash`, with `dwcp-cli` on the path and the federation's context, as a person at any machine would.
///
/// # Errors
/// When it cannot be started, or does not end in time.
pub fn run(stage: &Stage, text: &str, limit: Duration) -> Result<Ran, Failure> {
    let programs = stage.tree.binary("dwcp-cli");
    let folder = programs.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    let began = Instant::now();
    // `timeout` also ends what the shell has started.
    let output: Output = command("timeout")
        .args(["--kill-after=5", &limit.as_secs().to_string(), "bash", "-c", text])
        .env("PATH", format!("{folder}:{path}"))
        .env("DWCP_CONTEXT", CONTEXT)
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failure::new(format!("cannot run bash: {e}")))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let exit = output.status.code().filter(|code| *code != 124 && *code != 137);
    Ok(Ran { exit, text: said(&output.stdout), errors: said(&output.stderr), took: began.elapsed() })
}

impl Ran {
    /// Everything it said, a line each, for a log.
    pub fn told(&self) -> String {
        let lines = self.text.lines().chain(self.errors.lines());
        lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }

    /// What stands behind `label` in the line that begins with it.
    pub fn value(&self, label: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim)
    }
}

/// Milliseconds of `9.2s`.
pub fn seconds_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Some((seconds * 1_000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_behind_their_labels() {
        let ran = Ran {
            exit: Some(0),
            text: "Results:\n  RTO Achieved: 9.2s\n  RPO Achieved: \n".into(),
            errors: String::new(),
            took: Duration::ZERO,
        };
        assert_eq!(ran.value("RTO Achieved:").and_then(seconds_ms), Some(9_200));
        assert_eq!(ran.value("RPO Achieved:"), Some(""));
        assert_eq!(ran.value("Success"), None);
    }
}
