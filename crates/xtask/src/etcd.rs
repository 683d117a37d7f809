//! The etcd program, for development federations and tests whose state is kept in one.

use crate::install;
use crate::run::{Failure, capture, command, fault, on_path, run, say};
use crate::tree::Tree;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// Debian's package.
const PACKAGE: &str = "etcd-server";

/// Where the program is, if it is anywhere: of the system, or as [`ensure`] fetched it.
pub fn program(tree: &Tree) -> Option<PathBuf> {
    if on_path("etcd") {
        return Some(PathBuf::from("etcd"));
    }
    let fetched = tree.root.join("target/etcd/usr/bin/etcd");
    fetched.is_file().then_some(fetched)
}

/// Fetches what is missing into `target/etcd`. The package is unpacked there and not installed: that would start a server of
/// its own.
///
/// # Errors
/// When it is missing and this is not Debian: the message says what to install.
pub fn ensure(tree: &Tree, since: Instant) -> Result<PathBuf, Failure> {
    if let Some(found) = program(tree) {
        return Ok(found);
    }
    if !on_path("apt-get") || !on_path("dpkg") {
        return Err(Failure::new(
            "missing: etcd 3.4 or later; no apt-get here to fetch Debian's etcd-server",
        ));
    }
    say(since, &format!("fetching {PACKAGE}"));
    let folder = tree.root.join("target/etcd");
    fs::create_dir_all(&folder).map_err(|e| fault("cannot create", &folder, &e))?;
    let download = || capture(command("apt-get").args(["-q", "download", PACKAGE]).current_dir(&folder));
    if !download()?.status.success() {
        // The lists of packages may be old or not there.
        install::refresh()?;
        let output = download()?;
        if !output.status.success() {
            return Err(Failure::new(format!(
                "apt-get download {PACKAGE}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
    }
    let files = fs::read_dir(&folder).map_err(|e| fault("cannot read", &folder, &e))?;
    let mut packages = files.flatten().map(|file| file.path());
    let package = packages.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.ok_or_else(|| Failure::new(format!("apt-get download left no {PACKAGE}")))?;
    run(command("dpkg").arg("-x").args([&package, &folder]))?;
    // It has been unpacked.
    let _ = fs::remove_file(&package);
    program(tree).ok_or_else(|| Failure::new(format!("{PACKAGE} holds no etcd")))
}
