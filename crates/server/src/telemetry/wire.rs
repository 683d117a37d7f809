//! What regions ask each other about what they measured. Between shells, in the class that waits for all others.

use dwcp_roles::node::Opaque;
use dwcp_telemetry::model::{MatchOp, Matcher};
use dwcp_types::codec::Reader;
use dwcp_types::{wire_enum, wire_struct};

/// A condition on a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub name: String,
    pub value: String,
    /// The value is a pattern.
    pub pattern: bool,
    /// It must not hold.
    pub not: bool,
}
wire_struct!(Condition { 1 name, 2 value, 3 pattern, 4 not });

impl Condition {
    /// A matcher as it is sent.
    pub fn of(matcher: &Matcher) -> Condition {
        let (value, pattern, not) = match &matcher.op {
            MatchOp::Equal(value) => (value.clone(), false, false),
            MatchOp::NotEqual(value) => (value.clone(), false, true),
            MatchOp::Regex(pattern) => (pattern.as_str().to_owned(), true, false),
            MatchOp::NotRegex(pattern) => (pattern.as_str().to_owned(), true, true),
        };
        Condition { name: matcher.name.clone(), value, pattern, not }
    }

    /// # Errors
    /// The pattern is none.
    pub fn matcher(&self) -> Result<Matcher, String> {
        if self.pattern {
            // It is anchored already, and anchoring it again changes nothing.
            return Matcher::regex(&self.name, &self.value, self.not).map_err(|e| e.to_string());
        }
        let op = match self.not {
            true => MatchOp::NotEqual(self.value.clone()),
            false => MatchOp::Equal(self.value.clone()),
        };
        Ok(Matcher { name: self.name.clone(), op })
    }
}

/// What is wanted of what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// Series with their samples.
    #[default]
    Samples,
    /// Series without.
    Series,
    /// Names of labels.
    Names,
    /// Values of the label named.
    Values,
    /// Lines of logs: a question of the API, as JSON in `text`.
    Lines,
    /// What follows the record `after` of the log named in `text`.
    LogAfter,
    /// The logs that are here, and the last number of each.
    Logs,
    /// Spans of the trace whose id is in `text`.
    Spans,
}
wire_enum!(What { 1 Samples, 2 Series, 3 Names, 4 Values, 5 Lines, 6 LogAfter, 7 Logs, 8 Spans });

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    pub id: u64,
    pub what: What,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// Of a label, whose values are wanted.
    pub label: String,
    /// From when to when, ms since 1970, both included.
    pub start_ms: u64,
    pub end_ms: u64,
    /// As in `Select`.
    pub step_ms: u64,
    pub max_samples: u64,
    pub text: String,
    pub after: u64,
}
wire_struct!(Ask {
    1 id, 2 what, 3 conditions, 4 label, 5 start_ms, 6 end_ms, 7 step_ms, 8 max_samples, 9 text, 10 after
});

/// A piece of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tell {
    pub id: u64,
    /// From 0.
    pub number: u64,
    /// No piece follows.
    pub last: bool,
    /// Samples, or series without any: a remote-write request. Names and values: texts. Lines: a shipment, and with the last
    /// piece what else is to be said.
    pub bytes: Opaque,
    /// Why there is no answer; empty: there is one.
    pub error: String,
    /// It would read so many samples, which are too many; 0: that is not why.
    pub too_much: u64,
    pub warnings: Vec<String>,
}

wire_struct!(Tell { 1 id, 2 number, 3 last, 4 bytes, 5 error, 6 too_much, 7 warnings });

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Ask(Box<Ask>),
    Tell(Box<Tell>),
}
wire_enum!(Frame { 230 Ask(f), 231 Tell(f) });

/// Whether a frame in the class of bulk is one of these.
pub fn is_mine(bytes: &[u8]) -> bool {
    matches!(Reader::new(bytes).varint(), Ok(230 | 231))
}

/// A list of texts, as it is sent.
pub fn encode_texts(texts: &Vec<String>) -> Vec<u8> {
    dwcp_types::encode(texts)
}

/// The same, read.
///
/// # Errors
/// It is none.
pub fn decode_texts(bytes: &[u8]) -> Result<Vec<String>, String> {
    dwcp_types::decode::<Vec<String>>(bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use dwcp_types::{decode, encode};

    use super::*;

    #[test]
    fn frames_and_conditions_come_back_as_they_were() {
        let conditions: Vec<Condition> =
            [Matcher::equal("a", "b"), Matcher::regex("region", "eu-.*|us", true).expect("a pattern")]
                .iter()
                .map(Condition::of)
                .collect();
        let again = conditions[1].matcher().expect("a matcher");
        assert!(again.holds("sa-east-1") && !again.holds("us") && !again.holds("eu-west-1"));
        let ask = Frame::Ask(Box::new(Ask { id: 7, conditions, ..Ask::default() }));
        let bytes = encode(&ask);
        assert!(is_mine(&bytes) && decode::<Frame>(&bytes) == Ok(ask));
        let tell = Tell { id: 7, bytes: Opaque(vec![1, 2]), last: true, ..Tell::default() };
        assert!(is_mine(&encode(&Frame::Tell(Box::new(tell)))) && !is_mine(&[1]) && !is_mine(&[]));
        let texts = vec!["a".to_owned(), String::new()];
        assert_eq!(decode_texts(&encode_texts(&texts)), Ok(texts));
    }
}
