//! Command lines brought into one form before they are parsed.
//!
//! The guide writes flags with an optional value as `--flag`, `--flag true` or `--flag false`, and `--watch` with or
//! without an interval. A parser can't tell that value from a word that follows; knowing the flags by name, we can.

/// Flags that are on when they stand alone.
pub const SWITCHES: &[&str] = &[
    "--all",
    "--cancel",
    "--compact",
    "--confirm",
    "--cut",
    "--detach",
    "--dry-run",
    "--fence",
    "--follow",
    "--force",
    "--full",
    "--global",
    "--heal",
    "--ignore-health",
    "--keep",
    "--live",
    "--local",
    "--no-color",
    "--now",
    "--one-way",
    "--compression",
    "--parallel-scoring",
    "--auto-failover",
    "--partial",
    "--quiet",
    "--test-all-regions",
    "--verbose",
    "--yes",
];

/// The name under which this program prints the address of a region.
pub const REGION_IP: &str = "get-region-ip";

/// What is meant by the name that the program was called by: `get-region-ip R` is `dwcp-cli routing address R`.
pub fn by_name(mut words: Vec<String>) -> Vec<String> {
    let name = words.first().and_then(|program| program.rsplit('/').next());
    if name == Some(REGION_IP) {
        words.splice(..1, ["dwcp-cli", "routing", "address"].map(str::to_owned));
    }
    words
}

/// How often `--watch` looks when it does not say.
pub const WATCH_INTERVAL: &str = "2s";

/// Joins every switch with its value: `--flag` becomes `--flag=true`; and every flag with a negative number behind it. Everything after `--` stays as it is.
pub fn normal(words: Vec<String>) -> Vec<String> {
    let mut joined = Vec::with_capacity(words.len());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            joined.push(word);
            joined.extend(words);
            break;
        }
        if SWITCHES.contains(&word.as_str()) {
            let value = words.next_if(|next| next == "true" || next == "false");
            joined.push(format!("{word}={}", value.as_deref().unwrap_or("true")));
        } else if word == "--watch" {
            let value = words.next_if(|next| dwcp_config::units::duration_ms(next).is_ok());
            joined.push(format!("{word}={}", value.as_deref().unwrap_or(WATCH_INTERVAL)));
        } else if word.starts_with("--") && !word.contains('=') {
            // A negative number is a value, to be judged as one, never a flag.
            match words.next_if(|next| negative_number(next)) {
                Some(value) => joined.push(format!("{word}={value}")),
                None => joined.push(word),
            }
        } else {
            joined.push(word);
        }
    }
    joined
}

fn negative_number(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
