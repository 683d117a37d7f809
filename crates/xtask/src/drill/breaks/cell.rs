//! One cell: a move, a moment of it, and one thing that dies then.

use super::super::stage::Stage;
use super::super::{probe, sync_loss};
use super::sight::{self, Sight};
use super::{Fault, GONE, NAME, Phase, SETTLED, link};
use crate::federation::demo::{self, Vm};
use crate::federation::up;
use crate::run::{Failure, wait_until};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The guest writes so long before it moves.
const WRITES: Duration = Duration::from_secs(2);
/// Between two records.
const WRITE_EVERY: Duration = Duration::from_millis(30);
/// A moment that has not come by then does not come.
const MOMENT: Duration = Duration::from_secs(60);
/// Every operation has ended by then.
const ENDED: Duration = Duration::from_secs(120);
/// Numbers of records repeat after so many: a guest has that many places.
const PLACES: u64 = 60_000;

/// What one cell found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The moment was over before anything could be struck.
    pub missed: bool,
    /// What became of the guest.
    pub outcome: String,
    /// What the operation says of its end.
    pub said: String,
    /// Longest time after the strike in which the VM answered nobody.
    pub silent: Duration,
    /// From the strike to the end of the operation.
    pub ended: Duration,
    /// Records that were acknowledged, and those of them that are not there.
    pub records: usize,
    pub missing: usize,
    /// What did not hold.
    pub wrong: Vec<String>,
}

impl Found {
    /// For the table.
    pub fn short(&self) -> String {
        match (self.missed, self.wrong.is_empty()) {
            (true, _) => "missed".to_owned(),
            (_, true) => format!("{} {:.1} s", self.outcome, self.silent.as_secs_f64()),
            (_, false) => format!("WRONG: {}", self.outcome),
        }
    }

    /// In one line.
    pub fn told(&self) -> String {
        format!(
            "{}; silent for {:.1} s; ended after {:.1} s: {}; {} records, {} missing{}{}",
            self.outcome,
            self.silent.as_secs_f64(),
            self.ended.as_secs_f64(),
            self.said,
            self.records,
            self.missing,
            if self.wrong.is_empty() { "" } else { "; WRONG: " },
            self.wrong.join("; ")
        )
    }
}

/// What is known of a cell while it runs.
struct Cell<'a> {
    stage: &'a Stage<'a>,
    vm: &'a Vm,
    target: &'a str,
    /// A region that nothing happens to.
    witness: String,
    operation: String,
}

/// Begins a move, strikes at its moment, waits for the end of it and judges.
///
/// # Errors
/// The move could not be asked for, or a process could not be brought back.
pub fn strike(
    stage: &Stage,
    vm: &Vm,
    target: &str,
    (phase, fault): (Phase, Fault),
) -> Result<Found, Failure> {
    let (written, stop) = (Mutex::<Vec<u64>>::default(), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| write(stage, &vm.id, &written, &stop));
        let found = move_and_strike(stage, vm, target, (phase, fault));
        stop.store(true, Ordering::Relaxed);
        found
    });
    let mut found = result?;
    if !found.missed {
        look_for(stage, &vm.id, &taken(&written), &mut found);
    }
    Ok(found)
}

fn move_and_strike(
    stage: &Stage,
    vm: &Vm,
    target: &str,
    (phase, fault): (Phase, Fault),
) -> Result<Found, Failure> {
    std::thread::sleep(WRITES);
    let boot = boot_at(stage, &vm.id).ok_or_else(|| Failure::new(format!("{NAME} does not answer")))?;
    let witness = stage.other_than(&[&vm.region, target]);
    let words =
        ["--detach", "federation", "migrate", "--vm", NAME, "--target", target, "--max-downtime", "5s"];
    let begun = stage.json_at(&vm.region, &words)?;
    let operation = begun["operations"][0]["operation"].as_str().unwrap_or_default().to_owned();
    let cell = Cell { stage, vm, target, witness, operation };
    let mut found = Found::default();
    let seen = match cell.wait_for(phase) {
        Ok(seen) => seen,
        Err(seen) => {
            found.missed = true;
            found.outcome = seen;
            cell.wait_for_end(Instant::now());
            return Ok(found);
        }
    };
    let (struck, at) = (Instant::now(), stage.probe.now());
    let killed = cell.kill(fault)?;
    let what = killed.as_deref().unwrap_or("nothing there to kill");
    stage.say(&format!("  {seen}: {what}"));
    std::thread::scope(|scope| {
        let mending = killed.is_some().then(|| scope.spawn(|| cell.mend_later(fault)));
        cell.judge(&mut found, (struck, at), (&boot, fault.may_boot()));
        match mending.map(std::thread::ScopedJoinHandle::join) {
            Some(mended) => mended.unwrap_or_else(|_| Err(Failure::new("nothing was mended"))),
            None => Ok(()),
        }
    })?;
    if killed.is_none() {
        found.outcome = "nothing there".to_owned();
    }
    Ok(found)
}

