//! A stand-in for the node that leads a region's group: answers on the mesh, grants or keeps silent as told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dwcp_mesh::{Ca, Identity, Limits, Mesh, MeshConfig, MeshEvent, NodeId, PeerId, San};
use dwcp_roles::protocol::{
    AgentMessage, AgentSaid, ControllerMessage, Grant, HostFigures, Intents, ReplicaIntent, ServerAsked,
    VmIntent, VmReport, Welcome, is_of_figures,
};
use dwcp_types::{decode, encode};
use tokio::sync::mpsc;

pub const FEDERATION: &str = "test";
pub const REGION: &str = "us-east-1";
pub const HOST: &str = "h1";

#[derive(Default)]
struct State {
    silent: bool,
    revision: u64,
    wanted: Vec<VmIntent>,
    kept: Vec<ReplicaIntent>,
    transfer: String,
    reports: Vec<VmReport>,
    answers: Vec<AgentMessage>,
    ask: Vec<ControllerMessage>,
    incarnation: u64,
    lost_introductions: u64,
    measure: Option<u64>,
    figures: Vec<HostFigures>,
    lines: Vec<String>,
}

/// Takes what the agent measured and logged.
fn measured(state: &mut State, said: AgentSaid) -> ServerAsked {
    match said {
        AgentSaid::Measures => ServerAsked::Kept(0),
        AgentSaid::Figures(figures) => {
            state.figures.push(*figures);
            ServerAsked::Kept(0)
        }
        AgentSaid::Lines(lines) => {
            state.lines.extend(lines.lines.into_iter().map(|line| line.event));
            ServerAsked::Kept(lines.through)
        }
    }
}

#[derive(Clone)]
pub struct Leader {
    state: Arc<Mutex<State>>,
    pub address: SocketAddr,
    /// Name of its only host.
    pub host: String,
    /// The API's socket: it accepts and never answers, so that this voter can't be accounted for. Closed, it is dead.
    api: Arc<Mutex<Option<std::net::TcpListener>>>,
}

impl Leader {
    /// Makes the certificates in `pki` and begins to answer.
    pub async fn start(pki: &Path, listen: SocketAddr) -> Leader {
        let ca = Ca::create(FEDERATION, Duration::from_secs(86_400)).expect("authority");
        Leader::start_under(&ca, pki, listen, HOST).await
    }

    /// The same under an authority that is there, for a host of this name.
    pub async fn start_under(ca: &Ca, pki: &Path, listen: SocketAddr, host: &str) -> Leader {
        Leader::start_in(ca, pki, listen, (REGION, host)).await
    }

