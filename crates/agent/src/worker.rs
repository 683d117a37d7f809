//! The worker: feeds the pure machine and carries out its effects.

mod beside;
mod checks;
mod effects;
mod figures;
mod guards;
mod hosting;
mod images;
mod measures;
mod memory;
mod moves;
mod nodes;
mod points;
mod prepare;
mod probes;
mod replicas;
mod usage;
mod voters;

use std::collections::BTreeMap;
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::time::Duration;

use dwcp_mesh::{AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle, Identity, Wan};
use dwcp_roles::agent::{Adopted, Agent, AgentConfig, Input};
use dwcp_roles::protocol::{ControllerMessage, Hello};
use dwcp_types::{VmId, decode};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::accelerator::Trial;
use crate::clock::monotonic_us;
use crate::host_config::HostConfig;
use crate::journal;
use crate::lease_file::LeaseFile;
use crate::mover::Process;
use crate::watch_protocol::{Ask, Tell, line};
use crate::watchdog::LEASE_FILE;
use crate::watchdog::worker_process::CHANNEL_FD;
use beside::Helpers;
use figures::Figures;
use guards::Guards;
use hosting::Hosted;
use images::Images;
use memory::Note;
use moves::Moves;
use nodes::Nodes;
use prepare::Prepared;
use replicas::Replicas;

/// Between two looks at the consoles' sizes and at the certificate.
const UPKEEP_EVERY: Duration = Duration::from_secs(20);

/// Between two looks at what the host uses.
const USAGE_EVERY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or until the watchdog is gone.
///
/// # Errors
/// What must be there is not: directories, certificates, the watchdog's channel.
pub fn run(config: HostConfig) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| format!("runtime: {e}"))?;
    let done = runtime.block_on(work(config));
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

/// What the effects need.
struct Worker {
    config: Arc<HostConfig>,
    accelerator: dwcp_roles::protocol::Accelerator,
    lease: LeaseFile,
    link: AgentLinkHandle,
    identity: Identity,
    /// When the certificate's file was written that is in use.
    certificate_of: Option<std::time::SystemTime>,
    /// For questions to the nodes' API.
    tls: Arc<rustls::ClientConfig>,
    wan: Option<Wan>,
    watchdog: OwnedWriteHalf,
    inputs: mpsc::UnboundedSender<Happened>,
    addresses: Vec<String>,
    /// Processes by VM.
    pids: BTreeMap<VmId, (u64, u32)>,
    /// Launches whose files are being made; true once a kill came in between.
    preparing: BTreeMap<(VmId, u64), bool>,
    /// VMs whose guest has told its own boot id, by process.
    named: BTreeMap<VmId, u32>,
    /// VMs that come and go while they run.
    moves: Moves,
    /// Copies of disks of this host elsewhere.
    guards: Guards,
    /// Copies of other hosts' disks here.
    replicas: Replicas,
    /// VMs whose disk is made from the copy of this epoch here at their next launch.
    boots: BTreeMap<VmId, u64>,
    images: Images,
    nodes: Nodes,
    /// The region's own node, where this host may run it.
    hosted: Option<Hosted>,
    /// Controllers and routers beside it.
    helpers: Helpers,
    figures: Figures,
}

/// What comes back from work done aside.
enum Happened {
    Input(Input),
    /// A launch's files are ready, or could not be made.
    Prepared {
        vm: VmId,
        generation: u64,
        slot: usize,
        prepared: Result<Prepared, String>,
    },
    /// The guest in this process told its boot id.
    Named {
        vm: VmId,
        pid: u32,
    },
}

type Tells = Lines<BufReader<OwnedReadHalf>>;

/// Where news comes from.
struct Sources {
    tells: Tells,
    happened: mpsc::UnboundedReceiver<Happened>,
    events: mpsc::Receiver<AgentEvent>,
}

