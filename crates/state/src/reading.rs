//! Pieces of facts in words, for people: fields by their path, sorted, and what differs between two of them.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// Fields that nobody is shown.
const HIDDEN: [&str; 1] = ["secret_hash"];

/// A piece in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Its name, where it has one of its own.
    pub title: String,
    /// Its fields by their path, such as `observed.phase`.
    pub fields: BTreeMap<String, String>,
}

/// A field that differs: its path, what it is in the first and in the second reading.
pub type FieldChange = (String, Option<String>, Option<String>);

impl Reading {
    /// Reads what `{:#?}` writes of a value: a line each field, indented below what it belongs to.
    pub(crate) fn of(value: &impl Debug) -> Reading {
        let text = format!("{value:#?}");
        let mut fields = BTreeMap::new();
        // The path so far: the part of each line that opened something, and how many nameless things are in it.
        let mut path: Vec<(String, usize)> = vec![(String::new(), 0)];
        for line in text.lines() {
            let line = line.trim().trim_end_matches(',');
            if matches!(line, "}" | ")" | "]") {
                path.pop();
                continue;
            }
            let (name, value) = match line.split_once(": ") {
                Some((name, value)) if !name.ends_with(['(', '{', '[']) => (name.trim_matches('"'), value),
                _ => ("", line),
            };
            let opens = value.ends_with(['{', '(', '[']);
            let part = match name {
                "" if opens && path.len() == 1 => String::new(),
                // `Some(` and the like only wrap what is in them.
                "" if opens && value.len() > 1 => value[..value.len() - 1].trim().to_lowercase(),
                "" => {
                    let nth = path.last_mut().map_or(0, |(_, count)| std::mem::replace(count, *count + 1));
                    nth.to_string()
                }
                name => name.to_owned(),
            };
            if opens {
                path.push((part, 0));
                continue;
            }
            if HIDDEN.contains(&name) {
                continue;
            }
            let parts = path.iter().map(|(part, _)| part.as_str()).chain([part.as_str()]);
            let whole: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            fields.insert(whole.join("."), value.trim_matches('"').to_owned());
        }
        Reading { title: fields.get("name").cloned().unwrap_or_default(), fields }
    }

    /// What differs in another reading, sorted by path.
    pub fn changes(&self, other: &Reading) -> Vec<FieldChange> {
        let mut paths: Vec<&String> = self.fields.keys().chain(other.fields.keys()).collect();
        paths.sort();
        paths.dedup();
        let change = |path: &String| {
            let (one, two) = (self.fields.get(path).cloned(), other.fields.get(path).cloned());
            (one != two).then(|| (path.clone(), one, two))
        };
        paths.into_iter().filter_map(change).collect()
    }
}
