//! `host.yaml`: what an agent must be told about its host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::{Complaints, Fields, reader};

/// As Linux has it, bytes.
const LONGEST_INTERFACE: usize = 15;

/// Settings of one host's agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// The federation's name.
    pub federation: String,
    /// The host's region.
    pub region: String,
    /// The host's zone.
    pub zone: String,
    /// The host's name, unique in its region.
    pub host: String,
    /// Every region's node; the own region's is asked first whatever the order. With `control_plane` it may be missing.
    pub regions: Vec<RegionEndpoint>,
    pub pki: PkiPaths,
    /// Where images, disks and the agent's memory live.
    pub data_dir: String,
    /// Virtual CPUs to offer.
    pub vcpus: u32,
    /// Memory to offer.
    pub memory_mib: u64,
    /// Disk to offer.
    pub disk_gib: u64,
    /// Free labels for placement rules.
    pub labels: BTreeMap<String, String>,
    /// The addresses VMs get.
    pub vm_addresses: VmAddresses,
    /// VMs that may boot at once; `None`: by the host's cores.
    pub boot_concurrency: Option<u32>,
    /// How guests run.
    pub accelerator: Accelerator,
    /// Local UDP address of the link to the nodes; `None`: any.
    pub bind: Option<SocketAddr>,
    /// File of the emulated links, development only.
    pub wan_file: Option<String>,
    /// The emulator; `None`: `qemu-system-x86_64`.
    pub qemu: Option<String>,
    /// How the region's own node is run here when its leader says so; `None`: it never is.
    pub control_plane: Option<ControlPlane>,
    /// How controllers are run here beside the region's node; `None`: as with `control_plane`, up to four, and otherwise none.
    pub controllers: Option<Controllers>,
    /// How routers are run here beside the one that a service of this host keeps; `None`: none are.
    pub routers: Option<Routers>,
    /// Which interfaces' load is measured; `None`: those with a device, by the speed that the kernel says.
    pub network: Option<NetworkHere>,
}

/// The interfaces of a host whose load is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkHere {
    /// Their names; none: those with a device.
    pub interfaces: Vec<String>,
    /// What they carry together each way, Mbit/s; `None`: as the kernel says, which does not know it of virtual ones.
    pub mbps: Option<u64>,
}

/// How a host runs its region's own node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// Where the node listens, UDP for the mesh and TCP for the API; `None` only beside a complaint.
    pub address: Option<SocketAddr>,
    /// The program; `None`: `dwcpd` beside the agent's own.
    pub program: Option<String>,
}

/// How a host runs controllers beside its region's node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// At most so many.
    pub most: u32,
    /// The program; `None`: that of `control_plane`, or `dwcpd` beside the agent's own.
    pub program: Option<String>,
}

/// How a host runs routers beside the one that a service of its keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routers {
    /// At most so many.
    pub most: u32,
    /// The settings of the one that is kept: they serve at its addresses.
    pub config: String,
    /// The program; `None`: `dwcp-routerd` beside the agent's own.
    pub program: Option<String>,
}

/// Where a region's node answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionEndpoint {
    pub region: String,
    /// The node's number.
    pub node: u64,
    /// UDP address of the mesh; `None` only beside a complaint.
    pub mesh: Option<SocketAddr>,
    /// TCP address of the API; `None` only beside a complaint.
    pub api: Option<SocketAddr>,
}

/// Where the certificates are: `<dir>/ca.pem`, `<dir>/<name>.pem`, `<dir>/<name>.key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PkiPaths {
    pub dir: String,
    pub name: String,
}

/// A range of addresses, `<base>.<first>` and on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmAddresses {
    /// The first three numbers, such as `127.77.1`.
    pub base: String,
    /// The last number of the first address.
    pub first: u8,
    /// How many.
    pub count: u16,
}

impl VmAddresses {
    /// Every address, in order.
    pub fn all(&self) -> Vec<String> {
        (u16::from(self.first)..)
            .take(self.count.into())
            .map(|last| format!("{}.{last}", self.base))
            .collect()
    }
}

/// How guests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// Emulated.
    #[default]
    Tcg,
    /// By the kernel where a test guest proves that it works, else emulated.
    Auto,
}

impl HostConfig {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<HostConfig, Complaints> {
        reader::read(text, |fields| {
            let config = settings(fields);
            relations(&config, fields);
            config
        })
    }
}

