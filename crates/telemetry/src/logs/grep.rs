//! Patterns, and the bytes without which they can't match.

use memchr::memmem;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

/// Longest pattern, bytes.
const PATTERN_BYTES: usize = 1 << 10;
/// Most memory of a compiled pattern, bytes.
const COMPILED_BYTES: usize = 1 << 20;

/// A regular expression in the syntax of the crate `regex`: its time grows with the text's length only, whatever the
/// pattern.
#[derive(Clone, Debug)]
pub struct Grep {
    pattern: Regex,
    needle: Option<Needle>,
}

impl Grep {
    /// # Errors
    /// Why it is no pattern.
    pub fn new(pattern: &str) -> Result<Grep, String> {
        if pattern.len() > PATTERN_BYTES {
            return Err(format!("a pattern has at most {PATTERN_BYTES} bytes"));
        }
        let compiled = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES).build();
        let compiled = compiled.map_err(|error| error.to_string())?;
        let needle = regex_syntax::parse(pattern).ok().and_then(|hir| Needle::of(&hir));
        Ok(Grep { pattern: compiled, needle })
    }

    /// Whether it matches somewhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.pattern.is_match(text)
    }

    /// Whether it may match in a text of which these bytes are a part: false is certain.
    pub fn may_match(&self, bytes: &[u8]) -> bool {
        self.needle.as_ref().is_none_or(|needle| needle.find(bytes, 0).is_some())
    }

    pub(super) fn needle(&self) -> Option<&Needle> {
        self.needle.as_ref()
    }
}

/// Bytes of which one at least is in everything that is wanted: where they are not, nothing needs to be read.
#[derive(Clone, Debug)]
pub enum Needle {
    One(Box<memmem::Finder<'static>>),
    Any(regex::bytes::Regex),
}

impl Needle {
    pub fn one(bytes: &[u8]) -> Needle {
        Needle::One(Box::new(memmem::Finder::new(bytes).into_owned()))
    }

    fn of(hir: &Hir) -> Option<Needle> {
        let literals = |kind| {
            let found = Extractor::new().kind(kind).extract(hir);
            let literals = found.literals()?;
            let shortest = literals.iter().map(|literal| literal.as_bytes().len()).min()?;
            let texts: Option<Vec<String>> = literals
                .iter()
                .map(|literal| std::str::from_utf8(literal.as_bytes()).ok().map(regex::escape))
                .collect();
            let single = (literals.len() == 1).then(|| Needle::one(literals[0].as_bytes()));
            (shortest >= 2).then_some((shortest, single, texts))
        };
        let both = [literals(ExtractKind::Prefix), literals(ExtractKind::Suffix)];
        let (_, single, texts) =
            both.into_iter().flatten().max_by_key(|(length, single, _)| (single.is_some(), *length))?;
        single.or_else(|| regex::bytes::Regex::new(&texts?.join("|")).ok().map(Needle::Any))
    }

    /// Where it is next, at `from` or behind it.
    pub fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        match self {
            Needle::One(finder) => finder.find(bytes.get(from..)?).map(|at| from + at),
            Needle::Any(pattern) => pattern.find(bytes.get(from..)?).map(|found| from + found.start()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_has_the_needle_in_it() {
        let texts = [
            "failover of eu-west-1 took 12.5 s",
            "timeout",
            "TIMEOUT after 3 s",
            "x",
            "",
            "vm-17 and vm-18",
            "größer ÄÖ",
            "a.b",
            "aab",
            "region lost, connection reset",
        ];
        for pattern in [
            "failover .* took",
            ".*timeout",
            "(?i)timeout",
            "^x$",
            "vm-1[78]",
            "größer",
            "(?i)äö",
            "a.b",
            r"a\.b",
            "",
            "[a-z]+",
            "lost|reset|refused",
            r"\bvm-\d+\b",
            "(a|b)*b$",
        ] {
            let grep = Grep::new(pattern).expect(pattern);
            for text in texts.iter().filter(|text| grep.is_match(text)) {
                assert!(grep.may_match(text.as_bytes()), "{pattern} in {text}");
            }
        }
        assert!(matches!(Grep::new("failover .* took").expect("good").needle(), Some(Needle::One(_))));
        assert!(Grep::new("[a-z]+").expect("good").needle().is_none());
        assert!(Grep::new("(").is_err() && Grep::new(&"a{1000}".repeat(100)).is_err());
        assert!(Grep::new(&"a".repeat(PATTERN_BYTES + 1)).is_err());
    }
}
