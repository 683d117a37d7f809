//! Carrying out what the Raft crate decided: writes first, then what may only be said once they are durable.

use super::{Group, Held};
use crate::log::Log;
use crate::records::{self, Hard};
use crate::turn::Turn;
use crate::wire::Frame;
use crate::{NodeId, Output};
use raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};
use raft::{Ready, Storage};

impl Group {
    /// Goes on until the Raft crate has nothing more to do without outside help.
    pub fn settle(&mut self, turn: &mut Turn) {
        self.watch_transfer();
        loop {
            while self.raft.has_ready() {
                self.carry_out(turn);
            }
            self.tick_repaired(turn);
            self.ask_reads(turn);
            self.conclude_commit(turn.config);
            if !self.raft.has_ready() {
                break;
            }
        }
        self.write_hard(turn);
        self.tell_holds(turn);
        self.answer_reads(turn);
        self.tell_leader(turn);
        self.want_snapshot(turn);
    }

    fn carry_out(&mut self, turn: &mut Turn) {
        let mut ready = self.raft.ready();
        let number = ready.number();
        let installed = self.take_over_snapshot(turn, ready.snapshot().clone());
        let entries = ready.take_entries();
        self.stage_entries(turn, &entries);
        if let Some(hard) = ready.hs()
            && ready.must_sync()
            && (hard.term, hard.vote) != (self.voted.0, self.voted.1)
        {
            self.voted = (hard.term, hard.vote);
            self.vote_seq = turn.next_seq;
        }
        if ready.must_sync() {
            self.must_write = true;
            self.write_seq = turn.next_seq;
        }
        for state in ready.take_read_states() {
            if let Some((term, began_us)) = self.reads.confirmed(&state.request_ctx, state.index) {
                self.lease.confirm(term, began_us);
            }
        }
        let immediate = ready.take_messages();
        let later = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.advance(ready);
        // A leader may send before it has written, as its followers' copies count as much as its own. Not so its term:
        // a lone voter that forgets it would lead the same term twice.
        let since = self.ticks;
        let at_once = Held { seq: self.vote_seq, since, ready: None, installed: 0, messages: immediate };
        self.hold_or_post(turn, at_once);
        let written = Held { seq: self.write_seq, since, ready: Some(number), installed, messages: later };
        self.hold_or_post(turn, written);
        self.apply(turn, committed);
    }

    fn advance(&mut self, ready: Ready) {
        self.raft.advance_append_async(ready);
    }

    fn hold_or_post(&mut self, turn: &mut Turn, mut held: Held) {
        // First in, first out: what is held before holds back what comes after.
        let behind = self.held.back().map_or(0, |last| last.seq);
        if held.ready.is_some() {
            held.seq = held.seq.max(behind);
        }
        if turn.durable(held.seq) {
            self.release(turn, held);
        } else {
            held.seq = held.seq.max(behind);
            self.held.push_back(held);
        }
    }

    /// Batches up to `turn.persisted_seq` are durable.
    pub fn persisted(&mut self, turn: &mut Turn) {
        while let Some(held) = self.held.pop_front_if(|held| turn.durable(held.seq)) {
            self.release(turn, held);
        }
    }

    fn release(&mut self, turn: &mut Turn, held: Held) {
        if let Some(number) = held.ready {
            self.raft.on_persist_ready(number);
        }
        let log = &self.raft.raft.raft_log;
        if held.installed > log.applied && held.installed <= log.persisted {
            self.raft.advance_apply_to(held.installed);
        }
        for message in held.messages {
            self.post(turn, message);
        }
    }

    fn post(&mut self, turn: &mut Turn, mut message: Message) {
        self.name_candidacy(&mut message);
        if matches!(message.msg_type, MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse) {
            self.fence.answer(turn.now_us, (message.term, message.to), self.raft.raft.leader_id);
        }
        let to: NodeId = message.to;
        turn.post(to, self.id, &Frame::Raft(Box::new(message)));
    }

    fn stage_entries(&mut self, turn: &mut Turn, entries: &[Entry]) {
        let Some(newest) = entries.last() else { return };
        let last_before = self.raft.mut_store().append(entries);
        if last_before > newest.index {
            turn.stage.delete_range(records::entries_from(self.id, newest.index + 1));
        }
        for entry in entries {
            let key = records::entry_key(self.id, entry.index);
            let value = records::encode_entry(&key, entry);
            turn.stage.put(key, value);
        }
    }

