//! What requests and failovers went through here, for whoever traces them: noted for the shell, and never decided on.
//!
//! The id of a request travels in its commands, so every node that applies one knows it. What follows from a command by
//! itself (a host acts, a VM goes to another region) carries no id: the VMs that a request or a failover is about are
//! followed until they are where they are wanted. All of it is soft: a node that restarts knows none of it.

use std::collections::{BTreeMap, VecDeque};

use dwcp_decide::Placement;
use dwcp_state::{Command, Envelope, Observation, Outcome, Phase, Want};
use dwcp_types::{FailoverId, GroupId, HostId, Mono, Refusal, RegionId, VmId, Wall};

use super::proposals::kind;
use super::{Asked, Node};

/// Stages that nobody has taken yet.
const NOTED_KEPT: usize = 8_192;
/// VMs that are followed at once.
const FOLLOWED_KEPT: usize = 20_000;
/// A VM is followed for so long at most once others want its place, ms.
const FOLLOWED_MS: u64 = 1_800_000;

/// Something that was done for a request or a failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The request's id, or the failover's.
    pub of: String,
    /// The region whose API took the request; empty of a failover, and where the proposer is not written down yet.
    pub proposer: RegionId,
    /// What was done.
    pub work: Work,
    /// When, on this node's clock.
    pub began: Mono,
    /// When it was over.
    pub ended: Mono,
    /// Whether it failed.
    pub failed: bool,
    /// Further names and values.
    pub fields: Vec<(&'static str, String)>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// It was decided where a VM goes.
    Decide,
    /// A command was proposed here, until its outcome was known here.
    Propose(Written),
    /// The group that is led here agreed on a command: from its log to its facts.
    Commit(Written),
    /// A command was applied here.
    Apply(Written),
    /// A host did what its group had agreed on: until the group knew.
    Host,
    /// A VM went from one region's group to another's.
    HandOver,
    /// A failover is over; its record says when what was done.
    Failover(FailoverId),
}

/// A command, as everybody who sees it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its group.
    pub group: GroupId,
    /// Its kind.
    pub command: String,
    /// When it was proposed.
    pub at: Wall,
}

impl Written {
    fn of(group: GroupId, envelope: &Envelope) -> Written {
        Written { group, command: kind(&envelope.command), at: envelope.at }
    }
}

/// A VM that a request or a failover is about.
#[derive(Clone, Debug)]
struct Followed {
    of: String,
    proposer: RegionId,
    since: Mono,
    /// Since when its host is to act.
    acting: Option<Mono>,
    /// The region that it left, and when.
    left: Option<(RegionId, Mono)>,
}

/// All of it.
#[derive(Default)]
pub(super) struct Traced {
    noted: VecDeque<Stage>,
    followed: BTreeMap<VmId, Followed>,
}

impl Traced {
    fn note(&mut self, stage: Stage) {
        if self.noted.len() == NOTED_KEPT {
            self.noted.pop_front();
        }
        self.noted.push_back(stage);
    }

    fn follow(&mut self, vm: VmId, followed: Followed) {
        let now = followed.since;
        if self.followed.len() >= FOLLOWED_KEPT {
            self.followed.retain(|_, known| now < known.since.plus_ms(FOLLOWED_MS));
        }
        if self.followed.len() < FOLLOWED_KEPT {
            self.followed.insert(vm, followed);
        }
    }
}

impl Node {
    /// What requests and failovers went through here since this was called last. What nobody takes is forgotten in the end.
    pub fn take_stages(&mut self) -> Vec<Stage> {
        self.traced.noted.drain(..).collect()
    }

    /// It was decided where a VM of a request goes.
    pub(super) fn note_decided(&mut self, asked: &Asked, began: Mono, placed: &Result<Placement, Refusal>) {
        let fields = match placed {
            Ok(place) => vec![("to_region", place.region.to_string()), ("to_host", place.host.to_string())],
            Err(refusal) => vec![("refused", refusal.code.as_str().to_owned())],
        };
        if !asked.request_id.is_empty() {
            self.traced.note(Stage {
                of: asked.request_id.clone(),
                proposer: self.config.region.clone(),
                work: Work::Decide,
                began,
                ended: self.now.mono,
                failed: placed.is_err(),
                fields,
            });
        }
    }

    /// What was proposed here has an outcome here; none: it did not come in time.
    pub(super) fn note_proposed(
        &mut self,
        group: GroupId,
        envelope: &Envelope,
        began: Mono,
        outcome: Option<&Outcome>,
    ) {
        let work = Work::Propose(Written::of(group, envelope));
        let fields = match outcome {
            Some(Outcome::Accepted(_)) => vec![],
            Some(Outcome::Refused(refusal)) => vec![("refused", refusal.code.as_str().to_owned())],
            None => vec![("refused", "no outcome in time".to_owned())],
        };
        self.note_command(envelope, work, began, fields);
    }

    /// What was appended to the log of the group that is led here was applied here.
    pub(super) fn note_committed(
        &mut self,
        group: GroupId,
        envelope: &Envelope,
        began: Mono,
        (index, term): (u64, u64),
    ) {
        let work = Work::Commit(Written::of(group, envelope));
        self.note_command(
            envelope,
            work,
            began,
            vec![("index", index.to_string()), ("term", term.to_string())],
        );
    }

