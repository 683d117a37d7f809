//! A rule file's text to rules.

use std::collections::BTreeMap;

use dwcp_config::spelling::nearest;
use dwcp_config::tree::{self, Key, Node, Value};
use dwcp_config::{Complaint, Complaints};

use super::place::{Place, place_of, plain_scalar};
use super::{Alerting, CheckExpr, Group, Recording, Rule, RuleFile, Template, duration_ms};

/// Reads a rule file.
///
/// # Errors
/// Everything that is wrong with it, each with line and column: YAML, unknown and missing keys, durations, names of metrics and
/// labels, expressions (by `check`), templates, groups of one name, and rules that would write the same series.
pub fn read(text: &str, check: CheckExpr<'_>) -> Result<RuleFile, Complaints> {
    let root = tree::parse(text)?;
    let mut reader = Reader { text, check, complaints: Vec::new(), rules: BTreeMap::new() };
    let groups = reader.file(&root);
    let mut complaints = reader.complaints;
    complaints.sort();
    complaints.dedup();
    if complaints.is_empty() { Ok(RuleFile { groups }) } else { Err(Complaints(complaints)) }
}

struct Reader<'a> {
    text: &'a str,
    check: CheckExpr<'a>,
    complaints: Vec<Complaint>,
    /// What each rule writes, and the line it stands on.
    rules: BTreeMap<Written, u64>,
}

/// Whether it is an alert, its name, its labels.
type Written = (bool, String, Vec<(String, String)>);

/// A scalar of the file.
#[derive(Clone)]
struct Scalar {
    text: String,
    place: Place,
    path: String,
}

type Entries<'n> = &'n [(Key, Node)];

const GROUP_KEYS: [&str; 6] = ["name", "interval", "limit", "query_offset", "labels", "rules"];
const RECORDING_KEYS: [&str; 3] = ["record", "expr", "labels"];
const ALERTING_KEYS: [&str; 6] = ["alert", "expr", "for", "keep_firing_for", "labels", "annotations"];

impl<'a> Reader<'a> {
    fn complain(&mut self, place: Place, path: &str, message: impl Into<String>) {
        let (line, column) = (place.line, place.column);
        self.complaints.push(Complaint { line, column, path: path.to_owned(), message: message.into() });
    }

    fn file(&mut self, root: &Node) -> Vec<Group> {
        let entries = self.entries(root, "", &["groups"]);
        let Some(list) = find(entries, "groups") else {
            return Vec::new();
        };
        let mut groups: Vec<Group> = Vec::new();
        for (index, node) in self.list(list, "groups").iter().enumerate() {
            let path = format!("groups[{index}]");
            let group = self.group(node, &path);
            if !group.name.is_empty() && groups.iter().any(|other| other.name == group.name) {
                let message = format!("a second group '{}'; each name once", group.name);
                self.complain(place(node), &path, message);
            }
            groups.push(group);
        }
        groups
    }

    fn group(&mut self, node: &Node, path: &str) -> Group {
        let entries = self.entries(node, path, &GROUP_KEYS);
        let name = self.needed(node, entries, path, "name").map(|name| name.text).unwrap_or_default();
        let labels = self.labels(entries, path, false);
        let limit = self.scalar(entries, path, "limit").map(|limit| {
            limit.text.parse().unwrap_or_else(|_| {
                let message = format!("'{}' is not a whole number from 0", limit.text);
                self.complain(limit.place, &limit.path, message);
                0
            })
        });
        let interval_ms = self.duration(entries, path, "interval");
        if interval_ms == Some(0) {
            if let Some(node) = find(entries, "interval") {
                self.complain(place(node), &format!("{path}.interval"), "an interval is longer than 0");
            }
        }
        let query_offset_ms = self.duration(entries, path, "query_offset").unwrap_or(0);
        let mut rules = Vec::new();
        if let Some(list) = find(entries, "rules") {
            let path = format!("{path}.rules");
            for (index, node) in self.list(list, &path).iter().enumerate() {
                rules.extend(self.rule(node, &format!("{path}[{index}]"), &labels));
            }
        }
        Group { name, interval_ms, limit: limit.unwrap_or(0), query_offset_ms, rules }
    }

