//! TLS: ring, and the roots of one federation.

use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::failure::Failure;

/// Where Linux systems keep the roots they trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// TLS that trusts `ca` (a path or PEM text) and nobody else; without one, whom the system trusts.
pub fn config(ca: Option<&str>) -> Result<TlsConfig, Failure> {
    let pem = match ca {
        Some(text) if text.contains("-----BEGIN") => text.as_bytes().to_vec(),
        Some(path) => std::fs::read(path)
            .map_err(|error| Failure::usage(format!("the CA file {path} can't be read: {error}")))?,
        None => std::fs::read(SYSTEM_ROOTS).unwrap_or_default(),
    };
    let roots: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if roots.is_empty() {
        let place = ca.filter(|text| !text.contains("-----BEGIN")).unwrap_or("the CA of this context");
        return Err(Failure::usage(format!("{place} holds no certificate"))
            .because("an https endpoint is trusted only by the federation's CA")
            .suggest("dwcp-cli context add NAME --endpoint URL --ca ca.pem --token TOKEN"));
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}
