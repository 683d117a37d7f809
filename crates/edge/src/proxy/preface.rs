//! The PROXY protocol, versions 1 and 2: what a trusted balancer says about the client before the client's own bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1.
const LINE: usize = 107;
/// The longest that is taken of version 2, with what we don't read of it.
pub(super) const LONGEST: usize = 16 + 4 * 1024;

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    /// Too few to say.
    More,
    /// The client's own: there is no preface.
    None,
    /// A preface of so many bytes. Without an address it is the balancer's own connection.
    Of { length: usize, client: Option<IpAddr> },
    /// Neither: the connection is closed.
    Broken,
}

pub(super) fn read(bytes: &[u8]) -> Preface {
    let begins = |with: &[u8]| bytes.starts_with(with) || with.starts_with(bytes);
    if bytes.is_empty() {
        Preface::More
    } else if begins(SIGNATURE) {
        if bytes.len() < 16 { Preface::More } else { binary(bytes) }
    } else if begins(b"PROXY ") {
        match bytes.iter().take(LINE).position(|byte| *byte == b'\n') {
            Some(end) => line(&bytes[..end], end + 1),
            None if bytes.len() >= LINE => Preface::Broken,
            None => Preface::More,
        }
    } else {
        Preface::None
    }
}

fn line(bytes: &[u8], length: usize) -> Preface {
    let text = bytes.strip_suffix(b"\r").and_then(|bytes| std::str::from_utf8(bytes).ok());
    let Some(text) = text else { return Preface::Broken };
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Preface::Of { length, client: None };
    }
    let words: Vec<&str> = words.collect();
    let [from, to, from_port, to_port] = words[..] else { return Preface::Broken };
    let (Ok(from), Ok(to)) = (from.parse::<IpAddr>(), to.parse::<IpAddr>()) else { return Preface::Broken };
    let ports = from_port.parse::<u16>().is_ok() && to_port.parse::<u16>().is_ok();
    let family = match family {
        Some("TCP4") => from.is_ipv4() && to.is_ipv4(),
        Some("TCP6") => from.is_ipv6() && to.is_ipv6(),
        _ => false,
    };
    if family && ports { Preface::Of { length, client: Some(from.to_canonical()) } } else { Preface::Broken }
}

fn binary(bytes: &[u8]) -> Preface {
    let length = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if bytes[12] >> 4 != 2 || length > LONGEST {
        return Preface::Broken;
    }
    if bytes.len() < length {
        return Preface::More;
    }
    let body = &bytes[16..length];
    match (bytes[12] & 0xf, bytes[13]) {
        (0, _) => Preface::Of { length, client: None },
        (1, 0x11) => match body {
            [a, b, c, d, _, _, _, _, _, _, _, _, ..] => {
                Preface::Of { length, client: Some(Ipv4Addr::new(*a, *b, *c, *d).into()) }
            }
            _ => Preface::Broken,
        },
        (1, 0x21) if body.len() >= 36 => match <[u8; 16]>::try_from(&body[..16]) {
            Ok(from) => Preface::Of { length, client: Some(IpAddr::V6(Ipv6Addr::from(from)).to_canonical()) },
            Err(_) => Preface::Broken,
        },
        // Another kind of address than TCP's: the balancer's own is taken.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Preface::Of { length, client: None },
        _ => Preface::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_at_their_last_byte_and_not_before() {
        let mut second = SIGNATURE.to_vec();
        second.extend([0x21, 0x11, 0, 15, 192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 1, 187, 3, 0, 0]);
        let first = b"PROXY TCP4 192.0.2.7 10.0.0.1 80 443\r\n".to_vec();
        for preface in [first, second] {
            for length in 0..preface.len() {
                assert_eq!(read(&preface[..length]), Preface::More, "{length}");
            }
            let mut with_more = preface.clone();
            with_more.extend(b"GET / HTTP/1.1\r\n");
            let client = Some("192.0.2.7".parse().unwrap());
            assert_eq!(read(&with_more), Preface::Of { length: preface.len(), client });
        }
    }

    #[test]
    fn other_bytes_are_the_clients_and_half_true_prefaces_are_broken() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Preface::None);
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Preface::Of { length: 15, client: None });
        for broken in ["PROXY TCP4 1.2.3.4 ::1 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY \r\n"] {
            assert_eq!(read(broken.as_bytes()), Preface::Broken, "{broken:?}");
        }
        assert_eq!(read(&[b"PROXY ".as_slice(), &[b'a'; 200]].concat()), Preface::Broken);
    }
}
