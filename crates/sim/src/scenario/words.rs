//! The words of stories: the commands people type and the faults that strike.

use std::collections::BTreeSet;

use dwcp_roles::node::{Asked, Change, CreateVm, FailoverRequest, Reply, Request, VerifyReport};
use dwcp_state::{
    DrillMode, Freeze, OnReplicaLoss, ProtectionMode, RegionChange, Relation, Rules, Scope, Target,
};
use dwcp_types::{NodeId, RegionId, VmId};

use super::Story;
use crate::client;
use crate::faults::Fault;
use crate::world::{REGIONS, World, further_region};

/// How long people wait for an answer, µs.
const PATIENCE_US: u64 = 12_000_000;

/// The number of a region.
pub fn region(name: &str) -> Result<NodeId, String> {
    REGIONS
        .iter()
        .position(|known| *known == name)
        .map(|at| at as NodeId + 1)
        .ok_or(format!("no region {name}"))
}

fn host(world: &World, name: &str) -> Result<usize, String> {
    world.hosts.iter().position(|host| host.name.as_str() == name).ok_or(format!("no host {name}"))
}

fn seconds_us(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    number
        .parse::<f64>()
        .map(|seconds| (seconds * 1e6) as u64)
        .map_err(|_| format!("`{text}` is not a time such as 5s"))
}

/// The faults that words stand for.
pub fn fault(world: &World, words: &[&str]) -> Result<Vec<Fault>, String> {
    let all = || 1..=world.options.regions as NodeId;
    let leader = |name: &str| -> Result<NodeId, String> {
        let group = if name == "federation" { 0 } else { region(name)? };
        let leads = |slot: &crate::world::NodeSlot| slot.node.as_ref().is_some_and(|node| node.leads(group));
        let found = world.nodes.iter().find(|(_, slot)| leads(slot)).map(|(number, _)| *number);
        found.ok_or(format!("nobody leads the group of {name}"))
    };
    Ok(match words {
        ["kill-region", name] => vec![Fault::KillRegion(region(name)?)],
        ["start-region", name] => vec![Fault::StartRegion(region(name)?)],
        ["cut-region", name] => vec![Fault::CutRegion(region(name)?)],
        ["heal-region", name] => vec![Fault::HealRegion(region(name)?)],
        ["cut-link", from, to] => vec![Fault::CutLink(region(from)?, region(to)?)],
        ["heal-link", from, to] => vec![Fault::HealLink(region(from)?, region(to)?)],
        ["cut-outgoing", name] => {
            let node = region(name)?;
            all().filter(|other| *other != node).map(|other| Fault::CutLink(node, other)).collect()
        }
        ["kill-node", name] => vec![Fault::KillNode(region(name)?)],
        ["start-node", name] => vec![Fault::StartNode(region(name)?)],
        ["pause-node", name, long] => vec![Fault::PauseNode(region(name)?, seconds_us(long)?)],
        ["kill-leader", name] => vec![Fault::KillNode(leader(name)?)],
        ["kill-host", name] => vec![Fault::KillHost(host(world, name)?)],
        ["start-host", name] => vec![Fault::StartHost(host(world, name)?)],
        ["kill-agent", name] => vec![Fault::KillAgent(host(world, name)?)],
        ["start-agent", name] => vec![Fault::StartAgent(host(world, name)?)],
        ["pause-agent", name, long] => vec![Fault::PauseAgent(host(world, name)?, seconds_us(long)?)],
        ["jump-clock", name, long] => vec![Fault::JumpClock(host(world, name)?, seconds_us(long)?)],
        ["kill-vm-on", name] => vec![Fault::KillVm(host(world, name)?)],
        ["fill-disk", name] => vec![Fault::FullDisk(region(name)?, true)],
        ["free-disk", name] => vec![Fault::FullDisk(region(name)?, false)],
        ["slow-disk", name, long] => vec![Fault::SlowDisk(region(name)?, seconds_us(long)?)],
        ["rot-disk", name] => vec![Fault::KillNode(region(name)?), Fault::RotDisk(region(name)?)],
        ["rot-unseen", name] => vec![Fault::RotUnseen(region(name)?)],
        ["rot-facts", name, of] => vec![Fault::RotFacts(region(name)?, region(of)?)],
        ["replace-disk", name] => {
            vec![Fault::KillNode(region(name)?), Fault::ReplaceDisk(region(name)?)]
        }
        ["lose-frames", permille] => {
            vec![Fault::Loss(
                permille.parse().map_err(|_| format!("`{permille}` is not a number per thousand"))?,
            )]
        }
        ["back-up"] => vec![Fault::BackUp],
        ["restore-all"] => vec![Fault::RestoreAll(None)],
        ["restore-all-but", name] => vec![Fault::RestoreAll(Some(region(name)?))],
        ["put-store-aside", name] => vec![Fault::PutAside(region(name)?)],
        ["kill-all-nodes"] => all().map(Fault::KillNode).collect(),
        ["start-all-nodes"] => all().map(Fault::StartNode).collect(),
        ["kill-everything"] => all().map(Fault::KillRegion).collect(),
        ["start-everything"] => all().map(Fault::StartRegion).collect(),
        _ => return Err(format!("no fault `{}`", words.join(" "))),
    })
}

