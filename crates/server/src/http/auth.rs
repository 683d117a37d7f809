//! Who calls: tokens are compared by the hash of their secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use dwcp_api::{Permission, Problem, Role};
use dwcp_state::Token;
use dwcp_types::{Code, Refusal, TokenId, Wall, hex};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::Api;
use crate::handle::View;

/// Who calls, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    pub token: Option<TokenId>,
    pub user: String,
    pub role: Role,
    pub expires_at_ms: Option<u64>,
}

impl Caller {
    pub fn nobody() -> Caller {
        Caller { token: None, user: "anonymous".to_owned(), role: Role::Viewer, expires_at_ms: None }
    }
}

/// SHA-256 of a token's secret in hexadecimal, as the facts keep it.
pub fn secret_hash(secret: &str) -> String {
    hex(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// A new token's secret: `dwcp_` and 256 bits of the system's randomness as base64url. Fails when the system has none.
pub fn fresh_secret() -> Result<String, String> {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no randomness".to_owned())?;
    Ok(format!("dwcp_{}", BASE64_URL.encode(bytes)))
}

/// `prefix` and 65 random bits in lower-case letters and digits.
pub fn fresh_id(prefix: &str) -> Result<String, String> {
    let mut bytes = [0u8; 13];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no randomness".to_owned())?;
    Ok(spelled(prefix, &bytes))
}

fn spelled(prefix: &str, bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let text: String = bytes.iter().take(13).map(|byte| LETTERS[usize::from(byte & 31)] as char).collect();
    format!("{prefix}{text}")
}

/// What a request under a key makes secret things from: the same whenever and wherever it is repeated, and known only to
/// who knows the caller's own secret. The key alone is no secret; events show it.
#[derive(Clone)]
pub struct Seed(hmac::Tag);

impl Seed {
    /// The seed of a request: its caller's secret, its key, its method, path and body.
    pub fn new(secret: &str, parts: &[&[u8]]) -> Seed {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Seed(context.sign())
    }

    fn part(&self, label: &str) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref()), label.as_bytes())
    }

    /// A token's secret and id. A client that got no answer repeats its request, also elsewhere: it must get the token of
    /// the first time and not one whose secret nobody keeps.
    pub fn token(&self) -> (String, TokenId) {
        let secret = format!("dwcp_{}", BASE64_URL.encode(self.part("secret")));
        (secret, TokenId::from(spelled("token-", self.part("id").as_ref()).as_str()))
    }
}

/// Compares in a time that depends on the lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn role(token: &Token) -> Role {
    match token.role {
        dwcp_state::Role::Viewer => Role::Viewer,
        dwcp_state::Role::Operator => Role::Operator,
        dwcp_state::Role::Admin => Role::Admin,
    }
}

/// The caller whose secret has this hash. Every token is looked at, whichever fits.
pub fn find(view: &View<'_>, hash: &str) -> Result<Caller, Problem> {
    let core = &view.node.facts().core;
    if core.regions.is_empty() {
        let refusal = Refusal::new(Code::NotReady, "this region has not heard of its federation yet");
        return Err(Problem::from(&refusal.then("it catches up as soon as a majority of regions is there")));
    }
    // What is known here of tokens is of the day on which this region left.
    if let Some(refusal) = view.node.left_out() {
        return Err(Problem::from(&refusal));
    }
    let mut found = None;
    for token in core.tokens.values() {
        if equal(token.secret_hash.as_bytes(), hash.as_bytes()) {
            found = Some(token);
        }
    }
    let Some(token) = found else { return Err(unknown("no token has this secret")) };
    check(token, view.now.wall)?;
    Ok(Caller {
        token: Some(token.id.clone()),
        user: token.user.clone(),
        role: role(token),
        expires_at_ms: token.expires_at.map(|at| at.0),
    })
}

