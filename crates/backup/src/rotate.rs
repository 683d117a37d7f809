//! Changing the federation's key: data keys are sealed anew, backups are not touched.

use std::sync::Arc;

use dwcp_types::Wall;

use crate::chain::{Chain, Head};
use crate::error::Error;
use crate::format::{Body, Entry, KEYS, NewKey, secret_name};
use crate::key::FederationKey;
use crate::repository::Repository;

/// A change of keys that is done.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// Data keys that are sealed under the new key.
    pub data_keys: u64,
    /// The chain's newest entry now.
    pub head: Head,
}

impl Repository {
    /// Seals every data key under `new` and gives back the repository as opened with it. The old key opens everything until
    /// all is there under the new one; then the chain says which key counts, so that nobody writes with the old one any
    /// more, and what is sealed under the old one is deleted. What was interrupted is finished by calling this again.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the old key is kept while anything is damaged. The destination's.
    pub fn rewrap(&self, new: FederationKey, at: Wall) -> Result<(Repository, Rotated), Error> {
        let mut chain = Chain::read(self)?;
        if !chain.faults.is_empty() {
            return Err(Error::Damaged(chain.faults));
        }
        if new.id() == self.key.id() {
            return Err(Error::Key(format!("{} is the repository's key already", new.id())));
        }
        let (from, to) = (self.key.id().to_owned(), new.id().to_owned());
        let begun = chain.replaced().is_some_and(|key| key.from == from && key.to == to);
        if !begun {
            let body = Body::NewKey(NewKey { from: from.clone(), to });
            let mut entry = Entry { at, body, ..Entry::default() };
            let all = |chain: &Chain| {
                let mut known = chain.known.values();
                known.try_for_each(|known| self.put_wrap(&new, &known.head, &known.data_key))?;
                // Last, so that the new key opens everything or nothing.
                self.put_secret(&new)
            };
            self.append(&mut chain, &mut entry, all, |head, key| self.put_wrap(&new, head, key))
                .map_err(|unadded| unadded.error)?;
        }
        // Before the old key's are deleted, the new key must open everything.
        let mut opened = Repository::open(Arc::clone(&self.destination), &self.title.federation, new)?;
        opened.expected = self.expected;
        let chain = Chain::read(&opened)?;
        if !chain.faults.is_empty() {
            return Err(Error::Damaged(chain.faults));
        }
        // The secret first: without it the old key opens nothing, whatever else is still there.
        self.destination.delete(&secret_name(&from))?;
        for left in self.destination.list(&format!("{KEYS}{from}/"))? {
            self.destination.delete(&left.name)?;
        }
        let rotated = Rotated { data_keys: chain.known.len() as u64, head: chain.head };
        Ok((opened, rotated))
    }
}
