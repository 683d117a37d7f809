//! Command-line flags of the developer commands: `--name value` and bare `--name`.

use crate::run::Failure;
use std::collections::{BTreeMap, BTreeSet};

/// Flags that were given, after checking that each is known to the command.
#[derive(Debug, Default)]
pub struct Flags {
    values: BTreeMap<String, String>,
    switches: BTreeSet<String>,
}

impl Flags {
    /// Parses `arguments`; `valued` flags take one value, `bare` flags none.
    ///
    /// # Errors
    /// Wrong usage (exit 2) on an unknown flag, a missing value or a stray word.
    pub fn parse(arguments: Vec<String>, valued: &[&str], bare: &[&str]) -> Result<Flags, Failure> {
        let mut flags = Flags::default();
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            let Some(name) = argument.strip_prefix("--") else {
                return Err(Failure::usage(format!("unexpected argument {argument:?}")));
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if valued.contains(&name) {
                let value = inline
                    .or_else(|| rest.next())
                    .ok_or_else(|| Failure::usage(format!("--{name} wants a value")))?;
                flags.values.insert(name.to_owned(), value);
            } else if bare.contains(&name) && inline.is_none() {
                flags.switches.insert(name.to_owned());
            } else {
                return Err(Failure::usage(format!("unknown flag --{name}")));
            }
        }
        Ok(flags)
    }

    /// The value of `--name value`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether the bare `--name` was given.
    pub fn has(&self, name: &str) -> bool {
        self.switches.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_value_may_follow_or_be_joined() {
        for line in ["--region eu-west-1 --keep", "--keep --region=eu-west-1"] {
            let flags = Flags::parse(words(line), &["region"], &["keep"]).unwrap();
            assert_eq!(flags.value("region"), Some("eu-west-1"));
            assert!(flags.has("keep"));
        }
    }

    #[test]
    fn what_is_unknown_is_wrong_usage() {
        for line in ["--nothing", "--region", "stray", "--keep=yes"] {
            let failure = Flags::parse(words(line), &["region"], &["keep"]).unwrap_err();
            assert_eq!(failure.code, 2, "{line}");
        }
    }
}
