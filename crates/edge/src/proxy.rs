//! The reverse proxy: HTTP/1.1, HTTP/2 and TLS in front, HTTP/1.1 to the endpoints, TCP and foreign TLS passed through.
//!
//! A request goes where [`Current::choose`] says, and to another endpoint when that one is dead and nothing can have happened twice.
//! What can be read in two ways is refused. Everything has a limit and an end ([`Limits`]).

mod accept;
mod access_log;
mod admission;
mod answer;
mod ask;
mod budget;
mod certificates;
mod cidr;
mod connect;
mod conversation;
mod failures;
mod forward;
mod headers;
mod heads;
mod health;
mod limits;
mod line;
mod mark;
mod pace;
mod passing;
mod preface;
mod record;
mod refusal;
mod rest;
mod sent;
mod shared;
mod splice;
mod sticky;
mod taken_back;
mod tls;
mod turn;
mod upstream;
mod watched;
mod wire;

pub use access_log::{Entry, LogTo};
pub use certificates::Certificates;
pub use cidr::Cidr;
pub use limits::Limits;
pub use shared::Counts;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use dwcp_decide::route::Place;
use hyper::header::HeaderValue;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, watch};

use crate::guard::Guard;
use crate::routes::Current;

use accept::Door;
use shared::{Closing, Shared};
use upstream::Upstreams;

/// How often certificates are looked at, and connections that wait too long are closed, ms.
const CERTIFICATES_MS: u64 = 1_000;
const SWEEP_MS: u64 = 5_000;
/// How long the last connections may take to notice the end, ms.
const LAST_MS: u64 = 2_000;

/// Knows where addresses are.
pub trait Placing: Send + Sync {
    /// None: unknown.
    fn place(&self, ip: IpAddr) -> Option<Place>;
}

/// Is told what an operator should know: a certificate that can't be read, a port that can't be had.
pub type Told = Arc<dyn Fn(&str) + Send + Sync>;

pub struct ProxyConfig {
    /// Where HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Where TLS is.
    pub https: Vec<SocketAddr>,
    /// Where TCP services' ports are opened; none: nowhere.
    pub tcp_bind: Option<IpAddr>,
    /// For `Via`: letters, digits, `-`, `.`.
    pub router_name: String,
    pub limits: Limits,
    /// Balancers in front: only they may say for whom they come.
    pub trusted_proxy: Vec<Cidr>,
    /// Signs the cookies of sticky services. The same in all routers.
    pub cookie_key: [u8; 32],
    pub log: Option<LogTo>,
    pub told: Told,
}

/// A proxy that runs. It ends when this is dropped.
pub struct ProxyHandle {
    shared: Arc<Shared>,
    closing: watch::Sender<Closing>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
}

/// Begins to serve.
///
/// # Errors
/// An address can't be listened at, or TLS can't be set up.
pub async fn start(
    config: ProxyConfig,
    current: Arc<Current>,
    guard: Arc<dyn Guard>,
    certificates: Certificates,
    placing: Arc<dyn Placing>,
) -> io::Result<ProxyHandle> {
    let (closing, watched) = watch::channel(Closing::No);
    let (http, https, tcp_bind) = (config.http.clone(), config.https.clone(), config.tcp_bind);
    let shared = Arc::new(shared(config, current, guard, placing, watched)?);
    let tls = Arc::new(certificates.server().map_err(io::Error::other)?);
    let mut doors = Vec::new();
    let mut bound = |addresses: Vec<SocketAddr>, door: Door| -> io::Result<Vec<SocketAddr>> {
        let listen = |address: SocketAddr| {
            let failed = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
            let listener = accept::bind(address).map_err(failed)?;
            let address = listener.local_addr()?;
            doors.push((listener, door.clone()));
            Ok(address)
        };
        addresses.into_iter().map(listen).collect()
    };
    let http = bound(http, Door::Http)?;
    let https = bound(https, Door::Https(tls))?;
    for (listener, door) in doors {
        tokio::spawn(accept::listen(Arc::clone(&shared), listener, door));
    }
    tokio::spawn(health::watch(Arc::clone(&shared)));
    tokio::spawn(keep_house(Arc::clone(&shared), certificates));
    if let Some(ip) = tcp_bind {
        tokio::spawn(passing::keep_ports(Arc::clone(&shared), ip));
    }
    Ok(ProxyHandle { shared, closing, http, https })
}

fn shared(
    config: ProxyConfig,
    current: Arc<Current>,
    guard: Arc<dyn Guard>,
    placing: Arc<dyn Placing>,
    closing: watch::Receiver<Closing>,
) -> io::Result<Shared> {
    let mut seed = [0; 16];
    SystemRandom::new().fill(&mut seed).map_err(|_| io::Error::other("no random bytes"))?;
    let (seed, counter) = seed.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let via = |version: &str| {
        let text = format!("{version} {}", config.router_name);
        HeaderValue::try_from(text).map_err(|_| io::Error::other("a router's name that is no name"))
    };
    Ok(Shared {
        via: [via("1.1")?, via("2")?],
        upstreams: Arc::new(Upstreams::new(&config.limits)),
        tarpit: Arc::new(Semaphore::new(config.limits.tarpitted)),
        cookie_key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &config.cookie_key),
        limits: config.limits,
        trusted: config.trusted_proxy,
        log: config.log,
        told: config.told,
        current,
        guard,
        placing,
        counts: Counts::default(),
        admission: admission::Admission::default(),
        budgets: budget::Budgets::default(),
        failures: failures::Failures::default(),
        requests: Default::default(),
        closing,
        begun: Instant::now(),
        seed: number(seed),
        counter: AtomicU64::new(number(counter)),
    })
}

/// What has to be done from time to time.
async fn keep_house(shared: Arc<Shared>, certificates: Certificates) {
    let mut end = std::pin::pin!(shared.closed());
    let mut swept = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(CERTIFICATES_MS)) => {}
            () = end.as_mut() => return,
        }
        let reading = certificates.clone();
        if let Ok(wrong) = tokio::task::spawn_blocking(move || reading.reload()).await {
            wrong.iter().for_each(|wrong| (shared.told)(wrong));
        }
        if swept.elapsed() >= Duration::from_millis(SWEEP_MS) {
            swept = Instant::now();
            shared.upstreams.sweep();
            let routes = shared.current.routes();
            let is_there = |name: &str| routes.table.services.iter().any(|service| service.name == name);
            shared.budgets.keep(is_there);
            shared.failures.sweep(shared.now_ms());
        }
    }
}

impl ProxyHandle {
    /// Where HTTP is served.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where TLS is.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// All of them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.http.iter().chain(&self.https).copied().collect()
    }

    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Takes no more connections, lets end what is under way, and closes what has not ended in this time.
    pub async fn shutdown(self, drain_ms: u64) {
        self.closing.send_replace(Closing::Drain);
        self.ended(drain_ms).await;
        self.closing.send_replace(Closing::Now);
        self.ended(LAST_MS).await;
    }

    /// Waits until no connection is left, for so long at most.
    async fn ended(&self, within_ms: u64) {
        let until = Instant::now() + Duration::from_millis(within_ms);
        while self.shared.admission.open() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
