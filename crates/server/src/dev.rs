//! `dwcpd dev init`: everything a development federation on one machine needs, written once.
//!
//! Region `i` has the addresses 127.77.i.0/24: its API and mesh at `.1`, the agent of its host `h` at `.10+h`, the VMs of that
//! host from `.h*32` on. Keys, tokens and files that are there stay as they are; only old certificates are renewed.

mod texts;

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dwcp_backup::FederationKey;
use dwcp_mesh::wan::{DEVELOPMENT_REGIONS, Network};
use dwcp_mesh::{Ca, Identity, LinkTable, PeerId, San};

use crate::program::signature;
use crate::{clock, http};

/// Name of every development federation.
pub const FEDERATION: &str = "dev";
/// How long an authority lives.
pub const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
const LEAF_VALIDITY: Duration = Duration::from_secs(30 * 86_400);

/// How large the federation is.
#[derive(Clone, Copy, Debug)]
pub struct DevPlan {
    /// Regions, 1 to 8.
    pub regions: u8,
    /// Hosts of each, 1 to 7.
    pub hosts_per_region: u8,
    /// Host pools of one host each, whose regions are not there yet; with the regions at most 8.
    pub pools: u8,
    /// Where the servers keep their state.
    pub store: Kept,
}

/// Where the servers of a federation keep their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kept {
    /// In a file of each.
    #[default]
    Embedded,
    /// In an etcd cluster of each region.
    Etcd,
}

/// A region of the plan.
pub(crate) struct DevRegion {
    /// From 1.
    pub number: u8,
    pub name: &'static str,
    pub hosts: Vec<DevHost>,
    /// Members of its etcd cluster; 0: the state lies in a file.
    pub members: u16,
}

/// A host of the plan.
pub(crate) struct DevHost {
    /// From 1, in its region.
    pub number: u8,
    pub name: String,
    pub zone: &'static str,
}

impl DevPlan {
    pub(crate) fn regions(self) -> Vec<DevRegion> {
        let names = DEVELOPMENT_REGIONS.iter().zip(1..=self.regions);
        // Three members everywhere would be fifteen on one machine.
        let members = |number: u8| match self.store {
            Kept::Embedded => 0,
            Kept::Etcd if number == 1 => 3,
            Kept::Etcd => 1,
        };
        let region =
            |(name, number)| DevRegion { number, name, hosts: self.hosts(name), members: members(number) };
        names.map(|(name, number)| region((*name, number))).collect()
    }

    /// Regions that are not there, each with the host that it could be deployed of.
    pub(crate) fn pools(self) -> Vec<DevRegion> {
        let numbers = self.regions.saturating_add(1)..=self.regions.saturating_add(self.pools);
        let names = DEVELOPMENT_REGIONS.iter().skip(self.regions.into()).zip(numbers);
        let pool = DevPlan { hosts_per_region: 1, ..self };
        names.map(|(name, number)| DevRegion { number, name, hosts: pool.hosts(name), members: 0 }).collect()
    }

    fn hosts(self, region: &str) -> Vec<DevHost> {
        (1..=self.hosts_per_region)
            .map(|number| {
                let zone = if number % 2 == 1 { "a" } else { "b" };
                DevHost { number, name: format!("{region}-{zone}{}", number.div_ceil(2)), zone }
            })
            .collect()
    }
}

/// Writes what is missing into `dir`, and renews certificates older than half their life.
///
/// # Errors
/// Names the file that can't be read or written.
pub fn init(dir: &Path, plan: DevPlan) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
    let (regions, pools) = (plan.regions(), plan.pools());
    certificates(&dir.join("pki"), &regions, &pools)?;
    let token_hash = admin_token(&dir)?;
    let backup_key = dir.join("backup.key");
    if !backup_key.exists() {
        FederationKey::random().write_file(&backup_key).map_err(|e| e.to_string())?;
    }
    let release_key = dir.join("release.key");
    let release_key = if release_key.exists() {
        signature::public_key(&release_key)?
    } else {
        signature::make_key(&release_key)?
    };
    for folder in ["config", "log", "data", "regions"] {
        fs::create_dir_all(dir.join(folder)).map_err(|e| format!("{}: {e}", dir.join(folder).display()))?;
    }
    // What all routers share: 64 hexadecimal digits of which nobody knows anything.
    let secret = http::secret_hash(&http::fresh_secret()?);
    write_new(&dir.join("router.key"), 0o600, || format!("{secret}\n"))?;
    write_new(&dir.join("wan.toml"), 0o644, || wan(regions.iter().chain(&pools)).to_text())?;
    for region in &regions {
        let path = region_file(&dir, region);
        write_new(&path, 0o644, || texts::region(&dir, &regions, region, (&token_hash, &release_key)))?;
        let settings = dir.join("regions").join(format!("{}.yaml", region.name));
        write_new(&settings, 0o644, || texts::settings(region))?;
        if let Some(host) = region.hosts.first() {
            write_new(&router_file(&dir, region), 0o644, || texts::router(&dir, &regions, region, host))?;
        }
        for host in &region.hosts {
            write_new(&host_file(&dir, host), 0o644, || texts::host(&dir, &regions, region, host))?;
        }
    }
    for pool in &pools {
        let settings = dir.join("regions").join(format!("{}.yaml", pool.name));
        write_new(&settings, 0o644, || texts::settings(pool))?;
        for host in &pool.hosts {
            write_new(&host_file(&dir, host), 0o644, || texts::pool_host(&dir, &regions, pool, host))?;
        }
    }
    write_new(&dir.join("processes.txt"), 0o644, || texts::processes(&dir, &regions, &pools))?;
    println!("{}", dir.display());
    Ok(())
}