    fn take_over_snapshot(&mut self, turn: &mut Turn, snapshot: Snapshot) -> u64 {
        if snapshot.is_empty() {
            return 0;
        }
        self.raft.mut_store().restore(&snapshot);
        self.members_at.clear();
        turn.stage.delete_range(records::entries_from(self.id, 0));
        self.stage_snapshot(turn);
        let metadata = snapshot.get_metadata();
        turn.out.push(Output::InstallSnapshot {
            group: self.id,
            index: metadata.index,
            term: metadata.term,
            data: snapshot.data.to_vec(),
        });
        self.tell_members(turn, metadata.index);
        self.snapshot_installed();
        metadata.index
    }

    fn apply(&mut self, turn: &mut Turn, committed: Vec<Entry>) {
        let Some(newest) = committed.last().map(|entry| entry.index) else { return };
        for entry in committed {
            match entry.entry_type {
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => turn.out.push(Output::Apply {
                    group: self.id,
                    index: entry.index,
                    term: entry.term,
                    data: entry.data.to_vec(),
                }),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.change_members(turn, &entry)
                }
            }
        }
        self.raft.advance_apply_to(newest);
        self.step_down_when_removed();
    }

    pub(super) fn stage_snapshot(&mut self, turn: &mut Turn) {
        let key = records::snapshot_key(self.id);
        let value = records::encode_snapshot(&key, self.log().snapshot_record());
        turn.stage.put(key, value);
        self.must_write = true;
        self.write_seq = turn.next_seq;
    }

    /// The hard state goes into every batch that holds anything of the group: it names the last entry.
    fn write_hard(&mut self, turn: &mut Turn) {
        if !std::mem::take(&mut self.must_write) {
            return;
        }
        self.write_seq = turn.next_seq;
        let raft = &self.raft.raft;
        let log: &Log = raft.store();
        let hard = Hard {
            boot: self.boot,
            term: raft.term,
            vote: raft.vote,
            commit: raft.raft_log.committed.min(log.last()),
            last_index: log.last(),
            last_term: log.last_term(),
            snapshot: log.snapshot_record().index,
        };
        for key in records::hard_keys(self.id) {
            let value = records::encode_hard(&key, &hard);
            turn.stage.put(key, value);
        }
    }

    /// The content of the state machine that the caller was asked for.
    pub fn take_snapshot(&mut self, turn: &mut Turn, index: u64, data: Vec<u8>) {
        if index > self.applied() {
            return;
        }
        let snapshot = self.log().snapshot_record();
        let newest = self.members_at.range(..=index).next_back().map(|(_, members)| members.clone());
        let members = newest.unwrap_or_else(|| snapshot.members.clone());
        let before = self.log().first() - 1;
        let keep = turn.config.keep_entries;
        if self.raft.mut_store().compact(index, members, data, keep).is_none() {
            return;
        }
        self.asked_snapshot = None;
        self.members_at = self.members_at.split_off(&(index + 1));
        let first = self.log().first();
        if first > before + 1 {
            let from = records::entry_key(self.id, 0);
            turn.stage.delete_range((from, records::entry_key(self.id, first)));
        }
        self.stage_snapshot(turn);
    }

    fn want_snapshot(&mut self, turn: &mut Turn) {
        let peer_wants = self.log().take_wanted();
        let index = self.applied();
        let grown = index.saturating_sub(self.snapshot().index);
        if index <= self.snapshot().index || !(peer_wants || grown >= turn.config.snapshot_every_entries) {
            return;
        }
        let again = u64::from(turn.config.snapshot_retry_ticks);
        if self.asked_snapshot.is_none_or(|asked| self.ticks >= asked + again) {
            self.asked_snapshot = Some(self.ticks);
            turn.out.push(Output::WantSnapshot { group: self.id, index });
        }
    }

    fn tell_leader(&mut self, turn: &mut Turn) {
        let now = (self.raft.raft.leader_id, self.term());
        if !self.leads() {
            self.leader_since = None;
        } else if self.leader_since.is_none_or(|(term, _)| term != now.1) {
            self.leader_since = Some((now.1, turn.now_us));
            self.home.became_leader(self.ticks);
            self.reign_began = self.ticks;
            self.heard.clear();
        }
        if self.told != now {
            self.told = now;
            turn.out.push(Output::Leader { group: self.id, leader: self.leader(), term: now.1 });
        }
    }

    /// Whether the disk still owes this group something.
    pub(super) fn unsettled(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        !self.held.is_empty() || log.persisted < log.store.last_index().unwrap_or(u64::MAX)
    }
}
