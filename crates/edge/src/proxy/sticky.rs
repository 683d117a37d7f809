//! The cookie that keeps a client at its endpoint: which one it is, signed together with the service.

use dwcp_decide::route::ServiceRow;
use ring::hmac;

pub(super) const NAME: &str = "dwcp-route";

/// Bytes of the signature that are sent.
const SIGNED: usize = 16;

/// The cookie's value for an endpoint.
fn value(key: &hmac::Key, service: &str, endpoint: &str) -> String {
    let mut text = String::with_capacity(endpoint.len() + 1 + 2 * SIGNED);
    // What a cookie can't hold is written as numbers; identifiers have none of it.
    for byte in endpoint.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b':' | b'[' | b']' => {
                text.push(char::from(byte));
            }
            other => text.push_str(&format!("%{other:02x}")),
        }
    }
    text.push('~');
    for byte in &signature(key, service, endpoint).as_ref()[..SIGNED] {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn signature(key: &hmac::Key, service: &str, endpoint: &str) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    // A length in front: no other pair of names has the same bytes.
    context.update(&(service.len() as u64).to_be_bytes());
    context.update(service.as_bytes());
    context.update(endpoint.as_bytes());
    context.sign()
}

/// The whole `Set-Cookie`.
pub(super) fn set(key: &hmac::Key, service: &str, endpoint: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{NAME}={}; Path=/; HttpOnly; SameSite=Lax{secure}", value(key, service, endpoint))
}

/// The endpoint that a client's cookies pin it to: its index in the service. Cookies of somebody else are as none.
pub(super) fn pinned<'a>(
    key: &hmac::Key,
    service: &ServiceRow,
    mut cookies: impl Iterator<Item = &'a str>,
) -> Option<u32> {
    cookies.find_map(|cookies| {
        cookies.split(';').find_map(|cookie| {
            let text = cookie.trim().strip_prefix(NAME)?.strip_prefix('=')?;
            let (id, _) = text.rsplit_once('~')?;
            let index = find(service, &unwritten(id)?)?;
            let right = value(key, &service.name, &service.endpoints[index].id);
            same(right.as_bytes(), text.as_bytes()).then_some(index as u32)
        })
    })
}

fn unwritten(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// Endpoints are sorted by region, then by id.
fn find(service: &ServiceRow, id: &str) -> Option<usize> {
    let rows = &service.endpoints;
    let mut begin = 0;
    while let Some(first) = rows.get(begin) {
        let end = begin + rows[begin..].partition_point(|row| row.region <= first.region);
        if let Ok(at) = rows[begin..end].binary_search_by(|row| (*row.id).cmp(id)) {
            return Some(begin + at);
        }
        begin = end;
    }
    None
}

/// Equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_decide::route::EndpointRow;

    fn service(name: &str) -> ServiceRow {
        let row = |region: u16, id: &str| EndpointRow {
            id: id.to_owned(),
            name: id.to_owned(),
            region,
            zone: String::new(),
            address: "127.0.0.1:1".parse().unwrap(),
            serves: true,
            draining: false,
        };
        let endpoints = vec![row(0, "vm_1"), row(0, "vm_3"), row(2, "a b;c=%"), row(2, "vm_2")];
        ServiceRow { name: name.to_owned(), endpoints, ..ServiceRow::default() }
    }

    #[test]
    fn a_cookie_pins_to_its_endpoint_and_a_changed_one_to_nothing() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let shop = service("shop");
        for (index, row) in shop.endpoints.iter().enumerate() {
            let cookie = format!("x=1; {NAME}={}; y=2", value(&key, "shop", &row.id));
            assert_eq!(pinned(&key, &shop, [&*cookie].into_iter()), Some(index as u32), "{cookie}");
            assert_eq!(pinned(&key, &service("blog"), [&*cookie].into_iter()), None);
            let forged = cookie.replace("; y", "0; y");
            assert_eq!(pinned(&key, &shop, [&*forged].into_iter()), None);
        }
        let swapped = value(&key, "shop", "vm_1").replace("vm_1", "vm_2");
        assert_eq!(pinned(&key, &shop, [&*format!("{NAME}={swapped}")].into_iter()), None);
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
        let foreign = format!("{NAME}={}", value(&other, "shop", "vm_1"));
        assert_eq!(pinned(&key, &shop, [&*foreign].into_iter()), None);
    }
}
