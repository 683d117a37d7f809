//! Benchmarks and fuzz targets by name: one table each, so that they can be found.

mod cli_start;
mod controllers;
mod store;

use crate::drill;
use crate::run::{Failure, cargo, run};
use crate::tree::Tree;

/// How something is run: cargo with these arguments, or a function of ours.
enum Work {
    Cargo(&'static [&'static str]),
    Own(fn(&Tree) -> Result<(), Failure>),
}

/// Something with a name: what it measures, and how it is run.
struct Named {
    name: &'static str,
    about: &'static str,
    work: Work,
}

/// Each prints its ratio to a peer or to a promise that it met in the same run.
const BENCHMARKS: &[Named] = &[
    Named {
        name: "place",
        about: "a placement decision up to 100 regions of 5,000 hosts, against a plain scan; packing of a trace",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-decide",
            "--example=bench-place",
            "--",
        ]),
    },
    Named {
        name: "route",
        about: "a routing decision up to 100 regions of 1,000 endpoints, by each algorithm, against a scan of all",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-decide",
            "--example=bench-route",
            "--",
        ]),
    },
    Named {
        name: "failover-plan",
        about: "the plan for 100,000 VMs of a lost region",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-decide",
            "--example=bench-failover",
            "--",
        ]),
    },
    Named {
        name: "drain-plan",
        about: "where 15,000 VMs of a region that is emptied go, and which begin, against a full scan",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-decide",
            "--example=bench-drain",
            "--",
        ]),
    },
    Named {
        name: "ddos",
        about: "look-ups in 5 million blocked addresses and networks, against a plain set and map; what watching costs a request",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-decide",
            "--example=bench-ddos",
            "--",
        ]),
    },
    Named {
        name: "survivability",
        about: "what all 15 losses of one and two of five regions with 10,000 VMs would leave, against the promised second",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-decide",
            "--example=bench-survivability",
            "--",
        ]),
    },
    Named {
        name: "commit",
        about: "a commit at each region's home over the emulated WAN, against the round trip to its majority",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-server",
            "--example=bench-commit",
            "--",
        ]),
    },
    Named {
        name: "verify-sync",
        about: "all replicas compared and all stores read back with 100 MiB of facts: how long, and what writes notice of it",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-server",
            "--example=bench-commit",
            "--",
            "verify-sync",
        ]),
    },
    Named {
        name: "rss",
        about: "memory of a node with 75,000 VMs, against their encoding; cost of a renewal and of doing nothing",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-roles",
            "--example=bench-node",
            "--",
        ]),
    },
    Named {
        name: "migrate",
        about: "a running guest moves over emulated links: total time and probe gap against the emulator's own way; a disk's rate against the link's",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-agent",
            "--example=bench-migrate",
            "--",
        ]),
    },
    Named {
        name: "sync-write",
        about: "a guest's write that is on its drive, with a disk that is protected over emulated links, against the round trip and an unprotected disk",
        // By the real agents: only a test has their program.
        work: Work::Cargo(&[
            "test",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-agent",
            "--test=it",
            "--",
            "--ignored",
            "--nocapture",
            "bench_sync_write",
        ]),
    },
    Named {
        name: "backup",
        about: "backups of 1 GiB of records: full, after 1 % changed, verified, restored, against restic on the same bytes",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-backup",
            "--example=bench-backup",
            "--",
        ]),
    },
    Named {
        name: "controllers",
        about: "long decisions a second over 100,000 hosts with none, one and two controllers beside a node, and how long its loop is blocked",
        work: Work::Own(controllers::measure),
    },
    Named {
        name: "metrics",
        about: "samples a second kept, bytes a sample and reads, against VictoriaMetrics and Prometheus where they are installed",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-telemetry",
            "--example=bench-metrics",
            "--",
        ]),
    },
    Named {
        name: "promql",
        about: "600 expressions and more over the same samples, against a real Prometheus: the same answers",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-telemetry",
            "--example=promql-differential",
            "--",
        ]),
    },
    Named {
        name: "exposition",
        about: "what metrics cost a process: counting, showing, reading",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-telemetry",
            "--example=bench-exposition",
            "--",
        ]),
    },
    Named {
        name: "logs",
        about: "records a second kept, bytes a record and searches, against grep over the same text",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-telemetry",
            "--example=bench-logs",
            "--",
        ]),
    },
    Named {
        name: "dns",
        about: "DNS questions a second on one thread, decided between five regions, against Knot and NSD where they are installed",
        work: Work::Cargo(&["run", "--quiet", "--profile=sim", "-p=dwcp-edge", "--example=bench-dns", "--"]),
    },
    Named {
        name: "proxy",
        about: "requests and new TLS connections a second through the router's proxy, their processor time and memory, against nginx and haproxy",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-edge",
            "--example=bench-proxy",
            "--",
        ]),
    },
    Named {
        name: "drops",
        about: "packets of blocked sources that the kernel drops a second, by the program at the interface (XDP) against nftables",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-edge",
            "--example=bench-drops",
            "--",
        ]),
    },
    Named {
        name: "abuse",
        about: "a good client's P99 and the proxy's memory under resets, slow and large heads and 10,000 half-open connections, against the same abuse of a proxy beside it, and haproxy",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-edge",
            "--example=bench-proxy",
            "--",
            "abuse",
        ]),
    },
    Named {
        name: "splits",
        about: "shares of 10 to 100 % of a region's traffic over 100,000 requests each, and clients with a cookie while they change",
        work: Work::Cargo(&[
            "run",
            "--quiet",
            "--profile=sim",
            "-p=dwcp-edge",
            "--example=bench-splits",
            "--",
        ]),
    },
    Named {
        name: "store",
        about: "a commit in the region's etcd cluster, of one member and of three, against one in the embedded store",
        work: Work::Own(store::measure),
    },
    Named {
        name: "cli-start",
        about: "a cold start of dwcp-cli, against /bin/true",
        work: Work::Own(cli_start::measure),
    },
    Named {
        name: "failover",
        about: "a real federation loses a region: until every VM answers elsewhere, against the promised 30 s",
        work: Work::Own(|tree| drill::command(tree, vec!["kill-one".to_owned()])),
    },
    Named {
        name: "failover-30",
        about: "the same with 30 VMs in the region that is lost",
        work: Work::Own(|tree| drill::command(tree, vec!["kill-many".to_owned()])),
    },
];

