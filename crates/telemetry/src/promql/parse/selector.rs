//! Selectors, ranges, and which moment is meant.

use super::{Parsed, Parser};
use crate::model::{Matcher, labels};
use crate::promql::ast::{At, Condition, Expr, Kind, Moment, Selector, Type};
use crate::promql::lex::{Span, Word, read_duration};

impl Parser<'_> {
    /// The conditions behind a metric's name, if any; or all of a selector that has no name before its braces.
    pub(super) fn selector(&mut self, name: Option<(String, Span)>) -> Parsed<Expr> {
        let from = name.as_ref().map_or(self.span(), |(_, span)| *span);
        let mut name = name.map(|(name, _)| name);
        let mut conditions = Vec::new();
        if self.take_sign("{") {
            while !self.take_sign("}") {
                let span = self.span();
                match self.condition()? {
                    Ok(condition) if condition.label == labels::NAME && name.is_some() => {
                        return Err(self.error(span, "the metric's name may not be set twice"));
                    }
                    Ok(condition) => conditions.push(condition),
                    Err(_) if name.is_some() => {
                        return Err(self.error(span, "the metric's name may not be set twice"));
                    }
                    Err(quoted) => name = Some(quoted),
                }
                if !self.take_sign(",") && !self.at_sign("}") {
                    return Err(self.unexpected("\",\" or \"}\""));
                }
            }
        }
        let span = from.through(self.last_end());
        let mut matchers: Vec<Matcher> = name.iter().map(|name| Matcher::equal(labels::NAME, name)).collect();
        for condition in &conditions {
            matchers.push(self.matcher(condition, span)?);
        }
        if matchers.iter().all(|matcher| matcher.holds("")) {
            return Err(self
                .error(span, "a selector needs at least one condition that the empty value does not meet"));
        }
        let selector = Selector { name, conditions, matchers, moment: Moment::default() };
        self.node(Kind::Vector(selector), span)
    }

    /// `label op "value"`; or, as `Err`, a metric's name in quotes.
    fn condition(&mut self) -> Parsed<Result<Condition, String>> {
        let label = match self.peek().clone() {
            Word::Name(name) if !name.contains(':') => name,
            // `inf` and `nan` are names of labels too.
            Word::Number(_) if self.written().bytes().all(|b| b.is_ascii_alphabetic()) => {
                self.written().to_owned()
            }
            Word::Text(name) if !name.is_empty() => {
                if matches!(self.peek_second(), Word::Sign("," | "}")) {
                    self.take();
                    return Ok(Err(name));
                }
                name
            }
            _ => return Err(self.unexpected("a label's name or \"}\"")),
        };
        self.take();
        let op = match self.peek() {
            Word::Sign(op @ ("=" | "!=" | "=~" | "!~")) => *op,
            _ => return Err(self.unexpected("one of =, !=, =~, !~")),
        };
        self.take();
        let Word::Text(value) = self.peek().clone() else { return Err(self.unexpected("a value in quotes")) };
        self.take();
        Ok(Ok(Condition { label, op, value }))
    }

    fn matcher(&self, condition: &Condition, span: Span) -> Parsed<Matcher> {
        let Condition { label, op, value } = condition;
        let regex = |not| {
            Matcher::regex(label, value, not)
                .map_err(|error| self.error(span, format!("{value:?} is no regular expression: {error}")))
        };
        match *op {
            "=" => Ok(Matcher::equal(label, value)),
            "!=" => Ok(Matcher::not_equal(label, value)),
            "=~" => regex(false),
            _ => regex(true),
        }
    }

    /// `[range]` or `[range:step]` behind an expression.
    pub(super) fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.expect_sign("[")?;
        let range_ms = self.positive_duration("a range")?;
        if !self.take_sign(":") {
            let end = self.expect_sign("]")?;
            let span = expr.span.through(end);
            let Kind::Vector(selector) = expr.kind else {
                return Err(self.error(
                    open,
                    "a range may only stand behind a selector; a subquery is written [range:step]",
                ));
            };
            if selector.moment != Moment::default() {
                return Err(self.error(open, "offset and @ stand behind the range"));
            }
            return self.node(Kind::Matrix { selector, range_ms }, span);
        }
        let step_ms =
            if self.at_sign("]") { None } else { Some(self.positive_duration("a subquery's step")?) };
        let end = self.expect_sign("]")?;
        let span = expr.span.through(end);
        if expr.kind_type() != Type::Vector {
            let message = format!("a subquery needs an instant vector, not a {}", expr.kind_type());
            return Err(self.error(expr.span, message));
        }
        let moment = Moment::default();
        self.node(Kind::Subquery { inner: Box::new(expr), range_ms, step_ms, moment }, span)
    }

    fn positive_duration(&mut self, what: &str) -> Parsed<i64> {
        let span = self.span();
        let ms = self.duration(what)?;
        if ms <= 0 {
            return Err(self.error(span, format!("{what} must be longer than 0")));
        }
        Ok(ms)
    }

    /// A duration, or a number of seconds, ms.
    fn duration(&mut self, what: &str) -> Parsed<i64> {
        let span = self.span();
        let ms = match *self.peek() {
            Word::Duration(ms) => ms,
            Word::Number(seconds) => {
                let ms = seconds * 1000.0;
                if !ms.is_finite() || ms.abs() > (i64::MAX / 1_000_000) as f64 {
                    return Err(self.error(span, "too long a duration"));
                }
                ms.round() as i64
            }
            // What looks like a name is most often a unit without its number.
            _ if read_duration(self.written()).is_err() => {
                return Err(self.unexpected(&format!("a duration such as 5m for {what}")));
            }
            _ => return Err(self.unexpected("a duration")),
        };
        self.take();
        Ok(ms)
    }

    pub(super) fn signed_duration(&mut self, what: &str) -> Parsed<i64> {
        let negative = self.at_sign("-");
        if negative || self.at_sign("+") {
            self.take();
        }
        let ms = self.duration(what)?;
        Ok(if negative { -ms } else { ms })
    }

    /// What stands behind `@`: seconds since 1970, or `start()` or `end()`.
    pub(super) fn at_value(&mut self) -> Parsed<At> {
        for (name, at) in [("start", At::Start), ("end", At::End)] {
            if self.take_keyword(name) {
                self.expect_sign("(")?;
                self.expect_sign(")")?;
                return Ok(at);
            }
        }
        let negative = self.at_sign("-");
        if negative || self.at_sign("+") {
            self.take();
        }
        let span = self.span();
        let seconds = match *self.peek() {
            Word::Number(seconds) => seconds,
            Word::Duration(ms) => ms as f64 / 1000.0,
            _ => return Err(self.unexpected("a number of seconds since 1970, start() or end() for @")),
        };
        self.take();
        // As far as time reaches with room for offsets and ranges.
        let ms = (if negative { -seconds } else { seconds } * 1000.0).round();
        if !ms.is_finite() || ms.abs() > (i64::MAX / 1000) as f64 {
            return Err(self.error(span, "the moment for @ is out of range"));
        }
        Ok(At::Ms(ms as i64))
    }
}
