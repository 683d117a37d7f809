//! TLS: ended here, or passed through to the service that the client names, unread.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dwcp_decide::route::Protocol;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::time::Instant;
use tokio_rustls::LazyConfigAcceptor;

use super::conversation::Conversation;
use super::line::Line;
use super::passing::{self, Caller};
use super::shared::Shared;
use super::watched::Socket;
use super::wire::Wire;

pub(super) async fn serve(
    shared: Arc<Shared>,
    line: Line,
    wire: Wire,
    caller: Caller,
    config: Arc<ServerConfig>,
) {
    let until = Instant::now() + Duration::from_millis(shared.limits.handshake_ms);
    let lost = |line: &Line, slow: bool| {
        shared.counts.handshakes_failed.fetch_add(1, Relaxed);
        line.admitted.slow.store(u32::from(slow), Relaxed);
    };
    let hello = LazyConfigAcceptor::new(Acceptor::default(), wire.keeping());
    let mut hello = match tokio::time::timeout_at(until, hello).await {
        Ok(Ok(hello)) => hello,
        result => return lost(&line, result.is_err()),
    };
    let routes = shared.current.routes();
    let named = hello.client_hello().server_name().map(str::to_ascii_lowercase);
    let service = routes.service(named.as_deref().unwrap_or_default());
    let first = hello.io.take_kept();
    if let Some(service) =
        service.filter(|service| routes.table.services[*service].protocol == Protocol::TlsPassthrough)
    {
        // The client's first message goes along as it came.
        let wire = hello.io.with_before(first);
        return passing::carry(&shared, &line, wire, caller, (routes, service)).await;
    }
    drop(routes);
    let stream = match tokio::time::timeout_at(until, hello.into_stream(config)).await {
        Ok(Ok(stream)) => stream,
        result => return lost(&line, result.is_err()),
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
    let talk = Conversation::new(&shared, line, true, caller.trusted);
    if http2 { Box::pin(talk.http2(Socket::http2(stream))).await } else { talk.http1(stream).await }
}
