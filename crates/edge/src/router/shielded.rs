//! What keeps attackers out: the federation's blocks, other routers' blocks, and the kernel's part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dwcp_decide::ddos::{Block, Country, GuardPolicy, RouterReport, Status};
use dwcp_roles::protocol::RouterBeat;
use dwcp_state::{DocumentKind, Federation};
use dwcp_types::Revision;
use ring::hmac;

use super::link::wall_ms;
use super::{Settings, Shared};
use crate::geo::Geo;
use crate::kernel::{Kernel, Listen};
use crate::shield::{Secrets, Setup, Shield};

/// The document that says what is too much.
const POLICY_ID: &str = "policy";
/// Between two times at which the kernel is handed what it may drop.
const KERNEL_EVERY: Duration = Duration::from_millis(500);

/// What was said last about whom to keep out.
#[derive(Default)]
pub struct Heard {
    /// The newest document that was read.
    revision: Option<Revision>,
    /// Documents that were read.
    count: usize,
    /// The federation's.
    blocks: Vec<Block>,
    /// Other routers', by router.
    others: BTreeMap<String, Vec<Block>>,
    /// Attacks of the last report, and how many there were in all.
    attacks: BTreeSet<String>,
    detected: u64,
}

/// A key for one purpose, of the secret that all routers share.
pub fn derived(secret: &[u8; 32], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(tag.as_ref());
    key
}

/// The shield of this router.
///
/// # Errors
/// The system gives no random numbers.
pub fn shield(settings: &Settings, geo: Option<Arc<Geo>>) -> Result<Arc<Shield>, String> {
    let mut seed = [0; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
        .map_err(|_| "no random numbers".to_owned())?;
    let look = move |ip| {
        let found = geo.as_ref().map(|geo| geo.look(ip)).unwrap_or_default();
        (found.country.map(Country::of).unwrap_or_default(), found.asn.unwrap_or_default())
    };
    let config = &settings.config;
    Ok(Arc::new(Shield::new(Setup {
        router: format!("{}/{}", config.host, config.number),
        policy: GuardPolicy::default(),
        secrets: Secrets { current: derived(&settings.secret, "challenge"), previous: None },
        seed: u64::from_le_bytes(seed),
        geo: Box::new(look),
        clock: Box::new(wall_ms),
    })))
}

/// Reads what the federation says about whom to keep out, when that has changed; what is wrong with it.
pub fn read(shared: &Shared, facts: &Federation) -> Vec<String> {
    let kinds = [DocumentKind::Guard, DocumentKind::Block];
    let all = || facts.core.documents.iter().filter(|(key, _)| kinds.contains(&key.kind));
    let newest = all().map(|(_, document)| document.revision).max();
    let count = all().count();
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if (heard.revision, heard.count) == (newest, count) {
        return Vec::new();
    }
    (heard.revision, heard.count) = (newest, count);
    let mut wrong = Vec::new();
    let mut policy = GuardPolicy::default();
    heard.blocks.clear();
    for (key, document) in all() {
        let read = match key.kind {
            DocumentKind::Guard if key.id == POLICY_ID => {
                serde_json::from_str(&document.text).map(|read| policy = read)
            }
            DocumentKind::Block => serde_json::from_str(&document.text).map(|block| heard.blocks.push(block)),
            _ => Ok(()),
        };
        if let Err(error) = read {
            wrong.push(format!("{key} can't be read: {error}"));
        }
    }
    shared.shield.set_policy(policy);
    put(shared, &heard);
    wrong
}

/// Attacks that go on, and all that this router has seen.
pub fn attacks(shared: &Shared, report: &RouterReport) -> (u64, u64) {
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    let known: BTreeSet<String> = report.attacks.iter().map(|attack| attack.key.clone()).collect();
    heard.detected += known.difference(&heard.attacks).count() as u64;
    heard.attacks = known;
    let active = report.attacks.iter().filter(|attack| attack.status == Status::Active).count();
    (active as u64, heard.detected)
}

/// Takes what other routers say of attackers.
pub fn hear(shared: &Shared, routers: &[RouterBeat]) {
    let config = &shared.settings.config;
    let others = routers.iter().filter(|router| {
        !(router.region.as_str() == config.region
            && router.host.as_str() == config.host
            && router.number == config.number)
    });
    let read = others.filter_map(|router| {
        let report: RouterReport = serde_json::from_slice(&router.shield.0).ok()?;
        Some((report.router, report.blocks))
    });
    let others: BTreeMap<String, Vec<Block>> = read.collect();
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.others != others {
        heard.others = others;
        put(shared, &heard);
    }
}

fn put(shared: &Shared, heard: &Heard) {
    let others = heard.others.values().flatten();
    shared.shield.set_blocks(heard.blocks.iter().chain(others).cloned().collect());
}

/// The kernel's part, for as long as this is there.
pub struct InKernel {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl InKernel {
    /// None: it is not wanted, or the kernel refuses; then the proxy keeps out whom it knows by itself.
    pub fn start(shared: &Arc<Shared>, listens: Vec<Listen>) -> Option<InKernel> {
        if !shared.settings.config.nftables {
            return None;
        }
        let name = format!("{}-{}", shared.settings.config.host, shared.settings.config.number);
        let mut kernel = match Kernel::start(&name, listens, vec!["nft".to_owned()]) {
            Ok(kernel) => kernel,
            Err(why) => {
                shared.trouble("the kernel's filter", why);
                return None;
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared) = (stop.clone(), shared.clone());
        let work = move || {
            while !stopped.load(Relaxed) {
                let (blocked, white) = shared.shield.for_kernel();
                let done = kernel.sync(&blocked, &white, wall_ms());
                shared.trouble("the kernel's filter", done.err().unwrap_or_default());
                std::thread::sleep(KERNEL_EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("routerd-kernel".into()).spawn(work).ok()?;
        Some(InKernel { stop, thread: Some(thread) })
    }
}

impl Drop for InKernel {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
