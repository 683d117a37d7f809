//! A VM's life under real processes.

use std::time::{Duration, Instant};

use dwcp_roles::protocol::{
    AgentMessage, CheckRequest, Checked, ControllerMessage, Phase, ProbeRequest, ReadConsole, Run, VmReport,
};
use dwcp_types::VmId;

use super::agent::{Host, ask_guest, cpu_ms, images, signal, state, wait_for};
use super::lateness::Lateness;
use super::leader::Leader;
use super::wanted::{LONG, directory, intent, report, running};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_boots_answers_and_survives_the_death_of_the_worker() {
    let Some(images) = images() else { return };
    let lateness = Lateness::start();
    let dir = directory("boot");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start(&dir, &leader, &images, "127.91.1", &["--stop-vms"]);
    leader.want(vec![intent(7, 1, Run::Running)]);
    let qemu = wait_for("QEMU", LONG, || host.children("qemu").first().copied()).await;
    let started = Instant::now();
    wait_for("the guest's answer", LONG, || ask_guest("127.91.1.32:8080")).await;
    eprintln!("boot to answer: {} ms wall, {} ms CPU", started.elapsed().as_millis(), cpu_ms(qemu));
    let told = running(&leader, 7, 1).await;
    assert_eq!(told.address, "127.91.1.32:8080");
    eprintln!("reported healthy after {} ms", started.elapsed().as_millis());
    let first = wait_for("an answer", LONG, || ask_guest("127.91.1.32:8080")).await;
    assert_eq!(first["vm"], VmId(7).to_string());
    let named = |r: &VmReport| r.boot_id == first["boot_id"].as_str().unwrap_or_default();
    wait_for("the guest's own boot id", LONG, || report(&leader, 7, named)).await;

    // The worker dies; nobody touches the VM, and it is adopted.
    let worker = host.children("worker")[0];
    let before = leader.incarnation();
    signal(worker, libc::SIGKILL);
    let died = Instant::now();
    wait_for("a new worker", LONG, || host.children("worker").first().copied().filter(|pid| *pid != worker))
        .await;
    lateness.assert_within("respawned", died, Duration::from_millis(400));
    wait_for("the new worker's hello", LONG, || (leader.incarnation() > before).then_some(())).await;
    running(&leader, 7, 1).await;
    let second = wait_for("an answer", LONG, || ask_guest("127.91.1.32:8080")).await;
    assert_eq!(first["boot_id"], second["boot_id"]);
    assert!(second["counter"].as_u64() > first["counter"].as_u64());
    assert_eq!(host.children("qemu"), vec![qemu]);

    // Console, probes and checks on the leader's behalf.
    leader.ask(ControllerMessage::ReadConsole(ReadConsole { request: 1, vm: VmId(7), offset: 0 }));
    leader.ask(ControllerMessage::Probe(ProbeRequest { request: 2, vms: vec![VmId(7), VmId(8)] }));
    leader.ask(ControllerMessage::Check(CheckRequest {
        request: 3,
        in_service: true,
        processes_over_ms: 200,
        ..CheckRequest::default()
    }));
    let answers =
        wait_for("answers", LONG, || Some(leader.answers()).filter(|answers| answers.len() >= 4)).await;
    let console =
        answers.iter().find_map(|a| if let AgentMessage::Console(c) = a { Some(c.clone()) } else { None });
    assert!(String::from_utf8_lossy(&console.expect("a console").bytes).contains("answering on"));
    let checked =
        answers.iter().find_map(|a| if let AgentMessage::Checked(c) = a { Some(c.clone()) } else { None });
    tells_of_processes(&checked.expect("a check"), qemu);

    // A stop by intent goes through the power button.
    leader.want(vec![intent(7, 1, Run::Stopped)]);
    let asked = Instant::now();
    wait_for("the VM to stop", LONG, || report(&leader, 7, |r| r.phase == Phase::Stopped)).await;
    lateness.assert_within("powered down, not killed,", asked, Duration::from_secs(8));
    leader.want(Vec::new());
    wait_for("its directory to go", LONG, || {
        (!dir.join("data/vms").join(VmId(7).to_string()).exists()).then_some(())
    })
    .await;
    assert!(host.stop());
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lease_vms_are_held_still_then_killed_and_a_lease_in_time_lets_them_go_on() {
    let Some(images) = images() else { return };
    let lateness = Lateness::start();
    let dir = directory("lease");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start(&dir, &leader, &images, "127.91.2", &[]);
    leader.want(vec![intent(9, 3, Run::Running)]);
    running(&leader, 9, 3).await;
    let qemu = host.children("qemu")[0];
    let first = wait_for("an answer", LONG, || ask_guest("127.91.2.32:8080")).await;

    // Held within the lease and a look of the watchdog, and let go when the lease comes back in time.
    leader.keep_silent(true);
    let silent = Instant::now();
    wait_for("the VM to be held", LONG, || (state(qemu) == Some('T')).then_some(())).await;
    lateness.assert_within("held", silent, Duration::from_millis(3_300));
    assert!(silent.elapsed() > Duration::from_millis(2_000), "held after {:?}", silent.elapsed());
    assert!(ask_guest("127.91.2.32:8080").is_none());
    leader.keep_silent(false);
    running(&leader, 9, 3).await;
    let second = wait_for("an answer", LONG, || ask_guest("127.91.2.32:8080")).await;
    assert_eq!(first["boot_id"], second["boot_id"], "the same boot goes on");

    // The watchdog alone does it too when the worker hangs.
    let worker = host.children("worker")[0];
    signal(worker, libc::SIGSTOP);
    let hung = Instant::now();
    wait_for("the VM to be held", LONG, || (state(qemu) == Some('T')).then_some(())).await;
    lateness.assert_within("held", hung, Duration::from_millis(3_300));
    wait_for("the VM to be killed", LONG, || state(qemu).is_none().then_some(())).await;
    lateness.assert_within("killed", hung, Duration::from_millis(6_800));
    signal(worker, libc::SIGCONT);
    running(&leader, 9, 3).await;
    let third = wait_for("an answer", LONG, || ask_guest("127.91.2.32:8080")).await;
    assert_ne!(first["boot_id"], third["boot_id"], "a new boot");

    // Without any leader, but with every voter proven dead, it goes on.
    leader.keep_silent(true);
    leader.close_api();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let fourth = wait_for("an answer", LONG, || ask_guest("127.91.2.32:8080")).await;
    assert_eq!(third["boot_id"], fourth["boot_id"]);
    let qemu = host.children("qemu")[0];
    assert_ne!(state(qemu), Some('T'));

    // The death of the watchdog takes VMs and worker along.
    let worker = host.children("worker")[0];
    signal(host.pid(), libc::SIGKILL);
    wait_for("everything to die", LONG, || {
        (state(qemu).is_none_or(|s| s == 'Z') && state(worker).is_none_or(|s| s == 'Z')).then_some(())
    })
    .await;
    host.stop();
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

/// The agent's own processes, and the emulator of VM 7.
fn tells_of_processes(checked: &Checked, qemu: u32) {
    assert!(checked.findings.len() >= 5 && checked.measures.is_none(), "{checked:?}");
    let machine = checked.processes.iter().find(|of| of.vm == Some(VmId(7))).expect("the VM's process");
    assert_eq!((machine.kind.as_str(), machine.pid), ("qemu", qemu));
    assert!(machine.window_ms >= 200 && machine.resident_kib > Some(10_000), "{machine:?}");
    for kind in ["dwcp-agentd", "watchdog"] {
        let own = checked.processes.iter().find(|of| of.kind == kind).expect("the agent's own");
        assert!(own.trouble.is_empty() && own.threads >= Some(1) && own.fds > Some(2), "{own:?}");
    }
}
