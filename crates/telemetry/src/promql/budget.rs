//! What a query may use, and what it has used.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Instant;

use super::{Engine, QueryError};

/// Of one evaluation.
pub struct Budget<'a> {
    engine: &'a Engine,
    deadline: Option<Instant>,
    /// Samples read so far.
    loaded: Cell<u64>,
    /// Samples and values of steps that are in memory now.
    held: Cell<u64>,
    ticks: Cell<u32>,
    warnings: RefCell<BTreeSet<String>>,
}

/// The clock is looked at once in so many ticks.
const TICKS_A_LOOK: u32 = 64;

impl<'a> Budget<'a> {
    pub fn new(engine: &'a Engine) -> Budget<'a> {
        Budget {
            engine,
            // A time that does not fit never comes.
            deadline: Instant::now().checked_add(engine.timeout),
            loaded: Cell::new(0),
            held: Cell::new(0),
            ticks: Cell::new(0),
            warnings: RefCell::default(),
        }
    }

    pub fn loaded(&self) -> u64 {
        self.loaded.get()
    }

    pub fn count_loaded(&self, samples: u64) {
        self.loaded.set(self.loaded.get().saturating_add(samples));
    }

    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// What is held from now on, after something was let go.
    pub fn set_held(&self, samples: u64) {
        self.held.set(samples);
    }

    /// What may be held on top of what is.
    pub fn left(&self) -> u64 {
        self.engine.max_samples.saturating_sub(self.held.get())
    }

    /// Holds more.
    ///
    /// # Errors
    /// It would be too much.
    pub fn hold(&self, samples: u64) -> Result<(), QueryError> {
        let held = self.held.get().saturating_add(samples);
        if held > self.engine.max_samples {
            return Err(QueryError::TooMuch { samples: held, limit: self.engine.max_samples });
        }
        self.held.set(held);
        Ok(())
    }

    /// To be called once a series or step, or so.
    ///
    /// # Errors
    /// The time is over.
    pub fn tick(&self) -> Result<(), QueryError> {
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        if ticks % TICKS_A_LOOK == 1 && self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(QueryError::Timeout(self.engine.timeout));
        }
        Ok(())
    }

    pub fn warn(&self, warning: impl Into<String>) {
        self.warnings.borrow_mut().insert(warning.into());
    }

    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().iter().cloned().collect()
    }
}
