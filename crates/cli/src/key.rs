//! Keys that make a write safe to repeat, and ids that find its log.

use std::io::Read;

use dwcp_types::hex;

/// 128 random bits in hex, with a prefix.
pub fn fresh(prefix: &str) -> String {
    let mut bytes = [0u8; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = now.map_or(0, |d| d.as_nanos());
        bytes = (nanos ^ (u128::from(std::process::id()) << 96)).to_be_bytes();
    }
    format!("{prefix}{}", hex(&bytes))
}
