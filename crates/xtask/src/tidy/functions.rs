//! How long functions are.

use super::ratchet::Measured;

/// The most lines of a function, from `fn` to its closing brace.
const MOST_LINES: usize = 70;

/// Every function of blanked `code` above the limit.
pub fn too_long(path: &str, code: &str) -> Vec<Measured> {
    let long = functions(code).into_iter().filter(|function| function.lines > MOST_LINES);
    long.map(|function| Measured {
        key: format!("function {path} {}", function.name),
        line: function.line,
        size: function.lines,
        limit: MOST_LINES,
    })
    .collect()
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && is_name(bytes[at - 1]) {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = body_start(bytes, at) else { continue };
        if name.is_empty() {
            continue;
        }
        let close = body_end(bytes, open);
        let line = 1 + count_lines(&bytes[..at]);
        found.push(Function { name, line, lines: 1 + count_lines(&bytes[at..close]) });
    }
    found
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Where the body's brace is; `None` for a declaration without a body.
fn body_start(bytes: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn body_end(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(code: &str) -> Vec<(String, usize, usize)> {
        functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect()
    }

    #[test]
    fn a_function_counts_from_its_name_to_its_brace() {
        let code = "struct S;\nfn one(x: [u8; 3]) -> [u8; 2] {\n  {\n  }\n}\nfn two() {}\n";
        assert_eq!(measure(code), [("one".to_owned(), 2, 4), ("two".to_owned(), 6, 1)]);
    }

    #[test]
    fn bounds_do_not_end_a_head() {
        let code = "fn a<T: Iterator<Item = u8>, U>(t: T) -> Vec<U>\nwhere\n    T: Clone,\n    U: Iterator<Item = u8>,\n{\n}\n";
        assert_eq!(measure(code), [("a".to_owned(), 1, 6)]);
    }

    #[test]
    fn a_declaration_and_a_function_type_have_no_body() {
        assert_eq!(measure("trait T { fn declared(&self) -> u8; }\nstruct S { f: fn (u8) -> u8, }\n"), []);
    }

    #[test]
    fn only_what_is_above_the_limit_is_reported() {
        let body = "    x();\n".repeat(MOST_LINES - 2);
        assert!(too_long("a.rs", &format!("fn fits() {{\n{body}}}\n")).is_empty());
        let over = too_long("a.rs", &format!("fn over() {{\n{body}    y();\n}}\n"));
        assert_eq!((over[0].key.as_str(), over[0].size), ("function a.rs over", MOST_LINES + 1));
    }
}
