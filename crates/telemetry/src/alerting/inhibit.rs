//! Alerts that are not told while another one says why they are there.

use std::collections::BTreeMap;

use crate::model::Labels;

use super::{ALERTNAME, Condition, Conditions, Fingerprint, REGION, REGION_DOWN, SEVERITY, fingerprint};

/// While an alert of `source` fires, those of `target` that agree with it in the labels `equal` are not told.
#[derive(Clone, Debug, PartialEq)]
pub struct Inhibition {
    pub source: Conditions,
    pub target: Conditions,
    /// A label that both do not have counts as equal.
    pub equal: Vec<String>,
}

impl Inhibition {
    /// A region that is gone explains everything else in it, save what is of the gravest kind.
    pub fn by_dead_region() -> Inhibition {
        let read = |text: &str| text.parse().unwrap_or_default();
        Inhibition {
            source: Conditions(vec![Condition::equal(ALERTNAME, REGION_DOWN)]),
            target: read(&format!("{REGION}!=\"\", {SEVERITY}!=\"P0\"")),
            equal: vec![REGION.to_owned()],
        }
    }

    /// Of two alerts with one label `cause` about the same thing, the graver one explains the other: a critical threshold its warning.
    pub fn by_graver() -> [Inhibition; 3] {
        let read = |text: &str| text.parse().unwrap_or_default();
        [("P0", "P[123]"), ("P1", "P[23]"), ("P2", "P3")].map(|(graver, others)| Inhibition {
            source: read(&format!("cause!=\"\", {SEVERITY}=\"{graver}\"")),
            target: read(&format!("cause!=\"\", {SEVERITY}=~\"{others}\"")),
            equal: ABOUT.map(str::to_owned).to_vec(),
        })
    }
}

/// The labels that say what an alert is about.
const ABOUT: [&str; 10] =
    ["cause", REGION, "host", "vm", "component", "source", "target", "sla", "group", "tenant"];

/// The inhibitions and the alerts that fire, made ready for many questions.
pub(super) struct Inhibitor<'a> {
    rules: Vec<(&'a Inhibition, Sources<'a>)>,
}

/// The alerts that inhibit, by the values of the labels that must be equal.
type Sources<'a> = BTreeMap<Vec<&'a str>, Vec<&'a Labels>>;

impl<'a> Inhibitor<'a> {
    pub fn new(rules: &'a [Inhibition], firing: &'a [Labels]) -> Inhibitor<'a> {
        let with_sources = rules.iter().map(|rule| {
            let mut sources = Sources::new();
            for labels in firing.iter().filter(|labels| rule.source.hold(labels)) {
                sources.entry(equal(rule, labels)).or_default().push(labels);
            }
            (rule, sources)
        });
        Inhibitor { rules: with_sources.collect() }
    }

    /// The alert that explains this one. Two that are both source and target of a rule do not silence each other.
    pub fn of(&self, labels: &'a Labels) -> Option<Fingerprint> {
        self.rules.iter().find_map(|(rule, sources)| {
            if !rule.target.hold(labels) {
                return None;
            }
            let both = rule.source.hold(labels);
            let source = sources
                .get(&equal(rule, labels))?
                .iter()
                .find(|source| **source != labels && !(both && rule.target.hold(source)))?;
            Some(fingerprint(source))
        })
    }
}

fn equal<'a>(rule: &'a Inhibition, labels: &'a Labels) -> Vec<&'a str> {
    rule.equal.iter().map(|name| labels.get(name)).collect()
}
