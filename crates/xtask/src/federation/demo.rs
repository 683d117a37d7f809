//! The demo VMs, asked for through `dwcp-cli` as a person would, and probed at their own addresses.

use super::CONTEXT;
use crate::run::{Failure, capture, command, say, text_of, wait_until};
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// How many VMs `up` creates: one in each of the five regions and a second in the first.
const VMS: usize = 6;
/// TCP port of every VM's own service.
const SERVICE_PORT: u16 = 8080;

/// `dwcp-cli` with the federation's context.
pub fn cli(tree: &Tree) -> Command {
    let mut cli = command(tree.binary("dwcp-cli"));
    cli.args(["--context", CONTEXT]);
    cli
}

/// Waits until the federation answers with its status, which needs a leader in its groups.
///
/// # Errors
/// When it has not after 30 s; the message is the last answer.
pub fn wait_for_status(tree: &Tree, since: Instant) -> Result<(), Failure> {
    let mut last = String::new();
    let ready = wait_until(Duration::from_secs(30), Duration::from_millis(200), || {
        match text_of(cli(tree).args(["federation", "status", "--global", "--format", "json"])) {
            Ok(_) => true,
            Err(failure) => {
                last = failure.message;
                false
            }
        }
    });
    if !ready {
        return Err(Failure::new(format!("the federation is not ready after 30 s: {last}")));
    }
    say(since, "the federation answers");
    Ok(())
}

/// Creates the demo VMs that are not there yet and waits until each answers.
///
/// # Errors
/// When one cannot be created, or some do not answer in 90 s.
pub fn ensure_vms(tree: &Tree, regions: &[String], since: Instant) -> Result<(), Failure> {
    let present = addresses(tree)?;
    let mut created = 0;
    for index in 0..VMS {
        let name = format!("demo-{}", index + 1);
        if present.contains_key(&name) {
            continue;
        }
        let Some(region) = regions.get(index % regions.len().max(1)) else { break };
        create(tree, &name, region)?;
        created += 1;
    }
    if created > 0 {
        say(since, &format!("created {created} VMs; waiting for each to boot and answer"));
    }
    wait_for_answers(tree, Duration::from_secs(90), since)
}

/// A region that has just come up may have no host with a lease yet, so a refusal is tried again.
fn create(tree: &Tree, name: &str, region: &str) -> Result<(), Failure> {
    let mut last = String::new();
    let done = wait_until(Duration::from_secs(20), Duration::from_millis(500), || {
        let output = capture(cli(tree).args(["vm", "create", name, "--region", region]));
        match output {
            Ok(output) if output.status.success() => true,
            Ok(output) => {
                last = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                false
            }
            Err(failure) => {
                last = failure.message;
                false
            }
        }
    });
    if done { Ok(()) } else { Err(Failure::new(format!("cannot create {name} in {region}: {last}"))) }
}

/// Waits until every VM of the list answers at its own address.
///
/// # Errors
/// When one has not within `limit`; names those.
pub fn wait_for_answers(tree: &Tree, limit: Duration, since: Instant) -> Result<(), Failure> {
    let mut silent: Vec<String> = Vec::new();
    let mut count = 0;
    let all = wait_until(limit, Duration::from_millis(250), || {
        let Ok(addresses) = addresses(tree) else { return false };
        count = addresses.len();
        silent = addresses
            .iter()
            .filter(|(_, address)| address.as_deref().and_then(ask).is_none())
            .map(|(name, _)| name.clone())
            .collect();
        silent.is_empty()
    });
    if !all {
        return Err(Failure::new(format!(
            "no answer after {} s from: {}",
            limit.as_secs(),
            silent.join(", ")
        )));
    }
    say(since, &format!("{count} VMs answer"));
    Ok(())
}

/// The VMs of the federation by name, each with its address once it has one.
///
/// # Errors
/// When the CLI fails or prints something else than JSON.
pub fn addresses(tree: &Tree) -> Result<BTreeMap<String, Option<String>>, Failure> {
    let text = text_of(cli(tree).args(["vm", "list", "--format", "json"]))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::new(format!("`dwcp-cli vm list --format json` printed no JSON: {e}")))?;
    Ok(vms_in(&value))
}

fn vms_in(value: &Value) -> BTreeMap<String, Option<String>> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        Value::Object(map) => map.values().find_map(Value::as_array).map(Vec::as_slice).unwrap_or_default(),
        _ => &[],
    };
    list.iter()
        .filter_map(|vm| {
            let name = vm.get("name")?.as_str()?.to_owned();
            let address = vm.get("address").and_then(Value::as_str).map(str::to_owned);
            Some((name, address))
        })
        .collect()
}

/// Asks a VM's own service; its body, or nothing when it does not answer within a second.
pub fn ask(address: &str) -> Option<String> {
    let host = address.split(':').next()?;
    let target = SocketAddr::new(host.parse().ok()?, SERVICE_PORT);
    let second = Some(Duration::from_secs(1));
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(second).ok()?;
    stream.set_write_timeout(second).ok()?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    // A peer that closes hard after its answer is no error for us.
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|code| *code == "200").map(|_| body.to_owned())
}

/// A first session to paste.
pub fn tell_what_to_try() {
    println!(
        "
try:
  dwcp-cli federation status --global
  dwcp-cli vm list
  cargo xtask kill --region us-east-1        # a region dies; its VMs start elsewhere
  dwcp-cli vm list
  cargo xtask up --region us-east-1          # and comes back
  cargo xtask down                           # stop everything, remove everything
"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_without_an_address_is_known_but_silent() {
        let value = serde_json::json!({"as_of": "now", "vms": [
            {"name": "demo-1", "address": "127.77.1.33:8080"}, {"name": "demo-2", "address": null}]});
        let vms = vms_in(&value);
        assert_eq!(vms["demo-1"].as_deref(), Some("127.77.1.33:8080"));
        assert_eq!(vms["demo-2"], None);
        assert_eq!(vms_in(&value["vms"]), vms);
    }

    #[test]
    fn a_closed_port_is_no_answer() {
        assert_eq!(ask("127.77.255.254"), None);
        assert_eq!(ask("not an address"), None);
    }
}
