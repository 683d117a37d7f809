//! A receiver of notifications over HTTP that does as it is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dwcp_mesh::{Ca, PeerId, San};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::scratch::Scratch;

/// What it does with a request.
#[derive(Clone)]
pub enum Say {
    /// A whole answer.
    Answer(String),
    /// Nothing, until the test is over.
    Hang,
    /// Nothing, and closes.
    HangUp,
    /// Status 500 and a body without end.
    Endless,
    /// Headers without end, slowly.
    Drip,
}

impl Say {
    pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Say {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Say::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
    }
}

#[derive(Clone)]
pub struct Request {
    pub path: String,
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

type Behaviour = dyn Fn(&Request, usize) -> Say + Send + Sync;

struct Shared {
    behaviour: Box<Behaviour>,
    tls: Option<Arc<ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    over: AtomicBool,
}

pub struct Mock {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    stopped: Arc<AtomicBool>,
}

impl Mock {
    /// `behaviour` sees a request and its number, from 0.
    pub fn start(behaviour: impl Fn(&Request, usize) -> Say + Send + Sync + 'static) -> Mock {
        Mock::start_with(None, behaviour)
    }

    /// The same behind TLS.
    pub fn start_with(
        tls: Option<Arc<ServerConfig>>,
        behaviour: impl Fn(&Request, usize) -> Say + Send + Sync + 'static,
    ) -> Mock {
        let shared = Shared {
            behaviour: Box::new(behaviour),
            tls,
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        };
        let mock = Mock { shared: Arc::new(shared), running: Mutex::default() };
        mock.start_again("127.0.0.1:0".parse().expect("an address"));
        mock
    }

    pub fn start_again(&self, address: SocketAddr) {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (shared, stopped) = (Arc::clone(&self.shared), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&stopped);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                shared.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || shared.accept(stream));
            }
        });
        *self.running.lock().expect("a lock") = Some(Running { address, accepting, stopped });
    }

    /// Nobody listens from now on.
    pub fn stop(&self) -> SocketAddr {
        let running = self.running.lock().expect("a lock").take().expect("it runs");
        running.stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(running.address).expect("it listens");
        running.accepting.join().expect("it ends");
        running.address
    }

    pub fn address(&self) -> SocketAddr {
        self.running.lock().expect("a lock").as_ref().expect("it runs").address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("a lock").clone()
    }

    pub fn count(&self) -> usize {
        self.requests().len()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if self.running.lock().expect("a lock").is_some() {
            self.stop();
        }
    }
}

impl Shared {
    fn accept(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        match &self.tls {
            None => self.serve(stream),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
                self.serve(StreamOwned::new(connection, stream));
            }
        }
    }

    fn serve(&self, mut stream: impl Read + Write) {
        let Some(request) = read(&mut stream) else { return };
        let number = {
            let mut requests = self.requests.lock().expect("a lock");
            requests.push(request.clone());
            requests.len() - 1
        };
        let is_over = || self.over.load(Ordering::SeqCst);
        // What the other side does not read any more does not matter.
        match (self.behaviour)(&request, number) {
            Say::Answer(text) => drop(stream.write_all(text.as_bytes())),
            Say::HangUp => {}
            Say::Hang => {
                while !is_over() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Say::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n");
                while !is_over() && stream.write_all(b"5\r\nwords\r\n").is_ok() {}
            }
            Say::Drip => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                while !is_over() && stream.write_all(b"X-A: b\r\n").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            read => body.extend_from_slice(&chunk[..read]),
        }
    }
    Some(Request { path, headers, body })
}

/// A folder with an authority and a certificate of it for a server on loopback.
pub fn certificates(scratch: &Scratch, name: &str) -> PathBuf {
    let (folder, day) = (scratch.path().join(name), Duration::from_secs(86_400));
    let ca = Ca::create(name, day).expect("an authority");
    ca.store(&folder).expect("stored");
    let ip = San::Ip("127.0.0.1".parse().expect("an address"));
    let peer = PeerId::Region { region: "r".to_owned(), number: 1 };
    ca.issue(&peer, &[ip], day).expect("issued").store(&folder, "server").expect("stored");
    folder
}

/// How a server shows the certificate of such a folder.
pub fn tls_config(folder: &Path) -> Arc<ServerConfig> {
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
    let certificate = CertificateDer::from_pem_slice(&read("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("a configuration"))
}
