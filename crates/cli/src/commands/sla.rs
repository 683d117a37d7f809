//! What is promised, where it stands, what was broken.

use dwcp_api::sla::{
    SlaAnswer, SlaBreach, SlaBreachList, SlaBreachListRequest, SlaBreachRead, SlaBreachReadRequest,
    SlaCreate, SlaCreateRequest, SlaHistory, SlaHistoryRead, SlaHistoryReadRequest, SlaList, SlaListRequest,
    SlaMeasure, SlaOutage, SlaPromise, SlaRemove, SlaRemoveRequest, SlaStanding, SlaStatus, SlaStatusRead,
    SlaStatusReadRequest, SlaVerdict,
};
use dwcp_config::units::{self, show_duration};

use super::{Ended, all_pages, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{Measure, SlaCommand, SlaCreateArgs};

pub fn run(session: &Session, command: &SlaCommand) -> Ended {
    match command {
        SlaCommand::Summary => read(session, || {
            let status = session.call::<SlaStatusRead>(&SlaStatusReadRequest { sla: None })?;
            let table = summary(&status.items);
            Ok((with_age(Document::of(&status).table(table), &status), exit(&status)))
        }),
        SlaCommand::Status { name } => read(session, || {
            let status = session.call::<SlaStatusRead>(&SlaStatusReadRequest { sla: name.clone() })?;
            Ok((shown(&status), exit(&status)))
        }),
        SlaCommand::History { range, name } => read(session, || {
            let request = SlaHistoryReadRequest { range_ms: *range, sla: name.clone() };
            let history = session.call::<SlaHistoryRead>(&request)?;
            Ok((Document::of(&history).table(days(&history)), Exit::Done))
        }),
        SlaCommand::Breaches { since, limit } => read(session, || {
            let page = all_pages::<SlaBreachList, _>(session, *limit, |cursor| SlaBreachListRequest {
                since_ms: Some(*since),
                limit: *limit,
                cursor,
            })?;
            Ok((Document::page(&page, breaches(&page.items)), Exit::Done))
        }),
        SlaCommand::BreachDetails { breach_id } => read(session, || {
            let request = SlaBreachReadRequest { breach: breach_id.clone() };
            Ok((details(&session.call::<SlaBreachRead>(&request)?), Exit::Done))
        }),
        SlaCommand::Create(wanted) => create(session, wanted),
        SlaCommand::List { limit } => read(session, || {
            let page =
                all_pages::<SlaList, _>(session, *limit, |cursor| SlaListRequest { limit: *limit, cursor })?;
            Ok((Document::page(&page, promises(&page.items)), Exit::Done))
        }),
        SlaCommand::Remove { name } => {
            let request = SlaRemoveRequest { name: name.clone(), dry_run: session.global.dry_run };
            let answer = session.call::<SlaRemove>(&request)?;
            let is = if session.global.dry_run { "would be" } else { "is" };
            changed(session, &answer, &format!("{is} promised no more"))
        }
    }
}

fn exit(status: &SlaStatus) -> Exit {
    let breached = status.items.iter().any(|one| one.verdict == SlaVerdict::Breached);
    if breached { Exit::Failed } else { Exit::Done }
}

fn with_age(document: Document, status: &SlaStatus) -> Document {
    let until = status.accounted_until_ms.map_or("nothing is accounted for yet".to_owned(), |until| {
        format!("accounted until {}", words::instant(until))
    });
    document.text_block(until).text_block(words::as_of(&status.as_of))
}

fn share(ppm: u32) -> String {
    let text = format!("{:.4}", f64::from(ppm) / 1e4);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What is promised, as `--target` takes it.
fn target(promise: &SlaPromise) -> String {
    let limit = show_duration(promise.limit_ms.unwrap_or(0));
    match (promise.measure, promise.target_ppm) {
        (SlaMeasure::Availability, Some(ppm)) => format!(">={}", share(ppm)),
        (SlaMeasure::Latency, Some(ppm)) => format!("{} <={limit}", share(ppm)),
        (SlaMeasure::FailoverTime, _) => format!("<{limit}"),
        (SlaMeasure::DataLoss, _) if promise.limit_ms == Some(0) => "none".to_owned(),
        _ => format!("<={limit}"),
    }
}

fn period(promise: &SlaPromise) -> String {
    promise.period_days.map_or("month".to_owned(), |days| format!("{days}d"))
}

/// A measured value, as `measure` has it.
fn value(measure: SlaMeasure, value: f64) -> String {
    match measure {
        // Not rounded up to what was promised.
        SlaMeasure::Availability => format!("{:.4}%", (value * 1e4).floor() / 1e4),
        _ => format!("{:.1}s", value / 1e3),
    }
}

fn measured(standing: &SlaStanding) -> Cell {
    match (standing.measured, standing.failovers) {
        (Some(found), _) => Cell::from(value(standing.promise.measure, found)),
        (None, Some(0)) => Cell::toned("no failover", Tone::Faint),
        (None, Some(_)) => words::unknown(),
        (None, None) => Cell::toned("no data", Tone::Faint),
    }
}

fn verdict(verdict: SlaVerdict) -> Cell {
    let tone = match verdict {
        SlaVerdict::Met => Tone::Good,
        SlaVerdict::AtRisk | SlaVerdict::Unknown => Tone::Warn,
        SlaVerdict::Breached => Tone::Bad,
        SlaVerdict::NoData => Tone::Faint,
    };
    let text = match verdict {
        SlaVerdict::AtRisk => "at risk".to_owned(),
        SlaVerdict::NoData => "no data".to_owned(),
        other => words::name(&other),
    };
    Cell { raw: Some(words::name(&verdict)), ..Cell::toned(text, tone) }
}

fn left(standing: &SlaStanding) -> Cell {
    words::or_dash(
        standing
            .budget_left_minutes
            .zip(standing.budget_minutes)
            .map(|(left, all)| format!("{left:.1} of {all:.1} min")),
    )
}

fn summary(standings: &[SlaStanding]) -> Table {
    let mut table =
        Table::new(&["SLA", "SCOPE", "TARGET", "PERIOD~1", ">MEASURED", ">BUDGET LEFT", "VERDICT"])
            .or("nothing is promised");
    for one in standings {
        table.row(vec![
            Cell::from(&one.promise.name),
            Cell::from(&one.promise.scope),
            target(&one.promise).into(),
            period(&one.promise).into(),
            measured(one),
            left(one),
            verdict(one.verdict),
        ]);
    }
    table
}

fn worst(shares: &[dwcp_api::sla::SlaShare]) -> Cell {
    let one = |share: &dwcp_api::sla::SlaShare| {
        let percent = share
            .percent
            .map_or(String::new(), |percent| format!(", {}", value(SlaMeasure::Availability, percent)));
        format!("{} ({:.1} min down{percent})", share.name, share.down_minutes)
    };
    let all: Vec<String> = shares.iter().map(one).collect();
    words::or_dash((!all.is_empty()).then(|| all.join(", ")))
}

fn shown(status: &SlaStatus) -> Document {
    let mut document = Document::of(status);
    for one in &status.items {
        let promise = &one.promise;
        let from = words::instant(one.from_ms);
        let kind = if promise.exclude_maintenance { ", without maintenance" } else { "" };
        document = document.text_block(format!("{} ({}{kind})", promise.name, promise.scope));
        let mut pairs = vec![
            ("target", Cell::from(target(promise))),
            ("period", format!("{from} to {} ({})", words::instant(one.until_ms), period(promise)).into()),
            ("measured", measured(one)),
            ("verdict", verdict(one.verdict)),
        ];
        if promise.measure == SlaMeasure::Availability {
            pairs.push(("budget left", left(one)));
            pairs.push(("unknown", words::or_dash(one.unknown_minutes.map(|ms| format!("{ms:.1} min")))));
            pairs.push(("worst tenants", worst(&one.worst_tenants)));
            pairs.push(("worst vms", worst(&one.worst_vms)));
        }
        if let Some(failovers) = one.failovers {
            pairs.push(("failovers", failovers.into()));
        }
        if !one.note.is_empty() {
            pairs.push(("note", Cell::from(&one.note)));
        }
        document = document.pairs(pairs);
        let lines: Vec<String> = one.evidence.iter().map(|line| format!("  - {line}")).collect();
        document = document.text_block(lines.join("\n"));
    }
    with_age(document, status)
}

fn days(history: &SlaHistory) -> Table {
    let mut table = Table::new(&[
        "DAY",
        "SLA",
        "SCOPE~2",
        ">MEASURED",
        ">DOWN VM-MIN",
        ">UNKNOWN VM-MIN~1",
        ">WANTED VM-MIN~3",
        ">FAILOVERS",
    ])
    .or("nothing was measured");
    for day in &history.items {
        let found = day.measured.map(|found| match day.failovers {
            Some(_) => value(SlaMeasure::FailoverTime, found),
            None => value(SlaMeasure::Availability, found),
        });
        table.row(vec![
            Cell::from(&day.day),
            Cell::from(&day.sla),
            Cell::from(&day.scope),
            words::or_dash(found),
            format!("{:.1}", day.down_vm_minutes).into(),
            format!("{:.1}", day.unknown_vm_minutes).into(),
            format!("{:.1}", day.wanted_vm_minutes).into(),
            words::or_dash(day.failovers),
        ]);
    }
    table
}

fn breaches(breaches: &[SlaBreach]) -> Table {
    let mut table =
        Table::new(&["BREACH", "SLA", "SCOPE", "BROKEN", "INCIDENT", "TARGET~1", "MEASURED", "OVER~2"])
            .or("no breaches");
    for breach in breaches {
        table.row(vec![
            Cell::from(&breach.breach),
            Cell::from(&breach.promise.name),
            Cell::from(&breach.promise.scope),
            words::instant(breach.broken_at_ms).into(),
            Cell::from(&breach.incident),
            target(&breach.promise).into(),
            Cell::from(&breach.measured),
            words::instant_or_dash(breach.over_at_ms),
        ]);
    }
    table
}

fn details(breach: &SlaBreach) -> Document {
    let mut document = Document::of(breach).pairs(vec![
        ("breach", Cell::from(&breach.breach)),
        ("sla", format!("{} ({})", breach.promise.name, breach.promise.scope).into()),
        ("target", target(&breach.promise).into()),
        ("measured", Cell::from(&breach.measured)),
        (
            "period",
            format!("{} to {}", words::instant(breach.from_ms), words::instant(breach.until_ms)).into(),
        ),
        ("broken", words::instant(breach.broken_at_ms).into()),
        ("noticed", words::instant(breach.noticed_at_ms).into()),
        ("over", words::instant_or_dash(breach.over_at_ms)),
        ("incident", Cell::from(&breach.incident)),
    ]);
    if breach.outages_in_all > 0 {
        let listed = breach.outages.len() as u64;
        let heading = match breach.outages_in_all.checked_sub(listed).filter(|more| *more > 0) {
            None => "outages, the longest first".to_owned(),
            Some(more) => format!("the longest {listed} outages, without {more} shorter ones"),
        };
        document = document.section(&heading, outages(&breach.outages));
    }
    if !breach.failovers.is_empty() {
        let mut table = Table::new(&["FAILOVER", "REGION", "BEGAN", ">TOOK", ">LOST"]);
        for one in &breach.failovers {
            table.row(vec![
                Cell::from(&one.failover),
                Cell::from(&one.from_region),
                words::instant(one.began_at_ms).into(),
                format!("{:.1}s", one.took_ms as f64 / 1e3).into(),
                words::known(one.lost_ms.map(|ms| format!("{:.1}s", ms as f64 / 1e3))),
            ]);
        }
        document = document.section("failovers", table);
    }
    document
}

fn outages(outages: &[SlaOutage]) -> Table {
    let mut table =
        Table::new(&["VM", "TENANT~2", "REGION", "FROM", "TO", "CAUSE", "FAILOVER~1", "PLANNED~3"]);
    for outage in outages {
        table.row(vec![
            Cell::from(&outage.name),
            Cell::from(&outage.tenant),
            Cell::from(&outage.region),
            words::instant(outage.from_ms).into(),
            outage.until_ms.map_or(Cell::toned("it is down", Tone::Bad), |at| words::instant(at).into()),
            Cell::from(&outage.cause),
            words::or_dash(outage.failover.as_ref()),
            Cell::from(if outage.planned { "yes" } else { "no" }),
        ]);
    }
    table
}

fn promises(promises: &[SlaPromise]) -> Table {
    let mut table = Table::new(&[
        "SLA",
        "SCOPE",
        "MEASURE",
        "TARGET",
        "PERIOD",
        "MAINTENANCE",
        "CREDITS~1",
        "STANDARD~2",
    ])
    .or("nothing is promised");
    for promise in promises {
        let credit = |credit: &dwcp_api::sla::SlaCredit| {
            let below = credit.below_ppm.map(|ppm| format!("below {}", share(ppm)));
            let above = credit.above_ms.map(|ms| match ms {
                0 => "for any".to_owned(),
                ms => format!("above {}", show_duration(ms)),
            });
            let lasts = credit.for_ms.map_or(String::new(), |ms| format!(" for {}", show_duration(ms)));
            format!("{}% {}{lasts}", credit.percent, below.or(above).unwrap_or_default())
        };
        let credits: Vec<String> = promise.credits.iter().map(credit).collect();
        table.row(vec![
            Cell::from(&promise.name),
            Cell::from(&promise.scope),
            words::name(&promise.measure).into(),
            target(promise).into(),
            period(promise).into(),
            Cell::from(if promise.exclude_maintenance { "left out" } else { "counts" }),
            words::or_dash((!credits.is_empty()).then(|| credits.join(", "))),
            Cell::from(if promise.standard { "yes" } else { "no" }),
        ]);
    }
    table
}

/// The share and the limit that `--target` says.
fn target_of(wanted: &SlaCreateArgs) -> Result<(Option<u32>, Option<u64>), Failure> {
    let text = wanted.target.trim();
    let wrong = |why: String| Failure::usage(format!("--target: {why}"));
    let share = |text: &str| {
        let percent = units::percent(text).map_err(wrong)?;
        let ppm = (percent * 1e4).round() as u32;
        let exact = (percent * 1e4 - f64::from(ppm)).abs() < 1e-6;
        (ppm > 0 && exact)
            .then_some(ppm)
            .ok_or_else(|| wrong(format!("'{text}' is not more than 0% with at most four decimals")))
    };
    let limit = |text: &str| match text {
        "0" | "0%" | "0s" | "none" => Ok(0),
        _ => units::duration_ms(text).map_err(wrong),
    };
    match wanted.measure {
        Measure::Availability => Ok((Some(share(text)?), None)),
        Measure::Latency => {
            let Some((percent, longest)) = text.split_once(':') else {
                return Err(wrong(format!("'{text}' is not a share and a limit such as 99%:100ms")));
            };
            Ok((Some(share(percent)?), Some(limit(longest)?)))
        }
        Measure::FailoverTime | Measure::DataLoss => Ok((None, Some(limit(text)?))),
    }
}

fn create(session: &Session, wanted: &SlaCreateArgs) -> Ended {
    let (target_ppm, limit_ms) = target_of(wanted)?;
    let request = SlaCreateRequest {
        name: wanted.name.clone(),
        scope: wanted.scope.clone(),
        measure: match wanted.measure {
            Measure::Availability => SlaMeasure::Availability,
            Measure::Latency => SlaMeasure::Latency,
            Measure::FailoverTime => SlaMeasure::FailoverTime,
            Measure::DataLoss => SlaMeasure::DataLoss,
        },
        target_ppm,
        limit_ms,
        period_days: wanted.period.0,
        exclude_maintenance: wanted.exclude_maintenance,
        dry_run: session.global.dry_run,
    };
    let answer = session.call::<SlaCreate>(&request)?;
    let is = if session.global.dry_run { "would be" } else { "is" };
    let what = format!("{is} promised: {}, {}", target(&answer.promise), period(&answer.promise));
    changed(session, &answer, &what)
}

fn changed(session: &Session, answer: &SlaAnswer, what: &str) -> Ended {
    let promise = &answer.promise;
    let line = format!("{} of {} {what}{}", promise.name, promise.scope, dry(session));
    session.show(&Document::bare(answer, line))?;
    Ok(Exit::Done)
}
