//! Which package may use which: an edge only points down.

use super::TextFile;

/// Package folder, its level, and the packages it may use. ARCHITECTURE.md draws the same.
pub const EDGES: [(&str, u8, &[&str]); 17] = [
    ("types", 0, &[]),
    ("state", 0, &["types"]),
    ("consensus", 0, &["types"]),
    ("api", 0, &["types"]),
    ("config", 0, &["types"]),
    ("decide", 1, &["types", "state"]),
    ("roles", 2, &["types", "state", "consensus", "decide", "api", "config"]),
    ("mesh", 3, &["types"]),
    ("machine", 3, &["types", "roles"]),
    ("backup", 3, &["types"]),
    ("telemetry", 3, &["types", "config"]),
    ("edge", 4, &["types", "state", "decide", "roles", "api", "config", "mesh", "machine"]),
    (
        "server",
        4,
        &[
            "types",
            "state",
            "consensus",
            "decide",
            "roles",
            "api",
            "config",
            "mesh",
            "machine",
            "backup",
            "telemetry",
        ],
    ),
    ("agent", 4, &["types", "roles", "config", "mesh", "machine"]),
    ("cli", 4, &["types", "api", "config"]),
    ("sim", 4, &["types", "state", "consensus", "decide", "roles", "api", "config"]),
    ("xtask", 4, &[]),
];

/// The dependencies that a manifest names directly, with the line of each.
pub fn dependencies(manifest: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let last = section.rsplit('.').next().unwrap_or(section);
            inside = last.ends_with("dependencies");
            // `[dependencies.name]`
            if let Some((_, name)) = section.split_once("dependencies.") {
                found.push((name.to_owned(), index + 1));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name: String =
                line.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
            if !name.is_empty() && line[name.len()..].trim_start().starts_with(['=', '.']) {
                found.push((name, index + 1));
            }
        }
    }
    found
}

/// Compares every manifest with the table.
pub fn check(files: &[TextFile], problems: &mut Vec<String>) {
    for file in files {
        let Some(package) =
            file.package().filter(|package| file.path == format!("crates/{package}/Cargo.toml"))
        else {
            continue;
        };
        if !licensed(&file.text) {
            problems.push(format!("{}: names no licence", file.path));
        }
        let Some((_, _, allowed)) = EDGES.iter().find(|(name, _, _)| *name == package) else {
            problems.push(format!(
                "{}: {package} is not in the table of packages (xtask tidy/edges.rs)",
                file.path
            ));
            continue;
        };
        for (name, line) in dependencies(&file.text) {
            let Some(used) = name.strip_prefix("dwcp-") else { continue };
            if !allowed.contains(&used) {
                problems.push(format!("{}:{line}: {package} may not use {used}", file.path));
            }
        }
    }
}

fn licensed(manifest: &str) -> bool {
    manifest.lines().any(|line| line.starts_with("license.workspace") || line.starts_with("license = "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_of_the_table_points_down_and_makes_no_circle() {
        for (index, (package, level, allowed)) in EDGES.iter().enumerate() {
            for used in *allowed {
                let below = EDGES.iter().position(|(name, _, _)| name == used).unwrap();
                assert!(below < index, "{package} uses {used}");
                assert!(EDGES[below].1 <= *level, "{package} uses {used}, which is above it");
            }
        }
    }

    #[test]
    fn pure_packages_use_only_pure_packages() {
        for (package, _, allowed) in EDGES {
            if super::super::purity::PURE.contains(&package) {
                assert!(allowed.iter().all(|used| super::super::purity::PURE.contains(used)), "{package}");
            }
        }
    }

    fn problems(package: &str, manifest: &str) -> Vec<String> {
        let file = TextFile { path: format!("crates/{package}/Cargo.toml"), text: manifest.to_owned() };
        let mut problems = Vec::new();
        check(&[file], &mut problems);
        problems
    }

    #[test]
    fn an_edge_upward_is_found_however_it_is_written() {
        let head = "license.workspace = true\n";
        for text in [
            "[dependencies]\ndwcp-server.workspace = true\n",
            "[dev-dependencies]\ndwcp-server = { path = \"../server\" }\n",
            "[dependencies.dwcp-server]\npath = \"../server\"\n",
            "[target.'cfg(unix)'.dependencies]\ndwcp-server = \"1\"\n",
        ] {
            assert_eq!(problems("types", &format!("{head}{text}")).len(), 1, "{text}");
        }
        assert_eq!(
            problems("state", &format!("{head}[dependencies]\ndwcp-types.workspace = true\n")).len(),
            0
        );
    }

    #[test]
    fn a_manifest_without_licence_or_without_a_place_is_found() {
        assert_eq!(problems("types", "[dependencies]\n").len(), 1);
        assert_eq!(problems("elsewhere", "license.workspace = true\n").len(), 1);
    }
}
