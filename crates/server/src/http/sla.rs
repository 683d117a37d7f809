//! What is promised, where it stands, what was broken.

use dwcp_api::sla::{
    SlaAnswer, SlaBreach, SlaBreachList, SlaBreachListRequest, SlaBreachRead, SlaBreachReadRequest,
    SlaCreate, SlaCreateRequest, SlaHistory, SlaHistoryRead, SlaHistoryReadRequest, SlaList, SlaListRequest,
    SlaMeasure, SlaPromise, SlaRemove, SlaRemoveRequest, SlaStatus, SlaStatusRead, SlaStatusReadRequest,
};
use dwcp_api::{Freshness, Page, Problem};
use dwcp_decide::sla::Period;
use dwcp_state::{DocumentEvent, DocumentKind, Severity};
use dwcp_types::{Code, Refusal, Wall};

use super::call::{Call, bad_value};
use super::routes::Serve;
use super::{names, page};
use crate::monitor::documents::{self, Documents};
use crate::monitor::sla::measure::{self, Failover};
use crate::monitor::sla::promises;
use crate::monitor::sla::stored::{self, Kept};

/// Longest history, days.
const HISTORY_DAYS: u64 = stored::DAYS_KEPT;
const DAY_MS: u64 = 86_400_000;
/// Longest limit that can be promised, ms.
const LIMIT_MOST_MS: u64 = 30 * DAY_MS;

fn problem(refusal: Refusal) -> Problem {
    Problem::from(&refusal)
}

/// What everything here is computed from.
struct Known {
    kept: Kept,
    promises: Vec<SlaPromise>,
    failovers: Vec<Failover>,
    now: Wall,
    as_of: Vec<Freshness>,
}

async fn known(call: &Call, only: Option<&String>) -> Result<Known, Problem> {
    let kinds = [DocumentKind::Availability, DocumentKind::Sla];
    let seen = Documents::look(&call.api.node, &kinds).await.map_err(problem)?;
    let (failovers, now, as_of) = call
        .look(|view| {
            let failovers = measure::failovers(view.node.facts());
            (failovers, view.now.wall, names::as_of_federation(view))
        })
        .await?;
    let mut promises = promises::all(&seen).map_err(problem)?;
    if let Some(name) = only {
        promises.retain(|promise| promise.name == *name);
        if promises.is_empty() {
            return Err(unknown_sla(name));
        }
    }
    let kept = stored::read(&seen).map_err(problem)?;
    Ok(Known { kept, promises, failovers, now, as_of })
}

fn unknown_sla(name: &str) -> Problem {
    let refusal = Refusal::new(Code::UnknownSla, format!("no SLA {name}"));
    Problem::from(&refusal.try_this("dwcp-cli federation monitoring sla list"))
}

/// The availability of the whole federation in its period, in percent; none: nothing is promised of it, or nothing was measured.
pub async fn compliance(call: &Call) -> Result<Option<f64>, Problem> {
    let known = known(call, None).await?;
    let of_all = known
        .promises
        .iter()
        .find(|promise| promise.scope == "federation" && promise.measure == SlaMeasure::Availability);
    Ok(of_all.and_then(|one| measure::standing(&known.kept, one, &known.failovers, known.now).measured))
}

impl Serve for SlaStatusRead {
    async fn answer(call: &Call, request: SlaStatusReadRequest) -> Result<SlaStatus, Problem> {
        let Known { kept, promises, failovers, now, as_of } = known(call, request.sla.as_ref()).await?;
        let items = promises.iter().map(|one| measure::standing(&kept, one, &failovers, now)).collect();
        Ok(SlaStatus { items, accounted_until_ms: kept.until.map(|until| until.0), as_of })
    }
}

impl Serve for SlaHistoryRead {
    async fn answer(call: &Call, request: SlaHistoryReadRequest) -> Result<SlaHistory, Problem> {
        if request.range_ms == 0 || request.range_ms > HISTORY_DAYS * DAY_MS {
            return Err(bad_value("range_ms", format!("more than nothing and at most {HISTORY_DAYS} days")));
        }
        let Known { kept, promises, failovers, now, as_of } = known(call, request.sla.as_ref()).await?;
        let today = Period::day(now);
        let days = request.range_ms.div_ceil(DAY_MS);
        let of = Period { from: Wall(today.from.0.saturating_sub((days - 1) * DAY_MS)), until: today.until };
        let mut items: Vec<_> =
            promises.iter().flat_map(|one| measure::days(&kept, one, &failovers, of, now)).collect();
        items.sort_by(|a, b| b.day.cmp(&a.day).then_with(|| a.sla.cmp(&b.sla)));
        Ok(SlaHistory { items, as_of })
    }
}

