//! Issues certificates for nodes that hosts run, where this process has the authority's key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dwcp_config::region::RegionConfig;
use dwcp_mesh::{Ca, PeerId, San};
use dwcp_roles::node::{CertifiedFor, CertifyFor};
use dwcp_roles::protocol::Certified;

/// How long a node's certificate lives. Its host asks for the next one when half of that is over.
const VALIDITY: Duration = Duration::from_secs(24 * 3_600);

/// The authority of the federation, read anew for each certificate: its key is in memory no longer than it is needed.
#[derive(Clone)]
pub struct Issuer {
    certificate: PathBuf,
    key: PathBuf,
}

impl Issuer {
    /// The issuer that the configuration names; none: this process issues nothing.
    pub fn new(config: &RegionConfig) -> Option<Issuer> {
        let key = config.pki.ca_key.as_ref()?;
        Some(Issuer { certificate: (&config.pki.ca).into(), key: key.into() })
    }

    /// Issues what was asked for, or says why not.
    pub fn issue(&self, asked: &CertifyFor) -> CertifiedFor {
        let (certificate, refused) = match self.certificate(asked) {
            Ok(certificate) => (certificate, String::new()),
            Err(why) => (String::new(), why),
        };
        let answer = Certified { public_key: asked.public_key.clone(), certificate, refused };
        CertifiedFor { asker: asked.asker, region: asked.region.clone(), host: asked.host.clone(), answer }
    }

    fn certificate(&self, asked: &CertifyFor) -> Result<String, String> {
        let address: SocketAddr =
            asked.address.parse().map_err(|_| format!("'{}' is not an address and port", asked.address))?;
        let ca = Ca::read(&self.certificate, &self.key).map_err(|e| e.to_string())?;
        let peer = PeerId::Region { region: asked.region.as_str().to_owned(), number: asked.number };
        let names = [San::Ip(address.ip())];
        ca.certify(&asked.public_key, &peer, &names, VALIDITY).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use dwcp_mesh::{Identity, Key};

    use super::*;

    #[test]
    fn a_node_gets_a_certificate_for_the_key_of_its_host_and_for_nothing_else() {
        let dir = std::env::temp_dir().join(format!("dwcp-issuer-{}", std::process::id()));
        let ca = Ca::create("f", Duration::from_secs(3_600)).expect("made");
        ca.store(&dir).expect("stored");
        let issuer = Issuer { certificate: dir.join("ca.pem"), key: dir.join("ca.key") };
        let key = Key::generate().expect("random");
        let asked = CertifyFor {
            asker: 1,
            region: "x".into(),
            host: "x-a1".into(),
            number: 6,
            address: "127.0.0.1:7443".into(),
            public_key: key.public_point().to_vec(),
        };
        let issued = issuer.issue(&asked).answer;
        let identity = Identity::from_pem(ca.cert_pem(), &issued.certificate, &key.pem()).expect("fits");
        assert_eq!(identity.peer(), PeerId::Region { region: "x".to_owned(), number: 6 });
        let refused = issuer.issue(&CertifyFor { public_key: vec![4; 10], ..asked.clone() }).answer;
        assert!(refused.certificate.is_empty() && refused.refused.contains("65 bytes"), "{refused:?}");
        let nowhere = issuer.issue(&CertifyFor { address: "here".into(), ..asked.clone() }).answer;
        assert!(nowhere.refused.contains("here"), "{nowhere:?}");
        std::fs::remove_file(dir.join("ca.key")).expect("removed");
        let lost = issuer.issue(&asked).answer;
        assert!(lost.certificate.is_empty() && lost.refused.contains("ca.key"), "{lost:?}");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
