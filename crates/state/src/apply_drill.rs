//! Applies what drills change: their record in the federation's group, their copies in a region's.

use dwcp_types::{Code, DrillId, Refusal, VmId};

use crate::apply_core::unknown_region;
use crate::apply_region::{Applied, Stamp, unknown_vm};
use crate::command::Receipt;
use crate::{
    Core, Drill, DrillMode, DrillNews, DrillState, Freeze, Observed, Phase, RegionFacts, Severity, Vm, Want,
};

impl Core {
    /// Drills kept.
    pub const DRILLS_KEPT: usize = 100;

    /// The drill of a region that is not over.
    pub fn open_drill(&self, region: &dwcp_types::RegionId) -> Option<&Drill> {
        self.drills.values().rev().find(|drill| drill.region == *region && drill.is_open())
    }

    pub(crate) fn begin_drill(&mut self, asked: &Drill, stamp: &Stamp<'_>) -> Applied {
        if !self.regions.contains_key(&asked.region) {
            return Err(unknown_region(&asked.region));
        }
        if let Some(open) = self.open_drill(&asked.region) {
            let (id, region) = (open.id, &asked.region);
            if open.mode == asked.mode && open.restoring_since.is_none() {
                return Ok(Receipt { drill: Some(id), ..Receipt::default() });
            }
            let end = format!("dwcp-cli federation dr-drill restore --region {region}");
            return Err(Refusal::new(Code::WrongState, format!("{region} can't begin another drill"))
                .because(format!("{id} ({}) is not over", open.mode))
                .try_this(end));
        }
        if self.freeze != Freeze::Active {
            return Err(Refusal::new(Code::Frozen, format!("no drill of {}", asked.region))
                .because(format!("the freeze switch is {}: nothing would be brought back", self.freeze))
                .try_this("dwcp-cli federation freeze active"));
        }
        if let Some(failover) = self.running_failover(&asked.region) {
            return Err(Refusal::new(Code::FailoverRunning, format!("no drill of {}", asked.region))
                .because(format!("{} is running: this is no rehearsal", failover.id)));
        }
        let id = DrillId(self.drills.keys().next_back().map_or(0, |last| last.0) + 1);
        let mut drill =
            Drill { id, state: DrillState::Running, by: stamp.envelope.by.clone(), ..asked.clone() };
        for vm in &mut drill.vms {
            vm.name = id.name_of_copy(&vm.name);
        }
        drill.started_at = stamp.envelope.at;
        let text = match drill.mode {
            DrillMode::Isolated => {
                format!("{id} of {} begins on copies of {} VMs", drill.region, drill.vms.len())
            }
            DrillMode::Live => format!("{id} of {} begins: the region itself is to fail", drill.region),
        };
        self.ledger.note(stamp.event(Severity::Warning, "drill.begun", &drill.region, text));
        self.drills.insert(id, drill);
        while self.drills.len() > Self::DRILLS_KEPT {
            let Some(oldest) = self.drills.values().find(|drill| !drill.is_open()) else { break };
            let oldest = oldest.id;
            self.drills.remove(&oldest);
        }
        Ok(Receipt { drill: Some(id), ..Receipt::default() })
    }

    fn an_open_drill(&mut self, id: DrillId) -> Result<&mut Drill, Refusal> {
        match self.drills.get_mut(&id) {
            Some(drill) if drill.is_open() => Ok(drill),
            Some(_) => Err(Refusal::new(Code::WrongState, format!("{id} is over"))),
            None => Err(unknown_drill(id)),
        }
    }

    pub(crate) fn note_drill(&mut self, news: &DrillNews) -> Applied {
        self.an_open_drill(news.drill)?.take(news);
        Ok(Receipt { drill: Some(news.drill), ..Receipt::default() })
    }

