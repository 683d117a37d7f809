//! Controllers, the freeze switch, policies.

use std::collections::BTreeMap;

use dwcp_api::controller::{
    CacheStatsRead, Controller, ControllerConfigure, ControllerConfigureRequest, ControllerRead,
};
use dwcp_api::freeze::{Freeze, FreezeRead, FreezeSet, FreezeSetRequest, FreezeState};
use dwcp_api::page::Nothing;
use dwcp_api::policy::{Policies, PoliciesRead, PoliciesSet, PoliciesSetRequest};
use dwcp_config::units::show_duration;

use super::{Ended, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{self, ControllerCommand, FreezeArgs, FreezeName, PolicyCommand, Words};

const PROFILES: [&str; 6] = ["balanced", "latency", "cost", "pack", "spread", "custom"];
const WEIGHTS: [&str; 5] = ["latency", "cost", "capacity", "health", "priority"];

pub fn controller(session: &Session, command: &ControllerCommand) -> Ended {
    match command {
        ControllerCommand::Show => read(session, || {
            Ok((shown_controller(session, &session.call::<ControllerRead>(&Nothing {})?), Exit::Done))
        }),
        ControllerCommand::Configure(wanted) => {
            let request = configure_request(wanted, session.global.dry_run)?;
            let controller = session.call::<ControllerConfigure>(&request)?;
            session.show(&shown_controller(session, &controller))?;
            Ok(Exit::Done)
        }
        ControllerCommand::CacheStats => read(session, || cache_stats(session)),
        ControllerCommand::Status { region } => super::controllers::status(session, region),
    }
}

fn configure_request(
    wanted: &typed::ControllerConfigure,
    dry_run: bool,
) -> Result<ControllerConfigureRequest, Failure> {
    known_profile("--profile", wanted.profile.as_deref())?;
    Ok(ControllerConfigureRequest {
        placement_cache_ttl_ms: wanted.placement_cache_ttl,
        parallel_scoring: wanted.parallel_scoring,
        profile: wanted.profile.clone(),
        weights: weights(&wanted.weights)?,
        expected_revision: None,
        dry_run,
    })
}

fn known_profile(flag: &str, profile: Option<&str>) -> Result<(), Failure> {
    match profile {
        Some(name) if !PROFILES.contains(&name) => {
            Err(Failure::usage(format!("{flag}: '{name}' is not one of {}", PROFILES.join(", "))))
        }
        _ => Ok(()),
    }
}

fn weights(typed: &Option<Words>) -> Result<BTreeMap<String, u32>, Failure> {
    let mut weights = BTreeMap::new();
    for part in typed.iter().flat_map(|words| &words.0) {
        let parsed = part.split_once('=').and_then(|(name, weight)| {
            let weight: u32 = weight.parse().ok().filter(|weight| *weight <= 100)?;
            WEIGHTS.contains(&name).then(|| (name.to_owned(), weight))
        });
        let (name, weight) = parsed.ok_or_else(|| {
            let known = WEIGHTS.join(", ");
            Failure::usage(format!("--weights: '{part}' is not NAME=0…100 with NAME one of {known}"))
        })?;
        weights.insert(name, weight);
    }
    Ok(weights)
}

fn shown_controller(session: &Session, controller: &Controller) -> Document {
    let weights: Vec<String> =
        controller.weights.iter().map(|(name, weight)| format!("{name}={weight}")).collect();
    let ttl = match controller.placement_cache_ttl_ms {
        0 => "off".to_owned(),
        ms => show_duration(ms),
    };
    Document::of(controller)
        .pairs(vec![
            ("placement cache ttl", ttl.into()),
            ("parallel scoring", controller.parallel_scoring.into()),
            ("profile", Cell::from(&controller.profile)),
            ("weights", words::or_dash((!weights.is_empty()).then(|| weights.join(", ")))),
            ("revision", controller.revision.into()),
        ])
        .text_block(words::as_of(&controller.as_of))
        .dry(session)
}

fn cache_stats(session: &Session) -> Result<(Document, Exit), Failure> {
    let answer = session.call::<CacheStatsRead>(&Nothing {})?;
    let mut table = Table::new(&[
        "REGION",
        ">ENTRIES",
        ">HITS",
        ">MISSES",
        ">HIT RATE",
        ">INVALIDATED",
        ">EXPIRED",
        "SINCE~1",
    ])
    .or("no region could be asked");
    for cache in &answer.caches {
        let asked = cache.hits + cache.misses;
        let rate = (asked > 0).then(|| cache.hits as f64 * 100.0 / asked as f64);
        table.row(vec![
            Cell::from(&cache.region),
            cache.entries.into(),
            cache.hits.into(),
            cache.misses.into(),
            words::or_dash(rate.map(|rate| format!("{rate:.1}%"))),
            cache.invalidations.into(),
            cache.expirations.into(),
            words::instant(cache.since_at_ms).into(),
        ]);
    }
    Ok((Document::of(&answer).table(table).text_block(words::as_of(&answer.as_of)), Exit::Done))
}

pub fn freeze(session: &Session, wanted: &FreezeArgs) -> Ended {
    let Some(state) = wanted.state else {
        return read(session, || {
            Ok((shown_freeze(session, &session.call::<FreezeRead>(&Nothing {})?), Exit::Done))
        });
    };
    let request = FreezeSetRequest {
        state: match state {
            FreezeName::Active => FreezeState::Active,
            FreezeName::NoMoves => FreezeState::NoMoves,
            FreezeName::Frozen => FreezeState::Frozen,
        },
        reason: wanted.reason.clone(),
        local: wanted.local,
        expected_revision: None,
        dry_run: session.global.dry_run,
    };
    let freeze = session.call::<FreezeSet>(&request)?;
    session.show(&shown_freeze(session, &freeze))?;
    Ok(Exit::Done)
}

fn shown_freeze(session: &Session, freeze: &Freeze) -> Document {
    Document::of(freeze)
        .pairs(vec![
            ("freeze", words::state(&freeze.state)),
            ("here only", freeze.local.as_ref().map_or(words::or_dash::<&str>(None), words::state)),
            ("since", words::instant_or_dash(freeze.since_at_ms)),
            ("by", words::or_dash(freeze.by.as_ref())),
            ("reason", words::or_dash((!freeze.reason.is_empty()).then_some(&freeze.reason))),
        ])
        .text_block(words::as_of(&freeze.as_of))
        .dry(session)
}

pub fn policy(session: &Session, command: &PolicyCommand) -> Ended {
    match command {
        PolicyCommand::Show => read(session, || {
            Ok((shown_policies(session, &session.call::<PoliciesRead>(&Nothing {})?), Exit::Done))
        }),
        PolicyCommand::Set(wanted) => {
            known_profile("--scoring-profile", wanted.scoring_profile.as_deref())?;
            let request = PoliciesSetRequest {
                auto_failover: wanted.auto_failover,
                loss_after_ms: wanted.loss_after,
                return_after_ms: wanted.return_after,
                failovers_per_hour: wanted.failovers_per_hour,
                cpu_overcommit_percent: wanted.cpu_overcommit,
                memory_overcommit_percent: wanted.memory_overcommit,
                rto_target_ms: wanted.rto_target,
                scoring_profile: wanted.scoring_profile.clone(),
                expected_revision: None,
                dry_run: session.global.dry_run,
            };
            let policies = session.call::<PoliciesSet>(&request)?;
            session.show(&shown_policies(session, &policies))?;
            Ok(Exit::Done)
        }
    }
}

fn shown_policies(session: &Session, policies: &Policies) -> Document {
    Document::of(policies)
        .pairs(vec![
            ("automatic failover", Cell::from(if policies.auto_failover { "on" } else { "off" })),
            ("lost after", show_duration(policies.loss_after_ms).into()),
            ("returned after", show_duration(policies.return_after_ms).into()),
            ("failovers an hour", policies.failovers_per_hour.into()),
            ("cpu overcommit", format!("{}%", policies.cpu_overcommit_percent).into()),
            ("memory overcommit", format!("{}%", policies.memory_overcommit_percent).into()),
            ("rto target", words::duration(policies.rto_target_ms)),
            ("scoring profile", Cell::from(&policies.scoring_profile)),
            ("revision", policies.revision.into()),
        ])
        .text_block(words::as_of(&policies.as_of))
        .dry(session)
}
