//! Hosts.

use dwcp_api::host::{
    Host as ApiHost, HostAnswer, HostList, HostListRequest, HostRead, HostReadRequest, HostState,
};
use dwcp_api::region::Usage;
use dwcp_api::{Page, Problem};
use dwcp_roles::protocol::Usage as HostUsage;
use dwcp_state::{Host, HostStanding, RegionFacts, Standing};
use dwcp_types::{Code, Refusal};

use super::call::Call;
use super::routes::Serve;
use super::{maintenance, names, page};
use crate::handle::View;

/// A host as the API shows it. What it uses, when it was heard and its lease are as the leader of its group said last.
pub fn show(view: &View<'_>, facts: &RegionFacts, host: &Host) -> ApiHost {
    let (cpu, memory) = facts.limits();
    let room = host.room(cpu, memory);
    let now = view.node.host_now(facts.number, &host.facts.id);
    let [cpu_used, memory_used, disk_used] = used_percents(now.and_then(|now| now.usage));
    let usage = |capacity: u64, allocated: u64, used_percent: Option<f64>| Usage {
        capacity: Some(capacity),
        allocated: Some(allocated),
        used_percent,
    };
    ApiHost {
        host: host.facts.id.as_str().to_owned(),
        region: facts.name.as_str().to_owned(),
        zone: (!host.facts.zone.as_str().is_empty()).then(|| host.facts.zone.as_str().to_owned()),
        state: state(view, facts, host),
        labels: host.facts.labels.clone(),
        lease_left_ms: now.and_then(|now| now.lease_left_ms).and_then(|ms| i64::try_from(ms).ok()),
        cpu: usage(room.vcpus.into(), host.used.vcpus.into(), cpu_used),
        memory: usage(room.memory_mib, host.used.memory_mib, memory_used),
        storage: usage(room.disk_gib, host.used.disk_gib, disk_used),
        vms: facts.vms_on(&host.facts.id).count() as u64,
        version: (!host.facts.version.is_empty()).then(|| host.facts.version.clone()),
        silent_ms: match host.standing {
            HostStanding::Up => now.map(|now| now.heard_ms),
            HostStanding::Lost => Some(view.now.wall.ms_since(host.standing_since)),
        },
        maintenance: maintenance::of(view, &facts.name, Some(&host.facts.id)),
        revision: host.revision.0,
    }
}

/// Processor, memory and disk used, percent of what is there.
pub fn used_percents(usage: Option<HostUsage>) -> [Option<f64>; 3] {
    let Some(usage) = usage else { return [None; 3] };
    let share = |used: u64, all: u64| (all > 0).then(|| (used as f64 * 1_000.0 / all as f64).round() / 10.0);
    [
        Some(f64::from(usage.cpu_percent)),
        share(usage.memory_used_mib, usage.memory_total_mib),
        share(usage.disk_used_gib, usage.disk_total_gib),
    ]
}

fn state(view: &View<'_>, facts: &RegionFacts, host: &Host) -> HostState {
    let lost = view.node.facts().region(&facts.name).is_some_and(|record| record.standing == Standing::Lost);
    match host.standing {
        _ if facts.evacuation.is_some() || lost => HostState::Fenced,
        _ if !names::is_known(view, facts) => HostState::Unknown,
        HostStanding::Lost => HostState::Silent,
        HostStanding::Up if !host.placement => HostState::Draining,
        HostStanding::Up => HostState::Up,
    }
}

impl Serve for HostList {
    async fn answer(call: &Call, request: HostListRequest) -> Result<Page<ApiHost>, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let mut hosts = Vec::new();
            for facts in view.node.facts().regions.values() {
                if request.region.as_ref().is_some_and(|region| facts.name.as_str() != region) {
                    continue;
                }
                hosts.extend(
                    facts
                        .hosts
                        .values()
                        .map(|host| (format!("{}/{}", facts.name, host.facts.id), (facts, host))),
                );
            }
            hosts.sort_by(|(a, _), (b, _)| a.cmp(b));
            let page = page::cut(hosts, request.limit, request.cursor.as_deref(), names::as_of(view))?;
            Ok(Page {
                items: page.items.iter().map(|(facts, host)| show(view, facts, host)).collect(),
                next_cursor: page.next_cursor,
                as_of: page.as_of,
            })
        })
        .await
    }
}

impl Serve for HostRead {
    async fn answer(call: &Call, request: HostReadRequest) -> Result<HostAnswer, Problem> {
        call.find(move |view| {
            let (facts, host) = find(view, &request.host)?;
            Ok(HostAnswer {
                host: show(view, facts, host),
                vms: facts.vms_on(&host.facts.id).map(|vm| vm.id.to_string()).collect(),
                as_of: names::as_of_region(view, &facts.name),
            })
        })
        .await
    }
}

/// A host by name or `region/name`.
pub fn find<'a>(view: &View<'a>, name: &str) -> Result<(&'a RegionFacts, &'a Host), Problem> {
    let (region, host) = match name.split_once('/') {
        Some((region, host)) => (Some(region), host),
        None => (None, name),
    };
    if let Some(region) = region {
        names::region(view, region)?;
    }
    let all =
        view.node.facts().regions.values().filter(|facts| region.is_none_or(|r| facts.name.as_str() == r));
    let found: Vec<_> = all
        .filter_map(|facts| facts.hosts.get(&dwcp_types::HostId::from(host)).map(|host| (facts, host)))
        .collect();
    match found.as_slice() {
        [] => {
            let refusal = Refusal::new(Code::UnknownHost, format!("no host {name}"));
            Err(Problem::from(&refusal.try_this("dwcp-cli host list")))
        }
        [one] => Ok(*one),
        several => {
            let mut refusal =
                Refusal::new(Code::AmbiguousName, format!("{} hosts are named {host}", several.len()));
            for (facts, _) in several {
                refusal = refusal.because(format!("{}/{host}", facts.name));
            }
            Err(Problem::from(&refusal))
        }
    }
}
