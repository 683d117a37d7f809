//! Which packages have changed.

use crate::run::{command, text_of};
use crate::tree::Tree;
use std::collections::BTreeSet;

/// Packages (folders under `crates/`) with uncommitted changes; those of the last commit when there
/// are none. Empty when git cannot tell.
pub fn packages(tree: &Tree) -> Vec<String> {
    let git = |arguments: &[&str]| {
        text_of(command("git").args(arguments).current_dir(&tree.root)).unwrap_or_default()
    };
    let mut paths = git(&["diff", "--name-only", "HEAD"]);
    paths.push_str(&git(&["ls-files", "--others", "--exclude-standard"]));
    let mut found = packages_in(&paths);
    if found.is_empty() {
        found = packages_in(&git(&["show", "--name-only", "--format=", "HEAD"]));
    }
    found.retain(|package| tree.root.join("crates").join(package).join("Cargo.toml").is_file());
    found
}

fn packages_in(paths: &str) -> Vec<String> {
    let names =
        paths.lines().filter_map(|path| path.strip_prefix("crates/")?.split_once('/').map(|(name, _)| name));
    names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_once_and_other_files_are_none() {
        let paths = "crates/state/src/a.rs\ncrates/state/src/b.rs\nREADME.md\ncrates/api/Cargo.toml\n";
        assert_eq!(packages_in(paths), ["api", "state"]);
    }
}
