//! What the answers mean. Who does not answer fails: it is named, not left out.

use dwcp_api::preflight::{Check, CheckVerdict};
use dwcp_roles::node::{PoolCheck, SelfTell};
use dwcp_roles::protocol::{Finding, ProcessReport};

use super::super::preflight::judge::{self, Line, Reached, either, ms};
use super::super::preflight::reach::Way;
use super::{Found, HostSight, Sight};

/// More of its descriptors than this is much, percent.
const FDS_PERCENT: (u64, u64) = (70, 90);

/// Every check of a region: of its node, of the ways to it, of each host.
pub fn all(sight: &Sight, found: &Found) -> Vec<Check> {
    let mut checks = node(sight, found);
    checks.extend(ways(sight, found));
    if found.hosts.is_empty() {
        let mut line = Line::of(sight.region.as_str());
        let advice = "start dwcp-agentd on its hosts";
        line.add("hosts", CheckVerdict::Failed, "none is registered".to_owned(), "1".to_owned(), advice);
        checks.extend(line.checks);
    }
    for (host, check, way) in &found.hosts {
        checks.extend(one_host(sight, host, check.as_ref(), way));
    }
    checks
}

/// What the other regions know of a node that does not answer.
fn last_heard(sight: &Sight) -> String {
    let of = |(region, silent): &(dwcp_types::RegionId, Option<u64>)| match silent {
        Some(ms) => format!("{region} {}.{} s ago", ms / 1_000, ms % 1_000 / 100),
        None => format!("{region} does not tell"),
    };
    let all: Vec<String> = sight.silent.iter().map(of).collect();
    match all.is_empty() {
        true => "there is no other region".to_owned(),
        false => format!("last heard: {}", all.join(", ")),
    }
}

fn node(sight: &Sight, found: &Found) -> Vec<Check> {
    let mut line = Line::of(sight.region.as_str());
    let Some((told, clock)) = &found.node else {
        let text = format!("does not answer; it is {}; {}", sight.lifecycle, last_heard(sight));
        let advice = "look at dwcpd there; is it lost, fail it over: dwcp-cli runbook run emergency-failover";
        line.add("node", CheckVerdict::Failed, text, "8 s".to_owned(), advice);
        return line.checks;
    };
    let up = told.process.uptime_ms.map_or("unknown".to_owned(), |ms| format!("{} s", ms / 1_000));
    let text = format!("process {} answers, up for {up}", told.process.pid);
    line.add("node", CheckVerdict::Ok, text, "8 s".to_owned(), "");
    line.add(
        "version",
        either(told.version == sight.version, CheckVerdict::Warning),
        told.version.clone(),
        format!("{}, as {}", sight.version, sight.here),
        "dwcp-cli federation region upgrade",
    );
    line.clock(*clock, &sight.here);
    if let Some(disk) = &told.disk {
        line.fsync(disk);
    }
    line.room(told.disk_free_mib, told.memory_available_mib, (0, 0), "");
    match told.certificate_left_s {
        Some(left_s) => line.certificate(left_s),
        None => unknown(&mut line, "certificate", "its process could not look"),
    }
    store(&mut line, told);
    descriptors(&mut line, "descriptors", &told.process);
    line.dialed(&told.dialed);
    line.checks
}

fn unknown(line: &mut Line, check: &str, why: &str) {
    line.add(check, CheckVerdict::Unknown, why.to_owned(), String::new(), "ask again");
}

fn store(line: &mut Line, told: &SelfTell) {
    match told.store_bytes {
        Some(bytes) => {
            let mib = bytes as f64 / f64::from(1 << 20);
            let text = format!("{}, {mib:.1} MiB on its disk", told.store);
            line.add("store", CheckVerdict::Ok, text, String::new(), "");
        }
        None => unknown(line, "store", &format!("{}; its folder can't be read", told.store)),
    }
}