impl Cell<'_> {
    /// Waits for the moment; what was seen then, or what was seen instead.
    fn wait_for(&self, phase: Phase) -> Result<String, String> {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < MOMENT {
            let Some(seen) = Sight::of(self.stage, &self.vm.region, &self.operation) else { continue };
            let there = sight::emulators(self.stage, &self.vm.id);
            let now = seen.phase(there.iter().any(|(one, _)| one.region == self.target));
            last = now.map_or_else(|| "over".to_owned(), |now| format!("{now:?}")) + ": " + &seen.told();
            match now {
                Some(now) if now == phase => return Ok(last),
                Some(now) if now < phase => {}
                _ => return Err(last),
            }
        }
        Err(format!("not within {} s: {last}", MOMENT.as_secs()))
    }

    /// Kills one thing; none when there is no such thing at that moment.
    fn kill(&self, fault: Fault) -> Result<Option<String>, Failure> {
        let emulators = sight::emulators(self.stage, &self.vm.id);
        let of = |region: &str| emulators.iter().find(|(one, _)| one.region == region);
        let process = match fault {
            Fault::SourceAgent => sight::worker(self.stage, &self.vm.host),
            // Before it has an emulator nobody knows which of its hosts it will be.
            Fault::TargetAgent => of(self.target).and_then(|(_, host)| sight::worker(self.stage, host)),
            Fault::SourceVm => of(&self.vm.region).map(|(one, _)| one.id),
            Fault::TargetVm => of(self.target).map(|(one, _)| one.id),
            Fault::SourceServer => sight::server(self.stage, &self.vm.region),
            Fault::TargetServer => sight::server(self.stage, self.target),
            Fault::Link => {
                link(self.stage, (&self.vm.region, self.target), &["--cut"])?;
                return Ok(Some(format!("{} and {} cut off", self.vm.region, self.target)));
            }
        };
        let Some(process) = process else { return Ok(None) };
        process.signal(libc::SIGKILL);
        Ok(Some(format!("{fault:?}, pid {} killed", process.pid)))
    }

    /// Brings back what does not come back by itself, after a while.
    fn mend_later(&self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::SourceServer | Fault::TargetServer => {
                std::thread::sleep(GONE);
                up::again(self.stage.tree)
            }
            Fault::Link => {
                std::thread::sleep(GONE);
                link(self.stage, (&self.vm.region, self.target), &["--heal"])
            }
            _ => Ok(()),
        }
    }

    /// Waits until the operation has ended; how the move ended, and how long after `since`.
    fn wait_for_end(&self, since: Instant) -> (Option<Sight>, Duration) {
        let mut seen = None;
        let over = wait_until(ENDED, Duration::from_millis(200), || {
            let shown = self.stage.json_at(&self.witness, &["operation", "show", &self.operation]);
            seen = Sight::of(self.stage, &self.witness, &self.operation).or(seen.take());
            let ended = shown.is_ok_and(|shown| shown["ended_at_ms"].is_u64());
            ended && seen.as_ref().is_some_and(|seen| !seen.is_open())
        });
        (seen.filter(|_| over), since.elapsed())
    }

    fn judge(&self, found: &mut Found, (struck, at): (Instant, Duration), (boot, may_boot): (&str, bool)) {
        let (end, ended) = self.wait_for_end(struck);
        found.ended = ended;
        match end {
            Some(end) => found.said = format!("{} {}", end.state, end.reason).trim().to_owned(),
            None => found.wrong.push(format!("not ended after {} s", ENDED.as_secs())),
        }
        let mut now = Vm::default();
        let answers = wait_until(SETTLED, Duration::from_millis(200), || {
            now = demo::vms(self.stage.tree).unwrap_or_default().remove(NAME).unwrap_or_default();
            now.state == "running" && now.answer().is_some()
        });
        if !answers {
            found.wrong.push(format!("it does not answer: {now:?}"));
        }
        let mut hosts = Vec::new();
        let one = wait_until(SETTLED, Duration::from_millis(200), || {
            let there = sight::emulators(self.stage, &self.vm.id);
            hosts = there.into_iter().map(|(_, host)| host).collect();
            hosts == [now.host.as_str()]
        });
        if !one {
            found.wrong.push(format!("it should run on {} alone: {hosts:?}", now.host));
        }
        let until = self.stage.probe.now();
        found.silent = probe::longest_gap(&self.stage.probe.book(), &self.vm.id, (at, until));
        let same = boot_at(self.stage, &self.vm.id).is_some_and(|now| now == boot);
        let place = if now.host == self.vm.host { "stayed" } else { "moved" };
        found.outcome = if same { place.to_owned() } else { format!("{place}, anew") };
        if !same && !may_boot {
            found.wrong.push("the guest booted again".to_owned());
        }
        let doubles = probe::doubles(&self.stage.probe.book());
        found.wrong.extend(doubles.into_iter().filter(|double| double.starts_with(&self.vm.id)));
    }
}

