//! Alerts as people and programs see them: of the documents, with why nobody is told.

use dwcp_state::DocumentKind;
use dwcp_telemetry::alerting::{Alert, Fingerprint, Muted, Mutes, Phase, RuleRecord, fingerprint};
use dwcp_telemetry::model::Labels;
use dwcp_types::Refusal;

use super::documents::Documents;
use super::{Monitor, round};
use crate::clock;

/// An alert of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// `GROUP/RULE`.
    pub rule: String,
    pub alert: Alert,
    /// Of an alert that is pending or fires: why nobody is told.
    pub muted: Option<Muted>,
}

impl Known {
    /// Its identity.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.alert.labels)
    }
}

/// What is known of alerts at one moment.
pub struct Seen {
    /// By `GROUP/RULE`.
    pub records: Vec<(String, RuleRecord)>,
    /// Those that are pending or fire, and those that were resolved in the last 7 days.
    pub alerts: Vec<Known>,
    pub now_ms: i64,
}

/// The alerts as they are here.
///
/// # Errors
/// This process is stopping, or a later version wrote a document.
pub async fn look(monitor: &Monitor) -> Result<Seen, Refusal> {
    let windows = monitor.node.look(round::windows).await.ok_or_else(crate::handle::stopping)?;
    let seen = Documents::look(&monitor.node, &[DocumentKind::Alerts, DocumentKind::Silence]).await?;
    let records = seen.all::<RuleRecord>(DocumentKind::Alerts)?;
    let now_ms = clock::wall_ms();
    let alerts = known(&records, &round::mutes(&seen, windows)?, now_ms);
    Ok(Seen { records, alerts, now_ms })
}

/// All alerts of these rules. Only what fires explains others.
fn known(records: &[(String, RuleRecord)], mutes: &Mutes, now_ms: i64) -> Vec<Known> {
    let of = |phase: Phase| -> Vec<(&String, &Alert)> {
        let alerts =
            records.iter().flat_map(|(id, record)| record.state.alerts().iter().map(move |a| (id, a)));
        alerts.filter(|(_, alert)| alert.phase == phase).collect()
    };
    let labels = |alerts: &[(&String, &Alert)]| -> Vec<Labels> {
        alerts.iter().map(|(_, alert)| alert.labels.clone()).collect()
    };
    let (firing, pending) = (of(Phase::Firing), of(Phase::Pending));
    let both = [labels(&firing), labels(&pending)];
    let of_firing = mutes.of(&both[0], now_ms);
    let alone = Mutes { inhibitions: Vec::new(), ..mutes.clone() };
    let of_pending = alone.of(&both[1], now_ms);
    let open = firing.into_iter().zip(of_firing).chain(pending.into_iter().zip(of_pending));
    let open = open.map(|((id, alert), muted)| Known { rule: id.clone(), alert: alert.clone(), muted });
    let ended = records.iter().flat_map(|(id, record)| {
        record.ended.iter().map(|alert| Known { rule: id.clone(), alert: alert.clone(), muted: None })
    });
    open.chain(ended).collect()
}

#[cfg(test)]
mod tests {
    use dwcp_telemetry::alerting::{Context, Inhibition, Silence};
    use dwcp_telemetry::rules::{QuerySample, Rule, read};

    use super::*;

    fn record(alert: &str, timing: &str, region: &str) -> (String, RuleRecord) {
        let text = format!(
            "groups: [{{name: g, rules: [{{alert: {alert}, expr: up, {timing} labels: {{severity: P2}}}}]}}]"
        );
        let file = read(&text, &|_| Ok(())).expect("a rule file");
        let Some(Rule::Alerting(rule)) = file.groups[0].rules.first() else { panic!("a rule") };
        let mut record = RuleRecord::default();
        let (external, query) = (Labels::default(), |_: &str| Err("no engine".to_owned()));
        let found = [QuerySample { labels: Labels::new([("region", region)]), value: 1.0 }];
        for (now_ms, found) in [(0, &found[..]), (1, &[]), (2, &found)] {
            let unseen = Default::default();
            let context = Context { external: &external, query: &query, limit: 0, unseen: &unseen, now_ms };
            let changes = record.state.evaluate(rule, Ok(found), &context).changes;
            record.take(&changes, now_ms);
        }
        (format!("g/{alert}"), record)
    }

    #[test]
    fn each_alert_says_where_it_stands_and_why_nobody_is_told() {
        let records =
            [record("RegionDown", "", "eu"), record("Hot", "", "eu"), record("Slow", "for: 1m,", "eu")];
        let mut mutes = Mutes { inhibitions: vec![Inhibition::by_dead_region()], ..Mutes::default() };
        let stand = |mutes: &Mutes| -> Vec<(String, Phase, Option<Muted>)> {
            let all = known(&records, mutes, 10);
            all.into_iter().map(|one| (one.alert.name().to_owned(), one.alert.phase, one.muted)).collect()
        };
        let down = fingerprint(&records[0].1.state.alerts()[0].labels);
        let owned = |name: &str, phase, muted| (name.to_owned(), phase, muted);
        assert_eq!(
            stand(&mutes),
            [
                owned("RegionDown", Phase::Firing, None),
                owned("Hot", Phase::Firing, Some(Muted::Inhibited(down))),
                owned("Slow", Phase::Pending, None),
                owned("RegionDown", Phase::Resolved, None),
                owned("Hot", Phase::Resolved, None),
            ]
        );
        let silence = Silence {
            conditions: "alertname=\"Slow\"".parse().expect("conditions"),
            from_ms: 0,
            until_ms: 20,
            who: "ann".into(),
            comment: "known".into(),
        };
        mutes.silences.keep("s1", silence);
        assert_eq!(stand(&mutes)[2].2, Some(Muted::Silenced(vec!["s1".into()])));
    }
}
