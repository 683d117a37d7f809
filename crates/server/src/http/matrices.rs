//! What was measured between regions: replication lag, queues, links.

use dwcp_api::Problem;
use dwcp_api::network::{LatencyMatrix, LatencyMatrixRead, LinkStatus};
use dwcp_api::page::Nothing;
use dwcp_api::state::{Lag, LagMatrix, LagMatrixRead, Queue, QueueDepth, QueueDepthRead};
use dwcp_roles::node::{GroupBeat, LinkReading, SyncReading};
use dwcp_types::NodeId;

use super::call::Call;
use super::routes::Serve;
use super::{names, region_summary};
use crate::handle::View;

fn regions(view: &View<'_>) -> Vec<String> {
    view.node.regions().values().map(|region| region.as_str().to_owned()).collect()
}

fn name(view: &View<'_>, node: NodeId) -> String {
    view.node.region_name(node).map_or_else(|| format!("node {node}"), |region| region.as_str().to_owned())
}

/// Ordered pairs of different regions.
fn pairs(view: &View<'_>) -> Vec<(NodeId, NodeId)> {
    let nodes: Vec<NodeId> = view.node.regions().keys().copied().collect();
    nodes
        .iter()
        .flat_map(|from| nodes.iter().map(|to| (*from, *to)))
        .filter(|(from, to)| from != to)
        .collect()
}

/// What a heard node says of a group, and how old that is in ms.
fn group_at(view: &View<'_>, node: NodeId, group: NodeId) -> Option<(GroupBeat, u64)> {
    let (groups, age_ms) = if node == view.node.config().me {
        (view.node.own_beat().groups, 0)
    } else if names::is_heard(view, node) {
        let beat = view.node.peers().get(&node)?.beat.as_ref()?;
        (beat.groups.clone(), names::silent_ms(view, node))
    } else {
        return None;
    };
    groups.into_iter().find(|beat| beat.group == group).map(|beat| (beat, age_ms))
}

/// How far `to`'s replica of `from`'s group is behind that group's leader. Unknown when either is not heard.
fn lag(view: &View<'_>, readings: &[SyncReading], from: NodeId, to: NodeId) -> Lag {
    let times = readings.iter().find(|reading| (reading.group, reading.node) == (from, to));
    let sync_ms = |percent| {
        let us = times.and_then(|reading| reading.times.quantile_us(percent))?;
        Some(us.div_ceil(1_000))
    };
    let replica = group_at(view, to, from);
    let leader = replica.as_ref().and_then(|(beat, _)| group_at(view, beat.leader, from));
    let entries = match (&leader, &replica) {
        (Some((leader, _)), Some((replica, _))) if leader.leader == replica.leader => {
            Some(leader.commit.saturating_sub(replica.applied))
        }
        _ => None,
    };
    Lag {
        from: name(view, from),
        to: name(view, to),
        entries,
        sync_p50_ms: sync_ms(50),
        sync_p99_ms: sync_ms(99),
        lag_ms: replica.and_then(|(beat, age_ms)| beat.lag_ms.map(|lag_ms| lag_ms.saturating_add(age_ms))),
    }
}

/// How long commands took until they were readable, as the leaders measured it that are heard.
pub fn sync_readings(view: &View<'_>) -> Vec<SyncReading> {
    let mut all = view.node.own_beat().sync;
    for (node, peer) in view.node.peers() {
        if names::is_heard(view, *node) {
            all.extend(peer.beat.iter().flat_map(|beat| beat.sync.iter().cloned()));
        }
    }
    all
}

/// Lag of every ordered pair.
pub fn lags(view: &View<'_>) -> Vec<Lag> {
    let readings = sync_readings(view);
    pairs(view).into_iter().map(|(from, to)| lag(view, &readings, from, to)).collect()
}

impl Serve for LagMatrixRead {
    async fn answer(call: &Call, _: Nothing) -> Result<LagMatrix, Problem> {
        call.look(|view| LagMatrix { regions: regions(view), pairs: lags(view), as_of: names::as_of(view) })
            .await
    }
}

impl Serve for QueueDepthRead {
    async fn answer(call: &Call, _: Nothing) -> Result<QueueDepth, Problem> {
        call.look(|view| {
            let queue = |(from, to): (NodeId, NodeId)| {
                let link =
                    reading(view, from, to).filter(|_| names::is_heard(view, from)).map(|(link, _)| link);
                Queue {
                    from: name(view, from),
                    to: name(view, to),
                    entries: link.as_ref().map(|link| link.queued_frames),
                    bytes: link.as_ref().map(|link| link.queued_bytes),
                    oldest_ms: None,
                }
            };
            QueueDepth { queues: pairs(view).into_iter().map(queue).collect(), as_of: names::as_of(view) }
        })
        .await
    }
}

fn reading(view: &View<'_>, from: NodeId, to: NodeId) -> Option<(LinkReading, u64)> {
    let (links, age_ms) = region_summary::links_of(view, from)?;
    links.into_iter().find(|link| link.node == to).map(|link| (link, age_ms))
}

fn link(view: &View<'_>, from: NodeId, to: NodeId) -> LinkStatus {
    let reading = reading(view, from, to);
    let measured = |us: u64| (us > 0).then(|| us as f64 / 1_000.0);
    let recent = names::is_heard(view, from);
    let link = reading.as_ref().map(|(link, _)| link);
    LinkStatus {
        from: name(view, from),
        to: name(view, to),
        up: link.filter(|_| recent).map(|link| link.up),
        rtt_p50_ms: link.and_then(|link| measured(link.rtt_p50_us)),
        rtt_p99_ms: link.and_then(|link| measured(link.rtt_p99_us)),
        loss_percent: link.map(|link| link.loss_basis_points as f64 / 100.0),
        throughput_mbit_s: link.map(|link| link.throughput_bps as f64 / 1e6),
        age_ms: reading.as_ref().map(|(_, age_ms)| *age_ms),
    }
}

/// The links from and to a region's node.
pub fn links_from(view: &View<'_>, node: NodeId) -> Vec<LinkStatus> {
    let touches = |pair: &(NodeId, NodeId)| pair.0 == node || pair.1 == node;
    pairs(view).into_iter().filter(touches).map(|(from, to)| link(view, from, to)).collect()
}

impl Serve for LatencyMatrixRead {
    async fn answer(call: &Call, _: Nothing) -> Result<LatencyMatrix, Problem> {
        call.look(|view| LatencyMatrix {
            regions: regions(view),
            links: pairs(view).into_iter().map(|(from, to)| link(view, from, to)).collect(),
            as_of: names::as_of(view),
        })
        .await
    }
}
