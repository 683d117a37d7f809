//! Cookies of RFC 7873 in the form of RFC 9018: who shows one that we gave it does not lie about its address.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use super::question::Cookie;

/// A cookie older than this is not taken, s.
const OLDEST_S: u32 = 3_600;
/// A cookie from later than this is not taken, s: the clocks of routers differ a little.
const FUTURE_S: u32 = 300;
/// A cookie older than this is replaced, s.
const RENEW_S: u32 = 1_800;

/// Makes cookies and knows its own.
#[derive(Debug)]
pub struct Cookies {
    /// The first makes them; all are known.
    secrets: Vec<[u8; 16]>,
}

impl Cookies {
    pub fn new(secret: [u8; 16], before: Option<[u8; 16]>) -> Cookies {
        Cookies { secrets: [secret].into_iter().chain(before).collect() }
    }

    /// Whether a cookie is ours and in time, and the one to answer with.
    pub fn answer(&self, cookie: &Cookie, address: IpAddr, now_s: u32) -> (bool, [u8; 16]) {
        if let Some(server) = &cookie.server {
            let made_s = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
            // Serial numbers: what lies within half of all is later.
            let age_s = now_s.wrapping_sub(made_s) as i32;
            let in_time = -(FUTURE_S as i32) <= age_s && age_s <= OLDEST_S as i32;
            if in_time && server[0] == 1 {
                let same =
                    self.secrets.iter().position(|secret| made(secret, cookie, address, made_s) == *server);
                if let Some(which) = same {
                    let keep = which == 0 && age_s <= RENEW_S as i32;
                    return (true, if keep { *server } else { self.make(cookie, address, now_s) });
                }
            }
        }
        (false, self.make(cookie, address, now_s))
    }

    fn make(&self, cookie: &Cookie, address: IpAddr, now_s: u32) -> [u8; 16] {
        self.secrets.first().map_or([0; 16], |secret| made(secret, cookie, address, now_s))
    }
}

/// Version 1, three reserved bytes, when, and a hash of that, of the client's part and its address.
fn made(secret: &[u8; 16], cookie: &Cookie, address: IpAddr, made_s: u32) -> [u8; 16] {
    let mut server = [0; 16];
    server[0] = 1;
    server[4..8].copy_from_slice(&made_s.to_be_bytes());
    let mut hash = SipHasher24::new_with_key(secret);
    hash.write(&cookie.client);
    hash.write(&server[..8]);
    match address {
        IpAddr::V4(address) => hash.write(&address.octets()),
        IpAddr::V6(address) => hash.write(&address.octets()),
    }
    server[8..].copy_from_slice(&hash.finish().to_le_bytes());
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] =
        [0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf];
    const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
    const GIVEN: [u8; 16] =
        [0x01, 0, 0, 0, 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80];
    const AT_S: u32 = 0x5cf7_9f11;

    #[test]
    fn a_cookie_is_that_of_the_standards_example() {
        let cookies = Cookies::new(SECRET, None);
        let address = IpAddr::from([198, 51, 100, 100]);
        let first = Cookie { client: CLIENT, server: None };
        assert_eq!(cookies.answer(&first, address, AT_S), (false, GIVEN));
        let again = Cookie { client: CLIENT, server: Some(GIVEN) };
        assert_eq!(cookies.answer(&again, address, AT_S + 60), (true, GIVEN));
    }

    #[test]
    fn a_cookie_of_another_address_or_time_is_not_taken() {
        let cookies = Cookies::new(SECRET, None);
        let cookie = Cookie { client: CLIENT, server: Some(GIVEN) };
        let address = IpAddr::from([198, 51, 100, 100]);
        assert!(!cookies.answer(&cookie, IpAddr::from([198, 51, 100, 101]), AT_S).0);
        assert!(!cookies.answer(&cookie, address, AT_S + OLDEST_S + 1).0);
        assert!(!cookies.answer(&cookie, address, AT_S - FUTURE_S - 1).0);
    }

    #[test]
    fn a_cookie_of_the_secret_before_is_taken_and_replaced() {
        let cookies = Cookies::new([7; 16], Some(SECRET));
        let cookie = Cookie { client: CLIENT, server: Some(GIVEN) };
        let (valid, next) = cookies.answer(&cookie, IpAddr::from([198, 51, 100, 100]), AT_S);
        assert!(valid && next != GIVEN);
    }
}
