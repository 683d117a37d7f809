//! What people decided about how DWCP decides.

/// The switch that stops DWCP from acting; each level includes the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freeze {
    /// Everything acts.
    #[default]
    Active,
    /// No moves and no failovers.
    NoMoves,
    /// No change of VMs at all.
    Frozen,
}

impl std::fmt::Display for Freeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Freeze::Active => "active",
            Freeze::NoMoves => "no-moves",
            Freeze::Frozen => "frozen",
        })
    }
}

/// A named set of placement weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Latency .30, cost .25, free capacity .20, health .15, priority .10.
    #[default]
    Balanced,
    /// Nearest to users.
    Latency,
    /// Cheapest.
    Cost,
    /// Fullest host first, memory before the rest, hosts in use before empty ones: keeps hosts empty for large VMs.
    Pack,
    /// Emptiest host first.
    Spread,
    /// The policy's own weights.
    Custom,
}

/// Placement weights in hundredths; they need not add up to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Round trip to where users are.
    pub latency: u32,
    /// Price.
    pub cost: u32,
    /// Free capacity; with `pack`, the lack of it.
    pub capacity: u32,
    /// Region health.
    pub health: u32,
    /// Region priority.
    pub priority: u32,
    /// Prefer full hosts to empty ones.
    pub pack: bool,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { latency: 30, cost: 25, capacity: 20, health: 15, priority: 10, pack: false }
    }
}

impl Profile {
    /// The weights of a profile.
    pub fn weights(self, custom: Weights) -> Weights {
        let balanced = Weights::default();
        match self {
            Profile::Balanced => balanced,
            Profile::Latency => {
                Weights { latency: 80, cost: 5, capacity: 5, health: 5, priority: 5, pack: false }
            }
            Profile::Cost => {
                Weights { latency: 5, cost: 80, capacity: 5, health: 5, priority: 5, pack: false }
            }
            Profile::Pack => {
                Weights { latency: 10, cost: 10, capacity: 65, health: 10, priority: 5, pack: true }
            }
            Profile::Spread => {
                Weights { latency: 10, cost: 10, capacity: 65, health: 10, priority: 5, pack: false }
            }
            Profile::Custom => custom,
        }
    }
}

/// The federation's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fail regions over without asking.
    pub auto_failover: bool,
    /// A region counts as lost after a majority has not heard of it for so long, in milliseconds.
    pub loss_after_ms: u64,
    /// A region that came back must be heard for so long before it counts as returned, in milliseconds.
    pub return_after_ms: u64,
    /// Automatic failovers an hour, over all regions.
    pub failovers_per_hour: u32,
    /// Virtual CPUs that may be placed for each real one, in percent.
    pub cpu_overcommit_percent: u32,
    /// Memory that may be placed, in percent of what is there.
    pub memory_overcommit_percent: u32,
    /// Which placement weights.
    pub profile: Profile,
    /// The weights of `Profile::Custom`.
    pub weights: Weights,
    /// How long the tables of candidate hosts that placement works on may be kept, in milliseconds; 0: none is kept from one
    /// decision to the next. Kept ones follow what changes; when older than this they are made anew all the same.
    pub placement_cache_ttl_ms: u64,
    /// Look at many regions and hosts on several threads when one decision has to. What is decided is the same.
    pub parallel_scoring: bool,
    /// VMs that move at once from one region to one other, or within one.
    pub migrations_per_link: u32,
    /// VMs that leave one host at once.
    pub migrations_per_host: u32,
    /// What one VM's copy may send, Mbit/s.
    pub migration_mbit_per_s: u32,
    /// From when a region dies until the last of its VMs answers elsewhere, as promised, ms. Nothing acts on it; what the
    /// federation could keep is compared with it.
    pub rto_target_ms: u64,
    /// Workers of the replication; 0: as many as the product's setting. See [`Policy::append_messages`].
    pub replication_workers: u32,
    /// Frames between regions go as they are, and not compressed.
    pub plain_frames: bool,
    /// Between two tellings of soft state, ms; 0: it is told with every beat.
    pub soft_state_every_ms: u64,
}

impl Policy {
    /// Workers when nobody has said how many.
    pub const WORKERS: u32 = 8;
    /// Most workers that may be set.
    pub const MOST_WORKERS: u32 = 64;
    /// What one worker has under way to each replica, in append messages.
    pub const MESSAGES_A_WORKER: u32 = 32;

    /// Workers in force.
    pub fn workers(&self) -> u32 {
        if self.replication_workers == 0 { Policy::WORKERS } else { self.replication_workers }
    }

    /// Append messages that may be under way from a leader to each replica before the first is answered.
    pub fn append_messages(&self) -> u32 {
        self.workers().saturating_mul(Policy::MESSAGES_A_WORKER)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            auto_failover: true,
            loss_after_ms: 2_500,
            return_after_ms: 5_000,
            failovers_per_hour: 6,
            cpu_overcommit_percent: 400,
            memory_overcommit_percent: 100,
            profile: Profile::Balanced,
            weights: Weights::default(),
            placement_cache_ttl_ms: 300_000,
            parallel_scoring: false,
            migrations_per_link: 4,
            migrations_per_host: 2,
            migration_mbit_per_s: 1_000,
            rto_target_ms: 30_000,
            replication_workers: 0,
            plain_frames: false,
            soft_state_every_ms: 0,
        }
    }
}
