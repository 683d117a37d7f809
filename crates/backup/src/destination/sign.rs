//! Signatures of requests as S3 wants them (AWS Signature Version 4), and the little of XML that answers need.

use dwcp_types::Wall;
use ring::hmac;

use crate::seal::sha256;
use dwcp_types::hex;

/// Who asks.
#[derive(Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// Of temporary credentials.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.access_key)
    }
}

/// A request as far as it is signed.
pub struct Request<'a> {
    pub method: &'a str,
    pub host: &'a str,
    /// Escaped already.
    pub path: &'a str,
    /// Escaped and sorted already.
    pub query: &'a str,
    pub body: &'a [u8],
}

/// The headers that sign a request: `x-amz-*` and `authorization`.
pub fn headers(
    request: &Request<'_>,
    region: &str,
    who: &Credentials,
    now: Wall,
) -> Vec<(&'static str, String)> {
    let stamp: String = now.utc().chars().filter(|c| !"-:".contains(*c)).collect();
    let day = stamp.split('T').next().unwrap_or_default();
    let body = hex(&sha256(request.body).0);
    let mut signed = vec![("x-amz-content-sha256", body.clone()), ("x-amz-date", stamp.clone())];
    if let Some(token) = &who.session_token {
        signed.push(("x-amz-security-token", token.clone()));
    }
    let names: Vec<&str> = std::iter::once("host").chain(signed.iter().map(|(name, _)| *name)).collect();
    let names = names.join(";");
    let mut lines = format!("host:{}\n", request.host);
    for (name, value) in &signed {
        lines.push_str(&format!("{name}:{value}\n"));
    }
    let Request { method, path, query, .. } = request;
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
    let scope = format!("{day}/{region}/s3/aws4_request");
    let canonical = hex(&sha256(canonical.as_bytes()).0);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{canonical}");
    let mut key = format!("AWS4{}", who.secret_key).into_bytes();
    for part in [day, region, "s3", "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let signature = hex(&mac(&key, text.as_bytes()));
    let credential = format!("{}/{scope}", who.access_key);
    signed.push((
        "authorization",
        format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"),
    ));
    signed
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

/// Percent-encoding of a value in a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What stands between the first `<tag>` and its end, and what follows.
pub fn element<'t>(text: &'t str, tag: &str) -> Option<(&'t str, &'t str)> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>"))
}

/// The text of an element without its entities.
pub fn unescape(text: &str) -> String {
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#34;", "\"")];
    let text = entities.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_amazons_example() {
        // "GET Bucket (List Objects)" of the S3 documentation, Signature Version 4.
        let who = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
        };
        let request = Request {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: "max-keys=2&prefix=J",
            body: b"",
        };
        let headers = headers(&request, "us-east-1", &who, Wall(1_369_353_600_000));
        let (_, authorization) = headers.last().unwrap();
        let signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
    }
}
