//! A VM that moves while it runs: what its own region keeps of it, and what the region it moves to.
//!
//! The argument why exactly one of the two hosts runs it is in `docs/decisions/2026-11-25-live-migration.md`.

use dwcp_types::{Generation, HostId, MigrationId, OperationId, Priority, RegionId, VmId, Wall};

use crate::Vm;

/// How a VM moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It goes on running while its memory and its disk are copied.
    #[default]
    Live,
    /// It is stopped here and booted there.
    Cold,
}

impl Mode {
    /// `live` or `cold`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Cold => "cold",
        }
    }
}

/// How far a migration is, or how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationState {
    /// Waits for its turn.
    #[default]
    Queued,
    /// Its target is being made ready, or it is being copied.
    Running,
    /// The VM runs at its target.
    Done,
    /// It could not be done; the VM is where it was.
    Failed,
    /// It was called off; the VM is where it was.
    Cancelled,
    /// Its host was lost when everything had been copied: the VM is its target's, where it goes on.
    TakenOver,
    /// Its host was lost before everything had been copied: its target has given it up, and it is brought back like any other
    /// VM of a lost host.
    Lost,
}

impl MigrationState {
    /// In one word, as people read it.
    pub fn name(self) -> &'static str {
        match self {
            MigrationState::Queued => "queued",
            MigrationState::Running => "running",
            MigrationState::Done => "done",
            MigrationState::Failed => "failed",
            MigrationState::Cancelled => "cancelled",
            MigrationState::TakenOver => "taken-over",
            MigrationState::Lost => "lost",
        }
    }
}

/// Why a migration is to end without its VM having moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopping {
    /// Failed or cancelled.
    pub state: MigrationState,
    /// Why.
    pub reason: String,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMigration {
    /// Names it.
    pub id: MigrationId,
    /// Which VM.
    pub vm: VmId,
    /// The region it is to run in.
    pub to: RegionId,
    /// The host that was planned there; none: that region chooses.
    pub host: Option<HostId>,
    /// How.
    pub mode: Mode,
    /// Longest time that the guest may stand still at the switch, ms.
    pub max_downtime_ms: u64,
    /// Why there, or how it is to be copied, in words.
    pub reason: String,
}

/// Where the VM goes, once its target has made room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// The host.
    pub host: HostId,
    /// Where its agent takes the copy, `ip:port`; empty when it needs none.
    pub endpoint: String,
    /// Most bytes a second that the copy may send.
    pub rate_bytes_per_s: u64,
}

/// What the copying took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Bytes sent.
    pub bytes: u64,
    /// From the start of the copy to the guest's stop, ms.
    pub copy_ms: u64,
    /// How long the guest stood still, as its hypervisor says, ms.
    pub downtime_ms: u64,
}

/// A migration, in the facts of the region that the VM leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// Names it.
    pub id: MigrationId,
    /// Which VM.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// How much it matters: the order of the queue.
    pub priority: Priority,
    /// The host it leaves.
    pub from_host: HostId,
    /// The region it is to run in.
    pub to: RegionId,
    /// The host that was planned there.
    pub host: Option<HostId>,
    /// How.
    pub mode: Mode,
    /// Longest time that the guest may stand still, ms.
    pub max_downtime_ms: u64,
    /// The generation it will have there, and nowhere else. Nothing until it has started.
    pub generation: Generation,
    /// Where it goes; none until the target has made room.
    pub aim: Option<Aim>,
    /// The operation that asked for it.
    pub operation: OperationId,
    /// How far it is, or how it ended.
    pub state: MigrationState,
    /// It is to end without the VM having moved, as soon as its host says so.
    pub stopping: Option<Stopping>,
    /// When it was asked for.
    pub asked_at: Wall,
    /// When it was started.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub ended_at: Option<Wall>,
    /// Why there; once ended: how it ended.
    pub reason: String,
    /// What the copying took.
    pub took: Took,
}

/// A VM that is expected, in the facts of the region it moves to. Its room is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The record as it is there, with the host chosen here and the generation it will have here.
    pub vm: Vm,
    /// The migration.
    pub migration: MigrationId,
    /// The region it comes from.
    pub from: RegionId,
    /// The host it comes from.
    pub from_host: HostId,
    /// How it comes.
    pub mode: Mode,
    /// When room was made.
    pub at: Wall,
    /// It does not come: its host is to end what it made ready.
    pub withdrawn: bool,
    /// Its host says that everything of it is there. Noted for good: from then on only its own region can say that it does not
    /// come.
    pub whole: bool,
    /// The host it comes from is lost: unless everything is there by then, its host here ends what it made ready.
    pub settling: bool,
}

impl Migration {
    /// Ended migrations that are kept.
    pub const KEPT: usize = 5_000;
}
