//! Writes down everything the node begins from and everything that goes into it, so that an incident can be run again with
//! `dwcp-sim replay FILE`. The format is [`dwcp_roles::recording`].
//!
//! A recording holds what the node's store holds, token hashes and names among it: only its owner may read the file.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dwcp_consensus::{Disk, OpenError};
use dwcp_roles::node::{Effect, Input, Node, NodeConfig};
use dwcp_roles::recording::{self, Decided, Record};
use dwcp_types::{Mono, Now};

/// Recordings of earlier lives that are kept.
const OLDER_KEPT: u32 = 3;

/// An open recording.
pub struct Recorder {
    file: BufWriter<File>,
    failure: Option<io::Error>,
}

impl Recorder {
    /// Begins a recording. Older ones of the same name are kept as `NAME.1` to `NAME.3`, the newest first: who starts a process
    /// again that has just failed must not lose what it left.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        make_way(path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Recorder { file: BufWriter::new(file), failure: None })
    }

    /// Opens the node, and writes down what it begins from.
    ///
    /// # Errors
    /// The node can't be opened. A recording that can't be written is no error here: [`Recorder::begin`] tells.
    pub fn open(&mut self, config: NodeConfig, now: Now, disk: &dyn Disk) -> Result<Node, OpenError> {
        recording::open(config, now, disk, &mut |bytes| self.put(bytes))
    }

    /// Writes the inputs of a step before it is taken, so that they are there when the step ends the process.
    ///
    /// # Errors
    /// Something could not be written since the recording began; it ends here, the node goes on.
    pub fn begin(&mut self, now: Now, inputs: &[Input]) -> io::Result<()> {
        self.put(&Record::Step(now, inputs.len() as u64).frame());
        for input in inputs {
            self.put(&Record::Input(Cow::Borrowed(input)).frame());
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.file.flush(),
        }
    }

    /// Writes what a step decided.
    pub fn end(&mut self, effects: &[Effect], wake_at: Mono) {
        self.put(&Record::Decided(Decided::of(effects, wake_at)).frame());
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.failure.is_none() {
            self.failure = self.file.write_all(bytes).err();
        }
    }
}

/// Moves older recordings of this name one further; the oldest goes. A start that came to nothing left an empty file, which
/// pushes nobody out.
fn make_way(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Ok(());
    }
    let name = |age: u32| match age {
        0 => path.to_path_buf(),
        _ => PathBuf::from(format!("{}.{age}", path.display())),
    };
    for age in (0..OLDER_KEPT).rev() {
        match std::fs::rename(name(age), name(age + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
