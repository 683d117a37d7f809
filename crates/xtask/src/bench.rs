//! Benchmarks and fuzz targets by name: one table each, so that they can be found.

use crate::run::{Failure, cargo, run};
use crate::tree::Tree;

/// A named cargo command: what it measures, and the arguments after `cargo`.
struct Named {
    name: &'static str,
    about: &'static str,
    arguments: &'static [&'static str],
}

const BENCHMARKS: &[Named] = &[];
const FUZZ_TARGETS: &[Named] = &[];

/// Runs one benchmark, or lists them.
///
/// # Errors
/// Wrong usage for an unknown name; otherwise when cargo fails.
pub fn bench(tree: &Tree, arguments: &[String]) -> Result<(), Failure> {
    named(tree, "benchmark", BENCHMARKS, arguments)
}

/// Runs one fuzz target, or lists them.
///
/// # Errors
/// As [`bench`].
pub fn fuzz(tree: &Tree, arguments: &[String]) -> Result<(), Failure> {
    named(tree, "fuzz target", FUZZ_TARGETS, arguments)
}

fn named(tree: &Tree, kind: &str, table: &[Named], arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        if table.is_empty() {
            println!("there is no {kind}");
        }
        for entry in table {
            println!("{:<24} {}", entry.name, entry.about);
        }
        return Ok(());
    };
    let entry = table
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Failure::usage(format!("no {kind} {name:?}; without a name they are listed")))?;
    run(cargo().args(entry.arguments).args(rest).current_dir(&tree.root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for table in [BENCHMARKS, FUZZ_TARGETS] {
            for (index, entry) in table.iter().enumerate() {
                assert!(table[..index].iter().all(|other| other.name != entry.name), "{}", entry.name);
            }
        }
    }
}
