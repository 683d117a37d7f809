//! A control plane that came back from a backup: what each of its nodes finds on its disk, and how its nodes are told from
//! those of before, and from those of another restoration.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_consensus::{Batch, Beginning};
use dwcp_state::{FEDERATION_GROUP, Facts, Restoration};
use dwcp_types::{GroupId, NodeId, encode};

use super::wire::Opaque;
use super::{Effect, Level, MeshMessage, Node};

/// Between two lines about one node that is of another restoration, ms.
const TELL_MS: u64 = 10_000;

/// What the disk of every node of a federation holds that is restored from these facts, a backup of all of its groups. The same,
/// byte by byte, whoever makes it.
///
/// # Errors
/// Says which group is missing, or that there are none that could vote.
pub fn restored(facts: BTreeMap<GroupId, Facts>, restoration: &Restoration) -> Result<Batch, String> {
    let (voters, learners, groups) = match facts.get(&FEDERATION_GROUP) {
        Some(Facts::Core(core)) => {
            let (voters, learners) = core.founders();
            (voters, learners, core.groups())
        }
        _ => return Err("the federation's own facts are missing".to_string()),
    };
    if voters.is_empty() {
        return Err("no region holds replicas".to_string());
    }
    let mut facts = dwcp_state::restored(facts, restoration);
    let mut all = Batch::default();
    for group in groups {
        let facts = facts.remove(&group).ok_or_else(|| format!("the facts of group {group} are missing"))?;
        let beginning = Beginning {
            voters: voters.clone(),
            learners: learners.clone(),
            index: facts.revision().0,
            term: restoration.id,
            data: facts.snapshot(),
        };
        all.puts.extend(dwcp_consensus::restored(group, beginning).puts);
    }
    Ok(all)
}

/// What is heard of restorations.
#[derive(Default)]
pub(super) struct Restorations {
    /// That of those that are heard, while nothing is known here.
    heard: u64,
    /// Nodes of a later one than this node's.
    later: BTreeSet<NodeId>,
    /// Agents were turned away over that.
    turned_away: bool,
}

impl Node {
    /// The restoration that this node's facts are of; 0: none, or it knows of no facts yet.
    pub fn restoration(&self) -> u64 {
        let known = self.facts.core.restoration.as_ref().map_or(0, |restoration| restoration.id);
        if self.facts.core.regions.is_empty() { self.restorations.heard } else { known }
    }

    /// A message as it goes to other nodes: those of another restoration can't read it.
    pub(super) fn sealed(&self, message: &MeshMessage) -> Vec<u8> {
        match self.restoration() {
            0 => encode(message),
            id => encode(&MeshMessage::Restored((id, Opaque(encode(message))))),
        }
    }

    /// What another node says, if it is of the same restoration. A node without facts joins whom it hears.
    pub(super) fn of_ours(&mut self, from: NodeId, message: MeshMessage) -> Option<MeshMessage> {
        let (theirs, message) = match message {
            MeshMessage::Restored((id, bytes)) => (id, dwcp_types::decode(&bytes.0).ok()?),
            message => (0, message),
        };
        // With nothing of its own, or with nothing of it that is whole, it follows those that it hears.
        let damaged = self.raft.status(FEDERATION_GROUP).is_some_and(|status| status.damaged);
        if self.facts.core.regions.is_empty() && (self.config.lost || self.config.joins || damaged) {
            self.restorations.heard = theirs;
        }
        let ours = self.restoration();
        if ours == theirs {
            return Some(message);
        }
        if theirs > ours {
            self.restorations.later.insert(from);
            self.leave_agents();
        }
        if self.due(format!("restoration of {from}"), TELL_MS) {
            let what = |id: u64| match id {
                0 => "not restored from a backup".to_string(),
                id => format!("of restoration {id}"),
            };
            let later = ours.max(theirs);
            let text = format!(
                "node {from} is {}, and this one is {}: they don't take part in one federation. The one that is not of \
                 restoration {later} must be stopped, its store put aside, and `dwcpd restore --restoration {later}` run there",
                what(theirs),
                what(ours)
            );
            self.log("state-manager", Level::Error, text);
        }
        None
    }

    /// Once most voters are of a later restoration nothing is decided here any more: hosts that stay connected would never be
    /// heard by those who decide.
    fn leave_agents(&mut self) {
        let voters = self.raft.status(FEDERATION_GROUP).map_or_else(Vec::new, |status| status.voters);
        let gone = voters.iter().filter(|voter| self.restorations.later.contains(voter)).count();
        if gone * 2 > voters.len() && !std::mem::replace(&mut self.restorations.turned_away, true) {
            let reason = "most regions are restored from a backup, and this one is not part of that";
            self.out.push(Effect::TurnAgentsAway(reason.to_string()));
        }
    }
}
