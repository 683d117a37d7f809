//! Controller replicas: processes beside this node that decide where VMs go.
//!
//! A replica that is connected is told the facts and everything that is applied. A decision that may take long is handed to one
//! that has taken in what it was told and has little to do; the others, and what no replica can take, are decided here. Nothing
//! rests on a replica: what it has not answered in time is decided here, and a place that it names is looked at again, which
//! costs one region's hosts, before it is used; then `apply` checks it as it does every placement.

mod feed;
mod orders;
mod routers;

use std::collections::{BTreeMap, VecDeque};

use dwcp_decide::{PlaceRequest, Placement};
use dwcp_state::Lifecycle;
use dwcp_types::{HostId, LEVEL, Mono, NodeId, Refusal, RegionId, wire_struct};

use super::{Asked, CreateVm, Effect, Level, Node, Reply};
use crate::protocol::{
    DecideAsk, Decided, HelperKind, ROUTER_SLOTS, ReplicaHello, ReplicaSaid, ReplicaTold, RouterWord,
};
use crate::replica::{Desk, Places};
use feed::Feed;

/// A decision that is not there by then is made here, ms.
const ANSWER_MS: u64 = 1_000;
/// A replica that has not taken in what it was told for so long is asked nothing, ms.
const BEHIND_MS: u64 = 1_000;
/// Decisions that one replica may have before it: more would wait longer than it takes to decide here.
const OPEN_MOST: usize = 4;
/// A preview of more VMs than this is handed out, whatever their rules.
const MANY_VMS: u32 = 16;

/// A replica, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaView {
    /// The host that it runs on.
    pub host: HostId,
    /// Its number among that host's.
    pub slot: u8,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// It knows all facts.
    pub ready: bool,
    /// Decisions that it made and that were used.
    pub decided: u64,
    /// Decisions that it did not make in time, or that did not hold.
    pub failed: u64,
    /// The mean time from asking it to its answer, µs; 0: none yet.
    pub mean_us: u64,
    /// How long ago it was told the oldest thing that it has not taken in, ms; 0: it has everything.
    pub lag_ms: u64,
}
wire_struct!(ReplicaView {
    1 host, 2 slot, 3 pid, 4 version, 5 ready, 6 decided, 7 failed, 8 mean_us, 9 lag_ms
});

/// Decisions about placements since the process started, by who made them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Made by this node itself.
    pub here: u64,
    /// Made by replicas and used.
    pub by_replicas: u64,
    /// Handed out, not answered in time or by a replica that went away, and then made here.
    pub late: u64,
    /// Made by replicas, and not used because the place did not hold.
    pub not_held: u64,
}
wire_struct!(Decisions { 1 here, 2 by_replicas, 3 late, 4 not_held });

impl Decisions {
    fn all(&self) -> u64 {
        self.here + self.by_replicas
    }
}

/// What a node tells the others of its controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllersBeat {
    /// Those beside it.
    pub replicas: Vec<ReplicaView>,
    /// Who made the decisions of its process.
    pub decisions: Decisions,
    /// Decisions in a thousand seconds, over the last ten.
    pub decisions_in_1000_s: u64,
    /// The most that its region's hosts could run; none: another node leads its region's group.
    pub room: Option<u64>,
    /// What hosts say is wrong with them.
    pub troubles: Vec<(HostId, String)>,
    /// The most routers that its region's hosts could run beside the one that is always there; none: as for `room`.
    pub router_room: Option<u64>,
    /// What hosts say is wrong with those.
    pub router_troubles: Vec<(HostId, String)>,
}
wire_struct!(ControllersBeat {
    1 replicas, 2 decisions, 3 decisions_in_1000_s, 4 room, 5 troubles, 250 router_room, 251 router_troubles
});

/// What a decision is for.
#[derive(Clone, Debug)]
pub(super) enum For {
    /// A VM that is to be created, or shown where it would go, and when that was asked.
    Create(Box<(u64, Asked, CreateVm, Mono)>),
    /// VMs that are only looked at: for this ticket.
    Preview(u64),
}

/// A decision to make.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub request: PlaceRequest,
    pub count: u32,
    pub explain: bool,
    pub of: For,
}

impl Wanted {
    /// Long enough to be worth handing out: what is left is decided sooner than it is asked.
    fn is_long(&self) -> bool {
        self.count > MANY_VMS || self.request.may_look_at_all(self.explain)
    }
}

/// A decision that was handed out.
struct Ask {
    session: u64,
    asked_at: Mono,
    /// None: it was decided here meanwhile.
    wanted: Option<Wanted>,
}

