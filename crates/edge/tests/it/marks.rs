//! What a client and an endpoint are sent carries the class of the service it is of, as the packets themselves show.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use dwcp_decide::route::{Protocol, Qos, ServiceRow};
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use socket2::{Domain, Protocol as Kind, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Link, Setting, Stage, service, until};

/// Reads along what goes over the loopback interface: from which port to which port packets with content went, and how marked.
struct Along {
    seen: Arc<Mutex<BTreeSet<(u16, u16, u8)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Along {
    /// None: only root may.
    fn start() -> Option<Along> {
        let all = Kind::from(i32::from((libc::ETH_P_IP as u16).to_be()));
        let socket = match Socket::new(Domain::PACKET, Type::DGRAM, Some(all)) {
            Ok(socket) => socket,
            Err(error) => {
                println!("skipped: packets can't be read along: {error}");
                return None;
            }
        };
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
        let (sees, stops) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut packet = vec![0; 65_536];
            while !stops.load(Relaxed) {
                let read = std::io::Read::read(&mut &socket, &mut packet).unwrap_or(0);
                sees.lock().unwrap().extend(marked(&packet[..read]));
            }
        });
        Some(Along { seen, stop, thread: Some(thread) })
    }

    /// How what one port sent to another was marked.
    async fn marks(&self, from: u16, to: u16) -> Vec<u8> {
        // What was sent may still have to be read.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(a, b, _)| (*a, *b) == (from, to)).map(|(_, _, mark)| *mark).collect()
    }

    /// How what was sent to a port was marked.
    async fn marks_to(&self, to: u16) -> BTreeSet<u8> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.seen.lock().unwrap().iter().filter(|(_, b, _)| *b == to).map(|(_, _, mark)| *mark).collect()
    }
}

impl Drop for Along {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ports and DSCP of a TCP segment with content in an IPv4 packet.
fn marked(packet: &[u8]) -> Option<(u16, u16, u8)> {
    let ip = usize::from(packet.first()? & 15) * 4;
    let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let port = |at: usize| Some(u16::from_be_bytes([*packet.get(ip + at)?, *packet.get(ip + at + 1)?]));
    let content = ip + usize::from(packet.get(ip + 12)? >> 4) * 4;
    (packet[9] == 6 && length > content).then_some((port(0)?, port(2)?, packet[1] >> 2))
}

fn of(qos: Qos, name: &str, endpoint: &Endpoint) -> ServiceRow {
    ServiceRow { qos, ..service(name, &[endpoint]) }
}

async fn ask(link: &mut Link, host: &str) {
    let request = Request::get("/").header(HOST, host).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(link.send(request).await.status, 200);
}

#[tokio::test]
async fn each_answer_is_marked_by_the_class_of_its_service() {
    let Some(along) = Along::start() else { return };
    let ends = [Endpoint::start("c").await, Endpoint::start("s").await, Endpoint::start("b").await];
    let [critical, standard, bulk] = &ends;
    let services = vec![
        of(Qos::Critical, "critical", critical),
        of(Qos::Standard, "standard", standard),
        of(Qos::Bulk, "bulk", bulk),
    ];
    let stage = Stage::of(services).await;
    let port = stage.http().port();
    let mut marks = Vec::new();
    for host in ["critical.test", "standard.test", "bulk.test"] {
        let tcp = TcpStream::connect(stage.http()).await.unwrap();
        let client = tcp.local_addr().unwrap().port();
        ask(&mut Link::http1(tcp).await, host).await;
        marks.push(along.marks(port, client).await);
    }
    assert_eq!(marks, [[18], [0], [1]]);
    // Checks that were made of it go unmarked.
    for (end, mark) in [(critical, 18), (bulk, 1)] {
        let marks = along.marks_to(end.address.port()).await;
        assert!(marks.contains(&mark) && marks.iter().all(|one| [0, mark].contains(one)), "{marks:?}");
    }
    // One connection, one request after the other.
    let tcp = TcpStream::connect(stage.http()).await.unwrap();
    let client = tcp.local_addr().unwrap().port();
    let mut link = Link::http1(tcp).await;
    ask(&mut link, "bulk.test").await;
    assert_eq!(along.marks(port, client).await, [1]);
    ask(&mut link, "critical.test").await;
    assert_eq!(along.marks(port, client).await, [1, 18]);
    ask(&mut link, "standard.test").await;
    assert_eq!(along.marks(port, client).await, [0, 1, 18]);
}

#[tokio::test]
async fn what_is_passed_through_is_marked_in_both_directions() {
    let Some(along) = Along::start() else { return };
    let end = Endpoint::start("t").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let row = ServiceRow { protocol: Protocol::Tcp, port: Some(port), ..of(Qos::Critical, "t", &end) };
    let setting = Setting { tcp: true, ..Setting::default() };
    let _stage = Stage::with(vec![row], Folder::new(), setting).await;
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    until("the port is open", || std::net::TcpStream::connect(at).is_ok()).await;
    let mut tcp = TcpStream::connect(at).await.unwrap();
    let client = tcp.local_addr().unwrap().port();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: t.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(along.marks(port, client).await, [18]);
    assert!(along.marks_to(end.address.port()).await.contains(&18));
}
