//! Questions that are under way to other regions' processes, and who waits for the answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dwcp_types::NodeId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock;

type Waiting<T> = BTreeMap<u64, (NodeId, UnboundedSender<T>)>;

/// All questions of one kind; an answer, or a piece of one, is a `T`. Clones share everything.
pub struct Asked<T> {
    waiting: Arc<Mutex<Waiting<T>>>,
    next: Arc<AtomicU64>,
}

impl<T> Clone for Asked<T> {
    fn clone(&self) -> Asked<T> {
        Asked { waiting: self.waiting.clone(), next: self.next.clone() }
    }
}

/// One question; it is taken back when this is dropped.
pub struct Question<T> {
    /// Its number, which the answer carries.
    pub id: u64,
    /// What comes.
    pub answers: UnboundedReceiver<T>,
    asked: Asked<T>,
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        self.asked.waiting().remove(&self.id);
    }
}

impl<T> Asked<T> {
    /// None are under way.
    pub fn new() -> Asked<T> {
        // Answers to a process before this one are none to this one.
        let next = Arc::new(AtomicU64::new(clock::wall().0 << 16));
        Asked { waiting: Arc::default(), next }
    }

    /// Begins a question of a region's process.
    pub fn begin(&self, node: NodeId) -> Question<T> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = unbounded_channel();
        self.waiting().insert(id, (node, sender));
        Question { id, answers, asked: self.clone() }
    }

    /// Takes what a region's process answered. Only who was asked answers.
    pub fn answered(&self, from: NodeId, id: u64, answer: T) {
        if let Some((asked, sender)) = self.waiting().get(&id)
            && *asked == from
        {
            // Who asked may have gone away.
            let _ = sender.send(answer);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_asked_answers_and_a_question_that_is_dropped_is_forgotten() {
        let asked = Asked::new();
        let (mut one, other) = (asked.begin(1), asked.begin(2));
        asked.answered(2, one.id, "not asked");
        asked.answered(1, one.id, "first");
        asked.answered(1, one.id, "second");
        assert_eq!((one.answers.try_recv(), one.answers.try_recv()), (Ok("first"), Ok("second")));
        assert!(one.answers.try_recv().is_err() && one.id != other.id);
        drop((one, other));
        assert!(asked.waiting().is_empty());
    }
}
