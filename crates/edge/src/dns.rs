//! Authoritative DNS of one zone: a service's name has the addresses of the routers in the region that is best for who asks.
//!
//! Requests are read by `hickory-proto`. Answers are of a few fixed kinds, and written by hand: see `write`.

mod addresses;
mod answer;
mod batch;
mod cookie;
mod limit;
mod question;
mod sign;
mod tcp;
mod udp;
mod write;
mod zone;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use crate::geo::Geo;
use crate::guard::Guard;
use crate::routes::Current;

pub use answer::{Responder, Way};

/// Bytes before the first name of a message.
const HEADER: usize = 12;
/// A port that is free for UDP may be taken for TCP: then another is tried, so often.
const TRIES: usize = 16;

/// How it is set up.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Where it listens, by UDP and TCP. A port 0 becomes any that is free.
    pub listen: Vec<SocketAddr>,
    /// Threads for each of them.
    pub threads: usize,
    /// The zone's name, such as `dwcp.test.`.
    pub zone: String,
    /// The zone's servers with their addresses; none: `ns1` of the zone at this router.
    pub ns: Vec<(String, Vec<IpAddr>)>,
    /// Where this router serves HTTP: the address of its region as long as the table has none for it.
    pub this_router: IpAddr,
    /// Whom people write to about the zone: a name of DNS or an address of mail.
    pub contact: String,
    /// This router's name for those who ask which server answered; empty: not told.
    pub nsid: String,
    /// The longest answer by UDP, bytes.
    pub udp_payload: u16,
    /// Answers of a kind a second to a network; 0: without limit.
    pub rrl_per_s: u32,
    /// The same in all routers of the zone.
    pub cookie_secret: [u8; 16],
    /// The secret that was in force before.
    pub cookie_secret_before: Option<[u8; 16]>,
    /// What the key is made of that signs the zone, the same in all routers; none: it is not signed.
    pub signing_seed: Option<[u8; 32]>,
}

impl DnsConfig {
    /// A zone with everything as usual, and a secret of its own.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(zone: &str, this_router: IpAddr) -> Result<DnsConfig, String> {
        let mut cookie_secret = [0; 16];
        SystemRandom::new().fill(&mut cookie_secret).map_err(|_| "no random numbers".to_owned())?;
        Ok(DnsConfig {
            listen: Vec::new(),
            threads: 1,
            zone: zone.to_owned(),
            ns: Vec::new(),
            this_router,
            contact: format!("hostmaster.{}", zone.trim_start_matches('.')),
            nsid: String::new(),
            udp_payload: 1_232,
            rrl_per_s: 500,
            cookie_secret,
            cookie_secret_before: None,
            signing_seed: None,
        })
    }
}

/// What the zone above is to say of the key that is made of this seed: a line of its zone file.
///
/// # Errors
/// The name is none.
pub fn ds(zone: &str, seed: &[u8; 32]) -> Result<String, String> {
    let config = DnsConfig::new(zone, IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))?;
    let signer = sign::Signer::new(seed, &zone::Zone::of(&config)?.written())?;
    Ok(format!("{}. {}", zone.trim_end_matches('.'), signer.ds_line()))
}

/// A DNS server that runs. It stops when it is dropped.
pub struct Dns {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    stop_tcp: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Starts.
    ///
    /// # Errors
    /// The configuration is wrong, or an address cannot be had.
    pub fn start(
        config: &DnsConfig,
        current: Arc<Current>,
        geo: Option<Arc<Geo>>,
        guard: Arc<dyn Guard>,
    ) -> Result<Dns, String> {
        let responder = Arc::new(Responder::new(config, current, geo, guard)?);
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &config.listen {
            let (first, listener) =
                bind(*address).map_err(|e| format!("DNS cannot listen at {address}: {e}"))?;
            let bound = first.local_addr().map_err(|e| e.to_string())?;
            sockets.push(first);
            for _ in 1..config.threads.max(1) {
                sockets.push(udp::bind(bound).map_err(|e| format!("DNS cannot listen at {bound}: {e}"))?);
            }
            listeners.push(listener);
            addresses.push(bound);
        }
        let mut dns = Dns { addresses, stop: Arc::default(), stop_tcp: None, threads: Vec::new() };
        for socket in sockets {
            let (responder, stop) = (Arc::clone(&responder), Arc::clone(&dns.stop));
            dns.spawn("dns-udp", move || udp::serve(&socket, &responder, &stop))?;
        }
        dns.start_tcp(listeners, responder)?;
        Ok(dns)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// TCP has a thread and a runtime of its own: what happens there delays nobody else.
    fn start_tcp(
        &mut self,
        listeners: Vec<std::net::TcpListener>,
        responder: Arc<Responder>,
    ) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("DNS cannot serve TCP: {e}"))?;
        let listeners = {
            let _inside = runtime.enter();
            let listeners: Result<Vec<_>, _> =
                listeners.into_iter().map(tokio::net::TcpListener::from_std).collect();
            listeners.map_err(|e| format!("DNS cannot serve TCP: {e}"))?
        };
        let (stop, stopped) = oneshot::channel();
        self.stop_tcp = Some(stop);
        self.spawn("dns-tcp", move || {
            runtime.block_on(async {
                tokio::select! {
                    () = tcp::serve(listeners, responder) => {}
                    _ = stopped => {}
                }
            });
        })
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        self.threads.push(thread.map_err(|e| format!("DNS has no thread: {e}"))?);
        Ok(())
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.stop_tcp.take();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The same port by UDP and TCP.
fn bind(address: SocketAddr) -> std::io::Result<(UdpSocket, std::net::TcpListener)> {
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        let socket = udp::bind(address)?;
        tries -= 1;
        match listen(socket.local_addr()?) {
            Ok(listener) => return Ok((socket, listener)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
