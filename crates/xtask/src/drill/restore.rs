//! The control plane of all regions is lost, with everything that it kept: it comes back from a backup on empty disks, and adopts
//! the VMs that run all the while. What was changed since the backup is named as lost.

use super::backup::place::{Objects, Place};
use super::stage::{Stage, must, told};
use super::sync_loss::{self, Record};
use crate::federation::{demo, demo::Vm, planned, process, up};
use crate::run::{Failure, capture, command, fault, text_of, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

/// VMs whose guests write records all the while.
const COUNTED: [&str; 2] = ["drill-counted-1", "drill-counted-2"];
/// Deleted after the backup, made after it, stopped after it.
const GONE: &str = "drill-gone";
const LATE: &str = "drill-late";
const STOPPED: &str = "drill-stopped";
/// From the loss of the last server to the adoption of the last VM.
const PROMISED: Duration = Duration::from_secs(600);
/// Longest wait for one step.
const PATIENCE: Duration = Duration::from_secs(180);

/// Backs up, changes things, loses every server with its data, restores them, and looks what is there.
///
/// # Errors
/// Says what did not hold.
pub fn restore(stage: &Stage) -> Result<(), Failure> {
    let place = prepared(stage)?;
    changed_since(stage)?;
    let before = demo::vms(stage.tree)?;
    let writers = writers(&before)?;
    std::thread::sleep(Duration::from_secs(3));

    let (began, cut) = (Instant::now(), stage.probe.now());
    let folders = lose_everything(stage)?;
    refused(stage, &place, &folders)?;
    restore_all(stage, &place, &folders)?;
    crate::federation::up::again(stage.tree)?;
    let status = adopted(stage)?;
    let took = began.elapsed();
    stage.say(&format!(
        "{} regions restored in {:.1} s, from the loss of the last server to the adoption of the last VM",
        stage.regions.len(),
        took.as_secs_f64()
    ));

    // Also afterwards nothing may be started anew.
    std::thread::sleep(Duration::from_secs(10));
    let running = before.iter().filter(|(name, _)| *name != STOPPED);
    let longest = stage.undisturbed(running, (cut, stage.probe.now()))?;
    stage.say(&format!("{} VMs went on, longest silence {} ms", before.len() - 1, longest.as_millis()));
    check_records(stage, writers)?;
    check_status(&status)?;
    works_again(stage, &before)?;
    if took > PROMISED {
        return Err(Failure::new(format!("it took longer than {} s", PROMISED.as_secs())));
    }
    stage.check_no_doubles()
}

fn state(stage: &Stage, words: &[&str]) -> Result<(), Failure> {
    let begin = ["--timeout", "5m", "federation", "state", "backup"];
    let output = capture(demo::cli(stage.tree).args(begin).args(words))?;
    let said = told(&output);
    stage.say(&format!("state backup {}: {said}", words.join(" ")));
    if output.status.success() { Ok(()) } else { Err(Failure::new(said)) }
}

/// VMs that write, VMs that are to change, and a full backup of it all.
fn prepared(stage: &Stage) -> Result<Place, Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    for name in COUNTED {
        must(stage, &["vm", "create", "--name", name, "--disk", "1GiB"])?;
    }
    for name in [GONE, STOPPED] {
        must(stage, &["vm", "create", "--name", name])?;
    }
    stage.wait_until_all_answer(PATIENCE)?;
    let place = Place::Folder(stage.tree.dev.join("backups-to-restore"));
    let to = place.destination();
    state(stage, &["configure", "--interval", "1d", "--retention", "50", "--destination", &to])?;
    state(stage, &["create", "--type", "full"])?;
    Ok(place)
}

fn changed_since(stage: &Stage) -> Result<(), Failure> {
    must(stage, &["vm", "create", "--name", LATE])?;
    must(stage, &["vm", "stop", STOPPED])?;
    must(stage, &["vm", "delete", GONE, "--yes"])?;
    must(stage, &["federation", "policy", "set", "--failovers-per-hour", "77"])?;
    stage.wait_until_all_answer(PATIENCE)
}

fn writers(vms: &BTreeMap<String, Vm>) -> Result<Vec<(String, sync_loss::Writer)>, Failure> {
    let start = |name: &str| {
        let address = vms.get(name).and_then(|vm| vm.address);
        let address = address.ok_or_else(|| Failure::new(format!("{name} has no address")))?;
        Ok((name.to_owned(), sync_loss::Writer::start(address, 1)))
    };
    COUNTED.into_iter().map(start).collect()
}

fn config(stage: &Stage, region: &str) -> PathBuf {
    stage.tree.dev.join("config").join(format!("{region}.yaml"))
}

/// The value of a setting in the lines of a region's configuration.
fn setting(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "))?;
    Some(line.trim().trim_matches('"').to_owned())
}

