//! Programs of a region's server: kept, signed, tried, rolled back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dwcp_roles::node::{Asked, Node, Reply, Request, SwitchOrder};
use dwcp_server::dev::{self, DevPlan};
use dwcp_server::program::{Programs, State, digest_of, signature};
use dwcp_state::Release;
use dwcp_types::{Code, OperationId};

use crate::regions::Regions;
use crate::scratch::Scratch;

fn order(sha256: &str) -> SwitchOrder {
    SwitchOrder { operation: OperationId(7), version: "9".into(), sha256: sha256.into() }
}

#[test]
fn a_program_comes_in_pieces_and_counts_only_with_the_bytes_of_its_digest() {
    let scratch = Scratch::new("pieces");
    let programs = Programs::in_folder(scratch.path());
    let bytes = b"a program".repeat(1_000);
    let whole = scratch.path().join("whole");
    std::fs::write(&whole, &bytes).unwrap();
    let sha256 = digest_of(&whole).unwrap();
    let (first, rest) = bytes.split_at(4_000);
    assert_eq!(programs.add(&sha256, 0, first).unwrap(), 4_000);
    assert_eq!(programs.add(&sha256, 0, first).unwrap(), 4_000, "the same piece again adds nothing");
    assert_eq!(programs.add(&sha256, 5_000, rest).unwrap(), 4_000, "nor does one behind a hole");
    // Another process goes on.
    let programs = Programs::in_folder(scratch.path());
    assert_eq!(programs.add(&sha256, 4_000, rest).unwrap(), bytes.len() as u64);
    programs.finish(&sha256).unwrap();
    assert_eq!(programs.whole(), std::slice::from_ref(&sha256));
    assert_eq!(std::fs::metadata(programs.path(&sha256)).unwrap().permissions().mode() & 0o777, 0o755);
    let other = "0".repeat(64);
    programs.add(&other, 0, &bytes).unwrap();
    assert!(programs.finish(&other).is_err());
    assert_eq!((programs.come(&other), programs.whole()), (0, vec![sha256.clone()]), "it begins anew");
    programs.keep(std::slice::from_ref(&sha256), Duration::ZERO);
    assert_eq!(programs.whole().len(), 1);
    programs.keep(&[], Duration::from_secs(600));
    assert_eq!(programs.whole().len(), 1, "it may have been handed in just now");
    programs.keep(&[], Duration::ZERO);
    assert!(programs.whole().is_empty(), "nobody wants it");
}

#[test]
fn what_runs_or_may_run_again_is_kept() {
    let scratch = Scratch::new("kept");
    let programs = Programs::in_folder(scratch.path());
    let mut digests = Vec::new();
    for text in ["good", "tried", "old"] {
        let path = scratch.path().join(text);
        std::fs::write(&path, text).unwrap();
        let sha256 = digest_of(&path).unwrap();
        programs.add(&sha256, 0, text.as_bytes()).unwrap();
        programs.finish(&sha256).unwrap();
        digests.push(sha256);
    }
    programs.save(&State { good: digests[0].clone(), ..State::default() }).unwrap();
    programs.begin(&order(&digests[1])).unwrap();
    programs.keep(&[], Duration::ZERO);
    let mut left = digests[..2].to_vec();
    left.sort();
    assert_eq!(programs.whole(), left);
    let state = programs.go_back("it ended").unwrap();
    assert_eq!((state.good, state.trying), (digests[0].clone(), None));
    assert_eq!(
        state.ended.map(|ended| (ended.operation, ended.well, ended.why)),
        Some((7, false, "it ended".into()))
    );
}

