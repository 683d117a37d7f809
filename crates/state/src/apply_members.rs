//! Applies what changes the set of regions. When a step is due is decided by the groups' leaders (`roles/node/members.rs`); what
//! must hold whoever decides is checked here.

use dwcp_types::{Code, NodeId, Refusal, RegionId};

use crate::apply_core::unknown_region;
use crate::apply_region::{Applied, Stamp};
use crate::command::Receipt;
use crate::{Core, Lifecycle, Region, RegionFacts, Severity, Standing};

impl Core {
    /// Remembers who there was, for facts of before anybody could come or go.
    pub(crate) fn number_regions(&mut self) {
        let numbers = self.regions.values().map(|region| region.number);
        self.regions_numbered = self.regions_numbered.max(numbers.clone().max().unwrap_or(0));
        if self.keepers.is_empty() {
            self.keepers = numbers.collect();
            self.keepers.sort_unstable();
        }
    }

    pub(crate) fn add_region(&mut self, asked: &Region, stamp: &Stamp<'_>) -> Applied {
        let bad = |why: String| Refusal::new(Code::BadValue, "that is no region").because(why);
        if !is_name(asked.id.as_str()) {
            return Err(bad(format!("`{}` is no name", asked.id)));
        }
        if asked.mesh.is_empty() || asked.api.is_empty() {
            return Err(bad("it has no address".to_string()));
        }
        if self.regions.contains_key(&asked.id) {
            return Err(Refusal::new(Code::WrongState, format!("{} is a region already", asked.id))
                .try_this(format!("dwcp-cli federation region status --region {}", asked.id)));
        }
        if let Some(other) =
            self.regions.values().find(|other| other.mesh == asked.mesh || other.api == asked.api)
        {
            return Err(bad(format!("{} has an address of these: {}, {}", other.id, asked.mesh, asked.api)));
        }
        let known = |node: &NodeId| self.regions.values().any(|region| region.number == *node);
        if !known(&asked.founder) {
            return Err(bad(format!("its group can't be founded by node {}", asked.founder)));
        }
        let numbers = self.regions.values().map(|region| region.number);
        let numbered = self.regions_numbered.max(numbers.max().unwrap_or(0));
        if numbered >= Region::MOST {
            return Err(bad(format!("{} regions have been numbered", Region::MOST)));
        }
        self.number_regions();
        self.regions_numbered = numbered + 1;
        let region = Region {
            number: self.regions_numbered,
            lifecycle: Lifecycle::Joining,
            placement: false,
            placement_by: stamp.envelope.by.clone(),
            placement_since: stamp.envelope.at,
            traffic_percent: 0,
            standing: Standing::Present,
            standing_since: stamp.envelope.at,
            epoch: 0,
            revision: stamp.revision,
            without_replicas: true,
            unfounded: true,
            ..asked.clone()
        };
        let text = format!("region {} comes in as number {}{}", region.id, region.number, stamp.because());
        let event = stamp.event(Severity::Info, "region.added", &region.id, text);
        self.ledger.note(event.changing("none", region.switches()));
        self.cleaned.remove(&region.id);
        self.regions.insert(region.id.clone(), region);
        Ok(Receipt::default())
    }

    pub(crate) fn founded_region(&mut self, id: &RegionId, stamp: &Stamp<'_>) -> Applied {
        let region = self.regions.get_mut(id).ok_or_else(|| unknown_region(id))?;
        if std::mem::take(&mut region.unfounded) {
            let text = format!("the group of region {id} is founded");
            self.ledger.note(stamp.event(Severity::Info, "region.founded", id, text));
        }
        Ok(Receipt::default())
    }

    pub(crate) fn replicate_region(&mut self, id: &RegionId, stamp: &Stamp<'_>) -> Applied {
        let region = self.regions.get_mut(id).ok_or_else(|| unknown_region(id))?;
        if region.lifecycle == Lifecycle::Leaving {
            return Err(Refusal::new(Code::WrongState, format!("{id} leaves the federation")));
        }
        if region.unfounded {
            return Err(Refusal::new(Code::WrongState, format!("the group of {id} is not founded yet"))
                .because(format!("node {} founds it as soon as it hears of it", region.founder))
                .then("try again in a moment"));
        }
        if std::mem::take(&mut region.without_replicas) {
            region.revision = stamp.revision;
            let text = format!("region {id} gets replicas of the state{}", stamp.because());
            self.ledger.note(stamp.event(Severity::Info, "region.replicated", id, text));
        }
        Ok(Receipt::default())
    }

