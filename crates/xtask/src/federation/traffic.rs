//! What leads users to the demo VMs: places of the regions, the routers' addresses, and a service.

use super::demo::{cli, get};
use super::{Planned, router_address};
use crate::run::{Failure, say, text_of, wait_until};
use crate::tree::Tree;
use std::time::{Duration, Instant};

/// The service of the demo VMs, and its name in the routers' zone.
const SERVICE: &str = "demo";
const NAME: &str = "demo.dwcp.test";

/// How long a router may take to serve a service that it is told of.
const SERVED: Duration = Duration::from_secs(30);

/// Makes what is missing, and asks every router once; a federation that has the service is as somebody wants it.
///
/// # Errors
/// When the CLI refuses something, or a router does not serve the VMs.
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
    let mut routers = Vec::new();
    for (number, region) in (1..).zip(regions) {
        let settings = tree.dev.join("regions").join(format!("{region}.yaml"));
        let mut configure = cli(tree);
        configure.args(["federation", "region", "configure", "--region", region, "--config"]).arg(settings);
        text_of(&mut configure)?;
        let router = router_address(number);
        routers.push((region, router));
        let ip = router.ip().to_string();
        let add = ["routing", "endpoint", "add", "--region", region, "--ip", &ip, "--port", "80"];
        text_of(cli(tree).args(add))?;
    }
    let set = ["routing", "service", "set", "--service", SERVICE, "--host", NAME, "--host", "*"];
    text_of(cli(tree).args(set).args(["--check-path", "/"]))?;
    for (region, router) in routers {
        let served = || get(router, Duration::from_secs(2)).is_some();
        if !wait_until(SERVED, Duration::from_millis(100), served) {
            return Err(Failure::new(format!("{region}'s router at {router} serves no demo VM")));
        }
    }
    say(since, &format!("every region's router serves the demo VMs as {NAME}"));
    Ok(())
}
