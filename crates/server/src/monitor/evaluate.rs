//! Rules, evaluated over every region, and where their alerts stand from one time to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dwcp_telemetry::alerting::{Alert, Context, Health, Phase, RuleRecord};
use dwcp_telemetry::model::{Labels, Sample, Value};
use dwcp_telemetry::rules::{Alerting, Group, QuerySample, Recorded, Recording, Rule};

use super::rules::InForce;

/// Alerts that one rule may give, where its group says nothing else.
const MOST_ALERTS: usize = 1_000;
/// Records that are written down as one piece.
const WRITTEN_AT_ONCE: usize = 15;
/// How often a group is evaluated that does not say it, ms.
const EVERY_MS: i64 = 15_000;
/// A record whose values alone have changed is written so long after the last time, ms.
const REFRESH_MS: i64 = 60_000;
/// One without alerts, so that it shows that its rule is evaluated, ms.
const QUIET_MS: i64 = 600_000;

/// The rules of a federation and where they stand; it belongs to whoever evaluates.
#[derive(Default)]
pub struct Evaluator {
    rules: Option<Arc<InForce>>,
    groups: Vec<Timed>,
    /// By `GROUP/RULE`; two rules of a name in one group share a record by their number.
    records: BTreeMap<String, Kept>,
    recorded: BTreeMap<String, Recorded>,
}

struct Timed {
    group: Group,
    next_ms: i64,
}

#[derive(Default)]
struct Kept {
    record: RuleRecord,
    /// What is written down is older than this.
    changed: bool,
    written_ms: i64,
}

impl Timed {
    fn every_ms(&self) -> i64 {
        self.group.interval_ms.map_or(EVERY_MS, |ms| ms.min(86_400_000) as i64)
    }

    /// Whether its time has come, or a clock that was set back makes it wait for longer than it ever should.
    fn is_due(&self, now_ms: i64) -> bool {
        self.next_ms <= now_ms || self.next_ms - now_ms > self.every_ms()
    }
}

/// What an expression gives at a moment, ms since 1970; a single number as a series without labels.
pub type Ask<'a> = &'a dyn Fn(&str, i64) -> Result<Vec<(Labels, Value)>, String>;

/// What an evaluation is made over.
pub struct Over<'a> {
    pub ask: Ask<'a>,
    /// Regions that did not answer so far.
    pub unseen: &'a dyn Fn() -> BTreeSet<String>,
    pub now_ms: i64,
}

/// What an evaluation brought besides alerts.
#[derive(Default)]
pub struct Brought {
    /// To be kept as metrics.
    pub samples: Vec<(Labels, Sample)>,
    /// For the log.
    pub problems: Vec<String>,
}

impl Evaluator {
    /// Goes on with the rules in force, when they are others.
    pub fn follow(&mut self, rules: &Arc<InForce>) {
        if !self.rules.as_ref().is_some_and(|known| Arc::ptr_eq(known, rules)) {
            self.set_rules(rules.groups());
            self.rules = Some(rules.clone());
        }
    }

    /// Goes on with these rules; where those stand that are there no more is forgotten.
    pub fn set_rules(&mut self, groups: Vec<Group>) {
        let mut due: BTreeMap<String, i64> =
            self.groups.drain(..).map(|timed| (timed.group.name.clone(), timed.next_ms)).collect();
        let timed = |group: Group| Timed { next_ms: due.remove(&group.name).unwrap_or(0), group };
        self.groups = groups.into_iter().map(timed).collect();
        let ids: BTreeSet<String> =
            self.groups.iter().flat_map(|timed| rules(&timed.group).map(|(id, _)| id)).collect();
        self.records.retain(|id, _| ids.contains(id));
        self.recorded.retain(|id, _| ids.contains(id));
    }

    /// Goes on where others stopped.
    pub fn set_records(&mut self, records: Vec<(String, RuleRecord)>) {
        let kept = |record| Kept { record, ..Kept::default() };
        self.records = records.into_iter().map(|(id, record)| (id, kept(record))).collect();
    }

