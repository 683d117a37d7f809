//! Connections that are passed through as they are: of TCP services, and of TLS that is none of ours.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dwcp_decide::route::{Client, Protocol, ServiceRow};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::routes::{Routes, TRIES};

use super::accept::{self, Door};
use super::connect::{Patience, connect};
use super::conversation::spread;
use super::health;
use super::line::Line;
use super::mark::Mark;
use super::shared::Shared;
use super::splice::splice;
use super::wire::Wire;

/// How soon a changed table is noticed, and a port that could not be had is tried again, ms.
const NOTICE_MS: u64 = 250;
const AGAIN_MS: u64 = 2_000;

/// Who is at the other side of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// The client's, or the balancer's when it named nobody.
    pub address: SocketAddr,
    /// It is a balancer.
    pub trusted: bool,
}

/// The TCP service at a port.
pub(super) fn at_port<'a>(mut services: impl Iterator<Item = &'a ServiceRow>, port: u16) -> Option<usize> {
    services.position(|service| service.protocol == Protocol::Tcp && service.port == Some(port))
}

/// Carries a connection to an endpoint, until its end.
pub(super) async fn carry(
    shared: &Arc<Shared>,
    line: &Line,
    mut wire: Wire,
    caller: Caller,
    (routes, service): (Arc<Routes>, usize),
) {
    let row = &routes.table.services[service];
    let pool = &routes.pools[service];
    let mark = Mark::of(row.qos, &routes.table.policy);
    line.mark.set(mark);
    let port = if row.sticky { 0 } else { caller.address.port() };
    let ip = caller.address.ip();
    let client = Client { key: spread(ip, port), place: shared.placing.place(ip), pinned: None };
    let mut tried: Vec<u32> = Vec::new();
    while tried.len() < TRIES {
        let Some(choice) = shared.current.choose_next(&routes, service, &client, &tried) else { return };
        let Some(endpoint) = row.endpoints.get(choice.endpoint as usize) else { return };
        let Some(_under_way) = pool.begin(choice.endpoint) else { return };
        let Some(flow) = pool.flows.get(usize::from(choice.region)) else { return };
        let begun = Instant::now();
        match connect(endpoint.address, mark, Patience::once(shared.limits.connect_ms)).await {
            Ok(mut tcp) => {
                flow.upstream.took(begun.elapsed());
                shared.failures.worked(endpoint.address);
                let (from, to) = through(shared, line, &mut wire, &mut tcp).await;
                flow.answers[2].fetch_add(1, Relaxed);
                flow.bytes_in.fetch_add(from, Relaxed);
                flow.bytes_out.fetch_add(to, Relaxed);
                return;
            }
            Err(_) => {
                health::failed(shared, pool, choice.endpoint, endpoint.address);
                flow.answers[0].fetch_add(1, Relaxed);
                tried.push(choice.endpoint);
                if !shared.budgets.take(&row.name, pool, shared.now_ms()) {
                    shared.counts.retries_refused.fetch_add(1, Relaxed);
                    return;
                }
                flow.retries.fetch_add(1, Relaxed);
            }
        }
    }
}

async fn through(shared: &Shared, line: &Line, wire: &mut Wire, tcp: &mut TcpStream) -> (u64, u64) {
    let carried = tokio::select! {
        carried = splice(wire, tcp, shared.limits.tunnel_idle_ms) => carried,
        () = shared.closed() => (0, 0),
    };
    line.admitted.bytes_in.fetch_add(carried.0, Relaxed);
    line.admitted.bytes_out.fetch_add(carried.1, Relaxed);
    carried
}

/// Keeps the ports of TCP services open, until the end.
pub(super) async fn keep_ports(shared: Arc<Shared>, ip: IpAddr) {
    let mut open: HashMap<u16, AbortHandle> = HashMap::new();
    let mut refused: HashMap<u16, Instant> = HashMap::new();
    let mut known: Option<Arc<Routes>> = None;
    let mut end = std::pin::pin!(shared.closed());
    loop {
        let routes = shared.current.routes();
        let same = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &routes));
        if !same || !refused.is_empty() {
            let wanted: Vec<u16> = ports(&routes);
            open.retain(|port, task| {
                let stays = wanted.contains(port);
                if !stays {
                    task.abort();
                }
                stays
            });
            refused.retain(|port, _| wanted.contains(port));
            for port in wanted.into_iter().filter(|port| !open.contains_key(port)).collect::<Vec<_>>() {
                open_port(&shared, SocketAddr::new(ip, port), &mut open, &mut refused);
            }
            known = Some(routes);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(NOTICE_MS)) => {}
            () = end.as_mut() => return,
        }
    }
}

fn ports(routes: &Routes) -> Vec<u16> {
    let services = routes.table.services.iter().filter(|service| service.protocol == Protocol::Tcp);
    services.filter_map(|service| service.port).collect()
}

fn open_port(
    shared: &Arc<Shared>,
    address: SocketAddr,
    open: &mut HashMap<u16, AbortHandle>,
    refused: &mut HashMap<u16, Instant>,
) {
    let port = address.port();
    let recent = |at: &Instant| at.elapsed() < Duration::from_millis(AGAIN_MS);
    if open.contains_key(&port) || refused.get(&port).is_some_and(recent) {
        return;
    }
    match accept::bind(address) {
        Ok(listener) => {
            refused.remove(&port);
            let task = tokio::spawn(accept::listen(Arc::clone(shared), listener, Door::Tcp(port)));
            open.insert(port, task.abort_handle());
        }
        Err(error) => {
            // Told once; tried again until it can be had.
            if refused.insert(port, Instant::now()).is_none() {
                (shared.told)(&format!("port {port} of a service: {error}"));
            }
        }
    }
}
