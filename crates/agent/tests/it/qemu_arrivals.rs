//! Running VMs that move from one agent to another, as the two leaders want it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dwcp_mesh::Ca;
use dwcp_roles::protocol::{ArrivalFrom, Phase, Run, Stage, TransferTo, VmIntent, VmReport, VmSpec};
use dwcp_types::VmId;

use super::agent::{Host, ask_guest, images, request, signal, state, wait_for};
use super::leader::{FEDERATION, Leader, REGION};
use super::wanted::{LONG, directory, intent, report, running};

const VM: u64 = 7;
const MIGRATION: u64 = 21;

struct Pair {
    a: (Leader, Host),
    b: (Leader, Host),
    dirs: [PathBuf; 2],
}

async fn start(ca: &Ca, dir: &Path, images: &Path, host: &str, base: &str) -> (Leader, Host) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let leader = Leader::start_under(ca, &dir.join("pki"), listen, host).await;
    let host = Host::start(dir, &leader, images, base, &["--stop-vms"]);
    wait_for("its hello", LONG, || (!leader.transfer().is_empty()).then_some(())).await;
    (leader, host)
}

impl Pair {
    /// The VM runs at A, with a disk; B waits for it.
    async fn start(name: &str, networks: [u8; 2]) -> Option<Pair> {
        let images = images()?;
        let ca = Ca::create(FEDERATION, Duration::from_secs(86_400)).expect("an authority");
        let dirs = [directory(&format!("{name}-a")), directory(&format!("{name}-b"))];
        let base = |number: u8| format!("127.91.{number}");
        let a = start(&ca, &dirs[0], &images, "h1", &base(networks[0])).await;
        let b = start(&ca, &dirs[1], &images, "h2", &base(networks[1])).await;
        a.0.want(vec![wanted(1, Run::Running)]);
        running(&a.0, VM, 1).await;
        b.0.want(vec![arriving()]);
        wait_for("B to wait", LONG, || report(&b.0, VM, |r| r.phase == Phase::Arriving)).await;
        Some(Pair { a, b, dirs })
    }

    fn ticket(&self, rate_bytes_per_s: u64) -> TransferTo {
        TransferTo {
            migration: MIGRATION,
            region: REGION.into(),
            host: "h2".into(),
            endpoint: self.b.0.transfer(),
            generation: 2,
            max_downtime_ms: 100,
            rate_bytes_per_s,
        }
    }

    fn stop(mut self) {
        assert!(self.a.1.stop() && self.b.1.stop());
        drop((self.a, self.b));
        for dir in self.dirs {
            std::fs::remove_dir_all(dir).expect("remove");
        }
    }
}

fn wanted(generation: u64, run: Run) -> VmIntent {
    let plain = intent(VM, generation, run);
    VmIntent { spec: VmSpec { disk_gib: 1, memory_mib: 128, ..plain.spec.clone() }, ..plain }
}

fn arriving() -> VmIntent {
    let from = ArrivalFrom {
        migration: MIGRATION,
        region: REGION.into(),
        host: "h1".into(),
        ..ArrivalFrom::default()
    };
    VmIntent { arrival: Some(from), ..wanted(2, Run::Incoming) }
}

fn leaving(to: TransferTo) -> VmIntent {
    VmIntent { transfer: Some(to), ..wanted(1, Run::Running) }
}

async fn write(service: &str, text: &str) {
    let put = || request(service, "PUT", "/record", text.as_bytes()).filter(|(status, _)| *status == 200);
    wait_for("a write", LONG, put).await;
}

