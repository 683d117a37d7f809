//! Applies commands of the federation's own group.

use dwcp_types::{Code, FailoverId, Refusal, RegionId, Revision, TokenId, Wall};

use crate::apply_region::{Applied, Stamp, outcome, repeated};
use crate::command::*;
use crate::{
    Core, Failover, FailoverState, Lifecycle, MoveState, Operation, OperationKind, OperationState, PhaseName,
    PhaseSpan, Region, Severity, Standing, Token, Trigger,
};

impl Core {
    /// Applies a command; see [`crate::Federation::apply`].
    pub(crate) fn apply(&mut self, revision: Revision, envelope: &Envelope) -> Outcome {
        assert!(
            revision > self.revision,
            "a log position is applied once: {revision:?} after {:?}",
            self.revision
        );
        self.revision = revision;
        if let Some((digest, outcome)) = self.ledger.recall(&envelope.request) {
            return repeated(*digest, outcome, envelope);
        }
        let outcome = outcome(self.change(&Stamp { revision, envelope }), revision);
        self.ledger.remember(&envelope.request, envelope.digest, &outcome);
        outcome
    }

    fn change(&mut self, stamp: &Stamp<'_>) -> Applied {
        self.check_expected(stamp.envelope)?;
        match &stamp.envelope.command {
            Command::Nothing | Command::TakeDigest(_) => Ok(Receipt::default()),
            Command::Found(founded) => self.found(founded, stamp),
            Command::ChangeRegion(change) => self.change_region(change, stamp),
            Command::SetPolicy(policy) => {
                self.policy = policy.clone();
                self.policy_revision = stamp.revision;
                let text = "policy changed".to_string();
                self.ledger.note(stamp.event(Severity::Info, "policy.changed", "policy", text));
                Ok(Receipt::default())
            }
            Command::SetFreeze(freeze) => {
                let before = std::mem::replace(&mut self.freeze, *freeze);
                self.freeze_revision = stamp.revision;
                let text = format!("freeze switch: {freeze}{}", stamp.because());
                let event = stamp.event(Severity::Warning, "freeze.changed", "federation", text);
                self.ledger.note(event.changing(before, freeze));
                Ok(Receipt::default())
            }
            Command::DeclareLost((failover, epoch)) => self.declare_lost(failover, *epoch, stamp),
            Command::EndPhase((id, phase)) => self.end_phase(*id, *phase, stamp),
            Command::PlanFailover((id, vms)) => {
                self.open_failover(*id)?.record(vms);
                self.end_phase(*id, PhaseName::Plan, stamp)
            }
            Command::RecordVms((id, vms)) => {
                self.open_failover(*id)?.record(vms);
                Ok(Receipt::default())
            }
            Command::CancelFailover(id) => self.cancel_failover(*id, stamp),
            Command::EndFailover((id, (state, vms))) => self.end_failover(*id, *state, vms, stamp),
            Command::ReturnRegion((region, epoch)) => self.return_region(region, *epoch, stamp),
            Command::PutToken(token) => self.put_token(token, stamp),
            Command::RevokeToken(id) => self.revoke_token(id, stamp),
            Command::ScheduleWindow(window) => self.schedule_window(window, stamp),
            Command::CancelWindow(id) => self.cancel_window(*id, stamp),
            Command::NoteWindow((id, (notice, open))) => self.note_window(*id, *notice, *open, stamp),
            Command::SettleWindow(id) => self.settle_window(*id),
            Command::BeginDrill(drill) => self.begin_drill(drill, stamp),
            Command::NoteDrill(news) => self.note_drill(news),
            Command::EndDrill((id, (state, result))) => self.end_drill(*id, *state, result, stamp),
            Command::RestoreDrill(id) => self.restore_drill(*id, stamp),
            Command::PublishImage(image) => self.publish_image(image, stamp),
            Command::RemoveImage(name) => self.remove_image(name, stamp),
            Command::BeginSync(operation) => self.begin_sync(operation, stamp),
            Command::NoteSync((id, news)) => self.note_sync(*id, news, stamp),
            Command::EndSync((id, (state, result))) => self.end_sync(*id, *state, result, stamp),
            Command::ConfigureBackups(plan) => self.configure_backups(plan, stamp),
            Command::BeginBackup(run) => self.begin_backup(run, stamp),
            Command::EndBackup(end) => self.end_backup(end, stamp),
            Command::NoteBackupsLate(late) => self.note_late(*late, stamp),
            Command::ChangeDocuments(changes) => self.change_documents(changes, stamp),
            Command::AddRegion(region) => self.add_region(region, stamp),
            Command::FoundedRegion(region) => self.founded_region(region, stamp),
            Command::ReplicateRegion(region) => self.replicate_region(region, stamp),
            Command::RemoveRegion(region) => self.remove_region(region, stamp),
            Command::ForgetRegion(region) => self.forget_region(region, stamp),
            Command::CleanRegion(region) => self.clean_region(region, stamp),
            Command::RaiseLevel(level) => self.raise_level(*level, stamp),
            Command::PublishRelease(release) => self.publish_release(release, stamp),
            Command::BeginUpgrade(operation) => self.begin_upgrade(operation, stamp),
            Command::SwitchUpgrade(id) => self.switch_upgrade(*id, stamp),
            Command::EndUpgrade((id, end)) => self.end_upgrade(*id, end, stamp),
            other => self.change_site(other, stamp),
        }
    }

