//! Placement: time a decision, decisions a second, one thread against several, conflicts of controllers that place at once, packing of a real trace.
//!
//! `cargo run -p dwcp-decide --profile sim --example bench-place [TRACE.csv.gz]`
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod controllers;
mod doors;
mod fleet;
#[path = "../../../server/src/hands.rs"]
mod hands;
mod naive;
mod replay;
mod scale;
mod share;
mod times;

fn main() {
    for (regions, hosts) in [(5, 100), (100, 1_000), (100, 5_000)] {
        scale::run(regions, hosts);
    }
    for fill_percent in [40, 90] {
        for count in [1, 2, 5, 16] {
            controllers::run(5, 200, count, fill_percent);
        }
    }
    match std::env::args().nth(1) {
        Some(path) => replay::run(&path),
        None => println!("no trace given: packing is not measured"),
    }
}
