//! Whether every region holds the same facts, and still has them on its disk.
//!
//! Facts: an entry that changes nothing goes through the log of a group. Every replica takes the digests of its facts when it
//! applies that entry, so all of them speak of the same place of the log whatever is written meanwhile. They are compared part
//! by part ([`Comparison`]). One group after the other, so that no node stands still for more than one group's digests.
//!
//! Disks: every region's shell reads its store back and compares every record with its checksum ([`StoreCheck`]).

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Command, Digest, Envelope, Tree};
use dwcp_types::{Code, GroupId, Mono, NodeId, Refusal, RegionId};

use super::compare::{Comparison, Difference};
use super::store_checks::{StoreCheck, StoreChecks};
use super::wire::{DigestAsk, DigestTell};
use super::{Class, MeshMessage, Node, NodeConfig, Reply};

/// The digests of one group are there and compared within so long, ms.
const GROUP_MS: u64 = 5_000;
/// Everything is there within so long when nobody says otherwise, ms: less than a client waits.
const WITHIN_MS: u64 = 25_000;
/// Who has not answered is asked again after this long, ms.
const AGAIN_MS: u64 = 300;
/// A node that was not heard for so long is away, ms.
const AWAY_MS: u64 = 2_000;
/// A replica that missed the entry, as a snapshot brought it further, gets further ones.
const TRIES: u32 = 3;
/// An entry that is older by the clocks of who sent it and who reads it asks for nothing any more, ms.
const OLD_MS: u64 = 300_000;
/// Digests are kept for so long, ms; of at most so many places.
const KEPT_MS: u64 = 30_000;
const KEPT: usize = 24;

/// What is verified.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// These groups.
    pub groups: Vec<GroupId>,
    /// The stores of these regions.
    pub stores: BTreeSet<NodeId>,
    /// Only what concerns this region is reported.
    pub only: Option<NodeId>,
    /// What is not there by then is reported as missing, ms; 0: the usual time.
    pub within_ms: u64,
}

/// What was found of one region.
#[derive(Clone, Debug, Default)]
pub struct RegionVerdict {
    /// Which.
    pub region: RegionId,
    /// How long it has been silent, ms; 0: it answers.
    pub silent_ms: u64,
    /// Groups whose replica here was compared.
    pub groups: u64,
    /// Records of those.
    pub records: u64,
    /// Stands for all of them.
    pub digest: Digest,
    /// Groups whose replica here differs from the majority.
    pub differs: Vec<GroupId>,
    /// Groups whose replica here could not be compared, and why.
    pub left_out: Vec<(GroupId, String)>,
    /// Its store was to be read back.
    pub store_wanted: bool,
    /// What came of it; none: no answer.
    pub store: Option<StoreCheck>,
}

/// What was found of one group.
#[derive(Clone, Debug, Default)]
pub struct GroupVerdict {
    /// Which.
    pub group: GroupId,
    /// The place of its log at which it was compared; 0: it could not be.
    pub index: u64,
    /// Replicas compared.
    pub compared: u64,
    /// The root of each.
    pub roots: BTreeMap<NodeId, Digest>,
    /// The root that more than half have.
    pub majority: Option<Digest>,
    /// Records that are not the same everywhere.
    pub differences: Vec<Difference>,
    /// More differs than was looked into.
    pub more: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Of each region.
    pub regions: Vec<RegionVerdict>,
    /// Of each group.
    pub groups: Vec<GroupVerdict>,
    /// How long it took, ms.
    pub took_ms: u64,
}

/// One group's part.
#[derive(Debug, Default)]
struct GroupWork {
    group: GroupId,
    number: u64,
    tries: u32,
    began: Mono,
    asked: Option<Mono>,
    index: u64,
    records: BTreeMap<NodeId, u64>,
    left_out: BTreeMap<NodeId, String>,
    comparison: Comparison,
}

#[derive(Debug)]
struct Verify {
    ticket: Option<u64>,
    scope: Scope,
    began: Mono,
    /// Groups whose turn has not come, the next one last.
    groups: Vec<GroupId>,
    work: Option<GroupWork>,
    done: Vec<GroupWork>,
    stores: BTreeMap<NodeId, Option<StoreCheck>>,
    stores_asked: Option<Mono>,
}

/// The digests that this node took at one place of a log.
struct Taken {
    group: GroupId,
    index: u64,
    tree: Tree,
    at: Mono,
}

