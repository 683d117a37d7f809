//! A running guest moves between two emulators by way of a real transfer link, and stays where it is when that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dwcp_agent::mover::GuestState;
use dwcp_mesh::LinkShape;
use dwcp_roles::agent::Input;

use super::agent::{ask_guest, images, request, signal, wait_for};
use super::lateness::Lateness;
use super::pair::{Disk, MIGRATION, Pair, VM};
use super::wanted::LONG;

fn shape(delay_ms: u64, rate_bps: Option<u64>) -> LinkShape {
    LinkShape { delay_us: delay_ms * 1000, rate_bps, ..LinkShape::default() }
}

/// Boots at A, with B waiting.
async fn begun(name: &str, disk: Disk, shape: LinkShape, test: u8) -> Option<(Pair, serde_json::Value)> {
    let images = images()?;
    let mut pair = Pair::start(name, &images, disk, shape, test);
    pair.boot();
    let service = pair.a.service();
    let first = wait_for("the guest", LONG, || ask_guest(&service)).await;
    if disk != Disk::None {
        let there = || ask_guest(&service).filter(|told| told["disk_bytes"] == 256u64 << 20);
        wait_for("its disk", LONG, there).await;
        let put = || request(&service, "PUT", "/record", b"0").filter(|(status, _)| *status == 200);
        wait_for("a first record", LONG, put).await;
    }
    pair.wait_at_b();
    pair.b.mover.expect(pair.b.process(), MIGRATION, Some(pair.a.peer.clone()), pair.b.forwards());
    let ready = pair.b.next("B is ready").await;
    assert!(matches!(ready, Input::IncomingReady { result: Ok(()), .. }), "{ready:?}");
    Some((pair, first))
}

/// Writes one record after the other until it is dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(service: String) -> Writer {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (end, said) = (stop.clone(), acknowledged.clone());
        let thread = std::thread::spawn(move || {
            for number in 1u64.. {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let put = request(&service, "PUT", "/record", number.to_string().as_bytes());
                if put.is_some_and(|(status, _)| status == 200) {
                    said.store(number, Ordering::Relaxed);
                }
            }
        });
        Writer { stop, acknowledged, thread: Some(thread) }
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("a thread").join().expect("no panic");
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// Moves it and lets it go on at B.
async fn moved(pair: &mut Pair) {
    let began = Instant::now();
    pair.a.mover.begin(pair.a.process(), pair.ticket());
    pair.copied().await;
    eprintln!("copied after {:?}", began.elapsed());
    assert_eq!(pair.a.mover.look(pair.a.process()).await, Ok(GuestState::Still));
    assert_eq!(pair.b.mover.look(pair.b.process()).await, Ok(GuestState::Still));
    pair.a.mover.release(VM, pair.ticket());
    let released = pair.b.next("the release").await;
    let Input::Released { vm, generation, migration, from_region, from_host } = released else {
        panic!("{released:?}")
    };
    assert_eq!((vm, generation, migration), (VM, 2, MIGRATION));
    assert_eq!((from_region.as_str(), from_host.as_str()), ("r1", "h1"));
    pair.b.mover.go_on(pair.b.process(), pair.b.forwards());
    let went_on = pair.b.next("it goes on").await;
    assert!(matches!(went_on, Input::WentOn { result: Ok(()), .. }), "{went_on:?}");
    eprintln!("moved after {:?}", began.elapsed());
}

