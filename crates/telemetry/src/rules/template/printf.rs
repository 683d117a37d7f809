//! `printf` of templates: a format checked when it is read, and written when the template runs.

use super::number;
use super::value::{Kind, Value};

/// A part of a format.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Verb(Verb),
}

#[derive(Clone, Debug, PartialEq)]
struct Verb {
    verb: char,
    left: bool,
    zeros: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// More than this is not padded or written after the point.
const WIDTH_MAX: usize = 100;

/// A format that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format(Vec<Part>);

impl Format {
    /// Reads a format: `%s %v %q %d %f %e %g %t %x %%`, with the flags `-`, `0` and `+`, a width and a precision.
    pub fn read(text: &str) -> Result<Format, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                plain.push(c);
                continue;
            }
            let mut verb =
                Verb { verb: ' ', left: false, zeros: false, plus: false, width: 0, precision: None };
            while let Some(flag) = chars.next_if(|c| "-0+".contains(*c)) {
                match flag {
                    '-' => verb.left = true,
                    '0' => verb.zeros = true,
                    _ => verb.plus = true,
                }
            }
            let mut digits = || {
                let mut number = 0usize;
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    number = number.saturating_mul(10).saturating_add(digit as usize - '0' as usize);
                }
                if number <= WIDTH_MAX {
                    Ok(number)
                } else {
                    Err(format!("a width of {number} is more than {WIDTH_MAX}"))
                }
            };
            verb.width = digits()?;
            if chars.next_if_eq(&'.').is_some() {
                let mut digits = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                let precision = if digits.is_empty() { Some(0) } else { digits.parse().ok() };
                let fits = precision.filter(|precision| *precision <= WIDTH_MAX);
                verb.precision =
                    Some(fits.ok_or_else(|| format!("a precision of {digits} is more than {WIDTH_MAX}"))?);
            }
            match chars.next() {
                Some('%') => plain.push('%'),
                Some(letter) if "svqdfegtx".contains(letter) => {
                    verb.verb = letter;
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Verb(verb));
                }
                Some(letter) => return Err(format!("%{letter} is not known to printf here")),
                None => return Err("the format ends within a %".to_owned()),
            }
        }
        parts.push(Part::Text(plain));
        Ok(Format(parts))
    }

    /// Whether these can be written, as far as their types are known.
    pub fn check(&self, arguments: &[Kind]) -> Result<(), String> {
        let verbs: Vec<&Verb> = self
            .0
            .iter()
            .filter_map(|part| match part {
                Part::Verb(verb) => Some(verb),
                Part::Text(_) => None,
            })
            .collect();
        if verbs.len() != arguments.len() {
            return Err(format!("the format takes {}, not {}", verbs.len(), arguments.len()));
        }
        for (verb, kind) in verbs.iter().zip(arguments) {
            let fits = match verb.verb {
                'v' => true,
                's' | 'q' => matches!(kind, Kind::Text | Kind::Any),
                'd' => matches!(kind, Kind::Int | Kind::Any),
                'f' | 'e' | 'g' => matches!(kind, Kind::Float | Kind::Any),
                't' => matches!(kind, Kind::Bool | Kind::Any),
                _ => matches!(kind, Kind::Int | Kind::Text | Kind::Any),
            };
            if !fits {
                return Err(format!("%{} does not take {}", verb.verb, kind.show()));
            }
        }
        Ok(())
    }

    /// Writes the format with these in it.
    pub fn write(&self, arguments: &[Value]) -> Result<String, String> {
        let kinds: Vec<Kind> = arguments.iter().map(Value::kind).collect();
        self.check(&kinds)?;
        let mut rest = arguments.iter();
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Verb(verb) => {
                    if let Some(argument) = rest.next() {
                        text.push_str(&verb.write(argument));
                    }
                }
            }
        }
        Ok(text)
    }
}

impl Verb {
    fn write(&self, value: &Value) -> String {
        let text = match (self.verb, value) {
            ('f', Value::Float(number)) => number::fixed(*number, self.precision.unwrap_or(6)),
            ('e', Value::Float(number)) => number::scientific(*number, self.precision.unwrap_or(6)),
            ('g' | 'v', Value::Float(number)) => number::general(*number, self.precision),
            ('q', Value::Text(text)) => format!("{text:?}"),
            ('x', Value::Int(number)) if *number < 0 => format!("-{:x}", number.unsigned_abs()),
            ('x', Value::Int(number)) => format!("{number:x}"),
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('s' | 'v', Value::Text(text)) => match self.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.clone(),
            },
            (_, other) => other.print(),
        };
        self.pad(text, matches!(value, Value::Int(_) | Value::Float(_)))
    }

    fn pad(&self, text: String, number: bool) -> String {
        let signed = number && self.plus && !text.starts_with(['+', '-']);
        let text = if signed { format!("+{text}") } else { text };
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        if self.left {
            return text + &" ".repeat(missing);
        }
        let finite = text.contains(|c: char| c.is_ascii_digit());
        if self.zeros && number && finite {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        " ".repeat(missing) + &text
    }
}
