//! A region dies under a guest that writes to a protected disk: every record that the guest said is written is there
//! afterwards, in another region, each looked for on its own.

use super::probe;
use super::stage::{Stage, must};
use crate::federation::demo::{self, Vm};
use crate::run::{Failure, text_of, wait_until, wall_ms};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The VM; drills take away what begins so.
const NAME: &str = "drill-sync";
/// How long the guest writes before its region dies.
const WRITES: Duration = Duration::from_secs(3);
/// A VM whose region is lost answers elsewhere within this.
pub const PROMISED: Duration = Duration::from_secs(30);
/// A new copy of a disk of 1 GiB is whole within this, on a machine that runs everything at once.
const WHOLE: Duration = Duration::from_secs(120);
/// Longest wait for one answer of a guest; under a writer that waits for its copy it is long.
const ANSWER: Duration = Duration::from_millis(800);

/// Kills the VM's region, as often as asked.
///
/// # Errors
/// Says which record is missing after which round, or what else did not hold.
pub fn sync_loss(stage: &Stage) -> Result<(), Failure> {
    must(stage, &["federation", "policy", "set", "--failovers-per-hour", "1000"])?;
    let size = ["--disk", "1GiB", "--protection", "sync"];
    must(stage, &[&["vm", "create", "--name", NAME][..], &size].concat())?;
    let (mut records, mut slowest) = (0, Duration::ZERO);
    for round in 1..=stage.rounds {
        let (count, took) = lose(stage, round)?;
        records += count;
        slowest = slowest.max(took);
    }
    stage.say(&format!(
        "{} regions lost under the writer: {records} acknowledged records, 0 missing; the slowest return took {:.1} s",
        stage.rounds,
        slowest.as_secs_f64()
    ));
    must(stage, &["federation", "policy", "set", "--failovers-per-hour", "6"])?;
    stage.check_no_doubles()
}

/// The VM of this name.
///
/// # Errors
/// There is none.
pub fn vm(stage: &Stage, name: &str) -> Result<Vm, Failure> {
    demo::vms(stage.tree)?.remove(name).ok_or_else(|| Failure::new(format!("no VM {name}")))
}

/// One round: how many records, and how long until the VM answered elsewhere.
fn lose(stage: &Stage, round: usize) -> Result<(usize, Duration), Failure> {
    wait_whole(stage, NAME)?;
    let before = vm(stage, NAME)?;
    let address = before.address.ok_or_else(|| Failure::new(format!("{NAME} has no address")))?;
    let writer = Writer::start(address, round as u64 * 1_000);
    std::thread::sleep(WRITES);
    let cut = stage.kill(&before.region)?;
    let written = writer.finish();
    if written.is_empty() {
        return Err(Failure::new(format!(
            "round {round}: no record was acknowledged in {} s",
            WRITES.as_secs()
        )));
    }
    let (after, took) = back(stage, NAME, &before, cut)?;
    let missing = missing(&after, &written);
    let proven = proven(stage, NAME, &before.region);
    stage.say(&format!(
        "round {round}: {} lost; {NAME} answers in {} after {:.1} s; {} records acknowledged, {} missing; the record says {proven:?}",
        before.region,
        after.region,
        took.as_secs_f64(),
        written.len(),
        missing.len()
    ));
    if !missing.is_empty() {
        return Err(Failure::new(format!("round {round}: acknowledged and not there: {missing:?}")));
    }
    if !proven.starts_with("0 (sync") {
        return Err(Failure::new(format!(
            "round {round}: the failover's record does not say so: {proven:?}"
        )));
    }
    if took > PROMISED {
        return Err(Failure::new(format!("round {round}: it took longer than {} s", PROMISED.as_secs())));
    }
    stage.heal(&[&before.region])?;
    Ok((written.len(), took))
}

