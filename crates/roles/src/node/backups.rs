//! Backups: begun when they are due, told when they are late. The shell carries them out, for they need disks and other
//! machines; what is to be done follows from the facts, so whoever comes to lead the federation's group goes on.

use dwcp_state::{BackupEnd, BackupRun, BackupTask, Backups, Command, FEDERATION_GROUP, OperationState};
use dwcp_types::OperationId;

use super::{Asked, Node};

/// What was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;

impl Node {
    /// Begins what is due, tells what is late, ends what nobody has ended. For the leader of the federation's group.
    pub(super) fn keep_backups(&mut self) {
        let now = self.now.wall;
        let backups = &self.facts.core.backups;
        let overdue = |run: &&BackupRun| now.ms_since(run.asked_at) > Backups::RUN_LIMIT_MS;
        let stale: Vec<u64> = backups.open().filter(overdue).map(|run| run.id).collect();
        let Some(plan) = &backups.plan else {
            self.end_stale(stale);
            return;
        };
        let destination = plan.destination.clone();
        let at_it = backups.open().any(|run| run.task.makes() && run.destination == destination);
        let due = !at_it && backups.due_at().is_some_and(|at| now >= at);
        // One that was not whole when it was read again: the next one uses nothing of what was there.
        let unread = backups.place().is_some_and(|place| place.newest != place.verified);
        let late = Some(backups.late_at(now)).filter(|late| *late != backups.late);
        self.end_stale(stale);
        if due && self.due("backup", AGAIN_MS) {
            let operation = OperationId(self.rng.next_u64());
            let task = if unread { BackupTask::Full } else { BackupTask::Incremental };
            let run = BackupRun { task, destination, operation, ..BackupRun::default() };
            self.conclude(FEDERATION_GROUP, Command::BeginBackup(Box::new(run)));
        }
        if let Some(late) = late.filter(|_| self.due("tell late backups", AGAIN_MS)) {
            self.conclude(FEDERATION_GROUP, Command::NoteBackupsLate(late));
        }
    }

    fn end_stale(&mut self, runs: Vec<u64>) {
        for run in runs {
            if self.due(format!("end backup run {run}"), AGAIN_MS) {
                let result = "its server has not ended it in a day".to_owned();
                let end = BackupEnd { run, state: OperationState::Failed, result, ..BackupEnd::default() };
                self.conclude(FEDERATION_GROUP, Command::EndBackup(Box::new(end)));
            }
        }
    }

    /// Begins what somebody asks for. Without a destination: that of the plan.
    pub(super) fn ask_backup(&mut self, ticket: u64, asked: &Asked, mut run: BackupRun) {
        if run.destination.is_empty() {
            let Some(plan) = &self.facts.core.backups.plan else {
                return self.refuse(ticket, Backups::not_planned());
            };
            run.destination.clone_from(&plan.destination);
        }
        run.operation = OperationId(self.rng.next_u64());
        self.ask_federation(ticket, asked, Command::BeginBackup(Box::new(run)));
    }
}
