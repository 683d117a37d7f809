//! The store in etcd: lost answers, crashes at every step, owners that come back, members that die.

use std::path::Path;
use std::time::Duration;

use dwcp_consensus::{Batch, Disk};
use dwcp_mesh::{Ca, PeerId, San};
use dwcp_server::log::Log;
use dwcp_server::store::etcd::Place;
use dwcp_server::store::{Opened, Store, StoreError};
use serde_json::json;

use crate::cluster::{Cluster, Fault, Line};
use crate::scratch::Scratch;

type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn put(key: &str, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    (key.as_bytes().to_vec(), key.bytes().cycle().take(bytes).collect())
}

fn batch(puts: Records) -> Batch {
    Batch { puts, ..Batch::default() }
}

fn try_open(folder: &Path, place: &Place) -> Result<Opened, StoreError> {
    Store::open_etcd(folder, place, &Log::silent("test"))
}

fn open(folder: &Path, place: &Place) -> Opened {
    try_open(folder, place).expect("the store opens")
}

fn all(store: &Store) -> Records {
    store.range(b"a", b"z").collect()
}

/// A place that is reached over a line, by a process that gives up soon.
fn over(line: &Line, place: &Place) -> Place {
    Place { endpoints: vec![line.endpoint()], patience: Duration::from_millis(300), ..place.clone() }
}

/// A commit of one transaction, one with pieces, and one with a journal and pieces; each writes over what the one before left.
fn commits() -> Vec<Batch> {
    let many = |bytes| (0..200).map(|number| put(&format!("r{number:03}"), bytes)).collect::<Records>();
    let mut journal = batch(many(6_000));
    journal.puts.push(put("s-long", 1_100_000));
    journal.delete_ranges.push((b"q".to_vec(), b"r".to_vec()));
    vec![
        batch(vec![put("q1", 10), put("q2", 20_000), put("r001", 30)]),
        batch(vec![put("q3", 1_300_000)]),
        journal,
        Batch { delete_ranges: vec![(b"r0".to_vec(), b"r15".to_vec())], ..batch(vec![put("r1", 5)]) },
    ]
}

/// What the commits make of a store, one after the other.
fn after(commits: &[Batch]) -> Vec<Records> {
    let mut records = std::collections::BTreeMap::new();
    let mut states = vec![Vec::new()];
    for commit in commits {
        for (from, to) in &commit.delete_ranges {
            records.retain(|key, _| key < from || key >= to);
        }
        records.extend(commit.puts.iter().cloned());
        states.push(records.clone().into_iter().collect());
    }
    states
}

#[test]
fn a_crash_at_any_step_of_any_commit_leaves_all_of_it_or_nothing() {
    let cluster = Cluster::start("steps", 1);
    let line = Line::to(&cluster.endpoints()[0]);
    let (commits, states) = (commits(), after(&commits()));
    let (mut crashes, mut applied) = (0, 0);
    for (number, commit) in commits.iter().enumerate() {
        for fault in [Fault::Cut, Fault::CutAfter] {
            for step in 1.. {
                let scratch = Scratch::new(&format!("steps-{number}"));
                let place = cluster.place(&format!("{number}-{step}-{}", fault(0) == Fault::Cut(0)));
                let mut store = open(scratch.path(), &place).store;
                commits[..number]
                    .iter()
                    .for_each(|commit| store.write(std::slice::from_ref(commit)).expect("written"));
                drop(store);
                line.set(Fault::None);
                let mut store = open(scratch.path(), &over(&line, &place)).store;
                line.set(fault(step));
                let written = store.write(std::slice::from_ref(commit));
                drop(store);
                let opened = open(scratch.path(), &place);
                assert!(!opened.lost && opened.set_aside.is_none(), "{fault:?}", fault = fault(step));
                let found = all(&opened.store);
                if written.is_ok() {
                    assert!(found == states[number + 1], "commit {number} was acknowledged");
                    break;
                }
                crashes += 1;
                let whole = found == states[number + 1];
                applied += usize::from(whole);
                assert!(
                    whole || found == states[number],
                    "half of commit {number} is there: {:?}",
                    fault(step)
                );
                drop(opened.store);
                let mut store = open(scratch.path(), &place).store;
                store.write(std::slice::from_ref(commit)).expect("written");
                assert!(all(&store) == states[number + 1]);
                assert!(store.checkup().expect("readable").run(&[]).is_whole());
            }
        }
    }
    assert!(crashes > 20 && applied > 3 && applied < crashes, "{crashes} crashes, {applied} carried out");
}

