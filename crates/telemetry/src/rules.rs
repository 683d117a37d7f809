//! Rule files in the format of Prometheus (*Recording rules*, *Alerting rules*): read, and refused with every error at once.
//!
//! What Prometheus would only find while it evaluates is found here when a file is read: expressions go through the check that the
//! caller gives, templates are checked with the types of what they use, and two rules that would write the same series are refused.

mod duration;
mod place;
mod read;
mod recorded;
mod shipped;
mod template;

use std::sync::Arc;

use crate::model::Labels;

pub use duration::duration_ms;
pub use read::read;
pub use recorded::Recorded;
pub use shipped::{SHIPPED, capacity};
pub use template::{QuerySample, Scope, Template, TemplateError};

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    /// In the order of the file, each name once.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated one after the other, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub name: String,
    /// How often, ms; `None`: as often as the one who evaluates does by default.
    pub interval_ms: Option<u64>,
    /// More series or alerts than this make an evaluation fail; 0: as many as there are.
    pub limit: usize,
    /// Evaluated so far in the past, ms, so that what arrives late is there.
    pub query_offset_ms: u64,
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub enum Rule {
    Recording(Recording),
    Alerting(Box<Alerting>),
}

/// A rule that writes what its expression gives under another name.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The metric that is written.
    pub record: String,
    pub expr: String,
    /// Added to every series, those of its group among them; an empty one takes the label away.
    pub labels: Vec<(String, String)>,
}

/// A rule of which every result of its expression is an alert.
#[derive(Clone, Debug)]
pub struct Alerting {
    pub alert: String,
    pub expr: String,
    /// An alert fires once its expression gave it for so long, ms.
    pub for_ms: u64,
    /// And until its expression has not given it for so long, ms.
    pub keep_firing_for_ms: u64,
    /// Added to every alert, those of its group among them.
    pub labels: Vec<(String, Template)>,
    pub annotations: Vec<(String, Template)>,
}

/// Why a rule's expression is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExprError {
    /// Where in the expression, in bytes from 0; 0 when that is not known.
    pub offset: usize,
    pub message: String,
}

/// Says whether a text is an expression that can be evaluated.
pub type CheckExpr<'a> = &'a dyn Fn(&str) -> Result<(), ExprError>;

impl Recording {
    /// The series that a result is written to.
    pub fn series(&self, of: &Labels) -> Labels {
        let owned = |(name, value): (&str, &str)| (Arc::<str>::from(name), Arc::<str>::from(value));
        let added = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let name = (crate::model::NAME, self.record.as_str());
        Labels::new(of.iter().chain(added).chain([name]).map(owned))
    }
}

#[cfg(test)]
mod tests;
