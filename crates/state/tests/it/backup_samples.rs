//! Samples of what is said of backups.

use std::collections::BTreeMap;

use dwcp_state::*;
use dwcp_types::*;

fn plan() -> BackupPlan {
    BackupPlan {
        destination: "s3://bucket/state".into(),
        interval_ms: 300_000,
        keep_last: 1,
        keep_within_ms: 2_592_000_000,
        key_file: "/etc/dwcp/backup.key".into(),
        key: "0011aabb".into(),
        by: "ann".into(),
        at: Wall(5),
        revision: Revision(9),
    }
}

fn run() -> BackupRun {
    BackupRun {
        id: 7,
        task: BackupTask::Verify(Some(3)),
        destination: "file:///backups".into(),
        at: Some("a".into()),
        by: "ann".into(),
        asked_at: Wall(6),
        ended_at: Some(Wall(7)),
        operation: OperationId(70),
        state: OperationState::Failed,
        backup: Some(3),
        result: "no room".into(),
    }
}

fn mark() -> BackupMark {
    BackupMark { number: 3, at: Wall(4) }
}

/// Backups with every part filled.
pub fn backups() -> Backups {
    let place = BackupPlace {
        head: "3-ff".into(),
        head_number: 3,
        newest: Some(mark()),
        verified: Some(mark()),
        verified_at: Wall(8),
        used_at: Wall(9),
    };
    Backups {
        plan: Some(plan()),
        runs: BTreeMap::from([(7, run())]),
        numbered: 7,
        places: BTreeMap::from([("s3://bucket/state".into(), place)]),
        late: (true, false),
    }
}

pub fn commands() -> Vec<Command> {
    let end = BackupEnd {
        run: 7,
        state: OperationState::Done,
        result: "whole".into(),
        backup: Some(mark()),
        verified: true,
        damaged: true,
        head: "3-ff".into(),
        head_number: 3,
    };
    vec![
        Command::ConfigureBackups(Box::new(plan())),
        Command::BeginBackup(Box::new(run())),
        Command::EndBackup(Box::new(end)),
        Command::NoteBackupsLate((true, true)),
    ]
}
