//! Five nodes and several groups on a seeded network with slow disks: see `it/world.rs`.

#[path = "it/decoders.rs"]
mod decoders;
#[path = "it/elections.rs"]
mod elections;
#[path = "it/leases.rs"]
mod leases;
#[path = "it/members.rs"]
mod members;
#[path = "it/repairs.rs"]
mod repairs;
#[path = "it/safety.rs"]
mod safety;
#[path = "it/windows.rs"]
mod windows;
#[path = "it/world.rs"]
mod world;
