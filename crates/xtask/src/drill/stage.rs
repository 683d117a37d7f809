//! What every drill stands on: the running federation, the probe, and the way back to health.

use super::breaks::Chosen;
use super::probe::{self, Probe};
use super::writer::{self, Written};
use crate::federation::demo::{self, Vm};
use crate::federation::{self, api_url, process, up};
use crate::flags::Flags;
use crate::run::{Failure, capture, say, text_of, wait_until};
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the federation may take to be whole again after everything was brought back.
const HEAL_LIMIT: Duration = Duration::from_secs(120);

/// How long one more VM may take to boot where emulated VMs share two processors.
const BOOT: Duration = Duration::from_secs(12);

/// So many boots show how fast this machine boots.
const SEVERAL: u32 = 3;

/// VMs that nothing happened to are never silent for longer; the machine is busy booting others.
const UNDISTURBED: Duration = Duration::from_secs(3);

/// How the names of VMs begin that drills make.
const MADE_BY_DRILLS: [&str; 2] = ["drill-", "single-"];

/// Which programs a drill runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// Those of the tree as it is.
    Now,
    /// Those that were built last.
    Before,
}

/// How drills are run.
#[derive(Debug)]
pub struct Setting {
    /// Which programs.
    pub built: Built,
    /// How often a drill in rounds does what it does.
    pub rounds: usize,
    /// How many VMs the region has that `kill-many` kills.
    pub vms: usize,
    /// Which cells of the table of breaks.
    pub chosen: Chosen,
    /// Whether the regions keep their state in etcd.
    pub in_etcd: bool,
}

/// A running federation under probes.
pub struct Stage<'a> {
    /// Where things are.
    pub tree: &'a Tree,
    /// Asks every VM address.
    pub probe: Probe,
    /// The regions; number `n` is entry `n - 1`.
    pub regions: Vec<String>,
    /// How often a drill in rounds does what it does.
    pub rounds: usize,
    /// How many VMs the region has that `kill-many` kills.
    pub vms: usize,
    /// Which cells of the table of breaks.
    pub chosen: Chosen,
    /// How long a VM took to boot when several did, if that was seen.
    pace: Mutex<Option<Duration>>,
    since: Instant,
}

impl<'a> Stage<'a> {
    /// Brings the federation up and begins to probe.
    ///
    /// # Errors
    /// When `up` fails.
    pub fn set(tree: &'a Tree, setting: Setting) -> Result<Stage<'a>, Failure> {
        let since = Instant::now();
        let built = if setting.built == Built::Before { "--no-build" } else { "" };
        let store = if setting.in_etcd { "etcd" } else { "embedded" };
        let flags = words(&format!("--store {store} {built}"));
        up::up(tree, &Flags::parse(flags, &["store"], &["no-build"])?)?;
        let planned = federation::planned(tree)?;
        let regions = federation::regions(&planned);
        let probe = Probe::start(regions.len() + federation::pools(&planned).len());
        let Setting { rounds, vms, chosen, .. } = setting;
        Ok(Stage { tree, probe, regions, rounds, vms, chosen, pace: Mutex::default(), since })
    }

    /// Tells what happens, with the seconds since the drills began.
    pub fn say(&self, text: &str) {
        say(self.since, text);
    }

    /// The number of a region, from 1.
    pub fn number(&self, region: &str) -> usize {
        let index = self.regions.iter().position(|name| name == region);
        index.expect("drills name regions of the federation") + 1
    }

    /// Runs `dwcp-cli` with these words, at any region.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn cli(&self, words: &[&str]) -> Result<Output, Failure> {
        capture(demo::cli(self.tree).args(["--timeout", "45s"]).args(words))
    }

    /// The same at one region, which must succeed and print JSON.
    ///
    /// # Errors
    /// When it does not.
    pub fn json_at(&self, region: &str, words: &[&str]) -> Result<Value, Failure> {
        let endpoint = api_url(self.number(region));
        let mut cli = demo::cli(self.tree);
        cli.args(["--endpoint", &endpoint, "--timeout", "15s", "--format", "json"]).args(words);
        let text = text_of(&mut cli)?;
        serde_json::from_str(&text).map_err(|e| Failure::new(format!("no JSON from {words:?}: {e}")))
    }

    /// A region that is none of these, to ask about them.
    pub fn other_than(&self, regions: &[&str]) -> String {
        let found = self.regions.iter().find(|name| !regions.contains(&name.as_str()));
        found.expect("a drill leaves a region alone").clone()
    }

