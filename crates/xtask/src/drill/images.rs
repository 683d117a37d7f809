//! An image lies on one host. It is published, comes to every host, goes on where a kill broke it off, and is refused where
//! a byte of it is wrong.

use super::stage::{Stage, told};
use crate::federation::{demo, image, planned, process, up};
use crate::run::{Failure, capture, fault, text_of, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const IMAGE: &str = "drill-web";
const VM: &str = "drill-from-image";
/// What its disk holds, MiB: enough that a kill finds it on its way.
const DISK_MIB: u64 = 96;
/// A host is killed when so much of the image is there, bytes.
const MID: u64 = 8 << 20;
/// Every host has the image within this of its publication; agents share this machine.
const ALL_HAVE_IT: Duration = Duration::from_secs(240);
/// An agent looks at its image folder within this, and its region's leader has told the others.
const SEEN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Publishes an image of one host and watches it come to all.
///
/// # Errors
/// Says what did not hold.
pub fn images(stage: &Stage) -> Result<(), Failure> {
    let hosts = Hosts::of(stage)?;
    let (origin, region) = (hosts.first_of(&stage.regions[1])?, stage.regions[1].clone());
    hosts.own_folder(stage, &origin)?;
    let held = distributed(stage, &hosts, &origin, &region);
    let restored = hosts.shared_folder(stage, &origin);
    held.and(restored)
}

fn distributed(stage: &Stage, hosts: &Hosts, origin: &str, region: &str) -> Result<(), Failure> {
    make_image(stage, &hosts.folder(origin).join("images").join(IMAGE))?;
    let seen = wait_until(SEEN, LOOK, || {
        show(stage).is_ok_and(|answer| present(&answer) == [format!("{region}/{origin}")])
    });
    if !seen {
        return Err(Failure::new(format!(
            "{IMAGE} of {origin} is not in `image list`: {:?}",
            show(stage).map(|a| a.to_string())
        )));
    }
    ok(stage, &["image", "publish", IMAGE, "--host", &format!("{region}/{origin}")])?;
    let digest = show(stage)?["image"]["digest"].as_str().unwrap_or_default().to_owned();
    let since = Instant::now();
    stage.say(&format!("{IMAGE} of {region}/{origin} is published as {}", &digest[..12.min(digest.len())]));
    let (victim, kept) = kill_in_mid_fetch(stage, hosts, origin, &digest)?;
    resumed(stage, hosts, &victim, &digest, kept)?;
    all_have_it(stage, hosts, &digest, since)?;
    vm_elsewhere(stage, &digest, region)?;
    wrong_byte(stage, hosts, &digest, &[origin, &victim])?;
    refused_while_used(stage)
}

/// Kills an agent, with its host's VMs, while the image comes to it; says which and how much had come.
fn kill_in_mid_fetch(
    stage: &Stage,
    hosts: &Hosts,
    origin: &str,
    digest: &str,
) -> Result<(String, u64), Failure> {
    let mut found = None;
    wait_until(ALL_HAVE_IT, Duration::from_millis(20), || {
        let others = hosts.0.keys().filter(|host| *host != origin);
        let mid = others.map(|host| (host.clone(), hosts.coming(host, digest)));
        found = mid
            .filter(|(_, bytes)| (MID..(DISK_MIB << 20) * 3 / 4).contains(bytes))
            .max_by_key(|(_, bytes)| *bytes);
        found.is_some()
    });
    let Some((victim, _)) = found else { return Err(Failure::new("no fetch was seen on its way")) };
    let name = format!("agentd-{victim}");
    let (killed, left) = process::stop(&stage.tree.dev, Duration::ZERO, |one| one.name == name);
    if killed == 0 || !left.is_empty() {
        return Err(Failure::new(format!("could not kill {victim}")));
    }
    let kept = hosts.coming(&victim, digest);
    if kept < MID || hosts.has(&victim, digest) {
        return Err(Failure::new(format!("{victim} was killed too late: {kept} bytes were there")));
    }
    stage.say(&format!("{victim} is killed with {} of {DISK_MIB} MiB there", kept >> 20));
    std::thread::sleep(Duration::from_secs(1));
    Ok((victim, kept))
}

/// Starts the killed host again: what had come stays, and the rest comes.
fn resumed(stage: &Stage, hosts: &Hosts, victim: &str, digest: &str, kept: u64) -> Result<(), Failure> {
    up::again(stage.tree)?;
    let mut least = u64::MAX;
    let there = wait_until(ALL_HAVE_IT, Duration::from_millis(50), || {
        let bytes = hosts.coming(victim, digest);
        let whole = hosts.has(victim, digest);
        if !whole {
            least = least.min(bytes);
        }
        whole
    });
    if !there || least < kept {
        return Err(Failure::new(format!("{victim}: whole: {there}; {kept} bytes were there, then {least}")));
    }
    stage.say(&format!("{victim} has it, from {} MiB on", kept >> 20));
    Ok(())
}

fn all_have_it(stage: &Stage, hosts: &Hosts, digest: &str, since: Instant) -> Result<(), Failure> {
    let count = hosts.0.len();
    let mut found = 0;
    let all = wait_until(ALL_HAVE_IT, LOOK, || {
        let on_disk = hosts.0.keys().filter(|host| hosts.has(host, digest)).count();
        found = show(stage).map_or(0, |answer| present(&answer).len()).min(on_disk);
        found == count
    });
    let took = since.elapsed().as_secs();
    if !all {
        return Err(Failure::new(format!("{found} of {count} hosts have it after {took} s")));
    }
    stage.say(&format!("all {count} hosts have it after {took} s"));
    Ok(())
}

/// A VM of the image in a region whose hosts never had it by hand.
fn vm_elsewhere(stage: &Stage, digest: &str, region: &str) -> Result<(), Failure> {
    let elsewhere = stage.other_than(&[region]);
    ok(stage, &["vm", "create", "--name", VM, "--image", IMAGE, "--regions", &elsewhere])?;
    stage.wait_until_all_answer(Duration::from_secs(120))?;
    let vm = stage.json_at(region, &["vm", "show", VM])?;
    let (of, at) = (vm["image_digest"].as_str(), vm["region"].as_str());
    if of != Some(digest) || at != Some(&elsewhere) {
        return Err(Failure::new(format!("{VM} is of {of:?} in {at:?}")));
    }
    stage.say(&format!("{VM} answers in {elsewhere}"));
    Ok(())
}

/// A byte of one host's copy is changed where nobody notices, and its neighbour loses its own: it must come from elsewhere.
fn wrong_byte(stage: &Stage, hosts: &Hosts, digest: &str, spared: &[&str]) -> Result<(), Failure> {
    let vms = demo::vms(stage.tree)?;
    let vm = &vms[VM];
    let plan = planned(stage.tree)?;
    let neighbours = |region: &String| -> Vec<String> {
        let agents = plan.iter().filter(|entry| entry.region == *region);
        agents.filter_map(|entry| entry.name.strip_prefix("agentd-").map(str::to_owned)).collect()
    };
    let fit = |names: &Vec<String>| {
        names.len() == 2 && names.iter().all(|n| !spared.contains(&n.as_str()) && *n != vm.host)
    };
    let found = stage.regions.iter().map(|region| (region, neighbours(region))).find(|(_, names)| fit(names));
    let Some((region, names)) = found else {
        return Err(Failure::new("no region of two hosts is left for it"));
    };
    let (bad, asks) = (&names[0], &names[1]);
    damage(&hosts.copy(bad, digest).join("disk.qcow2"))?;
    let lost = hosts.copy(asks, digest);
    fs::remove_dir_all(&lost).map_err(|e| fault("cannot remove", &lost, &e))?;
    stage.say(&format!("{region}: a byte of {bad}'s copy is wrong, {asks} has none any more"));
    let event = format!("host {asks} discarded what {region}/{bad} gave for image {IMAGE}");
    let mut last = String::new();
    let noticed = wait_until(ALL_HAVE_IT, LOOK, || {
        let events =
            stage.json_at(region, &["federation", "events", "list", "--region", region, "--since", "10m"]);
        last = events.map_or_else(|failure| failure.message, |events| events.to_string());
        last.contains(&event) && hosts.has(asks, digest)
    });
    if !noticed {
        return Err(Failure::new(format!(
            "{asks} has it: {}; no event `{event}` in {last}",
            hosts.has(asks, digest)
        )));
    }
    let good = sum(&hosts.copy(spared[0], digest).join("disk.qcow2"))?;
    if sum(&hosts.copy(asks, digest).join("disk.qcow2"))? != good {
        return Err(Failure::new(format!("{asks} has something else")));
    }
    let healed = wait_until(ALL_HAVE_IT, LOOK, || {
        let file = hosts.copy(bad, digest).join("disk.qcow2");
        file.exists() && sum(&file).is_ok_and(|of| of == good)
    });
    if !healed {
        return Err(Failure::new(format!("{bad} keeps its wrong byte")));
    }
    stage.say(&format!(
        "{asks} refused it and has it from elsewhere; {bad} has read its copy again and replaced it"
    ));
    Ok(())
}

fn refused_while_used(stage: &Stage) -> Result<(), Failure> {
    let output = stage.cli(&["image", "remove", IMAGE])?;
    if output.status.code() != Some(5) || !told(&output).contains("DWCP-R0070") {
        return Err(Failure::new(format!("image remove while {VM} uses it: {}", told(&output))));
    }
    ok(stage, &["vm", "delete", VM, "--yes"])?;
    let gone = wait_until(Duration::from_secs(30), LOOK, || ok(stage, &["image", "remove", IMAGE]).is_ok());
    if gone { Ok(()) } else { Err(Failure::new("image remove is refused although no VM is left")) }
}

/// Data folders by host of a region; hosts that wait for theirs get no image.
struct Hosts(BTreeMap<String, PathBuf>);

impl Hosts {
    fn of(stage: &Stage) -> Result<Hosts, Failure> {
        let mut folders = BTreeMap::new();
        let in_regions =
            planned(stage.tree)?.into_iter().filter(|entry| stage.regions.contains(&entry.region));
        for entry in in_regions {
            if let (Some(host), Some(folder)) =
                (entry.name.strip_prefix("agentd-"), image::data_of(stage.tree, &entry)?)
            {
                folders.insert(host.to_owned(), folder);
            }
        }
        Ok(Hosts(folders))
    }

    fn folder(&self, host: &str) -> &Path {
        &self.0[host]
    }

    fn first_of(&self, region: &str) -> Result<String, Failure> {
        let found = self.0.keys().find(|host| host.starts_with(region)).cloned();
        found.ok_or_else(|| Failure::new(format!("{region} has no host")))
    }

    fn copy(&self, host: &str, digest: &str) -> PathBuf {
        self.folder(host).join("image-copies").join(digest)
    }

    fn has(&self, host: &str, digest: &str) -> bool {
        self.copy(host, digest).exists()
    }

    /// Bytes of the image's disk that have come so far.
    fn coming(&self, host: &str, digest: &str) -> u64 {
        let disk = self.folder(host).join("image-fetches").join(digest).join("disk.qcow2");
        disk.metadata().map_or(0, |meta| meta.len())
    }

    /// Gives a host an image folder of its own instead of the link to the shared one.
    fn own_folder(&self, stage: &Stage, host: &str) -> Result<(), Failure> {
        let folder = self.folder(host).join("images");
        fs::remove_file(&folder).map_err(|e| fault("cannot remove", &folder, &e))?;
        fs::create_dir_all(&folder).map_err(|e| fault("cannot create", &folder, &e))?;
        let small = folder.join("small");
        symlink(stage.tree.dev.join("cache/images/small"), &small)
            .map_err(|e| fault("cannot link", &small, &e))
    }

    fn shared_folder(&self, stage: &Stage, host: &str) -> Result<(), Failure> {
        let folder = self.folder(host).join("images");
        fs::remove_dir_all(&folder).map_err(|e| fault("cannot remove", &folder, &e))?;
        symlink(stage.tree.dev.join("cache/images"), &folder).map_err(|e| fault("cannot link", &folder, &e))
    }
}

/// The small image, with a disk of which the guest sees only the empty beginning.
fn make_image(stage: &Stage, folder: &Path) -> Result<(), Failure> {
    let small = stage.tree.dev.join("cache/images/small");
    // Whole under its name, or not there.
    let new = folder.with_file_name(format!(".{IMAGE}"));
    fs::create_dir_all(&new).map_err(|e| fault("cannot create", &new, &e))?;
    for name in ["kernel", "initrd"] {
        fs::copy(small.join(name), new.join(name))
            .map_err(|e| fault("cannot copy", &small.join(name), &e))?;
    }
    let yaml = small.join("image.yaml");
    let text = fs::read_to_string(&yaml).map_err(|e| fault("cannot read", &yaml, &e))?;
    let path = new.join("image.yaml");
    fs::write(&path, format!("{text}disk: disk.qcow2\n")).map_err(|e| fault("cannot write", &path, &e))?;
    let disk = new.join("disk.qcow2");
    text_of(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1G"))?;
    let write = format!("write -P 0xa5 512M {DISK_MIB}M");
    text_of(Command::new("qemu-io").args(["-f", "qcow2", "-c", &write]).arg(&disk))?;
    fs::rename(&new, folder).map_err(|e| fault("cannot rename", &new, &e))
}

/// Another byte in the middle of a file that looks as it did before.
fn damage(path: &Path) -> Result<(), Failure> {
    let change = || -> std::io::Result<()> {
        let file = fs::File::options().read(true).write(true).open(path)?;
        let meta = file.metadata()?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, meta.len() / 2)?;
        file.write_all_at(&[byte[0] ^ 1], meta.len() / 2)?;
        file.set_modified(meta.modified()?)
    };
    change().map_err(|e| fault("cannot change", path, &e))
}

fn sum(path: &Path) -> Result<String, Failure> {
    let text = text_of(Command::new("sha256sum").arg(path))?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn show(stage: &Stage) -> Result<Value, Failure> {
    stage.json_at(&stage.regions[0], &["image", "show", IMAGE])
}

/// The hosts that have the image, as the API says.
fn present(answer: &Value) -> Vec<String> {
    let hosts = answer["hosts"].as_array().into_iter().flatten().filter(|host| host["present"] == true);
    let name = |host: &Value| {
        format!("{}/{}", host["region"].as_str().unwrap_or(""), host["host"].as_str().unwrap_or(""))
    };
    hosts.map(name).collect()
}

fn ok(stage: &Stage, words: &[&str]) -> Result<(), Failure> {
    let output = capture(demo::cli(stage.tree).args(["--timeout", "30s"]).args(words))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{}: {}", words.join(" "), told(&output))))
}
