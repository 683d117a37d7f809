//! The region that is rebuilt: writes its store file anew, and drops its replica of a group to get it from the group's leader.
//!
//! What is asked is asked again until it is done, so a process that restarts in the midst goes on: a replica that was dropped
//! says so on its disk, and what was done before the restart is done once more.

use std::collections::BTreeMap;

use dwcp_consensus::Input as RaftInput;
use dwcp_types::{GroupId, Mono, NodeId, OperationId};

use super::wire::{RebuildAsk, RebuildProgress, RebuildTell};
use super::{Class, Effect, Level, MeshMessage, Node};

/// What is remembered of rebuilds, at most; older ones are forgotten.
const KEPT: usize = 256;

#[derive(Debug, Default)]
struct Replica {
    /// Bytes and place of the snapshot that came.
    snapshot: Option<(u64, u64)>,
    /// Bytes, and entries behind the snapshot.
    whole: Option<(u64, u64)>,
    at: Mono,
}

#[derive(Debug)]
enum File {
    /// The batch that is to be its first has not been made yet.
    Ordered,
    /// This batch is its first.
    Written(u64),
    /// The batch is durable; the file is read back.
    Checked,
}

/// What this node rebuilds of itself.
#[derive(Default)]
pub(super) struct Rebuilds {
    replicas: BTreeMap<(OperationId, GroupId), Replica>,
    file: Option<(OperationId, File)>,
}

impl Node {
    pub(super) fn rebuild_asked(&mut self, from: NodeId, ask: &RebuildAsk) {
        let progress = match ask.group {
            None => self.rebuild_file(ask.operation),
            Some(group) => self.rebuild_replica(ask, group),
        };
        let tell = RebuildTell { operation: ask.operation, group: ask.group, progress };
        if from == self.config.me {
            self.rebuild_told(from, tell);
        } else {
            self.send(from, Class::Operations, &MeshMessage::RebuildTell(tell));
        }
    }

    /// The file is written anew from what this process holds, which its replicas never lost: the disk is written to and not
    /// read while it runs.
    fn rebuild_file(&mut self, operation: OperationId) -> RebuildProgress {
        let working = |what: &str| RebuildProgress::Working(what.to_string());
        match &self.rebuilds.file {
            Some((of, File::Checked)) if *of == operation => {
                let Some(check) = self.store_asked(self.config.me, operation.0) else {
                    return working("the new file is read back");
                };
                match check.flaws.first() {
                    Some((_, flaw)) => {
                        RebuildProgress::Failed(format!("the new file is damaged too: {flaw}"))
                    }
                    None if check.unread.is_empty() => {
                        RebuildProgress::Whole((check.file_bytes, check.records))
                    }
                    None => RebuildProgress::Failed(format!(
                        "the new file could not be read back: {}",
                        check.unread
                    )),
                }
            }
            Some((of, _)) if *of == operation => working("the file is written anew"),
            _ => {
                self.rebuilds.file = Some((operation, File::Ordered));
                self.inbox.push_back(RaftInput::Rewrite);
                self.log(
                    "state-manager",
                    Level::Warning,
                    format!("{operation}: the store file is written anew"),
                );
                working("the file is written anew")
            }
        }
    }

    /// A batch of the consensus goes to the shell: the one after an order to write everything begins the new file.
    pub(super) fn before_batch(&mut self, seq: u64) {
        if let Some((_, file @ File::Ordered)) = &mut self.rebuilds.file {
            *file = File::Written(seq);
            self.out.push(Effect::RenewStore);
        }
    }

    pub(super) fn batch_is_durable(&mut self, seq: u64) {
        if let Some((_, file @ File::Written(_))) = &mut self.rebuilds.file {
            if matches!(file, File::Written(first) if *first <= seq) {
                *file = File::Checked;
            }
        }
    }

    fn rebuild_replica(&mut self, ask: &RebuildAsk, group: GroupId) -> RebuildProgress {
        let key = (ask.operation, group);
        if let Some((bytes, entries)) = self.rebuilds.replicas.get(&key).and_then(|of| of.whole) {
            return RebuildProgress::Whole((bytes, entries));
        }
        let Some(status) = self.raft.status(group) else {
            return RebuildProgress::Failed(format!("there is no replica of group {group} here"));
        };
        if status.damaged {
            self.rebuilds.replicas.entry(key).or_insert(Replica { at: self.now.mono, ..Replica::default() });
            return RebuildProgress::Working("its replica comes from the leader".to_string());
        }
        match status.leader {
            None => RebuildProgress::Working("the group has no leader now".to_string()),
            Some(leader) if !ask.from.contains(&leader) => {
                let Some(to) = ask.from.first().copied() else {
                    return RebuildProgress::Failed(format!("nobody is named who may lead group {group}"));
                };
                if leader == self.config.me {
                    self.yield_to(group, to);
                } else {
                    self.send(leader, Class::Operations, &MeshMessage::Yield((group, to)));
                }
                RebuildProgress::Working("a replica that is sound is to lead the group first".to_string())
            }
            Some(_) => {
                self.forget_old_rebuilds();
                self.rebuilds.replicas.insert(key, Replica { at: self.now.mono, ..Replica::default() });
                self.inbox.push_back(RaftInput::Rebuild { group });
                self.forget_freshness(group);
                let text =
                    format!("{}: the replica of group {group} is dropped and fetched anew", ask.operation);
                self.log("state-manager", Level::Warning, text);
                RebuildProgress::Working("its replica is dropped".to_string())
            }
        }
    }

    fn forget_old_rebuilds(&mut self) {
        let replicas = &mut self.rebuilds.replicas;
        while replicas.len() >= KEPT {
            let oldest = replicas.iter().min_by_key(|(_, replica)| replica.at).map(|(key, _)| *key);
            oldest.and_then(|key| replicas.remove(&key));
        }
    }

    pub(super) fn rebuild_got_snapshot(&mut self, group: GroupId, index: u64, bytes: usize) {
        let open = |((_, of), replica): &(&(OperationId, GroupId), &mut Replica)| {
            *of == group && replica.whole.is_none()
        };
        for (_, replica) in self.rebuilds.replicas.iter_mut().filter(open) {
            replica.snapshot = Some((bytes as u64, index));
        }
    }

    pub(super) fn rebuild_is_whole(&mut self, group: GroupId) {
        let applied = self.raft.status(group).map_or(0, |status| status.applied);
        let open = |((_, of), replica): &(&(OperationId, GroupId), &mut Replica)| {
            *of == group && replica.whole.is_none()
        };
        for (_, replica) in self.rebuilds.replicas.iter_mut().filter(open) {
            let (bytes, index) = replica.snapshot.unwrap_or_default();
            replica.whole = Some((bytes, applied.saturating_sub(index)));
        }
    }

    /// Somebody whose content is to be sent to a replica is to lead its group.
    pub(super) fn yield_to(&mut self, group: GroupId, to: NodeId) {
        if self.leads(group) && to != self.config.me {
            self.inbox.push_back(RaftInput::TransferLeader { group, to });
        }
    }
}
