//! An emulated WAN for development federations: delay, jitter, loss, rate and cuts between regions, applied to
//! outgoing datagrams under the QUIC sockets.
//!
//! Every process of a federation reads the same file and obeys a change within about 100 ms. Traffic inside one region
//! is never touched. The rate of a link holds per sending process.

mod matrix;
mod socket;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

pub use matrix::{DEVELOPMENT_REGIONS, published_rtt_ms};
pub(crate) use socket::EmulatedSocket;
pub use text::LinkTableError;

/// How one direction between two regions behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkShape {
    /// One-way delay, microseconds.
    pub delay_us: u64,
    /// Up to this much is added at random, microseconds; order is kept.
    pub jitter_us: u64,
    /// Datagrams lost, per million.
    pub loss_ppm: u32,
    /// Bits per second; `None` is unlimited.
    pub rate_bps: Option<u64>,
    /// Nothing passes.
    pub cut: bool,
}

/// An IPv4 network: address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// First address.
    pub address: Ipv4Addr,
    /// Length of the prefix, 0 to 32 bits.
    pub prefix: u8,
}

impl Network {
    /// True when `ip` lies in this network.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        u32::from(ip) & mask == u32::from(self.address) & mask
    }
}

/// Where the regions are and how the links between them behave. Links not listed are ideal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkTable {
    /// Networks of each region.
    pub regions: BTreeMap<String, Vec<Network>>,
    /// Shape by direction: (from region, to region).
    pub links: BTreeMap<(String, String), LinkShape>,
    /// Addresses cut off from everybody, their own region included (a host that lost its network).
    pub isolated: BTreeSet<IpAddr>,
}

impl LinkTable {
    /// The development federation: eight regions on 127.77.<n>.0/24 with half of the published round trip each way.
    pub fn development() -> Self {
        Self::published(DEVELOPMENT_REGIONS.iter().enumerate().map(|(i, region)| {
            (region.to_string(), Network { address: Ipv4Addr::new(127, 77, i as u8 + 1, 0), prefix: 24 })
        }))
    }

    /// A table of these regions with the published round trips where both ends are known.
    pub fn published(regions: impl IntoIterator<Item = (String, Network)>) -> Self {
        let mut table = LinkTable::default();
        for (region, network) in regions {
            table.regions.entry(region).or_default().push(network);
        }
        for from in table.regions.keys() {
            for to in table.regions.keys().filter(|to| *to != from) {
                if let Some(rtt_ms) = published_rtt_ms(from, to) {
                    let shape =
                        LinkShape { delay_us: (rtt_ms * 500.0).round() as u64, ..LinkShape::default() };
                    table.links.insert((from.clone(), to.clone()), shape);
                }
            }
        }
        table
    }

    /// The region an address belongs to.
    pub fn region_of(&self, ip: IpAddr) -> Option<&str> {
        let IpAddr::V4(ip) = ip else { return None };
        self.regions
            .iter()
            .find(|(_, nets)| nets.iter().any(|n| n.contains(ip)))
            .map(|(name, _)| name.as_str())
    }

    /// The shape of a direction; ideal inside a region and when not listed.
    pub fn shape(&self, from: &str, to: &str) -> LinkShape {
        if from == to {
            return LinkShape::default();
        }
        self.links.get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default()
    }

    /// True when nothing passes from one region to the other. Never true inside a region.
    pub fn is_cut(&self, from: &str, to: &str) -> bool {
        self.shape(from, to).cut
    }

    /// One-way delay of a direction.
    pub fn delay_for(&self, from: &str, to: &str) -> Duration {
        Duration::from_micros(self.shape(from, to).delay_us)
    }

    /// Changes the shape of one direction.
    pub fn edit(&mut self, from: &str, to: &str, change: impl FnOnce(&mut LinkShape)) {
        change(self.links.entry((from.to_owned(), to.to_owned())).or_default());
    }

    /// Cuts or heals one direction.
    pub fn set_cut(&mut self, from: &str, to: &str, cut: bool) {
        self.edit(from, to, |shape| shape.cut = cut);
    }

    /// Cuts or heals every link of a region, both directions (its inside stays whole).
    pub fn set_region_cut(&mut self, region: &str, cut: bool) {
        let others: Vec<String> = self.regions.keys().filter(|r| *r != region).cloned().collect();
        for other in others {
            self.set_cut(region, &other, cut);
            self.set_cut(&other, region, cut);
        }
    }

