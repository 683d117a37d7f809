//! Who is kept out at the routers: read here; changed in the modules below.

mod attacks;
mod blocks;
mod settings;
mod traffic;

use dwcp_api::guard::{Blocked, Excepted, Guard, GuardRead, GuardReadRequest, GuardRouter};
use dwcp_api::{Freshness, Problem};
use dwcp_decide::ddos::{Attack, Block, GuardPolicy, RouterReport, Status, Whitelisted};
use dwcp_state::DocumentKind;
use dwcp_types::RegionId;

use super::call::Call;
use super::names;
use super::policy_document::{self, ID};
use super::routes::Serve;
use crate::clock;
use crate::handle::View;
use crate::monitor::attacks::said;
use crate::monitor::documents::Documents;

/// All that concerns who is kept out.
const KINDS: &[DocumentKind] = &[DocumentKind::Guard, DocumentKind::Block, DocumentKind::Attack];

/// What is known of attackers at a moment.
struct Seen {
    documents: Documents,
    /// What routers say, with their regions.
    reports: Vec<(RegionId, RouterReport)>,
    now_ms: u64,
    as_of: Vec<Freshness>,
}

impl Seen {
    async fn now(call: &Call) -> Result<Seen, Problem> {
        let look = |view: &View<'_>| (Documents::of(view, KINDS), said(view), names::as_of_federation(view));
        let (documents, said, as_of) = call.look(look).await?;
        Ok(Seen { documents, reports: said.read(), now_ms: clock::wall().0, as_of })
    }

    /// The federation's blocks and those that routers made, that are in force; with what can't be read.
    fn blocks(&self) -> (Vec<Block>, Vec<String>) {
        let (mut blocks, complaints) = self.documents.readable::<Block>(DocumentKind::Block);
        blocks.extend(self.reports.iter().flat_map(|(_, report)| report.blocks.iter().cloned()));
        blocks.retain(|block| block.until_ms > self.now_ms);
        blocks.sort_by(|a, b| (b.at_ms, &a.what, &a.by).cmp(&(a.at_ms, &b.what, &b.by)));
        (blocks, complaints)
    }

    /// The recorded attacks, the oldest first; with what can't be read.
    fn attacks(&self) -> (Vec<Attack>, Vec<String>) {
        let (mut attacks, complaints) = self.documents.readable::<Attack>(DocumentKind::Attack);
        attacks.sort_by(|a, b| (a.first_ms, &a.id).cmp(&(b.first_ms, &b.id)));
        (attacks, complaints)
    }
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

impl Serve for GuardRead {
    async fn answer(call: &Call, _: GuardReadRequest) -> Result<Guard, Problem> {
        let seen = Seen::now(call).await?;
        let (policy, mut complaints) = policy_document::in_force::<GuardPolicy>(&seen.documents);
        let (blocks, unread) = seen.blocks();
        complaints.extend(unread);
        let (attacks, unread) = seen.attacks();
        complaints.extend(unread);
        let raw = seen.documents.raw(DocumentKind::Guard, ID);
        Ok(Guard {
            automatic: policy.automatic,
            actions: policy.actions.iter().map(|action| action.name().to_owned()).collect(),
            settings: policy_document::shown(&policy),
            revision: raw.map_or(0, |raw| raw.revision.0),
            by: raw.map_or(String::new(), |raw| raw.by.clone()),
            at_ms: raw.map_or(0, |raw| raw.at.0),
            attacks_active: attacks.iter().filter(|attack| attack.status == Status::Active).count() as u64,
            blocks: blocks.iter().map(|block| shown(block, &attacks)).collect(),
            whitelist: policy.whitelist.iter().filter(|one| one.lasts(seen.now_ms)).map(excepted).collect(),
            routers: seen.reports.into_iter().map(|(region, report)| router(&region, report)).collect(),
            complaints,
            as_of: seen.as_of,
        })
    }
}
