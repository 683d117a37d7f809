//! Globs in the names of metrics: `dwcp_federation_*_latency_ms`.
//!
//! PromQL knows none, and `*` multiplies. A `*` is taken for a glob only when
//!
//! - it touches a name on at least one side without a space, and whatever it touches is a name or another such `*`;
//! - at the beginning of its word, what stands before can't be multiplied (it is nothing, an operator, `(` or `,`); at the end,
//!   what stands behind can't (it is nothing, `)`, `,`, `{`, `[`, `offset`, `@` or an operator other than a sign);
//! - it stands in no braces, brackets or quotes;
//! - as a glob it matches the name of a metric that is known, and not each name that it parts is one.
//!
//! `a * b` always multiplies; so does `a*b` when there is a metric `a` and a metric `b`.

use std::collections::BTreeSet;

use super::ast::BinaryOp;
use super::lex::{Span, Token, Word, lex};

/// For each metric that the globs of an expression match, the expression with its name in their place, in the order of names.
/// Of several different globs the first says which there are, and the others get what its `*` stand for; a name with which
/// one of these is no known metric is left out. Empty: there is no glob in it.
pub fn expand_globs(text: &str, names: &[&str]) -> Vec<(String, String)> {
    let names: BTreeSet<&str> = names.iter().copied().collect();
    // What has no words has no globs; whoever parses it says what is wrong.
    let Ok(tokens) = lex(text) else { return Vec::new() };
    let globs: Vec<Span> = words(&tokens)
        .into_iter()
        .filter(|word| is_glob(&tokens, word.clone()))
        .map(|word| tokens[word.start].span.through(tokens[word.end - 1].span))
        .filter(|span| {
            let pattern = &text[span.from..span.to];
            let product = pattern.split('*').all(|part| names.contains(part));
            !product && names.iter().any(|name| captures(pattern, name).is_some())
        })
        .collect();
    let Some(first) = globs.first() else { return Vec::new() };
    let pattern = &text[first.from..first.to];
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fill(text, &globs, pattern, name, &names)?)))
        .collect()
}

/// The expression with a name for its first glob, and what fits for the others.
fn fill(text: &str, globs: &[Span], first: &str, name: &str, names: &BTreeSet<&str>) -> Option<String> {
    let stands_for = captures(first, name)?;
    let (mut filled, mut from) = (String::with_capacity(text.len()), 0);
    for glob in globs {
        filled += &text[from..glob.from];
        from = glob.to;
        let pattern = &text[glob.from..glob.to];
        if pattern == first {
            filled += name;
            continue;
        }
        let mut parts = pattern.split('*');
        let mut made = parts.next()?.to_owned();
        for (part, number) in parts.zip(0..) {
            made += stands_for.get(number)?;
            made += part;
        }
        if !names.contains(&*made) {
            return None;
        }
        filled += &made;
    }
    Some(filled + &text[from..])
}

/// What each `*` of a pattern stands for in a name, as little as possible each. `None`: it does not match.
fn captures<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let mut parts = pattern.split('*');
    let mut rest = name.strip_prefix(parts.next()?)?;
    let mut found = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let at = if parts.peek().is_none() {
            rest.ends_with(part).then(|| rest.len() - part.len())?
        } else {
            rest.find(part)?
        };
        found.push(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    Some(found)
}