#[test]
fn a_crash_while_what_a_commit_owes_is_carried_out_is_mended_by_the_next_opening() {
    let cluster = Cluster::start("owes", 1);
    let line = Line::to(&cluster.endpoints()[0]);
    let (commits, states) = (commits(), after(&commits()));
    let mut crashes = 0;
    for fault in [Fault::Cut, Fault::CutAfter] {
        for step in 1.. {
            let scratch = Scratch::new("owes");
            let place = cluster.place(&format!("{step}-{}", fault(0) == Fault::Cut(0)));
            let mut store = open(scratch.path(), &place).store;
            store.write(&commits[..2]).expect("written");
            drop(store);
            line.set(Fault::None);
            let mut store = open(scratch.path(), &over(&line, &place)).store;
            // It is valid, and little of it is carried out.
            line.set(Fault::CutAfter(6));
            let cut = store.write(&commits[2..3]).expect_err("the line is cut");
            assert_eq!(line.transactions(), 6, "it was to come so far: {cut}");
            drop(store);
            line.set(fault(step));
            let opened = try_open(scratch.path(), &over(&line, &place));
            crashes += usize::from(opened.is_err());
            let done = opened.is_ok();
            drop(opened);
            let opened = open(scratch.path(), &place);
            assert!(!opened.lost && opened.set_aside.is_none(), "{:?}", fault(step));
            assert!(all(&opened.store) == states[3], "{:?}", fault(step));
            if done {
                break;
            }
        }
    }
    assert!(crashes > 8, "{crashes}");
}

#[test]
fn a_lost_answer_is_neither_carried_out_twice_nor_skipped() {
    let cluster = Cluster::start("answers", 1);
    let line = Line::to(&cluster.endpoints()[0]);
    let states = after(&commits());
    for lost in 1.. {
        let scratch = Scratch::new("answers");
        let place =
            Place { patience: Duration::from_secs(20), ..over(&line, &cluster.place(&lost.to_string())) };
        line.set(Fault::None);
        let mut store = open(scratch.path(), &place).store;
        let before = store.commits();
        line.set(Fault::Lose(lost));
        commits().iter().for_each(|commit| store.write(std::slice::from_ref(commit)).expect("written"));
        assert_eq!(store.commits() - before, commits().len() as u64, "answer {lost}");
        assert!(all(&store) == states[4], "answer {lost}");
        assert!(store.checkup().expect("readable").run(&[]).is_whole());
        if line.transactions() < lost {
            assert!(lost > 12);
            return;
        }
    }
}

#[test]
fn a_process_that_comes_back_after_another_one_took_over_writes_nothing() {
    let cluster = Cluster::start("fence", 1);
    let line = Line::to(&cluster.endpoints()[0]);
    let place = cluster.place("fence");
    let (older, newer) = (Scratch::new("fence-older"), Scratch::new("fence-newer"));
    line.set(Fault::None);
    let mut paused =
        open(older.path(), &Place { patience: Duration::from_secs(20), ..over(&line, &place) }).store;
    paused.write(&[batch(vec![put("r1", 5)])]).expect("written");
    let kept_out = try_open(newer.path(), &place).err().expect("the other one lives");
    assert!(matches!(kept_out, StoreError::InUse(_)), "{kept_out}");
    line.cut();
    let mut store = open(newer.path(), &place).store;
    store.write(&[batch(vec![put("r2", 5)])]).expect("written");
    line.set(Fault::None);
    let refused = paused.write(&[batch(vec![put("r3", 5)])]).expect_err("it is another's now");
    assert!(refused.to_string().contains("has taken the store"), "{refused}");
    assert!(paused.write(&[batch(vec![put("r4", 5)])]).is_err());
    drop(paused);
    store.write(&[batch(vec![put("r5", 5)])]).expect("the owner goes on");
    assert_eq!(all(&store), [put("r1", 5), put("r2", 5), put("r5", 5)]);
}

