//! How answers about VMs look.

use dwcp_api::Page;
use dwcp_api::vm::{PlacementReport, Vm, VmHealthReport, VmState};
use dwcp_config::units::show_duration;

use super::protection;
use super::vms::placed;
use crate::show::{Cell, Document, Table, Tone, words};

pub fn list(page: &Page<Vm>) -> Document {
    let protected = page.items.iter().any(|vm| vm.protection.is_some());
    let mut heads = vec![
        "NAME",
        "STATE",
        "REGION",
        "HOST",
        "HEALTHY",
        ">VCPU~3",
        ">MEMORY~3",
        "PRIORITY~2",
        ">GEN~1",
        "VM~4",
        "ADDRESS~2",
    ];
    heads.extend(protected.then_some("PROTECTION"));
    let copies = page.items.iter().any(|vm| vm.drill.is_some());
    heads.extend(copies.then_some("DRILL"));
    let mut table = Table::new(&heads).or("no VMs");
    for vm in &page.items {
        let mut row = vec![
            Cell::from(&vm.name),
            words::state(&vm.state),
            Cell::from(&vm.region),
            words::or_dash(vm.host.as_ref()),
            healthy(vm),
            vm.vcpus.into(),
            format!("{}MiB", vm.memory_mib).into(),
            vm.priority.into(),
            vm.generation.into(),
            Cell::from(&vm.vm),
            words::or_dash(vm.address.as_ref()),
        ];
        if protected {
            row.push(vm.protection.as_ref().map_or_else(|| words::or_dash::<&str>(None), protection::state));
        }
        if copies {
            row.push(words::or_dash(vm.drill.as_ref()));
        }
        table.row(row);
    }
    Document::page(page, table)
}

fn healthy(vm: &Vm) -> Cell {
    match (vm.healthy, vm.state) {
        // The last answer of a probe says nothing about a VM that is out of sight now.
        (_, VmState::Unknown) => words::unknown(),
        (Some(true), _) => Cell::toned("yes", Tone::Good),
        (Some(false), _) => Cell::toned("no", Tone::Bad),
        (None, VmState::Stopped | VmState::Waiting | VmState::Deleting) => words::or_dash::<&str>(None),
        (None, _) => words::unknown(),
    }
}

pub fn one(vm: &Vm) -> Document {
    let labels: Vec<String> = vm.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let wanted = if vm.wanted_running { "running" } else { "stopped" };
    let mut pairs = vec![
        ("name", Cell::from(&vm.name)),
        ("vm", Cell::from(&vm.vm)),
        ("state", words::state(&vm.state)),
        ("wanted", wanted.into()),
        ("healthy", healthy(vm)),
        ("region", Cell::from(&vm.region)),
        ("zone", words::or_dash(vm.zone.as_ref())),
        ("host", words::or_dash(vm.host.as_ref())),
        ("address", words::or_dash(vm.address.as_ref())),
        ("generation", vm.generation.into()),
        ("image", image(vm)),
        ("size", format!("{} vCPU, {} MiB, {} GiB disk", vm.vcpus, vm.memory_mib, vm.disk_gib).into()),
        ("priority", vm.priority.into()),
        ("labels", words::or_dash((!labels.is_empty()).then(|| labels.join(", ")))),
        ("policy", policy(vm).into()),
        ("cost", words::known(vm.cost_usd_month.map(|cost| format!("{cost:.2} USD a month")))),
        ("created", words::instant(vm.created_at_ms).into()),
        ("revision", vm.revision.into()),
    ];
    if let Some(drill) = &vm.drill {
        pairs.push(("drill", format!("a copy made by {drill}; it goes away with it").into()));
    }
    if let Some(of) = &vm.protection {
        let tone = protection::state(of).tone;
        pairs.push(("protection", Cell::toned(protection::sentence(of), tone)));
    }
    if !vm.reason.is_empty() {
        pairs.push(("reason", Cell::toned(&vm.reason, Tone::Warn)));
    }
    Document::of(vm).pairs(pairs)
}

