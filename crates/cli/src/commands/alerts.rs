//! Alerts, the rules that make them, and silences.

use std::path::Path;

use dwcp_api::alert::{
    Alert, AlertDetail, AlertList, AlertListRequest, AlertRead, AlertReadRequest, AlertRuleList,
    AlertRuleListRequest, AlertRules, AlertRulesCheck, AlertRulesCheckRequest, AlertState, RuleHealth,
    Silence, SilenceCreate, SilenceCreateRequest, SilenceExpire, SilenceExpireRequest, SilenceList,
    SilenceListRequest,
};

use super::{Ended, all_pages, dry, local, moment_ms, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{AlertsCommand, AlertsList, SilenceCommand, SilenceCreateArgs, Words};

pub fn run(session: &Session, command: &AlertsCommand) -> Ended {
    match command {
        AlertsCommand::List(wanted) => read(session, || {
            let page = all_pages::<AlertList, _>(session, wanted.limit, |cursor| asked(wanted, cursor))?;
            Ok((Document::page(&page, table(&page.items)), Exit::Done))
        }),
        AlertsCommand::Show { alert } => read(session, || {
            let found = session.call::<AlertRead>(&AlertReadRequest { alert: alert.clone() })?;
            Ok((detail(&found), Exit::Done))
        }),
        AlertsCommand::Rules { group } => read(session, || {
            let found = session.call::<AlertRuleList>(&AlertRuleListRequest { group: group.clone() })?;
            let fails = found.rules.iter().any(|rule| rule.health == RuleHealth::Failed);
            let exit = if fails || !found.complaints.is_empty() { Exit::Failed } else { Exit::Done };
            Ok((rules(&found), exit))
        }),
        AlertsCommand::Check { file } => check(session, file),
    }
}

fn asked(wanted: &AlertsList, cursor: Option<String>) -> AlertListRequest {
    let list = |words: &Option<Words>| words.as_ref().map(|words| words.0.join(","));
    AlertListRequest {
        state: list(&wanted.state),
        since_ms: wanted.since,
        severity: list(&wanted.severity),
        region: wanted.region.clone(),
        muted: wanted.muted,
        limit: wanted.limit,
        cursor,
    }
}

fn state(alert: &Alert) -> Cell {
    match (alert.state, alert.muted_by.is_empty()) {
        (AlertState::Firing, true) => Cell::toned("firing", Tone::Bad),
        (state, true) => words::state(&state),
        (state, false) => Cell::from(format!("{}, muted", words::name(&state))),
    }
}

/// Labels but those that have columns of their own.
fn labels(alert: &Alert) -> String {
    let own = ["alertname", "severity", "cause"];
    let others = alert.labels.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    others.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Alerts as a table; also part of a region's status.
pub fn table(alerts: &[Alert]) -> Table {
    let mut table =
        Table::new(&["RULE", "STATE", "SEVERITY", "LABELS", ">VALUE~1", "STARTED", "ENDED", "ALERT~2"])
            .or("no alerts");
    for alert in alerts {
        table.row(vec![
            Cell::from(&alert.name),
            state(alert),
            Cell::from(&alert.severity),
            Cell::from(labels(alert)),
            Cell::from(&alert.value),
            words::instant(alert.started_at_ms).into(),
            words::instant_or_dash(alert.ended_at_ms),
            Cell::from(&alert.alert),
        ]);
    }
    table
}

fn detail(found: &AlertDetail) -> Document {
    let alert = &found.alert;
    let mut pairs = vec![
        ("alert", Cell::from(&alert.alert)),
        ("rule", Cell::from(&alert.rule)),
        ("state", state(alert)),
        ("severity", Cell::from(&alert.severity)),
        ("value", Cell::from(&alert.value)),
        ("started", words::instant(alert.started_at_ms).into()),
        ("fired", words::instant_or_dash(alert.fired_at_ms)),
        ("ended", words::instant_or_dash(alert.ended_at_ms)),
    ];
    if !alert.muted_by.is_empty() {
        pairs.push(("muted by", Cell::from(alert.muted_by.join(", "))));
    }
    pairs.extend(alert.labels.iter().map(|(name, value)| (name.as_str(), Cell::from(value))));
    let mut document = Document::of(found).pairs(pairs);
    for (name, text) in &alert.annotations {
        document = document.text_block(format!("{name}: {text}"));
    }
    if !found.earlier.is_empty() {
        document = document.section("fired before", table(&found.earlier));
    }
    document
}

fn rules(found: &AlertRules) -> Document {
    let mut table =
        Table::new(&["GROUP", "RULE", "SEVERITY", "HEALTH", ">FIRING", ">PENDING", "EVALUATED~1", "FILE~2"])
            .or("no rules");
    for rule in &found.rules {
        let health = match rule.health {
            RuleHealth::Failed => Cell::toned("failed", Tone::Bad),
            health => words::state(&health),
        };
        table.row(vec![
            Cell::from(&rule.group),
            Cell::from(&rule.name),
            Cell::from(&rule.severity),
            health,
            rule.firing.into(),
            rule.pending.into(),
            words::instant_or_dash(rule.evaluated_at_ms),
            Cell::from(&rule.file),
        ]);
    }
    let mut document = Document::of(found).table(table);
    for rule in &found.rules {
        if let Some(why) = &rule.error {
            document = document.text_block(format!("{}/{}: {why}", rule.group, rule.name));
        }
    }
    for complaint in &found.complaints {
        document = document.text_block(format!("{} is not taken: {}", complaint.file, complaint.message));
    }
    document
}

fn check(session: &Session, file: &Path) -> Ended {
    let text = local::read_file(file)?;
    let found = session.call::<AlertRulesCheck>(&AlertRulesCheckRequest { text })?;
    if !found.complaints.is_empty() {
        let count = found.complaints.len();
        let mistakes = if count == 1 { "mistake" } else { "mistakes" };
        let start = Failure::usage(format!("{} has {count} {mistakes}", file.display()));
        return Err(found.complaints.iter().fold(start, |failure, complaint| failure.because(complaint)));
    }
    let line = format!(
        "{}: in order ({} groups, {} alerting rules, {} recording rules)",
        file.display(),
        found.groups,
        found.alerting,
        found.recording
    );
    session.show(&Document::bare(&found, line))?;
    Ok(Exit::Done)
}

pub fn silence(session: &Session, command: &SilenceCommand) -> Ended {
    match command {
        SilenceCommand::Create(wanted) => create(session, wanted),
        SilenceCommand::List { all, limit } => read(session, || {
            let page = all_pages::<SilenceList, _>(session, *limit, |cursor| SilenceListRequest {
                all: *all,
                limit: *limit,
                cursor,
            })?;
            Ok((Document::page(&page, silences(&page.items)), Exit::Done))
        }),
        SilenceCommand::Expire { id } => {
            let request = SilenceExpireRequest { silence: id.clone(), dry_run: session.global.dry_run };
            let silence = session.call::<SilenceExpire>(&request)?;
            told(session, &silence, if session.global.dry_run { "would end" } else { "is over" })
        }
    }
}

fn create(session: &Session, wanted: &SilenceCreateArgs) -> Ended {
    let request = SilenceCreateRequest {
        conditions: wanted.conditions.clone(),
        starts_at_ms: wanted.start.map(moment_ms),
        duration_ms: wanted.duration,
        comment: wanted.comment.clone(),
        dry_run: session.global.dry_run,
    };
    let silence = session.call::<SilenceCreate>(&request)?;
    told(session, &silence, if session.global.dry_run { "would hold" } else { "holds" })
}

fn told(session: &Session, silence: &Silence, what: &str) -> Ended {
    let name = if silence.silence.is_empty() { "the silence" } else { &silence.silence };
    let line = format!(
        "{name} {what}: {}, {} to {}, {} alerts now{}",
        silence.conditions.join(", "),
        words::instant(silence.starts_at_ms),
        words::instant(silence.ends_at_ms),
        silence.alerts,
        dry(session)
    );
    session.show(&Document::bare(silence, line))?;
    Ok(Exit::Done)
}

fn silences(all: &[Silence]) -> Table {
    let mut table =
        Table::new(&["SILENCE", "STATE", "CONDITIONS", "FROM~1", "UNTIL", ">ALERTS", "BY~2", "COMMENT"])
            .or("no silences");
    for silence in all {
        table.row(vec![
            Cell::from(&silence.silence),
            words::state(&silence.state),
            Cell::from(silence.conditions.join(", ")),
            words::instant(silence.starts_at_ms).into(),
            words::instant(silence.ends_at_ms).into(),
            silence.alerts.into(),
            Cell::from(&silence.by),
            Cell::from(&silence.comment),
        ]);
    }
    table
}