async fn work(config: HostConfig) -> Result<(), String> {
    for dir in ["images", "vms"] {
        let path = config.data_dir.join(dir);
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let (mut worker, mut agent, mut sources) = begin(Arc::new(config)).await?;
    worker.empty_removed();
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| e.to_string())?;
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    let mut usage = usage::Meter::begin(worker.config.data_dir.clone());
    let mut measuring = tokio::time::interval(USAGE_EVERY);
    measuring.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let wake_us =
            agent.wake_at_us().map_or(1_000_000, |at| at.saturating_sub(monotonic_us())).min(1_000_000);
        let input = tokio::select! {
            biased;
            _ = terminated.recv() => break,
            tell = sources.tells.next_line() => match tell {
                Ok(Some(tell)) => worker.told(&tell),
                _ => return Err("the watchdog is gone".to_string()),
            },
            Some(done) = sources.happened.recv() => worker.done(done).await?,
            Some(event) = sources.events.recv() => match worker.is_of_figures(&event) {
                true => None,
                false => linked(event),
            },
            _ = upkeep.tick() => {
                worker.rotate_consoles();
                worker.hosted.iter().for_each(Hosted::rotate_log);
                worker.renew_certificate();
                None
            }
            _ = measuring.tick() => {
                worker.send_lines();
                usage.measure().map(Input::Usage)
            }
            () = tokio::time::sleep(Duration::from_micros(wake_us)) => Some(Input::Tick),
        };
        let Some(input) = input else { continue };
        worker.before(&input);
        let mut effects = Vec::new();
        agent.step(monotonic_us(), input, &mut effects);
        for effect in effects {
            worker.carry_out(effect).await?;
        }
    }
    worker.link.shutdown().await;
    Ok(())
}

/// The watchdog's channel, as lines to read and an end to write to.
fn watchdog_channel() -> Result<(Tells, OwnedWriteHalf), String> {
    // SAFETY: the watchdog put its channel there; nothing else in this process uses the number.
    let channel = unsafe { std::os::unix::net::UnixStream::from_raw_fd(CHANNEL_FD) };
    // Programs that the worker starts may outlive it, and must not hold its end.
    // SAFETY: plain numbers; the descriptor is open.
    unsafe { libc::fcntl(CHANNEL_FD, libc::F_SETFD, libc::FD_CLOEXEC) };
    channel
        .set_nonblocking(true)
        .map_err(|e| format!("no channel to a watchdog (start dwcp-agentd without `worker`): {e}"))?;
    let stream = UnixStream::from_std(channel).map_err(|e| format!("watchdog's channel: {e}"))?;
    let (reader, writer) = stream.into_split();
    Ok((BufReader::new(reader).lines(), writer))
}

/// Finds what runs, reads what is remembered, and begins to dial.
async fn begin(config: Arc<HostConfig>) -> Result<(Worker, Agent, Sources), String> {
    let (mut tells, mut watchdog) = watchdog_channel()?;
    let (mut adopted, pids) = adopt(&config, &mut tells, &mut watchdog).await?;
    let lease_path = config.data_dir.join(LEASE_FILE);
    let lease = LeaseFile::open(&lease_path).map_err(|e| format!("{}: {e}", lease_path.display()))?;
    let accelerator = Trial::here().choose(&config).await;
    let identity = Identity::load(&config.pki.dir, &config.pki.name).map_err(|e| e.to_string())?;
    let ca_path = config.pki.dir.join("ca.pem");
    let ca_pem = std::fs::read_to_string(&ca_path).map_err(|e| format!("{}: {e}", ca_path.display()))?;
    let tls = Arc::new(dwcp_mesh::pki::api_client_config(&ca_pem).map_err(|e| e.to_string())?);
    let wan = match &config.wan_file {
        Some(file) => Some(Wan::watch(file).map_err(|e| format!("{}: {e}", file.display()))?),
        None => None,
    };
    let (events_in, events) = mpsc::channel(256);
    let nodes = Nodes::load(&config);
    let mut link_config = AgentLinkConfig::new(identity.clone(), nodes.mesh(), monotonic_us());
    link_config.bind = config.bind;
    link_config.wan = wan.clone();
    let link = AgentLink::start(link_config, events_in).map_err(|e| format!("link: {e}"))?;
    let (inputs, happened) = mpsc::unbounded_channel();
    let (moves, transfer, reached_at) = Moves::begin(&config, &identity, wan.as_ref(), &inputs)?;
    moves::look(&moves.mover, &mut adopted, &pids).await;
    let here: Vec<VmId> = adopted.iter().map(|one| one.vm).collect();
    let incarnation = memory::next_incarnation(&config.data_dir)?;
    let figures = Figures::begin(&config, incarnation);
    let until_us = lease.read().unwrap_or(0);
    let agent = machine(&config, (incarnation, accelerator), reached_at, adopted, until_us)?;
    let replicas = Replicas::start(&config.data_dir, &transfer);
    let images = Images::start(&config, &transfer, &inputs)?;
    let worker = Worker {
        addresses: config.vm_addresses.all(),
        accelerator,
        lease,
        link,
        identity,
        certificate_of: None,
        tls,
        wan,
        watchdog,
        pids,
        preparing: BTreeMap::new(),
        named: BTreeMap::new(),
        moves,
        guards: Guards::new(transfer.clone(), inputs.clone()),
        replicas,
        boots: BTreeMap::new(),
        images,
        nodes,
        hosted: Hosted::begin(&config, &inputs),
        helpers: Helpers::new(&config, &inputs),
        figures,
        config,
        inputs,
    };
    here.into_iter().for_each(|vm| worker.tell_disk(vm));
    Ok((worker, agent, Sources { tells, happened, events }))
}

