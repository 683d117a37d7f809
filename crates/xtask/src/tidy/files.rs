//! Rules that hold for every file: length, name, ends of lines, leftovers, paths of a machine.

use super::TextFile;
use super::ratchet::Measured;

/// The most lines of a Rust file.
const MOST_LINES: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 12] = [
    "mod", "util", "utils", "helper", "helpers", "common", "misc", "data", "handler", "handlers", "v2",
    "manager",
];

// Written in halves, so that this file does not break the rule it checks.
const LEFTOVERS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
const LEFTOVER_MACROS: [&str; 3] = [concat!("to", "do!"), concat!("unimpl", "emented!"), concat!("db", "g!")];
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ho", "me/")];

/// Checks one file.
pub fn check(file: &TextFile, problems: &mut Vec<String>) {
    let path = &file.path;
    check_name(file, problems);
    for (number, line) in file.text.lines().enumerate() {
        let mut say = |what: String| problems.push(format!("{path}:{}: {what}", number + 1));
        if line.ends_with([' ', '\t', '\r']) {
            say("space at the end of the line".to_owned());
        }
        for word in LEFTOVERS {
            if has_word(line, word) {
                say(format!("{word} left over"));
            }
        }
        for machine in MACHINE_PATHS {
            if line.contains(machine) {
                say(format!("{machine} is a path of one machine"));
            }
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        problems.push(format!("{path}: no newline at the end"));
    }
    let entry = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") || path.contains("/src/bin/");
    if entry && file.is_rust() && !file.text.trim_start().starts_with("//!") {
        problems.push(format!("{path}: does not begin with //! saying what it is"));
    }
}

fn check_name(file: &TextFile, problems: &mut Vec<String>) {
    let Some(inside) = file.path.strip_prefix("crates/") else { return };
    for part in inside.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if EMPTY_NAMES.contains(&stem) && (file.is_rust() || part == stem) {
            problems.push(format!("{}: {stem:?} does not say what is inside", file.path));
        }
    }
}

/// Macros that stand for missing code, in blanked source.
pub fn check_leftover_macros(path: &str, code: &str, problems: &mut Vec<String>) {
    for (number, line) in code.lines().enumerate() {
        for name in LEFTOVER_MACROS {
            if has_word(line, name) {
                problems.push(format!("{path}:{}: {name} left over", number + 1));
            }
        }
    }
}

/// A file longer than the limit.
pub fn too_long(file: &TextFile) -> Option<Measured> {
    let size = file.text.lines().count();
    let long = size > MOST_LINES;
    long.then(|| Measured { key: format!("file {}", file.path), line: 1, size, limit: MOST_LINES })
}

fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(name);
        let after = line[at + word.len()..].chars().next().is_some_and(name);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        check(&file, &mut problems);
        check_leftover_macros(path, &super::super::source::blank(text), &mut problems);
        problems
    }

    #[test]
    fn a_clean_file_is_clean() {
        assert_eq!(problems("crates/a/src/lib.rs", "//! What it is.\n\nfn a() {}\n"), Vec::<String>::new());
        assert_eq!(problems("docs/data.md", "The metadata handler.\n"), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let machine = format!("let x = \"{}x\";\n", MACHINE_PATHS[1]);
        for (path, text) in [
            ("crates/a/src/lib.rs", "fn a() {}\n"),
            ("crates/a/src/b.rs", "fn a() {} \n"),
            ("crates/a/src/b.rs", "fn a() {}"),
            ("crates/a/src/b.rs", machine.as_str()),
            ("crates/a/src/b.rs", concat!("// TO", "DO: later\n")),
            ("crates/a/src/b.rs", concat!("fn a() { to", "do!() }\n")),
            ("crates/a/src/b/mod.rs", "fn a() {}\n"),
            ("crates/a/src/helpers/b.rs", "fn a() {}\n"),
        ] {
            assert_eq!(problems(path, text).len(), 1, "{path} {text:?}");
        }
    }

    #[test]
    fn a_component_may_be_called_by_its_name() {
        assert_eq!(problems("crates/a/src/state_manager.rs", "fn a() {}\n"), Vec::<String>::new());
    }
}
