//! Requests that wait for a collector: bounded, the oldest out first, and what was dropped is told.

use std::collections::VecDeque;
use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many lines, spans or values are in it.
    pub items: u64,
    /// Its body.
    pub bytes: Vec<u8>,
}

/// Requests in the order in which they are to be sent.
#[derive(Clone, Debug)]
pub struct Queue {
    most_bytes: usize,
    bytes: usize,
    waiting: VecDeque<Waiting>,
    tries: u32,
}

impl Queue {
    /// Of at most so many bytes, but for one request that is longer.
    pub fn new(most_bytes: usize) -> Queue {
        Queue { most_bytes, bytes: 0, waiting: VecDeque::new(), tries: 0 }
    }

    /// Adds a request, and says how many items were dropped for it.
    pub fn push(&mut self, request: Waiting) -> u64 {
        let mut dropped = 0;
        while self.bytes + request.bytes.len() > self.most_bytes && !self.waiting.is_empty() {
            dropped += self.pop().map_or(0, |oldest| oldest.items);
        }
        self.bytes += request.bytes.len();
        self.waiting.push_back(request);
        dropped
    }

    /// The next to be sent.
    pub fn first(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// It is settled what became of the next one.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.tries = 0;
        let first = self.waiting.pop_front()?;
        self.bytes -= first.bytes.len();
        Some(first)
    }

    /// The next one was not taken: how long to wait before it is sent again, twice as long each time.
    pub fn wait(&mut self) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.tries.min(16)).min(LONGEST_WAIT);
        self.tries += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(items: u64, length: usize) -> Waiting {
        Waiting { items, bytes: vec![0; length] }
    }

    #[test]
    fn the_oldest_make_room_and_one_that_is_too_long_waits_alone() {
        let mut queue = Queue::new(100);
        assert_eq!([request(1, 40), request(2, 40)].map(|one| queue.push(one)), [0, 0]);
        assert_eq!(queue.push(request(4, 30)), 1);
        assert_eq!(queue.push(request(8, 500)), 6);
        assert_eq!((queue.first().map(|first| first.items), queue.bytes), (Some(8), 500));
        assert_eq!(queue.push(request(16, 1)), 8);
        assert_eq!(queue.pop(), Some(request(16, 1)));
        assert_eq!((queue.pop(), queue.bytes), (None, 0));
    }

    #[test]
    fn waits_grow_until_something_is_settled() {
        let mut queue = Queue::new(100);
        queue.push(request(1, 1));
        let waits: Vec<u64> = (0..9).map(|_| queue.wait().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        queue.pop();
        assert_eq!(queue.wait().as_secs(), 1);
    }
}
