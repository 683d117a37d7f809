//! Agents: their own region first, others meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dwcp_mesh::{
    AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle, Limits, Mesh, MeshConfig, MeshEvent, PeerId,
    Room, Sent,
};
use tokio::sync::mpsc;

use crate::federation::{Federation, PATIENCE, config, delay, identity, uniform};
use crate::lateness::Lateness;

pub fn agent(f: &Federation) -> (AgentLinkHandle, mpsc::Receiver<AgentEvent>) {
    let host = PeerId::Host { region: "us-east-1".into(), host: "host-1".into() };
    let (sender, events) = mpsc::channel(256);
    let settings = AgentLinkConfig {
        bind: SocketAddr::from(([127, 78, 1, 11], 0)),
        wan: Some(f.wan.clone()),
        ..AgentLinkConfig::new(identity(&f.ca, &host), f.peers(), 3)
    };
    (AgentLink::start(settings, sender).expect("an agent"), events)
}

async fn next(events: &mut mpsc::Receiver<AgentEvent>, within_ms: u64) -> AgentEvent {
    tokio::time::timeout(PATIENCE * Duration::from_millis(within_ms), events.recv())
        .await
        .unwrap_or_else(|_| panic!("nothing in {PATIENCE} times {within_ms} ms"))
        .expect("the link runs")
}

