//! What a log holds: entries, and where in which log they stand.

use std::fmt;
use std::sync::Arc;

use dwcp_types::RegionId;

use super::redact;
use super::trace::{InTrace, SpanId};

/// Most bytes of a message.
pub const MESSAGE_BYTES: usize = 16 << 10;
/// Most bytes of all names and values of an entry's fields.
pub const FIELDS_BYTES: usize = 16 << 10;
/// Most fields of an entry.
pub const FIELDS: usize = 64;
/// Most bytes of a component's name, a request id, an operation id.
pub const ID_BYTES: usize = 128;

/// How much an entry matters, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the record.
    #[default]
    Info,
    /// Somebody should look.
    Warning,
    /// Something failed.
    Error,
}

impl Level {
    /// All of them, from least to most.
    pub const ALL: [Level; 3] = [Level::Info, Level::Warning, Level::Error];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    /// The level of a name; none when there is no such level.
    pub fn parse(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which log an entry was written to first: `REGION`, or `REGION@NAME` when a region has several, one after the other
/// or at once.
///
/// Letters, digits, `-`, `_` and `.`, so that it can be the name of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

impl Origin {
    /// Of its text; none when that is no origin.
    pub fn parse(text: &str) -> Option<Origin> {
        let (region, name) = text.split_once('@').unwrap_or((text, "-"));
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=64).contains(&part.len()) && part.bytes().all(allowed) && !part.starts_with('.')
        };
        (plain(region) && plain(name)).then(|| Origin(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        self.0.split('@').next().unwrap_or(&self.0)
    }

    /// The region.
    pub fn region_id(&self) -> RegionId {
        RegionId::from(self.region())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How long what an entry tells of took: the entry is a span of its trace, its message the span's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The span that began it, if it is not the first of its trace.
    pub parent: Option<SpanId>,
    /// When it began, after the entry's time, µs: below 1,000.
    pub start_rest_us: u16,
    /// How long it took, µs.
    pub duration_us: u64,
}

/// What is written to a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When, since 1970-01-01 00:00 UTC, ms.
    pub at_ms: i64,
    /// Who wrote it, such as `federation-controller`.
    pub component: Arc<str>,
    pub level: Level,
    pub message: String,
    /// The request that it belongs to; empty: none.
    pub request_id: String,
    /// The operation that it belongs to; empty: none.
    pub operation_id: String,
    /// Names and values, in the order given. A name has no `=`.
    pub fields: Vec<(String, String)>,
    /// The span of a trace that it belongs to, or is.
    pub trace: Option<InTrace>,
    /// There when it is a span; only together with `trace`.
    pub span: Option<Timing>,
    /// How many bytes of it were left out because it was too long.
    pub cut_bytes: u32,
}

impl Entry {
    /// As a log takes it: secrets replaced (see [`redact`]), and what is too long cut, which `cut_bytes` says. Doing
    /// it again changes nothing, unless it was cut in the middle of something.
    pub fn admitted(mut self) -> Entry {
        redact::entry(&mut self);
        let mut cut = 0;
        if self.component.len() > ID_BYTES {
            let mut name = self.component.to_string();
            cut += shorten(&mut name, ID_BYTES);
            self.component = name.into();
        }
        cut += shorten(&mut self.request_id, ID_BYTES);
        cut += shorten(&mut self.operation_id, ID_BYTES);
        cut += shorten(&mut self.message, MESSAGE_BYTES);
        let mut left = FIELDS_BYTES;
        for (number, (name, value)) in self.fields.iter_mut().enumerate() {
            if name.contains('=') {
                *name = name.replace('=', "_");
            }
            if number >= FIELDS {
                left = 0;
            }
            cut += shorten(name, left.min(ID_BYTES));
            left -= name.len();
            cut += shorten(value, left);
            left -= value.len();
        }
        self.fields.retain(|(name, _)| !name.is_empty());
        self.cut_bytes = self.cut_bytes.saturating_add(u32::try_from(cut).unwrap_or(u32::MAX));
        self.span = self.span.filter(|_| self.trace.is_some());
        self
    }
}

/// Cuts a text to at most `most` bytes at a character's end, and says how many were cut.
fn shorten(text: &mut String, most: usize) -> usize {
    let before = text.len();
    if before > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    before - text.len()
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The log that it was written to first.
    pub origin: Origin,
    /// Its number there, from 1 on. A number is never used twice.
    pub seq: u64,
    pub entry: Entry,
}

impl Record {
    /// Where it stands among the records of all logs.
    pub fn place(&self) -> Place {
        Place { at_ms: self.entry.at_ms, origin: self.origin.as_str().into(), seq: self.seq }
    }

    /// Its region's name.
    pub fn region(&self) -> &str {
        self.origin.region()
    }

    /// Compares as [`Place`] does, without making one.
    pub(super) fn order(&self) -> (i64, &str, u64) {
        (self.entry.at_ms, self.origin.as_str(), self.seq)
    }
}

/// The order of records of several logs: by time, then by region and log, then by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at_ms: i64,
    pub origin: Arc<str>,
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_at_a_character_and_says_so() {
        let entry = Entry {
            message: "ä".repeat(MESSAGE_BYTES),
            fields: vec![("a=b".into(), "x".repeat(FIELDS_BYTES)), ("next".into(), "y".into())],
            ..Entry::default()
        };
        let admitted = entry.admitted();
        assert_eq!(admitted.message.len(), MESSAGE_BYTES);
        assert_eq!(admitted.fields.len(), 1);
        assert_eq!((&*admitted.fields[0].0, admitted.fields[0].1.len()), ("a_b", FIELDS_BYTES - 3));
        assert_eq!(admitted.cut_bytes as usize, MESSAGE_BYTES + 3 + 5);
        assert_eq!(admitted.clone().admitted(), admitted);
    }

    #[test]
    fn an_origin_can_be_the_name_of_a_folder() {
        for good in ["eu-west-1", "eu-west-1@3-18c2", "a.b_c"] {
            assert_eq!(Origin::parse(good).expect(good).as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "@x", "a@", "a@b@c", "a b", "ä", "a@..", &"x".repeat(65)] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
        assert_eq!(Origin::parse("eu-west-1@3").expect("good").region(), "eu-west-1");
    }
}