async fn breaches(call: &Call) -> Result<Vec<SlaBreach>, Problem> {
    let seen = Documents::look(&call.api.node, &[DocumentKind::Breach]).await.map_err(problem)?;
    let all = seen.all::<SlaBreach>(DocumentKind::Breach).map_err(problem)?;
    Ok(all.into_iter().map(|(_, breach)| breach).collect())
}

impl Serve for SlaBreachList {
    async fn answer(call: &Call, request: SlaBreachListRequest) -> Result<Page<SlaBreach>, Problem> {
        let all = breaches(call).await?;
        let (now, as_of) = call.look(|view| (view.now.wall, names::as_of_federation(view))).await?;
        let oldest = request.since_ms.map_or(0, |since_ms| now.0.saturating_sub(since_ms));
        let keyed = all.into_iter().filter(|breach| breach.noticed_at_ms >= oldest).map(|mut breach| {
            // A list tells which; what proves one is read on its own.
            breach.outages.clear();
            (page::newest_first(breach.noticed_at_ms, &breach.breach), breach)
        });
        let mut found: Vec<_> = keyed.collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        page::cut(found, request.limit, request.cursor.as_deref(), as_of)
    }
}

impl Serve for SlaBreachRead {
    async fn answer(call: &Call, request: SlaBreachReadRequest) -> Result<SlaBreach, Problem> {
        let found = breaches(call).await?.into_iter().find(|breach| breach.breach == request.breach);
        found.ok_or_else(|| {
            let refusal = Refusal::new(Code::UnknownBreach, format!("no breach {}", request.breach));
            Problem::from(&refusal.try_this("dwcp-cli federation monitoring sla breaches --since 400d"))
        })
    }
}

