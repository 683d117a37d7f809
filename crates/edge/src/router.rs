//! `dwcp-routerd`: one router. It links to its region's node, makes its table of the facts that it is told, and serves by it; whatever
//! becomes of the nodes, it goes on with the last one.

mod answers;
mod early;
mod facts;
mod link;
mod serve;
mod settings;
mod shaped;
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

/// A first router that has no table waits for one no longer.
const ALONE: Duration = Duration::from_secs(10);
/// What is told of the table that was found at the start is about this.
const ON_DISK: &str = "the table on disk";

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
    raise_files();
    let kept = Kept::open(&settings.data_dir, Duration::from_millis(serve::DRAIN_MS + 2_000))?;
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
    shared.trouble(ON_DISK, found.refused.join("; "));
    let served = runtime.block_on(async {
        let mut end = std::pin::pin!(ended(until_stdin_ends));
        link::start(shared.clone())?;
        tokio::select! {
            () = has_table(&shared) => {}
            () = end.as_mut() => return Ok(()),
        }
        let served = serve::start(&shared).await?;
        end.await;
        served.end().await;
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// There is a table to serve by. Until then nobody is listened to: at a further router's addresses others serve, and a first one that
/// knows nothing is better not reached. When nobody tells it anything for a while it serves what little it knows.
async fn has_table(shared: &Shared) {
    let begun = Instant::now();
    while shared.current.routes().table.made_at_ms == 0
        && (shared.settings.further || begun.elapsed() < ALONE)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As many open files as this process may have: two for each user.
fn raise_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes one struct of ours; failing only means that there are no more.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
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
