//! Regions' replicas that are rebuilt from another region's: what is done and what is left, as a record.

use dwcp_types::{GroupId, RegionId};

/// How far one step of a rebuild is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RebuildState {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// It is being rebuilt.
    Running,
    /// It is rebuilt, and equal to the source.
    Equal,
    /// It could not be rebuilt, or is not equal.
    Failed,
}

/// One step: the store file of a region, or its replica of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildStep {
    /// The region that is rebuilt.
    pub target: RegionId,
    /// The group; none: the store file that holds all of them.
    pub group: Option<GroupId>,
    /// How far it is.
    pub state: RebuildState,
    /// Bytes of the snapshot that was sent, or of the file that was written.
    pub bytes: u64,
    /// Entries of the log that came behind the snapshot, or records read back from the file.
    pub entries: u64,
    /// The digest that both have, or why it failed.
    pub note: String,
}

/// A rebuild of regions' replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForceSync {
    /// The region that they are made equal to.
    pub source: RegionId,
    /// The regions that are rebuilt, one after the other.
    pub targets: Vec<RegionId>,
    /// Every step, in order.
    pub steps: Vec<RebuildStep>,
}

impl ForceSync {
    /// All steps: of each target first its store file, then its replica of each group.
    pub fn new(source: RegionId, targets: Vec<RegionId>, groups: &[GroupId]) -> ForceSync {
        let parts: Vec<Option<GroupId>> =
            std::iter::once(None).chain(groups.iter().copied().map(Some)).collect();
        let step = |target: &RegionId, group: &Option<GroupId>| RebuildStep {
            target: target.clone(),
            group: *group,
            ..RebuildStep::default()
        };
        let steps = targets.iter().flat_map(|target| parts.iter().map(move |group| step(target, group)));
        let steps = steps.collect();
        ForceSync { source, targets, steps }
    }

    /// The step whose turn it is; none when all are done or one failed.
    pub fn next(&self) -> Option<&RebuildStep> {
        let open = self.steps.iter().find(|step| step.state != RebuildState::Equal);
        open.filter(|step| step.state != RebuildState::Failed)
    }
}

/// Rebuilds that ended and are kept.
pub(crate) const SYNCS_KEPT: usize = 50;