/// Runs of names and `*` that touch each other, outside of braces and brackets, with both in them.
fn words(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    let (mut words, mut depth, mut at) = (Vec::new(), 0usize, 0);
    let part = |token: &Token| matches!(&token.word, Word::Name(_) | Word::Sign("*"));
    while at < tokens.len() {
        match tokens[at].word {
            Word::Sign("{" | "[") => depth += 1,
            Word::Sign("}" | "]") => depth = depth.saturating_sub(1),
            _ if depth == 0 && part(&tokens[at]) => {
                let mut end = at + 1;
                while end < tokens.len()
                    && part(&tokens[end])
                    && tokens[end].span.from == tokens[end - 1].span.to
                {
                    end += 1;
                }
                let stars = tokens[at..end].iter().filter(|token| token.word == Word::Sign("*")).count();
                if stars > 0 && stars < end - at {
                    words.push(at..end);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    words
}

/// Whether a `*` at an end of the word can't be one that multiplies.
fn is_glob(tokens: &[Token], word: std::ops::Range<usize>) -> bool {
    let star = |at: usize| tokens[at].word == Word::Sign("*");
    let operator = |word: &Word| {
        let text = match word {
            Word::Name(name) => name.as_str(),
            Word::Sign(sign) => sign,
            _ => return false,
        };
        BinaryOp::ALL.iter().any(|(known, ..)| text.eq_ignore_ascii_case(known))
    };
    let before = word.start.checked_sub(1).map(|at| &tokens[at]);
    let touches_before = before.is_some_and(|token| token.span.to == tokens[word.start].span.from);
    let free_before = match before.map(|token| &token.word) {
        None | Some(Word::Sign("(" | ",")) => true,
        Some(other) => operator(other),
    };
    let behind = &tokens[word.end.min(tokens.len() - 1)];
    let touches_behind = behind.span.from == tokens[word.end - 1].span.to;
    let free_behind = match &behind.word {
        Word::End | Word::Sign(")" | "," | "{" | "[" | "@") => true,
        Word::Sign("+" | "-") => false,
        Word::Name(name) if name.eq_ignore_ascii_case("offset") => true,
        other => operator(other),
    };
    // A number or text that touches makes it no name.
    let literal = |word: &Word| matches!(word, Word::Number(_) | Word::Duration(_) | Word::Text(_));
    if touches_before && before.is_some_and(|token| literal(&token.word))
        || touches_behind && literal(&behind.word)
    {
        return false;
    }
    (!star(word.start) || free_before) && (!star(word.end - 1) || free_behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] =
        ["a", "b", "fed_raft_latency_ms", "fed_raft_count", "fed_sync_latency_ms", "fed_sync_count"];

    fn expanded(text: &str) -> Vec<String> {
        expand_globs(text, &NAMES).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_glob_gives_a_query_for_each_name_it_matches() {
        let found = expand_globs("histogram_quantile(0.99, fed_*_latency_ms)", &NAMES);
        let expected = [
            ("fed_raft_latency_ms", "histogram_quantile(0.99, fed_raft_latency_ms)"),
            ("fed_sync_latency_ms", "histogram_quantile(0.99, fed_sync_latency_ms)"),
        ];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_star_may_stand_at_an_end() {
        assert_eq!(expanded("rate(fed_raft_*[5m])").len(), 2);
        assert_eq!(expanded("sum(*_count) by (region)").len(), 2);
        assert_eq!(expanded("fed_*{a=\"*\"} > 5").len(), 4);
        assert_eq!(expanded("*_count"), ["fed_raft_count", "fed_sync_count"]);
    }

    #[test]
    fn multiplication_stays_multiplication() {
        for text in [
            "a * b",
            "a*b",
            "2*a",
            "a*2",
            "a *b",
            "(a)*fed_raft_count",
            "x{y=\"1\"}*fed_raft_count",
            "fed_*(a)",
            "fed_ * _count",
            "fed_* b",
            "fed_*-1",
            "a*nothing",
            "fed_raft_count*",
            "rate(a[5m])*_count",
            "\"fed_*\"",
        ] {
            let found = expanded(text);
            // A name with a star behind it that stands for nothing is the name itself.
            let same = text == "fed_raft_count*" && found == ["fed_raft_count"];
            assert!(found.is_empty() || same, "{text}: {found:?}");
        }
    }

    #[test]
    fn other_globs_get_what_the_first_one_stands_for() {
        assert_eq!(
            expanded("fed_*_latency_ms / fed_*_count"),
            ["fed_raft_latency_ms / fed_raft_count", "fed_sync_latency_ms / fed_sync_count"]
        );
        assert_eq!(expanded("fed_*_count + fed_*_count").len(), 2);
    }

    #[test]
    fn a_star_stands_for_as_little_as_it_can() {
        assert_eq!(captures("a*c*e", "abcde"), Some(vec!["b", "d"]));
        assert_eq!(captures("*", "abc"), Some(vec!["abc"]));
        assert_eq!(captures("a*b", "a"), None);
        assert_eq!(captures("ab*b", "ab"), None);
    }
}
