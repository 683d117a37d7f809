//! Promises kept or broken: the leader of the federation's group accounts for every VM, a look at a time, writes it down at the
//! latest once a minute, and records what is broken. The next leader goes on from what is written; what was not, is unknown time.

pub mod breaches;
pub mod measure;
pub mod promises;
pub mod series;
pub mod stored;
#[cfg(test)]
mod tests;

use std::time::Duration;

use dwcp_api::sla::{SlaBreach, SlaPromise};
use dwcp_decide::sla::{Account, Period, Sights, Subject, sights};
use dwcp_state::{DocumentEvent, DocumentKind, FEDERATION_GROUP, Severity as Weight};
use dwcp_telemetry::incidents::Severity;
use dwcp_types::{Code, Refusal, Wall};

use self::measure::Failover;
use self::stored::Kept;
use super::documents::{self, Documents};
use super::{Monitor, incidents};
use crate::clock;
use crate::handle::own;
use crate::log::Log;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(15);
/// What is accounted for is written after this at the latest, ms.
const WRITE_MS: u64 = 60_000;
/// Documents of outages in one command.
const CHUNKS_AT_ONCE: usize = 3;

/// What the leader keeps.
struct Keeper {
    account: Account,
    kept: Kept,
    promises: Vec<SlaPromise>,
    counters: series::Counters,
    /// Until when it is written.
    written: Option<Wall>,
    /// The day on which old ones were put together last.
    folded: Option<Wall>,
    /// Outages as they were written.
    outages: Vec<(String, Vec<dwcp_api::sla::SlaOutage>)>,
}

/// What a look found.
struct Look {
    sights: Sights,
    failovers: Vec<Failover>,
    now: Wall,
}

/// Keeps the account while this node leads, until the node has stopped.
pub async fn keep(monitor: Monitor, log: Log) {
    let mut keeper: Option<Keeper> = None;
    let mut failing = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(leads) = monitor.node.look(|view| view.node.leads(FEDERATION_GROUP)).await else { return };
        if !leads {
            keeper = None;
            monitor.promises.set(Vec::new());
            continue;
        }
        match step(&monitor, keeper.take(), &log).await {
            Ok(next) => (keeper, failing) = (Some(next), false),
            Err(why) => {
                // Once, and not every time: the log is for people. What was not written is looked at anew.
                if !failing {
                    log.warning("monitor", format!("SLAs: {}", why.what));
                }
                failing = true;
            }
        }
    }
}

/// One look, from where the last one, or somebody else, stopped.
async fn step(monitor: &Monitor, keeper: Option<Keeper>, log: &Log) -> Result<Keeper, Refusal> {
    let mut keeper = match keeper {
        Some(keeper) => keeper,
        None => resume(monitor).await?,
    };
    let after = keeper.account.until;
    let look = monitor.node.look(move |view| {
        let now = view.now.wall;
        let facts = view.node.facts();
        let sights = sights(facts, after.unwrap_or(now), now);
        (Look { sights, failovers: measure::failovers(facts), now }, view.node.config().region.clone())
    });
    let (look, observer) = look.await.ok_or_else(crate::handle::stopping)?;
    let since = Period::day(Wall(Period::day(look.now).from.0.saturating_sub(1))).from;
    let before = series::sums(&keeper.promises, &keeper.account, since);
    let changed = keeper.account.look(&look.sights, look.now);
    let after = series::sums(&keeper.promises, &keeper.account, since);
    keeper.counters.count(&before, &after);
    keeper.kept.days.extend(keeper.account.days.iter().map(|(from, day)| (*from, day.clone())));
    keeper.kept.until = keeper.account.until;
    let due = keeper.written.is_none_or(|written| look.now.ms_since(written) >= WRITE_MS);
    if changed || due {
        write(monitor, &mut keeper, look.now).await?;
        break_news(monitor, &keeper, &look, log).await?;
    }
    let standing = |promise| measure::standing(&keeper.kept, promise, &look.failovers, look.now);
    let standings: Vec<_> = keeper.promises.iter().map(standing).collect();
    let families =
        series::families(&keeper.counters, &standings, &look.failovers, observer.as_str(), look.now);
    monitor.promises.set(families);
    Ok(keeper)
}

/// Goes on where the last leader stopped.
async fn resume(monitor: &Monitor) -> Result<Keeper, Refusal> {
    monitor.node.barrier().await?;
    let seen = Documents::look(&monitor.node, &[DocumentKind::Availability, DocumentKind::Sla]).await?;
    let kept = stored::read(&seen)?;
    let promises = promises::all(&seen)?;
    let mut account = match kept.until {
        Some(until) => {
            let yesterday = Period::day(Wall(Period::day(until).from.0.saturating_sub(1))).from;
            let open = |day: &dwcp_decide::sla::Day| day.outages.iter().any(|one| one.until.is_none());
            let days = kept.days.iter().filter(|(from, day)| **from >= yesterday || open(day));
            Account::resume(
                until,
                days.map(|(from, day)| (*from, day.clone())).collect(),
                kept.booting.clone(),
            )
        }
        None => Account::default(),
    };
    account.named = named(&promises);
    let outages = stored::outages(&account);
    let counters = series::Counters::default();
    Ok(Keeper { written: kept.until, account, kept, promises, counters, folded: None, outages })
}

