//! The certificate authority of one federation and the leaves it issues.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

use super::{PeerId, PkiError, encode};

/// How long a leaf lives in production.
pub const DEFAULT_LEAF_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// Clocks of two machines may differ by this much before a fresh leaf is refused.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

/// An address or a name a leaf is valid for, beside its URI name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum San {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name.
    Dns(String),
}

/// The authority of one federation. Whoever holds its key can name themselves anything: keep `ca.key` off servers.
pub struct Ca {
    federation: String,
    cert_pem: String,
    key: KeyPair,
}

/// A leaf and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

impl Ca {
    /// Makes a new authority for `federation`, valid for `validity`.
    pub fn create(federation: &str, validity: Duration) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::content)?;
        let mut params = authority_params(federation)?;
        set_validity(&mut params, validity);
        let cert_pem = params.self_signed(&key).map_err(PkiError::content)?.pem();
        Ok(Self { federation: federation.to_owned(), cert_pem, key })
    }

    /// Reads `ca.pem` and `ca.key` of `dir`.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        Self::read(&dir.join("ca.pem"), &dir.join("ca.key"))
    }

    /// Reads the authority's certificate and its key, PEM.
    ///
    /// # Errors
    /// Names the file that can't be read, or says what is wrong with its content.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let cert_pem = read(certificate)?;
        let key = KeyPair::from_pem(&read(key)?).map_err(PkiError::content)?;
        let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(PkiError::content)?;
        let cert = webpki::EndEntityCert::try_from(&der).map_err(PkiError::content)?;
        let federation = cert
            .valid_uri_names()
            .find_map(|uri| uri.strip_prefix("spiffe://dwcp/").and_then(super::decode))
            .ok_or_else(|| PkiError::content("ca.pem names no federation (URI name spiffe://dwcp/…)"))?;
        Ok(Self { federation, cert_pem, key })
    }

    /// Writes `ca.pem` and `ca.key` (mode 0600) into `dir`, which is made when missing.
    pub fn store(&self, dir: &Path) -> Result<(), PkiError> {
        std::fs::create_dir_all(dir).map_err(|e| PkiError::file(dir, e))?;
        write(&dir.join("ca.key"), &self.key.serialize_pem(), 0o600)?;
        write(&dir.join("ca.pem"), &self.cert_pem, 0o644)
    }

    /// Name of the federation this authority speaks for.
    pub fn federation(&self) -> &str {
        &self.federation
    }

    /// The authority's certificate, PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Issues a leaf for `peer`, valid from five minutes ago until `validity` from now, for servers and clients.
    pub fn issue(&self, peer: &PeerId, sans: &[San], validity: Duration) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::content)?;
        let cert_pem = self.sign(&key, peer, sans, validity)?;
        Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
    }

    /// A leaf as of [`Ca::issue`], PEM, for a key that somebody else holds; `public_key` is its point as of [`Key`].
    ///
    /// # Errors
    /// `public_key` is not of that form, or a name can't be written.
    pub fn certify(
        &self,
        public_key: &[u8],
        peer: &PeerId,
        sans: &[San],
        validity: Duration,
    ) -> Result<String, PkiError> {
        let point = public_key.try_into().ok().filter(|point: &[u8; POINT_BYTES]| point[0] == UNCOMPRESSED);
        let point = point.ok_or_else(|| {
            PkiError::content("the public key is no point on P-256: 65 bytes that begin with 4 are needed")
        })?;
        self.sign(&Point(point), peer, sans, validity)
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        peer: &PeerId,
        sans: &[San],
        validity: Duration,
    ) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        let uri = peer.uri(&self.federation);
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, peer.to_string());
        params.subject_alt_names.push(SanType::URI(uri.try_into().map_err(PkiError::content)?));
        for san in sans {
            params.subject_alt_names.push(match san {
                San::Ip(ip) => SanType::IpAddress(*ip),
                San::Dns(name) => SanType::DnsName(name.clone().try_into().map_err(PkiError::content)?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity);
        let issuer = Issuer::new(authority_params(&self.federation)?, &self.key);
        Ok(params.signed_by(key, &issuer).map_err(PkiError::content)?.pem())
    }
}

/// Length of a point on P-256, uncompressed: its kind and two coordinates.
const POINT_BYTES: usize = 65;
/// The kind of a point that is not compressed.
const UNCOMPRESSED: u8 = 4;

/// A public key of which no more is known.
struct Point([u8; POINT_BYTES]);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A P-256 key that is made where it is used and certified elsewhere.
pub struct Key(KeyPair);

impl Key {
    /// Makes one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Key, PkiError> {
        Ok(Key(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::content)?))
    }

    /// Reads one.
    ///
    /// # Errors
    /// The text holds none.
    pub fn from_pem(pem: &str) -> Result<Key, PkiError> {
        let key = KeyPair::from_pem(pem).map_err(PkiError::content)?;
        if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(PkiError::content("the key is not on P-256"));
        }
        Ok(Key(key))
    }

    /// The private key, PEM (PKCS #8).
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The public key: a point, uncompressed, 65 bytes (SEC 1, 2.3.3).
    pub fn public_point(&self) -> &[u8] {
        self.0.der_bytes()
    }

    /// Writes `<name>.key` (mode 0600) into `dir`, replaced atomically.
    ///
    /// # Errors
    /// Names the file that can't be written.
    pub fn store(&self, dir: &Path, name: &str) -> Result<(), PkiError> {
        write(&dir.join(format!("{name}.key")), &self.pem(), 0o600)
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key` (mode 0600) into `dir`; each file is replaced atomically.
    pub fn store(&self, dir: &Path, name: &str) -> Result<(), PkiError> {
        std::fs::create_dir_all(dir).map_err(|e| PkiError::file(dir, e))?;
        write(&dir.join(format!("{name}.key")), &self.key_pem, 0o600)?;
        write(&dir.join(format!("{name}.pem")), &self.cert_pem, 0o644)
    }
}

/// Everything of the authority's certificate that leaves refer to; it must not change between versions.
fn authority_params(federation: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, format!("DWCP {federation}"));
    let uri = format!("spiffe://dwcp/{}", encode(federation));
    params.subject_alt_names.push(SanType::URI(uri.try_into().map_err(PkiError::content)?));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, validity: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SLACK;
    params.not_after = now.checked_add(validity.try_into().unwrap_or(time::Duration::MAX)).unwrap_or(now);
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|e| PkiError::file(path, e))
}

/// Writes beside the target and renames, so that a reader never sees half a file.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let beside =
        path.with_extension(format!("{}.new", path.extension().and_then(|e| e.to_str()).unwrap_or("")));
    let put = || -> std::io::Result<()> {
        match std::fs::remove_file(&beside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    put().map_err(|e| PkiError::file(path, e))
}
