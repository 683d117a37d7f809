//! An answer as bytes. Owners are the question's name or the zone's, so that every name is a pointer.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::HEADER;
use super::question::{Extra, Question};
use super::sign::{Set, Signer, There};
use super::zone::Name;

/// Where the name of the question begins.
const QUESTION: u16 = HEADER as u16;
const POINTER: u16 = 0xc000;
const INTERNET: u16 = 1;
const NSID: u16 = 3;
const SUBNET: u16 = 8;
const COOKIE: u16 = 10;

/// What to write into EDNS.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// The longest request that is taken.
    pub payload: u16,
    pub cookie: Option<[u8; 16]>,
    /// How many bits of the client's network the answer depends on.
    pub scope: u8,
    pub nsid: &'a str,
}

/// Signs what is written, at a time, s since 1970.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    pub signer: &'a Signer,
    /// The question's name as bytes.
    pub name: &'a [u8],
    pub now_s: u64,
}

/// How the zone's name is written at the end of others.
#[derive(Clone, Copy)]
pub enum Ending<'a> {
    /// As a pointer to where it is.
    At(u16),
    Whole(&'a [u8]),
}

/// What records say.
type Data<'d> = &'d dyn Fn(&mut Vec<u8>, Ending<'_>);

/// Whose records they are.
#[derive(Clone, Copy)]
enum Owner {
    Question,
    Zone,
}

/// Writes one answer.
pub struct Writer<'a> {
    signing: Option<Signing<'a>>,
    out: &'a mut Vec<u8>,
    /// The zone's name in the question.
    zone_at: u16,
    /// Records end here at the latest.
    limit: usize,
    counts: [u16; 2],
    after_records: Vec<u8>,
    truncated: bool,
}

