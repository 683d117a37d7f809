//! dwcp-sim: runs the federation in simulated time.
//!
//! Exit codes: 0 everything held, 1 something did not, 2 the command line can't be understood or the file is no recording.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use dwcp_sim::arguments::Arguments;
use dwcp_sim::layout::Layout;
use dwcp_sim::options::{Mutation, Options};
use dwcp_sim::partitions::Partition;
use dwcp_sim::partitions::table::Table;
use dwcp_sim::prove::Tried;
use dwcp_sim::recording::{self, Verdict};
use dwcp_sim::run::Schedule;
use dwcp_sim::{run, scenario, swarm};

const HELP: &str = "\
dwcp-sim: runs the federation of five regions in simulated time, decided by a seed

usage:
  dwcp-sim swarm    [--seed N | --seeds N | --seeds A..B] [--jobs N] [--mutation NAME] [--verbose]
  dwcp-sim partitions [--seed N | --seeds N | --seeds A..B] [--jobs N] [--verbose]
  dwcp-sim migrations [--seed N | --seeds N | --seeds A..B]
  dwcp-sim prove    --config FILE|- [--seed N | --seeds N | --seeds A..B] [--jobs N] [--verbose]
  dwcp-sim twice    [--seed N | --seeds N | --seeds A..B] [--jobs N]
  dwcp-sim scenario [NAME | FOLDER]... [--bless] [--verbose]
  dwcp-sim replay   FILE
  dwcp-sim --help

swarm     runs each seed with misfortune drawn from it, lets everything heal, and checks every promise
          (without a flag: seeds 0..20; every fourth seed kills one region and times its VMs' return)
partitions  breaks links between regions in a way drawn from each seed (full, one-way, partial, flapping; 2|3, 1|4, 1|1|3,
          single pairs; 3 to 90 s) while people use the federation, heals them, and checks every promise: it converges
          within 60 s, no VM is moved to and fro (without a flag: seeds 0..50)
migrations  moves a VM between two regions and breaks one thing at one moment of it, each thing at each moment: agents,
          processes, controllers, hosts, links, regions; prints how each ended (without a flag: seed 0)
prove       runs a federation as it is configured: its regions, hosts, VMs with their rules, policies and measured round
          trips, as `GET /v1/configuration` answers them (`dwcp-cli federation dr-drill prove` fetches and runs them);
          every seed kills a region, cuts one off, breaks links or draws mixed faults, in turn; what is too large to be
          run is made smaller, and that is said (without a flag: seeds 0..100)
twice     runs each seed twice and compares everything that was said (without a flag: seeds 0..5)
scenario  tells the stories below scenarios/ and compares them with their expected.log
replay    runs what `dwcpd run --record FILE` wrote again and compares what every step decides; a recording whose end is
          missing is replayed up to there

  --seeds N          seeds 0 up to N; A..B: from A up to B, B not included
  --jobs N           so many seeds at once (without the flag: one a core); what is said does not depend on it
  --mutation NAME    break a rule on purpose and stop at the first seed that shows it:
                     skip-lease-wait, ack-before-fsync, ignore-generation
  --bless            take what a story prints as expected from now on
  --verbose          print every line of the log

exit codes: 0 everything held, 1 something did not, 2 the command line can't be understood or the file is no recording";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        say(HELP);
        return;
    }
    let rest = words.get(1..).unwrap_or_default();
    let done = match words.first().map(String::as_str) {
        Some("swarm") => swarm(rest),
        Some("partitions") => partitions(rest),
        Some("migrations") => migrations(rest),
        Some("prove") => prove(rest),
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

/// Prints the table of every seed.
fn migrations(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["seed", "seeds"], &[])?;
    no_names(&arguments)?;
    let (mut ran, mut violations) = (0, 0);
    for seed in arguments.seeds(0..1)? {
        let outcomes = dwcp_sim::migrations::all(seed);
        dwcp_sim::migrations::lines(&outcomes).iter().for_each(|line| say(line));
        ran += outcomes.len();
        violations += outcomes.iter().filter(|outcome| outcome.is_err()).count();
    }
    say(&format!("{ran} migrations, {violations} violations"));
    Ok(i32::from(violations > 0))
}

fn no_names(arguments: &Arguments) -> Result<(), String> {
    arguments.names.first().map_or(Ok(()), |name| Err(format!("`{name}` is not understood")))
}

fn mutation(arguments: &Arguments) -> Result<Option<Mutation>, String> {
    let Some(name) = arguments.value("mutation") else { return Ok(None) };
    let found = Mutation::NAMED.iter().find(|(known, _)| *known == name);
    found.map(|(_, mutation)| Some(*mutation)).ok_or(format!("unknown mutation {name}"))
}

/// What a swarm has seen so far.
#[derive(Default)]
struct Tally {
    ran: u64,
    violations: u64,
    failovers: usize,
    created: usize,
    returned_ms: Vec<u64>,
}

fn swarm(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["seed", "seeds", "mutation", "jobs"], &["verbose"])?;
    no_names(&arguments)?;
    let (seeds, jobs) = (arguments.seeds(0..20)?, arguments.jobs(swarm::cores())?);
    let (mutation, verbose) = (mutation(&arguments)?, arguments.has("verbose"));
    let mut tally = Tally::default();
    let run_one = |seed| {
        let mut ended = run::swarm(Options { verbose, ..Options::swarm(seed, mutation) });
        if !verbose {
            ended.log.clear();
        }
        ended
    };
    swarm::in_order(seeds, jobs, run_one, |seed, ended| {
        tally.ran += 1;
        tally.failovers += ended.failovers;
        tally.created += ended.created;
        tally.returned_ms.extend(ended.returned_ms);
        ended.log.iter().for_each(|line| say(line));
        let Some(violation) = ended.violation else { return true };
        tally.violations += 1;
        say(&format!("seed {seed}: VIOLATION {violation}"));
        say(&format!("  again: dwcp-sim swarm --seed {seed} --verbose"));
        mutation.is_none()
    });
    let Tally { ran, violations, failovers, created, returned_ms } = tally;
    say(&format!("{ran} seeds, {violations} violations, {created} VMs acknowledged, {failovers} failovers"));
    if let Some(longest) = returned_ms.iter().max() {
        let mean = returned_ms.iter().sum::<u64>() / returned_ms.len() as u64;
        let runs = returned_ms.len();
        say(&format!(
            "{runs} runs killed one region: its last VM answered after {mean} ms on average, {longest} ms at most"
        ));
    }
    Ok(i32::from(violations > 0))
}

