//! A VM to create as the command that creates it, so that what a refusal offers can be typed as it stands.

use dwcp_state::{Network, Probe, Relation, Scope, Target, Vm};
use dwcp_types::Priority;

/// `dwcp-cli vm create …` with every flag that differs from the command's defaults.
pub(crate) fn create_command(vm: &Vm) -> String {
    let mut line = format!(
        "dwcp-cli vm create --name {} --vcpus {} --memory {}MiB",
        vm.name, vm.spec.size.vcpus, vm.spec.size.memory_mib
    );
    let mut flag = |name: &str, value: String| {
        if !value.is_empty() {
            line.push_str(&format!(" --{name} {}", quoted(&value)));
        }
    };
    let rules = &vm.rules;
    flag(
        "disk",
        if vm.spec.size.disk_gib > 0 { format!("{}GiB", vm.spec.size.disk_gib) } else { String::new() },
    );
    flag("image", if vm.spec.image == "small" { String::new() } else { vm.spec.image.clone() });
    if vm.priority != Priority::default() {
        flag("priority", vm.priority.0.to_string());
    }
    flag("regions", joined(&rules.allowed_regions));
    flag("not-regions", joined(&rules.denied_regions));
    flag("zones", joined(&rules.zones));
    for (key, value) in &rules.host_labels {
        flag("host-label", format!("{key}={value}"));
    }
    flag("compliance", joined(&rules.compliance));
    flag("residency", joined(&rules.residency));
    rules.affinity.iter().for_each(|relation| flag("near", relation_text(relation)));
    rules.anti_affinity.iter().for_each(|relation| flag("away-from", relation_text(relation)));
    for (region, ms) in &rules.max_latency {
        flag("max-latency", format!("{region}={ms}ms"));
    }
    if let Some(millis) = rules.cost_limit_millis {
        // Rounded up: what is typed must be enough.
        let cents = millis.div_ceil(10);
        flag("cost-limit", format!("{}.{:02}", cents / 100, cents % 100));
    }
    flag("on-region-loss", if rules.stay_on_loss { "stay".to_string() } else { String::new() });
    flag("tenant", vm.tenant.clone());
    flag("project", vm.project.clone());
    for (key, value) in &vm.labels {
        flag("label", format!("{key}={value}"));
    }
    flag("network", if vm.spec.network == Network::Tap { "tap".to_string() } else { String::new() });
    match &vm.spec.probe {
        Probe::Http(path) if path == "/health" => {}
        Probe::Http(path) => flag("probe", format!("http:80{path}")),
        Probe::Tcp(port) => flag("probe", format!("tcp:{port}")),
        Probe::None => flag("probe", "process".to_string()),
    }
    line
}

fn joined<T: ToString>(list: impl IntoIterator<Item = T>) -> String {
    list.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// As `--near` and `--away-from` take it.
pub(crate) fn relation_text(relation: &Relation) -> String {
    let scope = match relation.scope {
        Scope::Host => "host",
        Scope::Zone => "zone",
        Scope::Region => "region",
    };
    match &relation.target {
        Target::Vm(id) => format!("{id}:{scope}"),
        Target::Label((key, value)) => format!("{key}={value}:{scope}"),
    }
}

/// A value as a shell takes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    if text.chars().all(plain) { text.to_string() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        assert_eq!(quoted("app=db:host"), "app=db:host");
        assert_eq!(quoted("two words"), "'two words'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
