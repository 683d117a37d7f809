//! Which endpoints are well: by looking at each of them, and by what requests find.
//!
//! Of many endpoints only so many are looked at at a time, and those that are down never hold up the others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dwcp_decide::route::{Protocol, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::routes::{Pool, Routes};

use super::connect::{Patience, connect};
use super::mark::Mark;
use super::shared::Shared;

/// How soon a changed table is noticed, ms.
const NOTICE_MS: u64 = 250;
/// As much of an answer as its first line needs, bytes.
const FIRST_LINE: usize = 16;

/// A request found an endpoint dead.
pub(super) fn failed(shared: &Shared, pool: &Pool, endpoint: u32, address: SocketAddr) {
    let limits = &shared.limits;
    if shared.failures.failed(address, shared.now_ms(), limits.failures, limits.down_ms) {
        pool.set_dead(endpoint);
    }
}

/// An endpoint that is looked at.
struct Target {
    /// Where it is in the routes.
    service: usize,
    endpoint: u32,
    look: Arc<Look>,
    failures: u32,
    /// In another region: requests and the federation's facts tell of it sooner than checks over the distance.
    far: bool,
}

/// What is asked of it.
struct Look {
    address: SocketAddr,
    /// Also with the answer.
    patience: Patience,
    /// A whole request; none: a connection is enough.
    request: Option<String>,
}

/// When which one is looked at next: (ms, number).
type Queue = BinaryHeap<Reverse<(u64, u64)>>;

/// What an endpoint is known by in every table: service, region, id, address.
type Key = (String, String, String, SocketAddr);

struct Checks {
    shared: Arc<Shared>,
    routes: Arc<Routes>,
    /// By a number that is used once.
    targets: HashMap<u64, Target>,
    next: u64,
    well: Queue,
    ill: Queue,
    running: JoinSet<Done>,
    /// How many of those that run are of ill ones.
    running_ill: usize,
}

/// What came of a look.
struct Done {
    number: u64,
    was_ill: bool,
    well: bool,
}

/// Looks at all endpoints, until the end.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut checks = Checks {
        shared: Arc::clone(&shared),
        routes: shared.current.routes(),
        targets: HashMap::new(),
        next: 0,
        well: Queue::new(),
        ill: Queue::new(),
        running: JoinSet::new(),
        running_ill: 0,
    };
    checks.follow(shared.current.routes());
    let mut end = std::pin::pin!(shared.closed());
    loop {
        let now = shared.current.routes();
        if !Arc::ptr_eq(&checks.routes, &now) {
            checks.follow(now);
        }
        let wait_ms = checks.start();
        tokio::select! {
            Some(done) = checks.running.join_next() => {
                if let Ok(done) = done {
                    checks.ended(&done);
                }
            }
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            () = end.as_mut() => return,
        }
    }
}

impl Checks {
    /// Takes up what a table has, and lets go what it has no more.
    fn follow(&mut self, routes: Arc<Routes>) {
        let before = std::mem::take(&mut self.targets).into_iter();
        let mut before: HashMap<Key, (u64, Target)> = before
            .filter_map(|(number, it)| {
                Some((key(&self.routes.table, it.service, it.endpoint)?, (number, it)))
            })
            .collect();
        let every_ms = self.shared.limits.check_every_ms;
        for (service, row) in routes.table.services.iter().enumerate() {
            let path = row.check_path.as_ref().filter(|_| row.protocol == Protocol::Http);
            for (at, endpoint) in (0..).zip(&row.endpoints) {
                let request = path.map(|path| request(path, &row.hosts, endpoint.address));
                let within_ms = self.shared.limits.check_ms;
                let patience = match row.protocol {
                    Protocol::Http => Patience::new(within_ms, routes.rtt_ms(endpoint.region)),
                    _ => Patience::once(within_ms),
                };
                let look = Arc::new(Look { address: endpoint.address, patience, request });
                let known = key(&routes.table, service, at).and_then(|key| before.remove(&key));
                let number = known.as_ref().map_or(self.next, |(number, _)| *number);
                let failures = known.as_ref().map_or(0, |(_, target)| target.failures);
                let region = routes.table.regions.get(usize::from(endpoint.region));
                let far = region.is_none_or(|row| row.region != routes.table.here);
                self.targets.insert(number, Target { service, endpoint: at, look, failures, far });
                if known.is_none() {
                    self.next += 1;
                    let first = self.shared.now_ms() + self.shared.fresh() % every_ms.max(1);
                    self.well.push(Reverse((first, number)));
                }
            }
        }
        self.routes = routes;
    }