/// The pure machine at its start.
fn machine(
    config: &HostConfig,
    (incarnation, accelerator): (u64, dwcp_roles::protocol::Accelerator),
    transfer: String,
    adopted: Vec<Adopted>,
    until_us: u64,
) -> Result<Agent, String> {
    let seen = memory::load_seen(&config.data_dir)?;
    let agent_config = AgentConfig {
        hello: Hello { transfer, ..hello(config, incarnation, accelerator) },
        addresses: config.vm_addresses.all(),
        boot_concurrency: config.boot_concurrency,
        ..AgentConfig::default()
    };
    journal::info(
        "worker-ready",
        json!({"incarnation": incarnation, "adopted": adopted.len(), "accelerator": accelerator.name()}),
    );
    Ok(Agent::new(agent_config, seen, adopted, until_us, monotonic_us()))
}

/// Asks the watchdog what runs, and looks for disks of VMs that don't.
async fn adopt(
    config: &HostConfig,
    tells: &mut Tells,
    writer: &mut OwnedWriteHalf,
) -> Result<(Vec<Adopted>, BTreeMap<VmId, (u64, u32)>), String> {
    let gone = |e: std::io::Error| format!("watchdog's channel: {e}");
    writer.write_all(&line(&Ask::List)).await.map_err(gone)?;
    let mut adopted: Vec<Adopted> = Vec::new();
    let mut pids = BTreeMap::new();
    while let Some(text) = tells.next_line().await.map_err(gone)? {
        match serde_json::from_str(&text) {
            Ok(Tell::Running { vm, generation, pid, held, note }) => {
                pids.insert(VmId(vm), (generation, pid));
                let Some(note) = Note::parse(&note) else {
                    return Err(format!("the watchdog's note on process {pid} can't be read"));
                };
                adopted.push(note.adopted(pid, true, held));
            }
            Ok(Tell::Listed) => break,
            // What ended in between is simply not in the list.
            Ok(_) => {}
            Err(error) => return Err(format!("watchdog's channel: {error}")),
        }
    }
    for note in memory::notes(&config.data_dir) {
        let slot_taken = adopted.iter().any(|a| a.vm == note.vm || a.slot == note.slot as usize);
        if !slot_taken {
            adopted.push(note.adopted(0, false, false));
        }
    }
    Ok((adopted, pids))
}

fn hello(config: &HostConfig, incarnation: u64, accelerator: dwcp_roles::protocol::Accelerator) -> Hello {
    Hello {
        host: config.host.as_str().into(),
        region: config.region.as_str().into(),
        zone: config.zone.as_str().into(),
        vcpus: config.vcpus,
        memory_mib: config.memory_mib,
        disk_gib: config.disk_gib,
        labels: config.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        incarnation,
        accelerator,
        control: config.control_plane.as_ref().map(|here| here.address.to_string()).unwrap_or_default(),
        follows_nodes: true,
        controllers: config.controllers.most,
        routers: config.routers.as_ref().map_or(0, |here| here.most),
        ..Hello::default()
    }
}

fn linked(event: AgentEvent) -> Option<Input> {
    match event {
        AgentEvent::Up { region } => {
            journal::info("link-up", json!({"region": region}));
            Some(Input::Connected)
        }
        AgentEvent::Down { region } => {
            journal::warn("link-down", json!({"region": region}));
            Some(Input::Disconnected)
        }
        AgentEvent::Refused { region, reason } => {
            journal::warn("link-refused", json!({"region": region, "reason": reason}));
            None
        }
        AgentEvent::Frame { bytes } => match decode::<ControllerMessage>(&bytes) {
            Ok(message) => Some(Input::Message(message)),
            Err(error) => {
                journal::warn(
                    "message-not-understood",
                    json!({"error": error.to_string(), "bytes": bytes.len()}),
                );
                None
            }
        },
    }
}