async fn assert_goes_on_at_b(pair: &Pair, first: &serde_json::Value) {
    let service = pair.b.service();
    let there = wait_for("the guest at B", LONG, || ask_guest(&service)).await;
    assert_eq!(there["boot_id"], first["boot_id"], "the same boot");
    assert!(there["counter"].as_u64() > first["counter"].as_u64(), "{there} after {first}");
    assert!(ask_guest(&pair.a.service()).is_none(), "it no longer answers at A");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_without_a_disk_moves_and_is_the_same_boot() {
    let Some((mut pair, first)) = begun("plain", Disk::None, shape(10, None), 41).await else { return };
    moved(&mut pair).await;
    assert_goes_on_at_b(&pair, &first).await;
    pair.stop().await;
}

/// Refused at once, or taken by somebody who may not answer.
fn is_refused(service: &str) -> bool {
    let address = service.parse().expect("an address");
    let told = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
    told.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_where_the_guest_does_not_run() {
    let Some((mut pair, first)) = begun("ports", Disk::None, shape(10, None), 52).await else { return };
    assert!(is_refused(&pair.b.service()), "B waits for the guest and takes whoever asks for it");
    pair.a.mover.begin(pair.a.process(), pair.ticket());
    pair.copied().await;
    assert!(!is_refused(&pair.a.service()), "it may still go on at A");
    assert!(is_refused(&pair.b.service()), "the guest is at B and does not run");
    pair.a.mover.part(pair.a.process(), pair.a.forwards());
    wait_for("A to refuse", LONG, || is_refused(&pair.a.service()).then_some(())).await;
    pair.b.mover.go_on(pair.b.process(), pair.b.forwards());
    let went_on = pair.b.next("it goes on").await;
    assert!(matches!(went_on, Input::WentOn { result: Ok(()), .. }), "{went_on:?}");
    assert_goes_on_at_b(&pair, &first).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_found_before_anything_is_copied() {
    let Some(images) = images() else { return };
    let mut pair = Pair::start("taken", &images, Disk::None, shape(1, None), 53);
    let taken = std::net::TcpListener::bind(pair.b.service()).expect("a port");
    pair.wait_at_b();
    pair.b.mover.expect(pair.b.process(), MIGRATION, None, pair.b.forwards());
    let ready = pair.b.next("B says so").await;
    let Input::IncomingReady { result: Err(error), .. } = ready else { panic!("{ready:?}") };
    assert!(error.contains("host forwarding rule"), "{error}");
    drop(taken);
    pair.stop().await;
}

async fn moves_with_a_disk(name: &str, disk: Disk, test: u8) {
    let Some((mut pair, first)) = begun(name, disk, shape(5, None), test).await else { return };
    let writer = Writer::start(pair.a.service());
    moved(&mut pair).await;
    assert_goes_on_at_b(&pair, &first).await;
    let acknowledged = writer.stop();
    let service = pair.b.service();
    let get = || request(&service, "GET", "/record", b"").filter(|(status, _)| *status == 200);
    let (_, body) = wait_for("the record", LONG, get).await;
    let record: u64 = String::from_utf8_lossy(&body).parse().expect("a number");
    assert!(acknowledged > 0, "{acknowledged} records were written meanwhile");
    // One may have been written and not been acknowledged any more.
    assert!((acknowledged..=acknowledged + 1).contains(&record), "{record} after {acknowledged}");
    pair.compare_disks();
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_moves_with_its_disk_and_every_record_that_was_acknowledged() {
    moves_with_a_disk("own", Disk::Own, 42).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_overlay_only_what_lies_above_the_base_is_sent_and_the_whole_is_the_same() {
    moves_with_a_disk("overlay", Disk::Overlay, 43).await;
}

/// The guest runs at A as if nothing had been, and nothing of the move is left in its emulator.
async fn assert_goes_on_at_a(pair: &mut Pair, first: &serde_json::Value, disk: bool) {
    assert_eq!(pair.a.mover.look(pair.a.process()).await, Ok(GuestState::Running));
    let service = pair.a.service();
    let there = wait_for("the guest at A", LONG, || ask_guest(&service)).await;
    assert_eq!(there["boot_id"], first["boot_id"], "the same boot");
    if disk {
        let put = || request(&service, "PUT", "/record", b"after").filter(|(status, _)| *status == 200);
        wait_for("a write", LONG, put).await;
    }
    let monitor = pair.a.mover.monitor(pair.a.process()).await.expect("a session");
    for query in ["query-block-jobs", "query-block-exports"] {
        let left = monitor.execute(query, serde_json::Value::Null, Duration::from_secs(5)).await;
        assert_eq!(left, Ok(serde_json::json!([])), "{query}");
    }
}

/// Begins a copy that takes long, and waits until it is in its midst.
async fn in_the_midst(pair: &mut Pair) {
    let slow = dwcp_roles::protocol::TransferTo { rate_bytes_per_s: 1 << 20, ..pair.ticket() };
    pair.a.mover.begin(pair.a.process(), slow);
    loop {
        match pair.a.inputs.recv().await {
            Some(Input::TransferProgress { report, .. }) if report.bytes_done > 100_000 => return,
            Some(Input::TransferProgress { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn failed(pair: &mut Pair) -> String {
    match pair.a.next("the copy fails").await {
        Input::TransferFailed { reason, generation: 1, migration: MIGRATION, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_link_is_cut_in_the_midst_the_guest_runs_on_and_the_other_emulator_ends() {
    for (disk, test) in [(Disk::None, 44), (Disk::Own, 45)] {
        let name = format!("cut-{test}");
        let Some((mut pair, first)) = begun(&name, disk, shape(10, None), test).await else { return };
        in_the_midst(&mut pair).await;
        let lateness = Lateness::start();
        let cut = Instant::now();
        pair.cut(true);
        let reason = failed(&mut pair).await;
        lateness.assert_within("failed", cut, Duration::from_millis(4_300));
        eprintln!("failed after {:?}: {reason}", cut.elapsed());
        assert_goes_on_at_a(&mut pair, &first, disk != Disk::None).await;
        if disk == Disk::None {
            wait_for("the emulator at B to end", LONG, || pair.b.is_gone().then_some(())).await;
        } else {
            // It has not begun to take memory, so it waits on; it never lets go of what it has.
            pair.b.mover.go_on(pair.b.process(), pair.b.forwards());
            let went_on = pair.b.next("it does not go on").await;
            assert!(matches!(went_on, Input::WentOn { result: Err(_), .. }), "{went_on:?}");
        }
        pair.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_other_emulator_is_killed_in_the_midst_the_guest_runs_on() {
    for (disk, test) in [(Disk::None, 46), (Disk::Own, 47)] {
        let name = format!("kill-{test}");
        let Some((mut pair, first)) = begun(&name, disk, shape(10, None), test).await else { return };
        in_the_midst(&mut pair).await;
        let lateness = Lateness::start();
        let killed = Instant::now();
        pair.b.kill();
        let reason = failed(&mut pair).await;
        lateness.assert_within("failed", killed, Duration::from_millis(4_300));
        eprintln!("failed after {:?}: {reason}", killed.elapsed());
        assert_goes_on_at_a(&mut pair, &first, disk != Disk::None).await;
        pair.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emulator_that_has_ended_before_the_copy_is_not_waited_for() {
    let Some((mut pair, first)) = begun("ended", Disk::None, shape(10, None), 53).await else { return };
    let process = pair.b.process();
    pair.b.kill();
    pair.b.mover.ended(process);
    let lateness = Lateness::start();
    let began = Instant::now();
    pair.a.mover.begin(pair.a.process(), pair.ticket());
    let reason = failed(&mut pair).await;
    lateness.assert_within("failed", began, Duration::from_millis(4_300));
    assert!(reason.contains("its emulator there ended"), "{reason}");
    assert_goes_on_at_a(&mut pair, &first, false).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_cancelled_leaves_the_guest_where_it_is_and_the_next_one_moves_it() {
    let Some((mut pair, first)) = begun("cancel", Disk::Own, shape(10, None), 48).await else { return };
    in_the_midst(&mut pair).await;
    pair.a.mover.cancel(VM, 1, MIGRATION);
    assert_eq!(failed(&mut pair).await, "it was cancelled");
    assert_goes_on_at_a(&mut pair, &first, true).await;
    pair.a.mover.cancel(VM, 1, MIGRATION);
    assert_eq!(failed(&mut pair).await, "no such copy is going on here");

    // What waited at B is of no use any more; another waits for another try.
    pair.b.kill();
    pair.b.mover.ended(pair.b.process());
    std::fs::remove_file(pair.b.dir.join("arriving.qcow2")).expect("remove");
    pair.wait_at_b();
    pair.b.mover.expect(pair.b.process(), MIGRATION, None, pair.b.forwards());
    let ready = pair.b.next("B is ready").await;
    assert!(matches!(ready, Input::IncomingReady { result: Ok(()), .. }), "{ready:?}");
    moved(&mut pair).await;
    assert_goes_on_at_b(&pair, &first).await;
    pair.compare_disks();
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_was_copied_and_not_released_is_kept_and_the_wrong_host_sends_nothing() {
    let Some((mut pair, first)) = begun("kept", Disk::Own, shape(1, None), 49).await else { return };
    // B expects it by another migration, then from another host.
    let other = dwcp_roles::protocol::TransferTo { migration: 1, ..pair.ticket() };
    pair.a.mover.begin(pair.a.process(), other);
    let refused = pair.a.next("the refusal").await;
    let Input::TransferFailed { reason, migration: 1, .. } = refused else { panic!("{refused:?}") };
    assert!(reason.contains("the other host refuses") && reason.contains("migration 1 "), "{reason}");
    assert_goes_on_at_a(&mut pair, &first, true).await;

    pair.a.mover.begin(pair.a.process(), pair.ticket());
    pair.copied().await;
    assert!(ask_guest(&pair.a.service()).is_none(), "it stands still");
    pair.a.mover.keep(pair.a.process());
    let service = pair.a.service();
    wait_for("the guest at A", LONG, || ask_guest(&service)).await;
    assert_goes_on_at_a(&mut pair, &first, true).await;
    assert_eq!(pair.b.mover.look(pair.b.process()).await, Ok(GuestState::Still), "nobody let it go on");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_not_put_over_another_base_than_its_own() {
    let Some((mut pair, first)) = begun("base", Disk::OtherBase, shape(1, None), 50).await else { return };
    pair.a.mover.begin(pair.a.process(), pair.ticket());
    let reason = failed(&mut pair).await;
    assert!(reason.contains("the images of the two hosts differ"), "{reason}");
    assert_goes_on_at_a(&mut pair, &first, true).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_whose_emulator_is_held_still_in_the_midst_goes_on_when_it_is_let_go() {
    let Some((mut pair, first)) = begun("held", Disk::Own, shape(1, None), 51).await else { return };
    in_the_midst(&mut pair).await;
    let pid = pair.a.process().pid;
    signal(pid, libc::SIGSTOP);
    // Long enough for the monitor to be given up.
    tokio::time::sleep(Duration::from_secs(7)).await;
    while let Ok(input) = pair.a.inputs.try_recv() {
        assert!(matches!(input, Input::TransferProgress { .. }), "it has not failed yet: {input:?}");
    }
    signal(pid, libc::SIGCONT);
    let reason = failed(&mut pair).await;
    eprintln!("failed: {reason}");
    assert_goes_on_at_a(&mut pair, &first, true).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_not_given_away_before_the_other_host_has_noted_that_it_has_everything() {
    let Some((mut pair, first)) = begun("noted", Disk::Own, shape(5, None), 54).await else { return };
    pair.a.mover.begin(pair.a.process(), pair.ticket());
    let whole = pair.b.next("everything is at B").await;
    assert!(matches!(whole, Input::ArrivedWhole { generation: 2, migration: MIGRATION, .. }), "{whole:?}");
    // Its disk has its name already: whatever becomes of its process, it starts from there.
    let has = |name: &str| pair.b.dir.join(name).exists();
    assert!(has("disk.qcow2") && !has("arriving.qcow2"));
    // B can't note it. Both emulators have everything, and A keeps its guest still and to itself.
    tokio::time::sleep(Duration::from_secs(2)).await;
    while let Ok(input) = pair.a.inputs.try_recv() {
        assert!(matches!(input, Input::TransferProgress { .. }), "not before B says so: {input:?}");
    }
    assert_eq!(pair.a.mover.look(pair.a.process()).await, Ok(GuestState::Still));
    pair.cut(true);
    failed(&mut pair).await;
    assert_goes_on_at_a(&mut pair, &first, true).await;
    pair.stop().await;
}
