//! The copies of a drill: made in its region, lost there, let go elsewhere, and deleted when the drill is over.

use std::collections::BTreeMap;

use dwcp_decide::PlaceRequest;
use dwcp_state::{
    Command, Departing, Drill, DrillMark, DrillMode, DrillMoment, DrillState, DrillTime, DrillVm,
    DrillVmState, GuardState, NewVm, OperationKind, Protection, Relation, Rules, Target, Vm, Want,
};
use dwcp_types::{DrillId, GroupId, VmId, Wall};

use super::drill::failed;
use super::{Asked, Node};
use crate::protocol::Phase;

/// A copy that does not answer by then is no part of the drill, ms.
const PREPARE_LIMIT_MS: u64 = 90_000;
/// A copy that has had no place for so long gets none, ms.
const PLACE_LIMIT_MS: u64 = 10_000;
/// From the last copy's answer to the failure, ms: writers need something to count.
const SETTLE_MS: u64 = 3_000;
/// What was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;

impl Node {
    /// Makes the copies and waits until they answer; then they are lost.
    pub(super) fn prepare_drill(&mut self, drill: &Drill) {
        let age_ms = self.now.wall.ms_since(drill.started_at);
        let mut news = Vec::new();
        for vm in drill.vms.iter().filter(|vm| vm.state == DrillVmState::Waiting) {
            match self.facts.vm(vm.vm).map(|(_, copy)| copy.clone()) {
                Some(copy) if is_ready(&copy) => {
                    news.push(DrillVm {
                        state: DrillVmState::Ready,
                        from_host: copy.host.clone(),
                        ..vm.clone()
                    });
                }
                Some(copy) if age_ms >= PREPARE_LIMIT_MS => {
                    let phase = format!("{:?}", copy.observed.phase).to_lowercase();
                    let why = format!("its copy is {phase} on {} after {} s", copy.host, age_ms / 1_000);
                    news.push(failed(vm, &why));
                }
                Some(_) => {}
                None => news.extend(self.copy_vm(drill, vm, age_ms)),
            }
        }
        if !news.is_empty() {
            self.note_drill(drill, news, Vec::new());
        } else if drill.vms.iter().all(|vm| vm.state != DrillVmState::Waiting) {
            self.lose(drill);
        }
    }

    /// Makes a copy; says so when there never will be one.
    fn copy_vm(&mut self, drill: &Drill, vm: &DrillVm, age_ms: u64) -> Option<DrillVm> {
        if !self.due(format!("copy {}", vm.vm), AGAIN_MS) {
            return None;
        }
        let Some((_, original)) = self.facts.vm(vm.of) else {
            return Some(failed(vm, "the VM was deleted before it was copied"));
        };
        let group = self.facts.group_of(&drill.region)?;
        let copy = copy_of(original, drill, vm);
        let request = PlaceRequest {
            vm: copy.clone(),
            only_regions: Some([drill.region.clone()].into()),
            ..PlaceRequest::default()
        };
        match self.place(&request, false).0 {
            Ok(place) => {
                let copy = Vm { host: place.host.clone(), ..copy };
                self.reserved.add(&place.region, &place.host, &copy);
                let asked = Asked { by: "dwcp".to_string(), ..Asked::default() };
                let title = format!("{}: copy {}", drill.id, original_name(drill.id, &vm.name));
                let kind = OperationKind::CreateVms(vec![vm.vm]);
                let operation = self.operation(&asked, kind, title, &drill.region);
                self.tell_again(group, Command::CreateVms((vec![NewVm { vm: copy }], operation)));
                None
            }
            Err(refusal) if age_ms >= PLACE_LIMIT_MS => {
                let why = format!("no room for a copy in {}: {}", drill.region, refusal.causes.join("; "));
                Some(DrillVm { state: DrillVmState::Left, reason: why, ..vm.clone() })
            }
            Err(_) => None,
        }
    }

    /// All copies that answer are lost together; when they are marked, that was the failure.
    fn lose(&mut self, drill: &Drill) {
        let ready: Vec<&DrillVm> = drill.vms.iter().filter(|vm| vm.state == DrillVmState::Ready).collect();
        let copies: BTreeMap<VmId, Vm> =
            ready.iter().filter_map(|vm| Some((vm.vm, self.facts.vm(vm.vm)?.1.clone()))).collect();
        if copies.is_empty() {
            let why: Vec<String> = drill.vms.iter().map(|vm| format!("{}: {}", vm.name, vm.reason)).collect();
            self.end_drill(drill, DrillState::Failed, format!("no copy came up: {}", why.join("; ")));
            return;
        }
        let lost_at = |copy: &Vm| Some(copy.drill?.lost?.1);
        let Some(cut) = copies.values().filter_map(lost_at).min() else {
            let last = copies.values().map(|copy| copy.observed.at).max().unwrap_or(Wall(0));
            let settled = self.now.wall.ms_since(last) >= SETTLE_MS;
            let group = self.facts.group_of(&drill.region).filter(|_| settled);
            if let Some(group) = group.filter(|_| self.due(format!("lose {}", drill.id), AGAIN_MS)) {
                self.tell_again(group, Command::LoseCopies(copies.keys().copied().collect()));
            }
            return;
        };
        let news = ready.iter().map(|vm| match copies.get(&vm.vm).and_then(lost_at) {
            Some(_) => DrillVm { state: DrillVmState::Lost, lost: true, ..(*vm).clone() },
            None => failed(vm, "it was gone before the failure"),
        });
        let news: Vec<DrillVm> = news.collect();
        let note = format!("{} copies are killed at once; the region itself goes on", copies.len());
        self.note_drill(drill, news, vec![DrillTime { moment: DrillMoment::Cut, at: cut, note }]);
    }

