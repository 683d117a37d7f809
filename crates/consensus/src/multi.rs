//! All groups of a node behind one door.

use crate::{Config, Disk, GroupId, GroupSetup, GroupStatus, Input, Output};

/// The replicas of one node.
pub struct MultiRaft {
    config: Config,
}

/// What was found when a group was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Give this to the state machine first; None when it starts empty. `Apply` goes on behind it.
    pub snapshot: Option<OpenedSnapshot>,
    /// Records were lost; the replica does not vote until it is repaired from a peer. Its state machine starts empty.
    pub damaged: bool,
}

/// The content of the state machine as it was on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSnapshot {
    /// Content as of this index.
    pub index: u64,
    /// Of the entry at `index`.
    pub term: u64,
    /// As given to `Input::Snapshot`.
    pub data: Vec<u8>,
}

/// Why a group could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is open already.
    AlreadyOpen,
    /// The settings contradict themselves; says how.
    BadSetup(String),
}

impl MultiRaft {
    /// A node without groups.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Opens a group from what the disk holds, or as a founding member when it holds nothing of it.
    pub fn open(&mut self, _now_us: u64, _setup: GroupSetup, _door: &dyn Disk) -> Result<Opened, OpenError> {
        Ok(Opened::default())
    }

    /// Takes one input and appends what must be done to `out`.
    pub fn step(&mut self, now_us: u64, input: Input, out: &mut Vec<Output>) {
        self.step_all(now_us, [input], out);
    }

    /// Takes several inputs at once: their writes share one `Persist` and their messages share `Send`s.
    pub fn step_all(
        &mut self,
        _now_us: u64,
        _inputs: impl IntoIterator<Item = Input>,
        _out: &mut Vec<Output>,
    ) {
    }

    /// When to give `Input::Wake`, microseconds on the caller's monotonic clock; None without groups.
    pub fn wake_at_us(&self) -> Option<u64> {
        Some(self.config.tick_us)
    }

    /// What this node knows of a group; None when it does not hold it.
    pub fn status(&self, _group: GroupId) -> Option<GroupStatus> {
        None
    }

    /// How long ago this node last answered a leader other than the one it now knows; never more than the time since
    /// the group was opened. None when it does not hold the group.
    pub fn older_leader_ack_age_us(&self, _group: GroupId, _now_us: u64) -> Option<u64> {
        None
    }

    /// When this node became leader in its current term; None when it does not lead.
    pub fn leader_since_us(&self, _group: GroupId) -> Option<u64> {
        None
    }
}
