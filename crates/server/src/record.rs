//! Writes down what went into the node, so that a run can be looked at again.
//!
//! A record is the length of the rest (4 bytes, little endian), both clocks (8 bytes each: µs, ms), the kind (1 byte) and
//! the content. Requests are written as text: they are there to be read, not replayed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use dwcp_roles::node::Input;
use dwcp_types::{Now, encode};

/// An open recording.
pub struct Recorder {
    file: BufWriter<File>,
    failed: bool,
}

impl Recorder {
    /// Begins a recording; an older one of the same name is replaced.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        Ok(Recorder { file: BufWriter::new(File::create(path)?), failed: false })
    }

    /// Writes the inputs of one step. A full disk ends the recording, not the node.
    pub fn write(&mut self, now: Now, inputs: &[Input]) {
        if self.failed {
            return;
        }
        let written = inputs.iter().try_for_each(|input| {
            let (kind, content) = encoded(input);
            let length = content.len() as u32 + 17;
            self.file.write_all(&length.to_le_bytes())?;
            self.file.write_all(&now.mono.0.to_le_bytes())?;
            self.file.write_all(&now.wall.0.to_le_bytes())?;
            self.file.write_all(&[kind])?;
            self.file.write_all(&content)
        });
        self.failed = written.and_then(|()| self.file.flush()).is_err();
    }
}

fn encoded(input: &Input) -> (u8, Vec<u8>) {
    let with = |number: u64, bytes: &[u8]| [number.to_le_bytes().as_slice(), bytes].concat();
    match input {
        Input::Wake => (0, Vec::new()),
        Input::Mesh { from, bytes } => (1, with(*from, bytes)),
        Input::Persisted { seq } => (2, with(*seq, &[])),
        Input::Links(readings) => (3, encode(readings)),
        Input::Measures(measures) => (4, encode(measures)),
        Input::AgentUp { session, region, host } => {
            (5, with(*session, format!("{region}/{host}").as_bytes()))
        }
        Input::AgentFrame { session, bytes } => (6, with(*session, bytes)),
        Input::AgentDown { session } => (7, with(*session, &[])),
        Input::HandOver => (9, Vec::new()),
        Input::Request { ticket, request } => (8, with(*ticket, format!("{request:?}").as_bytes())),
    }
}
