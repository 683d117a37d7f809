//! Drills, as the leader of the federation's group drives them. Each step is computed from facts: the copies, their marks
//! and the drill's record; so whoever leads next goes on. What is done with the copies themselves is `drill_copies`.
//!
//! The failure is rehearsed on copies in the region that people do not use. They are killed at once, and then everything
//! takes what it takes in earnest: the wait of the policy before a silent region counts as lost, an agreement, the run-out
//! of a lease, the planner, the hand-over, the boot elsewhere, the VM's own answer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::FailoverLimits;
use dwcp_state::{
    Command, Drill, DrillMode, DrillMoment, DrillNews, DrillState, DrillTime, DrillVm, DrillVmState,
    FailoverState, MoveState, PhaseName, Standing, Vm, Want,
};
use dwcp_types::{Code, DrillId, Priority, Refusal, RegionId, VmId, Wall};

use super::requests::unknown_region;
use super::{Asked, Effect, Node};

/// Most copies of a drill.
const COPIES: usize = 20;
/// Between two looks at a drill, ms.
const LOOK_MS: u64 = 200;
/// What does not answer so long after the failure has failed, ms.
const ANSWER_LIMIT_MS: u64 = 120_000;
/// Nobody has read the records so long after the last answer: how many there are stays unknown, ms.
const READ_LIMIT_MS: u64 = 15_000;
/// Between two orders to mend the links of a region whose live drill is over, ms.
const MEND_MS: u64 = 3_000;
/// A region whose links were mended and which is silent so long after is not waited for, ms.
const HEARD_LIMIT_MS: u64 = 60_000;
/// Between two looks at drills that are over, ms.
const OVER_MS: u64 = 5_000;

impl Node {
    pub(super) fn begin_drill(
        &mut self,
        ticket: u64,
        asked: &Asked,
        region: &RegionId,
        (mode, limit_ms): (DrillMode, u64),
    ) {
        let Some(facts) = self.facts.regions.get(region).filter(|_| self.facts.region(region).is_some())
        else {
            self.refuse(ticket, unknown_region(region));
            return;
        };
        let runs = |vm: &&Vm| {
            vm.want == Want::Running && vm.serves() && vm.drill.is_none() && !vm.rules.stay_on_loss
        };
        let mut running: Vec<&Vm> = facts.vms.values().filter(runs).collect();
        running.sort_by_key(|vm| (Reverse(vm.priority), vm.id));
        if running.is_empty() && self.facts.core.open_drill(region).is_none() {
            let what = format!("no drill of {region}: nothing would be lost");
            let refusal = Refusal::new(Code::WrongState, what)
                .because(format!("0 of its {} VMs run and may leave it", facts.vms.len()));
            self.refuse(ticket, refusal.try_this(format!("dwcp-cli vm list --region {region}")));
            return;
        }
        let left_out = if mode == DrillMode::Live { 0 } else { running.len().saturating_sub(COPIES) as u64 };
        let chosen: Vec<(VmId, String, Priority, bool)> = running
            .iter()
            .take(COPIES)
            .map(|vm| (vm.id, vm.name.clone(), vm.priority, vm.spec.size.disk_gib > 0))
            .collect();
        let mut vms = Vec::new();
        if mode == DrillMode::Isolated {
            for (of, name, priority, disk) in chosen {
                let vm = VmId(self.rng.next_u64());
                vms.push(DrillVm { of, vm, name, priority, disk, ..DrillVm::default() });
            }
        }
        let drill = Drill { region: region.clone(), mode, vms, left_out, limit_ms, ..Drill::default() };
        self.ask_federation(ticket, asked, Command::BeginDrill(Box::new(drill)));
    }

    pub(super) fn run_drills(&mut self) {
        let ids: Vec<(DrillId, bool)> =
            self.facts.core.drills.values().map(|drill| (drill.id, drill.is_open())).collect();
        let sweep = ids.iter().any(|(_, open)| !open) && self.due("drills that are over", OVER_MS);
        for (id, open) in ids {
            let look = if open { self.due(format!("look at {id}"), LOOK_MS) } else { sweep };
            if look {
                let drill = self.facts.core.drills[&id].clone();
                if open {
                    self.run_drill(&drill);
                } else {
                    self.drop_copies_of(&drill);
                }
            }
        }
    }

