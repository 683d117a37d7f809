//! Applies what a region of a restored control plane learns from its hosts and decides about their VMs.

use dwcp_types::{Code, Generation, HostId, Refusal, VmId};

use crate::apply_region::{Applied, Stamp, unknown_host, unknown_vm};
use crate::command::*;
use crate::{
    AdoptedAs, AdoptedVm, Adopting, Adoption, Held, MissingChoice, Observed, RegionFacts, Severity, Vm, Want,
};

fn not_restored() -> Refusal {
    Refusal::new(Code::WrongState, "this control plane was not restored from a backup")
}

impl RegionFacts {
    /// Until it is decided what the hosts have, nothing else may be.
    ///
    /// # Errors
    /// The command is not part of that.
    pub(crate) fn check_adopted(&self, command: &Command) -> Result<(), Refusal> {
        let allowed = matches!(
            command,
            Command::Nothing
                | Command::TakeDigest(_)
                | Command::RegisterHost(_)
                | Command::SetOvercommit(_)
                | Command::Claim(_)
                | Command::EndOperation(_)
                | Command::NoteHeld(_)
                | Command::WriteOffHost(_)
                | Command::CloseInventory
                | Command::Adopt(_)
                | Command::FinishAdoption
        );
        if allowed || !self.is_adopting() {
            return Ok(());
        }
        let waiting: Vec<&str> = self.awaited().map(HostId::as_str).collect();
        let why = match waiting.is_empty() {
            true => "what its hosts have is being decided".to_string(),
            false => format!("these hosts have not said what they have: {}", waiting.join(", ")),
        };
        Err(Refusal::new(Code::NotReady, format!("{} is being restored from a backup", self.name))
            .because(why)
            .then("it goes on as soon as they are heard")
            .try_this("dwcp-cli federation restoration status"))
    }

    /// Applies a command of an adoption.
    pub(crate) fn change_adoption(&mut self, command: &Command, stamp: &Stamp<'_>) -> Applied {
        match command {
            Command::NoteHeld((host, held)) => self.note_held(host, held, stamp),
            Command::WriteOffHost(host) => self.write_off_host(host, stamp),
            Command::CloseInventory => self.close_inventory(stamp),
            Command::Adopt(decided) => self.adopt(decided, stamp),
            Command::FinishAdoption => self.finish_adoption(stamp),
            Command::SettleLate(hosts) => self.settle_late(hosts),
            Command::TidyAdoption => self.tidy_adoption(),
            Command::DecideMissing(choice) => self.decide_missing(choice, stamp),
            _ => Err(Refusal::new(Code::WrongState, "a federation command reached a region's group")),
        }
    }

    fn adoption_mut(&mut self) -> Result<&mut Adoption, Refusal> {
        self.adoption.as_deref_mut().ok_or_else(not_restored)
    }

    pub(crate) fn note_held(&mut self, host: &HostId, held: &[Held], stamp: &Stamp<'_>) -> Applied {
        if !self.hosts.contains_key(host) {
            return Err(unknown_host(host));
        }
        let adoption = self.adoption_mut()?;
        if adoption.found.contains_key(host) || adoption.late.contains_key(host) {
            return Ok(Receipt::default());
        }
        adoption.written_off.remove(host);
        let late = adoption.closed;
        let into = if late { &mut adoption.late } else { &mut adoption.found };
        into.insert(host.clone(), held.to_vec());
        let text = format!("host {host} has {} VMs{}", held.len(), if late { "; it came late" } else { "" });
        self.ledger.note(stamp.event(Severity::Info, "restoration.heard", host, text));
        Ok(Receipt::default())
    }

    pub(crate) fn write_off_host(&mut self, host: &HostId, stamp: &Stamp<'_>) -> Applied {
        if !self.hosts.contains_key(host) {
            return Err(unknown_host(host));
        }
        let adoption = self.adoption_mut()?;
        if adoption.closed || adoption.found.contains_key(host) {
            return Err(Refusal::new(Code::WrongState, format!("{host} is not waited for")));
        }
        adoption.written_off.insert(host.clone());
        // No lease is given to it from here on, until it is heard again.
        if let Some(host) = self.hosts.get_mut(host) {
            host.standing = crate::HostStanding::Lost;
            host.standing_since = stamp.envelope.at;
        }
        self.index.touch(self.revision, host);
        let text = format!("host {host} is not waited for any longer{}", stamp.because());
        self.ledger.note(stamp.event(Severity::Critical, "restoration.written-off", host, text));
        Ok(Receipt::default())
    }