/// Everything that is being verified, and what this node took for others.
pub(super) struct Verifies {
    open: BTreeMap<u64, Verify>,
    /// Reports that nobody waits for by ticket.
    finished: BTreeMap<u64, VerifyReport>,
    next: u64,
    taken: BTreeMap<u64, Taken>,
    pub(super) checks: StoreChecks,
}

impl Verifies {
    pub(super) fn new(config: &NodeConfig) -> Verifies {
        Verifies {
            open: BTreeMap::new(),
            finished: BTreeMap::new(),
            next: config.first_number(),
            taken: BTreeMap::new(),
            checks: StoreChecks::default(),
        }
    }
}

impl Node {
    /// Verifies everything, or what one region holds.
    pub(super) fn verify_sync(&mut self, ticket: u64, region: Option<&RegionId>, within_ms: u64) {
        let only = match region {
            None => None,
            Some(name) => match self.facts.group_of(name) {
                None => return self.refuse(ticket, super::requests::unknown_region(name)),
                found => found,
            },
        };
        if self.verifies.open.values().filter(|verify| verify.ticket.is_some()).count() >= 4 {
            let refusal = Refusal::new(Code::Overloaded, "four verifications are under way here already");
            return self.refuse(ticket, refusal);
        }
        let all = self.regions.keys().copied();
        let stores = all.filter(|node| only.is_none_or(|wanted| wanted == *node)).collect();
        self.begin_verify(Scope { groups: self.all_groups(), stores, only, within_ms }, Some(ticket));
    }

    pub(super) fn all_groups(&self) -> Vec<GroupId> {
        self.raft.groups().collect()
    }

    /// Begins; its number. Without a ticket the report is fetched with [`Node::verified`].
    pub(super) fn begin_verify(&mut self, mut scope: Scope, ticket: Option<u64>) -> u64 {
        scope.within_ms = if scope.within_ms == 0 { WITHIN_MS } else { scope.within_ms };
        self.verifies.next += 1;
        let number = self.verifies.next;
        let verify = Verify {
            ticket,
            began: self.now.mono,
            groups: scope.groups.iter().rev().copied().collect(),
            work: None,
            done: Vec::new(),
            stores: scope.stores.iter().map(|node| (*node, None)).collect(),
            stores_asked: None,
            scope,
        };
        self.verifies.open.insert(number, verify);
        number
    }

    /// The report of a verification without a ticket; none before it is there. Fetched once.
    pub(super) fn verified(&mut self, number: u64) -> Option<VerifyReport> {
        self.verifies.finished.remove(&number)
    }

    /// Every replica: an entry was applied. One that is read again long after, at a start, is of no use to anybody.
    pub(super) fn note_digest(&mut self, group: GroupId, index: u64, envelope: &Envelope) {
        if let Command::TakeDigest(number) = envelope.command {
            if self.now.wall.0.abs_diff(envelope.at.0) < OLD_MS {
                self.take_digest(group, index, number);
            }
        }
    }

    fn take_digest(&mut self, group: GroupId, index: u64, number: u64) {
        let now = self.now.mono;
        let tree = self.facts.digest_tree(group);
        let taken = &mut self.verifies.taken;
        while taken.len() >= KEPT {
            let oldest = taken.iter().min_by_key(|(_, of)| of.at).map(|(number, _)| *number);
            oldest.and_then(|number| taken.remove(&number));
        }
        // An entry that came twice counts where it came first.
        taken.entry(number).or_insert(Taken { group, index, tree, at: now });
    }

    pub(super) fn run_verifies(&mut self) {
        let now = self.now.mono;
        self.verifies.taken.retain(|_, of| now.ms_since(of.at) < KEPT_MS);
        let numbers: Vec<u64> = self.verifies.open.keys().copied().collect();
        for number in numbers {
            let Some(mut verify) = self.verifies.open.remove(&number) else { continue };
            self.go_on_with_groups(number, &mut verify);
            self.go_on_with_stores(number, &mut verify);
            if !self.verify_is_over(&verify) {
                self.verifies.open.insert(number, verify);
                continue;
            }
            let report = self.verify_report(&verify);
            match verify.ticket {
                Some(ticket) => self.reply(ticket, Reply::Verified(Box::new(report))),
                None => {
                    self.verifies.finished.insert(number, report);
                }
            }
        }
        let newest = self.verifies.next;
        self.verifies.finished.retain(|number, _| number + 64 > newest);
    }