/// Takes numbers that differ from run to run out of a line: ids and milliseconds.
pub fn without_numbers(text: &str) -> String {
    let plain = |word: &str| -> String {
        if word.trim_start_matches('(').starts_with("vm_") {
            return "vm_…".to_string();
        }
        word.to_string()
    };
    let words: Vec<String> = text.split(' ').map(plain).collect();
    let mut line = words.join(" ");
    if let Some(at) = line.find(" after ") {
        if line.ends_with(" ms") {
            line.truncate(at);
        }
    }
    line
}

/// Replicas compared or rebuilt.
fn state_request(asked: Asked, words: &[&str]) -> Result<Request, String> {
    match words {
        ["verify-sync", rest @ ..] => Ok(Request::VerifySync(value(rest, "--region").map(RegionId::from), 0)),
        ["force-sync", rest @ ..] => {
            let source = value(rest, "--source").ok_or("--source is missing")?;
            let targets = list(rest, "--targets").into_iter().filter(|name| name.as_str() != "all");
            Ok(Request::ForceSync(asked, source.into(), targets.collect(), rest.contains(&"--dry-run")))
        }
        _ => Err(format!("stories have no command `federation state {}`", words.join(" "))),
    }
}

/// What was found, a line a region: equal ones together.
fn verdict(report: &VerifyReport) -> String {
    let mut lines = Vec::new();
    let mut equal = 0;
    for region in &report.regions {
        let damaged: BTreeSet<Option<u64>> =
            region.store.iter().flat_map(|check| &check.flaws).map(|(group, _)| *group).collect();
        if region.silent_ms > 0 {
            lines.push(format!("{} is silent", region.region));
        } else if region.differs.is_empty() && damaged.is_empty() && region.left_out.is_empty() {
            equal += 1;
        }
        if !region.differs.is_empty() {
            lines.push(format!("{} differs in groups {:?}", region.region, region.differs));
        }
        if !damaged.is_empty() {
            let groups: Vec<String> = damaged.iter().flatten().map(ToString::to_string).collect();
            lines.push(format!("{}: damaged on disk: groups {}", region.region, groups.join(", ")));
        }
    }
    for found in report.groups.iter().flat_map(|group| &group.differences) {
        lines.push(format!("  {} differs at nodes {:?}", found.kind, found.at));
    }
    lines.push(format!("{equal} regions are equal and whole"));
    lines.join("\n")
}

fn value<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied()
}

