//! From words to a tree.
//!
//! By hand, with precedence climbing: every error says where it is, and every node of the tree knows where it stands.

mod selector;

use super::ParseError;
use super::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Expr, Group, Kind, Matching, Moment};
use super::check;
use super::functions;
use super::lex::{Span, Token, Word, lex};

/// Deeper trees are refused: evaluation and clean-up go down them.
pub const DEPTH_MAX: usize = 128;

/// How strongly `^` binds; a sign before an expression binds weaker than this and stronger than everything else.
const POWER: u8 = 6;

/// The tree of an expression, its types checked.
///
/// # Errors
/// It is no expression, or means nothing; with the place where that shows.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { text, tokens: lex(text)?, next: 0, depth: 0 };
    if parser.peek() == &Word::End {
        return Err(parser.error_here("no expression found"));
    }
    let expr = parser.expression(0)?;
    if parser.peek() != &Word::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    Ok(expr)
}

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    /// How many expressions are open.
    depth: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl Parser<'_> {
    fn peek(&self) -> &Word {
        &self.tokens[self.next].word
    }

    fn peek_second(&self) -> &Word {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].word
    }

    fn span(&self) -> Span {
        self.tokens[self.next].span
    }

    /// Where the word before the next one ends.
    fn last_end(&self) -> Span {
        self.tokens[self.next.saturating_sub(1)].span
    }

    /// Takes the next word; the end stays.
    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn at_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Word::Sign(found) if *found == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.at_sign(sign);
        if found {
            self.take();
        }
        found
    }

    fn expect_sign(&mut self, sign: &str) -> Parsed<Span> {
        let span = self.span();
        if self.take_sign(sign) { Ok(span) } else { Err(self.unexpected(&format!("{sign:?}"))) }
    }

    /// Whether the next word is this keyword, in any case.
    fn at_keyword(&self, keyword: &str) -> bool {
        matches!(self.peek(), Word::Name(name) if name.eq_ignore_ascii_case(keyword))
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.at_keyword(keyword);
        if found {
            self.take();
        }
        found
    }

    fn error(&self, span: Span, message: impl Into<String>) -> ParseError {
        ParseError::at(self.text, span.from, message.into())
    }

    fn error_here(&self, message: &str) -> ParseError {
        self.error(self.span(), message)
    }

    fn unexpected(&self, wanted: &str) -> ParseError {
        let found = match self.peek() {
            Word::End => "the end".to_owned(),
            _ => format!("{:?}", &self.text[self.span().from..self.span().to]),
        };
        self.error_here(&format!("expected {wanted}, found {found}"))
    }

    /// A node over others, unless the tree gets too deep; and its types checked.
    fn node(&self, kind: Kind, span: Span) -> Parsed<Expr> {
        let mut expr = Expr { kind, span, depth: 1 };
        expr.depth += expr.children().iter().map(|child| child.depth).max().unwrap_or(0);
        if expr.depth > DEPTH_MAX {
            return Err(self.error(span, format!("the expression is nested more than {DEPTH_MAX} deep")));
        }
        check::check(&expr).map_err(|(span, message)| self.error(span, message))?;
        Ok(expr)
    }

    /// Operators that bind at least so strongly, with what stands between them.
    fn expression(&mut self, binding: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error_here(&format!("the expression is nested more than {DEPTH_MAX} deep")));
        }
        let mut left = self.operand()?;
        while let Some((op, strength)) = self.at_operator() {
            if strength < binding {
                break;
            }
            self.take();
            let (bool, matching) = self.modifiers()?;
            // All but the power bind to the left.
            let right = self.expression(if strength == POWER { strength } else { strength + 1 })?;
            let span = left.span.through(right.span);
            left = self.node(Kind::Binary(Box::new(Binary { op, left, right, bool, matching })), span)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn at_operator(&self) -> Option<(BinaryOp, u8)> {
        let known = |text: &str| {
            BinaryOp::ALL.iter().find(|(name, ..)| *name == text).map(|(_, op, strength)| (*op, *strength))
        };
        match self.peek() {
            Word::Sign(sign) => known(sign),
            Word::Name(name) => known(&name.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// `bool`, `on (…)`, `group_left (…)` and the like after an operator.
    fn modifiers(&mut self) -> Parsed<(bool, Option<Matching>)> {
        let bool = self.take_keyword("bool");
        let on = self.at_keyword("on");
        if !on && !self.at_keyword("ignoring") {
            return Ok((bool, None));
        }
        self.take();
        let mut matching = Matching { on, labels: self.label_list()?, ..Matching::default() };
        if self.take_keyword("group_left") {
            matching.group = Group::Left;
        } else if self.take_keyword("group_right") {
            matching.group = Group::Right;
        }
        if matching.group != Group::None && self.at_sign("(") {
            matching.include = self.label_list()?;
        }
        Ok((bool, Some(matching)))
    }

    /// `(a, b, "c d")`; a comma at its end may stand.
    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect_sign("(")?;
        let mut labels = Vec::new();
        while !self.take_sign(")") {
            match self.peek().clone() {
                Word::Name(name) if !name.contains(':') => labels.push(name),
                Word::Number(_) if self.written().bytes().all(|b| b.is_ascii_alphabetic()) => {
                    labels.push(self.written().to_owned());
                }
                Word::Text(name) if !name.is_empty() => labels.push(name),
                _ => return Err(self.unexpected("a label's name")),
            }
            self.take();
            if !self.take_sign(",") && !self.at_sign(")") {
                return Err(self.unexpected("\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    /// The next word as it is written.
    fn written(&self) -> &str {
        &self.text[self.span().from..self.span().to]
    }

    /// What stands between operators, with its sign before and its modifiers behind.
    fn operand(&mut self) -> Parsed<Expr> {
        let from = self.span();
        if self.at_sign("-") || self.at_sign("+") {
            let negative = self.at_sign("-");
            self.take();
            let inner = self.expression(POWER)?;
            let span = from.through(inner.span);
            // A number with a sign is a number.
            if let Kind::Number(number) = inner.kind {
                return self.node(Kind::Number(if negative { -number } else { number }), span);
            }
            return self.node(Kind::Unary { negative, inner: Box::new(inner) }, span);
        }
        let mut expr = self.primary()?;
        loop {
            if self.at_sign("[") {
                expr = self.range(expr)?;
            } else if self.at_keyword("offset") {
                self.take();
                let offset_ms = self.signed_duration("after offset")?;
                let behind = self.last_end();
                let moment = self.moment(&mut expr, "offset")?;
                if moment.offset_ms != 0 {
                    return Err(self.error(behind, "offset may not be set twice"));
                }
                moment.offset_ms = offset_ms;
                expr.span = expr.span.through(behind);
            } else if self.at_sign("@") {
                self.take();
                let at = self.at_value()?;
                let behind = self.last_end();
                let moment = self.moment(&mut expr, "@")?;
                if moment.at.is_some() {
                    return Err(self.error(behind, "@ may not be set twice"));
                }
                moment.at = Some(at);
                expr.span = expr.span.through(behind);
            } else {
                return Ok(expr);
            }
        }
    }

    fn moment<'e>(&self, expr: &'e mut Expr, what: &str) -> Parsed<&'e mut Moment> {
        let span = expr.span;
        match &mut expr.kind {
            Kind::Vector(selector) | Kind::Matrix { selector, .. } => Ok(&mut selector.moment),
            Kind::Subquery { moment, .. } => Ok(moment),
            _ => Err(self.error(
                span,
                format!("{what} may only stand behind a selector of an instant vector or range vector, or a subquery"),
            )),
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let span = self.span();
        match self.peek().clone() {
            Word::Number(number) => {
                self.take();
                self.node(Kind::Number(number), span)
            }
            // A duration is its seconds.
            Word::Duration(ms) => {
                self.take();
                self.node(Kind::Number(ms as f64 / 1000.0), span)
            }
            Word::Text(text) => {
                self.take();
                self.node(Kind::Text(text), span)
            }
            Word::Sign("(") => {
                self.take();
                let inner = self.expression(0)?;
                let end = self.expect_sign(")")?;
                self.node(Kind::Paren(Box::new(inner)), span.through(end))
            }
            Word::Sign("{") => self.selector(None),
            Word::Name(name) => self.named(name),
            _ => Err(self.unexpected("an expression")),
        }
    }

    /// An aggregation, a call, or the name of a metric.
    fn named(&mut self, name: String) -> Parsed<Expr> {
        let span = self.span();
        let lower = name.to_ascii_lowercase();
        let before_list = matches!(self.peek_second(), Word::Sign("("));
        let before_by = matches!(self.peek_second(), Word::Name(next) if ["by", "without"].contains(&&*next.to_ascii_lowercase()));
        if let Some((_, op)) = AggregateOp::ALL.iter().find(|(known, _)| *known == lower)
            && (before_list || before_by)
        {
            self.take();
            return self.aggregate(*op, span);
        }
        if before_list {
            self.take();
            return self.call(&name, span);
        }
        const NOT_NAMES: [&str; 5] = ["on", "ignoring", "group_left", "group_right", "atan2"];
        if NOT_NAMES.contains(&&*lower) {
            return Err(self.unexpected("an expression"));
        }
        self.take();
        self.selector(Some((name, span)))
    }

    fn call(&mut self, name: &str, span: Span) -> Parsed<Expr> {
        let Some(function) = functions::find(name) else {
            let near =
                functions::nearest(name).map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(self.error(span, format!("unknown function {name:?}{near}")));
        };
        if let Some(why) = function.refusal {
            return Err(self.error(span, why));
        }
        self.expect_sign("(")?;
        let args = self.arguments()?;
        let end = self.last_end();
        self.node(Kind::Call { function, args }, span.through(end))
    }

    /// What stands in parentheses of a call, up to and with the closing one.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take_sign(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if self.take_sign(")") {
                return Ok(args);
            }
            if !self.at_sign(",") {
                return Err(self.unexpected("\",\" or \")\""));
            }
            self.take();
            if self.at_sign(")") {
                return Err(self.error_here("no comma may stand behind the last argument"));
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp, span: Span) -> Parsed<Expr> {
        let mut grouping = self.grouping()?;
        let open = self.expect_sign("(")?;
        let mut args = self.arguments()?;
        let mut end = self.last_end();
        if grouping.is_none() {
            grouping = self.grouping()?;
            if grouping.is_some() {
                end = self.last_end();
            }
        }
        let wanted = 1 + usize::from(op.parameter().is_some());
        if args.len() != wanted {
            let message = format!("{} takes {wanted} argument(s), found {}", op.text(), args.len());
            return Err(self.error(open, message));
        }
        let (without, labels) = grouping.unwrap_or_default();
        let Some(inner) = args.pop() else { return Err(self.error(open, "no argument")) };
        let aggregate = Aggregate { op, parameter: args.pop(), inner, without, labels };
        self.node(Kind::Aggregate(Box::new(aggregate)), span.through(end))
    }

    /// `by (…)` or `without (…)`, if it stands here.
    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = self.at_keyword("without");
        if !without && !self.at_keyword("by") {
            return Ok(None);
        }
        self.take();
        Ok(Some((without, self.label_list()?)))
    }
}
