//! `host.yaml`: what an agent must be told about its host, with paths made whole and defaults filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dwcp_config::host;
pub use dwcp_config::host::{Accelerator as AcceleratorChoice, NetworkHere, PkiPaths, VmAddresses};

/// Settings of one host's agent, ready for use.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Name of the federation.
    pub federation: String,
    /// The host's region.
    pub region: String,
    /// The host's zone.
    pub zone: String,
    /// The host's name, unique in its region.
    pub host: String,
    /// Every region's node. The order of the fallbacks; the own region always comes first.
    pub regions: Vec<RegionEndpoint>,
    /// Certificates.
    pub pki: PkiFiles,
    /// Where images, disks and the agent's memory live.
    pub data_dir: PathBuf,
    /// Virtual CPUs to offer.
    pub vcpus: u32,
    /// Memory to offer, MiB.
    pub memory_mib: u64,
    /// Disk to offer, GiB.
    pub disk_gib: u64,
    /// Free labels for placement rules.
    pub labels: BTreeMap<String, String>,
    /// The addresses VMs get.
    pub vm_addresses: VmAddresses,
    /// VMs that may boot at once: one more than the host has cores unless the file says otherwise. A boot is CPU time, so more
    /// at once only take turns; one more keeps a core from idling while the last of an odd number boots.
    pub boot_concurrency: usize,
    /// How guests run.
    pub accelerator: AcceleratorChoice,
    /// Local UDP address of the link; in development its IP places the host in a region of the emulated WAN.
    pub bind: SocketAddr,
    /// State of the emulated WAN, development only.
    pub wan_file: Option<PathBuf>,
    /// The emulator.
    pub qemu: String,
    /// How the region's own node is run here; `None`: it never is.
    pub control_plane: Option<NodeHere>,
    /// How controllers are run here beside it.
    pub controllers: ControllersHere,
    /// How routers are run here beside the one that a service keeps; none: they are not.
    pub routers: Option<RoutersHere>,
    /// The interfaces whose load is measured.
    pub network: NetworkHere,
}

/// How the region's own node is run on this host.
#[derive(Clone, Debug)]
pub struct NodeHere {
    /// Where it listens, UDP for the mesh and TCP for the API.
    pub address: SocketAddr,
    /// The program.
    pub program: PathBuf,
}

/// How controllers are run on this host.
#[derive(Clone, Debug)]
pub struct ControllersHere {
    /// At most so many; 0: none.
    pub most: u32,
    /// The program.
    pub program: PathBuf,
}

/// How routers are run on this host.
#[derive(Clone, Debug)]
pub struct RoutersHere {
    /// At most so many.
    pub most: u32,
    /// The program.
    pub program: PathBuf,
    /// The settings of the one that a service keeps.
    pub config: PathBuf,
}

/// Controllers on a host that may run its region's node, unless its settings say otherwise.
const CONTROLLERS_BESIDE_NODE: u32 = 4;

/// Where a region's node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionEndpoint {
    /// The region's name.
    pub region: String,
    /// The node's number.
    pub node: u64,
    /// UDP address of the mesh.
    pub mesh: SocketAddr,
    /// TCP address of the API.
    pub api: SocketAddr,
}

/// Where the certificates are: `<dir>/ca.pem`, `<dir>/<name>.pem`, `<dir>/<name>.key`.
#[derive(Clone, Debug)]
pub struct PkiFiles {
    /// The directory.
    pub dir: PathBuf,
    /// The files' name without its ending.
    pub name: String,
}

