//! The thread that runs the node: takes everything that waits, steps once, carries the effects out.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use dwcp_mesh::{LinkTable, MeshHandle, Peer, Sent};
use dwcp_roles::node::{CertifyFor, Class, Effect, Input, Node, Reply, StoreCheck, SwitchOrder};
use dwcp_roles::protocol::Endpoint;
use dwcp_state::FEDERATION_GROUP;
use dwcp_types::{GroupId, NodeId, RegionId, encode};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::clock;
use crate::handle::{NodeHandle, Task, View};
use crate::issuer::Issuer;
use crate::log::Log;
use crate::placement_times::PlacementTimes;
use crate::record::Recorder;
use crate::telemetry::{Instruments, Traces};
use crate::writer::{CommitTimes, Writer};

/// Most inputs of one step: bounds how long a look waits.
const INPUTS_A_STEP: usize = 256;

/// Where effects go.
pub struct Outlets {
    /// To other nodes and agents.
    pub mesh: MeshHandle,
    /// The other regions as configured: whoever stands here is dialed at this address, whatever the facts say.
    pub configured: Vec<Peer>,
    /// To the store.
    pub writer: Writer,
    /// How long commits take.
    pub times: CommitTimes,
    /// Back to the node.
    pub door: NodeHandle,
    /// To the log.
    pub log: Log,
    /// Every input and what was decided, for a replay.
    pub recorder: Option<Recorder>,
    /// Issues certificates, where this process can.
    pub issuer: Option<Issuer>,
    /// Where orders to go over to another program go.
    pub switch: UnboundedSender<SwitchOrder>,
    /// How long placement decisions take.
    pub placements: PlacementTimes,
    /// What is counted for the metrics.
    pub instruments: Instruments,
    /// What requests and failovers went through.
    pub traces: Traces,
    /// The file of emulated links, in a development federation.
    pub wan: Option<PathBuf>,
}

impl Outlets {
    /// Makes every link of a region as published again. Nobody waits for it: the node says so again.
    fn mend_links(&self, region: &RegionId) {
        let log = self.log.clone();
        let Some(path) = self.wan.clone() else {
            let text = format!("the links of {region} can't be mended from here: no file of emulated links");
            return log.warning("federation-controller", text);
        };
        let region = region.as_str().to_owned();
        let mended = move || match LinkTable::load(&path).and_then(|mut table| {
            table.mend_region(&region);
            table.store(&path)
        }) {
            Ok(()) => log.info("federation-controller", format!("the links of {region} are mended")),
            Err(error) => log.error("federation-controller", format!("{}: {error}", path.display())),
        };
        // Not on the node's own thread: it would wait for a disk.
        drop(std::thread::Builder::new().name("dwcpd-links".into()).spawn(mended));
    }
}

impl Outlets {
    /// Issues a certificate on a thread of its own, and tells the node.
    fn issue(&self, asked: CertifyFor) {
        let Some(issuer) = self.issuer.clone() else { return };
        let door = self.door.clone();
        let issue = move || door.tell(Input::Issued(Box::new(issuer.issue(&asked))));
        // Not on the node's own thread: it would wait for a disk. Who asked asks again.
        drop(std::thread::Builder::new().name("dwcpd-issuer".into()).spawn(issue));
    }

    /// Dials who came, and lets go of who left.
    fn set_peers(&self, peers: &[Endpoint]) {
        let address = |peer: &Endpoint| {
            let configured = self.configured.iter().find(|known| known.node == peer.node);
            match configured {
                Some(known) => Ok(known.address),
                None => {
                    peer.mesh.parse().map_err(|_| format!("{}: '{}' is no address", peer.region, peer.mesh))
                }
            }
        };
        let mut dialed = Vec::with_capacity(peers.len());
        for peer in peers {
            match address(peer) {
                Ok(address) => {
                    dialed.push(Peer { node: peer.node, region: peer.region.as_str().to_owned(), address });
                }
                Err(why) => self.log.error("state-manager", why),
            }
        }
        if let Err(error) = self.mesh.set_peers(dialed) {
            self.log.error("state-manager", format!("the links to the regions stay as they were: {error}"));
        }
    }

