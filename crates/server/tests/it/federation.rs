//! Whole regions over real stores and links.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dwcp_roles::node::{Asked, Node, Reply, Request};
use dwcp_server::store::Store;
use dwcp_state::Freeze;
use dwcp_types::Code;

use crate::medium::Medium;
use crate::regions::Regions;

fn founded(node: &Node) -> bool {
    node.facts().core.regions.len() == 5
}

/// Every region's group is led at home, and this node knows it.
fn led_at_home(node: &Node) -> bool {
    (1..=5).all(|group| node.group(group).is_some_and(|status| status.leader == Some(group)))
}

fn has_leaders(node: &Node) -> bool {
    (0..=5).all(|group| node.group(group).is_some_and(|status| status.leader.is_some()))
}

fn frozen(node: &Node) -> bool {
    node.facts().core.freeze == Freeze::Frozen
}

fn whole(node: &Node) -> bool {
    (0..=5).all(|group| node.group(group).is_some_and(|status| !status.damaged))
}

/// Asks as a client does: what was not confirmed in time is asked again under its key.
async fn freeze(regions: &Regions, number: usize, freeze: Freeze) -> Reply {
    let key = Some(format!("freeze-{freeze:?}"));
    let asked = Asked { by: "test".to_owned(), key, digest: 1, ..Asked::default() };
    let ask = || regions.region(number).node.ask(Request::SetFreeze(asked.clone(), freeze));
    let mut reply = ask().await;
    for _ in 0..3 {
        match &reply {
            Reply::Refused(refusal) if refusal.code == Code::TimedOut => reply = ask().await,
            _ => break,
        }
    }
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_regions_elect_leaders_found_the_federation_and_remember_it() {
    let mut regions = Regions::new("found", 0);
    regions.start_all().await;
    regions.until("every node knows the founded federation", founded).await;
    regions.until("every region's group is led at home", led_at_home).await;
    let reply = freeze(&regions, 3, Freeze::Frozen).await;
    assert!(matches!(reply, Reply::Done(0, _)), "{reply:?}");
    regions.until("the change is known everywhere", frozen).await;
    regions.stop_all().await;

    regions.start_all().await;
    regions.until("the change is still known", frozen).await;
    regions.until("there are leaders again", has_leaders).await;
    let reply = freeze(&regions, 5, Freeze::Active).await;
    assert!(matches!(reply, Reply::Done(0, _)), "{reply:?}");
    regions.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_whose_store_was_damaged_is_repaired_by_the_others() {
    let mut regions = Regions::new("repair", 1);
    regions.start_all().await;
    regions.until("every node knows the founded federation", founded).await;
    let reply = freeze(&regions, 1, Freeze::Frozen).await;
    assert!(matches!(reply, Reply::Done(0, _)), "{reply:?}");
    regions.stop(4).await;
    damage(&regions.store_folder(4).join("store.redb"));
    regions.start(4).await;
    regions.until("the change is known everywhere again", frozen).await;
    regions.until("no replica is damaged", whole).await;
    let set_aside = std::fs::read_dir(regions.store_folder(4)).expect("folder").flatten();
    let names: Vec<String> =
        set_aside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("store.corrupt-")), "{names:?}");
    regions.stop_all().await;
}

/// Flips a bit of every page, so that one in use is hit.
fn damage(path: &std::path::Path) {
    let file = File::options().read(true).write(true).open(path).expect("the store's file");
    let bytes = file.metadata().expect("size").len();
    for page in 1..bytes / 4_096 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, page * 4_096 + 1_000).expect("read");
        file.write_all_at(&[byte[0] ^ 1], page * 4_096 + 1_000).expect("flipped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_whose_disk_is_full_acknowledges_nothing_and_the_others_go_on() {
    let mut regions = Regions::new("full", 2);
    let (medium, full) = Medium::new();
    regions.start_on(1, Store::on_medium(medium).expect("opens"));
    for number in 2..=5 {
        regions.start(number).await;
    }
    regions.until("every node knows the founded federation", founded).await;
    regions.until("every region's group is led at home", led_at_home).await;
    full.store(true, Ordering::SeqCst);
    let reply = freeze(&regions, 2, Freeze::Frozen).await;
    assert!(matches!(reply, Reply::Done(0, _)), "four of five are a majority: {reply:?}");
    let began = std::time::Instant::now();
    while !regions.failed.load(Ordering::SeqCst) {
        assert!(began.elapsed() < Duration::from_secs(10), "the failure was not reported");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    regions.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_about_to_stop_leads_nothing_any_more() {
    let mut regions = Regions::new("over", 3);
    regions.start_all().await;
    regions.until("every region's group is led at home", led_at_home).await;
    regions.region(2).hand_over(Duration::from_secs(5)).await;
    let leads = regions.region(2).node.look(|view| (0..=5).any(|group| view.node.leads(group))).await;
    assert_eq!(leads, Some(false));
    regions.stop(2).await;
    regions.until("the others have leaders", has_leaders).await;
    for number in [1, 3, 4, 5] {
        regions.stop(number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_still_reads_its_store_is_refused_and_answers_before_it_joins() {
    let regions = Regions::new("joins", 8);
    let address = regions.config(1).listen.mesh.clone();
    let (told, joined) = std::sync::mpsc::channel();
    let joins = move || {
        // The mesh has no socket yet, so nobody has heard of this node.
        let nobody_there = std::net::UdpSocket::bind(&address).is_ok();
        told.send(nobody_there).map_err(|e| e.to_string())
    };
    let region = regions.start_joining(1, Box::new(joins)).expect("started");
    assert_eq!(joined.try_iter().collect::<Vec<_>>(), [true], "once, and before the node is heard");
    region.stop().await;
    let mesh = &regions.config(2).listen.mesh;
    let failed = regions.start_joining(2, Box::new(|| Err("the door is somebody else's".to_owned())));
    assert_eq!(failed.err().as_deref(), Some("the door is somebody else's"));
    assert!(std::net::UdpSocket::bind(mesh).is_ok(), "it has not joined");
}
