//! What the numbers of a host mean for the region that is to be deployed of it.

use std::time::Duration;

use dwcp_api::preflight::{Check, CheckVerdict};
use dwcp_roles::node::{PoolCheck, PoolHost};
use dwcp_roles::protocol::{Dialed, Durability, HostMeasures};

use super::reach::Way;

/// A wall clock that differs by more is wrong, and by more than the second one must not be, ms: certificates and expiries count
/// on it, leases do not.
const CLOCK_MS: (u64, u64) = (500, 5_000);
/// A block that takes longer to become durable slows every write down, and beyond the second one leaders lose their terms, µs.
const FSYNC_US: (u64, u64) = (20_000, 250_000);
/// Free disk that a node needs for its store, MiB.
const DISK_MIB: u64 = 4 << 10;
/// Free memory that a node needs, MiB.
const MEMORY_MIB: u64 = 512;
/// How long a certificate should hold, and must, s.
const CERTIFICATE_S: (u64, u64) = (7 * 86_400, 3_600);
/// Farther than this a region scores nothing for latency, ms.
const FAR_MS: u64 = 400;

/// Whether a host was reached from here.
pub struct Reached {
    pub tcp: Way,
    pub udp: Way,
    pub transfer: Way,
}

/// The checks of one host or node.
pub struct Line {
    pub subject: String,
    pub checks: Vec<Check>,
}

impl Line {
    pub fn of(subject: &str) -> Line {
        Line { subject: subject.to_owned(), checks: Vec::new() }
    }

    pub fn add(&mut self, check: &str, verdict: CheckVerdict, measured: String, limit: String, advice: &str) {
        let advice = if verdict == CheckVerdict::Ok { String::new() } else { advice.to_owned() };
        self.checks.push(Check {
            subject: Some(self.subject.clone()),
            check: check.to_owned(),
            verdict,
            measured,
            limit,
            advice,
        });
    }

    /// What is certain of a clock.
    pub fn clock(&mut self, (ahead_ms, unsure_ms): (i64, u64), here: &str) {
        let off = ahead_ms.unsigned_abs().saturating_sub(unsure_ms);
        let sign = if ahead_ms < 0 { "-" } else { "+" };
        self.add(
            "clock",
            at_most(off, CLOCK_MS),
            format!("{sign}{} ms against {here}, ± {unsure_ms} ms", ahead_ms.unsigned_abs()),
            format!("{} ms", CLOCK_MS.0),
            "let chrony or systemd-timesyncd set it",
        );
    }

    /// How fast blocks become durable.
    pub fn fsync(&mut self, disk: &Durability) {
        if !disk.error.is_empty() || disk.count == 0 {
            let text = disk.error.clone();
            return self.add(
                "fsync",
                CheckVerdict::Failed,
                text,
                String::new(),
                "make its data_dir writable",
            );
        }
        let text = format!("median {}, worst {} of {}", ms(disk.median_us), ms(disk.worst_us), disk.count);
        let limit = format!("median {}", ms(FSYNC_US.0));
        let verdict = at_most(disk.median_us, FSYNC_US);
        self.add("fsync", verdict, text, limit, "use a faster disk for its data_dir");
    }

    /// Free disk and memory, beside what a node needs and what is offered to VMs, MiB; the text says who takes that.
    pub fn room(&mut self, disk_mib: Option<u64>, memory_mib: Option<u64>, offered: (u64, u64), offer: &str) {
        let both = [
            ("disk free", disk_mib, DISK_MIB, offered.0),
            ("memory free", memory_mib, MEMORY_MIB, offered.1),
        ];
        for (check, free, least, offered) in both {
            let verdict = match free {
                None => CheckVerdict::Unknown,
                Some(free) if free < least => CheckVerdict::Failed,
                Some(free) if free < offered => CheckVerdict::Warning,
                Some(_) => CheckVerdict::Ok,
            };
            let text = free.map_or("the system does not tell".to_owned(), |mib| format!("{mib} MiB"));
            let limit = match offered {
                0 => format!("{least} MiB for its node"),
                offered => format!("{least} MiB for its node; {offered} MiB {offer}"),
            };
            self.add(check, verdict, text, limit, "make room, or offer less in host.yaml");
        }
    }