    fn found(&mut self, founded: &Core, stamp: &Stamp<'_>) -> Applied {
        if !self.regions.is_empty() {
            return Err(Refusal::new(Code::WrongState, "the federation exists already"));
        }
        self.name = founded.name.clone();
        self.regions = founded.regions.clone();
        self.policy = founded.policy.clone();
        self.level = founded.level;
        self.tokens = founded.tokens.clone();
        self.policy_revision = stamp.revision;
        self.freeze_revision = stamp.revision;
        self.regions.values_mut().for_each(|region| region.revision = stamp.revision);
        self.number_regions();
        self.tokens.values_mut().for_each(|token| token.revision = stamp.revision);
        let text = format!("federation {} founded with {} regions", self.name, self.regions.len());
        self.ledger.note(stamp.event(Severity::Info, "federation.founded", &self.name, text));
        Ok(Receipt::default())
    }

    fn change_region(&mut self, change: &RegionChange, stamp: &Stamp<'_>) -> Applied {
        let region = self.regions.get_mut(&change.region).ok_or_else(|| unknown_region(&change.region))?;
        if change.traffic_percent.is_some_and(|percent| percent > 100) {
            return Err(Refusal::new(Code::BadValue, "a traffic share is at most 100 percent"));
        }
        let before = region.switches();
        let mut said = Vec::new();
        if region.lifecycle == Lifecycle::Leaving {
            return Err(Refusal::new(Code::WrongState, format!("{} leaves the federation", region.id)));
        }
        if change.enabled == Some(true) {
            if region.without_replicas {
                return Err(Refusal::new(
                    Code::WrongState,
                    format!("{} has no replica of the state yet", region.id),
                )
                .try_this(format!("dwcp-cli federation state enable-region --region {}", region.id)));
            }
            if region.standing == Standing::Lost {
                return Err(Refusal::new(
                    Code::WrongState,
                    format!("{} is lost and not heard again yet", region.id),
                )
                .then("it can be enabled as soon as it has returned"));
            }
            region.lifecycle = Lifecycle::Active;
            region.standing = Standing::Present;
            region.standing_since = stamp.envelope.at;
            said.push("enabled".to_string());
        }
        if change.enabled == Some(false) {
            region.lifecycle = Lifecycle::Disabled;
            said.push("disabled".to_string());
        }
        if let Some(placement) = change.placement.or(change.enabled) {
            region.placement = placement;
            region.placement_by = stamp.envelope.by.clone();
            region.placement_since = stamp.envelope.at;
            region.placement_reason.clone_from(&change.reason);
            said.push(format!("placement {}", if placement { "on" } else { "off" }));
        }
        if let Some(percent) = change.traffic_percent.or(change.enabled.map(|on| if on { 100 } else { 0 })) {
            region.traffic_percent = percent;
            said.push(format!("traffic {percent} %"));
        }
        region.revision = stamp.revision;
        let after = region.switches();
        let mut text = format!("region {}: {}", change.region, said.join(", "));
        if !change.reason.is_empty() {
            text.push_str(&format!(" ({})", change.reason));
        }
        let mut event = stamp.event(Severity::Info, "region.changed", &change.region, text);
        event.reason.clone_from(&change.reason);
        self.ledger.note(event.changing(before, after));
        Ok(Receipt::default())
    }

