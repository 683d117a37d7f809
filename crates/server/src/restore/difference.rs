//! What a backup has, and how what is restored from it begins otherwise.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Core, FEDERATION_GROUP, Facts, Piece, RegionFacts, Restoration, Vm};
use dwcp_types::GroupId;

/// VMs, and records that differ, that are listed one by one; and characters of a line.
const LISTED: usize = 1_000;
const WIDTH: usize = 400;
/// What was answered once: it is carried over as it is.
const PAST: [&str; 3] = ["claims", "events", "outcomes"];

/// What every restoration sets, whatever the backup.
const OF_EACH: [&str; 5] = ["adoption", "restoration", "revision", "standing_since", "ledger."];

/// What a backup has: the federation's own facts, each region's, and its VMs by name.
pub fn content(facts: &BTreeMap<GroupId, Facts>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut vms = Vec::new();
    for facts in facts.values() {
        match facts {
            Facts::Core(core) => lines.push(of_core(core)),
            Facts::Region(facts) => {
                lines.push(of_region(facts));
                let leaving = facts.departures.values().map(|departure| &departure.vm);
                vms.extend(facts.vms.values().chain(leaving).map(|vm| of_vm(facts, vm)));
            }
        }
    }
    let left_out = vms.len().saturating_sub(LISTED);
    lines.extend(vms.into_iter().take(LISTED));
    if left_out > 0 {
        lines.push(format!("and {left_out} VMs more"));
    }
    lines
}

fn of_core(core: &Core) -> String {
    format!(
        "{}: {} regions, {} tokens, {} images, revision {}",
        core.name,
        core.regions.len(),
        core.tokens.len(),
        core.images.len(),
        core.revision.0
    )
}

fn of_region(facts: &RegionFacts) -> String {
    let hosts: Vec<&str> = facts.hosts.keys().map(|host| host.as_str()).collect();
    format!(
        "{}: {} VMs, {} on their way elsewhere, revision {}; waits for {} hosts: {}",
        facts.name,
        facts.vms.len(),
        facts.departures.len(),
        facts.revision.0,
        hosts.len(),
        hosts.join(", ")
    )
}

fn of_vm(facts: &RegionFacts, vm: &Vm) -> String {
    let wanted = format!("{:?}", vm.want).to_lowercase();
    format!(
        "VM {} ({}) in {} on {}, wanted {wanted}, generation {}",
        vm.name, vm.id, facts.name, vm.host, vm.generation.0
    )
}

/// Records that begin otherwise than the backup has them.
pub fn lines(before: BTreeMap<GroupId, Facts>, restoration: &Restoration) -> Vec<String> {
    let names: BTreeMap<GroupId, String> =
        before.iter().map(|(group, facts)| (*group, name(facts))).collect();
    let after = dwcp_state::restored(before.clone(), restoration);
    let mut lines = Vec::new();
    for (group, facts) in before {
        let mut kept = by_name(facts.into_pieces());
        let mut begins = after.get(&group).cloned().map(Facts::into_pieces).map(by_name).unwrap_or_default();
        let records: BTreeSet<String> = kept.keys().chain(begins.keys()).cloned().collect();
        for record in records {
            let (kept, begins) = (kept.remove(&record), begins.remove(&record));
            if kept == begins || PAST.contains(&record.split('/').next().unwrap_or_default()) {
                continue;
            }
            let what = change(group == FEDERATION_GROUP, &record, kept.as_deref(), begins.as_deref());
            if !what.is_empty() {
                lines.push(shortened(&format!("differs: {} {record}: {what}", names[&group])));
            }
        }
    }
    let left_out = lines.len().saturating_sub(LISTED);
    lines.truncate(LISTED);
    if left_out > 0 {
        lines.push(format!("and {left_out} records more"));
    }
    lines
}

fn name(facts: &Facts) -> String {
    match facts {
        Facts::Core(_) => "federation".to_owned(),
        Facts::Region(facts) => facts.name.to_string(),
    }
}

fn by_name(pieces: Vec<Piece>) -> BTreeMap<String, Vec<u8>> {
    pieces.into_iter().map(|piece| (piece.name, piece.bytes)).collect()
}

fn change(core: bool, record: &str, kept: Option<&[u8]>, begins: Option<&[u8]>) -> String {
    let read = |bytes: &[u8]| Facts::reading(core, record, bytes).ok();
    match (kept, begins) {
        (Some(_), None) => "is not there any more".to_owned(),
        (None, _) => "is there again".to_owned(),
        (Some(kept), Some(begins)) => {
            let changes = read(begins).zip(read(kept)).map(|(begins, kept)| begins.changes(&kept));
            let told = |(field, ..): &(String, _, _)| !OF_EACH.iter().any(|of| field.starts_with(of));
            let changes = changes.unwrap_or_default().into_iter().filter(told).map(|(field, now, then)| {
                let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
                format!("{field} {} instead of {}", shown(now), shown(then))
            });
            changes.collect::<Vec<_>>().join(", ")
        }
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
