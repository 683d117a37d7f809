//! How long a commit takes at each region's home over the emulated WAN, against the round trip to the nearest majority, and
//! how many commits a second the federation makes without a WAN; with `verify-sync`, what a verification of 100 MiB of facts
//! takes and costs instead.
//!
//! Five whole regions in one process: real stores on the disk that `TMPDIR` is on, real links, a pretended host in each. A
//! commit is a VM created by its region's own node: placement, log, majority, facts, answer.

mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dwcp_config::region::RegionConfig;
use dwcp_roles::node::{Asked, CreateVm, Input, Node, Reply, Request};
use dwcp_roles::protocol::{AgentMessage, Hello, Renew, renewal_seq};
use dwcp_server::dev::{self, DevPlan};
use dwcp_server::handle::NodeHandle;
use dwcp_server::log::Log;
use dwcp_server::region::{Options, Region};
use dwcp_server::setup;
use dwcp_state::{Freeze, Rules, Vm, VmSpec};
use dwcp_types::{Amount, encode};

/// Round trip from each region to the second nearest other one, ms: nobody can commit sooner.
const IDEAL_MS: [f64; 5] = [113.0, 118.2, 143.3, 183.6, 198.0];
const SAMPLES: u64 = 150;
const IN_FLIGHT: usize = 256;
const THROUGHPUT_FOR: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("dwcp-bench-commit-{}", std::process::id()));
    let done = measure(&folder).await;
    // What is left behind is only a temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

async fn measure(folder: &Path) -> Result<(), String> {
    let configs = configs(folder)?;
    if std::env::args().nth(1).as_deref() == Some("verify-sync") {
        let near = without_wan(&configs);
        let regions = start(&near)?;
        settle(&regions).await;
        verify::measure(&regions, &near).await?;
        stop(regions).await;
        return Ok(());
    }
    let regions = start(&configs)?;
    settle(&regions).await;
    println!("region           ideal ms   P50 ms   P99 ms   P50 ratio   P99 ratio");
    for (number, config) in configs.iter().enumerate() {
        let mut took = Vec::new();
        for sample in 0..SAMPLES {
            took.push(create(&regions[number].node, &config.region, "vm", sample).await?);
        }
        took.sort_by(f64::total_cmp);
        let (p50, p99, ideal) = (rank(&took, 0.5), rank(&took, 0.99), IDEAL_MS[number]);
        println!(
            "{:<16} {ideal:>8.1} {p50:>8.1} {p99:>8.1} {:>11.3} {:>11.3}",
            config.region,
            p50 / ideal,
            p99 / ideal
        );
    }
    let fsync = regions.iter().map(|region| region.times.p50_us().to_string()).collect::<Vec<_>>().join(", ");
    println!("median time to make a batch durable, µs: {fsync}");
    stop(regions).await;
    throughput(&configs).await
}

