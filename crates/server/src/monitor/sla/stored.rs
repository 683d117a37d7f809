//! The account as documents: a head for each day, its tallies and its outages in chunks of bounded size; older days are put together
//! to months. What is written is what changed.
//!
//! A day `2026-11-29` has its tallies in `2026-11-29/t00`, … and its outages in `2026-11-29/00`, …; a month is `2026-10`.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_api::sla::SlaOutage;
use dwcp_decide::sla::{Account, Day, Outage, Period, Subject, Tally};
use dwcp_state::DocumentKind;
use dwcp_types::{Refusal, RegionId, VmId, Wall};
use serde::{Deserialize, Serialize};

use crate::monitor::documents::{Documents, Draft};

/// Tallies of one document. Each takes less than 250 bytes.
const TALLIES_OF_ONE: usize = 700;
/// Outages of one document. Each takes less than 600 bytes, and less than 300 as they are.
const OUTAGES_OF_ONE: usize = 300;
/// VMs that are remembered as not having served yet.
const BOOTING_MOST: usize = 5_000;
/// Days that are kept as such; months before that.
pub const DAYS_KEPT: u64 = 62;
/// For so many days altogether.
const MONTHS_KEPT_DAYS: u64 = 400;
/// Outages that are kept of all days: of more, those of the oldest days are forgotten; what they came to stays.
const OUTAGES_KEPT: usize = 60_000;
const DAY_MS: u64 = 86_400_000;

const KIND: DocumentKind = DocumentKind::Availability;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    from_ms: u64,
    /// Accounted until then.
    until_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    booting: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vm: Option<String>,
    /// VMs that counted at the last look.
    #[serde(default)]
    vms: u64,
    /// Up, down, unknown, and the planned parts of these; ms.
    ms: [u64; 6],
}

/// Everything that is accounted for and kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// None: nothing was accounted for yet.
    pub until: Option<Wall>,
    pub booting: BTreeSet<VmId>,
    /// By the moments in which they began.
    pub days: BTreeMap<Wall, Day>,
    /// Months, without the days that are kept as such.
    pub months: BTreeMap<Wall, Day>,
}

/// `2026-11-29`
pub fn day_name(at: Wall) -> String {
    at.utc()[..10].to_owned()
}

fn month_name(at: Wall) -> String {
    at.utc()[..7].to_owned()
}

fn row(of: &Day, subject: &Subject, tally: &Tally) -> Row {
    let Tally { up_ms, down_ms, unknown_ms, planned_up_ms, planned_down_ms, planned_unknown_ms } = *tally;
    let (tenant, vm) = match subject {
        Subject::Federation => (None, None),
        Subject::Tenant(tenant) => (Some(tenant.clone()), None),
        Subject::Vm(vm) => (None, Some(vm.to_string())),
    };
    let vms = of.counted.get(subject).copied().unwrap_or(0);
    Row {
        tenant,
        vm,
        vms,
        ms: [up_ms, down_ms, unknown_ms, planned_up_ms, planned_down_ms, planned_unknown_ms],
    }
}

fn of_row(row: &Row) -> (Subject, Tally, u64) {
    let subject = match (&row.tenant, row.vm.as_ref().and_then(|vm| vm.parse().ok())) {
        (Some(tenant), _) => Subject::Tenant(tenant.clone()),
        (None, Some(vm)) => Subject::Vm(vm),
        (None, None) => Subject::Federation,
    };
    let [up_ms, down_ms, unknown_ms, planned_up_ms, planned_down_ms, planned_unknown_ms] = row.ms;
    let tally = Tally { up_ms, down_ms, unknown_ms, planned_up_ms, planned_down_ms, planned_unknown_ms };
    (subject, tally, row.vms)
}

