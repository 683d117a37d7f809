//! Reads what `dwcpd run --record FILE` wrote: how many inputs of which kind, over which time.
//!
//! A record is the length of the rest (4 bytes, little endian), both clocks (8 bytes each: µs, ms), the kind (1 byte) and the
//! content; see `dwcpd`'s recorder.

/// What the kinds of records are, by number.
const KINDS: [&str; 10] = [
    "wake-ups",
    "frames of other nodes",
    "batches made durable",
    "readings of links",
    "measures of the process",
    "agents connected",
    "frames of agents",
    "agents gone",
    "requests",
    "hand-overs",
];

/// Bytes of a record before its content, without its length.
const HEAD: usize = 17;

/// A line on the whole, then one for each kind that occurs.
///
/// # Errors
/// It is no recording, or it is cut off in the middle of a record.
pub fn summary(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut counts = [0_u64; KINDS.len()];
    let (mut first_us, mut last_us) = (None, 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (length, after) = rest.split_first_chunk::<4>().ok_or(format!("cut off at byte {at}"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length < HEAD {
            return Err(format!("not a recording: the record at byte {at} is too short"));
        }
        let record = after.get(..length).ok_or(format!("cut off at byte {at}"))?;
        let (clock, _) = record.split_first_chunk::<8>().ok_or(format!("cut off at byte {at}"))?;
        last_us = u64::from_le_bytes(*clock);
        first_us.get_or_insert(last_us);
        let count = counts.get_mut(usize::from(record[HEAD - 1]));
        *count.ok_or(format!("not a recording: the record at byte {at} is of no known kind"))? += 1;
        rest = &after[length..];
    }
    let total: u64 = counts.iter().sum();
    let span_us = last_us.saturating_sub(first_us.unwrap_or(last_us));
    let mut lines = vec![format!("{total} inputs in {:.3} s", span_us as f64 / 1e6)];
    let occurring = KINDS.iter().zip(counts).filter(|(_, count)| *count > 0);
    lines.extend(occurring.map(|(kind, count)| format!("{count:>9} {kind}")));
    Ok(lines)
}
