//! What the host and its agent measure, for the server that asks, and the lines of the agent's log that it is sent.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dwcp_machine::{host, network, process};
use dwcp_mesh::{AgentEvent, Sent};
use dwcp_roles::protocol::{
    AgentFigures, AgentSaid, DiskFigures, HostFigures, MOST_VMS, ProcessFigures, ServerAsked, VmFigures,
    is_of_figures,
};
use dwcp_types::{VmId, decode, encode};
use serde_json::Value;

use super::Worker;
use crate::clock::{monotonic_us, wall_ms};
use crate::host_config::HostConfig;
use crate::{journal, qmp};

/// How long the monitor of a VM may take, and those of all together.
const MONITOR_LIMIT: Duration = Duration::from_millis(300);
const MONITORS_LIMIT: Duration = Duration::from_secs(2);
/// Lines that nobody said came in this time are sent again.
const SEND_AGAIN: Duration = Duration::from_secs(10);

/// What is counted and remembered between two questions.
pub(super) struct Figures {
    network: Arc<Mutex<network::Meter>>,
    /// A question is being answered; others that come meanwhile are not.
    busy: Arc<AtomicBool>,
    incarnation: u64,
    pub(super) renewals: u64,
    pub(super) grants: u64,
    links: u64,
    pub(super) dropped_messages: u64,
    /// The server of this connection has asked: it takes lines too.
    asked: bool,
    /// When lines were sent that nobody has said came.
    sent: Option<Instant>,
}

impl Figures {
    pub(super) fn begin(config: &HostConfig, incarnation: u64) -> Figures {
        journal::keep_to_send();
        let network = network::Meter::new(config.network.interfaces.clone(), config.network.mbps);
        Figures {
            network: Arc::new(Mutex::new(network)),
            busy: Arc::default(),
            incarnation,
            renewals: 0,
            grants: 0,
            links: 0,
            dropped_messages: 0,
            asked: false,
            sent: None,
        }
    }
}

impl Worker {
    /// Deals with what is between the shells alone; true when that was all of it.
    pub(super) fn is_of_figures(&mut self, event: &AgentEvent) -> bool {
        match event {
            AgentEvent::Up { .. } => {
                self.figures.links += 1;
                (self.figures.asked, self.figures.sent) = (false, None);
                self.say(&AgentSaid::Measures);
                false
            }
            AgentEvent::Frame { bytes } if is_of_figures(bytes) => {
                self.figures.asked = true;
                match decode(bytes) {
                    Ok(ServerAsked::Measure(question)) => self.measure(question),
                    Ok(ServerAsked::Kept(through)) => {
                        journal::came(through);
                        self.figures.sent = None;
                    }
                    // A later server asks for something else.
                    Err(_) => {}
                }
                true
            }
            _ => false,
        }
    }

    fn say(&mut self, said: &AgentSaid) {
        if let Sent::Dropped(_) = self.link.send(encode(said)) {
            self.figures.dropped_messages += 1;
        }
    }

    /// Sends lines of the log that wait, unless others are on their way.
    pub(super) fn send_lines(&mut self) {
        let under_way = self.figures.sent.is_some_and(|at| at.elapsed() < SEND_AGAIN);
        if !self.figures.asked || under_way {
            return;
        }
        if let Some(lines) = journal::to_send() {
            self.say(&AgentSaid::Lines(lines));
            self.figures.sent = Some(Instant::now());
        }
    }

    fn measure(&self, question: u64) {
        if self.figures.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (busy, network, link) =
            (self.figures.busy.clone(), self.figures.network.clone(), self.link.clone());
        let (folder, agent): (PathBuf, AgentFigures) = (self.config.data_dir.clone(), self.own_figures());
        let processes = self.processes();
        self.aside(move || {
            let carried = network.lock().unwrap_or_else(PoisonError::into_inner).measure(Instant::now());
            let (guests, own): (Vec<_>, Vec<_>) = processes.into_iter().partition(|one| one.vm.is_some());
            let own = own.into_iter().filter_map(|one| {
                Some(ProcessFigures { kind: one.kind.to_owned(), used: process::used(one.pid)? })
            });
            let guests = guests.into_iter().filter_map(|one| Some((one.vm?, one.pid)));
            let figures = HostFigures {
                question,
                agent: AgentFigures { processes: own.collect(), ..agent },
                vms: vms(guests.take(MOST_VMS)),
                networks: carried.interfaces,
                network_basis_points: carried.basis_points,
                network_mbps: carried.mbps,
                ..host::figures(&folder)
            };
            // The server compares clocks by this: nothing is done after it.
            let figures = HostFigures { wall_ms: wall_ms(), ..figures };
            busy.store(false, Ordering::Release);
            // A link that is down: the server has noticed, too.
            let _ = link.send(encode(&AgentSaid::Figures(Box::new(figures))));
            None
        });
    }

