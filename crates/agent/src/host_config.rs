//! `host.yaml`: what an agent must be told about its host.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
    pub pki: PkiPaths,
    /// Where images, disks and the agent's memory live.
    pub data_dir: PathBuf,
    /// Virtual CPUs to offer.
    pub vcpus: u32,
    /// Memory to offer, MiB.
    pub memory_mib: u64,
    /// Disk to offer, GiB.
    #[serde(default)]
    pub disk_gib: u64,
    /// Free labels for placement rules.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The addresses VMs get.
    pub vm_addresses: VmAddresses,
    /// VMs that may boot at once.
    #[serde(default = "default_boot_concurrency")]
    pub boot_concurrency: usize,
    /// How guests run.
    #[serde(default)]
    pub accelerator: AcceleratorChoice,
    /// Local UDP address of the link; in development its IP places the host in a region of the emulated WAN.
    #[serde(default = "default_bind")]
    pub bind: SocketAddr,
    /// State of the emulated WAN, development only.
    #[serde(default)]
    pub wan_file: Option<PathBuf>,
    /// The emulator.
    #[serde(default = "default_qemu")]
    pub qemu: String,
}

/// Where a region's node answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PkiPaths {
    /// The directory.
    pub dir: PathBuf,
    /// The files' name without its ending.
    pub name: String,
}

/// A range of addresses `<base>.<first>` and on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// How guests shall run.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AcceleratorChoice {
    /// Emulated.
    #[default]
    Tcg,
    /// By the kernel when a test guest proves that it works, else emulated.
    Auto,
}

fn default_boot_concurrency() -> usize {
    2
}

fn default_bind() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

fn default_qemu() -> String {
    "qemu-system-x86_64".to_string()
}

impl HostConfig {
    /// Reads and checks the file. Relative paths are taken from the file's directory.
    ///
    /// # Errors
    /// One message that names the file and, for YAML errors, line and column.
    pub fn load(path: &Path) -> Result<HostConfig, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut config = HostConfig::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let full = std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let base = full.parent().unwrap_or(Path::new("/"));
        config.data_dir = base.join(&config.data_dir);
        config.pki.dir = base.join(&config.pki.dir);
        config.wan_file = config.wan_file.map(|file| base.join(file));
        Ok(config)
    }

    /// Reads and checks the text.
    ///
    /// # Errors
    /// Every complaint, one a line.
    pub fn parse(text: &str) -> Result<HostConfig, String> {
        let config: HostConfig = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
        let mut complaints = Vec::new();
        let mut check = |fine: bool, complaint: String| {
            if !fine {
                complaints.push(complaint);
            }
        };
        for (key, value) in [
            ("federation", &config.federation),
            ("region", &config.region),
            ("zone", &config.zone),
            ("host", &config.host),
        ] {
            check(!value.is_empty(), format!("{key} is empty"));
        }
        check(config.vcpus > 0, "vcpus is 0".into());
        check(config.memory_mib > 0, "memory_mib is 0".into());
        check(config.boot_concurrency > 0, "boot_concurrency is 0: no VM could ever start".into());
        let range = &config.vm_addresses;
        check(range.count > 0, "vm_addresses.count is 0".into());
        check(
            u32::from(range.first) + u32::from(range.count) <= 256,
            format!("vm_addresses: {} addresses from .{} on go past .255", range.count, range.first),
        );
        check(
            format!("{}.{}", range.base, range.first).parse::<std::net::Ipv4Addr>().is_ok(),
            format!("vm_addresses.base `{}` is not three numbers such as 127.77.1", range.base),
        );
        check(
            config.regions.iter().any(|endpoint| endpoint.region == config.region),
            format!("regions has no entry for this host's own region {}", config.region),
        );
        if complaints.is_empty() { Ok(config) } else { Err(complaints.join("\n")) }
    }

    /// The mesh endpoints, own region first.
    pub fn mesh_endpoints(&self) -> Vec<(String, SocketAddr)> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.regions.iter().partition(|endpoint| endpoint.region == self.region);
        own.into_iter().chain(others).map(|endpoint| (endpoint.region.clone(), endpoint.mesh)).collect()
    }
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
        assert_eq!(config.mesh_endpoints()[0].0, "us-east-1");
        assert_eq!(config.vm_addresses.all().last().map(String::as_str), Some("127.77.1.63"));
        assert_eq!(config.accelerator, AcceleratorChoice::Tcg);
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
