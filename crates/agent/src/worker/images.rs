//! Images of the host: looked at on a thread of its own, got and given over the agents' links.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use dwcp_mesh::transfer::TransferHandle;
use dwcp_roles::agent::Input;
use dwcp_roles::protocol::{ImageRead, ImageSource};
use dwcp_types::ImageDigest;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::{Happened, memory};
use crate::host_config::HostConfig;
use crate::images::{Fetcher, Giver, Looked, Store};
use crate::{journal, quiet_thread};

/// Between two looks at what is there.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Other work of the host comes before reading images.
const NICE: libc::c_int = 10;

/// What the worker does about images.
pub(super) struct Images {
    config: Arc<HostConfig>,
    store: Arc<Store>,
    fetcher: Fetcher,
    giver: Giver,
    inputs: UnboundedSender<Happened>,
    /// The fetch that is going on, or was the last.
    fetch: Option<(u64, JoinHandle<()>)>,
    /// Says that something may have changed.
    look: SyncSender<()>,
}

fn tell(inputs: &UnboundedSender<Happened>, input: Input) {
    let _ = inputs.send(Happened::Input(input));
}

fn tell_looked(inputs: &UnboundedSender<Happened>, looked: Looked) {
    for (digest, reason) in looked.changed {
        journal::warn(
            "image-changed",
            json!({"digest": digest, "reason": reason, "next": "it is fetched anew"}),
        );
        tell(inputs, Input::ImageChanged { digest, reason });
    }
    tell(inputs, Input::Images(looked.here));
}

impl Images {
    pub(super) fn start(
        config: &Arc<HostConfig>,
        link: &TransferHandle,
        inputs: &UnboundedSender<Happened>,
    ) -> Result<Images, String> {
        let store = Arc::new(Store::open(&config.data_dir));
        let (look, asked) = sync_channel::<()>(1);
        let (looker, told) = (store.clone(), inputs.clone());
        let watch = move || {
            // SAFETY: plain numbers; 0 is this thread.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
            // The first look may have much to read.
            let known = looker.here();
            if !known.is_empty() {
                tell(&told, Input::Images(known));
            }
            let mut before = Looked::default();
            let mut first = true;
            loop {
                let looked = looker.look();
                if looked.unfit != before.unfit {
                    for (name, why) in &looked.unfit {
                        journal::warn("image-unfit", json!({"image": name, "reason": why}));
                    }
                }
                if first || looked != before {
                    tell_looked(&told, looked.clone());
                }
                (before, first) = (looked, false);
                if asked.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        };
        quiet_thread::start("images", watch).map_err(|e| format!("thread for images: {e}"))?;
        Ok(Images {
            config: config.clone(),
            fetcher: Fetcher::new(store.clone(), link.clone()),
            giver: Giver::start(store.clone(), link),
            store,
            inputs: inputs.clone(),
            fetch: None,
            look,
        })
    }

    pub(super) fn store(&self) -> Arc<Store> {
        self.store.clone()
    }

    pub(super) fn fetch(&mut self, number: u64, digest: ImageDigest, from: Option<ImageSource>) {
        let before = self.fetch.take();
        let (fetcher, store, inputs, look) =
            (self.fetcher.clone(), self.store.clone(), self.inputs.clone(), self.look.clone());
        let task = tokio::spawn(async move {
            if let Some((_, task)) = before {
                task.abort();
                let _ = task.await;
            }
            let of = from
                .as_ref()
                .map_or("the image folder".to_string(), |of| format!("{}/{}", of.region, of.host));
            journal::info("image-fetch", json!({"digest": digest, "from": of}));
            let progress = |done, total| tell(&inputs, Input::ImageProgress { fetch: number, done, total });
            let result = fetcher.fetch(&digest, from.as_ref(), progress).await;
            match &result {
                Ok(()) => {
                    journal::info("image-here", json!({"digest": digest, "from": of}));
                    tell(&inputs, Input::Images(store.here()));
                }
                Err(fault) => {
                    let fault = format!("{fault:?}");
                    journal::warn("image-not-fetched", json!({"digest": digest, "from": of, "fault": fault}));
                }
            }
            let _ = look.try_send(());
            tell(&inputs, Input::ImageFetched { fetch: number, result });
        });
        self.fetch = Some((number, task));
    }

    pub(super) fn stop(&self, number: u64) {
        if let Some((_, task)) = self.fetch.as_ref().filter(|(going, _)| *going == number) {
            task.abort();
        }
    }

    pub(super) fn set_gentle(&self, gentle: bool) {
        self.fetcher.set_gentle(gentle);
        self.giver.set_gentle(gentle);
    }

    /// Takes a copy away, unless a VM's disk may lie over it after all.
    pub(super) fn remove(&self, digest: ImageDigest) {
        let (config, store, look) = (self.config.clone(), self.store.clone(), self.look.clone());
        tokio::task::spawn_blocking(move || {
            let uses = |note: &memory::Note| note.spec.image_digest == digest;
            let done = match memory::notes(&config.data_dir).iter().find(|note| uses(note)) {
                Some(note) => Err(format!("{} uses it", note.vm)),
                None => store.remove(&digest),
            };
            match done {
                Ok(()) => journal::info("image-removed", json!({"digest": digest})),
                Err(why) => journal::warn("image-not-removed", json!({"digest": digest, "reason": why})),
            }
            let _ = look.try_send(());
        });
    }

    pub(super) fn read(&self, request: u64, name: &str) {
        let (digest, parts) = self.store.parts(name).unwrap_or_default();
        tell(&self.inputs, Input::ImageRead(ImageRead { request, digest, parts }));
    }
}
