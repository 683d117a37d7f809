//! Connections that are passed through unread.

use std::sync::Arc;
use std::time::Duration;

use dwcp_decide::route::Protocol;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Link, Setting, Stage, all, endpoint, service, table, tls};

/// An endpoint that ends TLS itself, greets and echoes.
async fn secret(folder: &Folder, name: &str) -> std::net::SocketAddr {
    let read = |end: &str| std::fs::read(folder.0.join(format!("{name}.{end}"))).unwrap();
    use rustls::pki_types::pem::PemObject;
    let cert = rustls::pki_types::CertificateDer::from_pem_slice(&read("crt")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&read("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut io) = acceptor.accept(tcp).await else { continue };
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = io.read(&mut bytes).await {
                    io.write_all(&bytes[..count]).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_for_a_service_that_ends_it_itself_is_passed_through_by_its_name() {
    let shop = Endpoint::start("shop").await;
    let (ours, theirs) = (Folder::new(), Folder::new());
    let (own, foreign) = (ours.certify("shop.test"), theirs.certify("vault.test"));
    let mut vault = service("vault", &[]);
    vault.protocol = Protocol::TlsPassthrough;
    vault.endpoints.push(endpoint("vm_1", secret(&theirs, "vault.test").await));
    let stage = Stage::with(vec![service("shop", &[&shop]), vault], ours, Setting::default()).await;
    let mut io = tls(stage.https(), "vault.test", &foreign, &[]).await.unwrap();
    let long = vec![b'x'; 300_000];
    let (mut read, mut write) = tokio::io::split(&mut io);
    let sends = async { write.write_all(&long).await.unwrap() };
    let mut echo = vec![0; long.len()];
    let receives = async { read.read_exact(&mut echo).await.unwrap() };
    tokio::join!(sends, receives);
    assert_eq!(echo, long);
    let mut link = Link::tls(stage.https(), "shop.test", &own, true).await;
    let answer = link.send(Request::get("https://shop.test/").body(Full::default()).unwrap()).await;
    assert_eq!(answer.body, "shop");
    // Over a connection that we can read the other service is not reached.
    let answer = link.send(Request::get("https://vault.test/").body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, 421);
    assert_eq!(stage.get("vault.test", "/").await.status, 421);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_tcp_services_open_and_close_with_the_table() {
    let shop = Endpoint::start("shop").await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut row = service("shop", &[&shop]);
    (row.protocol, row.port, row.hosts) = (Protocol::Tcp, Some(port), vec![]);
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    row.endpoints.push(endpoint("vm_dead", dead));
    let setting = Setting { tcp: true, ..Setting::default() };
    let stage = Stage::with(vec![], Folder::new(), setting).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    stage.current.replace(table(vec![row]));
    let mut tcp = None;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        tcp = TcpStream::connect(("127.0.0.1", port)).await.ok();
        if tcp.is_some() {
            break;
        }
    }
    let mut tcp = tcp.expect("the port opens");
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for _ in 0..10 {
        let mut other = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        other.write_all(request).await.unwrap();
        // One side has ended; the answer comes all the same.
        other.shutdown().await.unwrap();
        let _ = all(&mut other).await;
    }
    stage.current.replace(table(vec![]));
    let mut closed = false;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        closed = TcpStream::connect(("127.0.0.1", port)).await.is_err();
        if closed {
            break;
        }
    }
    assert!(closed);
    // What was open stays.
    tcp.write_all(request).await.unwrap();
    assert!(all(&mut tcp).await.ends_with("shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_told_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let shop = Endpoint::start("shop").await;
    let mut row = service("shop", &[&shop]);
    (row.protocol, row.port) = (Protocol::Tcp, Some(port));
    let stage = Stage::with(vec![row], Folder::new(), Setting { tcp: true, ..Setting::default() }).await;
    crate::stage::until("it is told", || !stage.told.lock().unwrap().is_empty()).await;
    drop(taken);
    let mut opened = false;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        opened = TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        if opened {
            break;
        }
    }
    assert!(opened && stage.told.lock().unwrap().len() == 1);
    let answer = stage.send(Request::get("/").header(HOST, "shop.test").body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, 421);
}
