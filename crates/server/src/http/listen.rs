//! Connections: TLS, limits, time limits, an orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::{Api, door, outlook};

/// Connections at once; more wait until one ends.
const CONNECTIONS: usize = 1_024;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a request's head may take to arrive; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(30);
/// Most bytes of a head that are held.
const HEAD_BYTES: usize = 64 << 10;
/// How long requests under way may go on once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves the API on `listener` until `stop` is done, then ends streams, lets requests under way finish and returns.
/// Without `tls` it speaks plain HTTP (tests).
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    api: Arc<Api>,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(stop);
    tokio::spawn(outlook::keep(api.clone()));
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = places.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, acceptor.clone(), api.clone(), permit));
            }
            // Out of file descriptors, or the peer went away before: the next one may do better.
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    drop(listener);
    api.stopping.send_replace(true);
    let all = places.acquire_many(CONNECTIONS as u32);
    // Whoever is not done by now is cut off when the process ends.
    let _ = timeout(GRACE, all).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    api: Arc<Api>,
    permit: OwnedSemaphorePermit,
) {
    // Answers are small and each is written at once.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => converse(stream, api).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                converse(stream, api).await;
            }
        }
    }
    drop(permit);
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, api: Arc<Api>) {
    let mut stopping: watch::Receiver<bool> = api.stopping.subscribe();
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(door::handle(api, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A connection that broke needs no answer.
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