    pub(crate) fn close_inventory(&mut self, stamp: &Stamp<'_>) -> Applied {
        let waiting: Vec<String> = self.awaited().map(ToString::to_string).collect();
        if !waiting.is_empty() {
            let what = format!("{} has not said what it has", waiting.join(", "));
            return Err(Refusal::new(Code::WrongState, what));
        }
        let name = self.name.clone();
        let adoption = self.adoption_mut()?;
        if !adoption.closed {
            adoption.closed = true;
            let hosts = adoption.found.len();
            let vms: usize = adoption.found.values().map(Vec::len).sum();
            let text = format!("{hosts} hosts of {name} have said that they have {vms} VMs");
            self.ledger.note(stamp.event(Severity::Info, "restoration.closed", &name, text));
        }
        Ok(Receipt::default())
    }

    pub(crate) fn adopt(&mut self, decided: &[Adopting], stamp: &Stamp<'_>) -> Applied {
        if !self.adoption_mut()?.closed {
            return Err(Refusal::new(Code::WrongState, "hosts are still waited for"));
        }
        for one in decided {
            match one {
                Adopting::Place(adopted) => self.adopt_one(adopted, stamp),
                // Decided of a VM that was missing then, and that somebody has started since.
                Adopting::Give((id, _)) if !self.may_miss(*id) => {}
                Adopting::Miss(id) if !self.may_miss(*id) => {}
                Adopting::Give((id, to)) => {
                    let text = format!("{to} has it");
                    self.miss(*id, Some(&text), stamp);
                }
                Adopting::Miss(id) => self.miss(*id, None, stamp),
            }
        }
        Ok(Receipt::default())
    }

    /// Whether a VM may go from here: while nothing else is decided, or when no host had it.
    fn may_miss(&self, id: VmId) -> bool {
        let missing = self.adoption.as_ref().is_some_and(|adoption| adoption.missing.contains_key(&id));
        self.is_adopting() || missing
    }

    /// Whether what was decided of a VM still fits: until everything is adopted nobody else decides anything, but it may have been
    /// proposed twice; from then on its record must be the one that it was decided from.
    fn may_adopt(&self, vm: &Vm) -> bool {
        let Some(adoption) = &self.adoption else { return false };
        let decided = adoption.adopted.contains_key(&vm.id);
        if self.is_adopting() {
            return !decided;
        }
        let here = self.vms.get(&vm.id).or_else(|| adoption.missing.get(&vm.id));
        here.map_or(!decided, |here| here.revision == vm.revision)
    }

    fn adopt_one(&mut self, adopted: &AdoptedVm, stamp: &Stamp<'_>) {
        let AdoptedVm { vm, how } = adopted;
        if !self.may_adopt(vm) {
            return;
        }
        self.unsettle(vm.id);
        let Some(adoption) = self.adoption.as_deref_mut() else { return };
        adoption.missing.remove(&vm.id);
        let restoration = adoption.restoration;
        adoption.adopted.insert(vm.id, how.clone());
        let mut vm = vm.clone();
        if *how != AdoptedAs::WithLostHost && vm.protection.guard.epoch > 0 {
            // What became of its copy since the backup is not known: it is made anew, under an epoch that nobody had.
            vm.protection.guard.epoch = vm.protection.guard.epoch.max(restoration);
            vm.copy_anew(stamp.envelope.at);
        }
        vm.changed(stamp.revision);
        let (severity, text) = match how {
            AdoptedAs::Unchanged => (Severity::Info, "as the backup has it".to_string()),
            AdoptedAs::Changed(how) => (Severity::Info, how.clone()),
            AdoptedAs::Unknown => (Severity::Warning, "the backup does not have it".to_string()),
            AdoptedAs::WithLostHost => (Severity::Warning, "lost with its host".to_string()),
            AdoptedAs::Restarted | AdoptedAs::Forgotten => return,
        };
        let text = format!("VM {} on {}: {text}", vm.name, vm.host);
        self.ledger.note(stamp.event(severity, "restoration.adopted", vm.id, text));
        self.settle(vm);
    }