    /// How long a certificate holds.
    pub fn certificate(&mut self, left_s: u64) {
        let verdict = match left_s {
            left if left >= CERTIFICATE_S.0 => CheckVerdict::Ok,
            left if left >= CERTIFICATE_S.1 => CheckVerdict::Warning,
            _ => CheckVerdict::Failed,
        };
        self.add(
            "certificate",
            verdict,
            format!("{} h left", left_s / 3_600),
            format!("{} h", CERTIFICATE_S.0 / 3_600),
            "issue a new one: dwcpd pki issue",
        );
    }

    /// How others were reached.
    pub fn dialed(&mut self, dialed: &[Dialed]) {
        for Dialed { region, rtt_us, error } in dialed {
            let check = format!("way to {region}");
            match rtt_us {
                Some(us) => self.add(
                    &check,
                    at_most(*us, (FAR_MS * 1_000, u64::MAX)),
                    format!("{} over TCP", ms(*us)),
                    format!("{FAR_MS} ms"),
                    "it is far: VMs whose users are there are not placed here",
                ),
                None => self.add(
                    &check,
                    CheckVerdict::Failed,
                    error.clone(),
                    String::new(),
                    "open the way to that region's API in the firewalls between",
                ),
            }
        }
    }
}

/// The lower value is the better one.
pub fn at_most(value: u64, (good, bearable): (u64, u64)) -> CheckVerdict {
    match value {
        value if value <= good => CheckVerdict::Ok,
        value if value <= bearable => CheckVerdict::Warning,
        _ => CheckVerdict::Failed,
    }
}

pub fn either(fine: bool, otherwise: CheckVerdict) -> CheckVerdict {
    if fine { CheckVerdict::Ok } else { otherwise }
}