    fn own_figures(&self) -> AgentFigures {
        let (from, until) = self.identity.life_unix();
        let (lines_left_out, lines_not_sent) = journal::left_out();
        AgentFigures {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: self.figures.incarnation,
            renewals: self.figures.renewals,
            grants: self.figures.grants,
            lease_left_ms: self
                .lease
                .read()
                .and_then(|until_us| until_us.checked_sub(monotonic_us()))
                .map(|left_us| left_us / 1_000),
            links: self.figures.links,
            dropped_messages: self.figures.dropped_messages,
            lines_left_out,
            lines_not_sent,
            certificate_from_s: from,
            certificate_until_s: until,
            processes: Vec::new(),
        }
    }
}

/// What runs of these VMs, and what their guests do. Blocks.
fn vms(guests: impl Iterator<Item = (VmId, u32)>) -> Vec<VmFigures> {
    let began = Instant::now();
    let figures = |(vm, pid): (VmId, u32)| {
        let used = process::used(pid)?;
        // One that is held still answers nothing.
        let asked = !used.stopped && began.elapsed() < MONITORS_LIMIT;
        let disk = asked.then(|| {
            let answer = qmp::execute(&qmp::socket_of(pid), "query-blockstats", Value::Null, MONITOR_LIMIT);
            answer.ok().and_then(|answer| disk(&answer))
        });
        let network = tap(pid).and_then(|tap| network::interface(&tap));
        Some(VmFigures { vm, used, disk: disk.flatten(), network })
    };
    guests.filter_map(figures).collect()
}

/// All disks of a guest together, as QEMU's `query-blockstats` tells; none: it has none.
fn disk(answer: &Value) -> Option<DiskFigures> {
    let stats: Vec<&Value> = answer.as_array()?.iter().filter_map(|device| device.get("stats")).collect();
    let sum = |name: &str| stats.iter().filter_map(|stats| stats.get(name)?.as_u64()).sum::<u64>();
    (!stats.is_empty()).then(|| DiskFigures {
        reads: sum("rd_operations"),
        read_bytes: sum("rd_bytes"),
        writes: sum("wr_operations"),
        written_bytes: sum("wr_bytes"),
        busy_ms: sum_ns(&stats) / 1_000_000,
        ..DiskFigures::default()
    })
}

/// How long reads, writes and flushes took.
fn sum_ns(stats: &[&Value]) -> u64 {
    let names = ["rd_total_time_ns", "wr_total_time_ns", "flush_total_time_ns"];
    stats.iter().flat_map(|stats| names.iter().filter_map(move |name| stats.get(*name)?.as_u64())).sum()
}

/// The tap device that an emulator was started with.
fn tap(pid: u32) -> Option<String> {
    tap_of(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?)
}

fn tap_of(line: &[u8]) -> Option<String> {
    let word = line.split(|byte| *byte == 0).find(|word| word.starts_with(b"tap,"))?;
    let options = std::str::from_utf8(word).ok()?;
    options.split(',').find_map(|option| option.strip_prefix("ifname=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_emulator_says_of_its_disks_is_added_up() {
        let stats = |bytes: u64| {
            json!({"rd_bytes": bytes, "wr_bytes": 2, "rd_operations": 1,
            "wr_operations": 3, "wr_total_time_ns": 4_000_000, "flush_total_time_ns": 1_000_000})
        };
        let answer = json!([{"device": "disk0", "stats": stats(512)}, {"device": "", "stats": stats(8)}]);
        let found = disk(&answer).expect("disks");
        assert_eq!((found.read_bytes, found.written_bytes, found.reads, found.writes), (520, 4, 2, 6));
        assert_eq!(found.busy_ms, 10);
        assert_eq!((disk(&json!([])), disk(&json!({"a": 1}))), (None, None));
    }

    #[test]
    fn the_tap_device_stands_in_the_command_line() {
        let line = b"qemu\0-netdev\0tap,id=net0,ifname=dwcp1x40,script=no\0-device\0x\0";
        assert_eq!(tap_of(line).as_deref(), Some("dwcp1x40"));
        assert_eq!(tap_of(b"qemu\0-netdev\0user,id=net0\0"), None);
    }
}
