//! Misfortune, and its end.

use std::collections::BTreeSet;

use dwcp_types::{GroupId, NodeId};

use crate::options::FaultMix;
use crate::world::{Event, World};

/// Something that goes wrong, or is repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next misfortune is drawn.
    Draw,
    /// A node's process is killed.
    KillNode(NodeId),
    /// A node's process is started.
    StartNode(NodeId),
    /// A node stands still, µs.
    PauseNode(NodeId, u64),
    /// A host loses power.
    KillHost(usize),
    /// A host is switched on.
    StartHost(usize),
    /// An agent's process is killed.
    KillAgent(usize),
    /// An agent's process is started.
    StartAgent(usize),
    /// An agent stands still, µs.
    PauseAgent(usize, u64),
    /// A host's monotonic clock jumps ahead by so much, µs.
    JumpClock(usize, u64),
    /// Some VM of a host dies.
    KillVm(usize),
    /// A region is cut off, both ways.
    CutRegion(NodeId),
    /// A region's links are whole again.
    HealRegion(NodeId),
    /// One direction is cut.
    CutLink(NodeId, NodeId),
    /// One direction is whole again.
    HealLink(NodeId, NodeId),
    /// These directions are cut.
    CutLinks(Vec<(NodeId, NodeId)>),
    /// These directions are whole again.
    HealLinks(Vec<(NodeId, NodeId)>),
    /// Everything of a region dies.
    KillRegion(NodeId),
    /// Everything of a region is started.
    StartRegion(NodeId),
    /// Frames are lost, per thousand.
    Loss(u64),
    /// A disk takes so long, µs.
    SlowDisk(NodeId, u64),
    /// A bit flips on the disk of a node, which is killed before and started after.
    RotDisk(NodeId),
    /// A bit flips on the disk of a node that goes on.
    RotUnseen(NodeId),
    /// What a node holds in memory of a region's group rots.
    RotFacts(NodeId, NodeId),
    /// The disk of a node that is dead is replaced by an empty one, and the node started.
    ReplaceDisk(NodeId),
    /// A disk is full, or no longer.
    FullDisk(NodeId, bool),
    /// The facts of all groups are backed up.
    BackUp,
    /// Every node dies and all disks are gone; each is started from the backup, but for one that has its disk, or none.
    RestoreAll(Option<NodeId>),
    /// Where a node kept a disk of before: it is put aside, and the node comes back empty.
    PutAside(NodeId),
}

impl World {
    /// Draws a fault by the weights of the mix, and its end.
    fn draw(&mut self) {
        let every_ms = self.options.every_ms;
        let again_us = (every_ms / 2 + self.rng.below(every_ms)) * 1_000;
        self.schedule(again_us, Event::Fault(Fault::Draw));
        let node = 1 + self.rng.below(self.options.regions as u64);
        let other = 1 + self.rng.below(self.options.regions as u64);
        let host = self.rng.below(self.hosts.len() as u64) as usize;
        let long_us = 500_000 + self.rng.below(15_000_000);
        let FaultMix { node_crash, node_pause, host_crash, agent_crash, agent_pause, vm_crash, .. } =
            self.options.mix;
        let FaultMix {
            region_cut,
            one_way_cut,
            region_kill,
            loss,
            slow_disk,
            bit_rot,
            disk_full,
            blackout,
            disks_lost,
            ..
        } = self.options.mix;
        let permille = self.rng.below(60);
        let choices: Vec<(u64, Vec<(u64, Fault)>)> = vec![
            (node_crash, vec![(0, Fault::KillNode(node)), (long_us, Fault::StartNode(node))]),
            (node_pause, vec![(0, Fault::PauseNode(node, long_us / 3))]),
            (host_crash, vec![(0, Fault::KillHost(host)), (long_us, Fault::StartHost(host))]),
            (agent_crash, vec![(0, Fault::KillAgent(host)), (long_us / 3, Fault::StartAgent(host))]),
            (agent_pause, vec![(0, Fault::PauseAgent(host, long_us))]),
            (vm_crash, vec![(0, Fault::KillVm(host))]),
            (region_cut, vec![(0, Fault::CutRegion(node)), (long_us, Fault::HealRegion(node))]),
            (one_way_cut, vec![(0, Fault::CutLink(node, other)), (long_us, Fault::HealLink(node, other))]),
            (region_kill, vec![(0, Fault::KillRegion(node)), (long_us, Fault::StartRegion(node))]),
            (loss, vec![(0, Fault::Loss(permille)), (long_us, Fault::Loss(0))]),
            (
                slow_disk,
                vec![(0, Fault::SlowDisk(node, long_us / 50)), (long_us, Fault::SlowDisk(node, 1_000))],
            ),
            (bit_rot, vec![(0, Fault::KillNode(node)), (long_us / 2, Fault::RotDisk(node))]),
            (disk_full, vec![(0, Fault::FullDisk(node, true)), (long_us, Fault::FullDisk(node, false))]),
            (
                blackout,
                (1..=self.options.regions as u64)
                    .flat_map(|n| [(0, Fault::KillNode(n)), (long_us / 4, Fault::StartNode(n))])
                    .collect(),
            ),
            (
                disks_lost,
                [node, other]
                    .into_iter()
                    .flat_map(|n| [(0, Fault::KillNode(n)), (long_us / 4, Fault::ReplaceDisk(n))])
                    .collect(),
            ),
        ];
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.rng.below(total.max(1));
        for (weight, faults) in choices {
            if at < weight {
                for (in_us, fault) in faults {
                    self.schedule(in_us, Event::Fault(fault));
                }
                return;
            }
            at -= weight;
        }
    }

