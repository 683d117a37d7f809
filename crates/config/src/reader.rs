//! Turns nodes into settings and collects every complaint on the way.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::spelling::nearest;
use crate::tree::{Key, Node, Value};
use crate::{Complaint, Complaints, tree, units};

/// Collects complaints. Reading goes on after each, with a default in place of what was wrong.
#[derive(Debug, Default)]
pub struct Reader {
    complaints: RefCell<Vec<Complaint>>,
}

/// Reads a whole file: parses it, gives its top mapping to `read`, and returns the settings or every complaint.
pub fn read<T>(text: &str, read: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, Complaints> {
    let node = tree::parse(text)?;
    let reader = Reader::default();
    let mut fields = Fields::of(&reader, &node, String::new());
    let settings = read(&mut fields);
    fields.finish();
    let mut complaints = reader.complaints.into_inner();
    complaints.sort();
    if complaints.is_empty() { Ok(settings) } else { Err(Complaints(complaints)) }
}

impl Reader {
    /// Notes a complaint about a node.
    pub fn complain(&self, node: &Node, path: &str, message: impl Into<String>) {
        self.complain_at(node.line, node.column, path, message);
    }

    fn complain_at(&self, line: u64, column: u64, path: &str, message: impl Into<String>) {
        self.complaints.borrow_mut().push(Complaint {
            line,
            column,
            path: path.to_owned(),
            message: message.into(),
        });
    }
}

/// The fields of one mapping. What is not asked for until [`Fields::finish`] is an unknown key.
pub struct Fields<'a> {
    reader: &'a Reader,
    node: &'a Node,
    entries: &'a [(Key, Node)],
    path: String,
    asked: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    fn of(reader: &'a Reader, node: &'a Node, path: String) -> Fields<'a> {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            other => {
                reader.complain(node, &path, format!("a mapping is needed here, not {}", other.kind()));
                &[]
            }
        };
        Fields { reader, node, entries, path, asked: BTreeSet::new() }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Node> {
        self.asked.insert(name);
        let entries = self.entries;
        entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
            .filter(|n| n.value != Value::Null)
    }

    /// True when a field is there and not empty.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, node)| key.name == name && node.value != Value::Null)
    }

    /// Notes that a field is missing.
    fn missing(&self, name: &str) {
        let broken = !matches!(self.node.value, Value::Map(_));
        if !broken {
            self.reader.complain(self.node, &self.path, format!("'{name}' is missing"));
        }
    }

    /// Notes a complaint about a field, or about the mapping when the field is not there.
    pub fn complain(&self, name: &str, message: impl Into<String>) {
        match self.entries.iter().find(|(key, _)| key.name == name) {
            Some((_, node)) => self.reader.complain(node, &self.path_of(name), message),
            None => self.reader.complain(self.node, &self.path_of(name), message),
        }
    }

    /// A field read by `parse`, which sees its text; numbers and booleans count as text.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.get(name)?;
        let parsed = text_of(node).and_then(|text| parse(&text));
        match parsed {
            Ok(value) => Some(value),
            Err(message) => {
                self.reader.complain(node, &self.path_of(name), message);
                None
            }
        }
    }

    /// As [`Fields::optional`]; a missing field is a complaint.
    pub fn required<T: Default>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        if self.get(name).is_none() {
            self.missing(name);
            return T::default();
        }
        self.optional(name, parse).unwrap_or_default()
    }

    /// Text that is there and not empty.
    pub fn text(&mut self, name: &'static str) -> String {
        self.required(name, not_empty)
    }

    /// Text that may be missing, but not empty.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        self.optional(name, not_empty)
    }

    /// true or false; `default` when it is missing.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.optional(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("'{other}' is neither true nor false")),
        })
        .unwrap_or(default)
    }

    /// A whole number within bounds; `default` when it is missing.
    pub fn number(&mut self, name: &'static str, bounds: std::ops::RangeInclusive<u64>, default: u64) -> u64 {
        self.optional(name, |text| match text.parse::<u64>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            _ => Err(format!("'{text}' is not a whole number from {} to {}", bounds.start(), bounds.end())),
        })
        .unwrap_or(default)
    }

    /// A duration in milliseconds within bounds; `default_ms` when it is missing.
    pub fn duration_ms(
        &mut self,
        name: &'static str,
        bounds_ms: std::ops::RangeInclusive<u64>,
        default_ms: u64,
    ) -> u64 {
        self.optional(name, |text| {
            let ms = units::duration_ms(text)?;
            if bounds_ms.contains(&ms) {
                return Ok(ms);
            }
            let (low, high) =
                (units::show_duration(*bounds_ms.start()), units::show_duration(*bounds_ms.end()));
            Err(format!("'{text}' is out of range: from {low} to {high}"))
        })
        .unwrap_or(default_ms)
    }

    /// A list of texts; a single text counts as a list of one. Missing: empty.
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let path = self.path_of(name);
        let Value::List(items) = &node.value else {
            return text_of(node).map(|text| vec![text]).unwrap_or_else(|message| {
                self.reader.complain(node, &path, message);
                Vec::new()
            });
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match text_of(item).and_then(|text| not_empty(&text)) {
                Ok(text) => texts.push(text),
                Err(message) => self.reader.complain(item, &format!("{path}[{index}]"), message),
            }
        }
        texts
    }

    /// A nested mapping; `None` when it is missing.
    pub fn map<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields<'_>) -> T) -> Option<T> {
        let node = self.get(name)?;
        let mut inner = Fields::of(self.reader, node, self.path_of(name));
        let value = read(&mut inner);
        inner.finish();
        Some(value)
    }

    /// A nested mapping that must be there.
    pub fn required_map<T: Default>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        if self.get(name).is_none() {
            self.missing(name);
        }
        self.map(name, read).unwrap_or_default()
    }

    /// A list of mappings. Missing: empty.
    pub fn maps<T>(&mut self, name: &'static str, mut read: impl FnMut(&mut Fields<'_>) -> T) -> Vec<T> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let path = self.path_of(name);
        let Value::List(items) = &node.value else {
            let message = format!("a list is needed here, not {}", node.value.kind());
            self.reader.complain(node, &path, message);
            return Vec::new();
        };
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let mut inner = Fields::of(self.reader, item, format!("{path}[{index}]"));
            values.push(read(&mut inner));
            inner.finish();
        }
        values
    }

    /// A mapping from text to text. Missing: empty.
    pub fn labels(&mut self, name: &'static str) -> std::collections::BTreeMap<String, String> {
        let Some(node) = self.get(name) else { return Default::default() };
        let path = self.path_of(name);
        let Value::Map(entries) = &node.value else {
            self.reader.complain(node, &path, format!("a mapping is needed here, not {}", node.value.kind()));
            return Default::default();
        };
        let mut labels = std::collections::BTreeMap::new();
        for (key, value) in entries {
            match text_of(value) {
                Ok(text) => drop(labels.insert(key.name.clone(), text)),
                Err(message) => self.reader.complain(value, &format!("{path}.{}", key.name), message),
            }
        }
        labels
    }

    /// Complains about every key that was not asked for.
    pub fn finish(&self) {
        for (key, _) in self.entries {
            if self.asked.contains(key.name.as_str()) {
                continue;
            }
            let hint = match nearest(&key.name, self.asked.iter().copied()) {
                Some(word) => format!("; did you mean '{word}'?"),
                None => {
                    let known: Vec<&str> = self.asked.iter().copied().collect();
                    format!("; known here: {}", known.join(", "))
                }
            };
            let message = format!("unknown key '{}'{hint}", key.name);
            self.reader.complain_at(key.line, key.column, &self.path, message);
        }
    }
}

fn text_of(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(format!("a single value is needed here, not {}", other.kind())),
    }
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}
