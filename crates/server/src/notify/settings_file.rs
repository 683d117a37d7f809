//! `notifications.yaml`, looked at again and again.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use dwcp_telemetry::notify::{self, Settings};

/// Longest file, bytes; the reader says so of a longer one.
const LONGEST: u64 = 2 << 20;

/// The file, and what it said last.
pub struct SettingsFile {
    path: PathBuf,
    seen: Option<String>,
}

/// What a look at it showed.
#[derive(Debug)]
pub enum Look {
    Unchanged,
    /// Other settings are to be used from now on; those of nothing when there is no file.
    Changed(Box<Settings>),
    /// What it says now can't be used: a line for each reason. The settings before stay.
    Wrong(String),
}

impl SettingsFile {
    pub fn new(path: &Path) -> SettingsFile {
        SettingsFile { path: path.to_owned(), seen: None }
    }

    /// Reads it when it says something else than at the last look.
    pub fn look(&mut self) -> Look {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => bytes.clear(),
            Err(error) => return self.wrong(format!("it can't be read: {error}")),
        }
        let Ok(text) = String::from_utf8(bytes) else { return self.wrong("it is not UTF-8".to_owned()) };
        if self.seen.as_ref() == Some(&text) {
            return Look::Unchanged;
        }
        let read = notify::read(&text);
        self.seen = Some(text);
        match read {
            Ok(settings) => Look::Changed(Box::new(settings)),
            Err(complaints) => Look::Wrong(format!("{}:\n{complaints}", self.path.display())),
        }
    }

    /// The same trouble is told once.
    fn wrong(&mut self, why: String) -> Look {
        // No file says this: it has a byte that no text has here.
        let mark = format!("\0{why}");
        if self.seen.as_ref() == Some(&mark) {
            return Look::Unchanged;
        }
        self.seen = Some(mark);
        Look::Wrong(format!("{}: {why}", self.path.display()))
    }
}