    fn run_drill(&mut self, drill: &Drill) {
        if self.is_telling_of(drill.id) {
            return;
        }
        let since_cut = drill.time(DrillMoment::Cut).map(|cut| self.now.wall.ms_since(cut));
        let measuring = drill.state == DrillState::Running
            && since_cut.is_some_and(|since| since < ANSWER_LIMIT_MS + 2 * READ_LIMIT_MS);
        if drill.restoring_since.is_some() && (!measuring || drill.mode == DrillMode::Live) {
            self.wind_up(drill);
            return;
        }
        if drill.restoring_since.is_none() && self.now.wall >= drill.ends_at() {
            self.tell_again(0, Command::RestoreDrill(drill.id));
            return;
        }
        if drill.state != DrillState::Running {
            return;
        }
        match (drill.mode, drill.time(DrillMoment::Cut)) {
            (DrillMode::Live, _) => self.follow_failover(drill),
            (DrillMode::Isolated, None) => self.prepare_drill(drill),
            (DrillMode::Isolated, Some(cut)) => self.measure_drill(drill, cut),
        }
    }

    fn is_telling_of(&self, id: DrillId) -> bool {
        self.is_telling(|command| match command {
            Command::NoteDrill(news) => news.drill == id,
            Command::EndDrill((of, _)) | Command::RestoreDrill(of) => *of == id,
            _ => false,
        })
    }

    pub(super) fn note_drill(&mut self, drill: &Drill, vms: Vec<DrillVm>, times: Vec<DrillTime>) {
        if !vms.is_empty() || !times.is_empty() {
            let news = DrillNews { drill: drill.id, vms, times, failover: None };
            self.tell_again(0, Command::NoteDrill(news));
        }
    }

    pub(super) fn end_drill(&mut self, drill: &Drill, state: DrillState, result: String) {
        self.tell_again(0, Command::EndDrill((drill.id, (state, result))));
    }

    /// What a drill made goes away; it is over when nothing of it is left.
    fn wind_up(&mut self, drill: &Drill) {
        if self.drop_copies_of(drill) > 0 || (drill.mode == DrillMode::Live && self.mend_links(drill)) {
            return;
        }
        let measured = drill.measured_at.is_some();
        let state = if measured { DrillState::Restored } else { DrillState::Failed };
        let result = if measured { "restored" } else { "ended before it was measured" };
        self.end_drill(drill, state, result.to_string());
    }

    /// Has the links of a live drill's region mended; true while there is something to wait for.
    fn mend_links(&mut self, drill: &Drill) -> bool {
        if self.due(format!("mend links of {}", drill.id), MEND_MS) {
            self.out.push(Effect::MendLinks { region: drill.region.clone() });
            return true;
        }
        let lost = |region: &dwcp_state::Region| region.standing == Standing::Lost;
        let silent = self.facts.region(&drill.region).is_some_and(lost);
        let since_ms = drill.restoring_since.map_or(0, |since| self.now.wall.ms_since(since));
        silent && since_ms < HEARD_LIMIT_MS
    }

    /// From the failure on: what a real loss waits for, then what was planned, then what has become of it.
    fn measure_drill(&mut self, drill: &Drill, cut: Wall) {
        let since_ms = self.now.wall.ms_since(cut);
        let loss_after_ms = self.facts.core.policy.loss_after_ms;
        let at = |moment, at, note: String| vec![DrillTime { moment, at, note }];
        if drill.time(DrillMoment::Detected).is_none() {
            if since_ms >= loss_after_ms {
                let note = format!("waited: the policy counts a region as lost after {loss_after_ms} ms");
                let detected = Wall(cut.0 + loss_after_ms);
                self.note_drill(drill, Vec::new(), at(DrillMoment::Detected, detected, note));
            }
        } else if drill.time(DrillMoment::Agreed).is_none() {
            let note = "a majority of regions holds the record of the loss".to_string();
            self.note_drill(drill, Vec::new(), at(DrillMoment::Agreed, self.now.wall, note));
        } else if drill.time(DrillMoment::Fenced).is_none() && since_ms < ANSWER_LIMIT_MS {
            let fence_ms = self.fence_ms();
            let off = drill.lost().all(|vm| self.facts.vm(vm.vm).is_none_or(|(_, vm)| vm.is_lost_copy()));
            if since_ms >= fence_ms && off {
                let note = format!(
                    "waited: a lease may hold for {fence_ms} ms; the hosts say that the copies are off"
                );
                self.note_drill(drill, Vec::new(), at(DrillMoment::Fenced, self.now.wall, note));
            }
        } else if drill.time(DrillMoment::Planned).is_none() && since_ms < ANSWER_LIMIT_MS {
            self.plan_drill(drill);
        } else {
            self.watch_copies(drill, since_ms);
        }
    }

