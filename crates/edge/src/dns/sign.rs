//! The zone is signed as it is asked (DNSSEC, RFC 4034): every router has the same key, and signs what it says itself.
//!
//! One Ed25519 key (RFC 8080) signs everything. A name that is not there is denied by a record of that very name (RFC 9824), so nobody can
//! list the zone. A signature is kept and used again for as long as it is good for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hickory_proto::rr::RecordType;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// ED25519, of RFC 8080; a key that signs the zone and that the zone above names; SHA-256, of RFC 4509.
const ALGORITHM: u8 = 15;
const FLAGS: u16 = 257;
const PROTOCOL: u8 = 3;
const DIGEST: u8 = 2;
const INTERNET: u16 = 1;
/// NXNAME of RFC 9824: the name is not there.
pub const NOT_THERE: u16 = 128;
/// A signature is made anew each hour, holds for three days, and counts from three hours before: clocks differ.
const HOUR_S: u64 = 3_600;
const HOLDS_S: u64 = 3 * 24 * HOUR_S;
const BEFORE_S: u64 = 3 * HOUR_S;
/// Signatures that are kept.
const KEPT: usize = 32_768;
/// A name is at most so long, and what follows it two bytes longer.
pub const LONGEST: usize = 255 - 2;

/// What a record of a name that denies says that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// Nothing itself, but names below.
    Below,
    /// IPv4, IPv6 addresses.
    Addresses { v4: bool, v6: bool },
    /// The zone, and addresses of a service of that name.
    Zone { v4: bool, v6: bool },
}

/// Signs.
pub struct Signer {
    key: Ed25519KeyPair,
    tag: u16,
    /// The zone's name as bytes, lower case.
    zone: Vec<u8>,
    kept: Mutex<Kept>,
}

/// Signatures of the hour, by what they are of.
#[derive(Default)]
struct Kept {
    hour: u64,
    signatures: HashMap<[u8; 16], [u8; 64]>,
}

/// Records of one name and kind.
pub struct Set<'a> {
    /// The name as it was asked for.
    pub owner: &'a [u8],
    pub kind: RecordType,
    pub ttl_s: u32,
    /// What each says, with whole names in lower case.
    pub data: Vec<Vec<u8>>,
}

impl Signer {
    /// Of the routers' secret, for a zone.
    ///
    /// # Errors
    /// It is no seed of a key.
    pub fn new(seed: &[u8; 32], zone: &[u8]) -> Result<Signer, String> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|e| format!("the zone's key: {e}"))?;
        let mut signer = Signer { key, tag: 0, zone: zone.to_ascii_lowercase(), kept: Mutex::default() };
        signer.tag = tag(&signer.dnskey());
        Ok(signer)
    }

    /// The zone's name as bytes, lower case.
    pub fn zone(&self) -> &[u8] {
        &self.zone
    }

    /// What the zone says of its key (DNSKEY, CDNSKEY).
    pub fn dnskey(&self) -> Vec<u8> {
        let mut data = FLAGS.to_be_bytes().to_vec();
        data.extend_from_slice(&[PROTOCOL, ALGORITHM]);
        data.extend_from_slice(self.key.public_key().as_ref());
        data
    }

    /// What the zone above is to say of it (DS, CDS).
    pub fn ds(&self) -> Vec<u8> {
        let digest = digest(&SHA256, &[self.zone.as_slice(), &self.dnskey()].concat());
        let mut data = self.tag.to_be_bytes().to_vec();
        data.extend_from_slice(&[ALGORITHM, DIGEST]);
        data.extend_from_slice(digest.as_ref());
        data
    }

    /// The same as a line of a zone file, without the name.
    pub fn ds_line(&self) -> String {
        let data = self.ds();
        let hex: String = data[4..].iter().map(|byte| format!("{byte:02X}")).collect();
        format!("IN DS {} {ALGORITHM} {DIGEST} {hex}", self.tag)
    }

    /// What a signature of records says (RRSIG), at a time, s since 1970.
    pub fn sign(&self, mut set: Set<'_>, now_s: u64) -> Vec<u8> {
        let hour = now_s / HOUR_S;
        let owner = set.owner.to_ascii_lowercase();
        set.data.sort_unstable();
        set.data.dedup();
        let mut rrsig = u16::from(set.kind).to_be_bytes().to_vec();
        rrsig.extend_from_slice(&[ALGORITHM, labels(&owner)]);
        rrsig.extend_from_slice(&set.ttl_s.to_be_bytes());
        // Serial numbers of 32 bits (RFC 1982).
        for at_s in [hour * HOUR_S + HOLDS_S, (hour * HOUR_S).saturating_sub(BEFORE_S)] {
            rrsig.extend_from_slice(&(at_s as u32).to_be_bytes());
        }
        rrsig.extend_from_slice(&self.tag.to_be_bytes());
        rrsig.extend_from_slice(&self.zone);
        let mut signed = rrsig.clone();
        for data in &set.data {
            signed.extend_from_slice(&owner);
            signed.extend_from_slice(&u16::from(set.kind).to_be_bytes());
            signed.extend_from_slice(&INTERNET.to_be_bytes());
            signed.extend_from_slice(&set.ttl_s.to_be_bytes());
            signed.extend_from_slice(&(data.len() as u16).to_be_bytes());
            signed.extend_from_slice(data);
        }
        rrsig.extend_from_slice(&self.signature(hour, &signed));
        rrsig
    }

    /// One that is kept, or a new one.
    fn signature(&self, hour: u64, signed: &[u8]) -> [u8; 64] {
        let mut name = [0; 16];
        name.copy_from_slice(&digest(&SHA256, signed).as_ref()[..16]);
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept().signatures.get(&name) {
            return *known;
        }
        let mut signature = [0; 64];
        signature.copy_from_slice(self.key.sign(signed).as_ref());
        let mut kept = kept();
        if kept.hour != hour || kept.signatures.len() >= KEPT {
            *kept = Kept { hour, ..Kept::default() };
        }
        kept.signatures.insert(name, signature);
        signature
    }

    /// Denies a name, or what it does not have (NSEC): the next name is the very next that could be. None: there is none.
    pub fn denial(&self, name: &[u8], there: There) -> Option<Vec<u8>> {
        if name.len() > LONGEST {
            return None;
        }
        let mut data = vec![1, 0];
        data.extend_from_slice(&name.to_ascii_lowercase());
        let all = [RecordType::RRSIG, RecordType::NSEC].map(u16::from);
        let mut own: Vec<u16> = match there {
            There::Nothing => vec![NOT_THERE],
            There::Below | There::Addresses { .. } => Vec::new(),
            There::Zone { .. } => {
                use RecordType::{CDNSKEY, CDS, DNSKEY, NS, SOA};
                [NS, SOA, DNSKEY, CDS, CDNSKEY].map(u16::from).to_vec()
            }
        };
        if let There::Addresses { v4, v6 } | There::Zone { v4, v6 } = there {
            let both = [(v4, RecordType::A), (v6, RecordType::AAAA)];
            own.extend(both.into_iter().filter(|(is, _)| *is).map(|(_, kind)| u16::from(kind)));
        }
        let mut bits = [0_u8; 32];
        for kind in all.into_iter().chain(own) {
            bits[usize::from(kind / 8)] |= 0x80 >> (kind % 8);
        }
        let length = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        data.extend_from_slice(&[0, length as u8]);
        data.extend_from_slice(&bits[..length]);
        Some(data)
    }
}