    /// Tops a region up to so many running VMs that may go elsewhere, and waits until all answer.
    ///
    /// # Errors
    /// When they do not.
    pub fn fill(&self, region: &str, count: usize) -> Result<BTreeMap<String, Vm>, Failure> {
        let number = self.number(region);
        let begun = Instant::now();
        let all = demo::vms(self.tree)?;
        let there = all.values().filter(|vm| vm.region == region).count();
        if there < count {
            // A VM that may go anywhere is placed where it scores best; one bound to this region could not leave it.
            self.place_only_in(region, true)?;
            // Promised: placements stop within a second everywhere.
            std::thread::sleep(Duration::from_secs(1));
            let names = (1..).map(|suffix| format!("drill-{number}-{suffix}"));
            let mut missing = names.filter(|name| !all.contains_key(name)).take(count - there);
            let created = missing.try_for_each(|name| demo::create(self.tree, &name, number));
            self.place_only_in(region, false)?;
            created?;
        }
        let made = u32::try_from(count.saturating_sub(there)).unwrap_or(u32::MAX);
        self.wait_until_all_answer(HEAL_LIMIT.saturating_add(BOOT.saturating_mul(made)))?;
        if made >= SEVERAL {
            *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun.elapsed() / made);
            self.say(&format!("{made} VMs booted on this machine in {:.1} s", begun.elapsed().as_secs_f64()));
        }
        let all = demo::vms(self.tree)?;
        let found = all.values().filter(|vm| vm.region == region).count();
        if found < count {
            return Err(Failure::new(format!("{region} has {found} of {count} VMs")));
        }
        Ok(all)
    }

    /// How long this machine takes to boot so many VMs; none: that was not seen.
    pub fn boots(&self, vms: usize) -> Option<Duration> {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        Some(pace?.saturating_mul(u32::try_from(vms).unwrap_or(u32::MAX)))
    }

    /// Deletes the VMs that drills made, so that the next drill begins with what `up` made.
    ///
    /// # Errors
    /// When one can't be deleted.
    pub fn clear(&self) -> Result<(), Failure> {
        let ours = |name: &str| MADE_BY_DRILLS.iter().any(|prefix| name.starts_with(prefix));
        for name in demo::vms(self.tree)?.into_keys().filter(|name| ours(name)) {
            let output = self.cli(&["vm", "delete", &name, "--yes"])?;
            if !output.status.success() {
                return Err(Failure::new(format!("vm delete {name}: {}", told(&output))));
            }
        }
        Ok(())
    }

    /// Closes every other region for new VMs, or opens them again.
    ///
    /// # Errors
    /// When one can't be.
    pub fn place_only_in(&self, region: &str, only: bool) -> Result<(), Failure> {
        let what = if only { "disable-placement" } else { "enable-placement" };
        for other in self.regions.iter().filter(|name| *name != region) {
            let output = self.cli(&["federation", "region", what, "--region", other])?;
            if !output.status.success() {
                return Err(Failure::new(format!("{what} of {other}: {}", told(&output))));
            }
        }
        Ok(())
    }

    /// Waits until every VM of the list that should run answers at its address under its generation.
    ///
    /// # Errors
    /// Names those that do not.
    pub fn wait_until_all_answer(&self, limit: Duration) -> Result<(), Failure> {
        let mut silent = Vec::new();
        let all = wait_until(limit, Duration::from_millis(300), || {
            let Ok(vms) = demo::vms(self.tree) else { return false };
            // The time is read while nothing can be written down: an answer is never later.
            let book = self.probe.book();
            let now = self.probe.now();
            // A guest that moved while it ran knows the generation that it was booted under.
            let answers = |vm: &Vm| {
                let boots = book.get(&vm.id).into_iter().flat_map(|boots| boots.values());
                boots
                    .filter(|boot| boot.generation <= vm.generation && Some(boot.address) == vm.address)
                    .any(|boot| boot.answers.last().is_some_and(|(_, at)| now - *at < Duration::from_secs(2)))
            };
            silent = vms
                .iter()
                .filter(|(_, vm)| vm.state != "stopped" && !answers(vm))
                .map(|(name, vm)| {
                    format!("{name} ({}, generation {}, {})", vm.region, vm.generation, vm.state)
                })
                .collect();
            silent.is_empty()
        });
        if all {
            return Ok(());
        }
        Err(Failure::new(format!("no answer within {} s: {}", limit.as_secs(), silent.join(", "))))
    }

    /// `kill -9` of everything of a region at once. Returns when, in the probe's time.
    ///
    /// # Errors
    /// When something survives.
    pub fn kill(&self, region: &str) -> Result<Duration, Failure> {
        let at = self.probe.now();
        let (killed, left) = process::stop(&self.tree.dev, Duration::ZERO, |one| one.region == region);
        if killed == 0 || !left.is_empty() {
            return Err(Failure::new(format!("could not kill {region}")));
        }
        Ok(at)
    }

    /// Starts what is missing everywhere, takes the regions into service again, and waits for health.
    ///
    /// # Errors
    /// When a region is not active, or a VM does not answer, within two minutes.
    pub fn heal(&self, regions: &[&str]) -> Result<(), Failure> {
        up::again(self.tree)?;
        for region in regions {
            let mut last = String::new();
            let enabled = wait_until(HEAL_LIMIT, Duration::from_millis(500), || {
                let output = self.cli(&["federation", "region", "enable", "--region", region]);
                last = output.as_ref().map(told).unwrap_or_default();
                output.is_ok_and(|output| output.status.success()) && self.lifecycle(region) == "active"
            });
            if !enabled {
                return Err(Failure::new(format!(
                    "{region} is {:?}, not active, after `region enable`: {last}",
                    self.lifecycle(region)
                )));
            }
        }
        self.wait_until_all_answer(HEAL_LIMIT)
    }

    /// Where a region is in its life, as any other region sees it; empty when nobody says.
    pub fn lifecycle(&self, region: &str) -> String {
        let lifecycles = self.lifecycles_at(&self.other_than(&[region]));
        lifecycles.get(region).cloned().unwrap_or_default()
    }

    /// The regions that not everybody knows to be active. Who was cut off may not know yet that it was declared lost.
    pub fn not_active(&self) -> Vec<&String> {
        // One question for each region: the processes that ask take from what VMs boot with.
        let told: Vec<BTreeMap<String, String>> =
            self.regions.iter().map(|at| self.lifecycles_at(at)).collect();
        let active = |region: &String| {
            told.iter().all(|told| told.get(region).is_some_and(|lifecycle| lifecycle == "active"))
        };
        self.regions.iter().filter(|region| !active(region)).collect()
    }

    /// Each region's lifecycle as one region tells it; empty when it does not answer.
    fn lifecycles_at(&self, at: &str) -> BTreeMap<String, String> {
        let told = self.json_at(at, &["federation", "region", "list"]).unwrap_or_default();
        let named =
            |one: &Value| Some((one["region"].as_str()?.to_owned(), one["lifecycle"].as_str()?.to_owned()));
        told["items"].as_array().into_iter().flatten().filter_map(named).collect()
    }

    /// That these VMs went on under the same boot all the while, never silent for long; returns the longest silence.
    ///
    /// # Errors
    /// Names the first that did not.
    pub fn undisturbed<'v>(
        &self,
        vms: impl IntoIterator<Item = (&'v String, &'v Vm)>,
        window: (Duration, Duration),
    ) -> Result<Duration, Failure> {
        let book = self.probe.book();
        let mut longest = Duration::ZERO;
        for (name, vm) in vms {
            let gap = probe::longest_gap(&book, &vm.id, window);
            let newest = probe::newest(&book, &vm.id).map_or(0, |boot| boot.generation);
            if newest != vm.generation || gap > UNDISTURBED {
                return Err(Failure::new(format!(
                    "{name} on {} was disturbed: silent for {} ms, generation {} then {newest}",
                    vm.host,
                    gap.as_millis(),
                    vm.generation
                )));
            }
            longest = longest.max(gap);
        }
        Ok(longest)
    }

    /// Fails when a VM answered twice at one time since the drills began.
    ///
    /// # Errors
    /// Names each such VM.
    pub fn check_no_doubles(&self) -> Result<(), Failure> {
        let found = probe::doubles(&self.probe.book());
        if found.is_empty() { Ok(()) } else { Err(Failure::new(format!("ran twice: {}", found.join("; ")))) }
    }

    /// Fails when an acknowledged write is missing in any of these regions within 20 s.
    ///
    /// # Errors
    /// Says how many are missing where.
    pub fn check_written(&self, written: &Written, regions: &[String]) -> Result<(), Failure> {
        for region in regions {
            let endpoint = api_url(self.number(region));
            let mut last = String::new();
            let there = wait_until(Duration::from_secs(20), Duration::from_millis(300), || {
                match writer::missing(self.tree, &endpoint, written) {
                    Ok(missing) => last = format!("lost {} acknowledged writes: {missing:?}", missing.len()),
                    Err(failure) => last = failure.message,
                }
                last.starts_with("lost 0 ")
            });
            if !there {
                return Err(Failure::new(format!("{region}: {last}")));
            }
        }
        self.say(&format!(
            "writer: {} acknowledged and all there in {} regions, {} failed, longest pause {:.1} s",
            written.acknowledged.len(),
            regions.len(),
            written.failed,
            written.longest_gap.as_secs_f64()
        ));
        Ok(())
    }
}

/// Runs a command that must succeed.
///
/// # Errors
/// With what it said.
pub fn must(stage: &Stage, words: &[&str]) -> Result<(), Failure> {
    let output = stage.cli(words)?;
    if output.status.success() { Ok(()) } else { Err(Failure::new(format!("{words:?}: {}", told(&output)))) }
}

/// Splits a line of words.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// What a command said, in one line.
pub fn told(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    both.concat().split_whitespace().collect::<Vec<_>>().join(" ")
}
