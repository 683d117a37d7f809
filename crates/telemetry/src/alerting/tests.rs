use super::*;
use crate::model::{Sample, Value};
use crate::rules::{Alerting, QuerySample, Rule, Template, read};
use proptest::prelude::*;

fn rule(timing: &str) -> Alerting {
    let text = format!(
        "groups:\n- name: g\n  rules:\n  - alert: Hot\n    expr: cpu > 85\n{timing}    labels: {{severity: P2}}\n    \
         annotations:\n      summary: \"{{{{ $labels.region }}}} at {{{{ $value }}}}\"\n"
    );
    let file = read(&text, &|_| Ok(())).expect("a rule file");
    match file.groups.into_iter().flat_map(|group| group.rules).next() {
        Some(Rule::Alerting(rule)) => *rule,
        _ => panic!("an alerting rule"),
    }
}

fn results(regions: &[&str]) -> Vec<QuerySample> {
    let one = |region: &&str| QuerySample {
        labels: Labels::new([("region", *region), ("__name__", "cpu")]),
        value: 90.0,
    };
    regions.iter().map(one).collect()
}

fn evaluate(
    state: &mut RuleState,
    rule: &Alerting,
    found: Result<&[QuerySample], &str>,
    now_s: i64,
) -> Evaluation {
    evaluate_without(state, rule, found, &[], now_s)
}

/// The same while these regions do not answer.
fn evaluate_without(
    state: &mut RuleState,
    rule: &Alerting,
    found: Result<&[QuerySample], &str>,
    unseen: &[&str],
    now_s: i64,
) -> Evaluation {
    let external = Labels::default();
    let query = |_: &str| Err("no engine".to_owned());
    let unseen = unseen.iter().map(|region| region.to_string()).collect();
    let now_ms = now_s * 1_000;
    let context = Context { external: &external, query: &query, limit: 3, unseen: &unseen, now_ms };
    state.evaluate(rule, found, &context)
}

/// The phase of each change, by region.
fn phases(evaluation: &Evaluation) -> Vec<(&str, Phase)> {
    evaluation.changes.iter().map(|alert| (alert.labels.get("region"), alert.phase)).collect()
}

#[test]
fn an_alert_waits_fires_and_is_resolved_once_each() {
    let (rule, mut state) = (rule("    for: 1m\n"), RuleState::default());
    let eu = results(&["eu"]);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&eu), 0)), [("eu", Phase::Pending)]);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&eu), 59)), []);
    let fired = evaluate(&mut state, &rule, Ok(&eu), 60);
    assert_eq!(phases(&fired), [("eu", Phase::Firing)]);
    let alert = &fired.changes[0];
    assert_eq!(alert.labels.to_string(), r#"{alertname="Hot", region="eu", severity="P2"}"#);
    assert_eq!(alert.annotations["summary"], "eu at 90");
    assert_eq!((alert.active_at_ms, alert.fired_at_ms), (0, Some(60_000)));
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&eu), 90)), []);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 120)), [("eu", Phase::Resolved)]);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 150)), []);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&eu), 180)), [("eu", Phase::Pending)]);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 200)), [("eu", Phase::Withdrawn)]);
}

#[test]
fn an_alert_keeps_firing_until_it_was_gone_for_long_enough() {
    let (rule, mut state) = (rule("    keep_firing_for: 1m\n"), RuleState::default());
    let eu = results(&["eu"]);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&eu), 0)), [("eu", Phase::Firing)]);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 30)), []);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&eu), 60)), []);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 90)), []);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 149)), []);
    assert_eq!(phases(&evaluate(&mut state, &rule, Ok(&[]), 150)), [("eu", Phase::Resolved)]);
}

#[test]
fn what_can_not_be_seen_is_not_over_but_a_region_that_is_back_is() {
    let (hot, mut state) = (rule(""), RuleState::default());
    evaluate(&mut state, &hot, Ok(&results(&["eu", "us"])), 0);
    let told = evaluate_without(&mut state, &hot, Ok(&[]), &["eu"], 15);
    assert_eq!(phases(&told), [("us", Phase::Resolved)]);
    assert_eq!(phases(&evaluate_without(&mut state, &hot, Ok(&[]), &["eu"], 30)), []);
    assert_eq!(phases(&evaluate(&mut state, &hot, Ok(&[]), 45)), [("eu", Phase::Resolved)]);

    let (down, mut state) = (Alerting { alert: "RegionDown".to_owned(), ..rule("") }, RuleState::default());
    evaluate(&mut state, &down, Ok(&results(&["eu"])), 0);
    let told = evaluate_without(&mut state, &down, Ok(&[]), &["eu"], 15);
    assert_eq!(phases(&told), [("eu", Phase::Resolved)]);
}