#[test]
fn a_program_is_run_only_as_a_known_key_signed_it() {
    let scratch = Scratch::new("signed");
    let (key, program) = (scratch.path().join("key"), scratch.path().join("program"));
    std::fs::write(&program, "a program").unwrap();
    let public = signature::make_key(&key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = signature::sign(&key, &program, Some("v9.1"), Some(3)).unwrap();
    let release = described(&text);
    assert_eq!((release.version.as_str(), release.level, release.bytes), ("9.1", 3, 9));
    let keys = ["0".repeat(64), public];
    signature::check(&release, &keys).unwrap();
    let refused = |release: &Release, keys: &[String]| {
        signature::check(release, keys).expect_err("it is refused").code == Code::ReleaseRefused
    };
    assert!(refused(&release, &keys[..1]), "no such key here");
    for changed in [
        Release { version: "9.2".into(), ..release.clone() },
        Release { level: 4, ..release.clone() },
        Release { sha256: "0".repeat(64), ..release.clone() },
        Release { bytes: 10, ..release.clone() },
        Release { platform: "s390x-linux".into(), ..release.clone() },
        Release { signature: "zz".into(), ..release.clone() },
    ] {
        assert!(refused(&changed, &keys), "{changed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_comes_from_another_region_and_only_to_who_knows_its_key() {
    let scratch = Scratch::new("travels");
    let (key, program) = (scratch.path().join("key"), scratch.path().join("program"));
    // Several rounds of pieces, the last one not whole.
    let bytes: Vec<u8> = (0..5_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&program, &bytes).unwrap();
    let mut regions = Regions::new("travels-to", 9);
    regions.trust(&signature::make_key(&key).unwrap());
    let release = described(&signature::sign(&key, &program, Some("9"), Some(1)).unwrap());
    let given = regions.programs(2);
    given.add(&release.sha256, 0, &bytes).unwrap();
    given.finish(&release.sha256).unwrap();
    // One of them has begun before.
    regions.programs(1).add(&release.sha256, 0, &bytes[..1_000_000]).unwrap();
    regions.start_all().await;
    let founded = |node: &Node| node.facts().core.regions.len() == 5;
    regions.until("every node knows the federation", founded).await;
    let asked = Asked { by: "test".to_owned(), ..Asked::default() };
    let publish = Request::PublishRelease(asked, Box::new(release.clone()));
    let reply = regions.region(3).node.ask(publish).await;
    assert!(matches!(reply, Reply::Done(0, _)), "{reply:?}");
    let there = |number: usize| regions.programs(number).whole() == [release.sha256.clone()];
    let began = Instant::now();
    while !(1..=4).all(there) {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lacks =
        |node: &Node| node.program_of(5).is_some_and(|program| program.lacks.contains("none of the 0"));
    regions.until("the last one says why it has it not", lacks).await;
    assert!(!there(5));
    assert_eq!(std::fs::read(regions.programs(4).path(&release.sha256)).unwrap(), bytes);
    regions.stop_all().await;
}

fn described(text: &str) -> Release {
    let signed: serde_json::Value = serde_json::from_str(text).unwrap();
    let field = |name: &str| signed[name].as_str().unwrap().to_owned();
    Release {
        version: field("version"),
        level: signed["level"].as_u64().unwrap(),
        sha256: field("sha256"),
        bytes: signed["bytes"].as_u64().unwrap(),
        platform: field("platform"),
        key: field("key"),
        signature: field("signature"),
        ..Release::default()
    }
}

/// A region alone, as a real process.
struct Lone {
    scratch: Scratch,
    config: PathBuf,
    process: Option<Child>,
}

impl Lone {
    fn new(name: &str) -> Lone {
        let scratch = Scratch::new(name);
        dev::init(
            scratch.path(),
            DevPlan { regions: 1, hosts_per_region: 1, pools: 0, store: dev::Kept::default() },
        )
        .unwrap();
        let config = scratch.path().join("config/us-east-1.yaml");
        // Addresses of this test's own.
        let text = std::fs::read_to_string(&config).unwrap().replace("127.77.1.1:7443", "127.0.0.1:0");
        std::fs::write(&config, text).unwrap();
        Lone { scratch, config, process: None }
    }

    fn programs(&self) -> Programs {
        Programs::in_folder(&self.scratch.path().join("data/us-east-1"))
    }

    /// Keeps a program as if it had been fetched.
    fn keep(&self, script: &str) -> String {
        let path = self.scratch.path().join("script");
        std::fs::write(&path, script).unwrap();
        let sha256 = digest_of(&path).unwrap();
        self.programs().add(&sha256, 0, script.as_bytes()).unwrap();
        self.programs().finish(&sha256).unwrap();
        sha256
    }

    fn start(&mut self) -> u32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dwcpd"));
        command.arg("run").arg("--config").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let pid = child.id();
        self.process = Some(child);
        pid
    }

    fn signal(&self, pid: u32, signal: i32) {
        // SAFETY: a number of a process that this test started.
        unsafe { libc::kill(pid as i32, signal) };
    }

    fn lives(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits until `program.json` says so.
    fn wait(&self, what: &str, says: impl Fn(&State) -> bool) -> State {
        let began = Instant::now();
        loop {
            let state = self.programs().state().unwrap_or_default();
            if says(&state) {
                return state;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {state:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn program_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe")).ok()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_program_that_ends_is_rolled_back_and_the_region_runs_on_under_the_same_process() {
    let mut lone = Lone::new("ends");
    let sha256 = lone.keep("#!/bin/sh\nexit 3\n");
    lone.programs().begin(&order(&sha256)).unwrap();
    let pid = lone.start();
    let state = lone.wait("rolled back", |state| state.ended.is_some());
    let ended = state.ended.unwrap();
    assert!(!ended.well && ended.operation == 7 && ended.why.contains('3'), "{ended:?}");
    assert_eq!((state.trying, state.good), (None, String::new()));
    until("the store is in use", || lone.scratch.path().join("data/us-east-1/store/lock").exists());
    std::thread::sleep(Duration::from_millis(500));
    assert!(lone.lives() && children(pid).is_empty());
}

#[test]
fn a_program_that_is_well_stays_dies_with_its_launcher_and_is_what_the_next_start_runs() {
    let mut lone = Lone::new("stays");
    let real = env!("CARGO_BIN_EXE_dwcpd");
    let sha256 = lone.keep(&format!("#!/bin/sh\nexec {real} \"$@\"\n"));
    lone.programs().begin(&order(&sha256)).unwrap();
    let pid = lone.start();
    // Whoever kills it during its trial has it started again.
    until("it is tried", || !children(pid).is_empty());
    lone.signal(children(pid)[0], libc::SIGKILL);
    let state = lone.wait("well", |state| state.trying.is_none());
    assert_eq!(state.good, sha256);
    assert!(state.ended.is_some_and(|ended| ended.well));
    let child = children(pid)[0];
    lone.signal(pid, libc::SIGKILL);
    until("it dies with its launcher", || program_of(child).is_none());
    assert!(!lone.lives());
    let pid = lone.start();
    until("the good program runs", || {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let wanted = format!("DWCPD_PROGRAM={sha256}");
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    });
    assert!(children(pid).is_empty(), "in the very process that was started");
    lone.signal(pid, libc::SIGTERM);
    until("it ends", || !lone.lives());
}
