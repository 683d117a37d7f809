//! The control plane's state is backed up while VMs are created: into a folder, then into a bucket of a real S3 server. Whatever
//! is done to what lies there is refused and named.

pub mod place;

use super::stage::{Stage, told};
use super::writer::Writer;
use crate::federation::{demo, process};
use crate::run::{Failure, capture, command, fault, wait_until};
use place::{Objects, Place, Server, Small};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// A run ends within this.
const PATIENCE: &str = "5m";
/// The first backup is made by itself within this.
const FIRST: Duration = Duration::from_secs(60);
/// VMs that are created while backups are made.
const CREATED: usize = 3;

/// Backs up, damages what lies there, and does both again at an S3 server.
///
/// # Errors
/// Says what did not hold.
pub fn backup(stage: &Stage) -> Result<(), Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    // Those that drills made are deleted on the way.
    let mut before = demo::vms(stage.tree)?;
    before.retain(|name, _| name.starts_with("demo-"));
    let began = stage.probe.now();
    let writer = Writer::start(stage.tree);
    let folder = Place::Folder(stage.tree.dev.join("backups"));
    made_while_busy(stage, &folder)?;
    let elsewhere = another(stage)?;
    damaged(stage, &folder, &elsewhere)?;
    wrong_key(stage, &folder)?;
    no_room(stage)?;
    retained(stage, &folder)?;
    let longest = stage.undisturbed(&before, (began, stage.probe.now()))?;
    let written = writer.finish();
    stage.say(&format!("{} VMs went on, longest silence {} ms", before.len(), longest.as_millis()));
    at_s3(stage, &elsewhere)?;
    stage.check_written(&written, &stage.regions)?;
    stage.check_no_doubles()
}

fn cli(stage: &Stage, words: &[&str]) -> Result<Output, Failure> {
    let begin = ["--timeout", PATIENCE, "federation", "state", "backup"];
    capture(demo::cli(stage.tree).args(begin).args(words))
}

/// A command that must succeed; what it said.
fn must(stage: &Stage, words: &[&str]) -> Result<String, Failure> {
    let output = cli(stage, words)?;
    let said = told(&output);
    if !output.status.success() {
        let exit = output.status.code().unwrap_or(-1);
        return Err(Failure::new(format!("backup {}: exit {exit}: {said}", words.join(" "))));
    }
    stage.say(&format!("{}: {said}", words.join(" ")));
    Ok(said)
}

fn list(stage: &Stage) -> Result<Vec<Value>, Failure> {
    let output = cli(stage, &["list", "--format", "json"])?;
    let value: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| Failure::new(format!("`backup list` printed no JSON: {e}: {}", told(&output))))?;
    Ok(value["backups"].as_array().cloned().unwrap_or_default())
}

fn configure(stage: &Stage, place: &Place, retention: &str) -> Result<(), Failure> {
    let destination = place.destination();
    let words = ["configure", "--interval", "1d", "--retention", retention, "--destination", &destination];
    must(stage, &words).map(|_| ())
}

/// The first backup comes by itself; a full one and incremental ones are made while VMs are created.
fn made_while_busy(stage: &Stage, place: &Place) -> Result<(), Failure> {
    configure(stage, place, "50")?;
    let first = wait_until(FIRST, Duration::from_millis(500), || list(stage).is_ok_and(|all| all.len() == 1));
    if !first {
        return Err(Failure::new("no backup was made by itself"));
    }
    let mut made = Vec::new();
    for kind in ["full", "incremental", "incremental"] {
        for number in 1..=CREATED {
            demo::create(stage.tree, &format!("drill-{kind}-{}-{number}", made.len()), number)?;
        }
        must(stage, &["create", "--type", kind])?;
        made.push(kind);
        stage.wait_until_all_answer(Duration::from_secs(180))?;
        stage.clear()?;
    }
    let listed = list(stage)?;
    let kinds: Vec<&str> = listed.iter().filter_map(|one| one["kind"].as_str()).collect();
    let rests_on = |at: usize, on: usize| listed[at]["parent"] == listed[on]["backup"];
    if kinds.len() != 4 || kinds[1..] != made[..] || !rests_on(2, 1) || !rests_on(3, 2) {
        return Err(Failure::new(format!("wanted {made:?} behind the first, listed are {listed:?}")));
    }
    must(stage, &["verify"])?;
    must(stage, &["verify", "--all"]).map(|_| ())
}

