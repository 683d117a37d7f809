//! VMs that move: begun, followed, shown, called off.

use std::time::Duration;

use dwcp_api::Page;
use dwcp_api::migration::{
    FailbackRequest, HostDrain, HostDrainRequest, MigrateRequest, MigrateStart, Migration, MigrationCancel,
    MigrationCancelRequest, MigrationList, MigrationListRequest, MovesStarted, Rebalance as RebalanceStart,
    RebalanceRequest, RegionDrain, RegionDrainRequest, RegionFailback,
};
use dwcp_api::operation::Operation;
use dwcp_config::units::show_duration;

use super::operations::{exit_of, follow_within, show as show_operation};
use super::{Ended, all_pages, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{
    Drain, DrainHost, Failback, MigrateAll, MigrateArgs, MigrateCommand, MigrateWhich, Rebalance, Words,
};

/// How long after the time of a drain its end is waited for: what is under way then may still end.
const AFTER_DRAIN: Duration = Duration::from_secs(120);

fn regions(words: &Option<Words>) -> Vec<String> {
    let given = words.clone().unwrap_or_default().0;
    if given == ["all"] { Vec::new() } else { given }
}

pub fn migrate(session: &Session, migrate: &MigrateArgs) -> Ended {
    match &migrate.command {
        None => {
            let wanted = &migrate.start;
            let request = MigrateRequest {
                vms: wanted.vm.clone().unwrap_or_default().0,
                label: wanted.vm_filter.clone(),
                from: wanted.source.clone(),
                to: regions(&wanted.target),
                to_host: wanted.target_host.clone(),
                cold: wanted.how.cold,
                max_downtime_ms: wanted.how.max_downtime,
                reason: wanted.how.reason.clone(),
                dry_run: session.global.dry_run,
            };
            finish(session, session.call::<MigrateStart>(&request)?, limit(session))
        }
        Some(MigrateCommand::Status(which)) => list(session, which, false),
        Some(MigrateCommand::Queue(which)) => list(session, which, true),
        Some(MigrateCommand::Cancel { vm, reason }) => cancel(session, vm, reason.as_ref()),
    }
}

pub fn migrate_all(session: &Session, wanted: &MigrateAll) -> Ended {
    let request = MigrateRequest {
        from: Some(wanted.source.clone()),
        to: regions(&wanted.targets),
        cold: wanted.how.cold,
        max_downtime_ms: wanted.how.max_downtime,
        reason: wanted.how.reason.clone(),
        dry_run: session.global.dry_run,
        ..MigrateRequest::default()
    };
    finish(session, session.call::<MigrateStart>(&request)?, limit(session))
}

pub fn drain(session: &Session, wanted: &Drain) -> Ended {
    let request = RegionDrainRequest {
        region: wanted.region.clone(),
        timeout_ms: session.global.timeout,
        to: regions(&wanted.targets),
        cold: wanted.how.cold,
        max_downtime_ms: wanted.how.max_downtime,
        reason: wanted.how.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let started = session.call::<RegionDrain>(&request)?;
    finish(session, started, limit(session).map(|limit| limit + AFTER_DRAIN))
}

pub fn drain_host(session: &Session, wanted: &DrainHost) -> Ended {
    let request = HostDrainRequest {
        host: wanted.host.clone(),
        timeout_ms: session.global.timeout,
        cold: wanted.how.cold,
        max_downtime_ms: wanted.how.max_downtime,
        reason: wanted.how.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let started = session.call::<HostDrain>(&request)?;
    finish(session, started, limit(session).map(|limit| limit + AFTER_DRAIN))
}

pub fn failback(session: &Session, wanted: &Failback) -> Ended {
    let request = FailbackRequest {
        region: wanted.region.clone(),
        stable_ms: Some(wanted.stable_for),
        max_downtime_ms: wanted.max_downtime,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let started = session.call::<RegionFailback>(&request)?;
    if started.planned.is_empty() {
        let line = format!("every VM of {} is at home", wanted.region);
        session.show(&Document::of(&started).text_block(line))?;
        return Ok(Exit::Done);
    }
    finish(session, started, limit(session))
}

pub fn rebalance(session: &Session, wanted: &Rebalance) -> Ended {
    let request = RebalanceRequest {
        region: wanted.region.clone(),
        max_moves: wanted.max_moves,
        max_mib: wanted.budget,
        rest_ms: wanted.rest,
        max_downtime_ms: wanted.max_downtime,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let started = session.call::<RebalanceStart>(&request)?;
    if started.planned.is_empty() {
        session.show(&Document::of(&started).text_block(started.notes.join("\n")))?;
        return Ok(Exit::Done);
    }
    finish(session, started, limit(session))
}

fn limit(session: &Session) -> Option<Duration> {
    session.global.timeout.map(Duration::from_millis)
}

fn plan(started: &MovesStarted) -> Document {
    let mut table =
        Table::new(&["NAME", "FROM", "FROM HOST~2", "TO", "TO HOST~1", "WHY"]).or("no VM is to move");
    for step in &started.planned {
        table.row(vec![
            Cell::from(&step.name),
            Cell::from(&step.from),
            Cell::from(&step.from_host),
            words::or_dash(step.to.as_ref()),
            words::or_dash(step.to_host.as_ref()),
            Cell::from(&step.reason),
        ]);
    }
    Document::of(started).table(table)
}

/// Says what stays before anything moves, follows what moves, and shows how it ended.
fn finish(session: &Session, started: MovesStarted, within: Option<Duration>) -> Ended {
    session.warn(&started.warnings);
    started.notes.iter().for_each(|note| session.note(note));
    if session.global.dry_run {
        let document = plan(&started).text_block("dry run: nothing was changed");
        session.show(&document.text_block(words::as_of(&started.as_of)))?;
        return Ok(if started.left > 0 { Exit::Partly } else { Exit::Done });
    }
    for step in started.planned.iter().filter(|step| step.to.is_none()) {
        session.note(&format!("{} stays in {}: {}", step.name, step.from, step.reason));
    }
    if session.global.detach {
        let ids: Vec<String> = started.operations.iter().map(|o| o.operation.clone()).collect();
        session.show(&Document::of(&started).text_block(ids.join("\n")))?;
        return Ok(Exit::Done);
    }
    let mut ended: Vec<Operation> = Vec::new();
    for operation in started.operations {
        ended.push(follow_within(session, operation, within)?);
    }
    let left = started.left > 0;
    let exit = worst(ended.iter().map(exit_of).collect(), left);
    let Some((first, rest)) = ended.split_first() else { return Ok(exit) };
    session.show(&show_operation(first))?;
    for operation in rest {
        session.show(&show_operation(operation))?;
    }
    Ok(exit)
}

fn worst(exits: Vec<Exit>, left: bool) -> Exit {
    let failed = exits.iter().filter(|exit| **exit == Exit::Failed).count();
    let partly = left || exits.contains(&Exit::Partly);
    match (failed, exits.len()) {
        (0, _) if !partly => Exit::Done,
        (failed, all) if failed == all && all > 0 => Exit::Failed,
        _ => Exit::Partly,
    }
}

fn cancel(session: &Session, vms: &Words, reason: Option<&String>) -> Ended {
    let request = MigrationCancelRequest {
        vms: vms.0.clone(),
        reason: reason.cloned(),
        dry_run: session.global.dry_run,
    };
    let answer = session.call::<MigrationCancel>(&request)?;
    let mut document = Document::of(&answer);
    for name in &answer.cancelled {
        document = document.text_block(format!("{name} stays where it is, unless it has moved by now"));
    }
    for name in &answer.not_moving {
        document = document.text_block(format!("{name} is not moving"));
    }
    session.show(&document)?;
    Ok(if answer.cancelled.is_empty() { Exit::Failed } else { Exit::Done })
}

fn list(session: &Session, which: &MigrateWhich, open: bool) -> Ended {
    read(session, || {
        let request = MigrationListRequest {
            source: which.source.clone(),
            target: which.target.clone(),
            vm: which.vm.clone(),
            open,
            limit: which.limit,
            ..MigrationListRequest::default()
        };
        let page = all_pages::<MigrationList, _>(session, which.limit, |cursor| MigrationListRequest {
            cursor,
            ..request.clone()
        })?;
        Ok((shown(&page, open), Exit::Done))
    })
}

/// `12 MiB`, `3.4 GiB`.
pub fn bytes(count: u64) -> String {
    let mib = count as f64 / f64::from(1 << 20);
    if mib >= 1_024.0 { format!("{:.1} GiB", mib / 1_024.0) } else { format!("{mib:.1} MiB") }
}

fn copied(migration: &Migration) -> Cell {
    match (migration.bytes_done, migration.bytes_total) {
        (Some(done), Some(total)) if done < total => {
            Cell::from(format!("{} of {}", bytes(done), bytes(total)))
        }
        (Some(done), _) => Cell::from(bytes(done)),
        _ => words::or_dash(None::<String>),
    }
}

fn shown(page: &Page<Migration>, open: bool) -> Document {
    let none = if open { "no VM waits or moves" } else { "no VM moves or has moved" };
    let mut table = Table::new(&[
        "NAME",
        "HOW~3",
        "FROM",
        "TO",
        "STATE",
        "STAGE~2",
        ">COPIED~4",
        ">RATE~6",
        ">DIRTY~7",
        ">LEFT~5",
        ">TOOK~1",
        ">STILL~8",
        "WHY~9",
    ])
    .or(none);
    let rate = |value: Option<u64>| words::or_dash(value.map(|rate| format!("{}/s", bytes(rate))));
    for migration in &page.items {
        table.row(vec![
            Cell::from(&migration.name),
            words::name(&migration.kind).into(),
            Cell::from(&migration.from),
            Cell::from(&migration.to),
            words::state(&migration.state),
            words::or_dash(migration.stage.as_ref()),
            copied(migration),
            rate(migration.rate_bytes_per_s),
            rate(migration.dirty_bytes_per_s),
            words::or_dash(migration.left_ms.map(show_duration)),
            words::or_dash(migration.took_ms.map(show_duration)),
            words::or_dash(migration.downtime_ms.map(show_duration)),
            Cell::from(&migration.reason),
        ]);
    }
    Document::page(page, table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_ends_is_told() {
        assert_eq!(worst(vec![Exit::Done, Exit::Done], false), Exit::Done);
        assert_eq!(worst(vec![Exit::Done], true), Exit::Partly, "one had no place");
        assert_eq!(worst(vec![Exit::Failed, Exit::Done], false), Exit::Partly);
        assert_eq!(worst(vec![Exit::Failed], false), Exit::Failed);
    }

    #[test]
    fn bytes_are_told_in_a_unit_that_people_read() {
        assert_eq!(bytes(12 << 20), "12.0 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