#[test]
fn a_lease_that_ran_out_is_taken_again_when_nobody_came() {
    let cluster = Cluster::start("lease", 1);
    let line = Line::to(&cluster.endpoints()[0]);
    let scratch = Scratch::new("lease");
    line.set(Fault::None);
    let place = Place { patience: Duration::from_secs(20), ..over(&line, &cluster.place("lease")) };
    let mut store = open(scratch.path(), &place).store;
    line.cut();
    std::thread::sleep(Duration::from_secs(4));
    line.set(Fault::None);
    store.write(&[batch(vec![put("r1", 5)])]).expect("written");
    store.write(&[batch(vec![put("r2", 5)])]).expect("written");
    let other = Scratch::new("lease-other");
    assert!(
        matches!(try_open(other.path(), &cluster.place("lease")), Err(StoreError::InUse(_))),
        "it is held again"
    );
    // Opened elsewhere while the first one is not heard of, and given up again: what the first one knows is old.
    line.cut();
    drop(open(other.path(), &cluster.place("lease")));
    line.set(Fault::None);
    let refused = store.write(&[batch(vec![put("r3", 5)])]).expect_err("somebody was there");
    assert!(refused.to_string().contains("has taken the store"), "{refused}");
}

#[test]
fn a_lease_that_runs_out_before_it_is_used_is_taken_anew() {
    let cluster = Cluster::start("late", 1);
    let line = Line::to(&cluster.endpoints()[0]);
    let scratch = Scratch::new("late");
    let place = Place { patience: Duration::from_secs(20), ..over(&line, &cluster.place("late")) };
    // The second transaction of an opening is the one that takes the store.
    line.set(Fault::Forget(2));
    let mut store = open(scratch.path(), &place).store;
    store.write(&[batch(vec![put("r1", 5)])]).expect("written");
    drop(store);
    let opened = open(scratch.path(), &place);
    assert!(!opened.lost && all(&opened.store) == [put("r1", 5)]);
}

#[test]
fn what_is_acknowledged_outlives_members_that_die_and_hang_one_after_the_other() {
    let mut cluster = Cluster::start("members", 3);
    let scratch = Scratch::new("members");
    let place = cluster.place("members");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let folder = scratch.path().to_path_buf();
    let writer = std::thread::spawn(move || {
        let mut store = open(&folder, &place).store;
        let mut written = 0;
        while stopped.try_recv().is_err() {
            store
                .write(&[batch(vec![put(&format!("r{written:05}"), 200)])])
                .expect("two of three members live");
            written += 1;
        }
        (written, store.commits())
    });
    std::thread::sleep(Duration::from_secs(1));
    for member in 0..3 {
        cluster.kill(member);
        std::thread::sleep(Duration::from_secs(2));
        cluster.run(member);
        std::thread::sleep(Duration::from_secs(2));
        cluster.signal(member, libc::SIGSTOP);
        std::thread::sleep(Duration::from_secs(2));
        cluster.signal(member, libc::SIGCONT);
        std::thread::sleep(Duration::from_secs(1));
    }
    let _ = stop.send(());
    let (written, commits) = writer.join().expect("it wrote");
    let opened = open(scratch.path(), &cluster.place("members"));
    assert!(!opened.lost && written > 50, "{written}");
    assert_eq!(all(&opened.store).len(), written);
    assert_eq!((commits, opened.store.commits()), (written as u64 + 1, commits + 1));
    let check = opened.store.checkup().expect("readable").run(&[]);
    assert!(check.is_whole() && check.bytes > 2 * check.file_bytes, "each member's copy: {check:?}");
}

