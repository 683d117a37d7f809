//! What is to be sent to another program, in bounded memory: what does not fit is read again from the store where there is one.
//!
//! Samples are sent in the order in which they were kept. While the receiver is away the newest wait here; the times of those that
//! had to go are remembered as one span, which is read from the store first when it is back. So no series is sent backwards.

use std::collections::VecDeque;

use crate::model::{Labels, Sample, Value};

/// What a waiting sample takes beside its labels, bytes.
const SAMPLE_BYTES: usize = 64;
/// What a bucket of a waiting histogram takes, bytes.
const BUCKET_BYTES: usize = 16;
/// The first wait after a failure, and the longest, ms.
const FIRST_WAIT_MS: u64 = 500;
const LONGEST_WAIT_MS: u64 = 30_000;
/// Longer than this nobody is waited for, whatever they say, ms.
const LONGEST_ASKED_MS: u64 = 300_000;

/// What waits for one receiver.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<(Labels, Sample)>,
    bytes: usize,
    limit_bytes: usize,
    /// Whether what goes can be read again.
    is_kept: bool,
    /// First and last moment, ms, of what is to be read again.
    behind: Option<(i64, i64)>,
    /// Given up for want of memory.
    dropped: u64,
    /// The first moment of what is being sent, ms.
    under_way_ms: Option<i64>,
    /// The newest moment that was sent, ms.
    newest_ms: Option<i64>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send these.
    Send(Vec<(Labels, Sample)>),
    /// Read what is kept of this span, both ends included, ms, and send it.
    Read(i64, i64),
    /// Wait for more.
    Wait,
}

impl Outbox {
    /// An empty one of so many bytes. `is_kept`: what does not fit can be read from a store. `sent_to_ms`: what is newer than that and
    /// not after `now_ms` was kept by an earlier process and may not have been sent.
    pub fn new(limit_bytes: usize, is_kept: bool, sent_to_ms: Option<i64>, now_ms: i64) -> Outbox {
        let behind = sent_to_ms.filter(|sent| is_kept && *sent < now_ms).map(|sent| (sent + 1, now_ms));
        Outbox {
            waiting: VecDeque::new(),
            bytes: 0,
            limit_bytes,
            is_kept,
            behind,
            dropped: 0,
            under_way_ms: None,
            newest_ms: sent_to_ms,
        }
    }

    /// Takes a sample in that was kept a moment ago.
    pub fn put(&mut self, labels: Labels, sample: Sample) {
        self.bytes += bytes(&labels, &sample);
        self.waiting.push_back((labels, sample));
        while self.bytes > self.limit_bytes
            && let Some((labels, sample)) = self.waiting.pop_front()
        {
            self.bytes -= bytes(&labels, &sample);
            if self.is_kept {
                let (from, to) = self.behind.unwrap_or((sample.at_ms, sample.at_ms));
                self.behind = Some((from.min(sample.at_ms), to.max(sample.at_ms)));
            } else {
                self.dropped += 1;
            }
        }
    }

    /// What comes next: at most so many samples, or a span of at most so many ms. Until [`Outbox::sent`] it counts as not sent.
    pub fn next(&mut self, most: usize, span_ms: i64) -> Next {
        if let Some((from, to)) = self.behind {
            let until = to.min(from.saturating_add(span_ms));
            // They are in the store too.
            self.waiting.retain(|(labels, sample)| {
                let again = (from..=until).contains(&sample.at_ms);
                self.bytes -= if again { bytes(labels, sample) } else { 0 };
                !again
            });
            self.under_way_ms = Some(from);
            return Next::Read(from, until);
        }
        let batch: Vec<(Labels, Sample)> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        self.bytes -= batch.iter().map(|(labels, sample)| bytes(labels, sample)).sum::<usize>();
        self.under_way_ms = batch.iter().map(|(_, sample)| sample.at_ms).min();
        if batch.is_empty() { Next::Wait } else { Next::Send(batch) }
    }

