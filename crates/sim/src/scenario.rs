//! Stories in text: what people type and what goes wrong, at which second, and what must come of it.
//!
//! A story is a folder: `README.md` says what it is about, `world.toml` has `seed = N`, `hosts = N` a region and `regions = N` (5), `steps.txt` a line a
//! step (`SECONDS WORDS…`), `expected.log` what was printed when it was last looked at and found right. The words are
//! literal `dwcp-cli` lines (`$FAILOVER` stands for the operation of the newest failover), `fault …`, `image HOST NAME DIGIT` (what is in a host's image folder), `expect …`, `remember` (which VMs answer, for `expect undisturbed N`) or `settle`
//! (everything heals by itself from here on); [`words`] lists them.

mod expect;
mod words;

use std::path::{Path, PathBuf};

use dwcp_types::Revision;

use crate::options::Options;
use crate::run;
use crate::world::{REGIONS, World};

/// A step.
#[derive(Clone, Debug)]
struct Step {
    at_us: u64,
    line: usize,
    words: Vec<String>,
}

/// A story that is being told.
pub struct Story {
    world: World,
    lines: Vec<String>,
    told: std::collections::BTreeMap<u64, Revision>,
    tickets: u64,
    /// Boot ids of the VMs that answered when the story said `remember`.
    boots: std::collections::BTreeSet<String>,
}

/// How a story ended.
pub struct Told {
    /// What was printed.
    pub log: String,
    /// What did not hold.
    pub failure: Option<String>,
}

/// The folders of all stories below `root`, by name.
pub fn stories(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("steps.txt").is_file())
        .collect();
    found.sort();
    Ok(found)
}

/// Tells the story of a folder.
pub fn tell(folder: &Path, verbose: bool) -> Result<Told, String> {
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name))
            .map_err(|error| format!("{}/{name}: {error}", folder.display()))
    };
    let options = Options { verbose, ..world_of(&read("world.toml")?)? };
    let steps = steps_of(&read("steps.txt")?)?;
    let mut story = Story {
        world: World::new(options),
        lines: Vec::new(),
        told: Default::default(),
        tickets: crate::client::SCENARIO_TICKETS,
        boots: Default::default(),
    };
    let failure = story.live(&steps).err();
    if let Some(failure) = &failure {
        story.say(&format!("FAILED {failure}"));
    }
    if verbose {
        story.world.log.iter().for_each(|line| eprintln!("{line}"));
    }
    Ok(Told { log: story.lines.join("\n") + "\n", failure })
}

/// Tells a story and compares what it prints with `expected.log`, or writes that when `bless`.
pub fn check(folder: &Path, bless: bool, verbose: bool) -> Result<(), String> {
    let told = tell(folder, verbose)?;
    if let Some(failure) = told.failure {
        return Err(format!("{}{failure}", told.log));
    }
    let path = folder.join("expected.log");
    if bless {
        return std::fs::write(&path, &told.log).map_err(|error| format!("{}: {error}", path.display()));
    }
    let expected = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let differs = expected.lines().zip(told.log.lines()).position(|(a, b)| a != b);
    match differs {
        None if expected.lines().count() == told.log.lines().count() => Ok(()),
        at => {
            let at = at.unwrap_or(expected.lines().count().min(told.log.lines().count()));
            let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_string();
            Err(format!("line {}:\n  expected {}\n  told     {}", at + 1, line(&expected), line(&told.log)))
        }
    }
}

fn world_of(text: &str) -> Result<Options, String> {
    let mut options = Options::quiet(1);
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = || {
            format!("world.toml:{}: `{line}` is not `seed = N`, `hosts = N` or `settle_s = N`", number + 1)
        };
        let (key, value) = line.split_once('=').ok_or_else(wrong)?;
        let value: u64 = value.trim().parse().map_err(|_| wrong())?;
        match key.trim() {
            "seed" => options.seed = value,
            "regions" if value <= REGIONS.len() as u64 => options.regions = value as usize,
            "hosts" => options.hosts = value as usize,
            "settle_s" => options.settle_ms = value * 1_000,
            _ => return Err(wrong()),
        }
    }
    Ok(options)
}

