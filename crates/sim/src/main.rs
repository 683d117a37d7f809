//! dwcp-sim: runs the federation in simulated time.

use std::path::Path;

use dwcp_sim::options::{Mutation, Options};
use dwcp_sim::{run, scenario};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match words.first() {
        Some(&"swarm") => swarm(&words[1..]),
        Some(&"twice") => twice(&words[1..]),
        Some(&"scenario") => tell(&words[1..]),
        _ => usage(),
    };
    std::process::exit(code);
}

/// Prints a line; who reads may have gone away.
fn say(line: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

fn usage() -> i32 {
    eprintln!(
        "usage: dwcp-sim swarm [--seed N | --seeds A..B] [--mutation NAME] [--verbose]\n       dwcp-sim twice --seed N\n       dwcp-sim scenario [NAME | FOLDER]... [--bless] [--verbose]"
    );
    2
}

fn flag<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1).copied()
}

fn range(words: &[&str]) -> Option<std::ops::Range<u64>> {
    if let Some(seed) = flag(words, "--seed") {
        let seed = seed.parse().ok()?;
        return Some(seed..seed + 1);
    }
    let (first, end) = flag(words, "--seeds").unwrap_or("0..20").split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

fn mutation(words: &[&str]) -> Result<Option<Mutation>, i32> {
    let Some(name) = flag(words, "--mutation") else { return Ok(None) };
    match Mutation::NAMED.iter().find(|(known, _)| *known == name) {
        Some((_, mutation)) => Ok(Some(*mutation)),
        None => Err(usage()),
    }
}

fn swarm(words: &[&str]) -> i32 {
    let (Some(seeds), Ok(mutation)) = (range(words), mutation(words)) else { return usage() };
    let verbose = words.contains(&"--verbose");
    let total = seeds.end.saturating_sub(seeds.start);
    let (mut violations, mut failovers, mut created) = (0, 0, 0);
    for seed in seeds {
        let ended = run::swarm(Options { verbose, ..Options::swarm(seed, mutation) });
        failovers += ended.failovers;
        created += ended.created;
        if verbose {
            ended.log.iter().for_each(|line| say(line));
        }
        if let Some(violation) = ended.violation {
            violations += 1;
            say(&format!("seed {seed}: VIOLATION {violation}"));
            say(&format!("  again: dwcp-sim swarm --seed {seed} --verbose"));
            if mutation.is_some() {
                break;
            }
        }
    }
    say(&format!(
        "{total} seeds, {violations} violations, {created} VMs acknowledged, {failovers} failovers"
    ));
    i32::from(violations > 0)
}

fn twice(words: &[&str]) -> i32 {
    let Some(seeds) = range(words) else { return usage() };
    for seed in seeds {
        let (first, second) =
            (run::swarm(Options::swarm(seed, None)), run::swarm(Options::swarm(seed, None)));
        if first.digest != second.digest || first.log != second.log {
            let line = first.log.iter().zip(&second.log).position(|(a, b)| a != b);
            println!("seed {seed}: the two runs differ (first at line {line:?})");
            return 1;
        }
        println!("seed {seed}: identical, {} lines, digest {:016x}", first.log.len(), first.digest);
    }
    0
}

/// Tells stories and compares what they print with what is expected; `--bless` takes it as expected from now on.
fn tell(words: &[&str]) -> i32 {
    let (bless, verbose) = (words.contains(&"--bless"), words.contains(&"--verbose"));
    let names: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    let root = Path::new("scenarios");
    let all = scenario::stories(root).unwrap_or_default();
    let chosen: Vec<_> = if names.is_empty() {
        all
    } else {
        let folder = |name: &&str| if Path::new(name).is_dir() { name.into() } else { root.join(name) };
        names.iter().map(folder).collect()
    };
    let mut failed = 0;
    for folder in &chosen {
        let outcome = scenario::check(folder, bless, verbose);
        match outcome {
            Ok(()) => say(&format!("ok      {}", folder.display())),
            Err(why) => {
                failed += 1;
                say(&format!("FAILED  {}\n{why}", folder.display()));
            }
        }
    }
    say(&format!("{} passed, {failed} failed", chosen.len() - failed));
    i32::from(failed > 0 || chosen.is_empty())
}
