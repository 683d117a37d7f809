//! What this process says of itself, and what others' say: asked over the mesh in the class that waits for all others, and never
//! by way of the node, so that no decision depends on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dwcp_config::region::RegionConfig;
use dwcp_machine::process::{self, Wanted};
use dwcp_machine::{dial, disk, memory};
use dwcp_mesh::{Class, Identity, MeshHandle, Sent};
use dwcp_roles::node::{MeshMessage, SelfAsk, SelfTell};
use dwcp_types::{NodeId, VERSION, decode, encode};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::asked::Asked;
use crate::clock;
use crate::program::fetch::Incoming;

/// An answer takes no longer than this and the time for which processor time is counted.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// Processor time is counted for so long at most.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(20);
/// Questions that are answered at once; more are not answered.
const AT_ONCE: usize = 8;

/// Asks and answers. Clones share everything.
#[derive(Clone)]
pub struct Inspector {
    own: Arc<Own>,
    mesh: Option<MeshHandle>,
    asked: Asked<SelfTell>,
    /// Whoever asks, it is measured so often at once at most: it costs the store's disk.
    room: Arc<Semaphore>,
}

/// What is to be known of this process.
struct Own {
    me: NodeId,
    data_dir: PathBuf,
    store: &'static str,
    identity: Option<Identity>,
}

impl Inspector {
    /// One that asks nobody but this process.
    pub fn alone(config: &RegionConfig) -> Inspector {
        let store = if config.state.etcd.is_some() { "etcd" } else { "embedded" };
        let data_dir = PathBuf::from(&config.data_dir);
        Inspector {
            own: Arc::new(Own { me: config.number, data_dir, store, identity: None }),
            mesh: None,
            asked: Asked::new(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// One that asks others too.
    pub fn new(config: &RegionConfig, identity: Identity, mesh: MeshHandle) -> Inspector {
        let alone = Inspector::alone(config);
        let Own { me, data_dir, store, .. } = &*alone.own;
        let own = Own { me: *me, data_dir: data_dir.clone(), store, identity: Some(identity) };
        Inspector { own: Arc::new(own), mesh: Some(mesh), ..alone }
    }

    /// Asks a region's process; none: it did not answer in time.
    pub async fn ask(&self, node: NodeId, ask: SelfAsk) -> Option<SelfTell> {
        let within = ANSWERED_WITHIN + window(&ask);
        if node == self.own.me {
            let _permit = self.room.clone().try_acquire_owned().ok()?;
            return self.answer(ask).await;
        }
        let mut question = self.asked.begin(node);
        let message = MeshMessage::SelfAsk(Box::new(SelfAsk { id: question.id, ..ask }));
        // What is not sent is not answered.
        if let Sent::Dropped(_) = self.mesh.as_ref()?.send(node, Class::Bulk, encode(&message)) {
            return None;
        }
        timeout(within, question.answers.recv()).await.ok()?
    }

    async fn answer(&self, ask: SelfAsk) -> Option<SelfTell> {
        let own = self.own.clone();
        tokio::task::spawn_blocking(move || own.tell(&ask)).await.ok()
    }

    /// Answers others, and takes their answers, until the mesh ends.
    pub async fn keep(self, mut incoming: UnboundedReceiver<Incoming>) {
        while let Some((from, bytes)) = incoming.recv().await {
            match decode::<MeshMessage>(&bytes) {
                Ok(MeshMessage::SelfAsk(ask)) => {
                    let Ok(permit) = self.room.clone().try_acquire_owned() else { continue };
                    let inspector = self.clone();
                    tokio::spawn(async move {
                        let _permit = permit;
                        let told = inspector.answer(*ask).await;
                        if let (Some(told), Some(mesh)) = (told, &inspector.mesh) {
                            let message = MeshMessage::SelfTell(Box::new(told));
                            // Who asked does not wait for ever.
                            let _ = mesh.send(from, Class::Bulk, encode(&message));
                        }
                    });
                }
                Ok(MeshMessage::SelfTell(told)) => self.asked.answered(from, told.id, *told),
                _ => {}
            }
        }
    }
}

/// Whether a frame in the class of bulk is for an [`Inspector`].
pub fn is_mine(bytes: &[u8]) -> bool {
    matches!(dwcp_types::codec::Reader::new(bytes).varint(), Ok(220 | 221))
}

fn window(ask: &SelfAsk) -> Duration {
    Duration::from_millis(ask.window_ms).min(LONGEST_WINDOW)
}

impl Own {
    /// Looks now. Blocks.
    fn tell(&self, ask: &SelfAsk) -> SelfTell {
        let asked_wall_ms = clock::wall().0;
        // Before anything else keeps the machine busy: what is measured is the way there.
        let dialed = dial::all(&ask.dial);
        let durable = ask.measure.then(|| disk::durability(&self.data_dir));
        let own = Wanted { kind: "dwcpd", vm: None, pid: std::process::id() };
        let process = process::watch(&[own], window(ask)).pop().unwrap_or_default();
        let left_s = |identity: &Identity| identity.not_after_unix().saturating_sub(clock::wall().0 / 1_000);
        SelfTell {
            id: ask.id,
            process,
            version: VERSION.to_owned(),
            asked_wall_ms,
            certificate_left_s: self.identity.as_ref().map(left_s),
            disk: durable,
            disk_free_mib: disk::free(&self.data_dir).map(|(_, mib)| mib),
            memory_available_mib: memory::available_mib(),
            store: self.store.to_owned(),
            store_bytes: bytes_in(&self.data_dir.join("store")),
            dialed,
            answered_wall_ms: clock::wall().0,
        }
    }
}

/// Bytes of the files in a folder; none: it can't be read.
fn bytes_in(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?;
    let files =
        entries.flatten().filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file);
    Some(files.map(|file| file.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_without_reading_them() {
        let ask = MeshMessage::SelfAsk(Box::default());
        let tell = MeshMessage::SelfTell(Box::default());
        assert!(is_mine(&encode(&ask)) && is_mine(&encode(&tell)));
        assert!(!is_mine(&encode(&MeshMessage::StoreAsk(1))) && !is_mine(&[]));
    }

    #[tokio::test]
    async fn this_process_tells_of_itself_and_nobody_else_answers_where_there_is_no_mesh() {
        let folder = std::env::temp_dir().join(format!("dwcpd-inspect-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("store")).unwrap();
        std::fs::write(folder.join("store").join("a"), [0; 10]).unwrap();
        let data_dir = folder.display().to_string();
        let config = RegionConfig { number: 3, data_dir, ..RegionConfig::default() };
        let inspector = Inspector::alone(&config);
        let ask = SelfAsk { window_ms: 50, measure: true, ..SelfAsk::default() };
        let told = inspector.ask(3, ask.clone()).await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((told.store.as_str(), told.store_bytes), ("embedded", Some(10)));
        assert_eq!(told.process.pid, std::process::id());
        assert!(told.disk.is_some_and(|disk| disk.count > 0) && told.certificate_left_s.is_none());
        assert!(inspector.ask(4, ask).await.is_none());
    }
}
