//! Keeps points in time of a disk on another host: one each interval, each whole there before the region hears of it.
//!
//! Nothing of it holds a write of the guest up. When the other host can't be reached points get late: that is told, the guest
//! goes on, and what changed is kept in mind until the next point gets there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Kind, Opening, Pace, TransferHandle};
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::{GuardPhase, GuardReport, NEVER_MS, ProtectTo};
use dwcp_types::{decode, encode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::Happened;
use super::super::points::{self, About, Begin, HEAD_BYTES, Head, Point};
use super::intake::{Intake, Sent};
use super::mirror::Mirror;
use super::snapshot::{Progress, Since, Snapshot};
use super::{BEGIN_AGAIN, Guard, LOOK_EVERY, Process, blocking};
use crate::clock::{monotonic_us, wall_ms};
use crate::journal;

/// Between two looks at the emulator's copy.
const JOB_LOOK: Duration = Duration::from_millis(50);

/// Longest pause between two tries.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// The newest point that the other host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    since: Since,
    /// How old it was when that was heard, ms; 0: another worker heard it.
    took_ms: u64,
}

/// What is known of the points while one is made.
#[derive(Clone, Debug, Default)]
struct Known {
    newest: Option<Newest>,
    /// It has one that an earlier process left there.
    before: bool,
    /// What is being done.
    stage: &'static str,
    percent: u32,
}

/// How old the newest point is, ms, and whether points are late: it is older than two intervals, since each interval one is
/// begun, and it may take as long to be whole. Points that were late are again in time once one took no longer than that.
fn lateness(
    newest: Option<Newest>,
    was_late: bool,
    begun_us: u64,
    now_us: u64,
    interval_ms: u64,
) -> (u64, bool) {
    let age_ms = |since_us: u64| now_us.saturating_sub(since_us) / 1_000;
    match newest {
        Some(Newest { since, took_ms }) => {
            let age_ms = age_ms(since.taken_us);
            (age_ms, age_ms > 2 * interval_ms || (was_late && took_ms > interval_ms))
        }
        // The first one is all of the disk: it takes as long as it takes.
        None => (NEVER_MS, age_ms(begun_us) > 2 * interval_ms),
    }
}

/// How long to wait after a try that failed, when it was `last` before: ever longer, but never long against the interval.
fn pause(last: Duration, interval_ms: u64) -> Duration {
    (last * 2).min(Duration::from_millis(interval_ms / 2)).clamp(BEGIN_AGAIN, AGAIN_MAX)
}

/// Which point comes after the one that the other host has, and what it builds on: on nothing, when the emulator does not
/// know what changed since.
fn next_point(have: &Point, epoch: u64, at_ms: u64, bitmaps: &[Since]) -> (Point, Option<Since>) {
    let number = if have.epoch == epoch { have.number + 1 } else { 1 };
    let since = bitmaps.iter().find(|since| have.number > 0 && since.point.is(have)).copied();
    (Point { epoch, number, at_ms }, since)
}

impl Guard {
    /// Makes points until something else is wanted, or the process is gone.
    pub(super) async fn keep_points(mut self) {
        // What an earlier worker left of a mirror, when every write was wanted.
        self.unmirrored(&Arc::new(Mirror::of(&self.process, self.epoch))).await;
        let snapshot = Arc::new(Snapshot::of(&self.process));
        let known = Arc::new(Mutex::new(Known::default()));
        let begun_us = monotonic_us();
        let (mut failed, mut again) = (None, BEGIN_AGAIN);
        while let Some(to) = self.points_to() {
            let newest = locked(&known).newest;
            let due_us = newest.map_or(0, |newest| newest.since.taken_us + to.interval_ms * 1_000);
            self.busy.send_replace(true);
            if *self.moving.borrow() || monotonic_us() < due_us {
                self.busy.send_replace(false);
                self.look(&to, &known, begun_us, failed.as_deref());
                let _ = tokio::time::timeout(LOOK_EVERY, self.wanted.changed()).await;
                continue;
            }
            let made = self.make(&snapshot, &to, &known, begun_us, failed.as_deref()).await;
            self.cleared(&snapshot).await;
            self.busy.send_replace(false);
            failed = made.err();
            again = if failed.is_some() { pause(again, to.interval_ms) } else { BEGIN_AGAIN };
            if let Some(reason) = &failed {
                let said = json!({"vm": self.process.vm, "epoch": self.epoch, "error": reason});
                journal::warn("point-not-made", said);
                // What was said of it may be said of the next one too: the reason is told once points are late.
                self.look(&to, &known, begun_us, failed.as_deref());
                let _ = tokio::time::timeout(again, self.wanted.changed()).await;
            }
        }
        self.busy.send_replace(true);
        self.cleared(&snapshot).await;
        self.busy.send_replace(false);
    }