    fn plan_drill(&mut self, drill: &Drill) {
        let lost = drill.vms.iter().filter(|vm| vm.state == DrillVmState::Lost);
        let only = lost.clone().map(|vm| vm.vm).collect();
        let limits = FailoverLimits { partial: true, only, ..FailoverLimits::default() };
        let plan = dwcp_decide::plan_failover(&self.facts, &self.measured(), &drill.region, &limits);
        let steps: BTreeMap<VmId, _> = plan.moves.into_iter().map(|step| (step.vm, step)).collect();
        let planned = lost.map(|vm| match steps.get(&vm.vm) {
            None => failed(vm, "it was gone before it had a place"),
            Some(step) => DrillVm {
                state: if step.to.is_some() { DrillVmState::Moving } else { DrillVmState::Left },
                to_region: step.to.as_ref().map(|(region, _)| region.clone()),
                to_host: step.to.as_ref().map(|(_, host)| host.clone()),
                generation: step.next,
                reason: step.reason.clone(),
                ..vm.clone()
            },
        });
        let planned: Vec<DrillVm> = planned.collect();
        let note = "by the planner of failovers, on the facts of this moment".to_string();
        let time = DrillTime { moment: DrillMoment::Planned, at: self.now.wall, note };
        self.note_drill(drill, planned, vec![time]);
    }

    fn watch_copies(&mut self, drill: &Drill, since_ms: u64) {
        let mut news: Vec<DrillVm> = Vec::new();
        for vm in drill.lost().filter(|vm| !vm.is_settled()) {
            news.extend(self.became_of_copy(drill, vm).or_else(|| {
                let late = since_ms >= ANSWER_LIMIT_MS;
                late.then(|| failed(vm, &format!("no answer {} s after the failure", since_ms / 1_000)))
            }));
        }
        let mut times = Vec::new();
        let moving = || drill.lost().filter(|vm| vm.to_region.is_some());
        let started = moving().next().is_some() && moving().all(|vm| self.is_started(vm.vm));
        if started && drill.time(DrillMoment::Restarted).is_none() {
            let note = "each runs elsewhere by the word of its host".to_string();
            times.push(DrillTime { moment: DrillMoment::Restarted, at: self.now.wall, note });
        }
        if !news.is_empty() || !times.is_empty() {
            self.note_drill(drill, news, times);
            return;
        }
        if drill.lost().all(DrillVm::is_settled) {
            self.finish_drill(drill);
        }
    }

    fn became_of_copy(&self, drill: &Drill, vm: &DrillVm) -> Option<DrillVm> {
        let (region, found) = self.facts.vm(vm.vm)?;
        if *region == drill.region {
            let back = vm.state == DrillVmState::Moving && found.generation > vm.generation;
            let to = vm.to_region.as_ref().map_or("", RegionId::as_str);
            let reason = format!("it was not taken by {to}");
            return back.then(|| DrillVm { state: DrillVmState::Left, reason, ..vm.clone() });
        }
        found.serves().then(|| DrillVm {
            state: DrillVmState::Verified,
            to_region: Some(region.clone()),
            to_host: Some(found.host.clone()),
            generation: found.generation,
            answered_at: Some(found.observed.at),
            ..vm.clone()
        })
    }

