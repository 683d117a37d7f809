//! Links between agents: the memory and the disks of VMs and images go from host to host over them, not by way of the
//! regions.
//!
//! One QUIC connection from one agent to another, with mutual TLS: both ends show a host's certificate, the one that dials
//! says which host it expects, the one that is dialed learns who dialed. Each stream begins with an [`Opening`]; what
//! becomes of it is decided by the [`Acceptor`] registered there for its kind and its VM: bytes are joined to a local stream,
//! or it only stands as a sign of life, or it was all that was to be said.
//!
//! Streams of one connection are accepted in the order in which they were opened, so that a program that tells its
//! connections apart by their order meets the same order at the other end. A connection that is silent for 3 s is given up.

mod accept;
mod flow;
mod join;
mod opening;
mod pace;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, VarInt};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

use crate::frame;
use crate::intake::Intake;
use crate::pki::{Identity, PeerId};
use crate::transport::{self, SERVER_NAME};
use crate::wan::Wan;
pub(crate) use flow::SAFE_BYTES;
use join::Sending;
pub use opening::{Answer, Kind, OPENING_BYTES, Opening};
pub use pace::Pace;

/// A dial, the handshake included, is given up after this time.
const DIAL: Duration = Duration::from_secs(3);
/// The other end must have answered an opening by then.
const ANSWER: Duration = Duration::from_secs(4);
/// How long the reason of a refusal is waited for once the stream has failed.
const REASON: Duration = Duration::from_millis(200);

/// How the refusal of a stream begins for which no acceptor is registered, at least not yet.
pub const NOBODY: &str = "nobody here waits";

/// What a transfer link needs to start.
#[derive(Debug, Clone)]
pub struct TransferConfig {
    /// The host's certificate.
    pub identity: Identity,
    /// Name of the federation; the identity must be of the same.
    pub federation: String,
    /// UDP address to listen on and to dial from; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Seed of emulated loss.
    pub seed: u64,
    /// The emulated WAN; `None` in production.
    pub wan: Option<Wan>,
}

/// What becomes of a stream that another agent opened.
pub enum Admission {
    /// Its bytes are joined to this unix socket, which somebody listens on.
    Socket(PathBuf),
    /// Its bytes are joined to this local stream, whose other end somebody has.
    Stream(UnixStream),
    /// No bytes: it stands until one side ends it.
    Standing {
        /// A text sent here ends the stream and is told to the opener. Dropping the sender says nothing and ends nothing.
        end: oneshot::Receiver<String>,
        /// Told why, when the opener ended it or its connection was lost.
        gone: oneshot::Sender<String>,
    },
    /// It was taken note of; nothing more follows.
    Noted,
}

/// Decides about a stream that the host `PeerId` opened. It is called on the link's own threads and must not block. The
/// text of a refusal goes back to the opener.
pub type Acceptor = Arc<dyn Fn(&PeerId, &Opening) -> Result<Admission, String> + Send + Sync>;

/// The connection to one host; locked while it is dialed.
type Dialed = Arc<tokio::sync::Mutex<Option<Link>>>;

type Acceptors = BTreeMap<(Kind, Option<u64>), Acceptor>;

struct Inner {
    /// Taken by the shutdown, so that the port is free afterwards.
    endpoint: RwLock<Option<Endpoint>>,
    identity: Identity,
    acceptors: RwLock<Acceptors>,
    dialed: Mutex<BTreeMap<(PeerId, SocketAddr), Dialed>>,
    /// Connections by the host that dialed.
    accepted: RwLock<BTreeMap<PeerId, usize>>,
    refused: AtomicU64,
    stop: watch::Sender<bool>,
}

impl Inner {
    fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The place of the connection to a host; those of hosts that nobody dials and that are not connected go.
    fn dialed(&self, host: &PeerId, address: SocketAddr) -> Dialed {
        let mut dialed = self.dialed.lock().unwrap_or_else(|e| e.into_inner());
        // Who holds one is about to dial, or does.
        let lives = |of: &Dialed| of.try_lock().is_ok_and(|link| link.as_ref().is_some_and(Link::lives));
        dialed.retain(|_, of| Arc::strong_count(of) > 1 || lives(of));
        dialed.entry((host.clone(), address)).or_default().clone()
    }

