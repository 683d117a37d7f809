//! A controller replica: decides where VMs go for the node of its region, on facts that the node tells it.
//!
//! It is a machine like the node: what it is told goes in, decisions come out, and neither a clock nor a disk is looked at. It
//! keeps nothing, so it may be killed at any moment; the node decides by itself what it was asked and has not answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use dwcp_decide::{Measured, PlaceIndex, PlaceReport, PlaceRequest, Placement, Reservations, Workers};
use dwcp_state::{Envelope, FEDERATION_GROUP, Federation};
use dwcp_types::{DecodeError, GroupId, LEVEL, Mono, Refusal, RegionId, Revision, VERSION, VmId, decode};

use crate::protocol::{
    AppliedEntry, DecideAsk, Decided, ReplicaHello, ReplicaSaid, ReplicaTold, Reserved, SnapshotPart,
};

/// What a decision about places comes to: one place a VM, in order, and why for the first of them.
pub(crate) type Places = (Vec<Result<Placement, Refusal>>, PlaceReport);

/// What a decision reads, and who works on it.
pub(crate) struct Desk<'a> {
    pub view: &'a Federation,
    pub index: &'a mut PlaceIndex,
    pub measured: &'a Measured,
    pub reserved: &'a Reservations,
    pub workers: &'a dyn Workers,
}

impl Desk<'_> {
    /// Decides for `count` VMs, each on what the ones before it leave; explains the first when asked to.
    pub fn decide(&mut self, request: &PlaceRequest, count: u32, explain: bool) -> Places {
        let Desk { view, index, measured, reserved, workers } = self;
        if count < 2 {
            let (placed, report) =
                dwcp_decide::place(view, index, measured, reserved, request, explain, *workers);
            return (vec![placed], report);
        }
        let mut taken = reserved.clone();
        let (mut places, mut first) = (Vec::new(), None);
        for number in 1..=count {
            let mut request = request.clone();
            // Ids of nothing that exists: they only keep the reservations of this look apart.
            request.vm.id = VmId(u64::MAX - u64::from(number));
            let explain = explain && number == 1;
            let (placed, report) =
                dwcp_decide::place(view, index, measured, &taken, &request, explain, *workers);
            if let Ok(place) = &placed {
                taken.add(&place.region, &place.host, &request.vm);
            }
            first.get_or_insert(report);
            places.push(placed);
        }
        (places, first.unwrap_or_default())
    }
}

/// The machine.
pub struct Replica {
    facts: Federation,
    index: PlaceIndex,
    measured: Measured,
    reserved: Reservations,
    /// Snapshots of which parts are missing.
    coming: BTreeMap<GroupId, Vec<u8>>,
    workers: Arc<dyn Workers>,
    taken: u64,
}

impl Replica {
    /// One that knows nothing yet. `workers` run the independent pieces of a decision, as for a node.
    pub fn new(workers: Arc<dyn Workers>) -> Replica {
        Replica {
            facts: Federation::default(),
            index: PlaceIndex::default(),
            measured: Measured::default(),
            reserved: Reservations::default(),
            coming: BTreeMap::new(),
            workers,
            taken: 0,
        }
    }

    /// What it says first of all.
    pub fn hello(pid: u32) -> ReplicaSaid {
        ReplicaSaid::Hello(ReplicaHello { version: VERSION.to_string(), level: LEVEL, pid })
    }

    /// Takes what the node tells; gives a decision when it was asked for one, whose duration is for the caller to measure.
    ///
    /// # Errors
    /// It can't be read: written by another version. Nothing that follows would be decided on the facts, so this replica must end.
    pub fn take(&mut self, now: Mono, told: ReplicaTold) -> Result<Option<Decided>, DecodeError> {
        self.taken += 1;
        match told {
            ReplicaTold::Snapshot(part) => self.take_part(part)?,
            ReplicaTold::Applied(entry) => self.apply(&entry)?,
            ReplicaTold::Closed(group) => {
                self.facts.close_group(group);
                self.coming.remove(&group);
            }
            ReplicaTold::Measured(measured) => self.measured = *measured,
            ReplicaTold::Reserved(reserved) => self.reserve(&reserved),
            ReplicaTold::Unreserved(vm) => drop(self.reserved.remove(vm)),
            // A router's shell looks at these itself.
            ReplicaTold::Routers(_) | ReplicaTold::AskRouter(_) => {}
            ReplicaTold::Decide(ask) => return Ok(Some(self.decide(now, &ask))),
        }
        Ok(None)
    }

    /// How many frames were taken: for [`ReplicaSaid::Taken`].
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// What was measured, as this replica was told.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// The facts as this replica knows them.
    pub fn facts(&self) -> &Federation {
        &self.facts
    }

    fn take_part(&mut self, part: SnapshotPart) -> Result<(), DecodeError> {
        let SnapshotPart { group, region, bytes, last } = part;
        self.coming.entry(group).or_default().extend(bytes.0);
        if !last {
            return Ok(());
        }
        let whole = self.coming.remove(&group).unwrap_or_default();
        if region != RegionId::default() {
            self.facts.open_group(group, &region);
        }
        self.facts.restore(group, &whole)?;
        // The facts may be of an earlier place than those before, and other ones.
        self.index.forget();
        Ok(())
    }

    fn apply(&mut self, entry: &AppliedEntry) -> Result<(), DecodeError> {
        let known = entry.group == FEDERATION_GROUP || self.facts.region_of(entry.group).is_some();
        if known && Revision(entry.revision) > self.facts.revision(entry.group) {
            let envelope: Envelope = decode(&entry.envelope.0)?;
            self.facts.apply(entry.group, Revision(entry.revision), &envelope);
        }
        Ok(())
    }

    fn reserve(&mut self, reserved: &Reserved) {
        let Reserved { region, vm, coming } = reserved;
        match coming {
            true => self.reserved.add_coming(region, &vm.host, vm),
            false => self.reserved.add(region, &vm.host, vm),
        }
    }

    fn decide(&mut self, now: Mono, ask: &DecideAsk) -> Decided {
        self.index.set_now(now);
        let mut desk = Desk {
            view: &self.facts,
            index: &mut self.index,
            measured: &self.measured,
            reserved: &self.reserved,
            workers: &*self.workers,
        };
        let (places, report) = desk.decide(&ask.request, ask.count, ask.explain);
        let places = places.into_iter().map(Into::into).collect();
        Decided { id: ask.id, places, report, at: self.taken, took_us: 0 }
    }
}
