//! Lines that wait to be sent to the server: at most so many, at most so much, and none twice unless nobody said that it came.

use std::collections::VecDeque;

use dwcp_roles::protocol::{AgentLine, AgentLines, MOST_LINE_BYTES, MOST_LINES};

/// Most lines that wait, and most bytes of them.
const WAITING_MAX: usize = 2_048;
const WAITING_BYTES: usize = 1 << 20;
/// Most fields of a line, and most bytes of a name or a value.
const FIELDS: usize = 32;
const TEXT_BYTES: usize = 2_048;

/// The lines.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<AgentLine>,
    bytes: usize,
    /// The number of the last line that was done with.
    done: u64,
    /// Lines that found no room.
    left_out: u64,
}

impl Queue {
    /// Takes a line, cut to its bounds; when there is no room it is counted.
    pub fn push(&mut self, mut line: AgentLine) {
        line.fields.truncate(FIELDS);
        let texts = line.fields.iter_mut().flat_map(|(name, value)| [name, value]);
        texts.chain([&mut line.event]).for_each(|text| text.truncate(text.floor_char_boundary(TEXT_BYTES)));
        if self.waiting.len() >= WAITING_MAX || self.bytes + line.bytes() > WAITING_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += line.bytes();
        self.waiting.push_back(line);
    }

    /// The oldest lines, as many as are sent at once; none: nothing waits. They stay until they are done with.
    pub fn batch(&self) -> Option<AgentLines> {
        let mut bytes = 0;
        let fits = |line: &&AgentLine| {
            bytes += line.bytes();
            bytes <= MOST_LINE_BYTES
        };
        let lines: Vec<AgentLine> = self.waiting.iter().take(MOST_LINES).take_while(fits).cloned().collect();
        (!lines.is_empty()).then(|| AgentLines { through: self.done + lines.len() as u64, lines })
    }

    /// The lines up to this number are done with. A number that was never sent, or came before, changes nothing.
    pub fn done(&mut self, through: u64) {
        let count = through.saturating_sub(self.done);
        if count > self.waiting.len() as u64 {
            return;
        }
        for line in self.waiting.drain(..count as usize) {
            self.bytes -= line.bytes();
        }
        self.done += count;
    }

    /// Lines that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str) -> AgentLine {
        AgentLine { event: event.to_owned(), ..AgentLine::default() }
    }

    #[test]
    fn lines_go_in_order_and_stay_until_they_came() {
        let mut queue = Queue::default();
        assert_eq!(queue.batch(), None);
        (0..MOST_LINES + 5).for_each(|number| queue.push(line(&number.to_string())));
        let first = queue.batch().expect("lines");
        assert_eq!((first.through, first.lines.len()), (MOST_LINES as u64, MOST_LINES));
        assert_eq!(queue.batch(), Some(first.clone()), "until somebody said that they came");
        queue.done(u64::MAX);
        queue.done(first.through);
        queue.done(first.through);
        let second = queue.batch().expect("the rest");
        assert_eq!((second.through, second.lines[0].event.as_str()), (MOST_LINES as u64 + 5, "100"));
        queue.done(second.through);
        assert_eq!((queue.batch(), queue.bytes), (None, 0));
    }

    #[test]
    fn what_is_too_much_is_counted_and_what_is_too_long_is_cut() {
        let mut queue = Queue::default();
        (0..WAITING_MAX + 3).for_each(|_| queue.push(line("e")));
        assert_eq!((queue.waiting.len(), queue.left_out()), (WAITING_MAX, 3));
        let mut queue = Queue::default();
        let long = "ü".repeat(TEXT_BYTES);
        for _ in 0..WAITING_MAX {
            queue.push(AgentLine { fields: vec![("a".into(), long.clone()); FIELDS + 1], ..line("e") });
        }
        assert!(queue.bytes <= WAITING_BYTES && queue.left_out() > 0);
        let batch = queue.batch().expect("at least one line fits");
        assert!(batch.is_bounded());
        assert_eq!((batch.lines[0].fields.len(), batch.lines[0].fields[0].1.len()), (FIELDS, TEXT_BYTES));
    }
}
