//! A destination in memory that fails when it is told to.

use std::collections::BTreeMap;
use std::sync::Mutex;

use dwcp_backup::destination::{Destination, DestinationError, Listed, Trouble};

/// What happens at a change of the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// There is no room for this one and any later one.
    NoSpace,
    /// The writer is killed before it: nothing of its gets through any more.
    KilledBefore,
    /// It is done, and the writer killed before it hears of it.
    KilledAfter,
    /// It is done, and the answer lost; later ones work.
    Unanswered,
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    fail: Option<(usize, Fail)>,
    changes: usize,
    /// Done once, right before an object of this prefix is put.
    before: Option<(&'static str, Work)>,
}

#[derive(Default)]
pub struct Memory(Mutex<State>);

impl Memory {
    pub fn of(objects: &BTreeMap<String, Vec<u8>>) -> Memory {
        Memory(Mutex::new(State { objects: objects.clone(), ..State::default() }))
    }

    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().objects.clone()
    }

    /// Fails at the change of this number from now, from 0.
    pub fn fail_at(&self, number: usize, fail: Fail) {
        let mut state = self.0.lock().unwrap();
        (state.changes, state.fail) = (0, Some((number, fail)));
    }

    pub fn heal(&self) {
        self.0.lock().unwrap().fail = None;
    }

    pub fn before(&self, prefix: &'static str, work: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().before = Some((prefix, Box::new(work)));
    }

    fn error(object: &str, trouble: Trouble) -> DestinationError {
        DestinationError { trouble, place: "memory".into(), object: object.into(), why: "told to".into() }
    }

    fn change<T>(
        &self,
        name: &str,
        putting: bool,
        work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T,
    ) -> Result<T, DestinationError> {
        let mut state = self.0.lock().unwrap();
        let number = state.changes;
        state.changes += 1;
        match state.fail {
            Some((at, Fail::NoSpace)) if number >= at && putting => {
                Err(Memory::error(name, Trouble::NoSpace))
            }
            Some((at, Fail::KilledBefore)) if number >= at => Err(Memory::error(name, Trouble::NoAnswer)),
            Some((at, Fail::KilledAfter)) if number > at => Err(Memory::error(name, Trouble::NoAnswer)),
            Some((at, Fail::KilledAfter | Fail::Unanswered)) if number == at => {
                work(&mut state.objects);
                Err(Memory::error(name, Trouble::NoAnswer))
            }
            _ => Ok(work(&mut state.objects)),
        }
    }
}

impl Destination for Memory {
    fn place(&self) -> String {
        "memory".into()
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, DestinationError> {
        let due = {
            let mut state = self.0.lock().unwrap();
            let due = state.before.as_ref().is_some_and(|(prefix, _)| name.starts_with(prefix));
            if due { state.before.take() } else { None }
        };
        if let Some((_, work)) = due {
            work();
        }
        self.change(name, true, |objects| {
            let new = !objects.contains_key(name);
            if new {
                objects.insert(name.to_owned(), bytes.to_vec());
            }
            new
        })
    }

    fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DestinationError> {
        let state = self.0.lock().unwrap();
        match state.objects.get(name) {
            Some(bytes) if bytes.len() as u64 > limit => Err(Memory::error(name, Trouble::TooLong)),
            found => Ok(found.cloned()),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, DestinationError> {
        let state = self.0.lock().unwrap();
        let named = state.objects.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(named.map(|(name, bytes)| Listed { name: name.clone(), bytes: bytes.len() as u64 }).collect())
    }

    fn delete(&self, name: &str) -> Result<(), DestinationError> {
        self.change(name, false, |objects| drop(objects.remove(name)))
    }
}
