//! The monitor: evaluates rules, opens incidents, tells people, keeps what was promised. The leader of the federation's group does
//! it; what it decides is a document of the federation before anybody is told, so that the next leader goes on there.

pub mod documents;
pub mod incidents;
pub mod sla;

use dwcp_state::DocumentKind;
use dwcp_telemetry::incidents::{Book, Decision, Override, Policy, Role, Schedule};
use dwcp_types::Refusal;
use jiff::tz::TimeZone;

use crate::handle::NodeHandle;
use documents::{Documents, Draft};

/// What comes back so soon after it was resolved is the same incident, ms.
const REOPEN_WITHIN_MS: i64 = 30 * 60_000;

/// What everybody who looks at incidents or changes them shares. Clones are the same monitor.
#[derive(Clone)]
pub struct Monitor {
    pub(crate) node: NodeHandle,
    /// What promises look like as metrics, where they are kept account of.
    pub(crate) promises: sla::series::Exported,
}

impl Monitor {
    /// The monitor of the node behind `node`.
    pub fn new(node: NodeHandle) -> Monitor {
        Monitor { node, promises: sla::series::Exported::default() }
    }

    /// Runs `with` under the policy in force: who is on call, and how it escalates.
    ///
    /// # Errors
    /// A document can't be read.
    fn with_policy<T>(&self, seen: &Documents, with: impl FnOnce(&Policy<'_>) -> T) -> Result<T, Refusal> {
        let overrides = seen.all::<Override>(DocumentKind::OnCall)?;
        let overrides: Vec<Override> = overrides.into_iter().map(|(_, one)| one).collect();
        let schedule = Schedule::new(&[], &overrides);
        let on_call = |role: &Role, at_ms: i64| {
            schedule.as_ref().ok().and_then(|schedule| schedule.on_call(role, at_ms)).map(str::to_owned)
        };
        Ok(with(&Policy {
            reopen_within_ms: REOPEN_WITHIN_MS,
            zone: TimeZone::UTC,
            escalation: vec![Role::Primary, Role::Secondary],
            on_call: &on_call,
        }))
    }

    /// Drafts what follows from decisions: events, and messages to whoever they concern.
    ///
    /// # Errors
    /// A document can't be read or written.
    fn tell(
        &self,
        _seen: &Documents,
        draft: &mut Draft,
        book: &Book,
        decisions: &[Decision],
        _now_ms: i64,
    ) -> Result<(), Refusal> {
        decisions.iter().filter_map(|decision| incidents::event(book, decision)).for_each(|e| draft.event(e));
        Ok(())
    }
}