impl Serve for SlaList {
    async fn answer(call: &Call, request: SlaListRequest) -> Result<Page<SlaPromise>, Problem> {
        let seen = Documents::look(&call.api.node, &[DocumentKind::Sla]).await.map_err(problem)?;
        let all = promises::all(&seen).map_err(problem)?;
        let keyed = all.into_iter().map(|promise| (promise.name.clone(), promise)).collect();
        let as_of = call.look(names::as_of_federation).await?;
        page::cut(keyed, request.limit, request.cursor.as_deref(), as_of)
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || name.starts_with('-') || !name.chars().all(plain) {
        return Err(bad_value("name", "1 to 40 lower-case letters, digits and -"));
    }
    Ok(())
}

/// What belongs to what is measured, and nothing else.
fn check_target(request: &SlaCreateRequest) -> Result<(), Problem> {
    let shares = matches!(request.measure, SlaMeasure::Availability | SlaMeasure::Latency);
    let limits = request.measure != SlaMeasure::Availability;
    match request.target_ppm {
        Some(ppm) if shares && (1..=1_000_000).contains(&ppm) => {}
        None if !shares => {}
        _ if shares => {
            return Err(bad_value("target_ppm", "a share of more than 0 and at most 1,000,000 ppm"));
        }
        _ => return Err(bad_value("target_ppm", "only of an availability or a latency")),
    }
    match request.limit_ms {
        Some(ms) if limits && ms <= LIMIT_MOST_MS => {}
        None if !limits => {}
        Some(_) if !limits => return Err(bad_value("limit_ms", "an availability has no limit")),
        _ => return Err(bad_value("limit_ms", "it is needed, and at most 30 days")),
    }
    if request.exclude_maintenance && request.measure != SlaMeasure::Availability {
        return Err(bad_value("exclude_maintenance", "only of an availability"));
    }
    if request.period_days.is_some_and(|days| !(1..=HISTORY_DAYS as u32).contains(&days)) {
        return Err(bad_value("period_days", format!("1 to {HISTORY_DAYS}")));
    }
    Ok(())
}

/// The scope as it is kept, with the id of a VM.
async fn scope(call: &Call, request: &SlaCreateRequest) -> Result<(String, Option<String>), Problem> {
    let whole = request.scope == "federation";
    if !whole && request.measure != SlaMeasure::Availability {
        return Err(bad_value("scope", "only an availability is measured of a tenant or a VM: federation"));
    }
    if let Some(name) = request.scope.strip_prefix("vm:") {
        let name = name.to_owned();
        return call
            .find(move |view| {
                let found = names::vm(view, &name)?;
                Ok((format!("vm:{}", found.vm.name), Some(found.vm.id.to_string())))
            })
            .await;
    }
    let tenant = request.scope.strip_prefix("tenant:");
    let named =
        |name: &str| !name.is_empty() && name.chars().count() <= 64 && !name.chars().any(char::is_control);
    match tenant {
        _ if whole => Ok((request.scope.clone(), None)),
        Some(tenant) if named(tenant) => Ok((request.scope.clone(), None)),
        _ => Err(bad_value("scope", "federation, tenant:NAME or vm:NAME")),
    }
}

fn changed(kind: &str, promise: &SlaPromise, text: &str) -> DocumentEvent {
    DocumentEvent {
        severity: Severity::Info,
        kind: kind.to_owned(),
        subject: promise.name.clone(),
        text: format!("SLA {} of {} {text}", promise.name, promise.scope),
    }
}

impl Serve for SlaCreate {
    async fn answer(call: &Call, request: SlaCreateRequest) -> Result<SlaAnswer, Problem> {
        check_name(&request.name)?;
        check_target(&request)?;
        let (scope, vm) = scope(call, &request).await?;
        let as_of = call.look(names::as_of_federation).await?;
        let promise = SlaPromise {
            name: request.name,
            scope,
            vm,
            measure: request.measure,
            target_ppm: request.target_ppm,
            limit_ms: request.limit_ms,
            period_days: request.period_days,
            exclude_maintenance: request.exclude_maintenance,
            credits: Vec::new(),
            standard: false,
        };
        let check = |seen: &Documents| {
            let all = promises::all(seen)?;
            match all.iter().find(|known| known.name == promise.name) {
                Some(known) if *known == promise => return Ok(true),
                // It takes the place of the standard promise.
                Some(known) if known.standard => {}
                Some(_) => {
                    let what = format!("there is an SLA {} already", promise.name);
                    return Err(Refusal::new(Code::NameTaken, what).try_this(format!(
                        "dwcp-cli federation monitoring sla remove --name {}",
                        promise.name
                    )));
                }
                None if all.len() >= promises::MOST => {
                    let most = promises::MOST;
                    return Err(Refusal::new(Code::WrongState, format!("there are {most} SLAs already")));
                }
                None => {}
            }
            Ok(false)
        };
        let kinds = [DocumentKind::Sla];
        if request.dry_run {
            let seen = Documents::look(&call.api.node, &kinds).await.map_err(problem)?;
            check(&seen).map_err(problem)?;
            return Ok(SlaAnswer { promise, as_of });
        }
        documents::change(&call.api.node, &call.asked(), &kinds, |seen, draft| {
            if check(seen)? {
                return Ok(());
            }
            promises::put(draft, &promise)?;
            draft.event(changed("sla.created", &promise, "is promised"));
            Ok(())
        })
        .await
        .map_err(problem)?;
        Ok(SlaAnswer { promise, as_of })
    }
}

impl Serve for SlaRemove {
    async fn answer(call: &Call, request: SlaRemoveRequest) -> Result<SlaAnswer, Problem> {
        let as_of = call.look(names::as_of_federation).await?;
        let kinds = [DocumentKind::Sla];
        let seen = Documents::look(&call.api.node, &kinds).await.map_err(problem)?;
        let all = promises::all(&seen).map_err(problem)?;
        let found = all.into_iter().find(|promise| promise.name == request.name);
        let promise = found.ok_or_else(|| unknown_sla(&request.name))?;
        if !request.dry_run {
            documents::change(&call.api.node, &call.asked(), &kinds, |seen, draft| {
                if promises::all(seen)?.iter().any(|known| known.name == promise.name) {
                    promises::end(draft, &promise.name)?;
                    draft.event(changed("sla.removed", &promise, "is promised no more"));
                }
                Ok(())
            })
            .await
            .map_err(problem)?;
        }
        Ok(SlaAnswer { promise, as_of })
    }
}
