//! Applies what begins, becomes of and ends a rebuild of regions' replicas.

use dwcp_types::{Code, OperationId, Refusal};

use crate::apply_core::unknown_region;
use crate::apply_region::{Applied, Stamp, end_operation};
use crate::command::Receipt;
use crate::force_sync::{ForceSync, RebuildStep, SYNCS_KEPT};
use crate::{Core, Operation, OperationKind, OperationState, Severity};

impl Core {
    /// Rebuilds of replicas, oldest first.
    pub fn syncs(&self) -> impl Iterator<Item = (&Operation, &ForceSync)> {
        self.operations.values().filter_map(|operation| match &operation.kind {
            OperationKind::ForceSync(sync) => Some((operation, &**sync)),
            _ => None,
        })
    }

    /// The rebuild that is going on.
    pub fn running_sync(&self) -> Option<(&Operation, &ForceSync)> {
        self.syncs().find(|(operation, _)| operation.state == OperationState::Running)
    }

    pub(crate) fn begin_sync(&mut self, asked: &Operation, stamp: &Stamp<'_>) -> Applied {
        let OperationKind::ForceSync(sync) = &asked.kind else {
            return Err(Refusal::new(Code::WrongState, "this is no rebuild of replicas"));
        };
        if let Some(unknown) =
            [&sync.source].into_iter().chain(&sync.targets).find(|region| !self.regions.contains_key(*region))
        {
            return Err(unknown_region(unknown));
        }
        if sync.targets.is_empty() || sync.targets.contains(&sync.source) {
            let what = format!("{} can't be rebuilt from itself", sync.source);
            return Err(Refusal::new(Code::BadValue, what));
        }
        if let Some((running, of)) = self.running_sync() {
            if (&of.source, &of.targets) == (&sync.source, &sync.targets) {
                return Ok(Receipt { operation: Some(running.id), ..Receipt::default() });
            }
            let what = format!("{} is going on; replicas are rebuilt one region at a time", running.title);
            return Err(Refusal::new(Code::WrongState, what)
                .try_this(format!("dwcp-cli operation watch {}", running.id))
                .try_this(format!("dwcp-cli operation cancel {}", running.id)));
        }
        let operation = Operation { revision: stamp.revision, ..asked.clone() };
        let text = format!("{} begins{}", operation.title, stamp.because());
        self.ledger.note(stamp.event(Severity::Warning, "state.rebuild_started", &sync.source, text));
        let id = operation.id;
        self.operations.insert(id, operation);
        self.trim_syncs();
        Ok(Receipt { operation: Some(id), ..Receipt::default() })
    }

    fn trim_syncs(&mut self) {
        let mut ended: Vec<_> = self
            .syncs()
            .filter(|(operation, _)| operation.state != OperationState::Running)
            .map(|(operation, _)| (operation.ended_at, operation.id))
            .collect();
        ended.sort_unstable();
        let excess = ended.len().saturating_sub(SYNCS_KEPT);
        for (_, id) in ended.into_iter().take(excess) {
            self.operations.remove(&id);
        }
    }

    pub(crate) fn note_sync(&mut self, id: OperationId, news: &RebuildStep, stamp: &Stamp<'_>) -> Applied {
        let operation = self.operations.get_mut(&id).filter(|of| of.state == OperationState::Running);
        let Some(Operation { kind: OperationKind::ForceSync(sync), .. }) = operation else {
            return Err(Refusal::new(Code::WrongState, format!("{id} is no rebuild that is going on")));
        };
        let of = |step: &&mut RebuildStep| (&step.target, step.group) == (&news.target, news.group);
        let Some(step) = sync.steps.iter_mut().find(of) else {
            return Err(Refusal::new(Code::WrongState, format!("{id} has no such step")));
        };
        let before = step.state;
        *step = news.clone();
        if before != news.state {
            let of = |group| self.regions.values().find(|region| region.number == group);
            let part = news.group.map_or("the store file".to_string(), |group| {
                let name = of(group).map_or("the federation", |region| region.id.as_str());
                format!("the group of {name}")
            });
            let text = format!("rebuild of {}, {part}: {:?}{}", news.target, news.state, note_of(news))
                .to_lowercase();
            self.ledger.note(stamp.event(Severity::Info, "state.rebuild_step", &news.target, text));
        }
        Ok(Receipt { operation: Some(id), ..Receipt::default() })
    }

    pub(crate) fn end_sync(
        &mut self,
        id: OperationId,
        state: OperationState,
        result: &str,
        stamp: &Stamp<'_>,
    ) -> Applied {
        let Some((operation, sync)) = self.syncs().find(|(operation, _)| operation.id == id) else {
            return Err(Refusal::new(Code::UnknownOperation, format!("no rebuild {id}")));
        };
        if operation.state == OperationState::Running {
            let text = format!("{} ended: {result}", operation.title);
            let event = stamp.event(Severity::Warning, "state.rebuild_ended", &sync.source, text);
            self.ledger.note(event);
        }
        end_operation(self.operations.get_mut(&id), state, result, stamp)?;
        Ok(Receipt { operation: Some(id), ..Receipt::default() })
    }
}

fn note_of(step: &RebuildStep) -> String {
    if step.note.is_empty() { String::new() } else { format!(" ({})", step.note) }
}