#[test]
fn a_record_remembers_what_was_resolved_for_some_days_and_no_more_than_fits() {
    const DAY_S: i64 = 86_400;
    let (rule, mut record) = (rule(""), RuleRecord::default());
    let eu = results(&["eu"]);
    for (found, at_s) in [(&eu[..], 0), (&[], 10), (&eu, DAY_S), (&[], DAY_S + 10), (&eu, DAY_S + 20)] {
        let changes = evaluate(&mut record.state, &rule, Ok(found), at_s).changes;
        record.take(&changes, at_s * 1_000);
    }
    let ended = |record: &RuleRecord| -> Vec<Option<i64>> {
        record.ended.iter().map(|alert| alert.ended_at_ms.map(|ms| ms / 1_000)).collect()
    };
    assert_eq!(ended(&record), [Some(10), Some(DAY_S + 10)]);
    record.take(&[], 7 * DAY_S * 1_000 + 10_001);
    assert_eq!(ended(&record), [Some(DAY_S + 10)]);
    let text = serde_json::to_string(&record).expect("a text");
    assert_eq!(serde_json::from_str::<RuleRecord>(&text).expect("a record"), record);

    let mut long = record.ended[0].clone();
    long.annotations.insert("summary".to_owned(), "x".repeat(1_000));
    let many: Vec<Alert> =
        (0..400).map(|n| Alert { ended_at_ms: Some(2 * DAY_S * 1_000 + n), ..long.clone() }).collect();
    record.take(&many, 3 * DAY_S * 1_000);
    let bytes = serde_json::to_string(&record).expect("a text").len();
    assert!((190 * 1024..=200 * 1024).contains(&bytes), "{bytes}");
    assert_eq!(record.ended.last(), many.last(), "the oldest go first");
    assert_eq!(record.state.alerts().len(), 1, "what fires stays");
}

#[test]
fn an_evaluation_that_failed_changes_no_alert_and_says_why() {
    let (rule, mut state) = (rule(""), RuleState::default());
    evaluate(&mut state, &rule, Ok(&results(&["eu"])), 0);
    let firing = state.alerts().to_vec();
    let many = results(&["a", "b", "c", "d"]);
    let twice = results(&["a", "a"]);
    let cases: [(Result<&[QuerySample], &str>, &str); 3] = [
        (Err("the region did not answer"), "the region did not answer"),
        (Ok(&many), "it gave 4 alerts, and the limit is 3"),
        (Ok(&twice), "it gave two alerts of the labels"),
    ];
    for (found, why) in cases {
        let evaluation = evaluate(&mut state, &rule, found, 30);
        assert_eq!(evaluation, Evaluation::default(), "{why}");
        assert!(matches!(state.health(), Health::Err(said) if said.starts_with(why)), "{:?}", state.health());
        assert_eq!(state.alerts(), firing, "{why}");
    }
    evaluate(&mut state, &rule, Ok(&results(&["eu"])), 60);
    assert_eq!(state.health(), &Health::Ok);
}

#[test]
fn a_text_that_cannot_be_made_does_not_stop_the_alert() {
    let mut rule = rule("");
    let broken = Template::parse("{{ query \"up\" | first | value }}").expect("a template");
    rule.annotations = vec![("summary".to_owned(), broken)];
    let evaluation = evaluate(&mut RuleState::default(), &rule, Ok(&results(&["eu"])), 0);
    assert_eq!(phases(&evaluation), [("eu", Phase::Firing)]);
    assert_eq!(evaluation.changes[0].annotations["summary"], "<no text: no engine>");
    assert_eq!(evaluation.warnings, ["Hot: summary: no engine"]);
}

