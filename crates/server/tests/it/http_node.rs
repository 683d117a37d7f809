//! One region with its node in memory and its API on a plain socket, and a client that speaks raw HTTP.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_api::{Endpoint, IDEMPOTENCY_KEY, Problem, encode};
use dwcp_backup::FederationKey;
use dwcp_config::region::{Backup, Monitoring, RegionConfig};
use dwcp_consensus::Disk;
use dwcp_roles::node::{CertifiedFor, Effect, Input, Node, NodeConfig, Reply};
use dwcp_roles::protocol::{
    AgentMessage, CertificateAsked, Certified, CheckRequest, Checked, ControllerMessage, Hello, HostMeasures,
    Hosting, HostingPhase, HostingReport, ImageHere, ImageRead, ProcessReport, ReadImage, Renew, renewal_seq,
};
use dwcp_server::backups::{self, place::Places};
use dwcp_server::handle::{NodeHandle, Task, View};
use dwcp_server::http::{Api, secret_hash, serve};
use dwcp_server::log::Log;
use dwcp_server::monitor;
use dwcp_server::telemetry::hosts::{self, Hosts};
use dwcp_server::telemetry::regions::Regions;
use dwcp_server::telemetry::{Instruments, Traces, keeper, logs};
use dwcp_state::{Core, Region, Role, Token};
use dwcp_types::{IMAGE_FILE, ImagePart, Mono, Now, RegionId, TokenId, Wall};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub const REGION: &str = "us-east-1";
pub const HOST: &str = "h1";
pub const ADMIN: &str = "dwcp_admin";
pub const VIEWER: &str = "dwcp_viewer";
pub const EXPIRED: &str = "dwcp_expired";

struct Empty;

impl Disk for Empty {
    fn range(&self, _: &[u8], _: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }
}

fn token(id: &str, secret: &str, role: Role, expires_at: Option<Wall>) -> Token {
    Token {
        id: TokenId::from(id),
        user: id.trim_start_matches("token-").to_owned(),
        role,
        secret_hash: secret_hash(secret),
        created_at: Wall(1),
        expires_at,
        revoked_at: None,
        ..Token::default()
    }
}

fn genesis() -> Core {
    let id = RegionId::from(REGION);
    let region = Region {
        id: id.clone(),
        number: 1,
        placement: true,
        traffic_percent: 100,
        priority: 50,
        ..Region::default()
    };
    let tokens = [
        token("token-admin", ADMIN, Role::Admin, None),
        token("token-viewer", VIEWER, Role::Viewer, None),
        token("token-expired", EXPIRED, Role::Admin, Some(Wall(2))),
    ];
    Core {
        name: "test".to_owned(),
        regions: BTreeMap::from([(id, region)]),
        tokens: tokens.into_iter().map(|token| (token.id.clone(), token)).collect(),
        ..Core::default()
    }
}

fn now(began: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    Now { mono: Mono(1_000_000 + began.elapsed().as_micros() as u64), wall: Wall(wall) }
}

