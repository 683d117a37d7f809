//! What a collector's answer means: taken, to be sent again, or refused (OTLP specification, *OTLP/HTTP response*).

use std::time::Duration;

use crate::protobuf::Fields;

/// Longest wait that a collector may ask for.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, but for so many of its items.
    Taken { rejected: u64 },
    /// It is to be sent again, after so long when the collector says so.
    Again(Option<Duration>),
    /// Sending it again would not help.
    Refused,
}

/// Of a status, of `Retry-After` as it came, and of the answer's body; `now_s` is the time, s since 1970.
pub fn verdict(status: u16, retry_after: Option<&str>, body: &[u8], now_s: i64) -> Verdict {
    match status {
        200..=299 => Verdict::Taken { rejected: rejected(body) },
        429 | 502 | 503 | 504 => Verdict::Again(retry_after.and_then(|text| wait(text.trim(), now_s))),
        _ => Verdict::Refused,
    }
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str, now_s: i64) -> Option<Duration> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            u64::try_from(date.as_second().saturating_sub(now_s)).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// How many items an answer says were not taken (`partial_success.rejected_…`). What can't be read says nothing.
pub fn rejected(body: &[u8]) -> u64 {
    let read = || {
        let mut fields = Fields::new(body);
        while let Some(field) = fields.next().ok()? {
            if field.number == 1 {
                let mut inner = field.message().ok()?;
                while let Some(field) = inner.next().ok()? {
                    if field.number == 1 {
                        return u64::try_from(field.int().ok()?).ok();
                    }
                }
            }
        }
        None
    };
    read().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::Writer;

    #[test]
    fn answers_are_taken_as_the_specification_has_them() {
        let seconds = |seconds| Verdict::Again(Some(Duration::from_secs(seconds)));
        let now_s = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
        for (status, retry_after, expected) in [
            (200, None, Verdict::Taken { rejected: 0 }),
            (202, Some("9"), Verdict::Taken { rejected: 0 }),
            (429, Some(" 7 "), seconds(7)),
            (503, Some("Sun, 06 Nov 1994 08:50:00 GMT"), seconds(23)),
            (503, Some("Sun, 06 Nov 1994 08:00:00 GMT"), seconds(0)),
            (503, Some("999999999999"), seconds(3_600)),
            (502, None, Verdict::Again(None)),
            (504, Some("soon"), Verdict::Again(None)),
            (400, None, Verdict::Refused),
            (413, Some("1"), Verdict::Refused),
            (500, None, Verdict::Refused),
            (301, None, Verdict::Refused),
        ] {
            assert_eq!(verdict(status, retry_after, b"", now_s), expected, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn what_was_not_taken_is_counted_and_rubbish_is_not() {
        let mut writer = Writer::default();
        writer.message(1, |inner| {
            inner.int(1, 12);
            inner.text(2, "too old");
        });
        let bytes = writer.finish();
        assert_eq!(verdict(200, None, &bytes, 0), Verdict::Taken { rejected: 12 });
        for length in 0..bytes.len() {
            assert!(rejected(&bytes[..length]) <= 12);
        }
        assert_eq!(rejected(b"{\"partialSuccess\":{}}"), 0);
        let mut writer = Writer::default();
        writer.message(1, |inner| inner.int(1, -1));
        assert_eq!(rejected(&writer.finish()), 0);
    }
}