    fn points_to(&mut self) -> Option<ProtectTo> {
        self.to().filter(|to| to.interval_ms > 0)
    }

    /// Makes one point, and tells meanwhile how old the newest is.
    async fn make(
        &mut self,
        snapshot: &Arc<Snapshot>,
        to: &ProtectTo,
        known: &Arc<Mutex<Known>>,
        begun_us: u64,
        failed: Option<&str>,
    ) -> Result<(), String> {
        let (cancel, cancelled) = watch::channel(false);
        let attempt = Attempt {
            link: self.link.clone(),
            process: self.process.clone(),
            epoch: self.epoch,
            snapshot: snapshot.clone(),
            known: known.clone(),
            cancelled,
        };
        let making = attempt.run(to.clone());
        tokio::pin!(making);
        loop {
            tokio::select! {
                made = &mut making => {
                    if made.is_ok() {
                        self.look(to, known, begun_us, None);
                    }
                    return made;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let wanted = self.points_to();
                    let same = wanted.as_ref().is_some_and(|now| (&now.host, &now.endpoint) == (&to.host, &to.endpoint));
                    if !same || *self.moving.borrow() {
                        cancel.send_replace(true);
                    }
                    self.look(wanted.as_ref().unwrap_or(to), known, begun_us, failed);
                }
            }
        }
    }

    /// Takes everything away that was there for points, also what changed since them.
    pub(super) async fn forget_points(&self) {
        let snapshot = Arc::new(Snapshot::of(&self.process));
        self.cleared(&snapshot).await;
        // A VM without a disk has none of it.
        let _ = blocking(&snapshot, |snapshot| snapshot.keep_bitmaps(&[])).await;
    }

    /// Gives the guest its disk back; until that is done nothing else is.
    async fn cleared(&self, snapshot: &Arc<Snapshot>) {
        while let Err(error) = blocking(snapshot, Snapshot::clear).await {
            if !std::path::Path::new(&format!("/proc/{}", self.process.pid)).exists() {
                return;
            }
            let said =
                json!({"vm": self.process.vm, "epoch": self.epoch, "error": error, "next": "again in 1 s"});
            journal::warn("point-not-ended", said);
            tokio::time::sleep(BEGIN_AGAIN).await;
        }
    }

    /// Tells how old the newest point is, when that is news.
    fn look(&mut self, to: &ProtectTo, known: &Mutex<Known>, begun_us: u64, failed: Option<&str>) {
        let Known { newest, before, stage, percent } = locked(known).clone();
        let was_late = self.told.is_some_and(|(told, _)| told == GuardPhase::Lost);
        let (age_ms, late) = lateness(newest, was_late, begun_us, monotonic_us(), to.interval_ms);
        let newest = newest.map(|newest| newest.since);
        let copying_first = newest.is_none() && failed.is_none() && !before;
        if late && !copying_first {
            let each = format!("each {} s one is wanted", to.interval_ms / 1_000);
            let doing = if *self.moving.borrow() { "none is made while the VM moves" } else { stage };
            let why = failed.map_or_else(|| doing.to_string(), str::to_owned);
            return self.tell_point(GuardPhase::Lost, 0, (newest, age_ms), format!("{each}; {why}"));
        }
        match newest {
            Some(_) => self.tell_point(GuardPhase::Synced, 100, (newest, age_ms), String::new()),
            None => self.tell_point(GuardPhase::Syncing, percent, (newest, age_ms), String::new()),
        }
    }

