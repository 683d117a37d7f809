//! An endpoint that says what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Got {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

#[derive(Default)]
pub struct Log {
    pub got: Mutex<Vec<Got>>,
    pub connections: AtomicU32,
}

pub struct Endpoint {
    pub address: SocketAddr,
    pub log: Arc<Log>,
    task: AbortHandle,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    /// Answers its name, and by path: `/echo` the body, `/slow` after 500 ms, `/never` not at all, `/big` a megabyte, `/fail` 500, `/upgrade` an echo.
    pub async fn start(name: &'static str) -> Endpoint {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(name: &'static str, address: SocketAddr) -> Endpoint {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(128).unwrap();
        let (address, log) = (listener.local_addr().unwrap(), Arc::<Log>::default());
        let task = tokio::spawn(accept(listener, name, Arc::clone(&log))).abort_handle();
        Endpoint { address, log, task }
    }

    /// Reads a whole head and then does what it is told with the socket.
    pub async fn raw(answers: &'static [u8]) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, log) = (listener.local_addr().unwrap(), Arc::<Log>::default());
        let counted = Arc::clone(&log);
        let task = tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                counted.connections.fetch_add(1, Relaxed);
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                        if tcp.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let line = String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned();
                    counted.got.lock().unwrap().push(Got { line, headers: vec![], body: Bytes::new() });
                    let _ = tcp.write_all(answers).await;
                    let _ = tcp.shutdown().await;
                });
            }
        });
        Endpoint { address, log, task: task.abort_handle() }
    }

    pub fn got(&self) -> Vec<Got> {
        self.log.got.lock().unwrap().clone()
    }

    pub fn last(&self) -> Got {
        self.got().last().cloned().expect("something was asked")
    }
}

async fn accept(listener: TcpListener, name: &'static str, log: Arc<Log>) {
    // With this task its connections end, too.
    let mut all = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        log.connections.fetch_add(1, Relaxed);
        let log = Arc::clone(&log);
        all.spawn(async move {
            let service = service_fn(move |request| answer(request, name, Arc::clone(&log)));
            let conn =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
            let _ = conn.with_upgrades().await;
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    name: &'static str,
    log: Arc<Log>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let line = format!("{} {}", request.method(), request.uri());
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    if path == "/upgrade" {
        log.got.lock().unwrap().push(Got { line, headers, body: Bytes::new() });
        let over = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(over.await.unwrap());
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = io.read(&mut bytes).await {
                io.write_all(&bytes[..count]).await.unwrap();
            }
        });
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
        return Ok(answer);
    }
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(Response::new(Full::from("broken"))),
    };
    log.got.lock().unwrap().push(Got { line, headers, body: body.clone() });
    let mut answer = Response::new(Full::from(name));
    match &*path {
        "/echo" => *answer.body_mut() = Full::from(body),
        "/big" => *answer.body_mut() = Full::from(vec![b'x'; 1 << 20]),
        "/fail" => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        "/slow" => tokio::time::sleep(Duration::from_millis(500)).await,
        "/never" => std::future::pending().await,
        _ => {}
    }
    Ok(answer)
}
