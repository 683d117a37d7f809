//! Tracing one request across regions: W3C Trace Context, and spans kept among the log's entries.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::record::{Entry, Level, Record, Timing};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Of its bytes; none when all are 0, which stands for no id.
            pub fn new(bytes: [u8; $bytes]) -> Option<$name> {
                (bytes != [0; $bytes]).then_some($name(bytes))
            }

            pub fn bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// Of lower-case hexadecimal digits, all of them.
            pub fn parse(text: &str) -> Option<$name> {
                let mut bytes = [0; $bytes];
                read_hex(text.as_bytes(), &mut bytes)?;
                $name::new(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id!(
    /// What all spans of one request have in common.
    TraceId,
    16
);
hex_id!(
    /// One piece of work within a trace.
    SpanId,
    8
);

fn read_hex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    if text.len() != bytes.len() * 2 {
        return None;
    }
    // Upper case is not allowed: W3C Trace Context 3.2.2 has HEXDIGLC.
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    for (pair, byte) in text.chunks_exact(2).zip(bytes) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

/// Which span an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InTrace {
    pub trace: TraceId,
    pub span: SpanId,
}

/// The header `traceparent`: what a caller says about the trace that a request belongs to
/// (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    pub trace: TraceId,
    /// The caller's span: the parent of the first span here.
    pub parent: SpanId,
    /// Whether the caller may have recorded it.
    pub sampled: bool,
}

/// A header that is no `traceparent`; a new trace is begun then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceparent;

impl fmt::Display for NoTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a traceparent header: 00-TRACE-SPAN-FLAGS, in lower-case hexadecimal digits")
    }
}

impl std::error::Error for NoTraceparent {}

/// Bytes of the fields of version 00, with their dashes.
const LENGTH: usize = 55;

impl FromStr for Traceparent {
    type Err = NoTraceparent;

    /// A version above 00 may have more after these fields, which is left out (section 4.3 of the recommendation).
    fn from_str(text: &str) -> Result<Traceparent, NoTraceparent> {
        let read = || {
            let bytes = text.as_bytes();
            let (fields, rest) = (bytes.get(..LENGTH)?, &bytes[LENGTH..]);
            if [fields[2], fields[35], fields[52]] != [b'-'; 3] {
                return None;
            }
            let (mut version, mut trace, mut parent, mut flags) = ([0], [0; 16], [0; 8], [0]);
            read_hex(&fields[..2], &mut version)?;
            read_hex(&fields[3..35], &mut trace)?;
            read_hex(&fields[36..52], &mut parent)?;
            read_hex(&fields[53..], &mut flags)?;
            let longer = match version[0] {
                0 => rest.is_empty(),
                0xff => false,
                _ => rest.is_empty() || rest[0] == b'-',
            };
            let (trace, parent) = (TraceId::new(trace)?, SpanId::new(parent)?);
            longer.then_some(Traceparent { trace, parent, sampled: flags[0] & 1 == 1 })
        };
        read().ok_or(NoTraceparent)
    }
}

impl fmt::Display for Traceparent {
    /// In version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.parent, u8::from(self.sampled))
    }
}

/// A piece of work of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    /// The span that began it; none for the first of a trace.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: String,
    /// Who did it.
    pub component: Arc<str>,
    /// When it began, since 1970-01-01 00:00 UTC, µs.
    pub start_us: i64,
    /// How long it took, µs.
    pub duration_us: u64,
    /// Whether it failed.
    pub failed: bool,
    pub request_id: String,
    pub operation_id: String,
    pub fields: Vec<(String, String)>,
}

impl Span {
    /// As an entry of a log.
    pub fn entry(self) -> Entry {
        Entry {
            at_ms: self.start_us.div_euclid(1_000),
            component: self.component,
            level: if self.failed { Level::Error } else { Level::Info },
            message: self.name,
            request_id: self.request_id,
            operation_id: self.operation_id,
            fields: self.fields,
            trace: Some(InTrace { trace: self.trace, span: self.id }),
            span: Some(Timing {
                parent: self.parent,
                start_rest_us: self.start_us.rem_euclid(1_000) as u16,
                duration_us: self.duration_us,
            }),
            cut_bytes: 0,
        }
    }

    /// The span that a record is; none when it is a line of the log.
    pub fn of(record: &Record) -> Option<Span> {
        let entry = &record.entry;
        let (place, timing) = (entry.trace?, entry.span?);
        Some(Span {
            trace: place.trace,
            id: place.span,
            parent: timing.parent,
            name: entry.message.clone(),
            component: entry.component.clone(),
            start_us: entry.at_ms.saturating_mul(1_000).saturating_add(i64::from(timing.start_rest_us)),
            duration_us: timing.duration_us,
            failed: entry.level == Level::Error,
            request_id: entry.request_id.clone(),
            operation_id: entry.operation_id.clone(),
            fields: entry.fields.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_the_same() {
        let read: Traceparent = GOOD.parse().expect("good");
        assert_eq!(read.to_string(), GOOD);
        assert!(read.sampled);
        // Flags that mean nothing here are not handed on.
        let other: Traceparent = GOOD.replace("-01", "-fe").parse().expect("good");
        assert_eq!(other.to_string(), GOOD.replace("-01", "-00"));
    }

    #[test]
    fn a_later_version_may_be_longer_and_this_one_may_not() {
        let later = GOOD.replacen("00", "cc", 1);
        for good in [later.clone(), format!("{later}-what-comes-later")] {
            assert_eq!(good.parse::<Traceparent>().expect("good").to_string(), GOOD);
        }
        for bad in [
            format!("{GOOD}-more"),
            format!("{later}more"),
            GOOD.replacen("00", "ff", 1),
            GOOD.to_uppercase(),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD[..54].to_owned(),
            GOOD.replace('-', "_"),
            "ä".repeat(40),
            String::new(),
        ] {
            assert_eq!(bad.parse::<Traceparent>(), Err(NoTraceparent), "{bad}");
        }
    }
}
