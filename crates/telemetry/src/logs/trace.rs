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

/// The trace that an id is found under, the same wherever it is asked: of a request whose id is `req_` and 32 hexadecimal
/// digits, with or without more behind a `-`, or of 32 such digits alone, these digits; of any other id a digest of it.
pub fn trace_of(id: &str) -> TraceId {
    let digits = id.strip_prefix("req_").unwrap_or(id);
    let digits = digits.split_once('-').map_or(digits, |(digits, _)| digits);
    TraceId::parse(digits).unwrap_or_else(|| TraceId(nonzero(digest(&[id]).to_be_bytes())))
}

/// A span that everybody who knows these parts of it gives the same id.
pub fn span_of(parts: &[&str]) -> SpanId {
    let wide = digest(parts);
    SpanId(nonzero(((wide >> 64) as u64 ^ wide as u64).to_be_bytes()))
}

/// Only 0 stands for no id.
fn nonzero<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

/// FNV-1a of 128 bits over several parts.
fn digest(parts: &[&str]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

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
    fn a_trace_is_found_from_the_id_of_its_request() {
        let digits = "4bf92f3577b34da6a3ce929d0e0e4736";
        for id in [digits.to_owned(), format!("req_{digits}"), format!("req_{digits}-8k3v0q5w9x1m2")] {
            assert_eq!(trace_of(&id).to_string(), digits, "{id}");
        }
        let others = ["failover-001", "failover-002", "req_0", "", &digits.to_uppercase(), &"0".repeat(32)];
        let mut traces: Vec<TraceId> = others.iter().map(|id| trace_of(id)).collect();
        traces.sort();
        traces.dedup();
        assert_eq!(traces.len(), others.len());
        // Agreed on between regions: another digest would tear the traces of a rolling upgrade apart.
        assert_eq!(trace_of("failover-001").to_string(), "2b29c8324e8379e621f419096cc8bc0e");
        assert_eq!(span_of(&["req_0", "request", "eu-west-1"]).to_string(), "1d6288e1c0798d28");
        assert_ne!(span_of(&["ab", "c"]), span_of(&["a", "bc"]));
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
