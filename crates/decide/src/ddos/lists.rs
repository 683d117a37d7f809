//! Millions of addresses and networks, and whether one is among them.
//!
//! Single IPv4 addresses take two bytes each, networks six, those of IPv6 about 17; a look-up takes one or two searches in a
//! few hundred bytes, however long the lists are.

mod four;
mod six;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::net::{mask32, mask128};
use super::{Country, Net};

/// A list to look addresses up in. Made once, then only read.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    four_hosts: four::Hosts,
    four_nets: four::Ranges,
    six_hosts: six::Sorted,
    six_nets: six::Ranges,
    asns: BTreeSet<u32>,
    countries: BTreeSet<Country>,
    entries: usize,
    /// Of IPv4 and IPv6: which numbers of bits its networks have.
    bits: [u128; 2],
    has_all_six: bool,
}

/// What of a list somebody is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The smallest network.
    pub net: Option<Net>,
    pub asn: bool,
    pub country: bool,
}

impl Lists {
    /// Of networks in any order; what is there twice counts once.
    pub fn new(nets: impl IntoIterator<Item = Net>) -> Lists {
        let (mut hosts4, mut nets4, mut hosts6, mut nets6) = (vec![], vec![], vec![], vec![]);
        let (mut bits, mut has_all_six) = ([0_u128; 2], false);
        for net in nets {
            match net.base() {
                IpAddr::V4(ip) if net.is_host() => hosts4.push(ip.to_bits()),
                IpAddr::V4(ip) => nets4.push((ip.to_bits(), net.bits())),
                IpAddr::V6(ip) if net.is_host() => hosts6.push(ip.to_bits()),
                IpAddr::V6(ip) => nets6.push((ip.to_bits(), net.bits())),
            }
            let family = usize::from(net.base().is_ipv6());
            has_all_six |= net.bits() == 128;
            bits[family] |= 1_u128.checked_shl(net.bits().into()).unwrap_or(0);
        }
        fn sort<T: Ord>(list: &mut Vec<T>) -> usize {
            list.sort_unstable();
            list.dedup();
            list.len()
        }
        let entries = sort(&mut hosts4) + sort(&mut nets4) + sort(&mut hosts6) + sort(&mut nets6);
        let wide = nets4.into_iter().map(|(base, bits)| (base.into(), bits)).collect::<Vec<(u128, u8)>>();
        Lists {
            four_hosts: four::Hosts::new(&hosts4),
            four_nets: four::Ranges::new(&edges(&wide, |bits| (!mask32(bits)).into())),
            six_hosts: six::Sorted::new(hosts6),
            six_nets: six::Ranges::new(edges(&nets6, |bits| !mask128(bits))),
            entries,
            bits,
            has_all_six,
            ..Lists::default()
        }
    }

    /// With autonomous systems and countries besides.
    pub fn with(
        self,
        asns: impl IntoIterator<Item = u32>,
        countries: impl IntoIterator<Item = Country>,
    ) -> Lists {
        Lists { asns: asns.into_iter().collect(), countries: countries.into_iter().collect(), ..self }
    }

    /// The smallest network that an address is in.
    pub fn net(&self, ip: IpAddr) -> Option<Net> {
        let ip = ip.to_canonical();
        let bits = match ip {
            IpAddr::V4(four) if self.four_hosts.has(four.to_bits()) => 32,
            IpAddr::V4(four) => self.four_nets.of(four.to_bits())?,
            IpAddr::V6(six) if self.six_hosts.has(six.to_bits()) => 128,
            IpAddr::V6(six) => self.six_nets.of(six.to_bits())?,
        };
        Net::new(ip, bits)
    }

    /// Everything of the list that somebody is in.
    pub fn matches(&self, ip: IpAddr, country: Country, asn: u32) -> Matches {
        Matches {
            net: self.net(ip),
            asn: asn != 0 && self.asns.contains(&asn),
            country: country != Country::UNKNOWN && self.countries.contains(&country),
        }
    }

    /// Networks that may be in the list and that a network of it is in, itself first, then larger ones: those of the numbers
    /// of bits that it has.
    pub fn larger(&self, net: Net) -> impl Iterator<Item = Net> {
        let bits = self.bits[usize::from(net.base().is_ipv6())];
        let has = move |length: u8| match length {
            128 => self.has_all_six,
            length => bits >> length & 1 == 1,
        };
        (0..=net.bits())
            .rev()
            .filter(move |length| has(*length))
            .filter_map(move |bits| Net::new(net.base(), bits))
    }

    /// Networks in it.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries == 0 && self.asns.is_empty() && self.countries.is_empty()
    }

    /// Bytes that its networks take.
    pub fn bytes(&self) -> usize {
        self.four_hosts.bytes() + self.four_nets.bytes() + self.six_hosts.bytes() + self.six_nets.bytes()
    }
}

/// Nested networks (sorted by base, then bits) as edges: from here to the next edge the smallest network has so many bits, or
/// there is none.
fn edges(nets: &[(u128, u8)], size: impl Fn(u8) -> u128) -> Vec<(u128, Option<u8>)> {
    let mut edges = Edges::default();
    let mut open: Vec<(u128, u8)> = Vec::new();
    for (base, bits) in nets {
        close(&mut open, &mut edges, |last| last < *base);
        edges.put(*base, Some(*bits));
        open.push((base + size(*bits), *bits));
    }
    close(&mut open, &mut edges, |_| true);
    edges.all
}

/// Networks that end before something: behind each goes on the one around it.
fn close(open: &mut Vec<(u128, u8)>, edges: &mut Edges, ends: impl Fn(u128) -> bool) {
    while let Some((last, _)) = open.pop_if(|(last, _)| ends(*last)) {
        let Some(next) = last.checked_add(1) else { continue };
        // One that ends at the same place says it itself.
        if open.last().is_none_or(|(around, _)| *around > last) {
            edges.put(next, open.last().map(|(_, bits)| *bits));
        }
    }
}

/// Edges in order; the last one that is put at a place counts.
#[derive(Default)]
struct Edges {
    all: Vec<(u128, Option<u8>)>,
}

impl Edges {
    fn put(&mut self, at: u128, bits: Option<u8>) {
        match self.all.last_mut() {
            Some((place, last)) if *place == at => *last = bits,
            _ => self.all.push((at, bits)),
        }
    }
}
