//! What one process shows to others: its leaf, its key and the authorities it trusts, replaceable at run time.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, client, server};

use super::verify::{Expect, PeerVerifier, peer_of};
use super::{MESH_ALPN, PeerId, PkiError, TRANSFER_ALPN, authority};

/// This process's certificate, key and trusted authorities. Clones share one state: replacing it in one replaces it
/// in every TLS configuration made from it, for connections opened afterwards.
#[derive(Clone)]
pub struct Identity {
    state: Arc<RwLock<Arc<State>>>,
}

pub(super) struct State {
    pub(super) federation: String,
    pub(super) roots: Vec<TrustAnchor<'static>>,
    peer: PeerId,
    key: Arc<CertifiedKey>,
    life_unix: (u64, u64),
}

impl Identity {
    /// Reads `ca.pem` (one or more authorities), `<name>.pem` and `<name>.key` of `dir`.
    pub fn load(dir: &Path, name: &str) -> Result<Self, PkiError> {
        Ok(Self { state: Arc::new(RwLock::new(Arc::new(State::read(dir, name)?))) })
    }

    /// From PEM texts; `ca_pem` may hold several authorities.
    pub fn from_pem(ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        Ok(Self { state: Arc::new(RwLock::new(Arc::new(State::parse(ca_pem, cert_pem, key_pem)?))) })
    }

    /// Reads the files again and uses them from now on. On error the old ones stay.
    pub fn reload(&self, dir: &Path, name: &str) -> Result<(), PkiError> {
        self.replace(State::read(dir, name)?)
    }

    /// Uses a renewed leaf (and authorities) from now on. On error the old one stays.
    pub fn swap(&self, ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<(), PkiError> {
        self.replace(State::parse(ca_pem, cert_pem, key_pem)?)
    }

    fn replace(&self, new: State) -> Result<(), PkiError> {
        let mut state = self.state.write().unwrap_or_else(|e| e.into_inner());
        if new.peer != state.peer || new.federation != state.federation {
            return Err(PkiError::content(format!(
                "the new certificate names {}, not {}",
                new.peer, state.peer
            )));
        }
        *state = Arc::new(new);
        Ok(())
    }

    /// Who this process is.
    pub fn peer(&self) -> PeerId {
        self.now().peer.clone()
    }

    /// Name of the federation.
    pub fn federation(&self) -> String {
        self.now().federation.clone()
    }

    /// When the leaf ends, seconds since 1970.
    pub fn not_after_unix(&self) -> u64 {
        self.now().life_unix.1
    }

    /// From when to when the leaf is valid, seconds since 1970.
    pub fn life_unix(&self) -> (u64, u64) {
        self.now().life_unix
    }

    pub(super) fn now(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// TLS for accepting mesh connections: TLS 1.3, the client must show a leaf of this federation.
    pub fn mesh_server_config(&self) -> Result<rustls::ServerConfig, PkiError> {
        self.server_config(Expect::Anybody, MESH_ALPN)
    }

    /// TLS for accepting other agents: TLS 1.3, the client must show a host's leaf of this federation.
    pub(crate) fn transfer_server_config(&self) -> Result<rustls::ServerConfig, PkiError> {
        self.server_config(Expect::AnyHost, TRANSFER_ALPN)
    }

    fn server_config(&self, expect: Expect, alpn: &[u8]) -> Result<rustls::ServerConfig, PkiError> {
        let verifier = Arc::new(PeerVerifier::new(self.clone(), expect));
        let mut config =
            server_builder()?.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(self.clone()));
        // A resumed session would skip the check of a leaf that has run out since.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(server::NoServerSessionStorage {});
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }

    /// TLS for dialing a mesh endpoint, which must prove to be `expect` (any peer of the federation when `None`).
    pub fn mesh_client_config(&self, expect: Option<PeerId>) -> Result<rustls::ClientConfig, PkiError> {
        self.client_config(expect.map_or(Expect::Anybody, Expect::This), MESH_ALPN)
    }

    /// TLS for dialing the agent of a host, which must prove to be `expect`.
    pub(crate) fn transfer_client_config(&self, expect: PeerId) -> Result<rustls::ClientConfig, PkiError> {
        self.client_config(Expect::This(expect), TRANSFER_ALPN)
    }

    fn client_config(&self, expect: Expect, alpn: &[u8]) -> Result<rustls::ClientConfig, PkiError> {
        let verifier = Arc::new(PeerVerifier::new(self.clone(), expect));
        let mut config = client_builder()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(self.clone()));
        config.resumption = client::Resumption::disabled();
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }

    /// TLS for the HTTP API: TLS 1.3, no client certificate (operators carry tokens).
    pub fn api_server_config(&self) -> Result<rustls::ServerConfig, PkiError> {
        let mut config = server_builder()?.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl State {
    fn read(dir: &Path, name: &str) -> Result<Self, PkiError> {
        let ca = authority::read(&dir.join("ca.pem"))?;
        let cert = authority::read(&dir.join(format!("{name}.pem")))?;
        let key = authority::read(&dir.join(format!("{name}.key")))?;
        Self::parse(&ca, &cert, &key)
    }

    fn parse(ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let roots = parse_certs(ca_pem)?
            .iter()
            .map(|der| webpki::anchor_from_trusted_cert(der).map(|a| a.to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(PkiError::content)?;
        let chain = parse_certs(cert_pem)?;
        let (federation, peer) = peer_of(&chain[0]).map_err(PkiError::content)?;
        let life_unix = super::verify::life_unix(&chain[0])
            .ok_or_else(|| PkiError::content("the certificate's dates cannot be read"))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(PkiError::content)?;
        let key = ring::sign::any_ecdsa_type(&key).map_err(PkiError::content)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|e| PkiError::content(format!("certificate and key: {e}")))?;
        Ok(Self { federation, roots, peer, key: Arc::new(key), life_unix })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.now().peer)
    }
}

impl server::ResolvesServerCert for Identity {
    fn resolve(&self, _hello: server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now().key.clone())
    }
}

impl client::ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The authorities of a PEM text as a root store.
pub fn load_roots(ca_pem: &str) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for der in parse_certs(ca_pem)? {
        roots.add(der).map_err(PkiError::content)?;
    }
    Ok(roots)
}

/// TLS for a client of the HTTP API: trusts only `ca_pem`, checks the address or name it dials, shows no certificate.
pub fn api_client_config(ca_pem: &str) -> Result<rustls::ClientConfig, PkiError> {
    Ok(client_builder()?.with_root_certificates(load_roots(ca_pem)?).with_no_client_auth())
}

fn parse_certs(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let certs = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(PkiError::content)?;
    if certs.is_empty() { Err(PkiError::content("no certificate in the PEM text")) } else { Ok(certs) }
}

fn server_builder() -> Result<rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier>, PkiError> {
    rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(PkiError::content)
}

fn client_builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, PkiError> {
    rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(PkiError::content)
}
