//! One byte changes on the disk of a region, behind its back: it is found, named and mended while everything goes on.

use super::stage::{Stage, told};
use super::writer::Writer;
use crate::federation::{api_url, demo, planned, process, up};
use crate::run::{Failure, capture, command, fault, wait_until};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// What is changed stands in records of the VMs, which nobody writes anew by the way. The file has copies that are no longer
/// in use as well: a change of those harms nobody.
const IN_RECORDS: &[u8] = b"demo-";
/// A page of the file.
const PAGE: usize = 4_096;
/// `/records/` in Base64, by where in a group of three bytes it begins.
const IN_RECORD_KEYS: [&str; 3] = ["L3JlY29yZHMv", "9yZWNvcmRzL", "vcmVjb3Jkcy"];
/// A record in etcd that is changed is longer than this, as text.
const IN_ETCD_LEAST: usize = 200;
/// Records that are tried: one that the server writes anew is whole again.
const IN_ETCD_TRIES: usize = 8;
/// So many changed bytes are to be found, each mended before the next.
const FOUND: usize = 2;
/// Damage that is there after this long is not mended by chance.
const STAYS: Duration = Duration::from_secs(5);
/// A command that reads every store, or follows a rebuild to its end, may take so long.
const PATIENCE: &str = "10m";

/// Changes bytes, has them found and mended, and kills the controller in the midst of a rebuild.
///
/// # Errors
/// Says what did not hold.
pub fn bitrot(stage: &Stage) -> Result<(), Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    let before = demo::vms(stage.tree)?;
    let writer = Writer::start(stage.tree);
    let began = stage.probe.now();
    let clean = verify(stage)?;
    expect(stage, &clean, 0, "equal")?;
    let (source, victim) = (&stage.regions[0], &stage.regions[1]);
    for _ in 0..FOUND {
        rot(stage, victim)?;
        mend(stage, source, victim)?;
    }
    refused(stage, source, victim)?;
    controller_dies(stage, source)?;
    let all = force(stage, &["--source", source, "--targets", "all"])?;
    succeeded("force-sync --targets all", &all)?;
    expect(stage, &verify(stage)?, 0, "equal")?;
    let written = writer.finish();
    let longest = stage.undisturbed(&before, (began, stage.probe.now()))?;
    stage.say(&format!("{} VMs went on, longest silence {} ms", before.len(), longest.as_millis()));
    stage.check_written(&written, &stage.regions)?;
    stage.check_no_doubles()
}

fn cli(stage: &Stage, words: &[&str]) -> Result<Output, Failure> {
    capture(demo::cli(stage.tree).args(["--timeout", PATIENCE]).args(words))
}

fn verify(stage: &Stage) -> Result<Output, Failure> {
    cli(stage, &["--format", "json", "federation", "state", "verify-sync"])
}

fn force(stage: &Stage, words: &[&str]) -> Result<Output, Failure> {
    let output = cli(stage, &[&["federation", "state", "force-sync"][..], words].concat())?;
    stage.say(&format!("force-sync {}: exit {}", words.join(" "), output.status.code().unwrap_or(-1)));
    Ok(output)
}

fn succeeded(what: &str, output: &Output) -> Result<(), Failure> {
    if output.status.success() { Ok(()) } else { Err(Failure::new(format!("{what}: {}", told(output)))) }
}

fn read(output: &Output) -> Result<Value, Failure> {
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Failure::new(format!("verify-sync printed no JSON: {e}: {}", told(output))))
}

/// The exit code and the worst state of all regions; tells what it took.
fn expect(stage: &Stage, output: &Output, exit: i32, state: &str) -> Result<Value, Failure> {
    let verdict = read(output)?;
    if output.status.code() != Some(exit) || verdict["state"] != state {
        return Err(Failure::new(format!(
            "verify-sync ended with exit {:?} and {}, not {exit} and {state:?}: {verdict}",
            output.status.code(),
            verdict["state"]
        )));
    }
    let regions = verdict["regions"].as_array().cloned().unwrap_or_default();
    let of =
        |name: &str| regions.iter().filter_map(|region| region["store"][name].as_u64()).max().unwrap_or(0);
    stage.say(&format!(
        "verify-sync: {state} in {} ms; the largest store {} KiB read in at most {} ms; commits held up at most {} us, \
         longest commit meanwhile {} us",
        verdict["took_ms"],
        of("file_bytes") / 1_024,
        of("took_ms"),
        of("held_us"),
        of("longest_commit_us")
    ));
    Ok(verdict)
}

