//! Asks every host every so often, and keeps what it answers as its own target: `up` is 0 and its series end when it is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::telemetry::intake::Intake;
use dwcp_telemetry::model::Labels;
use dwcp_telemetry::scrape::{Moment, ScrapeCache, Scraped, Target};
use dwcp_types::VmId;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{HostName, Hosts, Known, Last, Measured, families, held};
use crate::clock;
use crate::handle::{NodeHandle, View};
use crate::log::Log;
use crate::telemetry::keeper;

/// The label that says which program a series is of.
pub const JOB: &str = "dwcp-agentd";

/// A host's answer, or why there is none, and how long it took.
type Answer = (Result<Measured, String>, f64);

/// Asks and keeps, every `every`, for as long as the process lives.
pub async fn keep(hosts: Hosts, node: NodeHandle, store: Intake, every: Duration, log: Log) {
    let mut caches: BTreeMap<HostName, ScrapeCache> = BTreeMap::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let at_ms = clock::wall_ms();
        // It is stopping.
        let Some(own) = node.look(own_hosts).await else { return };
        let wanted = hosts.to_ask(own);
        let answers = ask_all(&hosts, &wanted).await;
        hosts.remember(&answers, at_ms);
        let vms = answers.values().filter_map(|(answer, _)| answer.as_ref().ok());
        let vms: Vec<VmId> = vms.flat_map(|measured| measured.figures.vms.iter().map(|of| of.vm)).collect();
        let Some(known) = hosts.known(&node, vms).await else { return };
        let (store, taken) = (store.clone(), std::mem::take(&mut caches));
        let kept = tokio::task::spawn_blocking(move || append(&store, taken, &answers, &known, at_ms));
        match kept.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(known) => (caches, failing) = (known, false),
            Err(why) => {
                // Once, and not every time: the log is for people.
                if !failing {
                    log.error("monitor", format!("what hosts measure is not kept: {why}"));
                }
                failing = true;
            }
        }
    }
}

/// The hosts of this region by its facts.
pub fn own_hosts(view: &View<'_>) -> Vec<HostName> {
    let region = &view.node.config().region;
    let facts = view.node.facts().regions.get(region);
    let hosts = facts.into_iter().flat_map(|facts| facts.hosts.keys());
    hosts.map(|host| (region.as_str().to_owned(), host.as_str().to_owned())).collect()
}

/// All at once: who is not linked is known without asking, and the links bound what comes.
async fn ask_all(hosts: &Hosts, wanted: &BTreeSet<HostName>) -> BTreeMap<HostName, Answer> {
    let mut asked = JoinSet::new();
    for name in wanted {
        let (hosts, name) = (hosts.clone(), name.clone());
        asked.spawn(async move {
            let began = Instant::now();
            let answer = hosts.measure(&name).await;
            (name, (answer, began.elapsed().as_secs_f64()))
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer);
    }
    answers
}

impl Hosts {
    fn remember(&self, answers: &BTreeMap<HostName, Answer>, at_ms: i64) {
        let last = |(name, (answer, seconds)): (&HostName, &Answer)| {
            let figures = answer.as_ref().ok().map(|measured| &measured.figures);
            let network = figures.and_then(|figures| figures.network_mbps.zip(figures.network_basis_points));
            let error = answer.as_ref().err().cloned().unwrap_or_default();
            (name.clone(), Last { at_ms, seconds: *seconds, error, network })
        };
        *held(&self.inner.last) = answers.iter().map(last).collect();
    }

    /// What the facts say of VMs; none: the process stops.
    pub async fn known(&self, node: &NodeHandle, vms: Vec<VmId>) -> Option<BTreeMap<VmId, Known>> {
        node.look(move |view| {
            let regions = &view.node.facts().regions;
            let find = |id: VmId| {
                let vm = regions.values().find_map(|facts| facts.vms.get(&id))?;
                let known = Known {
                    name: vm.name.clone(),
                    tenant: vm.tenant.clone(),
                    vcpus: vm.spec.size.vcpus,
                    memory_mib: vm.spec.size.memory_mib,
                };
                Some((id, known))
            };
            vms.into_iter().filter_map(find).collect()
        })
        .await
    }
}

/// Keeps the answers. Blocks.
fn append(
    store: &Intake,
    mut caches: BTreeMap<HostName, ScrapeCache>,
    answers: &BTreeMap<HostName, Answer>,
    known: &BTreeMap<VmId, Known>,
    at_ms: i64,
) -> Result<BTreeMap<HostName, ScrapeCache>, String> {
    let mut all = Scraped::default();
    let gone = caches.extract_if(.., |name, _| !answers.contains_key(name));
    for (_, mut cache) in gone {
        all.samples.extend(cache.gone(at_ms).samples);
    }
    for (name, (answer, seconds)) in answers {
        let cache = caches.entry(name.clone()).or_insert_with(|| ScrapeCache::new(target(name)));
        let moment = Moment { at_ms, seconds: *seconds };
        let scraped = match answer {
            Ok(measured) => cache.up(keeper::read(&families(name, measured, known))?, moment),
            Err(_) => cache.down(moment),
        };
        all.samples.extend(scraped.samples);
    }
    keeper::append(store, all, at_ms)?;
    Ok(caches)
}

/// A host as a target.
fn target((region, host): &HostName) -> Target {
    let labels = Labels::new([("job", JOB), ("instance", host), ("region", region), ("host", host)]);
    Target { labels, honor_labels: true, ..Target::default() }
}