async fn new_worker(host: &Host, leader: &Leader) {
    let (worker, incarnation) = (host.children("worker")[0], leader.incarnation());
    signal(worker, libc::SIGKILL);
    wait_for("a new worker", LONG, || (leader.incarnation() > incarnation).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_vm_moves_from_agent_to_agent_and_its_old_host_keeps_nothing() {
    let Some(pair) = Pair::start("move", [11, 12]).await else { return };
    let (from, to) = ("127.91.11.32:8080", "127.91.12.32:8080");
    write(from, "before").await;
    let first = wait_for("an answer", LONG, || ask_guest(from)).await;
    let began = Instant::now();
    pair.a.0.want(vec![leaving(pair.ticket(0))]);
    wait_for("A to release it", LONG, || report(&pair.a.0, VM, |r| r.phase == Phase::Moved)).await;
    // B lets it go on because A said so; its leader still wants it to wait.
    let there = wait_for("an answer at B", LONG, || ask_guest(to)).await;
    eprintln!("answers at B {:?} after the move was wanted", began.elapsed());
    assert_eq!(there["boot_id"], first["boot_id"], "the same boot");
    assert!(there["counter"].as_u64() > first["counter"].as_u64());
    assert!(ask_guest(from).is_none(), "it no longer answers at A");
    running(&pair.b.0, VM, 2).await;
    let (_, record) = wait_for("the record", LONG, || request(to, "GET", "/record", b"")).await;
    assert_eq!(String::from_utf8_lossy(&record), "before");

    // An A that restarts does not run it again, whatever its leader has not heard yet.
    new_worker(&pair.a.1, &pair.a.0).await;
    wait_for("A to know", LONG, || report(&pair.a.0, VM, |r| r.phase == Phase::Moved)).await;
    assert!(ask_guest(from).is_none());
    pair.a.0.want(Vec::new());
    let gone = || (!pair.dirs[0].join("data/vms").join(VmId(VM).to_string()).exists()).then_some(());
    wait_for("nothing to be left at A", LONG, gone).await;

    // A B that restarts finds it running, and a disk that has its name.
    pair.b.0.want(vec![wanted(2, Run::Running)]);
    running(&pair.b.0, VM, 2).await;
    new_worker(&pair.b.1, &pair.b.0).await;
    running(&pair.b.0, VM, 2).await;
    let still = wait_for("an answer", LONG, || ask_guest(to)).await;
    assert_eq!(still["boot_id"], first["boot_id"], "the same boot");
    let has_disk = |r: &VmReport| r.disk == Some(true);
    wait_for("B to tell of its disk", LONG, || report(&pair.b.0, VM, has_disk)).await;
    let dir = pair.dirs[1].join("data/vms").join(VmId(VM).to_string());
    assert!(dir.join("disk.qcow2").exists() && !dir.join("arriving.qcow2").exists());
    write(to, "after").await;
    pair.stop();
}

/// Writes one record after the other until none is taken any more; the last that was acknowledged.
fn write_until_it_is_gone(service: &str) -> u64 {
    let (mut acknowledged, mut refused) = (0, 0);
    for number in 1u64.. {
        match request(service, "PUT", "/record", number.to_string().as_bytes()) {
            Some((200, _)) => (acknowledged, refused) = (number, 0),
            _ => refused += 1,
        }
        if refused == 5 {
            break;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emulator_that_dies_between_the_release_and_the_going_on_leaves_its_disk_with_every_record() {
    let Some(pair) = Pair::start("dies", [17, 18]).await else { return };
    let (from, to) = ("127.91.17.32:8080", "127.91.18.32:8080");
    write(from, "0").await;
    let first = wait_for("an answer", LONG, || ask_guest(from)).await;
    let writer = tokio::task::spawn_blocking(move || write_until_it_is_gone(from));
    pair.a.0.want(vec![leaving(pair.ticket(8 << 20))]);
    let copying = |r: &VmReport| r.transfer.as_ref().is_some_and(|t| t.bytes_done > 200_000);
    wait_for("the midst of the copy", LONG, || report(&pair.a.0, VM, copying)).await;
    // The release is not heard at B: by what is wanted there, it would have to come from somewhere else.
    let from_nobody = arriving().arrival.map(|of| ArrivalFrom { host: "h9".into(), ..of });
    pair.b.0.want(vec![VmIntent { arrival: from_nobody, ..arriving() }]);
    wait_for("A to release it", LONG, || report(&pair.a.0, VM, |r| r.phase == Phase::Moved)).await;
    let acknowledged = writer.await.expect("no panic");
    assert!(acknowledged > 0, "{acknowledged} records were acknowledged");
    let whole = |r: &VmReport| r.whole && r.phase == Phase::Arriving;
    wait_for("B to say that it has everything", LONG, || report(&pair.b.0, VM, whole)).await;
    signal(pair.b.1.children("qemu")[0], libc::SIGKILL);
    let ended = |r: &VmReport| r.whole && r.phase == Phase::Failed;
    wait_for("B to notice", LONG, || report(&pair.b.0, VM, ended)).await;

    // It is B's, and boots there from the disk that came.
    pair.b.0.want(vec![wanted(2, Run::Running)]);
    running(&pair.b.0, VM, 2).await;
    let other = wait_for("an answer at B", LONG, || ask_guest(to)).await;
    assert_ne!(other["boot_id"], first["boot_id"], "its memory is gone");
    let get = || request(to, "GET", "/record", b"").filter(|(status, _)| *status == 200);
    let (_, body) = wait_for("the record", LONG, get).await;
    let record: u64 = String::from_utf8_lossy(&body).parse().expect("a number");
    // One may have been written and not been acknowledged any more.
    assert!((acknowledged..=acknowledged + 1).contains(&record), "{record} after {acknowledged}");
    pair.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_in_the_midst_of_a_copy_leaves_the_vm_running() {
    let Some(pair) = Pair::start("midst", [13, 14]).await else { return };
    let from = "127.91.13.32:8080";
    write(from, "before").await;
    let first = wait_for("an answer", LONG, || ask_guest(from)).await;
    pair.a.0.want(vec![leaving(pair.ticket(1 << 20))]);
    let copying = |r: &VmReport| {
        r.transfer.as_ref().is_some_and(|t| t.stage == Stage::Memory && t.bytes_done > 200_000)
    };
    wait_for("the midst of the memory", LONG, || report(&pair.a.0, VM, copying)).await;
    let waiting = pair.b.1.children("qemu")[0];
    // Its leader gives the move up, so that the next worker does not begin it again.
    pair.a.0.want(vec![wanted(1, Run::Running)]);
    new_worker(&pair.a.1, &pair.a.0).await;
    running(&pair.a.0, VM, 1).await;
    let still = wait_for("an answer", LONG, || ask_guest(from)).await;
    assert_eq!(still["boot_id"], first["boot_id"], "the same boot");
    write(from, "after").await;
    // What waited at B ended, and no half disk is left to be booted from.
    wait_for("the emulator at B to end", LONG, || state(waiting).is_none_or(|s| s == 'Z').then_some(()))
        .await;
    pair.b.0.want(Vec::new());
    let dir = pair.dirs[1].join("data/vms").join(VmId(VM).to_string());
    wait_for("nothing to be left at B", LONG, || (!dir.exists()).then_some(())).await;
    pair.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_given_up_leaves_the_vm_running_and_says_so() {
    let Some(pair) = Pair::start("given-up", [15, 16]).await else { return };
    let from = "127.91.15.32:8080";
    let first = wait_for("an answer", LONG, || ask_guest(from)).await;
    pair.a.0.want(vec![leaving(pair.ticket(1 << 20))]);
    let copying = |r: &VmReport| r.transfer.as_ref().is_some_and(|t| t.bytes_done > 200_000);
    wait_for("the midst of the copy", LONG, || report(&pair.a.0, VM, copying)).await;
    pair.a.0.want(vec![wanted(1, Run::Running)]);
    let ended = |r: &VmReport| {
        r.phase == Phase::Running && r.transfer.as_ref().is_none_or(|t| t.stage == Stage::Failed)
    };
    wait_for("the copy to end", LONG, || report(&pair.a.0, VM, ended)).await;
    let still = wait_for("an answer", LONG, || ask_guest(from)).await;
    assert_eq!(still["boot_id"], first["boot_id"], "the same boot");

    // B is told to run it without a release: what is not whole does not go on, it boots.
    pair.a.0.want(Vec::new());
    pair.b.0.want(vec![wanted(2, Run::Running)]);
    running(&pair.b.0, VM, 2).await;
    let other = wait_for("an answer at B", LONG, || ask_guest("127.91.16.32:8080")).await;
    assert_ne!(other["boot_id"], first["boot_id"], "another boot");
    pair.stop();
}
