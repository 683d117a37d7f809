//! Decisions a second about placements that are long, with a region's node alone and with one and two controllers beside it, as
//! real processes on loopback; and how long the node's loop was blocked meanwhile.
//!
//! The facts are those of 100 regions with 1,000 hosts each: `--regions N`, `--hosts N`. The other regions' nodes are only heard
//! (their beats are made up), as nothing but the decisions is measured. Eight clients ask at once, half of them to have
//! every host explained, half for a VM whose rules no host fulfils. `--seconds N` for each count (10).
//!
//! `--percent N`: each process gets so much of a core (60), as if it were on a machine of its own: three of them have more than
//! the cores of a small machine otherwise. 100 times the cores or more: whatever there is.

mod share;
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dwcp_roles::node::{Asked, CreateVm, Decisions, Reply, Request};
use dwcp_server::handle::NodeHandle;
use dwcp_state::Vm;
use dwcp_types::Amount;

use stage::Stage;

/// Clients that ask at once.
const CLIENTS: u64 = 8;
/// Between two looks at the node's loop.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn main() -> Result<(), String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, usual: usize| -> Result<usize, String> {
        let at = given.iter().position(|word| word == name);
        match at.map(|at| given.get(at + 1).and_then(|text| text.parse().ok())) {
            None => Ok(usual),
            Some(Some(number)) if number > 0 => Ok(number),
            Some(_) => Err(format!("{name} needs a number above 0")),
        }
    };
    let (regions, hosts) = (number("--regions", 100)?, number("--hosts", 1_000)?);
    let seconds = number("--seconds", 10)? as u64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let percent = Some(number("--percent", 60)?).filter(|percent| *percent < 100 * cores).unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime: {e}"))?;
    runtime.block_on(async {
        let mut stage = Stage::start(regions, hosts, percent as u32).await?;
        let measured = measure(&mut stage, Duration::from_secs(seconds)).await;
        stage.stop().await;
        measured
    })
}

async fn measure(stage: &mut Stage, limit: Duration) -> Result<(), String> {
    let (regions, hosts) = (stage.regions, stage.hosts);
    println!("{regions} regions, {hosts} hosts in all, {CLIENTS} clients, each process {}", stage.share());
    println!(
        "beside   decisions/s   ratio   by node   by others   late   loop P50 ms   loop P99 ms   loop max ms"
    );
    let mut alone = None;
    for beside in 0..=2u8 {
        stage.scale(beside).await?;
        // Tables are made and programs warm before anything counts.
        run(&stage.node(), limit / 5).await?;
        let before = decisions(&stage.node()).await?;
        let (count, took, blocked) = run(&stage.node(), limit).await?;
        let after = decisions(&stage.node()).await?;
        let rate = count as f64 / took.as_secs_f64();
        let first = *alone.get_or_insert(rate);
        println!(
            "{beside:>6} {rate:>13.1} {:>7.2} {:>9} {:>11} {:>6} {:>13.2} {:>13.2} {:>13.2}",
            rate / first,
            after.here - before.here,
            after.by_replicas - before.by_replicas,
            after.late - before.late,
            rank(&blocked, 50),
            rank(&blocked, 99),
            rank(&blocked, 100)
        );
    }
    Ok(())
}

async fn decisions(node: &NodeHandle) -> Result<Decisions, String> {
    node.look(|view| view.node.decisions().clone()).await.ok_or_else(|| "the node has stopped".to_string())
}

/// How many decisions were made, in which time, and how long each look at the node's loop waited, ms, in ascending order.
async fn run(node: &NodeHandle, limit: Duration) -> Result<(u64, Duration, Vec<f64>), String> {
    let (count, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = tokio::task::JoinSet::new();
    let began = Instant::now();
    for client in 0..CLIENTS {
        let (node, count, over) = (node.clone(), count.clone(), over.clone());
        clients.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                ask(&node, client % 2 == 0).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        });
    }
    let mut blocked = Vec::new();
    while began.elapsed() < limit {
        let asked = Instant::now();
        node.look(|_| ()).await.ok_or("the node has stopped")?;
        blocked.push(asked.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    over.store(true, Ordering::Relaxed);
    let (made, took) = (count.load(Ordering::Relaxed), began.elapsed());
    while let Some(done) = clients.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    blocked.sort_by(f64::total_cmp);
    Ok((made, took, blocked))
}

/// One long decision: every host is explained, or the rules are such that no host is left.
async fn ask(node: &NodeHandle, explained: bool) -> Result<(), String> {
    let mut template = Vm { name: "bench".into(), ..Vm::default() };
    template.spec.size = Amount { vcpus: 1, memory_mib: 1_024, disk_gib: 10 };
    if !explained {
        template.rules.host_labels = [("accelerator".to_string(), "none has it".to_string())].into();
    }
    let create = CreateVm { template, dry_run: true, explain: explained, ..CreateVm::default() };
    match node.ask(Request::CreateVm(Asked::default(), Box::new(create))).await {
        Reply::Placed { placement: Some(_), .. } if explained => Ok(()),
        Reply::Placed { refusal: Some(_), .. } if !explained => Ok(()),
        Reply::Placed { refusal, .. } => Err(format!("explained: {explained}, {refusal:?}")),
        other => Err(format!("{other:?}")),
    }
}

fn rank(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or(0.0)
}
