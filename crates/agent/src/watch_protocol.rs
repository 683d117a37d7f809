//! What worker and watchdog say to each other: JSON lines over a socket pair.

use serde::{Deserialize, Serialize};

/// From the worker.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Name every VM process.
    List,
    /// Start one. Refused without a lease.
    Spawn {
        /// Number of the VM.
        vm: u64,
        /// Its generation.
        generation: u64,
        /// Program and arguments.
        line: Vec<String>,
        /// Directory to run in.
        dir: String,
        /// Kept for the worker and told in [`Tell::Running`].
        note: String,
    },
    /// Kill one.
    Kill {
        /// Number of the VM.
        vm: u64,
        /// Its generation.
        generation: u64,
    },
    /// Let one go on that is held. Refused without a lease.
    Resume {
        /// Number of the VM.
        vm: u64,
        /// Its generation.
        generation: u64,
    },
    /// Hold every one still.
    HoldAll,
}

/// From the watchdog.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub enum Tell {
    /// A process that is there; answers [`Ask::List`], one a VM.
    Running {
        /// Number of the VM.
        vm: u64,
        /// Its generation.
        generation: u64,
        /// The process.
        pid: u32,
        /// Whether it is held still.
        held: bool,
        /// What the worker gave when it was started.
        note: String,
    },
    /// The end of the list.
    Listed,
    /// Answers [`Ask::Spawn`].
    Spawned {
        /// Number of the VM.
        vm: u64,
        /// Its generation.
        generation: u64,
        /// The process; `None` when it could not be started.
        pid: Option<u32>,
        /// Why not.
        error: String,
    },
    /// A process ended.
    Exited {
        /// Number of the VM.
        vm: u64,
        /// Its generation.
        generation: u64,
        /// How.
        reason: String,
    },
    /// A process is held still because the lease ran out.
    Held {
        /// Number of the VM.
        vm: u64,
    },
}

/// The line for a message.
pub fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}
