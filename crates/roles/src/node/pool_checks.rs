//! Hosts that measure themselves: those that wait for their region, before it is deployed, and those of a region that is there. A host
//! is asked by way of whichever node it is connected to.

use dwcp_types::{HostId, NodeId, RegionId, Wall, encode};

use super::questions::Question;
use super::wire::{AskHost, HostAnswer, Opaque};
use super::{Class, MeshMessage, Node, Reply, Request};
use crate::protocol::{CheckRequest, Checked, ControllerMessage};

/// A host measures itself for so long at most, ms.
pub(super) const MEASURED_WITHIN_MS: u64 = 8_000;
/// Processor time of processes is counted for so long at most, ms.
pub(super) const MOST_OVER_MS: u64 = 20_000;

/// What a host says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolCheck {
    /// What it found and measured.
    pub checked: Checked,
    /// How far its wall clock is ahead of the clock of the node that was asked, ms.
    pub ahead_ms: i64,
    /// That may be wrong by so much: half of what question and answer were under way, ms.
    pub unsure_ms: u64,
}

impl PoolCheck {
    pub(super) fn new(checked: Checked, asked_at: Wall, answered_at: Wall) -> PoolCheck {
        let there = match &checked.measures {
            Some(measures) => (Wall(measures.asked_wall_ms), Wall(measures.answered_wall_ms)),
            None => (asked_at, answered_at),
        };
        let (ahead_ms, unsure_ms) = clock_ahead(asked_at, there, answered_at);
        PoolCheck { checked, ahead_ms, unsure_ms }
    }
}

/// How far another clock is ahead of this one, ms, and by how much that may be wrong: half of what question and answer were under
/// way. They are taken to have been that equally long.
pub fn clock_ahead(asked: Wall, there: (Wall, Wall), answered: Wall) -> (i64, u64) {
    let (came, went) = (there.0.0 as i64, there.1.0 as i64);
    let (asked, answered) = (asked.0 as i64, answered.0 as i64);
    let ahead_ms = came.saturating_sub(asked).saturating_add(went.saturating_sub(answered)) / 2;
    let under_way = answered.saturating_sub(asked).saturating_sub(went.saturating_sub(came));
    (ahead_ms, under_way.max(0).unsigned_abs().div_ceil(2))
}

impl Node {
    pub(super) fn take_check_request(&mut self, ticket: u64, request: Request) {
        match request {
            Request::CheckPool(region, host) => self.check_pool(ticket, region, host),
            Request::CheckHost(region, host, over_ms, measure) => {
                self.check_host(ticket, region, host, over_ms, measure);
            }
            _ => {}
        }
    }

    /// Has a host that waits for its region measure itself; answered with nothing when nobody hears it.
    fn check_pool(&mut self, ticket: u64, region: RegionId, host: HostId) {
        let has = |pools: &[super::PoolHost]| {
            pools.iter().any(|pool| (&pool.region, &pool.host) == (&region, &host))
        };
        let holder = match has(&self.own_pools()) {
            true => Some(self.config.me),
            false => self.fresh_beats().find(|(_, beat)| has(&beat.pools)).map(|(node, _)| node),
        };
        let Some(holder) = holder else { return self.reply(ticket, Reply::PoolChecked(None)) };
        let deadline = self.now.mono.plus_ms(MEASURED_WITHIN_MS);
        let id = self.questions.open(Question::pool(ticket, self.now.wall), deadline);
        let ask = AskHost { id, region, host, question: Opaque::default() };
        match holder == self.config.me {
            true => self.ask_pool_for(holder, ask),
            false => self.send(holder, Class::Operations, &MeshMessage::AskPool(ask)),
        }
    }

    /// Has a host of a region that is there tell of its processes, and measure itself when that is asked for; answered with nothing
    /// when nobody hears it.
    fn check_host(&mut self, ticket: u64, region: RegionId, host: HostId, over_ms: u64, measure: bool) {
        let over_ms = over_ms.min(MOST_OVER_MS);
        let deadline = self.now.mono.plus_ms(MEASURED_WITHIN_MS + over_ms);
        let id = self.questions.open(Question::pool(ticket, self.now.wall), deadline);
        let dial = if measure { self.endpoints() } else { Vec::new() };
        let check = CheckRequest { request: id, measure, dial, in_service: true, processes_over_ms: over_ms };
        self.ask_host(id, region, host, &ControllerMessage::Check(check));
    }

    /// Passes the question on to a host that is connected here. What it is asked is this node's own to say: nobody has a host
    /// dial where the facts name no node.
    pub(super) fn ask_pool_for(&mut self, from: NodeId, ask: AskHost) {
        let mut strangers = self.strangers().into_iter();
        let found = strangers.find(|(_, hello)| (&hello.region, &hello.host) == (&ask.region, &ask.host));
        let Some((session, _)) = found else {
            return self.answer_host(from, HostAnswer { id: ask.id, answer: None });
        };
        let request = self.questions.pass(from, ask.id, self.now.mono.plus_ms(MEASURED_WITHIN_MS));
        let check =
            CheckRequest { request, measure: true, dial: self.endpoints(), ..CheckRequest::default() };
        self.pass_to_agent(session, encode(&ControllerMessage::Check(check)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::HostMeasures;

    fn check(asked: u64, there: (u64, u64), answered: u64) -> (i64, u64) {
        let measures =
            HostMeasures { asked_wall_ms: there.0, answered_wall_ms: there.1, ..HostMeasures::default() };
        let checked = Checked { measures: Some(measures), ..Checked::default() };
        let check = PoolCheck::new(checked, Wall(asked), Wall(answered));
        (check.ahead_ms, check.unsure_ms)
    }

    #[test]
    fn a_clock_is_compared_whatever_the_measuring_took() {
        assert_eq!(check(1_000, (1_050, 4_050), 4_100), (0, 50));
        assert_eq!(check(1_000, (3_050, 6_050), 4_100), (2_000, 50));
        assert_eq!(check(10_000, (50, 3_050), 13_100), (-10_000, 50));
        assert_eq!(check(1_000, (1_000, 1_001), 1_000), (0, 0), "rounding is no time");
        assert_eq!(check(u64::MAX, (0, u64::MAX), 0), (0, 1), "a clock that leaps is no panic");
    }
}
