//! Running VMs that come and go: the machine's effects about them, and what an earlier worker left of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use dwcp_mesh::transfer::{TransferConfig, TransferHandle, TransferLink};
use dwcp_mesh::{Identity, PeerId, Wan};
use dwcp_roles::agent::{Adopted, Input};
use dwcp_roles::protocol::{ControllerMessage, TransferTo, VmSpec};
use dwcp_types::VmId;
use serde_json::json;
use tokio::sync::mpsc;

use super::prepare::Wanted;
use super::{Happened, Worker, memory, replicas};
use crate::clock::monotonic_us;
use crate::host_config::HostConfig;
use crate::journal;
use crate::mover::{GuestState, Mover, Process};
use crate::qemu::{self, DISK_FILE};

/// What looking at all adopted processes may take: leases run on meanwhile.
const LOOK_LIMIT: Duration = Duration::from_millis(700);

/// What the worker knows of VMs that come.
pub(super) struct Moves {
    pub(super) mover: Mover,
    /// Processes that are being started to take a VM: generation and migration.
    expected: BTreeMap<VmId, (u64, u64)>,
    /// Where VMs are expected from, by the newest intents: migration and host.
    arrivals: BTreeMap<VmId, (u64, PeerId)>,
}

impl Moves {
    /// Listens beside the agent's link, on a port of its own; also gives the link and the address for others to dial.
    pub(super) fn begin(
        config: &HostConfig,
        identity: &Identity,
        wan: Option<&Wan>,
        inputs: &mpsc::UnboundedSender<Happened>,
    ) -> Result<(Moves, TransferHandle, String), String> {
        let link = listen(config, identity, wan).map_err(|e| format!("transfer link: {e}"))?;
        let port = link.local_addr().map_err(|e| format!("transfer link: {e}"))?.port();
        let endpoint = own_ip(config).map(|ip| SocketAddr::new(ip, port).to_string()).unwrap_or_default();
        let inputs = inputs.clone();
        let tell = move |input| drop(inputs.send(Happened::Input(input)));
        let mover = Mover::new(link.clone(), std::sync::Arc::new(tell));
        Ok((Moves { mover, expected: BTreeMap::new(), arrivals: BTreeMap::new() }, link, endpoint))
    }
}

fn listen(config: &HostConfig, identity: &Identity, wan: Option<&Wan>) -> std::io::Result<TransferHandle> {
    TransferLink::start(TransferConfig {
        identity: identity.clone(),
        federation: config.federation.clone(),
        listen: SocketAddr::new(config.bind.ip(), 0),
        seed: monotonic_us(),
        wan: wan.cloned(),
    })
}

/// The address by which others reach this host: the one it is told to use, else the one it reaches its region from.
fn own_ip(config: &HostConfig) -> Option<IpAddr> {
    if !config.bind.ip().is_unspecified() {
        return Some(config.bind.ip());
    }
    let region =
        super::nodes::in_order(&config.region, &config.regions, &[]).first().map(|node| node.mesh)?;
    let any: IpAddr = if region.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    // Nothing is sent: the system only chooses the way.
    let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(region).map(|()| socket));
    socket.and_then(|socket| socket.local_addr()).map(|address| address.ip()).ok()
}

/// Looks at what the processes of an earlier worker are doing. What does not answer in time, because it is held still, is
/// taken for what it was started as, and for one that may stand still: letting a guest go on that runs does nothing.
pub(super) async fn look(mover: &Mover, adopted: &mut [Adopted], pids: &BTreeMap<VmId, (u64, u32)>) {
    let mut asked = tokio::task::JoinSet::new();
    for one in adopted.iter_mut().filter(|one| one.process) {
        one.copied = one.incoming == 0;
        let Some((generation, pid)) = pids.get(&one.vm).copied() else { continue };
        let process = Process { vm: one.vm, generation, pid };
        if one.paused || !process.can_move() {
            continue;
        }
        let mover = mover.clone();
        asked.spawn(async move { (process.vm, mover.look(process).await) });
    }
    let collect = async {
        while let Some(Ok((vm, found))) = asked.join_next().await {
            let Some(one) = adopted.iter_mut().find(|one| one.vm == vm) else { continue };
            match found {
                Ok(GuestState::Running) => (one.incoming, one.copied) = (0, false),
                Ok(GuestState::Arriving) => one.copied = false,
                Ok(GuestState::Still) => one.copied = one.incoming == 0,
                Err(error) => journal::warn("vm-not-looked-at", json!({"vm": vm, "error": error})),
            }
        }
    };
    if tokio::time::timeout(LOOK_LIMIT, collect).await.is_err() {
        journal::warn("vms-not-looked-at", json!({"limit_ms": LOOK_LIMIT.as_millis() as u64}));
    }
}