fn list(words: &[&str], name: &str) -> Vec<RegionId> {
    value(words, name).map(|text| text.split(',').map(RegionId::from).collect()).unwrap_or_default()
}

impl Story {
    /// Does what a `dwcp-cli` line says, at the endpoint of `--endpoint` or of the first region that lives.
    ///
    /// A `&` at the end of the line does not wait for the answer, and nobody ever hears it.
    pub(super) fn command(&mut self, words: &[&str]) -> Result<(), String> {
        let request = self.request(words)?;
        let node = match value(words, "--endpoint") {
            Some(name) => region(name)?,
            None => *self.world.alive().first().ok_or("no endpoint answers")?,
        };
        if words.last() == Some(&"&") {
            self.tickets += 1;
            self.world.ask(node, self.tickets, request);
            return Ok(());
        }
        let reply = self.ask(node, request)?;
        let text = match reply {
            None => "no answer".to_string(),
            Some(Reply::Refused(refusal)) | Some(Reply::Placed { refusal: Some(refusal), .. }) => {
                format!("refused {}: {}", refusal.code.as_str(), without_numbers(&refusal.what))
            }
            Some(Reply::Placed { placement: Some(place), .. }) => {
                format!("placed in {} on {}", place.region, place.host)
            }
            Some(Reply::Plan(plan)) => {
                let moved = plan.moves.iter().filter(|step| step.to.is_some()).count();
                format!("plan: {moved} VMs move, {} are left", plan.left)
            }
            Some(Reply::Verified(report)) => verdict(&report),
            Some(_) => "done".to_string(),
        };
        text.lines().for_each(|line| self.say(&format!("  {line}")));
        Ok(())
    }

