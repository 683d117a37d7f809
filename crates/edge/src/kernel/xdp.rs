//! The same filter, before the kernel looks at a packet at all: a program of ours at the network interface (XDP, see `xdp.c`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray};
use aya::programs::{Xdp as Program, XdpMode};
use dwcp_decide::ddos::Net;

use super::filter::Filter;
use super::{Dropped, Early, Listen, Synced};

/// Empty: there was no clang when this was built.
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xdp.o"));
const PROGRAM: &str = "guard";

type Address = [u8; 16];
type Trie<'a, V> = LpmTrie<&'a mut MapData, Address, V>;

/// As in `xdp.c`: an address, a port, and 1 for UDP.
#[repr(C)]
#[derive(Clone, Copy)]
struct Place {
    address: Address,
    port: u16,
    udp: u16,
}
// SAFETY: integers without padding.
unsafe impl aya::Pod for Place {}

/// As in `xdp.c`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Count {
    packets: u64,
    bytes: u64,
}
// SAFETY: integers without padding.
unsafe impl aya::Pod for Count {}

/// The program at an interface; it goes with this.
pub struct Xdp {
    ebpf: Ebpf,
    has: Filter,
    /// By the driver; otherwise by the kernel, later and slower.
    pub native: bool,
}

fn wrong(what: &str, error: impl std::fmt::Display) -> String {
    format!("XDP: {what}: {error}")
}

/// IPv4 as ::ffff:a.b.c.d.
fn bytes(address: IpAddr) -> Address {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn key(net: Net) -> Key<Address> {
    let (address, bits) = match net.base() {
        IpAddr::V4(base) => (base.to_ipv6_mapped().octets(), 96 + u32::from(net.bits())),
        IpAddr::V6(base) => (base.octets(), u32::from(net.bits())),
    };
    Key::new(bits, address)
}

/// What the kernel's clock that also counts sleep says, ns.
fn boot_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one struct of ours; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Xdp {
    /// Loads the program and puts it at an interface: by its driver, or else by the kernel.
    ///
    /// # Errors
    /// It was not built, may not be loaded, the router serves at any address, or there is another program at the interface: the proxy
    /// goes on alone.
    pub fn start(interface: &str, places: &[Listen]) -> Result<Xdp, String> {
        if OBJECT.is_empty() {
            return Err("XDP: this router was built without clang, and has no program for it".to_owned());
        }
        if let Some(all) = places.iter().find(|listen| listen.address.is_unspecified()) {
            return Err(format!(
                "XDP: {}: a program at an interface does not know this machine's addresses: name the router's",
                all.address
            ));
        }
        let mut ebpf = Ebpf::load(OBJECT).map_err(|e| wrong("the program", e))?;
        let program: &mut Program = ebpf
            .program_mut(PROGRAM)
            .and_then(|program| program.try_into().ok())
            .ok_or("XDP: the program is not what was built")?;
        program.load().map_err(|e| wrong("the kernel refuses the program", e))?;
        let by_driver = program.attach(interface, XdpMode::Driver);
        let native = by_driver.is_ok();
        if let Err(error) = by_driver.or_else(|_| program.attach(interface, XdpMode::Skb)) {
            return Err(wrong(interface, error));
        }
        let mut xdp = Xdp { ebpf, has: Filter::default(), native };
        let mut listens: HashMap<_, Place, u8> =
            xdp.map("listens")?.try_into().map_err(|e: MapError| wrong("listens", e))?;
        for listen in places {
            let place = Place { address: bytes(listen.address), port: listen.port, udp: listen.udp.into() };
            listens.insert(place, 1, 0).map_err(|e| wrong("listens", e))?;
        }
        Ok(xdp)
    }

    fn map(&mut self, name: &str) -> Result<&mut Map, String> {
        self.ebpf.map_mut(name).ok_or_else(|| format!("XDP: the program has no {name}"))
    }

    /// Who is not to be dropped any more goes first.
    fn hand_over(&mut self, has: &Filter, next: &Filter, now_ms: u64) -> Result<(), String> {
        let marks = |filter: &Filter| -> BTreeMap<Net, u64> {
            filter.white4.iter().chain(&filter.white6).map(|net| (*net, 0)).collect()
        };
        change(&mut self.trie::<u8>("white")?, &marks(has), &marks(next), |_| 1)?;
        let blocks = |filter: &Filter| -> BTreeMap<Net, u64> {
            let lists = [&filter.hosts4, &filter.nets4, &filter.hosts6, &filter.nets6];
            lists.into_iter().flatten().filter(|(net, _)| !holds_ipv4(*net)).copied().collect()
        };
        let boot_ns = boot_ns();
        change(&mut self.trie::<u64>("blocked")?, &blocks(has), &blocks(next), |until_ms| {
            boot_ns + until_ms.saturating_sub(now_ms) * 1_000_000
        })
    }

    fn trie<V: aya::Pod>(&mut self, name: &str) -> Result<Trie<'_, V>, String> {
        self.map(name)?.try_into().map_err(|e: MapError| wrong(name, e))
    }

    /// Nobody is dropped any more, and nobody is an exception.
    fn clear(&mut self) -> Result<(), String> {
        empty(self.trie::<u64>("blocked")?)?;
        empty(self.trie::<u8>("white")?)
    }
}

