//! The monitor: evaluates rules, opens incidents, tells people, keeps what was promised. The leader of the federation's group does
//! it; what it decides is a document of the federation before anybody is told, so that the next leader goes on there.

pub mod alerts;
pub mod attacks;
pub mod documents;
pub mod evaluate;
pub mod glance;
pub mod heartbeat;
pub mod incidents;
pub mod outbox;
mod publish;
pub mod round;
pub mod rules;
pub mod settings;
pub mod silences;
pub mod sla;

use std::sync::{Arc, PoisonError, RwLock};

use dwcp_config::region::RegionConfig;
use dwcp_state::DocumentKind;
use dwcp_telemetry::incidents::{Layer, Override, Policy, Role, Schedule};
use dwcp_telemetry::notify::Settings;
use dwcp_types::Refusal;
use jiff::tz::TimeZone;

use crate::handle::NodeHandle;
use documents::Documents;
use glance::Glances;
use heartbeat::Pulse;
use rules::Rules;

/// What comes back so soon after it was resolved is the same incident, ms.
const REOPEN_WITHIN_MS: i64 = 30 * 60_000;

/// What everybody who looks at incidents or changes them shares. Clones are the same monitor.
#[derive(Clone)]
pub struct Monitor {
    pub(crate) node: NodeHandle,
    /// What promises look like as metrics, where they are kept account of.
    pub(crate) promises: sla::series::Exported,
    pub(crate) rules: Rules,
    /// Incidents as the status of the federation needs them.
    pub(crate) glances: Glances,
    /// Whether this node's rounds go well.
    pub(crate) pulse: Pulse,
    /// The federation's name.
    pub(crate) federation: Arc<str>,
    settings: Arc<RwLock<Arc<Settings>>>,
}

impl Monitor {
    /// The monitor of the node behind `node`.
    pub fn new(node: NodeHandle, config: &RegionConfig) -> Monitor {
        Monitor {
            node,
            rules: Rules::new(&config.monitoring),
            glances: Glances::default(),
            pulse: Pulse::default(),
            federation: config.federation.as_str().into(),
            settings: Arc::default(),
            promises: sla::series::Exported::default(),
        }
    }

    /// Who is told what, as this region's file says.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Runs `with` under the policy in force: who is on call, and how it escalates.
    ///
    /// # Errors
    /// A document can't be read.
    fn with_policy<T>(&self, seen: &Documents, with: impl FnOnce(&Policy<'_>) -> T) -> Result<T, Refusal> {
        let settings = self.settings();
        let schedule = self.schedule(seen)?;
        let on_call = |role: &Role, at_ms: i64| match role {
            Role::Person(name) => Some(name.clone()),
            role => schedule.as_ref().ok().and_then(|all| all.on_call(role, at_ms)).map(str::to_owned),
        };
        let escalation = match settings.escalation.as_slice() {
            [] => vec![Role::Primary, Role::Secondary],
            roles => roles.to_vec(),
        };
        Ok(with(&Policy {
            reopen_within_ms: REOPEN_WITHIN_MS,
            zone: TimeZone::get(&settings.business_zone).unwrap_or(TimeZone::UTC),
            escalation,
            on_call: &on_call,
        }))
    }

    /// Who is on call by rotation.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        self.settings().layers.clone()
    }

    /// Who is on call, by rotation and by who stands in; or what is wrong with that.
    ///
    /// # Errors
    /// A document can't be read.
    pub(crate) fn schedule(&self, seen: &Documents) -> Result<Result<Schedule, Vec<String>>, Refusal> {
        let overrides = seen.all::<Override>(DocumentKind::OnCall)?;
        let overrides: Vec<Override> = overrides.into_iter().map(|(_, one)| one).collect();
        Ok(Schedule::new(&self.layers(), &overrides))
    }
}