    /// Everything has settled: what was written is still to be read, then the drill is measured.
    fn finish_drill(&mut self, drill: &Drill) {
        let last = drill.lost().filter_map(|vm| vm.answered_at).max();
        let unread = |vm: &DrillVm| vm.answered_at.is_some() && vm.written.is_some() && vm.kept.is_none();
        let waited_ms = last.map_or(0, |last| self.now.wall.ms_since(last));
        if drill.lost().any(unread) && waited_ms < READ_LIMIT_MS {
            return;
        }
        if let Some(last) = last.filter(|_| drill.time(DrillMoment::Verified).is_none()) {
            let note = "the last copy has answered its own probe".to_string();
            let time = DrillTime { moment: DrillMoment::Verified, at: last, note };
            self.note_drill(drill, Vec::new(), vec![time]);
            return;
        }
        let (all, verified) = (drill.lost().count(), drill.verified());
        self.end_drill(drill, DrillState::Done, format!("{verified} of {all} copies answer elsewhere"));
    }

    /// A live drill: the record follows the region's own failover.
    fn follow_failover(&mut self, drill: &Drill) {
        let of = |failover: &&dwcp_state::Failover| {
            failover.from == drill.region && failover.first_missed_at.0 + 1_000 >= drill.started_at.0
        };
        let Some(failover) = self.facts.core.failovers.values().find(of).cloned() else { return };
        if failover.state == FailoverState::Running {
            return;
        }
        let moments = [
            (PhaseName::Detect, DrillMoment::Detected),
            (PhaseName::Agree, DrillMoment::Agreed),
            (PhaseName::Fence, DrillMoment::Fenced),
            (PhaseName::Plan, DrillMoment::Planned),
            (PhaseName::Restart, DrillMoment::Restarted),
            (PhaseName::Verify, DrillMoment::Verified),
        ];
        let note = format!("phase of {}", failover.id);
        let mut times = vec![DrillTime {
            moment: DrillMoment::Cut,
            at: failover.first_missed_at,
            note: "the first heartbeat that was missed".to_string(),
        }];
        for (phase, moment) in moments {
            let span = failover.phases.iter().find(|span| span.name == phase);
            times.extend(span.map(|span| DrillTime { moment, at: span.ended_at, note: note.clone() }));
        }
        if drill.failover.is_none() {
            // One part of them at a look; with the last comes what happened when.
            let known: BTreeSet<VmId> = drill.vms.iter().map(|vm| vm.vm).collect();
            let rest = failover.vms.iter().filter(|vm| !known.contains(&vm.vm)).map(as_followed);
            let mut parts = self.parts(rest.collect());
            let vms = if parts.is_empty() { Vec::new() } else { parts.remove(0) };
            let news = match parts.is_empty() {
                true => DrillNews { drill: drill.id, vms, times, failover: Some(failover.id) },
                false => DrillNews { drill: drill.id, vms, ..DrillNews::default() },
            };
            self.tell_again(0, Command::NoteDrill(news));
            return;
        }
        let (all, verified) = (drill.lost().count(), drill.verified());
        self.end_drill(drill, DrillState::Done, format!("{verified} of {all} VMs answer elsewhere"));
    }
}

fn as_followed(vm: &dwcp_state::FailoverVm) -> DrillVm {
    DrillVm {
        of: vm.vm,
        vm: vm.vm,
        name: vm.name.clone(),
        priority: vm.priority,
        from_host: vm.from_host.clone(),
        to_region: vm.to_region.clone(),
        to_host: vm.to_host.clone(),
        generation: vm.generation,
        state: match vm.state {
            MoveState::Verified => DrillVmState::Verified,
            MoveState::Left => DrillVmState::Left,
            MoveState::Waiting | MoveState::Failed => DrillVmState::Failed,
        },
        reason: vm.reason.clone(),
        lost: true,
        answered_at: vm.verified_at,
        disk: vm.disk != dwcp_state::DiskProof::NoDisk,
        written: None,
        kept: None,
    }
}

pub(super) fn failed(vm: &DrillVm, reason: &str) -> DrillVm {
    DrillVm { state: DrillVmState::Failed, reason: reason.to_string(), ..vm.clone() }
}
