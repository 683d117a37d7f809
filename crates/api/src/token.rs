//! Tokens: who may call.

use crate::{Page, Role};

endpoint! {
    #[doc = "Creates a token; its secret is shown once."]
    TokenCreate: Post "/v1/tokens", Administer, TokenCreateRequest => TokenCreated;
    #[doc = "Lists tokens, without secrets."]
    TokenList: Get "/v1/tokens", Administer, TokenListRequest => Page<Token>;
    #[doc = "Revokes a token everywhere."]
    TokenRevoke: Delete "/v1/tokens/{token_id}", Administer, TokenRevokeRequest => Token;
}

request! {
    /// A token to make.
    pub struct TokenCreateRequest {
        /// User or machine it is for.
        pub user: String,
        /// `null`: viewer.
        pub role: Option<Role>,
        /// How long it holds; `null`: 90 days.
        pub expires_in_ms: Option<u64>,
        /// What it is for.
        pub description: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which tokens to list.
    pub struct TokenListRequest {
        /// Only this user's.
        pub user: Option<String>,
        /// Also revoked and expired ones.
        #[serde(default)]
        pub all: bool,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which token to revoke.
    pub struct TokenRevokeRequest {
        pub token_id: String,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// State of a token.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum TokenState { Active, Revoked, Expired }

    /// A token, without its secret.
    #[derive(Eq)]
    pub struct Token {
        /// `token-…`.
        pub token_id: String,
        pub user: String,
        pub role: Role,
        pub state: TokenState,
        pub description: String,
        /// Milliseconds since 1970 (UTC).
        pub created_at_ms: u64,
        /// Milliseconds since 1970 (UTC); `null`: never.
        pub expires_at_ms: Option<u64>,
        /// Milliseconds since 1970 (UTC); `null` when it holds.
        pub revoked_at_ms: Option<u64>,
        /// Milliseconds since 1970 (UTC); `null`: never, or not known here.
        pub last_used_at_ms: Option<u64>,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
    }

    /// A new token.
    #[derive(Eq)]
    pub struct TokenCreated {
        /// The secret; it can't be shown again. Empty in a dry run.
        pub secret: String,
        pub token: Token,
    }
}
