//! Lists of networks answer as a plain search would.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dwcp_decide::ddos::{Country, Lists, Net};
use proptest::prelude::*;

fn net(text: &str) -> Net {
    text.parse().unwrap()
}

fn plain(nets: &BTreeSet<Net>, ip: IpAddr) -> Option<Net> {
    nets.iter().filter(|net| net.contains(ip)).max_by_key(|net| net.bits()).copied()
}

fn four() -> impl Strategy<Value = Net> {
    // Few different bits, so that networks nest and touch.
    (0_u32..8, 0_u32..8, 0_u32..8, 0_u8..=32).prop_map(|(a, b, c, bits)| {
        Net::new(Ipv4Addr::from_bits(a << 29 | b << 14 | c).into(), bits).unwrap()
    })
}

fn six() -> impl Strategy<Value = Net> {
    (0_u128..8, 0_u128..8, 0_u128..8, 0_u8..=128).prop_map(|(a, b, c, bits)| {
        Net::new(Ipv6Addr::from_bits(a << 125 | b << 62 | c).into(), bits).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_list_finds_the_smallest_network_as_a_plain_search_does(
        nets in proptest::collection::vec(prop_oneof![four(), six()], 0..120),
        asked in proptest::collection::vec(prop_oneof![four(), six()], 0..60),
    ) {
        let lists = Lists::new(nets.iter().copied());
        let all: BTreeSet<Net> = nets.iter().copied().collect();
        prop_assert_eq!(lists.len(), all.len());
        let around = |net: &Net| match net.base() {
            IpAddr::V4(ip) => [ip.to_bits().wrapping_sub(1), ip.to_bits(), ip.to_bits().wrapping_add(1)]
                .map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
            IpAddr::V6(ip) => [ip.to_bits().wrapping_sub(1), ip.to_bits(), ip.to_bits().wrapping_add(1)]
                .map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
        };
        for ip in nets.iter().chain(&asked).flat_map(around) {
            let found = lists.net(ip);
            // Mapped addresses are of the other family.
            if ip.to_canonical() == ip {
                prop_assert_eq!(found, plain(&all, ip), "{}", ip);
            }
            if let Some(found) = found {
                let larger: Vec<Net> = lists.larger(found).filter(|net| all.contains(net)).collect();
                let wanted: Vec<Net> = all.iter().filter(|net| net.covers(&found)).copied().collect();
                prop_assert_eq!(larger.into_iter().collect::<BTreeSet<_>>(), wanted.into_iter().collect());
            }
        }
    }
}

#[test]
fn a_long_list_of_ipv6_hosts_is_found_in_whole() {
    let hosts = (0..100_000_u128).map(|i| Ipv6Addr::from_bits(0x2001_0db8 << 96 | (i * 7_919) << 20));
    let lists = Lists::new(hosts.clone().map(|ip| Net::host(ip.into())));
    assert_eq!(lists.len(), 100_000);
    for ip in hosts {
        assert_eq!(lists.net(ip.into()), Some(Net::host(ip.into())));
        assert_eq!(lists.net(Ipv6Addr::from_bits(ip.to_bits() + 1).into()), None);
    }
}

#[test]
fn a_single_ipv4_address_takes_about_two_bytes() {
    let hosts = (0..500_000_u32).map(|i| Net::host(Ipv4Addr::from_bits(i.wrapping_mul(0x9e37_79b1)).into()));
    let lists = Lists::new(hosts);
    assert!(lists.bytes() < 500_000 * 2 + 300_000, "{}", lists.bytes());
}

#[test]
fn ipv4_written_as_ipv6_is_the_same_address() {
    let lists = Lists::new([net("203.0.113.0/24")]);
    assert_eq!(lists.net("::ffff:203.0.113.9".parse().unwrap()), Some(net("203.0.113.0/24")));
}

#[test]
fn countries_and_systems_match_only_when_they_are_known() {
    let lists = Lists::new([]).with([64_500, 0], ["de".parse().unwrap(), Country::UNKNOWN]);
    let ip = "203.0.113.9".parse().unwrap();
    let known = lists.matches(ip, "DE".parse().unwrap(), 64_500);
    assert!(known.asn && known.country && known.net.is_none());
    let unknown = lists.matches(ip, Country::UNKNOWN, 0);
    assert!(!unknown.asn && !unknown.country);
}

#[test]
fn networks_are_read_as_they_are_written() {
    assert_eq!(net("203.0.113.7").to_string(), "203.0.113.7");
    assert_eq!(net("203.0.113.0/24").to_string(), "203.0.113.0/24");
    assert_eq!(net("0.0.0.0/0").bits(), 0);
    for wrong in ["", "a", "1.2.3.4/33", "1.2.3.4/24", "::1/129", "1.2.3.4/", "/8", "1.2.3.4/-1"] {
        assert!(wrong.parse::<Net>().is_err(), "{wrong}");
    }
    for wrong in ["", "D", "DEU", "1A", "é"] {
        assert!(wrong.parse::<Country>().is_err(), "{wrong}");
    }
}
