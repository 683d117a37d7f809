//! What a worker says of itself gets lost on its way.

use std::process::Stdio;
use std::time::Duration;

use dwcp_roles::protocol::{HealthProbe, Phase, VmIntent, VmSpec};
use dwcp_types::VmId;

use super::agent::{Host, signal, state, wait_for};
use super::leader::Leader;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_worker_whose_introduction_was_lost_is_known_before_its_lease_ends() {
    let dir = std::env::temp_dir().join(format!("dwcp-agent-introductions-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("pki")).expect("temp dir");
    let listen = "127.90.30.1:0".parse().expect("an address");
    let leader = Leader::start(&dir.join("pki"), listen).await;
    let mut host = Host::start_sleepers(&dir, &leader, "127.90.30", &["--stop-vms"], Stdio::inherit());
    let spec = VmSpec { name: "web".into(), probe: HealthProbe::Process, ..VmSpec::default() };
    leader.want(vec![VmIntent { vm: VmId(1), generation: 1, spec, ..VmIntent::default() }]);
    let runs = || leader.reports().iter().any(|report| report.phase == Phase::Running).then_some(());
    wait_for("a VM that runs", LONG, runs).await;
    let (vm, transfer) = (host.children("sleep")[0], leader.transfer());
    leader.lose_introductions(1);
    signal(host.children("worker")[0], libc::SIGKILL);
    // Its renewals are granted all the while, so that nothing else makes it say who it is.
    wait_for("the new worker's word", LONG, || (leader.incarnation() == 2).then_some(())).await;
    assert_ne!(leader.transfer(), transfer, "it takes VMs at another port");
    assert!(state(vm).is_some_and(|state| state != 'T'), "its VM was never held");
    assert!(host.stop());
    std::fs::remove_dir_all(dir).expect("remove");
}