    fn verify_is_over(&self, verify: &Verify) -> bool {
        let late = self.now.mono.ms_since(verify.began) > verify.scope.within_ms;
        let stores = verify.stores.iter().all(|(node, check)| check.is_some() || self.is_away(*node));
        verify.work.is_none() && verify.groups.is_empty() && (stores || late)
    }

    fn is_away(&self, node: NodeId) -> bool {
        let never = self.peers().get(&node).is_some_and(|view| view.beat.is_none());
        node != self.config.me && (never || self.silent_ms(node) > AWAY_MS)
    }

    fn go_on_with_groups(&mut self, number: u64, verify: &mut Verify) {
        let Some(mut work) =
            verify.work.take().or_else(|| verify.groups.pop().map(|of| self.begin_group(of)))
        else {
            return;
        };
        let over = self.now.mono.ms_since(verify.began) > verify.scope.within_ms * 4 / 5;
        self.leave_out_who_is_gone(&mut work, over);
        if work.comparison.is_over() || work.comparison.nodes().is_empty() {
            verify.done.push(work);
            return;
        }
        if work.asked.is_none_or(|asked| self.now.mono >= asked.plus_ms(AGAIN_MS)) {
            work.asked = Some(self.now.mono);
            self.ask_digests(number, &mut work);
        }
        verify.work = Some(work);
    }

    fn begin_group(&mut self, group: GroupId) -> GroupWork {
        let nodes: Vec<NodeId> = self.regions.keys().copied().collect();
        let comparison = Comparison::new(nodes);
        self.verifies.next += 1;
        let number = self.verifies.next;
        // The entry at which the replicas are compared.
        self.tell_again(group, Command::TakeDigest(number));
        GroupWork { group, number, tries: 1, began: self.now.mono, comparison, ..GroupWork::default() }
    }

    fn leave_out_who_is_gone(&mut self, work: &mut GroupWork, over: bool) {
        let late = over || self.now.mono.ms_since(work.began) > GROUP_MS;
        let wanted: BTreeSet<NodeId> = work.comparison.wanted().into_iter().map(|(node, _)| node).collect();
        for node in wanted {
            let why = if self.is_away(node) {
                format!("silent for {} s", self.silent_ms(node) / 1_000)
            } else if late && work.index == 0 {
                "no majority of the group could be reached".to_string()
            } else if late {
                format!("no answer within {} ms", self.now.mono.ms_since(work.began))
            } else {
                continue;
            };
            work.comparison.leave_out(node);
            work.left_out.insert(node, why);
        }
    }

    fn ask_digests(&mut self, verify: u64, work: &mut GroupWork) {
        for (node, path) in work.comparison.wanted() {
            let ask = DigestAsk { verify, number: work.number, group: work.group, path };
            if node == self.config.me {
                let tell = self.tell_digest(&ask);
                if hear_digest(work, node, tell) == News::Missed {
                    return self.missed(work, node);
                }
            } else {
                self.send(node, Class::Operations, &MeshMessage::DigestAsk(ask));
            }
        }
    }

    pub(super) fn digest_asked(&mut self, from: NodeId, ask: &DigestAsk) {
        let tell = self.tell_digest(ask);
        self.send(from, Class::Operations, &MeshMessage::DigestTell(tell));
    }

    fn tell_digest(&self, ask: &DigestAsk) -> DigestTell {
        let status = self.raft.status(ask.group).unwrap_or_default();
        let taken = self.verifies.taken.get(&ask.number).filter(|taken| taken.group == ask.group);
        DigestTell {
            verify: ask.verify,
            number: ask.number,
            path: ask.path.clone(),
            index: taken.map_or(0, |taken| taken.index),
            applied: status.applied,
            damaged: status.damaged,
            records: taken.map_or(0, |taken| taken.tree.records()),
            children: taken.and_then(|taken| taken.tree.children(&ask.path)).unwrap_or_default(),
        }
    }

    pub(super) fn digest_told(&mut self, from: NodeId, tell: DigestTell) {
        let Some(mut verify) = self.verifies.open.remove(&tell.verify) else { return };
        let number = tell.verify;
        if let Some(work) = verify.work.as_mut().filter(|work| work.number == tell.number) {
            match hear_digest(work, from, tell) {
                News::Nothing => {}
                // What differs is asked for at once.
                News::Deeper => work.asked = None,
                News::Missed => self.missed(work, from),
            }
        }
        self.verifies.open.insert(number, verify);
    }

