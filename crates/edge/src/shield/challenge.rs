//! A puzzle that costs a browser part of a second and an attacker a processor, and what a solved one is worth.
//!
//! Nothing is kept of a puzzle that was asked: its token carries everything, signed and bound to who asked. Only those that
//! were solved are remembered, so that none counts twice.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, RwLock};

use dwcp_decide::ddos::Net;
use dwcp_types::hex;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

use super::page::Page;

/// The cookie of who has solved one.
pub const COOKIE: &str = "dwcp-clear";
/// For how long a puzzle may be solved, ms.
const PUZZLE_MS: u64 = 120_000;
/// The most solved puzzles that are remembered.
const MOST_SOLVED: usize = 65_536;
/// The longest place to go back to, bytes.
const LONGEST_PLACE: usize = 2_048;
/// The longest token or cookie, bytes.
const LONGEST_TOKEN: usize = 256;

/// What tokens are signed with: the federation's, the same at every router, changed now and then.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    pub current: [u8; 32],
    /// The one before: what it signed is still good.
    pub previous: Option<[u8; 32]>,
}

/// Who is asked: the address's network and the user agent.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    pub ip: IpAddr,
    pub user_agent: &'a str,
}

/// Asks puzzles and looks at answers.
pub struct Challenges {
    /// A puzzle counts only at the router that asked it: only that one knows whether it was solved before.
    router: String,
    secrets: RwLock<Secrets>,
    solved: Mutex<Solved>,
    page: Page,
    random: SystemRandom,
}

#[derive(Default)]
struct Solved {
    /// When they would have ended, and which.
    tokens: BTreeSet<(u64, String)>,
    /// What ends no later is refused: some of those were forgotten.
    floor_ms: u64,
}

impl Challenges {
    pub fn new(router: &str, secrets: Secrets) -> Challenges {
        Challenges {
            router: router.to_owned(),
            secrets: RwLock::new(secrets),
            solved: Mutex::default(),
            page: Page::new(),
            random: SystemRandom::new(),
        }
    }

    /// Others from now on.
    pub fn set_secrets(&self, secrets: Secrets) {
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    /// A page with a puzzle of so many bits; none: this machine has no randomness.
    pub fn page(&self, who: Who<'_>, bits: u8, to: &str, now_ms: u64) -> Option<String> {
        let mut nonce = [0; 16];
        self.random.fill(&mut nonce).ok()?;
        let claim = format!("1.{}.{:x}.{bits}", hex(&nonce), now_ms + PUZZLE_MS);
        let tag = self.sign("puzzle", &self.bound(&claim, who));
        Some(self.page.with(&format!("{claim}.{tag}"), bits, &place(to)))
    }

    /// A form with an answer came: the cookie's value and where to go.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn solve(
        &self,
        who: Who<'_>,
        body: &[u8],
        clearance_ms: u64,
        now_ms: u64,
    ) -> Result<(String, String), String> {
        let form = Form::read(body).ok_or("this is not the form of a challenge")?;
        let (claim, tag) = form.token.rsplit_once('.').ok_or("the token is incomplete")?;
        if !self.signed("puzzle", &self.bound(claim, who), tag) {
            return Err("the token was not made here for you".to_owned());
        }
        // From here on it is what this router wrote.
        let mut parts = claim.split('.').skip(1);
        let nonce = parts.next().unwrap_or_default();
        let until_ms = parts.next().and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
        let bits: u32 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX);
        if until_ms <= now_ms {
            return Err("the challenge has ended; load the page again".to_owned());
        }
        if zero_bits(&format!("{tag}:{}", form.answer)) < bits {
            return Err("the answer is wrong".to_owned());
        }
        if !self.first_time(until_ms, nonce, now_ms) {
            return Err("this challenge was solved before; load the page again".to_owned());
        }
        let cookie = self.clearance(who, now_ms + clearance_ms);
        let seconds = clearance_ms / 1_000;
        let cookie = format!("{COOKIE}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax");
        Ok((cookie, place(&form.to)))
    }

    /// Somebody's cookies say that a challenge was solved.
    pub fn is_cleared(&self, who: Who<'_>, cookies: &str, now_ms: u64) -> bool {
        let value =
            cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='));
        let Some((claim, tag)) =
            value.filter(|value| value.len() <= LONGEST_TOKEN).and_then(|v| v.rsplit_once('.'))
        else {
            return false;
        };
        let until = claim.strip_prefix("1.").and_then(|text| u64::from_str_radix(text, 16).ok());
        until.is_some_and(|until_ms| until_ms > now_ms) && self.signed("clearance", &bound(claim, who), tag)
    }

    fn clearance(&self, who: Who<'_>, until_ms: u64) -> String {
        let claim = format!("1.{until_ms:x}");
        let tag = self.sign("clearance", &bound(&claim, who));
        format!("{claim}.{tag}")
    }

    fn first_time(&self, until_ms: u64, nonce: &str, now_ms: u64) -> bool {
        let mut solved = self.solved.lock().unwrap_or_else(PoisonError::into_inner);
        let live = solved.tokens.split_off(&(now_ms, String::new()));
        solved.tokens = live;
        if until_ms <= solved.floor_ms || !solved.tokens.insert((until_ms, nonce.to_owned())) {
            return false;
        }
        if solved.tokens.len() > MOST_SOLVED {
            solved.floor_ms = solved.tokens.pop_first().map_or(0, |(until_ms, _)| until_ms);
        }
        true
    }

    fn bound(&self, claim: &str, who: Who<'_>) -> String {
        format!("{}\n{}", self.router, bound(claim, who))
    }

    fn sign(&self, purpose: &str, text: &str) -> String {
        let secret = self.secrets.read().unwrap_or_else(PoisonError::into_inner).current;
        hex(hmac::sign(&key(&secret, purpose), text.as_bytes()).as_ref())
    }

    fn signed(&self, purpose: &str, text: &str, tag: &str) -> bool {
        let Some(tag) = from_hex(tag) else { return false };
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_of = |secret: &[u8; 32]| hmac::verify(&key(secret, purpose), text.as_bytes(), &tag).is_ok();
        is_of(&secrets.current) || secrets.previous.as_ref().is_some_and(is_of)
    }
}

