//! Backups: made, read back, damaged in every way, interrupted, pruned, their keys changed; in memory, in folders, in S3.

#[path = "it/basics.rs"]
mod basics;
#[path = "it/damage.rs"]
mod damage;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/memory.rs"]
mod memory;
#[path = "it/rotation.rs"]
mod rotation;
#[cfg(feature = "s3")]
#[path = "it/s3.rs"]
mod s3;
#[path = "it/states.rs"]
mod states;
#[path = "it/writers.rs"]
mod writers;
