//! Tests of the facts: what each command does and refuses, handoff between regions, encoding.

mod it {
    mod backups;
    mod claims;
    mod codec;
    mod copies;
    mod core_commands;
    mod digest;
    mod documents;
    mod drill;
    mod expected;
    mod flaws;
    mod golden;
    mod handoff;
    mod idempotency;
    mod images;
    mod maintenance;
    mod members;
    mod migration;
    mod protection;
    mod readings;
    mod region_commands;
    mod restoration;
    mod samples;
    mod sites;
    mod sync;
    mod upgrades;
    mod world;
}
