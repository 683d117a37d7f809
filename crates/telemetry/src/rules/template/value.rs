//! What a template computes with, and the types that are known before it runs.

use std::sync::Arc;

use crate::model::Labels;

use super::number;

/// One result of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QuerySample {
    pub labels: Labels,
    pub value: f64,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Float(f64),
    Int(i64),
    Bool(bool),
    Labels(Labels),
    Sample(Arc<QuerySample>),
    Vector(Arc<[Arc<QuerySample>]>),
    /// What a template is given: `.Labels`, `.ExternalLabels`, `.Value`.
    Root,
}

/// The type of a value, as far as it is known before the template runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Text,
    Float,
    Int,
    Bool,
    Labels,
    Sample,
    Vector,
    Root,
}

impl Kind {
    /// For a message: `a text`.
    pub fn show(self) -> &'static str {
        match self {
            Kind::Any => "anything",
            Kind::Text => "a text",
            Kind::Float => "a number with a fraction",
            Kind::Int => "a whole number",
            Kind::Bool => "true or false",
            Kind::Labels => "labels",
            Kind::Sample => "a sample",
            Kind::Vector => "the samples of a query",
            Kind::Root => "everything that a template is given",
        }
    }

    /// Of a value that is one or the other.
    pub fn or(self, other: Kind) -> Kind {
        if self == other { self } else { Kind::Any }
    }

    /// The type of a field.
    pub fn field(self, name: &str) -> Result<Kind, String> {
        match (self, name) {
            (Kind::Any, _) => Ok(Kind::Any),
            (Kind::Labels, _) => Ok(Kind::Text),
            (Kind::Root | Kind::Sample, "Labels") | (Kind::Root, "ExternalLabels") => Ok(Kind::Labels),
            (Kind::Root | Kind::Sample, "Value") => Ok(Kind::Float),
            (Kind::Root, _) => {
                Err(format!("there is no .{name} here; known are .Labels, .ExternalLabels and .Value"))
            }
            (Kind::Sample, _) => Err(format!("a sample has no .{name}, only .Labels and .Value")),
            _ => Err(format!("{} has no .{name}", self.show())),
        }
    }
}

impl Value {
    pub fn kind(&self) -> Kind {
        match self {
            Value::Text(_) => Kind::Text,
            Value::Float(_) => Kind::Float,
            Value::Int(_) => Kind::Int,
            Value::Bool(_) => Kind::Bool,
            Value::Labels(_) => Kind::Labels,
            Value::Sample(_) => Kind::Sample,
            Value::Vector(_) => Kind::Vector,
            Value::Root => Kind::Root,
        }
    }

    /// What `if`, `with`, `and`, `or` and `not` take it for: what is zero or empty is false.
    pub fn holds(&self) -> bool {
        match self {
            Value::Text(text) => !text.is_empty(),
            Value::Float(number) => *number != 0.0,
            Value::Int(number) => *number != 0,
            Value::Bool(flag) => *flag,
            Value::Labels(labels) => !labels.is_empty(),
            Value::Vector(samples) => !samples.is_empty(),
            Value::Sample(_) | Value::Root => true,
        }
    }

    /// As it is printed.
    pub fn print(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Float(number) => number::general(*number, None),
            Value::Int(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Labels(labels) => print_labels(labels),
            Value::Sample(sample) => print_sample(sample),
            Value::Vector(samples) => {
                let all: Vec<String> = samples.iter().map(|sample| print_sample(sample)).collect();
                format!("[{}]", all.join(" "))
            }
            Value::Root => String::new(),
        }
    }
}

fn print_labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", pairs.join(" "))
}

fn print_sample(sample: &QuerySample) -> String {
    format!("{{{} {}}}", print_labels(&sample.labels), number::general(sample.value, None))
}
