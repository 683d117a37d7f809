//! Protection of VMs' disks: asked for, and how far it is.

use dwcp_api::protection::{
    OnReplicaLoss, Protection, ProtectionMode, ProtectionRead, ProtectionReadRequest, ProtectionState,
    ProtectionStatus, ProtectionWanted, VmProtect, VmProtectRequest,
};
use dwcp_config::units::show_duration;

use super::{Ended, dry, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{Mode, OnReplica, VmProtect as Typed};

/// What the flags ask for.
pub fn wanted(mode: Mode, region: Option<&String>, on_loss: OnReplica) -> ProtectionWanted {
    let (mode, interval_ms) = match mode {
        Mode::None => (ProtectionMode::None, None),
        Mode::Sync => (ProtectionMode::Sync, None),
        Mode::Async(interval_ms) => (ProtectionMode::Async, interval_ms),
    };
    let on_replica_loss = match on_loss {
        OnReplica::Stop => OnReplicaLoss::Stop,
        OnReplica::GoOn => OnReplicaLoss::GoOn,
    };
    ProtectionWanted { mode, interval_ms, on_replica_loss, region: region.cloned() }
}

pub fn protect(session: &Session, typed: &Typed) -> Ended {
    let request = VmProtectRequest {
        vm: typed.vm.clone(),
        protection: wanted(typed.mode, typed.protect_in.as_ref(), typed.on_replica_loss),
        again: typed.again,
        expected_revision: None,
        dry_run: session.global.dry_run,
    };
    let changed = session.call::<VmProtect>(&request)?;
    let state = changed.vm.protection.as_ref().map_or("not protected".to_owned(), sentence);
    let line = format!("protect {} ({}): {state}{}", changed.vm.name, changed.vm.vm, dry(session));
    session.show(&Document::bare(&changed, line))?;
    Ok(Exit::Done)
}

/// The table; exit 7 when a copy is behind.
pub fn status(session: &Session, region: Option<&String>) -> Ended {
    read(session, || {
        let status = session.call::<ProtectionRead>(&ProtectionReadRequest { region: region.cloned() })?;
        let exit = if status.degraded > 0 { Exit::Partly } else { Exit::Done };
        Ok((shown(&status), exit))
    })
}

fn shown(status: &ProtectionStatus) -> Document {
    let mut table =
        Table::new(&["VM", "MODE", "REGION", "REPLICA", "STATE", "SINCE~1", "WOULD LOSE", "WHY~2"])
            .or("no VM is protected");
    for vm in &status.vms {
        let of = &vm.protection;
        let replica = of.region.as_ref().map(|region| match &of.host {
            Some(host) => format!("{region}/{host}"),
            None => region.clone(),
        });
        table.row(vec![
            Cell::from(&vm.name),
            mode(of).into(),
            Cell::from(&vm.region),
            words::or_dash(replica),
            state(of),
            words::instant(of.since_at_ms).into(),
            would_lose(of),
            words::or_dash((!of.reason.is_empty()).then_some(&of.reason)),
        ]);
    }
    let sum = format!(
        "{} protected, {} syncing, {} degraded, {} waiting for a place",
        status.protected, status.syncing, status.degraded, status.waiting
    );
    Document::of(status).table(table).text_block(sum).text_block(words::as_of(&status.as_of))
}

fn mode(of: &Protection) -> String {
    match (of.wanted.mode, of.wanted.interval_ms) {
        (ProtectionMode::Async, Some(ms)) => format!("async:{}", show_duration(ms)),
        (mode, _) => words::name(&mode),
    }
}

/// The state as a cell.
pub fn state(of: &Protection) -> Cell {
    let tone = match of.state {
        ProtectionState::Protected => Tone::Good,
        ProtectionState::Degraded => Tone::Bad,
        ProtectionState::Syncing | ProtectionState::Waiting => Tone::Warn,
    };
    Cell::toned(words::name(&of.state), tone)
}

fn would_lose(of: &Protection) -> Cell {
    match of.would_lose_ms {
        Some(0) => Cell::toned("nothing", Tone::Good),
        Some(ms) => format!("at most {}", show_duration(ms.div_ceil(1_000) * 1_000)).into(),
        None => Cell::toned("the disk", Tone::Bad),
    }
}

/// A VM's protection in one line.
pub fn sentence(of: &Protection) -> String {
    let place = match (&of.region, &of.host) {
        (Some(region), Some(host)) => format!("copy on {host} in {region}"),
        (Some(region), None) => format!("copy in {region}"),
        _ => "no place for its copy yet".to_owned(),
    };
    let lose = match of.would_lose_ms {
        Some(0) => "nothing acknowledged would be lost".to_owned(),
        Some(ms) => format!("at most {} would be lost", show_duration(ms.div_ceil(1_000) * 1_000)),
        None => "the disk would be lost".to_owned(),
    };
    let why = if of.reason.is_empty() { String::new() } else { format!(" ({})", of.reason) };
    format!("{}, {}{why}; {place}; {lose}", mode(of), words::name(&of.state))
}
