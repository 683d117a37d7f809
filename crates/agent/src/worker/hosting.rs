//! Runs the region's own node, where the leader says so and the settings name an address for it.
//!
//! The node is a child of the worker in a session of its own, and not of the watchdog: nothing but VMs is to take the
//! watchdog's time or die with it. Neither the worker's end nor the whole agent's ends the node: a control plane must not
//! restart with an agent that is replaced. So that the next worker finds it again, the child itself writes its line of
//! `/proc/self/stat` into a file before it becomes the node: process number and start time name it beyond doubt, and with the
//! boot's id they do across a restart of the host. Only a process with that number and that start time is watched or ended.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dwcp_config::emit::scalar;
use dwcp_config::region::{RegionConfig, Timing};
use dwcp_mesh::{Identity, Key, PeerId};
use dwcp_roles::agent::{CertificateLife, HostingEffect, HostingEvent, HostingFound, Input};
use dwcp_roles::protocol::{ControlPlane, Hosting};
use dwcp_types::{decode, encode};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::{Happened, memory};
use crate::clock::wall_ms;
use crate::host_config::{HostConfig, NodeHere};
use crate::journal;
use crate::process_id::{Stat, kernel_boot};

const DIR: &str = "control-plane";
const NAME: &str = "node";
const WANTED_FILE: &str = "wanted";
const SETTINGS_FILE: &str = "dwcpd.yaml";
const PROCESS_FILE: &str = "process";
const LOG_FILE: &str = "log";
const OLDER_LOG_FILE: &str = "log.1";
/// The log is emptied when it outgrows this, bytes; the one before is kept beside it.
const LOG_MAX: u64 = 16 << 20;
/// Between two looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Files that the node may have open.
const OPEN_FILES: u64 = 65_536;
/// Memory of its own that the node may have, bytes.
const MEMORY_BYTES: u64 = 8 << 30;

/// The node on this host.
pub(super) struct Hosted {
    host: Arc<HostConfig>,
    here: NodeHere,
    dir: PathBuf,
    inputs: UnboundedSender<Happened>,
    process: Arc<Mutex<Option<Process>>>,
}

/// A process, named beyond doubt.
struct Process {
    pid: u32,
    started: u64,
    /// Known to this worker as its child; an earlier worker's belongs to the system.
    child: Option<Child>,
}

impl Hosted {
    /// Looks at what is there, and tells it; none where the settings name no address.
    pub(super) fn begin(host: &Arc<HostConfig>, inputs: &UnboundedSender<Happened>) -> Option<Hosted> {
        let here = host.control_plane.clone()?;
        let dir = host.data_dir.join(DIR);
        let _ = std::fs::remove_dir_all(gone(&dir));
        let process = Arc::new(Mutex::new(found_process(&dir)));
        let hosted = Hosted { host: host.clone(), here, dir, inputs: inputs.clone(), process };
        let found = hosted.found();
        journal::info("control-plane", json!({"wanted": format!("{:?}", found.wanted), "pid": found.pid}));
        if found.pid != 0 {
            hosted.watch();
        }
        let _ = inputs.send(Happened::Input(Input::Hosting(HostingEvent::Found(found))));
        Some(hosted)
    }

    fn found(&self) -> HostingFound {
        let key = std::fs::read_to_string(self.dir.join(format!("{NAME}.key"))).ok();
        let key = key.and_then(|pem| Key::from_pem(&pem).ok());
        let wanted = std::fs::read(self.dir.join(WANTED_FILE)).ok();
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        HostingFound {
            wanted: wanted.and_then(|bytes| decode::<Hosting>(&bytes).ok()),
            public_key: key.map(|key| key.public_point().to_vec()).unwrap_or_default(),
            certificate: Identity::load(&self.dir, NAME).ok().and_then(|leaf| self.life(&leaf).ok()),
            pid: process.as_ref().map_or(0, |process| process.pid),
            files: self.dir.exists(),
        }
    }

