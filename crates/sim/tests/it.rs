//! The simulator's own tests: its promises, its checkers, its stories and its command line.

mod it {
    mod command_line;
    mod hosts;
    mod large;
    mod migrations;
    mod mutations;
    mod partitions;
    mod prove;
    mod recording;
    mod regressions;
    mod replicas;
    mod stories;
    mod syncs;
    mod upgrades;
}