/// How many labels a name has, without the root and without a `*` at its beginning (RFC 4034, section 3.1.3).
fn labels(name: &[u8]) -> u8 {
    let (mut at, mut count) = if name.starts_with(b"\x01*") { (2, 0) } else { (0, 0) };
    while let Some(length) = name.get(at).filter(|length| **length > 0) {
        (at, count) = (at + 1 + usize::from(*length), count + 1);
    }
    count
}

/// The number of a key (RFC 4034, appendix B).
fn tag(dnskey: &[u8]) -> u16 {
    let sum: u32 = dnskey
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    (sum + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_rfc_8080_says_of_it() {
        // RFC 8080, section 6.1, first example.
        let signer = Signer::new(b"82260384628080122645190204142262", b"\x07example\x03com\x00").unwrap();
        assert_eq!(
            signer.ds_line(),
            "IN DS 3613 15 2 3AA5AB37EFCE57F737FC1627013FEE07BDF241BD10F3B1964AB55C78E79A304B"
        );
        // The second record of the example, an MX, is signed so.
        let exchange = b"\x00\x0a\x04mail\x07example\x03com\x00".to_vec();
        assert_eq!(labels(b"\x07example\x03com\x00"), 2);
        let set = || Set {
            owner: b"\x07EXAMPLE\x03com\x00",
            kind: RecordType::MX,
            ttl_s: 3600,
            data: vec![exchange.clone()],
        };
        let now_s = 1_440_021_600;
        let one = signer.sign(set(), now_s);
        assert_eq!(one, signer.sign(set(), now_s + 1), "it is kept");
        assert_ne!(one, signer.sign(set(), now_s + HOUR_S));
        assert_eq!(one.len(), 18 + 13 + 64);
    }

    #[test]
    fn a_denial_names_the_next_name_and_what_there_is() {
        let signer = Signer::new(&[7; 32], b"\x04test\x00").unwrap();
        let denial = signer.denial(b"\x01X\x04test\x00", There::Nothing).unwrap();
        assert_eq!(&denial[..10], b"\x01\x00\x01x\x04test\x00"[..10].as_ref());
        let bits = &denial[10..];
        assert_eq!((bits[0], bits[1]), (0, 17), "up to NXNAME");
        assert_eq!((bits[2 + 5], bits[2 + 16]), (0b0000_0011, 0x80));
        let denial = signer.denial(b"\x01x\x04test\x00", There::Addresses { v4: true, v6: false }).unwrap();
        assert_eq!(&denial[10..], [0, 6, 0x40, 0, 0, 0, 0, 3]);
        assert_eq!(signer.denial(&[1; 254], There::Below), None);
    }
}
