//! The federation's facts; applying a command is the only way they change.
