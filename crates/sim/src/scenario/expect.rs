//! What a story expects.

use std::collections::BTreeSet;

use dwcp_roles::node::Node;
use dwcp_state::{DiskProof, DrillMoment, FailoverState, Standing, Vm};
use dwcp_types::RegionId;

use super::{Story, words};

impl Story {
    /// Checks an expectation now, or `within Ns`.
    pub(super) fn expect(&mut self, what: &[&str]) -> Result<(), String> {
        let (limit_us, what) = match what {
            ["within", time, rest @ ..] => {
                let seconds: u64 =
                    time.trim_end_matches('s').parse().map_err(|_| format!("`{time}` is not a time"))?;
                (seconds * 1_000_000, rest)
            }
            _ => (0, what),
        };
        let until_us = self.world.now_us + limit_us;
        loop {
            match self.holds(what) {
                Ok(()) => return Ok(()),
                Err(why) if self.world.now_us >= until_us => {
                    return Err(format!("expected {}: {why}", what.join(" ")));
                }
                Err(_) => {}
            }
            let next_us = self.world.now_us + 100_000;
            self.world.run_until(next_us)?;
            self.tell_events();
        }
    }

    fn node(&self) -> Result<&Node, String> {
        let alive = self.world.nodes.values().filter_map(|slot| slot.node.as_ref());
        alive.max_by_key(|node| node.facts().revision(0)).ok_or("no node lives".to_string())
    }

    /// VMs that answer now, as a probe outside sees them.
    fn answering(&self) -> usize {
        let hosts = self.world.hosts.iter().filter(|host| host.alive);
        hosts.map(|host| host.answering(self.world.now_us).count()).sum()
    }

    /// Boot ids of the VMs that answer now.
    pub(super) fn booted(&self) -> BTreeSet<String> {
        let now_us = self.world.now_us;
        let hosts = self.world.hosts.iter().filter(|host| host.alive);
        hosts.flat_map(|host| host.answering(now_us)).map(|(_, process)| process.boot_id.clone()).collect()
    }

    /// The record of a VM by its name, and its region.
    fn record(&self, name: &str) -> Result<(RegionId, Vm), String> {
        let facts = self.node()?.facts();
        let found =
            facts.vms().find(|(_, vm)| vm.name == name).map(|(region, vm)| (region.clone(), vm.clone()));
        found.ok_or(format!("no VM {name}"))
    }

    /// When each VM was last launched, as a line of the world's log.
    fn in_order(&self, names: &[&str]) -> Result<(), String> {
        let mut last = 0;
        for name in names {
            let launch = format!("launches {} ", self.record(name)?.1.id);
            let at = self
                .world
                .log
                .iter()
                .rposition(|line| line.contains(&launch))
                .ok_or(format!("{name} never"))?;
            if at < last {
                return Err(format!("{name} was launched too early"));
            }
            last = at;
        }
        Ok(())
    }

    fn same<T: PartialEq + std::fmt::Display>(found: T, wanted: T) -> Result<(), String> {
        if found == wanted { Ok(()) } else { Err(format!("found {found}")) }
    }

    /// Expectations of disks: where the copy of one is, how far and of which epoch; what its VM had of it after its failover.
    fn disk_holds(&self, what: &[&str]) -> Result<(), String> {
        match what {
            ["copy-of", name, wanted @ ..] => {
                let guard = self.record(name)?.1.protection.guard;
                let region = guard.region.map_or("nowhere".to_string(), |region| region.to_string());
                Self::same(format!("{region} {:?} {}", guard.state, guard.epoch), wanted.join(" "))
            }
            ["disk-of", name, wanted] => {
                let id = self.record(name)?.1.id;
                let core = &self.node()?.facts().core;
                let mut named = core.failovers.values().rev().flat_map(|failover| &failover.vms);
                let found = named.find(|of| of.vm == id).ok_or("no failover names it")?.disk;
                let found = match found {
                    DiskProof::Zero => "nothing-lost",
                    DiskProof::Point(_) => "lost-in-part",
                    DiskProof::Unprotected => "new",
                    DiskProof::NoDisk | DiskProof::Unknown => "unknown",
                };
                Self::same(found, *wanted)
            }
            _ => Err(format!("stories can't expect `{}`", what.join(" "))),
        }
    }

    /// Expectations of the newest drill: how far it is; how many of how many answer elsewhere, and how soon.
    fn drill_holds(&self, what: &[&str]) -> Result<(), String> {
        let core = &self.node()?.facts().core;
        let drill = core.drills.values().next_back().ok_or("no drill")?;
        match what {
            ["drill-is", wanted] => {
                Self::same(format!("{:?}", drill.state).to_lowercase(), wanted.to_string())
            }
            ["drill-cut"] if drill.time(DrillMoment::Cut).is_some() => Ok(()),
            ["drill-cut"] => Err("it has not happened".to_string()),
            ["drill-moved", wanted] => {
                Self::same(format!("{}/{}", drill.verified(), drill.lost().count()), wanted.to_string())
            }
            ["drill-rto-s", "from", least, "to", most] => {
                let number =
                    |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
                let ms = drill.rto_ms().ok_or("it is not known")?;
                let within = (number(least)? * 1_000..=number(most)? * 1_000).contains(&ms);
                if within { Ok(()) } else { Err(format!("found {ms} ms")) }
            }
            _ => Err(format!("stories can't expect `{}`", what.join(" "))),
        }
    }

    /// Expectations of images: on how many hosts the catalogue's is; which a VM was created with.
    fn image_holds(&self, what: &[&str]) -> Result<(), String> {
        match what {
            ["image-on", name, count] => {
                Self::same(self.world.hosts_with_image(name).to_string(), count.to_string())
            }
            ["digest-of", name, digit] => {
                let digest = self.record(name)?.1.spec.digest;
                Self::same(digest.as_str().get(..1).unwrap_or("-").to_string(), digit.to_string())
            }
            _ => Err(format!("stories can't expect `{}`", what.join(" "))),
        }
    }

