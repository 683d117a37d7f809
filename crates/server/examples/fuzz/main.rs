//! Feeds damaged input to every decoder that reads what others wrote: no panic, no endless memory, and what was read can
//! be written and read again.
//!
//! `cargo run -p dwcp-server --profile sim --example fuzz -- [TARGET|all] [--seconds N] [--seed N]`. A failure prints the
//! input in hex; the seed and the number of the round repeat it.

mod mutate;
mod recordings;
mod targets;
mod texts;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dwcp_types::Rng;
use mutate::mutate;

/// No decoder needs more address space than this for inputs of a few kilobytes.
const MEMORY_LIMIT: u64 = 4 << 30;
/// Inputs kept to be changed further.
const CORPUS_KEPT: usize = 2_000;
const INPUT_MAX: usize = 64 << 10;

/// Reads an input; true when it was understood.
pub type Read = Box<dyn Fn(&[u8]) -> bool>;

/// A decoder and real inputs for it.
pub struct Target {
    pub name: &'static str,
    /// Real inputs, from which the others are made.
    pub corpus: Vec<Vec<u8>>,
    pub read: Read,
}

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str, default: u64| {
        let at = arguments.iter().position(|word| word == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (seconds, seed) = (flag("--seconds", 20), flag("--seed", 1));
    let wanted = arguments.first().filter(|word| !word.starts_with("--")).map_or("all", String::as_str);
    let all: Vec<Target> = targets::all().into_iter().chain(recordings::all()).chain(texts::all()).collect();
    let chosen: Vec<&Target> = all.iter().filter(|target| wanted == "all" || target.name == wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|target| target.name).collect();
        eprintln!("no target {wanted:?}; there are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    limit_memory();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        INPUT.with_borrow(|input| eprintln!("input, {} bytes: {}", input.len(), hex(input)));
    }));
    for target in chosen {
        run(target, Duration::from_secs(seconds), seed);
    }
    ExitCode::SUCCESS
}

fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: MEMORY_LIMIT, rlim_max: MEMORY_LIMIT };
    // SAFETY: reads one struct of ours; failing only means that there is no limit.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(target: &Target, limit: Duration, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut corpus = target.corpus.clone();
    assert!(!corpus.is_empty(), "{}: no real input", target.name);
    for real in &corpus {
        assert!((target.read)(real), "{}: a real input is not understood", target.name);
    }
    let (began, mut rounds, mut understood) = (Instant::now(), 0u64, 0u64);
    while began.elapsed() < limit {
        let mut input = corpus[rng.below(corpus.len() as u64) as usize].clone();
        let other = &corpus[rng.below(corpus.len() as u64) as usize];
        mutate(&mut rng, &mut input, other);
        input.truncate(INPUT_MAX);
        INPUT.set(input.clone());
        rounds += 1;
        if (target.read)(&input) {
            understood += 1;
            // What is still understood leads further in than what is not.
            if corpus.len() < CORPUS_KEPT {
                corpus.push(input);
            } else {
                let at = target.corpus.len() as u64;
                let replaced = at + rng.below(corpus.len() as u64 - at);
                corpus[replaced as usize] = input;
            }
        }
    }
    println!(
        "{:<20} {rounds:>10} inputs, {understood} understood, {:.0} a second, seed {seed}",
        target.name,
        rounds as f64 / began.elapsed().as_secs_f64()
    );
}
