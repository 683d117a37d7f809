//! What `nft` is told, as text. Everything in it is made of addresses and numbers: nobody else's words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use dwcp_decide::ddos::Net;

use super::Listen;
use super::filter::Filter;

/// The sets of who is dropped: name, family of the address, type.
const SETS: [(&str, &str, &str, &str); 4] = [
    ("hosts4", "ip", "ipv4_addr", "timeout"),
    ("hosts6", "ip6", "ipv6_addr", "timeout"),
    ("nets4", "ip", "ipv4_addr", "interval, timeout"),
    ("nets6", "ip6", "ipv6_addr", "interval, timeout"),
];

/// An empty table, in place of what was there. Before connections are tracked: what is dropped costs nothing more.
pub fn table(name: &str, listens: &[Listen]) -> String {
    let mut text = format!("add table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n");
    let mut guard =
        String::from("  chain guard {\n    ip saddr @white4 return\n    ip6 saddr @white6 return\n");
    for (set, family, of, flags) in SETS {
        let _ = writeln!(
            text,
            "  counter {set} {{\n  }}\n  set {set} {{\n    type {of}\n    flags {flags}\n  }}"
        );
        let _ = writeln!(guard, "    {family} saddr @{set} counter name {set} drop");
    }
    for (set, of) in [("white4", "ipv4_addr"), ("white6", "ipv6_addr")] {
        let _ = writeln!(text, "  set {set} {{\n    type {of}\n    flags interval\n  }}");
    }
    text += &guard;
    text += "  }\n  chain prerouting {\n    type filter hook prerouting priority -300; policy accept;\n";
    let mut ports: BTreeMap<(IpAddr, bool), BTreeSet<u16>> = BTreeMap::new();
    for listen in listens {
        ports.entry((listen.address.to_canonical(), listen.udp)).or_default().insert(listen.port);
    }
    for ((address, udp), ports) in ports {
        let to = match address {
            address if address.is_unspecified() => "fib daddr type local".to_owned(),
            IpAddr::V4(address) => format!("ip daddr {address}"),
            IpAddr::V6(address) => format!("ip6 daddr {address}"),
        };
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let protocol = if udp { "udp" } else { "tcp" };
        let _ = writeln!(text, "    {to} {protocol} dport {{ {} }} goto guard", ports.join(", "));
    }
    text + "  }\n}\n"
}

/// What makes one filter of another; nothing when they are alike.
pub fn changes(name: &str, before: &Filter, next: &Filter, now_ms: u64) -> String {
    let mut text = String::new();
    for (set, before, next) in
        [("white4", &before.white4, &next.white4), ("white6", &before.white6, &next.white6)]
    {
        if before != next {
            let _ = writeln!(text, "flush set inet {name} {set}");
            add(&mut text, name, set, next.iter().map(Net::to_string));
        }
    }
    for (set, before, next) in [
        ("hosts4", &before.hosts4, &next.hosts4),
        ("hosts6", &before.hosts6, &next.hosts6),
        ("nets4", &before.nets4, &next.nets4),
        ("nets6", &before.nets6, &next.nets6),
    ] {
        if before == next {
            continue;
        }
        let known: BTreeSet<&(Net, u64)> = before.iter().collect();
        let new: Vec<&(Net, u64)> = next.iter().filter(|one| !known.contains(one)).collect();
        let only_more = new.len() + before.len() == next.len();
        if !only_more {
            let _ = writeln!(text, "flush set inet {name} {set}");
        }
        let element =
            |(net, until_ms): &(Net, u64)| format!("{net} timeout {}s", (until_ms - now_ms) / 1_000);
        if only_more {
            add(&mut text, name, set, new.into_iter().map(element));
        } else {
            add(&mut text, name, set, next.iter().map(element));
        }
    }
    text
}

fn add(text: &mut String, name: &str, set: &str, elements: impl Iterator<Item = String>) {
    let elements: Vec<String> = elements.collect();
    if !elements.is_empty() {
        let _ = writeln!(text, "add element inet {name} {set} {{ {} }}", elements.join(", "));
    }
}
