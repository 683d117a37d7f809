//! QUIC settings and endpoints.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::BbrConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, IdleTimeout, Runtime, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};

use crate::pki::{Identity, PeerId};
use crate::transfer::SAFE_BYTES as TRANSFER_SAFE_BYTES;
use crate::wan::{EmulatedSocket, Wan};

/// A silent connection is given up after this time.
pub(crate) const IDLE_MS: u32 = 3000;
/// What may wait, unread, on one stream at the receiver; also what one stream holds unsent at the sender.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// Four full streams fit below these, so that a full lower class never blocks the writing of a higher one.
const CONNECTION_WINDOW_BYTES: u32 = 48 << 20;
const INITIAL_WINDOW_BYTES: u64 = 256 << 10;
const DATAGRAM_BUFFER_BYTES: usize = 64 << 10;
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const MAX_PENDING_HANDSHAKES: usize = 1024;

/// Name sent in the TLS hello; names don't matter here, URI names do.
pub(crate) const SERVER_NAME: &str = "mesh.dwcp.internal";

/// What one stream between agents may have on its way: a round trip of 310 ms at 1 Gbit/s.
const TRANSFER_STREAM_WINDOW_BYTES: u32 = 40 << 20;
/// All streams of one connection between agents together.
const TRANSFER_WINDOW_BYTES: u32 = 64 << 20;
/// A silent connection between agents is held up by these.
const TRANSFER_KEEP_ALIVE: Duration = Duration::from_millis(700);

fn transport() -> Arc<TransportConfig> {
    Arc::new(settings())
}

/// For connections between agents: wide windows, and `streams` of both directions that the peer may open.
fn transfer_transport(streams: u32) -> Arc<TransportConfig> {
    let mut t = settings();
    t.keep_alive_interval(Some(TRANSFER_KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(TRANSFER_STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(TRANSFER_WINDOW_BYTES))
        // Widened while packets arrive: `transfer/flow.rs`.
        .send_window(TRANSFER_SAFE_BYTES)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .datagram_receive_buffer_size(None);
    Arc::new(t)
}

fn settings() -> TransportConfig {
    let mut t = TransportConfig::default();
    t.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        // Our own pings come more often; this only covers the time before the first of them.
        .keep_alive_interval(Some(Duration::from_millis(1000)))
        // Short: the first packets of a dial are repeated after 3 x this while nothing is known.
        .initial_rtt(Duration::from_millis(100))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(CONNECTION_WINDOW_BYTES as u64)
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .max_concurrent_bidi_streams(VarInt::from_u32(2))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    // BBR and not Cubic: small frames are as quick with either at 1 % loss, but at 80 ms and 0.1 % loss a bulk frame
    // came with 169 against 6 Mbit/s (debug build). It loses more packets where a link is slower than we send.
    let mut congestion = BbrConfig::default();
    congestion.initial_window(INITIAL_WINDOW_BYTES);
    t.congestion_controller_factory(Arc::new(congestion));
    t
}

pub(crate) fn client_config(identity: &Identity, expect: PeerId) -> io::Result<ClientConfig> {
    let tls = identity.mesh_client_config(Some(expect)).map_err(io::Error::other)?;
    let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    Ok(config)
}

pub(crate) fn server_config(identity: &Identity) -> io::Result<ServerConfig> {
    let tls = identity.mesh_server_config().map_err(io::Error::other)?;
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport()).max_incoming(MAX_PENDING_HANDSHAKES);
    Ok(config)
}

/// For dialing the agent of the host `expect`.
pub(crate) fn transfer_client_config(identity: &Identity, expect: PeerId) -> io::Result<ClientConfig> {
    let tls = identity.transfer_client_config(expect).map_err(io::Error::other)?;
    let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transfer_transport(0));
    Ok(config)
}

/// For being dialed by other agents, `streams` a connection at once.
pub(crate) fn transfer_server_config(identity: &Identity, streams: u32) -> io::Result<ServerConfig> {
    let tls = identity.transfer_server_config().map_err(io::Error::other)?;
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transfer_transport(streams)).max_incoming(MAX_PENDING_HANDSHAKES);
    Ok(config)
}

/// Binds a UDP socket, emulated when a WAN is given (`region` is where this process stands).
pub(crate) fn endpoint(
    bind: SocketAddr,
    server: Option<ServerConfig>,
    wan: Option<&Wan>,
    region: &str,
    seed: u64,
) -> io::Result<Endpoint> {
    let socket = std::net::UdpSocket::bind(bind)?;
    // As much as the system allows: bursts on fast links overflow the default. Failing costs only speed.
    let options = socket2::SockRef::from(&socket);
    let _ = options.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = options.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let socket: Arc<dyn AsyncUdpSocket> = match wan {
        Some(wan) => Arc::new(EmulatedSocket::wrap(socket, wan.clone(), region, seed)?),
        None => TokioRuntime.wrap_udp_socket(socket)?,
    };
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))
}
