//! Where a client is: its country from a database of addresses, and a place for each country.
//!
//! `cargo xtask geo` fetches the database. Without one the places of clients are not known, and routing goes on without.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use dwcp_decide::route::Place;
use maxminddb::{Reader, path};

/// Countries by address, IPv4 and IPv6.
pub const COUNTRIES: &str = "geo-whois-asn-country.mmdb";
/// Autonomous systems by address, if somebody put such a file there.
pub const SYSTEMS: &str = "asn.mmdb";
/// Networks whose places the operators know themselves, one a line: `network,latitude,longitude`, such as `10.7.0.0/16,50.1,8.7`.
pub const OWN: &str = "networks.csv";
/// Whether the files have changed is looked at so often.
const LOOK: Duration = Duration::from_secs(5);
const LETTERS: usize = 26;

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// Two letters of ISO 3166.
    pub country: Option<[u8; 2]>,
    /// The number of its autonomous system.
    pub asn: Option<u32>,
    pub place: Option<Place>,
}

/// Looks addresses up. Files that change are read again while it lives.
pub struct Geo {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

struct Shared {
    folder: PathBuf,
    base: RwLock<Arc<Base>>,
    trouble: Mutex<Option<String>>,
    ended: AtomicBool,
}

/// What the files said.
struct Base {
    countries: Option<Reader<Vec<u8>>>,
    systems: Option<Reader<Vec<u8>>>,
    /// The longest prefix first.
    own: Vec<(IpAddr, u8, Place)>,
    places: Box<[Option<Place>]>,
    stamps: Vec<Stamp>,
}

/// Which file is under a name (its inode, when that last changed in seconds and nanoseconds, its length in
/// bytes); none: no file. When it was written says nothing: archives date all their files alike.
type Stamp = Option<(u64, i64, i64, u64)>;

impl Geo {
    /// Of the files in a folder.
    ///
    /// # Errors
    /// There is none, or one is damaged.
    pub fn open(folder: &Path) -> Result<Geo, String> {
        let base = Base::read(folder)?;
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            base: RwLock::new(Arc::new(base)),
            trouble: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        let watch = move || {
            while !watched.ended.load(Relaxed) {
                std::thread::park_timeout(LOOK);
                watched.look_again();
            }
        };
        let watcher = std::thread::Builder::new().name("geo-files".to_owned()).spawn(watch);
        let watcher = Some(watcher.map_err(|e| format!("no thread to watch {}: {e}", folder.display()))?);
        Ok(Geo { shared, watcher })
    }

    /// What is known of an address.
    pub fn look(&self, address: IpAddr) -> Found {
        let address = address.to_canonical();
        let base = Arc::clone(&self.shared.base.read().unwrap_or_else(PoisonError::into_inner));
        let country = base.country(address);
        Found {
            country,
            asn: base.system(address),
            place: base.own(address).or_else(|| base.places[index(country?)?]),
        }
    }

    /// Reads the files again if they have changed. This also happens by itself.
    pub fn look_again(&self) {
        self.shared.look_again();
    }

    /// Why changed files are not used: then those before are.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Geo {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        if let Some(watcher) = self.watcher.take() {
            watcher.thread().unpark();
            // A thread that panicked has said so.
            let _ = watcher.join();
        }
    }
}

impl Shared {
    fn look_again(&self) {
        let before = Arc::clone(&self.base.read().unwrap_or_else(PoisonError::into_inner));
        if stamps(&self.folder) == before.stamps {
            return;
        }
        let read = Base::read(&self.folder);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = match read {
            Ok(next) => {
                *self.base.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
                None
            }
            Err(reason) => Some(reason),
        };
    }
}

impl Base {
    fn read(folder: &Path) -> Result<Base, String> {
        let stamps = stamps(folder);
        let open = |name: &str, stamp: Stamp| {
            let file = folder.join(name);
            let read = || Reader::open_readfile(&file).map_err(|e| format!("{}: {e}", file.display()));
            stamp.map(|_| read()).transpose()
        };
        let countries = open(COUNTRIES, stamps[0])?;
        let own = match stamps[2] {
            Some(_) => own(&folder.join(OWN))?,
            None => Vec::new(),
        };
        if countries.is_none() && own.is_empty() {
            return Err(format!(
                "no {COUNTRIES} in {}: where clients are is not known; `cargo xtask geo` fetches it",
                folder.display()
            ));
        }
        Ok(Base { countries, systems: open(SYSTEMS, stamps[1])?, own, places: places(), stamps })
    }

    fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        let found = self.countries.as_ref()?.lookup(address).ok()?;
        let flat = || found.decode_path::<&str>(&path!["country_code"]).ok().flatten();
        let nested = || found.decode_path::<&str>(&path!["country", "iso_code"]).ok().flatten();
        flat().or_else(nested)?.as_bytes().try_into().ok()
    }

    fn system(&self, address: IpAddr) -> Option<u32> {
        let found = self.systems.as_ref()?.lookup(address).ok()?;
        found.decode_path(&path!["autonomous_system_number"]).ok().flatten()
    }

    fn own(&self, address: IpAddr) -> Option<Place> {
        let within = |network: &IpAddr, prefix: u8| {
            network.is_ipv4() == address.is_ipv4() && cut(address, prefix) == *network
        };
        self.own.iter().find(|(network, prefix, _)| within(network, *prefix)).map(|(.., place)| *place)
    }
}

fn stamps(folder: &Path) -> Vec<Stamp> {
    let stamp = |name: &str| {
        let about = std::fs::metadata(folder.join(name)).ok()?;
        Some((about.ino(), about.ctime(), about.ctime_nsec(), about.len()))
    };
    [COUNTRIES, SYSTEMS, OWN].map(stamp).to_vec()
}

/// Networks of the operators' own.
fn own(file: &Path) -> Result<Vec<(IpAddr, u8, Place)>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut all = Vec::new();
    for (number, line) in
        text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty())
    {
        let wrong = || format!("{}:{}: not network,latitude,longitude", file.display(), number + 1);
        let (network, place) = line.split_once(',').ok_or_else(wrong)?;
        let (address, prefix) = network.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.trim().parse().map_err(|_| wrong())?;
        if prefix > if address.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        all.push((cut(address, prefix), prefix, place_of(place).ok_or_else(wrong)?));
    }
    all.sort_by_key(|(_, prefix, _)| std::cmp::Reverse(*prefix));
    Ok(all)
}

fn place_of(text: &str) -> Option<Place> {
    let (latitude, longitude) = text.split_once(',')?;
    let place = Place { latitude: latitude.trim().parse().ok()?, longitude: longitude.trim().parse().ok()? };
    let on_earth = place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0;
    on_earth.then_some(place)
}

/// A place for each country.
fn places() -> Box<[Option<Place>]> {
    let mut all = vec![None; LETTERS * LETTERS];
    for line in include_str!("../data/country-places.csv").lines() {
        let Some((country, place)) = line.split_once(',') else { continue };
        let Ok(country) = country.as_bytes().try_into() else { continue };
        if let Some(slot) = index(country).and_then(|at| all.get_mut(at)) {
            *slot = place_of(place);
        }
    }
    all.into_boxed_slice()
}

fn index(country: [u8; 2]) -> Option<usize> {
    let [first, second] =
        country.map(|letter| letter.is_ascii_uppercase().then(|| usize::from(letter - b'A')));
    Some(first? * LETTERS + second?)
}

/// The first bits of an address, the others zero.
pub(crate) fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}
