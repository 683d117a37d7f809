//! `prove`: a federation as it is configured now, in many schedules of failures; what was tried and what was found.

use std::sync::Arc;

use crate::layout::Layout;
use crate::options::{Options, Proof};
use crate::run::{Ended, Schedule};

/// What a violation means for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A VM ran twice.
    Twice,
    /// A VM that was acknowledged is gone.
    Lost,
    /// It did not settle.
    Unsettled,
    /// Another promise was broken.
    Other,
}

impl Found {
    /// What the words of a checker mean.
    pub fn of(violation: &str) -> Found {
        if violation.contains(" runs twice: ") {
            Found::Twice
        } else if violation.contains("was acknowledged and is gone") {
            Found::Lost
        } else if violation.starts_with("not settled ") {
            Found::Unsettled
        } else {
            Found::Other
        }
    }
}

/// What was tried so far.
#[derive(Debug, Default)]
pub struct Tried {
    tried: [u64; Schedule::KINDS.len()],
    found: Vec<Found>,
    created: usize,
    failovers: usize,
    settled_ms: Vec<u64>,
}

impl Tried {
    /// Takes a run over.
    pub fn count(&mut self, schedule: &Schedule, ended: &Ended) {
        self.tried[schedule.kind()] += 1;
        self.created = self.created.max(ended.created);
        self.failovers += ended.failovers;
        match &ended.violation {
            Some(violation) => self.found.push(Found::of(violation)),
            None => self.settled_ms.push(ended.settled_ms),
        }
    }

    /// True when a promise was broken.
    pub fn broken(&self) -> bool {
        !self.found.is_empty()
    }

    /// What to print at the end.
    pub fn lines(&self, vms: usize) -> Vec<String> {
        let tried: u64 = self.tried.iter().sum();
        let kinds: Vec<String> =
            Schedule::KINDS.iter().zip(self.tried).map(|(name, count)| format!("{name} {count}")).collect();
        let count = |of: Found| self.found.iter().filter(|found| **found == of).count();
        let mut lines = vec![
            format!("{tried} schedules tried ({}), {} failovers", kinds.join(", "), self.failovers),
            format!(
                "{} double-runs, {} lost VMs, {} not settled, {} other violations",
                count(Found::Twice),
                count(Found::Lost),
                count(Found::Unsettled),
                count(Found::Other)
            ),
        ];
        if self.created < vms {
            let without = vms - self.created;
            lines.push(format!("{without} of {vms} VMs found no place at the beginning"));
        }
        if let Some(longest) = self.settled_ms.iter().max() {
            let mean = self.settled_ms.iter().sum::<u64>() / self.settled_ms.len() as u64;
            lines.push(format!(
                "after healing all was as it should be in {mean} ms on average, {longest} ms at most"
            ));
        }
        lines
    }
}

impl Options {
    /// A run of a configuration under a seed.
    pub fn proof(seed: u64, layout: Arc<Layout>) -> Options {
        let regions = layout.regions.len();
        let schedule = Schedule::draw(seed, regions);
        Options {
            regions,
            drifting: true,
            every_ms: 4_000,
            proof: Some(Proof { layout, schedule }),
            ..Options::quiet(seed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_checker_says_is_told_as_what_it_means() {
        assert_eq!(Found::of("vm_1 runs twice: on a and on b"), Found::Twice);
        assert_eq!(Found::of("web (vm_1) was acknowledged and is gone"), Found::Lost);
        assert_eq!(Found::of("not settled 60000 ms after everything healed: x"), Found::Unsettled);
        assert_eq!(Found::of("node 1: a read missed a write"), Found::Other);
    }

    #[test]
    fn every_region_is_killed_and_cut_off_by_some_seed() {
        for node in 1..=5 {
            assert!((0..40).any(|seed| Schedule::draw(seed, 5) == Schedule::Killed(node)));
            assert!((0..40).any(|seed| Schedule::draw(seed, 5) == Schedule::Cut(node)));
        }
        assert!(
            (0..40).all(|seed| Schedule::draw(seed, 2).kind() != 2),
            "two regions have no partition to draw"
        );
    }
}
