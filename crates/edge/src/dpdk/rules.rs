//! Whom the filter drops, as the router says it: a line of JSON for all of it, each time.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use dwcp_decide::ddos::Net;
use serde::{Deserialize, Serialize};

use super::packet::Asked;
use crate::kernel::{Filter, Listen};

/// What a router says, a line each. What is not in it is not dropped any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Addresses and ports of the router; with `true`: of UDP.
    pub serves: Vec<(IpAddr, u16, bool)>,
    /// Who is dropped until when, ms since 1970.
    pub blocked: Vec<(String, u64)>,
    /// Who never is.
    pub white: Vec<String>,
}

/// What the filter says, a line each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Orders that it has taken.
    pub orders: u64,
    /// Packets that went through, and those that were dropped, since it began.
    pub passed: u64,
    pub dropped: u64,
    pub dropped_bytes: u64,
}

/// The same, ready to be looked up.
#[derive(Debug, Default)]
pub struct Rules {
    serves: HashSet<(u128, u16, bool)>,
    hosts: HashMap<u128, u64>,
    /// First and last address of networks in which none overlaps, in order, and until when; of IPv4, and of IPv6.
    blocked: [Vec<(u128, u128, u64)>; 2],
    white: [Vec<(u128, u128)>; 2],
}

impl Order {
    /// Of what the router keeps out.
    pub fn new(listens: &[Listen], filter: &Filter) -> Order {
        let lists = [&filter.hosts4, &filter.nets4, &filter.hosts6, &filter.nets6];
        let text = |(net, until_ms): &(Net, u64)| (net.to_string(), *until_ms);
        Order {
            serves: listens.iter().map(|listen| (listen.address, listen.port, listen.udp)).collect(),
            blocked: lists.into_iter().flatten().map(text).collect(),
            white: filter.white4.iter().chain(&filter.white6).map(Net::to_string).collect(),
        }
    }
}

impl Rules {
    /// # Errors
    /// Something is no network.
    pub fn of(order: &Order, now_ms: u64) -> Result<Rules, String> {
        let net = |text: &str| text.parse::<Net>().map_err(|e| format!("{text}: {e}"));
        let blocked = order.blocked.iter().map(|(text, until_ms)| Ok((net(text)?, *until_ms)));
        let blocked: Vec<(Net, u64)> = blocked.collect::<Result<_, String>>()?;
        let white = order.white.iter().map(|text| net(text)).collect::<Result<Vec<Net>, String>>()?;
        let (filter, _) = Filter::new(&blocked, &white, now_ms);
        let ranges = |(net, until): &(Net, u64)| {
            let (first, last) = range(net);
            (first, last, *until)
        };
        Ok(Rules {
            serves: order.serves.iter().map(|(ip, port, udp)| (bits(*ip), *port, *udp)).collect(),
            hosts: filter
                .hosts4
                .iter()
                .chain(&filter.hosts6)
                .map(|(net, until)| (bits(net.base()), *until))
                .collect(),
            blocked: [&filter.nets4, &filter.nets6].map(|nets| nets.iter().map(ranges).collect()),
            white: [&filter.white4, &filter.white6].map(|nets| nets.iter().map(range).collect()),
        })
    }

    /// Whether a packet goes no further.
    pub fn drops(&self, asked: &Asked, now_ms: u64) -> bool {
        if !self.serves.contains(&(asked.to, asked.port, asked.udp)) {
            return false;
        }
        let from = asked.from;
        let family = usize::from(from >> 32 != 0xffff);
        let host = self.hosts.get(&from).is_some_and(|until_ms| *until_ms > now_ms);
        let within = |(_, last, until_ms): &(u128, u128, u64)| from <= *last && *until_ms > now_ms;
        let in_net = || before(&self.blocked[family], |(first, ..)| *first <= from).is_some_and(within);
        let spared = || {
            before(&self.white[family], |(first, _)| *first <= from).is_some_and(|(_, last)| from <= *last)
        };
        (host || in_net()) && !spared()
    }
}

/// The last of those that begin no later.
fn before<T>(sorted: &[T], begins: impl Fn(&T) -> bool) -> Option<&T> {
    sorted[..sorted.partition_point(begins)].last()
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn range(net: &Net) -> (u128, u128) {
    let free = if net.base().is_ipv4() { 32 - u32::from(net.bits()) } else { 128 - u32::from(net.bits()) };
    let first = bits(net.base());
    (first, first | (1_u128.checked_shl(free).unwrap_or(0).wrapping_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(blocked: &[(&str, u64)], white: &[&str]) -> Order {
        Order {
            serves: vec![("10.99.0.1".parse().unwrap(), 80, false), ("fd99::1".parse().unwrap(), 53, true)],
            blocked: blocked.iter().map(|(net, until)| ((*net).to_owned(), *until)).collect(),
            white: white.iter().map(|net| (*net).to_owned()).collect(),
        }
    }

    fn from(ip: &str) -> Asked {
        let from = bits(ip.parse().unwrap());
        match from >> 32 == 0xffff {
            true => Asked { from, to: bits("10.99.0.1".parse().unwrap()), port: 80, udp: false },
            false => Asked { from, to: bits("fd99::1".parse().unwrap()), port: 53, udp: true },
        }
    }

    #[test]
    fn who_is_blocked_is_dropped_at_the_routers_ports_until_it_ends() {
        let order = order(
            &[("10.0.0.0/8", 90_000), ("192.0.2.7", 50_000), ("2001:db8::/32", 90_000)],
            &["10.1.0.0/16", "2001:db8:5::/48"],
        );
        let rules = Rules::of(&order, 0).unwrap();
        let drops = |ip: &str, now_ms| rules.drops(&from(ip), now_ms);
        assert!(drops("10.2.0.1", 10_000) && drops("10.255.255.255", 10_000));
        assert!(!drops("10.1.2.3", 10_000), "whitelisted");
        assert!(!drops("11.0.0.0", 10_000) && !drops("9.255.255.255", 10_000), "just beside");
        assert!(drops("192.0.2.7", 49_999) && !drops("192.0.2.7", 50_000) && !drops("192.0.2.8", 10_000));
        assert!(
            drops("2001:db8::1", 10_000) && !drops("2001:db8:5::1", 10_000) && !drops("2001:db9::", 10_000)
        );
        assert!(!rules.drops(&Asked { port: 22, ..from("10.2.0.1") }, 10_000), "not a port of the router");
        assert!(!rules.drops(&Asked { udp: true, ..from("10.2.0.1") }, 10_000));
        assert!(!Rules::default().drops(&from("10.2.0.1"), 10_000));
        let everybody = Rules::of(&self::order(&[("::/0", 9_000), ("0.0.0.0/0", 9_000)], &[]), 0).unwrap();
        assert!(everybody.drops(&from("203.0.113.1"), 1) && everybody.drops(&from("ffff::1"), 1));
        assert!(Rules::of(&self::order(&[("here", 1)], &[]), 0).is_err());
    }

    #[test]
    fn an_order_is_what_the_router_keeps_out() {
        let listens = [Listen { address: "10.99.0.1".parse().unwrap(), port: 80, udp: false }];
        let (filter, _) =
            Filter::new(&[("10.0.0.0/8".parse().unwrap(), 90_000)], &["10.1.0.0/16".parse().unwrap()], 0);
        let said = Order::new(&listens, &filter);
        assert_eq!(said.blocked, [("10.0.0.0/8".to_owned(), 90_000)]);
        let line = serde_json::to_string(&said).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), said);
        assert!(!line.contains('\n'));
    }
}
