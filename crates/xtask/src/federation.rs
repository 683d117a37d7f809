//! The development federation: five regions and their hosts as real processes on this machine.
//!
//! `dwcpd dev init` writes keys, configuration and `processes.txt`; this module starts what that
//! list names, remembers each process by number and start time, and finds every process of the
//! federation (watchdogs and QEMUs too) by the `DWCP_DEV_DIR` variable they inherit.

mod console;
pub mod demo;
pub mod down;
pub mod image;
pub mod link;
pub mod process;
mod traffic;
pub mod up;

use crate::flags::Flags;
use crate::run::{Failure, fault};
use crate::tree::Tree;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Set for every process of a development federation to the absolute path of its state folder.
pub const DIR_VARIABLE: &str = "DWCP_DEV_DIR";
/// Set for every process of a development federation to its region's name.
pub const REGION_VARIABLE: &str = "DWCP_DEV_REGION";
/// The TCP port of every region's API.
const API_PORT: u16 = 7443;
/// The context of `dwcp-cli` that `up` writes and `down` removes.
pub const CONTEXT: &str = "dev";

/// One line of `processes.txt`: `name`, `region`, `kind`, then the arguments, TAB between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Unique in the federation; names the log and the pid file.
    pub name: String,
    /// The region's name.
    pub region: String,
    /// The program: `dwcpd`, `dwcp-agentd`, `dwcp-routerd` or `etcd`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Reads the list of processes.
///
/// # Errors
/// Names the line that has no name, region and kind, or an unknown kind.
pub fn parse_processes(text: &str) -> Result<Vec<Planned>, Failure> {
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            let wrong = |why: &str| Failure::new(format!("processes.txt line {}: {why}", index + 1));
            let mut fields = line.split('\t');
            let (Some(name), Some(region), Some(kind)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(wrong("wants name, region, kind and arguments with TAB between them"));
            };
            let program = match kind {
                "dwcpd" => "dwcpd",
                "agentd" | "dwcp-agentd" => "dwcp-agentd",
                "routerd" => "dwcp-routerd",
                "etcd" => "etcd",
                other => return Err(wrong(&format!("unknown kind {other:?}"))),
            };
            Ok(Planned {
                name: name.to_owned(),
                region: region.to_owned(),
                program: program.to_owned(),
                arguments: fields.map(str::to_owned).collect(),
            })
        })
        .collect()
}

/// The list of this federation's processes; empty when there is no federation here.
///
/// # Errors
/// When the list cannot be read or parsed.
pub fn planned(tree: &Tree) -> Result<Vec<Planned>, Failure> {
    let path = tree.dev.join("processes.txt");
    match fs::read_to_string(&path) {
        Ok(text) => parse_processes(&text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(fault("cannot read", &path, &e)),
    }
}

/// The regions in the order of the list: region number `n` is entry `n - 1`. Hosts without a node of their region are a pool.
pub fn regions(planned: &[Planned]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in planned.iter().filter(|entry| entry.program == "dwcpd") {
        if !names.contains(&entry.region) {
            names.push(entry.region.clone());
        }
    }
    names
}

/// The regions that are not there and have hosts, in the order of the list: their numbers would follow.
pub fn pools(planned: &[Planned]) -> Vec<String> {
    let regions = regions(planned);
    let mut names: Vec<String> = planned.iter().map(|entry| entry.region.clone()).collect();
    names.retain(|name| !regions.contains(name));
    names.dedup();
    names
}

/// Where region number `number` (from 1) has its API.
pub fn api_address(number: usize) -> SocketAddr {
    let number = u8::try_from(number).expect("a development federation has fewer than 256 regions");
    SocketAddr::from((Ipv4Addr::new(127, 77, number, 1), API_PORT))
}

/// Where users reach the router of region number `number` (from 1).
pub fn router_address(number: usize) -> SocketAddr {
    SocketAddr::new(api_address(number).ip(), 80)
}

/// The API's address as `dwcp-cli` takes it.
pub fn api_url(number: usize) -> String {
    format!("https://{}", api_address(number))
}

/// Checks a `--region` against the list.
///
/// # Errors
/// Wrong usage that lists the regions there are.
pub fn known_region<'a>(planned: &[Planned], flags: &'a Flags) -> Result<Option<&'a str>, Failure> {
    let Some(region) = flags.value("region") else { return Ok(None) };
    let regions = regions(planned);
    if regions.iter().any(|known| known == region) {
        return Ok(Some(region));
    }
    let known =
        if regions.is_empty() { "none, run `cargo xtask up` first".to_owned() } else { regions.join(", ") };
    Err(Failure::usage(format!("no region {region:?}; there are: {known}")))
}

