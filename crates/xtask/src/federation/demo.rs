//! The demo VMs, asked for through `dwcp-cli` as a person would, and probed at their own addresses.

use super::{CONTEXT, api_url};
use crate::run::{Failure, command, say, text_of, wait_until};
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// How many VMs `up` creates, asking one region after the other; where they go is DWCP's to choose.
const VMS: usize = 6;

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
pub fn ensure_vms(tree: &Tree, regions: usize, since: Instant) -> Result<(), Failure> {
    let present = vms(tree)?;
    let names: Vec<String> = (1..=VMS).map(|number| format!("demo-{number}")).collect();
    let missing = names.iter().zip((1..=regions).cycle()).filter(|(name, _)| !present.contains_key(*name));
    for (name, number) in missing {
        create(tree, name, number)?;
        say(since, &format!("{name} has a place and boots"));
    }
    wait_for_answers(tree, &names, Duration::from_secs(90), since)
}

/// Asks a region to create a VM and does not wait for it to boot. It is bound to no region, so that it may go on elsewhere when this one
/// is lost. A region that has just come up may have no host with a lease yet, so a refusal is tried again.
pub fn create(tree: &Tree, name: &str, region_number: usize) -> Result<(), Failure> {
    let mut last = String::new();
    let done = wait_until(Duration::from_secs(20), Duration::from_millis(500), || {
        let mut create = cli(tree);
        create.args(["--endpoint", &api_url(region_number), "vm", "create", "--name", name, "--detach"]);
        match text_of(&mut create) {
            Ok(_) => true,
            Err(failure) => {
                last = failure.message;
                false
            }
        }
    });
    if done { Ok(()) } else { Err(Failure::new(format!("cannot create {name}: {last}"))) }
}

/// Waits until every VM of the list, and each of `names`, answers at its own address.
///
/// # Errors
/// When one has not within `limit`; names those.
fn wait_for_answers(tree: &Tree, names: &[String], limit: Duration, since: Instant) -> Result<(), Failure> {
    let mut silent: Vec<String> = names.to_vec();
    let mut count = 0;
    let all = wait_until(limit, Duration::from_millis(250), || {
        let Ok(vms) = vms(tree) else { return false };
        count = vms.len();
        // The federation must have heard of it too: who looks next sees what they were told.
        let waits = |vm: &Vm| vm.state != "running" || vm.answer().is_none();
        silent = vms.iter().filter(|(_, vm)| waits(vm)).map(|(name, _)| name.clone()).collect();
        silent.extend(names.iter().filter(|name| !vms.contains_key(*name)).cloned());
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

/// A VM as the federation's list has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vm {
    /// `vm_…`.
    pub id: String,
    /// The host it is placed on.
    pub host: String,
    /// What is to be seen of it: `running`, `stopped`, …
    pub state: String,
    /// The region that owns it.
    pub region: String,
    /// Raised by every start, move and takeover.
    pub generation: u64,
    /// Where its service answers, as `address:port`, once it is known.
    pub address: Option<SocketAddr>,
}

impl Vm {
    /// What the VM itself answers, or nothing when it does not within a second.
    pub fn answer(&self) -> Option<Value> {
        serde_json::from_str(&get(self.address?, Duration::from_secs(1))?).ok()
    }
}

/// The VMs of the federation by name.
///
/// # Errors
/// When the CLI fails or prints something else than JSON.
pub fn vms(tree: &Tree) -> Result<BTreeMap<String, Vm>, Failure> {
    let text = text_of(cli(tree).args(["vm", "list", "--format", "json"]))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::new(format!("`dwcp-cli vm list --format json` printed no JSON: {e}")))?;
    Ok(vms_in(&value))
}

/// Reads a page of VMs (`{"items": […], …}`) or the bare list.
fn vms_in(value: &Value) -> BTreeMap<String, Vm> {
    let list = value.get("items").unwrap_or(value).as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|vm| {
            let text = |key: &str| vm.get(key).and_then(Value::as_str);
            let found = Vm {
                id: text("vm").unwrap_or_default().to_owned(),
                host: text("host").unwrap_or_default().to_owned(),
                state: text("state").unwrap_or_default().to_owned(),
                region: text("region").unwrap_or_default().to_owned(),
                generation: vm.get("generation").and_then(Value::as_u64).unwrap_or_default(),
                address: text("address").and_then(socket_address),
            };
            Some((text("name")?.to_owned(), found))
        })
        .collect()
}

/// Reads `http://127.77.1.32:8080/` or `127.77.1.32:8080`.
fn socket_address(text: &str) -> Option<SocketAddr> {
    text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/').parse().ok()
}

/// The body of `GET /` at that address; nothing when there is no answer in time.
pub fn get(target: SocketAddr, within: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&target, within).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    stream.set_write_timeout(Some(within)).ok()?;
    // In one piece: a server may answer and close after its first read.
    let request = format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
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
  curl http://127.77.2.1/                    # a VM, by eu-west-1's router
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
        let value = serde_json::json!({"as_of": [{"region": "r"}], "items": [
            {"name": "demo-1", "region": "r", "generation": 2, "address": "http://127.77.1.33:8080/"},
            {"name": "demo-2", "region": "r", "generation": 1, "address": null}]});
        let vms = vms_in(&value);
        assert_eq!(vms["demo-1"].address, Some("127.77.1.33:8080".parse().unwrap()));
        assert_eq!((vms["demo-1"].generation, vms["demo-1"].region.as_str()), (2, "r"));
        assert_eq!(vms["demo-2"].address, None);
        assert_eq!(vms["demo-2"].answer(), None);
        assert_eq!(vms_in(&value["items"]), vms);
    }

    #[test]
    fn a_closed_port_is_no_answer_and_an_open_one_is() {
        assert_eq!(get("127.77.255.254:8080".parse().unwrap(), Duration::from_secs(1)), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"counter\":1}").unwrap();
        });
        let vm = Vm { address: Some(address), ..Vm::default() };
        assert_eq!(vm.answer().unwrap()["counter"], 1);
        server.join().unwrap();
    }
}
