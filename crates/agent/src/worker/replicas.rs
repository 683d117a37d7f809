//! Copies of other hosts' disks that are kept here.
//!
//! One folder a copy: a raw file of the disk's size, and a note with the epoch it is of. Points in time are received as
//! `deltas` says; a copy that has every write is served by one
//! `qemu-storage-daemon` a connection, started when the source's host connects and killed when that connection ends, so that
//! nothing of an earlier connection can still be written when the next one begins, and nothing at all when the file becomes
//! a VM's disk.

mod deltas;
mod files;
mod replies;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::net::Shutdown;
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
use dwcp_types::VmId;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::prepare::empty_removed;
use crate::journal;
use crate::watchdog::{die_with_parent, own_nice};
pub(super) use files::promote;
use files::{dir_of, put_away, ready};
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
            let Some(mut taking) = self.take(source).await else { continue };
            let mut last = false;
            let ended = tokio::select! {
                ended = taking.carry(&self.dir) => ended,
                accepted = listener.accept() => {
                    next = accepted.ok().map(|(source, _)| source);
                    Ok("the source connected anew".to_string())
                }
                _ = stopped.wait_for(|stop| *stop) => {
                    last = true;
                    Ok("the copy takes no more writes".to_string())
                }
            };
            taking.end().await;
            let said = json!({"vm": vm, "epoch": epoch, "why": format!("{ended:?}")});
            match (&ended, self.intent.points) {
                // The source hears it, and tries again.
                (Err(_), true) => journal::warn("point-not-taken", said),
                (Ok(_), true) => journal::info("point-taken", said),
                _ => journal::info("replica-connection-ended", said),
            }
            if let (Err(fault), false) = (ended, self.intent.points) {
                self.set_fault(Some(fault));
            }
            if last {
                break;
            }
        }
        let _ = std::fs::remove_file(self.dir.short(IN_SOCKET));
    }

    /// Begins to take what a connection brings.
    async fn take(&self, source: UnixStream) -> Option<Taking> {
        let (vm, epoch) = (self.intent.vm, self.intent.epoch);
        let taking = if self.intent.points {
            Receiving::start(&self.dir.path, &self.intent, source).map(Taking::Point)
        } else {
            Server::start(&self.dir).map(|server| Taking::Writes(server, Some(source)))
        };
        match taking {
            Ok(taking) => Some(taking),
            Err(error) => {
                journal::warn("replica-not-served", json!({"vm": vm, "epoch": epoch, "error": error}));
                tokio::time::sleep(Duration::from_millis(200)).await;
                None
            }
        }
    }
}

/// What becomes of one connection.
enum Taking {
    Writes(Server, Option<UnixStream>),
    Point(Receiving),
}

impl Taking {
    /// Until it ends: `Err` when the copy's disk failed.
    async fn carry(&mut self, dir: &Dir) -> Result<String, String> {
        match self {
            Taking::Writes(server, source) => match source.take() {
                Some(source) => server.carry(dir, source).await,
                None => Ok("it ended before".to_string()),
            },
            Taking::Point(receiving) => receiving.done().await,
        }
    }

    /// Ends it, and waits until nothing of it can write.
    async fn end(self) {
        match self {
            Taking::Writes(server, _) => server.end().await,
            Taking::Point(receiving) => receiving.end().await,
        }
    }
}

/// A point that is being received, on a thread of its own.
struct Receiving {
    source: std::os::unix::net::UnixStream,
    thread: Option<JoinHandle<Result<String, String>>>,
}

impl Receiving {
    fn start(dir: &Path, intent: &ReplicaIntent, source: UnixStream) -> Result<Receiving, String> {
        let fault = |e: io::Error| format!("{IN_SOCKET}: {e}");
        let source = source.into_std().map_err(fault)?;
        source.set_nonblocking(false).map_err(fault)?;
        let (from, to) = (source.try_clone().map_err(fault)?, source.try_clone().map_err(fault)?);
        let (dir, intent) = (dir.to_path_buf(), intent.clone());
        let thread = tokio::task::spawn_blocking(move || {
            let taken = deltas::receive(&dir, &intent, from, &to);
            let _ = to.shutdown(Shutdown::Both);
            Ok(match taken? {
                Some(taken) => format!("{:?} is whole, {} bytes differed", taken.point, taken.changed),
                None => "none was begun".to_string(),
            })
        });
        Ok(Receiving { source, thread: Some(thread) })
    }

    async fn done(&mut self) -> Result<String, String> {
        let Some(thread) = &mut self.thread else { return Ok("it ended before".to_string()) };
        let done = thread.await;
        self.thread = None;
        done.unwrap_or_else(|e| Err(e.to_string()))
    }

    async fn end(mut self) {
        let _ = self.source.shutdown(Shutdown::Both);
        let _ = self.done().await;
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
        die_with_parent(&mut command, own_nice());
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