    /// The node's process; none: none is running here.
    pub(super) fn pid(&self) -> Option<u32> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map(|process| process.pid)
    }

    /// How long a leaf serves that names this region's node.
    fn life(&self, leaf: &Identity) -> Result<CertificateLife, String> {
        let (peer, region) = (leaf.peer(), &self.host.region);
        // Of which number the region is, its node knows, and takes no other.
        let fits = matches!(&peer, PeerId::Region { region: named, .. } if named == region);
        if !fits || leaf.federation() != self.host.federation {
            let federation = leaf.federation();
            return Err(format!("it names {peer} of federation {federation}, not region {region}"));
        }
        let (begins, ends) = leaf.life_unix();
        let left = |at_unix: u64| (at_unix * 1_000).saturating_sub(wall_ms());
        Ok(CertificateLife {
            renew_in_ms: left(begins + (ends.saturating_sub(begins)) / 2),
            ends_in_ms: left(ends),
        })
    }

    /// Carries an effect out; what may wait is done aside and answered.
    pub(super) fn carry_out(&self, effect: HostingEffect) {
        match effect {
            HostingEffect::Remember(hosting) => {
                let kept = self
                    .make_dir()
                    .and_then(|()| memory::replace(&self.dir.join(WANTED_FILE), &encode(&hosting)));
                if let Err(error) = kept {
                    journal::warn("control-plane-not-remembered", json!({"error": error}));
                }
            }
            HostingEffect::MakeKey => self.answer(HostingEvent::KeyMade(self.make_key())),
            HostingEffect::KeepCertificate { pem } => {
                self.answer(HostingEvent::CertificateKept(self.keep_certificate(&pem)));
            }
            HostingEffect::WriteSettings(node) => {
                self.answer(HostingEvent::SettingsWritten(self.write_settings(&node)));
            }
            HostingEffect::Start { lost } => {
                let started = self.start(lost);
                journal::info("control-plane-started", json!({"result": format!("{started:?}")}));
                let runs = started.is_ok();
                self.answer(HostingEvent::Started(started));
                if runs {
                    self.watch();
                }
            }
            HostingEffect::Terminate => self.signal(libc::SIGTERM),
            HostingEffect::Kill => self.signal(libc::SIGKILL),
            HostingEffect::Wipe => self.wipe(),
        }
    }

    fn answer(&self, event: HostingEvent) {
        let _ = self.inputs.send(Happened::Input(Input::Hosting(event)));
    }

    fn make_dir(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))
    }

    fn make_key(&self) -> Result<Vec<u8>, String> {
        self.make_dir()?;
        let key = Key::generate().map_err(|e| e.to_string())?;
        key.store(&self.dir, NAME).map_err(|e| e.to_string())?;
        Ok(key.public_point().to_vec())
    }

    fn keep_certificate(&self, pem: &str) -> Result<CertificateLife, String> {
        let read =
            |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
        let ca = read(&self.host.pki.dir.join("ca.pem"))?;
        let key = read(&self.dir.join(format!("{NAME}.key")))?;
        let leaf = Identity::from_pem(&ca, pem, &key).map_err(|e| e.to_string())?;
        let life = self.life(&leaf)?;
        memory::replace(&self.dir.join("ca.pem"), ca.as_bytes())?;
        memory::replace(&self.dir.join(format!("{NAME}.pem")), pem.as_bytes())?;
        journal::info("control-plane-certified", json!({"ends_in_ms": life.ends_in_ms}));
        Ok(life)
    }

    fn write_settings(&self, node: &ControlPlane) -> Result<(), String> {
        let text = settings(&self.host, &self.here, node);
        RegionConfig::parse(&text).map_err(|complaints| complaints.to_string())?;
        self.make_dir()?;
        memory::replace(&self.dir.join(SETTINGS_FILE), text.as_bytes())
    }

    fn start(&self, lost: bool) -> Result<u32, String> {
        let fault = |what: &Path, e: std::io::Error| format!("{}: {e}", what.display());
        let path = self.dir.join(LOG_FILE);
        let log = OpenOptions::new().create(true).append(true).open(&path).map_err(|e| fault(&path, e))?;
        let errors = log.try_clone().map_err(|e| fault(&path, e))?;
        let path = self.dir.join(PROCESS_FILE);
        let mut note = File::create(&path).map_err(|e| fault(&path, e))?;
        writeln!(note, "{}", boot_id()).map_err(|e| fault(&path, e))?;
        let mut command = Command::new(&self.here.program);
        command.args(["run", "--config", SETTINGS_FILE]).current_dir(&self.dir);
        if lost {
            command.arg("--state-lost");
        }
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        detach(&mut command, &note);
        let child = command.spawn().map_err(|e| fault(&self.here.program, e))?;
        let pid = child.id();
        let started = Stat::of(pid).map_or(0, |stat| stat.started);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Process { pid, started, child: Some(child) });
        Ok(pid)
    }

    /// Waits aside for the end of the process.
    fn watch(&self) {
        let (process, inputs) = (self.process.clone(), self.inputs.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(watched) = process.as_mut() else { return };
                if let Some(reason) = watched.end() {
                    journal::warn("control-plane-ended", json!({"pid": watched.pid, "reason": reason}));
                    *process = None;
                    let _ = inputs.send(Happened::Input(Input::Hosting(HostingEvent::Ended { reason })));
                    return;
                }
            }
        });
    }

    fn signal(&self, signal: libc::c_int) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended since is not there any more to take a signal; its number may be another's.
        let Some(process) = process.as_mut().filter(|process| process.is_there()) else { return };
        journal::info("control-plane-signal", json!({"pid": process.pid, "signal": signal}));
        // SAFETY: plain numbers; the process was there just now, and a child is not waited for while the lock is held.
        unsafe { libc::kill(process.pid as libc::pid_t, signal) };
    }

    fn wipe(&self) {
        let (dir, inputs) = (self.dir.clone(), self.inputs.clone());
        tokio::task::spawn_blocking(move || {
            let done = match std::fs::rename(&dir, gone(&dir)) {
                // Under its new name nobody takes half of it for the whole.
                Ok(()) => std::fs::remove_dir_all(gone(&dir)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            let done = done.map_err(|e| format!("{}: {e}", dir.display()));
            journal::info("control-plane-removed", json!({"result": format!("{done:?}")}));
            let _ = inputs.send(Happened::Input(Input::Hosting(HostingEvent::Wiped(done))));
        });
    }

    /// Empties the log when it is too large. The node appends, so it goes on at the file's new end.
    pub(super) fn rotate_log(&self) {
        let path = self.dir.join(LOG_FILE);
        if std::fs::metadata(&path).map_or(0, |meta| meta.len()) <= LOG_MAX {
            return;
        }
        let rotated = std::fs::copy(&path, self.dir.join(OLDER_LOG_FILE))
            .and_then(|_| OpenOptions::new().write(true).open(&path)?.set_len(0));
        if let Err(error) = rotated {
            journal::warn("control-plane-log-not-rotated", json!({"error": error.to_string()}));
        }
    }
}

impl Process {
    fn is_there(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.state != 'Z' && stat.started == self.started)
    }

    /// How it ended; none while it runs.
    fn end(&mut self) -> Option<String> {
        if let Some(child) = &mut self.child {
            let status = child.try_wait().ok()??;
            return Some(match (status.code(), status.signal()) {
                (Some(code), _) => format!("dwcpd ended with status {code}"),
                (_, Some(signal)) => format!("dwcpd was ended by signal {signal}"),
                _ => "dwcpd ended".to_string(),
            });
        }
        (!self.is_there()).then(|| "dwcpd ended".to_string())
    }
}

