//! Who is kept out at the routers: read here; changed in the modules below.

mod attacks;
mod blocks;
mod settings;
mod traffic;

use dwcp_api::Problem;
use dwcp_api::guard::{Blocked, Excepted, Guard, GuardRead, GuardReadRequest, GuardRouter};
use dwcp_api::routing::Named;
use dwcp_decide::ddos::{Attack, Block, RouterReport, Status, Whitelisted};
use dwcp_state::DocumentKind;
use dwcp_types::RegionId;

use super::call::Call;
use super::names;
use super::routes::Serve;
use crate::clock;
use crate::handle::View;
use crate::monitor::attacks::reports;
use crate::monitor::documents::Documents;

/// All that concerns who is kept out.
const KINDS: &[DocumentKind] = &[DocumentKind::Guard, DocumentKind::Block, DocumentKind::Attack];

/// The federation's blocks and those that routers made, in force at a moment; with what can't be read.
fn in_force(
    seen: &Documents,
    reports: &[(RegionId, RouterReport)],
    now_ms: u64,
) -> (Vec<Block>, Vec<String>) {
    let mut complaints = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    for id in seen.ids(DocumentKind::Block) {
        match seen.get::<Block>(DocumentKind::Block, id) {
            Ok(block) => blocks.extend(block),
            Err(refusal) => complaints.push(refusal.to_string()),
        }
    }
    blocks.extend(reports.iter().flat_map(|(_, report)| report.blocks.iter().cloned()));
    blocks.retain(|block| block.until_ms > now_ms);
    blocks.sort_by(|a, b| (b.at_ms, &a.what, &a.by).cmp(&(a.at_ms, &b.what, &b.by)));
    (blocks, complaints)
}

/// A block as it is told; `attacks` gives the ids of attacks that routers only know by key.
fn shown(block: &Block, attacks: &[Attack]) -> Blocked {
    let id = |named: &String| {
        let known = attacks.iter().rev().find(|attack| attack.key == *named);
        known.map_or_else(|| named.clone(), |attack| attack.id.clone())
    };
    Blocked {
        block: block.id.clone(),
        who: block.what.to_string(),
        action: block.action.name().to_owned(),
        limit: block.limit,
        by: block.by.clone(),
        reason: block.reason.clone(),
        at_ms: block.at_ms,
        until_ms: block.until_ms,
        attack: block.attack.as_ref().map(id),
    }
}

fn excepted(of: &Whitelisted) -> Excepted {
    Excepted {
        who: of.what.to_string(),
        by: of.owner.clone(),
        reason: of.reason.clone(),
        until_ms: of.until_ms,
    }
}

/// The recorded attacks, the oldest first; with what can't be read.
fn recorded(seen: &Documents) -> (Vec<Attack>, Vec<String>) {
    let (mut attacks, mut complaints) = (Vec::new(), Vec::new());
    for id in seen.ids(DocumentKind::Attack) {
        match seen.get::<Attack>(DocumentKind::Attack, id) {
            Ok(attack) => attacks.extend(attack),
            Err(refusal) => complaints.push(refusal.to_string()),
        }
    }
    attacks.sort_by(|a, b| (a.first_ms, &a.id).cmp(&(b.first_ms, &b.id)));
    (attacks, complaints)
}

fn router(region: &RegionId, report: RouterReport) -> GuardRouter {
    let active = report.attacks.iter().filter(|attack| attack.status == Status::Active).count();
    GuardRouter {
        region: region.as_str().to_owned(),
        router: report.router,
        at_ms: report.at_ms,
        attacks_active: active as u64,
        blocks: report.blocks.len() as u64,
        counts: report.counters,
    }
}

fn look(view: &View<'_>) -> Guard {
    let seen = Documents::of(view, KINDS);
    let (reports, now_ms) = (reports(view), clock::wall().0);
    let (policy, mut complaints) = settings::policy(&seen);
    let (blocks, unread) = in_force(&seen, &reports, now_ms);
    complaints.extend(unread);
    let (attacks, unread) = recorded(&seen);
    complaints.extend(unread);
    let raw = seen.raw(DocumentKind::Guard, settings::ID);
    let excepting = policy.whitelist.iter().filter(|one| one.until_ms.is_none_or(|until| until > now_ms));
    Guard {
        automatic: policy.automatic,
        actions: policy.actions.iter().map(|action| action.name().to_owned()).collect(),
        settings: settings::named(&policy)
            .into_iter()
            .map(|(name, value)| Named { name: name.to_owned(), value })
            .collect(),
        revision: raw.map_or(0, |raw| raw.revision.0),
        by: raw.map_or(String::new(), |raw| raw.by.clone()),
        at_ms: raw.map_or(0, |raw| raw.at.0),
        attacks_active: attacks.iter().filter(|attack| attack.status == Status::Active).count() as u64,
        blocks: blocks.iter().map(|block| shown(block, &attacks)).collect(),
        whitelist: excepting.map(excepted).collect(),
        routers: reports.into_iter().map(|(region, report)| router(&region, report)).collect(),
        complaints,
        as_of: names::as_of_federation(view),
    }
}

impl Serve for GuardRead {
    async fn answer(call: &Call, _: GuardReadRequest) -> Result<Guard, Problem> {
        call.look(look).await
    }
}