impl Early for Xdp {
    fn sync(&mut self, blocked: &[(Net, u64)], white: &[Net], now_ms: u64) -> Result<Synced, String> {
        let (next, left_out) = Filter::new(blocked, white, now_ms);
        let (networks, has) = (next.networks(), std::mem::take(&mut self.has));
        if let Err(why) = self.hand_over(&has, &next, now_ms) {
            // What is in there now nobody knows.
            return Err(self.clear().err().map_or(why.clone(), |also| format!("{why}; {also}")));
        }
        self.has = next;
        Ok(Synced { networks, left_out })
    }

    fn dropped(&self) -> Result<Dropped, String> {
        let map = self.ebpf.map("drops").ok_or("XDP: the program has no drops")?;
        let counts: PerCpuArray<_, Count> = map.try_into().map_err(|e: MapError| wrong("drops", e))?;
        let mut all = Dropped::default();
        for family in [0, 1] {
            for one in counts.get(&family, 0).map_err(|e| wrong("drops", e))?.iter() {
                all.packets += one.packets;
                all.bytes += one.bytes;
            }
        }
        Ok(all)
    }
}

/// An IPv6 network in which IPv4 would be, as it is written here.
fn holds_ipv4(net: Net) -> bool {
    let IpAddr::V6(base) = net.base() else { return false };
    let above = |bits: u128| bits.checked_shr(128 - u32::from(net.bits()));
    net.bits() <= 96 && above(base.to_bits()) == above(0xffff << 32)
}

fn empty<V: aya::Pod>(mut trie: Trie<'_, V>) -> Result<(), String> {
    let keys: Vec<Key<Address>> = trie.keys().filter_map(Result::ok).collect();
    keys.iter().try_for_each(|key| gone(trie.remove(key)))
}

fn gone(removed: Result<(), MapError>) -> Result<(), String> {
    match removed {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => Err(wrong("a network", error)),
    }
}

/// Makes one list of another: those that are gone are removed, and those that are new, or end at another time, written.
fn change<V: aya::Pod>(
    trie: &mut Trie<'_, V>,
    before: &BTreeMap<Net, u64>,
    next: &BTreeMap<Net, u64>,
    value: impl Fn(u64) -> V,
) -> Result<(), String> {
    for net in before.keys().filter(|net| !next.contains_key(net)) {
        gone(trie.remove(&key(*net)))?;
    }
    for (net, until) in next.iter().filter(|(net, until)| before.get(net) != Some(until)) {
        trie.insert(&key(*net), value(*until), 0).map_err(|e| wrong(&net.to_string(), e))?;
    }
    Ok(())
}