fn descriptors(line: &mut Line, check: &str, process: &ProcessReport) {
    let (Some(open), Some(limit)) = (process.fds, process.fd_limit.filter(|limit| *limit > 0)) else {
        let why = match process.trouble.is_empty() {
            true => "the system does not tell",
            false => &process.trouble,
        };
        return unknown(line, check, why);
    };
    let verdict = match open * 100 / limit {
        percent if percent < FDS_PERCENT.0 => CheckVerdict::Ok,
        percent if percent < FDS_PERCENT.1 => CheckVerdict::Warning,
        _ => CheckVerdict::Failed,
    };
    let (text, most) = (format!("{open} of {limit} open"), format!("{} %", FDS_PERCENT.0));
    line.add(check, verdict, text, most, "raise its limit (LimitNOFILE), and find what is not closed");
}

/// Whether the other regions reach its mesh and its API.
fn ways(sight: &Sight, found: &Found) -> Vec<Check> {
    let mut line = Line::of(sight.region.as_str());
    let open = "open the port in the firewalls between";
    for (_, region) in &sight.others {
        let check = format!("mesh from {region}");
        let seen = found.pings.observations.iter().find(|seen| seen.observer == *region);
        match seen.map(|seen| seen.rtt_us) {
            Some(Some(us)) => {
                line.add(&check, CheckVerdict::Ok, format!("answers in {}", ms(us)), String::new(), "")
            }
            Some(None) => {
                line.add(&check, CheckVerdict::Failed, "no answer".to_owned(), "1200 ms".to_owned(), open)
            }
            None => unknown(&mut line, &check, &format!("{region} could not be asked")),
        }
    }
    for (region, told) in &found.ways {
        let check = format!("API from {region}");
        match told.as_ref().and_then(|told| told.dialed.first()) {
            None => unknown(&mut line, &check, &format!("{region} could not be asked")),
            Some(dialed) => match dialed.rtt_us {
                Some(us) => {
                    line.add(
                        &check,
                        CheckVerdict::Ok,
                        format!("reached in {}", ms(us)),
                        sight.api.clone(),
                        "",
                    );
                }
                None => line.add(&check, CheckVerdict::Failed, dialed.error.clone(), sight.api.clone(), open),
            },
        }
    }
    line.checks
}

fn one_host(sight: &Sight, host: &HostSight, check: Option<&PoolCheck>, way: &Way) -> Vec<Check> {
    let mut line = Line::of(host.host.host.as_str());
    let Some(check) = check else {
        let heard = host.heard_ms.map_or("not known when it was heard last".to_owned(), |ms| {
            format!("heard {}.{} s ago", ms / 1_000, ms % 1_000 / 100)
        });
        let advice = "look at dwcp-agentd there, and at its link to its region";
        line.add("agent", CheckVerdict::Failed, format!("did not answer; {heard}"), "9 s".to_owned(), advice);
        return line.checks;
    };
    line.add("agent", CheckVerdict::Ok, "answers".to_owned(), "9 s".to_owned(), "");
    let reached = Reached { tcp: None, udp: None, transfer: way.clone() };
    let about = (sight.version.as_str(), sight.here.as_str());
    line.checks.extend(judge::host(&host.host, check, &reached, about, "are still offered to VMs"));
    lease(&mut line, &check.checked.findings);
    processes(&mut line, host, &check.checked.processes);
    line.checks
}

fn lease(line: &mut Line, findings: &[Finding]) {
    if let Some(found) = findings.iter().find(|found| found.subject == "lease") {
        let verdict = either(found.passed, CheckVerdict::Failed);
        line.add("lease", verdict, found.detail.clone(), String::new(), "dwcp-cli host list");
    }
}