    /// What came next was sent, or refused for good; `newest_ms`: the newest moment of it.
    pub fn sent(&mut self, newest_ms: i64) {
        self.under_way_ms = None;
        self.newest_ms = Some(self.newest_ms.map_or(newest_ms, |newest| newest.max(newest_ms)));
    }

    /// What was kept up to this moment was read and sent.
    pub fn read(&mut self, until_ms: i64) {
        self.sent(until_ms);
        self.behind = self.behind.filter(|(_, to)| *to > until_ms).map(|(_, to)| (until_ms + 1, to));
    }

    /// What is older than this is not kept any more, and not waited for.
    pub fn forget_before(&mut self, at_ms: i64) {
        self.behind = self.behind.filter(|(_, to)| *to >= at_ms).map(|(from, to)| (from.max(at_ms), to));
    }

    /// Everything that was kept up to this moment, ms, was sent; none: nothing was sent yet.
    pub fn sent_to_ms(&self) -> Option<i64> {
        let waiting = self.waiting.iter().map(|(_, sample)| sample.at_ms);
        let open = waiting.chain(self.behind.map(|(from, _)| from)).chain(self.under_way_ms).min();
        open.map(|at_ms| at_ms - 1).or(self.newest_ms)
    }

    /// How old the oldest is that is to be sent, ms; 0: nothing is.
    pub fn behind_ms(&self, now_ms: i64) -> i64 {
        let front = self.waiting.front().map(|(_, sample)| sample.at_ms);
        let oldest =
            self.under_way_ms.into_iter().chain(self.behind.map(|(from, _)| from)).chain(front).min();
        oldest.map_or(0, |at_ms| (now_ms - at_ms).max(0))
    }

    /// Samples that wait in memory.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits in memory.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Samples given up for want of memory, since it was made.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn bytes(labels: &Labels, sample: &Sample) -> usize {
    let buckets = match &sample.value {
        Value::Float(_) => 0,
        Value::Histogram(of) => of.positive.len() + of.negative.len() + of.custom.len(),
    };
    let labels: usize = labels.iter().map(|(name, value)| name.len() + value.len() + 2 * BUCKET_BYTES).sum();
    SAMPLE_BYTES + labels + buckets * BUCKET_BYTES
}

/// What an answer to a write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// It would be refused again.
    Refused,
    /// It may be taken later: the receiver is overloaded, broken, or does not let us in.
    Later,
}

/// What a status of HTTP means; none: there was no answer.
pub fn verdict(status: Option<u16>) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Taken,
        // Somebody has a token, an address or a limit to set right; what is kept waits for that.
        None | Some(401 | 403 | 404 | 407 | 408 | 425 | 429 | 500..) => Verdict::Later,
        Some(_) => Verdict::Refused,
    }
}

