//! VMs are fenced in time while what the agent depends on stands still: its log, its disk, its VMs' monitors.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use dwcp_agent::clock::monotonic_us;
use dwcp_agent::lease_file::LeaseFile;
use dwcp_agent::watchdog::LEASE_FILE;
use dwcp_roles::protocol::{HealthProbe, Phase, VmIntent, VmReport, VmSpec};
use dwcp_types::VmId;

use super::agent::{Host, signal, state, wait_for};
use super::lateness::Lateness;
use super::leader::Leader;

const LONG: Duration = Duration::from_secs(20);
/// What the fence may take from the end of the lease.
const SLACK: Duration = Duration::from_millis(150);

fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("dwcp-agent-{name}-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("pki")).expect("temp dir");
    dir
}

fn intent(vm: u64) -> VmIntent {
    let spec = VmSpec { name: "web".into(), probe: HealthProbe::Process, ..VmSpec::default() };
    VmIntent { vm: VmId(vm), generation: 1, spec, ..VmIntent::default() }
}

/// Waits until `count` VMs run, and returns their processes.
async fn running(leader: &Leader, host: &Host, count: usize) -> Vec<u32> {
    wait_for("VMs that run", LONG, || {
        let running = leader.reports().iter().filter(|report| report.phase == Phase::Running).count();
        Some(host.children("sleep")).filter(|there| running == count && there.len() == count)
    })
    .await
}

/// To be called as soon as VMs were seen not to execute: asserts that it is not too late after the end of the lease.
fn assert_in_time(what: &str, host: &Host, after_lease: Duration, since: Instant, lateness: &Lateness) {
    let file = LeaseFile::open(&host.dir.join("data").join(LEASE_FILE)).expect("the lease");
    let due_us = file.read().expect("a lease") + after_lease.as_micros() as u64;
    let (now_us, late) = (monotonic_us(), lateness.since(since));
    assert!(now_us >= due_us, "{what} {} ms too early", (due_us - now_us) / 1_000);
    let took = Duration::from_micros(now_us - due_us);
    eprintln!("{what} {took:?} after it was due");
    assert!(took < SLACK + late, "{what} {took:?} after it was due; the machine was {late:?} late itself");
}

fn executes(pid: u32) -> bool {
    !matches!(state(pid), None | Some('T' | 'Z'))
}

/// Writes into a pipe until nothing fits, through a description of its own, so that other writers go on to wait.
fn fill(pipe: &PipeWriter) {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut pipe: File =
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).expect("the pipe again");
    for size in [4_096, 1] {
        loop {
            match pipe.write(&[b'x'; 4_096][..size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("the pipe can't be filled: {error}"),
            }
        }
    }
}

