//! Rounds of damaged input for one decoder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use dwcp_types::Rng;

#[path = "mutate.rs"]
mod mutate;

/// Inputs kept to be changed further.
const CORPUS_KEPT: usize = 2_000;
const INPUT_MAX: usize = 64 << 10;

/// What was typed, how long each target is fed (`--seconds`, 20) and the seed (`--seed`, 1).
pub fn arguments() -> (Vec<String>, Duration, u64) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str, default: u64| {
        let at = arguments.iter().position(|word| word == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (limit, seed) = (Duration::from_secs(flag("--seconds", 20)), flag("--seed", 1));
    (arguments, limit, seed)
}

/// Feeds what is made of `real` inputs to `read`, which says whether it understood. A panic ends the process with 1 and prints
/// the input in hex, the round and the seed.
pub fn run(name: &str, real: &[Vec<u8>], limit: Duration, seed: u64, mut read: impl FnMut(&[u8]) -> bool) {
    let mut rng = Rng::new(seed);
    assert!(!real.is_empty(), "{name}: no real input");
    for input in real {
        assert!(read(input), "{name}: a real input is not understood");
    }
    let mut corpus = real.to_vec();
    let (began, mut rounds, mut understood) = (Instant::now(), 0u64, 0u64);
    while began.elapsed() < limit {
        let mut input = corpus[rng.below(corpus.len() as u64) as usize].clone();
        let other = &corpus[rng.below(corpus.len() as u64) as usize];
        mutate::mutate(&mut rng, &mut input, other);
        input.truncate(INPUT_MAX);
        rounds += 1;
        let Ok(found) = catch_unwind(AssertUnwindSafe(|| read(&input))) else {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{name}, round {rounds}, seed {seed}: input, {} bytes: {hex}", input.len());
            std::process::exit(1);
        };
        if found {
            understood += 1;
            // What is still understood leads further in than what is not.
            if corpus.len() < CORPUS_KEPT {
                corpus.push(input);
            } else {
                let at = real.len() as u64;
                let replaced = at + rng.below(corpus.len() as u64 - at);
                corpus[replaced as usize] = input;
            }
        }
    }
    println!(
        "{name:<22} {rounds:>10} inputs, {understood} understood, {:.0} a second, seed {seed}",
        rounds as f64 / began.elapsed().as_secs_f64()
    );
}