/// The VM once it answers elsewhere, and how long that took.
///
/// # Errors
/// It does not come back.
pub fn back(stage: &Stage, name: &str, before: &Vm, cut: Duration) -> Result<(Vm, Duration), Failure> {
    let returned = || {
        probe::answered_above(&stage.probe.book(), &before.id, before.generation)
            .map(|at| at.saturating_sub(cut))
    };
    wait_until(3 * PROMISED, Duration::from_millis(100), || returned().is_some());
    let took = returned().ok_or_else(|| Failure::new(format!("{name} did not come back")))?;
    let mut after = Vm::default();
    wait_until(Duration::from_secs(10), Duration::from_millis(100), || {
        after = vm(stage, name).unwrap_or_default();
        after.generation > before.generation && after.address.is_some()
    });
    Ok((after, took))
}

/// Waits until the copy of a VM's disk is whole; returns what is said of it.
///
/// # Errors
/// When it is not in two minutes.
pub fn wait_whole(stage: &Stage, name: &str) -> Result<Value, Failure> {
    let (mut last, mut protection) = (String::new(), Value::Null);
    let whole = wait_until(WHOLE, Duration::from_millis(300), || {
        let shown = demo::cli(stage.tree);
        protection = show(shown, name)["protection"].take();
        last = format!("{} ({})", protection["state"], protection["reason"]);
        protection["state"] == "protected"
    });
    if whole { Ok(protection) } else { Err(Failure::new(format!("the copy of {name} is not whole: {last}"))) }
}

/// A VM as any region that answers shows it; nothing when none does.
fn show(mut cli: Command, name: &str) -> Value {
    let text = text_of(cli.args(["--timeout", "15s", "--format", "json", "vm", "show", name]));
    text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// What the failover's record says of the VM's disk; it is known for sure once the VM is verified.
pub fn proven(stage: &Stage, name: &str, lost: &str) -> String {
    let other = stage.other_than(&[lost]);
    let mut said = String::new();
    wait_until(Duration::from_secs(10), Duration::from_millis(300), || {
        let list = stage.json_at(&other, &["federation", "failover", "list", "--region", lost]);
        let list = list.unwrap_or_default();
        let vms = list["items"][0]["vms"].as_array().cloned().unwrap_or_default();
        let of = vms.iter().find(|vm| vm["name"] == name);
        said = of.and_then(|vm| vm["rpo"].as_str()).unwrap_or_default().to_owned();
        of.is_some_and(|vm| vm["state"] == "verified")
    });
    said
}

/// The records that the VM does not have, each asked for until it answers.
pub fn missing(vm: &Vm, written: &BTreeMap<u64, Record>) -> Vec<u64> {
    let Some(address) = vm.address else { return written.keys().copied().collect() };
    let lacks = |(number, record): &(&u64, &Record)| {
        let mut found = None;
        wait_until(Duration::from_secs(20), Duration::from_millis(50), || {
            found = ask(address, "GET", **number, "");
            found.as_ref().is_some_and(|(status, _)| *status != 503)
        });
        found.is_none_or(|(status, body)| status != 200 || body != record.text)
    };
    written.iter().filter(lacks).map(|(number, _)| *number).collect()
}

/// A record that the guest said is written.
#[derive(Debug, Clone)]
pub struct Record {
    pub text: String,
    /// When it was heard that it is, ms since the Unix epoch.
    pub at_ms: u64,
}

/// Writes one record after the other, each in a place of its own.
pub struct Writer {
    written: Arc<Mutex<BTreeMap<u64, Record>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Begins with this number.
    pub fn start(address: SocketAddr, first: u64) -> Writer {
        let (written, stop) =
            (Arc::<Mutex<BTreeMap<u64, Record>>>::default(), Arc::new(AtomicBool::new(false)));
        let (kept, end) = (Arc::clone(&written), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut number = first;
            while !end.load(Ordering::Relaxed) {
                let text = format!("record {number} under the writer");
                if ask(address, "PUT", number, &text).is_some_and(|(status, _)| status == 200) {
                    let record = Record { text, at_ms: wall_ms() };
                    kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(number, record);
                    number += 1;
                }
            }
        });
        Writer { written, stop, thread: Some(thread) }
    }

    /// What was written.
    pub fn finish(mut self) -> BTreeMap<u64, Record> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.written.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

/// Asks for a record or writes one: status and body, or nothing in time.
pub fn ask(target: SocketAddr, method: &str, number: u64, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&target, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    let length = body.len();
    let request = format!(
        "{method} /record?{number} HTTP/1.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