/// A monitor for every VM that takes connections and never says a word.
fn silent_monitors(dir: &Path, vms: u64) -> Vec<UnixListener> {
    let socket = |vm| dir.join("data/vms").join(VmId(vm).to_string()).join("qmp.sock");
    (1..=vms).map(|vm| UnixListener::bind(socket(vm)).expect("a monitor")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vms_are_held_in_time_while_nobody_reads_the_log() {
    let lateness = Lateness::start();
    let dir = directory("log");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let (_unread, log) = std::io::pipe().expect("a pipe");
    let ours = log.try_clone().expect("a second end");
    let mut host = Host::start_sleepers(&dir, &leader, "127.91.3", &[], Stdio::from(log));
    leader.want(vec![intent(1), intent(2)]);
    let vms = running(&leader, &host, 2).await;

    // The end of a VM is worth a line of the log, of the watchdog and of the worker.
    fill(&ours);
    signal(vms[0], libc::SIGKILL);
    wait_for("its end to be seen", LONG, || state(vms[0]).is_none().then_some(())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    leader.keep_silent(true);
    let silent = Instant::now();
    wait_for("the VM to be held", LONG, || (state(vms[1]) == Some('T')).then_some(())).await;
    assert_in_time("held", &host, Duration::ZERO, silent, &lateness);
    wait_for("the VM to be killed", LONG, || state(vms[1]).is_none().then_some(())).await;
    assert_in_time("killed", &host, Duration::from_secs(3), silent, &lateness);
    assert!(host.stop());
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vms_are_held_in_time_while_the_disk_hangs() {
    let lateness = Lateness::start();
    let dir = directory("disk");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start_sleepers(&dir, &leader, "127.91.6", &[], Stdio::inherit());
    leader.want(vec![intent(1)]);
    let vms = running(&leader, &host, 1).await;

    // A file of the second VM can't be opened and does not fail either, as on a disk that hangs.
    let file = dir.join("data/vms").join(VmId(2).to_string()).join("qemu.err");
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("directory");
    let path = CString::new(file.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the path ends with a zero and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    leader.want(vec![intent(1), intent(2)]);
    let starting = |r: &VmReport| r.vm == VmId(2) && r.phase == Phase::Starting;
    wait_for("the second VM's start", LONG, || leader.reports().into_iter().find(starting)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    leader.keep_silent(true);
    let silent = Instant::now();
    wait_for("the VM to be held", LONG, || (state(vms[0]) == Some('T')).then_some(())).await;
    assert_in_time("held", &host, Duration::ZERO, silent, &lateness);
    // The disk comes back. What waited for it does not start without a lease.
    drop(File::open(&file).expect("the other end"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!host.children("sleep").into_iter().any(executes), "a VM executes without a lease");
    assert!(host.stop());
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_stop_with_monitors_that_never_answer_is_fenced_in_time() {
    let lateness = Lateness::start();
    let dir = directory("stop");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start_sleepers(&dir, &leader, "127.91.4", &["--stop-vms"], Stdio::inherit());
    leader.want((1..=8).map(intent).collect());
    let vms = running(&leader, &host, 8).await;
    let _monitors = silent_monitors(&dir, 8);
    leader.keep_silent(true);
    let silent = Instant::now();
    signal(host.pid(), libc::SIGTERM);
    wait_for("every VM to be held", LONG, || (!vms.iter().any(|vm| executes(*vm))).then_some(())).await;
    assert_in_time("held", &host, Duration::ZERO, silent, &lateness);
    assert!(host.stop());
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_stop_gives_vms_their_ten_seconds_under_the_lease() {
    let lateness = Lateness::start();
    let dir = directory("power");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start_sleepers(&dir, &leader, "127.91.5", &["--stop-vms"], Stdio::inherit());
    leader.want(vec![intent(1), intent(2)]);
    let vms = running(&leader, &host, 2).await;
    let _monitors = silent_monitors(&dir, 1);
    let asked = Instant::now();
    signal(host.pid(), libc::SIGTERM);
    // One ends, as if by its power button; it is not started again.
    signal(vms[1], libc::SIGKILL);
    while asked.elapsed() < Duration::from_secs(9) {
        assert!(executes(vms[0]), "it does not execute after {:?}", asked.elapsed());
        assert!(host.children("sleep").iter().all(|there| vms.contains(there)), "a VM was started again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_for("the VM to be killed", LONG, || (!executes(vms[0])).then_some(())).await;
    assert!(host.stop());
    lateness.assert_within("stopped", asked, Duration::from_millis(11_500));
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_are_nicer_than_their_agent_however_nice_that_is() {
    // SAFETY: plain numbers; on this thread alone, and what it starts inherits it.
    let nice = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 3) };
    assert_eq!(nice, 0, "anybody may be nicer than before");
    let dir = directory("nice");
    let leader = Leader::start(&dir.join("pki"), "127.0.0.1:0".parse().expect("address")).await;
    let mut host = Host::start_sleepers(&dir, &leader, "127.91.8", &[], Stdio::null());
    leader.want(vec![intent(1)]);
    let guests = running(&leader, &host, 1).await;
    // SAFETY: plain numbers.
    let nice_of = |pid: u32| unsafe { libc::getpriority(libc::PRIO_PROCESS, pid) };
    let workers = host.children("worker");
    assert_eq!(workers.iter().map(|pid| nice_of(*pid)).collect::<Vec<_>>(), [3], "as it was started");
    assert_eq!(nice_of(guests[0]), 8);
    assert!(host.stop());
    drop(host);
    std::fs::remove_dir_all(dir).expect("remove");
}