fn up(region: &str) -> AgentEvent {
    AgentEvent::Up { region: region.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_and_its_region_exchange_frames() {
    let mut f = Federation::start(1, uniform(delay(30)), Limits::default()).await;
    let (agent, mut events) = agent(&f);
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    let event = f.regions[0].expect(|e| matches!(e, MeshEvent::AgentUp { .. }), 1000).await;
    let MeshEvent::AgentUp { session, region, host, remote } = event else { panic!("{event:?}") };
    assert_eq!((region.as_str(), host.as_str()), ("us-east-1", "host-1"));
    assert_eq!(remote, agent.local_addr().expect("an address"));
    assert_eq!(agent.send(b"renew 1".to_vec()), Sent::Queued);
    let renew = MeshEvent::AgentFrame { session, bytes: b"renew 1".to_vec(), room: Room::default() };
    f.regions[0].expect(|e| *e == renew, 1000).await;
    assert_eq!(f.regions[0].mesh.send_agent(session, vec![7; 100_000]), Sent::Queued);
    assert_eq!(next(&mut events, 1000).await, AgentEvent::Frame { bytes: vec![7; 100_000] });
    agent.shutdown().await;
    f.regions[0].expect(|e| *e == MeshEvent::AgentDown { session }, 1000).await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_regions_does_not_cut_an_agent_from_its_own() {
    let mut f = Federation::start(2, uniform(delay(30)), Limits::default()).await;
    let (agent, mut events) = agent(&f);
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    f.edit(|t| t.set_region_cut("us-east-1", true));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(agent.send(b"still here".to_vec()), Sent::Queued);
    f.regions[0].expect(|e| matches!(e, MeshEvent::AgentFrame { .. }), 500).await;
    assert!(events.try_recv().is_err(), "nothing happened to the agent");
    agent.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_falls_back_to_another_region_and_returns() {
    let mut f = Federation::start(3, uniform(delay(30)), Limits::default()).await;
    let (agent, mut events) = agent(&f);
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    // The home region's server stops answering at once, without a goodbye.
    let home = f.regions[0].mesh.local_addr().expect("an address");
    f.edit(|t| {
        t.isolated.insert(home.ip());
    });
    let (start, lateness) = (Instant::now(), Lateness::start());
    assert_eq!(next(&mut events, 2000).await, AgentEvent::Down { region: "us-east-1".into() });
    let silent = start.elapsed();
    assert_eq!(next(&mut events, 2000).await, up("eu-west-1"));
    println!("given up after {silent:?}, linked to a fallback after {:?}", start.elapsed());
    lateness.assert_within("linked to a fallback", start, Duration::from_millis(2500));
    f.regions[1].expect(|e| matches!(e, MeshEvent::AgentUp { .. }), 1000).await;
    f.edit(|t| {
        t.isolated.clear();
    });
    let start = Instant::now();
    assert_eq!(next(&mut events, 4000).await, AgentEvent::Down { region: "eu-west-1".into() });
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    println!("returned after {:?}", start.elapsed());
    assert_eq!(agent.linked().map(|l| l.0), Some("us-east-1".into()));
    f.regions[1].expect(|e| matches!(e, MeshEvent::AgentDown { .. }), 1000).await;
    agent.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_finds_its_region_again_after_a_restart() {
    let f = Federation::start(1, uniform(delay(30)), Limits::default()).await;
    let (agent, mut events) = agent(&f);
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    let address = f.regions[0].mesh.local_addr().expect("an address");
    f.regions[0].mesh.shutdown().await;
    assert_eq!(next(&mut events, 1000).await, AgentEvent::Down { region: "us-east-1".into() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let leaf = identity(&f.ca, &PeerId::Region { region: "us-east-1".into(), number: 1 });
    let (sender, _keep) = mpsc::channel(64);
    let again = MeshConfig { listen: address, ..config(leaf, 1, f.wan.clone()) };
    let mut mesh = Mesh::start(again.clone(), sender.clone());
    let limit = Instant::now() + Duration::from_secs(2);
    while mesh.is_err() && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(20)).await;
        mesh = Mesh::start(again.clone(), sender.clone());
    }
    assert!(mesh.is_ok(), "the port is not free again: {:?}", mesh.err());
    let start = Instant::now();
    while next(&mut events, 3000).await != up("us-east-1") {}
    println!("linked again after {:?}", start.elapsed());
    agent.shutdown().await;
    mesh.expect("a mesh").shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_goes_over_to_its_region_when_it_is_told_of_it_later() {
    let f = Federation::start(2, uniform(delay(30)), Limits::default()).await;
    let at = |index: usize| f.peers()[index].clone();
    let host = PeerId::Host { region: "us-east-1".into(), host: "host-1".into() };
    let (sender, mut events) = mpsc::channel(256);
    let settings = AgentLinkConfig {
        bind: SocketAddr::from(([127, 78, 1, 11], 0)),
        wan: Some(f.wan.clone()),
        ..AgentLinkConfig::new(identity(&f.ca, &host), vec![at(1)], 3)
    };
    let agent = AgentLink::start(settings, sender).expect("an agent");
    let fallback = at(1).region;
    assert_eq!(next(&mut events, 1000).await, up(&fallback));
    agent.set_endpoints(vec![at(0), at(1)]);
    assert_eq!(next(&mut events, 3000).await, AgentEvent::Down { region: fallback });
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    agent.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_turns_agents_away_is_left_for_another_and_not_returned_to() {
    let f = Federation::start(2, uniform(delay(30)), Limits::default()).await;
    let (agent, mut events) = agent(&f);
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    f.regions[0].mesh.turn_agents_away("it takes no part");
    let (mut refused, mut linked) = (0, None);
    // Longer than a better endpoint is left alone.
    let end = Instant::now() + Duration::from_millis(4_000);
    while let Ok(event) = tokio::time::timeout_at(end.into(), events.recv()).await {
        match event.expect("the link runs") {
            AgentEvent::Up { region } => linked = Some(region),
            AgentEvent::Down { .. } => linked = None,
            AgentEvent::Refused { region, reason } => {
                assert_eq!(
                    (region.as_str(), reason.contains("it takes no part")),
                    ("us-east-1", true),
                    "{reason}"
                );
                refused += 1;
            }
            AgentEvent::Frame { .. } => {}
        }
    }
    assert_eq!(linked.as_deref(), Some("eu-west-1"));
    assert!(refused > 0, "it is tried again, and says why not");
    assert_eq!(f.regions[0].mesh.agents(), 0);
    agent.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_a_host_is_connected_beside_its_agent_and_each_replaces_only_itself() {
    let mut f = Federation::start(1, uniform(delay(5)), Limits::default()).await;
    let (agent, mut events) = agent(&f);
    assert_eq!(next(&mut events, 1000).await, up("us-east-1"));
    let host = PeerId::Host { region: "us-east-1".into(), host: "host-1".into() };
    let replica = |slot: u8| {
        let (sender, events) = mpsc::channel(256);
        let server = f.peers().remove(0);
        let settings = AgentLinkConfig {
            bind: SocketAddr::from(([127, 78, 1, 11], 0)),
            wan: Some(f.wan.clone()),
            ..AgentLinkConfig::of_replica(identity(&f.ca, &host), server, slot, 3)
        };
        (AgentLink::start(settings, sender).expect("a replica"), events)
    };
    let ((first, mut first_events), (second, mut second_events)) = (replica(0), replica(1));
    assert_eq!(next(&mut first_events, 1000).await, up("us-east-1"));
    assert_eq!(next(&mut second_events, 1000).await, up("us-east-1"));
    let is_first = |event: &MeshEvent| matches!(event, MeshEvent::ReplicaUp { slot: 0, .. });
    let event = f.regions[0].expect(is_first, 1000).await;
    let MeshEvent::ReplicaUp { session, region, host, .. } = event else { panic!("{event:?}") };
    assert_eq!((region.as_str(), host.as_str()), ("us-east-1", "host-1"));
    assert_eq!(first.send(b"decided".to_vec()), Sent::Queued);
    let decided = MeshEvent::ReplicaFrame { session, bytes: b"decided".to_vec(), room: Room::default() };
    f.regions[0].expect(|e| *e == decided, 1000).await;
    // More than any agent may be told at once.
    assert_eq!(f.regions[0].mesh.send_agent(session, vec![7; 5 << 20]), Sent::Queued);
    assert_eq!(next(&mut first_events, 5000).await, AgentEvent::Frame { bytes: vec![7; 5 << 20] });
    first.shutdown().await;
    f.regions[0].expect(|e| *e == MeshEvent::ReplicaDown { session }, 1000).await;
    assert_eq!(agent.send(b"renew".to_vec()), Sent::Queued);
    f.regions[0].expect(|e| matches!(e, MeshEvent::AgentFrame { .. }), 1000).await;
    assert!(
        events.try_recv().is_err() && second_events.try_recv().is_err(),
        "nothing happened to the others"
    );
    second.shutdown().await;
    agent.shutdown().await;
    f.stop().await;
}
