//! The error body (RFC 9457): what failed, why, what DWCP does next, what to type.

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

    /// Input that can't be read: status 400, code `DWCP-R0001`.
    pub fn bad_request(why: &str) -> Problem {
        Problem::new(400, "DWCP-R0001", "the request can't be read")
            .because(why)
            .and_then("nothing was changed")
    }

    /// Something named that does not exist: status 404, code `DWCP-R0002`.
    pub fn not_found(what: &str) -> Problem {
        Problem::new(404, "DWCP-R0002", &format!("{what} does not exist"))
    }
}