    fn tell_point(
        &mut self,
        phase: GuardPhase,
        percent: u32,
        (newest, point_age_ms): (Option<Since>, u64),
        reason: String,
    ) {
        if self.told == Some((phase, percent)) && self.told_point == newest {
            return;
        }
        if self.told.map(|(told, _)| told) != Some(phase) {
            let said = json!({
                "vm": self.process.vm, "epoch": self.epoch, "phase": format!("{phase:?}"), "reason": reason,
                "age_ms": newest.map(|_| point_age_ms),
            });
            match phase {
                GuardPhase::Lost => journal::warn("points", said),
                _ => journal::info("points", said),
            }
        }
        (self.told, self.told_point) = (Some((phase, percent)), newest);
        let report = GuardReport { epoch: self.epoch, phase, percent, point_age_ms, reason };
        let (vm, generation) = (self.process.vm, self.process.generation);
        let _ = self.inputs.send(Happened::Input(Input::Guarded { vm, generation, report }));
    }
}

/// One try to make a point.
struct Attempt {
    link: TransferHandle,
    process: Process,
    epoch: u64,
    snapshot: Arc<Snapshot>,
    known: Arc<Mutex<Known>>,
    cancelled: watch::Receiver<bool>,
}

impl Attempt {
    fn stage(&self, stage: &'static str) {
        locked(&self.known).stage = stage;
    }