fn processes(line: &mut Line, host: &HostSight, seen: &[ProcessReport]) {
    if seen.is_empty() {
        return unknown(line, "processes", "an agent of an older version does not tell of them");
    }
    for of in seen.iter().filter(|of| of.vm.is_none()) {
        let check = format!("process {}", of.kind);
        match of.trouble.is_empty() {
            true => descriptors(line, &check, of),
            false => {
                line.add(&check, CheckVerdict::Failed, of.trouble.clone(), String::new(), "look at its log")
            }
        }
    }
    let runs = |vm: &dwcp_types::VmId| seen.iter().any(|of| of.vm == Some(*vm) && of.trouble.is_empty());
    let missing: Vec<&str> =
        host.vms.iter().filter(|(vm, _)| !runs(vm)).map(|(_, name)| name.as_str()).collect();
    let is_wanted = |of: &&ProcessReport| of.vm.is_some_and(|vm| host.vms.iter().any(|(id, _)| *id == vm));
    let machines = seen.iter().filter(|of| of.vm.is_some() && of.trouble.is_empty());
    let (wanted, others): (Vec<_>, Vec<_>) = machines.partition(is_wanted);
    let mut text = format!("{} of {} run", wanted.len(), host.vms.len());
    if !missing.is_empty() {
        text.push_str(&format!("; missing: {}", missing.join(", ")));
    }
    if !others.is_empty() {
        // One that comes or goes is another region's or host's to count.
        text.push_str(&format!("; {} more", others.len()));
    }
    let verdict = match (missing.is_empty(), others.is_empty()) {
        (false, _) => CheckVerdict::Failed,
        (true, false) => CheckVerdict::Warning,
        (true, true) => CheckVerdict::Ok,
    };
    line.add(
        "VM processes",
        verdict,
        text,
        String::new(),
        "dwcp-cli vm list; a VM that starts or moves is counted in a moment",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_roles::node::{Observation, PoolHost, RegionCheck};
    use dwcp_roles::protocol::{Checked, Dialed, Durability, HostMeasures};
    use dwcp_types::VmId;
    use std::time::Duration;

    fn sight() -> Sight {
        let host = PoolHost {
            host: "h".into(),
            accelerator: "kvm".into(),
            version: "1".into(),
            ..PoolHost::default()
        };
        Sight {
            region: "r".into(),
            number: 1,
            lifecycle: "active".into(),
            api: "https://192.0.2.1:7443".into(),
            hosts: vec![HostSight { host, vms: vec![(VmId(7), "web".into())], heard_ms: Some(4_200) }],
            others: vec![(2, "a".into())],
            silent: vec![("a".into(), Some(61_300))],
            here: "a".into(),
            version: "1".into(),
        }
    }

    fn process(kind: &str, vm: Option<u64>) -> ProcessReport {
        let vm = vm.map(VmId);
        ProcessReport {
            kind: kind.into(),
            vm,
            pid: 9,
            fds: Some(10),
            fd_limit: Some(1_024),
            ..ProcessReport::default()
        }
    }

    fn told() -> SelfTell {
        SelfTell {
            process: process("dwcpd", None),
            version: "1".into(),
            certificate_left_s: Some(30 * 86_400),
            disk: Some(Durability { count: 20, median_us: 900, worst_us: 4_000, error: String::new() }),
            disk_free_mib: Some(20 << 10),
            memory_available_mib: Some(4_096),
            store: "embedded".into(),
            store_bytes: Some(3 << 19),
            dialed: vec![Dialed { region: "r".into(), rtt_us: Some(2_000), error: String::new() }],
            ..SelfTell::default()
        }
    }

    fn host_check(processes: Vec<ProcessReport>) -> PoolCheck {
        let measures = HostMeasures {
            fsyncs: 20,
            fsync_median_us: 900,
            disk_free_mib: Some(20 << 10),
            memory_available_mib: Some(4_096),
            certificate_left_s: 30 * 86_400,
            ..HostMeasures::default()
        };
        let checked = Checked { measures: Some(measures), processes, ..Checked::default() };
        PoolCheck { checked, ahead_ms: 0, unsure_ms: 5 }
    }

    fn found() -> Found {
        let sight = sight();
        let all = vec![process("dwcp-agentd", None), process("qemu", Some(7))];
        let way = Some(Ok(Duration::from_millis(2)));
        Found {
            node: Some((told(), (3, 5))),
            ways: vec![("a".into(), Some(told()))],
            pings: RegionCheck {
                observations: vec![Observation { observer: "a".into(), rtt_us: Some(80_000) }],
                mute: Vec::new(),
            },
            hosts: vec![(sight.hosts[0].clone(), Some(host_check(all)), way)],
        }
    }

    fn bad(found: &Found) -> Vec<(String, CheckVerdict)> {
        let all = all(&sight(), found).into_iter().filter(|check| check.verdict != CheckVerdict::Ok);
        all.map(|check| (check.check, check.verdict)).collect()
    }

    #[test]
    fn a_region_that_is_well_passes_everything() {
        assert_eq!(bad(&found()), []);
        assert!(all(&sight(), &found()).iter().any(|check| check.measured.contains("embedded, 1.5 MiB")));
    }

    #[test]
    fn a_node_that_does_not_answer_fails_with_what_the_others_know() {
        let dead = Found { node: None, ..found() };
        assert_eq!(bad(&dead), [("node".to_owned(), CheckVerdict::Failed)]);
        let node = all(&sight(), &dead).remove(0);
        assert!(node.measured.contains("a 61.3 s ago"), "{node:?}");
    }

    #[test]
    fn a_host_that_does_not_answer_is_named_and_fails() {
        let mut mute = found();
        mute.hosts[0].1 = None;
        assert_eq!(bad(&mute), [("agent".to_owned(), CheckVerdict::Failed)]);
        let all = all(&sight(), &mute);
        let host = all.iter().find(|check| check.check == "agent").unwrap();
        assert_eq!(host.subject.as_deref(), Some("h"));
        assert!(host.measured.contains("heard 4.2 s ago"), "{host:?}");
    }

    #[test]
    fn processes_are_held_against_the_vms_that_are_to_run() {
        use CheckVerdict::{Failed, Unknown, Warning};
        let judged = |processes: Vec<ProcessReport>| {
            let mut found = found();
            found.hosts[0].1 = Some(host_check(processes));
            bad(&found)
        };
        let agent = || process("dwcp-agentd", None);
        assert_eq!(judged(vec![agent()]), [("VM processes".to_owned(), Failed)]);
        let ended = ProcessReport { trouble: "it has ended".into(), ..process("qemu", Some(7)) };
        assert_eq!(judged(vec![agent(), ended]), [("VM processes".to_owned(), Failed)]);
        let more = vec![agent(), process("qemu", Some(7)), process("qemu", Some(8))];
        assert_eq!(judged(more), [("VM processes".to_owned(), Warning)]);
        assert_eq!(judged(Vec::new()), [("processes".to_owned(), Unknown)]);
        let full = ProcessReport { fds: Some(1_000), ..agent() };
        assert_eq!(
            judged(vec![full, process("qemu", Some(7))]),
            [("process dwcp-agentd".to_owned(), Failed)]
        );
    }

    #[test]
    fn ways_that_are_closed_fail_and_those_that_nobody_could_look_at_are_unknown() {
        let closed = Dialed { region: "r".into(), rtt_us: None, error: "refused".into() };
        let mut found = found();
        found.ways[0].1 = Some(SelfTell { dialed: vec![closed], ..told() });
        found.pings.observations[0].rtt_us = None;
        let failed = |check: &str| (check.to_owned(), CheckVerdict::Failed);
        assert_eq!(bad(&found), [failed("mesh from a"), failed("API from a")]);
        found.ways[0].1 = None;
        found.pings.observations.clear();
        let unknown = |check: &str| (check.to_owned(), CheckVerdict::Unknown);
        assert_eq!(bad(&found), [unknown("mesh from a"), unknown("API from a")]);
    }
}
