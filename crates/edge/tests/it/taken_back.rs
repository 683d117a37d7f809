//! Requests of HTTP/2 that a client takes back (CVE-2023-44487), at once or when an endpoint has them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dwcp_edge::guard::{Asked, Ended, Guard, Verdict};
use dwcp_edge::proxy::Limits;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Setting, Stage, service, until};

/// Counts what it hears of requests that were taken back: of each one, and of a connection's end.
#[derive(Default)]
struct Hears {
    one: AtomicU32,
    end: AtomicU32,
}

impl Guard for Hears {
    fn connection(&self, _: IpAddr) -> Verdict {
        Verdict::Pass
    }

    fn connection_ended(&self, _: IpAddr, ended: Ended) {
        self.end.fetch_add(ended.resets, Relaxed);
    }

    fn request(&self, _: &Asked<'_>) -> Verdict {
        Verdict::Pass
    }

    fn request_ended(&self, _: &Asked<'_>, ended: Ended) {
        self.one.fetch_add(ended.resets, Relaxed);
    }

    fn dns(&self, _: IpAddr) -> bool {
        true
    }

    fn solved(&self, _: IpAddr, _: &str, _: &[u8]) -> Result<(String, String), String> {
        Err("nothing was asked".to_owned())
    }
}

type Client = SendRequest<Full<Bytes>>;

async fn client(at: SocketAddr) -> Client {
    let tcp = TcpStream::connect(at).await.unwrap();
    let (send, conn) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(conn);
    send
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://shop.test{path}")).body(Full::default()).unwrap()
}

async fn stage(shop: &Endpoint, limits: Limits) -> (Stage, Arc<Hears>) {
    let hears = Arc::<Hears>::default();
    let guard = Arc::clone(&hears) as Arc<dyn Guard>;
    let setting = Setting { limits, guard, ..Setting::default() };
    (Stage::with(vec![service("shop", &[shop])], Folder::new(), setting).await, hears)
}

/// Asks, lets the request come to the endpoint, and takes it back.
async fn take_back(client: &mut Client) {
    let asked = client.send_request(get("/slow"));
    let _ = tokio::time::timeout(Duration::from_millis(20), asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_back_what_endpoints_have_is_cut_off_and_the_guard_hears_of_each() {
    let shop = Endpoint::start("shop").await;
    let (stage, hears) = stage(&shop, Limits { taken_back: 10, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    let mut asked = 0;
    while !link.is_closed() && asked < 30 {
        take_back(&mut link).await;
        asked += 1;
    }
    assert!(link.is_closed() && asked <= 13, "cut off after {asked}");
    assert_eq!(stage.proxy.counts().taken_back.load(Relaxed), 1);
    assert!((10..=12).contains(&hears.one.load(Relaxed)), "{}", hears.one.load(Relaxed));
    assert_eq!(hears.end.load(Relaxed), 0, "nothing is told twice");
    let answer = client(stage.http()).await.send_request(get("/")).await.unwrap();
    assert_eq!(answer.status(), 200, "it may come again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_back_requests_at_once_is_cut_off_and_the_guard_hears_of_it() {
    let shop = Endpoint::start("shop").await;
    let (stage, hears) = stage(&shop, Limits { resets: 5, taken_back: 50, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    let begun = Instant::now();
    while !link.is_closed() && begun.elapsed() < Duration::from_secs(5) {
        for _ in 0..20 {
            let asked = link.send_request(get("/slow"));
            tokio::task::yield_now().await;
            drop(asked);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until("it is cut off", || stage.proxy.counts().taken_back.load(Relaxed) == 1).await;
    until("the guard hears of it", || hears.one.load(Relaxed) + hears.end.load(Relaxed) >= 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_as_much_be_answered_may_take_back_what_it_likes() {
    let shop = Endpoint::start("shop").await;
    let (stage, hears) = stage(&shop, Limits { taken_back: 5, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    for _ in 0..15 {
        take_back(&mut link).await;
        let answer = link.send_request(get("/")).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
        assert_eq!(body.to_bytes(), "shop");
    }
    assert_eq!((stage.proxy.counts().taken_back.load(Relaxed), link.is_closed()), (0, false));
    until("the guard hears of each", || hears.one.load(Relaxed) == 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_again_and_again_does_not_come_to_an_endpoint_any_more() {
    let shop = Endpoint::start("shop").await;
    let (stage, _) = stage(&shop, Limits::default()).await;
    let mut link = client(stage.http()).await;
    for _ in 0..60 {
        take_back(&mut link).await;
    }
    let came = shop.got().iter().filter(|got| got.line.ends_with("/slow")).count();
    assert!((16..60).contains(&came), "{came}");
    let answer = link.send_request(get("/")).await.unwrap();
    assert_eq!(answer.status(), 200, "who waits is served");
}
