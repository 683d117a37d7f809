//! Certificates: who is let in.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use dwcp_mesh::{
    AgentEvent, AgentLink, AgentLinkConfig, Ca, Identity, Key, Limits, LinkTable, Mesh, MeshEvent, Peer,
    PeerId,
};
use tokio::sync::mpsc;

use crate::federation::{Federation, config, identity, until};

const HOUR: Duration = Duration::from_secs(3600);

fn region(name: &str, number: u64) -> PeerId {
    PeerId::Region { region: name.into(), number }
}

/// A third node with this identity dials node 1 of a federation: gives the reason of the refusal.
async fn refusal_of(stranger: Identity, known_as_peer: bool) -> String {
    let mut f = Federation::start(2, LinkTable::default(), Limits::default()).await;
    let mut peers = f.peers();
    if known_as_peer {
        let address = SocketAddr::from(([127, 78, 3, 1], 9));
        let mut all = peers.clone();
        all.push(Peer { node: 3, region: "ap-south-1".into(), address });
        f.regions[0].mesh.set_peers(all).expect("peers");
    }
    let (sender, mut events) = mpsc::channel(64);
    let mesh = Mesh::start(config(stranger, 3, f.wan.clone()), sender).expect("a mesh");
    peers.truncate(1);
    mesh.set_peers(peers).expect("peers");
    let event = f.regions[0].expect(|e| matches!(e, MeshEvent::Refused { .. }), 3000).await;
    assert!(f.regions[0].mesh.refused() > 0);
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, MeshEvent::Up { .. }), "a stranger must never see a link up");
    }
    mesh.shutdown().await;
    f.stop().await;
    match event {
        MeshEvent::Refused { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_authority_is_refused() {
    let other = Ca::create("test", HOUR).expect("a CA");
    let reason = refusal_of(identity(&other, &region("ap-south-1", 3)), true).await;
    println!("{reason}");
    assert!(!reason.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_no_peer_is_refused() {
    let f = Federation::start(1, LinkTable::default(), Limits::default()).await;
    let mut f1 = f;
    let stranger = identity(&f1.ca, &region("eu-west-1", 2));
    let (sender, _events) = mpsc::channel(64);
    let mesh = Mesh::start(config(stranger, 2, f1.wan.clone()), sender).expect("a mesh");
    mesh.set_peers(f1.peers()).expect("peers");
    let event = f1.regions[0].expect(|e| matches!(e, MeshEvent::Refused { .. }), 3000).await;
    assert!(format!("{event:?}").contains("eu-west-1, number 2, is not a peer"), "{event:?}");
    mesh.shutdown().await;
    f1.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_to_a_region_that_has_left_is_refused_when_one_of_its_name_comes_in() {
    let mut f = Federation::start(1, LinkTable::default(), Limits::default()).await;
    let old = identity(&f.ca, &region("ap-south-1", 3));
    let (sender, mut events) = mpsc::channel(64);
    let mesh = Mesh::start(config(old.clone(), 3, f.wan.clone()), sender.clone()).expect("a mesh");
    let address = mesh.local_addr().expect("an address");
    let anew = Peer { node: 9, region: "ap-south-1".into(), address };
    f.regions[0].mesh.set_peers(vec![anew]).expect("peers");
    mesh.set_peers(f.peers()).expect("peers");
    let mut told = String::new();
    for what in ["in place of region ap-south-1, number 9", "ap-south-1, number 3, is not a peer"] {
        while !told.contains(what) {
            let event = f.regions[0].expect(|_| true, 3000).await;
            assert!(!matches!(event, MeshEvent::Up { .. }), "{event:?}");
            told += &format!("{event:?}");
        }
    }
    let event = tokio::time::timeout(Duration::from_secs(3), events.recv()).await.expect("an event");
    assert!(matches!(event, Some(MeshEvent::Refused { .. })), "{event:?}");
    let mistaken = Mesh::start(config(old, 9, f.wan.clone()), sender).err().map(|e| e.to_string());
    assert!(mistaken.as_ref().is_some_and(|why| why.contains("this is number 9")), "{mistaken:?}");
    mesh.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_the_wrong_name_is_refused_by_the_dialer() {
    let f = Federation::start(2, LinkTable::default(), Limits::default()).await;
    let stranger = identity(&f.ca, &region("ap-south-1", 3));
    let (sender, mut events) = mpsc::channel(64);
    let mesh = Mesh::start(config(stranger, 3, f.wan.clone()), sender).expect("a mesh");
    let mut wrong = f.peers().remove(0);
    wrong.region = "sa-east-1".into();
    mesh.set_peers(vec![wrong]).expect("peers");
    let event = tokio::time::timeout(Duration::from_secs(3), events.recv()).await.expect("an event");
    assert!(format!("{event:?}").contains("answered in place of region sa-east-1"), "{event:?}");
    mesh.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_another_federation_is_refused_and_told() {
    let f = Federation::start(1, LinkTable::default(), Limits::default()).await;
    let other = Ca::create("other", HOUR).expect("a CA");
    let host = PeerId::Host { region: "us-east-1".into(), host: "host-1".into() };
    let issued = other.issue(&host, &[], HOUR).expect("a leaf");
    // It even trusts our authority, so only our check of its certificate can stop it.
    let both = format!("{}{}", f.ca.cert_pem(), other.cert_pem());
    let stranger = Identity::from_pem(&both, &issued.cert_pem, &issued.key_pem).expect("an identity");
    let endpoints = f.peers();
    let (sender, mut events) = mpsc::channel(64);
    let agent = AgentLink::start(AgentLinkConfig::new(stranger, endpoints, 1), sender).expect("an agent");
    let event = tokio::time::timeout(Duration::from_secs(3), events.recv()).await.expect("an event");
    assert!(matches!(event, Some(AgentEvent::Refused { .. })), "{event:?}");
    let mesh = f.regions[0].mesh.clone();
    until(2000, "the refusal is counted or the dialer refused us first", || {
        mesh.refused() > 0 || mesh.agents() == 0
    })
    .await;
    agent.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_leaf_is_refused() {
    let f = Federation::start(1, LinkTable::default(), Limits::default()).await;
    let mut f = f;
    let issued = f.ca.issue(&region("eu-west-1", 2), &[], Duration::ZERO).expect("a leaf");
    let expired =
        Identity::from_pem(f.ca.cert_pem(), &issued.cert_pem, &issued.key_pem).expect("an identity");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (sender, _events) = mpsc::channel(64);
    let mesh = Mesh::start(config(expired.clone(), 2, f.wan.clone()), sender).expect("a mesh");
    mesh.set_peers(f.peers()).expect("peers");
    let event = f.regions[0].expect(|e| matches!(e, MeshEvent::Refused { .. }), 3000).await;
    assert!(format!("{event:?}").to_lowercase().contains("expired"), "{event:?}");
    // A renewed leaf is used at once, without a restart.
    let peers = f.peers();
    let renewed = f.ca.issue(&region("eu-west-1", 2), &[], HOUR).expect("a leaf");
    let mut all = peers.clone();
    all.push(Peer { node: 2, region: "eu-west-1".into(), address: mesh.local_addr().expect("an address") });
    f.regions[0].mesh.set_peers(all).expect("peers");
    expired.swap(f.ca.cert_pem(), &renewed.cert_pem, &renewed.key_pem).expect("the same name");
    until(3000, "link up with the renewed leaf", || mesh.stats().first().is_some_and(|s| s.up)).await;
    mesh.shutdown().await;
    f.stop().await;
}

#[test]
fn certificates_survive_the_disk_and_keys_are_private() {
    let dir = std::env::temp_dir().join(format!("dwcp-pki-{}", std::process::id()));
    let ca = Ca::create("dev lab", HOUR).expect("a CA");
    ca.store(&dir).expect("stored");
    let loaded = Ca::load(&dir).expect("loaded");
    assert_eq!(loaded.federation(), "dev lab");
    let host = PeerId::Host { region: "Zürich 1".into(), host: "rack/3".into() };
    loaded.issue(&host, &[], 2 * HOUR).expect("a leaf").store(&dir, "host").expect("stored");
    let identity = Identity::load(&dir, "host").expect("an identity");
    assert_eq!((identity.federation().as_str(), identity.peer()), ("dev lab", host));
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(identity.not_after_unix().abs_diff(now + 7200) < 5);
    for key in ["ca.key", "host.key"] {
        let mode = std::fs::metadata(dir.join(key)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_leaf_for_a_key_made_elsewhere_works_with_that_key_and_no_other() {
    let ca = Ca::create("test", HOUR).expect("a CA");
    let (key, other) = (Key::generate().expect("a key"), Key::generate().expect("a key"));
    assert_eq!((key.public_point().len(), key.public_point()[0]), (65, 4));
    let leaf = ca.certify(key.public_point(), &region("us-east-1", 1), &[], HOUR).expect("a leaf");
    let identity = Identity::from_pem(ca.cert_pem(), &leaf, &key.pem()).expect("an identity");
    assert_eq!(identity.peer(), region("us-east-1", 1));
    let (begins, ends) = identity.life_unix();
    assert!((3_600..4_000).contains(&(ends - begins)), "{begins} to {ends}");
    assert!(Identity::from_pem(ca.cert_pem(), &leaf, &other.pem()).is_err(), "another key");
    let again = Key::from_pem(&key.pem()).expect("the same key");
    assert_eq!(again.public_point(), key.public_point());
    for wrong in [&key.public_point()[1..], &[0; 65], &[]] {
        assert!(ca.certify(wrong, &region("us-east-1", 1), &[], HOUR).is_err(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_key_made_elsewhere_is_let_in() {
    let f = Federation::start(2, LinkTable::default(), Limits::default()).await;
    let key = Key::generate().expect("a key");
    let leaf = f.ca.certify(key.public_point(), &region("ap-south-1", 3), &[], HOUR).expect("a leaf");
    let identity = Identity::from_pem(f.ca.cert_pem(), &leaf, &key.pem()).expect("an identity");
    let address = SocketAddr::from(([127, 78, 3, 1], 9));
    let mut all = f.peers();
    all.push(Peer { node: 3, region: "ap-south-1".into(), address });
    f.regions[0].mesh.set_peers(all).expect("peers");
    let (sender, mut events) = mpsc::channel(64);
    let mesh = Mesh::start(config(identity, 3, f.wan.clone()), sender).expect("a mesh");
    let mut first = f.peers();
    first.truncate(1);
    mesh.set_peers(first).expect("peers");
    let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("in time");
    assert_eq!(event, Some(MeshEvent::Up { node: 1 }));
    mesh.shutdown().await;
    f.stop().await;
}