/// Held while one command changes the federation, so that two cannot do so at once.
pub struct Lock {
    _file: fs::File,
}

impl Lock {
    /// Takes the lock without waiting.
    ///
    /// # Errors
    /// When another command holds it, or the folder cannot be written.
    pub fn take(dev: &Path) -> Result<Lock, Failure> {
        fs::create_dir_all(dev).map_err(|e| fault("cannot create", dev, &e))?;
        let path = dev.join("lock");
        let file = fs::File::create(&path).map_err(|e| fault("cannot create", &path, &e))?;
        // SAFETY: the descriptor is open for the whole call; flock touches no memory of ours.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(Failure::new(
                "another `cargo xtask up`, `down` or `kill` is at work here; wait for it",
            ));
        }
        Ok(Lock { _file: file })
    }
}

/// Prints what runs, by region.
///
/// # Errors
/// When the list of processes cannot be read. Exit 1 when a planned process does not run.
pub fn status(tree: &Tree, _flags: &Flags) -> Result<(), Failure> {
    let planned = planned(tree)?;
    let owned = process::owned(&tree.dev);
    if planned.is_empty() && owned.is_empty() {
        println!("no development federation here; `cargo xtask up` starts one");
        return Ok(());
    }
    let mut missing = 0;
    let regions = regions(&planned);
    for region in regions.iter().chain(&pools(&planned)) {
        let pool = if regions.contains(region) { "" } else { " (a host pool)" };
        println!("{region}{pool}");
        for entry in planned.iter().filter(|entry| entry.region == *region) {
            match process::recorded(&tree.dev, &entry.name) {
                Some(id) => println!("  {:<28} pid {}", entry.name, id.pid),
                None => {
                    missing += 1;
                    println!("  {:<28} NOT RUNNING (log: .dwcp/log/{}.log)", entry.name, entry.name);
                }
            }
        }
        let vms = owned.iter().filter(|one| one.region == *region && one.is_vm()).count();
        println!("  {:<28} {vms}", "virtual machines (QEMU)");
    }
    if missing == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("{missing} of {} processes do not run", planned.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# name\tregion\tkind\targuments\nnode-1\tus-east-1\tdwcpd\trun\t--config\t/a b/c.toml\n\
        host-1a\tus-east-1\tagentd\trun\nnode-2\teu-west-1\tdwcpd\n";

    #[test]
    fn an_argument_may_contain_spaces() {
        let planned = parse_processes(LIST).unwrap();
        assert_eq!(planned[0].arguments, ["run", "--config", "/a b/c.toml"]);
        assert_eq!(planned[1].program, "dwcp-agentd");
        assert_eq!(regions(&planned), ["us-east-1", "eu-west-1"]);
        let waiting = format!("{LIST}host-3a\teu-central-1\tagentd\trun\n");
        let planned = parse_processes(&waiting).unwrap();
        assert_eq!((regions(&planned).len(), pools(&planned)), (2, vec!["eu-central-1".to_string()]));
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, line) in [("\nonly-a-name\n", "line 2"), ("a\tb\trouter\n", "line 1")] {
            assert!(parse_processes(text).unwrap_err().message.contains(line), "{text:?}");
        }
    }

    #[test]
    fn two_commands_cannot_hold_the_lock() {
        let folder = std::env::temp_dir().join(format!("dwcp-xtask-lock-{}", std::process::id()));
        let held = Lock::take(&folder).unwrap();
        assert!(Lock::take(&folder).is_err());
        drop(held);
        assert!(Lock::take(&folder).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