/// An outage as it is shown and kept.
pub fn shown(outage: &Outage) -> SlaOutage {
    SlaOutage {
        vm: outage.vm.to_string(),
        name: outage.name.clone(),
        tenant: outage.tenant.clone(),
        region: outage.region.as_str().to_owned(),
        from_ms: outage.from.0,
        until_ms: outage.until.map(|at| at.0),
        cause: outage.cause.clone(),
        failover: outage.failover.map(|id| id.to_string()),
        planned: outage.planned,
    }
}

fn of_shown(shown: SlaOutage) -> Option<Outage> {
    Some(Outage {
        vm: shown.vm.parse().ok()?,
        region: RegionId::from(&*shown.region),
        failover: shown.failover.and_then(|id| id.parse().ok()),
        name: shown.name,
        tenant: shown.tenant,
        from: Wall(shown.from_ms),
        until: shown.until_ms.map(Wall),
        cause: shown.cause,
        planned: shown.planned,
    })
}

/// What is kept, from its documents.
///
/// # Errors
/// A later version wrote one.
pub fn read(seen: &Documents) -> Result<Kept, Refusal> {
    let mut kept = Kept::default();
    let all = seen.all::<serde_json::Value>(KIND)?;
    let heads = all.iter().filter(|(id, _)| !id.contains('/'));
    let mut begins: BTreeMap<&str, (Wall, bool)> = BTreeMap::new();
    for (id, _) in heads {
        let Some(head) = seen.get::<Head>(KIND, id)? else { continue };
        let (from, is_day) = (Wall(head.from_ms), id.len() == 10);
        begins.insert(id, (from, is_day));
        let days = if is_day { &mut kept.days } else { &mut kept.months };
        days.entry(from).or_default();
        if is_day && kept.until.is_none_or(|until| until.0 <= head.until_ms) {
            kept.until = Some(Wall(head.until_ms));
            kept.booting = head.booting.iter().filter_map(|vm| vm.parse().ok()).collect();
        }
    }
    for (id, _) in &all {
        let Some((head, chunk)) = id.split_once('/') else { continue };
        let Some((from, is_day)) = begins.get(head) else { continue };
        let days = if *is_day { &mut kept.days } else { &mut kept.months };
        let day = days.entry(*from).or_default();
        if chunk.starts_with('t') {
            for row in seen.get::<Vec<Row>>(KIND, id)?.unwrap_or_default() {
                let (subject, tally, vms) = of_row(&row);
                day.counted.insert(subject.clone(), vms);
                day.tallies.insert(subject, tally);
            }
        } else {
            let outages = seen.get::<Vec<SlaOutage>>(KIND, id)?.unwrap_or_default();
            day.outages.extend(outages.into_iter().filter_map(of_shown));
        }
    }
    Ok(kept)
}

fn put_chunks<T: Serialize>(
    draft: &mut Draft,
    head: &str,
    mark: &str,
    all: &[T],
    size: usize,
) -> Result<(), Refusal> {
    for (number, chunk) in all.chunks(size).enumerate() {
        draft.put(KIND, &format!("{head}/{mark}{number:02}"), &chunk)?;
    }
    Ok(())
}

fn put_tallies(draft: &mut Draft, head: &str, day: &Day) -> Result<(), Refusal> {
    let rows: Vec<Row> = day.tallies.iter().map(|(subject, tally)| row(day, subject, tally)).collect();
    put_chunks(draft, head, "t", &rows, TALLIES_OF_ONE)
}

/// The outages of an account in documents, by their ids.
pub fn outages(account: &Account) -> Vec<(String, Vec<SlaOutage>)> {
    let of_day = |(from, day): (&Wall, &Day)| {
        let name = day_name(*from);
        let chunks = day.outages.chunks(OUTAGES_OF_ONE).enumerate();
        let named = chunks
            .map(move |(number, chunk)| (format!("{name}/{number:02}"), chunk.iter().map(shown).collect()));
        named.collect::<Vec<_>>()
    };
    account.days.iter().flat_map(of_day).collect()
}

