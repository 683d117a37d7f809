//! The rules of the tree, checked by reading it: `cargo xtask tidy`, and a test of this package.

pub mod edges;
mod files;
mod functions;
mod pages;
mod purity;
mod ratchet;
mod source;

pub use purity::PURE;

use crate::flags::Flags;
use crate::run::{Failure, fault};
use crate::tree::Tree;
use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub struct TextFile {
    /// Relative to the root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl TextFile {
    /// Whether it is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The package folder under `crates/` that it belongs to.
    pub fn package(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

const TEXT: [&str; 14] =
    ["rs", "toml", "md", "txt", "sh", "c", "h", "ts", "css", "html", "svg", "json", "yaml", "yml"];
const SKIPPED: [&str; 5] = ["target", ".git", ".dwcp", "node_modules", "dist"];

/// Checks every rule and prints what breaks one.
///
/// # Errors
/// When anything does.
pub fn command(tree: &Tree, _flags: &Flags) -> Result<(), Failure> {
    let problems = check(&tree.root)?;
    if problems.is_empty() {
        println!("tidy");
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Err(Failure::new(format!("{} rules of the tree are broken; CONTRIBUTING.md has them", problems.len())))
}

/// Every broken rule of the repository at `root`, one line each, `path:line: what`.
///
/// # Errors
/// When a file cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>, Failure> {
    let files = read_tree(root)?;
    let mut problems = Vec::new();
    let mut measured = Vec::new();
    for file in &files {
        files::check(file, &mut problems);
        if file.is_rust() {
            let code = source::blank(&file.text);
            files::check_leftover_macros(&file.path, &code, &mut problems);
            purity::check(file, &code, &mut problems);
            measured.extend(files::too_long(file));
            measured.extend(functions::too_long(&file.path, &code));
        }
    }
    let allowed = files.iter().find(|file| file.path == ratchet::LIST).map_or("", |file| &file.text);
    ratchet::check(allowed, &measured, &mut problems);
    purity::check_lints(&files, &mut problems);
    edges::check(&files, &mut problems);
    pages::check(&files, &mut problems);
    problems.sort();
    Ok(problems)
}

fn read_tree(root: &Path) -> Result<Vec<TextFile>, Failure> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| fault("cannot read", &folder, &e))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if is_text(&name) {
                // A file that another program has just removed is no file of the tree.
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.push(TextFile { path: relative, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn is_text(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, extension)) => TEXT.contains(&extension),
        None => name == "run",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_its_rules() {
        let tree = Tree::find().unwrap();
        let problems = check(&tree.root).unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
