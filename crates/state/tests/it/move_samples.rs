//! Samples of what moves VMs.

use dwcp_state::*;
use dwcp_types::*;

use super::{operation, vm};

/// Commands that move VMs: the first, and those that came later.
pub fn commands() -> [Vec<Command>; 2] {
    let first = vec![
        Command::BeginMigrations((vec![new_migration()], drain())),
        Command::StartMigrations(vec![(VmId(1), MigrationId(7))]),
        Command::AimMigration((VmId(1), (MigrationId(7), aim()))),
        Command::StopMigrations((vec![(VmId(1), MigrationId(7))], stopping())),
        Command::EndMigration((VmId(1), MigrationId(7))),
        Command::Switch(Switch {
            vm: VmId(1),
            migration: MigrationId(7),
            released: true,
            failover: Some(FailoverId(4)),
            took: took(),
        }),
        Command::Expect(Box::new(arrival())),
        Command::Withdraw((VmId(1), Generation(2))),
        Command::DropArrival((VmId(1), Generation(2))),
    ];
    let later = vec![
        Command::NoteWhole((VmId(1), Generation(2))),
        Command::SettleArrival((VmId(1), Generation(2))),
        Command::LoseMigration((VmId(1), MigrationId(7))),
    ];
    [first, later]
}

fn aim() -> Aim {
    Aim { host: "h9".into(), endpoint: "127.77.1.11:7500".into(), rate_bytes_per_s: 125_000_000 }
}

fn stopping() -> Stopping {
    Stopping { state: MigrationState::Failed, reason: "the link broke".into() }
}

fn took() -> Took {
    Took { bytes: 1 << 28, copy_ms: 1_800, downtime_ms: 90 }
}

fn new_migration() -> NewMigration {
    NewMigration {
        id: MigrationId(7),
        vm: VmId(1),
        to: "b".into(),
        host: Some("h9".into()),
        mode: Mode::Cold,
        max_downtime_ms: 300,
        reason: "nearest".into(),
    }
}

/// An operation of a kind that came later.
fn drain() -> Operation {
    let drain = Drain {
        host: Some("h1".into()),
        to: vec!["b".into()],
        timeout_ms: 300_000,
        mode: Mode::Cold,
        max_downtime_ms: 300,
        placement_before: true,
    };
    Operation { kind: OperationKind::Drain(drain), ..operation() }
}

/// A migration with every part filled.
pub fn migration() -> Migration {
    Migration {
        id: MigrationId(7),
        vm: VmId(1),
        name: "web-1".into(),
        priority: Priority(75),
        from_host: "h1".into(),
        to: "b".into(),
        host: Some("h9".into()),
        mode: Mode::Cold,
        max_downtime_ms: 300,
        generation: Generation(4),
        aim: Some(aim()),
        operation: OperationId(55),
        state: MigrationState::TakenOver,
        stopping: Some(stopping()),
        asked_at: Wall(1),
        started_at: Some(Wall(2)),
        ended_at: Some(Wall(3)),
        reason: "nearest".into(),
        took: took(),
    }
}

/// An arrival with every part filled.
pub fn arrival() -> Arrival {
    Arrival {
        vm: Vm { promised: Generation(9), ..vm() },
        migration: MigrationId(7),
        from: "a".into(),
        from_host: "h1".into(),
        mode: Mode::Cold,
        at: Wall(5),
        withdrawn: true,
        whole: true,
        settling: true,
    }
}