    /// The acceptor of this VM, else the one of all VMs.
    fn acceptor(&self, kind: Kind, vm: u64) -> Option<Acceptor> {
        let acceptors = self.acceptors.read().unwrap_or_else(|e| e.into_inner());
        acceptors.get(&(kind, Some(vm))).or_else(|| acceptors.get(&(kind, None))).cloned()
    }
}

/// Starts transfer links.
pub struct TransferLink;

impl TransferLink {
    /// Listens, and dials when asked to. Call inside a tokio runtime. Runs until [`TransferHandle::shutdown`].
    ///
    /// # Errors
    /// The address cannot be bound, or the identity is not a host of this federation.
    pub fn start(config: TransferConfig) -> io::Result<TransferHandle> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let PeerId::Host { region, .. } = config.identity.peer() else {
            return Err(wrong(format!("{} is not a host's certificate", config.identity.peer())));
        };
        let theirs = config.identity.federation();
        if theirs != config.federation {
            return Err(wrong(format!(
                "the certificate is of federation {theirs}, not {}",
                config.federation
            )));
        }
        let server = transport::transfer_server_config(&config.identity, accept::STREAMS)?;
        let endpoint =
            transport::endpoint(config.listen, Some(server), config.wan.as_ref(), &region, config.seed)?;
        let inner = Arc::new(Inner {
            endpoint: RwLock::new(Some(endpoint.clone())),
            identity: config.identity,
            acceptors: RwLock::default(),
            dialed: Mutex::default(),
            accepted: RwLock::default(),
            refused: AtomicU64::new(0),
            stop: watch::Sender::new(false),
        });
        tokio::spawn(accept::run(inner.clone(), endpoint));
        Ok(TransferHandle { inner })
    }
}

/// A running transfer link. Clones are the same link.
#[derive(Clone)]
pub struct TransferHandle {
    inner: Arc<Inner>,
}

impl TransferHandle {
    /// Decides from now on about streams of this kind for this VM, or for every VM that has no acceptor of its own. An
    /// earlier acceptor for the same is replaced.
    pub fn register(&self, kind: Kind, vm: Option<u64>, acceptor: Acceptor) {
        self.inner.acceptors.write().unwrap_or_else(|e| e.into_inner()).insert((kind, vm), acceptor);
    }

    /// Refuses streams of this kind for this VM from now on; what is joined already stays.
    pub fn unregister(&self, kind: Kind, vm: Option<u64>) {
        self.inner.acceptors.write().unwrap_or_else(|e| e.into_inner()).remove(&(kind, vm));
    }

    /// The connection to the agent of `host` at `address`, dialed when there is none that lives.
    ///
    /// # Errors
    /// Nobody answers within 3 s, or somebody else does; the text says which.
    pub async fn link(&self, host: &PeerId, address: SocketAddr) -> Result<Link, String> {
        let dialed = self.inner.dialed(host, address);
        // Two that ask for one host at once share one dial.
        let mut dialed = dialed.lock().await;
        if let Some(link) = dialed.as_ref().filter(|link| link.lives()) {
            return Ok(link.clone());
        }
        let endpoint = self.inner.endpoint().ok_or("this link was shut down")?;
        let tls = transport::transfer_client_config(&self.inner.identity, host.clone())
            .map_err(|e| e.to_string())?;
        let connecting =
            endpoint.connect_with(tls, address, SERVER_NAME).map_err(|e| format!("{address}: {e}"))?;
        let connection = match tokio::time::timeout(DIAL, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(format!("{host} at {address}: {}", reason(&error))),
            Err(_) => return Err(format!("{host} at {address} did not answer within {} s", DIAL.as_secs())),
        };
        let link = Link { connection, host: host.clone(), users: Arc::new(()) };
        tokio::spawn(flow::keep(link.connection.clone(), Arc::downgrade(&link.users)));
        *dialed = Some(link.clone());
        Ok(link)
    }

    /// The UDP address in use.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.endpoint().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Connections and streams turned away since start.
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Closes every connection and stops; waits up to half a second until the others can know.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let endpoint = self.inner.endpoint.write().unwrap_or_else(|e| e.into_inner()).take();
        let Some(endpoint) = endpoint else { return };
        endpoint.close(VarInt::from_u32(0), b"shutdown");
        let _ = tokio::time::timeout(Duration::from_millis(500), endpoint.wait_idle()).await;
        self.inner.dialed.lock().unwrap_or_else(|e| e.into_inner()).clear();
    }
}