/// Runs the node: everything is durable at once, and the one host's agent renews its lease.
async fn run(mut inbox: mpsc::UnboundedReceiver<Task>) {
    let began = Instant::now();
    let regions = BTreeMap::from([(1, RegionId::from(REGION))]);
    let config = NodeConfig { issues: true, ..NodeConfig::new(1, regions, genesis(), 7) };
    let mut node = Node::open(config, now(began), &Empty).expect("a fresh node opens");
    let mut pool = PoolAgent::default();
    let mut tickets: BTreeMap<u64, oneshot::Sender<Reply>> = BTreeMap::new();
    let mut inputs = vec![Input::AgentUp { session: 1, region: RegionId::from(REGION), host: HOST.into() }];
    inputs.push(Input::AgentUp { session: 2, region: POOL.into(), host: POOL_HOST.into() });
    let (mut next_ticket, mut renewals, mut renew_at) = (1, 0, Instant::now());
    loop {
        let wait = Duration::from_micros(node.wake_at().0.saturating_sub(now(began).mono.0))
            .min(Duration::from_millis(50));
        let wait = if inputs.is_empty() { wait } else { Duration::ZERO };
        let mut look = None;
        match tokio::time::timeout(wait, inbox.recv()).await {
            Ok(None | Some(Task::Stop)) => return,
            Ok(Some(Task::Input(input) | Task::Frame(input, _))) => inputs.push(input),
            Ok(Some(Task::Ask(request, reply))) => {
                tickets.insert(next_ticket, reply);
                inputs.push(Input::Request { ticket: next_ticket, request });
                next_ticket += 1;
            }
            Ok(Some(Task::Look(wanted))) => look = Some(wanted),
            Err(_) => {}
        }
        if renew_at.elapsed() >= Duration::from_millis(300) {
            renew_at = Instant::now();
            renewals += 1;
            inputs.push(Input::AgentFrame { session: 1, bytes: agent_says(renewals) });
            inputs.push(Input::AgentFrame { session: 2, bytes: pool.says() });
        }
        let mut effects = Vec::new();
        node.step_all(now(began), std::mem::take(&mut inputs), &mut effects);
        for effect in effects {
            match effect {
                Effect::Persist { seq, .. } => inputs.push(Input::Persisted { seq }),
                Effect::SendAgent { session: 2, bytes } => {
                    inputs.extend(pool.hears(&bytes).map(|bytes| Input::AgentFrame { session: 2, bytes }));
                }
                Effect::Issue(asked) => inputs.push(Input::Issued(Box::new(CertifiedFor {
                    asker: asked.asker,
                    region: asked.region,
                    host: asked.host,
                    answer: Certified {
                        public_key: asked.public_key,
                        certificate: format!("for {}", asked.address),
                        ..Certified::default()
                    },
                }))),
                Effect::SendAgent { session, bytes } => {
                    let answer = agent_hears(&bytes);
                    inputs.extend(answer.map(|bytes| Input::AgentFrame { session, bytes }));
                }
                Effect::Reply { ticket, reply } => {
                    if let Some(waiting) = tickets.remove(&ticket) {
                        let _ = waiting.send(reply);
                    }
                }
                _ => {}
            }
        }
        if let Some(look) = look {
            look(&View { node: &node, now: now(began) });
        }
    }
}

fn agent_says(renewals: u64) -> Vec<u8> {
    let hello = Hello {
        host: HOST.into(),
        region: REGION.into(),
        zone: "a".into(),
        vcpus: 8,
        memory_mib: 8_192,
        disk_gib: 100,
        version: "0.1.0".to_owned(),
        incarnation: 1,
        controllers: 4,
        ..Hello::default()
    };
    // Before the group has a leader a greeting is lost, so it is repeated now and then.
    let message = match renewals % 5 {
        1 => AgentMessage::Hello(hello),
        _ => AgentMessage::Renew(Renew {
            seq: renewal_seq(1, renewals),
            images: Some(IMAGES.map(image_here).to_vec()),
            ..Renew::default()
        }),
    };
    dwcp_types::encode(&message)
}

/// A region that is not there, and its one host.
pub const POOL: &str = "eu-north-9";
pub const POOL_HOST: &str = "p1";
/// Where that would run its region's node.
pub const POOL_NODE: &str = "127.0.0.9:7443";

/// The agent of that host: asks for the certificate it is to have, and says that the node runs once it has one.
#[derive(Default)]
struct PoolAgent {
    phase: HostingPhase,
    trouble: String,
}

impl PoolAgent {
    fn says(&self) -> Vec<u8> {
        let (phase, trouble) = (self.phase, self.trouble.clone());
        dwcp_types::encode(&AgentMessage::Hello(Hello {
            host: POOL_HOST.into(),
            region: POOL.into(),
            zone: "a".into(),
            vcpus: 4,
            memory_mib: 2_048,
            disk_gib: 50,
            incarnation: 1,
            control: POOL_NODE.to_owned(),
            follows_nodes: true,
            hosting: HostingReport { phase, trouble, ..HostingReport::default() },
            ..Hello::default()
        }))
    }

    fn hears(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        match dwcp_types::decode(bytes) {
            Ok(ControllerMessage::Hosting(Hosting::Node(node))) if self.phase == HostingPhase::Nothing => {
                assert_eq!((node.number, node.peers.len()), (2, 2), "its own region's node is among them");
                self.phase = HostingPhase::Certifying;
                let asked = CertificateAsked { public_key: vec![4; 65] };
                Some(dwcp_types::encode(&AgentMessage::Certify(asked)))
            }
            Ok(ControllerMessage::Certified(certified)) => {
                self.phase = HostingPhase::Running;
                self.trouble = certified.certificate;
                Some(self.says())
            }
            _ => None,
        }
    }
}

