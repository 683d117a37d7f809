//! What a router serves: DNS, HTTP, TLS, TCP.

use std::net::IpAddr;
use std::sync::Arc;

use dwcp_decide::route::Place;
use serde_json::json;
use tokio::sync::mpsc;

use super::shielded::derived;
use super::{Shared, log};
use crate::dns::{Dns, DnsConfig};
use crate::geo::Geo;
use crate::guard::Guard;
use crate::kernel::Listen;
use crate::proxy::{self, Certificates, Cidr, Entry, Limits, LogTo, Placing, ProxyConfig, ProxyHandle};
use crate::repeated::Repeated;
use crate::shield::watching;

/// How long what is under way may take at the end, ms.
pub(super) const DRAIN_MS: u64 = 10_000;
/// Entries of the access log that may wait.
const ENTRIES: usize = 1_024;

/// Everything that serves; it ends with this.
pub struct Served {
    proxy: ProxyHandle,
    _dns: Option<Dns>,
    _watching: Repeated,
    _kernel: Option<Repeated>,
    _shaping: Option<Repeated>,
}

struct Placed(Option<Arc<Geo>>);

impl Placing for Placed {
    fn place(&self, ip: IpAddr) -> Option<Place> {
        self.0.as_ref().and_then(|geo| geo.look(ip).place)
    }
}

/// Begins to serve.
///
/// # Errors
/// What could not be listened at.
pub async fn start(shared: &Arc<Shared>) -> Result<Served, String> {
    let watching = watching(shared.shield.clone()).map_err(|e| format!("a thread: {e}"))?;
    let guard: Arc<dyn Guard> = shared.shield.clone();
    let config = &shared.settings.config;
    let folder = &shared.settings.certificates;
    let (certificates, wrong) =
        Certificates::open(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    wrong.iter().for_each(|wrong| log(wrong));
    let (to, entries) = mpsc::channel(ENTRIES);
    tokio::spawn(write_log(entries));
    let proxied = ProxyConfig {
        http: config.http.clone(),
        https: config.https.clone(),
        tcp_bind: config.http.first().or(config.https.first()).map(std::net::SocketAddr::ip),
        router_name: format!("{}-{}", config.host, config.number),
        limits: Limits::default(),
        trusted_proxy: trusted(&config.trusted_proxies)?,
        cookie_key: derived(&shared.settings.secret, "sticky"),
        log: Some(LogTo { one_of: config.access_log_one_in, to }),
        told: Arc::new(|line: &str| log(line)),
    };
    let placing = Arc::new(Placed(shared.geo.clone()));
    let proxy = proxy::start(proxied, shared.current.clone(), guard.clone(), certificates, placing).await;
    let proxy = proxy.map_err(|e| e.to_string())?;
    Ok(Served {
        proxy,
        _dns: dns(shared, guard)?,
        _watching: watching,
        _kernel: super::early::start(shared, &listens(shared)),
        _shaping: super::shaped::start(shared),
    })
}

impl Served {
    /// Lets end what is under way.
    pub async fn end(self) {
        self.proxy.shutdown(DRAIN_MS).await;
    }
}

fn trusted(texts: &[String]) -> Result<Vec<Cidr>, String> {
    texts.iter().map(|text| text.parse().map_err(|e| format!("trusted_proxies: {text}: {e}"))).collect()
}

fn dns(shared: &Arc<Shared>, guard: Arc<dyn Guard>) -> Result<Option<Dns>, String> {
    let config = &shared.settings.config;
    let Some(first) = config.dns.first() else { return Ok(None) };
    let this_router = config.http.first().or(config.https.first()).unwrap_or(first).ip();
    let mut zone = DnsConfig::new(&config.zone, this_router)?;
    zone.listen.clone_from(&config.dns);
    zone.ns = config.name_servers.iter().map(|name| (name.clone(), Vec::new())).collect();
    zone.nsid = format!("{}-{}", config.host, config.number);
    let [secret @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
        derived(&shared.settings.secret, "dns");
    zone.cookie_secret = secret;
    zone.signing_seed = config.dnssec.then(|| shared.settings.signing_seed());
    Dns::start(&zone, shared.current.clone(), shared.geo.clone(), guard).map(Some)
}

/// Where it serves, for filters of the kernel.
fn listens(shared: &Shared) -> Vec<Listen> {
    let config = &shared.settings.config;
    let tcp = config.http.iter().chain(&config.https).chain(&config.dns).map(|at| (at, false));
    let udp = config.dns.iter().map(|at| (at, true));
    tcp.chain(udp).map(|(at, udp)| Listen { address: at.ip(), port: at.port(), udp }).collect()
}

/// Writes the access log, a line of JSON each.
async fn write_log(mut entries: mpsc::Receiver<Entry>) {
    while let Some(entry) = entries.recv().await {
        let at_ms =
            entry.at.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let line = json!({
            "at_ms": at_ms,
            "client": entry.client,
            "service": entry.service,
            "endpoint": entry.endpoint,
            "method": entry.method,
            "host": entry.host,
            "path": entry.path,
            "status": entry.status,
            "retries": entry.retries,
            "bytes_in": entry.bytes_in,
            "bytes_out": entry.bytes_out,
            "took_us": entry.took_us,
            "upstream_us": entry.upstream_us,
            "broken": entry.broken,
        });
        log(&line.to_string());
    }
}
