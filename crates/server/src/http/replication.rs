//! How state is replicated.

use dwcp_api::Problem;
use dwcp_api::page::Nothing;
use dwcp_api::state::{
    RegionReplication, Replication, ReplicationConfigure, ReplicationConfigureRequest, ReplicationRead,
};
use dwcp_roles::node::Measures;
use dwcp_state::Policy;
use dwcp_types::NodeId;

use super::call::{Call, bad_value};
use super::routes::Serve;
use super::{names, policies};
use crate::handle::View;

/// Longest time between two tellings of soft state, ms: what is older tells nothing.
const LONGEST_MS: u64 = 60_000;

/// What a region's node says of itself, and how old that is, ms.
fn said(view: &View<'_>, node: NodeId) -> Option<(Measures, u64)> {
    if node == view.node.config().me {
        return Some((view.node.own_beat().measures, 0));
    }
    let peer = view.node.peers().get(&node)?;
    Some((peer.beat.as_ref()?.measures.clone(), view.now.mono.ms_since(peer.told)))
}

fn region(view: &View<'_>, node: NodeId, name: &str) -> RegionReplication {
    let said = said(view, node);
    // A node that has measured nothing yet, or is of an older version, says 0.
    let measures = said.as_ref().map(|(measures, _)| measures).filter(|found| found.append_messages > 0);
    RegionReplication {
        region: name.to_owned(),
        append_messages: measures.map(|found| found.append_messages),
        compression: measures.map(|found| !found.plain_frames),
        framed_bytes: measures.map(|found| found.framed_bytes),
        sent_bytes: measures.map(|found| found.sent_bytes),
        soft_state_age_ms: said.as_ref().map(|(_, age_ms)| *age_ms),
    }
}

/// What is set, for a document of settings: (workers, compression, interval in ms).
pub fn set(view: &View<'_>, policy: &Policy) -> (u32, bool, u64) {
    let beat_ms = view.node.config().beat_ms;
    (policy.workers(), !policy.plain_frames, policy.soft_state_every_ms.max(beat_ms))
}

fn show(view: &View<'_>, policy: &Policy) -> Replication {
    let (replication_workers, compression, sync_interval_ms) = set(view, policy);
    let regions = view.node.regions().iter().map(|(node, name)| region(view, *node, name.as_str()));
    Replication {
        replication_workers,
        compression,
        sync_interval_ms,
        regions: regions.collect(),
        revision: view.node.facts().core.policy_revision.0,
        as_of: names::as_of(view),
    }
}

fn changed(before: &Policy, request: &ReplicationConfigureRequest, beat_ms: u64) -> Result<Policy, Problem> {
    let mut policy = before.clone();
    if let Some(workers) = request.replication_workers {
        if !(1..=Policy::MOST_WORKERS).contains(&workers) {
            let why = format!("{workers} is not from 1 to {}", Policy::MOST_WORKERS);
            return Err(bad_value("replication_workers", why));
        }
        policy.replication_workers = workers;
    }
    policy.plain_frames = request.compression.map_or(policy.plain_frames, |compress| !compress);
    if let Some(every_ms) = request.sync_interval_ms {
        if !(beat_ms..=LONGEST_MS).contains(&every_ms) {
            let why = format!("{every_ms} ms is not from {beat_ms} (a beat) to {LONGEST_MS} ms");
            return Err(bad_value("sync_interval_ms", why));
        }
        policy.soft_state_every_ms = every_ms;
    }
    Ok(policy)
}

impl Serve for ReplicationRead {
    async fn answer(call: &Call, _: Nothing) -> Result<Replication, Problem> {
        call.look(|view| show(view, &view.node.facts().core.policy)).await
    }
}

impl Serve for ReplicationConfigure {
    async fn answer(call: &Call, request: ReplicationConfigureRequest) -> Result<Replication, Problem> {
        let expected = request.expected_revision;
        let before = policies::before(call, expected, request.dry_run).await?;
        let beat_ms = call.look(|view| view.node.config().beat_ms).await?;
        let policy = changed(&before, &request, beat_ms)?;
        if !request.dry_run {
            policies::set(call, policy.clone(), &before, expected).await?;
        }
        call.look(move |view| show(view, &policy)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_and_what_is_out_of_range_names_its_limits() {
        let before = Policy::default();
        let of = |request: ReplicationConfigureRequest| changed(&before, &request, 250);
        assert_eq!(of(ReplicationConfigureRequest::default()).expect("policy"), before);
        let some = ReplicationConfigureRequest {
            replication_workers: Some(20),
            compression: Some(false),
            sync_interval_ms: Some(10_000),
            ..Default::default()
        };
        let policy = of(some).expect("policy");
        assert_eq!((policy.append_messages(), policy.plain_frames), (640, true));
        assert_eq!(policy.soft_state_every_ms, 10_000);
        for (workers, every_ms, words) in [
            (Some(0), None, "0 is not from 1 to 64"),
            (Some(65), None, "65 is not from 1 to 64"),
            (None, Some(249), "249 ms is not from 250 (a beat) to 60000 ms"),
            (None, Some(60_001), "60001 ms is not from"),
        ] {
            let request = ReplicationConfigureRequest {
                replication_workers: workers,
                sync_interval_ms: every_ms,
                ..Default::default()
            };
            let problem = of(request).expect_err("refused");
            assert!(problem.cause.iter().any(|cause| cause.contains(words)), "{problem:?}");
        }
    }
}