fn check(token: &Token, now: Wall) -> Result<(), Problem> {
    if token.is_valid(now) {
        return Ok(());
    }
    let state = if token.revoked_at.is_some() { "is revoked" } else { "has expired" };
    Err(unknown(&format!("{} {state}", token.id)))
}

/// True while the caller's token opens doors.
pub fn still_holds(view: &View<'_>, caller: &Caller) -> bool {
    let Some(id) = &caller.token else { return true };
    view.node.facts().core.tokens.get(id).is_some_and(|token| token.is_valid(view.now.wall))
}

/// No token, or none that opens doors.
pub fn unknown(why: &str) -> Problem {
    Problem::from(
        &Refusal::new(Code::NotAuthenticated, "no valid token")
            .because(why)
            .try_this("dwcp-cli login --token TOKEN"),
    )
}

/// The secret of an `Authorization: Bearer …` header.
pub fn bearer(header: Option<&hyper::header::HeaderValue>) -> Result<&str, Problem> {
    let Some(value) = header else { return Err(unknown("the request carries no token")) };
    let text = value.to_str().unwrap_or("");
    let (scheme, secret) = text.split_once(' ').unwrap_or(("", ""));
    let secret = secret.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || secret.is_empty() || secret.len() > 512 {
        return Err(unknown("the header is not of the form `Authorization: Bearer TOKEN`"));
    }
    Ok(secret)
}

/// Refuses a caller whose role does not reach.
pub fn permit(caller: &Caller, needs: Permission) -> Result<(), Problem> {
    if caller.role.allows(needs) {
        return Ok(());
    }
    let needed = match needs {
        Permission::Public | Permission::Read => Role::Viewer,
        Permission::Operate => Role::Operator,
        Permission::Administer => Role::Admin,
    };
    Err(Problem::from(
        &Refusal::new(Code::NotPermitted, "the token's role does not allow this").because(format!(
            "{} is {}; this needs {}",
            caller.user,
            caller.role.name(),
            needed.name()
        )),
    ))
}

/// Finds the caller behind a secret, on the node's thread.
pub async fn authenticate(api: &Api, secret: &str) -> Result<Caller, Problem> {
    let hash = secret_hash(secret);
    let caller = api.node.look(move |view| find(view, &hash)).await.ok_or_else(super::call::stopping)??;
    if let Some(token) = &caller.token {
        api.note_use(token);
    }
    Ok(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_random_and_url_safe() {
        let (a, b) = (fresh_secret().expect("random"), fresh_secret().expect("random"));
        assert_ne!(a, b);
        assert_eq!(a.len(), 5 + 43);
        assert!(a[5..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{a}");
    }

    #[test]
    fn a_seed_follows_from_the_whole_request_and_its_callers_secret() {
        let token = |secret: &str, parts: &[&[u8]]| Seed::new(secret, parts).token();
        let first = token("mine", &[b"key", b"POST", b"/v1/tokens", b"{}"]);
        assert_eq!(first, token("mine", &[b"key", b"POST", b"/v1/tokens", b"{}"]));
        assert_eq!((first.0.len(), first.1.as_str().len()), (5 + 43, 6 + 13));
        for (secret, key, body) in [("other", "key", "{}"), ("mine", "key2", "{}"), ("mine", "key", "{ }")] {
            let other = token(secret, &[key.as_bytes(), b"POST", b"/v1/tokens", body.as_bytes()]);
            assert!(other.0 != first.0 && other.1 != first.1, "{secret} {key} {body}");
        }
    }

    #[test]
    fn hashes_are_the_published_ones() {
        assert_eq!(secret_hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_header_without_a_bearer_token_is_refused() {
        for text in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            let value = hyper::header::HeaderValue::from_str(text).expect("header");
            assert_eq!(bearer(Some(&value)).expect_err(text).status, 401);
        }
        let value = hyper::header::HeaderValue::from_static("bearer dwcp_x");
        assert_eq!(bearer(Some(&value)).expect("secret"), "dwcp_x");
    }
}
