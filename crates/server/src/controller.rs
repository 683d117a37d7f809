//! `dwcpd controller`: one more controller of a region, beside that of its node.
//!
//! It keeps nothing and is started anew by whoever watches it: it ends as soon as it has lost its node, or can't read what the
//! node tells, and begins again with all facts.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_mesh::{AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle, Identity, Peer, PeerId, Sent, Wan};
use dwcp_roles::protocol::{Decided, ReplicaSaid};
use dwcp_roles::replica::Replica;
use dwcp_types::{decode, encode};
use tokio::sync::mpsc;

use crate::clock;
use crate::hands::Hands;
use crate::setup::random_seed;

/// The node must have answered by then.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Frames that may wait; more slow the node's connection down.
const EVENTS: usize = 4_096;
/// Frames after which the node is told how far this controller is, also while more wait.
const TELL_EVERY: u64 = 64;

/// How to start.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// Folder of `ca.pem` and the host's certificate and key.
    pub pki: PathBuf,
    /// Name of the host's files there.
    pub name: String,
    /// The number of the region's node.
    pub node: u64,
    /// Its mesh.
    pub mesh: SocketAddr,
    /// Which of the host's controllers this one is.
    pub slot: u8,
    /// Local UDP address.
    pub bind: SocketAddr,
    /// File of the emulated links.
    pub wan: Option<PathBuf>,
    /// Ends with the standard input.
    pub until_stdin_ends: bool,
}

/// Decides until the node is lost.
///
/// # Errors
/// Says what ended it: there is no other end.
pub fn run(options: ControllerOptions) -> Result<(), String> {
    if options.until_stdin_ends {
        end_with_stdin()?;
    }
    let identity = Identity::load(&options.pki, &options.name).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime: {e}"))?;
    let (sender, events) = mpsc::channel(EVENTS);
    let link = {
        let _inside = runtime.enter();
        start_link(&options, identity, sender)?
    };
    let end = serve(&link, events);
    runtime.block_on(link.shutdown());
    runtime.shutdown_timeout(Duration::from_millis(100));
    Err(end)
}

fn start_link(
    options: &ControllerOptions,
    identity: Identity,
    events: mpsc::Sender<AgentEvent>,
) -> Result<AgentLinkHandle, String> {
    let PeerId::Host { region, .. } = identity.peer() else {
        return Err(format!("{} is no certificate of a host", identity.peer()));
    };
    let wan = options.wan.as_deref().map(Wan::watch).transpose().map_err(|e| format!("the links: {e}"))?;
    let server = Peer { node: options.node, region, address: options.mesh };
    let settings = AgentLinkConfig {
        bind: options.bind,
        wan,
        ..AgentLinkConfig::of_replica(identity, server, options.slot, random_seed()?)
    };
    AgentLink::start(settings, events).map_err(|e| format!("the link from {}: {e}", options.bind))
}

/// Ends the process when nobody holds the other end of its standard input any more, however that came.
fn end_with_stdin() -> Result<(), String> {
    let wait = || {
        let mut byte = [0u8; 64];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        std::process::exit(0);
    };
    std::thread::Builder::new()
        .name("dwcpd-stdin".into())
        .spawn(wait)
        .map(drop)
        .map_err(|e| format!("a thread: {e}"))
}

/// Decides what the node asks; says what ended it.
fn serve(link: &AgentLinkHandle, mut events: mpsc::Receiver<AgentEvent>) -> String {
    let hands = match Hands::start() {
        Ok(hands) => Arc::new(hands),
        Err(error) => return format!("threads for decisions: {error}"),
    };
    let begun = Instant::now();
    let mut replica: Option<Replica> = None;
    let mut told = 0;
    loop {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(_) => {
                // Nothing waits: the node is told how far this controller is, and then the next frame is waited for.
                if let Some(taken) = replica.as_ref().map(Replica::taken).filter(|taken| *taken > told) {
                    told = taken;
                    send(link, &ReplicaSaid::Taken(taken));
                }
                match wait(
                    &mut events,
                    replica.is_none().then(|| CONNECT_WITHIN.saturating_sub(begun.elapsed())),
                ) {
                    Ok(event) => event,
                    Err(end) => return end,
                }
            }
        };
        match event {
            AgentEvent::Up { region } => {
                eprintln!("linked to the node of {region}");
                send(link, &Replica::hello(std::process::id()));
                replica = Some(Replica::new(hands.clone()));
            }
            AgentEvent::Down { region } => return format!("the node of {region} is gone"),
            AgentEvent::Refused { region, reason } => {
                return format!("the node of {region} turned this controller away: {reason}");
            }
            AgentEvent::Frame { bytes } => {
                let Some(replica) = &mut replica else { continue };
                if let Err(end) = take(link, replica, &bytes) {
                    return end;
                }
                if replica.taken() >= told + TELL_EVERY {
                    told = replica.taken();
                    send(link, &ReplicaSaid::Taken(told));
                }
            }
        }
    }
}

/// The next event; within that time when it is limited.
fn wait(events: &mut mpsc::Receiver<AgentEvent>, within: Option<Duration>) -> Result<AgentEvent, String> {
    let Some(within) = within else {
        return events.blocking_recv().ok_or_else(|| "the link has ended".to_string());
    };
    let until = Instant::now() + within;
    while Instant::now() < until {
        match events.try_recv() {
            Ok(event) => return Ok(event),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(format!("the node has not answered in {} s", CONNECT_WITHIN.as_secs()))
}

/// Takes a frame in, and answers when it is a question.
fn take(link: &AgentLinkHandle, replica: &mut Replica, bytes: &[u8]) -> Result<(), String> {
    let unread = |error| format!("what the node says can't be read: {error}");
    let told = decode(bytes).map_err(unread)?;
    let begun = Instant::now();
    if let Some(decided) = replica.take(clock::mono(), told).map_err(unread)? {
        let took_us = begun.elapsed().as_micros() as u64;
        send(link, &ReplicaSaid::Decided(Box::new(Decided { took_us, ..decided })));
    }
    Ok(())
}

/// Says something to the node. What does not fit is decided there: nobody waits for it.
fn send(link: &AgentLinkHandle, said: &ReplicaSaid) {
    if let Sent::Dropped(reason) = link.send(encode(said)) {
        eprintln!("not said to the node: {reason:?}");
    }
}