fn store(stage: &Stage, region: &str) -> PathBuf {
    stage.tree.dev.join("data").join(region).join("store/store.redb")
}

/// Changes bytes until one of them was in use.
fn rot(stage: &Stage, victim: &str) -> Result<(), Failure> {
    if up::in_etcd(&planned(stage.tree)?) {
        return rot_in_etcd(stage, victim);
    }
    let path = store(stage, victim);
    let bytes = std::fs::read(&path).map_err(|e| fault("cannot read", &path, &e))?;
    let found = bytes.windows(IN_RECORDS.len()).enumerate().filter(|(_, part)| *part == IN_RECORDS);
    let mut places: Vec<usize> = found.map(|(at, _)| at).collect();
    places.dedup_by_key(|at| *at / PAGE);
    let tried = places.len();
    for at in places {
        if rotten(stage, victim, at as u64)? {
            return Ok(());
        }
    }
    Err(Failure::new(format!("none of {tried} changed bytes of {} was in use", path.display())))
}

/// Changes one byte of a region's store. True when it was in use, was found there and nowhere else, and is still there a while
/// later: what the database happens to write anew is mended by that.
fn rotten(stage: &Stage, victim: &str, at: u64) -> Result<bool, Failure> {
    let path = store(stage, victim);
    let failed = |e| fault("cannot change", &path, &e);
    let file = File::options().read(true).write(true).open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).map_err(failed)?;
    file.write_all_at(&[byte[0] ^ 0x10], at).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    found(stage, victim, &format!("byte {at} of {length}"))
}

/// Changes a character of a record in a region's etcd, past the server: each is in use, until the server writes it anew.
fn rot_in_etcd(stage: &Stage, victim: &str) -> Result<(), Failure> {
    // From the first key to the last one.
    let all = in_etcd(stage, victim, "range", &json!({"key": "AA==", "range_end": "AA=="}))?;
    let records = all["kvs"].as_array().cloned().unwrap_or_default();
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let record = |of: &Value| (text(of, "key"), text(of, "value"));
    let is_record = |key: &str| IN_RECORD_KEYS.iter().any(|part| key.contains(part));
    let mut records: Vec<(String, String)> = records.iter().map(record).collect();
    records.retain(|(key, value)| is_record(key) && value.len() > IN_ETCD_LEAST);
    records.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    for (key, before) in records.into_iter().take(IN_ETCD_TRIES) {
        let at = before.len() * 2 / 3;
        let other = if before.as_bytes()[at] == b'A' { "B" } else { "A" };
        let after = format!("{}{other}{}", &before[..at], &before[at + 1..]);
        in_etcd(stage, victim, "put", &json!({"key": key, "value": after}))?;
        if found(stage, victim, &format!("a byte of a record of {} in etcd", before.len() / 4 * 3))? {
            return Ok(());
        }
        let now = in_etcd(stage, victim, "range", &json!({"key": key}))?;
        if now["kvs"][0]["value"] == after.as_str() {
            return Err(Failure::new(format!(
                "a byte that changed in the etcd of {victim} was not found: {key}"
            )));
        }
        stage.say("it was written anew before anybody looked");
    }
    Err(Failure::new(format!("no changed byte in the etcd of {victim} stayed until somebody looked")))
}