/// The boot of the VM that answered last.
fn boot_at(stage: &Stage, vm: &str) -> Option<String> {
    let book = stage.probe.book();
    let answered = |boot: &&probe::Boot| boot.answers.last().map(|(_, answered)| *answered);
    book.get(vm)?.values().max_by_key(answered).map(|boot| boot.id.clone())
}

/// Where the VM answered last.
fn place_of(stage: &Stage, vm: &str) -> Option<SocketAddr> {
    let book = stage.probe.book();
    let answered = |boot: &&probe::Boot| boot.answers.last().map(|(_, answered)| *answered);
    book.get(vm)?.values().max_by_key(answered).map(|boot| boot.address)
}

fn text(number: u64) -> String {
    format!("record {number} of a VM that something happens to")
}

fn taken(written: &Mutex<Vec<u64>>) -> Vec<u64> {
    std::mem::take(&mut written.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Writes one record after the other to wherever the VM answers, and notes those that it said are on its disk.
fn write(stage: &Stage, vm: &str, written: &Mutex<Vec<u64>>, stop: &AtomicBool) {
    // A cell's records must not be taken for those of another.
    let mut number = u64::try_from(stage.probe.now().as_millis()).unwrap_or(0);
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(WRITE_EVERY);
        let Some(at) = place_of(stage, vm) else { continue };
        let asked = sync_loss::ask(at, "PUT", number % PLACES, &text(number));
        if asked.is_some_and(|(status, _)| status == 200) {
            written.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(number);
            number += 1;
        }
    }
}

/// Looks for every record, each asked for until it answers.
fn look_for(stage: &Stage, vm: &str, written: &[u64], found: &mut Found) {
    found.records = written.len();
    let mut lost = Vec::new();
    for number in written {
        let mut answer = None;
        wait_until(Duration::from_secs(10), Duration::from_millis(50), || {
            let at = place_of(stage, vm);
            answer = at.and_then(|at| sync_loss::ask(at, "GET", number % PLACES, ""));
            answer.as_ref().is_some_and(|(status, _)| *status != 503)
        });
        if answer.as_ref().is_none_or(|(status, body)| *status != 200 || *body != text(*number)) {
            lost.push(*number);
        }
        // A guest that is gone has lost them all; each would be waited for.
        if answer.is_none() && lost.len() > 2 {
            found.wrong.push("it does not answer when its records are read".to_owned());
            break;
        }
    }
    found.missing = lost.len();
    if written.is_empty() {
        found.wrong.push("no record was acknowledged".to_owned());
    }
    if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
        found.wrong.push(format!("{} records missing, from {first} to {last}", lost.len()));
    }
}
