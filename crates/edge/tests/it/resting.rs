//! Connections that wait: before their first request, in the middle of a head, and between requests.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Link, Setting, Stage, all, service, until};

fn post(body: String) -> Request<Full<Bytes>> {
    Request::post("/echo").header(HOST, "shop.test").body(Full::from(body)).unwrap()
}

async fn until_rested(stage: &Stage, times: u64) {
    until("it rests", || stage.proxy.counts().rested.load(Relaxed) >= times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_rests_between_requests_and_serves_as_before_with_tls_and_without() {
    let shop = Endpoint::start("shop").await;
    let folder = Folder::new();
    let trusts = folder.certify("shop.test");
    let stage = Stage::with(vec![service("shop", &[&shop])], folder, Setting::default()).await;
    let mut plain = Link::http1(TcpStream::connect(stage.http()).await.unwrap()).await;
    let mut secure = Link::tls(stage.https(), "shop.test", &trusts, false).await;
    for round in 1..=3 {
        for link in [&mut plain, &mut secure] {
            // Some of it comes with the head, and most later.
            let body = "x".repeat(100_000 * round);
            assert_eq!(link.send(post(body.clone())).await.body, body);
        }
        until_rested(&stage, 2 * round as u64).await;
    }
    assert_eq!(stage.current.figures.connections.load(Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_may_come_in_pieces_and_requests_together_also_after_a_rest() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let mut tcp = TcpStream::connect(stage.http()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for round in 1..=2 {
        for piece in ["\r\n", "GET / HT", "TP/1.1\r\nHost: shop", ".test\r\n\r", "\n"] {
            tcp.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = all(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("shop"), "{answer}");
        until_rested(&stage, 2 * round - 1).await;
        let one = "GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n";
        tcp.write_all(format!("{one}{one}GET /b HTTP/1.1\r\nHo").as_bytes()).await.unwrap();
        assert_eq!(all(&mut tcp).await.matches("HTTP/1.1 200 ").count(), 2);
        // Half a head is no rest: what was read of it is the parser's.
        tcp.write_all(b"st: shop.test\r\n\r\n").await.unwrap();
        assert_eq!(all(&mut tcp).await.matches("HTTP/1.1 200 ").count(), 1);
        until_rested(&stage, 2 * round).await;
    }
    assert_eq!(shop.got().len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_after_a_rest_as_before() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    for wrong in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(stage.http()).await.unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
        assert!(all(&mut tcp).await.ends_with("shop"));
        tcp.write_all(wrong.as_bytes()).await.unwrap();
        let answer = all(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{wrong:?}: {answer}");
        assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0, "{wrong:?}: it is closed");
    }
    assert_eq!(stage.proxy.counts().rested.load(Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_rests_is_told_farewell_when_the_proxy_ends_and_who_began_to_ask_is_answered() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let connect = || TcpStream::connect(stage.http());
    let (mut silent, mut rests, mut asks) =
        (connect().await.unwrap(), connect().await.unwrap(), connect().await.unwrap());
    for tcp in [&mut rests, &mut asks] {
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
        assert!(all(tcp).await.ends_with("shop"));
    }
    until_rested(&stage, 2).await;
    asks.write_all(b"GET / HTTP/1.1\r\nHost: sh").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let down = tokio::spawn(stage.proxy.shutdown(5_000));
    for tcp in [&mut silent, &mut rests] {
        assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0);
    }
    asks.write_all(b"op.test\r\n\r\n").await.unwrap();
    let answer = all(&mut asks).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("shop"), "{answer}");
    down.await.unwrap();
}
