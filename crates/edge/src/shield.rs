//! Keeps attackers out without hurting users.
//!
//! What is to be done with somebody is looked up in rules that are replaced as a whole; what happens is noted for a watcher
//! beside the data path, which detects floods and blocks by itself. Operators' blocks come from the federation. Whoever is
//! whitelisted passes, whatever else is said; what has ended by its time is nothing, also when nobody tells.

mod answers;
mod buckets;
mod challenge;
mod counts;
mod page;
mod rules;
mod watch;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use dwcp_decide::ddos::{
    Block, Country, Detection, Detector, GuardPolicy, Learned, Net, RouterReport, Target, sketch,
};

use buckets::Buckets;
use challenge::Challenges;
use counts::{Counts, count};
use rules::{Rules, Who};
use watch::{NOTES, Note, Watch};

pub use challenge::{COOKIE, Secrets};
pub use counts::DropRecord;
pub use rules::Bulk;
pub use watch::watching;

/// The most automatic blocks; those that end first give way.
const MOST_AUTOMATIC: usize = 16_384;
/// The most of them in a report.
const MOST_REPORTED: usize = 1_024;
/// The most attacks in a report: those that were largest.
const MOST_ATTACKS: usize = 128;
/// The most services that are told apart.
const MOST_SERVICES: usize = 255;
/// The service that questions of names count for.
const DNS: &str = "dns";

/// Where somebody is: country, and autonomous system (0: unknown).
pub type Geo = Box<dyn Fn(IpAddr) -> (Country, u32) + Send + Sync>;
/// The time, ms since 1970.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// What a shield is made of.
pub struct Setup {
    /// The router's name.
    pub router: String,
    pub policy: GuardPolicy,
    pub secrets: Secrets,
    /// Of what is counted; not known outside.
    pub seed: u64,
    pub geo: Geo,
    pub clock: Clock,
}

/// What the rules are made of.
struct Said {
    policy: GuardPolicy,
    /// The federation's.
    blocks: Vec<Block>,
    bulk: Option<Bulk>,
    /// The router's own.
    automatic: BTreeMap<Target, Block>,
}

/// The guard of a router.
pub struct Shield {
    router: String,
    seed: u64,
    geo: Geo,
    clock: Clock,
    rules: RwLock<Arc<Rules>>,
    said: Mutex<Said>,
    buckets: Buckets,
    challenges: Challenges,
    /// Numbers of services, as the detector has them.
    services: RwLock<BTreeMap<String, u16>>,
    notes: SyncSender<Note>,
    watch: Mutex<Watch>,
    requests: AtomicU32,
    counts: Counts,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shield {
    pub fn new(setup: Setup) -> Shield {
        let Setup { router, policy, secrets, seed, geo, clock } = setup;
        let (notes, read) = sync_channel(NOTES);
        let detector = Detector::new(policy.clone(), sketch::hash(seed, 1));
        let shield = Shield {
            challenges: Challenges::new(&router, secrets),
            router,
            seed,
            geo,
            clock,
            rules: RwLock::default(),
            said: Mutex::new(Said { policy, blocks: Vec::new(), bulk: None, automatic: BTreeMap::new() }),
            buckets: Buckets::new(sketch::hash(seed, 2)),
            services: RwLock::default(),
            notes,
            watch: Mutex::new(Watch::new(read, detector)),
            requests: AtomicU32::new(0),
            counts: Counts::default(),
        };
        shield.prepare(&lock(&shield.said));
        shield.service(DNS);
        shield
    }

    /// Another policy from now on.
    pub fn set_policy(&self, policy: GuardPolicy) {
        lock(&self.watch).detector.set_policy(policy.clone());
        self.change(|said| said.policy = policy);
    }

    /// The federation's blocks from now on.
    pub fn set_blocks(&self, blocks: Vec<Block>) {
        self.change(|said| said.blocks = blocks);
    }

    /// A long list from now on, or none.
    pub fn set_bulk(&self, bulk: Option<Bulk>) {
        self.change(|said| said.bulk = bulk);
    }

    /// Other secrets from now on.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.challenges.set_secrets(secrets);
    }

    /// People have decided: an automatic block ends, and there is none of the same until then.
    pub fn pardon(&self, target: &Target, until_ms: u64) {
        lock(&self.watch).detector.pardon(target, until_ms);
        self.change(|said| drop(said.automatic.remove(target)));
    }

