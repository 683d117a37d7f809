//! Lists of five million addresses and networks, beside a plain set and a plain map of the same; and what watching costs a request.
//!
//! `cargo run -p dwcp-decide --profile sim --example bench-ddos`
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use dwcp_decide::ddos::sketch::{Counts, Distinct, Heavy, hash};
use dwcp_decide::ddos::{Detector, Event, GuardPolicy, Kind, Lists, Net};
use dwcp_types::Rng;

const ENTRIES: usize = 5_000_000;
const LOOKUPS: usize = 2_000_000;
/// What a look-up may take, ns.
const PROMISED_NS: f64 = 200.0;
/// What watching a request may take, ns.
const PROMISED_SEEN_NS: f64 = 1_000.0;

/// Counts what is taken, so that every kind of list is measured alike.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut rng = Rng::new(1);
    println!("{ENTRIES} entries; half of the {LOOKUPS} look-ups are of listed ones");
    let hosts = hosts(&mut rng);
    let nets = networks(&mut rng);
    let sixes = sixes(&mut rng);
    sketches(&mut rng);
    let seen = detector(&mut rng);
    for (what, ns, most) in [
        ("an IPv4 address", hosts, PROMISED_NS),
        ("an IPv4 network", nets, PROMISED_NS),
        ("an IPv6 address", sixes, PROMISED_NS),
        ("a watched request", seen, PROMISED_SEEN_NS),
    ] {
        println!(
            "{what}: {ns:.0} ns of the promised {most:.0}: {}",
            if ns < most { "met" } else { "MISSED" }
        );
    }
}

fn v4(ip: &u32) -> IpAddr {
    Ipv4Addr::from_bits(*ip).into()
}

fn v6(ip: &u128) -> IpAddr {
    Ipv6Addr::from_bits(*ip).into()
}

/// Ns a look-up.
fn hosts(rng: &mut Rng) -> f64 {
    let hosts: Vec<u32> = (0..ENTRIES).map(|_| rng.next_u64() as u32).collect();
    let listed = |rng: &mut Rng| hosts[rng.below(ENTRIES as u64) as usize];
    let asked = ask(rng, listed, |rng| rng.next_u64() as u32);
    let make = || Lists::new(hosts.iter().map(|ip| Net::host(v4(ip))));
    let ours = measure("lists of IPv4 addresses", &asked, make, |lists, ip| lists.net(v4(ip)).is_some());
    let make = || hosts.iter().copied().collect::<HashSet<u32>>();
    let set = measure("HashSet<u32>", &asked, make, HashSet::contains);
    let make = || hosts.iter().map(|ip| (*ip, ())).collect::<BTreeMap<u32, ()>>();
    measure("BTreeMap<u32, ()>", &asked, make, BTreeMap::contains_key);
    println!("  of the set's memory and time: {:.2} and {:.2}", ours.0 / set.0, ours.1 / set.1);
    ours.1
}

/// Ns a look-up.
fn networks(rng: &mut Rng) -> f64 {
    let nets: Vec<Net> = (0..ENTRIES).map(|i| mixed(rng, i)).collect();
    let listed = |rng: &mut Rng| four(nets[rng.below(ENTRIES as u64) as usize]);
    let asked = ask(rng, listed, |rng| rng.next_u64() as u32);
    let make = || Lists::new(nets.iter().copied());
    let ours = measure("lists of IPv4 networks", &asked, make, |lists, ip| lists.net(v4(ip)).is_some());
    let make = || nets.iter().map(|net| ((four(*net), net.bits()), ())).collect::<BTreeMap<_, _>>();
    let has = |map: &BTreeMap<(u32, u8), ()>, ip: &u32| {
        let around = (12..=32).rev().filter_map(|bits| Net::new(v4(ip), bits));
        around.into_iter().any(|net| map.contains_key(&(four(net), net.bits())))
    };
    measure("BTreeMap of networks, length by length", &asked, make, has);
    ours.1
}

/// Ns a look-up.
fn sixes(rng: &mut Rng) -> f64 {
    let address =
        |rng: &mut Rng, last: u128| 0x2a00_u128 << 112 | u128::from(rng.next_u64() >> 16) << 64 | last;
    let sixes: Vec<u128> = (0..ENTRIES).map(|_| address(rng, 1)).collect();
    let listed = |rng: &mut Rng| sixes[rng.below(ENTRIES as u64) as usize];
    let asked = ask(rng, listed, |rng| address(rng, 2));
    let make = || Lists::new(sixes.iter().map(|ip| Net::host(v6(ip))));
    let ours = measure("lists of IPv6 addresses", &asked, make, |lists, ip| lists.net(v6(ip)).is_some());
    let make = || sixes.iter().copied().collect::<HashSet<u128>>();
    measure("HashSet<u128>", &asked, make, HashSet::contains);
    ours.1
}