/// A connected replica.
struct Session {
    /// The region of its host.
    region: RegionId,
    host: HostId,
    slot: u8,
    hello: Option<ReplicaHello>,
    feed: Feed,
    open: usize,
    decided: u64,
    failed: u64,
    total_us: u64,
    /// What it says of itself when it is a router; none: it is a controller.
    router: Option<Box<RouterWord>>,
}

impl Session {
    /// What it is and where, for the log.
    fn name(&self) -> String {
        match self.router {
            Some(_) => format!("router {} of host {}", self.slot - ROUTER_SLOTS, self.host),
            None => format!("controller {} of host {}", self.slot, self.host),
        }
    }

    fn component(&self) -> &'static str {
        if self.router.is_some() { "global-router" } else { "federation-controller" }
    }
}

/// Every replica, and what they are asked.
#[derive(Default)]
pub(super) struct Replicas {
    sessions: BTreeMap<u64, Session>,
    asks: BTreeMap<u64, Ask>,
    next: u64,
    decisions: Decisions,
    /// How long each decision of a replica took that came since somebody looked, µs.
    took_us: Vec<u64>,
    /// How many decisions there were at each of the last seconds.
    counted: VecDeque<(Mono, u64)>,
}

impl Node {
    /// The replicas connected here, by host and slot.
    pub fn replicas(&self) -> Vec<ReplicaView> {
        let now = self.now.mono;
        let view = |session: &Session| ReplicaView {
            host: session.host.clone(),
            slot: session.slot,
            pid: session.hello.as_ref().map_or(0, |hello| hello.pid),
            version: session.hello.as_ref().map_or(String::new(), |hello| hello.version.clone()),
            ready: session.hello.is_some() && self.knows_all(&session.feed),
            decided: session.decided,
            failed: session.failed,
            mean_us: session.total_us / session.decided.max(1),
            lag_ms: session.feed.lag_ms(now),
        };
        let controllers = self.replicas.sessions.values().filter(|session| session.router.is_none());
        let mut all: Vec<ReplicaView> = controllers.map(view).collect();
        all.sort_by(|a, b| (&a.host, a.slot).cmp(&(&b.host, b.slot)));
        all
    }

    /// What the controllers of a region are, as its node said last; none: it is not heard.
    pub fn controllers_of(&self, node: NodeId) -> Option<ControllersBeat> {
        if node == self.config.me {
            return Some(self.own_controllers());
        }
        let (_, beat) = self.fresh_beats().find(|(of, _)| *of == node)?;
        beat.controllers.as_deref().cloned()
    }

    pub(super) fn own_controllers(&self) -> ControllersBeat {
        let record = self.facts.core.regions.get(&self.config.region);
        let room = |kind| record.and_then(|region| self.room_for(kind, region));
        let troubles = |kind| record.map(|region| self.helper_troubles(kind, region)).unwrap_or_default();
        ControllersBeat {
            replicas: self.replicas(),
            decisions: self.replicas.decisions.clone(),
            decisions_in_1000_s: self.decisions_in_1000_s(),
            room: room(HelperKind::Controller),
            troubles: troubles(HelperKind::Controller),
            router_room: room(HelperKind::Router),
            router_troubles: troubles(HelperKind::Router),
        }
    }

    fn decisions_in_1000_s(&self) -> u64 {
        let Some((at, before)) = self.replicas.counted.front() else { return 0 };
        let elapsed_ms = self.now.mono.ms_since(*at).max(1);
        (self.replicas.decisions.all() - before) * 1_000_000 / elapsed_ms
    }

    /// Remembers how many decisions there were, once a second.
    fn count_decisions(&mut self) {
        let now = self.now.mono;
        let Replicas { counted, decisions, .. } = &mut self.replicas;
        if counted.back().is_some_and(|(at, _)| now < at.plus_ms(1_000)) {
            return;
        }
        counted.push_back((now, decisions.all()));
        if counted.len() > 11 {
            counted.pop_front();
        }
    }

    /// Who made the decisions of this process.
    pub fn decisions(&self) -> &Decisions {
        &self.replicas.decisions
    }

