//! What a host measures when it is asked, and what its agent logs.

use std::process::Stdio;
use std::time::Duration;

use dwcp_roles::protocol::{HealthProbe, HostFigures, Phase, VmIntent, VmSpec};
use dwcp_types::VmId;

use super::agent::{Host, signal, wait_for};
use super::leader::Leader;

const LONG: Duration = Duration::from_secs(20);

async fn figures(leader: &Leader, question: u64) -> HostFigures {
    wait_for("what the host measured", LONG, || leader.figures(question)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_says_what_it_its_agent_and_its_vms_use_and_sends_its_log() {
    let dir = std::env::temp_dir().join(format!("dwcp-agent-figures-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("pki")).expect("temp dir");
    let listen = "127.90.31.1:0".parse().expect("an address");
    let leader = Leader::start(&dir.join("pki"), listen).await;
    let mut host = Host::start_sleepers(&dir, &leader, "127.90.31", &["--stop-vms"], Stdio::inherit());
    let spec = VmSpec { name: "web".into(), probe: HealthProbe::Process, ..VmSpec::default() };
    leader.want(vec![VmIntent { vm: VmId(1), generation: 1, spec, ..VmIntent::default() }]);
    let runs = || leader.reports().iter().any(|report| report.phase == Phase::Running).then_some(());
    wait_for("a VM that runs", LONG, runs).await;

    let first = figures(&leader, 1).await;
    assert!(
        first.is_bounded() && first.cores >= 1 && first.cpu.is_some() && first.memory.is_some(),
        "{first:?}"
    );
    assert!(first.vms.len() == 1 && first.vms[0].vm == VmId(1), "{:?}", first.vms);
    assert!(first.vms[0].used.resident_kib.is_some_and(|kib| kib > 0) && !first.vms[0].used.stopped);
    let agent = &first.agent;
    assert_eq!((agent.incarnation, agent.links), (1, 1));
    assert!(agent.renewals >= agent.grants && agent.grants > 0 && agent.lease_left_ms.is_some(), "{agent:?}");
    assert!(agent.certificate_until_s > agent.certificate_from_s, "{agent:?}");
    let kinds: Vec<&str> = agent.processes.iter().map(|process| process.kind.as_str()).collect();
    assert_eq!(kinds, ["dwcp-agentd", "watchdog"]);

    let second = figures(&leader, 2).await;
    assert!(second.agent.renewals > agent.renewals && second.wall_ms >= first.wall_ms);
    for event in ["worker-ready", "link-up", "vm-launched"] {
        wait_for(event, LONG, || leader.lines().iter().any(|line| line == event).then_some(())).await;
    }
    let once = |event: &str| leader.lines().iter().filter(|line| *line == event).count();
    assert_eq!(once("worker-ready"), 1, "{:?}", leader.lines());

    signal(host.children("worker")[0], libc::SIGKILL);
    wait_for("the new worker's log", LONG, || (once("worker-ready") == 2).then_some(())).await;
    assert_eq!(figures(&leader, 3).await.agent.incarnation, 2);
    assert!(host.stop());
    std::fs::remove_dir_all(dir).expect("remove");
}
