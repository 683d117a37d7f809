//! A template's tree to text.

use std::sync::Arc;

use regex::Regex;

use super::functions::{Function, pattern};
use super::parse::{Branch, Expr, GIVEN, Node};
use super::printf::Format;
use super::value::Value;
use super::{QuerySample, Scope};

/// An expanded text is not longer than this, in bytes.
const TEXT_MAX: usize = 64 << 10;

/// Nor is what `reReplaceAll` puts in place of a match, before its `$1` are filled in.
const REPLACEMENT_MAX: usize = 1 << 10;

pub(super) fn expand(nodes: &[Node], scope: &Scope<'_>) -> Result<String, String> {
    let variables = vec![
        Value::Root,
        Value::Labels(scope.labels.clone()),
        Value::Labels(scope.external.clone()),
        Value::Float(scope.value),
    ];
    debug_assert_eq!(variables.len(), GIVEN.len(), "as the parser numbers them");
    let mut run = Run { scope, variables, text: String::new() };
    run.block(nodes, &Value::Root)?;
    Ok(run.text)
}

struct Run<'a> {
    scope: &'a Scope<'a>,
    variables: Vec<Value>,
    text: String,
}

impl Run<'_> {
    fn block(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        let known = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
            if self.text.len() > TEXT_MAX {
                return Err(format!("the text grows beyond {TEXT_MAX} bytes"));
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), String> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Print(expr) => {
                let printed = self.value(expr, dot)?.print();
                self.text.push_str(&printed);
            }
            Node::Declare(expr) => {
                let value = self.value(expr, dot)?;
                self.variables.push(value);
            }
            Node::Assign(number, expr) => {
                let value = self.value(expr, dot)?;
                if let Some(variable) = self.variables.get_mut(*number) {
                    *variable = value;
                }
            }
            Node::If(branch) => self.branch(branch, dot, false)?,
            Node::With(branch) => self.branch(branch, dot, true)?,
            Node::Range { over, names, body, otherwise } => {
                let over = self.value(over, dot)?;
                let items = items(&over)?;
                if items.is_empty() {
                    return self.block(otherwise, dot);
                }
                for (key, item) in items {
                    let known = self.variables.len();
                    if *names == 2 {
                        self.variables.push(key);
                    }
                    if *names > 0 {
                        self.variables.push(item.clone());
                    }
                    self.block(body, &item)?;
                    self.variables.truncate(known);
                }
            }
        }
        Ok(())
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, with: bool) -> Result<(), String> {
        let known = self.variables.len();
        let value = self.value(&branch.condition, dot)?;
        let holds = value.holds();
        if branch.named {
            self.variables.push(value.clone());
        }
        match (holds, with) {
            (true, true) => self.block(&branch.body, &value)?,
            (true, false) => self.block(&branch.body, dot)?,
            (false, _) => self.block(&branch.otherwise, dot)?,
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn value(&self, expr: &Expr, dot: &Value) -> Result<Value, String> {
        match expr {
            Expr::Dot => Ok(dot.clone()),
            Expr::Variable(number) => {
                self.variables.get(*number).cloned().ok_or_else(|| "a variable is not set".to_owned())
            }
            Expr::Field(of, name) => self.field(&self.value(of, dot)?, name),
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Pattern(_) | Expr::Format(_) => Err("not a value".to_owned()),
            Expr::Call(function, arguments) => self.call(*function, arguments, dot),
        }
    }

    fn field(&self, of: &Value, name: &str) -> Result<Value, String> {
        of.kind().field(name)?;
        match (of, name) {
            (Value::Labels(labels), _) => Ok(Value::Text(labels.get(name).to_owned())),
            (Value::Root, "Labels") => Ok(Value::Labels(self.scope.labels.clone())),
            (Value::Root, "ExternalLabels") => Ok(Value::Labels(self.scope.external.clone())),
            (Value::Root, _) => Ok(Value::Float(self.scope.value)),
            (Value::Sample(sample), "Labels") => Ok(Value::Labels(sample.labels.clone())),
            (Value::Sample(sample), _) => Ok(Value::Float(sample.value)),
            (other, _) => Err(format!("{} has no .{name}", other.kind().show())),
        }
    }

    fn call(&self, function: Function, arguments: &[Expr], dot: &Value) -> Result<Value, String> {
        match function {
            Function::And | Function::Or => {
                let mut last = Value::Bool(false);
                for argument in arguments {
                    last = self.value(argument, dot)?;
                    if last.holds() == (function == Function::Or) {
                        break;
                    }
                }
                Ok(last)
            }
            Function::Printf => {
                let format = match arguments.first() {
                    Some(Expr::Format(format)) => format.clone(),
                    Some(other) => Format::read(&self.value(other, dot)?.print())?,
                    None => return Err("printf without a format".to_owned()),
                };
                format.write(&self.all(&arguments[1..], dot)?).map(Value::Text)
            }
            Function::Match | Function::ReReplaceAll => {
                let pattern = match arguments.first() {
                    Some(Expr::Pattern(pattern)) => pattern.clone(),
                    Some(other) => pattern(&self.value(other, dot)?.print())?,
                    None => return Err("a pattern is missing".to_owned()),
                };
                match &self.all(&arguments[1..], dot)?[..] {
                    [Value::Text(text)] => Ok(Value::Bool(pattern.is_match(text))),
                    [Value::Text(instead), Value::Text(text)] => {
                        replace(&pattern, instead, text).map(Value::Text)
                    }
                    _ => Err("patterns are matched with texts".to_owned()),
                }
            }
            Function::Query => match &self.all(arguments, dot)?[..] {
                [Value::Text(query)] => {
                    let found = (self.scope.query)(query)?;
                    Ok(Value::Vector(found.into_iter().map(Arc::<QuerySample>::new).collect()))
                }
                _ => Err("a query is a text".to_owned()),
            },
            _ => function.call(&self.all(arguments, dot)?),
        }
    }

    fn all(&self, arguments: &[Expr], dot: &Value) -> Result<Vec<Value>, String> {
        arguments.iter().map(|argument| self.value(argument, dot)).collect()
    }
}

/// Every match replaced; stops before the text grows too long.
fn replace(pattern: &Regex, instead: &str, text: &str) -> Result<String, String> {
    if instead.len() > REPLACEMENT_MAX {
        return Err(format!("a replacement has at most {REPLACEMENT_MAX} bytes"));
    }
    let (mut replaced, mut rest) = (String::new(), 0);
    for found in pattern.captures_iter(text) {
        let whole = found.get_match();
        replaced.push_str(&text[rest..whole.start()]);
        found.expand(instead, &mut replaced);
        rest = whole.end();
        if replaced.len() > TEXT_MAX {
            return Err(format!("the text grows beyond {TEXT_MAX} bytes"));
        }
    }
    replaced.push_str(&text[rest..]);
    Ok(replaced)
}

/// What `range` goes over, each with its number or name.
fn items(over: &Value) -> Result<Vec<(Value, Value)>, String> {
    match over {
        Value::Vector(samples) => {
            let numbered = samples.iter().enumerate();
            Ok(numbered.map(|(at, sample)| (Value::Int(at as i64), Value::Sample(sample.clone()))).collect())
        }
        Value::Labels(labels) => {
            let texts = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            Ok(texts.map(|(name, value)| (Value::Text(name), Value::Text(value))).collect())
        }
        other => Err(format!("'range' can't go over {}", other.kind().show())),
    }
}
