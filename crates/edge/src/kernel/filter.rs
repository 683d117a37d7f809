//! What the kernel has to know, in sets in which nothing overlaps.

use std::net::IpAddr;

use dwcp_decide::ddos::Net;

/// The most networks that are handed to the kernel; those that are blocked longest.
pub const MOST: usize = 100_000;

/// The sets: names, and what each has, sorted; with when it ends, ms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub white4: Vec<Net>,
    pub white6: Vec<Net>,
    pub hosts4: Vec<(Net, u64)>,
    pub hosts6: Vec<(Net, u64)>,
    pub nets4: Vec<(Net, u64)>,
    pub nets6: Vec<(Net, u64)>,
}

impl Filter {
    /// Of networks in any order, nested or not; and how many were too many.
    pub fn new(blocked: &[(Net, u64)], white: &[Net], now_ms: u64) -> (Filter, usize) {
        // What ends within a second is not worth it: the kernel counts seconds.
        let mut lasting: Vec<(Net, u64)> =
            blocked.iter().filter(|(_, until_ms)| *until_ms >= now_ms + 1_000).copied().collect();
        let left_out = lasting.len().saturating_sub(MOST);
        if left_out > 0 {
            lasting.sort_unstable_by_key(|(net, until_ms)| (std::cmp::Reverse(*until_ms), *net));
            lasting.truncate(MOST);
        }
        // The latest end of each first.
        lasting
            .sort_unstable_by_key(|(net, until_ms)| (net.base(), net.bits(), std::cmp::Reverse(*until_ms)));
        let mut filter = Filter::default();
        for (net, until_ms) in lasting {
            let list = match (net.base(), net.is_host()) {
                (IpAddr::V4(_), true) => &mut filter.hosts4,
                (IpAddr::V4(_), false) => &mut filter.nets4,
                (IpAddr::V6(_), true) => &mut filter.hosts6,
                (IpAddr::V6(_), false) => &mut filter.nets6,
            };
            // Smaller ones inside come in when the larger one ends.
            if list.last().is_none_or(|(last, _)| !last.covers(&net)) {
                list.push((net, until_ms));
            }
        }
        let mut white = white.to_vec();
        white.sort_unstable();
        for net in white {
            let list = if net.base().is_ipv4() { &mut filter.white4 } else { &mut filter.white6 };
            if list.last().is_none_or(|last| !last.covers(&net)) {
                list.push(net);
            }
        }
        (filter, left_out)
    }

    /// What of it the kernel still has: it drops what has ended by itself.
    pub fn lasting(&self, now_ms: u64) -> Filter {
        let lasting = |list: &[(Net, u64)]| {
            list.iter().filter(|(_, until)| *until >= now_ms + 1_000).copied().collect()
        };
        Filter {
            white4: self.white4.clone(),
            white6: self.white6.clone(),
            hosts4: lasting(&self.hosts4),
            hosts6: lasting(&self.hosts6),
            nets4: lasting(&self.nets4),
            nets6: lasting(&self.nets6),
        }
    }

    /// Networks that are dropped.
    pub fn networks(&self) -> usize {
        self.hosts4.len() + self.hosts6.len() + self.nets4.len() + self.nets6.len()
    }
}
