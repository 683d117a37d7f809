//! Where things are: the repository, its build output, the development federation's folder.

use crate::run::{Failure, fault};
use std::env;
use std::path::PathBuf;

/// The paths every command starts from.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The repository's root: the folder with the workspace manifest.
    pub root: PathBuf,
    /// Cargo's output folder: `CARGO_TARGET_DIR`, or `target` below the root.
    pub target: PathBuf,
    /// State of the development federation; `.dwcp` below the root.
    pub dev: PathBuf,
}

impl Tree {
    /// Finds the repository above this package (under cargo) or above the current folder.
    ///
    /// # Errors
    /// When neither lies inside the repository.
    pub fn find() -> Result<Tree, Failure> {
        let starts = [env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from), env::current_dir().ok()];
        for start in starts.into_iter().flatten() {
            if let Some(root) = start.ancestors().find(|p| p.join("crates/xtask/Cargo.toml").is_file()) {
                let root = root.canonicalize().map_err(|e| fault("cannot resolve", root, &e))?;
                return Ok(Tree::at(root));
            }
        }
        Err(Failure::new("run this inside the repository: no crates/xtask/Cargo.toml above this folder"))
    }

    fn at(root: PathBuf) -> Tree {
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(chosen) => root.join(chosen),
            None => root.join("target"),
        };
        let dev = root.join(".dwcp");
        Tree { root, target, dev }
    }

    /// A product binary as built with the `sim` profile.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.target.join("sim").join(name)
    }
}