pub fn ms(us: u64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

/// What is about the pool as a whole.
pub fn pool(region: &str, hosts: &[PoolHost], issuers: &[String]) -> Vec<Check> {
    let check = |check: &str, fine: bool, measured: String, limit: &str, advice: &str| Check {
        subject: Some(region.to_owned()),
        check: check.to_owned(),
        verdict: either(fine, CheckVerdict::Failed),
        measured,
        limit: limit.to_owned(),
        advice: if fine { String::new() } else { advice.to_owned() },
    };
    let runs: Vec<&str> =
        hosts.iter().filter(|host| !host.control.is_empty()).map(|host| host.host.as_str()).collect();
    let waits = format!("{} connected; {} would run its node", hosts.len(), runs.len());
    let issue = match issuers.is_empty() {
        true => "none that is heard".to_owned(),
        false => issuers.join(", "),
    };
    vec![
        check(
            "pool",
            !runs.is_empty(),
            waits,
            "1 that would",
            "set `control_plane: {address: …}` in host.yaml of the host that is to run it",
        ),
        check(
            "issuer",
            !issuers.is_empty(),
            issue,
            "1 region with the authority's key",
            "name `pki.ca_key` in the dwcpd.yaml of a region",
        ),
    ]
}

/// A host that did not answer.
pub fn mute(host: &PoolHost) -> Check {
    Check {
        subject: Some(host.host.as_str().to_owned()),
        check: "answers".to_owned(),
        verdict: CheckVerdict::Unknown,
        measured: "it did not answer".to_owned(),
        limit: String::new(),
        advice: "look at dwcp-agentd there; one of an older version does not measure".to_owned(),
    }
}

/// What is about one host, and the way to it from `here`.
pub fn host(
    host: &PoolHost,
    check: &PoolCheck,
    reached: &Reached,
    (version, here): (&str, &str),
    offer: &str,
) -> Vec<Check> {
    let mut line = Line::of(host.host.as_str());
    let same = host.version == version;
    line.add(
        "version",
        either(same, CheckVerdict::Warning),
        host.version.clone(),
        format!("{version}, as {here}"),
        "install the same version of dwcp-agentd",
    );
    let Some(measures) = &check.checked.measures else {
        line.checks.push(mute(host));
        return line.checks;
    };
    line.clock((check.ahead_ms, check.unsure_ms), here);
    resources(&mut line, host, measures, offer);
    for found in &check.checked.findings {
        let wanted = ["emulator", "images"].contains(&found.subject.as_str());
        if wanted {
            let otherwise =
                if found.subject == "emulator" { CheckVerdict::Failed } else { CheckVerdict::Warning };
            let advice = match found.subject.as_str() {
                "emulator" => "install qemu-system-x86",
                _ => {
                    "put the images that VMs boot into its image folder; hosts of a region fetch published ones"
                }
            };
            line.add(
                &found.subject,
                either(found.passed, otherwise),
                found.detail.clone(),
                String::new(),
                advice,
            );
        }
    }
    ways(&mut line, host, measures, reached, here);
    line.checks
}

fn resources(line: &mut Line, host: &PoolHost, measures: &HostMeasures, offer: &str) {
    line.fsync(&Durability {
        count: measures.fsyncs,
        median_us: measures.fsync_median_us,
        worst_us: measures.fsync_worst_us,
        error: measures.fsync_error.clone(),
    });
    let offered = (host.capacity.disk_gib << 10, host.capacity.memory_mib);
    line.room(measures.disk_free_mib, measures.memory_available_mib, offered, offer);
    line.add(
        "accelerator",
        either(host.accelerator == "kvm", CheckVerdict::Warning),
        host.accelerator.clone(),
        "kvm".to_owned(),
        "guests are emulated, which is slow: give the host KVM",
    );
    line.certificate(measures.certificate_left_s);
}

pub fn way(line: &mut Line, check: &str, found: Result<Duration, String>, limit: String, advice: &str) {
    match found {
        Ok(took) => {
            let text = format!("reached in {}", ms(took.as_micros() as u64));
            line.add(check, CheckVerdict::Ok, text, limit, "");
        }
        Err(why) => line.add(check, CheckVerdict::Failed, why, limit, advice),
    }
}

fn ways(line: &mut Line, host: &PoolHost, measures: &HostMeasures, reached: &Reached, here: &str) {
    let open = "open the port in its firewall, or name another address in its host.yaml";
    if !measures.control_error.is_empty() {
        let (why, advice) =
            (measures.control_error.clone(), "free the place, or name another in its host.yaml");
        line.add("node address", CheckVerdict::Failed, why, host.control.clone(), advice);
    } else {
        for (check, found) in [("node address (TCP)", &reached.tcp), ("node address (UDP)", &reached.udp)] {
            if let Some(found) = found.clone() {
                way(line, check, found, format!("{} from {here}", host.control), open);
            }
        }
    }
    match reached.transfer.clone() {
        Some(found) => way(line, "agent's listener", found, format!("{} from {here}", host.transfer), open),
        None => line.add(
            "agent's listener",
            CheckVerdict::Warning,
            "it has none".to_owned(),
            String::new(),
            "without it no VM moves to it while it runs",
        ),
    }
    line.dialed(&measures.dialed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_roles::protocol::{Checked, Finding};
    use dwcp_types::Amount;

    fn pool_host() -> PoolHost {
        PoolHost {
            region: "r".into(),
            host: "h".into(),
            capacity: Amount { vcpus: 4, memory_mib: 2_048, disk_gib: 10 },
            accelerator: "kvm".to_owned(),
            version: "1".to_owned(),
            control: "192.0.2.1:7443".to_owned(),
            transfer: "192.0.2.1:7500".to_owned(),
            ..PoolHost::default()
        }
    }

    fn good() -> HostMeasures {
        HostMeasures {
            fsyncs: 20,
            fsync_median_us: 900,
            fsync_worst_us: 4_000,
            disk_free_mib: Some(20 << 10),
            memory_available_mib: Some(4_096),
            certificate_left_s: 30 * 86_400,
            dialed: vec![Dialed { region: "a".into(), rtt_us: Some(80_000), error: String::new() }],
            ..HostMeasures::default()
        }
    }

    fn judged(ahead_ms: i64, host_is: &PoolHost, measures: HostMeasures, reached: &Reached) -> Vec<Check> {
        let passed =
            |subject: &str| Finding { subject: subject.to_owned(), passed: true, detail: "7.2".to_owned() };
        let findings =
            vec![passed("emulator"), passed("images"), Finding { passed: false, ..passed("lease") }];
        let checked = Checked { request: 1, findings, measures: Some(measures), ..Checked::default() };
        host(
            host_is,
            &PoolCheck { checked, ahead_ms, unsure_ms: 40 },
            reached,
            ("1", "us"),
            "are offered to VMs",
        )
    }

    fn all_reached() -> Reached {
        let at_once = || Some(Ok(Duration::from_millis(2)));
        Reached { tcp: at_once(), udp: at_once(), transfer: at_once() }
    }

    fn of(checks: &[Check], check: &str) -> CheckVerdict {
        checks.iter().find(|found| found.check == check).unwrap_or_else(|| panic!("{check}")).verdict
    }

    #[test]
    fn a_good_host_passes_everything_and_needs_no_advice() {
        let checks = judged(30, &pool_host(), good(), &all_reached());
        assert_eq!(checks.len(), 13, "{checks:#?}");
        assert!(checks.iter().all(|check| check.verdict == CheckVerdict::Ok && check.advice.is_empty()));
    }

    #[test]
    fn each_number_beyond_its_limit_is_told_with_what_to_do() {
        use CheckVerdict::{Failed, Unknown, Warning};
        type Change = fn(&mut HostMeasures);
        let cases: [(&str, CheckVerdict, Change); 11] = [
            ("fsync", Warning, |m| m.fsync_median_us = 20_001),
            ("fsync", Failed, |m| m.fsync_median_us = 250_001),
            ("fsync", Failed, |m| (m.fsyncs, m.fsync_error) = (0, "read-only".to_owned())),
            ("disk free", Warning, |m| m.disk_free_mib = Some(9 << 10)),
            ("disk free", Failed, |m| m.disk_free_mib = Some(100)),
            ("disk free", Unknown, |m| m.disk_free_mib = None),
            ("memory free", Failed, |m| m.memory_available_mib = Some(511)),
            ("certificate", Warning, |m| m.certificate_left_s = 86_400),
            ("certificate", Failed, |m| m.certificate_left_s = 60),
            ("way to a", Warning, |m| m.dialed[0].rtt_us = Some(400_001)),
            ("way to a", Failed, |m| m.dialed[0].rtt_us = None),
        ];
        for (check, verdict, change) in cases {
            let mut measures = good();
            change(&mut measures);
            let checks = judged(0, &pool_host(), measures, &all_reached());
            assert_eq!(of(&checks, check), verdict, "{check}");
            let bad: Vec<&Check> = checks.iter().filter(|check| check.verdict != CheckVerdict::Ok).collect();
            assert!(bad.len() == 1 && !bad[0].advice.is_empty(), "{bad:#?}");
        }
    }

    #[test]
    fn a_clock_is_judged_by_what_is_certain_of_it() {
        for (ahead_ms, verdict) in [
            (540, CheckVerdict::Ok),
            (-541, CheckVerdict::Warning),
            (5_040, CheckVerdict::Warning),
            (-5_041, CheckVerdict::Failed),
        ] {
            assert_eq!(
                of(&judged(ahead_ms, &pool_host(), good(), &all_reached()), "clock"),
                verdict,
                "{ahead_ms}"
            );
        }
    }

    #[test]
    fn what_is_not_reached_or_taken_fails_and_an_emulated_host_is_a_warning() {
        let closed = Reached { tcp: Some(Err("refused".to_owned())), ..all_reached() };
        let checks = judged(0, &pool_host(), good(), &closed);
        assert_eq!(of(&checks, "node address (TCP)"), CheckVerdict::Failed);
        let taken = HostMeasures { control_error: "TCP: in use".to_owned(), ..good() };
        let checks = judged(0, &pool_host(), taken, &closed);
        assert_eq!(of(&checks, "node address"), CheckVerdict::Failed);
        assert!(checks.iter().all(|check| check.check != "node address (TCP)"));
        let old = PoolHost { accelerator: "tcg".to_owned(), version: "0".to_owned(), ..pool_host() };
        let checks = judged(0, &old, good(), &Reached { transfer: None, ..all_reached() });
        for check in ["accelerator", "version", "agent's listener"] {
            assert_eq!(of(&checks, check), CheckVerdict::Warning, "{check}");
        }
    }

    #[test]
    fn a_pool_without_a_host_for_the_node_or_an_issuer_fails() {
        let verdicts = |hosts: &[PoolHost], issuers: &[String]| -> Vec<CheckVerdict> {
            pool("r", hosts, issuers).into_iter().map(|check| check.verdict).collect()
        };
        let bare = PoolHost { control: String::new(), ..pool_host() };
        assert_eq!(verdicts(&[pool_host()], &["a".to_owned()]), [CheckVerdict::Ok; 2]);
        assert_eq!(verdicts(&[bare], &[]), [CheckVerdict::Failed; 2]);
    }
}