#[test]
fn the_series_of_alerts_say_where_each_stands_and_end_with_it() {
    let (rule, mut state) = (rule("    for: 1m\n"), RuleState::default());
    let shown = |evaluation: Evaluation| {
        let show = |(labels, sample): &(Labels, Sample)| match &sample.value {
            value if value.is_stale() => format!("{labels} ends"),
            Value::Float(number) => format!("{labels} {number}"),
            Value::Histogram(_) => "a histogram".to_owned(),
        };
        evaluation.samples.iter().map(show).collect::<Vec<String>>()
    };
    let eu = results(&["eu"]);
    let rest = r#"region="eu", severity="P2"}"#;
    let alerts = |state: &str| format!(r#"ALERTS{{alertname="Hot", alertstate="{state}", {rest}"#);
    let since = format!(r#"ALERTS_FOR_STATE{{alertname="Hot", {rest}"#);
    let pending = [format!("{} 1", alerts("pending")), format!("{since} 7")];
    assert_eq!(shown(evaluate(&mut state, &rule, Ok(&eu), 7)), pending);
    let fires =
        [format!("{} ends", alerts("pending")), format!("{} 1", alerts("firing")), format!("{since} 7")];
    assert_eq!(shown(evaluate(&mut state, &rule, Ok(&eu), 67)), fires);
    let over = [format!("{} ends", alerts("firing")), format!("{since} ends")];
    assert_eq!(shown(evaluate(&mut state, &rule, Ok(&[]), 90)), over);
}

/// Labels of an alert with these, and of severity P2 when they name none.
fn alert_labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
    Labels::new([("severity", "P2")].iter().chain(pairs).chain(&[(ALERTNAME, name)]).copied())
}

#[test]
fn conditions_are_read_as_they_are_written() {
    let labels = alert_labels("A", &[("region", "eu-west-1"), ("text", "a\"b,c\\")]);
    let cases = [
        (r#"{region="eu-west-1"}"#, true),
        (r#"region=~eu-.*, severity!="P0""#, true),
        (r#"region!~"eu-.*""#, false),
        (r#"{text="a\"b,c\\", alertname=A}"#, true),
        (r#"region=~"eu-\w+-\d""#, true),
        ("", true),
    ];
    for (text, holds) in cases {
        let conditions: Conditions = text.parse().expect(text);
        assert_eq!(conditions.hold(&labels), holds, "{text}");
        assert_eq!(conditions.to_string().parse::<Conditions>().as_ref(), Ok(&conditions), "{text}");
    }
    for text in ["region", "=x", "1a=x", "a=\"b", "a=b c=d", "a=~(", "{a=b"] {
        assert!(text.parse::<Conditions>().is_err(), "{text}");
    }
}

fn silence(conditions: &str, from_ms: i64, until_ms: i64) -> Silence {
    let conditions = conditions.parse().expect("conditions");
    Silence { conditions, from_ms, until_ms, who: "ada".to_owned(), comment: "known".to_owned() }
}

#[test]
fn a_silence_holds_from_to_and_until_it_is_ended() {
    let mut silences = Silences::default();
    let labels = alert_labels("A", &[("region", "eu")]);
    assert_eq!(silences.put("s1", silence("region=eu", 10, 20), 0), Ok(()));
    for (now, silent) in [(9, false), (10, true), (19, true), (20, false)] {
        assert_eq!(!silences.of(&labels, now).is_empty(), silent, "at {now}");
    }
    assert!(silences.of(&alert_labels("A", &[("region", "us")]), 15).is_empty());
    assert_eq!(silences.expire("s1", 15), Ok(()));
    assert!(silences.of(&labels, 15).is_empty());
    assert_eq!(silences.expire("s1", 16), Err(SilenceError::Over));
    assert_eq!(silences.expire("s2", 16), Err(SilenceError::Unknown));
    silences.prune(100, 114);
    assert_eq!(silences.iter().count(), 1);
    silences.prune(100, 115);
    assert_eq!(silences.iter().count(), 0);
    let refused = [
        (silence("", 0, 9), SilenceError::MatchesEverything),
        (silence("region=~\".*\"", 0, 9), SilenceError::MatchesEverything),
        (silence("a=b", 9, 9), SilenceError::Over),
        (silence("a=b", 0, 5), SilenceError::Over),
        (Silence { who: " ".to_owned(), ..silence("a=b", 0, 9) }, SilenceError::NoReason),
    ];
    for (silence, why) in refused {
        assert_eq!(silences.put("x", silence, 5), Err(why));
    }
}

#[test]
fn a_dead_region_explains_all_but_the_gravest_in_it() {
    let mutes = Mutes { inhibitions: vec![Inhibition::by_dead_region()], ..Mutes::default() };
    let down = alert_labels(REGION_DOWN, &[("region", "eu"), ("severity", "P0")]);
    let firing = [
        down.clone(),
        alert_labels("Lag", &[("region", "eu")]),
        alert_labels("Lag", &[("region", "us")]),
        alert_labels("Lag", &[]),
        alert_labels("Outage", &[("region", "eu"), ("severity", "P0")]),
    ];
    let cause = Some(Muted::Inhibited(fingerprint(&down)));
    assert_eq!(mutes.of(&firing, 0), [None, cause, None, None, None]);
    assert_eq!(mutes.of(&firing[1..], 0), [None, None, None, None]);
}

#[test]
fn the_graver_alert_explains_the_other_of_one_cause_only() {
    let mutes = Mutes { inhibitions: Inhibition::by_graver().to_vec(), ..Mutes::default() };
    let of = |name: &str, severity, region, cause| {
        alert_labels(name, &[("severity", severity), ("region", region), ("cause", cause)])
    };
    let firing = [
        of("A", "P2", "eu", "cpu"),
        of("B", "P3", "eu", "cpu"),
        of("B", "P3", "us", "cpu"),
        of("C", "P3", "eu", "x"),
    ];
    let muted: Vec<bool> = mutes.of(&firing, 0).iter().map(Option::is_some).collect();
    assert_eq!(muted, [false, true, false, false]);
}

#[test]
fn two_that_are_source_and_target_of_a_rule_do_not_silence_each_other() {
    let both = Inhibition {
        source: "region=eu".parse().expect("conditions"),
        target: "region=eu".parse().expect("conditions"),
        equal: vec![],
    };
    let mutes = Mutes { inhibitions: vec![both], ..Mutes::default() };
    let firing = [alert_labels("A", &[("region", "eu")]), alert_labels("B", &[("region", "eu")])];
    assert_eq!(mutes.of(&firing, 0), [None, None]);
}

#[test]
fn alerts_of_what_is_maintained_are_muted_in_the_window() {
    let window = |id: &str, scope| Window { id: id.to_owned(), scope, from_ms: 10, until_ms: 20 };
    let firing =
        [alert_labels("A", &[("region", "eu"), ("host", "h1")]), alert_labels("A", &[("host", "h2")])];
    let cases = [
        (WindowScope::Region("eu".to_owned()), [true, false]),
        (WindowScope::Host("h2".to_owned()), [false, true]),
        (WindowScope::All, [true, true]),
    ];
    for (scope, wanted) in cases {
        let mutes = Mutes { windows: vec![window("w", scope)], ..Mutes::default() };
        let muted = |now| mutes.of(&firing, now).iter().map(Option::is_some).collect::<Vec<bool>>();
        assert_eq!(muted(10), wanted);
        assert_eq!((muted(9), muted(20)), (vec![false, false], vec![false, false]));
    }
}

fn route() -> Route {
    Route {
        receiver: "on-call".to_owned(),
        conditions: "severity=~\"P[012]\"".parse().expect("conditions"),
        group_by: GroupBy::Labels(vec!["region".to_owned()]),
        group_wait_ms: 30,
        group_interval_ms: 300,
        repeat_interval_ms: 1_000,
    }
}

fn firing(name: &str, region: &str, severity: &str) -> Alert {
    Alert {
        labels: alert_labels(name, &[("region", region), ("severity", severity)]),
        annotations: BTreeMap::new(),
        value: 1.0,
        phase: Phase::Firing,
        active_at_ms: 0,
        fired_at_ms: Some(0),
        absent_since_ms: None,
        ended_at_ms: None,
    }
}

/// Reason, names of those that fire, names of those that are over.
fn told(notifications: &[Notification]) -> Vec<(Reason, String, String)> {
    let names = |alerts: &[Alert]| {
        let mut names: Vec<&str> = alerts.iter().map(Alert::name).collect();
        names.sort_unstable();
        names.join(" ")
    };
    notifications.iter().map(|one| (one.reason, names(&one.firing), names(&one.resolved))).collect()
}

fn said(reason: Reason, firing: &str, resolved: &str) -> Vec<(Reason, String, String)> {
    vec![(reason, firing.to_owned(), resolved.to_owned())]
}

#[test]
fn a_group_waits_is_told_once_again_when_it_grows_and_when_it_is_over() {
    let (mut dispatcher, routes) = (Dispatcher::default(), [route()]);
    let [a, b, other] = ["A", "B", "Other"].map(|name| (firing(name, "eu", "P2"), false));
    let mut step = |firing: &[(Alert, bool)], now| {
        // Stored and taken over at every step.
        let text = serde_json::to_string(&dispatcher).expect("it can be stored");
        dispatcher = serde_json::from_str(&text).expect("it can be read");
        told(&dispatcher.step(&routes, firing, now))
    };
    let both = [a.clone(), b.clone()];
    assert_eq!(step(&both[..1], 0), []);
    assert_eq!(step(&both, 29), []);
    assert_eq!(step(&both, 30), said(Reason::Firing, "A B", ""));
    assert_eq!(step(&both, 330), []);
    assert_eq!(step(&[a.clone(), b.clone(), other.clone()], 400), []);
    assert_eq!(step(&[a.clone(), b.clone(), other.clone()], 630), said(Reason::Firing, "A B Other", ""));
    assert_eq!(step(&both[..1], 700), []);
    assert_eq!(step(&both[..1], 930), said(Reason::Resolved, "A", "B Other"));
    assert_eq!(step(&both[..1], 1_230), []);
    assert_eq!(step(&both[..1], 1_930), said(Reason::Repeat, "A", ""));
    assert_eq!(step(&[], 2_230), said(Reason::Resolved, "", "A"));
    assert_eq!(step(&[], 9_999), []);
    assert_eq!(dispatcher.next_at_ms(), None);
}

#[test]
fn what_was_over_before_anybody_was_told_is_never_told() {
    let (mut dispatcher, routes) = (Dispatcher::default(), [route()]);
    let alert = (firing("A", "eu", "P2"), false);
    assert_eq!(dispatcher.step(&routes, &[alert], 0), []);
    assert_eq!(dispatcher.step(&routes, &[], 10), []);
    assert_eq!(dispatcher.step(&routes, &[], 30), []);
    assert_eq!(dispatcher.next_at_ms(), None);
}

#[test]
fn muted_alerts_are_not_told_but_a_page_gets_its_end() {
    let (mut dispatcher, routes) = (Dispatcher::default(), [route()]);
    let mut step = |alerts: &[(&str, bool)], now| {
        let alerts: Vec<(Alert, bool)> =
            alerts.iter().map(|(name, muted)| (firing(name, "eu", "P2"), *muted)).collect();
        told(&dispatcher.step(&routes, &alerts, now))
    };
    assert_eq!(step(&[("A", true)], 0), []);
    assert_eq!(step(&[("A", true)], 30), []);
    assert_eq!(step(&[("A", false)], 330), said(Reason::Firing, "A", ""));
    assert_eq!(step(&[("A", true)], 630), []);
    assert_eq!(step(&[("A", false)], 930), [], "it is not told anew when the silence is over");
    assert_eq!(step(&[("A", true)], 1_230), []);
    assert_eq!(step(&[], 1_530), said(Reason::Resolved, "", "A"));
}

#[test]
fn each_group_and_route_is_told_by_itself() {
    let mut second = route();
    second.receiver = "mail".to_owned();
    second.conditions = Conditions::default();
    second.group_by = GroupBy::All;
    let (mut dispatcher, routes) = (Dispatcher::default(), [route(), second]);
    let alerts: Vec<(Alert, bool)> =
        [("A", "eu", "P2"), ("B", "us", "P1"), ("C", "us", "P3"), ("D", "us", "P3"), ("E", "eu", "P0")]
            .map(|(name, region, severity)| (firing(name, region, severity), false))
            .to_vec();
    assert_eq!(dispatcher.step(&routes, &alerts, 0), []);
    assert_eq!(dispatcher.next_at_ms(), Some(30));
    let told = dispatcher.step(&routes, &alerts, 30);
    let mut all: Vec<(&str, usize)> =
        told.iter().map(|one| (one.receiver.as_str(), one.firing.len())).collect();
    all.sort_unstable();
    assert_eq!(all, [("mail", 1), ("mail", 1), ("on-call", 1), ("on-call", 2)]);
    let keys: std::collections::BTreeSet<&str> = told.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A successor that takes the stored state over goes on as the one before would have.
    #[test]
    fn restarts_in_the_middle_change_nothing(
        steps in prop::collection::vec((0u8..8, prop::bool::weighted(0.1), prop::bool::ANY), 1..40),
        timing in prop::sample::select(vec!["", "    for: 1m\n", "    for: 30s\n    keep_firing_for: 45s\n"]),
    ) {
        let rule = rule(timing);
        let (mut whole, mut taken_over) = (RuleState::default(), RuleState::default());
        let mut open = std::collections::BTreeSet::new();
        for (number, (regions, fails, restarts)) in steps.into_iter().enumerate() {
            let names: Vec<&str> =
                ["a", "b", "c"].into_iter().enumerate().filter(|(bit, _)| regions >> bit & 1 == 1).map(|(_, n)| n).collect();
            let found = results(&names);
            let found = if fails { Err("gone") } else { Ok(&found[..]) };
            if restarts {
                let text = serde_json::to_string(&taken_over).expect("it can be stored");
                taken_over = serde_json::from_str(&text).expect("it can be read");
            }
            let now = number as i64 * 15;
            let evaluation = evaluate(&mut whole, &rule, found, now);
            // As text: the marker of staleness is not equal to itself.
            let other = evaluate(&mut taken_over, &rule, found, now);
            prop_assert_eq!(format!("{evaluation:?}"), format!("{other:?}"));
            prop_assert_eq!(&whole, &taken_over);
            // Every alert that fires is told once, and once that it is over.
            for alert in &evaluation.changes {
                match alert.phase {
                    Phase::Firing => prop_assert!(open.insert(alert.labels.clone())),
                    Phase::Resolved => prop_assert!(open.remove(&alert.labels)),
                    Phase::Pending | Phase::Withdrawn => prop_assert!(!open.contains(&alert.labels)),
                }
            }
            let firing: std::collections::BTreeSet<Labels> =
                whole.alerts().iter().filter(|a| a.phase == Phase::Firing).map(|a| a.labels.clone()).collect();
            prop_assert_eq!(&firing, &open);
        }
    }

    /// Whoever is told that something fires is told once that it is over, and never of an end without a beginning.
    #[test]
    fn every_page_gets_one_end(
        steps in prop::collection::vec((0u8..8, 0u8..8, 1i64..400, prop::bool::ANY), 1..60),
    ) {
        let (mut dispatcher, routes) = (Dispatcher::default(), [route()]);
        let mut open = std::collections::BTreeSet::new();
        let mut now = 0;
        // Some time after everything is over, everyone knows.
        let ending = [(0u8, 0u8, 400i64, false); 2];
        for (fires, mutes, passes, restarts) in steps.into_iter().chain(ending) {
            now += passes;
            if restarts {
                let text = serde_json::to_string(&dispatcher).expect("it can be stored");
                dispatcher = serde_json::from_str(&text).expect("it can be read");
            }
            let alerts: Vec<(Alert, bool)> = (0..3u8)
                .filter(|bit| fires >> bit & 1 == 1)
                .map(|bit| (firing(&format!("A{bit}"), "eu", "P2"), mutes >> bit & 1 == 1))
                .collect();
            for told in dispatcher.step(&routes, &alerts, now) {
                for alert in &told.resolved {
                    prop_assert!(open.remove(&alert.labels), "an end without a beginning");
                }
                let muted = |labels: &Labels| alerts.iter().any(|(alert, muted)| *muted && alert.labels == *labels);
                for alert in &told.firing {
                    prop_assert!(!muted(&alert.labels));
                    open.insert(alert.labels.clone());
                }
            }
        }
        prop_assert!(open.is_empty(), "nobody was told of the end of {open:?}");
        prop_assert_eq!(dispatcher, Dispatcher::default());
    }
}

#[test]
fn conditions_come_in_parts_and_have_bounds() {
    for (text, parts) in [
        ("a=\"x\"", ("a", "x", (false, false))),
        ("a!=\"x\"", ("a", "x", (false, true))),
        ("a=~\"x|y\"", ("a", "x|y", (true, false))),
        ("a!~\"x|y\"", ("a", "x|y", (true, true))),
    ] {
        let read: Condition = text.parse().expect(text);
        assert_eq!((read.name(), read.value(), read.kind()), parts);
        let (name, value, (regex, not)) = parts;
        assert_eq!(Condition::of(name, value, regex, not), Ok(read));
    }
    let long = "x".repeat(1_001);
    for (name, value) in
        [("a", "("), ("a", "((a{99}){99}){99}"), ("a", &long), ("", "x"), ("1", "x"), ("a-b", "x")]
    {
        assert!(Condition::of(name, value, true, false).is_err(), "{name} {value}");
    }
}
