//! Copies of other hosts' disks that are kept here.
//!
//! One folder a copy: a raw file of the disk's size, and a note with the epoch it is of. A copy is served by one
//! `qemu-storage-daemon` a connection, started when the source's host connects and killed when that connection ends, so that
//! nothing of an earlier connection can still be written when the next one begins, and nothing at all when the file becomes
//! a VM's disk.

mod replies;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Admission, Kind, Opening, TransferHandle};
use dwcp_roles::agent::Kept;
use dwcp_roles::protocol::ReplicaIntent;
use dwcp_types::{VmId, decode, encode, wire_struct};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::memory;
use super::prepare::{empty_removed, set_aside};
use crate::clock::monotonic_us;
use crate::journal;
use crate::watchdog::die_with_parent;
use replies::Replies;

/// The program that serves a copy; Debian's package qemu-system-common has it.
const PROGRAM: &str = "qemu-storage-daemon";
/// Name of the export.
pub(super) const EXPORT: &str = "replica";
const DIR: &str = "replicas";
const NOTE_FILE: &str = "replica";
pub(super) const DISK_FILE: &str = "disk.raw";
/// Names the epoch of a copy that became a VM's disk, in the VM's directory.
pub(super) const EPOCH_FILE: &str = "disk.epoch";
/// Where the source's connection comes in.
const IN_SOCKET: &str = "in.sock";
/// Where the server listens.
const SERVER_SOCKET: &str = "nbd.sock";
/// The server must answer by then.
const SERVER_READY: Duration = Duration::from_secs(3);
/// Most that is carried at once, bytes.
const PIECE_BYTES: usize = 128 << 10;
const GIB: u64 = 1 << 30;

/// What is kept beside a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    vm: VmId,
    epoch: u64,
    /// The kernel's boot id: what was written before another boot may have been lost with the page cache.
    boot: String,
    disk_gib: u64,
    points: bool,
}
wire_struct!(Note { 1 vm, 2 epoch, 3 boot, 4 disk_gib, 5 points });

/// A copy that takes writes.
struct Served {
    intent: ReplicaIntent,
    dir: Arc<Dir>,
    /// Why it takes none.
    fault: Arc<Mutex<Option<String>>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// A folder by its descriptor: sockets in it have short names however deep it lies.
struct Dir {
    path: PathBuf,
    file: File,
}

impl Dir {
    fn open(path: &Path) -> Result<Dir, String> {
        let file = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path);
        let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Dir { path: path.to_path_buf(), file })
    }

    fn short(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.file.as_raw_fd()))
    }
}

/// Every copy that is kept here.
#[derive(Clone)]
pub(super) struct Replicas {
    data: PathBuf,
    served: Arc<Mutex<BTreeMap<VmId, Served>>>,
    /// What was asked for last.
    kept: Arc<Mutex<Kept>>,
}

impl Replicas {
    /// Begins to take connections of sources; there are no copies yet.
    pub(super) fn start(data: &Path, link: &TransferHandle) -> Replicas {
        let replicas = Replicas { data: data.to_path_buf(), served: Arc::default(), kept: Arc::default() };
        let asked = replicas.clone();
        link.register(Kind::Replica, None, Arc::new(move |from, opening| asked.admit(from, opening)));
        replicas
    }

    /// Only the host that the VM runs on may write, and only under the epoch of now.
    fn admit(&self, from: &PeerId, opening: &Opening) -> Result<Admission, String> {
        let vm = VmId(opening.vm);
        let served = self.served.lock().unwrap_or_else(|e| e.into_inner());
        let copy = served.get(&vm).ok_or_else(|| format!("no copy of {vm} is kept here"))?;
        let intent = &copy.intent;
        let owner =
            PeerId::Host { region: intent.from_region.to_string(), host: intent.from_host.to_string() };
        if *from != owner {
            return Err(format!("{vm} runs on {owner}, not on {from}"));
        }
        if opening.generation != intent.epoch {
            return Err(format!("the copy here is of epoch {}, not {}", intent.epoch, opening.generation));
        }
        match &*copy.fault.lock().unwrap_or_else(|e| e.into_inner()) {
            Some(fault) => Err(fault.clone()),
            None => Ok(Admission::Socket(copy.dir.short(IN_SOCKET))),
        }
    }

