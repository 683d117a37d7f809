//! What tests want of a host, and what it reports.

use std::path::PathBuf;
use std::time::Duration;

use dwcp_roles::protocol::{Health, HealthProbe, HttpProbe, Phase, Run, VmIntent, VmReport, VmSpec};
use dwcp_types::VmId;

use super::agent::wait_for;
use super::leader::Leader;

/// Longer than anything takes, also beside compilers.
pub const LONG: Duration = Duration::from_secs(180);

pub fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("dwcp-agent-{name}-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("pki")).expect("temp dir");
    dir
}

pub fn intent(vm: u64, generation: u64, run: Run) -> VmIntent {
    let probe = HealthProbe::Http(HttpProbe::default());
    let spec = VmSpec { name: "web".into(), vcpus: 1, memory_mib: 96, probe, ..VmSpec::default() };
    VmIntent { vm: VmId(vm), generation, run, spec, ..VmIntent::default() }
}

pub fn report(leader: &Leader, vm: u64, fits: impl Fn(&VmReport) -> bool) -> Option<VmReport> {
    leader.reports().into_iter().find(|report| report.vm == VmId(vm) && fits(report))
}

pub async fn running(leader: &Leader, vm: u64, generation: u64) -> VmReport {
    let fits = |r: &VmReport| {
        r.generation == generation && r.phase == Phase::Running && r.healthy == Health::Healthy
    };
    wait_for("a VM that runs and answers", LONG, || report(leader, vm, fits)).await
}
