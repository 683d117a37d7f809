//! Feeds damaged input to every decoder that reads what others wrote: no panic, no endless memory, and what was read can
//! be written and read again.
//!
//! `cargo run -p dwcp-server --profile sim --example fuzz -- [TARGET|all] [--seconds N] [--seed N]`. A failure prints the
//! input in hex; the seed and the number of the round repeat it.

mod recordings;
mod rounds;
mod targets;
mod texts;

use std::process::ExitCode;

/// No decoder needs more address space than this for inputs of a few kilobytes.
const MEMORY_LIMIT: u64 = 4 << 30;

/// Reads an input; true when it was understood.
pub type Read = Box<dyn Fn(&[u8]) -> bool>;

/// A decoder and real inputs for it.
pub struct Target {
    pub name: &'static str,
    /// Real inputs, from which the others are made.
    pub corpus: Vec<Vec<u8>>,
    pub read: Read,
}

fn main() -> ExitCode {
    let (arguments, limit, seed) = rounds::arguments();
    let wanted = arguments.first().filter(|word| !word.starts_with("--")).map_or("all", String::as_str);
    let all: Vec<Target> = targets::all().into_iter().chain(recordings::all()).chain(texts::all()).collect();
    let chosen: Vec<&Target> = all.iter().filter(|target| wanted == "all" || target.name == wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|target| target.name).collect();
        eprintln!("no target {wanted:?}; there are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    limit_memory();
    for target in chosen {
        rounds::run(target.name, &target.corpus, limit, seed, &target.read);
    }
    ExitCode::SUCCESS
}

fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: MEMORY_LIMIT, rlim_max: MEMORY_LIMIT };
    // SAFETY: reads one struct of ours; failing only means that there is no limit.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
}