/// Where files wait for their removal.
fn gone(dir: &Path) -> PathBuf {
    dir.with_extension("gone")
}

fn boot_id() -> String {
    kernel_boot().unwrap_or_default()
}

/// The process that an earlier worker started, when it is there.
fn found_process(dir: &Path) -> Option<Process> {
    let note = std::fs::read_to_string(dir.join(PROCESS_FILE)).ok()?;
    let (boot, line) = note.split_once('\n')?;
    let Stat { pid, started, .. } = Stat::parse(line)?;
    let process = Process { pid, started, child: None };
    (boot == boot_id() && process.is_there()).then_some(process)
}

/// Limits this process's open files and memory. Makes only calls that may be made between fork and exec.
pub(super) fn hold_to_limits() {
    for (what, most) in [(libc::RLIMIT_NOFILE, OPEN_FILES), (libc::RLIMIT_DATA, MEMORY_BYTES)] {
        // SAFETY: reads and writes one struct of ours; failing only means that there is no limit.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(what, &mut limit);
            limit.rlim_cur = most.min(limit.rlim_max);
            limit.rlim_max = limit.rlim_cur;
            libc::setrlimit(what, &limit);
        }
    }
}

/// Makes the child note who it is, leave the worker's session, and hold to its limits.
fn detach(command: &mut Command, note: &File) {
    let fd = note.as_raw_fd();
    // SAFETY: between fork and exec only calls that may be made there; `note` is open until after the spawn.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            hold_to_limits();
            let own = libc::open(c"/proc/self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            let mut line = [0u8; 1024];
            let count = libc::read(own, line.as_mut_ptr().cast(), line.len());
            if count <= 0 || libc::write(fd, line.as_ptr().cast(), count as usize) != count {
                return Err(std::io::Error::last_os_error());
            }
            libc::close(own);
            Ok(())
        });
    }
}