    fn declare_lost(&mut self, asked: &Failover, epoch: u64, stamp: &Stamp<'_>) -> Applied {
        if let Some(running) = self.running_failover(&asked.from) {
            if asked.trigger == Trigger::Manual && running.to != asked.to && !asked.to.is_empty() {
                return Err(Refusal::new(
                    Code::FailoverRunning,
                    format!("{} already fails over", asked.from),
                )
                .because(format!("{} is running", running.id))
                .try_this(format!("dwcp-cli federation failover status --failover-id {}", running.id)));
            }
            return Ok(Receipt {
                failover: Some(running.id),
                operation: Some(running.operation),
                ..Receipt::default()
            });
        }
        if self.freeze != crate::Freeze::Active {
            return Err(Refusal::new(
                Code::Frozen,
                format!("{} can't fail over: the freeze switch is on", asked.from),
            )
            .try_this("dwcp-cli federation freeze active"));
        }
        let cap = self.policy.failovers_per_hour as usize;
        if asked.trigger == Trigger::Automatic && self.automatic_failovers_in_hour(stamp.envelope.at) >= cap {
            return Err(Refusal::new(
                Code::HourlyCap,
                format!("{} is not failed over automatically", asked.from),
            )
            .because(format!("{cap} automatic failovers an hour are allowed"))
            .try_this(format!("dwcp-cli federation failover --from-region {}", asked.from)));
        }
        let region = self.regions.get_mut(&asked.from).ok_or_else(|| unknown_region(&asked.from))?;
        if region.epoch != epoch || (asked.trigger == Trigger::Automatic && region.standing == Standing::Lost)
        {
            return Err(Refusal::new(
                Code::WrongState,
                format!("{} was declared lost meanwhile", asked.from),
            ));
        }
        let before = Region { revision: stamp.revision, ..region.clone() };
        region.epoch += 1;
        region.standing = Standing::Lost;
        region.standing_since = stamp.envelope.at;
        region.placement = false;
        region.placement_by = stamp.envelope.by.clone();
        region.placement_since = stamp.envelope.at;
        region.traffic_percent = 0;
        region.revision = stamp.revision;
        Ok(self.open_new_failover(asked, before, stamp))
    }

    fn open_new_failover(&mut self, asked: &Failover, before: Region, stamp: &Stamp<'_>) -> Receipt {
        let id = FailoverId(self.failovers.keys().next_back().map_or(0, |last| last.0) + 1);
        let detected = asked.phases.first().map_or(stamp.envelope.at, |phase| phase.ended_at);
        let failover =
            Failover { id, state: FailoverState::Running, vms: vec![], ended_at: None, ..asked.clone() };
        self.operations.insert(
            asked.operation,
            Operation {
                id: asked.operation,
                kind: OperationKind::Failover(id),
                title: format!("fail {} over", asked.from),
                region: asked.from.clone(),
                by: stamp.envelope.by.clone(),
                started_at: asked.first_missed_at,
                revision: stamp.revision,
                ..Operation::default()
            },
        );
        let text = match asked.trigger {
            Trigger::Manual => {
                format!("region {} is failed over by hand: {id} begins{}", asked.from, stamp.because())
            }
            Trigger::Automatic => {
                let witnesses = names(&asked.witnesses);
                format!("region {} is lost: {id} begins (seen by {witnesses})", asked.from)
            }
        };
        let event = stamp.event(Severity::Critical, "region.lost", &asked.from, text);
        self.ledger.note(event.changing(before.standing, Standing::Lost));
        let operation = failover.operation;
        self.failovers.insert(
            id,
            Failover {
                phases: vec![
                    PhaseSpan {
                        name: PhaseName::Detect,
                        started_at: asked.first_missed_at,
                        ended_at: detected,
                    },
                    PhaseSpan { name: PhaseName::Agree, started_at: detected, ended_at: stamp.envelope.at },
                ],
                before: Some(before),
                ..failover
            },
        );
        self.trim_failovers(stamp.envelope.at);
        Receipt { failover: Some(id), operation: Some(operation), ..Receipt::default() }
    }

    /// Forgets the oldest failovers with their operations.
    fn trim_failovers(&mut self, now: Wall) {
        let mut vms: usize = self.failovers.values().map(|failover| failover.vms.len()).sum();
        while let Some(oldest) = self.failovers.values().next() {
            // Those of the last hour are counted for the cap of automatic ones.
            let over =
                oldest.state != FailoverState::Running && now.ms_since(oldest.first_missed_at) > 3_600_000;
            let too_long = over && vms > Self::FAILOVER_VMS_KEPT;
            if self.failovers.len() <= Self::FAILOVERS_KEPT && !too_long {
                break;
            }
            let Some((_, oldest)) = self.failovers.pop_first() else { break };
            vms -= oldest.vms.len();
            self.operations.remove(&oldest.operation);
        }
    }

    pub(crate) fn open_failover(&mut self, id: FailoverId) -> Result<&mut Failover, Refusal> {
        match self.failovers.get_mut(&id) {
            Some(failover) if failover.state == FailoverState::Running => Ok(failover),
            Some(_) => Err(Refusal::new(Code::WrongState, format!("{id} has ended"))),
            None => Err(Refusal::new(Code::UnknownFailover, format!("no failover {id}"))),
        }
    }

