//! Shares of a region's traffic, counted over requests that pass the proxy; and clients with a cookie while shares change.
//!
//! `cargo run --profile sim -p dwcp-edge --example bench-splits -- [--requests N]`. Endpoints, proxy and clients are in this process.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dwcp_decide::route::{EndpointRow, Place, RegionRow, ServiceRow, Table};
use dwcp_edge::guard::Open;
use dwcp_edge::proxy::{self, Certificates, Limits, Placing, ProxyConfig};
use dwcp_edge::routes::Current;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{COOKIE, HOST, SET_COOKIE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const REGIONS: [&str; 5] = ["us-east-1", "eu-west-1", "ap-south-1", "sa-east-1", "au-southeast-1"];
/// Of the traffic of the router's own region.
const SHARES: [u8; 5] = [10, 25, 50, 75, 100];
/// How far a share may be from what is wanted, percent of all.
const OFF: f64 = 1.0;
const CONNECTIONS: usize = 8;
/// Clients with a cookie, and how often each asks at each share.
const STICKY: usize = 500;
const ASKS: usize = 10;

struct Nowhere;

impl Placing for Nowhere {
    fn place(&self, _: IpAddr) -> Option<Place> {
        None
    }
}

/// Answers its region's name to whatever it is asked.
async fn endpoint(region: &'static str) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(answer(tcp, region));
        }
    });
    Ok(address)
}

async fn answer(mut tcp: TcpStream, region: &str) -> std::io::Result<()> {
    let said = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{region}", region.len());
    let mut asked = Vec::new();
    while tcp.read_buf(&mut asked).await? > 0 {
        if asked.ends_with(b"\r\n\r\n") {
            asked.clear();
            tcp.write_all(said.as_bytes()).await?;
        }
    }
    Ok(())
}

/// The router's own region is the first and takes this share of its traffic; each has an endpoint of each of two services.
fn table(addresses: &[SocketAddr], percent: u8) -> Table {
    let region = |at: usize| RegionRow {
        region: REGIONS[at].to_owned(),
        takes_part: true,
        traffic_percent: if at == 0 { percent } else { 100 },
        health: Some(100),
        rtt_ms: Some(1 + 40 * at as u32),
        ..RegionRow::default()
    };
    let endpoint = |at: usize| EndpointRow {
        id: format!("vm_{at}"),
        name: REGIONS[at].to_owned(),
        region: at as u16,
        zone: "a".to_owned(),
        address: addresses[at],
        serves: true,
        draining: false,
    };
    let service = |name: &str, sticky| ServiceRow {
        name: name.to_owned(),
        hosts: vec![format!("{name}.test")],
        sticky,
        endpoints: (0..REGIONS.len()).map(endpoint).collect(),
        ..ServiceRow::default()
    };
    Table {
        here: REGIONS[0].to_owned(),
        regions: (0..REGIONS.len()).map(region).collect(),
        services: vec![service("any", false), service("sticky", true)],
        ..Table::default()
    }
}

struct Client {
    to: SendRequest<Empty<Bytes>>,
    cookie: Option<String>,
}

impl Client {
    async fn new(router: SocketAddr) -> Outcome<Client> {
        let (to, connection) = handshake(TokioIo::new(TcpStream::connect(router).await?)).await?;
        tokio::spawn(connection);
        Ok(Client { to, cookie: None })
    }

    /// The region that answered.
    async fn ask(&mut self, host: &str) -> Outcome<String> {
        let mut request = Request::get("/").header(HOST, host);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        self.to.ready().await?;
        let answer = self.to.send_request(request.body(Empty::new())?).await?;
        if answer.status() != 200 {
            return Err(format!("answered {}", answer.status()).into());
        }
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            self.cookie = cookie.to_str()?.split(';').next().map(str::to_owned);
        }
        Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?)
    }
}

/// How many of so many requests each region answered.
async fn count(router: SocketAddr, requests: usize) -> Outcome<BTreeMap<String, usize>> {
    let clients = (0..CONNECTIONS).map(|_| {
        tokio::spawn(async move {
            let (mut client, mut counts) = (Client::new(router).await?, BTreeMap::new());
            for _ in 0..requests / CONNECTIONS {
                *counts.entry(client.ask("any.test").await?).or_insert(0) += 1;
            }
            Outcome::Ok(counts)
        })
    });
    let mut sums = BTreeMap::new();
    for client in clients.collect::<Vec<_>>() {
        for (region, count) in client.await?? {
            *sums.entry(region).or_insert(0) += count;
        }
    }
    Ok(sums)
}

fn config() -> Outcome<ProxyConfig> {
    Ok(ProxyConfig {
        http: vec!["127.0.0.1:0".parse()?],
        https: Vec::new(),
        tcp_bind: None,
        router_name: "bench".to_owned(),
        limits: Limits { connections_per_client: 20_000, ..Limits::default() },
        trusted_proxy: Vec::new(),
        cookie_key: [0; 32],
        log: None,
        told: Arc::new(|text| eprintln!("{text}")),
    })
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let at = words.iter().position(|word| word == "--requests");
    let requests = at.and_then(|at| words.get(at + 1)).map_or(Ok(100_000), |word| word.parse())?;
    let mut addresses = Vec::new();
    for region in REGIONS {
        addresses.push(endpoint(region).await?);
    }
    let folder = std::env::temp_dir().join(format!("dwcp-bench-splits-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let certificates = Certificates::open(&folder);
    let current = Arc::new(Current::new(table(&addresses, 100)));
    let proxy =
        proxy::start(config()?, current.clone(), Arc::new(Open), certificates?.0, Arc::new(Nowhere)).await?;
    let router = proxy.http()[0];

    let mut wrong = Vec::new();
    for percent in SHARES {
        current.replace(table(&addresses, percent));
        let begun = Instant::now();
        let counts = count(router, requests).await?;
        let all: usize = counts.values().sum();
        let share = counts.get(REGIONS[0]).copied().unwrap_or(0) as f64 * 100.0 / all as f64;
        println!(
            "{} with {percent} % of its traffic: {share:.2} % of {all} requests, {:.0} a second; {counts:?}",
            REGIONS[0],
            all as f64 / begun.elapsed().as_secs_f64()
        );
        if (share - f64::from(percent)).abs() > OFF {
            wrong.push(format!("{share:.2} % instead of {percent} %"));
        }
    }

    current.replace(table(&addresses, 50));
    let mut clients = Vec::new();
    for _ in 0..STICKY {
        let mut client = Client::new(router).await?;
        let region = client.ask("sticky.test").await?;
        clients.push((client, region));
    }
    let (mut asks, mut moved) = (0, 0);
    for percent in SHARES {
        current.replace(table(&addresses, percent));
        for (client, region) in &mut clients {
            for _ in 0..ASKS {
                asks += 1;
                moved += usize::from(client.ask("sticky.test").await? != *region);
            }
        }
    }
    let here = clients.iter().filter(|(_, region)| region == REGIONS[0]).count();
    println!(
        "{STICKY} clients with a cookie, {here} of {}: {moved} of {asks} requests went elsewhere while shares changed",
        REGIONS[0]
    );
    if moved > 0 {
        wrong.push(format!("{moved} requests with a cookie went elsewhere"));
    }
    std::fs::remove_dir_all(&folder)?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}