impl<'a> Writer<'a> {
    /// An answer of at most `limit` bytes. The zone's name takes up the last bytes of the question's, as many as that.
    pub fn new(
        out: &'a mut Vec<u8>,
        question: &Question<'_>,
        zone_length: usize,
        limit: usize,
        signing: Option<Signing<'a>>,
    ) -> Writer<'a> {
        out.clear();
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(question.section);
        let name_length = question.section.len().saturating_sub(4);
        let zone_at = QUESTION + name_length.saturating_sub(zone_length) as u16;
        Writer { signing, out, zone_at, limit, counts: [0; 2], after_records: Vec::new(), truncated: false }
    }

    /// EDNS comes last, and its room is kept from now on.
    pub fn options(&mut self, extra: &Extra, code: ResponseCode, options: &Options<'_>) {
        let bytes = &mut self.after_records;
        bytes.push(0);
        put(bytes, u16::from(RecordType::OPT));
        put(bytes, options.payload);
        bytes.extend_from_slice(&[code.high(), 0, u8::from(extra.dnssec_ok) << 7, 0, 0, 0]);
        let data_at = bytes.len();
        if let (Some(cookie), Some(server)) = (&extra.cookie, &options.cookie) {
            put(bytes, COOKIE);
            put(bytes, 24);
            bytes.extend_from_slice(&cookie.client);
            bytes.extend_from_slice(server);
        }
        if let Some(subnet) = &extra.subnet {
            let octets = match subnet.address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let length = usize::from(subnet.prefix.div_ceil(8)).min(octets.len());
            put(bytes, SUBNET);
            put(bytes, 4 + length as u16);
            put(bytes, if subnet.address.is_ipv4() { 1 } else { 2 });
            bytes.extend_from_slice(&[subnet.prefix, options.scope]);
            bytes.extend_from_slice(&octets[..length]);
        }
        let fits = self.out.len() + bytes.len() + 4 + options.nsid.len() <= self.limit;
        if extra.nsid && fits && !options.nsid.is_empty() {
            put(bytes, NSID);
            put(bytes, options.nsid.len() as u16);
            bytes.extend_from_slice(options.nsid.as_bytes());
        }
        let length = (bytes.len() - data_at) as u16;
        bytes[data_at - 2..data_at].copy_from_slice(&length.to_be_bytes());
        self.limit = self.limit.saturating_sub(bytes.len());
    }

    /// Addresses of the question's name, as many as fit; all, where they are signed.
    pub fn addresses(&mut self, addresses: impl Iterator<Item = IpAddr> + Clone, ttl_s: u32) {
        for (number, address) in addresses.clone().enumerate() {
            let fits = match address {
                IpAddr::V4(v4) => {
                    self.record(0, Owner::Question, RecordType::A, ttl_s, &|out, _| out.extend(v4.octets()))
                }
                IpAddr::V6(v6) => self
                    .record(0, Owner::Question, RecordType::AAAA, ttl_s, &|out, _| out.extend(v6.octets())),
            };
            if !fits {
                self.truncated |= number == 0 || self.signing.is_some();
                return;
            }
        }
        if self.signing.is_some() {
            let kind =
                if addresses.clone().all(|one| one.is_ipv4()) { RecordType::A } else { RecordType::AAAA };
            let octets = addresses.map(|address| match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            });
            self.signature(0, Owner::Question, kind, ttl_s, octets.collect());
        }
    }

    /// Records of the question's name; an answer without all of them is truncated.
    pub fn answer(&mut self, kind: RecordType, ttl_s: u32, data: &[Data<'_>]) {
        self.set(0, Owner::Question, kind, ttl_s, data);
    }

    /// That something is not there, and, in the zone's record, for how long.
    pub fn not_there(&mut self, ttl_s: u32, soa: Data<'_>, there: There) {
        self.set(1, Owner::Zone, RecordType::SOA, ttl_s, &[soa]);
        let Some(Signing { signer, name, .. }) = self.signing else { return };
        match signer.denial(name, there) {
            Some(denial) => {
                let data: Data<'_> = &|out, _| out.extend_from_slice(&denial);
                self.set(1, Owner::Question, RecordType::NSEC, ttl_s, &[data]);
            }
            None => self.truncated = true,
        }
    }

    /// Records of a kind, with their signature.
    fn set(&mut self, section: usize, owner: Owner, kind: RecordType, ttl_s: u32, data: &[Data<'_>]) {
        for one in data {
            self.truncated |= !self.record(section, owner, kind, ttl_s, one);
        }
        let Some(signing) = self.signing else { return };
        let whole = data.iter().map(|one| {
            let mut out = Vec::new();
            one(&mut out, Ending::Whole(signing.signer.zone()));
            out
        });
        self.signature(section, owner, kind, ttl_s, whole.collect());
    }

    fn signature(&mut self, section: usize, owner: Owner, kind: RecordType, ttl_s: u32, data: Vec<Vec<u8>>) {
        let Some(Signing { signer, name, now_s }) = self.signing.filter(|_| !self.truncated) else { return };
        let named = match owner {
            Owner::Question => name,
            Owner::Zone => signer.zone(),
        };
        let rrsig = signer.sign(Set { owner: named, kind, ttl_s, data }, now_s);
        let written: Data<'_> = &|out, _| out.extend_from_slice(&rrsig);
        self.truncated |= !self.record(section, owner, RecordType::RRSIG, ttl_s, written);
    }

    fn record(&mut self, section: usize, owner: Owner, kind: RecordType, ttl_s: u32, data: Data<'_>) -> bool {
        let begin = self.out.len();
        let owner = match owner {
            Owner::Question => QUESTION,
            Owner::Zone => self.zone_at,
        };
        put(self.out, POINTER | owner);
        put(self.out, u16::from(kind));
        put(self.out, INTERNET);
        self.out.extend_from_slice(&ttl_s.to_be_bytes());
        put(self.out, 0);
        let data_at = self.out.len();
        data(self.out, Ending::At(self.zone_at));
        if self.out.len() > self.limit {
            self.out.truncate(begin);
            return false;
        }
        let length = (self.out.len() - data_at) as u16;
        self.out[data_at - 2..data_at].copy_from_slice(&length.to_be_bytes());
        self.counts[section] += 1;
        true
    }

    /// Fills in the header. True: something did not fit, and the client is told to ask by TCP.
    pub fn end(self, question: &Question<'_>, code: ResponseCode, authoritative: bool, slip: bool) -> bool {
        let truncated = self.truncated || slip;
        let out = self.out;
        out[..HEADER].copy_from_slice(&header(question.request, code, authoritative, truncated));
        let section = u16::from(!question.section.is_empty());
        let counts = [section, self.counts[0], self.counts[1], u16::from(!self.after_records.is_empty())];
        for (at, count) in (4..).step_by(2).zip(counts) {
            out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        out.extend_from_slice(&self.after_records);
        truncated
    }
}

/// A header without any section.
pub fn header(request: &[u8], code: ResponseCode, authoritative: bool, truncated: bool) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let asked = request.get(..4).unwrap_or(&[0; 4]);
    header[..2].copy_from_slice(&asked[..2]);
    // Kept: the kind of request, and whether recursion was wanted.
    header[2] = 0x80 | (asked[2] & 0x79) | u8::from(authoritative) << 2 | u8::from(truncated) << 1;
    header[3] = code.low();
    header
}

/// A name: its own labels, then the zone's.
pub fn name(out: &mut Vec<u8>, name: &Name, zone: Ending<'_>) {
    out.extend_from_slice(&name.labels);
    match zone {
        _ if !name.in_zone => out.push(0),
        Ending::At(at) => put(out, POINTER | at),
        Ending::Whole(zone) => out.extend_from_slice(zone),
    }
}

fn put(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}
