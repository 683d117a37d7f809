//! `dwcp-routerd`: one router. It links to its region's node, makes its table of the facts that it is told, and serves by it; whatever
//! becomes of the nodes, it goes on with the last one.

mod answers;
mod facts;
mod link;
mod serve;
mod settings;
mod shielded;
mod word;

pub use settings::Settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dwcp_decide::route::Table;

use crate::geo::{Found, Geo};
use crate::keep::Kept;
use crate::routes::Current;
use crate::shield::Shield;

/// What the parts of a router share.
pub(crate) struct Shared {
    pub settings: Settings,
    pub begun: Instant,
    pub current: Arc<Current>,
    pub shield: Arc<Shield>,
    pub kept: Kept,
    /// None: nothing is known of where addresses are.
    pub geo: Option<Arc<Geo>>,
    pub heard: Mutex<shielded::Heard>,
    pub early: Mutex<shielded::EarlyDrops>,
    /// What is wrong, for everybody to see; by what it is about.
    troubles: Mutex<BTreeMap<&'static str, String>>,
}

impl Shared {
    /// Something is wrong, or with an empty text no longer.
    pub fn trouble(&self, about: &'static str, text: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = troubles.get(about).cloned().unwrap_or_default();
        if before == text {
            return;
        }
        match text.is_empty() {
            true => log(&format!("{about}: well again")),
            false => log(&format!("{about}: {text}")),
        }
        troubles.insert(about, text);
    }

    /// All that is wrong, in one line; empty: nothing.
    pub fn troubles(&self) -> String {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = troubles.iter().filter(|(_, text)| !text.is_empty());
        wrong.map(|(about, text)| format!("{about}: {text}")).collect::<Vec<_>>().join("; ")
    }

    /// What is known of where an address is.
    pub fn look(&self, ip: std::net::IpAddr) -> Found {
        self.geo.as_ref().map(|geo| geo.look(ip)).unwrap_or_default()
    }
}

/// A line of the log.
pub(crate) fn log(line: &str) {
    eprintln!("{line}");
}

/// Serves until the process is told to end, or, where that is wanted, its standard input ends.
///
/// # Errors
/// What could not be opened or listened at.
pub fn run(settings: Settings, until_stdin_ends: bool) -> Result<(), String> {
    let kept = Kept::open(&settings.data_dir)?;
    let found = kept.load();
    let here = settings.config.region.clone();
    let table = found.table.unwrap_or_else(|| Table { here, ..Table::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime: {e}"))?;
    let geo = settings.geo.as_deref().map(|folder| Geo::open(folder).map(Arc::new)).transpose();
    let (geo, unplaced) = match geo {
        Ok(geo) => (geo, String::new()),
        Err(why) => (None, why),
    };
    let shared = Arc::new(Shared {
        begun: Instant::now(),
        current: Arc::new(Current::new(table)),
        shield: shielded::shield(&settings, geo.clone())?,
        kept,
        geo,
        heard: Mutex::default(),
        early: Mutex::default(),
        troubles: Mutex::default(),
        settings,
    });
    shared.trouble("places of addresses", unplaced);
    shared.trouble("the table on disk", found.refused.join("; "));
    let served = {
        let _inside = runtime.enter();
        link::start(shared.clone())?;
        runtime.block_on(serve::start(&shared))?
    };
    runtime.block_on(ended(until_stdin_ends));
    runtime.block_on(served.end());
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// The standard input ends. Nobody waits for the thread that reads it.
async fn stdin_end() {
    let (held, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // What can't be read has ended as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(held);
    });
    // It only ever ends: nothing is sent.
    let _ = ended.await;
}

/// SIGTERM or SIGINT, or the end of the standard input.
async fn ended(until_stdin_ends: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    let stdin_ended = async {
        match until_stdin_ends {
            true => stdin_end().await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = stdin_ended => {}
    }
}
