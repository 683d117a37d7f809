//! What was asked.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query};
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::HEADER;
use crate::geo::cut;

/// CO of RFC 9824, section 5.1, among the flags of EDNS.
const COMPACT: u16 = 0x4000;

/// A question that can be answered.
#[derive(Debug)]
pub struct Question<'a> {
    /// All of the request.
    pub request: &'a [u8],
    /// The section with the name, as it came: the answer begins with it, letter by letter. Empty: only a cookie is asked for.
    pub section: &'a [u8],
    /// The name in lower case without the final dot. A byte that is in no name of a host is a zero.
    pub name: String,
    pub kind: u16,
    pub class: u16,
    pub extra: Option<Extra>,
}

impl Question<'_> {
    /// The name as bytes, as it came.
    pub fn name_bytes(&self) -> &[u8] {
        &self.section[..self.section.len().saturating_sub(4)]
    }
}

/// What EDNS carries, as far as it matters here.
#[derive(Debug)]
pub struct Extra {
    pub version: u8,
    /// The longest answer that it takes, bytes.
    pub payload: u16,
    pub dnssec_ok: bool,
    /// It takes a denial for what it is (CO of RFC 9824).
    pub compact_ok: bool,
    pub subnet: Option<Subnet>,
    pub cookie: Option<Cookie>,
    /// The server's name is asked for.
    pub nsid: bool,
}

/// The network that a resolver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub address: IpAddr,
    pub prefix: u8,
}

/// A cookie as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub client: [u8; 8],
    /// What it says that we gave it; cookies of ours are that long.
    pub server: Option<[u8; 16]>,
}

/// What a request is.
#[derive(Debug)]
pub enum Asked<'a> {
    Question(Question<'a>),
    /// Not answered: too short, or itself an answer.
    Noise,
    /// Not understood.
    Malformed,
    /// Something else than a question.
    NotImplemented,
}

/// Reads a request.
pub fn read(request: &[u8]) -> Asked<'_> {
    let mut decoder = BinDecoder::new(request);
    let Ok(Header { metadata, counts }) = Header::read(&mut decoder) else { return Asked::Noise };
    if metadata.message_type == MessageType::Response {
        return Asked::Noise;
    }
    if metadata.op_code != OpCode::Query {
        return Asked::NotImplemented;
    }
    if counts.queries > 1 {
        return Asked::Malformed;
    }
    let query = match counts.queries {
        0 => Query::new(),
        _ => match Query::read(&mut decoder) {
            Ok(query) => query,
            Err(_) => return Asked::Malformed,
        },
    };
    let end = decoder.index();
    let mut records = |count: u16, last: bool| {
        Message::read_records(&mut decoder, usize::from(count), last, OpCode::Query).map(|(_, edns, _)| edns)
    };
    let edns = records(counts.answers, false)
        .and_then(|_| records(counts.authorities, false))
        .and_then(|_| records(counts.additionals, true));
    let Ok(edns) = edns else { return Asked::Malformed };
    let Ok(extra) = edns.as_ref().map(extra).transpose() else { return Asked::Malformed };
    let section = request.get(HEADER..end).unwrap_or_default();
    if counts.queries == 0 && extra.as_ref().is_none_or(|extra| extra.cookie.is_none()) {
        return Asked::Malformed;
    }
    let Some(name) = text(&query.name, section) else { return Asked::Malformed };
    let (kind, class) = (u16::from(query.query_type), u16::from(query.query_class));
    Asked::Question(Question { request, section, name, kind, class, extra })
}

/// A name as text; none when it was compressed: nothing is before it that it could point to.
fn text(name: &Name, section: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(section.len());
    let mut length = 1;
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        length += 1 + label.len();
        text.extend(label.iter().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => byte.to_ascii_lowercase() as char,
            _ => '\0',
        }));
    }
    (section.is_empty() || length + 4 == section.len()).then_some(text)
}

/// What EDNS carries.
fn extra(edns: &Edns) -> Result<Extra, ()> {
    let mut extra = Extra {
        version: edns.version(),
        payload: edns.max_payload(),
        dnssec_ok: edns.flags().dnssec_ok,
        compact_ok: edns.flags().z & COMPACT > 0,
        subnet: None,
        cookie: None,
        nsid: edns.option(EdnsCode::NSID).is_some(),
    };
    for (_, option) in &edns.options().options {
        match option {
            EdnsOption::Subnet(subnet) => {
                let most = if subnet.addr().is_ipv4() { 32 } else { 128 };
                if subnet.scope_prefix() != 0 || subnet.source_prefix() > most {
                    return Err(());
                }
                let prefix = subnet.source_prefix();
                extra.subnet = Some(Subnet { address: cut(subnet.addr(), prefix), prefix });
            }
            EdnsOption::Unknown(10, bytes) if extra.cookie.is_none() => extra.cookie = Some(cookie(bytes)?),
            _ => {}
        }
    }
    Ok(extra)
}

fn cookie(bytes: &[u8]) -> Result<Cookie, ()> {
    let (client, server) = bytes.split_first_chunk::<8>().ok_or(())?;
    match server.len() {
        0 | 8..=32 => Ok(Cookie { client: *client, server: server.try_into().ok() }),
        _ => Err(()),
    }
}