impl Worker {
    /// Keeps in mind where VMs are expected from.
    pub(super) fn note_arrivals(&mut self, input: &Input) {
        let Input::Message(ControllerMessage::Intents(intents)) = input else { return };
        let arrival = |intent: &dwcp_roles::protocol::VmIntent| {
            let arrival = intent.arrival.as_ref()?;
            let host = PeerId::Host { region: arrival.region.to_string(), host: arrival.host.to_string() };
            Some((intent.vm, (arrival.migration, host)))
        };
        self.moves.arrivals = intents.vms.iter().filter_map(arrival).collect();
    }

    fn process(&self, vm: VmId, generation: u64) -> Option<Process> {
        let (of, pid) = self.pids.get(&vm).copied()?;
        (of == generation).then_some(Process { vm, generation, pid })
    }

    fn tell(&self, input: Input) {
        let _ = self.inputs.send(Happened::Input(input));
    }

    pub(super) fn launch_incoming(
        &mut self,
        vm: VmId,
        generation: u64,
        spec: VmSpec,
        slot: usize,
        migration: u64,
    ) {
        self.moves.expected.insert(vm, (generation, migration));
        let address = self.addresses.get(slot).cloned().unwrap_or_default();
        let accelerator = self.accelerator;
        self.prepare(Wanted {
            vm,
            generation,
            spec,
            slot,
            address,
            accelerator,
            incoming: migration,
            boot_replica: 0,
        });
    }

    /// A process was started: if it is to take a VM, it is made ready for it.
    pub(super) fn started(&mut self, vm: VmId, generation: u64, pid: u32) {
        let Some((of, migration)) = self.moves.expected.remove(&vm) else { return };
        if of != generation {
            return;
        }
        let from = self.moves.arrivals.get(&vm).filter(|(by, _)| *by == migration);
        let from = from.map(|(_, host)| host.clone());
        let forwards = self.forwards(vm);
        self.moves.mover.expect(Process { vm, generation, pid }, migration, from, forwards);
    }

    /// The ports by which a VM with a process here is reached, by the note beside its disk.
    fn forwards(&self, vm: VmId) -> Vec<String> {
        let note = memory::load_note(&memory::vm_dir(&self.config.data_dir, vm)).unwrap_or_default();
        let address = usize::try_from(note.slot).ok().and_then(|slot| self.addresses.get(slot));
        address.map(|address| qemu::forwards(&note.spec, address)).unwrap_or_default()
    }

    pub(super) fn start_transfer(&mut self, vm: VmId, generation: u64, to: TransferTo) {
        match self.process(vm, generation) {
            Some(process) => {
                let ready = self.guards.hold(vm);
                self.moves.mover.begin_after(process, to, ready);
            }
            None => {
                let (migration, reason) = (to.migration, "its process is gone".to_string());
                self.tell(Input::TransferFailed { vm, generation, migration, reason });
            }
        }
    }

    pub(super) fn cancel_transfer(&self, vm: VmId, generation: u64, migration: u64) {
        self.moves.mover.cancel(vm, generation, migration);
    }

    pub(super) fn release(&self, vm: VmId, generation: u64, to: TransferTo) {
        let told = json!({"vm": vm, "generation": generation, "to": to.host, "region": to.region});
        journal::info("vm-released", told);
        self.moves.mover.release(vm, to);
        if let Some(process) = self.process(vm, generation) {
            self.moves.mover.part(process, self.forwards(vm));
        }
    }

    pub(super) fn keep_after_all(&mut self, vm: VmId, generation: u64) {
        self.guards.let_go(vm);
        // Without a process there is nothing to keep; its end is told by the watchdog.
        if let Some(process) = self.process(vm, generation) {
            self.moves.mover.keep(process);
        }
    }

    pub(super) fn go_on(&self, vm: VmId, generation: u64) {
        match self.process(vm, generation) {
            Some(process) => self.moves.mover.go_on(process, self.forwards(vm)),
            None => {
                let result = Err("its process is gone".to_string());
                self.tell(Input::WentOn { vm, generation, result });
            }
        }
    }

    /// Tells the machine whether the VM has a disk here, in front of what comes next.
    pub(super) fn tell_disk(&self, vm: VmId) {
        let dir = memory::vm_dir(&self.config.data_dir, vm);
        let there = [DISK_FILE, replicas::DISK_FILE].iter().any(|name| dir.join(name).exists());
        self.tell(Input::Disk { vm, there });
    }
}
