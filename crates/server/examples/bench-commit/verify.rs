//! What it takes to compare all replicas and read all stores back, and what writes notice of it.

use std::time::{Duration, Instant};

use dwcp_config::region::RegionConfig;
use dwcp_roles::node::{Asked, CreateVm, Reply, Request, VerifyReport};
use dwcp_server::region::Region;
use dwcp_state::{Rules, Vm, VmSpec};
use dwcp_types::Amount;

use super::{create, rank};

/// Facts of all groups together, MiB.
const FACTS_MIB: u64 = 100;
/// A VM carries a label of so many bytes: it is about the bytes, and a day's worth of VMs would take a day to create.
const LABEL_BYTES: u64 = 6 << 10;
const IN_FLIGHT: u64 = 64;
/// Writes are timed for so long with nothing else going on, and then during so many verifications.
const QUIET_FOR: Duration = Duration::from_secs(20);
const ROUNDS: usize = 5;
/// What a verification may take, ms.
const WITHIN_MS: u64 = 120_000;

pub async fn measure(regions: &[Region], configs: &[RegionConfig]) -> Result<(), String> {
    fill(regions, configs).await?;
    // What follows from so many writes, snapshots above all, is over.
    tokio::time::sleep(Duration::from_secs(15)).await;
    println!("                       writes   P50 ms   P99 ms   longest ms");
    let quiet = Instant::now();
    write(&regions[0], &configs[0].region, "quiet", || quiet.elapsed() > QUIET_FOR).await?;
    for round in 0..ROUNDS {
        let node = regions[1].node.clone();
        let verifying = tokio::spawn(async move { node.ask(Request::VerifySync(None, WITHIN_MS)).await });
        let name = format!("verification {round}");
        write(&regions[0], &configs[0].region, &name, || verifying.is_finished()).await?;
        match verifying.await.map_err(|e| e.to_string())? {
            Reply::Verified(report) => told(&report)?,
            other => return Err(format!("no report: {other:?}")),
        }
    }
    Ok(())
}

fn told(report: &VerifyReport) -> Result<(), String> {
    let mut longest = (0, 0, 0, 0, 0);
    for region in &report.regions {
        let store = region.store.as_ref().filter(|store| store.is_whole() && region.differs.is_empty());
        let store = store.ok_or_else(|| format!("not equal and whole: {region:?}"))?;
        if region.groups != 6 {
            return Err(format!("not compared: {region:?}"));
        }
        longest.0 = longest.0.max(store.file_bytes >> 20);
        longest.1 = longest.1.max(store.bytes >> 20);
        longest.2 = longest.2.max(store.took_ms);
        longest.3 = longest.3.max(store.held_us);
        longest.4 = longest.4.max(store.longest_commit_us / 1_000);
    }
    let records = report.regions.first().map_or(0, |region| region.records);
    println!(
        "  equal in {} ms: {records} records a region; the largest file {} MiB, {} MiB read in {} ms; commits held up \
         {} us to begin, the longest one {} ms",
        report.took_ms, longest.0, longest.1, longest.2, longest.3, longest.4
    );
    Ok(())
}

/// One write after the other until `enough`.
async fn write(region: &Region, name: &str, what: &str, enough: impl Fn() -> bool) -> Result<(), String> {
    let mut took = Vec::new();
    while !enough() {
        took.push(create(&region.node, name, what, took.len() as u64).await?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took.sort_by(f64::total_cmp);
    let longest = took.last().copied().unwrap_or_default();
    println!(
        "{what:<20} {:>8} {:>8.1} {:>8.1} {longest:>12.1}",
        took.len(),
        rank(&took, 0.5),
        rank(&took, 0.99)
    );
    Ok(())
}

async fn fill(regions: &[Region], configs: &[RegionConfig]) -> Result<(), String> {
    let began = Instant::now();
    let each = (FACTS_MIB << 20) / LABEL_BYTES / regions.len() as u64;
    let mut asking = Vec::new();
    for (region, config) in regions.iter().zip(configs) {
        for part in 0..IN_FLIGHT / regions.len() as u64 {
            let (node, name) = (region.node.clone(), config.region.clone());
            asking.push(tokio::spawn(async move {
                for number in (part..each).step_by((IN_FLIGHT / 5) as usize) {
                    let label = format!("{number:08}").repeat((LABEL_BYTES / 8) as usize);
                    let template = Vm {
                        name: format!("{name}-full-{number}"),
                        labels: [("filled".to_owned(), label)].into(),
                        spec: VmSpec {
                            size: Amount { vcpus: 1, memory_mib: 128, disk_gib: 1 },
                            ..VmSpec::default()
                        },
                        rules: Rules { allowed_regions: [name.as_str().into()].into(), ..Rules::default() },
                        ..Vm::default()
                    };
                    let asked = Asked { by: "bench".to_owned(), ..Asked::default() };
                    let create = CreateVm { template, ..CreateVm::default() };
                    match node.ask(Request::CreateVm(asked, Box::new(create))).await {
                        Reply::Placed { created: Some(_), .. } => {}
                        other => return Err(format!("{name}: {other:?}")),
                    }
                }
                Ok(())
            }));
        }
    }
    for task in asking {
        task.await.map_err(|e| e.to_string())??;
    }
    println!("{} VMs of {LABEL_BYTES} bytes in {} s", each * regions.len() as u64, began.elapsed().as_secs());
    Ok(())
}