/// A connection to another agent. Clones are the same connection; it is closed when nobody has used it for a while.
#[derive(Clone, Debug)]
pub struct Link {
    connection: Connection,
    host: PeerId,
    /// One count for every clone and every open stream, and one for the list of what was dialed.
    users: Arc<()>,
}

impl Link {
    /// The host at the other end, as its certificate says.
    pub fn host(&self) -> &PeerId {
        &self.host
    }

    fn lives(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// The round trip.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Waits until the connection is lost or closed, and says why.
    pub async fn lost(&self) -> String {
        reason(&self.connection.closed().await)
    }

    /// Begins a stream without waiting for its answer, so that those that follow keep their order and cost no round trip.
    ///
    /// # Errors
    /// The connection is lost, or too many streams are open.
    pub async fn open(&self, opening: &Opening) -> Result<Opened, String> {
        let begin = async {
            let (send, receive) = self.connection.open_bi().await.map_err(|e| reason(&e))?;
            let mut sending = Sending::new(send);
            let bytes = dwcp_types::encode(opening);
            frame::write(sending.stream(), bytes).await.map_err(|e| e.to_string())?;
            Ok(Opened { sending, receive, user: self.users.clone(), answered: false })
        };
        match tokio::time::timeout(ANSWER, begin).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("{} takes no more streams", self.host)),
        }
    }

    /// Says something that needs no more than an answer.
    ///
    /// # Errors
    /// The other end refuses, or did not answer within 4 s; it may have heard it all the same.
    pub async fn say(&self, opening: &Opening) -> Result<(), String> {
        self.open(opening).await?.accepted().await.map(drop)
    }
}

/// A stream that was begun.
pub struct Opened {
    sending: Sending,
    receive: RecvStream,
    user: Arc<()>,
    /// The answer was read.
    answered: bool,
}

impl Opened {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The other end refuses, or the connection is lost, or 4 s passed.
    pub async fn accepted(mut self) -> Result<Opened, String> {
        match tokio::time::timeout(ANSWER, answer(&mut self.receive)).await {
            Ok(done) => done.map(|()| Opened { answered: true, ..self }),
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }

    /// Waits until the other end ends a standing stream and says why. Dropping it, or the stream, tells the other end.
    pub async fn ended(mut self) -> String {
        match frame::read(&mut self.receive, OPENING_BYTES, &Intake::default()).await {
            Ok(frame) => Answer::read(&frame.bytes).reason().unwrap_or("it ended").to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits for the answer, if nobody has yet, while it already sends, and carries bytes both ways until both ends are done. `pace` bounds and
    /// counts what is sent. Dropped or failed, it is torn down at both ends, never ended as if it were whole.
    ///
    /// # Errors
    /// The other end refuses or tears down, the connection is lost, or `local` breaks.
    pub async fn join(self, local: UnixStream, pace: &Pace) -> Result<(), String> {
        let Opened { sending, mut receive, user: _user, answered } = self;
        let (from, to) = local.into_split();
        let out = async {
            let sent = join::send(from, sending, pace).await;
            if sent.is_err() {
                // Why the other end stopped it is told on its way back.
                tokio::time::sleep(REASON).await;
            }
            sent
        };
        let back = async {
            if !answered {
                answer(&mut receive).await?;
            }
            join::receive(receive, to, pace).await
        };
        tokio::try_join!(out, back).map(drop)
    }
}

async fn answer(receive: &mut RecvStream) -> Result<(), String> {
    let frame = frame::read(receive, OPENING_BYTES, &Intake::default()).await.map_err(|e| e.to_string())?;
    match Answer::read(&frame.bytes).reason() {
        None => Ok(()),
        Some(reason) => Err(reason.to_string()),
    }
}

fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(e) => e.reason.clone(),
        ConnectionError::ConnectionClosed(e) => String::from_utf8_lossy(&e.reason).into_owned(),
        ConnectionError::ApplicationClosed(e) => String::from_utf8_lossy(&e.reason).into_owned(),
        ConnectionError::TimedOut => {
            format!("nothing was heard for {} s", transport::IDLE_MS / 1000)
        }
        other => other.to_string(),
    }
}