/// Kills every server and removes what it kept; says where that was, by region.
fn lose_everything(stage: &Stage) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut folders = BTreeMap::new();
    for region in &stage.regions {
        let path = config(stage, region);
        let text = fs::read_to_string(&path).map_err(|e| fault("cannot read", &path, &e))?;
        let folder = setting(&text, "data_dir").map(PathBuf::from);
        let folder = folder.filter(|folder| folder.starts_with(stage.tree.dev.join("data")));
        folders
            .insert(region.clone(), folder.ok_or_else(|| Failure::new(format!("{region} keeps no data")))?);
    }
    let (killed, left) = process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd");
    if killed != stage.regions.len() || !left.is_empty() {
        return Err(Failure::new(format!("killed {killed} of {} servers", stage.regions.len())));
    }
    for folder in folders.values() {
        fs::remove_dir_all(folder).map_err(|e| fault("cannot remove", folder, &e))?;
    }
    lose_clusters(stage)?;
    stage.say(&format!("{killed} servers are killed, and what they kept is removed"));
    Ok(folders)
}

/// Where servers keep their state in etcd: every cluster is a new and empty one.
fn lose_clusters(stage: &Stage) -> Result<(), Failure> {
    let dev = &stage.tree.dev;
    if planned(stage.tree)?.iter().all(|entry| entry.program != "etcd") {
        return Ok(());
    }
    let (_, left) = process::stop(dev, Duration::ZERO, |one| one.program == "etcd");
    if !left.is_empty() {
        return Err(Failure::new(format!("{} members of etcd do not end", left.len())));
    }
    for member in planned(stage.tree)?.iter().filter(|entry| entry.program == "etcd") {
        let folder = member.arguments.iter().find_map(|argument| argument.strip_prefix("--data-dir="));
        let folder = folder.map(|folder| dev.join(folder)).filter(|folder| folder.starts_with(dev));
        let folder = folder.ok_or_else(|| Failure::new(format!("{} keeps no data", member.name)))?;
        fs::remove_dir_all(&folder).map_err(|e| fault("cannot remove", &folder, &e))?;
    }
    up::start_all(stage.tree, "etcd")
}

fn dwcpd(stage: &Stage, config: &Path, from: &Place, words: &[&str]) -> Result<Output, Failure> {
    let mut restore = command(stage.tree.binary("dwcpd"));
    restore.args(["restore", "--config"]).arg(config).args(["--from", &from.destination()]).args(words);
    capture(&mut restore)
}

/// A restoration that must be refused for this reason, with nothing written.
fn must_refuse(
    stage: &Stage,
    what: &str,
    (config, from, folder): (&Path, &Place, &Path),
    because: &str,
) -> Result<(), Failure> {
    let output = dwcpd(stage, config, from, &[])?;
    let said = told(&output);
    stage.say(&format!("{what}: exit {}: {said}", output.status.code().unwrap_or(-1)));
    if output.status.success() || !said.contains(because) || folder.join("store").exists() {
        return Err(Failure::new(format!(
            "{what}: it must be refused because of {because}, with no store made"
        )));
    }
    Ok(())
}

