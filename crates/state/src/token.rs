//! Tokens and roles.

use dwcp_types::{Revision, TokenId, Wall};

/// What a token may do; each includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    #[default]
    Viewer,
    /// Changes VMs and regions.
    Operator,
    /// Manages tokens and policies.
    Admin,
}

/// An API token. The secret itself is never stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Public id.
    pub id: TokenId,
    /// Whose it is.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the secret, in hexadecimal.
    pub secret_hash: String,
    /// When it was made.
    pub created_at: Wall,
    /// When it ends; none: never.
    pub expires_at: Option<Wall>,
    /// When it was revoked.
    pub revoked_at: Option<Wall>,
    /// The revision at which it last changed by intent; 0: an earlier version wrote it.
    pub revision: Revision,
}

impl Token {
    /// Takes out what its secret is compared with: nobody can use it by this record.
    pub fn forget_secret(&mut self) {
        self.secret_hash.clear();
    }

    /// True when it opens doors at `now`.
    pub fn is_valid(&self, now: Wall) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}
