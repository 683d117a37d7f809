//! A proxy with a table that is made by hand, and clients.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dwcp_decide::route::{EndpointRow, Place, Protocol, RegionRow, ServiceRow, Table};
use dwcp_edge::guard::{Guard, Open};
use dwcp_edge::proxy::{self, Certificates, Limits, Placing, ProxyConfig, ProxyHandle};
use dwcp_edge::routes::Current;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderMap};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;

struct Nowhere;

impl Placing for Nowhere {
    fn place(&self, _: IpAddr) -> Option<Place> {
        None
    }
}

/// A folder that goes away.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dwcp-edge-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A certificate of its own for a name.
    pub fn certify(&self, name: &str) -> CertificateDer<'static> {
        let file = name.replace('*', "_");
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(self.0.join(format!("{file}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.0.join(format!("{file}.crt")), cert.pem()).unwrap();
        CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn endpoint(id: &str, address: SocketAddr) -> EndpointRow {
    EndpointRow {
        id: id.to_owned(),
        name: id.to_owned(),
        region: 0,
        zone: "a".to_owned(),
        address,
        serves: true,
        draining: false,
    }
}

/// A service of HTTP under `NAME.test`.
pub fn service(name: &str, endpoints: &[&Endpoint]) -> ServiceRow {
    let rows = endpoints.iter().enumerate();
    ServiceRow {
        name: name.to_owned(),
        hosts: vec![format!("{name}.test")],
        protocol: Protocol::Http,
        endpoints: rows.map(|(i, at)| endpoint(&format!("vm_{i}"), at.address)).collect(),
        ..ServiceRow::default()
    }
}

pub fn table(services: Vec<ServiceRow>) -> Table {
    let region = RegionRow {
        region: "eu-west-1".to_owned(),
        takes_part: true,
        traffic_percent: 100,
        health: Some(100),
        rtt_ms: Some(1),
        ..RegionRow::default()
    };
    Table { here: "eu-west-1".to_owned(), regions: vec![region], services, ..Table::default() }
}

/// What a test sets.
pub struct Setting {
    pub limits: Limits,
    pub guard: Arc<dyn Guard>,
    pub trusted: Vec<&'static str>,
    pub log: Option<proxy::LogTo>,
    pub tcp: bool,
}

impl Default for Setting {
    fn default() -> Self {
        let limits = Limits { check_every_ms: 100, check_ms: 500, down_ms: 200, ..Limits::default() };
        Setting { limits, guard: Arc::new(Open), trusted: vec![], log: None, tcp: false }
    }
}

pub struct Stage {
    pub proxy: ProxyHandle,
    pub current: Arc<Current>,
    pub folder: Folder,
    pub certificates: Certificates,
    pub told: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    pub async fn of(services: Vec<ServiceRow>) -> Stage {
        Stage::with(services, Folder::new(), Setting::default()).await
    }

    pub async fn with(services: Vec<ServiceRow>, folder: Folder, setting: Setting) -> Stage {
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        let config = ProxyConfig {
            http: vec![local],
            https: vec![local],
            tcp_bind: setting.tcp.then(|| local.ip()),
            router_name: "router-1".to_owned(),
            limits: setting.limits,
            trusted_proxy: setting.trusted.iter().map(|net| net.parse().unwrap()).collect(),
            cookie_key: [7; 32],
            log: setting.log,
            told: Arc::new(move |text| tells.lock().unwrap().push(text.to_owned())),
        };
        let (certificates, _) = Certificates::open(&folder.0).unwrap();
        let current = Arc::new(Current::new(table(services)));
        let (routes, placing) = (Arc::clone(&current), Arc::new(Nowhere));
        let proxy = proxy::start(config, routes, setting.guard, certificates.clone(), placing).await.unwrap();
        Stage { proxy, current, folder, certificates, told }
    }

    pub fn http(&self) -> SocketAddr {
        self.proxy.http()[0]
    }

    pub fn https(&self) -> SocketAddr {
        self.proxy.https()[0]
    }

    /// Sends bytes as they are, and gives what comes back until the proxy closes, or nothing comes for a second.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut tcp = TcpStream::connect(self.http()).await.unwrap();
        let _ = tcp.write_all(bytes.as_ref()).await;
        all(&mut tcp).await
    }

    /// GET over a connection of its own.
    pub async fn get(&self, host: &str, path: &str) -> Answer {
        self.send(Request::get(path).header(HOST, host).body(Full::default()).unwrap()).await
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        Link::http1(TcpStream::connect(self.http()).await.unwrap()).await.send(request).await
    }
}

/// What comes until the end, or until nothing comes for a second.
pub async fn all(tcp: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let second = Duration::from_secs(1);
    while let Ok(Ok(1..)) = tokio::time::timeout(second, tcp.read_buf(&mut answer)).await {}
    String::from_utf8_lossy(&answer).into_owned()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A connection of a client.
pub enum Link {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Link {
    pub async fn http1<T>(io: T) -> Link
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (send, conn) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(conn.with_upgrades());
        Link::Http1(send)
    }

    pub async fn tls(at: SocketAddr, name: &str, trusts: &CertificateDer<'static>, http2: bool) -> Link {
        let io = tls(at, name, trusts, if http2 { &[b"h2"] } else { &[b"http/1.1"] }).await.unwrap();
        if !http2 {
            return Link::http1(io).await;
        }
        Link::http2(io).await
    }

    pub async fn http2<T>(io: T) -> Link
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(io);
        let (send, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(conn);
        Link::Http2(send)
    }

    pub async fn try_send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let answer: Response<hyper::body::Incoming> = match self {
            Link::Http1(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
            Link::Http2(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
        };
        let (parts, body) = answer.into_parts();
        let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(request).await.unwrap()
    }
}

pub async fn tls(
    at: SocketAddr,
    name: &str,
    trusts: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusts.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let tcp = TcpStream::connect(at).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Waits until something holds, for five seconds at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in five seconds: {what}");
}