    /// How long each decision took that replicas made since this was called last, from asking to the answer, µs.
    pub fn take_replica_times(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.replicas.took_us)
    }

    pub(super) fn replica_up(&mut self, session: u64, region: &RegionId, host: HostId, slot: u8) {
        let record = self.facts.core.regions.get(&self.config.region);
        let wanted =
            record.is_some_and(|region| region.controllers() > 1 && region.lifecycle != Lifecycle::Leaving);
        let known = self.facts.regions.get(region).is_some_and(|facts| facts.hosts.contains_key(&host));
        let router = slot >= ROUTER_SLOTS;
        let why = if router && known {
            let (hello, feed) = (None, Feed::default());
            let (open, decided, failed, total_us, router) = (0, 0, 0, 0, Some(Box::default()));
            let region = region.clone();
            let new = Session { region, host, slot, hello, feed, open, decided, failed, total_us, router };
            self.replicas.sessions.insert(session, new);
            return;
        } else if router {
            format!("{region} has no host {host}")
        } else if *region != self.config.region {
            format!("host {host} is of {region}: replicas run on hosts of {}", self.config.region)
        } else if !wanted || !known {
            format!("{region} is to have no controller on {host}")
        } else {
            let feed = Feed::default();
            let (hello, open, decided, failed, total_us, router) = (None, 0, 0, 0, 0, None);
            let region = region.clone();
            let new = Session { region, host, slot, hello, feed, open, decided, failed, total_us, router };
            self.replicas.sessions.insert(session, new);
            return;
        };
        self.out.push(Effect::EndReplica { session, reason: why });
    }

    pub(super) fn replica_down(&mut self, session: u64) {
        let Some(gone) = self.replicas.sessions.remove(&session) else { return };
        self.log(gone.component(), Level::Info, format!("{} is gone", gone.name()));
        let lost: Vec<u64> =
            self.replicas.asks.iter().filter(|(_, ask)| ask.session == session).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(wanted) = self.replicas.asks.remove(&id).and_then(|ask| ask.wanted) {
                self.replicas.decisions.late += 1;
                // Another replica may take it; what it was asked for must not wait for one that goes away as well for ever.
                self.decide_wanted(wanted);
            }
        }
    }

    fn end_replica(&mut self, session: u64, reason: String) {
        self.replica_down(session);
        self.out.push(Effect::EndReplica { session, reason });
    }

    pub(super) fn replica_said(&mut self, session: u64, said: ReplicaSaid) {
        let now = self.now.mono;
        let Some(known) = self.replicas.sessions.get_mut(&session) else { return };
        match said {
            ReplicaSaid::Hello(hello) if hello.level > LEVEL || hello.level < self.facts.core.level => {
                let why = format!("version {} is of another level than this node's", hello.version);
                self.end_replica(session, why);
            }
            ReplicaSaid::Hello(hello) => {
                let name = known.name();
                let text = format!("{name} is there: version {}, process {}", hello.version, hello.pid);
                let component = known.component();
                known.hello = Some(hello);
                self.log(component, Level::Info, text);
                self.feed_facts(session);
            }
            ReplicaSaid::Taken(frames) => {
                known.feed.taken(frames, now);
                self.feed_facts(session);
            }
            ReplicaSaid::Decided(decided) => self.replica_decided(session, *decided),
            ReplicaSaid::Router(word) => self.router_said(session, *word),
            ReplicaSaid::RouterAnswer(answer) => self.router_answered(*answer),
        }
    }

    fn replica_decided(&mut self, session: u64, decided: Decided) {
        let asked = self.replicas.asks.get(&decided.id).is_some_and(|ask| ask.session == session);
        let Some(ask) = asked.then(|| self.replicas.asks.remove(&decided.id)).flatten() else { return };
        let now = self.now.mono;
        if let Some(known) = self.replicas.sessions.get_mut(&session) {
            known.open = known.open.saturating_sub(1);
        }
        // It came too late: it was decided here.
        let Some(wanted) = ask.wanted else { return };
        let places: Vec<Result<Placement, Refusal>> = decided.places.into_iter().map(Into::into).collect();
        let held = places.len() == wanted.count.max(1) as usize && self.holds(&wanted, &places);
        let took_us = now.0.saturating_sub(ask.asked_at.0).max(1);
        if let Some(known) = self.replicas.sessions.get_mut(&session) {
            known.decided += u64::from(held);
            known.failed += u64::from(!held);
            known.total_us += if held { took_us } else { 0 };
        }
        if !held {
            self.replicas.decisions.not_held += 1;
            let decided = self.decide_here(&wanted.request, wanted.count, wanted.explain);
            return self.decided(wanted.of, decided);
        }
        self.replicas.decisions.by_replicas += 1;
        self.replicas.took_us.push(took_us);
        self.decided(wanted.of, (places, decided.report));
    }

    /// Whether a place that is to be used would be given here as well: by every rule, and with what is reserved now.
    fn holds(&mut self, wanted: &Wanted, places: &[Result<Placement, Refusal>]) -> bool {
        let For::Create(create) = &wanted.of else { return true };
        let [Ok(place)] = places else { return true };
        if create.2.dry_run {
            return true;
        }
        let allowed = wanted.request.only_regions.as_ref().is_none_or(|only| only.contains(&place.region));
        let hosts = &wanted.request.vm.rules.hosts;
        if !allowed || !(hosts.is_empty() || hosts.contains(&place.host)) {
            return false;
        }
        let mut request = wanted.request.clone();
        request.only_regions = Some([place.region.clone()].into());
        request.vm.rules.hosts = [place.host.clone()].into();
        self.fits(&request)
    }

    /// Decides what is wanted, or hands it to a replica.
    pub(super) fn decide_wanted(&mut self, wanted: Wanted) {
        let replica = if wanted.is_long() { self.replica_with_room() } else { None };
        match replica {
            Some(session) => self.hand_out(session, wanted),
            None => {
                let decided = self.decide_here(&wanted.request, wanted.count, wanted.explain);
                self.decided(wanted.of, decided);
            }
        }
    }

    /// Decides in this process.
    pub(super) fn decide_here(&mut self, request: &PlaceRequest, count: u32, explain: bool) -> Places {
        self.replicas.decisions.here += 1;
        self.reserved.drop_settled(&self.facts);
        self.index.set_now(self.now.mono);
        let measured = self.measured_lately();
        let mut desk = Desk {
            view: &self.facts,
            index: &mut self.index,
            measured: &measured,
            reserved: &self.reserved,
            workers: &*self.workers,
        };
        desk.decide(request, count, explain)
    }

    fn decided(&mut self, of: For, (mut places, report): Places) {
        match of {
            For::Create(create) => {
                let (ticket, asked, create, began) = *create;
                if let Some(placed) = places.pop() {
                    if !create.dry_run {
                        self.note_decided(&asked, began, &placed);
                    }
                    self.create_placed(ticket, asked, create, placed, report);
                }
            }
            For::Preview(ticket) => self.reply(ticket, Reply::Previewed(places, Box::new(report))),
        }
    }

    /// The replica with the least to do, of those that know everything and are not behind.
    fn replica_with_room(&self) -> Option<u64> {
        let now = self.now.mono;
        let fit = self.replicas.sessions.iter().filter(|(_, session)| {
            session.hello.is_some()
                && session.router.is_none()
                && session.open < OPEN_MOST
                && session.feed.lag_ms(now) <= BEHIND_MS
                && self.knows_all(&session.feed)
        });
        fit.min_by_key(|(id, session)| (session.open, session.decided, **id)).map(|(id, _)| *id)
    }

    fn hand_out(&mut self, session: u64, wanted: Wanted) {
        self.reserved.drop_settled(&self.facts);
        self.feed_soft(session);
        self.replicas.next += 1;
        let id = self.replicas.next;
        let Wanted { request, count, explain, .. } = wanted.clone();
        self.tell_replica(session, ReplicaTold::Decide(Box::new(DecideAsk { id, request, count, explain })));
        if let Some(known) = self.replicas.sessions.get_mut(&session) {
            known.open += 1;
        }
        let ask = Ask { session, asked_at: self.now.mono, wanted: Some(wanted) };
        self.replicas.asks.insert(id, ask);
    }

    /// Decides what replicas have not, lets go of those that are not wanted any more, and feeds the others.
    pub(super) fn run_replicas(&mut self) {
        self.count_decisions();
        if self.replicas.sessions.is_empty() {
            return;
        }
        let now = self.now.mono;
        let record = self.facts.core.regions.get(&self.config.region);
        let alone =
            record.is_none_or(|region| region.controllers() < 2 || region.lifecycle == Lifecycle::Leaving);
        let sessions: Vec<u64> = self.replicas.sessions.keys().copied().collect();
        for session in sessions {
            let router = self.replicas.sessions.get(&session).is_some_and(|known| known.router.is_some());
            match alone && !router {
                true => self.end_replica(session, format!("{} has one controller", self.config.region)),
                false => self.feed_facts(session),
            }
        }
        self.feed_routers();
        let late: Vec<u64> = self
            .replicas
            .asks
            .iter()
            .filter(|(_, ask)| ask.wanted.is_some() && now >= ask.asked_at.plus_ms(ANSWER_MS))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(ask) = self.replicas.asks.get_mut(&id) else { continue };
            let (session, wanted) = (ask.session, ask.wanted.take());
            if let Some(known) = self.replicas.sessions.get_mut(&session) {
                known.failed += 1;
            }
            if let Some(wanted) = wanted {
                self.replicas.decisions.late += 1;
                let decided = self.decide_here(&wanted.request, wanted.count, wanted.explain);
                self.decided(wanted.of, decided);
            }
        }
    }
}

#[cfg(test)]
mod tests;
