//! Disks kept on another host in points in time: each is whole or not there, whatever dies, and nothing holds the guest up.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use dwcp_roles::protocol::{
    ArrivalFrom, GuardPhase, GuardReport, NEVER_MS, Phase, Run, TransferTo, VmIntent,
};
use dwcp_types::VmId;

use super::agent::{images, request, signal, wait_for};
use super::leader::{HOST, REGION};
use super::qemu_protect::{Pair, THERE, Writer, with_disk};
use super::wanted::{LONG, report, running};

const INTERVAL_MS: u64 = 2_000;
/// What a report may be older than it says: it comes with the next renewal.
const ON_ITS_WAY: Duration = Duration::from_millis(1_000);
/// What is no older has just begun.
const BEGUN: Duration = Duration::from_millis(1_000);

/// What is said of the copy.
fn said(pair: &Pair) -> Option<GuardReport> {
    report(&pair.here, 7, |_| true)?.guard
}

/// The newest moment that the other host certainly holds, as its region would conclude.
fn point(pair: &Pair) -> Option<Instant> {
    let age_ms = said(pair).filter(|said| said.point_age_ms != NEVER_MS)?.point_age_ms;
    Instant::now().checked_sub(Duration::from_millis(age_ms) + ON_ITS_WAY)
}

async fn wait_point_after(pair: &Pair, moment: Instant) -> Instant {
    wait_for("a later point", LONG, || point(pair).filter(|at| *at > moment)).await
}

fn kept(pair: &Pair) -> PathBuf {
    pair.dir.join("b/data/replicas").join(VmId(7).to_string())
}