    /// Starts what is due; how long to wait then, ms.
    fn start(&mut self) -> u64 {
        let now = self.shared.now_ms();
        let most = self.shared.limits.checks_at_once.max(4);
        while self.running.len() < most {
            let Some((number, was_ill)) = self.due(now, most) else { break };
            // It is gone from the table.
            let Some(target) = self.targets.get(&number) else { continue };
            self.running_ill += usize::from(was_ill);
            self.shared.counts.checks.fetch_add(1, Relaxed);
            let look = Arc::clone(&target.look);
            self.running.spawn(async move { Done { number, was_ill, well: is_well(&look).await } });
        }
        let next = [&self.well, &self.ill].into_iter().filter_map(|queue| queue.peek());
        let next = next.map(|Reverse((at, _))| at.saturating_sub(now)).min().unwrap_or(NOTICE_MS);
        // With all hands full, one that comes back is waited for.
        if next == 0 { NOTICE_MS } else { next.min(NOTICE_MS) }
    }

    /// The next one that is due. Ill ones, which take long, get a quarter of the hands, and half of them when others are idle.
    fn due(&mut self, now: u64, most: usize) -> Option<(u64, bool)> {
        let ill = |queue: &mut Queue| due(queue, now).map(|number| (number, true));
        if self.running_ill < most / 4 {
            if let Some(found) = ill(&mut self.ill) {
                return Some(found);
            }
        }
        let well = due(&mut self.well, now).map(|number| (number, false));
        if well.is_none() && self.running_ill < most / 2 { ill(&mut self.ill) } else { well }
    }

    fn ended(&mut self, done: &Done) {
        self.running_ill -= usize::from(done.was_ill);
        let limits = &self.shared.limits;
        let now = self.shared.now_ms();
        let Some(target) = self.targets.get_mut(&done.number) else { return };
        let pool = &self.routes.pools[target.service];
        if done.well {
            target.failures = 0;
            if self.shared.failures.may_return(target.look.address, now) {
                pool.set_up(target.endpoint, true);
            }
        } else {
            target.failures = target.failures.saturating_add(1);
            if target.failures >= limits.check_failures {
                pool.set_up(target.endpoint, false);
            }
        }
        // A quarter more or less, so that they don't come in step.
        let rests = target.far && target.failures == 0;
        let every = if rests { limits.check_far_every_ms } else { limits.check_every_ms };
        let next = now + every * 3 / 4 + self.shared.fresh() % (every / 2).max(1);
        let queue = if target.failures == 0 { &mut self.well } else { &mut self.ill };
        queue.push(Reverse((next, done.number)));
    }
}

fn key(table: &Table, service: usize, endpoint: u32) -> Option<Key> {
    let service = table.services.get(service)?;
    let row = service.endpoints.get(endpoint as usize)?;
    let region = table.regions.get(usize::from(row.region))?;
    Some((service.name.clone(), region.region.clone(), row.id.clone(), row.address))
}

fn due(queue: &mut Queue, now: u64) -> Option<u64> {
    let Reverse((at, number)) = *queue.peek()?;
    if at > now {
        return None;
    }
    queue.pop();
    Some(number)
}

fn request(path: &str, hosts: &[String], address: SocketAddr) -> String {
    let host = hosts.iter().find(|host| *host != "*").cloned().unwrap_or_else(|| address.to_string());
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dwcp-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

async fn is_well(look: &Look) -> bool {
    let asked = async {
        let mut tcp = connect(look.address, Mark::default(), look.patience).await.ok()?;
        let Some(request) = &look.request else {
            // Nothing was said: there is nothing to wait for at the end.
            let _ = tcp.set_zero_linger();
            return Some(true);
        };
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut line = [0; FIRST_LINE];
        let mut length = 0;
        while length < 12 {
            match tcp.read(&mut line[length..]).await.ok()? {
                0 => return None,
                more => length += more,
            }
        }
        Some(line.starts_with(b"HTTP/1.") && line[8] == b' ' && matches!(line[9], b'2' | b'3'))
    };
    let within = Duration::from_millis(look.patience.within_ms);
    tokio::time::timeout(within, asked).await.ok().flatten().unwrap_or(false)
}
