//! Attacks as documents: each that routers see is numbered once, for everybody; blocks that ended are forgotten.

use std::time::Duration;

use dwcp_decide::ddos::{Attack, Block, RouterReport, Status, Verdict, journal, merge};
use dwcp_roles::node::Opaque;
use dwcp_state::{DocumentEvent, DocumentKind, FEDERATION_GROUP, Severity};
use dwcp_types::{Refusal, RegionId};
use tokio::time::{MissedTickBehavior, interval};

use super::Monitor;
use super::documents::{self, Documents, Draft};
use crate::clock;
use crate::handle::{View, own};
use crate::log::Log;

/// Between two looks at what routers say.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at which blocks have ended, ms.
const SWEEP_MS: u64 = 60_000;
/// Blocks that are forgotten at a time.
const SWEPT: usize = 1_000;

/// What routers said last of attackers, by region, as they wrote it.
pub struct Said(Vec<(RegionId, Opaque)>);

/// What every router that is heard of says of attackers. It is long: it is read outside of the node's loop.
pub fn said(view: &View<'_>) -> Said {
    Said(view.node.routers().into_iter().map(|beat| (beat.region, beat.shield)).collect())
}

impl Said {
    /// With its region each; what a later version writes is left out.
    pub fn read(self) -> Vec<(RegionId, RouterReport)> {
        let read = |(region, text): (RegionId, Opaque)| Some((region, serde_json::from_slice(&text.0).ok()?));
        self.0.into_iter().filter_map(read).collect()
    }
}

/// Keeps the record whenever this node leads the federation's group, for as long as it runs.
pub async fn keep(monitor: Monitor, log: Log) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whether one went on at the last look: then it may have ended.
    let mut active = true;
    let mut swept_ms = 0;
    let mut said = String::new();
    loop {
        ticks.tick().await;
        let look = |view: &View<'_>| view.node.leads(FEDERATION_GROUP).then(|| self::said(view));
        let Some(leads) = monitor.node.look(look).await else { return };
        let Some(told) = leads else {
            active = true;
            continue;
        };
        let reports = told.read();
        let now_ms = clock::wall().0;
        let sweeps = swept_ms + SWEEP_MS <= now_ms;
        let told = reports.iter().any(|(_, report)| !report.attacks.is_empty());
        if !told && !active && !sweeps {
            continue;
        }
        let seen = merge(reports.into_iter().map(|(_, report)| report)).attacks();
        match record(&monitor, &seen, sweeps, now_ms).await {
            Ok(goes_on) => {
                active = goes_on;
                swept_ms = if sweeps { now_ms } else { swept_ms };
                said.clear();
            }
            Err(refusal) if refusal.to_string() != said => {
                said = refusal.to_string();
                log.error("monitor", format!("attacks are not written down: {said}"));
            }
            Err(_) => {}
        }
    }
}

/// Writes down what is new; whether an attack goes on.
async fn record(monitor: &Monitor, seen: &[Attack], sweeps: bool, now_ms: u64) -> Result<bool, Refusal> {
    let kinds: &[DocumentKind] =
        if sweeps { &[DocumentKind::Attack, DocumentKind::Block] } else { &[DocumentKind::Attack] };
    documents::change(&monitor.node, &own(), kinds, |documents, draft| {
        let known: Vec<Attack> =
            documents.all(DocumentKind::Attack)?.into_iter().map(|(_, one)| one).collect();
        let change = journal(&known, seen, now_ms);
        let before = |id: &str| known.iter().find(|one| one.id == id);
        for attack in &change.put {
            draft.put(DocumentKind::Attack, &attack.id, attack)?;
            event(before(&attack.id), attack).into_iter().for_each(|event| draft.event(event));
        }
        change.removed.iter().for_each(|id| draft.remove(DocumentKind::Attack, id));
        if sweeps {
            sweep(documents, draft, now_ms)?;
        }
        let put = |one: &&Attack| change.put.iter().any(|put| put.id == one.id);
        let unchanged = known.iter().filter(|one| !put(one));
        Ok(unchanged.chain(&change.put).any(|one| one.status == Status::Active))
    })
    .await
}

/// Blocks that ended are forgotten.
fn sweep(documents: &Documents, draft: &mut Draft, now_ms: u64) -> Result<(), Refusal> {
    let blocks = documents.all::<Block>(DocumentKind::Block)?;
    let ended = blocks.iter().filter(|(_, block)| block.until_ms <= now_ms).take(SWEPT);
    ended.for_each(|(id, _)| draft.remove(DocumentKind::Block, id));
    Ok(())
}

/// What is worth an event: that one begins, turns out to be real, or is over.
fn event(before: Option<&Attack>, now: &Attack) -> Option<DocumentEvent> {
    let real = now.judgement.verdict == Verdict::Real;
    let (what, severity) = match (before, now.status) {
        (Some(before), Status::Over) if before.status == Status::Active => ("over", Severity::Info),
        (Some(before), Status::Active) if before.status == Status::Over => ("back", Severity::Warning),
        (None, _) if real => ("detected", Severity::Critical),
        (None, _) => ("detected", Severity::Warning),
        (Some(before), Status::Active) if real && before.judgement.verdict != Verdict::Real => {
            ("real", Severity::Critical)
        }
        _ => return None,
    };
    let text = format!(
        "{} is {what}: {} at {}, {} a second from {} sources ({})",
        now.id,
        now.kind.name(),
        now.target,
        now.peak_rate,
        now.sources,
        now.judgement.verdict
    );
    Some(DocumentEvent { severity, kind: format!("ddos.{what}"), subject: now.id.clone(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attack(status: Status, verdict: Verdict) -> Attack {
        let text = serde_json::json!({
            "id": "attack-007", "key": "k", "kind": "http_flood", "target": {"service": "shop"}, "service": "shop",
            "peak_rate": 900, "first_ms": 1, "last_ms": 2, "sources": 3, "status": status, "evidence": {},
            "typical": {}, "judgement": {"verdict": verdict, "reasons": []},
        });
        serde_json::from_value(text).expect("an attack")
    }

    #[test]
    fn an_attack_makes_an_event_when_it_begins_turns_out_real_comes_back_and_ends() {
        let (real, unclear) =
            (attack(Status::Active, Verdict::Real), attack(Status::Active, Verdict::Unclear));
        let over = attack(Status::Over, Verdict::Real);
        let said = |before: Option<&Attack>, now: &Attack| {
            event(before, now).map(|event| (event.kind, event.severity))
        };
        assert_eq!(said(None, &real), Some(("ddos.detected".to_owned(), Severity::Critical)));
        assert_eq!(said(None, &unclear), Some(("ddos.detected".to_owned(), Severity::Warning)));
        assert_eq!(said(Some(&unclear), &real), Some(("ddos.real".to_owned(), Severity::Critical)));
        assert_eq!(said(Some(&real), &over), Some(("ddos.over".to_owned(), Severity::Info)));
        assert_eq!(said(Some(&over), &real), Some(("ddos.back".to_owned(), Severity::Warning)));
        assert_eq!(said(Some(&real), &real), None);
        let text = event(None, &real).expect("an event").text;
        assert_eq!(text, "attack-007 is detected: http_flood at shop, 900 a second from 3 sources (real)");
    }
}
