//! The words of the command line: a few flags, each known, each given once.

use std::collections::BTreeMap;
use std::ops::Range;

/// Flags and names of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Words that are no flags.
    pub names: Vec<String>,
    flags: BTreeMap<String, Option<String>>,
}

impl Arguments {
    /// Sorts words into names and flags. `valued` flags take the next word (or what follows `=`), `plain` ones nothing.
    ///
    /// # Errors
    /// A flag is unknown, is given twice, lacks its value or has one it does not take.
    pub fn parse(words: &[String], valued: &[&str], plain: &[&str]) -> Result<Arguments, String> {
        let mut found = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else {
                found.names.push(word.clone());
                continue;
            };
            let (name, attached) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (flag, None),
            };
            let value = if valued.contains(&name) {
                let value = attached.or_else(|| words.next().cloned());
                Some(value.ok_or(format!("--{name} lacks its value"))?)
            } else if plain.contains(&name) {
                if attached.is_some() {
                    return Err(format!("--{name} takes no value"));
                }
                None
            } else {
                return Err(format!("unknown flag --{name}"));
            };
            if found.flags.insert(name.to_string(), value).is_some() {
                return Err(format!("--{name} is given twice"));
            }
        }
        Ok(found)
    }

    /// True when the flag is there.
    pub fn has(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }

    /// The value of a flag.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.flags.get(name)?.as_deref()
    }

    /// How many threads `--jobs N` asks for.
    ///
    /// # Errors
    /// It is no number, or 0.
    pub fn jobs(&self, otherwise: usize) -> Result<usize, String> {
        let Some(text) = self.value("jobs") else { return Ok(otherwise) };
        let jobs = text.parse().ok().filter(|jobs| *jobs > 0);
        jobs.ok_or(format!("--jobs {text} is not a number from 1 on"))
    }

    /// The seeds that `--seed N`, `--seeds N` (0 up to N) or `--seeds A..B` (B not included) stand for.
    ///
    /// # Errors
    /// It is no number or range, or the range is empty.
    pub fn seeds(&self, otherwise: Range<u64>) -> Result<Range<u64>, String> {
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number of a seed"));
        let seeds = match (self.value("seed"), self.value("seeds")) {
            (Some(_), Some(_)) => return Err("--seed and --seeds exclude each other".to_string()),
            (Some(one), None) => {
                let seed = number(one)?;
                seed..seed.checked_add(1).ok_or("the seed is too large")?
            }
            (None, Some(many)) => match many.split_once("..") {
                Some((first, end)) => number(first)?..number(end)?,
                None => 0..number(many)?,
            },
            (None, None) => otherwise,
        };
        if seeds.is_empty() {
            return Err(format!("{}..{} holds no seed", seeds.start, seeds.end));
        }
        Ok(seeds)
    }
}
