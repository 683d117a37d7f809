use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::fake::Home;

/// A federation over TLS, and its CA as PEM. It answers every request with an empty page.
fn start() -> (String, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&authority_key).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&leaf_key, &Issuer::new(authority, authority_key))
        .unwrap();
    let key = PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = rustls::ServerConnection::new(config.clone()) else { return };
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if tls.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                seen.push(byte[0]);
            }
            let body = r#"{"items":[],"next_cursor":null,"as_of":[]}"#;
            let _ = write!(
                tls,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = tls.flush();
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (endpoint, ca.pem())
}

#[test]
fn the_federations_own_authority_is_trusted_from_a_file_and_from_the_configuration() {
    let (endpoint, pem) = start();
    let home = Home::new();
    std::fs::write(home.0.join("ca.pem"), &pem).unwrap();
    let ran = home.run(&format!("--endpoint {endpoint} --ca ca.pem vm list"));
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, "no VMs\nas of  unknown\n"), "{}", ran.stderr);

    let mut config = dwcp_config::cli::CliConfig::default();
    config.put(dwcp_config::cli::Context {
        name: "dev".into(),
        endpoints: vec![endpoint],
        ca: Some(pem),
        token: None,
    });
    let file = home.0.join(".config").join(dwcp_config::cli::FILE);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, config.to_yaml()).unwrap();
    let ran = home.run("vm list");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
}

#[test]
fn another_authority_is_not_trusted() {
    let ((endpoint, _), (_, other)) = (start(), start());
    let home = Home::new();
    std::fs::write(home.0.join("ca.pem"), other).unwrap();
    let ran = home.run(&format!("--endpoint {endpoint} --ca ca.pem vm list"));
    assert_eq!(ran.exit, 6);
    assert!(ran.stderr.contains("certificate"), "{}", ran.stderr);
}

#[test]
fn an_endpoint_with_tls_needs_a_readable_authority() {
    let home = Home::new();
    let ran = home.run("--endpoint https://127.0.0.1:1 --ca nowhere.pem vm list");
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("nowhere.pem can't be read"), "{}", ran.stderr);
    std::fs::write(home.0.join("empty.pem"), "nothing").unwrap();
    assert_eq!(home.run("--endpoint https://127.0.0.1:1 --ca empty.pem vm list").exit, 2);
}