    /// Waits for something unless the try is given up.
    async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let mut cancelled = self.cancelled.clone();
        tokio::select! {
            done = work => done,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err("it was given up for something else".to_string()),
        }
    }

    /// Makes one. What it leaves in the emulator is for others to clear.
    async fn run(self, to: ProtectTo) -> Result<(), String> {
        let began_us = monotonic_us();
        self.stage("the copy's host is not reached yet");
        blocking(&self.snapshot, Snapshot::clear).await?;
        let (ours, carrying) = self.unless_cancelled(self.connect(&to)).await?;
        let made = self.over(ours, began_us).await;
        let ended = if carrying.is_finished() { carrying.await.ok() } else { None };
        match (made, ended) {
            // What broke the connection says more than that it is broken.
            (Err(error), Some(Err(reason))) => Err(format!("{error} ({reason})")),
            (made, _) => made,
        }
    }

    /// A connection to the host that keeps the copy; what carries it ends with it.
    async fn connect(&self, to: &ProtectTo) -> Result<(UnixStream, JoinHandle<Result<(), String>>), String> {
        let host = PeerId::Host { region: to.region.to_string(), host: to.host.to_string() };
        let endpoint =
            to.endpoint.parse().map_err(|e| format!("the endpoint of {host}, {}: {e}", to.endpoint))?;
        let opening = Opening {
            kind: Kind::Replica,
            vm: self.process.vm.0,
            generation: self.epoch,
            ..Opening::default()
        };
        let link = self.link.link(&host, endpoint).await?;
        let opened = link.open(&opening).await?.accepted().await?;
        let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
        Ok((ours, tokio::spawn(async move { opened.join(theirs, &Pace::new(0)).await })))
    }

    async fn over(&self, stream: UnixStream, began_us: u64) -> Result<(), String> {
        let (mut from, mut to) = stream.into_split();
        self.stage("the copy's host has not said which point it has");
        let (about, payload) = self.unless_cancelled(heard(&mut from)).await?;
        let have: Point = match about {
            About::Have => decode(&payload).map_err(|e| format!("not understood: {e}"))?,
            _ => return Err(format!("the copy's host says: {}", String::from_utf8_lossy(&payload))),
        };
        let bitmaps = blocking(&self.snapshot, Snapshot::bitmaps).await?;
        let (point, since) = next_point(&have, self.epoch, wall_ms(), &bitmaps);
        {
            let mut known = locked(&self.known);
            if known.newest.map(|newest| newest.since) != since {
                known.newest = since.map(|since| Newest { since, took_ms: 0 });
            }
            known.before = have.number > 0;
        }
        let keep: Vec<Since> = since.into_iter().collect();
        blocking(&self.snapshot, move |snapshot| snapshot.keep_bitmaps(&keep)).await?;
        let begin = Begin { point, since: since.map(|since| since.point).unwrap_or_default() };
        to.write_all(&points::word(About::Begin, &encode(&begin))).await.map_err(|e| e.to_string())?;
        self.stage("what changed is being copied");
        let (next, sent) = self.copy(&mut from, to, point, since).await?;
        self.stage("the copy's host has not noted it yet");
        self.whole(&mut from, sent.to, sent.words).await?;
        let took_ms = monotonic_us().saturating_sub(next.taken_us) / 1_000;
        locked(&self.known).newest = Some(Newest { since: next, took_ms });
        blocking(&self.snapshot, move |snapshot| snapshot.keep_bitmaps(&[next])).await?;
        let said = json!({
            "vm": self.process.vm, "epoch": point.epoch, "point": point.number, "since": begin.since.number,
            "bytes": sent.bytes, "took_ms": monotonic_us().saturating_sub(began_us) / 1_000,
        });
        journal::info("point-made", said);
        Ok(())
    }

    /// Lets the emulator copy what changed; everything is on its way when this returns, and the guest has its disk back.
    async fn copy(
        &self,
        from: &mut OwnedReadHalf,
        to: OwnedWriteHalf,
        point: Point,
        since: Option<Since>,
    ) -> Result<(Since, Sent<OwnedWriteHalf>), String> {
        let intake = Intake::open(&self.process.dir)?;
        let size = blocking(&self.snapshot, Snapshot::size).await?;
        let mut taking = Taking(tokio::spawn(intake.take(size, to)));
        let begun = blocking(&self.snapshot, move |snapshot| snapshot.begin(point, since)).await;
        let copied = match begun {
            Ok(next) => self.watch(from, &mut taking).await.map(|()| next),
            Err(error) => Err(error),
        };
        let next = match copied {
            Ok(next) => next,
            Err(error) => {
                // Its requests fail at once without somebody who takes them, so that the emulator can end its job.
                drop(taking);
                return Err(error);
            }
        };
        blocking(&self.snapshot, Snapshot::clear).await?;
        let sent = (&mut taking.0).await.map_err(|e| e.to_string())??;
        Ok((next, sent))
    }

    async fn watch(&self, from: &mut OwnedReadHalf, taking: &mut Taking) -> Result<(), String> {
        // It says something only when it takes no more.
        let refused = self.unless_cancelled(heard(from));
        tokio::pin!(refused);
        loop {
            tokio::select! {
                said = &mut refused => {
                    let (_, payload) = said?;
                    return Err(format!("the copy's host says: {}", String::from_utf8_lossy(&payload)));
                }
                () = tokio::time::sleep(JOB_LOOK) => {}
            }
            // An emulator that is held still does not answer.
            match blocking(&self.snapshot, Snapshot::progress).await {
                Ok(Progress::Copied) => return Ok(()),
                Ok(Progress::Copying(percent)) => locked(&self.known).percent = percent,
                Ok(Progress::Failed(error)) => {
                    let told = if taking.0.is_finished() { (&mut taking.0).await.ok() } else { None };
                    return Err(match told {
                        Some(Err(reason)) => format!("{error} ({reason})"),
                        _ => error,
                    });
                }
                Err(_) => {}
            }
        }
    }

    async fn whole(
        &self,
        from: &mut OwnedReadHalf,
        mut to: OwnedWriteHalf,
        words: u64,
    ) -> Result<(), String> {
        let all = Head { about: About::Whole, count: words, ..Head::default() };
        to.write_all(&all.bytes()).await.map_err(|e| e.to_string())?;
        match self.unless_cancelled(heard(from)).await? {
            (About::Noted, _) => Ok(()),
            (_, payload) => Err(format!("the copy's host says: {}", String::from_utf8_lossy(&payload))),
        }
    }
}

