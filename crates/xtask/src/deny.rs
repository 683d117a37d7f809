//! Licences and bans: `cargo deny` where it is installed, a smaller check of the same list where not.

use crate::flags::Flags;
use crate::run::{Failure, cargo, on_path, run, text_of};
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Checks and prints what was found.
///
/// # Errors
/// When a package has a licence that is not on the list, or is banned.
pub fn command(tree: &Tree, _flags: &Flags) -> Result<(), Failure> {
    check(tree)
}

/// As [`command`].
///
/// # Errors
/// As [`command`].
pub fn check(tree: &Tree) -> Result<(), Failure> {
    if on_path("cargo-deny") {
        // Advisories need a network beyond the registries, so they are not part of the gate.
        return run(cargo()
            .args(["deny", "--offline", "check", "licenses", "bans", "sources"])
            .current_dir(&tree.root));
    }
    let text = text_of(cargo().args(["metadata", "--format-version=1", "--locked"]).current_dir(&tree.root))?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::new(format!("cargo metadata printed no JSON: {e}")))?;
    let path = tree.root.join("deny.toml");
    let rules = fs::read_to_string(&path).map_err(|e| crate::run::fault("cannot read", &path, &e))?;
    let packages = packages(&metadata);
    let problems = problems(&packages, &array(&rules, "allow"), &banned(&rules));
    let duplicates = duplicates(&packages);
    if !duplicates.is_empty() {
        println!("in more than one version: {}", duplicates.join(", "));
    }
    if problems.is_empty() {
        println!("{} packages have permissive licences; none is banned", packages.len());
        return Ok(());
    }
    Err(Failure::new(problems.join("\n")))
}

struct Package {
    name: String,
    version: String,
    licence: String,
}

fn packages(metadata: &Value) -> Vec<Package> {
    let list = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|p| Package {
            name: text(&p["name"]),
            version: text(&p["version"]),
            licence: text(&p["license"]),
        })
        .collect()
}

fn problems(packages: &[Package], allowed: &[String], banned: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let Package { name, version, licence } = package;
        if !permitted(licence, allowed) {
            found.push(format!("{name} {version}: licence {licence:?} is not on the list in deny.toml"));
        }
        if banned.contains(name) {
            found.push(format!("{name} {version} is banned in deny.toml"));
        }
    }
    found
}

/// Whether a licence expression can be met with allowed licences. `A/B` is the old form of `A OR B`.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    words.reverse();
    !words.is_empty() && either(&mut words, allowed) && words.is_empty()
}

fn either(words: &mut Vec<&str>, allowed: &[String]) -> bool {
    let mut holds = both(words, allowed);
    while words.last() == Some(&"OR") {
        words.pop();
        holds |= both(words, allowed);
    }
    holds
}

fn both(words: &mut Vec<&str>, allowed: &[String]) -> bool {
    let mut holds = single(words, allowed);
    while words.last() == Some(&"AND") {
        words.pop();
        holds &= single(words, allowed);
    }
    holds
}

fn single(words: &mut Vec<&str>, allowed: &[String]) -> bool {
    match words.pop() {
        Some("(") => {
            let holds = either(words, allowed);
            words.pop() == Some(")") && holds
        }
        Some(name) if words.last() == Some(&"WITH") => {
            words.pop();
            let exception = words.pop().unwrap_or_default();
            allowed.contains(&format!("{name} WITH {exception}")) || allowed.iter().any(|one| one == name)
        }
        Some(name) => allowed.iter().any(|one| one == name),
        None => false,
    }
}

fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions
        .into_iter()
        .filter(|(_, list)| list.len() > 1)
        .map(|(name, list)| format!("{name} {}", list.join("+")))
        .collect()
}

/// The strings of `key = ["…", …]` in a TOML text.
fn array(text: &str, key: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once(&format!("\n{key} = [")) else { return Vec::new() };
    let inside = rest.split("\n]").next().unwrap_or(rest);
    let code: Vec<&str> = inside.lines().map(|line| line.split('#').next().unwrap_or(line)).collect();
    code.join("\n").split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names in `deny = [{ crate = "…", … }]`.
fn banned(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_only_by_what_is_allowed() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Unicode-3.0".to_owned()];
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR X",
        ] {
            assert!(permitted(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND GPL-3.0", "(MIT"] {
            assert!(!permitted(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_lists_of_deny_toml_are_read() {
        let text = "[licenses]\nallow = [\n  \"MIT\", # \"GPL-3.0\"\n  \"ISC\",\n]\n[bans]\ndeny = [\n  { crate = \"openssl\", reason = \"x\" },\n]\n";
        assert_eq!(array(text, "allow"), ["MIT", "ISC"]);
        assert_eq!(banned(text), ["openssl"]);
        let tree = Tree::find().unwrap();
        let real = fs::read_to_string(tree.root.join("deny.toml")).unwrap();
        assert!(array(&real, "allow").contains(&"Apache-2.0".to_owned()));
        assert!(banned(&real).contains(&"aws-lc-rs".to_owned()));
    }

    #[test]
    fn a_banned_package_is_found() {
        let package = |name: &str| Package {
            name: name.to_owned(),
            version: "1".to_owned(),
            licence: "MIT".to_owned(),
        };
        let found =
            problems(&[package("a"), package("openssl")], &["MIT".to_owned()], &["openssl".to_owned()]);
        assert_eq!(found.len(), 1);
        assert_eq!(duplicates(&[package("a"), package("a")]), ["a 1+1"]);
    }
}
