//! The limits of the proxy. Nothing in it grows or waits without one.

/// Sizes in bytes, times in ms.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of clients at a time.
    pub connections: usize,
    /// Of one client (of IPv6: of one /64) at a time.
    pub connections_per_client: u32,
    /// Requests under way at a time.
    pub requests: usize,
    /// Clients that are kept waiting at a time, and for how long.
    pub tarpitted: usize,
    pub tarpit_ms: u64,
    pub header_bytes: usize,
    pub headers: usize,
    pub uri_bytes: usize,
    /// The longest body of a request.
    pub body_bytes: u64,
    /// Bodies up to this length are kept to be sent again, when the method allows it.
    pub replay_bytes: u64,
    /// HTTP/2: requests under way on one connection.
    pub streams: u32,
    /// HTTP/2: requests that the client took back and that are not cleared away yet; more end the connection.
    pub resets: usize,
    /// HTTP/2: requests that the client took back within a second each, less one for each that an endpoint answered, and less 20 each
    /// second; so many end the connection.
    pub taken_back: u32,
    pub handshake_ms: u64,
    /// From the first byte of a head to its last, and from a connection to its first head.
    pub header_ms: u64,
    /// A connection without requests.
    pub idle_ms: u64,
    /// A request's body without a byte.
    pub body_idle_ms: u64,
    /// A client that does not read.
    pub write_ms: u64,
    pub connect_ms: u64,
    /// Until an endpoint's answer begins.
    pub answer_ms: u64,
    /// An answer's body without a byte.
    pub answer_idle_ms: u64,
    /// A tunnel or a TCP connection without a byte.
    pub tunnel_idle_ms: u64,
    /// Connections to one endpoint, and to all, that are kept for later requests, and for how long.
    pub kept_per_endpoint: usize,
    pub kept: usize,
    pub kept_ms: u64,
    /// Each endpoint is looked at so often; those of other regions, while they are well, more seldom.
    pub check_every_ms: u64,
    pub check_far_every_ms: u64,
    pub check_ms: u64,
    /// Endpoints that are looked at at a time.
    pub checks_at_once: usize,
    /// Failed checks in a row until an endpoint counts as down.
    pub check_failures: u32,
    /// Failed requests in a row until an endpoint counts as down, and for how long at least.
    pub failures: u32,
    pub down_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 20_000,
            connections_per_client: 1_000,
            requests: 20_000,
            tarpitted: 512,
            tarpit_ms: 20_000,
            header_bytes: 32 * 1024,
            headers: 100,
            uri_bytes: 8 * 1024,
            body_bytes: 1 << 30,
            replay_bytes: 64 * 1024,
            streams: 128,
            resets: 20,
            taken_back: 400,
            handshake_ms: 5_000,
            header_ms: 10_000,
            idle_ms: 60_000,
            body_idle_ms: 30_000,
            write_ms: 30_000,
            connect_ms: 2_000,
            answer_ms: 60_000,
            answer_idle_ms: 120_000,
            tunnel_idle_ms: 600_000,
            kept_per_endpoint: 256,
            kept: 4_096,
            kept_ms: 30_000,
            check_every_ms: 1_000,
            check_far_every_ms: 5_000,
            check_ms: 1_000,
            checks_at_once: 64,
            check_failures: 2,
            failures: 3,
            down_ms: 5_000,
        }
    }
}
