//! Tokens, and who a token speaks for.

use dwcp_api::page::Nothing;
use dwcp_api::session::{Login, LoginRequest, Principal, WhoAmI};
use dwcp_api::token::{
    Token as ApiToken, TokenCreate, TokenCreateRequest, TokenCreated, TokenList, TokenListRequest,
    TokenRevoke, TokenRevokeRequest, TokenState,
};
use dwcp_api::{Page, Problem, Role};
use dwcp_roles::node::Request;
use dwcp_state::Token;
use dwcp_types::{Code, Refusal, Revision, TokenId, Wall};

use super::auth::{self, Caller};
use super::call::{Call, bad_value, expect_revision};
use super::routes::Serve;
use super::{Api, names, page};
use crate::handle::View;

/// How long a token holds when nothing is said, and at most: 90 days, ten years.
const EXPIRES_MS: (u64, u64) = (90 * 86_400_000, 3_650 * 86_400_000);

fn show(api: &Api, token: &Token, now: Wall) -> ApiToken {
    ApiToken {
        token_id: token.id.as_str().to_owned(),
        user: token.user.clone(),
        role: match token.role {
            dwcp_state::Role::Viewer => Role::Viewer,
            dwcp_state::Role::Operator => Role::Operator,
            dwcp_state::Role::Admin => Role::Admin,
        },
        state: match (token.revoked_at, token.is_valid(now)) {
            (Some(_), _) => TokenState::Revoked,
            (None, true) => TokenState::Active,
            (None, false) => TokenState::Expired,
        },
        description: String::new(),
        created_at_ms: token.created_at.0,
        expires_at_ms: token.expires_at.map(|at| at.0),
        revoked_at_ms: token.revoked_at.map(|at| at.0),
        last_used_at_ms: api.last_used_ms(&token.id),
        revision: token.revision.0,
    }
}

fn find(call: &Call, view: &View<'_>, id: &TokenId) -> Result<ApiToken, Problem> {
    let core = &view.node.facts().core;
    let token = core.tokens.get(id).ok_or_else(|| {
        let refusal = Refusal::new(Code::UnknownToken, format!("no token {id}"));
        Problem::from(&refusal.try_this("dwcp-cli security token list"))
    })?;
    Ok(show(&call.api, token, view.now.wall))
}

fn check_user(user: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    if user.is_empty() || user.len() > 128 || !user.chars().all(plain) {
        return Err(bad_value("user", "1 to 128 letters, digits and - _ . @ +"));
    }
    if ["dwcp", "anonymous"].contains(&user) {
        return Err(bad_value("user", format!("'{user}' is kept for DWCP itself")));
    }
    Ok(())
}

impl Serve for TokenCreate {
    async fn answer(call: &Call, request: TokenCreateRequest) -> Result<TokenCreated, Problem> {
        check_user(&request.user)?;
        let expires_in_ms = match request.expires_in_ms {
            None => EXPIRES_MS.0,
            Some(ms) if (1_000..=EXPIRES_MS.1).contains(&ms) => ms,
            Some(ms) => {
                return Err(bad_value("expires_in_ms", format!("{ms} is not from 1000 to {}", EXPIRES_MS.1)));
            }
        };
        let random = |why: String| Problem::new(500, "", &why);
        let (secret, id) = match &call.seed {
            Some(seed) => seed.token(),
            None => {
                let id = auth::fresh_id("token-").map_err(random)?;
                (auth::fresh_secret().map_err(random)?, TokenId::from(id.as_str()))
            }
        };
        let now = call.look(|view| view.now.wall).await?;
        let token = Token {
            id: id.clone(),
            user: request.user,
            role: match request.role.unwrap_or(Role::Viewer) {
                Role::Viewer => dwcp_state::Role::Viewer,
                Role::Operator => dwcp_state::Role::Operator,
                Role::Admin => dwcp_state::Role::Admin,
            },
            secret_hash: auth::secret_hash(&secret),
            created_at: now,
            expires_at: Some(Wall(now.0.saturating_add(expires_in_ms))),
            revoked_at: None,
            revision: Revision(0),
        };
        if request.dry_run {
            return Ok(TokenCreated { secret: String::new(), token: show(&call.api, &token, now) });
        }
        call.change(Request::PutToken(call.asked(), token)).await?;
        let asked = call.clone();
        let token = call.look(move |view| find(&asked, view, &id)).await?;
        // The same key under another token of the same user: the token of the first time holds, and nobody keeps its secret.
        let token = token.map_err(|_| {
            let refusal = Refusal::new(
                Code::IdempotencyMismatch,
                "this request made a token before; its secret was shown then",
            );
            Problem::from(&refusal.try_this("dwcp-cli security token list"))
        })?;
        Ok(TokenCreated { secret, token })
    }
}

impl Serve for TokenList {
    async fn answer(call: &Call, request: TokenListRequest) -> Result<Page<ApiToken>, Problem> {
        let asked = call.clone();
        call.find(move |view| {
            let core = &view.node.facts().core;
            let now = view.now.wall;
            let mut found: Vec<_> = core
                .tokens
                .values()
                .filter(|token| request.user.as_ref().is_none_or(|user| token.user == *user))
                .filter(|token| request.all || token.is_valid(now))
                .map(|token| {
                    let key = page::newest_first(token.created_at.0, token.id.as_str());
                    (key, show(&asked.api, token, now))
                })
                .collect();
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            page::cut(found, request.limit, request.cursor.as_deref(), names::as_of_federation(view))
        })
        .await
    }
}

impl Serve for TokenRevoke {
    async fn answer(call: &Call, request: TokenRevokeRequest) -> Result<ApiToken, Problem> {
        let id = TokenId::from(request.token_id.as_str());
        let (asked, wanted) = (call.clone(), id.clone());
        let before = call.find(move |view| find(&asked, view, &wanted)).await?;
        let expected = request.expected_revision;
        if request.dry_run {
            let read = format!("dwcp-cli security token list --user {}", before.user);
            expect_revision(&format!("token {id}"), expected, Revision(before.revision), &read)?;
        }
        if request.dry_run || (before.state == TokenState::Revoked && expected.is_none()) {
            return Ok(before);
        }
        call.change(Request::RevokeToken(call.asked_expecting(expected), id.clone())).await?;
        let asked = call.clone();
        call.find(move |view| find(&asked, view, &id)).await
    }
}

fn principal(call: &Call, caller: &Caller, federation: String) -> Principal {
    Principal {
        token_id: caller.token.as_ref().map_or_else(String::new, |id| id.as_str().to_owned()),
        user: caller.user.clone(),
        role: caller.role,
        expires_at_ms: caller.expires_at_ms,
        federation,
        region: call.api.region.clone(),
    }
}

impl Serve for Login {
    async fn answer(call: &Call, request: LoginRequest) -> Result<Principal, Problem> {
        if request.token.is_empty() || request.token.len() > 512 {
            return Err(bad_value("token", "1 to 512 characters"));
        }
        let caller = auth::authenticate(&call.api, &request.token).await?;
        Ok(principal(call, &caller, call.api.federation.clone()))
    }
}

impl Serve for WhoAmI {
    async fn answer(call: &Call, _: Nothing) -> Result<Principal, Problem> {
        Ok(principal(call, &call.caller, call.api.federation.clone()))
    }
}