    fn rule(&mut self, node: &Node, path: &str, of_group: &[(String, Scalar)]) -> Option<Rule> {
        let Value::Map(entries) = &node.value else {
            self.entries(node, path, &[]);
            return None;
        };
        let (records, alerts) = (find(entries, "record").is_some(), find(entries, "alert").is_some());
        match (records, alerts) {
            (true, false) => self.recording(node, path, of_group),
            (false, true) => self.alerting(node, path, of_group),
            (true, true) => {
                self.complain(place(node), path, "a rule has 'record' or 'alert', not both");
                None
            }
            (false, false) => {
                self.complain(place(node), path, "a rule needs 'record' or 'alert'");
                None
            }
        }
    }

    fn recording(&mut self, node: &Node, path: &str, of_group: &[(String, Scalar)]) -> Option<Rule> {
        let entries = self.entries(node, path, &RECORDING_KEYS);
        let record = self.needed(node, entries, path, "record");
        if let Some(name) = &record {
            if !is_metric_name(&name.text) {
                let message =
                    format!("'{}' is not the name of a metric: letters, digits, _ and :", name.text);
                self.complain(name.place, &name.path, message);
            }
        }
        let expr = self.expr(node, entries, path);
        let own = self.labels(entries, path, false);
        let labels = merged(of_group, &own);
        let record = record?;
        self.once(place(node), path, false, &record.text, &labels);
        Some(Rule::Recording(Recording { record: record.text, expr: expr?, labels }))
    }

    fn alerting(&mut self, node: &Node, path: &str, of_group: &[(String, Scalar)]) -> Option<Rule> {
        let entries = self.entries(node, path, &ALERTING_KEYS);
        let alert = self.needed(node, entries, path, "alert");
        let expr = self.expr(node, entries, path);
        let for_ms = self.duration(entries, path, "for").unwrap_or(0);
        let keep_firing_for_ms = self.duration(entries, path, "keep_firing_for").unwrap_or(0);
        let own = self.labels(entries, path, true);
        let texts = merged(of_group, &own);
        let annotations = self.texts(entries, path, "annotations");
        let annotations = self.templates(&annotations);
        let mut labels = self.templates(&own);
        for (name, value) in of_group {
            if !labels.iter().any(|(known, _)| known == name) {
                labels.extend(self.templates(&[(name.clone(), value.clone())]));
            }
        }
        let alert = alert?;
        self.once(place(node), path, true, &alert.text, &texts);
        let alert = alert.text;
        let expr = expr?;
        let rule = Alerting { alert, expr, for_ms, keep_firing_for_ms, labels, annotations };
        Some(Rule::Alerting(Box::new(rule)))
    }

    /// Complains about a rule that would write what another one writes.
    fn once(&mut self, at: Place, path: &str, alerts: bool, name: &str, labels: &[(String, String)]) {
        let key = (alerts, name.to_owned(), labels.to_vec());
        match self.rules.get(&key) {
            Some(line) => {
                let kind = if alerts { "alert" } else { "record" };
                let message = format!("{kind} '{name}' with these labels is already there, on line {line}");
                self.complain(at, path, message);
            }
            None => drop(self.rules.insert(key, at.line)),
        }
    }

    fn expr(&mut self, node: &Node, entries: Entries<'_>, path: &str) -> Option<String> {
        let expr = self.needed(node, entries, path, "expr")?;
        if let Err(error) = (self.check)(&expr.text) {
            let at = place_of(self.text, expr.place, &expr.text, error.offset);
            self.complain(at, &expr.path, error.message);
        }
        Some(expr.text)
    }

    fn templates(&mut self, texts: &[(String, Scalar)]) -> Vec<(String, Template)> {
        let mut read = Vec::new();
        for (name, scalar) in texts {
            match Template::parse(&scalar.text) {
                Ok(template) => read.push((name.clone(), template)),
                Err(error) => {
                    let at = place_of(self.text, scalar.place, &scalar.text, error.offset);
                    self.complain(at, &scalar.path, error.message);
                }
            }
        }
        read
    }