    /// Expectations of replicas: how far the newest rebuild is; that all hold the same.
    fn sync_holds(&self, what: &[&str]) -> Result<(), String> {
        match what {
            ["rebuild", wanted] => {
                let core = &self.node()?.facts().core;
                let newest = core.syncs().max_by_key(|(operation, _)| operation.started_at);
                let (operation, _) = newest.ok_or("no rebuild")?;
                let found = format!("{:?}", operation.state).to_lowercase();
                let same = Self::same(found, wanted.to_string());
                same.map_err(|why| format!("{why} ({})", operation.result))
            }
            ["identical"] => crate::checkers::identical_now(&self.world),
            _ => Err(format!("stories can't expect `{}`", what.join(" "))),
        }
    }

    fn members_hold(&self, what: &[&str]) -> Result<(), String> {
        match what {
            ["voters", group, voters] => {
                let number = if *group == "federation" { 0 } else { words::region(group)? };
                let leads = |node: &&Node| node.leads(number);
                let leader = self.world.present().filter_map(|(_, slot)| slot.node.as_ref()).find(leads);
                let Some(status) = leader.and_then(|node| node.group(number)) else {
                    return Err("nobody leads it".to_string());
                };
                let names: Vec<RegionId> =
                    status.voters.iter().map(|node| self.world.options.region(*node)).collect();
                let told = names.iter().map(RegionId::as_str).collect::<Vec<_>>().join(",");
                if told == *voters { Ok(()) } else { Err(format!("they are {told}")) }
            }
            ["no-region", name] => {
                // Who was told to leave by the others may never hear that it is done.
                let own = words::region(name)?;
                let others = self.world.present().filter(|(node, _)| *node != own);
                let alive = others.filter_map(|(_, slot)| slot.node.as_ref());
                let knows = |node: &&Node| node.regions().values().any(|region| region.as_str() == *name);
                match alive.filter(knows).count() {
                    0 => Ok(()),
                    count => Err(format!("{count} nodes know it")),
                }
            }
            ["damaged", region, count] => {
                let slot = &self.world.nodes[&words::region(region)?];
                let node = slot.node.as_ref().ok_or_else(|| format!("{region} is dead"))?;
                let groups = self.world.groups().into_iter();
                let damaged = groups.filter(|group| node.group(*group).is_some_and(|status| status.damaged));
                Self::same(damaged.count(), count.parse().map_err(|_| format!("`{count}` is not a number"))?)
            }
            _ => Err(format!("stories can't expect `{}`", what.join(" "))),
        }
    }

    fn holds(&self, what: &[&str]) -> Result<(), String> {
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("`{text}` is not a number"));
        match what {
            ["answering", count] => Self::same(self.answering(), number(count)?),
            ["answering-at-most", count] => {
                let (found, most) = (self.answering(), number(count)?);
                if found <= most { Ok(()) } else { Err(format!("found {found}")) }
            }
            ["vms", region, count] => {
                words::region(region)?;
                let facts = self.node()?.facts();
                Self::same(facts.regions[&RegionId::from(*region)].vms.len(), number(count)?)
            }
            ["standing", region, wanted] => {
                let facts = self.node()?.facts();
                let record = facts.region(&RegionId::from(*region)).ok_or("no such region")?;
                let found = match record.standing {
                    Standing::Present => "present",
                    Standing::Lost => "lost",
                    Standing::Returned => "returned",
                };
                Self::same(found, *wanted)
            }
            ["failovers", count] => Self::same(self.node()?.facts().core.failovers.len(), number(count)?),
            ["failover-ended", wanted] => {
                let core = &self.node()?.facts().core;
                let last = core.failovers.values().next_back().ok_or("no failover")?;
                let found = match last.state {
                    FailoverState::Running => "running",
                    FailoverState::Done => "done",
                    FailoverState::Partial => "partial",
                    FailoverState::Cancelled => "cancelled",
                };
                Self::same(found, *wanted)
            }
            ["leader", region, of] => {
                let group = if *of == "federation" { 0 } else { words::region(of)? };
                let leads = self.world.nodes[&words::region(region)?]
                    .node
                    .as_ref()
                    .is_some_and(|node| node.leads(group));
                if leads { Ok(()) } else { Err(format!("{region} does not lead")) }
            }
            ["host-of", name, host] => Self::same(self.record(name)?.1.host.to_string(), host.to_string()),
            ["region-of", name, wanted] => Self::same(self.record(name)?.0.to_string(), wanted.to_string()),
            ["generation-of", name, wanted] => {
                Self::same(self.record(name)?.1.generation.0 as usize, number(wanted)?)
            }
            ["copy-of" | "disk-of", ..] => self.disk_holds(what),
            ["drill-is" | "drill-cut" | "drill-moved" | "drill-rto-s", ..] => self.drill_holds(what),
            ["image-on" | "digest-of", ..] => self.image_holds(what),
            ["apart", one, other] => {
                let (one, other) = (self.record(one)?.1.host, self.record(other)?.1.host);
                if one == other { Err(format!("both are on {one}")) } else { Ok(()) }
            }
            ["launched-in-order", names @ ..] => self.in_order(names),
            ["undisturbed", count] => {
                Self::same(self.booted().intersection(&self.boots).count(), number(count)?)
            }
            ["rebuild" | "identical", ..] => self.sync_holds(what),
            ["voters" | "no-region" | "damaged", ..] => self.members_hold(what),
            _ => Err(format!("stories can't expect `{}`", what.join(" "))),
        }
    }
}