/// How long to wait after so many failures in a row, ms: at least as long as the receiver asked for, ms.
pub fn wait_ms(failures: u32, asked_ms: Option<u64>) -> u64 {
    let own = (FIRST_WAIT_MS << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT_MS);
    own.max(asked_ms.unwrap_or(0).min(LONGEST_ASKED_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: i64) -> (Labels, Sample) {
        (Labels::new([("__name__", "up")]), Sample { at_ms, value: Value::Float(1.0) })
    }

    fn one() -> usize {
        let (labels, sample) = sample(0);
        bytes(&labels, &sample)
    }

    fn put(outbox: &mut Outbox, moments: std::ops::Range<i64>) {
        for at_ms in moments {
            let (labels, sample) = sample(at_ms);
            outbox.put(labels, sample);
        }
    }

    fn moments(next: Next) -> Vec<i64> {
        let Next::Send(batch) = next else { panic!("{next:?}") };
        batch.into_iter().map(|(_, sample)| sample.at_ms).collect()
    }

    #[test]
    fn what_is_kept_is_sent_in_order() {
        let mut outbox = Outbox::new(10 * one(), true, None, 0);
        put(&mut outbox, 0..5);
        assert_eq!(moments(outbox.next(3, 100)), [0, 1, 2]);
        assert_eq!((outbox.sent_to_ms(), outbox.behind_ms(10)), (Some(-1), 10), "under way is not sent");
        outbox.sent(2);
        assert_eq!((outbox.sent_to_ms(), outbox.len(), outbox.behind_ms(10)), (Some(2), 2, 7));
        assert_eq!(moments(outbox.next(3, 100)), [3, 4]);
        outbox.sent(4);
        assert_eq!(
            (outbox.next(3, 100), outbox.sent_to_ms(), outbox.behind_ms(10)),
            (Next::Wait, Some(4), 0)
        );
    }

    #[test]
    fn what_does_not_fit_is_read_again_each_sample_once_and_older_ones_first() {
        let mut outbox = Outbox::new(4 * one(), true, None, 0);
        put(&mut outbox, 0..10);
        assert_eq!((outbox.len(), outbox.dropped(), outbox.bytes <= outbox.limit_bytes), (4, 0, true));
        assert_eq!(outbox.next(100, 3), Next::Read(0, 3));
        assert_eq!(outbox.sent_to_ms(), Some(-1));
        // More goes meanwhile: the span grows.
        put(&mut outbox, 10..12);
        outbox.read(3);
        assert_eq!(outbox.sent_to_ms(), Some(3));
        assert_eq!(outbox.next(100, 100), Next::Read(4, 7));
        outbox.read(7);
        assert_eq!(moments(outbox.next(100, 100)), [8, 9, 10, 11]);
    }

    #[test]
    fn what_waits_and_is_read_again_too_is_sent_once() {
        let mut outbox = Outbox::new(2 * one(), true, None, 0);
        put(&mut outbox, 5..7);
        // A late one pushes the older out, which makes 5 to 6 a span that has 6 and then the late one in it.
        for at_ms in [9, 6] {
            let (labels, sample) = sample(at_ms);
            outbox.put(labels, sample);
        }
        assert_eq!(outbox.next(9, 100), Next::Read(5, 6));
        outbox.read(6);
        assert_eq!(moments(outbox.next(9, 100)), [9]);
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn without_a_store_the_oldest_go_and_are_counted() {
        let mut outbox = Outbox::new(2 * one(), false, Some(3), 100);
        put(&mut outbox, 0..5);
        assert_eq!((outbox.dropped(), moments(outbox.next(9, 100))), (3, vec![3, 4]));
    }

    #[test]
    fn a_process_goes_on_where_the_one_before_ended_but_not_beyond_what_is_kept() {
        let mut outbox = Outbox::new(9 * one(), true, Some(40), 100);
        assert_eq!(outbox.sent_to_ms(), Some(40));
        outbox.forget_before(60);
        assert_eq!(outbox.next(9, 1_000), Next::Read(60, 100));
        outbox.read(100);
        assert_eq!((outbox.next(9, 100), outbox.sent_to_ms()), (Next::Wait, Some(100)));
        assert_eq!(Outbox::new(9, true, Some(100), 100).next(9, 9), Next::Wait);
        let mut all_gone = Outbox::new(9, true, Some(40), 100);
        all_gone.forget_before(101);
        assert_eq!(all_gone.next(9, 9), Next::Wait);
    }

    #[test]
    fn answers_are_told_apart_and_waits_grow() {
        let cases = [(200, Verdict::Taken), (204, Verdict::Taken), (400, Verdict::Refused)];
        let more =
            [(413, Verdict::Refused), (429, Verdict::Later), (401, Verdict::Later), (503, Verdict::Later)];
        for (status, wanted) in cases.into_iter().chain(more) {
            assert_eq!(verdict(Some(status)), wanted, "{status}");
        }
        assert_eq!(verdict(None), Verdict::Later);
        assert_eq!([1, 2, 3, 20].map(|failures| wait_ms(failures, None)), [500, 1_000, 2_000, 30_000]);
        assert_eq!(
            (wait_ms(1, Some(7_000)), wait_ms(9, Some(1)), wait_ms(1, Some(u64::MAX))),
            (7_000, 30_000, 300_000)
        );
    }
}