    /// What was learned so far, to be kept.
    pub fn learned(&self) -> Learned {
        lock(&self.watch).detector.learned().clone()
    }

    /// What was learned before.
    pub fn restore(&self, learned: Learned) {
        lock(&self.watch).detector.restore(learned);
    }

    /// Reads what was noted, and blocks what it shows. [`watching`] does this all the time.
    pub fn turn(&self) -> Vec<Detection> {
        let now_ms = (self.clock)();
        let mut watch = lock(&self.watch);
        self.tell_services(&mut watch.detector);
        let told = watch.turn(now_ms);
        drop(watch);
        self.block(&told, now_ms);
        told
    }

    /// What the control plane is told. Bounded.
    pub fn report(&self) -> RouterReport {
        let now_ms = (self.clock)();
        let watch = lock(&self.watch);
        let (mut attacks, traffic) = (watch.attacks(), watch.detector.traffic(now_ms));
        drop(watch);
        attacks.sort_by_key(|attack| std::cmp::Reverse(attack.peak_rate));
        attacks.truncate(MOST_ATTACKS);
        let said = lock(&self.said);
        let lasting = said.automatic.values().filter(|block| block.until_ms > now_ms);
        let blocks = lasting.take(MOST_REPORTED).cloned().collect();
        let counters = self.counts.read();
        RouterReport { router: self.router.clone(), at_ms: now_ms, attacks, blocks, traffic, counters }
    }

    /// Who was not served since then, by second.
    pub fn drops(&self, since_s: u64) -> Vec<DropRecord> {
        lock(&self.watch).drops.since(since_s)
    }

    /// What the kernel may drop by itself: networks until when, and those that it must never drop. None while autonomous
    /// systems are whitelisted: the kernel does not know whose an address is.
    pub fn for_kernel(&self) -> (Vec<(Net, u64)>, Vec<Net>) {
        let now_ms = (self.clock)();
        let rules = self.rules();
        let blocked = if rules.whitelists_systems() { Vec::new() } else { rules.blacklisted(now_ms) };
        (blocked, rules.whitelisted(now_ms))
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        let mut said = lock(&self.said);
        change(&mut said);
        self.prepare(&said);
    }

    fn prepare(&self, said: &Said) {
        let blocks = said.blocks.iter().chain(said.automatic.values()).cloned();
        let rules = Arc::new(Rules::new(said.policy.clone(), blocks, said.bulk.clone()));
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Blocks what was detected, if the policy says so; what has ended goes.
    fn block(&self, told: &[Detection], now_ms: u64) {
        let blocks: Vec<&Block> = told.iter().flat_map(|one| &one.blocks).collect();
        if blocks.is_empty() {
            return;
        }
        self.change(|said| {
            said.automatic.retain(|_, block| block.until_ms > now_ms);
            for block in blocks.into_iter().filter(|_| said.policy.automatic) {
                let block = Block { by: format!("router {}", self.router), ..block.clone() };
                said.automatic.insert(block.what.clone(), block);
            }
            while said.automatic.len() > MOST_AUTOMATIC {
                let first = said.automatic.values().min_by_key(|block| block.until_ms);
                let Some(first) = first.map(|block| block.what.clone()) else { return };
                said.automatic.remove(&first);
            }
        });
    }

    fn who(&self, ip: IpAddr) -> Who {
        let (country, asn) = (self.geo)(ip);
        Who { ip, country, asn }
    }

    /// The number of a service; 0: there are too many.
    fn service(&self, name: &str) -> u16 {
        let known = self.services.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        known.unwrap_or_else(|| {
            let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
            let next = services.len() + 1;
            let room = next <= MOST_SERVICES && !name.is_empty();
            if room { *services.entry(name.to_owned()).or_insert(next as u16) } else { 0 }
        })
    }

    /// The detector numbers services in the same order.
    fn tell_services(&self, detector: &mut Detector) {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        if detector.services() > services.len() {
            return;
        }
        let mut all: Vec<(u16, &String)> = services.iter().map(|(name, number)| (*number, name)).collect();
        all.sort_unstable();
        for (_, name) in all {
            detector.service(name);
        }
    }

    fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            count(&self.counts.missed);
        }
    }
}

#[cfg(test)]
mod tests;