    /// The record goes; the VM is another region's, or nobody has it.
    fn miss(&mut self, id: VmId, given: Option<&str>, stamp: &Stamp<'_>) {
        let missed = self.adoption.as_deref_mut().and_then(|adoption| adoption.missing.remove(&id));
        let Some(vm) = self.unsettle(id).or(missed) else { return };
        let barred = Generation(vm.generation.0.max(vm.promised.0));
        let Some(adoption) = self.adoption.as_deref_mut() else { return };
        let (severity, text) = match given {
            Some(why) => {
                adoption.given.insert(id, vm.clone());
                (Severity::Info, format!("VM {} is not here: {why}", vm.name))
            }
            None if vm.want == Want::Deleted => {
                (Severity::Info, format!("VM {} was being deleted and is gone", vm.name))
            }
            None => {
                adoption.missing.insert(id, vm.clone());
                let text =
                    format!("VM {} was on {}, and no host has it: deleted since, or lost", vm.name, vm.host);
                (Severity::Critical, text)
            }
        };
        if given.is_some() || vm.want == Want::Deleted {
            self.bar(&vm, barred);
        }
        self.ledger.note(stamp.event(severity, "restoration.missing", id, text));
    }

    pub(crate) fn finish_adoption(&mut self, stamp: &Stamp<'_>) -> Applied {
        let name = self.name.clone();
        let adoption = self.adoption_mut()?;
        if !adoption.closed {
            return Err(Refusal::new(Code::WrongState, "hosts are still waited for"));
        }
        if adoption.done_at.is_none() {
            adoption.done_at = Some(stamp.envelope.at);
            let (adopted, missing) = (adoption.adopted.len(), adoption.missing.len());
            let text = format!("{name} is restored: {adopted} VMs adopted, {missing} that no host has");
            self.ledger.note(stamp.event(Severity::Warning, "restoration.done", &name, text));
        }
        Ok(Receipt::default())
    }

    /// What is known of these hosts that came late is decided.
    pub(crate) fn settle_late(&mut self, hosts: &[HostId]) -> Applied {
        let adoption = self.adoption_mut()?;
        for host in hosts {
            if adoption.late.remove(host).is_some() {
                adoption.found.insert(host.clone(), Vec::new());
            }
        }
        let revision = self.revision;
        hosts.iter().for_each(|host| self.index.touch(revision, host));
        Ok(Receipt::default())
    }

    /// Every region has adopted: what the hosts said is of no use any more.
    pub(crate) fn tidy_adoption(&mut self) -> Applied {
        let adoption = self.adoption_mut()?;
        if adoption.done_at.is_none() {
            return Err(Refusal::new(Code::WrongState, "not everything is adopted"));
        }
        adoption.found.values_mut().for_each(Vec::clear);
        adoption.given.clear();
        Ok(Receipt::default())
    }

    pub(crate) fn decide_missing(&mut self, choice: &MissingChoice, stamp: &Stamp<'_>) -> Applied {
        let vm =
            self.adoption_mut()?.missing.get(&choice.vm).cloned().ok_or_else(|| unknown_vm(choice.vm))?;
        let generation = Generation(vm.next_generation().0.max(self.adoption_mut()?.restoration + 1));
        let (kind, text) = match &choice.start {
            None => {
                self.bar(&vm, generation);
                ("restoration.forgotten", format!("VM {} is forgotten{}", vm.name, stamp.because()))
            }
            Some(host) => {
                if let Some(other) = self.holder_of_name(&vm.name) {
                    return Err(Refusal::new(Code::NameTaken, format!("a VM named {} exists", vm.name))
                        .because(format!("it is {} in {}", other.id, self.name)));
                }
                let mut vm = Vm {
                    host: host.clone(),
                    generation,
                    want: Want::Running,
                    observed: Observed::default(),
                    placed_at: stamp.envelope.at,
                    ..vm.clone()
                };
                self.check_place(&vm, host)?;
                vm.copy_elsewhere(stamp.envelope.at);
                vm.changed(stamp.revision);
                let text =
                    format!("VM {} starts again on {host}, with a new disk{}", vm.name, stamp.because());
                self.settle(vm);
                ("restoration.started", text)
            }
        };
        let how = if choice.start.is_some() { AdoptedAs::Restarted } else { AdoptedAs::Forgotten };
        let adoption = self.adoption_mut()?;
        adoption.missing.remove(&choice.vm);
        adoption.adopted.insert(choice.vm, how);
        self.ledger.note(stamp.event(Severity::Warning, kind, choice.vm, text));
        Ok(Receipt { vms: vec![(choice.vm, generation)], ..Receipt::default() })
    }
}
