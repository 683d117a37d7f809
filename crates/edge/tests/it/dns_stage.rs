//! A zone with a few services, served on this machine, and a client that asks.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dwcp_decide::route::{Algorithm, EndpointRow, Place, RegionRow, ServiceRow, Table};
use dwcp_edge::dns::{Dns, DnsConfig};
use dwcp_edge::geo::{Geo, OWN};
use dwcp_edge::guard::{Guard, Open};
use dwcp_edge::routes::Current;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::stage::Folder;

const EU: usize = 0;
const BARE: usize = 1;
const US: usize = 2;
/// A network in Dublin, and one in Virginia.
pub const DUBLIN: &str = "203.0.113.0/24";
pub const VIRGINIA: &str = "198.18.7.0/24";
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);

/// The server, and what it serves.
pub struct Stage {
    pub dns: Dns,
    pub current: Arc<Current>,
    _folder: Folder,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(|config| config.rrl_per_s = 0)
    }

    pub fn with(change: impl FnOnce(&mut DnsConfig)) -> Stage {
        Stage::guarded(change, Arc::new(Open))
    }

    pub fn guarded(change: impl FnOnce(&mut DnsConfig), guard: Arc<dyn Guard>) -> Stage {
        let folder = Folder::new();
        let own = format!("{DUBLIN},53.3,-6.3\n{VIRGINIA},38.9,-77.4\n2001:db8:1::/48,53.3,-6.3\n");
        std::fs::write(folder.0.join(OWN), own).expect("a file");
        let geo = Arc::new(Geo::open(&folder.0).expect("networks of our own"));
        let current = Arc::new(Current::new(table()));
        let mut config = DnsConfig::new("dwcp.test.", IpAddr::from([192, 0, 2, 99])).expect("a zone");
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.ns = vec![
            ("ns1.dwcp.test.".into(), vec![IpAddr::from([192, 0, 2, 53])]),
            ("ns2.dwcp.test.".into(), vec![IpAddr::from([198, 51, 100, 53])]),
        ];
        config.nsid = "router-1".into();
        change(&mut config);
        let dns = Dns::start(&config, Arc::clone(&current), Some(geo), guard).expect("it starts");
        Stage { dns, current, _folder: folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.dns.addresses()[0]
    }

    /// Asks by UDP.
    pub fn ask(&self, request: &Message) -> Message {
        read(&self.send(&request.to_vec().expect("a request")).expect("an answer"))
    }

    /// Sends bytes by UDP; the answer, if there is one.
    pub fn send(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.send_from([127, 0, 0, 1].into(), request, PATIENCE)
    }

    /// The same where none is expected.
    pub fn send_briefly(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.send_from([127, 0, 0, 1].into(), request, SHORT)
    }

    pub fn send_from(&self, from: IpAddr, request: &[u8], wait: Duration) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((from, 0)).expect("a socket");
        socket.set_read_timeout(Some(wait)).expect("a time");
        socket.send_to(request, self.address()).expect("it is sent");
        let mut answer = vec![0; 4_096];
        let length = socket.recv(&mut answer).ok()?;
        answer.truncate(length);
        Some(answer)
    }

    /// Asks by TCP, everything at once; the answers that came before the server closed or had answered all.
    pub fn ask_tcp(&self, requests: &[Message]) -> Vec<Message> {
        let mut stream = self.connect();
        let framed = requests.iter().map(|request| framed(&request.to_vec().expect("a request")));
        stream.write_all(&framed.collect::<Vec<_>>().concat()).expect("it is sent");
        requests.iter().map_while(|_| next(&mut stream)).map(|answer| read(&answer)).collect()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream
    }
}

pub fn framed(request: &[u8]) -> Vec<u8> {
    [&(request.len() as u16).to_be_bytes(), request].concat()
}

/// The next answer on a connection.
pub fn next(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

pub fn read(answer: &[u8]) -> Message {
    Message::from_vec(answer).expect("an answer can be read")
}

/// A question without EDNS.
pub fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

/// A question with EDNS and options.
pub fn with(name: &str, kind: RecordType, options: Vec<EdnsOption>) -> Message {
    let mut message = question(name, kind);
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    options.into_iter().for_each(|option| edns.options_mut().insert(option));
    message.set_edns(edns);
    message
}

/// A question for a network of clients.
pub fn of_network(name: &str, kind: RecordType, network: &str) -> Message {
    with(name, kind, vec![EdnsOption::Subnet(network.parse::<ClientSubnet>().expect("a network"))])
}

/// The addresses of an answer.
pub fn addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// Virginia and Ireland with routers, and a region whose routers are not known.
pub fn table() -> Table {
    let mut table = Table { here: "us-east-1".into(), made_at_ms: 1_764_000_000_000, ..Table::default() };
    table.policy.algorithm = Algorithm::GeoProximity;
    let place = |latitude, longitude| Some(Place { latitude, longitude });
    let region = |region: &str, place, routers: &[&str]| RegionRow {
        region: region.into(),
        takes_part: true,
        traffic_percent: 100,
        health: Some(100),
        rtt_ms: Some(10),
        place,
        routers: routers.iter().map(|router| router.parse().expect("an address")).collect(),
        ..RegionRow::default()
    };
    table.regions = vec![
        region("eu-west-1", place(53.3, -6.3), &["198.51.100.1", "2001:db8:ffff::1"]),
        region("sa-east-1", place(-23.5, -46.6), &[]),
        region("us-east-1", place(38.9, -77.4), &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]),
    ];
    table.services = vec![
        service("american", &["american.dwcp.test"], &[US]),
        service("anycast", &["anycast.dwcp.test"], &[EU, US]),
        service("bare", &["bare.dwcp.test"], &[BARE]),
        service("catch-all", &["*"], &[US]),
        service("deep", &["very.deep.dwcp.test"], &[US]),
        service("empty", &["empty.dwcp.test"], &[]),
        service("foreign", &["shop.example.org"], &[US]),
        service("shop", &["shop.dwcp.test", "dwcp.test"], &[EU, BARE, US]),
    ];
    table.services[1].anycast = Some("203.0.113.77".into());
    table
}

fn service(name: &str, hosts: &[&str], regions: &[usize]) -> ServiceRow {
    let endpoint = |region: &usize| EndpointRow {
        id: format!("vm_{name}_{region}"),
        name: format!("{name}-{region}"),
        region: *region as u16,
        zone: "a".into(),
        address: SocketAddr::from(([10, *region as u8, 0, 1], 80)),
        serves: true,
        draining: false,
    };
    ServiceRow {
        name: name.into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        endpoints: regions.iter().map(endpoint).collect(),
        ..ServiceRow::default()
    }
}
