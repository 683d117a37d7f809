//! Capacity is never oversold, and no VM has two owners.

use dwcp_state::Federation;
use dwcp_types::NodeId;

pub(super) fn check(node: NodeId, facts: &Federation) -> Option<String> {
    let flaws = facts.flaws();
    flaws.first().map(|flaw| format!("node {node}: {flaw:?}"))
}
