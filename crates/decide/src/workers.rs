//! Independent pieces of one decision, and who runs them.

use std::sync::OnceLock;

/// Runs pieces of work that do not depend on each other. A shell may hand in threads; nothing here has any. What is decided
/// is the same whatever the order and however many run at once.
pub trait Workers: Send + Sync {
    /// How many pieces run at once; 1: one after the other.
    fn width(&self) -> usize;

    /// Runs `piece(0)` to `piece(count - 1)`, each once and in any order, and returns when all have ended. A piece asks for
    /// no pieces of its own.
    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync));
}

/// One piece after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Workers for Serial {
    fn width(&self) -> usize {
        1
    }

    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(piece);
    }
}

/// What each piece comes to, in the order of their numbers.
pub(crate) fn map<T: Send + Sync>(
    workers: &dyn Workers,
    count: usize,
    piece: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    if workers.width() < 2 || count < 2 {
        return (0..count).map(piece).collect();
    }
    let slots: Vec<OnceLock<T>> = (0..count).map(|_| OnceLock::new()).collect();
    workers.run(count, &|at| drop(slots[at].set(piece(at))));
    slots.into_iter().map(|slot| slot.into_inner().expect("workers run every piece")).collect()
}
