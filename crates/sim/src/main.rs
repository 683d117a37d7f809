//! dwcp-sim: runs the federation in simulated time.
//!
//! Exit codes: 0 everything held, 1 something did not, 2 the command line can't be understood.

use std::path::Path;

use dwcp_sim::arguments::Arguments;
use dwcp_sim::options::{Mutation, Options};
use dwcp_sim::{run, scenario};

const HELP: &str = "\
dwcp-sim: runs the federation of five regions in simulated time, decided by a seed

usage:
  dwcp-sim swarm    [--seed N | --seeds N | --seeds A..B] [--mutation NAME] [--verbose]
  dwcp-sim twice    [--seed N | --seeds N | --seeds A..B]
  dwcp-sim scenario [NAME | FOLDER]... [--bless] [--verbose]
  dwcp-sim replay   FILE
  dwcp-sim --help

swarm     runs each seed with misfortune drawn from it, lets everything heal, and checks every promise
          (without a flag: seeds 0..20; every fourth seed kills one region and times its VMs' return)
twice     runs each seed twice and compares everything that was said (without a flag: seeds 0..5)
scenario  tells the stories below scenarios/ and compares them with their expected.log
replay    looks at what `dwcpd run --record FILE` wrote

  --seeds N          seeds 0 up to N; A..B: from A up to B, B not included
  --mutation NAME    break a rule on purpose and stop at the first seed that shows it:
                     skip-lease-wait, ack-before-fsync, ignore-generation
  --bless            take what a story prints as expected from now on
  --verbose          print every line of the log

exit codes: 0 everything held, 1 something did not, 2 the command line can't be understood";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        say(HELP);
        return;
    }
    let rest = words.get(1..).unwrap_or_default();
    let done = match words.first().map(String::as_str) {
        Some("swarm") => swarm(rest),
        Some("twice") => twice(rest),
        Some("scenario") => tell(rest),
        Some("replay") => replay(rest),
        Some(other) => Err(format!("unknown command {other}")),
        None => Err("a command is missing".to_string()),
    };
    let code = done.unwrap_or_else(|complaint| {
        eprintln!("dwcp-sim: {complaint}; see dwcp-sim --help");
        2
    });
    std::process::exit(code);
}

/// Prints a line; who reads may have gone away.
fn say(line: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

fn no_names(arguments: &Arguments) -> Result<(), String> {
    arguments.names.first().map_or(Ok(()), |name| Err(format!("`{name}` is not understood")))
}

fn mutation(arguments: &Arguments) -> Result<Option<Mutation>, String> {
    let Some(name) = arguments.value("mutation") else { return Ok(None) };
    let found = Mutation::NAMED.iter().find(|(known, _)| *known == name);
    found.map(|(_, mutation)| Some(*mutation)).ok_or(format!("unknown mutation {name}"))
}

fn swarm(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["seed", "seeds", "mutation"], &["verbose"])?;
    no_names(&arguments)?;
    let (seeds, mutation, verbose) =
        (arguments.seeds(0..20)?, mutation(&arguments)?, arguments.has("verbose"));
    let (mut ran, mut violations, mut failovers, mut created) = (0, 0, 0, 0);
    let mut returned: Vec<u64> = Vec::new();
    for seed in seeds {
        let ended = run::swarm(Options { verbose, ..Options::swarm(seed, mutation) });
        ran += 1;
        failovers += ended.failovers;
        created += ended.created;
        returned.extend(ended.returned_ms);
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
    say(&format!("{ran} seeds, {violations} violations, {created} VMs acknowledged, {failovers} failovers"));
    if let Some(longest) = returned.iter().max() {
        let mean = returned.iter().sum::<u64>() / returned.len() as u64;
        let runs = returned.len();
        say(&format!(
            "{runs} runs killed one region: its last VM answered after {mean} ms on average, {longest} ms at most"
        ));
    }
    Ok(i32::from(violations > 0))
}

fn twice(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["seed", "seeds"], &[])?;
    no_names(&arguments)?;
    let mut differ = 0;
    for seed in arguments.seeds(0..5)? {
        let (first, second) =
            (run::swarm(Options::swarm(seed, None)), run::swarm(Options::swarm(seed, None)));
        if first.digest == second.digest && first.log == second.log {
            say(&format!("seed {seed}: identical, {} lines, digest {:016x}", first.log.len(), first.digest));
            continue;
        }
        differ += 1;
        let line = first.log.iter().zip(&second.log).position(|(a, b)| a != b);
        let line = line.unwrap_or(first.log.len().min(second.log.len())) + 1;
        say(&format!("seed {seed}: the two runs differ, first in line {line}"));
    }
    Ok(i32::from(differ > 0))
}

/// Tells stories and compares what they print with what is expected; `--bless` takes it as expected from now on.
fn tell(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &[], &["bless", "verbose"])?;
    let (bless, verbose) = (arguments.has("bless"), arguments.has("verbose"));
    let root = Path::new("scenarios");
    let chosen: Vec<_> = if arguments.names.is_empty() {
        scenario::stories(root).map_err(|error| format!("{}: {error}", root.display()))?
    } else {
        let folder = |name: &String| if Path::new(name).is_dir() { name.into() } else { root.join(name) };
        arguments.names.iter().map(folder).collect()
    };
    let mut failed = 0;
    for folder in &chosen {
        match scenario::check(folder, bless, verbose) {
            Ok(()) => say(&format!("ok      {}", folder.display())),
            Err(why) => {
                failed += 1;
                say(&format!("FAILED  {}\n{why}", folder.display()));
            }
        }
    }
    say(&format!("{} passed, {failed} failed", chosen.len() - failed));
    Ok(i32::from(failed > 0 || chosen.is_empty()))
}

/// Recordings hold requests as text, and no state to begin from: they can be read, not run again.
fn replay(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &[], &[])?;
    let [file] = arguments.names.as_slice() else { return Err("replay takes one file".to_string()) };
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let summary = dwcp_sim::recording::summary(&bytes).map_err(|error| format!("{file}: {error}"))?;
    summary.iter().for_each(|line| say(line));
    say(
        "This recording can't be run again: requests in it are text, and the state the node began from is not in it.",
    );
    Ok(1)
}
