//! Refusals: the domain says no, with numbers, what happens next and what to type.
//!
//! A code is never reused. `dwcp-cli explain CODE` prints its page.

/// What a refusal means for the caller; decides the exit code and the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong: exit 2, HTTP 400.
    Usage,
    /// The thing named does not exist: exit 3, HTTP 404.
    NotFound,
    /// Who asks is unknown or may not: exit 4, HTTP 401 or 403.
    NotAllowed,
    /// A rule of the federation forbids it: exit 5, HTTP 409.
    Rule,
    /// No quorum, no leader or too slow: exit 6, HTTP 503.
    Unavailable,
}

/// One entry of the table of codes.
#[derive(Debug)]
pub struct Page {
    /// The code, such as `DWCP-R0031`.
    pub code: &'static str,
    /// What it means for the caller.
    pub kind: Kind,
    /// One line.
    pub title: &'static str,
    /// Why it happens and what to do about it.
    pub text: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $kind:ident $title:literal $text:literal;)*) => {
        /// A refusal code.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            #[default]
            $(
                #[doc = $title]
                $name,
            )*
        }
        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
            /// The page that `dwcp-cli explain` prints.
            pub fn page(self) -> &'static Page {
                match self {
                    $(Code::$name => &Page { code: $code, kind: Kind::$kind, title: $title, text: $text },)*
                }
            }
        }
    };
}

include!("refusal_table.rs");

impl Code {
    /// The code as text, such as `DWCP-R0031`.
    pub fn as_str(self) -> &'static str {
        self.page().code
    }

    /// Finds a code by its text, in any case, with or without `DWCP-`.
    pub fn parse(text: &str) -> Option<Code> {
        let wanted = text.trim().to_ascii_uppercase();
        let wanted = wanted.strip_prefix("DWCP-").unwrap_or(&wanted).to_string();
        Code::ALL.iter().copied().find(|code| code.as_str().strip_prefix("DWCP-") == Some(&wanted))
    }
}

impl crate::Wire for Code {
    fn put(&self, w: &mut crate::codec::Writer) {
        w.bytes(self.as_str().as_bytes());
    }
    fn get(r: &mut crate::codec::Reader<'_>) -> Result<Self, crate::DecodeError> {
        Code::parse(r.text()?).ok_or(crate::DecodeError::Invalid("a refusal code this version does not know"))
    }
}

/// The domain says no: nothing was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule.
    pub code: Code,
    /// What could not be done, naming the region, host or VM.
    pub what: String,
    /// Why, with numbers and limits; one line each.
    pub causes: Vec<String>,
    /// What DWCP does next by itself.
    pub next: String,
    /// Commands to type, best first.
    pub tries: Vec<String>,
}

crate::wire_struct!(Refusal { 1 code, 2 what, 3 causes, 4 next, 5 tries });

impl Refusal {
    /// A refusal that changed nothing.
    pub fn new(code: Code, what: impl Into<String>) -> Refusal {
        Refusal { code, what: what.into(), causes: vec![], next: "nothing was changed".into(), tries: vec![] }
    }

    /// Adds a cause.
    pub fn because(mut self, cause: impl Into<String>) -> Refusal {
        self.causes.push(cause.into());
        self
    }

    /// Adds a command that helps.
    pub fn try_this(mut self, command: impl Into<String>) -> Refusal {
        self.tries.push(command.into());
        self
    }

    /// Says what happens next by itself.
    pub fn then(mut self, next: impl Into<String>) -> Refusal {
        self.next = next.into();
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.what)?;
        for cause in &self.causes {
            write!(f, "; {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_in_any_spelling() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(Code::ALL[..index].iter().all(|other| other.as_str() != code.as_str()), "{code:?}");
            assert_eq!(Code::parse(&code.as_str().to_lowercase()), Some(*code));
            assert_eq!(Code::parse(&code.as_str()[5..]), Some(*code));
        }
        assert_eq!(Code::parse("DWCP-R9999"), None);
    }
}
