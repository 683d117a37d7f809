//! The state machines that run a region and a host: one input in, effects out.

pub mod agent;
pub mod node;
pub mod protocol;
pub mod recording;
pub mod replica;