fn named(promises: &[SlaPromise]) -> std::collections::BTreeSet<dwcp_types::VmId> {
    let vms = promises.iter().filter_map(|promise| match promises::subject(promise) {
        Subject::Vm(vm) => Some(vm),
        _ => None,
    });
    vms.collect()
}

/// Nobody else may have accounted for what is accounted for here.
fn check_alone(seen: &Documents, written: Option<Wall>) -> Result<(), Refusal> {
    if stored::until(seen)? > written {
        return Err(Refusal::new(Code::WrongState, "another region has accounted for the time meanwhile"));
    }
    Ok(())
}

async fn write(monitor: &Monitor, keeper: &mut Keeper, now: Wall) -> Result<(), Refusal> {
    const KINDS: &[DocumentKind] = &[DocumentKind::Availability];
    let (node, written) = (&monitor.node, keeper.written);
    let outages = stored::outages(&keeper.account);
    let new: Vec<_> = outages.iter().filter(|chunk| !keeper.outages.contains(chunk)).cloned().collect();
    // Too many for one command: the first ones before, the rest with the account.
    let (before, rest) = new.split_at(new.len().saturating_sub(CHUNKS_AT_ONCE));
    for chunks in before.chunks(CHUNKS_AT_ONCE) {
        let draft = |seen: &Documents, draft: &mut documents::Draft| {
            check_alone(seen, written)?;
            stored::put_outages(draft, chunks)
        };
        documents::change(node, &own(), KINDS, draft).await?;
    }
    let account = &keeper.account;
    let draft = |seen: &Documents, draft: &mut documents::Draft| {
        check_alone(seen, written)?;
        stored::put(draft, account)?;
        stored::put_outages(draft, rest)
    };
    documents::change(node, &own(), KINDS, draft).await?;
    (keeper.written, keeper.outages) = (keeper.account.until, outages);
    let today = Period::day(now).from;
    if keeper.folded != Some(today) {
        while documents::change(node, &own(), KINDS, |seen, draft| stored::fold(seen, draft, now)).await? {}
        keeper.folded = Some(today);
        keeper.kept = stored::read(&Documents::look(node, KINDS).await?)?;
    }
    let seen = Documents::look(node, &[DocumentKind::Sla]).await?;
    keeper.promises = promises::all(&seen)?;
    keeper.account.named = named(&keeper.promises);
    Ok(())
}

/// Records what is broken, each with the incident that it opens, as one change: whoever leads next finds both or neither.
async fn break_news(monitor: &Monitor, keeper: &Keeper, look: &Look, log: &Log) -> Result<(), Refusal> {
    let kinds: Vec<DocumentKind> = incidents::KINDS.iter().copied().chain([DocumentKind::Breach]).collect();
    let (promises, kept) = (&keeper.promises, &keeper.kept);
    let draft = |seen: &Documents, draft: &mut documents::Draft| {
        let known = seen.all::<SlaBreach>(DocumentKind::Breach)?;
        let known: Vec<SlaBreach> = known.into_iter().map(|(_, breach)| breach).collect();
        let mut news = breaches::news(promises, kept, &look.failovers, &known, look.now);
        for breach in &news.over {
            draft.put(DocumentKind::Breach, &breach.breach, breach)?;
        }
        if news.found.is_empty() {
            return Ok(news.found);
        }
        let now_ms = clock::ms(look.now.0);
        let mut book = incidents::book(seen)?;
        let before = book.clone();
        let mut decisions = Vec::new();
        monitor.with_policy(seen, |policy| {
            for breach in &mut news.found {
                let title = format!("SLA {} of {} is broken", breach.promise.name, breach.promise.scope);
                let why = format!("{}: {}.", breach.breach, breach.measured);
                let (id, decided) = book.report(&title, Severity::P1, &why, policy, now_ms);
                breach.incident = id.0;
                decisions.extend(decided);
            }
        })?;
        incidents::keep(draft, &before, &book)?;
        incidents::follow(monitor, (seen, draft), &book, &decisions, now_ms)?;
        for breach in &news.found {
            draft.put(DocumentKind::Breach, &breach.breach, breach)?;
            draft.event(event(breach));
        }
        let mut oldest: Vec<&SlaBreach> = known.iter().collect();
        oldest.sort_by_key(|breach| (breach.noticed_at_ms, breach.breach.clone()));
        let too_many = (known.len() + news.found.len()).saturating_sub(breaches::KEPT);
        oldest.iter().take(too_many).for_each(|breach| draft.remove(DocumentKind::Breach, &breach.breach));
        Ok(news.found)
    };
    for breach in documents::change(&monitor.node, &own(), &kinds, draft).await? {
        log.warning("monitor", format!("{} ({}): {}", breach.breach, breach.promise.name, breach.measured));
    }
    Ok(())
}

fn event(breach: &SlaBreach) -> DocumentEvent {
    DocumentEvent {
        severity: Weight::Critical,
        kind: "sla.breached".to_owned(),
        subject: breach.breach.clone(),
        text: format!(
            "SLA {} of {} is broken ({}): {}",
            breach.promise.name, breach.promise.scope, breach.incident, breach.measured
        ),
    }
}
