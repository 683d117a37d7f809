//! What `up` leaves outside the repository, and `down` takes away again: links to `dwcp-cli` in
//! cargo's folder of programs, under its own name and as `get-region-ip`, and the `dev` context of the CLI.

use super::{CONTEXT, api_url};
use crate::run::{Failure, capture, command, fault, say, text_of};
use crate::tree::Tree;
use serde_json::Value;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The names of the links. By the second one, the program prints the address of a region.
const NAMES: [&str; 2] = ["dwcp-cli", "get-region-ip"];
/// The first administrator's token, written by `dwcpd dev init`.
const TOKEN: &str = "admin.token";

/// Cargo's folder of programs, which its installer puts on the path.
fn programs() -> Option<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Some(PathBuf::from(home).join("bin"));
    }
    env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin"))
}

/// Links `dwcp-cli` so that it can be typed, under both of its names. A file that is not our link is left alone.
///
/// # Errors
/// When the link or the note about it cannot be written.
pub fn make_link(tree: &Tree, since: Instant) -> Result<(), Failure> {
    let target = tree.binary("dwcp-cli");
    let Some(folder) = programs() else { return Ok(()) };
    for name in NAMES {
        let link = folder.join(name);
        if make_link_at(&tree.dev, &link, &target)? {
            say(since, &format!("{name} is {}", link.display()));
        } else {
            say(
                since,
                &format!("{} is not ours, left alone; the CLI is {}", link.display(), target.display()),
            );
        }
    }
    Ok(())
}

/// Returns whether the link is ours now.
fn make_link_at(dev: &Path, link: &Path, target: &Path) -> Result<bool, Failure> {
    match fs::read_link(link) {
        Ok(present) if present == target => {}
        // A link to what is gone serves nobody: the folder of its federation was removed without `down`.
        Ok(present) if ours(dev, link) || !present.exists() => {
            fs::remove_file(link).map_err(|e| fault("cannot replace", link, &e))?;
            symlink(target, link).map_err(|e| fault("cannot link", link, &e))?;
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = link.parent() {
                fs::create_dir_all(folder).map_err(|e| fault("cannot create", folder, &e))?;
            }
            symlink(target, link).map_err(|e| fault("cannot link", link, &e))?;
        }
        _ => return Ok(false),
    }
    let note = note_of(dev, link);
    fs::write(&note, format!("{}\n{}\n", link.display(), target.display()))
        .map_err(|e| fault("cannot write", &note, &e))?;
    Ok(true)
}

/// Where it is noted that we made a link.
fn note_of(dev: &Path, link: &Path) -> PathBuf {
    let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    dev.join(format!("link-{name}.txt"))
}

/// Whether the note says that we made this very link.
fn ours(dev: &Path, link: &Path) -> bool {
    let Ok(note) = fs::read_to_string(note_of(dev, link)) else { return false };
    let mut lines = note.lines();
    let (Some(noted), Some(target)) = (lines.next(), lines.next()) else { return false };
    Path::new(noted) == link && fs::read_link(link).is_ok_and(|present| present == Path::new(target))
}

/// Removes each link if it is the one we noted and still points where we pointed it.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_link(tree: &Tree, since: Instant) -> Result<(), Failure> {
    for name in NAMES {
        let Ok(note) = fs::read_to_string(note_of(&tree.dev, Path::new(name))) else { continue };
        let Some(link) = note.lines().next().map(PathBuf::from) else { continue };
        if ours(&tree.dev, &link) {
            fs::remove_file(&link).map_err(|e| fault("cannot remove", &link, &e))?;
            say(since, &format!("removed the link {}", link.display()));
        }
    }
    Ok(())
}

/// Stores the CLI's context of this federation: every region's API, the authority, the first token.
///
/// # Errors
/// When the token is missing or the CLI fails.
pub fn make_context(tree: &Tree, regions: usize, since: Instant) -> Result<(), Failure> {
    let path = tree.dev.join(TOKEN);
    let token = fs::read_to_string(&path).map_err(|e| fault("cannot read", &path, &e))?;
    let endpoints: Vec<String> = (1..=regions).map(api_url).collect();
    let mut cli = command(tree.binary("dwcp-cli"));
    cli.args(["context", "add", CONTEXT, "--endpoint", &endpoints.join(","), "--ca"])
        .arg(tree.dev.join("pki/ca.pem"))
        // Not as an argument: everyone on the machine can read those.
        .env("DWCP_TOKEN", token.trim())
        .env_remove("DWCP_CONTEXT");
    text_of(&mut cli)?;
    let current = text_of(command(tree.binary("dwcp-cli")).args(["context", "show", "--format", "json"]));
    let current: Value = current.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let ours = current["name"] == CONTEXT;
    let hint = if ours {
        String::new()
    } else {
        format!("; yours stays current, so: dwcp-cli context use {CONTEXT}")
    };
    say(since, &format!("dwcp-cli has the context {CONTEXT:?}{hint}"));
    Ok(())
}

/// Removes the CLI's context of this federation. A CLI that is not there has no context either.
pub fn remove_context(tree: &Tree, since: Instant) {
    let cli = tree.binary("dwcp-cli");
    if !cli.is_file() {
        return;
    }
    let removed = capture(command(cli).args(["context", "remove", CONTEXT]));
    if removed.is_ok_and(|output| output.status.success()) {
        say(since, &format!("removed the context {CONTEXT:?} of dwcp-cli"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("dwcp-xtask-link-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_foreign_file_is_never_overwritten() {
        let dev = scratch("foreign");
        let link = dev.join("bin-dwcp-cli");
        fs::write(&link, "theirs").unwrap();
        assert!(!make_link_at(&dev, &link, Path::new("/target/dwcp-cli")).unwrap());
        assert_eq!(fs::read_to_string(&link).unwrap(), "theirs");
        fs::remove_dir_all(dev).unwrap();
    }

    #[test]
    fn a_link_to_a_program_that_is_gone_is_replaced_and_one_to_a_program_is_left() {
        let dev = scratch("dangling");
        let (link, program) = (dev.join("bin-dwcp-cli"), dev.join("theirs"));
        symlink(&program, &link).unwrap();
        fs::write(&program, "a program").unwrap();
        assert!(!make_link_at(&dev, &link, Path::new("/target/dwcp-cli")).unwrap());
        fs::remove_file(&program).unwrap();
        assert!(make_link_at(&dev, &link, Path::new("/target/dwcp-cli")).unwrap());
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/target/dwcp-cli"));
        fs::remove_dir_all(dev).unwrap();
    }

    #[test]
    fn our_own_link_follows_a_moved_target() {
        let dev = scratch("own");
        let link = dev.join("bin/dwcp-cli");
        assert!(make_link_at(&dev, &link, Path::new("/one/dwcp-cli")).unwrap());
        assert!(make_link_at(&dev, &link, Path::new("/two/dwcp-cli")).unwrap());
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/two/dwcp-cli"));
        assert!(ours(&dev, &link));
        fs::remove_file(&link).unwrap();
        symlink("/else/dwcp-cli", &link).unwrap();
        assert!(!ours(&dev, &link));
        fs::remove_dir_all(dev).unwrap();
    }
}