    /// Lets a fault happen.
    pub fn suffer(&mut self, fault: Fault) {
        if self.options.faults_ms > 0 && self.now_us > self.faults_end_us() {
            return;
        }
        self.strike(fault);
    }

    /// Lets a fault happen, whatever the time.
    pub fn strike(&mut self, fault: Fault) {
        if fault != Fault::Draw {
            self.note(format!("fault: {fault:?}"));
        }
        match fault {
            Fault::Draw => self.draw(),
            Fault::KillNode(node) => self.kill_node(node),
            Fault::StartNode(node) => self.revive_node(node),
            Fault::PauseNode(node, us) => self.pause_node(node, us),
            Fault::KillHost(host) => self.hosts[host].crash(),
            Fault::StartHost(host) => self.revive_host(host),
            Fault::KillAgent(host) => {
                self.hosts[host].agent = None;
                self.hosts[host].connection = None;
            }
            Fault::StartAgent(host) => self.revive_agent(host),
            Fault::PauseAgent(host, us) => self.hosts[host].paused_until_us = self.now_us + us,
            Fault::JumpClock(host, us) => {
                self.hosts[host].clock_offset_us += us;
                self.schedule(0, Event::Watchdog(host));
                self.hosts[host].wake_at_us = self.now_us;
                self.schedule(0, Event::WakeAgent(host));
            }
            Fault::KillVm(host) => self.kill_some_vm(host),
            Fault::CutRegion(node) => self.net.isolate(node, 1..=self.options.regions as u64),
            Fault::HealRegion(node) => self.net.rejoin(node),
            Fault::CutLink(from, to) => self.net.cut(from, to),
            Fault::HealLink(from, to) => self.net.mend(from, to),
            Fault::CutLinks(all) => all.into_iter().for_each(|(from, to)| self.net.cut(from, to)),
            Fault::HealLinks(all) => all.into_iter().for_each(|(from, to)| self.net.mend(from, to)),
            Fault::KillRegion(node) => {
                self.kill_node(node);
                for host in self.hosts.iter_mut().filter(|host| host.home == node) {
                    host.crash();
                }
            }
            Fault::StartRegion(node) => {
                self.revive_node(node);
                for id in 0..self.hosts.len() {
                    if self.hosts[id].home == node {
                        self.revive_host(id);
                    }
                }
            }
            Fault::Loss(permille) => self.net.loss_permille = permille,
            Fault::SlowDisk(node, us) => self.set_disk(node, |slot| slot.disk.fsync_us = us),
            Fault::RotDisk(node) => self.rot(node),
            Fault::RotUnseen(node) => {
                let mut rng = self.rng.split();
                self.set_disk(node, |slot| {
                    slot.disk.rot(&mut rng);
                });
            }
            Fault::RotFacts(node, group) => self.rot_facts(node, group),
            Fault::ReplaceDisk(node) => self.replace_disk(node),
            Fault::BackUp => self.back_up(),
            Fault::RestoreAll(but) => self.restore_all(but),
            Fault::PutAside(node) => self.put_aside(node),
            Fault::FullDisk(node, full) => {
                self.set_disk(node, |slot| slot.disk_full = full);
                if !full {
                    self.revive_node(node);
                }
            }
        }
    }

    fn set_disk(&mut self, node: NodeId, change: impl FnOnce(&mut crate::world::NodeSlot)) {
        if let Some(slot) = self.nodes.get_mut(&node) {
            change(slot);
        }
    }

