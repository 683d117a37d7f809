//! The mesh between regions: one connection in each direction of each pair, four classes of frames on it, and the
//! agents of hosts on the same endpoint.

pub(crate) mod accept;
pub(crate) mod link;
mod session;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::intake::{self, Room};
use crate::pki::{Identity, PeerId};
use crate::queue::{DropReason, Sent};
use crate::stats::LinkStats;
use crate::transport;
use crate::wan::{LinkTable, Wan};
use link::PeerLink;
use session::Session;

/// Number of a region's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Another region's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub node: u64,
    /// Its region.
    pub region: String,
    /// Its UDP address.
    pub address: SocketAddr,
}

impl Peer {
    /// Whom its certificate must name.
    pub(crate) fn identity(&self) -> PeerId {
        PeerId::Region { region: self.region.clone(), number: self.node }
    }
}

/// Priority of a frame. Each class has its own stream: a frame never waits behind one of a lower class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Raft, beats, leases: first.
    Consensus,
    /// Soft state between regions.
    State,
    /// Requests of operators and of long work.
    Operations,
    /// Disks, memory, snapshots: last.
    Bulk,
}

impl Class {
    /// All classes, first to last.
    pub const ALL: [Class; 4] = [Class::Consensus, Class::State, Class::Operations, Class::Bulk];

    /// Place in [`Class::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(byte as usize).copied()
    }

    fn priority(self) -> i32 {
        3 - self as i32
    }
}

/// Bounds on memory and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame between regions, bytes.
    pub frame_bytes: usize,
    /// Longest frame from or to an agent, bytes.
    pub agent_frame_bytes: usize,
    /// What may wait per peer and direction, by class in the order of [`Class::ALL`], bytes. What was received waits until
    /// its [`Room`] is dropped.
    pub queue_bytes: [usize; 4],
    /// What may wait per agent and direction, bytes.
    pub agent_queue_bytes: usize,
    /// What may have been received from all agents together and still wait, bytes.
    pub agents_intake_bytes: usize,
    /// Most agents connected at once.
    pub agents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 64 << 20,
            agent_frame_bytes: 4 << 20,
            queue_bytes: [64 << 20, 32 << 20, 32 << 20, 64 << 20],
            agent_queue_bytes: 8 << 20,
            agents_intake_bytes: 256 << 20,
            agents: 4096,
        }
    }
}

/// What a mesh needs to start.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// This region's number.
    pub me: NodeId,
    /// Name of the federation; the identity must be of the same.
    pub federation: String,
    /// UDP address to listen on; port 0 takes a free one (see [`MeshHandle::local_addr`]).
    pub listen: SocketAddr,
    /// This region's certificate; it names the region.
    pub identity: Identity,
    /// The other regions.
    pub peers: Vec<Peer>,
    /// Bounds.
    pub limits: Limits,
    /// Seed of back-off jitter and emulated loss.
    pub seed: u64,
    /// The emulated WAN; `None` in production: the plain socket is used.
    pub wan: Option<Wan>,
}

