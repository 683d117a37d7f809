//! What people ask about VMs that move.

use dwcp_state::{Command, Drain, Freeze, MigrationState, NewMigration, OperationKind, Stopping};
use dwcp_types::{Code, MigrationId, Refusal, RegionId, VmId};

use super::proposals::Purpose;
use super::requests::{MigrateRequest, unknown_region};
use super::{Asked, Node};

impl Node {
    fn refuse_frozen(&mut self, ticket: u64) -> bool {
        let freeze = self.facts.core.freeze;
        if freeze == Freeze::Active {
            return false;
        }
        let refusal = Refusal::new(Code::Frozen, format!("no VM is moved: the freeze switch is {freeze}"));
        self.refuse(ticket, refusal.try_this("dwcp-cli federation freeze active"));
        true
    }

    pub(super) fn migrate(&mut self, ticket: u64, asked: &Asked, request: MigrateRequest) {
        if self.refuse_frozen(ticket) {
            return;
        }
        if let Some(refusal) = self.refused_targets(&request) {
            self.refuse(ticket, refusal);
            return;
        }
        let Some(group) = self.facts.group_of(&request.from) else {
            self.refuse(ticket, unknown_region(&request.from));
            return;
        };
        let ids: Vec<VmId> = request.vms.iter().map(|new| new.vm).collect();
        if let Some(refusal) = self.refused_elsewhere(&request.from, &ids) {
            self.refuse(ticket, refusal);
            return;
        }
        let operation = self.operation(asked, OperationKind::MigrateVms(ids), request.title, &request.from);
        let mut begin = request.vms;
        for new in &mut begin {
            new.id = MigrationId(self.rng.next_u64());
        }
        let envelope = self.envelope(asked, Command::BeginMigrations((begin, operation)));
        self.propose(group, envelope, Purpose::Answer(ticket));
    }

    /// When none of these VMs is in the region any more: where the first of them is now.
    fn refused_elsewhere(&self, from: &RegionId, vms: &[VmId]) -> Option<Refusal> {
        let facts = self.facts.regions.get(from)?;
        let first = *vms.first()?;
        if vms.iter().any(|vm| facts.vms.contains_key(vm)) {
            return None;
        }
        let Some((region, vm)) = self.facts.vm(first) else { return Some(facts.not_here(first)) };
        let what = format!("{} is in {region} now, on {}", vm.name, vm.host);
        let refusal = Refusal::new(Code::WrongState, what).because(format!("it has left {from}"));
        Some(refusal.try_this(format!("dwcp-cli vm show {}", vm.name)))
    }

    fn refused_targets(&self, request: &MigrateRequest) -> Option<Refusal> {
        for NewMigration { vm, to, host, .. } in &request.vms {
            let Some(record) = self.facts.region(to) else { return Some(unknown_region(to)) };
            let known = |host| self.facts.regions.get(to).is_some_and(|facts| facts.hosts.contains_key(host));
            if let Some(host) = host.as_ref().filter(|host| !known(host)) {
                let refusal = Refusal::new(Code::UnknownHost, format!("no host {host} in {to}"));
                return Some(refusal.try_this("dwcp-cli host list"));
            }
            if *to != request.from && !record.takes_placements() {
                let what = format!("{to} takes no VMs: {}", record.placement_reason);
                let name = self.facts.vm(*vm).map(|(_, vm)| vm.name.clone()).unwrap_or_default();
                return Some(
                    Refusal::new(Code::RegionDisabled, what.trim_end_matches([':', ' ']))
                        .because(format!("{name} was to move there"))
                        .try_this(format!("dwcp-cli federation region enable-placement --region {to}")),
                );
            }
        }
        None
    }

    pub(super) fn begin_drain(&mut self, ticket: u64, asked: &Asked, region: &RegionId, drain: Drain) {
        if self.refuse_frozen(ticket) {
            return;
        }
        let Some((group, record)) = self.facts.group_of(region).zip(self.facts.region(region)) else {
            self.refuse(ticket, unknown_region(region));
            return;
        };
        let mut drain = Drain { placement_before: record.placement, ..drain };
        let mut title = format!("drain {region}");
        if let Some(host) = &drain.host {
            let Some(known) = self.facts.regions[region].hosts.get(host) else {
                let refusal = Refusal::new(Code::UnknownHost, format!("no host {host} in {region}"));
                self.refuse(ticket, refusal.try_this("dwcp-cli host list"));
                return;
            };
            drain.placement_before = known.placement;
            title = format!("drain host {host} of {region}");
        }
        let operation = self.operation(asked, OperationKind::Drain(drain), title, region);
        let envelope = self.envelope(asked, Command::BeginMigrations((Vec::new(), operation)));
        self.propose(group, envelope, Purpose::Answer(ticket));
    }

    pub(super) fn cancel_migrations(&mut self, ticket: u64, asked: &Asked, vms: &[VmId]) {
        let open = |vm: &VmId| {
            let found =
                self.facts.regions.values().find_map(|facts| facts.migrations.get(vm).map(|m| (facts, m)));
            found.map(|(facts, migration)| (facts.number, migration.id))
        };
        let Some((group, _)) = vms.iter().find_map(open) else {
            let refusal = Refusal::new(Code::WrongState, "none of these VMs is moving");
            self.refuse(ticket, refusal.try_this("dwcp-cli federation migrate queue"));
            return;
        };
        let of: Vec<(VmId, MigrationId)> = vms
            .iter()
            .filter_map(|vm| open(vm).filter(|(of, _)| *of == group).map(|(_, id)| (*vm, id)))
            .collect();
        let reason = format!("cancelled by {}", asked.by);
        let stopping = Stopping { state: MigrationState::Cancelled, reason };
        let envelope = self.envelope(asked, Command::StopMigrations((of, stopping)));
        self.propose(group, envelope, Purpose::Answer(ticket));
    }
}