    fn end_phase(&mut self, id: FailoverId, phase: PhaseName, stamp: &Stamp<'_>) -> Applied {
        let failover = self.open_failover(id)?;
        if failover.phases.iter().all(|span| span.name < phase) {
            let started_at = failover.last_phase_end();
            failover.phases.push(PhaseSpan {
                name: phase,
                started_at,
                ended_at: stamp.envelope.at.max(started_at),
            });
        }
        Ok(Receipt::default())
    }

    fn end_failover(
        &mut self,
        id: FailoverId,
        state: FailoverState,
        vms: &[crate::FailoverVm],
        stamp: &Stamp<'_>,
    ) -> Applied {
        self.end_phase(id, PhaseName::Verify, stamp)?;
        let failover = self.open_failover(id)?;
        failover.record(vms);
        failover.state = state;
        failover.ended_at = Some(stamp.envelope.at);
        let rto_ms = failover.rto_ms(stamp.envelope.at);
        let (operation, from) = (failover.operation, failover.from.clone());
        let all = failover.vms.len();
        let verified = failover.vms.iter().filter(|vm| vm.state == MoveState::Verified).count();
        for vm in failover.vms.iter_mut().filter(|vm| vm.state == MoveState::Waiting) {
            vm.state = MoveState::Failed;
            vm.reason = format!("does not answer {rto_ms} ms after the first missed heartbeat");
        }
        let result = format!("{verified} of {all} VMs serve elsewhere after {rto_ms} ms");
        let ended = match state {
            FailoverState::Done => OperationState::Done,
            FailoverState::Cancelled => OperationState::Cancelled,
            _ => OperationState::Partial,
        };
        crate::apply_region::end_operation(self.operations.get_mut(&operation), ended, &result, stamp)?;
        let text = format!("{id} of {from} ended: {result}");
        self.ledger.note(stamp.event(Severity::Warning, "failover.ended", &from, text));
        Ok(Receipt { failover: Some(id), operation: Some(operation), ..Receipt::default() })
    }

    fn return_region(&mut self, id: &RegionId, epoch: u64, stamp: &Stamp<'_>) -> Applied {
        let region = self.regions.get_mut(id).ok_or_else(|| unknown_region(id))?;
        if region.epoch != epoch || region.standing != Standing::Lost {
            return Err(Refusal::new(Code::WrongState, format!("{id} is not lost any more, or lost again")));
        }
        region.standing = Standing::Returned;
        region.revision = stamp.revision;
        region.standing_since = stamp.envelope.at;
        let text = format!("region {id} is heard again; it stays empty until it is enabled");
        let event = stamp.event(Severity::Warning, "region.returned", id, text);
        self.ledger.note(event.changing(Standing::Lost, Standing::Returned));
        Ok(Receipt::default())
    }

    fn put_token(&mut self, token: &Token, stamp: &Stamp<'_>) -> Applied {
        // A request repeated after it was forgotten must not bring a token back that was revoked since.
        if self.tokens.contains_key(&token.id) {
            return Err(Refusal::new(Code::WrongState, format!("token {} exists already", token.id))
                .try_this(format!("dwcp-cli security token list --user {}", token.user)));
        }
        let text = format!("token {} of {} ({:?})", token.id, token.user, token.role);
        self.ledger.note(stamp.event(Severity::Info, "token.created", &token.id, text));
        self.tokens.insert(token.id.clone(), Token { revision: stamp.revision, ..token.clone() });
        Ok(Receipt::default())
    }

    fn revoke_token(&mut self, id: &TokenId, stamp: &Stamp<'_>) -> Applied {
        let token = self
            .tokens
            .get_mut(id)
            .ok_or_else(|| Refusal::new(Code::UnknownToken, format!("no token {id}")))?;
        let before = if token.is_valid(stamp.envelope.at) { "active" } else { "expired or revoked" };
        if token.revoked_at.is_none() {
            token.revoked_at = Some(stamp.envelope.at);
            token.revision = stamp.revision;
        }
        let text = format!("token {id} is revoked");
        let event = stamp.event(Severity::Warning, "token.revoked", id, text);
        self.ledger.note(event.changing(before, "revoked"));
        Ok(Receipt::default())
    }
}

pub(crate) fn unknown_region(id: &RegionId) -> Refusal {
    Refusal::new(Code::UnknownRegion, format!("no region {id}"))
        .try_this("dwcp-cli federation status --global")
}

fn names(regions: &[RegionId]) -> String {
    regions.iter().map(RegionId::as_str).collect::<Vec<_>>().join(", ")
}
