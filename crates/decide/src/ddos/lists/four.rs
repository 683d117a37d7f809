//! IPv4: what begins with the same 16 bits stands together, so that only the other 16 are kept.

const PARTS: usize = 1 << 16;

/// Where each part of a list begins; one more at the end.
fn starts(highs: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
    let mut starts = vec![0_u32; PARTS + 1];
    highs.for_each(|high| starts[high as usize + 1] += 1);
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    starts
}

/// A part of a list.
fn part(starts: &[u32], high: u32) -> std::ops::Range<usize> {
    let at = |i: u32| starts.get(i as usize).map_or(0, |start| *start as usize);
    at(high)..at(high + 1)
}

/// Single addresses.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    starts: Vec<u32>,
    lows: Vec<u16>,
}

impl Hosts {
    /// Of sorted addresses, each once.
    pub fn new(hosts: &[u32]) -> Hosts {
        if hosts.is_empty() {
            return Hosts::default();
        }
        let starts = starts(hosts.iter().map(|host| host >> 16));
        Hosts { starts, lows: hosts.iter().map(|host| *host as u16).collect() }
    }

    pub fn has(&self, ip: u32) -> bool {
        let lows = self.lows.get(part(&self.starts, ip >> 16)).unwrap_or(&[]);
        lows.binary_search(&(ip as u16)).is_ok()
    }

    pub fn bytes(&self) -> usize {
        self.starts.len() * 4 + self.lows.len() * 2
    }
}

/// Networks, as edges.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    starts: Vec<u32>,
    lows: Vec<u16>,
    /// Bits from that edge on; [`NONE`]: no network.
    bits: Vec<u8>,
    /// Bits at the begin of each part, before its first edge.
    before: Vec<u8>,
}

const NONE: u8 = u8::MAX;

impl Ranges {
    /// Of sorted edges.
    pub fn new(edges: &[(u128, Option<u8>)]) -> Ranges {
        if edges.is_empty() {
            return Ranges::default();
        }
        let inside: Vec<(u32, u8)> = edges
            .iter()
            .filter_map(|(at, bits)| Some((u32::try_from(*at).ok()?, bits.unwrap_or(NONE))))
            .collect();
        let starts = starts(inside.iter().map(|(at, _)| at >> 16));
        let before = (0..PARTS as u32).map(|high| match part(&starts, high).start.checked_sub(1) {
            Some(last) => inside[last].1,
            None => NONE,
        });
        let before = before.collect();
        Ranges {
            starts,
            lows: inside.iter().map(|(at, _)| *at as u16).collect(),
            bits: inside.iter().map(|(_, bits)| *bits).collect(),
            before,
        }
    }

    /// Bits of the smallest network around an address.
    pub fn of(&self, ip: u32) -> Option<u8> {
        let part = part(&self.starts, ip >> 16);
        let lows = self.lows.get(part.clone())?;
        let bits = match lows.partition_point(|low| *low <= ip as u16) {
            0 => self.before.get((ip >> 16) as usize),
            after => self.bits.get(part.start + after - 1),
        };
        bits.copied().filter(|bits| *bits != NONE)
    }

    pub fn bytes(&self) -> usize {
        self.starts.len() * 4 + self.lows.len() * 2 + self.bits.len() + self.before.len()
    }
}
