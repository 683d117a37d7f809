//! Networks and countries as values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A network: an address with its last bits cleared, and how many bits count. IPv4 addresses written as IPv6 are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net {
    base: IpAddr,
    bits: u8,
}

impl Net {
    /// The network of `bits` bits that an address is in; none: the address has fewer bits.
    pub fn new(ip: IpAddr, bits: u8) -> Option<Net> {
        let base = match ip.to_canonical() {
            IpAddr::V4(ip) if bits <= 32 => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask32(bits))),
            IpAddr::V6(ip) if bits <= 128 => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask128(bits))),
            _ => return None,
        };
        Some(Net { base, bits })
    }

    /// One address.
    pub fn host(ip: IpAddr) -> Net {
        let base = ip.to_canonical();
        Net { base, bits: if base.is_ipv4() { 32 } else { 128 } }
    }

    /// What counts as one source: an IPv4 address, or the /64 that an IPv6 client may choose addresses of.
    pub fn source(ip: IpAddr) -> Net {
        Net::short(ip, 32, 64)
    }

    /// What is looked at together: a /24, or a /48.
    pub fn neighbours(ip: IpAddr) -> Net {
        Net::short(ip, 24, 48)
    }

    fn short(ip: IpAddr, four: u8, six: u8) -> Net {
        let ip = ip.to_canonical();
        Net::new(ip, if ip.is_ipv4() { four } else { six }).unwrap_or(Net::host(ip))
    }

    /// Its first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Bits that count.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Exactly one address.
    pub fn is_host(&self) -> bool {
        self.bits == if self.base.is_ipv4() { 32 } else { 128 }
    }

    /// An address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Net::new(ip, self.bits).is_some_and(|other| other.base == self.base)
    }

    /// Every address of another network is in it.
    pub fn covers(&self, other: &Net) -> bool {
        self.bits <= other.bits && self.contains(other.base)
    }

    /// Different for different networks of the same number of bits.
    pub(crate) fn key(&self) -> u128 {
        key(self.base)
    }
}

/// Different for different addresses.
pub(crate) fn key(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// `bits` ones, then zeros.
pub(crate) fn mask32(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)
}

/// `bits` ones, then zeros.
pub(crate) fn mask128(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0)
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { write!(f, "{}", self.base) } else { write!(f, "{}/{}", self.base, self.bits) }
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Net, String> {
        let wrong = || format!("{text:?} is no address or network, such as 203.0.113.7 or 203.0.113.0/24");
        let Some((ip, bits)) = text.split_once('/') else {
            return text.parse().map(Net::host).map_err(|_| wrong());
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let bits = bits.parse().map_err(|_| wrong())?;
        let net = Net::new(ip, bits).ok_or_else(wrong)?;
        // Who writes bits that do not count may have meant another network.
        if net.base == ip.to_canonical() {
            Ok(net)
        } else {
            Err(format!("{text:?} has bits that do not count; meant {net}?"))
        }
    }
}

impl Serialize for Net {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Net, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A country by its two letters (ISO 3166-1); unknown by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// It is not known which.
    pub const UNKNOWN: Country = Country([0; 2]);

    /// Of its two letters.
    pub fn of(letters: [u8; 2]) -> Country {
        Country(letters)
    }

    pub(crate) fn key(self) -> u128 {
        u128::from(u16::from_be_bytes(self.0))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = if *self == Country::UNKNOWN { *b"--" } else { self.0 };
        letters.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl FromStr for Country {
    type Err = String;

    fn from_str(text: &str) -> Result<Country, String> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Country([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            [b'-', b'-'] => Ok(Country::UNKNOWN),
            _ => Err(format!("{text:?} is no country; two letters are, such as DE")),
        }
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Country, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A path or a user agent as a number. Not for secrets; who does not know the seed cannot make two texts meet.
pub fn hash_text(seed: u64, text: &str) -> u64 {
    let chunks = text.as_bytes().chunks(16);
    chunks.fold(seed ^ text.len() as u64, |state, chunk| {
        let mut sixteen = [0; 16];
        sixteen[..chunk.len()].copy_from_slice(chunk);
        super::sketch::hash(state, u128::from_le_bytes(sixteen))
    })
}