/// Another federation's backup, another key, a byte that is another: nothing is made of them.
fn refused(stage: &Stage, place: &Place, folders: &BTreeMap<String, PathBuf>) -> Result<(), Failure> {
    let region = &stage.regions[0];
    let (own, folder) = (config(stage, region), &folders[region]);
    let whole = place.read()?;
    let object = |part: &str| {
        let found = whole.keys().rev().find(|name| name.starts_with(part) && !name.ends_with("/index"));
        found.cloned().ok_or_else(|| Failure::new(format!("no {part} lies there")))
    };
    let flipped = |name: &str| {
        let mut objects = whole.clone();
        let bytes = objects.get_mut(name).expect("it lies there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        objects
    };
    let title = String::from_utf8_lossy(&whole["repository"]).replace("federation dev", "federation mars");
    let mut foreign: Objects = whole.clone();
    foreign.insert("repository".to_owned(), title.into_bytes());
    let (pack, entry) = (object("packs/")?, object("log/")?);
    let damages = [
        ("a title that names another federation", foreign, "repository"),
        ("a byte of a pack is flipped", flipped(&pack), &pack),
        ("a byte of the newest entry is flipped", flipped(&entry), &entry),
    ];
    for (what, objects, because) in damages {
        place.write(&objects)?;
        must_refuse(stage, what, (&own, place, folder), because)?;
    }
    place.write(&whole)?;

    let key = stage.tree.dev.join("key-of-nothing.key");
    if !key.exists() {
        text_of(command(stage.tree.binary("dwcpd")).args(["backup-key", "--out"]).arg(&key))?;
    }
    let text = fs::read_to_string(&own).map_err(|e| fault("cannot read", &own, &e))?;
    let used = setting(&text, "key_file").ok_or_else(|| Failure::new("no key is configured"))?;
    let other = own.with_file_name("with-another-key.yaml");
    fs::write(&other, text.replace(&used, &key.to_string_lossy()))
        .map_err(|e| fault("cannot write", &other, &e))?;
    let held = must_refuse(stage, "another key", (&other, place, folder), "key");
    fs::remove_file(&other).map_err(|e| fault("cannot remove", &other, &e))?;
    held
}

/// A dry run in the first region, then every region under the number that the first one prints.
fn restore_all(stage: &Stage, place: &Place, folders: &BTreeMap<String, PathBuf>) -> Result<(), Failure> {
    let first = &stage.regions[0];
    let dry = dwcpd(stage, &config(stage, first), place, &["--dry-run"])?;
    let text = String::from_utf8_lossy(&dry.stdout).into_owned();
    text.lines().for_each(|line| stage.say(&format!("dry run: {line}")));
    let has = |part: &str| text.contains(part);
    let says = has(&format!("VM {GONE} (")) && !has(LATE) && has("differs: ") && has("lost: ");
    if !dry.status.success() || !says || folders[first].join("store").exists() {
        return Err(Failure::new(format!("the dry run does not say what there is: {}", told(&dry))));
    }
    let mut number = String::new();
    for region in &stage.regions {
        let words = ["--restoration", &number];
        let output =
            dwcpd(stage, &config(stage, region), place, if number.is_empty() { &[] } else { &words })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let printed = text.lines().find_map(|line| line.strip_prefix("restoration: "));
        let Some(printed) = printed.filter(|_| output.status.success()) else {
            return Err(Failure::new(format!("dwcpd restore in {region}: {}", told(&output))));
        };
        if number.is_empty() {
            number = printed.to_owned();
        }
        if number != printed {
            return Err(Failure::new(format!("{region} is of restoration {printed}, not {number}")));
        }
        stage.say(&format!("{region}: restored, restoration {printed}"));
    }
    Ok(())
}

/// Waits until every region has adopted what its hosts have; what is said then.
fn adopted(stage: &Stage) -> Result<Value, Failure> {
    let mut last = Value::Null;
    let done = wait_until(PATIENCE, Duration::from_millis(500), || {
        let output = stage.cli(&["--format", "json", "federation", "restoration", "status"]);
        let read = output.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
        last = read.unwrap_or_default();
        last["done"] == true
    });
    if done { Ok(last) } else { Err(Failure::new(format!("not everything is adopted: {last}"))) }
}

/// What was changed since the backup is named.
fn check_status(status: &Value) -> Result<(), Failure> {
    let how = |name: &str| {
        let vms = status["vms"].as_array().into_iter().flatten();
        let found = vms.into_iter().find(|vm| vm["name"] == name);
        found.map(|vm| vm["how"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    let expected = [
        (LATE, "the backup does not have it"),
        (GONE, "no host has it"),
        (STOPPED, "wanted stopped instead of running"),
    ];
    for (name, wanted) in expected {
        if !how(name).contains(wanted) {
            return Err(Failure::new(format!("{name} is told as {:?}, not as {wanted:?}", how(name))));
        }
    }
    let lost = status["lost"].to_string();
    match lost.contains(GONE) && lost.contains("policy") && lost.contains("tokens") {
        true => Ok(()),
        false => Err(Failure::new(format!("what is lost is not named: {lost}"))),
    }
}

/// Every record that a guest said is written is in the same VM.
fn check_records(stage: &Stage, writers: Vec<(String, sync_loss::Writer)>) -> Result<(), Failure> {
    let vms = demo::vms(stage.tree)?;
    for (name, writer) in writers {
        let written: BTreeMap<u64, Record> = writer.finish();
        let vm = vms.get(&name).ok_or_else(|| Failure::new(format!("no VM {name}")))?;
        let missing = sync_loss::missing(vm, &written);
        stage.say(&format!("{name}: {} records written meanwhile, {} missing", written.len(), missing.len()));
        if written.is_empty() || !missing.is_empty() {
            return Err(Failure::new(format!("{name} lacks records {missing:?}")));
        }
    }
    Ok(())
}

/// The restored control plane is obeyed: what no host has is decided, a VM starts again, and another is created.
fn works_again(stage: &Stage, before: &BTreeMap<String, Vm>) -> Result<(), Failure> {
    must(stage, &["federation", "restoration", "decide", GONE, "--forget", "--reason", "deleted since"])?;
    must(stage, &["federation", "restoration", "status"])?;
    must(stage, &["vm", "restart", LATE])?;
    must(stage, &["vm", "start", STOPPED])?;
    must(stage, &["vm", "create", "--name", "drill-afterwards"])?;
    stage.wait_until_all_answer(PATIENCE)?;
    let after = demo::vms(stage.tree)?;
    let elsewhere = before.iter().find(|(name, vm)| after.get(*name).is_none_or(|now| now.id != vm.id));
    if let Some((name, _)) = elsewhere {
        return Err(Failure::new(format!("{name} is not the VM that it was")));
    }
    let raised = [LATE, STOPPED].iter().all(|name| after[*name].generation > before[*name].generation);
    if raised { Ok(()) } else { Err(Failure::new("what starts again must do so under a later generation")) }
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn settings_are_found_by_name() {
        let text = "data_dir: \"/d/a\"\nbackup:\n  key_file: /k\n";
        assert_eq!(setting(text, "data_dir").as_deref(), Some("/d/a"));
        assert_eq!(setting(text, "key_file").as_deref(), Some("/k"));
        assert_eq!(setting(text, "wan"), None);
    }
}
