//! Rust source with comments and literals blanked out, so that a scan sees only code.

/// Replaces the contents of comments, strings and characters by spaces. Lines stay where they are.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at + 1),
            '\'' => character_end(&chars, at),
            'r' if !continues_name(&chars, at) => raw_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Whether the character is part of a longer name (`for`), where `r` opens no raw string; `br` and
/// `cr` prefixes do.
fn continues_name(chars: &[char], at: usize) -> bool {
    let name = |c: &char| c.is_alphanumeric() || *c == '_';
    match at.checked_sub(1).map(|before| chars[before]) {
        Some('b' | 'c') => at >= 2 && name(&chars[at - 2]),
        Some(before) => name(&before),
        None => false,
    }
}

fn line_end(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| from + length)
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime (then the start is returned).
fn character_end(chars: &[char], from: usize) -> usize {
    match chars.get(from + 1) {
        Some('\\') => {
            let close = chars.iter().skip(from + 3).position(|c| *c == '\'');
            close.map_or(chars.len(), |length| from + 3 + length + 1)
        }
        Some(_) if chars.get(from + 2) == Some(&'\'') => from + 3,
        _ => from,
    }
}

fn raw_end(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from;
    }
    let mut at = from + 2 + hashes;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stays_and_everything_else_goes() {
        for (text, gone, stays) in [
            ("let a = \"fn x() {\"; b", "fn", "b"),
            ("let a = \"\\\"fn\"; b", "fn", "b"),
            ("a // fn {\nb", "fn", "b"),
            ("a /* fn /* { */ } */ b", "fn", "b"),
            ("a r#\"fn \" {\"# b", "fn", "b"),
            ("a br\"fn\" b", "fn", "b"),
            ("match c { '{' => '\\'', _ => b }", "{'", "b"),
            ("fn keep<'a>(x: &'a str) { \"gone\" }", "gone", "keep<'a>"),
            ("for x in \"gone\" {}", "gone", "for x in"),
        ] {
            let code = blank(text);
            assert!(!code.contains(gone), "{text:?} became {code:?}");
            assert!(code.contains(stays), "{text:?} became {code:?}");
            assert_eq!(code.lines().count(), text.lines().count());
        }
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_text() {
        for text in ["\"open", "/* open", "r#\"open\"", "'\\", "'"] {
            blank(text);
        }
    }
}
