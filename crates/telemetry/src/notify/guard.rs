//! Where nothing is sent: addresses that only this machine or its network reaches, unless settings except them.
//!
//! A URL is checked when it is read, and every address that its name has when it is connected to, so that a name can't point somewhere
//! else in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL, bytes.
const URL_MAX: usize = 2_048;

/// The parts of a URL that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub https: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
}

/// Reads `https://host[:port][/path][?query]`, or the same with `http`.
///
/// # Errors
/// Other schemes, credentials, a fragment, characters that a URL does not have, a host that is none. The URL is not repeated: it may be
/// a secret.
pub fn url(text: &str) -> Result<Url, String> {
    if text.len() > URL_MAX {
        return Err(format!("a URL has {URL_MAX} bytes at most, not {}", text.len()));
    }
    let (scheme, rest) = text.split_once("://").ok_or("a URL such as https://example.com/hook is needed")?;
    let https = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err("only https:// and http:// can be sent to".to_owned()),
    };
    let allowed = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b);
    if !rest.bytes().all(allowed) {
        return Err("the URL has a character that is to be escaped, or a fragment".to_owned());
    }
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    if authority.contains('@') {
        return Err("a URL must not hold a user or a password".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (host, behind) = inside.split_once(']').ok_or("the host's bracket has no end")?;
            host.parse::<Ipv6Addr>().map_err(|_| "what is in brackets is no IPv6 address".to_owned())?;
            (host, behind)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().ok().filter(|port| *port > 0).ok_or("the port is none")?,
        None if port.is_empty() => {
            if https {
                443
            } else {
                80
            }
        }
        None => return Err("the URL's host is none".to_owned()),
    };
    if host.parse::<IpAddr>().is_err() {
        host_name(host)?;
    }
    Ok(Url { https, host: host.to_owned(), port })
}

/// Checks the form of a name or an address.
///
/// # Errors
/// It is neither. Numbers that only some read as an address, such as `0x7f.1`, are neither.
pub fn host_name(host: &str) -> Result<(), String> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            && !part.starts_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or("");
    let numeric = last.starts_with(|c: char| c.is_ascii_digit());
    if name.len() > 253 || !name.split('.').all(part) || numeric {
        return Err(format!("'{}' is neither a name nor an address", super::cut(&super::one_line(host), 80)));
    }
    Ok(())
}

/// Networks that may be sent to although they are private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(pub Vec<Network>);

/// A network: `10.20.0.0/16`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.20.0.0/16`, `fd12::/48` or an address.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Network, String> {
        let wrong = || format!("'{text}' is neither a network such as 10.20.0.0/16 nor an address");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Network { address, bits }) }
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => in_v4(other, own, self.bits),
            (IpAddr::V6(own), IpAddr::V6(other)) => in_v6(other, own, self.bits),
            _ => false,
        }
    }
}

impl Allowed {
    /// Says whether an address may be connected to.
    ///
    /// # Errors
    /// What it is: loopback, private, and so on.
    pub fn check(&self, address: IpAddr) -> Result<(), String> {
        let inner = unwrapped(address);
        if let Some(what) = never(address).or_else(|| never(inner)) {
            return Err(format!("{address} is {what}: nothing is ever sent there"));
        }
        let Some(what) = private(address).or_else(|| private(inner)) else { return Ok(()) };
        if self.0.iter().any(|network| network.holds(address) || network.holds(inner)) {
            return Ok(());
        }
        Err(format!("{address} is {what}: allow_private_addresses does not except it"))
    }

    /// Checks a host that is an address already; a name is checked when it is connected to.
    ///
    /// # Errors
    /// As [`Allowed::check`].
    pub fn check_literal(&self, host: &str) -> Result<(), String> {
        host.parse().map_or(Ok(()), |address| self.check(address))
    }
}

fn in_v4(address: Ipv4Addr, network: Ipv4Addr, bits: u8) -> bool {
    let different = address.to_bits() ^ network.to_bits();
    different.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
}

fn in_v6(address: Ipv6Addr, network: Ipv6Addr, bits: u8) -> bool {
    let different = address.to_bits() ^ network.to_bits();
    different.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
}

/// The IPv4 address inside of an IPv6 one: mapped, compatible, behind NAT64 (RFC 6052) or 6to4.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match s {
        // Not `::` and `::1`, which are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => v4(high, low),
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// Where clouds keep what machines are told of themselves, keys among it.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What no setting excepts.
fn never(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if METADATA.contains(&address) => Some("a metadata service"),
        _ if address.is_unspecified() => Some("no address of a machine"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if address == IpAddr::V4(Ipv4Addr::BROADCAST) => Some("a broadcast address"),
        _ => None,
    }
}

type Range4 = (Ipv4Addr, u8, &'static str);
type Range6 = (Ipv6Addr, u8, &'static str);

/// Of the special-purpose registry of IPv4 (RFC 6890).
const PRIVATE_4: [Range4; 13] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "an address of this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The same of IPv6.
const PRIVATE_6: [Range6; 9] = [
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "behind a local NAT64"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "for discarding"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "a tunnel"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "for segment routing"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
];

fn private(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => {
            PRIVATE_4.iter().find(|(network, bits, _)| in_v4(v4, *network, *bits)).map(|(_, _, what)| *what)
        }
        IpAddr::V6(v6) => {
            PRIVATE_6.iter().find(|(network, bits, _)| in_v6(v6, *network, *bits)).map(|(_, _, what)| *what)
        }
    }
}
