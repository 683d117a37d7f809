//! Where an answer ended, so that the next one goes on there.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::record::{Origin, Place};

/// Where to go on. As text it has no space and needs no escaping in a URL's query but for `@` and `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// With what is behind this place, in the order of the query.
    Page(Place),
    /// With what was written later: the last record of each log that was looked at. A record that comes late is found
    /// all the same, whatever its time.
    Follow(BTreeMap<Origin, u64>),
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCursor;

impl fmt::Display for NoCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a cursor of an earlier answer")
    }
}

impl std::error::Error for NoCursor {}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cursor::Page(place) => write!(f, "p:{}:{}:{}", place.at_ms, place.origin, place.seq),
            Cursor::Follow(logs) => {
                f.write_str("f:")?;
                for (number, (origin, seq)) in logs.iter().enumerate() {
                    write!(f, "{}{origin}={seq}", if number > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Cursor, NoCursor> {
        let read = || match text.split_once(':')? {
            ("p", place) => {
                let (at_ms, rest) = place.split_once(':')?;
                let (origin, seq) = rest.split_once(':')?;
                let named = origin.is_empty() || Origin::parse(origin).is_some();
                let (at_ms, seq) = (at_ms.parse().ok()?, seq.parse().ok()?);
                named.then(|| Cursor::Page(Place { at_ms, origin: origin.into(), seq }))
            }
            ("f", "") => Some(Cursor::Follow(BTreeMap::new())),
            ("f", logs) => {
                let log = |part: &str| {
                    let (origin, seq) = part.split_once('=')?;
                    Some((Origin::parse(origin)?, seq.parse().ok()?))
                };
                logs.split(',').map(log).collect::<Option<BTreeMap<_, _>>>().map(Cursor::Follow)
            }
            _ => None,
        };
        read().ok_or(NoCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for text in ["p:-5:eu-west-1@2:17", "p:1:", "p:1::0", "f:", "f:a=1,b@x=2"] {
            let read: Result<Cursor, NoCursor> = text.parse();
            assert_eq!(read.map(|cursor| cursor.to_string()).ok(), (text != "p:1:").then(|| text.to_owned()));
        }
        for bad in ["", "p", "q:1", "p:x:a:1", "p:1:a/b:1", "f:a", "f:a=", "f:a=1,", "f:../x=1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(NoCursor), "{bad}");
        }
    }
}
