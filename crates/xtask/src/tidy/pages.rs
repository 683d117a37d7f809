//! Rules of the pages: decisions carry their date, every dependency its reason.

use super::TextFile;
use super::edges::dependencies;
use std::collections::BTreeMap;

const DECISIONS: &str = "docs/decisions/";
const DEPENDENCIES: &str = "docs/decisions/2026-11-23-dependencies.md";

/// Pages whose promises name the tests that hold them.
const PROVEN: [&str; 2] = ["ARCHITECTURE.md", "SPECIFICATION.md"];

/// Checks the pages against the manifests.
pub fn check(files: &[TextFile], problems: &mut Vec<String>) {
    for file in files {
        if let Some(name) = file.path.strip_prefix(DECISIONS).filter(|name| !dated(name)) {
            problems.push(format!("{DECISIONS}{name}: a decision is named YYYY-MM-DD-what.md"));
        }
    }
    check_proofs(files, problems);
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in page.text.lines().enumerate() {
            for wrong in unknown_commands(line).chain(dead_links(page, line, files)) {
                problems.push(format!("{}:{}: {wrong}", page.path, number + 1));
            }
        }
    }
    let page = files.iter().find(|file| file.path == DEPENDENCIES).map_or("", |file| &file.text);
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for file in
        files.iter().filter(|file| file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml"))
    {
        for (name, line) in dependencies(&file.text) {
            if !name.starts_with("dwcp-") {
                used.entry(name).or_insert_with(|| format!("{}:{line}", file.path));
            }
        }
    }
    for (name, place) in used {
        if !page.contains(&format!("`{name}`")) {
            problems.push(format!("{place}: `{name}` has no lines in {DEPENDENCIES}"));
        }
    }
}

/// A test that a page names as the proof of a promise must be there: `` `four_or_more_words` ``.
fn check_proofs(files: &[TextFile], problems: &mut Vec<String>) {
    for page in files.iter().filter(|file| PROVEN.contains(&file.path.as_str())) {
        for (number, line) in page.text.lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2).filter(|name| is_sentence(name)) {
                let definition = format!("fn {name}(");
                if !files.iter().any(|file| file.is_rust() && file.text.contains(&definition)) {
                    problems.push(format!("{}:{}: there is no test {name}", page.path, number + 1));
                }
            }
        }
    }
}

fn unknown_commands(line: &str) -> impl Iterator<Item = String> {
    let words = line.split("cargo xtask ").skip(1);
    let names = words.map(|rest| rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>());
    names
        .filter(|name| !name.is_empty() && !crate::COMMANDS.contains(&name.as_str()))
        .map(|name| format!("there is no `cargo xtask {name}`"))
}

/// Links to files of the tree that are not there.
fn dead_links(page: &TextFile, line: &str, files: &[TextFile]) -> impl Iterator<Item = String> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local =
        targets.filter(|target| !target.contains("://") && !target.starts_with('#') && !target.is_empty());
    local
        .filter(|target| {
            let plain = target.split('#').next().unwrap_or(target).trim_end_matches('/');
            let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
            for part in plain.split('/') {
                match part {
                    "." => {}
                    ".." => drop(parts.pop()),
                    name => parts.push(name),
                }
            }
            let path = parts.join("/");
            !files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")))
        })
        .map(|target| format!("links to {target}, which is not there"))
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_sentence(name: &str) -> bool {
    name.matches('_').count() >= 3
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn dated(name: &str) -> bool {
    let bytes = name.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && [4, 7, 10].iter().all(|at| bytes.get(*at) == Some(&b'-'))
        && name.ends_with(".md")
        && name.len() > 14
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_decision_carries_its_date() {
        assert!(dated("2026-11-23-dependencies.md"));
        for name in
            ["dependencies.md", "2026-11-23.md", "2026-11-2-x.md", "2026-11-23-x.txt", "2026-11-23-.md"]
        {
            assert!(!dated(name), "{name}");
        }
    }

    #[test]
    fn a_promise_whose_test_is_gone_is_found() {
        let page =
            file("ARCHITECTURE.md", "| x | `a_test_that_is_there` `a_test_that_is_gone` `memory_mib` |\n");
        let test = file("crates/a/tests/it.rs", "fn a_test_that_is_there() {}\n");
        let mut problems = Vec::new();
        check(&[page, test], &mut problems);
        assert_eq!(problems, ["ARCHITECTURE.md:1: there is no test a_test_that_is_gone"]);
    }

    #[test]
    fn a_page_names_only_commands_and_files_that_are_there() {
        let page = file(
            "docs/a.md",
            "`cargo xtask up`, `cargo xtask fly`; [b](b.md), [c](../README.md#x), [d](gone.md), [e](../docs/)\n",
        );
        let mut problems = Vec::new();
        check(&[page, file("docs/b.md", ""), file("README.md", "")], &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("fly") && problems[1].contains("gone.md"), "{problems:?}");
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = file(
            "crates/a/Cargo.toml",
            "[dependencies]\nserde = \"1\"\nclap = \"4\"\ndwcp-types.workspace = true\n",
        );
        let page = file(DEPENDENCIES, "| `serde` | reads | weeks | 3 |\n");
        let mut problems = Vec::new();
        check(&[manifest, page], &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("`clap`"));
    }
}
