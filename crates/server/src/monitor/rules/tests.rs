use dwcp_config::region::Monitoring;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dwcp-rules-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Writes a file as an editor does: beside it, and then in its place.
    fn write(&self, name: &str, text: &str) {
        let beside = self.0.join(".new");
        fs::write(&beside, text).expect("a file");
        fs::rename(beside, self.0.join(name)).expect("a file");
    }

    fn rules(&self, patterns: &[&str]) -> Rules {
        let path = |name: &&str| self.0.join(name).display().to_string();
        Rules::new(&Monitoring {
            notifications: String::new(),
            rules: patterns.iter().map(path).collect(),
            capacity_thresholds: path(&"thresholds.yaml"),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn group(name: &str, alert: &str, expr: &str) -> String {
    format!("groups:\n- name: {name}\n  rules:\n  - alert: {alert}\n    expr: {expr}\n")
}

/// The alerts of files that are not shipped.
fn alerts(rules: &InForce) -> Vec<String> {
    let own = rules.files.iter().filter(|(name, _)| !name.starts_with("shipped/"));
    let all = own.flat_map(|(_, file)| &file.groups).flat_map(|group| &group.rules);
    all.filter_map(|rule| match rule {
        Rule::Alerting(rule) => Some(format!("{} {}", rule.alert, rule.expr)),
        Rule::Recording(_) => None,
    })
    .collect()
}

#[test]
fn a_change_is_taken_once_it_is_valid_and_until_then_the_former_holds() {
    let folder = Folder::new("change");
    folder.write("a.yaml", &group("a", "A", "up == 0"));
    folder.write("b.yaml", &group("b", "B", "up == 0"));
    folder.write("c.txt", "no rules");
    let rules = folder.rules(&["*.yaml"]);
    let first = rules.in_force();
    assert_eq!((alerts(&first), &first.complaints), (vec!["A up == 0".into(), "B up == 0".into()], &vec![]));
    assert_eq!(first.files.len(), SHIPPED.len() + 2);
    assert!(Arc::ptr_eq(&first, &rules.in_force()), "nothing has changed");

    folder.write("a.yaml", &group("a", "A", "up =="));
    folder.write("b.yaml", &group("b", "B", "up == 1"));
    let broken = rules.in_force();
    assert_eq!(alerts(&broken), ["A up == 0", "B up == 1"], "one file's error is not another's");
    let [(name, why)] = &broken.complaints[..] else { panic!("{:?}", broken.complaints) };
    assert!(name.ends_with("/a.yaml") && why.starts_with("line 5, column "), "{name}: {why}");

    folder.write("a.yaml", &group("a", "A", "up == 2"));
    let healed = rules.in_force();
    assert_eq!((alerts(&healed), healed.complaints.len()), (vec!["A up == 2".into(), "B up == 1".into()], 0));

    fs::remove_file(folder.0.join("a.yaml")).expect("removed");
    assert_eq!(alerts(&rules.in_force()), ["B up == 1"]);
}

#[test]
fn a_file_that_is_named_must_be_there_and_is_kept_while_it_is_not() {
    let folder = Folder::new("named");
    let rules = folder.rules(&["a.yaml"]);
    assert_eq!(rules.in_force().complaints.len(), 1);
    folder.write("a.yaml", &group("a", "A", "up == 0"));
    assert_eq!((alerts(&rules.in_force()).len(), rules.in_force().complaints.len()), (1, 0));
    fs::remove_file(folder.0.join("a.yaml")).expect("removed");
    assert_eq!((alerts(&rules.in_force()).len(), rules.in_force().complaints.len()), (1, 1));
}

#[test]
fn groups_have_names_of_their_own_and_files_their_bounds() {
    let folder = Folder::new("bounds");
    folder.write("a.yaml", &group("capacity", "A", "up"));
    folder.write("b.yaml", &group("same", "A", "up"));
    folder.write("c.yaml", &group("same", "A", "up"));
    folder.write("d.yaml", &format!("# {}\n", "x".repeat(LONGEST as usize)));
    folder.write("e.yaml", &group("e", &"x".repeat(LONGEST_NAME + 1), "up"));
    let many: String = (0..MOST_RULES).map(|n| format!("  - record: r{n}\n    expr: up\n")).collect();
    folder.write("f.yaml", &format!("groups:\n- name: f\n  rules:\n{many}"));
    let rules = folder.rules(&["*.yaml"]).in_force();
    assert_eq!(alerts(&rules), ["A up"]);
    let said: Vec<&str> = rules.complaints.iter().map(|(_, why)| why.as_str()).collect();
    for (why, wanted) in said.iter().zip(["shipped/capacity.yaml", "b.yaml", "1048576", "200 bytes", "2000"])
    {
        assert!(why.contains(wanted), "{why}");
    }
    assert_eq!(said.len(), 5);
}

#[test]
fn thresholds_of_capacity_are_taken_while_they_are_valid() {
    let folder = Folder::new("thresholds");
    let rules = folder.rules(&[]);
    let warning = |rules: &InForce| {
        let all = rules.groups().into_iter().flat_map(|group| group.rules);
        let mut alerts = all.filter_map(|rule| match rule {
            Rule::Alerting(rule) if rule.alert == "CpuUtilizationWarning" => Some(rule.expr),
            _ => None,
        });
        alerts.next().expect("the rule")
    };
    let cpu = |at: &str| format!("region:dwcp_federation_cpu_utilization:avg > {at}");
    assert_eq!(warning(&rules.in_force()), cpu("70"));
    folder.write("thresholds.yaml", "thresholds: {cpu: {warning: 50}}\n");
    assert_eq!(warning(&rules.in_force()), cpu("50"));
    folder.write("thresholds.yaml", "thresholds: {cpu: {warning: 99}}\n");
    let broken = rules.in_force();
    assert_eq!(warning(&broken), cpu("50"));
    assert!(broken.complaints[0].1.starts_with("line 1, column "), "{:?}", broken.complaints);
    fs::remove_file(folder.0.join("thresholds.yaml")).expect("removed");
    assert_eq!(warning(&rules.in_force()), cpu("70"));
}

#[test]
fn names_fit_patterns() {
    for (pattern, name, fits) in [
        ("*.yaml", "a.yaml", true),
        ("*.yaml", "a.yml", false),
        ("a?c*", "abcd", true),
        ("a?c*", "ac", false),
        ("*a*b", "xaxxab", true),
        ("*a*b", "xaxxac", false),
        ("?", "", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
    }
}