    /// Ends a drill; safe to repeat, since one that is over or on its way there stays as it is.
    pub(crate) fn restore_drill(&mut self, id: DrillId, stamp: &Stamp<'_>) -> Applied {
        let drill = self.drills.get_mut(&id).ok_or_else(|| unknown_drill(id))?;
        if drill.is_open() && drill.restoring_since.is_none() {
            drill.restoring_since = Some(stamp.envelope.at);
            let text = format!("{id} is ended by {}: what it made goes away", stamp.envelope.by);
            let region = drill.region.clone();
            self.ledger.note(stamp.event(Severity::Info, "drill.restoring", &region, text));
        }
        Ok(Receipt { drill: Some(id), ..Receipt::default() })
    }

    pub(crate) fn end_drill(
        &mut self,
        id: DrillId,
        state: DrillState,
        result: &str,
        stamp: &Stamp<'_>,
    ) -> Applied {
        let drill = self.an_open_drill(id)?;
        if drill.state == state {
            return Ok(Receipt::default());
        }
        drill.state = state;
        match state {
            DrillState::Done => drill.measured_at = Some(stamp.envelope.at),
            _ => drill.ended_at = Some(stamp.envelope.at),
        }
        if drill.result.is_empty() {
            drill.result = result.to_string();
        }
        let (region, text) = (drill.region.clone(), format!("{id} is {state:?}: {result}").to_lowercase());
        self.ledger.note(stamp.event(Severity::Info, "drill.ended", &region, text));
        Ok(Receipt { drill: Some(id), ..Receipt::default() })
    }
}

impl Vm {
    /// True when it is a drill's, is lost under its generation, and its host has said since that it does not run: nothing
    /// may start it there any more.
    pub fn is_lost_copy(&self) -> bool {
        let lost = self.drill.and_then(|mark| mark.lost);
        lost.is_some_and(|(generation, _)| generation == self.generation)
            && self.observed.generation == self.generation
            && self.observed.phase == Phase::Stopped
    }
}

impl RegionFacts {
    /// Copies of a drill are lost: their host kills them and does not start them under this generation again.
    pub(crate) fn lose_copies(&mut self, vms: &[VmId], stamp: &Stamp<'_>) -> Applied {
        let mut lost = Vec::new();
        for id in vms {
            let Some(vm) = self.vms.get_mut(id) else { continue };
            let generation = vm.generation;
            let Some(mark) = vm.drill.as_mut().filter(|mark| mark.lost.is_none()) else { continue };
            mark.lost = Some((generation, stamp.envelope.at));
            let text = format!("VM {} is lost: {} rehearses it", vm.name, mark.drill);
            // What was seen before does not count as its host's word that it is gone.
            vm.observed = Observed::default();
            vm.changed(stamp.revision);
            self.index.judge(vm);
            self.ledger.note(stamp.event(Severity::Info, "drill.lost", id, text));
            lost.push((*id, generation));
        }
        match vms.first() {
            Some(first) if lost.is_empty() => Err(unknown_vm(*first)),
            _ => Ok(Receipt { vms: lost, ..Receipt::default() }),
        }
    }

    /// Copies of a drill are to be deleted.
    pub(crate) fn drop_copies(&mut self, vms: &[VmId], stamp: &Stamp<'_>) -> Applied {
        for id in vms {
            let Some(vm) = self.vms.get_mut(id).filter(|vm| vm.drill.is_some()) else { continue };
            if vm.want != Want::Deleted {
                vm.want = Want::Deleted;
                vm.changed(stamp.revision);
                self.index.judge(vm);
                let text = format!("VM {} is to be deleted: its drill is over", vm.name);
                self.ledger.note(stamp.event(Severity::Info, "vm.delete", id, text));
            }
        }
        Ok(Receipt::default())
    }
}

fn unknown_drill(id: DrillId) -> Refusal {
    Refusal::new(Code::UnknownDrill, format!("no drill {id}")).try_this("dwcp-cli federation dr-drill list")
}