/// Names of what lies in the host's image folder.
pub const IMAGES: [&str; 2] = ["web", "shop"];

fn image_here(name: &str) -> ImageHere {
    let digest = if name == "web" { "a" } else { "b" };
    ImageHere { name: name.to_owned(), digest: digest.repeat(64).as_str().into(), bytes: 9 << 20 }
}

/// The one process that the host's agent tells of.
pub const AGENT_PID: u32 = 4_711;

/// A host that is well, and tells of processes only for as long as it was asked to count.
fn checked(asked: &CheckRequest) -> Checked {
    let measures = HostMeasures {
        fsyncs: 20,
        fsync_median_us: 900,
        disk_free_mib: Some(200 << 10),
        memory_available_mib: Some(16 << 10),
        certificate_left_s: 30 * 86_400,
        ..HostMeasures::default()
    };
    let process = ProcessReport {
        kind: "dwcp-agentd".to_owned(),
        pid: AGENT_PID,
        window_ms: asked.processes_over_ms,
        cpu_basis_points: Some(1_234),
        fds: Some(10),
        fd_limit: Some(1_024),
        ..ProcessReport::default()
    };
    assert!(asked.in_service, "its region is there");
    Checked {
        request: asked.request,
        measures: asked.measure.then_some(measures),
        processes: vec![process],
        ..Checked::default()
    }
}

/// What the host's agent says to that at once.
fn agent_hears(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Ok(ControllerMessage::Check(asked)) = dwcp_types::decode(bytes) {
        return Some(dwcp_types::encode(&AgentMessage::Checked(checked(&asked))));
    }
    let Ok(ControllerMessage::ReadImage(ReadImage { request, name })) = dwcp_types::decode(bytes) else {
        return None;
    };
    let ImageHere { digest, bytes, .. } = image_here(&name);
    let part = ImagePart { file: IMAGE_FILE.to_owned(), bytes, sha256: digest.to_string() };
    Some(dwcp_types::encode(&AgentMessage::ImageRead(ImageRead { request, digest, parts: vec![part] })))
}