/// What every fuzz target begins with; package, example and the arguments that were typed follow.
const FUZZ: &[&str] = &["run", "--quiet", "--profile=sim"];

/// Programs with targets of their own, by what they are called here: package and example. All other names are the server's.
const FUZZED: &[(&str, &str, &str)] = &[
    ("agent", "dwcp-agent", "fuzz-agent"),
    ("backup", "dwcp-backup", "fuzz-backup"),
    ("dns", "dwcp-edge", "fuzz-dns"),
    ("exposition", "dwcp-telemetry", "fuzz-exposition"),
    ("logs", "dwcp-telemetry", "fuzz-logs"),
    ("metrics", "dwcp-telemetry", "fuzz-metrics"),
    ("promql", "dwcp-telemetry", "fuzz-promql"),
    ("rules", "dwcp-telemetry", "fuzz-rules"),
];

/// Runs one benchmark, or lists them.
///
/// # Errors
/// Wrong usage for an unknown name; otherwise when the benchmark fails.
pub fn bench(tree: &Tree, arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        for entry in BENCHMARKS {
            println!("{:<14} {}", entry.name, entry.about);
        }
        return Ok(());
    };
    let entry = BENCHMARKS
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Failure::usage(format!("no benchmark {name:?}; without a name they are listed")))?;
    match entry.work {
        Work::Cargo(words) => run(cargo().args(words).args(rest).current_dir(&tree.root)),
        Work::Own(work) => work(tree),
    }
}

/// Damages real inputs of every decoder, or of the one that is named, each for `--seconds` (20).
///
/// # Errors
/// When a decoder panics or takes memory without limit; the input is printed.
pub fn fuzz(tree: &Tree, arguments: &[String]) -> Result<(), Failure> {
    let fuzz = |package: &str, example: &str, arguments: &[String]| {
        let package = ["-p", package, "--example", example, "--"];
        run(cargo().args(FUZZ).args(package).args(arguments).current_dir(&tree.root))
    };
    match arguments.first().map(String::as_str) {
        Some(name) if !name.starts_with("--") => match FUZZED.iter().find(|(known, ..)| *known == name) {
            Some((_, package, example)) => fuzz(package, example, &arguments[1..]),
            None => fuzz("dwcp-server", "fuzz", arguments),
        },
        _ => {
            fuzz("dwcp-server", "fuzz", arguments)?;
            FUZZED.iter().try_for_each(|(_, package, example)| fuzz(package, example, arguments))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for (index, entry) in BENCHMARKS.iter().enumerate() {
            assert!(BENCHMARKS[..index].iter().all(|other| other.name != entry.name), "{}", entry.name);
        }
    }
}
