//! Runs a recorded node again, step by step.

use std::collections::BTreeMap;

use dwcp_consensus::Disk;
use dwcp_types::Now;

use super::{Decided, Record, Records, Trouble};
use crate::node::{Effect, Input, Node};

/// A recorded node that is run again.
pub struct Replay<S> {
    records: Records<S>,
    node: Node,
    /// When it was opened.
    pub opened: Now,
    /// Records its disk held.
    pub kept: usize,
}

/// The inputs of a step.
pub struct Step {
    /// When it was taken.
    pub now: Now,
    /// What went in.
    pub inputs: Vec<Input>,
}

/// What a step decided.
pub struct Taken {
    /// Now.
    pub effects: Vec<Effect>,
    /// The same in short.
    pub decided: Decided,
}

struct Kept(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk for Kept {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let range = self.0.range(from.to_vec()..to.to_vec());
        Box::new(range.map(|(key, value)| (key.clone(), value.clone())))
    }
}

impl<S: FnMut(usize) -> Vec<u8>> Replay<S> {
    /// Opens the node as it was opened.
    ///
    /// # Errors
    /// The recording ends or is damaged before the node was open; says how.
    pub fn open(mut records: Records<S>) -> Result<Replay<S>, String> {
        let next = |records: &mut Records<S>| match records.next_record() {
            Ok(record) => record.ok_or("it ends before the node was open".to_string()),
            Err(trouble) => Err(trouble.to_string()),
        };
        let Record::Begin(config) = next(&mut records)? else {
            return Err("it does not begin with the node's settings".to_string());
        };
        let config = config.into_owned();
        if config.regions.get(&config.me) != Some(&config.region) {
            return Err(format!("its settings name no region for node {}", config.me));
        }
        let mut disk = Kept(BTreeMap::new());
        let opened = loop {
            match next(&mut records)? {
                Record::Kept(key, value) => drop(disk.0.insert(key.into_owned(), value.into_owned())),
                Record::Opened(now) => break now,
                _ => return Err("a step comes before the node was open".to_string()),
            }
        };
        let node = Node::open(config, opened, &disk).map_err(|error| error.to_string())?;
        Ok(Replay { records, node, opened, kept: disk.0.len() })
    }

    /// The node as it is now.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The next step; none at the end.
    ///
    /// # Errors
    /// The recording is cut off or damaged.
    pub fn next_step(&mut self) -> Result<Option<Step>, Trouble> {
        let (now, count) = match self.records.next_record()? {
            None => return Ok(None),
            Some(Record::Step(now, count)) => (now, count),
            Some(_) => return Err(self.out_of_order()),
        };
        let mut inputs = Vec::new();
        while (inputs.len() as u64) < count {
            match self.records.next_record()? {
                Some(Record::Input(input)) => inputs.push(input.into_owned()),
                None => return Err(Trouble::CutOff(self.records.at)),
                Some(_) => return Err(self.out_of_order()),
            }
        }
        Ok(Some(Step { now, inputs }))
    }

    /// Lets the node take a step.
    pub fn take(&mut self, step: Step) -> Taken {
        let mut effects = Vec::new();
        self.node.step_all(step.now, step.inputs, &mut effects);
        let decided = Decided::of(&effects, self.node.wake_at());
        Taken { effects, decided }
    }

    /// What the recorder saw of the step that was just taken; none: the recording ends inside it.
    ///
    /// # Errors
    /// The recording is cut off or damaged.
    pub fn recorded(&mut self) -> Result<Option<Decided>, Trouble> {
        match self.records.next_record()? {
            Some(Record::Decided(decided)) => Ok(Some(decided)),
            None => Ok(None),
            Some(_) => Err(self.out_of_order()),
        }
    }

    fn out_of_order(&self) -> Trouble {
        Trouble::Damaged(self.records.at, "a record before it is out of order".to_string())
    }
}