async fn throughput(configs: &[RegionConfig]) -> Result<(), String> {
    let near = without_wan(configs);
    // The addresses of those before are free soon.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let regions = start(&near)?;
    settle(&regions).await;
    let leader = leader(&regions).await.ok_or("the federation's group has no leader")?;
    let commits = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let asking: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (node, commits) = (regions[leader].node.clone(), commits.clone());
            tokio::spawn(async move {
                while began.elapsed() < THROUGHPUT_FOR {
                    let asked = Asked { by: "bench".to_owned(), ..Asked::default() };
                    if let Reply::Done(..) = node.ask(Request::SetFreeze(asked, Freeze::Active)).await {
                        commits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for task in asking {
        task.await.map_err(|e| e.to_string())?;
    }
    let rate = commits.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    println!("without WAN, {IN_FLIGHT} in flight, five replicas on this machine: {rate:.0} commits/s");
    stop(regions).await;
    Ok(())
}

fn without_wan(configs: &[RegionConfig]) -> Vec<RegionConfig> {
    configs.iter().map(|config| RegionConfig { wan: None, ..config.clone() }).collect()
}

/// The development federation's settings, on addresses of our own.
fn configs(folder: &Path) -> Result<Vec<RegionConfig>, String> {
    dev::init(folder, DevPlan { regions: 5, hosts_per_region: 1, pools: 0, store: dev::Kept::default() })?;
    let edit = |path: PathBuf| -> Result<PathBuf, String> {
        let text = std::fs::read_to_string(&path).map_err(|e| e.to_string())?;
        std::fs::write(&path, text.replace("127.77.", "127.78.")).map_err(|e| e.to_string())?;
        Ok(path)
    };
    edit(folder.join("wan.toml"))?;
    let names = dwcp_mesh::wan::DEVELOPMENT_REGIONS.iter().take(5);
    names.map(|name| setup::load(&edit(folder.join("config").join(format!("{name}.yaml")))?)).collect()
}

fn start(configs: &[RegionConfig]) -> Result<Vec<Region>, String> {
    let options = |config: &RegionConfig| Options {
        log: Log::silent(&config.region),
        state_lost: false,
        recorder: None,
        switch: tokio::sync::mpsc::unbounded_channel().0,
        trial: false,
        joins: Box::new(|| Ok(())),
        failed: Box::new(|error| panic!("{error}")),
    };
    configs.iter().map(|config| Region::start(config, options(config))).collect()
}

async fn stop(regions: Vec<Region>) {
    for region in regions {
        region.stop().await;
    }
}

/// Waits until every region is led at home, and gives each a host.
async fn settle(regions: &[Region]) {
    let ready = |node: &Node| {
        let home = (1..=5).all(|group| node.group(group).is_some_and(|status| status.leader == Some(group)));
        home && node.facts().core.regions.len() == 5
    };
    for region in regions {
        while region.node.look(move |view| ready(view.node)).await != Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for region in regions {
        let name = region.node.look(|view| view.node.config().region.to_string()).await.unwrap_or_default();
        tokio::spawn(pretend_host(region.node.clone(), name));
    }
    for region in regions {
        let known = |node: &Node| node.facts().regions.values().all(|facts| !facts.hosts.is_empty());
        while region.node.look(move |view| known(view.node)).await != Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Links are measured, beats have said who lives.
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// A host with room for everything, which starts nothing.
async fn pretend_host(node: NodeHandle, region: String) {
    const SESSION: u64 = 1 << 40;
    let say =
        |message: AgentMessage| node.tell(Input::AgentFrame { session: SESSION, bytes: encode(&message) });
    let host = format!("{region}-a1");
    node.tell(Input::AgentUp {
        session: SESSION,
        region: region.as_str().into(),
        host: host.as_str().into(),
    });
    say(AgentMessage::Hello(Hello {
        host: host.as_str().into(),
        region: region.as_str().into(),
        zone: "a".into(),
        vcpus: 1_000_000,
        memory_mib: 1 << 40,
        disk_gib: 1 << 30,
        incarnation: 1,
        ..Hello::default()
    }));
    for count in 1.. {
        tokio::time::sleep(Duration::from_millis(500)).await;
        say(AgentMessage::Renew(Renew { seq: renewal_seq(1, count), ..Renew::default() }));
    }
}

/// Creates a VM; how long that took, ms.
async fn create(node: &NodeHandle, region: &str, kind: &str, sample: u64) -> Result<f64, String> {
    let template = Vm {
        name: format!("{region}-{kind}-{sample}"),
        spec: VmSpec { size: Amount { vcpus: 1, memory_mib: 128, disk_gib: 1 }, ..VmSpec::default() },
        rules: Rules { allowed_regions: [region.into()].into(), ..Rules::default() },
        ..Vm::default()
    };
    let asked = Asked { by: "bench".to_owned(), ..Asked::default() };
    let began = Instant::now();
    match node.ask(Request::CreateVm(asked, Box::new(CreateVm { template, ..CreateVm::default() }))).await {
        Reply::Placed { created: Some(_), .. } => Ok(began.elapsed().as_secs_f64() * 1e3),
        other => Err(format!("{region}: {other:?}")),
    }
}

async fn leader(regions: &[Region]) -> Option<usize> {
    for (number, region) in regions.iter().enumerate() {
        if region.node.look(|view| view.node.leads(0)).await == Some(true) {
            return Some(number);
        }
    }
    None
}

fn rank(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}
