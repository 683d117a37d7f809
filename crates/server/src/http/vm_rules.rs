//! A VM that is asked for, checked in every field before anything changes, and turned into a record.

use std::collections::BTreeSet;

use dwcp_api::Problem;
use dwcp_api::vm::VmCreateRequest;
use dwcp_api::vm_spec::{Affinity, NetworkKind, OnRegionLoss, Policy, Probe as ApiProbe, Scope as ApiScope};
use dwcp_roles::node::CreateVm;
use dwcp_state::{Network, Probe, Relation, Rules, Scope, Target, Vm, VmSpec, Want};
use dwcp_types::{Amount, ImageDigest, Priority, RegionId, Wall};

use super::call::bad_value;
use super::names;
use crate::handle::View;

/// The image that every host has.
const IMAGE: &str = "small";
/// Limits of one VM: virtual CPUs, memory in MiB, disk in GiB.
const LARGEST: Amount = Amount { vcpus: 256, memory_mib: 4 << 20, disk_gib: 1 << 17 };
/// VMs of one request.
const MOST: u32 = 1_000;
/// Labels of a VM, and of a rule.
const MOST_LABELS: usize = 64;
/// The longest life that can be given to a VM that ends by itself, ms: a year.
const LONGEST_LIFE_MS: u64 = 366 * 86_400_000;

/// How many VMs a request asks for.
pub fn count(request: &VmCreateRequest) -> Result<u32, Problem> {
    match request.count {
        None => Ok(1),
        Some(count) if (1..=MOST).contains(&count) => Ok(count),
        Some(count) => Err(bad_value("count", format!("{count} is not from 1 to {MOST}"))),
    }
}

/// The name of VM number `index` (from 1) of `count`.
pub fn name(request: &VmCreateRequest, index: u32, count: u32) -> String {
    if count > 1 { format!("{}-{index}", request.name) } else { request.name.clone() }
}

/// The record that a request stands for, but for name, id and place.
pub fn template(view: &View<'_>, request: &VmCreateRequest) -> Result<CreateVm, Problem> {
    let count = count(request)?;
    check_name("name", &name(request, count, count))?;
    let image = request.image.clone().unwrap_or_else(|| IMAGE.to_owned());
    check_name("image", &image)?;
    if request.labels.len() > MOST_LABELS {
        return Err(bad_value("labels", format!("at most {MOST_LABELS}")));
    }
    for (key, value) in &request.labels {
        check_label("labels", key, value)?;
    }
    let (rules, users_in) = rules(view, &request.policy)?;
    let template = Vm {
        name: request.name.clone(),
        tenant: text("policy.tenant", request.policy.tenant.as_deref())?,
        project: text("policy.project", request.policy.project.as_deref())?,
        labels: request.labels.clone(),
        spec: VmSpec {
            image,
            size: size(request)?,
            network: match request.network {
                NetworkKind::User => Network::User,
                NetworkKind::Tap => Network::Tap,
            },
            probe: probe(request.probe.as_ref())?,
            // Set when it is created, by what the catalogue has then.
            digest: ImageDigest::default(),
        },
        rules,
        priority: Priority(request.priority.0),
        want: Want::Running,
        created_at: view.now.wall,
        expires_at: expires_at(view, request.expires_in_ms)?,
        protection: super::protection::checked(view, &request.protection, size(request)?.disk_gib)?,
        ..Vm::default()
    };
    let only = match request.place_in.as_deref() {
        Some(region) => Some(names::region(view, region)?.0.id.clone()),
        None => None,
    };
    let explain = request.explain.unwrap_or(false);
    Ok(CreateVm { template, users_in, dry_run: request.dry_run, explain, only })
}

