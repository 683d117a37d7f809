//! What the emulator connects to: each connection becomes a stream of the transfer link, in the order in which it came.

use std::path::Path;
use std::sync::{Arc, Mutex};

use dwcp_mesh::transfer::{Link, Opening, Pace};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// The streams of one copy. Dropped, all of them are torn down.
pub(super) struct Streams {
    link: Link,
    pace: Arc<Pace>,
    tasks: JoinSet<()>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Streams {
    pub(super) fn new(link: Link, pace: Arc<Pace>) -> Streams {
        Streams { link, pace, tasks: JoinSet::new(), trouble: Arc::default() }
    }

    /// Listens at `path` for up to `most` connections, each carried by a stream of its own.
    pub(super) fn carry(&mut self, path: &Path, first: Opening, most: u64) -> Result<(), String> {
        let fault = |e: std::io::Error| format!("{}: {e}", path.display());
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(fault)?;
        let (link, pace, trouble) = (self.link.clone(), self.pace.clone(), self.trouble.clone());
        self.tasks.spawn(async move {
            let mut joined = JoinSet::new();
            for number in 0..most {
                let Ok((local, _)) = listener.accept().await else { break };
                let opening = Opening { number, ..first.clone() };
                let opened = match link.open(&opening).await {
                    Ok(opened) => opened,
                    Err(error) => {
                        note(&trouble, error);
                        continue;
                    }
                };
                let (pace, trouble) = (pace.clone(), trouble.clone());
                joined.spawn(async move {
                    if let Err(error) = opened.join(local, &pace).await {
                        note(&trouble, error);
                    }
                });
            }
            drop(listener);
            while joined.join_next().await.is_some() {}
        });
        Ok(())
    }

    /// What went wrong first with any stream. At the end of a copy that succeeds something may, too.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

fn note(trouble: &Mutex<Option<String>>, error: String) {
    trouble.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
}
