//! Regions that could be added.

use dwcp_api::planning::{
    Expansion, ExpansionRead, ExpansionReadRequest, RegionCost, RegionCostRead, RegionCostReadRequest,
};

use super::{Ended, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::CostAnalysisArgs;

pub fn evaluate(session: &Session, candidates: &[String]) -> Ended {
    read(session, || {
        let request = ExpansionReadRequest { candidates: candidates.to_vec() };
        let found: Expansion = session.call::<ExpansionRead>(&request)?;
        let mut table = Table::new(&["REGION", "FACTOR", ">POINTS", ">OF", "FOUND", "FROM"]);
        for one in &found.candidates {
            let there = if one.there { "is there already" } else { "" };
            let judged = format!("{:.0} of 100 points could be judged", one.judged);
            table.row(vec![
                Cell::from(&one.region),
                Cell::from("all"),
                Cell::from(format!("{:.1}", one.points)),
                Cell::from("100"),
                Cell::from(judged),
                Cell::from(there),
            ]);
            for factor in &one.factors {
                table.row(vec![
                    Cell::from(""),
                    Cell::from(&factor.factor),
                    words::known(factor.points.map(|points| format!("{points:.1}"))),
                    Cell::from(format!("{:.0}", factor.most)),
                    Cell::from(&factor.found),
                    Cell::from(&factor.from),
                ]);
            }
        }
        Ok((Document::of(&found).table(table).text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

pub fn cost(session: &Session, wanted: &CostAnalysisArgs) -> Ended {
    read(session, || {
        let request = RegionCostReadRequest { region: wanted.region.clone(), vms: wanted.expected_vm_count };
        let found = session.call::<RegionCostRead>(&request)?;
        Ok((shown(&found), Exit::Done))
    })
}

fn usd(value: Option<f64>) -> Cell {
    words::known(value.map(|usd| format!("{usd:.2}")))
}

fn shown(found: &RegionCost) -> Document {
    let vm = format!(
        "{:.1} vCPUs, {:.1} GiB, disk {:.1} GiB{}",
        found.vm_vcpus,
        found.vm_memory_gib,
        found.vm_disk_gib,
        if found.vm_assumed { " (assumed: there is no VM)" } else { " (mean of the federation's VMs)" }
    );
    let mut table = Table::new(&["REGION", ">USD/MONTH", "FROM"]);
    for line in std::iter::once(&found.region).chain(&found.today) {
        table.row(vec![Cell::from(&line.region), usd(line.usd_month), Cell::from(&line.from)]);
    }
    let percent = found.saving_percent.map(|percent| format!("{percent:.1}%"));
    let worth = found.worth_it.map(|worth| if worth { "yes" } else { "no" });
    let months = found.break_even_months.map(|months| format!("{months:.1} months"));
    let document = Document::of(found)
        .pairs(vec![
            ("VMs", Cell::from(found.vms)),
            ("each", Cell::from(vm)),
            ("today USD/month", usd(found.today_usd_month)),
            ("saving", words::known(percent)),
            ("more than 20%", words::known(worth)),
            ("transfer USD/GiB", usd(found.transfer_usd_gib)),
            ("break-even", words::known(months)),
        ])
        .table(table);
    let document =
        found.missing.iter().fold(document, |all, what| all.text_block(format!("missing: {what}")));
    document.text_block(words::as_of(&found.as_of))
}
