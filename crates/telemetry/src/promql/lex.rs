//! Words of an expression, each with where it stands.

use super::ParseError;

/// Where something stands in the expression: bytes from, up to and without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub from: usize,
    pub to: usize,
}

impl Span {
    /// From the beginning of one to the end of another.
    pub fn through(self, end: Span) -> Span {
        Span { from: self.from, to: end.to }
    }
}

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// A name or a keyword as it was written.
    Name(String),
    Number(f64),
    /// A duration, ms.
    Duration(i64),
    Text(String),
    /// An operator or punctuation.
    Sign(&'static str),
    End,
}

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub word: Word,
    pub span: Span,
}

/// Longer signs first.
const SIGNS: [&str; 26] = [
    "==", "!=", "<=", ">=", "=~", "!~", "=", "<", ">", "+", "-", "*", "/", "%", "^", "(", ")", "{", "}", "[",
    "]", ",", ":", "@", ";", "!",
];

/// The words of an expression; the last is [`Word::End`].
///
/// # Errors
/// A character that begins no word, or a number, duration or text that is none.
pub fn lex(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { text, at: 0, brackets: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let from = lexer.at;
        let word = lexer.word()?;
        let end = word == Word::End;
        tokens.push(Token { word, span: Span { from, to: lexer.at } });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// How many `[` are open: inside, a colon parts range and step and is no part of a name.
    brackets: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn word(&mut self) -> Result<Word, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Word::End) };
        let second = rest[first.len_utf8()..].chars().next();
        match first {
            '0'..='9' => self.number_or_duration(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number_or_duration(),
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.name()),
            ':' if self.brackets == 0 && second.is_some_and(is_name) => Ok(self.name()),
            '"' | '\'' | '`' => self.quoted(first),
            _ => self.sign(first),
        }
    }

    fn sign(&mut self, first: char) -> Result<Word, ParseError> {
        let Some(sign) = SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) else {
            return Err(ParseError::at(self.text, self.at, format!("unexpected character {first:?}")));
        };
        self.at += sign.len();
        match *sign {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        Ok(Word::Sign(sign))
    }

    fn name(&mut self) -> Word {
        let rest = self.rest();
        let colon = self.brackets == 0;
        let to = rest.find(|c| !(is_name(c) && (colon || c != ':'))).unwrap_or(rest.len());
        self.at += to;
        match rest[..to].to_ascii_lowercase().as_str() {
            "inf" => Word::Number(f64::INFINITY),
            "nan" => Word::Number(f64::NAN),
            _ => Word::Name(rest[..to].to_owned()),
        }
    }

    fn number_or_duration(&mut self) -> Result<Word, ParseError> {
        let rest = self.rest();
        let to = number_end(rest);
        let written = &rest[..to];
        let bad = |what: &str| ParseError::at(self.text, self.at, format!("{what} {written:?}"));
        let word = if let Some(number) = read_number(written) {
            Word::Number(number)
        } else if written.bytes().all(|b| b.is_ascii_alphanumeric()) && !written.starts_with("0x") {
            Word::Duration(read_duration(written).map_err(|why| bad(&format!("{why}:")))?)
        } else {
            return Err(bad("not a number:"));
        };
        self.at += to;
        Ok(word)
    }

    fn quoted(&mut self, quote: char) -> Result<Word, ParseError> {
        let (from, mut bytes) = (self.at, Vec::new());
        let unfinished = |what: &str| ParseError::at(self.text, from, format!("a string that {what}"));
        let mut rest = self.rest()[1..].chars();
        loop {
            match rest.next() {
                None => return Err(unfinished("does not end")),
                Some('\n') if quote != '`' => return Err(unfinished("does not end on its line")),
                Some(c) if c == quote => break,
                Some('\\') if quote != '`' => {
                    let here = self.text.len() - rest.as_str().len() - 1;
                    read_escape(&mut rest, quote, &mut bytes).ok_or_else(|| {
                        ParseError::at(self.text, here, "not an escape sequence".to_owned())
                    })?;
                }
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| unfinished("is not UTF-8"))?;
        self.at = self.text.len() - rest.as_str().len();
        Ok(Word::Text(text))
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// How far a number or duration reaches that begins here: a sign belongs to it only in an exponent.
fn number_end(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let hex = rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    let mut to = 0;
    while to < bytes.len() {
        let exponent = !hex && to > 0 && bytes[to - 1].eq_ignore_ascii_case(&b'e');
        let signed =
            exponent && matches!(bytes[to], b'+' | b'-') && bytes.get(to + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[to].is_ascii_alphanumeric() || matches!(bytes[to], b'.' | b'_') || signed) {
            break;
        }
        to += 1;
    }
    to
}

/// A number: decimal, hexadecimal or, with a leading 0, octal, as Prometheus reads it; single `_` may part digits.
fn read_number(written: &str) -> Option<f64> {
    if written.starts_with('_') || written.ends_with('_') || written.contains("__") {
        return None;
    }
    let digits = written.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().map(|number| number as f64);
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return i64::from_str_radix(&digits, 8).ok().map(|number| number as f64);
    }
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !digits.chars().all(plain) {
        return None;
    }
    digits.parse().ok()
}

/// The units of a duration with their length in ms, in the order in which they may be written.
pub const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration such as `1h30m`, ms.
///
/// # Errors
/// It is none, its units are out of order, or it is too long.
pub fn read_duration(written: &str) -> Result<i64, &'static str> {
    let (mut rest, mut next_unit, mut sum) = (written, 0, 0i64);
    if rest.is_empty() {
        return Err("not a duration");
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let unit = &rest[digits..digits + letters];
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err("not a number or duration");
        };
        if at < next_unit {
            return Err("a duration's units go from large to small, each once");
        }
        let number: i64 = rest[..digits].parse().map_err(|_| "not a duration")?;
        let part = number.checked_mul(UNITS[at].1).ok_or("too long a duration")?;
        sum = sum.checked_add(part).ok_or("too long a duration")?;
        (rest, next_unit) = (&rest[digits + letters..], at + 1);
    }
    // Prometheus counts in ns, and so that far: 292 years.
    if sum > i64::MAX / 1_000_000 {
        return Err("too long a duration");
    }
    Ok(sum)
}

