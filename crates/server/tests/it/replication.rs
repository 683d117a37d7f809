//! How state is replicated, as it is set, in five whole regions.

use dwcp_roles::node::{Asked, Node, Reply, Request};
use dwcp_state::Policy;

use crate::regions::Regions;

fn led_at_home(node: &Node) -> bool {
    (1..=5).all(|group| node.group(group).is_some_and(|status| status.leader == Some(group)))
}

async fn set(regions: &Regions, key: &str, change: impl FnOnce(&mut Policy)) {
    let node = &regions.region(2).node;
    let mut policy = node.look(|view| view.node.facts().core.policy.clone()).await.expect("the node runs");
    change(&mut policy);
    let asked = Asked { by: "test".to_owned(), key: Some(key.to_owned()), digest: 1, ..Asked::default() };
    let reply = node.ask(Request::SetPolicy(asked, policy)).await;
    assert!(matches!(reply, Reply::Done(0, _)), "{reply:?}");
}

/// Every other region says that it does so.
fn all_say(node: &Node, append_messages: u32, plain_frames: bool) -> bool {
    let says = |view: &dwcp_roles::node::PeerView| {
        let found =
            view.beat.as_ref().map(|beat| (beat.measures.append_messages, beat.measures.plain_frames));
        found == Some((append_messages, plain_frames))
    };
    node.peers().len() == 4 && node.peers().values().all(says)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_is_so_in_every_region_at_once_and_soft_state_waits_while_beats_do_not() {
    let mut regions = Regions::new("replication", 10);
    regions.start_all().await;
    regions.until("every region's group is led at home", led_at_home).await;
    regions.until("every region does as the product does", |node| all_say(node, 256, false)).await;
    set(&regions, "on", |policy| {
        (policy.replication_workers, policy.plain_frames, policy.soft_state_every_ms) = (20, true, 4_000);
    })
    .await;
    regions.until("every region does as is set", |node| all_say(node, 640, true)).await;
    let waits = |node: &Node| {
        let old = |view: &dwcp_roles::node::PeerView| view.heard.ms_since(view.told) > 1_500;
        let beats = node.peers().keys().all(|peer| node.silent_ms(*peer) < 1_500);
        // What was told before still holds.
        let holds =
            |view: &dwcp_roles::node::PeerView| view.beat.as_ref().is_some_and(|beat| !beat.links.is_empty());
        beats && node.peers().values().any(old) && node.peers().values().all(holds)
    };
    regions.until("soft state grows old while beats come", waits).await;
    set(&regions, "off", |policy| {
        *policy = Policy { auto_failover: policy.auto_failover, ..Policy::default() }
    })
    .await;
    regions.until("every region does as before", |node| all_say(node, 256, false)).await;
    let told = |node: &Node| node.peers().values().all(|view| view.heard == view.told);
    regions.until("soft state comes with every beat", told).await;
    regions.stop_all().await;
}
