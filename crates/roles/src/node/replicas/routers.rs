//! Routers linked to this node: replicas of the facts that decide where users' requests go.
//!
//! A router may be linked to another region's node while its own does not answer.

use std::collections::BTreeMap;

use dwcp_types::{HostId, RegionId};

use super::super::Level;
use super::Node;
use crate::protocol::{
    LINE_BYTES_MOST, LINES_MOST, ROUTER_SLOTS, ReplicaTold, RouterAsk, RouterBeat, RouterWord, RoutersTold,
    SHIELD_BYTES_MOST,
};

/// Between two times at which routers are told what the others say, ms.
const TELL_MS: u64 = 500;

/// A router of the federation by its place.
type RouterName = (RegionId, HostId, u8);

impl Node {
    /// The routers linked here, with what they said last.
    pub fn routers_here(&self) -> impl Iterator<Item = &RouterWord> {
        let routers = self.replicas.sessions.values().filter_map(|session| session.router.as_deref());
        routers.filter(|word| word.beat.pid != 0)
    }

    /// Every router of the federation that is heard of, by region, host and number.
    pub fn routers(&self) -> Vec<RouterBeat> {
        let name = |beat: &RouterBeat| (beat.region.clone(), beat.host.clone(), beat.number);
        let mut all: BTreeMap<RouterName, RouterBeat> = BTreeMap::new();
        let told = self.fresh_beats().flat_map(|(_, beat)| &beat.routers);
        for beat in told.chain(self.routers_here().map(|word| &word.beat)) {
            // One that has changed its node is told by both for a while.
            let newer =
                all.get(&name(beat)).is_none_or(|known| known.table_made_at_ms <= beat.table_made_at_ms);
            if newer {
                all.insert(name(beat), beat.clone());
            }
        }
        all.into_values().collect()
    }

    pub(in crate::node) fn router_said(&mut self, session: u64, mut word: RouterWord) {
        let Some(known) = self.replicas.sessions.get_mut(&session) else { return };
        let Some(router) = &mut known.router else { return };
        // Who it is says its certificate and the number that it connected with.
        let (host, number) = (known.host.clone(), known.slot - ROUTER_SLOTS);
        let region = known.region.clone();
        let lines = std::mem::take(&mut word.lines);
        let name = format!("router {host}/{number}");
        **router = RouterWord { beat: RouterBeat { region, host, number, ..word.beat }, ..word };
        if router.beat.shield.0.len() > SHIELD_BYTES_MOST {
            router.beat.shield.0.clear();
        }
        for line in lines.iter().filter(|line| line.len() <= LINE_BYTES_MOST).take(LINES_MOST) {
            self.log("firewall", Level::Warning, format!("{name}: {line}"));
        }
    }

    /// Asks a router linked here, the one that has the most to do; false: there is none.
    pub(in crate::node) fn ask_router_here(&mut self, ask: RouterAsk) -> bool {
        let routers = self.replicas.sessions.iter().filter_map(|(id, session)| {
            session.router.as_deref().filter(|word| word.beat.pid != 0).map(|word| (*id, word))
        });
        let busiest = routers.max_by_key(|(id, word)| (word.beat.requests + word.beat.dns_answers, *id));
        let session = busiest.map(|(id, _)| id);
        if let Some(session) = session {
            self.tell_replica(session, ReplicaTold::AskRouter(Box::new(ask)));
        }
        session.is_some()
    }

    /// Tells routers what was measured and what the others say.
    pub(in crate::node) fn feed_routers(&mut self) {
        let routers = self.replicas.sessions.iter().filter(|(_, session)| session.router.is_some());
        let sessions: Vec<u64> = routers.map(|(session, _)| *session).collect();
        if sessions.is_empty() || !self.due("routers", TELL_MS) {
            return;
        }
        let routers = self.routers();
        for session in sessions {
            let whole = self.replicas.sessions.get(&session).is_some_and(|known| self.knows_all(&known.feed));
            if whole {
                self.feed_measured(session);
                let told = RoutersTold { routers: routers.clone() };
                self.tell_replica(session, ReplicaTold::Routers(Box::new(told)));
            }
        }
    }
}