    fn note_command(
        &mut self,
        envelope: &Envelope,
        work: Work,
        began: Mono,
        fields: Vec<(&'static str, String)>,
    ) {
        if envelope.request_id.is_empty() {
            return;
        }
        let failed = fields.iter().any(|(name, _)| *name == "refused");
        let (of, proposer) = (envelope.request_id.clone(), envelope.proposer.clone());
        self.traced.note(Stage { of, proposer, work, began, ended: self.now.mono, failed, fields });
    }

    /// A command was applied here.
    pub(super) fn note_applied(
        &mut self,
        group: GroupId,
        index: u64,
        envelope: &Envelope,
        outcome: &Outcome,
    ) {
        let now = self.now.mono;
        let mut fields = vec![("index", index.to_string())];
        if let Outcome::Refused(refusal) = outcome {
            fields.push(("refused", refusal.code.as_str().to_owned()));
            self.note_command(envelope, Work::Apply(Written::of(group, envelope)), now, fields);
            return;
        }
        self.note_command(envelope, Work::Apply(Written::of(group, envelope)), now, fields);
        match &envelope.command {
            Command::Observe((host, seen)) => self.follow_observed(group, host, seen),
            Command::EndFailover((id, _)) if self.leads(group) => self.traced.note(Stage {
                of: id.to_string(),
                proposer: RegionId::default(),
                work: Work::Failover(*id),
                began: now,
                ended: now,
                failed: false,
                fields: vec![],
            }),
            command => self.follow_moved(group, envelope, command),
        }
    }

    /// VMs that a request asks something of, that leave and that arrive.
    fn follow_moved(&mut self, group: GroupId, envelope: &Envelope, command: &Command) {
        let asked = !envelope.request_id.is_empty();
        match command {
            Command::CreateVms((vms, _)) if asked => {
                vms.iter().for_each(|new| self.follow(new.vm.id, envelope, true));
            }
            Command::SetWant((vm, _)) | Command::RestartVm((vm, _)) if asked => {
                self.follow(*vm, envelope, true);
            }
            Command::BeginMigrations((moves, _)) if asked => {
                moves.iter().for_each(|step| self.follow(step.vm, envelope, false));
            }
            Command::Depart((failover, vms)) => {
                for step in vms {
                    self.follow_departed(group, step.vm, *failover);
                }
            }
            Command::Switch(switch) => self.follow_departed(group, switch.vm, switch.failover),
            Command::Admit(admission) => self.follow_arrived(group, admission.vm.id, &admission.host),
            _ => {}
        }
    }

    fn follow(&mut self, vm: VmId, envelope: &Envelope, acts: bool) {
        let now = self.now.mono;
        let (of, proposer) = (envelope.request_id.clone(), envelope.proposer.clone());
        let acting = acts.then_some(now);
        self.traced.follow(vm, Followed { of, proposer, since: now, acting, left: None });
    }

    fn follow_departed(&mut self, group: GroupId, vm: VmId, failover: Option<FailoverId>) {
        let now = self.now.mono;
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        if let Some(failover) = failover {
            let (of, proposer) = (failover.to_string(), RegionId::default());
            self.traced.follow(vm, Followed { of, proposer, since: now, acting: None, left: None });
        }
        if let Some(followed) = self.traced.followed.get_mut(&vm) {
            (followed.left, followed.acting) = (Some((region, now)), None);
        }
    }

    fn follow_arrived(&mut self, group: GroupId, vm: VmId, host: &HostId) {
        let (now, leads) = (self.now.mono, self.leads(group));
        let to = self.facts.region_of(group).map(ToString::to_string).unwrap_or_default();
        let Some(followed) = self.traced.followed.get_mut(&vm) else { return };
        followed.acting = Some(now);
        let Some((from, began)) = followed.left.take() else { return };
        if !leads {
            return;
        }
        let (of, proposer) = (followed.of.clone(), followed.proposer.clone());
        let fields = vec![
            ("vm", vm.to_string()),
            ("from_region", from.to_string()),
            ("to_region", to),
            ("to_host", host.to_string()),
        ];
        let work = Work::HandOver;
        self.traced.note(Stage { of, proposer, work, began, ended: now, failed: false, fields });
    }

    /// What a host said of its VMs is in the facts: those that are as wanted are followed no longer.
    fn follow_observed(&mut self, group: GroupId, host: &HostId, seen: &[Observation]) {
        if self.traced.followed.is_empty() {
            return;
        }
        let leads = self.leads(group);
        for seen in seen {
            let Some(began) = self.traced.followed.get(&seen.vm).and_then(|followed| followed.acting) else {
                continue;
            };
            let Some((phase, failed)) = self.ended_as(seen) else { continue };
            let Some(followed) = self.traced.followed.remove(&seen.vm) else { continue };
            if leads {
                let mut fields = vec![
                    ("vm", seen.vm.to_string()),
                    ("host", host.to_string()),
                    ("phase", phase.to_owned()),
                ];
                if failed {
                    fields.push(("reason", seen.observed.reason.clone()));
                }
                let (of, proposer, ended) = (followed.of, followed.proposer, self.now.mono);
                self.traced.note(Stage { of, proposer, work: Work::Host, began, ended, failed, fields });
            }
        }
    }

    /// How what a host had to do with a VM ended, and whether that is a failure; none: it goes on.
    fn ended_as(&self, seen: &Observation) -> Option<(&'static str, bool)> {
        if seen.gone {
            return Some(("gone", false));
        }
        let (_, vm) = self.facts.vm(seen.vm)?;
        if seen.observed.generation != vm.generation {
            return None;
        }
        match (vm.want, seen.observed.phase) {
            (Want::Running, Phase::Running) => Some(("running", false)),
            (Want::Stopped, Phase::Stopped) => Some(("stopped", false)),
            (_, Phase::Failed) => Some(("failed", true)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