    /// Deletes the copies of a drill wherever they are; how many are left.
    pub(super) fn drop_copies_of(&mut self, drill: &Drill) -> usize {
        if drill.mode == DrillMode::Live {
            return 0;
        }
        let mut left = 0;
        let mut wanted: BTreeMap<GroupId, Vec<VmId>> = BTreeMap::new();
        for id in drill.vms.iter().map(|vm| vm.vm) {
            for facts in self.facts.regions.values() {
                left += usize::from(facts.vms.contains_key(&id) || facts.departures.contains_key(&id));
                if facts.vms.get(&id).is_some_and(|vm| vm.want != Want::Deleted) {
                    wanted.entry(facts.number).or_default().push(id);
                }
            }
        }
        for (group, ids) in wanted {
            if self.due(format!("drop copies of {} in {group}", drill.id), AGAIN_MS) {
                self.tell_again(group, Command::DropCopies(ids));
            }
        }
        left
    }

    /// Lost copies leave the region that this node leads, once their hosts have acted on what they are to do and say that
    /// they are off.
    pub(super) fn let_copies_leave(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let Some(drill) = self.facts.core.open_drill(region) else { return };
        if drill.mode == DrillMode::Live || drill.state != DrillState::Running || !self.may_move() {
            return;
        }
        let moving = drill.vms.iter().filter(|vm| vm.state == DrillVmState::Moving);
        let leaving: Vec<Departing> = moving.filter_map(|vm| self.leaving_copy(group, vm)).collect();
        if !leaving.is_empty() && self.due(format!("copies leave {group}"), AGAIN_MS) {
            self.let_leave(group, None, leaving);
        }
    }

    fn leaving_copy(&self, group: GroupId, planned: &DrillVm) -> Option<Departing> {
        let facts = &self.facts.regions[self.facts.region_of(group)?];
        let vm = facts.vms.get(&planned.vm)?;
        let session = self.leases.hosts.get(&(group, vm.host.clone()))?;
        let acted = self.leases.place_of(group, &vm.host).is_some_and(|place| session.acted >= place);
        let report = session.reports.get(&vm.id)?;
        let off = report.generation == vm.generation.0 && report.phase == Phase::Stopped;
        let leaves = acted && off && vm.is_lost_copy() && vm.next_generation() == planned.generation;
        let to = planned.to_region.clone().filter(|_| leaves)?;
        Some(Departing { vm: vm.id, generation: vm.generation, to, host: planned.to_host.clone() })
    }
}

fn is_ready(copy: &Vm) -> bool {
    copy.serves() && (!copy.is_protected() || copy.protection.guard.state == GuardState::Protected)
}

fn original_name(drill: DrillId, name: &str) -> &str {
    name.strip_prefix(&drill.name_of_copy("")).unwrap_or(name)
}

/// A copy of a VM as it is created: of the same image, size, rules and protection. Its labels get the drill's name in
/// front, and its relations hold among the copies as those of the VMs among themselves: nothing that people run is
/// together with, or apart from, a copy.
fn copy_of(original: &Vm, drill: &Drill, vm: &DrillVm) -> Vm {
    let label = |key: &String| format!("{}/{key}", drill.id);
    let target = |target: &Target| match target {
        Target::Label((key, value)) => Some(Target::Label((label(key), value.clone()))),
        Target::Vm(of) => drill.vms.iter().find(|vm| vm.of == *of).map(|vm| Target::Vm(vm.vm)),
    };
    let relations = |all: &[Relation]| -> Vec<Relation> {
        all.iter().filter_map(|of| Some(Relation { target: target(&of.target)?, scope: of.scope })).collect()
    };
    Vm {
        id: vm.vm,
        name: vm.name.clone(),
        labels: original.labels.iter().map(|(key, value)| (label(key), value.clone())).collect(),
        rules: Rules {
            affinity: relations(&original.rules.affinity),
            anti_affinity: relations(&original.rules.anti_affinity),
            ..original.rules.clone()
        },
        tenant: original.tenant.clone(),
        project: original.project.clone(),
        spec: original.spec.clone(),
        priority: original.priority,
        protection: Protection {
            mode: original.protection.mode,
            on_loss: original.protection.on_loss,
            region: original.protection.region.clone(),
            ..Protection::default()
        },
        drill: Some(DrillMark { drill: drill.id, lost: None }),
        ..Vm::default()
    }
}