    pub(crate) fn remove_region(&mut self, id: &RegionId, stamp: &Stamp<'_>) -> Applied {
        let others = self.regions.values().filter(|other| other.id != *id && other.holds_replicas()).count();
        let running = self.running_failover(id).map(|failover| failover.id);
        let region = self.regions.get_mut(id).ok_or_else(|| unknown_region(id))?;
        match region.lifecycle {
            Lifecycle::Leaving => return Ok(Receipt::default()),
            Lifecycle::Active => {
                return Err(Refusal::new(Code::WrongState, format!("{id} takes part"))
                    .then("it is disabled first")
                    .try_this(format!("dwcp-cli federation region disable --region {id}")));
            }
            Lifecycle::Disabled | Lifecycle::Joining => {}
        }
        if let Some(failover) = running {
            return Err(Refusal::new(Code::FailoverRunning, format!("{id} fails over"))
                .try_this(format!("dwcp-cli federation failover status --failover-id {failover}")));
        }
        if others == 0 {
            return Err(Refusal::new(Code::WrongState, format!("{id} is the last region with the state")));
        }
        let before = region.switches();
        region.lifecycle = Lifecycle::Leaving;
        (region.placement, region.traffic_percent) = (false, 0);
        region.revision = stamp.revision;
        let after = region.switches();
        let text = format!("region {id} leaves the federation{}", stamp.because());
        let event = stamp.event(Severity::Warning, "region.leaving", id, text);
        self.ledger.note(event.changing(before, after));
        Ok(Receipt::default())
    }

    pub(crate) fn forget_region(&mut self, id: &RegionId, stamp: &Stamp<'_>) -> Applied {
        let region = self.regions.get(id).ok_or_else(|| unknown_region(id))?;
        if region.lifecycle != Lifecycle::Leaving {
            return Err(Refusal::new(Code::WrongState, format!("{id} does not leave")));
        }
        let text = format!("region {id} has left the federation; number {} stays unused", region.number);
        let event = stamp.event(Severity::Warning, "region.removed", id, text);
        self.ledger.note(event.changing("leaving", "none"));
        self.number_regions();
        self.regions.remove(id);
        Ok(Receipt::default())
    }

    pub(crate) fn clean_region(&mut self, id: &RegionId, stamp: &Stamp<'_>) -> Applied {
        if self.regions.contains_key(id) {
            return Err(Refusal::new(Code::WrongState, format!("{id} is part of the federation"))
                .then("it is removed first")
                .try_this(format!("dwcp-cli federation region remove --region {id} --confirm")));
        }
        if !is_name(id.as_str()) {
            return Err(unknown_region(id));
        }
        if self.cleaned.insert(id.clone(), stamp.envelope.at).is_none() {
            let text = format!("the hosts of {id} remove what they have of its node");
            self.ledger.note(stamp.event(Severity::Warning, "region.cleaned", id, text));
        }
        Ok(Receipt::default())
    }
}

/// What can be the name of a region: it stands in certificates, file names and addresses.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

impl RegionFacts {
    pub(crate) fn close_region(&mut self, stamp: &Stamp<'_>) -> Applied {
        if let Some(left) = self.left() {
            return Err(Refusal::new(Code::WrongState, format!("{} is not empty", self.name)).because(left));
        }
        if !std::mem::replace(&mut self.closed, true) {
            let text = format!("region {} is empty and takes nothing any more", self.name);
            self.ledger.note(stamp.event(Severity::Info, "region.closed", &self.name, text));
        }
        Ok(Receipt::default())
    }

    /// What is still in the region, on its way to it or from it, in words; none: nothing.
    pub fn left(&self) -> Option<String> {
        let counts = [
            (self.vms.len(), "VMs live there"),
            (self.departures.len(), "VMs leave it"),
            (self.arrivals.len(), "VMs move there"),
            (self.replicas.len(), "copies of other regions' disks are kept there"),
        ];
        let left: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!left.is_empty()).then(|| left.join(", "))
    }

    /// True while anything here is still to hear of another region: VMs and disks on their way to it or from it.
    pub fn waits_for(&self, other: &RegionId) -> bool {
        self.departures.values().any(|departure| departure.to == *other)
            || self.migrations.values().any(|migration| migration.to == *other)
            || self.arrivals.values().any(|arrival| arrival.from == *other)
            || self.replicas.values().any(|replica| replica.from == *other)
    }

    /// Refuses whatever would come into a region that leaves.
    pub(crate) fn check_open(&self) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::new(Code::RegionDisabled, format!("{} leaves the federation", self.name)));
        }
        Ok(())
    }
}