/// When a VM is over that lives for so long.
fn expires_at(view: &View<'_>, after_ms: Option<u64>) -> Result<Wall, Problem> {
    match after_ms {
        None => Ok(Wall(0)),
        Some(ms) if (1_000..=LONGEST_LIFE_MS).contains(&ms) => Ok(Wall(view.now.wall.0 + ms)),
        Some(_) => Err(bad_value("expires_in_ms", format!("1000 to {LONGEST_LIFE_MS}"))),
    }
}

/// Refuses what may not name a VM or an image.
pub fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = name.starts_with('-') || name.ends_with('-');
    if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) || edges {
        let shown: String = name.chars().take(80).collect();
        return Err(bad_value(
            field,
            format!("'{shown}' is not 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends"),
        ));
    }
    Ok(())
}

fn check_label(field: &str, key: &str, value: &str) -> Result<(), Problem> {
    let plain = |text: &str| {
        text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
    };
    if key.is_empty() || !plain(key) || !plain(value) {
        let shown: String = format!("{key}={value}").chars().take(80).collect();
        return Err(bad_value(
            field,
            format!("'{shown}' is not key=value of letters, digits, - _ . / (at most 63 each)"),
        ));
    }
    Ok(())
}

fn text(field: &str, value: Option<&str>) -> Result<String, Problem> {
    let value = value.unwrap_or("");
    if value.len() > 63 || value.chars().any(char::is_control) {
        return Err(bad_value(field, "at most 63 printable characters"));
    }
    Ok(value.to_owned())
}

fn size(request: &VmCreateRequest) -> Result<Amount, Problem> {
    let size = Amount {
        vcpus: request.vcpus.unwrap_or(1),
        memory_mib: request.memory_mib.unwrap_or(96),
        disk_gib: request.disk_gib.unwrap_or(0),
    };
    let range = |field: &str, value: u64, least: u64, most: u64| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(bad_value(field, format!("{value} is not from {least} to {most}")))
        }
    };
    range("vcpus", size.vcpus.into(), 1, LARGEST.vcpus.into())?;
    range("memory_mib", size.memory_mib, 1, LARGEST.memory_mib)?;
    range("disk_gib", size.disk_gib, 0, LARGEST.disk_gib)?;
    Ok(size)
}

fn probe(probe: Option<&ApiProbe>) -> Result<Probe, Problem> {
    match probe {
        None => Ok(Probe::Http("/health".to_owned())),
        Some(ApiProbe::Http { port: 80, path }) if path.starts_with('/') && path.len() <= 256 => {
            if path.bytes().all(|byte| byte.is_ascii_graphic()) {
                Ok(Probe::Http(path.clone()))
            } else {
                Err(bad_value("probe.path", "visible ASCII characters only"))
            }
        }
        Some(ApiProbe::Http { port: 80, .. }) => {
            Err(bad_value("probe.path", "it begins with / and has at most 256 bytes"))
        }
        Some(ApiProbe::Http { port, .. }) => {
            Err(bad_value("probe.port", format!("an HTTP probe asks port 80 of the guest, not {port}")))
        }
        Some(ApiProbe::Tcp { port: 0 }) => Err(bad_value("probe.port", "0 is no port")),
        Some(ApiProbe::Tcp { port }) => Ok(Probe::Tcp(*port)),
        Some(ApiProbe::GuestAgent) => {
            Err(bad_value("probe.kind", "guests are asked by http, tcp or process"))
        }
        Some(ApiProbe::Process) => Ok(Probe::None),
    }
}

fn regions(view: &View<'_>, names: &[String]) -> Result<BTreeSet<RegionId>, Problem> {
    names.iter().map(|name| names::region(view, name).map(|(record, _)| record.id.clone())).collect()
}