/// What is set, in words.
fn policy(vm: &Vm) -> String {
    let policy = &vm.policy;
    let mut parts = Vec::new();
    for (name, list) in [
        ("only in", &policy.regions_allow),
        ("not in", &policy.regions_deny),
        ("zones", &policy.zones),
        ("compliance", &policy.compliance),
        ("residency", &policy.residency),
    ] {
        if !list.is_empty() {
            parts.push(format!("{name} {}", list.join(", ")));
        }
    }
    for (key, value) in &policy.host_labels {
        parts.push(format!("host {key}={value}"));
    }
    for (name, list) in [("near", &policy.affinity), ("away from", &policy.anti_affinity)] {
        parts.extend(list.iter().map(|a| format!("{name} {} ({})", a.to, words::name(&a.scope))));
    }
    if let Some(bound) = &policy.max_latency {
        parts.push(format!("within {}ms of {}", bound.max_latency_ms, bound.to));
    }
    if let Some(limit) = policy.cost_limit_usd {
        parts.push(format!("at most {limit:.2} USD a month"));
    }
    parts.push(format!("when its region is lost: {}", words::name(&policy.failover)));
    parts.join("; ")
}

/// New VMs, and how every host was judged.
pub fn created(vms: &Page<Vm>, report: &PlacementReport) -> Document {
    list(vms).section("candidates", candidates(report))
}

fn candidates(report: &PlacementReport) -> Table {
    let mut candidates = Table::new(&["REGION", "HOST", ">SCORE", "WHY"]).or("no candidates");
    for candidate in &report.candidates {
        let why = if candidate.ruled_out.is_empty() {
            let factors: Vec<String> = candidate
                .factors
                .iter()
                .map(|f| match f.name.as_str() {
                    // Not a part of the region's score: which of its hosts.
                    "host" => format!("host {:.2} ({})", f.value, f.from),
                    name => format!("{name} {:.2}×{:.2}", f.value, f.weight),
                })
                .collect();
            Cell::from(factors.join(", "))
        } else {
            Cell::toned(format!("ruled out: {}", candidate.ruled_out.join("; ")), Tone::Warn)
        };
        candidates.row(vec![
            Cell::from(&candidate.region),
            words::or_dash(candidate.host.as_ref()),
            words::or_dash(candidate.score.map(|score| format!("{score:.1}"))),
            why,
        ]);
    }
    candidates
}

pub fn placement(report: &PlacementReport) -> Document {
    let mut chosen = Table::new(&["VM", "REGION", "HOST", ">SCORE"]);
    for place in &report.chosen {
        chosen.row(vec![
            Cell::from(&place.vm),
            Cell::from(&place.region),
            Cell::from(&place.host),
            format!("{:.1}", place.score).into(),
        ]);
    }
    let verdict = match (placed(report), report.took_us) {
        (true, Some(took_us)) => format!("{}: has a place; decided in {took_us} µs", report.vm),
        (true, None) => format!("{}: has a place", report.vm),
        (false, _) => format!("{}: has no place: {}", report.vm, report.reasons.join("; ")),
    };
    Document::of(report)
        .text_block(verdict)
        .section("chosen", chosen)
        .section("candidates", candidates(report))
        .text_block(words::as_of(&report.as_of))
}

pub fn health(report: &VmHealthReport) -> Document {
    let mut table =
        Table::new(&["NAME", "REGION", "HOST~1", "STATE", "HEALTHY", "PROBE~2", ">TOOK~3", "DETAIL"])
            .or("no VMs to ask");
    for vm in &report.vms {
        table.row(vec![
            Cell::from(&vm.name),
            Cell::from(&vm.region),
            words::or_dash(vm.host.as_ref()),
            words::state(&vm.state),
            match vm.healthy {
                Some(true) => Cell::toned("yes", Tone::Good),
                Some(false) => Cell::toned("no", Tone::Bad),
                None => words::unknown(),
            },
            vm.probe.replace('_', "-").into(),
            words::or_dash(vm.took_ms.map(show_duration)),
            Cell::from(&vm.detail),
        ]);
    }
    let sum =
        format!("{} healthy, {} unhealthy, {} unknown", report.healthy, report.unhealthy, report.unknown);
    Document::of(report).table(table).text_block(sum).text_block(words::as_of(&report.as_of))
}

/// Its image, and by what digest it holds to it.
fn image(vm: &Vm) -> Cell {
    match vm.image_digest.as_deref().and_then(|digest| digest.get(..12)) {
        Some(short) => Cell { raw: Some(vm.image.clone()), ..Cell::from(format!("{} {short}", vm.image)) },
        None => Cell::from(&vm.image),
    }
}