/// A backup of the same state with the same key in another repository.
fn another(stage: &Stage) -> Result<Objects, Failure> {
    let root = stage.tree.dev.join("backups-elsewhere");
    must(stage, &["create", "--type", "full", "--output", &root.to_string_lossy()])?;
    Place::Folder(root).read()
}

/// One thing that can be done to what lies there: in words, the objects afterwards, and what must be named.
type Damage = (String, Objects, String);

fn damages(whole: &Objects, earlier: &Objects, elsewhere: &Objects) -> Result<Vec<Damage>, Failure> {
    let names = |part: &str| whole.keys().filter(|name| name.starts_with(part)).cloned().collect::<Vec<_>>();
    let (log, packs) = (names("log/"), names("packs/"));
    let newest_pack = packs.iter().rev().find(|name| !name.ends_with("/index"));
    let index = packs.iter().rev().find(|name| name.ends_with("/index"));
    let (Some(pack), Some(index), [.., before, last]) = (newest_pack, index, &log[..]) else {
        return Err(Failure::new(format!("that is no repository: {:?}", whole.keys())));
    };
    let changed = |what: &str, named: &str, change: &dyn Fn(&mut Objects)| {
        let mut objects = whole.clone();
        change(&mut objects);
        (what.to_owned(), objects, named.to_owned())
    };
    let flip = |objects: &mut Objects, name: &str| {
        let bytes = objects.get_mut(name).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let cut = |objects: &mut Objects, name: &str| {
        let bytes = objects.get_mut(name).expect("it is there");
        bytes.truncate(bytes.len() / 2);
    };
    let put = |objects: &mut Objects, name: &str, from: &Objects, other: &str| {
        objects.insert(name.to_owned(), from[other].clone());
    };
    let foreign_log = elsewhere.keys().find(|name| name.starts_with("log/")).expect("it has a backup");
    Ok(vec![
        changed("a byte of a pack is flipped", pack, &|o| flip(o, pack)),
        changed("a byte of an index is flipped", index, &|o| flip(o, index)),
        changed("a byte of an entry is flipped", last, &|o| flip(o, last)),
        changed("a pack is cut", pack, &|o| cut(o, pack)),
        changed("an entry is cut", before, &|o| cut(o, before)),
        changed("two entries are swapped", before, &|o| {
            put(o, before, whole, last);
            put(o, last, whole, before);
        }),
        changed("an index is gone", index, &|o| drop(o.remove(index))),
        changed("the newest entry is gone", last, &|o| drop(o.remove(last))),
        changed("an entry of another repository lies in its place", last, &|o| {
            put(o, last, elsewhere, foreign_log)
        }),
        changed("it says that it is another federation's", "repository", &|o| {
            let title =
                String::from_utf8_lossy(&whole["repository"]).replace("federation dev", "federation mars");
            o.insert("repository".to_owned(), title.into_bytes());
        }),
        ("everything is put back to an earlier time".to_owned(), earlier.clone(), last.clone()),
        ("another repository with the same key lies there".to_owned(), elsewhere.clone(), last.clone()),
        ("everything is gone".to_owned(), Objects::new(), "repository".to_owned()),
    ])
}

/// Whatever is done to what lies there, `verify` refuses it and says which object it is.
fn damaged(stage: &Stage, place: &Place, elsewhere: &Objects) -> Result<(), Failure> {
    let earlier = place.read()?;
    must(stage, &["create"])?;
    let whole = place.read()?;
    for (what, objects, named) in damages(&whole, &earlier, elsewhere)? {
        place.write(&objects)?;
        let output = cli(stage, &["verify", "--all"])?;
        let (exit, said) = (output.status.code().unwrap_or(-1), told(&output));
        stage.say(&format!("{what}: exit {exit}: {said}"));
        if !matches!(exit, 1 | 5) || !said.contains(&named) {
            return Err(Failure::new(format!(
                "{what}: verify must fail and name {named}: exit {exit}: {said}"
            )));
        }
        place.write(&whole)?;
    }
    must(stage, &["verify", "--all"]).map(|_| ())
}

/// Another key opens nothing, and changes nothing.
fn wrong_key(stage: &Stage, place: &Place) -> Result<(), Failure> {
    let key: PathBuf = stage.tree.dev.join("another-backup.key");
    let made = capture(command(stage.tree.binary("dwcpd")).args(["backup-key", "--out"]).arg(&key))?;
    if !made.status.success() {
        return Err(Failure::new(format!("dwcpd backup-key: {}", told(&made))));
    }
    let before = place.read()?;
    let (destination, key) = (place.destination(), key.to_string_lossy().into_owned());
    let plan = ["configure", "--interval", "1d", "--retention", "50", "--destination", &destination];
    let refused = cli(stage, &[&plan[..], &["--key-file", &key]].concat())?;
    let said = told(&refused);
    stage.say(&format!("another key: exit {}: {said}", refused.status.code().unwrap_or(-1)));
    if refused.status.code() != Some(2) || !said.contains("DWCP-R0080") || place.read()? != before {
        return Err(Failure::new("another key must be refused with exit 2, and nothing may change"));
    }
    must(stage, &["verify"]).map(|_| ())
}

/// A place that is full: the backup fails and says why, and the plan stays as it was.
fn no_room(stage: &Stage) -> Result<(), Failure> {
    let Some(small) = Small::mount(&stage.tree.dev.join("small"))? else {
        stage.say("NOT DONE: a file system of a few KiB can't be mounted here");
        return Ok(());
    };
    let place = Place::Folder(small.root.clone());
    let refused = cli(stage, &["create", "--type", "full", "--output", &small.root.to_string_lossy()])?;
    let (exit, said) = (refused.status.code().unwrap_or(-1), told(&refused));
    stage.say(&format!("no room: exit {exit}: {said}"));
    let left = place.read()?;
    let whole = left.keys().any(|name| name.starts_with("log/"));
    if exit == 0 || !said.contains("no space left") || whole {
        return Err(Failure::new(format!("a full place must be told of: {:?}", left.keys())));
    }
    must(stage, &["verify"]).map(|_| ())
}

/// Only the newest are kept, and what is kept is whole.
fn retained(stage: &Stage, place: &Place) -> Result<(), Failure> {
    configure(stage, place, "2")?;
    let before = place.read()?;
    must(stage, &["create"])?;
    must(stage, &["create", "--type", "full"])?;
    must(stage, &["create"])?;
    let (after, listed) = (place.read()?, list(stage)?);
    let gone = before.keys().filter(|name| !after.contains_key(*name)).count();
    stage.say(&format!("{} kept; {gone} of {} objects are gone", listed.len(), before.len()));
    if listed.len() != 2 || gone == 0 {
        return Err(Failure::new(format!("two are to be kept: {listed:?}")));
    }
    must(stage, &["verify", "--all"]).map(|_| ())
}

/// The same at a bucket: every server is told of the S3 server and started again.
fn at_s3(stage: &Stage, elsewhere: &Objects) -> Result<(), Failure> {
    let Some(server) = Server::start(stage.tree)? else {
        stage.say("NOT DONE: no S3 server is installed under target/moto");
        return Ok(());
    };
    let credentials = stage.tree.dev.join("s3.credentials");
    let text = "aws_access_key_id = test\naws_secret_access_key = test\n";
    fs::write(&credentials, text).map_err(|e| fault("cannot write", &credentials, &e))?;
    let settings = server.settings(&credentials);
    let configs: Vec<(PathBuf, String)> = stage
        .regions
        .iter()
        .map(|region| stage.tree.dev.join("config").join(format!("{region}.yaml")))
        .map(|path| {
            fs::read_to_string(&path)
                .map(|text| (path.clone(), text))
                .map_err(|e| fault("cannot read", &path, &e))
        })
        .collect::<Result<_, _>>()?;
    for (path, text) in &configs {
        let Some((before, after)) = text.split_once("backup:\n") else {
            return Err(Failure::new(format!("{} says nothing of backups", path.display())));
        };
        fs::write(path, format!("{before}backup:\n{settings}{after}"))
            .map_err(|e| fault("cannot write", path, &e))?;
    }
    restart(stage)?;
    let place = Place::Bucket(server.port);
    let held = made_while_busy(stage, &place)
        .and_then(|()| damaged(stage, &place, elsewhere))
        .and_then(|()| retained(stage, &place));
    for (path, text) in &configs {
        fs::write(path, text).map_err(|e| fault("cannot write", path, &e))?;
    }
    held.and_then(|()| restart(stage))
}

fn restart(stage: &Stage) -> Result<(), Failure> {
    process::stop(&stage.tree.dev, Duration::from_secs(10), |one| one.program == "dwcpd");
    stage.heal(&[])
}