fn rules(view: &View<'_>, policy: &Policy) -> Result<(Rules, Option<RegionId>), Problem> {
    let mut rules = Rules {
        allowed_regions: regions(view, &policy.regions_allow)?,
        denied_regions: regions(view, &policy.regions_deny)?,
        zones: policy.zones.iter().cloned().collect(),
        host_labels: policy.host_labels.clone(),
        compliance: policy.compliance.iter().map(|tag| tag.to_lowercase()).collect(),
        residency: policy.residency.iter().map(|code| code.to_lowercase()).collect(),
        affinity: relations(view, "policy.affinity", &policy.affinity)?,
        anti_affinity: relations(view, "policy.anti_affinity", &policy.anti_affinity)?,
        stay_on_loss: policy.failover == OnRegionLoss::Stay,
        ..Rules::default()
    };
    if let Some(both) = rules.allowed_regions.intersection(&rules.denied_regions).next() {
        return Err(bad_value("policy.regions_deny", format!("{both} is both allowed and denied")));
    }
    for (key, value) in &policy.host_labels {
        check_label("policy.host_labels", key, value)?;
    }
    if let Some(limit) = policy.cost_limit_usd {
        if !limit.is_finite() || limit <= 0.0 || limit > 1e9 {
            return Err(bad_value("policy.cost_limit_usd", "an amount above 0"));
        }
        rules.cost_limit_millis = Some((limit * 1_000.0).round() as u64);
    }
    let mut users_in = None;
    if let Some(bound) = &policy.max_latency {
        if bound.max_latency_ms == 0 {
            return Err(bad_value("policy.max_latency", "a bound above 0 ms"));
        }
        let (record, _) = names::region(view, &bound.to)?;
        rules.max_latency = vec![(record.id.clone(), bound.max_latency_ms.into())];
        users_in = Some(record.id.clone());
    }
    Ok((rules, users_in))
}

fn relations(view: &View<'_>, field: &str, list: &[Affinity]) -> Result<Vec<Relation>, Problem> {
    if list.len() > MOST_LABELS {
        return Err(bad_value(field, format!("at most {MOST_LABELS}")));
    }
    list.iter().map(|affinity| relation(view, field, affinity)).collect()
}

fn relation(view: &View<'_>, field: &str, affinity: &Affinity) -> Result<Relation, Problem> {
    let target = match affinity.to.split_once('=') {
        Some((key, value)) => {
            check_label(field, key, value)?;
            Target::Label((key.to_owned(), value.to_owned()))
        }
        None => Target::Vm(names::vm(view, &affinity.to)?.vm.id),
    };
    let scope = match affinity.scope {
        ApiScope::Host => Scope::Host,
        ApiScope::Zone => Scope::Zone,
        ApiScope::Region => Scope::Region,
    };
    Ok(Relation { target, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> VmCreateRequest {
        VmCreateRequest { name: name.to_owned(), ..VmCreateRequest::default() }
    }

    #[test]
    fn names_are_what_dns_takes() {
        for good in ["a", "web-1", "0", &"x".repeat(63)] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "ä", "a b", &"x".repeat(64)] {
            assert_eq!(check_name("name", bad).expect_err(bad).status, 400);
        }
    }

    #[test]
    fn counts_and_sizes_have_limits() {
        for count in [0, 1_001, u32::MAX] {
            assert!(super::count(&VmCreateRequest { count: Some(count), ..request("a") }).is_err());
        }
        assert!(size(&VmCreateRequest { vcpus: Some(0), ..request("a") }).is_err());
        assert!(size(&VmCreateRequest { memory_mib: Some(u64::MAX), ..request("a") }).is_err());
        assert_eq!(size(&request("a")).expect("size"), Amount { vcpus: 1, memory_mib: 96, disk_gib: 0 });
        assert_eq!(name(&request("web"), 3, 5), "web-3");
    }

    #[test]
    fn a_probe_that_no_agent_can_ask_is_refused() {
        assert!(probe(Some(&ApiProbe::Http { port: 81, path: "/".into() })).is_err());
        assert!(probe(Some(&ApiProbe::Tcp { port: 0 })).is_err());
        assert!(probe(Some(&ApiProbe::GuestAgent)).is_err());
        assert_eq!(probe(None).expect("probe"), Probe::Http("/health".into()));
    }
}