pub(crate) fn region_file(dir: &Path, region: &DevRegion) -> PathBuf {
    dir.join("config").join(format!("{}.yaml", region.name))
}

pub(crate) fn router_file(dir: &Path, region: &DevRegion) -> PathBuf {
    dir.join("config").join(format!("router-{}.yaml", region.name))
}

pub(crate) fn host_file(dir: &Path, host: &DevHost) -> PathBuf {
    dir.join("config").join(format!("{}.yaml", host.name))
}

fn wan<'a>(regions: impl Iterator<Item = &'a DevRegion>) -> LinkTable {
    LinkTable::published(regions.map(|region| {
        (region.name.to_owned(), Network { address: Ipv4Addr::new(127, 77, region.number, 0), prefix: 24 })
    }))
}

fn certificates(pki: &Path, regions: &[DevRegion], pools: &[DevRegion]) -> Result<(), String> {
    let ca = if pki.join("ca.key").exists() {
        Ca::load(pki).map_err(|e| e.to_string())?
    } else {
        let ca = Ca::create(FEDERATION, CA_VALIDITY).map_err(|e| e.to_string())?;
        ca.store(pki).map_err(|e| e.to_string())?;
        ca
    };
    for region in regions {
        let address = San::Ip(Ipv4Addr::new(127, 77, region.number, 1).into());
        let peer = PeerId::Region { region: region.name.to_owned(), number: region.number.into() };
        leaf(&ca, pki, region.name, &peer, &[address])?;
        if region.members > 0 {
            etcd_certificate(&pki.join(format!("etcd-{}", region.name)), region)?;
        }
    }
    router_certificate(&ca, &pki.join("router"), regions)?;
    for region in regions.iter().chain(pools) {
        for host in &region.hosts {
            let peer = PeerId::Host { region: region.name.to_owned(), host: host.name.clone() };
            leaf(&ca, pki, &host.name, &peer, &[])?;
        }
    }
    Ok(())
}

/// What every router shows to users: for the names of the zone, and for the addresses of all routers.
fn router_certificate(ca: &Ca, folder: &Path, regions: &[DevRegion]) -> Result<(), String> {
    let Some(region) = regions.first() else { return Ok(()) };
    let addresses = regions.iter().map(|region| San::Ip(Ipv4Addr::new(127, 77, region.number, 1).into()));
    let names = [texts::ZONE.to_owned(), format!("*.{}", texts::ZONE)].map(San::Dns);
    let sans: Vec<San> = names.into_iter().chain(addresses).collect();
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // It opens no door of the federation: no host has that name.
    let peer = PeerId::Host { region: region.name.to_owned(), host: "for-users".to_owned() };
    leaf(ca, folder, "default", &peer, &sans)
}

/// An authority of its own for a region's etcd cluster: whoever has a certificate of it may write what the region remembers.
fn etcd_certificate(pki: &Path, region: &DevRegion) -> Result<(), String> {
    let ca = if pki.join("ca.key").exists() {
        Ca::load(pki).map_err(|e| e.to_string())?
    } else {
        let ca = Ca::create(&format!("{FEDERATION}-etcd-{}", region.name), CA_VALIDITY);
        let ca = ca.map_err(|e| e.to_string())?;
        ca.store(pki).map_err(|e| e.to_string())?;
        ca
    };
    let address = San::Ip(Ipv4Addr::new(127, 77, region.number, 1).into());
    // Where its members' calls to each other come from: a connection to another loopback address leaves from the first one.
    let from = San::Ip(Ipv4Addr::LOCALHOST.into());
    let peer = PeerId::Region { region: region.name.to_owned(), number: region.number.into() };
    leaf(&ca, pki, "etcd", &peer, &[address, from])
}

/// Issues a leaf unless a good one with at least half of its life left is there.
fn leaf(ca: &Ca, pki: &Path, name: &str, peer: &PeerId, sans: &[San]) -> Result<(), String> {
    let renew_after_s = clock::wall().0 / 1_000 + LEAF_VALIDITY.as_secs() / 2;
    let good = Identity::load(pki, name)
        .is_ok_and(|found| found.peer() == *peer && found.not_after_unix() > renew_after_s);
    if good {
        return Ok(());
    }
    let issued = ca.issue(peer, sans, LEAF_VALIDITY).map_err(|e| e.to_string())?;
    issued.store(pki, name).map_err(|e| e.to_string())
}

/// The hash of the first administrator's secret, which is made when it is missing.
fn admin_token(dir: &Path) -> Result<String, String> {
    let path = dir.join("admin.token");
    let secret = http::fresh_secret()?;
    write_new(&path, 0o600, || format!("{secret}\n"))?;
    let secret = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(http::secret_hash(secret.trim()))
}

/// Writes a file unless it is there, in one piece.
fn write_new(path: &Path, mode: u32, text: impl FnOnce() -> String) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let put = || -> std::io::Result<()> {
        let mut file =
            fs::File::options().create(true).write(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    put().map_err(|e| format!("{}: {e}", path.display()))
}
