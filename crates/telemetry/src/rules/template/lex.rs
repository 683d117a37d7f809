//! Template text to tokens that know where they begin.

use super::TemplateError;

/// What stands between two braces, or around them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions, trimmed where `{{-` or `-}}` say so.
    Text(String),
    Open,
    Close,
    /// A word: a function, a keyword, `true` or `false`.
    Word(String),
    /// `$name`; `$` alone has the empty name.
    Variable(String),
    /// `.name`
    Field(String),
    /// `.` alone.
    Dot,
    Quoted(String),
    Int(i64),
    Float(f64),
    Pipe,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Left,
    Right,
}

/// A token, the byte it begins at, and whether white space stands before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub token: Token,
    pub at: usize,
    pub spaced: bool,
}

/// All tokens of a template.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, TemplateError> {
    let mut found = Vec::new();
    let (mut at, mut trim_next) = (0, false);
    while at < text.len() {
        let open = text[at..].find("{{").map(|more| at + more);
        let mut plain = &text[at..open.unwrap_or(text.len())];
        if trim_next {
            plain = plain.trim_start_matches(SPACE);
        }
        let Some(open) = open else {
            push_text(&mut found, plain, at);
            break;
        };
        let mut inside = open + 2;
        let after = &text[inside..];
        if after.starts_with('-') && after[1..].starts_with(SPACE) {
            plain = plain.trim_end_matches(SPACE);
            inside += 2;
        }
        push_text(&mut found, plain, at);
        (at, trim_next) = action(text, open, inside, &mut found)?;
    }
    Ok(found)
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn push_text(found: &mut Vec<Placed>, text: &str, at: usize) {
    if !text.is_empty() {
        found.push(Placed { token: Token::Text(text.to_owned()), at, spaced: false });
    }
}

/// One action up to its `}}`: where the text goes on, and whether that is trimmed.
fn action(
    text: &str,
    open: usize,
    inside: usize,
    found: &mut Vec<Placed>,
) -> Result<(usize, bool), TemplateError> {
    let unclosed = || TemplateError::new(open, "'{{' has no '}}'");
    let begin = text[inside..].len() - text[inside..].trim_start_matches(SPACE).len() + inside;
    if text[begin..].starts_with("/*") {
        let end = begin + text[begin..].find("*/").ok_or_else(unclosed)? + 2;
        let rest = text[end..].trim_start_matches(SPACE);
        let after = text.len() - rest.len();
        if rest.starts_with("-}}") && after > end {
            return Ok((after + 3, true));
        }
        let closed = rest.starts_with("}}");
        return if closed {
            Ok((after + 2, false))
        } else {
            Err(TemplateError::new(after, "a comment stands alone between its braces"))
        };
    }
    found.push(Placed { token: Token::Open, at: open, spaced: false });
    let (mut at, mut spaced) = (inside, true);
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return Err(unclosed()) };
        if SPACE.contains(&first) {
            let more = rest.trim_start_matches(SPACE);
            if more.starts_with("-}}") {
                found.push(Placed { token: Token::Close, at: text.len() - more.len(), spaced });
                return Ok((text.len() - more.len() + 3, true));
            }
            (at, spaced) = (text.len() - more.len(), true);
            continue;
        }
        if rest.starts_with("}}") {
            found.push(Placed { token: Token::Close, at, spaced });
            return Ok((at + 2, false));
        }
        let (token, length) = one(rest, at)?;
        found.push(Placed { token, at, spaced });
        (at, spaced) = (at + length, false);
    }
}

/// The token at the beginning of `rest`, and its length in bytes.
fn one(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    let first = rest.chars().next().unwrap_or(' ');
    let second = rest[first.len_utf8()..].chars().next().unwrap_or(' ');
    match first {
        '|' => Ok((Token::Pipe, 1)),
        ',' => Ok((Token::Comma, 1)),
        '(' => Ok((Token::Left, 1)),
        ')' => Ok((Token::Right, 1)),
        '=' => Ok((Token::Assign, 1)),
        ':' if second == '=' => Ok((Token::Declare, 2)),
        '"' => quoted(rest, at),
        '`' => {
            let end = rest[1..].find('`').ok_or_else(|| TemplateError::new(at, "'`' has no end"))?;
            Ok((Token::Quoted(rest[1..=end].to_owned()), end + 2))
        }
        '$' => {
            let name = name_of(&rest[1..]);
            Ok((Token::Variable(name.to_owned()), 1 + name.len()))
        }
        '.' if is_name(second) && !second.is_ascii_digit() => {
            let name = name_of(&rest[1..]);
            Ok((Token::Field(name.to_owned()), 1 + name.len()))
        }
        '.' if !second.is_ascii_digit() => Ok((Token::Dot, 1)),
        _ if first.is_ascii_digit() || "+-.".contains(first) => number(rest, at),
        _ if is_name(first) => {
            let name = name_of(rest);
            Ok((Token::Word(name.to_owned()), name.len()))
        }
        _ => Err(TemplateError::new(at, format!("'{first}' can't stand here"))),
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn name_of(rest: &str) -> &str {
    &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    let mut length = usize::from(rest.starts_with(['+', '-']));
    let bytes = rest.as_bytes();
    while length < bytes.len() {
        let exponent = length > 0 && matches!(bytes[length - 1], b'e' | b'E');
        let sign = exponent && matches!(bytes[length], b'+' | b'-');
        if !sign && !bytes[length].is_ascii_alphanumeric() && !matches!(bytes[length], b'.' | b'_') {
            break;
        }
        length += 1;
    }
    let word = &rest[..length];
    let plain = word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let digits = word.trim_start_matches(['+', '-']);
    let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || octal {
        return Err(TemplateError::new(at, format!("'{word}' is not a decimal number")));
    }
    if let Ok(whole) = word.parse::<i64>() {
        return Ok((Token::Int(whole), length));
    }
    match word.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok((Token::Float(float), length)),
        _ => Err(TemplateError::new(at, format!("'{word}' is not a number"))),
    }
}

/// A text in double quotes with the escapes of Go.
fn quoted(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Quoted(text), index + 1)),
            '\n' => break,
            '\\' => {
                let wrong = || TemplateError::new(at + index, "this escape is unknown");
                let (_, escaped) = chars.next().ok_or_else(wrong)?;
                let hex = |count: usize, chars: &mut dyn Iterator<Item = (usize, char)>| {
                    let digits: String = chars.take(count).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == count);
                    code.and_then(char::from_u32).ok_or_else(wrong)
                };
                text.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '\\' => '\\',
                    '"' => '"',
                    'u' => hex(4, &mut chars)?,
                    'U' => hex(8, &mut chars)?,
                    _ => return Err(wrong()),
                });
            }
            other => text.push(other),
        }
    }
    Err(TemplateError::new(at, "'\"' has no end"))
}
