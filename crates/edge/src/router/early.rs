//! What drops packets before the proxy reads them: the kernel's filter, programs at interfaces, and DPDK where the policy says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use dwcp_decide::ddos::Net;

use super::link::wall_ms;
use super::{Settings, Shared, log};
use crate::dpdk::{Ports, Program};
use crate::kernel::{Dropped, Early, Kernel, Listen, Xdp};
use crate::repeated::Repeated;

/// What is told of them is about this.
const KERNEL: &str = "the kernel's filter";
const DPDK: &str = "the filter of DPDK";
/// Between two times at which they are handed whom they may drop.
const KERNEL_EVERY: Duration = Duration::from_millis(500);
/// Between two times at which they are asked what they dropped.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// A filter of DPDK that ended is started again so much later.
const AGAIN: Duration = Duration::from_secs(10);

/// The program that filters by DPDK, if there are devices for it.
pub fn dpdk_program(settings: &Settings) -> Option<PathBuf> {
    let dpdk = settings.config.dpdk.as_ref()?;
    let own = std::env::current_exe().ok()?;
    let beside = own.parent().unwrap_or(Path::new("/")).join("dwcp-dpdk");
    Some(dpdk.program.as_ref().map_or(beside, PathBuf::from))
}

/// Programs at the interfaces that are named for them, and the kernel's own filter where that is wanted; and what could not be had.
fn early(shared: &Shared, listens: &[Listen]) -> (Vec<Box<dyn Early>>, Vec<String>) {
    let config = &shared.settings.config;
    let (mut all, mut wrong): (Vec<Box<dyn Early>>, Vec<String>) = Default::default();
    for interface in &config.xdp {
        match Xdp::start(interface, listens) {
            Ok(program) => {
                let by = if program.native { "by its driver" } else { "by the kernel, not by its driver" };
                log(&format!("XDP runs at {interface}, {by}"));
                all.push(Box::new(program));
            }
            Err(why) => wrong.push(why),
        }
    }
    if config.nftables {
        let name = format!("{}-{}", config.host, config.number);
        match Kernel::start(&name, listens.to_vec(), vec!["nft".to_owned()]) {
            Ok(kernel) => all.push(Box::new(kernel)),
            Err(why) => wrong.push(why),
        }
    }
    (all, wrong)
}

/// Which program is to filter by DPDK now, between which ports.
fn wanted(shared: &Shared) -> Option<(PathBuf, Ports)> {
    let routes = shared.current.routes();
    let policy = &routes.table.policy;
    let dpdk = shared.settings.config.dpdk.as_ref().filter(|_| policy.dpdk)?;
    let cores = if policy.dpdk_cores.is_empty() { "0" } else { &policy.dpdk_cores };
    let ports = Ports {
        outside: dpdk.outside.clone(),
        inside: dpdk.inside.clone(),
        cores: cores.to_owned(),
        huge_pages: dpdk.huge_pages,
    };
    Some((dpdk_program(&shared.settings)?, ports))
}

/// The filter of DPDK: there while the policy says so.
#[derive(Default)]
struct ByDpdk {
    runs: Option<(Program, Ports)>,
    begun: Option<Instant>,
    wrong: String,
    /// What filters that ended had dropped.
    before: Dropped,
}

impl ByDpdk {
    /// Starts, ends or feeds it.
    fn keep(
        &mut self,
        wanted: Option<(PathBuf, Ports)>,
        listens: &[Listen],
        (blocked, white): (&[(Net, u64)], &[Net]),
    ) {
        if self.runs.as_ref().is_some_and(|(_, has)| wanted.as_ref().is_none_or(|(_, ports)| ports != has)) {
            self.end();
            self.begun = None;
        }
        let Some((program, ports)) = wanted else {
            (self.begun, self.wrong) = (None, String::new());
            return;
        };
        if self.runs.is_none() && self.begun.is_none_or(|at| at.elapsed() >= AGAIN) {
            self.begun = Some(Instant::now());
            match Program::start(&program, &ports, listens) {
                Ok(program) => self.runs = Some((program, ports)),
                Err(why) => self.wrong = why,
            }
        }
        let Some((program, _)) = &mut self.runs else { return };
        match program.sync(blocked, white, wall_ms()) {
            Ok(_) if program.works() => self.wrong.clear(),
            Ok(_) => {}
            Err(why) => {
                self.wrong = why;
                self.end();
            }
        }
    }

    fn end(&mut self) {
        self.before = self.dropped();
        self.runs = None;
        self.begun = Some(Instant::now());
    }

    fn dropped(&self) -> Dropped {
        let now = self.runs.as_ref().and_then(|(program, _)| program.dropped().ok());
        [self.before, now.unwrap_or_default()].into_iter().sum()
    }
}

/// Drops for as long as what it gives is there. None: it is not wanted, or the kernel refuses; then the proxy keeps out whom it knows by
/// itself.
pub fn start(shared: &Arc<Shared>, listens: &[Listen]) -> Option<Repeated> {
    let (mut all, lacks) = early(shared, listens);
    shared.trouble(KERNEL, lacks.join("; "));
    if all.is_empty() && shared.settings.config.dpdk.is_none() {
        return None;
    }
    let (shared, listens) = (shared.clone(), listens.to_vec());
    let (mut dropped, mut counted) = (vec![Dropped::default(); all.len()], None::<Instant>);
    let mut dpdk = ByDpdk::default();
    let work = move || {
        let (blocked, white) = shared.shield.for_kernel();
        let synced = all.iter_mut().map(|one| one.sync(&blocked, &white, wall_ms()));
        let wrong: Vec<String> = lacks.iter().cloned().chain(synced.filter_map(Result::err)).collect();
        shared.trouble(KERNEL, wrong.join("; "));
        dpdk.keep(wanted(&shared), &listens, (&blocked, &white));
        shared.trouble(DPDK, dpdk.wrong.clone());
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            counted = Some(Instant::now());
            // What one does not say is as it was.
            for (one, known) in all.iter().zip(&mut dropped) {
                *known = one.dropped().unwrap_or(*known);
            }
            let sum = dropped.iter().copied().chain([dpdk.dropped()]).sum();
            shared.early.lock().unwrap_or_else(PoisonError::into_inner).dropped = sum;
        }
    };
    Repeated::start("routerd-kernel", KERNEL_EVERY, work).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_ends_is_not_started_again_at_once_and_its_reason_stays() {
        let ports = Ports { outside: "a".into(), inside: "b".into(), cores: "0".into(), huge_pages: false };
        let wanted = || Some((PathBuf::from("false"), ports.clone()));
        let mut dpdk = ByDpdk::default();
        let begun = Instant::now();
        while dpdk.wrong.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "its end is not told");
            dpdk.keep(wanted(), &[], (&[], &[]));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(dpdk.wrong.contains("the filter ended"), "{}", dpdk.wrong);
        let ended = dpdk.begun;
        dpdk.keep(wanted(), &[], (&[], &[]));
        assert!(dpdk.runs.is_none() && dpdk.begun == ended && !dpdk.wrong.is_empty());
        dpdk.keep(None, &[], (&[], &[]));
        assert!(dpdk.wrong.is_empty() && dpdk.begun.is_none());
    }
}