impl Worker {
    /// Notes what the shell itself needs of an input.
    fn before(&mut self, input: &Input) {
        self.note_arrivals(input);
        if let Input::TransferFailed { vm, .. } = input {
            self.guards.let_go(*vm);
        }
        if let Input::WentOn { vm, .. } = input {
            self.tell_disk(*vm);
        }
        if let Input::Message(ControllerMessage::Grant(_)) = input {
            self.figures.grants += 1;
        }
    }

    /// What the watchdog said, as an input.
    fn told(&mut self, text: &str) -> Option<Input> {
        match serde_json::from_str(text) {
            Ok(Tell::Spawned { vm, generation, pid, error }) => {
                let vm = VmId(vm);
                let result = match pid {
                    Some(pid) => {
                        self.pids.insert(vm, (generation, pid));
                        self.started(vm, generation, pid);
                        Ok(memory::boot_id(generation, pid))
                    }
                    None => Err(error),
                };
                journal::info(
                    "vm-launched",
                    json!({"vm": vm, "generation": generation, "result": format!("{result:?}")}),
                );
                Some(Input::Launched { vm, generation, result })
            }
            Ok(Tell::Exited { vm, generation, reason }) => {
                let vm = VmId(vm);
                if let Some((generation, pid)) = self.pids.remove(&vm) {
                    self.moves.mover.ended(Process { vm, generation, pid });
                }
                self.named.remove(&vm);
                self.guards.process_gone(vm);
                journal::info("vm-ended", json!({"vm": vm, "generation": generation, "reason": reason}));
                Some(Input::Exited { vm, generation, reason })
            }
            Ok(Tell::Held { vm }) => Some(Input::Held { vm: VmId(vm) }),
            Ok(Tell::Running { .. } | Tell::Listed) => None,
            Err(error) => {
                journal::error("watchdog-not-understood", json!({"error": error.to_string()}));
                None
            }
        }
    }

    async fn done(&mut self, happened: Happened) -> Result<Option<Input>, String> {
        match happened {
            Happened::Input(input) => Ok(Some(input)),
            Happened::Named { vm, pid } => {
                self.named.insert(vm, pid);
                Ok(None)
            }
            Happened::Prepared { vm, generation, slot, prepared } => {
                let cancelled = self.preparing.remove(&(vm, generation)).unwrap_or(true);
                match prepared {
                    Ok(_) if cancelled => {
                        let reason = "it was stopped before its process started".to_string();
                        Ok(Some(Input::Exited { vm, generation, reason }))
                    }
                    Ok(Prepared { line, dir, note, new_disk }) => {
                        if let Some(from) = new_disk {
                            let mut said = json!({"vm": vm, "generation": generation, "from": from});
                            if generation > 1 {
                                said["missing"] = "what earlier generations wrote elsewhere".into();
                            }
                            journal::info("disk-made", said);
                        }
                        journal::info(
                            "vm-launching",
                            json!({"vm": vm, "generation": generation, "slot": slot}),
                        );
                        self.tell_disk(vm);
                        let dir = dir.to_string_lossy().into_owned();
                        self.ask(&Ask::Spawn { vm: vm.0, generation, line, dir, note }).await?;
                        Ok(None)
                    }
                    Err(reason) => Ok(Some(Input::Launched { vm, generation, result: Err(reason) })),
                }
            }
        }
    }

    async fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        self.watchdog.write_all(&line(ask)).await.map_err(|e| format!("the watchdog is gone: {e}"))
    }

    /// Takes a renewed certificate into use; leaves live for a day at most.
    fn renew_certificate(&mut self) {
        let pki = &self.config.pki;
        let changed = std::fs::metadata(pki.dir.join(format!("{}.pem", pki.name)))
            .and_then(|meta| meta.modified())
            .ok();
        if changed.is_none() || changed == self.certificate_of {
            return;
        }
        match self.identity.reload(&pki.dir, &pki.name) {
            Ok(()) => self.certificate_of = changed,
            // Certificate and key are replaced one after the other; in between they don't fit.
            Err(error) => journal::warn(
                "certificate-not-reloaded",
                json!({"error": error.to_string(), "next": "in 20 s"}),
            ),
        }
    }

    fn rotate_consoles(&self) {
        for vm in self.pids.keys() {
            if let Err(error) = crate::console::rotate(&memory::vm_dir(&self.config.data_dir, *vm)) {
                journal::warn("console-not-rotated", json!({"vm": vm, "error": error.to_string()}));
            }
        }
    }
}