/// Drafts some of them.
///
/// # Errors
/// A value can't be written.
pub fn put_outages(draft: &mut Draft, chunks: &[(String, Vec<SlaOutage>)]) -> Result<(), Refusal> {
    chunks.iter().try_for_each(|(id, chunk)| draft.put(KIND, id, chunk))
}

/// Until when days are accounted for.
///
/// # Errors
/// A later version wrote one.
pub fn until(seen: &Documents) -> Result<Option<Wall>, Refusal> {
    let ids = seen.all::<serde_json::Value>(KIND)?.into_iter().map(|(id, _)| id);
    let heads = ids.filter(|id| id.len() == 10).map(|id| seen.get::<Head>(KIND, &id));
    let heads = heads.collect::<Result<Vec<_>, _>>()?;
    Ok(heads.into_iter().flatten().map(|head| Wall(head.until_ms)).max())
}

/// Drafts what an account says of its days, without outages.
///
/// # Errors
/// A value can't be written.
pub fn put(draft: &mut Draft, account: &Account) -> Result<(), Refusal> {
    let Some(until) = account.until else { return Ok(()) };
    for (from, day) in &account.days {
        let name = day_name(*from);
        let today = Period::day(until).from == *from;
        let booting = account.booting.iter().take(if today { BOOTING_MOST } else { 0 });
        let head = Head {
            from_ms: from.0,
            until_ms: until.0.min(from.0 + DAY_MS),
            booting: booting.map(ToString::to_string).collect(),
        };
        draft.put(KIND, &name, &head)?;
        put_tallies(draft, &name, day)?;
    }
    Ok(())
}

fn remove_all(draft: &mut Draft, seen: &Documents, head: &str, only_outages: bool) -> Result<(), Refusal> {
    for (id, _) in seen.all::<serde_json::Value>(KIND)? {
        let chunk = id.strip_prefix(head).and_then(|rest| rest.strip_prefix('/'));
        let goes = match chunk {
            Some(chunk) => !only_outages || !chunk.starts_with('t'),
            None => !only_outages && id == head,
        };
        if goes {
            draft.remove(KIND, &id);
        }
    }
    Ok(())
}

/// Puts one day that is too old into its month, or forgets a month or the outages of a day that are too many. False once nothing
/// is too old or too much.
///
/// # Errors
/// A document can't be read or written.
pub fn fold(seen: &Documents, draft: &mut Draft, now: Wall) -> Result<bool, Refusal> {
    let kept = read(seen)?;
    let before = |days: u64| Wall(Period::day(now).from.0.saturating_sub(days * DAY_MS));
    if let Some((from, day)) = kept.days.first_key_value().filter(|(from, _)| **from < before(DAYS_KEPT)) {
        let begins = Period::month(*from).from;
        let mut month = kept.months.get(&begins).cloned().unwrap_or_default();
        for (subject, tally) in &day.tallies {
            *month.tallies.entry(subject.clone()).or_default() += *tally;
        }
        let name = month_name(begins);
        let head = Head { from_ms: begins.0, until_ms: from.0 + DAY_MS, booting: Vec::new() };
        draft.put(KIND, &name, &head)?;
        put_tallies(draft, &name, &month)?;
        remove_all(draft, seen, &day_name(*from), false)?;
        return Ok(true);
    }
    if let Some((from, _)) =
        kept.months.first_key_value().filter(|(from, _)| **from < before(MONTHS_KEPT_DAYS))
    {
        remove_all(draft, seen, &month_name(*from), false)?;
        return Ok(true);
    }
    let outages: usize = kept.days.values().map(|day| day.outages.len()).sum();
    let oldest = kept.days.iter().find(|(_, day)| !day.outages.is_empty());
    if let Some((from, _)) = oldest.filter(|_| outages > OUTAGES_KEPT) {
        remove_all(draft, seen, &day_name(*from), true)?;
        return Ok(true);
    }
    Ok(false)
}
