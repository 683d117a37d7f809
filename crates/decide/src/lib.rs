//! Placement, failover and health as pure functions: a snapshot in, a plan and its report out.
//!
//! Nothing here reads a clock, draws randomness or keeps a thread. The same facts and measurements give the same answer in
//! every replica: ties go to the higher score, then to the region of higher priority, then to the smaller id. What is
//! decided here is only a proposal: `apply` checks it again at the position of the log where it takes effect.

pub mod ddos;
mod expansion;
mod failover;
mod health;
mod host_loss;
mod index;
mod loss;
mod measured;
mod members;
mod migrate;
mod place;
mod planner;
mod promises;
mod rebalance;
mod refuse;
mod region_rules;
mod relations;
mod replica;
mod report;
mod reservations;
pub mod route;
mod score;
mod search;
mod seen;
mod shaky;
pub mod sla;
mod suggest;
mod survivability;
mod typed;
mod wire;
mod workers;

pub use expansion::{
    Candidate, Catalogue, CostAnalysis, CostLine, Factor, Figure, WORTH_PERCENT, cost_analysis, evaluate,
};
pub use failover::{FailoverLimits, FailoverPlan, PlannedMove, plan_failover};
pub use health::{Deduction, HealthInputs, HealthScore, HealthState, health};
pub use host_loss::{HostLossPlan, plan_host_loss};
pub use index::{CacheStats, PlaceIndex};
pub use loss::{LossVerdict, LossView, ReturnVerdict, regions_to_declare_lost, regions_to_return};
pub use measured::Measured;
pub use members::{FEWEST, Members, MembersStep, MembersView, VOTERS, next_members};
pub use migrate::{MigrationLimits, next_migrations};
pub use place::{PlaceRequest, Placement, fits, place};
pub use promises::{BootTime, BootTimes, Promises, RegionPromise, Step, Timings, promises};
pub use rebalance::{Rebalance, RebalanceMove, RebalancePlan, plan_rebalance};
pub use replica::{ReplicaPlace, ReplicaVerdict, place_replica, replica_host};
pub use report::{HostVerdict, PlaceReport, Reason, ReasonKind, RegionVerdict, ScoreParts, Suggestion};
pub use reservations::Reservations;
pub use shaky::{Observed, STEADY_MS, shaky_regions};
pub use survivability::{Goes, Loss, Losses, Unplaced, relocate, survivability, warnings};
pub use workers::{Serial, Workers};
