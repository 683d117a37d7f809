//! Conditions on labels that can be written down and read again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use regex::RegexBuilder;

use crate::model::{Labels, MatchOp, Matcher};

/// Longest value or pattern, and longest name of a label, bytes.
const LONGEST: usize = 1_000;
/// What a pattern may take in memory, bytes.
const PATTERN_MOST: usize = 1 << 20;

/// One condition: `region="eu-west-1"`, with `=`, `!=`, `=~` or `!~`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    op: Op,
    value: String,
    matcher: Matcher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

/// As they are written; what begins with another comes before it.
const OPS: [(&str, Op); 4] =
    [("=~", Op::Regex), ("!~", Op::NotRegex), ("!=", Op::NotEqual), ("=", Op::Equal)];

impl Condition {
    /// `name="value"`
    pub fn equal(name: &str, value: &str) -> Condition {
        Condition { op: Op::Equal, value: value.to_owned(), matcher: Matcher::equal(name, value) }
    }

    /// A condition on the label `name`: `regex` makes the value a pattern, which the whole label must match; `not` turns it round.
    ///
    /// # Errors
    /// The name is none, or the pattern is none, or something is longer or larger than it may be.
    pub fn of(name: &str, value: &str, regex: bool, not: bool) -> Result<Condition, String> {
        let is_name = |name: &str| {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_name(name) {
            let shown: String = name.chars().take(40).collect();
            return Err(format!("'{shown}' is not the name of a label: letters, digits and _"));
        }
        let op = match (regex, not) {
            (false, false) => Op::Equal,
            (false, true) => Op::NotEqual,
            (true, false) => Op::Regex,
            (true, true) => Op::NotRegex,
        };
        Condition::new(name, op, value)
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.matcher.name
    }

    /// The value or the pattern.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the value is a pattern, and whether it is turned round.
    pub fn kind(&self) -> (bool, bool) {
        (matches!(self.op, Op::Regex | Op::NotRegex), matches!(self.op, Op::NotEqual | Op::NotRegex))
    }

    fn new(name: &str, op: Op, value: &str) -> Result<Condition, String> {
        if name.len().max(value.len()) > LONGEST {
            return Err(format!("a condition of more than {LONGEST} bytes"));
        }
        let named = |op| Ok(Matcher { name: name.to_owned(), op });
        let matcher = match op {
            Op::Equal => named(MatchOp::Equal(value.to_owned())),
            Op::NotEqual => named(MatchOp::NotEqual(value.to_owned())),
            Op::Regex | Op::NotRegex => {
                let small = RegexBuilder::new(value).size_limit(PATTERN_MOST).build();
                small.and_then(|_| Matcher::regex(name, value, op == Op::NotRegex))
            }
        };
        let matcher = matcher.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => format!("'{value}' is too large a pattern"),
            _ => format!("'{value}' is not a pattern"),
        })?;
        Ok(Condition { op, value: value.to_owned(), matcher })
    }

    /// Whether labels fulfil it; a label that is not there is empty.
    pub fn holds(&self, labels: &Labels) -> bool {
        self.matcher.holds_for(labels)
    }

    /// Whether a value of its label fulfils it.
    pub fn holds_for_value(&self, value: &str) -> bool {
        self.matcher.holds(value)
    }

    /// Whether labels without its label fulfil it.
    pub fn holds_without(&self) -> bool {
        self.matcher.holds("")
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        (self.op, &self.value, &self.matcher.name) == (other.op, &other.value, &other.matcher.name)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = OPS.iter().find(|(_, op)| *op == self.op).map_or("=", |(text, _)| text);
        write!(f, "{}{op}\"", self.matcher.name)?;
        for c in self.value.chars() {
            match c {
                '\\' | '"' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("\"")
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.to_string()
    }
}

impl TryFrom<String> for Condition {
    type Error = String;

    fn try_from(text: String) -> Result<Condition, String> {
        text.parse()
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let conditions: Conditions = text.parse()?;
        match <[Condition; 1]>::try_from(conditions.0) {
            Ok([one]) => Ok(one),
            Err(other) => Err(format!("one condition is needed, not {}", other.len())),
        }
    }
}

/// Conditions that all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions(pub Vec<Condition>);

impl Conditions {
    /// Whether labels fulfil all of them.
    pub fn hold(&self, labels: &Labels) -> bool {
        self.0.iter().all(|condition| condition.holds(labels))
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, condition) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            condition.fmt(f)?;
        }
        f.write_str("}")
    }
}

impl FromStr for Conditions {
    type Err = String;

    /// `{region="eu", severity=~"P[12]"}`; the braces may be left out, and the quotes of a value without comma and space.
    fn from_str(text: &str) -> Result<Conditions, String> {
        let inner = text.trim();
        let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner);
        let (mut rest, mut found) = (inner.trim_start(), Vec::new());
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            let behind = behind.trim_start();
            let op = OPS.into_iter().find(|(text, _)| behind.starts_with(text));
            let (Some((text, op)), false) =
                (op, name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()))
            else {
                return Err(format!("'{rest}' is not a condition such as region=\"eu-west-1\""));
            };
            let (value, behind) = value(behind[text.len()..].trim_start())?;
            found.push(Condition::new(name, op, &value)?);
            rest = behind.trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if rest.is_empty() => {}
                None => return Err(format!("a comma is needed before '{rest}'")),
            }
        }
        Ok(Conditions(found))
    }
}

/// A value with or without quotes, and what stands behind it.
fn value(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c == '"' || c.is_whitespace()).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                // Patterns are full of them: what is not an escape stands for itself.
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(format!("the value {text} has no end"))
}