    /// A leader of another region, with a host of its own.
    pub async fn start_in(ca: &Ca, pki: &Path, listen: SocketAddr, names: (&str, &str)) -> Leader {
        let day = Duration::from_secs(86_400);
        ca.store(pki).expect("store");
        let region = PeerId::Region { region: names.0.into(), number: 1 };
        ca.issue(&region, &[San::Ip(listen.ip())], day).expect("leaf").store(pki, "region").expect("store");
        let host = PeerId::Host { region: names.0.into(), host: names.1.into() };
        ca.issue(&host, &[], day).expect("leaf").store(pki, "host").expect("store");
        let on = |listen: SocketAddr, events_in| {
            let config = MeshConfig {
                me: NodeId(1),
                federation: FEDERATION.into(),
                listen,
                identity: Identity::load(pki, "region").expect("identity"),
                peers: Vec::new(),
                limits: Limits::default(),
                seed: 1,
                wan: None,
            };
            Mesh::start(config, events_in)
        };
        // A port that is free for TCP may be somebody's for UDP: then another one.
        let (api, mesh, mut events) = (0..20)
            .find_map(|_| {
                let api = std::net::TcpListener::bind(listen).expect("a port for TCP");
                let (events_in, events) = mpsc::channel(64);
                let mesh = on(api.local_addr().expect("an address"), events_in).ok()?;
                Some((api, mesh, events))
            })
            .expect("the same port for UDP");
        let address = mesh.local_addr().expect("address");
        let state = Arc::new(Mutex::new(State::default()));
        let api = Arc::new(Mutex::new(Some(api)));
        let leader = Leader { state: state.clone(), address, host: names.1.into(), api };
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let MeshEvent::AgentFrame { session, bytes, .. } = event {
                    if is_of_figures(&bytes) {
                        let said = decode::<AgentSaid>(&bytes).expect("what the agent measured");
                        let answer = measured(&mut state.lock().expect("lock"), said);
                        let _ = mesh.send_agent(session, encode(&answer));
                        continue;
                    }
                    let measure = state.lock().expect("lock").measure.take();
                    if let Some(question) = measure {
                        let _ = mesh.send_agent(session, encode(&ServerAsked::Measure(question)));
                    }
                    let message = decode::<AgentMessage>(&bytes).expect("the agent's message");
                    for answer in answer(&mut state.lock().expect("lock"), message) {
                        let _ = mesh.send_agent(session, encode(&answer));
                    }
                }
            }
        });
        leader
    }

    pub fn want(&self, wanted: Vec<VmIntent>) {
        let mut state = self.state.lock().expect("lock");
        state.wanted = wanted;
        state.revision += 1;
    }

    /// The copies that are to be kept.
    pub fn keep(&self, kept: Vec<ReplicaIntent>) {
        let mut state = self.state.lock().expect("lock");
        state.kept = kept;
        state.revision += 1;
    }

    /// Asks what the host measures; none yet: the answer has not come.
    pub fn figures(&self, question: u64) -> Option<HostFigures> {
        let mut state = self.state.lock().expect("lock");
        let found = state.figures.iter().find(|figures| figures.question == question).cloned();
        state.measure = found.is_none().then_some(question);
        found
    }

    /// What its agent logged.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().expect("lock").lines.clone()
    }

    /// Where the host takes VMs and copies, as it said last.
    pub fn transfer(&self) -> String {
        self.state.lock().expect("lock").transfer.clone()
    }

    pub fn keep_silent(&self, silent: bool) {
        self.state.lock().expect("lock").silent = silent;
    }

    /// So many of the next introductions never come here.
    pub fn lose_introductions(&self, count: u64) {
        self.state.lock().expect("lock").lost_introductions = count;
    }

    /// Closes the API: connections are refused from now on.
    pub fn close_api(&self) {
        self.api.lock().expect("lock").take();
    }

    pub fn ask(&self, message: ControllerMessage) {
        self.state.lock().expect("lock").ask.push(message);
    }

    pub fn answers(&self) -> Vec<AgentMessage> {
        self.state.lock().expect("lock").answers.clone()
    }

    pub fn reports(&self) -> Vec<VmReport> {
        self.state.lock().expect("lock").reports.clone()
    }

    pub fn incarnation(&self) -> u64 {
        self.state.lock().expect("lock").incarnation
    }
}

fn answer(state: &mut State, message: AgentMessage) -> Vec<ControllerMessage> {
    if state.silent {
        return Vec::new();
    }
    let intents = Intents {
        term: 1,
        revision: state.revision,
        vms: state.wanted.clone(),
        replicas: state.kept.clone(),
    };
    match message {
        AgentMessage::Hello(_) if state.lost_introductions > 0 => {
            state.lost_introductions -= 1;
            Vec::new()
        }
        AgentMessage::Hello(hello) => {
            state.incarnation = hello.incarnation;
            state.transfer = hello.transfer;
            let welcome = Welcome { node: 1, term: 1, lease_ms: 3_000, voters: vec![1], joining: Vec::new() };
            vec![ControllerMessage::Welcome(welcome), ControllerMessage::Intents(intents)]
        }
        AgentMessage::Renew(renew) => {
            let mut out = std::mem::take(&mut state.ask);
            if (renew.term, renew.revision) < (1, state.revision) {
                out.push(ControllerMessage::Intents(intents));
            }
            let grant = Grant {
                seq: renew.seq,
                lease_ms: 3_000,
                term: 1,
                revision: state.revision,
                voters: vec![1],
                joining: Vec::new(),
            };
            out.push(ControllerMessage::Grant(grant));
            state.reports = renew.vms;
            out
        }
        other => {
            state.answers.push(other);
            Vec::new()
        }
    }
}
