//! Every controller of the federation dies: VMs serve on, and all that was acknowledged is there when they are back.

use super::stage::{Stage, told};
use super::writer::Writer;
use crate::federation::{demo, process};
use crate::run::Failure;
use std::time::Duration;

/// How long there is no control plane.
const GONE: Duration = Duration::from_secs(30);

/// Kills all servers at once, asks for something meanwhile, and starts them again.
///
/// # Errors
/// Says what did not hold.
pub fn control_plane(stage: &Stage) -> Result<(), Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    let before = demo::vms(stage.tree)?;
    let writer = Writer::start(stage.tree);
    std::thread::sleep(Duration::from_secs(3));
    let cut = stage.probe.now();
    let (killed, left) = process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd");
    let written = writer.finish();
    if killed != stage.regions.len() || !left.is_empty() {
        return Err(Failure::new(format!("killed {killed} of {} servers", stage.regions.len())));
    }
    let refused = stage.cli(&["vm", "list"])?;
    stage.say(&format!("no server: exit {}: {}", refused.status.code().unwrap_or(-1), told(&refused)));
    if refused.status.code() != Some(6) {
        return Err(Failure::new("a command without any server must end with exit 6"));
    }
    std::thread::sleep(GONE.saturating_sub(stage.probe.now().saturating_sub(cut)));
    let back = stage.probe.now();
    stage.heal(&[])?;
    let whole = stage.probe.now();
    // Also while the servers came back nothing may be started anew.
    std::thread::sleep(Duration::from_secs(10));
    let longest = stage.undisturbed(&before, (cut, stage.probe.now()))?;
    stage.say(&format!(
        "{killed} servers gone for {} s: {} VMs went on, longest silence {} ms; all whole {:.1} s after their start",
        (back - cut).as_secs(),
        before.len(),
        longest.as_millis(),
        (whole - back).as_secs_f64()
    ));
    stage.check_written(&written, &stage.regions)?;
    let works = stage.cli(&["security", "token", "create", "--user", "drill", "--role", "viewer"])?;
    if !works.status.success() {
        return Err(Failure::new(format!("no write after the servers came back: {}", told(&works))));
    }
    stage.check_no_doubles()
}
