//! Applies what is said of backups: the plan, what is asked for, what came of it.

use dwcp_types::{Code, Refusal};

use crate::apply_region::{Applied, Stamp, end_operation};
use crate::command::Receipt;
use crate::{
    BackupEnd, BackupPlan, BackupRun, Backups, Core, Operation, OperationKind, OperationState, Severity,
};

impl Core {
    pub(crate) fn configure_backups(&mut self, plan: &BackupPlan, stamp: &Stamp<'_>) -> Applied {
        let (least, most) = Backups::INTERVAL_MS;
        if !(least..=most).contains(&plan.interval_ms) || plan.keep_last == 0 || plan.destination.is_empty() {
            return Err(Refusal::new(Code::BadValue, "no plan of backups")
                .because(format!("an interval of {} ms, {} kept", plan.interval_ms, plan.keep_last)));
        }
        let by = stamp.envelope.by.clone();
        let plan = BackupPlan { by, at: stamp.envelope.at, revision: stamp.revision, ..plan.clone() };
        let (after, text) = (in_words(&plan), format!("backups: {}", in_words(&plan)));
        let before = self.backups.plan.replace(plan);
        let before = before.as_ref().map_or("none".to_string(), in_words);
        self.backups.late = (false, false);
        let event = stamp.event(Severity::Info, "backup.configured", "backups", text);
        self.ledger.note(event.changing(before, after));
        Ok(Receipt::default())
    }

    /// Begins a run, or joins one that does the same.
    pub(crate) fn begin_backup(&mut self, asked: &BackupRun, stamp: &Stamp<'_>) -> Applied {
        let same = |run: &&BackupRun| run.task == asked.task && run.destination == asked.destination;
        if let Some(same) = self.backups.open().find(same) {
            return Ok(Receipt {
                backup: Some(same.id),
                operation: Some(same.operation),
                ..Receipt::default()
            });
        }
        let id = self.backups.numbered + 1;
        self.backups.numbered = id;
        let run = BackupRun {
            id,
            by: stamp.envelope.by.clone(),
            asked_at: stamp.envelope.at,
            ended_at: None,
            state: OperationState::Running,
            backup: None,
            result: String::new(),
            ..asked.clone()
        };
        let operation = Operation {
            id: run.operation,
            kind: OperationKind::Backup(id),
            title: format!("{} at {}", run.task, run.destination),
            by: run.by.clone(),
            started_at: run.asked_at,
            revision: stamp.revision,
            ..Operation::default()
        };
        let text = format!("{} begins at {}", run.task, run.destination);
        self.ledger.note(stamp.event(Severity::Info, "backup.begun", &run.destination, text));
        let receipt = Receipt { backup: Some(id), operation: Some(run.operation), ..Receipt::default() };
        self.operations.insert(operation.id, operation);
        self.backups.runs.insert(id, run);
        self.trim_runs();
        Ok(receipt)
    }

    fn trim_runs(&mut self) {
        while self.backups.runs.len() > Backups::RUNS_KEPT {
            let over = |run: &&BackupRun| run.state != OperationState::Running;
            let Some(oldest) = self.backups.runs.values().find(over).map(|run| run.id) else { return };
            if let Some(run) = self.backups.runs.remove(&oldest) {
                self.operations.remove(&run.operation);
            }
        }
    }

    pub(crate) fn end_backup(&mut self, end: &BackupEnd, stamp: &Stamp<'_>) -> Applied {
        let now = stamp.envelope.at;
        let run = self.backups.runs.get_mut(&end.run);
        let run = run.ok_or_else(|| Refusal::new(Code::UnknownBackup, format!("no run {}", end.run)))?;
        if run.state != OperationState::Running {
            return Err(Refusal::new(Code::WrongState, format!("run {} has ended", end.run)));
        }
        run.state = end.state;
        run.ended_at = Some(now);
        run.result.clone_from(&end.result);
        run.backup = end.backup.map(|mark| mark.number);
        let run = run.clone();
        end_operation(self.operations.get_mut(&run.operation), end.state, &end.result, stamp)?;
        self.remember_place(&run, end, stamp);
        let done = end.state == OperationState::Done;
        let (severity, kind) = match (end.damaged, done) {
            (true, _) => (Severity::Critical, "backup.damaged"),
            (false, true) => (Severity::Info, "backup.done"),
            (false, false) => (Severity::Warning, "backup.failed"),
        };
        let text = format!("{} at {}: {}", run.task, run.destination, end.result);
        self.ledger.note(stamp.event(severity, kind, &run.destination, text));
        let (late, told) = (self.backups.late_at(now), self.backups.late);
        if told != (false, false) && late == (false, false) {
            self.backups.late = late;
            let text = "backups are no longer late".to_string();
            self.ledger.note(stamp.event(Severity::Info, "backup.in-time", "backups", text));
        }
        Ok(Receipt { backup: Some(run.id), operation: Some(run.operation), ..Receipt::default() })
    }

    /// Keeps what was seen of a destination. Only what is newer counts: runs may end in another order than they began.
    fn remember_place(&mut self, run: &BackupRun, end: &BackupEnd, stamp: &Stamp<'_>) {
        if end.head.is_empty() && end.backup.is_none() {
            return;
        }
        let place = self.backups.places.entry(run.destination.clone()).or_default();
        place.used_at = stamp.envelope.at;
        if end.head_number > place.head_number {
            place.head_number = end.head_number;
            place.head.clone_from(&end.head);
        }
        if let Some(mark) = end.backup {
            let newer = |than: Option<crate::BackupMark>| than.is_none_or(|than| than.number <= mark.number);
            if run.task.makes() && newer(place.newest) {
                place.newest = Some(mark);
            }
            if end.verified && newer(place.verified) {
                place.verified = Some(mark);
                place.verified_at = stamp.envelope.at;
            }
        }
        let planned = self.backups.plan.as_ref().map(|plan| plan.destination.clone());
        while self.backups.places.len() > Backups::PLACES_KEPT {
            let others = self.backups.places.iter().filter(|(name, _)| planned.as_ref() != Some(*name));
            let Some(oldest) = others.min_by_key(|(_, place)| place.used_at).map(|(name, _)| name.clone())
            else {
                break;
            };
            self.backups.places.remove(&oldest);
        }
    }

    /// Tells that backups are late, once.
    pub(crate) fn note_late(&mut self, late: (bool, bool), stamp: &Stamp<'_>) -> Applied {
        let Some(plan) = &self.backups.plan else {
            return Err(Refusal::new(Code::BackupsNotConfigured, "no backups are planned"));
        };
        if self.backups.late != late {
            let which = match late {
                (true, _) => "backup",
                (false, _) => "verified backup",
            };
            let text = format!("the newest {which} at {} is older than twice the interval", plan.destination);
            if late != (false, false) {
                self.ledger.note(stamp.event(Severity::Warning, "backup.late", "backups", text));
            }
            self.backups.late = late;
        }
        Ok(Receipt::default())
    }
}

/// A plan in a few words, for events.
fn in_words(plan: &BackupPlan) -> String {
    let kept = match plan.keep_within_ms {
        0 => format!("the newest {}", plan.keep_last),
        ms => format!("{} s of them", ms / 1_000),
    };
    format!("to {} every {} s, {kept} kept, key {}", plan.destination, plan.interval_ms / 1_000, plan.key)
}
