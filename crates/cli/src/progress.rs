//! Progress of long work: a bar on a terminal, a line a change in a pipe.

use std::io::IsTerminal;
use std::time::Instant;

use dwcp_config::units::show_duration;

/// Shows how far something is, on stderr.
pub struct Progress {
    quiet: bool,
    terminal: bool,
    began: Instant,
    last: String,
}

const BAR_CELLS: usize = 24;

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        Progress {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            began: Instant::now(),
            last: String::new(),
        }
    }

    /// Shows `done` of `total` (`None`: not known) and what is being done.
    pub fn at(&mut self, done: u64, total: Option<u64>, doing: &str) {
        let count = total.map_or_else(|| format!("{done}"), |total| format!("{done}/{total}"));
        let line = format!("{count} {doing}");
        if self.quiet || (!self.terminal && line == self.last) {
            return;
        }
        if self.terminal {
            let took = show_duration(self.began.elapsed().as_millis() as u64);
            crate::remark(&format!("\r\x1b[K{} {line} {took}", bar(done, total)));
        } else {
            crate::remark(&format!("{line}\n"));
        }
        self.last = line;
    }

    /// Leaves the terminal clean for the answer.
    pub fn end(&self) {
        if self.terminal && !self.quiet && !self.last.is_empty() {
            crate::remark("\r\x1b[K");
        }
    }
}

fn bar(done: u64, total: Option<u64>) -> String {
    let full = match total {
        Some(total) if total > 0 => (done.min(total) as usize * BAR_CELLS) / total as usize,
        _ => 0,
    };
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR_CELLS - full))
}