/// Half single addresses, half networks of /12 to /31.
fn mixed(rng: &mut Rng, i: usize) -> Net {
    let bits = if i.is_multiple_of(2) { 32 } else { 12 + rng.below(20) as u8 };
    let ip = IpAddr::from(Ipv4Addr::from_bits(rng.next_u64() as u32));
    Net::new(ip, bits.min(32)).unwrap_or(Net::host(ip))
}

fn four(net: Net) -> u32 {
    match net.base() {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(_) => 0,
    }
}

fn ask<T>(rng: &mut Rng, listed: impl Fn(&mut Rng) -> T, other: impl Fn(&mut Rng) -> T) -> Vec<T> {
    (0..LOOKUPS).map(|_| if rng.chance(1, 2) { listed(rng) } else { other(rng) }).collect()
}

/// Bytes an entry, ns a look-up (the best of three).
fn measure<T, L>(name: &str, asked: &[T], make: impl Fn() -> L, has: impl Fn(&L, &T) -> bool) -> (f64, f64) {
    let before = TAKEN.load(Relaxed);
    let begun = Instant::now();
    let list = make();
    let made_ms = begun.elapsed().as_millis();
    let bytes = (TAKEN.load(Relaxed) - before) as f64 / ENTRIES as f64;
    let mut found = 0;
    let rounds = (0..3).map(|_| {
        let begun = Instant::now();
        found = asked.iter().filter(|ip| has(&list, ip)).count();
        begun.elapsed().as_nanos() as f64 / asked.len() as f64
    });
    let ns = rounds.fold(f64::MAX, f64::min);
    println!(
        "  {name:<45} {bytes:6.2} bytes/entry  {ns:6.0} ns/look-up  made in {made_ms:5} ms  ({found} found)"
    );
    (bytes, ns)
}

fn sketches(rng: &mut Rng) {
    let keys: Vec<u64> = (0..LOOKUPS).map(|_| hash(3, u128::from(rng.next_u64() % 1_000_000))).collect();
    let rate = |name: &str, add: &mut dyn FnMut(u64)| {
        let begun = Instant::now();
        keys.iter().for_each(|key| add(*key));
        println!("  {name:<40} {:6.1} M updates/s", keys.len() as f64 / begun.elapsed().as_secs_f64() / 1e6);
    };
    println!("a million different keys, one core");
    let (mut counts, mut heavy, mut distinct) =
        (Counts::<8>::new(16_384), Heavy::<u64, ()>::new(1_024), Distinct::<1024>::default());
    rate("counts (4 x 16,384)", &mut |key| {
        black_box(counts.add(key, 0, 1));
    });
    rate("heaviest (1,024)", &mut |key| {
        black_box(heavy.add(key, key, 1));
    });
    rate("distinct (1,024)", &mut |key| distinct.add(key));
    black_box(distinct.estimate());
}

/// Ns an event.
fn detector(rng: &mut Rng) -> f64 {
    let before = TAKEN.load(Relaxed);
    let mut detector = Detector::new(GuardPolicy::default(), 5);
    let service = detector.service("web");
    let events: Vec<Event> = (0..LOOKUPS)
        .map(|_| Event {
            ip: Ipv4Addr::from_bits((rng.next_u64() as u32) % 200_000 + 0x0b00_0000).into(),
            country: ["DE", "FR", "US"][rng.below(3) as usize].parse().unwrap_or_default(),
            asn: rng.below(2_000) as u32 + 1,
            path: hash(1, rng.below(5_000).into()),
            agent: hash(2, rng.below(200).into()),
            service,
            kind: Kind::Request,
            times: 1,
            bytes: 500,
        })
        .collect();
    let (mut ticks, mut told) = (Vec::new(), 0);
    let begun = Instant::now();
    for (i, event) in events.iter().enumerate() {
        let now_ms = 1_000_000 + i as u64 / 200;
        detector.seen(now_ms, event);
        if i % 50_000 == 49_999 {
            let begun = Instant::now();
            told += detector.tick(now_ms).len();
            ticks.push(begun.elapsed());
        }
    }
    let ticking: std::time::Duration = ticks.iter().sum();
    let ns = (begun.elapsed() - ticking).as_nanos() as f64 / events.len() as f64;
    let longest = ticks.iter().max().copied().unwrap_or_default();
    let bytes = TAKEN.load(Relaxed) - before - events.len() * size_of::<Event>();
    println!(
        "detector, 200,000 requests/s of 200,000 sources: {ns:.0} ns an event, a tick up to {longest:.1?}, {} KiB, {told} told",
        bytes / 1_024
    );
    ns
}
