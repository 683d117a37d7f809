//! The web console: its files, built into the program, with the headers under which a browser runs nothing else.

use std::sync::LazyLock;

use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use ring::digest::{SHA256, digest};

use super::body::Outgoing;

/// A file as `build.rs` found it: its path, its bytes, and the same compressed with gzip.
type Embedded = (&'static str, &'static [u8], Option<&'static [u8]>);

static FILES: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/web_console_files.rs"));

/// Scripts, styles, pictures and requests of this origin only (Content Security Policy Level 3, W3C).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A browser asks each time whether the file is still the same.
const ASK_AGAIN: &str = "no-cache";
/// Files whose name changes with their content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>DWCP console</title></head>
<body>
<h1>The console was not built into this dwcpd</h1>
<p>The HTTP API is here all the same, and dwcp-cli tells everything that the console does.</p>
<p>To build the console in, with Node 20 or later, before building dwcpd:</p>
<pre>npm --prefix console ci
npm --prefix console run build
cargo build --release -p dwcp-server</pre>
</body>
</html>
";

/// A file and its names for caches.
struct File {
    path: &'static str,
    bytes: &'static [u8],
    gzip: Option<&'static [u8]>,
    /// Strong entity tags (RFC 9110, 8.8.3) of both forms: they differ, as the bytes do.
    tag: String,
    gzip_tag: String,
}

static BY_PATH: LazyLock<Vec<File>> = LazyLock::new(|| {
    let named = |&(path, bytes, gzip): &Embedded| {
        let hash = dwcp_types::hex(&digest(&SHA256, bytes).as_ref()[..12]);
        File { path, bytes, gzip, tag: format!("\"{hash}\""), gzip_tag: format!("\"{hash}-gz\"") }
    };
    FILES.iter().map(named).collect()
});

/// Whether a path is a page of the console: the page itself reads what follows `/d/`.
fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/d/")
}

/// The answer to a GET of the console's files; none when the path is not the console's.
pub fn answer(path: &str, headers: &HeaderMap) -> Option<Response<Outgoing>> {
    let name = if is_page(path) { "/index.html" } else { path };
    match BY_PATH.iter().find(|file| file.path == name) {
        Some(file) => Some(show(file, headers)),
        None if is_page(path) => Some(not_built()),
        None => None,
    }
}

fn not_built() -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(NOT_BUILT));
    *response.status_mut() = StatusCode::NOT_FOUND;
    guard(response.headers_mut(), "text/html; charset=utf-8", ASK_AGAIN);
    response
}

fn show(file: &File, asked: &HeaderMap) -> Response<Outgoing> {
    let gzip = file.gzip.filter(|_| takes_gzip(asked));
    let tag = if gzip.is_some() { &file.gzip_tag } else { &file.tag };
    let same = asked.get_all(IF_NONE_MATCH).iter().any(|given| matches(given, tag));
    let mut response = if same {
        let mut response = Response::new(Outgoing::Whole(None));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Outgoing::whole(gzip.unwrap_or(file.bytes)))
    };
    let headers = response.headers_mut();
    let lasting = if file.path.starts_with("/assets/") { FOR_EVER } else { ASK_AGAIN };
    guard(headers, media(file.path), lasting);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    if gzip.is_some() && !same {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The headers of everything that a browser may show.
fn guard(headers: &mut HeaderMap, media: &'static str, lasting: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(lasting));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

fn media(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a client takes gzip (RFC 9110, 12.5.3): it is named, and not with a weight of 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0));
        named && !refused
    })
}

/// Whether an `If-None-Match` names a tag; weak comparison, as RFC 9110, 13.1.2 asks.
fn matches(given: &HeaderValue, tag: &str) -> bool {
    let Ok(given) = given.to_str() else { return false };
    given.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn a_file(path: &'static str) -> File {
        let (tag, gzip_tag) = ("\"t\"".to_owned(), "\"t-gz\"".to_owned());
        File { path, bytes: b"plain", gzip: Some(b"small"), tag, gzip_tag }
    }

    fn bytes(response: Response<Outgoing>) -> Vec<u8> {
        match response.into_body() {
            Outgoing::Whole(bytes) => bytes.unwrap_or_default().to_vec(),
            Outgoing::Stream(_) => panic!("a file is no stream"),
        }
    }

    #[test]
    fn a_file_goes_compressed_to_who_takes_it() {
        for (value, gzip) in [
            ("gzip, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let response = show(&a_file("/index.html"), &asked(&[(ACCEPT_ENCODING, value)]));
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), gzip, "{value}");
            assert_eq!(response.headers()[ETAG], if gzip { "\"t-gz\"" } else { "\"t\"" });
            assert_eq!(bytes(response), if gzip { b"small" } else { b"plain" });
        }
    }

    #[test]
    fn what_a_browser_has_already_is_not_sent_again() {
        for value in ["\"t\"", "\"x\", W/\"t\"", "*"] {
            let response = show(&a_file("/assets/a.js"), &asked(&[(IF_NONE_MATCH, value)]));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{value}");
            assert_eq!(bytes(response), b"");
        }
        let response = show(&a_file("/assets/a.js"), &asked(&[(IF_NONE_MATCH, "\"t-gz\"")]));
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[test]
    fn every_file_says_what_it_is_and_lets_nothing_else_run() {
        for (path, media, lasting) in [
            ("/index.html", "text/html; charset=utf-8", ASK_AGAIN),
            ("/assets/a.js", "text/javascript; charset=utf-8", FOR_EVER),
            ("/assets/a.css", "text/css; charset=utf-8", FOR_EVER),
            ("/favicon.svg", "image/svg+xml", ASK_AGAIN),
        ] {
            let response = show(&a_file(path), &asked(&[]));
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], media);
            assert_eq!(headers[CACHE_CONTROL], lasting);
            assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[test]
    fn every_page_is_answered_whether_or_not_the_console_was_built() {
        let built = !FILES.is_empty();
        for path in ["/", "/d/federation-overview", "/d/vms/web-1"] {
            let response = answer(path, &asked(&[])).expect("a page of the console");
            assert_eq!(response.status(), if built { StatusCode::OK } else { StatusCode::NOT_FOUND });
            assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
            let text = String::from_utf8(bytes(response)).expect("text");
            assert_eq!(text.contains("npm --prefix console"), !built);
        }
    }

    #[test]
    fn other_paths_are_not_the_consoles() {
        for path in ["/v1/vms", "/healthz", "/d", "/assets/nope.js", "/index.html/x", "/../etc/passwd"] {
            assert!(answer(path, &asked(&[])).is_none(), "{path}");
        }
    }
}
