//! The headers of a message on its way through.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::request::Parts;
use hyper::{StatusCode, Uri, Version};

use super::conversation::Conversation;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over, bytes.
const LONGEST_ID: usize = 128;

/// Meant for the next hop only.
const HOP: [HeaderName; 10] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
];

/// Takes out what is meant for this hop only.
pub(super) fn strip(headers: &mut HeaderMap) {
    if let Entry::Occupied(entry) = headers.entry(CONNECTION) {
        let (_, values) = entry.remove_entry_mult();
        let values: Vec<HeaderValue> = values.collect();
        for name in values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let name = name.trim_ascii();
            if name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close") {
                continue;
            }
            // How long a body is, and for whom, is nobody's to take out.
            if let Ok(name) = HeaderName::from_bytes(name) {
                if name != HOST && name != CONTENT_LENGTH {
                    headers.remove(name);
                }
            }
        }
    }
    for name in &HOP[1..] {
        headers.remove(name);
    }
}

/// The protocol that a client wants to go over to.
pub(super) fn upgrade(parts: &Parts) -> Option<HeaderValue> {
    if parts.version != Version::HTTP_11 || parts.headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    if parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return None;
    }
    let wants = |value: &HeaderValue| {
        let mut words = value.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    let wanted = parts.headers.get(UPGRADE)?;
    // HTTP/2 without TLS is another way to say the same, and past all checks.
    let http2 = wanted.as_bytes().to_ascii_lowercase().starts_with(b"h2");
    (!http2 && parts.headers.get_all(CONNECTION).iter().any(wants)).then(|| wanted.clone())
}

/// This request went through here before.
pub(super) fn loops(headers: &HeaderMap, via: &HeaderValue) -> bool {
    let own = via.as_bytes().split(|byte| *byte == b' ').next_back().unwrap_or_default();
    let mut words =
        headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.any(|word| word.trim_ascii().split(|byte| *byte == b' ').nth(1) == Some(own))
}

/// Makes a client's request one of ours.
pub(super) fn request(
    parts: &mut Parts,
    talk: &Conversation,
    authority: &str,
    upgrade: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    let http2 = parts.version == Version::HTTP_2;
    let headers = &mut parts.headers;
    strip(headers);
    headers.remove(EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    if http2 {
        join_cookies(headers);
    }
    let host = if http2 || parts.uri.authority().is_some() || !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(authority).map_err(|_| "a Host that is no name")?;
        headers.insert(HOST, host.clone());
        host
    } else {
        headers.get(HOST).cloned().unwrap_or(HeaderValue::from_static(""))
    };
    forwarded(headers, talk, host);
    headers.append(VIA, talk.shared.via[usize::from(http2)].clone());
    if headers.get(REQUEST_ID).is_none_or(|id| id.len() > LONGEST_ID) {
        headers.insert(REQUEST_ID, request_id(talk.shared.fresh(), talk.shared.seed));
    }
    if parts.uri.authority().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok(())
}

/// Who it was for whom: of a client its own word doesn't count.
fn forwarded(headers: &mut HeaderMap, talk: &Conversation, host: HeaderValue) {
    let before = headers.remove(FORWARDED_FOR).filter(|_| talk.trusted);
    let chain = before.and_then(|before| {
        HeaderValue::from_bytes(&[before.as_bytes(), b", ", talk.peer_text.as_bytes()].concat()).ok()
    });
    if !talk.trusted {
        headers.remove(FORWARDED);
        headers.remove(FORWARDED_PORT);
        headers.remove(REAL_IP);
    }
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|| talk.peer_text.clone()));
    if !(talk.trusted && headers.contains_key(FORWARDED_PROTO)) {
        let proto = HeaderValue::from_static(if talk.secure { "https" } else { "http" });
        headers.insert(FORWARDED_PROTO, proto);
    }
    if !(talk.trusted && headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// The client that a trusted balancer names in its request.
pub(super) fn named_client(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?;
    let last = last.to_str().ok()?.rsplit(',').next()?.trim();
    last.parse().ok().map(|client: IpAddr| client.to_canonical())
}

fn join_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(entry) = headers.entry(COOKIE) else { return };
    if entry.iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = entry.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(all) = HeaderValue::from_bytes(&all.join(b"; ".as_slice())) {
        headers.insert(COOKIE, all);
    }
}

fn request_id(fresh: u64, seed: u64) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (at, byte) in text.iter_mut().enumerate() {
        let of = if at < 16 {
            fresh >> (60 - 4 * at)
        } else {
            super::shared::mix(fresh ^ !seed) >> (124 - 4 * at)
        };
        *byte = DIGITS[(of & 15) as usize];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

/// Makes an endpoint's answer one of ours.
///
/// # Errors
/// It could be read in more than one way.
pub(super) fn answer(
    status: StatusCode,
    headers: &mut HeaderMap,
    via: &HeaderValue,
) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let same = lengths.all(|other| Some(other) == length);
    let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if !same || length.is_some_and(|length| !digits(length)) {
        return Err("its lengths contradict each other");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if length.is_some() {
            return Err("it has both a length and a transfer coding");
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("its transfer coding is not chunked");
        }
    }
    if let Some(length) = length.cloned() {
        headers.insert(CONTENT_LENGTH, length);
    }
    let upgrade =
        (status == StatusCode::SWITCHING_PROTOCOLS).then(|| headers.get(UPGRADE).cloned()).flatten();
    strip(headers);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    headers.append(VIA, via.clone());
    Ok(())
}