fn partitions(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["seed", "seeds", "jobs"], &["verbose"])?;
    no_names(&arguments)?;
    let (seeds, jobs) = (arguments.seeds(0..50)?, arguments.jobs(swarm::cores())?);
    let verbose = arguments.has("verbose");
    let mut table = Table::default();
    let run_one = |seed| {
        let options = Options { verbose, ..Options::partition(seed) };
        let (regions, shape) = (options.regions, format!("{options:?}"));
        let mut ended = run::swarm(options);
        if verbose {
            ended.log.insert(0, shape);
        } else {
            ended.log.clear();
        }
        (Partition::draw(seed, regions), ended)
    };
    swarm::in_order(seeds, jobs, run_one, |seed, (partition, ended)| {
        ended.log.iter().for_each(|line| say(line));
        table.count(&partition, &ended);
        let Some(violation) = ended.violation else { return true };
        let (kind, shape) = (partition.kind.name(), partition.shape.name());
        let (seconds, beside) = (partition.length_ms as f64 / 1_000.0, partition.beside);
        say(&format!(
            "seed {seed} ({kind}, {shape}, {seconds:.1} s, beside it {beside:?}): VIOLATION {violation}"
        ));
        say(&format!("  again: dwcp-sim partitions --seed {seed} --verbose"));
        true
    });
    table.lines().iter().for_each(|line| say(line));
    Ok(i32::from(table.violations() > 0))
}

fn prove(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["config", "seed", "seeds", "jobs"], &["verbose"])?;
    no_names(&arguments)?;
    let name = arguments.value("config").ok_or("--config is missing")?;
    let text = match name {
        "-" => std::io::read_to_string(std::io::stdin()),
        file => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| format!("{name}: {error}"))?;
    let layout = Arc::new(Layout::read(&text).map_err(|why| format!("{name}: {why}"))?);
    let (seeds, jobs) = (arguments.seeds(0..100)?, arguments.jobs(swarm::cores())?);
    let verbose = arguments.has("verbose");
    let (regions, vms) = (layout.regions.len(), layout.vms.len());
    say(&format!("{}: {regions} regions, {} hosts, {vms} VMs", layout.core.name, layout.hosts.len()));
    layout.notes.iter().for_each(|note| say(&format!("  {note}")));
    let mut tally = Tried::default();
    let run_one = |seed| {
        let mut ended = run::swarm(Options { verbose, ..Options::proof(seed, Arc::clone(&layout)) });
        if !verbose {
            ended.log.clear();
        }
        ended
    };
    swarm::in_order(seeds, jobs, run_one, |seed, ended| {
        let schedule = Schedule::draw(seed, regions);
        ended.log.iter().for_each(|line| say(line));
        tally.count(&schedule, &ended);
        if let Some(violation) = ended.violation {
            say(&format!("seed {seed} ({}): VIOLATION {violation}", Schedule::KINDS[schedule.kind()]));
            let file = if name == "-" { "FILE" } else { name };
            say(&format!("  again: dwcp-sim prove --config {file} --seed {seed} --verbose"));
        }
        true
    });
    tally.lines(vms).iter().for_each(|line| say(line));
    Ok(i32::from(tally.broken()))
}

fn twice(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &["seed", "seeds", "jobs"], &[])?;
    no_names(&arguments)?;
    let (seeds, jobs) = (arguments.seeds(0..5)?, arguments.jobs(swarm::cores())?);
    let both = |seed| [(); 2].map(|()| run::swarm(Options::swarm(seed, None)));
    let mut differ = 0;
    swarm::in_order(seeds, jobs, both, |seed, [first, second]| {
        if first.digest == second.digest && first.log == second.log {
            say(&format!("seed {seed}: identical, {} lines, digest {:016x}", first.log.len(), first.digest));
            return true;
        }
        differ += 1;
        let line = first.log.iter().zip(&second.log).position(|(a, b)| a != b);
        let line = line.unwrap_or(first.log.len().min(second.log.len())) + 1;
        say(&format!("seed {seed}: the two runs differ, first in line {line}"));
        true
    });
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

fn replay(words: &[String]) -> Result<i32, String> {
    let arguments = Arguments::parse(words, &[], &[])?;
    let [name] = arguments.names.as_slice() else { return Err("replay takes one file".to_string()) };
    let mut file = BufReader::new(File::open(name).map_err(|error| format!("{name}: {error}"))?);
    let mut failure = None;
    let source = |count: usize| {
        // Grows with what is there, not with what a record claims.
        let mut bytes = Vec::new();
        if let Err(error) = file.by_ref().take(count as u64).read_to_end(&mut bytes) {
            failure = Some(error);
        }
        bytes
    };
    let verdict =
        recording::replay(source, &mut |line| say(&line)).map_err(|why| format!("{name}: {why}"))?;
    match failure {
        Some(error) => Err(format!("{name}: {error}")),
        None => Ok(i32::from(verdict != Verdict::Identical)),
    }
}
