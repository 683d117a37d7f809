//! The state of every region lies in an etcd cluster: its members die one after the other, and a region dies meanwhile.

use super::regions::{PROMISED, VMS, lose};
use super::stage::Stage;
use super::writer::Writer;
use crate::federation::{Planned, demo, planned, process, up};
use crate::run::{Failure, wait_until};
use std::time::Duration;

/// How long a member stays away.
const AWAY: Duration = Duration::from_secs(4);
/// No write waits longer for a member that dies: another one leads after an election, and a server asks the next one.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Kills each member of the largest cluster in its turn, the server over it while a member is away, and another region.
///
/// # Errors
/// Says what did not hold.
pub fn etcd(stage: &Stage) -> Result<(), Failure> {
    let entries = planned(stage.tree)?;
    let home = stage.regions[0].clone();
    let members: Vec<&Planned> =
        entries.iter().filter(|entry| entry.program == "etcd" && entry.region == home).collect();
    if members.len() < 3 {
        return Err(Failure::new("the state is not kept in etcd here: `cargo xtask drill etcd` by itself"));
    }
    stage.fill(&home, 2)?;
    members_die(stage, &members)?;
    server_dies(stage, &home, members[0])?;
    // The region that is left to decide has a member less.
    kill(stage, &members[1].name)?;
    lose(stage, &[&stage.regions[1].clone()], (VMS, PROMISED))?;
    up::again(stage.tree)?;
    stage.check_no_doubles()
}

/// Writes go on while each member is away once.
fn members_die(stage: &Stage, members: &[&Planned]) -> Result<(), Failure> {
    let before = demo::vms(stage.tree)?;
    let writer = Writer::start(stage.tree);
    std::thread::sleep(Duration::from_secs(2));
    let began = stage.probe.now();
    for member in members {
        kill(stage, &member.name)?;
        std::thread::sleep(AWAY);
        up::again(stage.tree)?;
        std::thread::sleep(AWAY);
    }
    let written = writer.finish();
    let longest = stage.undisturbed(&before, (began, stage.probe.now()))?;
    stage.say(&format!(
        "{} members died one after the other; {} VMs went on, longest silence {} ms",
        members.len(),
        before.len(),
        longest.as_millis()
    ));
    stage.check_written(&written, &stage.regions)?;
    if written.longest_gap > LONGEST_PAUSE {
        return Err(Failure::new(format!("no write for {:.1} s", written.longest_gap.as_secs_f64())));
    }
    Ok(())
}

/// A server that dies while a member is away finds everything again.
fn server_dies(stage: &Stage, region: &str, member: &Planned) -> Result<(), Failure> {
    let before = demo::vms(stage.tree)?;
    kill(stage, &member.name)?;
    kill(stage, &format!("dwcpd-{region}"))?;
    up::again(stage.tree)?;
    stage.heal(&[])?;
    let log = std::fs::read_to_string(stage.tree.dev.join("log").join(format!("dwcpd-{region}.log")));
    if log.unwrap_or_default().contains("the store was damaged") {
        return Err(Failure::new("a server that was killed took its state in etcd for damaged"));
    }
    let same = |after: &std::collections::BTreeMap<String, demo::Vm>| after.keys().eq(before.keys());
    if !same(&demo::vms(stage.tree)?) {
        return Err(Failure::new("VMs are missing after the server came back"));
    }
    stage.say(&format!("the server of {region} died beside a member, and came back with everything"));
    Ok(())
}

/// Kills one process, and waits until it is gone.
fn kill(stage: &Stage, name: &str) -> Result<(), Failure> {
    let found = process::recorded(&stage.tree.dev, name);
    let found = found.ok_or_else(|| Failure::new(format!("{name} does not run")))?;
    found.signal(libc::SIGKILL);
    if !wait_until(Duration::from_secs(5), Duration::from_millis(20), || !found.lives()) {
        return Err(Failure::new(format!("{name} survives")));
    }
    stage.say(&format!("{name} is killed"));
    Ok(())
}