    /// Reads the store back on a thread of its own, and tells the node what came of it.
    fn check_store(&self, regions: &BTreeMap<NodeId, RegionId>) {
        let groups: Vec<GroupId> = std::iter::once(FEDERATION_GROUP).chain(regions.keys().copied()).collect();
        let (door, times) = (self.door.clone(), self.times.clone());
        self.writer.checkup(move |checkup| {
            let failed = |why: String| StoreCheck { unread: why, ..StoreCheck::default() };
            let checkup = match checkup {
                Ok(checkup) => checkup,
                Err(error) => return door.tell(Input::StoreChecked(failed(error.to_string()))),
            };
            let reading = door.clone();
            times.take_longest_us();
            let read = move || {
                below_all_others();
                let check = checkup.run(&groups);
                let longest_commit_us = times.take_longest_us();
                reading.tell(Input::StoreChecked(StoreCheck { longest_commit_us, ..check }));
            };
            if let Err(error) = std::thread::Builder::new().name("dwcpd-checkup".into()).spawn(read) {
                door.tell(Input::StoreChecked(failed(error.to_string())));
            }
        });
    }
}

/// Lets every other thread go first.
fn below_all_others() {
    // SAFETY: changes a number of this thread alone, as Linux counts it; a refusal is no harm.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Starts the thread. It ends at [`Task::Stop`] or when the last door is gone, with everything written. A panic in it
/// ends the process: half a control plane is worse than none.
///
/// # Errors
/// The system starts no thread or no timer.
pub fn start(node: Node, inbox: UnboundedReceiver<Task>, outlets: Outlets) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("dwcpd-node".into()).spawn(move || {
        let _guard = AbortOnPanic(outlets.log.clone());
        let mut node_loop =
            NodeLoop { node, inbox, outlets, tickets: BTreeMap::new(), next_ticket: 1, effects: Vec::new() };
        while runtime.block_on(node_loop.turn()) {}
        node_loop.outlets.writer.finish();
    })
}

/// Ends the process when what holds it panics.
pub(crate) struct AbortOnPanic(pub(crate) Log);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.error("state-manager", "an assertion failed; dwcpd ends (the message is above)");
            std::process::abort();
        }
    }
}

struct NodeLoop {
    node: Node,
    inbox: UnboundedReceiver<Task>,
    outlets: Outlets,
    tickets: BTreeMap<u64, oneshot::Sender<Reply>>,
    next_ticket: u64,
    effects: Vec<Effect>,
}

