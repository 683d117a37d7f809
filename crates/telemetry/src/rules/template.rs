//! Texts with actions between `{{` and `}}`: the part of Go's text/template that alert rules use, as Prometheus documents it
//! (*Template reference*).
//!
//! A template is read and checked once. What is not supported is refused then, with its position: names of fields and functions,
//! the number and the types of arguments, formats and patterns.

mod eval;
mod functions;
mod lex;
mod number;
mod parse;
mod printf;
mod value;

use crate::model::Labels;

pub use value::QuerySample;

/// Longest template, in bytes.
const LENGTH_MAX: usize = 16 << 10;

/// A template that was understood.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    nodes: Vec<parse::Node>,
}

/// Why a template is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Where in the template, in bytes from 0.
    pub offset: usize,
    pub message: String,
}

impl TemplateError {
    fn new(offset: usize, message: impl Into<String>) -> TemplateError {
        TemplateError { offset, message: message.into() }
    }
}

/// What a template is expanded with.
pub struct Scope<'a> {
    /// `$labels`: those of the result that the alert is made of.
    pub labels: &'a Labels,
    /// `$externalLabels`: those of whoever evaluates.
    pub external: &'a Labels,
    /// `$value`
    pub value: f64,
    /// Answers `query "…"` at the moment of the evaluation.
    pub query: &'a dyn Fn(&str) -> Result<Vec<QuerySample>, String>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The first thing that is wrong or not supported.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        if text.len() > LENGTH_MAX {
            let message = format!("{} bytes are more than the {LENGTH_MAX} of a template", text.len());
            return Err(TemplateError::new(0, message));
        }
        parse::parse(text).map(|nodes| Template { text: text.to_owned(), nodes })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text for one alert.
    ///
    /// # Errors
    /// Something that shows only now: `first` of a query without a result, a text that is no number, a text that grows too long.
    pub fn expand(&self, scope: &Scope<'_>) -> Result<String, String> {
        eval::expand(&self.nodes, scope)
    }
}

#[cfg(test)]
mod tests;