    /// A replica has no digests of the place that the others took them at.
    fn missed(&mut self, work: &mut GroupWork, node: NodeId) {
        if work.tries >= TRIES {
            work.comparison.leave_out(node);
            work.left_out.insert(node, "a snapshot brought it further".to_string());
            return;
        }
        let tries = work.tries + 1;
        *work = GroupWork { tries, ..self.begin_group(work.group) };
    }

    fn go_on_with_stores(&mut self, number: u64, verify: &mut Verify) {
        let due = verify.stores_asked.is_none_or(|asked| self.now.mono >= asked.plus_ms(2 * AGAIN_MS));
        if !due {
            return;
        }
        verify.stores_asked = Some(self.now.mono);
        let open: Vec<NodeId> =
            verify.stores.iter().filter(|(_, check)| check.is_none()).map(|(node, _)| *node).collect();
        for node in open {
            if node == self.config.me {
                verify.stores.insert(node, self.store_asked(node, number));
            } else {
                self.send(node, Class::Operations, &MeshMessage::StoreAsk(number));
            }
        }
    }

    pub(super) fn store_told(&mut self, from: NodeId, number: u64, check: StoreCheck) {
        if let Some(verify) = self.verifies.open.get_mut(&number) {
            if let Some(known) = verify.stores.get_mut(&from) {
                *known = Some(check);
            }
        }
    }

    fn verify_report(&self, verify: &Verify) -> VerifyReport {
        let groups: Vec<GroupVerdict> = verify.done.iter().map(group_verdict).collect();
        let wanted = |node: &NodeId| verify.scope.only.is_none_or(|only| only == *node);
        let nodes = self.regions.iter().filter(|(node, _)| wanted(node));
        let regions = nodes.map(|(node, region)| self.region_verdict(*node, region, verify)).collect();
        VerifyReport { regions, groups, took_ms: self.now.mono.ms_since(verify.began) }
    }

    fn region_verdict(&self, node: NodeId, region: &RegionId, verify: &Verify) -> RegionVerdict {
        let mut verdict = RegionVerdict {
            region: region.clone(),
            silent_ms: if self.is_away(node) { self.silent_ms(node).max(1) } else { 0 },
            store_wanted: verify.stores.contains_key(&node),
            store: verify.stores.get(&node).cloned().flatten(),
            ..RegionVerdict::default()
        };
        let mut roots: Vec<(String, Digest)> = Vec::new();
        for work in &verify.done {
            if let Some(why) = work.left_out.get(&node) {
                verdict.left_out.push((work.group, why.clone()));
            }
            let Some(root) = work.comparison.roots.get(&node) else { continue };
            verdict.groups += 1;
            verdict.records += work.records.get(&node).copied().unwrap_or(0);
            roots.push((work.group.to_string(), *root));
            if work.comparison.majority_root() != Some(*root) {
                verdict.differs.push(work.group);
            }
        }
        verdict.digest = Digest::of_children(roots.iter().map(|(group, root)| (group.as_str(), *root)));
        verdict
    }
}

#[derive(PartialEq, Eq)]
enum News {
    Nothing,
    Deeper,
    Missed,
}

fn hear_digest(work: &mut GroupWork, from: NodeId, tell: DigestTell) -> News {
    if tell.damaged {
        work.comparison.leave_out(from);
        work.left_out.insert(from, "its replica is being repaired".to_string());
        return News::Nothing;
    }
    if tell.index == 0 {
        let missed = work.index > 0 && tell.applied >= work.index;
        return if missed { News::Missed } else { News::Nothing };
    }
    if work.index == 0 {
        work.index = tell.index;
    }
    if tell.index != work.index {
        return News::Missed;
    }
    work.records.insert(from, tell.records);
    let before = work.comparison.wanted().len();
    work.comparison.hear(from, &tell.path, tell.children);
    if work.comparison.wanted().len() > before { News::Deeper } else { News::Nothing }
}

fn group_verdict(work: &GroupWork) -> GroupVerdict {
    GroupVerdict {
        group: work.group,
        index: work.index,
        compared: work.comparison.roots.len() as u64,
        roots: work.comparison.roots.clone(),
        majority: work.comparison.majority_root(),
        differences: work.comparison.differences.clone(),
        more: work.comparison.more,
    }
}
