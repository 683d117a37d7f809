//! Whether a request means one thing only, and for whom it is.

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use super::limits::Limits;
use super::refusal::Refusal;

/// The longest name with a port, bytes.
const LONGEST_HOST: usize = 300;

/// For whom a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct For {
    /// As the client wrote it.
    pub authority: String,
    /// Lower case, without port or final dot. Empty: none was said.
    pub host: String,
}

/// Looks at a request's head.
///
/// # Errors
/// Why it is refused.
pub(super) fn look(parts: &Parts, limits: &Limits) -> Result<For, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no tunnels by CONNECT").closing());
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if path.len() > limits.uri_bytes {
        let reason = format!("the URI has {} bytes of at most {}", path.len(), limits.uri_bytes);
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, reason).closing());
    }
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Refusal::malformed("a space or control character in the URI"));
    }
    let of_all = path == "*" && parts.method == Method::OPTIONS;
    if !path.starts_with('/') && !of_all {
        return Err(Refusal::malformed("a URI without a path"));
    }
    lengths(&parts.headers, limits)?;
    if parts.version == Version::HTTP_2 {
        connection_fields(&parts.headers)?;
    }
    whom(parts)
}

fn lengths(headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Refusal::malformed("more than one Content-Length"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if length.is_some() {
            return Err(Refusal::malformed("both Content-Length and Transfer-Encoding"));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::malformed("a Transfer-Encoding other than chunked"));
        }
    }
    if let Some(length) = length {
        let number = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = number.and_then(|text| text.parse::<u64>().ok()) else {
            return Err(Refusal::malformed("a Content-Length that is no number"));
        };
        if number > limits.body_bytes {
            let reason = format!("a body of {number} bytes, at most {} are taken", limits.body_bytes);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason).closing());
        }
    }
    Ok(())
}

fn connection_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let named = ["keep-alive", "proxy-connection"];
    if [CONNECTION, UPGRADE, TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name))
        || named.iter().any(|name| headers.contains_key(*name))
        || headers.get(hyper::header::TE).is_some_and(|te| te != "trailers")
    {
        return Err(Refusal::malformed("a header of a connection in HTTP/2"));
    }
    Ok(())
}

fn whom(parts: &Parts) -> Result<For, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::malformed("more than one Host"));
    }
    let header = match header.map(|header| header.to_str()) {
        None => None,
        Some(Ok(text)) => Some(text.trim()),
        Some(Err(_)) => return Err(Refusal::malformed("a Host that is no name")),
    };
    let authority = match (parts.uri.authority().map(|authority| authority.as_str()), header) {
        (Some(authority), Some(header)) => {
            // HTTP/1 says that the URI counts; in HTTP/2 nobody has a reason to send both.
            if parts.version == Version::HTTP_2 && !header.eq_ignore_ascii_case(authority) {
                return Err(Refusal::malformed("two different names"));
            }
            authority
        }
        (Some(authority), None) => authority,
        (None, Some("")) if parts.version != Version::HTTP_10 => {
            return Err(Refusal::malformed("an empty Host"));
        }
        (None, Some(header)) => header,
        (None, None) if parts.version == Version::HTTP_10 => "",
        (None, None) => return Err(Refusal::malformed("no Host")),
    };
    let host = name(authority).ok_or_else(|| Refusal::malformed("a Host that is no name"))?;
    Ok(For { authority: authority.to_owned(), host })
}

/// A name out of `name:port`, as it is looked for.
pub(super) fn name(authority: &str) -> Option<String> {
    if authority.is_empty() {
        return Some(String::new());
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if authority.len() > LONGEST_HOST || !authority.bytes().all(known) {
        return None;
    }
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        authority.split_at(end)
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 5;
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && (host.starts_with('[') || !host.contains(['[', ']'])))
        .then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_lower_case_without_port_and_final_dot() {
        let name = |text: &str| name(text).unwrap_or_else(|| "refused".to_owned());
        assert_eq!(name("Shop.Example.COM.:8080"), "shop.example.com");
        assert_eq!((&*name("[::1]:80"), &*name("[::1]")), ("[::1]", "[::1]"));
        for wrong in ["a b", "a@b", "a/b", "a:b", "a:123456", ".", ":80", "a]", "[::1", "[::1]x", "a,b", "ä"]
        {
            assert_eq!(name(wrong), "refused", "{wrong}");
        }
    }
}
