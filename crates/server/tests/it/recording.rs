//! What a node that really runs writes down is what it did.

use std::path::Path;
use std::time::Duration;

use dwcp_roles::node::{Asked, Node, Request};
use dwcp_roles::recording::replay::Replay;
use dwcp_roles::recording::{Records, from_memory};
use dwcp_server::record::Recorder;
use dwcp_state::Freeze;

use crate::regions::Regions;
use crate::scratch::Scratch;

fn founded(node: &Node) -> bool {
    node.facts().core.regions.len() == 5
}

fn frozen(node: &Node) -> bool {
    node.facts().core.freeze == Freeze::Frozen
}

/// Runs a recording again: steps that decided the same, and the step that did not.
fn replayed(file: &Path) -> (u64, Option<String>) {
    let bytes = std::fs::read(file).expect("the recording");
    let records = Records::new(from_memory(&bytes)).expect("it is one");
    let mut replay = Replay::open(records).expect("the node opens again");
    let mut steps = 0;
    while let Some(step) = replay.next_step().expect("it is whole") {
        let taken = replay.take(step);
        match replay.recorded().expect("it is whole") {
            Some(recorded) if recorded == taken.decided => steps += 1,
            other => return (steps, Some(format!("{other:?} and not {:?}", taken.decided))),
        }
    }
    assert!(frozen(replay.node()), "the node ends with what it knew");
    (steps, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_recorded_decides_the_same_again_also_from_a_disk_with_a_past() {
    let mut regions = Regions::new("record", 4);
    let (first, second) = (regions.recording("first"), regions.recording("second"));
    regions.start_recorded(1, &first).await;
    for number in 2..=5 {
        regions.start(number).await;
    }
    regions.until("every node knows the founded federation", founded).await;
    let asked = Asked { by: "test".to_owned(), ..Asked::default() };
    regions.region(1).node.ask(Request::SetFreeze(asked, Freeze::Frozen)).await;
    regions.until("the change is known everywhere", frozen).await;
    regions.stop(1).await;
    regions.start_recorded(1, &second).await;
    regions.until("the change is still known", frozen).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    regions.stop_all().await;
    for file in [&first, &second] {
        let (steps, difference) = replayed(file);
        assert_eq!(difference, None, "after {steps} steps");
        assert!(steps > 50, "{steps} steps");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&first).expect("file").permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
}

#[test]
fn recordings_of_three_earlier_lives_are_kept() {
    let scratch = Scratch::new("lives");
    let file = scratch.path().join("a.rec");
    for life in ["first", "second", "third", "fourth", "fifth"] {
        for _start_that_came_to_nothing in 0..3 {
            drop(Recorder::create(&file).expect("a recording begins"));
        }
        std::fs::write(&file, life).expect("and is written");
    }
    let read = |name: &str| std::fs::read_to_string(scratch.path().join(name)).ok();
    let kept = ["a.rec", "a.rec.1", "a.rec.2", "a.rec.3", "a.rec.4"].map(read);
    let expected = ["fifth", "fourth", "third", "second"].map(|life| Some(life.to_owned()));
    assert_eq!(kept[..4], expected);
    assert_eq!(kept[4], None);
}
