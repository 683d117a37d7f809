//! Meshes of several regions in one process, on loopback addresses with an emulated WAN between them.

#[path = "it/agents.rs"]
mod agents;
#[path = "it/federation.rs"]
mod federation;
#[path = "it/identities.rs"]
mod identities;
#[path = "../../agent/tests/it/lateness.rs"]
mod lateness;
#[path = "it/links.rs"]
mod links;
#[path = "it/pressure.rs"]
mod pressure;
#[path = "it/table.rs"]
mod table;
#[path = "it/transfer.rs"]
mod transfer;