/// `dwcpd.yaml`.
fn settings(host: &HostConfig, here: &NodeHere, node: &ControlPlane) -> String {
    let address = here.address;
    let mut text = format!(
        "# Written by the agent of this host, and again when the federation changes.\n\
         federation: {}\nregion: {}\nnumber: {}\njoins: true\ndata_dir: data\n\
         listen:\n  api: \"{address}\"\n  mesh: \"{address}\"\n\
         pki:\n  ca: ca.pem\n  certificate: {NAME}.pem\n  key: {NAME}.key\n",
        scalar(&host.federation),
        scalar(&host.region),
        node.number
    );
    if let Some(wan) = &host.wan_file {
        text += &format!("dev: true\nwan: {}\n", scalar(&wan.to_string_lossy()));
    }
    let timing = [
        ("lease", node.lease_ms),
        ("beat", node.beat_ms),
        ("tick", node.tick_ms),
        ("election", node.election_ms),
        ("loss_after", Timing::default().loss_after_ms.max(4 * node.beat_ms)),
        ("commit_timeout", node.commit_timeout_ms),
    ];
    text += "timing:\n";
    for (name, ms) in timing.iter().filter(|(_, ms)| *ms > 0) {
        text += &format!("  {name}: {ms}ms\n");
    }
    text += "peers:\n";
    let own = (host.region.as_str(), node.number, address.to_string(), format!("https://{address}"));
    let others = node.peers.iter().filter(|peer| peer.region.as_str() != host.region);
    let others = others.map(|peer| (peer.region.as_str(), peer.node, peer.mesh.clone(), peer.api.clone()));
    for (region, number, mesh, api) in std::iter::once(own).chain(others) {
        text += &format!(
            "  - region: {}\n    number: {number}\n    mesh: {}\n    api: {}\n",
            scalar(region),
            scalar(&mesh),
            scalar(&api)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_roles::protocol::Endpoint;

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let own = std::process::id();
        let other = Process { pid: own, started: 1, child: None };
        assert!(!other.is_there(), "a number that is used again is another process");
    }

    #[test]
    fn the_settings_that_are_written_are_those_that_a_server_reads() {
        let text = "federation: f\nregion: r6\nzone: a\nhost: h\ndata_dir: data\nvcpus: 1\nmemory_mib: 64\n\
                    regions: [{region: r1, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}]\n\
                    pki: {dir: pki, name: h}\nvm_addresses: {base: '127.77.6', first: 32, count: 1}\n\
                    control_plane: {address: '127.77.6.1:7443'}\nwan_file: /etc/wan.toml\n";
        let host = HostConfig::parse(text).expect("settings");
        let here = host.control_plane.clone().expect("a place");
        let peer = |number: u64| Endpoint {
            node: number,
            region: format!("r{number}").as_str().into(),
            mesh: format!("127.77.{number}.1:7443"),
            api: format!("https://127.77.{number}.1:7443"),
        };
        let node = ControlPlane {
            number: 6,
            peers: vec![peer(1), peer(6)],
            beat_ms: 1_000,
            ..ControlPlane::default()
        };
        let config = RegionConfig::parse(&settings(&host, &here, &node)).expect("a server's settings");
        assert_eq!((config.number, config.joins, config.dev, config.peers.len()), (6, true, true, 2));
        assert_eq!((config.timing.beat_ms, config.timing.loss_after_ms), (1_000, 4_000));
        assert_eq!(config.wan.as_deref(), Some("/etc/wan.toml"));
        let twice = ControlPlane { peers: vec![peer(1), peer(1)], ..node };
        assert!(RegionConfig::parse(&settings(&host, &here, &twice)).is_err());
    }
}