    /// Whether the time of a group has come.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.groups.iter().any(|timed| timed.is_due(now_ms))
    }

    /// Evaluates the groups whose time has come.
    pub fn evaluate(&mut self, over: &Over<'_>) -> Brought {
        let mut brought = Brought::default();
        for timed in self.groups.iter_mut().filter(|timed| timed.is_due(over.now_ms)) {
            let every_ms = timed.every_ms();
            timed.next_ms = over.now_ms + every_ms - over.now_ms.rem_euclid(every_ms);
            let at_ms = over.now_ms - timed.group.query_offset_ms.min(86_400_000) as i64;
            let limit = timed.group.limit;
            for (id, rule) in rules(&timed.group) {
                match rule {
                    Rule::Recording(rule) => {
                        let recorded = self.recorded.entry(id.clone()).or_default();
                        record(recorded, rule, over, (at_ms, limit), &id, &mut brought);
                    }
                    Rule::Alerting(rule) => {
                        let kept = self.records.entry(id.clone()).or_default();
                        kept.alert(rule, over, (at_ms, limit), &id, &mut brought);
                    }
                }
            }
        }
        brought
    }

    /// All alerts that fire.
    pub fn firing(&self) -> Vec<Alert> {
        let alerts = self.records.values().flat_map(|kept| kept.record.state.alerts());
        alerts.filter(|alert| alert.phase == Phase::Firing).cloned().collect()
    }

    /// Records that are to be written down, by id; of many the others come later.
    pub fn to_write(&self, now_ms: i64) -> impl Iterator<Item = (&str, &RuleRecord)> {
        let due = self.records.iter().filter(move |(_, kept)| kept.is_due(now_ms)).take(WRITTEN_AT_ONCE);
        due.map(|(id, kept)| (id.as_str(), &kept.record))
    }

    /// Those that [`Evaluator::to_write`] gave are written.
    pub fn written(&mut self, now_ms: i64) {
        for kept in self.records.values_mut().filter(|kept| kept.is_due(now_ms)).take(WRITTEN_AT_ONCE) {
            (kept.changed, kept.written_ms) = (false, now_ms);
        }
    }

    /// The ids of all rules that give alerts.
    pub fn ids(&self) -> BTreeSet<String> {
        let alerting = |(_, rule): &(String, &Rule)| matches!(rule, Rule::Alerting(_));
        self.groups.iter().flat_map(|timed| rules(&timed.group).filter(alerting).map(|(id, _)| id)).collect()
    }
}

/// The rules of a group with their ids.
pub fn rules(group: &Group) -> impl Iterator<Item = (String, &Rule)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    group.rules.iter().map(move |rule| {
        let name = match rule {
            Rule::Recording(rule) => rule.record.as_str(),
            Rule::Alerting(rule) => rule.alert.as_str(),
        };
        let nth = seen.entry(name).or_default();
        *nth += 1;
        let id =
            if *nth == 1 { format!("{}/{name}", group.name) } else { format!("{}/{name}/{nth}", group.name) };
        (id, rule)
    })
}

impl Kept {
    /// Whether it is to be written down.
    fn is_due(&self, now_ms: i64) -> bool {
        let every_ms = if self.record.state.alerts().is_empty() { QUIET_MS } else { REFRESH_MS };
        self.changed || now_ms.saturating_sub(self.written_ms) >= every_ms
    }

    fn alert(
        &mut self,
        rule: &Alerting,
        over: &Over<'_>,
        (at_ms, limit): (i64, usize),
        id: &str,
        brought: &mut Brought,
    ) {
        let found = (over.ask)(&rule.expr, at_ms).map(|found| found.into_iter().filter_map(float).collect());
        let found: Result<Vec<QuerySample>, String> = found;
        let query = |text: &str| {
            let found = (over.ask)(text, at_ms)?;
            Ok(found.into_iter().filter_map(float).collect())
        };
        let unseen = (over.unseen)();
        let context = Context {
            external: &Labels::default(),
            query: &query,
            limit: if limit == 0 { MOST_ALERTS } else { limit },
            unseen: &unseen,
            now_ms: over.now_ms,
        };
        let before = self.record.state.health().clone();
        let found = found.as_deref().map_err(String::as_str);
        let evaluation = self.record.state.evaluate(rule, found, &context);
        if !evaluation.changes.is_empty() {
            self.record.take(&evaluation.changes, over.now_ms);
        }
        self.changed |= !evaluation.changes.is_empty() || *self.record.state.health() != before;
        if let Health::Err(why) = self.record.state.health() {
            if *self.record.state.health() != before {
                brought.problems.push(format!("rule {id}: {why}"));
            }
        }
        brought.problems.extend(evaluation.warnings.into_iter().map(|why| format!("rule {id}: {why}")));
        brought.samples.extend(evaluation.samples);
    }
}

fn record(
    recorded: &mut Recorded,
    rule: &Recording,
    over: &Over<'_>,
    (at_ms, limit): (i64, usize),
    id: &str,
    brought: &mut Brought,
) {
    let written =
        (over.ask)(&rule.expr, at_ms).and_then(|found| recorded.evaluate(rule, &found, limit, over.now_ms));
    match written {
        Ok(samples) => brought.samples.extend(samples),
        Err(why) => brought.problems.push(format!("rule {id}: {why}")),
    }
}

