//! Prometheus remote write: what another process pushes to us, and what we push to it.
//!
//! Source: prometheus.io, *Remote-Write 1.0* and *2.0* specifications. A request is a protobuf message, compressed as one block of
//! Snappy. Exemplars are read over.

mod histograms;
pub mod outbox;
mod request;
mod symbols;

use std::collections::BTreeMap;
use std::fmt;

use crate::exposition::{Limits, Metadata};
use crate::model::{Sample, Series};
use crate::protobuf::{WireError, Writer};

/// Which of the two messages a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`, of 1.0.
    One,
    /// `io.prometheus.write.v2.Request`, of 2.0.
    Two,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteRequest {
    /// In the order of the request; the samples of each are in ascending order of time, the last one of a moment counts. The request
    /// may name a series more than once.
    pub series: Vec<Series>,
    /// Of 1.0 by the family's name, of 2.0 by that of the series.
    pub metadata: BTreeMap<String, Metadata>,
}

/// Why a request is refused. All but [`WriteError::TooLarge`] would be so again: the sender must not repeat it (answer 400).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It would be larger than allowed once it is inflated; it was not (answer 413).
    TooLarge { bytes: u64, limit: u64 },
    /// It is not compressed as it must be.
    Compression(String),
    /// It can't be read, or goes beyond a limit.
    Malformed(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::TooLarge { bytes, limit } => {
                write!(f, "{bytes} bytes when inflated, and at most {limit} are taken")
            }
            WriteError::Compression(why) => write!(f, "not a block of Snappy: {why}"),
            WriteError::Malformed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<WireError> for WriteError {
    fn from(error: WireError) -> WriteError {
        WriteError::Malformed(error.to_string())
    }
}

impl Version {
    /// The header `Content-Type` of such a request. `Content-Encoding` is `snappy` with it, and `X-Prometheus-Remote-Write-Version`
    /// is `0.1.0` or `2.0.0`.
    pub fn content_type(self) -> &'static str {
        match self {
            Version::One => "application/x-protobuf",
            Version::Two => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// Which one a header `Content-Type` names; none for another thing (answer 415).
    pub fn of_content_type(content_type: &str) -> Option<Version> {
        let mut parts = content_type.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        match parts.find_map(|part| part.strip_prefix("proto=")) {
            None | Some("prometheus.WriteRequest") => Some(Version::One),
            Some("io.prometheus.write.v2.Request") => Some(Version::Two),
            Some(_) => None,
        }
    }
}

/// What the body of a request says. `limits.bytes` is held against the length that the body has when inflated, before it is.
///
/// # Errors
/// It is too large, no block of Snappy, not that message, or goes beyond a limit.
pub fn decode(version: Version, body: &[u8], limits: &Limits) -> Result<WriteRequest, WriteError> {
    let message = inflate(body, limits.bytes)?;
    match version {
        Version::One => request::decode(&message, limits),
        Version::Two => symbols::decode(&message, limits),
    }
}

/// The body of a request of 1.0.
///
/// # Errors
/// It would have 4 GiB or more, which Snappy does not take.
pub fn encode(series: &[Series], metadata: &BTreeMap<String, Metadata>) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::default();
    request::write(&mut writer, series, metadata);
    let message = writer.finish();
    snap::raw::Encoder::new()
        .compress_vec(&message)
        .map_err(|error| WriteError::Compression(error.to_string()))
}

/// A byte of Snappy copies at most so many: 64 with an element of 3.
const SNAPPY_RATIO: usize = 22;

fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, WriteError> {
    let broken = |error: snap::Error| WriteError::Compression(error.to_string());
    let bytes = snap::raw::decompress_len(body).map_err(broken)?;
    if bytes > limit {
        return Err(WriteError::TooLarge { bytes: bytes as u64, limit: limit as u64 });
    }
    // A few bytes that promise much are not worth the memory.
    if bytes > body.len().saturating_mul(SNAPPY_RATIO) {
        return Err(WriteError::Compression(format!("{} bytes can't become {bytes}", body.len())));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(broken)
}

/// What is left of a limit on samples.
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    fn new(limits: &Limits) -> Budget {
        Budget { left: limits.samples, limit: limits.samples }
    }

    fn take(&mut self, samples: usize) -> Result<(), WriteError> {
        let left = self.left.checked_sub(samples);
        self.left = left.ok_or_else(|| WriteError::Malformed(format!("more than {} samples", self.limit)))?;
        Ok(())
    }
}

/// Samples in ascending order of time; of those of one moment the last one.
fn in_order(samples: &mut Vec<Sample>) {
    samples.sort_by_key(|sample| sample.at_ms);
    samples.dedup_by(|next, kept| {
        let same = next.at_ms == kept.at_ms;
        if same {
            std::mem::swap(next, kept);
        }
        same
    });
}

#[cfg(test)]
#[path = "remote_write/tests.rs"]
mod tests;
