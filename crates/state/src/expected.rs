//! Expected revisions: a change decided on an older record is refused.
//!
//! Every record that people change carries the revision at which it last changed by intent. What hosts and controllers
//! observe does not count, and neither does a change of another record of the group.

use dwcp_types::{Code, Refusal, Revision};

use crate::{Command, Core, Envelope, RegionFacts, Vm};

/// Refuses a change that expects another revision of its record than it has. `read` is the command that shows it.
pub fn expect_revision(
    record: &str,
    expected: Option<Revision>,
    holds: Revision,
    read: &str,
) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != holds => {
            Err(Refusal::new(Code::StaleRevision, format!("{record} has changed"))
                .because(format!("expected revision {}, it has {}", expected.0, holds.0))
                .try_this(read))
        }
        _ => Ok(()),
    }
}

/// The record that a command changes: what it is, its revision, the command that shows it.
type Record = (String, Revision, String);

fn check(envelope: &Envelope, record: Option<Record>) -> Result<(), Refusal> {
    match record {
        _ if envelope.expected.is_none() => Ok(()),
        Some((name, holds, read)) => expect_revision(&name, envelope.expected, holds, &read),
        None => Err(Refusal::new(Code::BadValue, "expected_revision is outside its range")
            .because("what is asked changes no record that is there")),
    }
}

impl Vm {
    /// The command that shows a VM.
    fn read(&self) -> String {
        format!("dwcp-cli vm show {}", self.id)
    }

    /// Notes that it changed by intent at a position of its group's log. Its revision only rises, also when it comes to a
    /// group whose log is shorter: one that was read before is never that of another state.
    pub(crate) fn changed(&mut self, at: Revision) {
        self.revision = at.max(Revision(self.revision.0 + 1));
    }
}

impl RegionFacts {
    pub(crate) fn check_expected(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let record = match &envelope.command {
            Command::SetWant((id, _)) | Command::RestartVm((id, _)) => {
                self.vms.get(id).map(|vm| (format!("VM {}", vm.name), vm.revision, vm.read()))
            }
            Command::SetProtection(change) => {
                self.vms.get(&change.vm).map(|vm| (format!("VM {}", vm.name), vm.revision, vm.read()))
            }
            Command::SetHostPlacement((id, _)) => self
                .hosts
                .get(id)
                .map(|host| (format!("host {id}"), host.revision, format!("dwcp-cli host show {id}"))),
            Command::EndOperation((id, _)) => self
                .operations
                .get(id)
                .map(|op| (format!("operation {id}"), op.revision, format!("dwcp-cli operation show {id}"))),
            _ => None,
        };
        check(envelope, record)
    }
}

impl Core {
    pub(crate) fn check_expected(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let record = match &envelope.command {
            Command::ChangeRegion(change) => self.regions.get(&change.region).map(|region| {
                let read = format!("dwcp-cli federation region status --region {}", region.id);
                (format!("region {}", region.id), region.revision, read)
            }),
            Command::SetRouters((region, _)) => self.regions.get(region).map(|region| {
                let read = format!("dwcp-cli routing routers --region {}", region.id);
                (format!("region {}", region.id), region.revision, read)
            }),
            Command::SetControllers((region, _)) => self.regions.get(region).map(|region| {
                let read = format!("dwcp-cli federation controller status --region {}", region.id);
                (format!("region {}", region.id), region.revision, read)
            }),
            Command::SetPolicy(_) => {
                let read = "dwcp-cli federation policy show".to_string();
                Some(("the policy".to_string(), self.policy_revision, read))
            }
            Command::SetFreeze(_) => {
                let read = "dwcp-cli federation freeze".to_string();
                Some(("the freeze switch".to_string(), self.freeze_revision, read))
            }
            Command::ConfigureBackups(_) => {
                let holds = self.backups.plan.as_ref().map_or(Revision(0), |plan| plan.revision);
                let read = "dwcp-cli federation state backup status".to_string();
                Some(("the plan of backups".to_string(), holds, read))
            }
            Command::CancelFailover(id) => {
                let operation = self.failovers.get(id).and_then(|f| self.operations.get(&f.operation));
                operation.map(|op| {
                    let read = format!("dwcp-cli operation show {}", op.id);
                    (format!("operation {}", op.id), op.revision, read)
                })
            }
            Command::RevokeToken(id) => self.tokens.get(id).map(|token| {
                let read = format!("dwcp-cli security token list --user {}", token.user);
                (format!("token {id}"), token.revision, read)
            }),
            Command::CancelWindow(id) => self
                .windows
                .get(id)
                .map(|window| (format!("{id}"), window.revision, "dwcp-cli maintenance list".to_string())),
            _ => None,
        };
        check(envelope, record)
    }
}
