//! Secrets on their way to a receiver, and out of what it answers.

use std::fs::File;
use std::io::Read;

use dwcp_telemetry::notify::Secret;

/// Longest secret, bytes.
const LONGEST: u64 = 8 << 10;
/// What is shorter is no secret, and may be a part of any word.
const SHORTEST: usize = 6;

/// A secret's text.
///
/// # Errors
/// Its file can't be read, or holds none.
pub fn reveal(secret: &Secret) -> Result<String, String> {
    let path = match secret {
        Secret::Text(text) => return Ok(text.clone()),
        Secret::File(path) => path,
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
    read.map_err(|error| format!("{path} can't be read: {error}"))?;
    let text = text.trim();
    if text.is_empty() || text.len() as u64 > LONGEST {
        return Err(format!("{path} holds no secret of up to {LONGEST} bytes"));
    }
    Ok(text.to_owned())
}

/// What was revealed, so that it can be hidden again.
#[derive(Default)]
pub struct Revealed(Vec<String>);

impl Revealed {
    pub fn add(&mut self, secret: String) -> String {
        self.0.push(secret.clone());
        secret
    }

    /// Of a URL, also the path alone is a secret.
    pub fn add_url(&mut self, url: String) -> String {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        if let Some(at) = rest.find(['/', '?']) {
            self.0.push(rest[at..].to_owned());
        }
        self.add(url)
    }

    /// A text without any of them.
    pub fn hide(&self, text: &str) -> String {
        let mut longest_first: Vec<&String> =
            self.0.iter().filter(|secret| secret.len() >= SHORTEST).collect();
        longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        longest_first
            .into_iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[hidden]"))
    }
}
