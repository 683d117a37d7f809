//! Debian packages that the guest VMs need: which are missing, and how to get them.

use crate::run::{Failure, command, fault, on_path, run, say, text_of};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Package, and the file or program that shows it is there however it was installed.
const NEEDED: [(&str, Proof); 4] = [
    ("qemu-system-x86", Proof::Emulator("qemu-system-x86_64")),
    ("qemu-utils", Proof::Emulator("qemu-img")),
    ("gcc", Proof::Program("gcc")),
    ("libc6-dev", Proof::File("/usr/include/stdio.h")),
];

/// Oldest QEMU whose mirrors can be told to make writes wait, and say when both disks are the same (`block-job-change`,
/// `actively-synced`; QEMU 8.2): moves and protection need both.
const OLDEST_QEMU: (u32, u32) = (8, 2);

const SOURCES: &str = "/etc/apt/sources.list.d";
const OURS: &str = "dwcp-backports.sources";

#[derive(Clone, Copy)]
enum Proof {
    Program(&'static str),
    /// A program of QEMU that is not too old.
    Emulator(&'static str),
    File(&'static str),
}

/// Installs what is missing; does nothing, and needs no root, when everything is there.
///
/// # Errors
/// When something is missing and this is not Debian or not root: the message is the command to type.
pub fn ensure(since: Instant) -> Result<(), Failure> {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(_, proof)| !present(*proof)).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !on_path("apt-get") {
        return Err(Failure::new(format!(
            "missing: {list} (Debian's names; QEMU {} or later); no apt-get here to install them",
            oldest_qemu()
        )));
    }
    if !is_root() {
        return Err(Failure::new(format!(
            "missing or too old (QEMU must be {} or later): {list}. Run this once as root, or install them yourself: \
             sudo apt-get install --no-install-recommends {list} (on Debian 12 with -t bookworm-backports)",
            oldest_qemu()
        )));
    }
    say(since, &format!("installing {list}"));
    let suite = backports_suite(&release);
    if let Some(suite) = &suite {
        add_backports(suite, &release)?;
    }
    apt(&["update"])?;
    // Only QEMU comes from the backports; everything else stays what the release has.
    let (emulator, rest): (Vec<&str>, Vec<&str>) =
        missing.iter().partition(|package| package.starts_with("qemu"));
    for (packages, suite) in [(rest, None), (emulator, suite.as_deref())] {
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(suite.iter().flat_map(|suite| ["-t", suite]));
        if !packages.is_empty() {
            install.extend(packages);
            apt(&install)?;
        }
    }
    match NEEDED.iter().find(|(_, proof)| !present(*proof)) {
        Some((package, _)) => Err(Failure::new(format!(
            "{package} was installed, and is still missing or older than QEMU {}: another one comes first on the PATH",
            oldest_qemu()
        ))),
        None => Ok(()),
    }
}

/// Fetches the lists of packages anew.
///
/// # Errors
/// When this is not root, or apt fails.
pub fn refresh() -> Result<(), Failure> {
    if is_root() {
        apt(&["update"])
    } else {
        Err(Failure::new("only root can refresh the lists of packages"))
    }
}

fn is_root() -> bool {
    // SAFETY: geteuid reads one number of this process and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn present(proof: Proof) -> bool {
    match proof {
        Proof::Program(name) => on_path(name),
        Proof::Emulator(name) => on_path(name) && is_new_enough(name),
        Proof::File(path) => Path::new(path).exists(),
    }
}

fn is_new_enough(program: &str) -> bool {
    text_of(command(program).arg("--version")).is_ok_and(|text| version_in(&text) >= Some(OLDEST_QEMU))
}

/// Of "QEMU emulator version 10.0.2 (Debian …)" or "qemu-img version 10.0.2 …".
fn version_in(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_once("version ")?.1.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn oldest_qemu() -> String {
    let (major, minor) = OLDEST_QEMU;
    format!("{major}.{minor}")
}

fn apt(arguments: &[&str]) -> Result<(), Failure> {
    run(command("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null()))
}

/// Debian 12's own QEMU is 7.2, which cannot live beside the newer `qemu-utils` of some images and
/// lacks what VM snapshots use; its backports carry QEMU 10. Later releases carry it themselves.
fn backports_suite(release: &str) -> Option<String> {
    (field(release, "VERSION_CODENAME", '=')? == "bookworm").then(|| "bookworm-backports".to_owned())
}

fn add_backports(suite: &str, release: &str) -> Result<(), Failure> {
    let codename = field(release, "VERSION_CODENAME", '=').unwrap_or_default();
    let known = apt_sources();
    if known.iter().any(|text| mentions_suite(text, suite)) {
        return Ok(());
    }
    let stanza = known.iter().find_map(|text| derive_source(text, codename, suite)).ok_or_else(|| {
        Failure::new(format!("no apt source for {codename} to copy the address of; add {suite} yourself"))
    })?;
    let path = Path::new(SOURCES).join(OURS);
    fs::write(&path, stanza).map_err(|e| fault("cannot write", &path, &e))
}

fn apt_sources() -> Vec<String> {
    let mut paths = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(folder) = fs::read_dir(SOURCES) {
        paths.extend(folder.flatten().map(|entry| entry.path()));
    }
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

fn mentions_suite(text: &str, suite: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .any(|line| line.split_whitespace().any(|w| w == suite))
}

/// Writes a source for `suite` with the address of the source that serves `codename`.
fn derive_source(text: &str, codename: &str, suite: &str) -> Option<String> {
    let (address, key) = derive_from_stanzas(text, codename).or_else(|| derive_from_lines(text, codename))?;
    let key = key.unwrap_or_else(|| "/usr/share/keyrings/debian-archive-keyring.gpg".to_owned());
    Some(format!("Types: deb\nURIs: {address}\nSuites: {suite}\nComponents: main\nSigned-By: {key}\n"))
}

fn derive_from_stanzas(text: &str, codename: &str) -> Option<(String, Option<String>)> {
    text.split("\n\n").find_map(|stanza| {
        let suites = field(stanza, "Suites", ':')?;
        let address = field(stanza, "URIs", ':')?;
        let key = field(stanza, "Signed-By", ':').filter(|key| key.starts_with('/'));
        suites.split_whitespace().any(|s| s == codename).then(|| (address.to_owned(), key.map(str::to_owned)))
    })
}

fn derive_from_lines(text: &str, codename: &str) -> Option<(String, Option<String>)> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?;
        let (options, rest) = match rest.trim_start().strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (address, suite) = (words.next()?, words.next()?);
        let key = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        (suite == codename).then(|| (address.to_owned(), key.map(str::to_owned)))
    })
}

fn field<'a>(text: &'a str, name: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "Types: deb\n# a comment: with a colon\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\n";

    #[test]
    fn the_backports_source_copies_the_address_of_the_release() {
        let expected = "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By: /k.gpg\n";
        assert_eq!(derive_source(STANZAS, "bookworm", "bookworm-backports").as_deref(), Some(expected));
        let line =
            "# old\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib\n";
        assert_eq!(derive_source(line, "bookworm", "bookworm-backports").as_deref(), Some(expected));
    }

    #[test]
    fn a_source_of_another_release_is_not_copied() {
        assert_eq!(derive_source(STANZAS, "trixie", "trixie-backports"), None);
        assert_eq!(derive_source("deb http://mirror.test nodistro main\n", "bookworm", "x"), None);
    }

    #[test]
    fn the_version_of_an_emulator_is_read_and_an_old_or_strange_one_is_not_enough() {
        assert_eq!(
            version_in("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright"),
            Some((10, 0))
        );
        assert!(version_in("QEMU emulator version 7.2.22 (Debian)") < Some(OLDEST_QEMU));
        assert!(version_in("qemu-img version 8.2.0") >= Some(OLDEST_QEMU));
        for strange in ["", "qemu", "version ten"] {
            assert!(version_in(strange) < Some(OLDEST_QEMU), "{strange}");
        }
    }

    #[test]
    fn only_debian_12_takes_backports() {
        assert_eq!(backports_suite("VERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm-backports"));
        assert_eq!(backports_suite("VERSION_CODENAME=trixie\n"), None);
    }

    #[test]
    fn a_commented_suite_does_not_count_as_there() {
        assert!(!mentions_suite("# deb http://m bookworm-backports main", "bookworm-backports"));
        assert!(mentions_suite("Suites: bookworm bookworm-backports", "bookworm-backports"));
    }
}