/// A key for one purpose: what is signed for one is nothing for another.
fn key(secret: &[u8; 32], purpose: &str) -> hmac::Key {
    let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, purpose.as_bytes()).as_ref())
}

/// A claim with whom it is about.
fn bound(claim: &str, who: Who<'_>) -> String {
    let agent = digest::digest(&digest::SHA256, who.user_agent.as_bytes());
    format!("{claim}\n{}\n{}", Net::neighbours(who.ip), hex(agent.as_ref()))
}

/// Zero bits that a text's SHA-256 begins with.
fn zero_bits(text: &str) -> u32 {
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    let mut bits = 0;
    for byte in sum.as_ref() {
        bits += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    bits
}

/// A place of this site, as it may be gone to: no other site's, whatever is written.
fn place(to: &str) -> String {
    let plain = to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let here = to.starts_with('/') && !to.starts_with("//") && to.len() <= LONGEST_PLACE;
    let puzzle = to.starts_with(crate::guard::CHALLENGE_PATH);
    if plain && here && !puzzle { to.to_owned() } else { "/".to_owned() }
}

/// A form that was posted.
#[derive(Default)]
struct Form {
    token: String,
    answer: String,
    to: String,
}

impl Form {
    fn read(body: &[u8]) -> Option<Form> {
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= 4 * LONGEST_PLACE)?;
        let mut form = Form::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value)?;
            match name {
                "token" => form.token = value,
                "answer" => form.answer = value,
                "to" => form.to = value,
                _ => {}
            }
        }
        let number = !form.answer.is_empty() && form.answer.len() <= 20;
        let digits = form.answer.bytes().all(|byte| byte.is_ascii_digit());
        (number && digits && !form.token.is_empty() && form.token.len() <= LONGEST_TOKEN).then_some(form)
    }
}

/// What `%41` and `+` stand for.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let two = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&two).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let even = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = text.as_bytes().chunks(2);
    even.then(|| {
        pairs.filter_map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
    })
}

/// As browsers write sums of scripts (RFC 4648).
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests;