fn steps_of(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line_text = line.split('#').next().unwrap_or_default();
        let mut words = line_text.split_whitespace();
        let Some(at) = words.next() else { continue };
        let seconds: f64 =
            at.parse().map_err(|_| format!("steps.txt:{}: `{at}` is not a time in seconds", number + 1))?;
        let step = Step {
            at_us: (seconds * 1e6) as u64,
            line: number + 1,
            words: words.map(str::to_string).collect(),
        };
        if steps.last().is_some_and(|last| last.at_us > step.at_us) {
            return Err(format!("steps.txt:{}: steps must be in order of time", number + 1));
        }
        steps.push(step);
    }
    Ok(steps)
}

impl Story {
    fn live(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.run_until(step.at_us)?;
            self.take(step).map_err(|error| format!("steps.txt:{}: {error}", step.line))?;
        }
        Ok(())
    }

    /// Runs on, second by second, and tells what happened.
    fn run_until(&mut self, until_us: u64) -> Result<(), String> {
        while self.world.now_us < until_us {
            let next_us = (self.world.now_us + 1_000_000).min(until_us);
            self.world.run_until(next_us)?;
            self.tell_events();
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["dwcp-cli", command @ ..] => {
                self.say(&format!("$ dwcp-cli {}", command.join(" ")));
                self.command(command)
            }
            ["fault", fault @ ..] => {
                self.say(&format!("fault {}", fault.join(" ")));
                for fault in words::fault(&self.world, fault)? {
                    self.world.strike(fault);
                }
                Ok(())
            }
            ["expect", what @ ..] => {
                self.expect(what)?;
                self.say(&format!("as expected: {}", what.join(" ")));
                Ok(())
            }
            ["image", host, name, digit] => {
                self.say(&format!("host {host} has image {name} ({digit})"));
                let id = self.world.hosts.iter().position(|of| of.name.as_str() == *host);
                let digit = digit.chars().next().ok_or("an image needs a digit")?;
                self.world.place_image(id.ok_or(format!("no host {host}"))?, name, digit);
                Ok(())
            }
            ["join", name] => {
                let number = self.world.join_region();
                if words::region(name)? != number {
                    return Err(format!("the next region is {}", self.world.options.region(number)));
                }
                self.say(&format!("the machines of {name} start"));
                Ok(())
            }
            ["take-away", name] => {
                self.world.take_region_away(words::region(name)?);
                self.say(&format!("the machines of {name} are gone"));
                Ok(())
            }
            ["remember"] => {
                self.boots = self.booted();
                Ok(())
            }
            ["settle"] => {
                let ms = run::settle(&mut self.world)?;
                self.tell_events();
                self.say(&format!("settled within {} s", ms.div_ceil(10_000) * 10));
                Ok(())
            }
            _ => Err(format!(
                "`{}` is not dwcp-cli, fault, image, expect, join, take-away, remember or settle",
                words.join(" ")
            )),
        }
    }

    fn say(&mut self, text: &str) {
        let line = format!("{:>5} {text}", self.world.now_us / 1_000_000);
        self.lines.push(line);
    }

    /// Tells what entered the logs of the groups and matters to people.
    fn tell_events(&mut self) {
        let mut news = Vec::new();
        for group in self.world.groups() {
            let newest = self
                .world
                .nodes
                .values()
                .filter_map(|slot| slot.node.as_ref())
                .max_by_key(|node| node.facts().revision(group));
            let Some(node) = newest else { continue };
            let facts = node.facts();
            let ledger = match facts.region_of(group) {
                Some(region) => &facts.regions[region].ledger,
                None => &facts.core.ledger,
            };
            let told = self.told.entry(group).or_default();
            for event in ledger.events.iter().filter(|event| event.revision > *told) {
                let loud = event.severity > dwcp_state::Severity::Info
                    || event.kind.starts_with("region.")
                    || event.kind.starts_with("image.");
                if loud && event.kind != "vm.phase" {
                    news.push(words::without_numbers(&event.text));
                }
            }
            *told = facts.revision(group).max(*told);
        }
        for text in news {
            self.say(&text);
        }
    }
}