    pub(super) fn ask(&mut self, node: NodeId, request: Request) -> Result<Option<Reply>, String> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.world.ask(node, ticket, request);
        let until_us = self.world.now_us + PATIENCE_US;
        while self.world.now_us < until_us {
            if let Some(reply) = self.world.client.heard.remove(&ticket) {
                return Ok(Some(reply));
            }
            let next_us = self.world.now_us + 50_000;
            self.world.run_until(next_us)?;
        }
        Ok(None)
    }

    fn asked(&self, words: &[&str]) -> Asked {
        let key = value(words, "--idempotency-key").map_or(format!("story/{}", self.tickets), str::to_string);
        Asked { by: "operator".to_string(), key: Some(key), digest: 1, ..Asked::default() }
    }

    fn request(&mut self, words: &[&str]) -> Result<Request, String> {
        let asked = self.asked(words);
        Ok(match words {
            ["vm", "create", rest @ ..] => Request::CreateVm(asked, Box::new(self.create(rest)?)),
            ["vm", verb @ ("start" | "stop" | "restart" | "delete"), name, ..] => {
                let change = match *verb {
                    "start" => Change::Start,
                    "stop" => Change::Stop,
                    "restart" => Change::Restart,
                    _ => Change::Delete,
                };
                Request::ChangeVm(asked, self.vm(name)?, change)
            }
            ["federation", "region", rest @ ..] => region_request(asked, rest)?,
            ["infrastructure", "deploy", ..] => {
                Request::AddRegion(asked, Box::new(further_region(region_named(words)?)))
            }
            ["federation", "state", "enable-region", ..] => {
                Request::ReplicateRegion(asked, region_named(words)?.into())
            }
            ["federation", "freeze", level, ..] => Request::SetFreeze(
                asked,
                match *level {
                    "active" => Freeze::Active,
                    "no-moves" => Freeze::NoMoves,
                    "frozen" => Freeze::Frozen,
                    other => return Err(format!("no freeze level {other}")),
                },
            ),
            ["federation", "policies", "set", "--failovers-per-hour", count] => {
                let facts = self
                    .world
                    .nodes
                    .values()
                    .filter_map(|slot| slot.node.as_ref())
                    .map(|node| &node.facts().core);
                let mut policy = facts.map(|core| core.policy.clone()).next().unwrap_or_default();
                policy.failovers_per_hour =
                    count.parse().map_err(|_| format!("`{count}` is not a number"))?;
                Request::SetPolicy(asked, policy)
            }
            ["federation", "failover", rest @ ..] => Request::Failover(
                asked,
                FailoverRequest {
                    from: value(rest, "--from-region").ok_or("--from-region is missing")?.into(),
                    to: list(rest, "--to-regions"),
                    partial: value(rest, "--relax") == Some("partial"),
                    dry_run: rest.contains(&"--dry-run"),
                    max_time_ms: value(rest, "--max-time")
                        .map(|text| seconds_us(text).map(|us| us / 1_000))
                        .transpose()?,
                    ..FailoverRequest::default()
                },
            ),
            ["federation", "state", rest @ ..] => state_request(asked, rest)?,
            ["federation", "restoration", rest @ ..] => self.restoration(asked, rest)?,
            ["federation", "dr-drill", rest @ ..] => self.drill(asked, rest)?,
            ["image", rest @ ..] => self.image(asked, rest)?,
            ["operation", "cancel", "$FAILOVER", ..] => self.cancel(asked)?,
            _ => return Err(format!("stories have no command `{}`", words.join(" "))),
        })
    }

    fn image(&self, asked: Asked, words: &[&str]) -> Result<Request, String> {
        match words {
            ["publish", name, rest @ ..] => {
                let id = value(rest, "--host").map(|name| host(&self.world, name)).transpose()?;
                let of = id.map(|id| &self.world.hosts[id]);
                let of = of.map(|host| (host.region.clone(), host.name.clone()));
                Ok(Request::PublishImage(asked, name.to_string(), of))
            }
            ["remove", name, ..] => Ok(Request::RemoveImage(asked, name.to_string())),
            _ => Err(format!("images have no command `{}`", words.join(" "))),
        }
    }

    fn restoration(&self, asked: Asked, words: &[&str]) -> Result<Request, String> {
        match words {
            ["write-off", rest @ ..] => {
                let host = value(rest, "--host").ok_or("--host is missing")?;
                Ok(Request::WriteOffHost(asked, region_named(rest)?.into(), host.into()))
            }
            ["decide", name, choice @ ("--start" | "--forget")] => {
                let nodes = self.world.nodes.values().filter_map(|slot| slot.node.as_ref());
                let regions = nodes.flat_map(|node| node.facts().regions.values());
                let mut missing =
                    regions.flat_map(|facts| &facts.adoption).flat_map(|of| of.missing.values());
                let vm = missing.find(|vm| vm.name == *name).ok_or(format!("no VM {name} is missing"))?.id;
                Ok(Request::DecideMissing(asked, vm, *choice == "--start"))
            }
            _ => Err(format!("stories have no command `federation restoration {}`", words.join(" "))),
        }
    }

    fn cancel(&self, asked: Asked) -> Result<Request, String> {
        let nodes = self.world.nodes.values().filter_map(|slot| slot.node.as_ref());
        let newest = nodes.max_by_key(|node| node.facts().revision(0)).ok_or("no node lives")?;
        let last = newest.facts().core.failovers.values().next_back().ok_or("no failover")?;
        Ok(Request::CancelOperation(asked, last.operation))
    }

    fn drill(&self, asked: Asked, words: &[&str]) -> Result<Request, String> {
        match words {
            ["simulate-failure", "--region", name, rest @ ..] => {
                let mode = if rest.contains(&"--live") { DrillMode::Live } else { DrillMode::Isolated };
                let limit_us = value(rest, "--max-time").map_or(Ok(0), seconds_us)?;
                Ok(Request::BeginDrill(asked, (*name).into(), mode, limit_us / 1_000))
            }
            ["restore", "--region", name, ..] => {
                let nodes = self.world.nodes.values().filter_map(|slot| slot.node.as_ref());
                let newest = nodes.max_by_key(|node| node.facts().revision(0)).ok_or("no node lives")?;
                let of = |drill: &&dwcp_state::Drill| drill.region.as_str() == *name;
                let drill = newest.facts().core.drills.values().rfind(of).ok_or("no drill")?;
                Ok(Request::RestoreDrill(asked, drill.id))
            }
            _ => Err(format!("drills have no command `{}`", words.join(" "))),
        }
    }

    fn create(&mut self, words: &[&str]) -> Result<CreateVm, String> {
        let name = value(words, "--name").ok_or("--name is missing")?;
        let mut rules = Rules {
            allowed_regions: list(words, "--allowed-regions").into_iter().collect(),
            ..Rules::default()
        };
        if let Some(label) = value(words, "--anti-affinity") {
            let (label, scope) = label.split_once(':').unwrap_or((label, "host"));
            let (key, of) = label.split_once('=').ok_or("--anti-affinity takes KEY=VALUE[:SCOPE]")?;
            let scope = match scope {
                "zone" => Scope::Zone,
                "region" => Scope::Region,
                _ => Scope::Host,
            };
            rules.anti_affinity.push(Relation { target: Target::Label((key.into(), of.into())), scope });
        }
        rules.stay_on_loss = words.contains(&"--stay");
        self.world.checkers.acknowledged.asked.insert(name.to_string(), 0);
        let mut template = client::template(name, rules);
        if let Some(memory) = value(words, "--memory-mib") {
            template.spec.size.memory_mib =
                memory.parse().map_err(|_| format!("`{memory}` is not a size"))?;
        }
        if let Some(image) = value(words, "--image") {
            template.spec.image = image.to_string();
        }
        if let Some(mode) = value(words, "--protection") {
            let seconds =
                mode.strip_prefix("async:").and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok());
            template.protection.mode = match (mode, seconds) {
                ("sync", _) => ProtectionMode::Sync,
                (_, Some(seconds)) => ProtectionMode::Async(seconds * 1_000),
                _ => return Err(format!("`{mode}` is not a protection")),
            };
        }
        if value(words, "--on-replica-loss") == Some("go-on") {
            template.protection.on_loss = OnReplicaLoss::GoOn;
        }
        template.protection.region = value(words, "--protect-in").map(RegionId::from);
        if let Some(priority) = value(words, "--priority") {
            template.priority = priority.parse()?;
        }
        let users_in = value(words, "--users-in").map(RegionId::from);
        Ok(CreateVm { template, users_in, dry_run: words.contains(&"--dry-run"), ..CreateVm::default() })
    }

    fn vm(&self, name: &str) -> Result<VmId, String> {
        let nodes = self.world.nodes.values().filter_map(|slot| slot.node.as_ref());
        nodes
            .flat_map(|node| node.facts().vms().map(|(_, vm)| (vm.name.clone(), vm.id)))
            .find(|(known, _)| known == name)
            .map(|(_, id)| id)
            .ok_or(format!("no VM {name}"))
    }
}

fn region_named<'a>(words: &[&'a str]) -> Result<&'a str, String> {
    value(words, "--region").ok_or_else(|| "--region is missing".to_string())
}

fn region_request(asked: Asked, words: &[&str]) -> Result<Request, String> {
    let region: RegionId = region_named(words)?.into();
    let (enabled, placement) = match words {
        ["disable", ..] => (Some(false), None),
        ["enable", ..] => (Some(true), None),
        ["disable-placement", ..] => (None, Some(false)),
        ["enable-placement", ..] => (None, Some(true)),
        ["remove", ..] => return Ok(Request::RemoveRegion(asked, region)),
        _ => return Err(format!("stories have no command `{}`", words.join(" "))),
    };
    Ok(Request::ChangeRegion(asked, RegionChange { region, enabled, placement, ..RegionChange::default() }))
}
