//! Agents connected to this node: their messages are passed to the leader of their region's group, and its answers back.

use std::collections::BTreeMap;

use dwcp_types::{GroupId, HostId, Mono, NodeId, RegionId, decode};

use super::wire::{Opaque, Relayed};
use super::{Beat, Class, Effect, MeshMessage, Node};
use crate::protocol::{AgentMessage, Hello, HostingReport, Renew};

/// A connection.
#[derive(Clone, Debug)]
struct Session {
    region: RegionId,
    host: HostId,
    hello: Option<Vec<u8>>,
    /// What it said of its region's node since.
    hosting: Option<HostingReport>,
}

/// Every connection of this node.
#[derive(Default)]
pub(super) struct Agents {
    sessions: BTreeMap<u64, Session>,
    /// When each host was last heard here, also after its connection has ended: when it goes back to its own region's node, that
    /// node's first word reaches the others later than the end of the connection here.
    heard: BTreeMap<(RegionId, HostId), Mono>,
    /// Who said in a beat that it leads a group, and in which term.
    leaders: BTreeMap<GroupId, (u64, NodeId)>,
}

impl Agents {
    /// What connected agents of regions that are not known say of themselves, by session.
    pub(super) fn strangers(&self, knows: impl Fn(&RegionId) -> bool) -> Vec<(u64, Hello)> {
        let read = |session: &Session| match decode::<AgentMessage>(session.hello.as_ref()?) {
            Ok(AgentMessage::Hello(hello)) => {
                Some(Hello { hosting: session.hosting.clone().unwrap_or(hello.hosting), ..hello })
            }
            _ => None,
        };
        let strangers = self.sessions.iter().filter(|(_, session)| !knows(&session.region));
        strangers.filter_map(|(id, session)| Some((*id, read(session)?))).collect()
    }

    /// How many hosts of each region were heard here since `since`.
    pub(super) fn heard_since(&self, since: Mono) -> BTreeMap<RegionId, u64> {
        let mut counts = BTreeMap::new();
        for ((region, _), _) in self.heard.iter().filter(|(_, heard)| **heard >= since) {
            *counts.entry(region.clone()).or_insert(0) += 1;
        }
        counts
    }
}

impl Node {
    pub(super) fn agent_up(&mut self, session: u64, region: RegionId, host: HostId) {
        self.agents.heard.insert((region.clone(), host.clone()), self.now.mono);
        self.agents.sessions.insert(session, Session { region, host, hello: None, hosting: None });
    }

    pub(super) fn agent_down(&mut self, session: u64) {
        self.agents.sessions.remove(&session);
    }

    pub(super) fn agent_frame(&mut self, session: u64, bytes: &[u8]) {
        let Some(known) = self.agents.sessions.get_mut(&session) else { return };
        let Ok(message) = decode::<AgentMessage>(bytes) else { return };
        // The certificate says which host speaks; a message that claims another one is dropped.
        if let AgentMessage::Hello(hello) = &message {
            if hello.host != known.host || hello.region != known.region {
                return;
            }
            known.hello = Some(bytes.to_vec());
            known.hosting = None;
        }
        if let AgentMessage::Renew(Renew { hosting: Some(hosting), .. }) = &message {
            known.hosting = Some(hosting.clone());
        }
        self.agents.heard.insert((known.region.clone(), known.host.clone()), self.now.mono);
        // Nobody leads a region that is not there: what its hosts answer is for who asked here.
        if let AgentMessage::Checked(answer) = &message
            && self.facts.group_of(&known.region).is_none()
        {
            return self.pass_answer(answer.request, message);
        }
        self.pass_to_leader(session, bytes.to_vec());
    }

    fn pass_to_leader(&mut self, session: u64, bytes: Vec<u8>) {
        let Some(known) = self.agents.sessions.get(&session) else { return };
        let Some(group) = self.facts.group_of(&known.region) else { return };
        let known_leader = self.raft.status(group).and_then(|status| status.leader);
        let leader = known_leader.or_else(|| self.agents.leaders.get(&group).map(|(_, leader)| *leader));
        let relayed =
            Relayed { session, region: known.region.clone(), host: known.host.clone(), bytes: Opaque(bytes) };
        match leader {
            Some(node) if node == self.config.me => self.hear_agent(node, relayed),
            Some(node) => self.send(node, Class::Consensus, &MeshMessage::FromAgent(relayed)),
            None => {}
        }
    }

    /// A replica without a vote hears no leader. Its region's hosts must not lose their leases over that.
    pub(super) fn hear_leaders(&mut self, from: NodeId, beat: &Beat) {
        for of in beat.groups.iter().filter(|of| of.leader == from) {
            let said = (of.term, from);
            let newest = self.agents.leaders.get(&of.group).is_none_or(|known| *known < said);
            if newest {
                self.agents.leaders.insert(of.group, said);
                if self.raft.status(of.group).is_some_and(|status| status.leader.is_none()) {
                    self.reintroduce_agents(of.group, Some(from));
                }
            }
        }
    }

    /// A new leader has not been told who these agents are.
    pub(super) fn reintroduce_agents(&mut self, group: u64, leader: Option<NodeId>) {
        if leader.is_none() {
            return;
        }
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let hellos: Vec<(u64, Vec<u8>)> = self
            .agents
            .sessions
            .iter()
            .filter(|(_, session)| session.region == region)
            .filter_map(|(id, session)| Some((*id, session.hello.clone()?)))
            .collect();
        for (session, hello) in hellos {
            self.pass_to_leader(session, hello);
        }
    }

    pub(super) fn pass_to_agent(&mut self, session: u64, bytes: Vec<u8>) {
        if self.agents.sessions.contains_key(&session) {
            self.out.push(Effect::SendAgent { session, bytes });
        }
    }
}
