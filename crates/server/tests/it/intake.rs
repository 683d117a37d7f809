//! What comes in while the node is busy.

use std::time::Duration;

use dwcp_mesh::{
    AgentLink, AgentLinkConfig, Ca, Identity, Limits, Mesh, MeshConfig, NodeId, Peer, PeerId, Sent,
};
use dwcp_roles::node::Input;
use dwcp_server::handle::{NodeHandle, Task};
use dwcp_server::links;
use dwcp_server::log::Log;
use dwcp_server::program::fetch;
use dwcp_server::telemetry::Instruments;
use dwcp_server::telemetry::hosts::Hosts;
use tokio::sync::mpsc::{UnboundedReceiver, channel};

use crate::scratch::Scratch;

const DAY: Duration = Duration::from_secs(86_400);
const FRAMES: usize = 60;
const FRAME_BYTES: usize = 1 << 20;

/// Everything that waits, once nothing more has come for a while.
async fn waiting(inbox: &mut UnboundedReceiver<Task>) -> Vec<Task> {
    let mut waiting = Vec::new();
    while let Ok(Some(task)) = tokio::time::timeout(Duration::from_secs(2), inbox.recv()).await {
        waiting.push(task);
    }
    waiting
}

fn frames(tasks: &[Task]) -> usize {
    let frame = |task: &&Task| matches!(task, Task::Frame(Input::AgentFrame { .. }, _));
    tasks.iter().filter(frame).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_sends_without_end_takes_no_memory_without_end() {
    let scratch = Scratch::new("intake");
    let pki = scratch.path();
    let ca = Ca::create("test", DAY).expect("authority");
    ca.store(pki).expect("stored");
    let region = PeerId::Region { region: "us-east-1".into(), number: 1 };
    let host = PeerId::Host { region: "us-east-1".into(), host: "h1".into() };
    for (peer, name) in [(&region, "region"), (&host, "host")] {
        ca.issue(peer, &[], DAY).expect("issued").store(pki, name).expect("stored");
    }
    let identity = |name| Identity::load(pki, name).expect("identity");
    let (events, from_mesh) = channel(4_096);
    let config = MeshConfig {
        me: NodeId(1),
        federation: "test".into(),
        listen: "127.0.0.1:0".parse().expect("address"),
        identity: identity("region"),
        peers: Vec::new(),
        limits: Limits::default(),
        seed: 1,
        wan: None,
    };
    let mesh = Mesh::start(config, events).expect("mesh");
    let (door, mut inbox) = NodeHandle::new();
    tokio::spawn(links::pass_events(
        from_mesh,
        mesh.clone(),
        door,
        (fetch::door().0, fetch::door().0, fetch::door().0),
        Hosts::new(None, Log::silent("us-east-1"), Instruments::new("us-east-1")).0,
        Log::new("us-east-1"),
    ));

    // Zeros: a frame of a mebibyte is a few bytes on the wire.
    let address = mesh.local_addr().expect("address");
    let endpoint = Peer { node: 1, region: "us-east-1".to_string(), address };
    let (heard, mut news) = channel(16);
    let agent = AgentLink::start(AgentLinkConfig::new(identity("host"), vec![endpoint], 1), heard);
    let agent = agent.expect("agent");
    news.recv().await.expect("the link is up");
    let sender = agent.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..FRAMES {
            while sender.send(vec![0; FRAME_BYTES]) != Sent::Queued {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });

    // The node takes nothing: the sender has to wait.
    let first = waiting(&mut inbox).await;
    let bytes = frames(&first) * FRAME_BYTES;
    assert!(bytes > 0 && bytes <= Limits::default().agent_queue_bytes, "{bytes} bytes wait for the node");
    // It takes what is there, again and again: nothing was lost.
    let mut taken = frames(&first);
    drop(first);
    while taken < FRAMES {
        let more = frames(&waiting(&mut inbox).await);
        assert!(more > 0, "nothing more comes after {taken} frames");
        taken += more;
    }
    sending.await.expect("the sender ends");
    agent.shutdown().await;
    mesh.shutdown().await;
}
