//! What each replica has been told, and what it is to be told next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dwcp_decide::Measured;
use dwcp_state::{Command, Envelope, FEDERATION_GROUP};
use dwcp_types::{GroupId, HostId, Mono, RegionId, VmId, encode};

use super::super::{Effect, Node, Opaque};
use crate::protocol::{AppliedEntry, ReplicaTold, Reserved, SNAPSHOT_PART, SnapshotPart};

/// Between two moments at which it is remembered what had been told by then, ms.
const MARK_MS: u64 = 100;
/// Groups that were told last and may be on their way while the next one is read out.
const AHEAD: u64 = 4;

/// What one replica has been told.
#[derive(Default)]
pub(super) struct Feed {
    /// Groups whose facts it has, and whose commands it is told.
    groups: BTreeSet<GroupId>,
    /// Frames told and taken in.
    told: u64,
    taken: u64,
    /// The last frame of each snapshot that is on its way.
    snapshots: VecDeque<u64>,
    /// What had been told at these moments, and was not taken in since.
    marks: VecDeque<(u64, Mono)>,
    measured: Option<Arc<Measured>>,
    reserved: BTreeMap<VmId, (RegionId, HostId, u64)>,
}

impl Feed {
    /// So many frames were taken in.
    pub fn taken(&mut self, frames: u64, now: Mono) {
        self.taken = frames.min(self.told).max(self.taken);
        while self.snapshots.front().is_some_and(|frame| *frame <= self.taken) {
            self.snapshots.pop_front();
        }
        while self.marks.front().is_some_and(|(frame, _)| *frame <= self.taken) {
            self.marks.pop_front();
        }
        // What was told since the mark before is not older than now.
        if self.marks.is_empty() && self.taken < self.told {
            self.marks.push_back((self.told, now));
        }
    }

    /// How long ago the oldest was told that was not taken in, ms; 0: everything was.
    pub fn lag_ms(&self, now: Mono) -> u64 {
        self.marks.front().map_or(0, |(_, at)| now.0.saturating_sub(at.0) / 1_000)
    }

    fn told(&mut self, now: Mono) {
        self.told += 1;
        match self.marks.back_mut() {
            Some((frame, at)) if now < at.plus_ms(MARK_MS) => *frame = self.told,
            _ => self.marks.push_back((self.told, now)),
        }
    }
}

impl Node {
    /// True when the replica has the facts of every group.
    pub(super) fn knows_all(&self, feed: &Feed) -> bool {
        let all = self.facts.regions.values().map(|facts| facts.number);
        feed.snapshots.is_empty()
            && feed.groups.contains(&FEDERATION_GROUP)
            && all.clone().all(|group| feed.groups.contains(&group))
            && feed.groups.len() == all.count() + 1
    }

    pub(super) fn tell_replica(&mut self, session: u64, told: ReplicaTold) {
        if let Some(known) = self.replicas.sessions.get_mut(&session) {
            known.feed.told(self.now.mono);
            self.out.push(Effect::TellReplica { session, told: Box::new(told) });
        }
    }

    /// Reads the facts out that a replica lacks, a few groups at a time, as it takes them in.
    pub(super) fn feed_facts(&mut self, session: u64) {
        let Some(known) = self.replicas.sessions.get(&session).filter(|known| known.hello.is_some()) else {
            return;
        };
        let regions = self.facts.regions.iter().map(|(region, facts)| (facts.number, region.clone()));
        let all: BTreeMap<GroupId, RegionId> =
            std::iter::once((FEDERATION_GROUP, RegionId::default())).chain(regions).collect();
        let closed: Vec<GroupId> =
            known.feed.groups.iter().filter(|group| !all.contains_key(group)).copied().collect();
        let room = AHEAD.saturating_sub(known.feed.snapshots.len() as u64) as usize;
        let missing: Vec<(GroupId, RegionId)> =
            all.into_iter().filter(|(group, _)| !known.feed.groups.contains(group)).take(room).collect();
        for group in closed {
            self.tell_replica(session, ReplicaTold::Closed(group));
            self.with_feed(session, |feed| {
                feed.groups.remove(&group);
            });
        }
        for (group, region) in missing {
            let snapshot = self.facts.open_snapshot(group);
            let mut parts = snapshot.chunks(SNAPSHOT_PART).peekable();
            while let Some(part) = parts.next() {
                let (bytes, last) = (Opaque(part.to_vec()), parts.peek().is_none());
                let part = SnapshotPart { group, region: region.clone(), bytes, last };
                self.tell_replica(session, ReplicaTold::Snapshot(part));
            }
            self.with_feed(session, |feed| {
                feed.groups.insert(group);
                feed.snapshots.push_back(feed.told);
            });
        }
    }

