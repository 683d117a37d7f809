//! The web console, built where Node is there: what comes out is built into `dwcpd`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Instant, SystemTime};

use crate::run::{command, on_path, say};
use crate::tree::Tree;

/// What the console is made from.
const SOURCES: [&str; 6] =
    ["src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts"];

/// Builds it when it is not there or older than its sources. Without Node, or when it can't be built, `dwcpd` serves a page
/// that says so; nothing else needs it.
pub fn build(tree: &Tree, since: Instant) {
    let folder = tree.root.join("console");
    let built = changed(&folder.join("dist/index.html"));
    let newest = SOURCES.iter().filter_map(|name| changed(&folder.join(name))).max();
    if built.is_some() && built >= newest {
        return;
    }
    if !on_path("npm") {
        say(since, "no web console: it needs Node 20 or later with npm (Debian: nodesource, or nvm)");
        return;
    }
    say(since, "building the web console");
    let steps: [&[&str]; 2] = [&["ci", "--no-audit", "--no-fund"], &["run", "build"]];
    for step in steps {
        let mut npm = command("npm");
        npm.args(step).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !npm.status().is_ok_and(|status| status.success()) {
            let text =
                format!("no web console: `npm {}` in console/ failed; type it to see why", step.join(" "));
            say(since, &text);
            return;
        }
    }
    say(since, "the web console is built");
}

/// When a file, or the newest file of a folder, was changed last.
fn changed(path: &Path) -> Option<SystemTime> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_dir() {
        return metadata.modified().ok();
    }
    let entries = fs::read_dir(path).ok()?.flatten();
    entries.filter_map(|entry| changed(&entry.path())).max()
}