    /// Makes one direction as published: whole, without loss, jitter or limit.
    pub fn mend(&mut self, from: &str, to: &str) {
        let rtt_ms = published_rtt_ms(from, to).unwrap_or(0.0);
        let delay_us = (rtt_ms * 500.0).round() as u64;
        self.edit(from, to, |shape| *shape = LinkShape { delay_us, ..LinkShape::default() });
    }

    /// Makes every link of a region as published, both directions.
    pub fn mend_region(&mut self, region: &str) {
        let others: Vec<String> = self.regions.keys().filter(|r| *r != region).cloned().collect();
        for other in others {
            self.mend(region, &other);
            self.mend(&other, region);
        }
    }

    /// Reads a table from its text.
    pub fn parse(text: &str) -> Result<Self, LinkTableError> {
        text::parse(text)
    }

    /// The table as text, which [`LinkTable::parse`] reads and which is valid TOML.
    pub fn to_text(&self) -> String {
        text::print(self)
    }

    /// Reads a table from a file.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Self::parse(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
    }

    /// Writes the table atomically: readers see the old or the new one.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&beside, self.to_text())?;
        std::fs::rename(&beside, path)
    }
}

/// The table in force, shared by the sockets of a process. Clones share it.
#[derive(Clone)]
pub struct Wan {
    shared: Arc<Shared>,
}

impl fmt::Debug for Wan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wan(version {})", self.version())
    }
}

struct Shared {
    table: RwLock<Arc<LinkTable>>,
    version: AtomicU64,
    error: Mutex<Option<String>>,
}

/// How often the file is looked at.
const POLL: Duration = Duration::from_millis(100);

impl Wan {
    /// A WAN whose table changes only by [`Wan::set`].
    pub fn fixed(table: LinkTable) -> Self {
        Self {
            shared: Arc::new(Shared {
                table: RwLock::new(Arc::new(table)),
                version: AtomicU64::new(1),
                error: Mutex::new(None),
            }),
        }
    }

    /// A WAN that follows a file: read now, and again within about 100 ms of each change. A missing file is an ideal
    /// network; a file that cannot be read later leaves the last table in force (see [`Wan::error`]).
    ///
    /// # Errors
    /// The file exists and cannot be read, or the thread that watches it cannot be started.
    pub fn watch(path: &Path) -> io::Result<Self> {
        let seen = fingerprint(path);
        let table = if seen.is_some() { LinkTable::load(path)? } else { LinkTable::default() };
        let wan = Self::fixed(table);
        let (weak, path) = (Arc::downgrade(&wan.shared), path.to_owned());
        std::thread::Builder::new().name("wan-file".into()).spawn(move || follow(weak, path, seen))?;
        Ok(wan)
    }

    /// Puts a table in force.
    pub fn set(&self, table: LinkTable) {
        *self.shared.table.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(table);
        self.shared.version.fetch_add(1, Ordering::Release);
    }

    /// The table in force.
    pub fn table(&self) -> Arc<LinkTable> {
        self.shared.table.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// True when nothing passes from one region to the other.
    pub fn is_cut(&self, from: &str, to: &str) -> bool {
        self.table().is_cut(from, to)
    }

    /// Why the file's last change was not taken, while that is so.
    pub fn error(&self) -> Option<String> {
        self.shared.error.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }
}

type Fingerprint = (i64, i64, u64, u64);

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino()))
}

fn follow(shared: Weak<Shared>, path: PathBuf, mut seen: Option<Fingerprint>) {
    loop {
        std::thread::sleep(POLL);
        let Some(shared) = shared.upgrade() else { return };
        let wan = Wan { shared };
        let now = fingerprint(&path);
        if now == seen {
            continue;
        }
        seen = now;
        let error = match now.map(|_| LinkTable::load(&path)) {
            None => {
                wan.set(LinkTable::default());
                None
            }
            Some(Ok(table)) => {
                wan.set(table);
                None
            }
            Some(Err(e)) => Some(e.to_string()),
        };
        *wan.shared.error.lock().unwrap_or_else(|e| e.into_inner()) = error;
    }
}
