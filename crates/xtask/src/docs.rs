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
    build(tree)?;
    if flags.has("check") {
        compare(tree)?;
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

/// Fails when a page differs from what the programs print now, as they are built.
///
/// # Errors
/// Names every page that is stale, missing or left over.
pub fn compare(tree: &Tree) -> Result<(), Failure> {
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

fn build(tree: &Tree) -> Result<(), Failure> {
    run(cargo()
        .args(["build", "--quiet", "--profile", "sim", "-p", "dwcp-cli", "--bin", "dwcp-cli"])
        .current_dir(&tree.root))
}

fn generate(tree: &Tree) -> Result<BTreeMap<String, String>, Failure> {
    let mut commands =
        String::from("# Commands of dwcp-cli\n\nWritten by `cargo xtask docs` from `--help`.\n");
    describe(tree, &mut Vec::new(), &mut commands)?;
    let exit_codes = text_of(cli(tree).args(["help", "exit-codes"]))?;
    commands.push_str(&format!("\n## Exit codes\n\n{}", block(&exit_codes)));
    let codes = text_of(cli(tree).arg("explain"))?;
    let errors = format!(
        "# Codes\n\nWritten by `cargo xtask docs` from `dwcp-cli explain`; `dwcp-cli explain CODE` says what to do.\n\n{}",
        block(&codes)
    );
    Ok(BTreeMap::from([("commands.md".to_owned(), commands), ("codes.md".to_owned(), errors)]))
}

/// Adds the help of a command and of everything below it. The flags that hold everywhere are told once.
fn describe(tree: &Tree, path: &mut Vec<String>, page: &mut String) -> Result<(), Failure> {
    let help = text_of(cli(tree).args(path.iter()).arg("--help"))?;
    let shown =
        if path.is_empty() { help.as_str() } else { help.split("\nEverywhere:").next().unwrap_or(&help) };
    let name = [&["dwcp-cli".to_owned()], path.as_slice()].concat().join(" ");
    page.push_str(&format!("\n## {name}\n\n{}", block(shown)));
    for below in commands_in(&help) {
        path.push(below);
        describe(tree, path, page)?;
        path.pop();
    }
    Ok(())
}

/// The names under `Commands:` of a help text.
fn commands_in(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let entries = lines.filter_map(|line| line.strip_prefix("  ").filter(|entry| !entry.starts_with(' ')));
    entries.filter_map(|entry| entry.split_whitespace().next().map(str::to_owned)).collect()
}

/// A text as an indented block of a page.
fn block(text: &str) -> String {
    let line = |line: &str| {
        if line.trim().is_empty() { "\n".to_owned() } else { format!("    {}\n", line.trim_end()) }
    };
    text.trim_end().lines().map(line).collect()
}

/// The CLI without anything of this terminal or this user that could change what it prints.
fn cli(tree: &Tree) -> std::process::Command {
    let mut cli = run::command(tree.binary("dwcp-cli"));
    cli.env_clear().env("NO_COLOR", "1");
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
    fn the_commands_of_a_help_text_are_found() {
        let help = "VMs\n\nUsage: x\n\nCommands:\n  create        Create VMs\n                again\n  list  List\n\nOptions:\n  -h\n";
        assert_eq!(commands_in(help), ["create", "list"]);
        assert_eq!(commands_in("Usage: x\n\nOptions:\n  -h\n"), Vec::<String>::new());
        assert_eq!(block("a \n\n  b\n\n"), "    a\n\n      b\n");
    }

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
