//! Reference pages: written by the programs themselves, so that they cannot say anything else.

use crate::flags::Flags;
use crate::run::{self, Failure, cargo, fault, run, text_of};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Writes `docs/reference`, or with `--check` only compares.
///
/// # Errors
/// When the CLI cannot be built or a page cannot be written; with `--check` also when one is stale.
pub fn command(tree: &Tree, flags: &Flags) -> Result<(), Failure> {
    if flags.has("check") {
        check(tree)?;
        println!("docs/reference is fresh");
        return Ok(());
    }
    let pages = generate(tree)?;
    let folder = tree.root.join("docs/reference");
    let stale: Vec<String> =
        read_pages(&folder)?.into_keys().filter(|name| !pages.contains_key(name)).collect();
    fs::create_dir_all(&folder).map_err(|e| fault("cannot create", &folder, &e))?;
    for name in stale {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(|e| fault("cannot remove", &path, &e))?;
    }
    for (name, text) in &pages {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| fault("cannot write", &path, &e))?;
    }
    println!("wrote {} pages to docs/reference", pages.len());
    Ok(())
}

/// Fails when a page differs from what the programs print now.
///
/// # Errors
/// Names every page that is stale, missing or left over.
pub fn check(tree: &Tree) -> Result<(), Failure> {
    let wanted = generate(tree)?;
    let present = read_pages(&tree.root.join("docs/reference"))?;
    let differing = differing(&wanted, &present);
    if differing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("stale in docs/reference: {}; run `cargo xtask docs`", differing.join(", "))))
}

fn differing(wanted: &BTreeMap<String, String>, present: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<String> = wanted.keys().chain(present.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| wanted.get(name) != present.get(name));
    names
}

fn generate(tree: &Tree) -> Result<BTreeMap<String, String>, Failure> {
    run(cargo()
        .args(["build", "--quiet", "--profile", "sim", "-p", "dwcp-cli", "--bin", "dwcp-cli"])
        .current_dir(&tree.root))?;
    let scratch = tree.target.join("xtask-reference");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).map_err(|e| fault("cannot remove", &scratch, &e))?;
    }
    fs::create_dir_all(&scratch).map_err(|e| fault("cannot create", &scratch, &e))?;
    text_of(command_of(tree).args(["reference", "--dir"]).arg(&scratch))?;
    let pages = read_pages(&scratch)?;
    fs::remove_dir_all(&scratch).map_err(|e| fault("cannot remove", &scratch, &e))?;
    if pages.is_empty() {
        return Err(Failure::new("`dwcp-cli reference` wrote no page"));
    }
    Ok(pages)
}

/// The CLI without anything of this terminal or this user that could change its pages.
fn command_of(tree: &Tree) -> std::process::Command {
    let mut cli = run::command(tree.binary("dwcp-cli"));
    cli.env_remove("COLUMNS").env("NO_COLOR", "1").env("HOME", "/nonexistent");
    cli
}

fn read_pages(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    if !folder.exists() {
        return Ok(BTreeMap::new());
    }
    let entries = fs::read_dir(folder).map_err(|e| fault("cannot read", folder, &e))?;
    let mut pages = BTreeMap::new();
    for entry in entries.flatten() {
        if let Some(name) =
            entry.file_name().to_str().filter(|name| name.ends_with(".md") || name.ends_with(".json"))
        {
            let text =
                fs::read_to_string(entry.path()).map_err(|e| fault("cannot read", &entry.path(), &e))?;
            pages.insert(name.to_owned(), text);
        }
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_missing_and_a_leftover_page_are_all_named() {
        let pages = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let wanted = pages(&[("same.md", "1"), ("changed.md", "2"), ("missing.md", "3")]);
        let present = pages(&[("same.md", "1"), ("changed.md", "old"), ("leftover.md", "4")]);
        assert_eq!(differing(&wanted, &present), ["changed.md", "leftover.md", "missing.md"]);
    }
}