    /// Keeps these copies and no others: what is new is made, what is not named any more is deleted.
    pub(super) fn keep(&self, kept: Kept) {
        let mut served = self.served.lock().unwrap_or_else(|e| e.into_inner());
        let wanted: BTreeMap<VmId, &ReplicaIntent> =
            kept.serve.iter().map(|intent| (intent.vm, intent)).collect();
        let stale: Vec<VmId> = served
            .iter()
            .filter(|(vm, copy)| wanted.get(*vm).is_none_or(|intent| **intent != copy.intent))
            .map(|(vm, _)| *vm)
            .collect();
        let mut ended: BTreeMap<VmId, JoinHandle<()>> = BTreeMap::new();
        for vm in stale {
            if let Some(copy) = served.remove(&vm) {
                copy.stop.send_replace(true);
                ended.insert(vm, copy.task);
            }
        }
        for (vm, intent) in wanted {
            if let Entry::Vacant(place) = served.entry(vm) {
                match self.serve(intent, ended.remove(&vm)) {
                    Ok(copy) => {
                        place.insert(copy);
                    }
                    Err(error) => journal::warn("replica-not-kept", json!({"vm": vm, "error": error})),
                }
            }
        }
        drop(served);
        *self.kept.lock().unwrap_or_else(|e| e.into_inner()) = kept;
        let (data, kept) = (self.data.clone(), self.kept.clone());
        tokio::spawn(async move {
            for (_, task) in ended {
                let _ = task.await;
            }
            let _ = tokio::task::spawn_blocking(move || {
                // By what is asked for now: a copy may have come back meanwhile.
                put_away(&data, &kept.lock().unwrap_or_else(|e| e.into_inner()));
                if let Err(error) = empty_removed(&data) {
                    journal::warn("removed-not-deleted", json!({"error": error}));
                }
            })
            .await;
        });
    }

    fn serve(&self, intent: &ReplicaIntent, before: Option<JoinHandle<()>>) -> Result<Served, String> {
        let path = dir_of(&self.data, intent.vm);
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let dir = Arc::new(Dir::open(&path)?);
        let fault = Arc::new(Mutex::new(Some("the copy is being made ready".to_string())));
        let (stop, stopped) = watch::channel(false);
        let copy = Copy { intent: intent.clone(), dir: dir.clone(), fault: fault.clone() };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            copy.run(stopped).await;
        });
        Ok(Served { intent: intent.clone(), dir, fault, stop, task })
    }

    /// Stops serving a VM's copy for good; when this returns nothing is written to it any more.
    pub(super) async fn stop(&self, vm: VmId) {
        let copy = self.served.lock().unwrap_or_else(|e| e.into_inner()).remove(&vm);
        if let Some(copy) = copy {
            copy.stop.send_replace(true);
            let _ = copy.task.await;
        }
    }
}

/// One copy, as its task has it.
struct Copy {
    intent: ReplicaIntent,
    dir: Arc<Dir>,
    fault: Arc<Mutex<Option<String>>>,
}

impl Copy {
    fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(|e| e.into_inner()) = fault;
    }

    /// Takes one connection after the other; a newer one ends the one before it.
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let (vm, epoch) = (self.intent.vm, self.intent.epoch);
        let (intent, path) = (self.intent.clone(), self.dir.path.clone());
        let made = tokio::task::spawn_blocking(move || ready(&path, &intent)).await;
        let made = made.unwrap_or_else(|e| Err(e.to_string()));
        let listener = made.and_then(|()| {
            let path = self.dir.short(IN_SOCKET);
            let _ = std::fs::remove_file(&path);
            UnixListener::bind(&path).map_err(|e| format!("{IN_SOCKET}: {e}"))
        });
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                journal::warn("replica-not-ready", json!({"vm": vm, "epoch": epoch, "error": error}));
                return self.set_fault(Some(error));
            }
        };
        self.set_fault(None);
        journal::info("replica-kept", json!({"vm": vm, "epoch": epoch, "disk_gib": self.intent.disk_gib}));
        let mut next: Option<UnixStream> = None;
        loop {
            let source = match next.take() {
                Some(source) => source,
                None => tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((source, _)) => source,
                        Err(_) => continue,
                    },
                    _ = stopped.wait_for(|stop| *stop) => break,
                },
            };
            let mut server = match Server::start(&self.dir) {
                Ok(server) => server,
                Err(error) => {
                    journal::warn("replica-not-served", json!({"vm": vm, "epoch": epoch, "error": error}));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let mut last = false;
            let ended = tokio::select! {
                ended = server.carry(&self.dir, source) => ended,
                accepted = listener.accept() => {
                    next = accepted.ok().map(|(source, _)| source);
                    Ok("the source connected anew".to_string())
                }
                _ = stopped.wait_for(|stop| *stop) => {
                    last = true;
                    Ok("the copy takes no more writes".to_string())
                }
            };
            server.end().await;
            journal::info(
                "replica-connection-ended",
                json!({"vm": vm, "epoch": epoch, "why": format!("{ended:?}")}),
            );
            if let Err(fault) = ended {
                self.set_fault(Some(fault));
            }
            if last {
                break;
            }
        }
        let _ = std::fs::remove_file(self.dir.short(IN_SOCKET));
    }
}

/// The process that serves one connection.
struct Server {
    child: Option<Child>,
}

