//! The names of a series, and what is asked of them.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// Label names and values, each name once, in ascending order of names. A label without a value is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Of pairs in any order; the last of one name counts.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        let sorted: std::collections::BTreeMap<Arc<str>, Arc<str>> = pairs.collect();
        Labels(sorted.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a label; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => &self.0[at].1,
            Err(_) => "",
        }
    }

    /// The metric's name; empty when there is none.
    pub fn name(&self) -> &str {
        self.get(NAME)
    }

    /// All of them, in ascending order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Those whose names are to be kept.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Labels {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Labels(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// All of them, one with another value; with an empty value, without it.
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut pairs = self.0.to_vec();
        match (pairs.binary_search_by(|(known, _)| (**known).cmp(name)), value.is_empty()) {
            (Ok(at), true) => drop(pairs.remove(at)),
            (Ok(at), false) => pairs[at].1 = value.into(),
            (Err(_), true) => return self.clone(),
            (Err(at), false) => pairs.insert(at, (name.into(), value.into())),
        }
        Labels(pairs.into())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes it: `name{label="value"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut rest = self.iter().filter(|(name, _)| *name != NAME).peekable();
        if rest.peek().is_none() {
            return if self.name().is_empty() { f.write_str("{}") } else { Ok(()) };
        }
        for (number, (name, value)) in rest.enumerate() {
            f.write_str(if number == 0 { "{" } else { ", " })?;
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// How a label is compared.
#[derive(Clone, Debug)]
pub enum MatchOp {
    Equal(String),
    NotEqual(String),
    /// Anchored at both ends.
    Regex(Regex),
    NotRegex(Regex),
}

/// A condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.to_owned(), op: MatchOp::Equal(value.to_owned()) }
    }

    /// `name!="value"`.
    pub fn not_equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.to_owned(), op: MatchOp::NotEqual(value.to_owned()) }
    }

    /// `name=~"pattern"`, or `name!~"pattern"` when `not`.
    ///
    /// # Errors
    /// The pattern is none.
    pub fn regex(name: &str, pattern: &str, not: bool) -> Result<Matcher, regex::Error> {
        let pattern = Regex::new(&format!("^(?s:{pattern})$"))?;
        let op = if not { MatchOp::NotRegex(pattern) } else { MatchOp::Regex(pattern) };
        Ok(Matcher { name: name.to_owned(), op })
    }

    /// Whether a value of its label fulfils it; a label that is not there has the empty value.
    pub fn holds(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal(wanted) => wanted == value,
            MatchOp::NotEqual(other) => other != value,
            MatchOp::Regex(pattern) => pattern.is_match(value),
            MatchOp::NotRegex(pattern) => !pattern.is_match(value),
        }
    }

    /// Whether a series fulfils it.
    pub fn holds_for(&self, labels: &Labels) -> bool {
        self.holds(labels.get(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_once_each_and_without_empty_ones() {
        let labels = Labels::new([("b", "1"), ("a", "x"), ("b", "2"), ("gone", ""), (NAME, "up")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [(NAME, "up"), ("a", "x"), ("b", "2")]);
        assert_eq!((labels.get("b"), labels.get("gone"), labels.name()), ("2", "", "up"));
        assert_eq!(labels.to_string(), r#"up{a="x", b="2"}"#);
        assert_eq!(Labels::default().to_string(), "{}");
    }

    #[test]
    fn labels_are_taken_away_and_put_in_their_place() {
        let labels = Labels::new([("a", "1"), ("c", "3")]);
        assert_eq!(labels.filtered(|name| name == "c").to_string(), r#"{c="3"}"#);
        assert_eq!(labels.with("b", "2").to_string(), r#"{a="1", b="2", c="3"}"#);
        assert_eq!(labels.with("a", "").with("c", "4").with("d", "").to_string(), r#"{c="4"}"#);
    }

    #[test]
    fn patterns_are_anchored_and_a_missing_label_is_empty() {
        let labels = Labels::new([("region", "eu-west-1")]);
        let regex =
            |pattern, not| Matcher::regex("region", pattern, not).expect("a pattern").holds_for(&labels);
        assert!(regex("eu-.*", false) && !regex("eu", false) && regex("eu|us", true));
        assert!(Matcher::equal("zone", "").holds_for(&labels));
        assert!(Matcher::regex("zone", "a*", false).expect("a pattern").holds_for(&labels));
    }
}