/// The API under test.
pub struct Served {
    pub address: SocketAddr,
    pub links: PathBuf,
    /// The key that its backups are sealed with, once there is one.
    pub backup_key: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Drop for Served {
    fn drop(&mut self) {
        for file in [&self.links, &self.backup_key] {
            // Not every test writes them.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
    pub fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: Problem = serde_json::from_value(self.json()).expect("a problem");
        assert_eq!(Some(problem.request_id.as_str()), self.header("x-request-id"));
        problem
    }
}

impl Served {
    /// Starts it and waits until it can place VMs.
    pub fn start(name: &str) -> Served {
        Served::start_with(name, None, Log::silent(REGION))
    }

    /// The same; it measures itself every second and keeps that in `folder`.
    pub fn start_measuring(name: &str, folder: &Path) -> Served {
        let log = Log::silent(REGION);
        let store = keeper::open(folder, dwcp_telemetry::store::Config::default(), &log).expect("a store");
        let (logs, lines) = logs::open(&folder.with_file_name("logs"), REGION, &log).expect("a log");
        log.keep_for_queries(lines);
        let measured = Regions::new(1, Some(store), None).with_logs(Some(logs));
        Served::start_with(name, Some(measured), log)
    }

    /// The same with its measurements, and where it logs.
    pub fn start_with(name: &str, measured: Option<Regions>, log: Log) -> Served {
        Served::start_as(name, measured, log, None)
    }

    /// One that monitors by the rules and tells by the settings of `monitoring`.
    pub fn start_monitoring(name: &str, folder: &Path, monitoring: Monitoring) -> Served {
        let log = Log::silent(REGION);
        let store = keeper::open(folder, dwcp_telemetry::store::Config::default(), &log).expect("a store");
        Served::start_as(name, Some(Regions::new(1, Some(store), None)), log, Some(monitoring))
    }

    fn start_as(name: &str, measured: Option<Regions>, log: Log, monitoring: Option<Monitoring>) -> Served {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        let links = std::env::temp_dir().join(format!("dwcp-http-{name}-{}.toml", std::process::id()));
        let backup_key = links.with_extension("key");
        let backup = Backup { key_file: Some(backup_key.display().to_string()), ..Backup::default() };
        let config = RegionConfig {
            backup,
            federation: "test".to_owned(),
            region: REGION.to_owned(),
            number: 1,
            dev: true,
            wan: Some(links.display().to_string()),
            monitoring: monitoring.clone().unwrap_or_default(),
            ..RegionConfig::default()
        };
        let (handle, inbox) = NodeHandle::new();
        runtime.spawn(backups::keep(handle.clone(), Places::new(&config), Log::silent(REGION)));
        let instruments = Instruments::new(REGION);
        if let Some(measured) = &measured {
            instruments.show_kept(measured.intake().clone(), "none".into());
        }
        let (hosts, _) = Hosts::new(None, log.clone(), instruments.clone());
        let traces = Traces::new(REGION, log.clone(), instruments.clone());
        let api = Api::new(handle.clone(), &config).measuring(instruments, measured.clone()).tracing(traces);
        let api = Arc::new(api.linked(hosts.clone(), None));
        let intake = measured.as_ref().map(|measured| measured.intake().clone());
        if let Some(intake) = intake.filter(|intake| intake.is_open()) {
            let every = Duration::from_secs(1);
            runtime.spawn(hosts::keep(hosts, handle, intake.clone(), every, log.clone()));
            runtime.spawn(keeper::keep(api.clone(), intake, every, log));
        }
        for receiver in measured.iter().flat_map(|measured| measured.intake().receivers.iter()) {
            let store = measured.as_ref().and_then(|measured| measured.store().cloned());
            runtime.spawn(receiver.clone().keep(store, 86_400_000, Log::silent(REGION)));
        }
        if let Some(monitoring) = monitoring {
            let (monitor, log) = (api.monitor().clone(), Log::new(REGION));
            runtime.spawn(monitor::round::keep(api.clone(), log.clone()));
            runtime.spawn(monitor::settings::keep(monitor.clone(), monitoring.notifications, log.clone()));
            runtime.spawn(monitor::outbox::keep(monitor.clone(), log.clone()));
            runtime.spawn(monitor::heartbeat::keep(monitor, log));
        }
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("bind");
        let address = listener.local_addr().expect("address");
        runtime.spawn(run(inbox));
        runtime.spawn(serve(listener, None, api, std::future::pending()));
        let served = Served { address, links, backup_key, _runtime: runtime };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let hosts = served.get("/v1/hosts", ADMIN);
            if hosts.status == 200 && hosts.json()["items"].as_array().is_some_and(|items| items.len() == 1) {
                return served;
            }
            assert!(Instant::now() < deadline, "not ready: {}", String::from_utf8_lossy(&hosts.body));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The same with a key to seal backups with.
    pub fn with_backup_key(self) -> Served {
        FederationKey::random().write_file(&self.backup_key).expect("a key");
        self
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        stream
    }

    pub fn get(&self, target: &str, token: &str) -> Answer {
        self.send("GET", target, &[("authorization", &format!("Bearer {token}"))], b"")
    }

    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        head.push_str(&format!("content-length: {}\r\n", body.len()));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("head");
        stream.write_all(body).expect("body");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answer");
        read_answer(&answer)
    }

    /// A call of the API's table; its answer is of the declared type.
    pub fn call<E: Endpoint>(&self, request: &E::Request) -> Result<E::Response, Problem> {
        self.call_as::<E>(request, ADMIN, None)
    }

    pub fn call_as<E: Endpoint>(
        &self,
        request: &E::Request,
        token: &str,
        key: Option<&str>,
    ) -> Result<E::Response, Problem> {
        let call = encode::<E>(request).expect("request");
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(key.map(|key| (IDEMPOTENCY_KEY, key)));
        let answer = self.send(call.method.name(), &call.target, &headers, body.as_bytes());
        if answer.status != 200 {
            return Err(answer.problem());
        }
        Ok(serde_json::from_value(answer.json())
            .unwrap_or_else(|e| panic!("{}: {e}: {}", E::NAME, answer.json())))
    }
}

fn read_answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}