/// What a backslash stands for, as in Go.
fn read_escape(rest: &mut std::str::Chars, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let code = |rest: &mut std::str::Chars, length: usize, radix: u32| {
        let digits = rest.as_str().get(..length)?;
        let code = u32::from_str_radix(digits, radix).ok()?;
        *rest = rest.as_str()[length..].chars();
        Some(code)
    };
    let first = rest.clone().next()?;
    if first.is_digit(8) {
        bytes.push(u8::try_from(code(rest, 3, 8)?).ok()?);
        return Some(());
    }
    rest.next();
    let byte = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        'x' => u8::try_from(code(rest, 2, 16)?).ok()?,
        'u' | 'U' => {
            let c = char::from_u32(code(rest, if first == 'u' { 4 } else { 8 }, 16)?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        c if c == quote => quote as u8,
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Word> {
        lex(text).expect("words").into_iter().map(|token| token.word).collect()
    }

    #[test]
    fn numbers_are_decimal_hexadecimal_octal_or_infinite() {
        let number = |text: &str| match words(text)[0] {
            Word::Number(number) => number,
            ref other => panic!("{text} is {other:?}"),
        };
        let cases: &[(&str, f64)] = &[
            ("1", 1.0),
            ("1.5e3", 1500.0),
            ("1e-3", 0.001),
            (".5", 0.5),
            ("5.", 5.0),
            ("0x1F", 31.0),
            ("010", 8.0),
            ("09", 9.0),
            ("1_000", 1000.0),
            ("Inf", f64::INFINITY),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), *expected, "{text}");
        }
        assert!(number("nan").is_nan());
    }

    #[test]
    fn durations_add_up_and_know_their_order() {
        for (text, ms) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1ms", 1),
            ("1y2w3d", 33_004_800_000),
            ("2m5ms", 120_005),
        ] {
            assert_eq!(words(text)[0], Word::Duration(ms), "{text}");
        }
        for text in ["5m1h", "1m1m", "5x", "300y", "1e"] {
            assert!(lex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_colon_belongs_to_a_name_outside_of_brackets_only() {
        let name = |text: &str| Word::Name(text.to_owned());
        assert_eq!(words("job:x:rate5m")[0], name("job:x:rate5m"));
        assert_eq!(
            words("x[5m:1m]")[2..5],
            [Word::Duration(300_000), Word::Sign(":"), Word::Duration(60_000)]
        );
    }

    #[test]
    fn text_is_unescaped_unless_it_stands_in_backticks() {
        let text = |text: &str| Word::Text(text.to_owned());
        assert_eq!(words(r#""a\n\x41\u00e4\101\"'""#)[0], text("a\nA\u{e4}A\"'"));
        assert_eq!(words(r"`a\n`")[0], text(r"a\n"));
        assert_eq!(words(r"'a\''")[0], text("a'"));
        for bad in [r#""\q""#, r#""\x4""#, r#""open"#, "'a\nb'", r#""\xff""#, r#""\uD800""#] {
            assert!(lex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn comments_reach_to_the_end_of_their_line() {
        assert_eq!(words("1 # one\n+ 2").len(), 4);
        assert_eq!(words("# nothing"), [Word::End]);
    }
}
