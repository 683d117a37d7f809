//! The log: one JSON object a line on standard error, and in a file that is kept small.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock};

use dwcp_roles::node::Level;
use dwcp_telemetry::logs::{self, Entry, Span};
use serde_json::Value;

use crate::clock;
use crate::telemetry::Instruments;

/// Longest log file, bytes; then it becomes `dwcpd.1.jsonl` and so on.
const FILE_BYTES: u64 = 16 << 20;
/// Older files kept.
const KEPT: usize = 3;

/// Where lines go. Clones write to the same place.
#[derive(Clone)]
pub struct Log {
    region: Arc<str>,
    quiet: bool,
    file: Arc<Mutex<Option<Rotating>>>,
    /// Where lines go that can be searched later.
    kept: Arc<OnceLock<SyncSender<Entry>>>,
    counted: Arc<OnceLock<Instruments>>,
}

impl Log {
    /// A log on standard error for a region's server.
    pub fn new(region: &str) -> Log {
        let (file, kept, counted) = (Arc::default(), Arc::default(), Arc::default());
        Log { region: region.into(), quiet: false, file, kept, counted }
    }

    /// A log that writes nowhere, for tests.
    pub fn silent(region: &str) -> Log {
        Log { quiet: true, ..Log::new(region) }
    }

    /// Also writes `dwcpd.jsonl` of this folder.
    ///
    /// # Errors
    /// The folder or the file can't be made.
    pub fn keep_in(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        *self.file.lock().unwrap_or_else(|e| e.into_inner()) = Some(Rotating::open(folder)?);
        Ok(())
    }

    /// Also hands each line on, to be searched later.
    pub fn keep_for_queries(&self, kept: SyncSender<Entry>) {
        // The first one counts: a process keeps one log.
        let _ = self.kept.set(kept);
    }

    /// Also counts each line.
    pub fn count_in(&self, instruments: Instruments) {
        // As above.
        let _ = self.counted.set(instruments);
    }

    fn hand_on(&self, component: &str, level: Level, text: &str) {
        let level = match level {
            Level::Info => logs::Level::Info,
            Level::Warning => logs::Level::Warning,
            Level::Error => logs::Level::Error,
        };
        let at_ms = clock::wall_ms();
        let entry =
            Entry { at_ms, component: component.into(), level, message: text.to_owned(), ..Entry::default() };
        self.keep(entry);
    }

    /// Hands a line on to be searched later, and does no more with it. What there is no room for is counted.
    pub fn keep(&self, entry: Entry) {
        let left_out = self.kept.get().is_some_and(|kept| kept.try_send(entry).is_err());
        if let (true, Some(counted)) = (left_out, self.counted.get()) {
            counted.left_out("queue", 1);
        }
    }

    /// Hands a span on, to be searched later; false when it was not taken.
    pub fn span(&self, span: Span) -> bool {
        self.kept.get().is_some_and(|kept| kept.try_send(span.entry()).is_ok())
    }

    /// Writes one line.
    pub fn line(&self, component: &str, level: Level, text: &str) {
        self.hand_on(component, level, text);
        if self.quiet {
            return;
        }
        let level = match level {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        if let Some(counted) = self.counted.get() {
            counted.logged(component, level);
        }
        let quoted = |text: &str| Value::from(text).to_string();
        let line = format!(
            "{{\"time\":\"{}\",\"level\":\"{level}\",\"component\":{},\"region\":{},\"text\":{}}}\n",
            clock::utc(clock::wall()),
            quoted(component),
            quoted(&self.region),
            quoted(text),
        );
        // A log that can't be written must not stop the control plane.
        let _ = io::stderr().lock().write_all(line.as_bytes());
        if let Some(file) = self.file.lock().unwrap_or_else(|e| e.into_inner()).as_mut() {
            let _ = file.write(line.as_bytes());
        }
    }

    /// For the record.
    pub fn info(&self, component: &str, text: impl AsRef<str>) {
        self.line(component, Level::Info, text.as_ref());
    }

    /// Somebody should look.
    pub fn warning(&self, component: &str, text: impl AsRef<str>) {
        self.line(component, Level::Warning, text.as_ref());
    }

    /// Something failed.
    pub fn error(&self, component: &str, text: impl AsRef<str>) {
        self.line(component, Level::Error, text.as_ref());
    }
}

struct Rotating {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Rotating {
    fn open(folder: &Path) -> io::Result<Rotating> {
        let file = File::options().create(true).append(true).open(folder.join(name(0)))?;
        let bytes = file.metadata()?.len();
        Ok(Rotating { folder: folder.to_owned(), file, bytes })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes + line.len() as u64 > FILE_BYTES {
            for number in (0..KEPT).rev() {
                // Missing ones are none to move.
                let _ = fs::rename(self.folder.join(name(number)), self.folder.join(name(number + 1)));
            }
            *self = Rotating::open(&self.folder)?;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }
}

fn name(number: usize) -> String {
    match number {
        0 => "dwcpd.jsonl".to_owned(),
        number => format!("dwcpd.{number}.jsonl"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_room_for_a_new_one() {
        let folder = std::env::temp_dir().join(format!("dwcpd-log-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        let mut file = Rotating::open(&folder).expect("open");
        file.bytes = FILE_BYTES;
        file.write(b"new\n").expect("write");
        assert!(folder.join("dwcpd.1.jsonl").is_file());
        assert_eq!(fs::read(folder.join("dwcpd.jsonl")).expect("read"), b"new\n");
        fs::remove_dir_all(folder).expect("clean");
    }
}