fn socket(text: &str) -> Result<Option<SocketAddr>, String> {
    text.parse().map(Some).map_err(|_| format!("'{text}' is not an address such as 127.77.1.1:7443"))
}

/// An address that others can dial.
fn reachable(text: &str) -> Result<Option<SocketAddr>, String> {
    match socket(text)? {
        Some(address) if address.ip().is_unspecified() || address.port() == 0 => Err(format!(
            "'{text}' can't be dialed: the other regions need an address and a port of this host"
        )),
        address => Ok(address),
    }
}

fn whole(bounds: std::ops::RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<u64, String> {
    move |text| match text.parse::<u64>() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!("'{text}' is not a whole number from {} to {}", bounds.start(), bounds.end())),
    }
}

fn settings(fields: &mut Fields<'_>) -> HostConfig {
    HostConfig {
        federation: fields.text("federation"),
        region: fields.text("region"),
        zone: fields.text("zone"),
        host: fields.text("host"),
        regions: fields.maps("regions", |f| RegionEndpoint {
            region: f.text("region"),
            node: f.required("node", whole(1..=10_000)),
            mesh: f.required("mesh", socket),
            api: f.required("api", socket),
        }),
        pki: fields.required_map("pki", |f| PkiPaths { dir: f.text("dir"), name: f.text("name") }),
        data_dir: fields.text("data_dir"),
        vcpus: fields.required("vcpus", whole(1..=65_536)) as u32,
        memory_mib: fields.required("memory_mib", whole(1..=1 << 40)),
        disk_gib: fields.number("disk_gib", 0..=1 << 40, 0),
        labels: fields.labels("labels"),
        vm_addresses: fields.required_map("vm_addresses", |f| VmAddresses {
            base: f.text("base"),
            first: f.required("first", whole(0..=255)) as u8,
            count: f.required("count", whole(1..=256)) as u16,
        }),
        boot_concurrency: fields.optional("boot_concurrency", whole(1..=1_024)).map(|count| count as u32),
        accelerator: fields
            .optional("accelerator", |text| match text {
                "tcg" => Ok(Accelerator::Tcg),
                "auto" => Ok(Accelerator::Auto),
                other => Err(format!("'{other}' is neither tcg nor auto")),
            })
            .unwrap_or_default(),
        bind: fields.optional("bind", socket).flatten(),
        wan_file: fields.optional_text("wan_file"),
        qemu: fields.optional_text("qemu"),
        control_plane: fields.map("control_plane", |f| ControlPlane {
            address: f.required("address", reachable),
            program: f.optional_text("program"),
        }),
        controllers: fields.map("controllers", |f| Controllers {
            most: f.required("most", whole(0..=15)) as u32,
            program: f.optional_text("program"),
        }),
        routers: fields.map("routers", |f| Routers {
            most: f.required("most", whole(0..=15)) as u32,
            config: f.text("config"),
            program: f.optional_text("program"),
        }),
        network: fields.map("network", |f| NetworkHere {
            interfaces: f.texts("interfaces"),
            mbps: f.optional("mbps", whole(1..=100_000_000)),
        }),
    }
}

fn relations(config: &HostConfig, fields: &Fields<'_>) {
    // Whoever is to run its region's node may be there before the region is.
    let known = config.control_plane.is_some() && !config.regions.is_empty()
        || config.regions.iter().any(|entry| entry.region == config.region);
    if !config.region.is_empty() && !known {
        fields.complain("regions", format!("this host's own region, '{}', is not among them", config.region));
    }
    let odd = |name: &&String| {
        name.len() > LONGEST_INTERFACE
            || name.starts_with('.')
            || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    };
    if let Some(name) = config.network.iter().flat_map(|network| &network.interfaces).find(odd) {
        fields.complain("network", format!("'{name}' can't be the name of an interface"));
    }
    let range = &config.vm_addresses;
    if u16::from(range.first) + range.count > 256 {
        let message = format!("{} addresses from .{} on go past .255", range.count, range.first);
        fields.complain("vm_addresses", message);
    }
    if !range.base.is_empty() && format!("{}.0", range.base).parse::<Ipv4Addr>().is_err() {
        let message = format!("base '{}' is not three numbers such as 127.77.1", range.base);
        fields.complain("vm_addresses", message);
    }
}
