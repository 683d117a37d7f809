//! Backups: where they go and how often, what is being made or read, and what is known of each place.

use std::collections::BTreeMap;

use dwcp_types::{Code, OperationId, Refusal, RegionId, Revision, Wall};

use crate::OperationState;

/// How backups are made by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPlan {
    /// Where to: `s3://bucket/prefix` or `file:///folder`.
    pub destination: String,
    /// Between two backups, ms.
    pub interval_ms: u64,
    /// The newest so many are kept in any case.
    pub keep_last: u32,
    /// Those that are no older are kept, ms; 0: only the newest.
    pub keep_within_ms: u64,
    /// File of the key or passphrase at every server; empty: the one that each server's own settings name. Never the key.
    pub key_file: String,
    /// Id of the key, which gives nothing away: a server with another one is refused.
    pub key: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Wall,
    /// The revision at which it was set.
    pub revision: Revision,
}

/// What is done with backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackupTask {
    /// One is made that needs none before it.
    #[default]
    Full,
    /// One is made that stores what has changed since the newest.
    Incremental,
    /// One is read, every byte: this one, or the newest.
    Verify(Option<u64>),
    /// Everything at the destination is read.
    VerifyAll,
}

impl BackupTask {
    /// Whether a backup is made.
    pub fn makes(self) -> bool {
        matches!(self, BackupTask::Full | BackupTask::Incremental)
    }
}

impl std::fmt::Display for BackupTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BackupTask::Full => f.write_str("full backup"),
            BackupTask::Incremental => f.write_str("incremental backup"),
            BackupTask::Verify(None) => f.write_str("verification of the newest backup"),
            BackupTask::Verify(Some(backup)) => write!(f, "verification of backup {backup}"),
            BackupTask::VerifyAll => f.write_str("verification of all backups"),
        }
    }
}

/// A backup that is made or verified, or was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupRun {
    /// Its number.
    pub id: u64,
    /// What is done.
    pub task: BackupTask,
    /// Where: as in the plan, or another place that was named.
    pub destination: String,
    /// The server that does it; none: the one that leads the federation's group.
    pub at: Option<RegionId>,
    /// Who asked; `dwcp` when it was due.
    pub by: String,
    /// When.
    pub asked_at: Wall,
    /// When it ended.
    pub ended_at: Option<Wall>,
    /// The operation that stands for it.
    pub operation: OperationId,
    /// How far it is.
    pub state: OperationState,
    /// The backup that was made or read.
    pub backup: Option<u64>,
    /// What came of it, or why nothing did.
    pub result: String,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupEnd {
    /// Which.
    pub run: u64,
    /// Done or failed.
    pub state: OperationState,
    /// In words.
    pub result: String,
    /// The backup that was made or read.
    pub backup: Option<BackupMark>,
    /// It was read as a whole and is whole.
    pub verified: bool,
    /// Objects at the destination are not as they were written.
    pub damaged: bool,
    /// The newest entry of the chain: its number and digest, as the repository prints it. Empty: not known.
    pub head: String,
    /// The number of that entry.
    pub head_number: u64,
}

/// A backup, and the time that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupMark {
    /// Its number in its chain.
    pub number: u64,
    /// When its facts were taken.
    pub at: Wall,
}

/// What is known of a destination, kept apart from it: with this it is found when it shows an older state of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPlace {
    /// The newest entry of the chain that was seen, as the repository prints it.
    pub head: String,
    /// Its number.
    pub head_number: u64,
    /// The newest backup.
    pub newest: Option<BackupMark>,
    /// The newest backup that was read as a whole and was whole.
    pub verified: Option<BackupMark>,
    /// When that was.
    pub verified_at: Wall,
    /// When it was last used.
    pub used_at: Wall,
}

/// Backups of the federation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// How they are made by themselves; none: they are not.
    pub plan: Option<BackupPlan>,
    /// Runs, by number.
    pub runs: BTreeMap<u64, BackupRun>,
    /// Runs numbered so far.
    pub numbered: u64,
    /// What is known of each destination.
    pub places: BTreeMap<String, BackupPlace>,
    /// It was told that (the newest backup, the newest verified one) is older than it may be.
    pub late: (bool, bool),
}

impl Backups {
    /// Nothing says where backups go.
    pub fn not_planned() -> Refusal {
        Refusal::new(Code::BackupsNotConfigured, "no backups are planned").try_this(
            "dwcp-cli federation state backup configure --interval 5m --retention 30d --destination s3://BUCKET/PREFIX",
        )
    }

    /// Runs kept.
    pub const RUNS_KEPT: usize = 100;
    /// Destinations that are remembered.
    pub const PLACES_KEPT: usize = 100;
    /// A run that its server has not ended by then has failed, ms.
    pub const RUN_LIMIT_MS: u64 = 86_400_000;
    /// What failed once is tried again after, ms.
    pub const AGAIN_MS: u64 = 30_000;
    /// Between two backups at least and at most, ms.
    pub const INTERVAL_MS: (u64, u64) = (60_000, 31 * 86_400_000);

    /// The place of the plan.
    pub fn place(&self) -> Option<&BackupPlace> {
        self.places.get(&self.plan.as_ref()?.destination)
    }

    /// Runs that have not ended.
    pub fn open(&self) -> impl Iterator<Item = &BackupRun> {
        self.runs.values().filter(|run| run.state == OperationState::Running)
    }

    /// When the next backup is due; none without a plan. One that failed is tried again after half a minute, and after twice as
    /// long each time that it fails again, but never later than the plan says.
    pub fn due_at(&self) -> Option<Wall> {
        let plan = self.plan.as_ref()?;
        let of_plan = |run: &&BackupRun| run.task.makes() && run.destination == plan.destination;
        let mut newest_first =
            self.runs.values().rev().filter(of_plan).take_while(|run| run.asked_at >= plan.at).peekable();
        let Some(last) = newest_first.peek().copied() else { return Some(plan.at) };
        let planned = Wall(last.asked_at.0.saturating_add(plan.interval_ms));
        let failed = newest_first.take_while(|run| run.state == OperationState::Failed).count() as u32;
        if failed == 0 {
            return Some(planned);
        }
        let wait_ms = Backups::AGAIN_MS.saturating_mul(1 << (failed - 1).min(20));
        let ended_at = last.ended_at.unwrap_or(last.asked_at);
        Some(planned.min(Wall(ended_at.0.saturating_add(wait_ms))))
    }

    /// Whether (the newest backup, the newest verified one) is older than twice the interval. Before the first one, the plan
    /// must be so old.
    pub fn late_at(&self, now: Wall) -> (bool, bool) {
        let Some(plan) = &self.plan else { return (false, false) };
        let late = |mark: Option<BackupMark>| {
            let since = mark.map_or(plan.at, |mark| mark.at.max(plan.at));
            now.ms_since(since) > plan.interval_ms.saturating_mul(2)
        };
        let place = self.place();
        (late(place.and_then(|place| place.newest)), late(place.and_then(|place| place.verified)))
    }
}