#[test]
fn without_an_answer_a_write_waits_for_so_long_and_acknowledges_nothing() {
    let mut cluster = Cluster::start("silence", 1);
    let scratch = Scratch::new("silence");
    let place = Place { patience: Duration::from_secs(2), ..cluster.place("silence") };
    let mut store = open(scratch.path(), &place).store;
    cluster.kill(0);
    let began = std::time::Instant::now();
    let refused = store.write(&[batch(vec![put("r1", 5)])]).expect_err("nobody is there");
    assert!(began.elapsed() > Duration::from_secs(1), "it waited: {:?}", began.elapsed());
    assert!(refused.to_string().contains("not acknowledged"), "{refused}");
    drop(store);
    assert!(
        matches!(try_open(scratch.path(), &place), Err(StoreError::Etcd(_))),
        "and no start is a new federation"
    );
}

/// Text as base64 for a request by hand.
fn base64(text: &[u8]) -> String {
    let mut child = std::process::Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("base64 runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), text).expect("written");
    String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text")
}

#[test]
fn a_record_that_was_changed_added_or_removed_behind_the_process_is_named() {
    let cluster = Cluster::start("behind", 1);
    let scratch = Scratch::new("behind");
    let mut store = open(scratch.path(), &cluster.place("behind")).store;
    let puts = ["r1", "r2", "r3"].map(|key| put(key, 40)).to_vec();
    store.write(&[batch(puts.clone())]).expect("written");
    let key = |key: &str| base64(format!("/test/behind/records/{key}").as_bytes());
    assert!(store.checkup().expect("readable").run(&[]).is_whole());
    let flaws = |store: &Store| {
        let check = store.checkup().expect("readable").run(&[]);
        check.flaws.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("\n")
    };
    cluster.post("kv/put", &json!({"key": key("r2"), "value": base64(b"\0no such sum, and another value")}));
    cluster.post("kv/deleterange", &json!({"key": key("r3")}));
    cluster.post("kv/put", &json!({"key": key("r9"), "value": base64(b"what is this")}));
    // Also when nothing is written afterwards.
    let told = flaws(&store);
    for expected in ["7232 does not match its checksum", "7233 is gone", "7239 is no record"] {
        assert!(told.contains(expected), "{expected}:\n{told}");
    }
    store.renew(&batch(puts.clone())).expect("written anew");
    assert_eq!(flaws(&store), "");
    cluster.post("kv/deleterange", &json!({"key": key("r1")}));
    drop(store);
    let opened = open(scratch.path(), &cluster.place("behind"));
    assert!(opened.lost && all(&opened.store).len() == 1, "what is not whole is not used");
    let why = opened.set_aside.expect("set aside").why;
    assert!(why.contains("holds 2 records, and its newest commit counts 3"), "{why}");
}

#[test]
fn a_members_damaged_copy_is_passed_over_and_never_a_reason_to_begin_anew_while_another_one_is_silent() {
    let cluster = Cluster::start("copies", 1);
    let endpoint = &cluster.endpoints()[0];
    let (damaged, whole) = (Line::to(endpoint), Line::to(endpoint));
    let place = Place { endpoints: vec![damaged.endpoint(), whole.endpoint()], ..cluster.place("copies") };
    let scratch = Scratch::new("copies");
    let puts = ["r1", "r2", "r3"].map(|key| put(key, 40)).to_vec();
    let mut store = open(scratch.path(), &place).store;
    store.write(&[batch(puts.clone())]).expect("written");
    let loses = |line: &Line| {
        let [key, other] = ["r2", "x2"].map(|key| base64(format!("/test/copies/records/{key}").as_bytes()));
        line.lie(key, other);
    };
    // The store is open, and then the copy that is asked first goes bad.
    loses(&damaged);
    assert_eq!(all(&store), puts);
    drop(store);
    // It is bad already, and the other member is away: neither opened nor begun anew.
    whole.cut();
    let hasty = Place { patience: Duration::from_secs(1), ..place.clone() };
    let refused = try_open(scratch.path(), &hasty).err().expect("nobody has shown the whole");
    let why = refused.to_string();
    assert!(matches!(refused, StoreError::Etcd(_)) && why.contains("does not match its checksum"), "{why}");
    whole.set(Fault::None);
    let opened = open(scratch.path(), &place);
    assert!(!opened.lost && opened.set_aside.is_none());
    assert_eq!(all(&opened.store), puts);
    drop(opened);
    // All have answered, and nobody has it.
    loses(&whole);
    assert!(open(scratch.path(), &place).lost);
}

#[test]
fn a_store_of_another_region_or_from_another_cluster_is_not_taken_for_ones_own() {
    let cluster = Cluster::start("others", 1);
    let (scratch, elsewhere) = (Scratch::new("others"), Scratch::new("others-elsewhere"));
    let place = cluster.place("others");
    let mut store = open(scratch.path(), &place).store;
    store.write(&[batch(vec![put("r1", 5)])]).expect("written");
    drop(store);
    let other = Place { store: "test/another".to_owned(), ..place.clone() };
    let refused = try_open(elsewhere.path(), &other).err().expect("refused").to_string();
    assert!(refused.contains("holds the state of test/region"), "{refused}");
    let opened = open(elsewhere.path(), &place);
    assert!(!opened.lost && all(&opened.store).len() == 1, "another machine goes on where the first one was");
    drop(opened.store);
    // As a backup of the cluster that was restored into another one.
    let key = base64(b"/test/others/commit");
    let found = cluster.post("kv/range", &json!({ "key": key }));
    let text = String::from_utf8(decode(found["kvs"][0]["value"].as_str().expect("a value"))).expect("text");
    let mut commit: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    commit["cluster"] = 7.into();
    cluster.post("kv/put", &json!({"key": key, "value": base64(commit.to_string().as_bytes())}));
    let opened = open(elsewhere.path(), &place);
    assert!(!opened.lost, "this machine knows that it is all that was acknowledged");
    drop(opened.store);
    cluster.post("kv/put", &json!({"key": key, "value": base64(commit.to_string().as_bytes())}));
    let opened = open(Scratch::new("others-third").path(), &place);
    assert!(opened.lost && opened.set_aside.expect("set aside").why.contains("in cluster 7"));
}

fn decode(text: &str) -> Vec<u8> {
    let mut child = std::process::Command::new("base64")
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("base64 runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), text.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends").stdout
}

#[test]
fn a_cluster_behind_tls_is_reached_with_a_certificate_of_its_authority_only() {
    let scratch = Scratch::new("tls");
    let day = Duration::from_secs(86_400);
    let make = |name: &str| {
        let folder = scratch.path().join(name);
        let ca = Ca::create(name, day).expect("an authority");
        ca.store(&folder).expect("stored");
        let ip = San::Ip("127.0.0.1".parse().expect("an address"));
        let peer = PeerId::Region { region: "r".to_owned(), number: 1 };
        ca.issue(&peer, &[ip], day).expect("issued").store(&folder, "etcd").expect("stored");
        folder
    };
    let (ours, theirs) = (make("ours"), make("theirs"));
    let file = |name: &str| ours.join(name).display().to_string();
    let arguments = [
        format!("--cert-file={}", file("etcd.pem")),
        format!("--key-file={}", file("etcd.key")),
        format!("--trusted-ca-file={}", file("ca.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let cluster = Cluster::start_with("tls", 1, "https", &arguments);
    let place = Place {
        ca: Some(ours.join("ca.pem")),
        certificate: Some(ours.join("etcd.pem")),
        key: Some(ours.join("etcd.key")),
        ..cluster.place("tls")
    };
    let mut store = open(&scratch.path().join("store"), &place).store;
    store.write(&[batch(vec![put("r1", 5)])]).expect("written");
    assert_eq!(all(&store), [put("r1", 5)]);
    let soon = Duration::from_secs(1);
    let stranger = Place {
        certificate: Some(theirs.join("etcd.pem")),
        key: Some(theirs.join("etcd.key")),
        ..place.clone()
    };
    let nobody = Place { certificate: None, key: None, ..place.clone() };
    let trusting = Place { ca: Some(theirs.join("ca.pem")), ..place };
    for (number, wrong) in [stranger, nobody, trusting].into_iter().enumerate() {
        let folder = scratch.path().join(format!("wrong-{number}"));
        let refused = try_open(&folder, &Place { patience: soon, ..wrong });
        assert!(matches!(refused, Err(StoreError::Etcd(_))), "{number}");
    }
}