    /// True when the disk of a dead node may be harmed: a majority keeps what it has, also when those that are dead were
    /// harmed before. What no whole replica holds can't be repaired by anybody.
    fn may_harm(&mut self, node: NodeId) -> bool {
        let groups = self.groups();
        let hurt = |slot: &crate::world::NodeSlot| {
            slot.node.as_ref().is_none_or(|machine| {
                groups.iter().any(|group| machine.group(*group).is_some_and(|status| status.damaged))
            })
        };
        let mut all: BTreeSet<NodeId> =
            self.present().filter(|(_, slot)| hurt(slot)).map(|(other, _)| other).collect();
        all.insert(node);
        // What it holds is of no use to those that were restored.
        all.extend(self.old);
        let spares =
            |voters: &[NodeId]| voters.iter().filter(|voter| all.contains(voter)).count() * 2 < voters.len();
        let told = |group: GroupId| {
            let statuses = self.present().filter_map(move |(_, slot)| slot.node.as_ref()?.group(group));
            statuses.max_by_key(|status| status.applied).map(|status| status.voters)
        };
        // A group without voters anywhere is not there yet, or all that held it is dead.
        let majorities = groups.iter().filter_map(|group| told(*group)).filter(|voters| !voters.is_empty());
        let may = self.nodes[&node].node.is_none()
            && all.len() * 2 < self.present().count()
            && majorities.into_iter().all(|voters| spares(&voters));
        if !may {
            self.note(format!("the disk of node {node} is spared"));
        }
        may
    }

    fn rot(&mut self, node: NodeId) {
        if self.may_harm(node) {
            let mut rng = self.rng.split();
            self.set_disk(node, |slot| {
                slot.disk.rot(&mut rng);
            });
        }
        self.revive_node(node);
    }

    /// One number of one record is another: the first VM's memory, or the first host's.
    fn rot_facts(&mut self, node: NodeId, group: NodeId) {
        self.checkers.rotten.insert(node);
        let Some(machine) = self.nodes.get_mut(&node).and_then(|slot| slot.node.as_mut()) else { return };
        machine.rot(group);
    }

    fn replace_disk(&mut self, node: NodeId) {
        if self.may_harm(node) {
            self.set_disk(node, |slot| {
                slot.disk = crate::disk::Disk::new(slot.disk.fsync_us);
                slot.lost = true;
            });
        }
        self.revive_node(node);
    }

    fn pause_node(&mut self, node: NodeId, us: u64) {
        let until = self.now_us + us;
        if let Some(slot) = self.nodes.get_mut(&node) {
            slot.paused_until_us = until;
        }
        self.schedule(us, Event::WakeNode(node));
    }

    fn revive_node(&mut self, node: NodeId) {
        if self.nodes[&node].node.is_none() && !self.nodes[&node].disk_full {
            self.start_node(node);
        }
    }

    fn revive_host(&mut self, host: usize) {
        if !self.hosts[host].alive && !self.hosts[host].gone {
            self.hosts[host].alive = true;
            self.revive_agent(host);
        }
    }

    fn revive_agent(&mut self, id: usize) {
        if !self.hosts[id].alive || self.hosts[id].agent.is_some() {
            return;
        }
        let now_us = self.now_us;
        let mut host = std::mem::replace(
            &mut self.hosts[id],
            crate::host::Host::new("".into(), 1, "".into(), "", Default::default()),
        );
        host.paused_until_us = 0;
        host.start_agent(now_us);
        self.mutate_agent(&mut host);
        self.hosts[id] = host;
        self.schedule(0, Event::WakeAgent(id));
        self.tell_images(id);
        self.tell_disks(id);
    }

    fn kill_some_vm(&mut self, host: usize) {
        let first = self.hosts[host].processes.iter().next().map(|(vm, process)| (*vm, process.generation));
        if let Some((vm, generation)) = first {
            self.end_process(host, vm, generation, "died");
        }
    }

    /// When faults end, µs.
    pub fn faults_end_us(&self) -> u64 {
        crate::run::FAULTS_BEGIN_US + self.options.faults_ms * 1_000
    }

    /// Everything is repaired at once. A process that stands still goes on when its time is over: what waits for it comes in its
    /// order.
    pub fn heal(&mut self) {
        self.note("everything heals".to_string());
        self.net.heal();
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.set_disk(node, |slot| {
                slot.disk_full = false;
                slot.disk.fsync_us = 1_000;
            });
            self.revive_node(node);
            self.schedule(0, Event::WakeNode(node));
        }
        for host in 0..self.hosts.len() {
            self.revive_host(host);
            self.revive_agent(host);
        }
    }
}
