//! Creating a VM: decide, bind the request to the group that will carry it out, commit there; again when the room is gone.
//!
//! A repeated request must not create a second VM, also when it reaches another node that would decide otherwise. So a
//! request with a key is first *claimed* in a group that follows from the key alone; who claims second is told which group
//! carries it out, and the command there has a key of its own, which that group applies once. When that group refused (its
//! room was gone), the next attempt is claimed anew.

use std::collections::BTreeMap;

use dwcp_decide::{PlaceReport, PlaceRequest, Placement};
use dwcp_state::{
    ClaimRequest, Command, FEDERATION_GROUP, Freeze, NewVm, OperationKind, Outcome, Receipt, Vm,
};
use dwcp_types::{Code, GroupId, HostId, Refusal, RegionId, VmId};

use super::proposals::Purpose;
use super::replicas::{For, Wanted};
use super::{Asked, CreateVm, Node, Reply};

/// Decisions for one request before it is refused.
const ATTEMPTS: u64 = 8;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Claiming,
    Committing,
}

/// A creation that is under way.
#[derive(Clone, Debug)]
struct Creating {
    ticket: u64,
    asked: Asked,
    vm: Vm,
    users_in: Option<RegionId>,
    only: Option<RegionId>,
    step: Step,
    decided: u64,
    attempt: u64,
    placement: Placement,
    report: PlaceReport,
}

/// All of them.
#[derive(Default)]
pub(super) struct Creates {
    open: BTreeMap<u64, Creating>,
    next: u64,
}

impl Node {
    pub(super) fn create_vm(&mut self, ticket: u64, asked: Asked, create: CreateVm) {
        let request = place_request(&create.template, &create.users_in, create.only.clone());
        if !create.dry_run {
            if let Err(refusal) = self.may_create(&create.template, &asked) {
                self.refuse(ticket, refusal);
                return;
            }
        }
        let explain = create.explain;
        let of = For::Create(Box::new((ticket, asked, create, self.now.mono)));
        self.decide_wanted(Wanted { request, count: 1, explain, of });
    }

    /// It was decided where the VM would go.
    pub(super) fn create_placed(
        &mut self,
        ticket: u64,
        asked: Asked,
        create: CreateVm,
        placed: Result<Placement, Refusal>,
        report: PlaceReport,
    ) {
        // Another one of its name may have been created while somebody else decided.
        if !create.dry_run
            && let Err(refusal) = self.may_create(&create.template, &asked)
        {
            self.refuse(ticket, refusal);
            return;
        }
        let placement = match placed {
            Ok(placement) if !create.dry_run => placement,
            other => {
                let (placement, refusal) = match other {
                    Ok(placement) => (Some(placement), None),
                    Err(refusal) => (None, Some(refusal)),
                };
                self.reply(
                    ticket,
                    Reply::Placed { created: None, placement, report: Box::new(report), refusal },
                );
                return;
            }
        };
        self.creates.next += 1;
        let id = self.creates.next;
        let mut vm = Vm { id: VmId(self.rng.next_u64()), ..create.template };
        // What is published under the name later is for VMs created later.
        let published = self.facts.core.images.get(&vm.spec.image);
        vm.spec.digest = published.map(|image| image.digest.clone()).unwrap_or_default();
        let creating = Creating {
            ticket,
            asked,
            vm,
            users_in: create.users_in,
            only: create.only,
            step: Step::Claiming,
            decided: 1,
            attempt: 0,
            placement,
            report,
        };
        self.creates.open.insert(id, creating);
        self.claim_or_commit(id);
    }

    /// Decides for several VMs, each on what the ones before it leave.
    pub(super) fn preview_vms(&mut self, ticket: u64, create: &CreateVm, count: u32) {
        let request = place_request(&create.template, &create.users_in, create.only.clone());
        let (explain, of) = (create.explain, For::Preview(ticket));
        self.decide_wanted(Wanted { request, count, explain, of });
    }

    fn may_create(&self, vm: &Vm, asked: &Asked) -> Result<(), Refusal> {
        if self.facts.core.freeze == Freeze::Frozen {
            return Err(Refusal::new(Code::Frozen, "no VM is created: the federation is frozen")
                .try_this("dwcp-cli federation freeze active"));
        }
        let taken =
            self.facts.regions.iter().find_map(|(region, facts)| Some((region, facts.vm_named(&vm.name)?)));
        // The same request repeated finds the VM that it made.
        let claimed = asked
            .key
            .as_ref()
            .is_some_and(|key| self.facts.regions.values().any(|facts| facts.claims.contains_key(key)));
        match taken {
            Some((region, other)) if !claimed => {
                Err(Refusal::new(Code::NameTaken, format!("a VM named {} exists", vm.name))
                    .because(format!("it is {} in {region}", other.id))
                    .try_this(format!("dwcp-cli vm show {}", other.id)))
            }
            _ => Ok(()),
        }
    }

    fn claim_or_commit(&mut self, id: u64) {
        let Some(creating) = self.creates.open.get(&id) else { return };
        let (asked, attempt) = (creating.asked.clone(), creating.attempt);
        let target = self.facts.group_of(&creating.placement.region).unwrap_or(0);
        let Some(key) = asked.key.clone() else {
            self.commit_create(id, target);
            return;
        };
        let keeper = self.keeper(&key);
        let claim = Command::Claim(ClaimRequest { key, after_attempt: attempt, group: target });
        // The claim itself is idempotent and must be evaluated each time, so it carries no key.
        let envelope = self.envelope(&Asked { key: None, ..asked }, claim);
        self.propose(keeper, envelope, Purpose::Create(id));
    }

