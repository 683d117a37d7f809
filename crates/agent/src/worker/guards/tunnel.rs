//! Carries a mirror's bytes to the host that keeps the copy.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dwcp_mesh::PeerId;
use dwcp_mesh::transfer::{Kind, Opened, Opening, Pace, TransferHandle};
use dwcp_roles::protocol::ProtectTo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Process;

/// Name of the socket that QEMU connects to, in the VM's folder.
pub(super) const SOCKET: &str = "replica.sock";
/// Between two tries to reach the other host.
const AGAIN: Duration = Duration::from_millis(300);

/// The way to a copy. Dropped, it is closed: what is on its way waits.
pub(super) struct Tunnel {
    /// Why the other host can't be reached; none while it is.
    gap: Arc<Mutex<Option<String>>>,
    changes: watch::Receiver<bool>,
    aim: watch::Sender<Option<(PeerId, SocketAddr)>>,
    task: JoinHandle<()>,
}

struct Way {
    link: TransferHandle,
    aim: watch::Receiver<Option<(PeerId, SocketAddr)>>,
    opening: Opening,
    gap: Arc<Mutex<Option<String>>>,
    reached: watch::Sender<bool>,
}

impl Tunnel {
    /// Listens for QEMU; nobody is reached before it is said who.
    pub(super) fn open(process: &Process, link: TransferHandle, epoch: u64) -> Result<Tunnel, String> {
        let dir = File::open(&process.dir).map_err(|e| format!("{}: {e}", process.dir.display()))?;
        // By its descriptor: a socket's name may have 108 bytes, and the folder may lie deep.
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|e| format!("{SOCKET}: {e}"))?;
        let gap = Arc::new(Mutex::new(Some("the copy's host was not reached yet".to_string())));
        let (reached, changes) = watch::channel(false);
        let opening =
            Opening { kind: Kind::Replica, vm: process.vm.0, generation: epoch, ..Opening::default() };
        let (aim, aimed) = watch::channel(None);
        let way = Way { link, aim: aimed, opening, gap: gap.clone(), reached };
        Ok(Tunnel { gap, changes, aim, task: tokio::spawn(way.keep(dir, listener)) })
    }

    /// Who keeps the copy, from now on.
    pub(super) fn lead_to(&self, to: &ProtectTo) -> Result<(), String> {
        let host = PeerId::Host { region: to.region.to_string(), host: to.host.to_string() };
        let endpoint =
            to.endpoint.parse().map_err(|e| format!("the endpoint of {host}, {}: {e}", to.endpoint))?;
        self.aim.send_if_modified(|aim| {
            let new = Some((host, endpoint));
            let modified = *aim != new;
            *aim = new;
            modified
        });
        Ok(())
    }

    /// Why the copy can't be reached now; none while it is.
    pub(super) fn gap(&self) -> Option<String> {
        self.gap.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Waits until the other host has agreed to take what comes.
    pub(super) async fn reached(&self) {
        let mut changes = self.changes.clone();
        // It ends only with the tunnel.
        let _ = changes.wait_for(|reached| *reached).await;
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    fn set_gap(&self, gap: Option<String>) {
        self.reached.send_replace(gap.is_none());
        *self.gap.lock().unwrap_or_else(|e| e.into_inner()) = gap;
    }

    /// One stream to the other host after the other, and on each one connection of QEMU's. What QEMU sends while there is no
    /// stream waits in its socket.
    async fn keep(self, _dir: File, listener: UnixListener) {
        let mut waiting: Option<UnixStream> = None;
        loop {
            let opened = match self.reach().await {
                Ok(opened) => opened,
                Err(reason) => {
                    self.set_gap(Some(reason));
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            self.set_gap(None);
            let local = match waiting.take() {
                Some(local) => local,
                None => match listener.accept().await {
                    Ok((local, _)) => local,
                    Err(_) => continue,
                },
            };
            let pace = Pace::new(0);
            let ended = tokio::select! {
                ended = opened.join(local, &pace) => match ended {
                    Ok(()) => "the connection to the copy ended".to_string(),
                    Err(reason) => reason,
                },
                // QEMU connects anew when it has given the connection before it up.
                accepted = listener.accept() => {
                    waiting = accepted.ok().map(|(local, _)| local);
                    "QEMU connected anew".to_string()
                }
            };
            self.set_gap(Some(ended));
        }
    }

    async fn reach(&self) -> Result<Opened, String> {
        let aim = self.aim.borrow().clone();
        let (host, endpoint) = aim.ok_or("nobody is known who keeps the copy")?;
        let link = self.link.link(&host, endpoint).await?;
        link.open(&self.opening).await?.accepted().await
    }
}
