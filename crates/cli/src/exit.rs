//! Exit codes: what they mean, everywhere.

use dwcp_api::Problem;
use dwcp_types::refusal::Kind;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done = 0,
    /// The operation or the check failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// Not authenticated, or not allowed.
    NotAllowed = 4,
    /// Refused by a safety rule.
    Refused = 5,
    /// The federation can't be reached, or did not answer in time.
    Unreachable = 6,
    /// Partly done.
    Partly = 7,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// Every code with its meaning, for `help exit-codes`.
pub const MEANINGS: [(u8, &str); 8] = [
    (0, "done, or healthy"),
    (1, "the operation or the check failed"),
    (2, "wrong usage: a flag, a value or a file that can't be read"),
    (3, "what was named does not exist"),
    (4, "not authenticated, or not allowed"),
    (5, "refused by a safety rule; the message names the rule and what lifts it"),
    (6, "the federation can't be reached, or did not answer in time"),
    (7, "partly done: the message says what is left or only last known"),
];

impl Exit {
    /// The exit code that an error of the server means: by its code, else by its HTTP status.
    pub fn of(problem: &Problem) -> Exit {
        match (problem.known_code().map(|code| code.page().kind), problem.status) {
            (Some(Kind::Usage), _) => Exit::Usage,
            (Some(Kind::NotFound), _) => Exit::NotFound,
            (Some(Kind::NotAllowed), _) => Exit::NotAllowed,
            (Some(Kind::Rule), _) => Exit::Refused,
            (Some(Kind::Unavailable), _) => Exit::Unreachable,
            (None, 400 | 413 | 422) => Exit::Usage,
            (None, 404 | 410) => Exit::NotFound,
            (None, 401 | 403) => Exit::NotAllowed,
            (None, 409 | 412) => Exit::Refused,
            (None, 408 | 429 | 502 | 503 | 504) => Exit::Unreachable,
            (None, _) => Exit::Failed,
        }
    }
}
