//! Tokens to a tree, with the type of everything that is known before the template runs.

use regex::Regex;

use super::TemplateError;
use super::functions::{FUNCTIONS, Function, pattern};
use super::lex::{Placed, Token, tokens};
use super::printf::Format;
use super::value::{Kind, Value};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Print(Expr),
    /// Puts a value on top of the variables.
    Declare(Expr),
    /// Gives the variable of that number another value.
    Assign(usize, Expr),
    If(Branch),
    With(Branch),
    Range {
        over: Expr,
        names: usize,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub condition: Expr,
    /// The condition's value becomes a variable, too.
    pub named: bool,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Dot,
    /// By its number: the first five are always there.
    Variable(usize),
    Field(Box<Expr>, String),
    Literal(Value),
    /// The first argument of `match` and `reReplaceAll` when it is written out.
    Pattern(Regex),
    /// The first argument of `printf` when it is written out.
    Format(Format),
    Call(Function, Vec<Expr>),
}

/// Parentheses and blocks within each other, at most.
const DEPTH_MAX: usize = 32;

/// What every template begins with, by number.
pub(super) const GIVEN: [(&str, Kind); 4] =
    [("", Kind::Root), ("labels", Kind::Labels), ("externalLabels", Kind::Labels), ("value", Kind::Float)];

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let tokens = tokens(text)?;
    let variables = GIVEN.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    let mut parser = Parser { tokens, next: 0, end: text.len(), variables, dot: Kind::Root, depth: 0 };
    let (nodes, ended) = parser.block()?;
    match ended {
        Ended::Text => Ok(nodes),
        Ended::End(at) => Err(TemplateError::new(at, "'end' without if, range or with")),
        Ended::Else(at) => Err(TemplateError::new(at, "'else' without if, range or with")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    variables: Vec<(String, Kind)>,
    dot: Kind,
    depth: usize,
}

/// What a block ended with, and where that stands.
enum Ended {
    Text,
    End(usize),
    Else(usize),
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |placed| placed.at)
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::new(self.at(), message))
    }

    fn take(&mut self, token: &Token) -> bool {
        let there = self.peek() == Some(token);
        self.next += usize::from(there);
        there
    }

    fn need(&mut self, token: &Token, what: &str) -> Result<(), TemplateError> {
        if self.take(token) { Ok(()) } else { self.wrong(format!("{what} is needed here")) }
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Parser) -> Result<T, TemplateError>,
    ) -> Result<T, TemplateError> {
        if self.depth == DEPTH_MAX {
            return self.wrong(format!("more than {DEPTH_MAX} blocks and parentheses within each other"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Text and actions up to the end, `end` or `else`. Variables that it declares end with it.
    fn block(&mut self) -> Result<(Vec<Node>, Ended), TemplateError> {
        let known = self.variables.len();
        let mut nodes = Vec::new();
        loop {
            match self.peek() {
                None => return Ok((nodes, Ended::Text)),
                Some(Token::Text(text)) => {
                    nodes.push(Node::Text(text.clone()));
                    self.next += 1;
                    continue;
                }
                _ => self.need(&Token::Open, "'{{'")?,
            }
            let at = self.at();
            let word = match self.peek() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "end" | "else" => {
                    self.next += 1;
                    self.variables.truncate(known);
                    if word == "else" {
                        return Ok((nodes, Ended::Else(at)));
                    }
                    self.need(&Token::Close, "'}}'")?;
                    return Ok((nodes, Ended::End(at)));
                }
                "if" | "with" => {
                    self.next += 1;
                    nodes.push(self.deeper(|parser| parser.branch(word == "with"))?);
                }
                "range" => {
                    self.next += 1;
                    nodes.push(self.deeper(Parser::range)?);
                }
                "define" | "template" | "block" | "break" | "continue" => {
                    return self.wrong(format!("'{word}' is not supported"));
                }
                _ => {
                    nodes.push(self.statement()?);
                    self.need(&Token::Close, "'}}'")?;
                }
            }
        }
    }

    /// `$x := …`, `$x = …` or something to print.
    fn statement(&mut self) -> Result<Node, TemplateError> {
        let at = self.at();
        let then = self.tokens.get(self.next + 1).map(|placed| placed.token.clone());
        let (Some(Token::Variable(name)), Some(sign @ (Token::Declare | Token::Assign))) =
            (self.peek().cloned(), then)
        else {
            return Ok(Node::Print(self.pipeline()?.0));
        };
        self.next += 2;
        let (value, kind) = self.pipeline()?;
        if sign == Token::Declare {
            self.variables.push((name, kind));
            return Ok(Node::Declare(value));
        }
        let number = self.variable(&name, at)?;
        if self.variables[number].1 != kind {
            let (was, is) = (self.variables[number].1.show(), kind.show());
            return Err(TemplateError::new(at, format!("${name} is {was} and can't become {is}")));
        }
        Ok(Node::Assign(number, value))
    }

    fn variable(&self, name: &str, at: usize) -> Result<usize, TemplateError> {
        let found = self.variables.iter().rposition(|(known, _)| known == name);
        found.ok_or_else(|| {
            let known = "known are $labels, $externalLabels, $value and what was declared before";
            TemplateError::new(at, format!("there is no ${name}; {known}"))
        })
    }

    fn branch(&mut self, with: bool) -> Result<Node, TemplateError> {
        let known = self.variables.len();
        let named = self.names()?;
        if named.len() > 1 {
            return self.wrong("one variable at most");
        }
        let (condition, kind) = self.pipeline()?;
        self.need(&Token::Close, "'}}'")?;
        self.variables.extend(named.iter().map(|name| (name.clone(), kind)));
        let outside = self.dot;
        self.dot = if with { kind } else { outside };
        let (body, ended) = self.block()?;
        self.dot = outside;
        let otherwise = self.otherwise(ended, if with { "with" } else { "if" })?;
        self.variables.truncate(known);
        let branch = Branch { condition, named: !named.is_empty(), body, otherwise };
        Ok(if with { Node::With(branch) } else { Node::If(branch) })
    }

    fn range(&mut self) -> Result<Node, TemplateError> {
        let known = self.variables.len();
        let names = self.names()?;
        let at = self.at();
        let (over, kind) = self.pipeline()?;
        let (key, item) = match kind {
            Kind::Vector => (Kind::Int, Kind::Sample),
            Kind::Labels => (Kind::Text, Kind::Text),
            Kind::Any => (Kind::Any, Kind::Any),
            other => {
                return Err(TemplateError::new(at, format!("'range' can't go over {}", other.show())));
            }
        };
        self.need(&Token::Close, "'}}'")?;
        match &names[..] {
            [] => {}
            [one] => self.variables.push((one.clone(), item)),
            [first, second] => self.variables.extend([(first.clone(), key), (second.clone(), item)]),
            _ => return self.wrong("two variables at most"),
        }
        let outside = std::mem::replace(&mut self.dot, item);
        let (body, ended) = self.block()?;
        self.dot = outside;
        self.variables.truncate(known);
        let otherwise = self.otherwise(ended, "range")?;
        Ok(Node::Range { over, names: names.len(), body, otherwise })
    }

    /// `$a :=` or `$a, $b :=` in front of a pipeline.
    fn names(&mut self) -> Result<Vec<String>, TemplateError> {
        let mut names = Vec::new();
        let mut at = self.next;
        while let Some(Token::Variable(name)) = self.tokens.get(at).map(|placed| &placed.token) {
            names.push(name.clone());
            at += 1;
            match self.tokens.get(at).map(|placed| &placed.token) {
                Some(Token::Comma) => at += 1,
                Some(Token::Declare) => {
                    self.next = at + 1;
                    return Ok(names);
                }
                _ => break,
            }
        }
        Ok(Vec::new())
    }

    /// What stands behind a block that ended: nothing, or the branch that is taken instead.
    fn otherwise(&mut self, ended: Ended, block: &str) -> Result<Vec<Node>, TemplateError> {
        let at = match ended {
            Ended::End(_) => return Ok(Vec::new()),
            Ended::Text => return self.wrong(format!("'{block}' has no 'end'")),
            Ended::Else(at) => at,
        };
        if let Some(Token::Word(word)) = self.peek().cloned() {
            if !matches!((block, word.as_str()), ("if", "if") | ("with", "with")) {
                return Err(TemplateError::new(at, format!("'else {word}' does not belong to '{block}'")));
            }
            self.next += 1;
            return Ok(vec![self.deeper(|parser| parser.branch(word == "with"))?]);
        }
        self.need(&Token::Close, "'}}'")?;
        let (nodes, ended) = self.block()?;
        match ended {
            Ended::End(_) => Ok(nodes),
            Ended::Else(at) => Err(TemplateError::new(at, "a second 'else'")),
            Ended::Text => self.wrong(format!("'{block}' has no 'end'")),
        }
    }

    /// `command | command | …`: each gets what the one before gave as its last argument.
    fn pipeline(&mut self) -> Result<(Expr, Kind), TemplateError> {
        let mut made = self.command(None)?;
        while self.take(&Token::Pipe) {
            made = self.command(Some(made))?;
        }
        Ok(made)
    }

    fn command(&mut self, piped: Option<(Expr, Kind)>) -> Result<(Expr, Kind), TemplateError> {
        let at = self.at();
        let function = match self.peek() {
            Some(Token::Word(word)) if !matches!(word.as_str(), "true" | "false") => Some(word.clone()),
            _ => None,
        };
        let Some(name) = function else {
            if piped.is_some() {
                return self.wrong("a function is needed behind '|'");
            }
            let made = self.operand()?;
            if self.begins_operand() {
                return self.wrong("only a function takes arguments");
            }
            return Ok(made);
        };
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            return self
                .wrong(format!("the function '{name}' is not supported; known: {}", known.join(", ")));
        };
        self.next += 1;
        let mut arguments = Vec::new();
        while self.begins_operand() {
            if !self.tokens[self.next].spaced {
                return self.wrong("a space is needed here");
            }
            arguments.push(self.operand()?);
        }
        arguments.extend(piped);
        call(*function, arguments).map_err(|why| TemplateError::new(at, format!("{name}: {why}")))
    }

    fn begins_operand(&self) -> bool {
        !matches!(
            self.peek(),
            None | Some(Token::Pipe | Token::Close | Token::Right | Token::Comma)
                | Some(Token::Declare | Token::Assign | Token::Open | Token::Text(_))
        )
    }

    /// A value with the fields that hang on it.
    fn operand(&mut self) -> Result<(Expr, Kind), TemplateError> {
        let at = self.at();
        let Some(token) = self.peek().cloned() else { return self.wrong("a value is needed here") };
        self.next += 1;
        let mut made = match token {
            Token::Dot => (Expr::Dot, self.dot),
            Token::Field(name) => self.field((Expr::Dot, self.dot), name, at)?,
            Token::Variable(name) => {
                let number = self.variable(&name, at)?;
                (Expr::Variable(number), self.variables[number].1)
            }
            Token::Quoted(text) => (Expr::Literal(Value::Text(text)), Kind::Text),
            Token::Int(number) => (Expr::Literal(Value::Int(number)), Kind::Int),
            Token::Float(number) => (Expr::Literal(Value::Float(number)), Kind::Float),
            Token::Word(word) if word == "true" || word == "false" => {
                (Expr::Literal(Value::Bool(word == "true")), Kind::Bool)
            }
            Token::Word(word) => {
                let message = format!("'{word}' with its arguments needs parentheses around it here");
                return Err(TemplateError::new(at, message));
            }
            Token::Left => {
                let made = self.deeper(Parser::pipeline)?;
                self.need(&Token::Right, "')'")?;
                made
            }
            _ => return Err(TemplateError::new(at, "a value is needed here")),
        };
        while let Some(Placed { token: Token::Field(name), at, spaced: false }) =
            self.tokens.get(self.next).cloned()
        {
            self.next += 1;
            made = self.field(made, name, at)?;
        }
        Ok(made)
    }

    fn field(&self, of: (Expr, Kind), name: String, at: usize) -> Result<(Expr, Kind), TemplateError> {
        let kind = of.1.field(&name).map_err(|why| TemplateError::new(at, why))?;
        Ok((Expr::Field(Box::new(of.0), name), kind))
    }
}

/// A call with arguments of types that it takes.
fn call(function: Function, arguments: Vec<(Expr, Kind)>) -> Result<(Expr, Kind), String> {
    let (mut arguments, kinds): (Vec<Expr>, Vec<Kind>) = arguments.into_iter().unzip();
    let kind = function.check(&kinds)?;
    if let Some(Expr::Literal(Value::Text(text))) = arguments.first() {
        match function {
            Function::Match | Function::ReReplaceAll => arguments[0] = Expr::Pattern(pattern(text)?),
            Function::Printf => {
                let format = Format::read(text)?;
                format.check(&kinds[1..])?;
                arguments[0] = Expr::Format(format);
            }
            _ => {}
        }
    }
    Ok((Expr::Call(function, arguments), kind))
}