/// When each record was acknowledged.
fn watch(writer: &Writer) -> Arc<Mutex<Vec<(u64, Instant)>>> {
    let seen: Arc<Mutex<Vec<(u64, Instant)>>> = Arc::default();
    let (kept, all) = (seen.clone(), Arc::downgrade(&writer.acknowledged));
    std::thread::spawn(move || {
        while let Some(all) = all.upgrade() {
            let newest = all.lock().expect("lock").last_key_value().map(|(number, _)| *number);
            let mut kept = kept.lock().expect("lock");
            if let Some(newest) = newest.filter(|newest| kept.last().is_none_or(|(last, _)| last < newest)) {
                // Seen a moment later than it was: so it is looked for in too few points, never in too many.
                kept.push((newest, Instant::now()));
            }
            drop((kept, all));
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    seen
}

/// The numbers of the records that the VM has over there, of those up to `last`.
async fn there(pair: &Pair, last: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for number in 1..=last {
        let read = || {
            let answer = request(&pair.address_there, "GET", &format!("/record?{number}"), b"");
            answer.filter(|(status, _)| *status != 503)
        };
        let (status, body) = wait_for("an answer", LONG, read).await;
        if status == 200 && body == format!("record {number} of the writer").into_bytes() {
            found.push(number);
        }
    }
    found
}

/// The VM is started from its copy, on the other host.
async fn take_over(pair: &Pair) {
    pair.here.want(Vec::new());
    pair.there.keep(Vec::new());
    pair.there.want(vec![VmIntent { boot_replica: 1, ..with_disk(2) }]);
    running(&pair.there, 7, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_starts_from_its_newest_whole_point_though_all_dies_while_the_next_one_comes() {
    let Some(images) = images() else { return };
    let pair = Pair::start("points", &images, 30).await;
    pair.protect_each(1, false, INTERVAL_MS);
    running(&pair.here, 7, 1).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    let writer = Writer::start(&pair.address, 1);
    let seen = watch(&writer);
    writer.wait_for_more(20).await;
    // Two more points, each with what was acknowledged before it.
    let second = wait_point_after(&pair, Instant::now()).await;
    let third = wait_point_after(&pair, second + Duration::from_millis(INTERVAL_MS)).await;

    // A slow link: the next one takes long, and the hosts die while it is half there.
    pair.pace(Some(300_000)).await;
    let part = kept(&pair).join("delta.part");
    let half = || std::fs::metadata(&part).ok().filter(|part| part.len() > 0);
    wait_for("a point that is half there", LONG, half).await;
    let newest = point(&pair).expect("a point");
    // It may be the same one: by a newer report it seems up to so much older.
    assert!(newest + ON_ITS_WAY >= third);
    signal(pair.host.children("qemu-system")[0], libc::SIGKILL);
    signal(pair.keeper.children("worker")[0], libc::SIGKILL);
    let acknowledged = writer.finish();
    pair.pace(None).await;
    take_over(&pair).await;
    let last = *acknowledged.last_key_value().expect("records").0;
    let found = there(&pair, last).await;
    let before =
        seen.lock().expect("lock").iter().filter(|(_, at)| *at < newest).map(|(number, _)| *number).max();
    let before = before.expect("records before the newest point");
    eprintln!("{last} acknowledged, {before} before the point that was told, {} there", found.len());
    assert!(before >= 20);
    let all: Vec<u64> = (1..=found.len() as u64).collect();
    assert_eq!(found, all, "one moment of the disk: no record without those before it");
    assert!(found.len() as u64 >= before, "every record before the point is there");
    assert!((found.len() as u64) < last, "what came after it is not: the point was torn");
    assert!(pair.keeper.log().contains("point-thrown-away"), "{}", pair.keeper.log());
    assert!(!kept(&pair).exists());
    pair.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_writes_on_while_its_points_are_late_and_the_next_one_builds_on_the_last() {
    let Some(images) = images() else { return };
    let pair = Pair::start("points-cut", &images, 40).await;
    pair.protect_each(1, false, INTERVAL_MS);
    running(&pair.here, 7, 1).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    let writer = Writer::start(&pair.address, 1);
    writer.wait_for_more(10).await;

    pair.cut(true).await;
    pair.wait_phase(1, GuardPhase::Lost).await;
    let late = said(&pair).expect("a word");
    assert!(
        late.point_age_ms > 2 * INTERVAL_MS && late.reason.contains("each 2 s one is wanted"),
        "{late:?}"
    );
    let before = writer.count();
    writer.wait_for_more(30).await;
    eprintln!("{} records while the link was cut; told: {}", writer.count() - before, late.reason);
    pair.cut(false).await;
    pair.wait_phase(1, GuardPhase::Synced).await;

    // The worker dies while a point is made, with a filter over the guest's disk: the guest does not notice, the next worker
    // takes the filter away and goes on from the newest point.
    pair.pace(Some(300_000)).await;
    let old = pair.dir.join("a/data/vms").join(VmId(7).to_string()).join("point.qcow2");
    wait_for("a point that is made", LONG, || old.exists().then_some(())).await;
    signal(pair.host.children("worker")[0], libc::SIGKILL);
    let moment = Instant::now();
    writer.wait_for_more(20).await;
    pair.pace(None).await;
    wait_point_after(&pair, moment).await;
    let acknowledged = writer.finish();
    wait_point_after(&pair, Instant::now()).await;
    let whole = pair
        .host
        .log()
        .lines()
        .filter(|line| line.contains("point-made") && line.contains("\"since\":0"))
        .count();
    assert_eq!(whole, 1, "only the first was all of the disk: {}", pair.host.log());

    signal(pair.host.children("qemu-system")[0], libc::SIGKILL);
    take_over(&pair).await;
    let last = *acknowledged.last_key_value().expect("records").0;
    assert_eq!(there(&pair, last).await, (1..=last).collect::<Vec<u64>>());
    pair.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_of_the_guest_makes_a_whole_point_over_the_one_that_is_there() {
    let Some(images) = images() else { return };
    let pair = Pair::start("points-again", &images, 50).await;
    pair.protect_each(1, false, INTERVAL_MS);
    running(&pair.here, 7, 1).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    let writer = Writer::start(&pair.address, 1);
    writer.wait_for_more(10).await;
    let moment = Instant::now();
    signal(pair.host.children("qemu-system")[0], libc::SIGKILL);
    // It starts at once: what it writes takes nothing from the point that is there.
    writer.wait_for_more(10).await;
    wait_point_after(&pair, moment).await;
    let acknowledged = writer.finish();
    wait_point_after(&pair, Instant::now()).await;
    let taken: Vec<String> =
        pair.keeper.log().lines().filter(|line| line.contains("point-taken")).map(str::to_owned).collect();
    assert!(
        pair.host.log().lines().filter(|line| line.contains("\"since\":0")).count() >= 2,
        "all of it again"
    );
    eprintln!("{}", taken.join("\n"));
    signal(pair.host.children("qemu-system")[0], libc::SIGKILL);
    take_over(&pair).await;
    let last = *acknowledged.last_key_value().expect("records").0;
    assert_eq!(there(&pair, last).await, (1..=last).collect::<Vec<u64>>());
    pair.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_moves_while_a_point_is_made_and_takes_every_record_along() {
    let Some(images) = images() else { return };
    let pair = Pair::start("points-move", &images, 70).await;
    pair.protect_each(1, false, INTERVAL_MS);
    running(&pair.here, 7, 1).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    let writer = Writer::start(&pair.address, 1);
    writer.wait_for_more(20).await;
    // A point that begins on a link so slow goes on for seconds: one that began before may be about to end.
    pair.pace(Some(100_000)).await;
    let slow = SystemTime::now();
    let old = pair.dir.join("a/data/vms").join(VmId(7).to_string()).join("point.qcow2");
    let began = || std::fs::metadata(&old).and_then(|file| file.created()).ok();
    let has_begun = || began().filter(|at| *at > slow && at.elapsed().is_ok_and(|age| age < BEGUN)).map(drop);
    wait_for("a point that has just begun", LONG, has_begun).await;

    // What copies the disk away comes when the filter over it is gone, or the guest's writes would pass it by.
    let to = TransferTo {
        migration: 21,
        region: THERE.0.into(),
        host: THERE.1.into(),
        endpoint: pair.there.transfer(),
        generation: 2,
        max_downtime_ms: 100,
        rate_bytes_per_s: 0,
    };
    let protect = Some(pair.to(1, false, INTERVAL_MS));
    pair.here.want(vec![VmIntent { transfer: Some(to), protect, ..with_disk(1) }]);
    let from = ArrivalFrom { migration: 21, region: REGION.into(), host: HOST.into(), settling: false };
    pair.there.keep(Vec::new());
    pair.there.want(vec![VmIntent { arrival: Some(from), run: Run::Incoming, ..with_disk(2) }]);
    pair.pace(None).await;
    wait_for("the move", LONG, || report(&pair.here, 7, |of| of.phase == Phase::Moved)).await;
    let acknowledged = writer.finish();
    running(&pair.there, 7, 2).await;
    let last = *acknowledged.last_key_value().expect("records").0;
    assert_eq!(there(&pair, last).await, (1..=last).collect::<Vec<u64>>());
    // By whichever of the two came first: the move, or its keeper that is to keep nothing any more.
    assert!(pair.host.log().contains("point-not-made"), "{}", pair.host.log());
    pair.stop();
}
