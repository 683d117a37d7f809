//! The federation's certificates: one CA, short-lived P-256 leaves whose URI name says who holds them.
//!
//! `spiffe://dwcp/<federation>/region/<region>/<number>` names a region's server, `spiffe://dwcp/<federation>/host/<region>/<host>`
//! an agent. Both sides of every mesh connection check the other's chain, federation and name. A number is given once: what
//! was issued to a region that has left is of no use when a region of the same name comes in later.

mod authority;
mod identity;
mod verify;

use std::fmt;

pub use authority::{Ca, DEFAULT_LEAF_VALIDITY, Issued, Key, San};
pub use identity::{Identity, api_client_config, load_roots};
pub(crate) use verify::peer_of;

/// ALPN name of mesh connections; a different protocol cannot be spoken by mistake.
pub(crate) const MESH_ALPN: &[u8] = b"dwcp-mesh/1";

/// ALPN name of connections between agents. Only here does a host's certificate also serve.
pub(crate) const TRANSFER_ALPN: &[u8] = b"dwcp-transfer/1";

/// Who holds a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerId {
    /// The server (dwcpd) of a region.
    Region {
        /// Name of the region.
        region: String,
        /// The region's number in the federation, which is its node's.
        number: u64,
    },
    /// The agent of a host in a region.
    Host {
        /// Name of the host's region.
        region: String,
        /// Name of the host.
        host: String,
    },
}

impl PeerId {
    /// Name of the region this peer belongs to.
    pub fn region(&self) -> &str {
        match self {
            PeerId::Region { region, .. } | PeerId::Host { region, .. } => region,
        }
    }

    /// The URI name of this peer in `federation`; characters outside `A-Za-z0-9-._~` are percent-encoded.
    pub fn uri(&self, federation: &str) -> String {
        let f = encode(federation);
        match self {
            PeerId::Region { region, number } => {
                format!("spiffe://dwcp/{f}/region/{}/{number}", encode(region))
            }
            PeerId::Host { region, host } => {
                format!("spiffe://dwcp/{f}/host/{}/{}", encode(region), encode(host))
            }
        }
    }

    /// Reads a URI name: the federation and the peer, or `None` when it is not one of ours.
    pub fn parse(uri: &str) -> Option<(String, PeerId)> {
        let mut parts = uri.strip_prefix("spiffe://dwcp/")?.split('/');
        let federation = decode(parts.next()?)?;
        let peer = match parts.next()? {
            "region" => {
                PeerId::Region { region: decode(parts.next()?)?, number: parts.next()?.parse().ok()? }
            }
            "host" => PeerId::Host { region: decode(parts.next()?)?, host: decode(parts.next()?)? },
            _ => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        Some((federation, peer))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerId::Region { region, number } => write!(f, "region {region}, number {number}"),
            PeerId::Host { region, host } => write!(f, "host {host} of {region}"),
        }
    }
}

/// Why certificates could not be made, read or used.
#[derive(Debug)]
pub enum PkiError {
    /// A file could not be read or written.
    File {
        /// Path of the file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content of a certificate or key is not usable; the text says what.
    Content(String),
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PkiError::File { path, source } => write!(f, "{path}: {source}"),
            PkiError::Content(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for PkiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PkiError::File { source, .. } => Some(source),
            PkiError::Content(_) => None,
        }
    }
}

impl PkiError {
    pub(crate) fn content(what: impl fmt::Display) -> Self {
        PkiError::Content(what.to_string())
    }

    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        PkiError::File { path: path.display().to_string(), source }
    }
}

pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' {
            let hex = text.get(i + 1..i + 3)?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    let out = String::from_utf8(out).ok()?;
    if out.is_empty() { None } else { Some(out) }
}