    /// Labels with names that may be given, in the order of their names.
    fn labels(&mut self, entries: Entries<'_>, path: &str, alerts: bool) -> Vec<(String, Scalar)> {
        let mut labels = self.texts(entries, path, "labels");
        labels.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, value) in &labels {
            let taken =
                name == crate::model::NAME || (alerts && (name == "alertname" || name == "alertstate"));
            if taken {
                self.complain(value.place, &value.path, format!("the label '{name}' is not a rule's to set"));
            }
        }
        labels
    }

    /// A mapping from label names to texts.
    fn texts(&mut self, entries: Entries<'_>, path: &str, name: &'static str) -> Vec<(String, Scalar)> {
        let Some(node) = find(entries, name) else { return Vec::new() };
        let path = format!("{path}.{name}");
        let Value::Map(entries) = &node.value else {
            let message = format!("a mapping is needed here, not {}", node.value.kind());
            self.complain(place(node), &path, message);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (key, node) in entries {
            let path = format!("{path}.{}", key.name);
            if !is_label_name(&key.name) {
                let at = Place { line: key.line, column: key.column };
                let message = format!("'{}' is not the name of a label: letters, digits and _", key.name);
                self.complain(at, &path, message);
            }
            texts.extend(self.text(node, &path).map(|text| (key.name.clone(), text)));
        }
        texts
    }

    fn duration(&mut self, entries: Entries<'_>, path: &str, name: &'static str) -> Option<u64> {
        let scalar = self.scalar(entries, path, name)?;
        let read = duration_ms(&scalar.text);
        read.map_err(|message| self.complain(scalar.place, &scalar.path, message)).ok()
    }

    /// A scalar that must be there, and not be empty.
    fn needed(
        &mut self,
        node: &Node,
        entries: Entries<'_>,
        path: &str,
        name: &'static str,
    ) -> Option<Scalar> {
        if find(entries, name).is_none() {
            if matches!(node.value, Value::Map(_)) {
                self.complain(place(node), path, format!("'{name}' is missing"));
            }
            return None;
        }
        let scalar = self.scalar(entries, path, name)?;
        if scalar.text.trim().is_empty() {
            self.complain(scalar.place, &scalar.path, "must not be empty");
            return None;
        }
        Some(scalar)
    }

    fn scalar(&mut self, entries: Entries<'_>, path: &str, name: &'static str) -> Option<Scalar> {
        let node = find(entries, name)?;
        self.text(node, &format!("{path}.{name}"))
    }

    /// A scalar as it is written: `1.0` is the text `1.0`.
    fn text(&mut self, node: &Node, path: &str) -> Option<Scalar> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Null => String::new(),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => plain_scalar(self.text, place(node)),
            other @ (Value::List(_) | Value::Map(_)) => {
                let message = format!("a single value is needed here, not {}", other.kind());
                self.complain(place(node), path, message);
                return None;
            }
        };
        Some(Scalar { text, place: place(node), path: path.to_owned() })
    }

    fn list<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            other => {
                self.complain(place(node), path, format!("a list is needed here, not {}", other.kind()));
                &[]
            }
        }
    }

    /// The entries of a mapping, with a complaint about every key that is not known.
    fn entries<'n>(&mut self, node: &'n Node, path: &str, known: &[&'static str]) -> Entries<'n> {
        let Value::Map(entries) = &node.value else {
            self.complain(place(node), path, format!("a mapping is needed here, not {}", node.value.kind()));
            return &[];
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let hint = match nearest(&key.name, known.iter().copied()) {
                Some(word) => format!("did you mean '{word}'?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let at = Place { line: key.line, column: key.column };
            self.complain(at, path, format!("unknown key '{}'; {hint}", key.name));
        }
        entries
    }
}

fn place(node: &Node) -> Place {
    Place { line: node.line, column: node.column }
}

fn find<'n>(entries: Entries<'n>, name: &str) -> Option<&'n Node> {
    entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
}

/// Labels of a rule with those of its group that it does not set itself.
fn merged(of_group: &[(String, Scalar)], own: &[(String, Scalar)]) -> Vec<(String, String)> {
    let all = of_group.iter().chain(own).map(|(name, value)| (name.clone(), value.text.clone()));
    all.collect::<BTreeMap<String, String>>().into_iter().collect()
}

fn is_label_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_metric_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}
