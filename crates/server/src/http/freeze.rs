//! The freeze switch.

use dwcp_api::Problem;
use dwcp_api::freeze::{Freeze as ApiFreeze, FreezeRead, FreezeSet, FreezeSetRequest, FreezeState};
use dwcp_api::page::Nothing;
use dwcp_roles::node::Request;
use dwcp_state::Freeze;

use super::call::{Call, expect_revision, not_offered, reason};
use super::names;
use super::routes::Serve;
use crate::handle::View;

/// The switch's position as the API shows it.
pub fn shown(freeze: Freeze) -> FreezeState {
    match freeze {
        Freeze::Active => FreezeState::Active,
        Freeze::NoMoves => FreezeState::NoMoves,
        Freeze::Frozen => FreezeState::Frozen,
    }
}

fn show(view: &View<'_>) -> ApiFreeze {
    let core = &view.node.facts().core;
    let last = core.ledger.events.iter().rev().find(|event| event.kind == "freeze.changed");
    ApiFreeze {
        state: shown(core.freeze),
        local: None,
        since_at_ms: last.map(|event| event.at.0),
        by: last.map(|event| event.by.clone()),
        reason: last.map_or_else(String::new, |event| event.reason.clone()),
        revision: core.freeze_revision.0,
        as_of: names::as_of_federation(view),
    }
}

impl Serve for FreezeRead {
    async fn answer(call: &Call, _: Nothing) -> Result<ApiFreeze, Problem> {
        call.look(show).await
    }
}

impl Serve for FreezeSet {
    async fn answer(call: &Call, request: FreezeSetRequest) -> Result<ApiFreeze, Problem> {
        if request.local {
            return Err(not_offered(
                "local",
                "the switch is a fact of the federation: a majority of regions sets it",
                Some("dwcp-cli federation freeze frozen"),
            ));
        }
        let why = reason(request.reason.as_deref())?;
        let wanted = match request.state {
            FreezeState::Active => Freeze::Active,
            FreezeState::NoMoves => Freeze::NoMoves,
            FreezeState::Frozen => Freeze::Frozen,
        };
        let expected = request.expected_revision;
        let (mut now, same) = call
            .find(move |view| {
                let core = &view.node.facts().core;
                if request.dry_run {
                    let read = "dwcp-cli federation freeze";
                    expect_revision("the freeze switch", expected, core.freeze_revision, read)?;
                }
                Ok((show(view), core.freeze == wanted))
            })
            .await?;
        if request.dry_run || (same && expected.is_none()) {
            now.state = request.state;
            return Ok(now);
        }
        call.change(Request::SetFreeze(call.asked_because(why, expected), wanted)).await?;
        call.look(show).await
    }
}