impl Server {
    fn start(dir: &Dir) -> Result<Server, String> {
        let _ = std::fs::remove_file(dir.path.join(SERVER_SOCKET));
        let errors = File::create(dir.path.join("server.err")).map_err(|e| e.to_string())?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["--blockdev", &format!("driver=file,node-name=file,filename={DISK_FILE},discard=ignore")])
            .args(["--blockdev", "driver=raw,node-name=disk,file=file"])
            .args(["--nbd-server", &format!("addr.type=unix,addr.path={SERVER_SOCKET},max-connections=1")])
            .args(["--export", &format!("type=nbd,id=export,node-name=disk,name={EXPORT},writable=on")])
            .current_dir(&dir.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        die_with_parent(&mut command, 0);
        let child = command.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                format!("this host has no `{PROGRAM}` (Debian's package qemu-system-common)")
            }
            _ => format!("{PROGRAM}: {e}"),
        })?;
        Ok(Server { child: Some(child) })
    }

    /// Carries bytes both ways until one end is done: `Err` when the copy's disk failed, after which it must not be used.
    async fn carry(&mut self, dir: &Dir, source: UnixStream) -> Result<String, String> {
        let connected = tokio::time::timeout(SERVER_READY, async {
            loop {
                match UnixStream::connect(dir.short(SERVER_SOCKET)).await {
                    Ok(server) => return server,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let Ok(server) = connected.await else {
            return Ok(format!("{PROGRAM} did not answer within {} s", SERVER_READY.as_secs()));
        };
        let (mut from_source, mut to_source) = source.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let out = async {
            match tokio::io::copy(&mut from_source, &mut to_server).await {
                Ok(_) => Ok("the source ended the connection".to_string()),
                Err(error) => Ok(error.to_string()),
            }
        };
        let back = async {
            let (mut piece, mut replies) = (vec![0; PIECE_BYTES], Replies::default());
            loop {
                let count = match from_server.read(&mut piece).await {
                    Ok(0) | Err(_) => return Ok(format!("{PROGRAM} ended")),
                    Ok(count) => count,
                };
                replies.look(&piece[..count]).map_err(|bad| bad.to_string())?;
                if let Err(error) = to_source.write_all(&piece[..count]).await {
                    return Ok(error.to_string());
                }
            }
        };
        tokio::select! { ended = out => ended, ended = back => ended }
    }

    /// Kills it and waits until nothing of it can write.
    async fn end(mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        let _ = tokio::task::spawn_blocking(move || child.wait()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn dir_of(data: &Path, vm: VmId) -> PathBuf {
    data.join(DIR).join(vm.to_string())
}

fn note_of(dir: &Path) -> Option<Note> {
    decode(&std::fs::read(dir.join(NOTE_FILE)).ok()?).ok()
}

fn kernel_boot() -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map(|text| text.trim().to_string()).map_err(|e| format!("the kernel's boot id: {e}"))
}

/// Makes the file of a copy, all of whose room is taken at once, and notes its epoch. Blocks.
fn ready(dir: &Path, intent: &ReplicaIntent) -> Result<(), String> {
    let boot = kernel_boot()?;
    let note =
        Note { vm: intent.vm, epoch: intent.epoch, boot, disk_gib: intent.disk_gib, points: intent.points };
    if let Some(known) = note_of(dir) {
        if known.epoch > note.epoch {
            return Err(format!("the copy here is of the newer epoch {}", known.epoch));
        }
        if known == note {
            return Ok(());
        }
        if known.epoch == note.epoch && known.boot != note.boot {
            return Err(
                "the host was started anew since: what it had not put on its disk yet is lost".to_string()
            );
        }
    }
    let path = dir.join(DISK_FILE);
    let fault = |e: io::Error| format!("{}: {e}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fault)?;
    let bytes = i64::try_from(intent.disk_gib.saturating_mul(GIB)).unwrap_or(i64::MAX);
    file.set_len(bytes as u64).map_err(fault)?;
    // SAFETY: plain numbers; the descriptor is open.
    let taken = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) };
    if taken != 0 {
        return Err(fault(io::Error::from_raw_os_error(taken)));
    }
    file.sync_all().map_err(fault)?;
    memory::replace(&dir.join(NOTE_FILE), &encode(&note))
}

/// Makes a VM's disk of its copy here, once: the file is moved into the VM's folder. Nothing may be serving it. Blocks.
///
/// # Errors
/// There is no such copy here; the VM must not start with another disk.
pub(super) fn promote(data: &Path, vm: VmId, epoch: u64, vm_dir: &Path) -> Result<PathBuf, String> {
    let disk = vm_dir.join(DISK_FILE);
    let marker = vm_dir.join(EPOCH_FILE);
    let marked = std::fs::read_to_string(&marker).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let dir = dir_of(data, vm);
    let note = note_of(&dir).filter(|note| note.epoch == epoch && dir.join(DISK_FILE).exists());
    let Some(note) = note else {
        if marked == Some(epoch) && disk.exists() {
            return Ok(disk);
        }
        return Err(format!(
            "the copy of {vm} of epoch {epoch} is not on this host: it does not start without it"
        ));
    };
    if note.boot != kernel_boot()? && !note.points {
        return Err(format!(
            "the copy of {vm} was on this host before it was started anew: what it holds is not certain"
        ));
    }
    let fault = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let from = dir.join(DISK_FILE);
    File::open(&from).and_then(|file| file.sync_all()).map_err(|e| fault(&from, e))?;
    // The marker first: a file without one is never taken for this epoch's.
    memory::replace(&marker, epoch.to_string().as_bytes())?;
    std::fs::rename(&from, &disk).map_err(|e| fault(&disk, e))?;
    File::open(vm_dir).and_then(|dir| dir.sync_all()).map_err(|e| fault(vm_dir, e))?;
    let _ = std::fs::remove_dir_all(&dir);
    journal::info("replica-promoted", json!({"vm": vm, "epoch": epoch}));
    Ok(disk)
}

/// Puts the copies away that are not wanted here any more; what takes long is left to `empty_removed`. Blocks.
fn put_away(data: &Path, kept: &Kept) {
    let Ok(entries) = std::fs::read_dir(data.join(DIR)) else { return };
    let served = kept.serve.iter().map(|intent| intent.vm);
    let wanted: Vec<String> =
        served.chain(kept.hold.iter().map(|(vm, _)| *vm)).map(|vm| vm.to_string()).collect();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if wanted.contains(&name) {
            continue;
        }
        match set_aside(data, &entry.path(), &format!("replica-{name}-{}", monotonic_us())) {
            Ok(()) => journal::info("replica-deleted", json!({"vm": name})),
            Err(error) => journal::warn("replica-not-deleted", json!({"vm": name, "error": error})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("dwcp-replica-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("vm")).expect("temp dir");
        dir
    }

    fn intent(epoch: u64) -> ReplicaIntent {
        ReplicaIntent { vm: VmId(7), epoch, disk_gib: 1, ..ReplicaIntent::default() }
    }

    #[test]
    fn a_copy_becomes_a_disk_once_and_only_under_its_epoch() {
        let data = folder("promote");
        let (dir, vm_dir) = (dir_of(&data, VmId(7)), data.join("vm"));
        std::fs::create_dir_all(&dir).expect("dir");
        ready(&dir, &intent(3)).expect("ready");
        assert_eq!(std::fs::metadata(dir.join(DISK_FILE)).expect("a file").len(), GIB);
        std::fs::write(dir.join(DISK_FILE), b"content").expect("write");
        ready(&dir, &intent(3)).expect("the same again changes nothing");
        assert!(promote(&data, VmId(7), 2, &vm_dir).is_err_and(|e| e.contains("epoch 2")));
        let disk = promote(&data, VmId(7), 3, &vm_dir).expect("a disk");
        assert_eq!(std::fs::read(&disk).expect("read"), b"content");
        assert_eq!(promote(&data, VmId(7), 3, &vm_dir), Ok(disk));
        assert!(promote(&data, VmId(7), 4, &vm_dir).is_err());
        std::fs::remove_dir_all(data).expect("remove");
    }

    #[test]
    fn a_copy_of_another_boot_of_the_host_is_not_used_and_an_older_epoch_not_taken() {
        let data = folder("boot");
        let dir = dir_of(&data, VmId(7));
        std::fs::create_dir_all(&dir).expect("dir");
        ready(&dir, &intent(3)).expect("ready");
        assert!(ready(&dir, &intent(2)).is_err_and(|e| e.contains("newer epoch 3")));
        let note = Note { boot: "another".into(), ..note_of(&dir).expect("a note") };
        memory::replace(&dir.join(NOTE_FILE), &encode(&note)).expect("note");
        assert!(ready(&dir, &intent(3)).is_err_and(|e| e.contains("started anew")));
        assert!(promote(&data, VmId(7), 3, &data.join("vm")).is_err_and(|e| e.contains("not certain")));
        ready(&dir, &intent(4)).expect("another epoch begins anew");
        std::fs::remove_dir_all(data).expect("remove");
    }

    #[test]
    fn only_copies_that_are_served_or_held_stay() {
        let data = folder("others");
        for vm in [7, 8, 9] {
            std::fs::create_dir_all(dir_of(&data, VmId(vm))).expect("dir");
        }
        put_away(&data, &Kept { serve: vec![intent(3)], hold: vec![(VmId(8), 2)] });
        let left = |vm| dir_of(&data, VmId(vm)).exists();
        assert_eq!((left(7), left(8), left(9)), (true, true, false));
        std::fs::remove_dir_all(data).expect("remove");
    }
}
