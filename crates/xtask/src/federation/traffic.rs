//! What leads users to the demo VMs: places of the regions, the routers' addresses, and a service.

use super::Planned;
use super::demo::cli;
use crate::run::{Failure, say, text_of};
use crate::tree::Tree;
use std::time::Instant;

/// The service of the demo VMs, and its name in the routers' zone.
const SERVICE: &str = "demo";
const NAME: &str = "demo.dwcp.test";

/// Makes what is missing; a federation that has the service is as somebody wants it.
///
/// # Errors
/// When the CLI refuses something.
pub fn ensure(tree: &Tree, planned: &[Planned], regions: &[String], since: Instant) -> Result<(), Failure> {
    if !planned.iter().any(|entry| entry.program == "dwcp-routerd") {
        return Ok(());
    }
    let known = text_of(cli(tree).args(["routing", "service", "list", "--format", "json"]))?;
    if known.contains(&format!("\"service\":\"{SERVICE}\""))
        || known.contains(&format!("\"service\": \"{SERVICE}\""))
    {
        return Ok(());
    }
    for (number, region) in (1..).zip(regions) {
        let settings = tree.dev.join("regions").join(format!("{region}.yaml"));
        let mut configure = cli(tree);
        configure.args(["federation", "region", "configure", "--region", region, "--config"]).arg(settings);
        text_of(&mut configure)?;
        let ip = format!("127.77.{number}.1");
        let add = ["routing", "endpoint", "add", "--region", region, "--ip", &ip, "--port", "80"];
        text_of(cli(tree).args(add))?;
    }
    let set = ["routing", "service", "set", "--service", SERVICE, "--host", NAME, "--host", "*"];
    text_of(cli(tree).args(set).args(["--check-path", "/"]))?;
    say(since, &format!("{NAME} leads to the demo VMs, by every region's router"));
    Ok(())
}