impl HostConfig {
    /// Reads and checks the file. Relative paths are taken from the file's directory.
    ///
    /// # Errors
    /// Every complaint, one a line, with the file, line and column.
    pub fn load(path: &Path) -> Result<HostConfig, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut config = HostConfig::parse(&text).map_err(|complaints| {
            complaints
                .lines()
                .map(|line| format!("{}: {line}", path.display()))
                .collect::<Vec<_>>()
                .join("\n")
        })?;
        let full = std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let base = full.parent().unwrap_or(Path::new("/"));
        config.data_dir = base.join(&config.data_dir);
        config.pki.dir = base.join(&config.pki.dir);
        config.wan_file = config.wan_file.map(|file| base.join(file));
        if let Some(here) = &mut config.control_plane {
            here.program = base.join(&here.program);
        }
        config.controllers.program = base.join(&config.controllers.program);
        if let Some(here) = &mut config.routers {
            here.program = base.join(&here.program);
            here.config = base.join(&here.config);
        }
        Ok(config)
    }

    /// Reads and checks the text.
    ///
    /// # Errors
    /// Every complaint, one a line.
    pub fn parse(text: &str) -> Result<HostConfig, String> {
        let read = host::HostConfig::parse(text).map_err(|complaints| complaints.to_string())?;
        let endpoint = |entry: host::RegionEndpoint| {
            let (Some(mesh), Some(api)) = (entry.mesh, entry.api) else {
                return Err(format!("regions: {} has no addresses", entry.region));
            };
            Ok(RegionEndpoint { region: entry.region, node: entry.node, mesh, api })
        };
        let controllers = controllers_here(&read);
        Ok(HostConfig {
            federation: read.federation,
            region: read.region,
            zone: read.zone,
            host: read.host,
            regions: read.regions.into_iter().map(endpoint).collect::<Result<_, String>>()?,
            pki: PkiFiles { dir: read.pki.dir.into(), name: read.pki.name },
            data_dir: read.data_dir.into(),
            vcpus: read.vcpus,
            memory_mib: read.memory_mib,
            disk_gib: read.disk_gib,
            labels: read.labels,
            vm_addresses: read.vm_addresses,
            boot_concurrency: read.boot_concurrency.map_or_else(one_more_than_cores, |count| count as usize),
            accelerator: read.accelerator,
            bind: read.bind.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            wan_file: read.wan_file.map(PathBuf::from),
            qemu: read.qemu.unwrap_or_else(|| "qemu-system-x86_64".to_string()),
            controllers,
            routers: read.routers.map(routers_here),
            network: read.network.unwrap_or_default(),
            control_plane: read.control_plane.and_then(node_here),
        })
    }
}

fn controllers_here(read: &host::HostConfig) -> ControllersHere {
    let node = read.control_plane.as_ref();
    let own = read.controllers.as_ref();
    let usual = if node.is_some() { CONTROLLERS_BESIDE_NODE } else { 0 };
    let program = own.and_then(|own| own.program.clone()).or_else(|| node?.program.clone());
    ControllersHere {
        most: own.map_or(usual, |own| own.most),
        program: program.map_or_else(|| beside_the_agent("dwcpd"), PathBuf::from),
    }
}

fn routers_here(read: host::Routers) -> RoutersHere {
    let program = read.program.map_or_else(|| beside_the_agent("dwcp-routerd"), PathBuf::from);
    RoutersHere { most: read.most, program, config: read.config.into() }
}

fn beside_the_agent(program: &str) -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(program)
}

fn node_here(read: host::ControlPlane) -> Option<NodeHere> {
    let program = read.program.map_or_else(|| beside_the_agent("dwcpd"), PathBuf::from);
    Some(NodeHere { address: read.address?, program })
}

fn one_more_than_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
federation: dev
region: us-east-1
zone: a
host: h1
regions:
  - {region: eu-west-1, node: 2, mesh: '127.77.2.1:7443', api: '127.77.2.1:7443'}
  - {region: us-east-1, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}
pki: {dir: pki, name: host-us-east-1-h1}
data_dir: data
vcpus: 8
memory_mib: 4096
vm_addresses: {base: '127.77.1', first: 32, count: 32}
";

    #[test]
    fn a_host_file_is_read_and_its_own_region_comes_first() {
        let config = HostConfig::parse(GOOD).expect("valid");
        assert_eq!(config.vm_addresses.all().last().map(String::as_str), Some("127.77.1.63"));
        assert_eq!(config.accelerator, AcceleratorChoice::Tcg);
        let cores = std::thread::available_parallelism().expect("cores").get();
        assert_eq!(config.boot_concurrency, cores + 1);
        let told = HostConfig::parse(&format!("{GOOD}boot_concurrency: 7\n")).expect("valid");
        assert_eq!(told.boot_concurrency, 7);
    }

    #[test]
    fn every_complaint_is_told_at_once() {
        let text = GOOD
            .replace("vcpus: 8", "vcpus: 0")
            .replace("count: 32", "count: 250")
            .replace("zone: a", "zone: ''");
        let complaints = HostConfig::parse(&text).expect_err("invalid");
        for part in ["vcpus", "past .255", "zone"] {
            assert!(complaints.contains(part), "{complaints}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert!(
            HostConfig::parse(&format!("{GOOD}\nspeling: 1\n")).expect_err("invalid").contains("speling")
        );
    }
}
