//! Connecting to an endpoint, without the second that a lost packet costs.
//!
//! When a SYN or its answer is lost, or the endpoint's queue is full for a moment, the kernel tries again after a second (RFC 6298, 2.1),
//! and then after two more. Another socket asks sooner. Nothing has been said yet, so no request can happen twice; an endpoint of TCP,
//! which may speak first, is asked by one socket only.

use std::future::pending;
use std::io::{self, ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::mark::Mark;

/// An endpoint may take so long beside the way to it, ms.
const SLACK_MS: u64 = 50;
/// The way to a region that was never measured, ms.
const UNKNOWN_RTT_MS: u32 = 75;

/// How long a connection is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub within_ms: u64,
    /// From one try to the next, the third is the last; none: there is one.
    again_ms: Option<u64>,
}

impl Patience {
    /// So long in all, with an endpoint in a region that is so far away; none: it was not measured.
    pub fn new(within_ms: u64, rtt_ms: Option<u32>) -> Patience {
        let again_ms = SLACK_MS + 2 * u64::from(rtt_ms.unwrap_or(UNKNOWN_RTT_MS));
        Patience { within_ms, again_ms: Some(again_ms) }
    }

    /// So long, with one socket.
    pub fn once(within_ms: u64) -> Patience {
        Patience { within_ms, again_ms: None }
    }
}

/// Connects to an endpoint.
///
/// # Errors
/// It can't be, or not in time.
pub(super) async fn connect(address: SocketAddr, mark: Mark, patience: Patience) -> io::Result<TcpStream> {
    let Patience { within_ms, again_ms } = patience;
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
    let within = Duration::from_millis(within_ms);
    let tcp = timeout(within, persist(address, again_ms)).await.map_err(|_| late())??;
    tcp.set_nodelay(true)?;
    if mark != Mark::default() {
        mark.put(&tcp);
    }
    Ok(tcp)
}

/// Up to three sockets; the first one that has an answer, be it that nobody listens there.
async fn persist(address: SocketAddr, again_ms: Option<u64>) -> io::Result<TcpStream> {
    let mut first = pin!(TcpStream::connect(address));
    let Some(again_ms) = again_ms else { return first.await };
    let again = Duration::from_millis(again_ms);
    if let Ok(connected) = timeout(again, first.as_mut()).await {
        return connected;
    }
    // In a box: it is seldom needed.
    Box::pin(async {
        tokio::select! {
            connected = first => connected,
            connected = besides(address, Duration::ZERO) => connected,
            connected = besides(address, again) => connected,
        }
    })
    .await
}

/// Another socket, after a while. That there is none to be had says nothing about the endpoint.
async fn besides(address: SocketAddr, after: Duration) -> io::Result<TcpStream> {
    sleep(after).await;
    match TcpStream::connect(address).await {
        Err(error) if !matches!(error.kind(), ConnectionRefused | ConnectionReset) => pending().await,
        answered => answered,
    }
}
