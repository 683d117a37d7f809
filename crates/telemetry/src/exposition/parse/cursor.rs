//! A place in a text, and the few moves that the two text forms need.

use std::borrow::Cow;

/// What is left.
pub struct Cursor<'a>(pub &'a str);

impl<'a> Cursor<'a> {
    pub fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Steps over a character, if it is the next one.
    pub fn eat(&mut self, character: char) -> bool {
        let rest = self.0.strip_prefix(character);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// What lies before the first character that `ends` it.
    pub fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let (found, rest) = self.0.split_at(self.0.find(ends).unwrap_or(self.0.len()));
        self.0 = rest;
        found
    }

    /// What is left of this line; goes on with the next one.
    pub fn line(&mut self) -> &'a str {
        let (line, rest) = self.0.split_once('\n').unwrap_or((self.0, ""));
        self.0 = rest;
        line
    }

    /// What lies before the next blank.
    pub fn word(&mut self) -> &'a str {
        self.until(|character| matches!(character, ' ' | '\t'))
    }

    /// What lies between quotes, escapes and all.
    pub fn quoted(&mut self) -> Option<&'a str> {
        let inside = self.0.strip_prefix('"')?;
        let (mut escaped, mut end) = (false, None);
        for (at, byte) in inside.bytes().enumerate() {
            match byte {
                b'"' if !escaped => {
                    end = Some(at);
                    break;
                }
                _ => escaped = byte == b'\\' && !escaped,
            }
        }
        let end = end?;
        self.0 = &inside[end + 1..];
        Some(&inside[..end])
    }
}

/// A text without its escapes: `\\`, `\n`, and `\"` when `quotes`. Prometheus leaves others as they are, and so does this.
pub fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
