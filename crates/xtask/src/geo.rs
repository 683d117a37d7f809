//! The database of addresses by country that routers look clients up in.

use crate::run::{Failure, capture, command, fault, on_path, run, say, text_of};
use crate::tree::Tree;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The npm package, its version, and what its archive must hash to. Its licence is CC0-1.0: facts of the registries.
const PACKAGE: &str = "@ip-location-db/geo-whois-asn-country-mmdb";
const VERSION: &str = "2.3.2026061719";
const SHA512: &str = "c5e9810cd425e260980ee55ba9ede32862ac543ca464691fbde6e1b4e87fdd518b69dabcbeca7bb7ba27b693\
    14b77847eec0064f478b0f227df5257ed306b166";
const LICENCE: &str = "CC0-1.0";
/// The file that is taken from it: IPv4 and IPv6.
const FILE: &str = "geo-whois-asn-country.mmdb";
/// Says what lies beside it.
const ORIGIN: &str = "ORIGIN";

/// Fetches it into the cache of the development federation, unless it is there in this version; the folder.
///
/// # Errors
/// There is no npm, or what came is not what is expected.
pub fn ensure(tree: &Tree, since: Instant) -> Result<PathBuf, Failure> {
    let folder = tree.dev.join("cache/geo");
    let origin = format!("{PACKAGE} {VERSION}\nlicence {LICENCE}\nsha512 {SHA512}\n");
    if folder.join(FILE).is_file() && fs::read_to_string(folder.join(ORIGIN)).is_ok_and(|text| text == origin)
    {
        return Ok(folder);
    }
    for program in ["npm", "tar", "sha512sum"] {
        if !on_path(program) {
            return Err(Failure::new(format!("missing: {program}, to fetch {PACKAGE}")));
        }
    }
    say(since, &format!("fetching {PACKAGE} {VERSION}"));
    let unpacked = folder.join("unpacked");
    // What a fetch that was ended has left.
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked).map_err(|e| fault("cannot create", &unpacked, &e))?;
    let archive = fetch(&unpacked)?;
    check(&archive)?;
    run(command("tar").arg("-xzf").arg(&archive).current_dir(&unpacked))?;
    check_licence(&unpacked.join("package/package.json"))?;
    // Under its name all at once: a router may be reading it.
    let file = unpacked.join("package").join(FILE);
    fs::rename(&file, folder.join(FILE)).map_err(|e| fault("cannot move", &file, &e))?;
    let note = folder.join(ORIGIN);
    fs::write(&note, origin).map_err(|e| fault("cannot write", &note, &e))?;
    let _ = fs::remove_dir_all(&unpacked);
    Ok(folder)
}

fn fetch(folder: &Path) -> Result<PathBuf, Failure> {
    let wanted = format!("{PACKAGE}@{VERSION}");
    let output =
        capture(command("npm").args(["pack", "--silent", "--ignore-scripts", &wanted]).current_dir(folder))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("npm pack {wanted}: {}", reason.trim())));
    }
    let files = fs::read_dir(folder).map_err(|e| fault("cannot read", folder, &e))?;
    let archive =
        files.flatten().map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "tgz"));
    archive.ok_or_else(|| Failure::new(format!("npm pack {wanted} left no archive")))
}

fn check(archive: &Path) -> Result<(), Failure> {
    let text = text_of(command("sha512sum").arg(archive))?;
    let found = text.split_whitespace().next().unwrap_or_default();
    if found == SHA512 {
        return Ok(());
    }
    Err(Failure::new(format!("{PACKAGE} {VERSION} hashes to {found}, not to {SHA512}: it is not used")))
}

fn check_licence(manifest: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(manifest).map_err(|e| fault("cannot read", manifest, &e))?;
    let manifest: Value = serde_json::from_str(&text).map_err(|e| Failure::new(format!("{PACKAGE}: {e}")))?;
    match manifest["license"].as_str() {
        Some(LICENCE) => Ok(()),
        other => {
            Err(Failure::new(format!("{PACKAGE} has the licence {other:?}, not {LICENCE}: it is not used")))
        }
    }
}
