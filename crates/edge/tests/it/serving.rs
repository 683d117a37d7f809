//! Requests that are served.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use dwcp_decide::route::Live;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_LENGTH, HOST};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Link, Setting, Stage, service, tls};

fn get(host: &str, path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header(HOST, host).body(Full::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_to_the_service_of_its_name_and_an_unknown_name_is_told() {
    let (shop, blog) = (Endpoint::start("shop").await, Endpoint::start("blog").await);
    let stage = Stage::of(vec![service("blog", &[&blog]), service("shop", &[&shop])]).await;
    assert_eq!(stage.get("shop.test", "/").await.body, "shop");
    assert_eq!(stage.get("BLOG.test.:80", "/").await.body, "blog");
    let unknown = stage.get("other.test", "/").await;
    assert_eq!((unknown.status, &*unknown.body), (404, "no service has this name\n"));
    assert_eq!(stage.get("shop.test", "/fail").await.status, 500);
    let flow = &stage.current.routes().pools[1].flows[0];
    assert_eq!((flow.answers[2].load(Relaxed), flow.answers[5].load(Relaxed)), (1, 1));
    assert_eq!(stage.current.routes().pools[1].open(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_endpoint_sees_is_who_asked_and_nothing_of_the_clients_own_hop() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let answer = stage
        .raw(
            "GET /a?b=c HTTP/1.1\r\nHost: shop.test:81\r\nConnection: close, X-Secret, content-length\r\nX-Secret: 1\r\n\
             Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: x\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\
             X-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\nVia: 1.0 before\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("via: 1.1 router-1\r\n"), "{answer}");
    let got = shop.last();
    assert_eq!(got.line, "GET /a?b=c");
    assert_eq!(got.all("host"), ["shop.test:81"]);
    assert_eq!(got.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(got.all("x-forwarded-proto"), ["http"]);
    assert_eq!(got.all("x-forwarded-host"), ["shop.test:81"]);
    assert_eq!(got.all("via"), ["1.0 before", "1.1 router-1"]);
    assert_eq!(got.header("x-request-id").map(str::len), Some(32));
    for gone in
        ["connection", "x-secret", "keep-alive", "te", "proxy-authorization", "forwarded", "x-real-ip"]
    {
        assert_eq!(got.header(gone), None, "{gone}");
    }
    let again = stage
        .raw("GET / HTTP/1.1\r\nHost: shop.test\r\nVia: 1.1 router-1\r\nConnection: close\r\n\r\n")
        .await;
    assert!(again.starts_with("HTTP/1.1 508 "), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_to_an_endpoint_serves_many_requests() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let mut link = Link::http1(TcpStream::connect(stage.http()).await.unwrap()).await;
    for size in [0, 1, 100, 200_000] {
        let body = "x".repeat(size);
        let request =
            Request::post("/echo").header(HOST, "shop.test").body(Full::from(body.clone())).unwrap();
        assert_eq!(link.send(request).await.body, body);
    }
    assert_eq!(link.send(get("shop.test", "/big")).await.body.len(), 1 << 20);
    let head = Request::head("/big").header(HOST, "shop.test").body(Full::default()).unwrap();
    let head = link.send(head).await;
    assert_eq!((head.status, head.header("content-length"), &*head.body), (200, "1048576", ""));
    assert_eq!(link.send(get("shop.test", "/")).await.body, "shop");
    assert_eq!(stage.proxy.counts().upstream_opened.load(Relaxed), 1);
    let flow = &stage.current.routes().pools[0].flows[0];
    assert_eq!(flow.bytes_in.load(Relaxed), 200_101);
    assert_eq!(flow.bytes_out.load(Relaxed), 200_101 + (1 << 20) + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunked_bodies_arrive_whole_also_of_get() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    for method in ["POST", "GET", "PUT"] {
        let answer = stage
            .raw(format!(
                "{method} /echo HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                 3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n"
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nabcdefg"), "{answer}");
        let got = shop.last();
        assert_eq!(got.all("transfer-encoding"), ["chunked"]);
        assert_eq!((&*got.body, got.header("content-length")), (b"abcdefg".as_slice(), None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_of_http_are_served_over_tls() {
    let shop = Endpoint::start("shop").await;
    let folder = Folder::new();
    let (own, wild) = (folder.certify("shop.test"), folder.certify("*.more.test"));
    let mut services = service("shop", &[&shop]);
    services.hosts.push("a.more.test".to_owned());
    let stage = Stage::with(vec![services], folder, Setting::default()).await;
    for (name, trusts) in [("shop.test", &own), ("a.more.test", &wild)] {
        let mut link = Link::tls(stage.https(), name, trusts, false).await;
        assert_eq!(link.send(get(name, "/")).await.body, "shop");
        let mut link = Link::tls(stage.https(), name, trusts, true).await;
        let uri = format!("https://{name}/echo?x");
        let request = Request::post(&uri).header("cookie", "a=1").header("cookie", "b=2");
        let answer = link.send(request.body(Full::from("body")).unwrap()).await;
        assert_eq!((&*answer.body, answer.header("via")), ("body", "2 router-1"));
        let got = shop.last();
        assert_eq!((&*got.line, got.header("host")), ("POST /echo?x", Some(name)));
        assert_eq!((got.header("x-forwarded-proto"), got.all("cookie")), (Some("https"), vec!["a=1; b=2"]));
        assert_eq!(got.all("via"), ["2 router-1"]);
        let all = (0..50).map(|_| {
            let Link::Http2(send) = &link else { panic!("HTTP/2") };
            let mut link = Link::Http2(send.clone());
            let uri = format!("https://{name}/big");
            async move { link.send(Request::get(&uri).body(Full::default()).unwrap()).await.body.len() }
        });
        for answer in all.map(tokio::spawn).collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), 1 << 20);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_spoken_without_tls_by_who_begins_with_it_and_over_tls_by_who_agreed() {
    let shop = Endpoint::start("shop").await;
    let folder = Folder::new();
    let own = folder.certify("shop.test");
    let stage = Stage::with(vec![service("shop", &[&shop])], folder, Setting::default()).await;
    let tcp = TcpStream::connect(stage.http()).await.unwrap();
    let mut link = Link::http2(tcp).await;
    for _ in 0..3 {
        let answer = link.send(Request::get("http://shop.test/").body(Full::default()).unwrap()).await;
        assert_eq!((&*answer.body, answer.header("via")), ("shop", "2 router-1"));
    }
    let mut io = tls(stage.https(), "shop.test", &own, &[b"http/1.1"]).await.unwrap();
    io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = io.read_to_string(&mut answer).await;
    assert_eq!(answer, "", "it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_sticky_service_stays_and_a_forged_cookie_counts_as_none() {
    let ends = [Endpoint::start("0").await, Endpoint::start("1").await, Endpoint::start("2").await];
    let mut shop = service("shop", &[&ends[0], &ends[1], &ends[2]]);
    shop.sticky = true;
    let stage = Stage::of(vec![shop]).await;
    let send = |cookie: String| {
        let request = Request::get("/").header(HOST, "shop.test").header("cookie", cookie);
        stage.send(request.body(Full::default()).unwrap())
    };
    let mut cookies = std::collections::BTreeMap::new();
    for _ in 0..200 {
        let answer = stage.get("shop.test", "/").await;
        let cookie = answer.header("set-cookie").to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        cookies.insert(answer.body, cookie.split(';').next().unwrap().to_owned());
    }
    for (name, cookie) in &cookies {
        for _ in 0..20 {
            let answer = send(format!("x=y; {cookie}")).await;
            assert_eq!((&answer.body, answer.header("set-cookie")), (name, ""));
        }
    }
    let forged = cookies.values().next().unwrap().replace("vm_", "vm_1");
    let answers = [
        send(forged).await,
        send("dwcp-route=vm_0~0".to_owned()).await,
        send("dwcp-route=".to_owned()).await,
    ];
    assert!(answers.iter().all(|answer| !answer.header("set-cookie").is_empty()));
    // Its endpoint is gone: it goes to another one and learns so.
    let (name, cookie) = cookies.iter().next().unwrap();
    stage.current.routes().pools[0].set_up(name.parse().unwrap(), false);
    let answer = send(cookie.clone()).await;
    assert!(answer.body != *name && !answer.header("set-cookie").is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_carries_bytes_both_ways_and_counts_as_open_meanwhile() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let mut tcp = TcpStream::connect(stage.http()).await.unwrap();
    let head = "GET /upgrade HTTP/1.1\r\nHost: shop.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        tcp.read_buf(&mut answer).await.unwrap();
    }
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: echo\r\n"), "{answer}");
    assert_eq!(shop.last().header("upgrade"), Some("echo"));
    for text in ["one", "no\r\nHTTP at all\n\0", "GET / HTTP/9\r\n\r\n"] {
        tcp.write_all(text.as_bytes()).await.unwrap();
        let mut echo = vec![0; text.len()];
        tcp.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, text.as_bytes());
    }
    assert_eq!(stage.current.routes().pools[0].open(0), 1);
    drop(tcp);
    crate::stage::until("it counts no more", || stage.current.routes().pools[0].open(0) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_longer_than_the_limit_is_refused_whether_it_says_so_or_not() {
    let shop = Endpoint::start("shop").await;
    let mut setting = Setting::default();
    setting.limits.body_bytes = 1000;
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    let told = Request::post("/echo").header(HOST, "shop.test").header(CONTENT_LENGTH, "2000");
    assert_eq!(stage.send(told.body(Full::from("x".repeat(2000))).unwrap()).await.status, 413);
    let head = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let untold = stage.raw(format!("{head}7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000))).await;
    assert!(untold.starts_with("HTTP/1.1 413 "), "{untold}");
    assert!(shop.got().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_in_the_middle_of_a_long_body_hears_why() {
    let shop = Endpoint::start("shop").await;
    let mut setting = Setting::default();
    setting.limits.body_bytes = 1000;
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    let head = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3000000\r\n\r\n";
    let answer = stage.raw(format!("{head}{}", "x".repeat(3_000_000))).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("at most 1000 are taken\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_ends_while_the_proxy_shuts_down_and_a_late_one_finds_nobody() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let at = stage.http();
    let mut idle = Link::http1(TcpStream::connect(at).await.unwrap()).await;
    assert_eq!(idle.send(get("shop.test", "/")).await.body, "shop");
    let slow = tokio::spawn(async move {
        let mut link = Link::http1(TcpStream::connect(at).await.unwrap()).await;
        link.send(get("shop.test", "/slow")).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = std::time::Instant::now();
    let down = tokio::spawn(stage.proxy.shutdown(5_000));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(at).await.is_err());
    let slow = slow.await.unwrap();
    assert_eq!((slow.status, &*slow.body), (200, "shop"));
    down.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(idle.try_send(get("shop.test", "/")).await.is_err());
}
