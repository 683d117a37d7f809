//! The region's own node on a host: started, watched, found again, removed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dwcp_mesh::{Ca, PeerId};
use dwcp_roles::protocol::{AgentMessage, Certified, ControlPlane, ControllerMessage, Hosting};

use super::agent::{Host, signal, state};
use super::leader::{FEDERATION, HOST, Leader, REGION};

const PATIENCE: Duration = Duration::from_secs(60);
/// Stands in for `dwcpd`: says what it was started with, and ends when it is asked to.
const SCRIPT: &str = "#!/bin/sh\necho \"started $*\"\nexec sleep 600\n";

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The process that the agent noted, while it is there.
fn node(dir: &Path) -> Option<u32> {
    let note = std::fs::read_to_string(dir.join("process")).ok()?;
    let pid = note.lines().nth(1)?.split(' ').next()?.parse().ok()?;
    state(pid).filter(|state| *state != 'Z').map(|_| pid)
}

fn temp(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("dwcp-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("temp dir");
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_runs_its_regions_node_until_nobody_wants_it() {
    let dir = temp("hosting");
    let day = Duration::from_secs(86_400);
    let ca = Ca::create(FEDERATION, day).expect("authority");
    let listen = SocketAddr::from(([127, 77, 93, 1], 0));
    let leader = Leader::start_under(&ca, &dir.join("pki"), listen, HOST).await;
    let host = Host::start_hosting(&dir, &leader, "127.77.93", SCRIPT);
    let wanted = ControlPlane { number: 6, ..ControlPlane::default() };
    leader.ask(ControllerMessage::Hosting(Hosting::Node(Box::new(wanted))));
    let public_key = until("a key to certify", || {
        leader.answers().into_iter().find_map(|answer| match answer {
            AgentMessage::Certify(asked) => Some(asked.public_key),
            _ => None,
        })
    })
    .await;
    let certify = |peer: &PeerId| {
        let certificate = ca.certify(&public_key, peer, &[], day).expect("a leaf");
        let certified = Certified { public_key: public_key.clone(), certificate, refused: String::new() };
        leader.ask(ControllerMessage::Certified(certified));
    };
    certify(&PeerId::Region { region: "mars".into(), number: 6 });
    until("a wrong certificate is told of", || host.log().contains("control-plane").then_some(())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let files = dir.join("data/control-plane");
    assert!(!files.join("node.pem").exists(), "the certificate of another region is not used");
    certify(&PeerId::Region { region: REGION.into(), number: 6 });
    let first = until("the node runs", || node(&files)).await;
    let mode = std::fs::metadata(files.join("node.key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let settings = std::fs::read_to_string(files.join("dwcpd.yaml")).expect("settings");
    assert!(settings.contains("joins: true") && settings.contains("127.77.93.2:7443"), "{settings}");
    let log = || std::fs::read_to_string(files.join("log")).unwrap_or_default();
    until("its log", || log().contains("started run --config dwcpd.yaml").then_some(())).await;

    signal(first, libc::SIGKILL);
    let second = until("it is started again", || node(&files).filter(|pid| *pid != first)).await;

    let worker = until("the worker", || host.children("worker").first().copied()).await;
    signal(worker, libc::SIGKILL);
    let next = |host: &Host| host.children("worker").first().copied().filter(|pid| *pid != worker);
    until("another worker", || next(&host)).await;
    until("it is back", || (leader.incarnation() == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(node(&files), Some(second), "the node is not touched");
    signal(second, libc::SIGKILL);
    until("one that was found is watched too", || node(&files).filter(|pid| *pid != second)).await;

    let last = node(&files).expect("a node");
    leader.ask(ControllerMessage::Hosting(Hosting::Nothing));
    until("nothing is left", || (!files.exists() && node(&files).is_none()).then_some(())).await;
    assert!(state(last).is_none_or(|state| state == 'Z'), "the process is gone");
    drop(host);
    std::fs::remove_dir_all(&dir).expect("remove");
}
