//! Who is calling.

use crate::Role;

endpoint! {
    #[doc = "Checks a token before it is stored in a context."]
    Login: Post "/v1/login", Public, LoginRequest => Principal;
    #[doc = "Who the caller is and what they may do."]
    WhoAmI: Get "/v1/whoami", Read, crate::page::Nothing => Principal;
}

request! {
    /// A token to check.
    pub struct LoginRequest {
        /// The token's secret, as shown once when it was created.
        pub token: String,
    }
}

wire! {
    /// Who a token speaks for.
    #[derive(Eq)]
    pub struct Principal {
        /// `token-…`.
        pub token_id: String,
        /// User or machine the token was made for.
        pub user: String,
        pub role: Role,
        /// Milliseconds since 1970 (UTC); `null`: never.
        pub expires_at_ms: Option<u64>,
        pub federation: String,
        /// The region that answers.
        pub region: String,
    }
}
