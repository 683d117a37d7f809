//! What never gets into a log: secrets.
//!
//! A value is replaced by [`REDACTED`]
//!
//! 1. when its field's name, without `-`, `_`, `.` and case, contains `password`, `passwd`, `passphrase`, `secret`, `token`,
//!    `authorization`, `cookie`, `credential`, `apikey`, `privatekey` or `accesskey`, unless it ends with `id`, `ids`, `count`,
//!    `name`, `file`, `path` or `hash`: those say which one, not what it is;
//! 2. when it is one word of 32 to 512 characters of base64 with upper case, lower case and digits mixed, as keys are
//!    (hexadecimal digests and ids have no upper case, and stay).
//!
//! Within a value, a message or an id, these are replaced where they stand: private keys in PEM; `Bearer …` and
//! `Basic …`; JSON web tokens; this program's own tokens (`dwcp_…`); access keys of AWS, tokens of GitHub and Slack,
//! and Slack's webhooks; the password in a URL; and what follows `password=`, `secret:`, `token=`, `api_key=` and the
//! like. `token-…` is a token's public id, and stays.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::record::Entry;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// What is kept of a match is in its one group.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        r"\b((?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*",
        r"\bdwcp_[A-Za-z0-9-][A-Za-z0-9_-]{39,}",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{30,}",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
        r"(hooks\.slack\.com/services/)[A-Za-z0-9/]+",
        r"(://[^/\s:@]*:)[^/\s@]+(?:@)",
        r#"(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|authorization)["']?\s*[=:]\s*["']?(?:(?:bearer|basic)\s+)?)[^\s"',;&]+"#,
    ];
    Regex::new(&patterns.join("|")).expect("the patterns above are patterns")
});

const NAMES: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
];
const HARMLESS_ENDS: [&str; 7] = ["id", "ids", "count", "name", "file", "path", "hash"];

/// Replaces every secret of an entry. Doing it again changes nothing.
pub fn entry(entry: &mut Entry) {
    for text in [&mut entry.message, &mut entry.request_id, &mut entry.operation_id] {
        replace(text);
    }
    for (name, value) in &mut entry.fields {
        if value.is_empty() {
            continue;
        }
        if is_secret_name(name) || is_key_like(value) {
            value.clear();
            value.push_str(REDACTED);
        } else {
            replace(value);
        }
    }
}

fn replace(text: &mut String) {
    if !SECRET.is_match(text) {
        return;
    }
    let replaced = SECRET.replace_all(text, |found: &Captures<'_>| {
        let whole = &found[0];
        let kept = found.iter().skip(1).flatten().next().map_or("", |group| group.as_str());
        let secret = &whole[kept.len()..];
        if secret.starts_with("token-") || secret.starts_with(REDACTED) {
            return whole.to_owned();
        }
        format!("{kept}{REDACTED}{}", if kept.starts_with("://") { "@" } else { "" })
    });
    *text = replaced.into_owned();
}

fn is_secret_name(name: &str) -> bool {
    let letters = name.chars().filter(|c| !"-_. ".contains(*c));
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    NAMES.iter().any(|part| plain.contains(part)) && !HARMLESS_ENDS.iter().any(|end| plain.ends_with(end))
}

fn is_key_like(value: &str) -> bool {
    if !(32..=512).contains(&value.len()) {
        return false;
    }
    let (mut upper, mut lower, mut digits) = (0, 0, 0);
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' => upper += 1,
            b'a'..=b'z' => lower += 1,
            b'0'..=b'9' => digits += 1,
            b'+' | b'/' | b'_' | b'-' | b'=' => {}
            _ => return false,
        }
    }
    upper >= 3 && lower >= 3 && digits >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut text = text.to_owned();
        replace(&mut text);
        let once = text.clone();
        replace(&mut text);
        assert_eq!(text, once, "doing it again changes nothing");
        text
    }

    fn field(name: &str, value: &str) -> String {
        let mut one = Entry { fields: vec![(name.into(), value.into())], ..Entry::default() };
        entry(&mut one);
        one.fields.remove(0).1
    }

    #[test]
    fn secrets_within_a_text_are_replaced_and_the_rest_stays() {
        let token = format!("dwcp_{}", "aB3-_".repeat(9));
        for (text, expected) in [
            (format!("login with {token} failed"), "login with [redacted] failed"),
            ("Authorization: Bearer abcdefgh12345".into(), "Authorization: Bearer [redacted]"),
            ("sent bearer abcdefgh12345.x, no".into(), "sent bearer [redacted], no"),
            (r#"{"password": "hunter2", "user": "x"}"#.into(), r#"{"password": "[redacted]", "user": "x"}"#),
            ("s3://key:pass@bucket/a".into(), "s3://key:[redacted]@bucket/a"),
            ("AKIAIOSFODNN7EXAMPLE in the file".into(), "[redacted] in the file"),
            ("api_key=1&x=2".into(), "api_key=[redacted]&x=2"),
            (
                "x -----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY----- y".into(),
                "x [redacted] y",
            ),
            ("key -----BEGIN PRIVATE KEY-----\nabc".into(), "key [redacted]"),
            ("jwt eyJhbGciOi.eyJzdWIiOi.sig-x".into(), "jwt [redacted]"),
            (
                "https://hooks.slack.com/services/T0/B0/xyz".into(),
                "https://hooks.slack.com/services/[redacted]",
            ),
        ] {
            assert_eq!(shown(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_names_a_secret_stays() {
        for text in [
            "token-abc123 was revoked",
            "token: token-abc123",
            "dwcp_federation_placement_latency_ms_bucket",
            "the token has expired",
            "http://[::1]:8080/x",
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_field_is_judged_by_its_name_and_by_its_look() {
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY12";
        for (name, value, expected) in [
            ("Api-Key", "short", REDACTED),
            ("db.password", "x", REDACTED),
            ("sessionToken", "x", REDACTED),
            ("token_id", "token-abc123", "token-abc123"),
            ("token_count", "17", "17"),
            ("password_file", "/etc/dwcp/password", "/etc/dwcp/password"),
            ("value", key, REDACTED),
            (
                "digest",
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
            ("why", "Bearer abcdefgh12345", "Bearer [redacted]"),
            ("password", "", ""),
        ] {
            assert_eq!(field(name, value), expected, "{name}");
        }
    }
}