impl NodeLoop {
    /// One step; false when it was the last.
    async fn turn(&mut self) -> bool {
        let mut inputs = Vec::new();
        let mut looks = Vec::new();
        // Kept until the step is done: frames of a step that is long count as waiting.
        let mut rooms = Vec::new();
        let mut goes_on = true;
        let wait_us = self.node.wake_at().0.saturating_sub(clock::mono().0);
        let wait = Duration::from_micros(wait_us);
        let mut next = match self.inbox.try_recv() {
            Ok(task) => Some(task),
            Err(_) => match tokio::time::timeout(wait, self.inbox.recv()).await {
                Ok(None) => return false,
                Ok(task) => task,
                Err(_) => None,
            },
        };
        while let Some(task) = next {
            match task {
                Task::Input(input) => inputs.push(input),
                Task::Frame(frame, room) => {
                    inputs.push(frame);
                    rooms.push(room);
                }
                Task::Ask(request, reply) => {
                    inputs.push(Input::Request { ticket: self.next_ticket, request });
                    self.tickets.insert(self.next_ticket, reply);
                    self.next_ticket += 1;
                }
                Task::Look(look) => looks.push(look),
                Task::Stop => goes_on = false,
            }
            if inputs.len() >= INPUTS_A_STEP || !goes_on {
                break;
            }
            next = self.inbox.try_recv().ok();
        }
        self.step(inputs);
        drop(rooms);
        for look in looks {
            look(&View { node: &self.node, now: clock::now() });
        }
        goes_on
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let now = clock::now();
        if let Some(Err(error)) = self.outlets.recorder.as_mut().map(|recorder| recorder.begin(now, &inputs))
        {
            self.outlets.log.warning("state-manager", format!("the recording ends here: {error}"));
            self.outlets.recorder = None;
        }
        let mut effects = std::mem::take(&mut self.effects);
        let before = self.node.decisions().here;
        self.node.step_all(now, inputs, &mut effects);
        if let Some(recorder) = &mut self.outlets.recorder {
            recorder.end(&effects, self.node.wake_at());
        }
        let decisions = self.node.decisions().here - before;
        if decisions > 0 {
            // The step may do more than decide: what is measured is at least what the decisions took.
            let took_us = clock::mono().0.saturating_sub(now.mono.0);
            self.outlets.placements.note(took_us, decisions);
            self.outlets.instruments.placed(took_us, decisions);
        }
        let stages = self.node.take_stages();
        if !stages.is_empty() {
            self.outlets.traces.stages(stages, &View { node: &self.node, now });
        }
        for us in self.node.take_replica_times() {
            self.outlets.placements.note(us, 1);
            self.outlets.instruments.placed(us, 1);
        }
        for (home, node, us) in self.node.take_sync_times() {
            let name = |node| self.node.region_name(node).map_or("federation", RegionId::as_str);
            self.outlets.instruments.synced(name(home), name(node), us);
        }
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            // Full queues and links that are down are the mesh's to count; the machines repeat what matters.
            Effect::Send { to, class, bytes } => drop(self.outlets.mesh.send(to, mesh_class(class), bytes)),
            Effect::SendAgent { session, bytes } => drop(self.outlets.mesh.send_agent(session, bytes)),
            Effect::Persist { seq, batch } => self.outlets.writer.push(seq, batch),
            Effect::Reply { ticket, reply } => {
                if let Some(waiting) = self.tickets.remove(&ticket) {
                    // Who asked may have gone away.
                    let _ = waiting.send(reply);
                }
            }
            Effect::TellReplica { session, told } => {
                let sent = self.outlets.mesh.send_agent(session, encode(&*told));
                if let Sent::Dropped(reason) = sent {
                    let why = format!("it can't be told what is applied: {reason:?}");
                    self.outlets.mesh.close_agent(session, &why);
                }
            }
            Effect::EndReplica { session, reason } => {
                self.outlets
                    .log
                    .info("federation-controller", format!("a controller is turned away: {reason}"));
                self.outlets.mesh.close_agent(session, &reason);
            }
            Effect::MendLinks { region } => self.outlets.mend_links(&region),
            Effect::CheckStore => self.outlets.check_store(self.node.regions()),
            Effect::Issue(asked) => self.outlets.issue(*asked),
            // Nobody listens any more when the process stops anyhow.
            Effect::Switch(order) => drop(self.outlets.switch.send(order)),
            Effect::Peers(peers) => self.outlets.set_peers(&peers),
            Effect::RenewStore => {
                let log = self.outlets.log.clone();
                self.outlets.writer.renew(move |why| {
                    log.warning("state-manager", format!("the old store file stays in use: {why}"));
                });
            }
            Effect::TurnAgentsAway(reason) => {
                self.outlets.log.error("state-manager", format!("agents are turned away: {reason}"));
                self.outlets.mesh.turn_agents_away(&reason);
            }
            Effect::Log { component, level, text } => self.outlets.log.line(component, level, &text),
        }
    }
}

fn mesh_class(class: Class) -> dwcp_mesh::Class {
    match class {
        Class::Consensus => dwcp_mesh::Class::Consensus,
        Class::State => dwcp_mesh::Class::State,
        Class::Operations => dwcp_mesh::Class::Operations,
    }
}
