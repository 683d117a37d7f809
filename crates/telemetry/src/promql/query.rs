//! Expressions that were read, and what can be said of them without evaluating them.

use super::ast::{At, Expr, Kind, Moment, Type};
use super::{Engine, ParseError, parse, print};
use crate::model::Matcher;

pub use super::lex::Span;

/// An expression that was read and checked.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    expr: Expr,
}

/// A selector of an expression and the time it reads.
#[derive(Clone, Debug)]
pub struct Selected {
    pub matchers: Vec<Matcher>,
    /// From here on, ms: the lookback or range taken into account.
    pub start_ms: i64,
    pub end_ms: i64,
    /// The range behind the selector, ms; 0: none.
    pub range_ms: i64,
    /// Where it stands in the text.
    pub span: Span,
}

impl Query {
    /// Reads an expression and checks that its parts fit together.
    ///
    /// # Errors
    /// Where it goes wrong and why.
    pub fn parse(text: &str) -> Result<Query, ParseError> {
        Ok(Query { text: text.to_owned(), expr: parse::parse(text)? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it evaluates to.
    pub fn returns(&self) -> Type {
        self.expr.kind_type()
    }

    /// The same expression in the usual form: long ones over several lines, each level two spaces further in.
    pub fn format(&self) -> String {
        print::pretty(&self.expr)
    }

    /// Its selectors in the order of the text, with the times they read when it is evaluated from one moment to another.
    pub fn selectors(&self, engine: &Engine, start_ms: i64, end_ms: i64) -> Vec<Selected> {
        let mut found = Vec::new();
        let query = (start_ms, end_ms);
        collect(&self.expr, engine, query, query, &mut found);
        found
    }

    pub(super) fn expr(&self) -> &Expr {
        &self.expr
    }
}

/// `query`: where the whole query begins and ends; `seen`: the moments at which this node is evaluated.
fn collect(expr: &Expr, engine: &Engine, query: (i64, i64), seen: (i64, i64), found: &mut Vec<Selected>) {
    let moved = |moment: &Moment| {
        let (start, end) = match moment.at {
            None => seen,
            Some(At::Ms(ms)) => (ms, ms),
            Some(At::Start) => (query.0, query.0),
            Some(At::End) => (query.1, query.1),
        };
        (start.saturating_sub(moment.offset_ms), end.saturating_sub(moment.offset_ms))
    };
    let (selector, range_ms) = match &expr.kind {
        Kind::Vector(selector) => (selector, 0),
        Kind::Matrix { selector, range_ms } => (selector, *range_ms),
        Kind::Subquery { inner, range_ms, moment, .. } => {
            let (start, end) = moved(moment);
            return collect(inner, engine, query, (start.saturating_sub(*range_ms), end), found);
        }
        _ => {
            expr.children().into_iter().for_each(|child| collect(child, engine, query, seen, found));
            return;
        }
    };
    let (start, end) = moved(&selector.moment);
    let back_ms = if range_ms == 0 { engine.lookback_ms } else { range_ms };
    let matchers = selector.matchers.clone();
    found.push(Selected {
        matchers,
        start_ms: start.saturating_sub(back_ms),
        end_ms: end,
        range_ms,
        span: expr.span,
    });
}