/// What takes the emulator's copy; dropped, it ends.
struct Taking(JoinHandle<Result<Sent<OwnedWriteHalf>, String>>);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the other host says next.
async fn heard(from: &mut OwnedReadHalf) -> Result<(About, Vec<u8>), String> {
    let ended = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "the connection to the copy ended".to_string(),
        _ => format!("the connection to the copy: {e}"),
    };
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head).await.map_err(ended)?;
    let head = Head::parse(&head)?;
    let mut payload = vec![0; head.length as usize];
    from.read_exact(&mut payload).await.map_err(ended)?;
    Ok((head.about, payload))
}

fn locked(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(epoch: u64, number: u64, taken_us: u64) -> Since {
        Since { point: Point { epoch, number, at_ms: 0 }, taken_us }
    }

    #[test]
    fn a_point_builds_on_what_the_other_host_has_only_if_the_emulator_knows_what_changed_since() {
        let point = |epoch, number| Point { epoch, number, at_ms: 5 };
        let known = [since(2, 4, 10), since(2, 5, 20)];
        let next = |have, bitmaps: &[Since]| next_point(&have, 2, 5, bitmaps);
        assert_eq!(next(point(2, 5), &known), (point(2, 6), Some(known[1])));
        // Its word that the last one is whole did not arrive: it has it or not.
        assert_eq!(next(point(2, 4), &known), (point(2, 5), Some(known[0])));
        assert_eq!(next(point(2, 3), &known), (point(2, 4), None), "all of it again");
        assert_eq!(next(point(2, 5), &[]), (point(2, 6), None), "another process of the emulator");
        assert_eq!(next(Point::default(), &[since(0, 0, 1)]), (point(2, 1), None));
        // The same process under a later epoch goes on from the point that is there.
        assert_eq!(next(point(1, 9), &[since(1, 9, 7)]), (point(2, 1), Some(since(1, 9, 7))));
    }

    #[test]
    fn tries_that_fail_get_rarer_up_to_half_an_interval() {
        let seconds = |last, interval_ms| pause(Duration::from_secs(last), interval_ms).as_secs_f64();
        assert_eq!([seconds(1, 30_000), seconds(4, 30_000), seconds(8, 30_000)], [2.0, 8.0, 10.0]);
        assert_eq!([seconds(4, 5_000), seconds(1, 1_000)], [2.5, 1.0]);
    }

    #[test]
    fn points_are_late_when_the_newest_is_older_than_two_intervals_until_one_is_in_time() {
        let newest = |took_ms| Some(Newest { since: since(1, 1, 1_000_000), took_ms });
        assert_eq!(lateness(newest(0), false, 0, 11_000_000, 5_000), (10_000, false));
        assert_eq!(lateness(newest(0), false, 0, 11_001_000, 5_000), (10_001, true));
        assert_eq!(
            lateness(newest(5_001), true, 0, 7_000_000, 5_000),
            (6_000, true),
            "the next is late again"
        );
        assert_eq!(lateness(newest(5_001), false, 0, 7_000_000, 5_000), (6_000, false));
        assert_eq!(lateness(newest(5_000), true, 0, 7_000_000, 5_000), (6_000, false));
        assert_eq!(lateness(None, false, 1_000_000, 11_000_000, 5_000), (NEVER_MS, false));
        assert_eq!(lateness(None, false, 1_000_000, 12_000_000, 5_000), (NEVER_MS, true));
    }
}
