//! Whom a packet is from, and what of the router it is for.

/// Of a packet to a port of TCP or UDP. IPv4 as ::ffff:a.b.c.d.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub from: u128,
    pub to: u128,
    pub port: u16,
    pub udp: bool,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Tags of virtual networks: IEEE 802.1Q and 802.1ad.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Reads the beginning of an Ethernet frame. None: it is something else, a later fragment, or too short; all of that passes.
pub fn asked(frame: &[u8]) -> Option<Asked> {
    let two = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    while TAGS.contains(&two(at)?) && at < 20 {
        at += 4;
    }
    let (kind, ip) = (two(at)?, at + 2);
    let (from, to, protocol, ports) = match kind {
        IPV4 => {
            let octets = |at: usize| Some(u32::from_be_bytes(*frame.get(at..at + 4)?.first_chunk()?));
            if two(ip + 6)? & 0x1fff != 0 {
                return None;
            }
            let mapped = |address: u32| 0xffff << 32 | u128::from(address);
            let length = usize::from(frame.get(ip)? & 15) * 4;
            (mapped(octets(ip + 12)?), mapped(octets(ip + 16)?), *frame.get(ip + 9)?, ip + length)
        }
        IPV6 => {
            let octets = |at: usize| Some(u128::from_be_bytes(*frame.get(at..at + 16)?.first_chunk()?));
            (octets(ip + 8)?, octets(ip + 24)?, *frame.get(ip + 6)?, ip + 40)
        }
        _ => return None,
    };
    let udp = match protocol {
        TCP => false,
        UDP => true,
        _ => return None,
    };
    Some(Asked { from, to, port: two(ports + 2)?, udp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ethernet(tags: usize, kind: u16, rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 7]));
        frame.extend(kind.to_be_bytes());
        frame.extend(rest);
        frame
    }

    fn ipv4(fragment: u16, protocol: u8) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0];
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1, 0x30, 0x39, 0, 80]);
        packet
    }

    #[test]
    fn addresses_and_the_port_are_read() {
        let expected = Asked { from: 0xffff_0a63_0002, to: 0xffff_0a63_0001, port: 80, udp: false };
        for tags in 0..=2 {
            assert_eq!(asked(&ethernet(tags, IPV4, &ipv4(0x4000, TCP))), Some(expected));
        }
        assert_eq!(asked(&ethernet(0, IPV4, &ipv4(0, UDP))), Some(Asked { udp: true, ..expected }));
        assert_eq!(asked(&ethernet(0, IPV4, &ipv4(5, TCP))), None, "a later fragment");
        assert_eq!(asked(&ethernet(0, IPV4, &ipv4(0, 1))), None, "no ports");
        assert_eq!(asked(&ethernet(0, 0x0806, &ipv4(0, TCP))), None, "ARP");
        let mut packet = vec![0x60, 0, 0, 0, 0, 20, TCP, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0xfe; 16]);
        packet.extend([0, 1, 1, 187]);
        let asked = asked(&ethernet(0, IPV6, &packet)).unwrap();
        assert_eq!((asked.from, asked.to), (u128::MAX / 255 * 0xfd, u128::MAX / 255 * 0xfe));
        assert_eq!(asked.port, 443);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80), kind in prop::sample::select(vec![IPV4, IPV6, 0x8100])) {
            let _ = asked(&bytes);
            let _ = asked(&ethernet(0, kind, &bytes));
        }
    }
}