/// A number; a histogram is none, and Prometheus makes no alert of one.
fn float((labels, value): (Labels, Value)) -> Option<QuerySample> {
    match value {
        Value::Float(value) => Some(QuerySample { labels, value }),
        Value::Histogram(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use dwcp_telemetry::promql::{Engine, Memory};
    use dwcp_telemetry::rules::read;

    use super::*;
    use crate::telemetry::reader::instant;

    const RULES: &str = "
groups:
  - name: heat
    interval: 15s
    rules:
      - record: zone:load:max
        expr: max(load)
      - alert: Hot
        expr: load > 80
        for: 30s
        keep_firing_for: 1m
        labels: {severity: P2}
";

    fn groups(text: &str) -> Vec<Group> {
        read(text, &|_| Ok(())).expect("rules").groups
    }

    /// What this series says every 15 s, evaluated at a second.
    fn at(evaluator: &mut Evaluator, series: &str, second: i64, unseen: &[&str]) -> Brought {
        let source = Memory::parse(series, 0, 15_000).expect("series");
        let unseen = || unseen.iter().map(|region| region.to_string()).collect();
        let ask = |text: &str, at_ms: i64| instant(&source, &Engine::default(), text, at_ms);
        let over = Over { ask: &ask, unseen: &unseen, now_ms: second * 1_000 };
        evaluator.evaluate(&over)
    }

    fn firing(evaluator: &Evaluator) -> Vec<String> {
        evaluator.firing().iter().map(|alert| alert.labels.get("region").to_owned()).collect()
    }

    const HOT: &str = "load{region=\"eu\"} | 90*20\nload{region=\"us\"} | 10*20";

    #[test]
    fn whoever_takes_over_from_what_is_written_goes_on_where_the_last_one_stopped() {
        let mut first = Evaluator::default();
        first.set_rules(groups(RULES));
        at(&mut first, HOT, 0, &[]);
        let kept = |evaluator: &Evaluator| -> Vec<(String, RuleRecord)> {
            let all = evaluator.to_write(0).map(|(id, record)| {
                let text = serde_json::to_string(record).expect("JSON");
                (id.to_owned(), serde_json::from_str(&text).expect("the same"))
            });
            all.collect()
        };
        assert_eq!(kept(&first).len(), 1, "it is pending");
        // Another one begins 15 s later: the half minute has begun already.
        let mut second = Evaluator::default();
        second.set_rules(groups(RULES));
        second.set_records(kept(&first));
        at(&mut second, HOT, 15, &[]);
        assert!(firing(&second).is_empty());
        let brought = at(&mut second, HOT, 30, &[]);
        assert_eq!(firing(&second), ["eu"]);
        let named = |name: &str| brought.samples.iter().any(|(labels, _)| labels.get("__name__") == name);
        assert!(named("zone:load:max") && named("ALERTS") && named("ALERTS_FOR_STATE"));
        // It was told: a third one knows.
        let mut third = Evaluator::default();
        third.set_rules(groups(RULES));
        third.set_records(kept(&second));
        assert_eq!(firing(&third), ["eu"]);
    }

    #[test]
    fn a_record_is_written_when_a_phase_changes_and_otherwise_once_a_minute() {
        let mut evaluator = Evaluator::default();
        evaluator.set_rules(groups(RULES));
        let mut written = Vec::new();
        for second in (0..=150).step_by(15) {
            at(&mut evaluator, HOT, second, &[]);
            if evaluator.to_write(second * 1_000).count() > 0 {
                written.push(second);
                evaluator.written(second * 1_000);
            }
        }
        assert_eq!(written, [0, 30, 90, 150]);
    }

    #[test]
    fn a_group_is_due_at_its_interval_and_a_rule_that_is_gone_is_forgotten() {
        let mut evaluator = Evaluator::default();
        evaluator.set_rules(groups(RULES));
        assert!(evaluator.is_due(7_000));
        at(&mut evaluator, HOT, 7, &[]);
        assert!(!evaluator.is_due(14_999) && evaluator.is_due(15_000));
        at(&mut evaluator, HOT, 60, &[]);
        assert_eq!(firing(&evaluator), ["eu"]);
        assert_eq!(evaluator.ids(), BTreeSet::from(["heat/Hot".to_owned()]));
        evaluator.set_rules(groups(&RULES.replace("alert: Hot", "alert: Warm")));
        assert!(firing(&evaluator).is_empty() && evaluator.to_write(0).next().is_none());
    }

    #[test]
    fn a_rule_that_can_not_be_evaluated_is_told_once_and_changes_no_alert() {
        let mut evaluator = Evaluator::default();
        evaluator.set_rules(groups(RULES));
        at(&mut evaluator, HOT, 0, &[]);
        at(&mut evaluator, HOT, 30, &[]);
        evaluator
            .set_rules(groups(&RULES.replace("load > 80", "load * on(region) group_left load{} offset bad")));
        let problems = at(&mut evaluator, HOT, 45, &[]).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("rule heat/Hot: "), "{problems:?}");
        assert_eq!(at(&mut evaluator, HOT, 60, &[]).problems.len(), 0);
        assert_eq!(firing(&evaluator), ["eu"]);
    }

    #[test]
    fn two_rules_of_one_name_have_records_of_their_own() {
        let two =
            format!("{RULES}      - alert: Hot\n        expr: load > 5\n        labels: {{severity: P3}}\n");
        let mut evaluator = Evaluator::default();
        evaluator.set_rules(groups(&two));
        at(&mut evaluator, HOT, 0, &[]);
        let ids: Vec<&str> = evaluator.to_write(0).map(|(id, _)| id).collect();
        assert_eq!(ids, ["heat/Hot", "heat/Hot/2"]);
        assert_eq!(firing(&evaluator), ["eu", "us"]);
    }
}
