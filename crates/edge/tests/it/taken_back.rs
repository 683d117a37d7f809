//! Requests of HTTP/2 that a client takes back (CVE-2023-44487), at once or when an endpoint has them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dwcp_decide::route::Live;
use dwcp_edge::guard::{Asked, Ended, Guard, Verdict};
use dwcp_edge::proxy::Limits;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// Asks so often at once, and takes all of it back when it is at the endpoint.
async fn take_back(client: &mut Client, shop: &Endpoint, times: usize) {
    let before = shop.got().len();
    let asked: Vec<_> = (0..times).map(|_| tokio::spawn(client.send_request(get("/never")))).collect();
    for _ in 0..100 {
        if shop.got().len() >= before + times || client.is_closed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    // A task that ends drops its request.
    for asked in asked {
        let _ = asked.await;
    }
}

/// Until the connection is over.
async fn closed(client: &Client) {
    until("it is cut off", || client.is_closed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_back_what_endpoints_have_is_cut_off_and_the_guard_hears_of_it() {
    let shop = Endpoint::start("shop").await;
    let (stage, hears) = stage(&shop, Limits { streams: 10, taken_back: 30, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    let begun = Instant::now();
    while !link.is_closed() && begun.elapsed() < Duration::from_secs(10) {
        take_back(&mut link, &shop, 10).await;
    }
    closed(&link).await;
    assert_eq!(stage.proxy.counts().abused.load(Relaxed), 1);
    until("the guard hears of what a page does not explain", || hears.one.load(Relaxed) >= 10).await;
    assert_eq!(hears.end.load(Relaxed), 0, "nothing is told twice");
    let answer = client(stage.http()).await.send_request(get("/")).await.unwrap();
    assert_eq!(answer.status(), 200, "it may come again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_back_requests_at_once_is_cut_off_and_the_guard_hears_of_it() {
    let shop = Endpoint::start("shop").await;
    let limits = Limits { resets: 5, streams: 20, taken_back: 50, ..Limits::default() };
    let (stage, hears) = stage(&shop, limits).await;
    let mut link = client(stage.http()).await;
    let begun = Instant::now();
    while !link.is_closed() && begun.elapsed() < Duration::from_secs(10) {
        for _ in 0..20 {
            let asked = link.send_request(get("/never"));
            tokio::task::yield_now().await;
            drop(asked);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until("it is cut off", || stage.proxy.counts().abused.load(Relaxed) == 1).await;
    until("the guard hears of it", || hears.one.load(Relaxed) + hears.end.load(Relaxed) >= 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_back_requests_in_their_bodies_is_cut_off_and_no_endpoint_is_blamed() {
    let shop = Endpoint::start("shop").await;
    let (stage, hears) = stage(&shop, Limits { streams: 10, taken_back: 30, ..Limits::default() }).await;
    for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
        let heard = hears.one.load(Relaxed);
        let tcp = TcpStream::connect(stage.http()).await.unwrap();
        let (mut send, conn) = h2::client::handshake(tcp).await.unwrap();
        let conn = tokio::spawn(conn);
        let begun = Instant::now();
        while !conn.is_finished() && begun.elapsed() < Duration::from_secs(10) {
            let Ok(ready) = send.ready().await else { break };
            send = ready;
            let request = Request::post("http://shop.test/echo").body(()).unwrap();
            let Ok((_answer, mut body)) = send.send_request(request, false) else { break };
            let _ = body.send_data("half".into(), false);
            tokio::time::sleep(Duration::from_millis(5)).await;
            body.send_reset(reason);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{reason:?} is never cut off");
        until("the guard hears of it", || hears.one.load(Relaxed) >= heard + 10).await;
    }
    assert!(stage.current.routes().pools[0].is_up(0), "it is well");
    assert_eq!(shop.got().iter().filter(|got| &*got.body == b"half").count(), 0, "no half is a whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_as_much_be_answered_may_take_back_what_it_likes() {
    let shop = Endpoint::start("shop").await;
    let (stage, hears) = stage(&shop, Limits { taken_back: 5, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    for _ in 0..15 {
        take_back(&mut link, &shop, 1).await;
        let answer = link.send_request(get("/")).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
        assert_eq!(body.to_bytes(), "shop");
    }
    assert_eq!((stage.proxy.counts().abused.load(Relaxed), link.is_closed()), (0, false));
    assert_eq!(hears.one.load(Relaxed), 0, "users do such things");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_here_makes_up_for_nothing() {
    let shop = Endpoint::start("shop").await;
    let (stage, _) = stage(&shop, Limits { streams: 10, taken_back: 30, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    let begun = Instant::now();
    while !link.is_closed() && begun.elapsed() < Duration::from_secs(10) {
        take_back(&mut link, &shop, 5).await;
        for _ in 0..5 {
            let other = Request::get("http://other.test/").body(Full::default()).unwrap();
            if let Ok(answer) = link.send_request(other).await {
                assert_eq!(answer.status(), 404);
            }
        }
    }
    closed(&link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_again_and_again_does_not_come_to_an_endpoint_any_more() {
    let shop = Endpoint::start("shop").await;
    let (stage, _) = stage(&shop, Limits { resets: 1_000, ..Limits::default() }).await;
    let mut link = client(stage.http()).await;
    take_back(&mut link, &shop, 60).await;
    let mut asked = 60;
    for _ in 0..10 {
        let all: Vec<_> = (0..10).map(|_| link.send_request(get("/never"))).collect();
        tokio::time::sleep(Duration::from_millis(2)).await;
        drop(all);
        asked += 10;
    }
    let answer = link.send_request(get("/")).await.unwrap();
    assert_eq!(answer.status(), 200, "who waits is served");
    let came = shop.got().iter().filter(|got| got.line.ends_with("/never")).count();
    assert!((1..asked).contains(&came), "{came} of {asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_behind_a_trusted_balancer_do_not_answer_for_each_other() {
    let shop = Endpoint::start("shop").await;
    let limits = Limits { streams: 10, taken_back: 20, ..Limits::default() };
    let setting = Setting { limits, trusted: vec!["127.0.0.1/32"], ..Setting::default() };
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    let mut link = client(stage.http()).await;
    for _ in 0..5 {
        take_back(&mut link, &shop, 10).await;
    }
    let answer = link.send_request(get("/")).await.unwrap();
    assert_eq!((answer.status().as_u16(), link.is_closed()), (200, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_with_http2_and_says_nothing_more_is_cut_off_as_in_a_head() {
    let shop = Endpoint::start("shop").await;
    let (stage, _) = stage(&shop, Limits { header_ms: 300, ..Limits::default() }).await;
    let mut tcp = TcpStream::connect(stage.http()).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), tcp.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "it is open after ten seconds");
}