    /// The group that an idempotency key is kept by. It follows from the regions that the federation was founded with, so that a
    /// region that comes in changes no key's keeper, and one that leaves only its own keys' (the next one keeps them).
    fn keeper(&self, key: &str) -> GroupId {
        let regions: Vec<GroupId> = self.regions.keys().copied().collect();
        let keepers = &self.facts.core.keepers;
        let all = if keepers.is_empty() { &regions } else { keepers };
        let at = (super::intents::digest(key.as_bytes()) % all.len().max(1) as u64) as usize;
        let from_there = all.iter().cycle().skip(at).take(all.len());
        let there = from_there.copied().find(|keeper| self.regions.contains_key(keeper));
        there.or(regions.first().copied()).unwrap_or(FEDERATION_GROUP)
    }

    fn commit_create(&mut self, id: u64, group: GroupId) {
        let Some(creating) = self.creates.open.get(&id) else { return };
        let (asked, placement) = (creating.asked.clone(), creating.placement.clone());
        let vm = Vm { host: placement.host.clone(), ..creating.vm.clone() };
        let attempt = creating.attempt;
        let title = format!("create VM {}", vm.name);
        let operation =
            self.operation(&asked, OperationKind::CreateVms(vec![vm.id]), title, &placement.region);
        self.reserved.add(&placement.region, &placement.host, &vm);
        let command = Command::CreateVms((vec![NewVm { vm }], operation));
        let key = asked.key.as_ref().map(|key| format!("{key}#{attempt}"));
        let envelope = self.envelope(&Asked { key, ..asked }, command);
        if let Some(creating) = self.creates.open.get_mut(&id) {
            creating.step = Step::Committing;
        }
        self.propose(group, envelope, Purpose::Create(id));
    }

    pub(super) fn create_went_on(&mut self, id: u64, outcome: Result<(GroupId, Outcome), Refusal>) {
        let Some(creating) = self.creates.open.get(&id).cloned() else { return };
        self.reserved.remove(creating.vm.id);
        match (creating.step, outcome) {
            (Step::Claiming, Ok((_, Outcome::Accepted(Receipt { claim: Some((attempt, group)), .. })))) => {
                self.claimed(id, attempt, group);
            }
            (Step::Committing, Ok((group, Outcome::Accepted(receipt)))) => {
                let vm = receipt.vms.first().map_or(creating.vm.id, |(vm, _)| *vm);
                let placement =
                    self.facts.vm(vm).map_or(creating.placement.clone(), |(region, vm)| Placement {
                        region: region.clone(),
                        host: vm.host.clone(),
                        score_milli: creating.placement.score_milli,
                    });
                self.creates.open.remove(&id);
                let reply = Reply::Placed {
                    created: Some((vm, group, Box::new(receipt))),
                    placement: Some(placement),
                    report: Box::new(creating.report),
                    refusal: None,
                };
                self.reply(creating.ticket, reply);
            }
            (Step::Committing, Ok((_, Outcome::Refused(refusal)))) if retryable(refusal.code) => {
                self.decide_again(id, refusal);
            }
            (_, Ok((_, Outcome::Refused(refusal)))) | (_, Err(refusal)) => {
                self.creates.open.remove(&id);
                self.refuse(creating.ticket, refusal);
            }
            (_, Ok((_, Outcome::Accepted(_)))) => {
                self.creates.open.remove(&id);
                self.refuse(creating.ticket, Refusal::new(Code::WrongState, "the claim was not answered"));
            }
        }
    }

    /// The request is bound to a group. When another node bound it elsewhere, the VM must go there.
    fn claimed(&mut self, id: u64, attempt: u64, group: GroupId) {
        let Some(creating) = self.creates.open.get_mut(&id) else { return };
        creating.attempt = attempt;
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        if region != creating.placement.region {
            let request = place_request(&creating.vm, &creating.users_in, Some(region.clone()));
            let (placed, _) = self.place(&request, false);
            let Some(creating) = self.creates.open.get_mut(&id) else { return };
            // What matters there is the key, which may have been applied already; without room it is refused there and
            // claimed anew.
            creating.placement =
                placed.unwrap_or(Placement { region, host: HostId::default(), score_milli: 0 });
        }
        self.commit_create(id, group);
    }

    fn decide_again(&mut self, id: u64, refusal: Refusal) {
        let Some(creating) = self.creates.open.get(&id).cloned() else { return };
        let request = place_request(&creating.vm, &creating.users_in, creating.only.clone());
        let (placed, report) = self.place(&request, false);
        match placed {
            Ok(placement) if creating.decided < ATTEMPTS => {
                if let Some(creating) = self.creates.open.get_mut(&id) {
                    creating.placement = placement;
                    creating.report = report;
                    creating.decided += 1;
                    creating.step = Step::Claiming;
                }
                self.claim_or_commit(id);
            }
            Ok(_) => {
                self.creates.open.remove(&id);
                self.refuse(creating.ticket, refusal);
            }
            Err(nothing_fits) => {
                self.creates.open.remove(&id);
                let reply = Reply::Placed {
                    created: None,
                    placement: None,
                    report: Box::new(report),
                    refusal: Some(nothing_fits),
                };
                self.reply(creating.ticket, reply);
            }
        }
    }
}

fn retryable(code: Code) -> bool {
    matches!(code, Code::CapacityGone | Code::UnknownHost | Code::RegionDisabled)
}

fn place_request(vm: &Vm, users_in: &Option<RegionId>, only: Option<RegionId>) -> PlaceRequest {
    PlaceRequest {
        vm: vm.clone(),
        users_in: users_in.clone(),
        only_regions: only.map(|region| [region].into()),
        ..PlaceRequest::default()
    }
}