    fn with_feed(&mut self, session: u64, change: impl FnOnce(&mut Feed)) {
        if let Some(known) = self.replicas.sessions.get_mut(&session) {
            change(&mut known.feed);
        }
    }

    /// Tells replicas what was applied.
    pub(in crate::node) fn feed_applied(
        &mut self,
        group: GroupId,
        revision: u64,
        data: &[u8],
        envelope: &Envelope,
    ) {
        let fed = self.replicas.sessions.iter().filter(|(_, known)| known.feed.groups.contains(&group));
        let sessions: Vec<u64> = fed.map(|(session, _)| *session).collect();
        if sessions.is_empty() {
            return;
        }
        let bytes = without_secret(envelope).unwrap_or_else(|| data.to_vec());
        for session in sessions {
            let entry = AppliedEntry { group, revision, envelope: Opaque(bytes.clone()) };
            self.tell_replica(session, ReplicaTold::Applied(entry));
        }
    }

    /// The facts of a group are other ones now: replicas are told all of them again.
    pub(in crate::node) fn feed_again(&mut self, group: GroupId) {
        for known in self.replicas.sessions.values_mut() {
            known.feed.groups.remove(&group);
        }
    }

    /// Tells a replica what was measured, if it differs from what it was told.
    pub(super) fn feed_measured(&mut self, session: u64) {
        let measured = self.measured_lately();
        let Some(known) = self.replicas.sessions.get_mut(&session) else { return };
        let told = known.feed.measured.replace(measured.clone());
        if told.is_none_or(|told| *told != *measured) {
            self.tell_replica(session, ReplicaTold::Measured(Box::new((*measured).clone())));
        }
    }

    /// Tells a replica what was measured and what is reserved, as far as it differs from what it was told.
    pub(super) fn feed_soft(&mut self, session: u64) {
        self.feed_measured(session);
        let Some(known) = self.replicas.sessions.get_mut(&session) else { return };
        let mut news = Vec::new();
        let feed = &mut known.feed;
        let mut now_reserved = BTreeMap::new();
        for (region, vm, coming) in self.reserved.all() {
            let place = (region.clone(), vm.host.clone(), vm.generation.0);
            if feed.reserved.get(&vm.id) != Some(&place) {
                let reserved = Reserved { region: region.clone(), vm: vm.clone(), coming };
                news.push(ReplicaTold::Reserved(Box::new(reserved)));
            }
            now_reserved.insert(vm.id, place);
        }
        let gone = feed.reserved.keys().filter(|vm| !now_reserved.contains_key(vm)).copied();
        news.extend(gone.map(ReplicaTold::Unreserved));
        feed.reserved = now_reserved;
        news.into_iter().for_each(|told| self.tell_replica(session, told));
    }
}

/// The command without what tokens are compared with; none when there is no such thing in it.
fn without_secret(envelope: &Envelope) -> Option<Vec<u8>> {
    let mut open = match &envelope.command {
        Command::PutToken(_) | Command::Found(_) => envelope.clone(),
        _ => return None,
    };
    match &mut open.command {
        Command::PutToken(token) => token.forget_secret(),
        Command::Found(core) => core.tokens.values_mut().for_each(dwcp_state::Token::forget_secret),
        _ => {}
    }
    Some(encode(&open))
}