/// Asks a region's etcd by HTTP, with its clients' certificate.
fn in_etcd(stage: &Stage, region: &str, what: &str, body: &Value) -> Result<Value, Failure> {
    let pki = stage.tree.dev.join(format!("pki/etcd-{region}"));
    let url = format!("https://127.77.{}.1:2379/v3/kv/{what}", stage.number(region));
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--cacert"]).arg(pki.join("ca.pem"));
    curl.arg("--cert").arg(pki.join("etcd.pem")).arg("--key").arg(pki.join("etcd.key"));
    let output = capture(curl.args(["--data", &body.to_string(), &url]))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::new(format!("curl {url}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// True when a change was found, there and nowhere else, and is still there a while later.
fn found(stage: &Stage, victim: &str, changed: &str) -> Result<bool, Failure> {
    let output = verify(stage)?;
    let verdict = read(&output)?;
    if verdict["state"] == "equal" {
        return Ok(false);
    }
    expect(stage, &output, 1, "damaged")?;
    let regions = verdict["regions"].as_array().cloned().unwrap_or_default();
    for region in &regions {
        let wanted = if region["region"] == victim { "damaged" } else { "equal" };
        if region["state"] != wanted {
            return Err(Failure::new(format!("{changed} of {victim} changed, and {region} is said")));
        }
        if region["region"] == victim {
            stage.say(&format!("{changed} of {victim}: {}", region["store"]["flaws"][0]["what"]));
        }
    }
    std::thread::sleep(STAYS);
    let stays = read(&verify(stage)?)?["state"] == "damaged";
    stage.say(if stays { "it stays" } else { "it was written over" });
    Ok(stays)
}

fn mend(stage: &Stage, source: &str, victim: &str) -> Result<(), Failure> {
    let words = ["--source", source, "--targets", victim];
    let plan = force(stage, &[&words[..], &["--dry-run"]].concat())?;
    succeeded("the dry run", &plan)?;
    let mended = force(stage, &words)?;
    succeeded("force-sync", &mended)?;
    expect(stage, &verify(stage)?, 0, "equal")?;
    Ok(())
}

/// What would put a quorum at risk is refused, and a region that does not answer is named.
fn refused(stage: &Stage, source: &str, victim: &str) -> Result<(), Failure> {
    let away = &stage.regions[2];
    process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd" && one.region == *away);
    std::thread::sleep(Duration::from_secs(4));
    let endpoint = api_url(stage.number(source));
    let at = |words: &[&str]| cli(stage, &[&["--endpoint", &endpoint][..], words].concat());
    let unreached = at(&["--format", "json", "federation", "state", "verify-sync"])?;
    expect(stage, &unreached, 7, "unreachable")?;
    let risky = at(&["federation", "state", "force-sync", "--source", source, "--targets", victim])?;
    stage.say(&format!("with {away} away: exit {}: {}", risky.status.code().unwrap_or(-1), told(&risky)));
    if risky.status.code() != Some(5) || !told(&risky).contains(away.as_str()) {
        return Err(Failure::new("a rebuild with another voter away must be refused with exit 5"));
    }
    stage.heal(&[])?;
    // It answers before it has caught up.
    let equal = wait_until(Duration::from_secs(60), Duration::from_secs(1), || {
        verify(stage).is_ok_and(|output| output.status.success())
    });
    if equal { Ok(()) } else { Err(Failure::new(format!("{away} is back and not equal to the others"))) }
}

/// The server that leads the federation's group dies while a rebuild goes on; another one brings it to its end.
fn controller_dies(stage: &Stage, source: &str) -> Result<(), Failure> {
    let status = stage.json_at(source, &["federation", "status", "--global"])?;
    let leader = status["leader"].as_str().unwrap_or_default().to_owned();
    let target = stage.other_than(&[source, &leader]);
    let begun = force(stage, &["--source", source, "--targets", &target, "--detach"])?;
    succeeded("force-sync --detach", &begun)?;
    let operation = told(&begun);
    std::thread::sleep(Duration::from_secs(3));
    process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd" && one.region == leader);
    std::thread::sleep(Duration::from_secs(5));
    stage.heal(&[])?;
    let mut last = String::new();
    let ended = wait_until(Duration::from_secs(300), Duration::from_secs(1), || {
        let output = cli(stage, &["operation", "show", &operation, "--format", "json"]);
        let value: Value =
            output.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok()).unwrap_or_default();
        last = value["state"].as_str().unwrap_or_default().to_owned();
        !matches!(last.as_str(), "" | "running" | "waiting")
    });
    stage.say(&format!("{leader} led and died during the rebuild of {target}: the operation is {last}"));
    if !ended || last != "done" {
        return Err(Failure::new(format!("the rebuild is {last:?} after its controller died")));
    }
    Ok(())
}
