//! The error body (RFC 9457): what failed, why, what DWCP does next, what to type.

use dwcp_types::refusal::Kind;
use dwcp_types::{Code, Refusal};

wire! {
    /// An error as it travels, media type `application/problem+json`.
    #[derive(Eq, Default)]
    pub struct Problem {
        /// URI of the kind of problem: `urn:dwcp:problem:DWCP-R0031`.
        #[serde(rename = "type", default)]
        pub kind: String,
        /// What happened, in one line.
        pub title: String,
        /// HTTP status.
        pub status: u16,
        /// `DWCP-R0031`; `dwcp-cli explain` prints its page.
        pub code: String,
        /// What happened, more fully; empty when the title says it all.
        #[serde(default)]
        pub detail: String,
        /// Why, with numbers and limits; one line each.
        #[serde(default)]
        pub cause: Vec<String>,
        /// What DWCP does next by itself ("nothing was changed").
        #[serde(default)]
        pub next: String,
        /// What to type; one command each.
        #[serde(rename = "try", default)]
        pub attempts: Vec<String>,
        /// Finds the server's log of this request.
        #[serde(default)]
        pub request_id: String,
        /// The field or flag at fault, when it is one.
        #[serde(default)]
        pub field: Option<String>,
    }
}

impl Problem {
    /// A problem with a code and a title; the rest is filled in by the caller.
    pub fn new(status: u16, code: &str, title: &str) -> Problem {
        Problem {
            kind: format!("urn:dwcp:problem:{code}"),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            ..Problem::default()
        }
    }

    /// Adds a line of why.
    pub fn because(mut self, cause: impl Into<String>) -> Problem {
        self.cause.push(cause.into());
        self
    }

    /// Says what DWCP does next by itself.
    pub fn and_then(mut self, next: impl Into<String>) -> Problem {
        self.next = next.into();
        self
    }

    /// Adds a command to type.
    pub fn suggest(mut self, command: impl Into<String>) -> Problem {
        self.attempts.push(command.into());
        self
    }

    /// Input that can't be read: status 400.
    pub fn bad_request(why: &str) -> Problem {
        Problem::from(&Refusal::new(Code::Malformed, "the request can't be read").because(why))
    }

    /// The table's code, when this version knows it.
    pub fn known_code(&self) -> Option<Code> {
        Code::parse(&self.code)
    }
}

/// The HTTP status of a refusal.
pub fn status_of(code: Code) -> u16 {
    match (code, code.page().kind) {
        (Code::TooLarge, _) => 413,
        (Code::NotAuthenticated, _) => 401,
        (Code::Overloaded, _) => 429,
        (_, Kind::Usage) => 400,
        (_, Kind::NotFound) => 404,
        (_, Kind::NotAllowed) => 403,
        (_, Kind::Rule) => 409,
        (_, Kind::Unavailable) => 503,
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Problem {
        let mut problem = Problem::new(status_of(refusal.code), refusal.code.as_str(), &refusal.what);
        problem.cause.clone_from(&refusal.causes);
        problem.next.clone_from(&refusal.next);
        problem.attempts.clone_from(&refusal.tries);
        problem
    }
}