/// What happened on the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshEvent {
    /// A frame came from another region.
    Frame {
        /// Sender.
        from: u64,
        /// Class it was sent in.
        class: Class,
        /// Content.
        bytes: Vec<u8>,
        /// Where it waits.
        room: Room,
    },
    /// Our connection to a peer is up and answers.
    Up {
        /// The peer.
        node: u64,
    },
    /// Our connection to a peer is gone; queued frames are lost. It is dialed again by itself.
    Down {
        /// The peer.
        node: u64,
    },
    /// An agent connected.
    AgentUp {
        /// Number of this connection; never used again in this process.
        session: u64,
        /// The agent's region.
        region: String,
        /// The agent's host.
        host: String,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// A frame came from an agent.
    AgentFrame {
        /// Its connection.
        session: u64,
        /// Content.
        bytes: Vec<u8>,
        /// Where it waits.
        room: Room,
    },
    /// An agent's connection ended.
    AgentDown {
        /// The connection.
        session: u64,
    },
    /// A controller replica of a host connected.
    ReplicaUp {
        /// Number of this connection; agents and replicas share the numbers.
        session: u64,
        /// The host's region.
        region: String,
        /// The host.
        host: String,
        /// Its number among that host's.
        slot: u8,
    },
    /// A frame came from a replica.
    ReplicaFrame {
        /// Its connection.
        session: u64,
        /// Content.
        bytes: Vec<u8>,
        /// Where it waits.
        room: Room,
    },
    /// A replica's connection ended.
    ReplicaDown {
        /// The connection.
        session: u64,
    },
    /// Somebody was turned away. Under a flood some of these events are left out; [`MeshHandle::refused`] counts all.
    Refused {
        /// Where it came from.
        remote: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// Starts meshes.
pub struct Mesh;

impl Mesh {
    /// Binds the socket and begins to dial the peers and to accept. Call inside a tokio runtime.
    ///
    /// Events go to `events`; a slow reader slows the senders down (back-pressure), it loses nothing. Frames count against
    /// [`Limits`] until their [`Room`] is dropped, also after they were read. The mesh runs until [`MeshHandle::shutdown`].
    ///
    /// # Errors
    /// The address cannot be bound, or the identity is not this node's in this federation.
    pub fn start(config: MeshConfig, events: mpsc::Sender<MeshEvent>) -> io::Result<MeshHandle> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let PeerId::Region { region, number } = config.identity.peer() else {
            return Err(wrong(format!("{} is not a region's certificate", config.identity.peer())));
        };
        if number != config.me.0 {
            return Err(wrong(format!(
                "the certificate is of {}; this is number {}",
                config.identity.peer(),
                config.me.0
            )));
        }
        let theirs = config.identity.federation();
        if theirs != config.federation {
            return Err(wrong(format!(
                "the certificate is of federation {theirs}, not {}",
                config.federation
            )));
        }
        let server = transport::server_config(&config.identity)?;
        let endpoint =
            transport::endpoint(config.listen, Some(server), config.wan.as_ref(), &region, config.seed)?;
        let peers = config.peers.clone();
        let inner = Arc::new(Inner {
            endpoint: RwLock::new(Some(endpoint.clone())),
            identity: config.identity,
            limits: config.limits,
            agents_intake: intake::Bytes::new(config.limits.agents_intake_bytes),
            seed: config.seed,
            me: config.me,
            wan: config.wan,
            events,
            links: RwLock::default(),
            sessions: RwLock::default(),
            next_session: AtomicU64::new(1),
            closed_to_agents: RwLock::new(None),
            refused: AtomicU64::new(0),
            plain: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            runtime: Handle::current(),
        });
        tokio::spawn(accept::run(inner.clone(), endpoint));
        let handle = MeshHandle { inner };
        handle.set_peers(peers)?;
        Ok(handle)
    }
}

pub(crate) struct Inner {
    /// Taken by the shutdown, so that the port is free afterwards.
    endpoint: RwLock<Option<Endpoint>>,
    identity: Identity,
    limits: Limits,
    /// Room for what came from all agents.
    agents_intake: intake::Bytes,
    seed: u64,
    me: NodeId,
    wan: Option<Wan>,
    events: mpsc::Sender<MeshEvent>,
    links: RwLock<BTreeMap<u64, Arc<PeerLink>>>,
    sessions: RwLock<BTreeMap<u64, Arc<Session>>>,
    next_session: AtomicU64,
    /// Why no agent is taken any more; none: they are.
    closed_to_agents: RwLock<Option<String>>,
    refused: AtomicU64,
    /// Frames to other regions are not compressed.
    plain: AtomicBool,
    stop: watch::Sender<bool>,
    /// Where links run, whoever asks for them.
    runtime: Handle,
}

impl Inner {
    /// The endpoint; `None` after the shutdown.
    fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn link(&self, node: u64) -> Option<Arc<PeerLink>> {
        self.links.read().unwrap_or_else(|e| e.into_inner()).get(&node).cloned()
    }

    /// Gives an event to the owner; false when the owner is gone.
    async fn tell(&self, event: MeshEvent) -> bool {
        self.events.send(event).await.is_ok()
    }

    fn refuse(&self, remote: SocketAddr, reason: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        // Never waits: whoever knocks must not be able to fill the owner's queue.
        if self.events.capacity() > self.events.max_capacity() / 2 {
            let _ = self.events.try_send(MeshEvent::Refused { remote, reason });
        }
    }
}

/// A running mesh. Clones are the same mesh.
#[derive(Clone)]
pub struct MeshHandle {
    inner: Arc<Inner>,
}

impl MeshHandle {
    /// Queues a frame to another region. Never waits; what does not fit is refused and counted.
    pub fn send(&self, to: u64, class: Class, bytes: Vec<u8>) -> Sent {
        match self.inner.link(to) {
            Some(link) => link.queues[class.index()].push(bytes),
            None => Sent::Dropped(DropReason::Unknown),
        }
    }

    /// Queues a frame to an agent or a replica. Never waits.
    pub fn send_agent(&self, session: u64, bytes: Vec<u8>) -> Sent {
        let sessions = self.inner.sessions.read().unwrap_or_else(|e| e.into_inner());
        match sessions.get(&session) {
            Some(session) => session.queue.push(bytes),
            None => Sent::Dropped(DropReason::Unknown),
        }
    }

    /// Ends an agent's or a replica's connection (its identity was revoked, its host removed).
    pub fn close_agent(&self, session: u64, reason: &str) {
        let sessions = self.inner.sessions.read().unwrap_or_else(|e| e.into_inner());
        if let Some(session) = sessions.get(&session) {
            session.connection.close(VarInt::from_u32(2), reason.as_bytes());
        }
    }

    /// Ends every agent's connection, and takes none from here on: agents go over to another region's server.
    pub fn turn_agents_away(&self, reason: &str) {
        *self.inner.closed_to_agents.write().unwrap_or_else(|e| e.into_inner()) = Some(reason.to_owned());
        let sessions = self.inner.sessions.read().unwrap_or_else(|e| e.into_inner());
        sessions
            .values()
            .for_each(|session| session.connection.close(VarInt::from_u32(2), reason.as_bytes()));
    }

    /// State and measurements of every link, by node.
    pub fn stats(&self) -> Vec<LinkStats> {
        let links = self.inner.links.read().unwrap_or_else(|e| e.into_inner());
        links.values().map(|link| link.stats()).collect()
    }

    /// Whether frames to other regions are compressed from now on, those above a kibibyte that become shorter by it. Peers
    /// take either.
    pub fn compress(&self, compress: bool) {
        self.inner.plain.store(!compress, Ordering::Relaxed);
    }

    /// Connections turned away since start.
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Number of connected agents and replicas.
    pub fn agents(&self) -> usize {
        self.inner.sessions.read().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// The UDP address in use.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let endpoint = self.inner.endpoint().ok_or(io::ErrorKind::NotConnected)?;
        endpoint.local_addr()
    }

    /// Puts a link table in force in this process only; false when the mesh runs on the plain socket.
    pub fn set_links(&self, table: LinkTable) -> bool {
        self.inner.wan.as_ref().map(|wan| wan.set(table)).is_some()
    }

    /// Sets the other regions: new ones are dialed, missing ones dropped, changed ones dialed again. This node itself is
    /// left out when listed.
    ///
    /// # Errors
    /// The identity cannot be used for TLS.
    pub fn set_peers(&self, peers: Vec<Peer>) -> io::Result<()> {
        let mut links = self.inner.links.write().unwrap_or_else(|e| e.into_inner());
        let wanted: BTreeMap<u64, Peer> =
            peers.into_iter().filter(|p| p.node != self.inner.me.0).map(|p| (p.node, p)).collect();
        links.retain(|node, link| {
            let stays = wanted.get(node) == Some(&link.peer);
            if !stays {
                link.stop();
            }
            stays
        });
        for (node, peer) in wanted {
            if let Entry::Vacant(place) = links.entry(node) {
                let expect = peer.identity();
                let tls = transport::client_config(&self.inner.identity, expect)?;
                let link = Arc::new(PeerLink::new(peer, &self.inner.limits));
                self.inner.runtime.spawn(link::run(self.inner.clone(), link.clone(), tls));
                place.insert(link);
            }
        }
        Ok(())
    }

    /// Closes every connection and stops; waits up to half a second until the peers can know. The port is free
    /// soon afterwards.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let endpoint = self.inner.endpoint.write().unwrap_or_else(|e| e.into_inner()).take();
        let Some(endpoint) = endpoint else { return };
        endpoint.close(VarInt::from_u32(0), b"shutdown");
        let _ = tokio::time::timeout(Duration::from_millis(500), endpoint.wait_idle()).await;
        let links = std::mem::take(&mut *self.inner.links.write().unwrap_or_else(|e| e.into_inner()));
        links.values().for_each(|link| link.stop());
        self.inner.sessions.write().unwrap_or_else(|e| e.into_inner()).clear();
    }
}
