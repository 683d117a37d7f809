//! The programs of a region's server: what is installed, what was fetched, which is good and which is on trial.
//!
//! `DATA/program.json` says which; `DATA/programs/SHA256/dwcpd` are the programs. Whatever starts `dwcpd` starts the installed
//! one, which goes over to the good one at once: its process stays the same one, so nothing that starts or watches it needs to
//! know of upgrades.

pub mod fetch;
pub mod launcher;
pub mod signature;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dwcp_roles::node::SwitchOrder;
use dwcp_types::hex;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A program that is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trying {
    /// Under which operation.
    pub operation: u64,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub sha256: String,
    /// How often it was started for this trial.
    pub starts: u32,
}

/// What became of a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// Under which operation.
    pub operation: u64,
    /// The program stays.
    pub well: bool,
    /// Why not.
    pub why: String,
}

/// What `program.json` says. A later version may add fields; one that is missing is at its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Digest of the program that was well last; empty: the installed one.
    pub good: String,
    /// The one that is tried.
    pub trying: Option<Trying>,
    /// The last trial that ended.
    pub ended: Option<Ended>,
}

/// Where a server keeps its programs.
#[derive(Clone, Debug)]
pub struct Programs {
    data: PathBuf,
}

impl Programs {
    /// Those of a data folder.
    pub fn in_folder(data: &Path) -> Programs {
        Programs { data: data.to_path_buf() }
    }

    /// What is known; nothing when no program was ever fetched.
    ///
    /// # Errors
    /// The file can't be read or is no such file.
    pub fn state(&self) -> io::Result<State> {
        match fs::read(self.data.join("program.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes it, in one piece and durably.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn save(&self, state: &State) -> io::Result<()> {
        fs::create_dir_all(&self.data)?;
        let (path, beside) = (self.data.join("program.json"), self.data.join("program.json.new"));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(state).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(&self.data)?.sync_all()
    }

    /// A program is to be tried.
    ///
    /// # Errors
    /// As [`Programs::save`].
    pub fn begin(&self, order: &SwitchOrder) -> io::Result<()> {
        let mut state = self.state()?;
        state.trying = Some(Trying {
            operation: order.operation.0,
            version: order.version.clone(),
            sha256: order.sha256.clone(),
            starts: 0,
        });
        self.save(&state)
    }

    /// The program that is tried is well: it is the good one from now on.
    ///
    /// # Errors
    /// As [`Programs::save`].
    pub fn stay(&self) -> io::Result<State> {
        let mut state = self.state()?;
        if let Some(trying) = state.trying.take() {
            state.good = trying.sha256;
            state.ended = Some(Ended { operation: trying.operation, well: true, why: String::new() });
            self.save(&state)?;
        }
        Ok(state)
    }

    /// The program that was tried is not the one.
    ///
    /// # Errors
    /// As [`Programs::save`].
    pub fn go_back(&self, why: &str) -> io::Result<State> {
        let mut state = self.state()?;
        if let Some(trying) = state.trying.take() {
            state.ended = Some(Ended { operation: trying.operation, well: false, why: why.to_owned() });
            self.save(&state)?;
        }
        Ok(state)
    }

    /// Where the program of that digest is, whether it is there or not.
    pub fn path(&self, sha256: &str) -> PathBuf {
        // Named as the installed one is, so that it is called the same in lists of processes.
        self.data.join("programs").join(sha256).join("dwcpd")
    }

    /// Where the part of it that has come is.
    pub fn part(&self, sha256: &str) -> PathBuf {
        self.data.join("programs").join(format!("{sha256}.part"))
    }

    /// Digests of the programs that are there whole.
    pub fn whole(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.data.join("programs")) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<String> =
            names.filter(|name| dwcp_types::is_sha256(name) && self.path(name).is_file()).collect();
        found.sort();
        found
    }

    /// How much of a program has come, bytes.
    pub fn come(&self, sha256: &str) -> u64 {
        fs::metadata(self.part(sha256)).map_or(0, |found| found.len())
    }

    /// Adds a piece to what has come of a program, when it is the next one; says how much has come.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn add(&self, sha256: &str, offset: u64, bytes: &[u8]) -> io::Result<u64> {
        let part = self.part(sha256);
        if let Some(folder) = part.parent() {
            fs::create_dir_all(folder)?;
        }
        let come = self.come(sha256);
        if offset != come || bytes.is_empty() {
            return Ok(come);
        }
        File::options().create(true).append(true).open(&part)?.write_all(bytes)?;
        Ok(come + bytes.len() as u64)
    }

    /// Everything has come: a program that has the digest takes its place, anything else is thrown away.
    ///
    /// # Errors
    /// The folder can't be written, or the bytes are others.
    pub fn finish(&self, sha256: &str) -> io::Result<()> {
        if self.path(sha256).is_file() {
            return Ok(());
        }
        let part = self.part(sha256);
        let found = digest_of(&part)?;
        if found != sha256 {
            fs::remove_file(&part)?;
            return Err(io::Error::other(format!("what came has the digest {found}, not {sha256}")));
        }
        fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
        File::open(&part)?.sync_all()?;
        let path = self.path(sha256);
        let folder = path.parent().unwrap_or(&self.data);
        fs::create_dir_all(folder)?;
        fs::rename(&part, &path)?;
        File::open(folder)?.sync_all()
    }

    /// Removes what is no release and came longer ago than `spared`, but for what runs or may run again. What has just been
    /// handed in is a release a moment later.
    pub fn keep(&self, releases: &[String], spared: Duration) {
        let Ok(state) = self.state() else { return };
        let tried = state.trying.map(|trying| trying.sha256);
        for sha256 in self.whole() {
            let path = self.path(&sha256);
            let came = fs::metadata(&path).and_then(|found| found.modified());
            let old = came.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= spared));
            let wanted =
                releases.contains(&sha256) || sha256 == state.good || Some(&sha256) == tried.as_ref();
            if old && !wanted {
                // What stays is removed the next time.
                let _ = fs::remove_file(&path);
                let _ = path.parent().map(fs::remove_dir);
            }
        }
    }
}

/// SHA-256 of a file.
///
/// # Errors
/// It can't be read.
pub fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(sum.finish().as_ref()));
        }
        sum.update(&piece[..read]);
    }
}
