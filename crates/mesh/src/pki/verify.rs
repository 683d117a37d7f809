//! Checks the other side of a mesh connection: chain to our authority, our federation, the expected name.

use std::fmt;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::{Identity, PeerId};

/// Who may be at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Anybody of the federation.
    Anybody,
    /// Any host of the federation, and no region.
    AnyHost,
    /// This peer only.
    This(PeerId),
}

/// Verifier of both directions. It ignores DNS names: a peer is who its URI name says.
pub(crate) struct PeerVerifier {
    identity: Identity,
    expect: Expect,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    pub(crate) fn new(identity: Identity, expect: Expect) -> Self {
        Self { identity, expect, algorithms: ring::default_provider().signature_verification_algorithms }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let ours = self.identity.now();
        let cert = EndEntityCert::try_from(leaf).map_err(|e| Error::General(format!("certificate: {e}")))?;
        cert.verify_for_usage(self.algorithms.all, &ours.roots, intermediates, now, usage, None, None)
            .map_err(|e| Error::General(format!("certificate of {}: {e}", claimed(leaf))))?;
        let (federation, peer) = peer_of(leaf).map_err(Error::General)?;
        if federation != ours.federation {
            return Err(Error::General(format!(
                "{peer} is of federation {federation}, not {}",
                ours.federation
            )));
        }
        match &self.expect {
            Expect::This(expect) if *expect != peer => {
                Err(Error::General(format!("{peer} answered in place of {expect}")))
            }
            Expect::AnyHost if !matches!(peer, PeerId::Host { .. }) => {
                Err(Error::General(format!("{peer} is no host: only hosts talk here")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerVerifier({:?})", self.expect)
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Federation and peer named by a leaf: exactly one URI name of ours is allowed.
pub(crate) fn peer_of(leaf: &CertificateDer<'_>) -> Result<(String, PeerId), String> {
    let cert = EndEntityCert::try_from(leaf).map_err(|e| format!("certificate: {e}"))?;
    let mut names = cert.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(uri), None) => {
            PeerId::parse(uri).ok_or_else(|| format!("certificate names no DWCP peer: {uri:.200}"))
        }
        (None, _) => Err("certificate has no URI name".into()),
        (Some(_), Some(_)) => Err("certificate has more than one URI name".into()),
    }
}

fn claimed(leaf: &CertificateDer<'_>) -> String {
    match peer_of(leaf) {
        Ok((federation, peer)) => format!("{peer} ({federation})"),
        Err(_) => "an unnamed peer".into(),
    }
}

/// A certificate's life, from when to when, seconds since 1970: the validity field of its DER.
pub(crate) fn life_unix(leaf: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let mut outer = Der(leaf.as_ref());
    let mut certificate = Der(outer.element()?.1);
    let mut tbs = Der(certificate.element()?.1);
    let mut first = tbs.element()?;
    if first.0 == 0xa0 {
        first = tbs.element()?; // The version came first; this is the serial number.
    }
    let _serial = first;
    tbs.element()?; // signature algorithm
    tbs.element()?; // issuer
    let mut validity = Der(tbs.element()?.1);
    let begins = moment_unix(validity.element()?)?;
    Some((begins, moment_unix(validity.element()?)?))
}

/// A time of a certificate, seconds since 1970.
fn moment_unix((tag, text): (u8, &[u8])) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (year, rest) = match tag {
        0x17 => {
            let year: i32 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        0x18 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2).and_then(|t| t.parse::<u8>().ok());
    let month = time::Month::try_from(two(0)?).ok()?;
    let date = time::Date::from_calendar_date(year, month, two(2)?).ok()?;
    let clock = time::Time::from_hms(two(4)?, two(6)?, two(8)?).ok()?;
    u64::try_from(date.with_time(clock).assume_utc().unix_timestamp()).ok()
}

/// Reader of DER elements: tag and content.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = first as usize;
        if first >= 0x80 {
            let count = (first & 0x7f) as usize;
            if count == 0 || count > 4 || rest.len() < count {
                return None;
            }
            length = rest[..count].iter().fold(0, |n, &b| n << 8 | b as usize);
            rest = &rest[count..];
        }
        if rest.len() < length {
            return None;
        }
        let (content, rest) = rest.split_at(length);
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::pki::Ca;

    #[test]
    fn where_hosts_talk_a_host_is_believed_in_both_roles_and_a_region_in_none() {
        let day = Duration::from_secs(86_400);
        let ca = Ca::create("test", day).expect("a CA");
        let host = PeerId::Host { region: "r".into(), host: "h".into() };
        let issue = |peer: &PeerId| ca.issue(peer, &[], day).expect("a leaf");
        let own = issue(&host);
        let identity = Identity::from_pem(ca.cert_pem(), &own.cert_pem, &own.key_pem).expect("an identity");
        let verifier = PeerVerifier::new(identity, Expect::AnyHost);
        for (peer, believed) in [(host, true), (PeerId::Region { region: "r".into(), number: 1 }, false)] {
            let leaf = CertificateDer::from_pem_slice(issue(&peer).cert_pem.as_bytes()).expect("a leaf");
            for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
                let checked = verifier.check(&leaf, &[], UnixTime::now(), usage);
                assert_eq!(checked.is_ok(), believed, "{peer}: {checked:?}");
            }
        }
    }
}
