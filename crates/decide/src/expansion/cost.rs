//! What VMs would cost in another region, beside what they cost in today's.

use dwcp_state::Federation;
use dwcp_types::RegionId;

use super::{Catalogue, WORTH_PERCENT};

/// Hours of a month.
const MONTH_HOURS: f64 = 730.0;
/// What VMs are like where there is none to go by: (virtual CPUs, GiB of memory, GiB of disk).
const ASSUMED: (f64, f64, f64) = (2.0, 8.0, 0.0);

/// What the VMs cost in one region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostLine {
    /// The region.
    pub region: String,
    /// USD a month; none: no price is known.
    pub usd_month: Option<f64>,
    /// Where the prices come from, or what is missing.
    pub from: String,
}

/// What another region would cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostAnalysis {
    /// The VM that it is reckoned with: (virtual CPUs, GiB of memory, GiB of disk).
    pub vm: (f64, f64, f64),
    /// That is not the mean of the federation's VMs, of which there are none.
    pub assumed: bool,
    /// So many of them.
    pub vms: u64,
    /// The region in question.
    pub candidate: CostLine,
    /// Today's regions.
    pub today: Vec<CostLine>,
    /// Mean of today's regions whose prices are known, by the VMs that they have, USD a month.
    pub today_usd_month: Option<f64>,
    /// What the candidate is cheaper, percent; below 0: dearer.
    pub saving_percent: Option<f64>,
    /// It saves more than the 20 % that the guide asks for.
    pub worth_it: Option<bool>,
    /// USD to move a GiB out of today's regions, where known, and where that comes from.
    pub transfer_usd_gib: Option<(f64, String)>,
    /// Months until what moving the disks costs is saved; none: never, or not known.
    pub break_even_months: Option<f64>,
    /// What is not known.
    pub missing: Vec<String>,
}

/// `12 % less`.
pub(super) fn cheaper(saving: f64) -> String {
    format!("{:.0} % {}", saving.abs(), if saving < 0.0 { "more" } else { "less" })
}

/// The mean VM, and whether there was none to go by.
fn mean_vm(view: &Federation) -> ((f64, f64, f64), bool) {
    let sizes = view.vms().filter(|(_, vm)| vm.drill.is_none()).map(|(_, vm)| vm.spec.size);
    let (mut count, mut sum) = (0.0, (0.0, 0.0, 0.0));
    for size in sizes {
        count += 1.0;
        sum.0 += f64::from(size.vcpus);
        sum.1 += size.memory_mib as f64 / 1024.0;
        sum.2 += size.disk_gib as f64;
    }
    if count == 0.0 { (ASSUMED, true) } else { ((sum.0 / count, sum.1 / count, sum.2 / count), false) }
}

fn line(view: &Federation, catalogue: &Catalogue, name: &str, vm: (f64, f64, f64), vms: u64) -> CostLine {
    let said = view.core.regions.get(&RegionId::from(name)).map(|region| region.prices);
    let month = |vcpu: f64, gib: f64, disk: f64| {
        Some((vm.0 * vcpu + vm.1 * gib + vm.2 * disk) * MONTH_HOURS * vms as f64)
    };
    let usd = |micros: u64| micros as f64 / 1e6;
    let (usd_month, from) = match (said.filter(|prices| prices.vcpu_micros > 0), catalogue.prices(name)) {
        (Some(prices), _) => (
            month(usd(prices.vcpu_micros), usd(prices.memory_gib_micros), usd(prices.disk_gib_micros)),
            "prices that operators set".to_owned(),
        ),
        (None, Some((vcpu, gib, from))) if vm.2 > 0.0 => {
            (month(vcpu, gib, 0.0), format!("{from}; without disks: their price is not in the catalogue"))
        }
        (None, Some((vcpu, gib, from))) => (month(vcpu, gib, 0.0), from),
        (None, None) => (None, format!("no price of {name} is known")),
    };
    CostLine { region: name.to_owned(), usd_month, from }
}

/// What so many VMs of the federation's mean size would cost in a region.
pub fn cost_analysis(view: &Federation, catalogue: &Catalogue, name: &str, vms: u64) -> CostAnalysis {
    let (vm, assumed) = mean_vm(view);
    let candidate = line(view, catalogue, name, vm, vms);
    let (mut today, mut sum, mut weights) = (Vec::new(), 0.0, 0.0);
    for region in super::others(view, name) {
        let of = line(view, catalogue, region.id.as_str(), vm, vms);
        let here = view.regions.get(&region.id).map_or(0, |facts| facts.vms.len());
        let weight = if assumed { 1.0 } else { here as f64 };
        if let Some(usd) = of.usd_month {
            (sum, weights) = (sum + usd * weight, weights + weight);
        }
        today.push(of);
    }
    let today_usd_month = (weights > 0.0).then(|| sum / weights);
    let saving = candidate.usd_month.zip(today_usd_month.filter(|usd| *usd > 0.0));
    let saving_percent = saving.map(|(there, here)| (here - there) / here * 100.0);
    let transfer = super::others(view, name)
        .find_map(|region| catalogue.number(region.id.as_str(), "transfer_usd_gib"))
        .map(|(usd, figure)| (usd, figure.source_and_date()));
    let saved = saving.map(|(there, here)| here - there).filter(|saved| *saved > 0.0);
    let break_even_months =
        transfer.as_ref().zip(saved).map(|((usd, _), saved)| usd * vm.2 * vms as f64 / saved);
    let lines = std::iter::once(&candidate).chain(&today);
    let mut missing: Vec<String> =
        lines.filter(|line| line.usd_month.is_none()).map(|line| line.from.clone()).collect();
    if transfer.is_none() {
        missing
            .push("no price of transfer between regions is known, so neither is the break-even".to_owned());
    }
    CostAnalysis {
        vm,
        assumed,
        vms,
        worth_it: saving_percent.map(|saving| saving > WORTH_PERCENT),
        transfer_usd_gib: transfer,
        break_even_months,
        candidate,
        today,
        today_usd_month,
        saving_percent,
        missing,
    }
}
