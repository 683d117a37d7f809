//! Pure packages do nothing that depends on the machine they run on.

use super::TextFile;

/// Packages (folders) whose code has no clock, no randomness of its own, no IO and no threads.
pub const PURE: [&str; 7] = ["types", "state", "consensus", "decide", "roles", "api", "config"];

/// What must not be named, and why. Addresses (`std::net::IpAddr`) are plain values and may be.
const BANNED: [(&str, &str); 14] = [
    ("Instant", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("std::fs", "effects are data"),
    ("std::process", "effects are data"),
    ("TcpStream", "effects are data"),
    ("TcpListener", "effects are data"),
    ("UdpSocket", "effects are data"),
    ("ToSocketAddrs", "effects are data"),
    ("std::thread", "a machine is stepped by its shell"),
    ("std::env", "settings are arguments"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("RandomState", "randomness comes from a seed handed in"),
    ("tokio", "a machine is stepped by its shell"),
];

/// Checks one file's blanked code; its own tests are not code that ships.
pub fn check(file: &TextFile, code: &str, problems: &mut Vec<String>) {
    let Some(package) = file.package().filter(|package| PURE.contains(package)) else { return };
    if !file.path.starts_with(&format!("crates/{package}/src/")) || file.path.ends_with("/tests.rs") {
        return;
    }
    let shipped = without_tests(code);
    for (number, line) in shipped.lines().enumerate() {
        for (name, reason) in BANNED {
            if names(line, name) {
                problems.push(format!("{}:{}: {name} in a pure package: {reason}", file.path, number + 1));
            }
        }
    }
}

/// Every pure package carries the same `clippy.toml`, so that the lint says no where it is typed.
pub fn check_lints(files: &[TextFile], problems: &mut Vec<String>) {
    let lints = |package: &str| {
        let path = format!("crates/{package}/clippy.toml");
        files.iter().find(|file| file.path == path).map(|file| &file.text)
    };
    for package in PURE {
        if lints(package).is_none() || lints(package) != lints(PURE[0]) {
            problems.push(format!("crates/{package}/clippy.toml: not the one of crates/{}", PURE[0]));
        }
    }
}

fn names(line: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let found = |name: &str| {
        line.match_indices(name).any(|(at, _)| {
            let before = line[..at].chars().next_back().is_some_and(part);
            let after = line[at + name.len()..].chars().next().is_some_and(part);
            !before && !after
        })
    };
    // `use std::{fs, env}` names them without the prefix on the same word.
    let grouped = name.strip_prefix("std::").is_some_and(|last| line.contains("std::{") && found(last));
    found(name) || grouped
}

/// Blanks every item that follows `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let end = item_end(&rest[at..]);
        out.extend(rest[at..at + end].chars().filter(|c| *c == '\n'));
        rest = &rest[at + end..];
    }
    out.push_str(rest);
    out
}

fn item_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, code: &str) -> usize {
        let mut problems = Vec::new();
        check(&TextFile { path: path.to_owned(), text: code.to_owned() }, code, &mut problems);
        problems.len()
    }

    #[test]
    fn a_pure_package_names_no_clock_no_file_no_hash_map() {
        for line in
            ["use std::time::Instant;", "std::fs::read(x)", "use std::{env, fmt};", "let m: HashMap<A, B>;"]
        {
            assert_eq!(problems("crates/decide/src/a.rs", line), 1, "{line}");
        }
    }

    #[test]
    fn a_pure_package_with_lints_of_its_own_is_found() {
        let file = |package: &str, text: &str| TextFile {
            path: format!("crates/{package}/clippy.toml"),
            text: text.to_owned(),
        };
        let mut files: Vec<TextFile> = PURE.iter().map(|package| file(package, "a")).collect();
        let mut problems = Vec::new();
        check_lints(&files, &mut problems);
        assert_eq!(problems, Vec::<String>::new());
        files[1].text = "b".to_owned();
        files.pop();
        check_lints(&files, &mut problems);
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn values_and_other_packages_are_free() {
        assert_eq!(
            problems("crates/api/src/a.rs", "use std::net::IpAddr; struct InstantReport; let env = 1;"),
            0
        );
        assert_eq!(problems("crates/server/src/a.rs", "use std::time::Instant;"), 0);
        assert_eq!(problems("crates/decide/tests/it.rs", "use std::time::Instant;"), 0);
    }

    #[test]
    fn unit_tests_may_measure() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { use std::time::Instant; fn f() {} }\nuse std::fs;\n";
        assert_eq!(problems("crates/state/src/a.rs", code), 1);
    }
}
