//! Endpoints that fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dwcp_decide::route::{Live, Table};
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Setting, Stage, endpoint, service, table, until};

/// Checks that find nothing out before a test is over.
fn without_checks() -> Setting {
    let mut setting = Setting::default();
    setting.limits.check_every_ms = 3_600_000;
    setting
}

/// Where nobody listens.
async fn nobody() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    // As long as it is bound nobody else gets it, a router of this test neither; it never listens.
    std::mem::forget(socket);
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_finds_the_endpoint_that_lives_also_when_it_must_not_be_sent_twice() {
    let shop = Endpoint::start("shop").await;
    let mut row = service("shop", &[&shop]);
    row.endpoints.push(endpoint("vm_dead", nobody().await));
    let mut setting = without_checks();
    setting.limits.failures = u32::MAX;
    let stage = Stage::with(vec![row], Folder::new(), setting).await;
    for _ in 0..6 {
        let request = Request::post("/echo").header(HOST, "shop.test").body(Full::from("once")).unwrap();
        let answer = stage.send(request).await;
        assert_eq!((answer.status, &*answer.body), (200, "once"));
        assert_eq!(stage.get("shop.test", "/").await.body, "shop");
    }
    assert_eq!(shop.got().len(), 12);
    let flow = &stage.current.routes().pools[0].flows[0];
    assert!(flow.retries.load(Relaxed) > 0);
    assert_eq!(flow.answers[2].load(Relaxed), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_endpoint_has_it_get_goes_on_to_the_next_one_and_post_does_not() {
    let ends = [
        Endpoint::raw(b"").await,
        Endpoint::raw(b"").await,
        Endpoint::raw(b"").await,
        Endpoint::raw(b"").await,
    ];
    let row = service("shop", &[&ends[0], &ends[1], &ends[2], &ends[3]]);
    let stage = Stage::with(vec![row], Folder::new(), without_checks()).await;
    let asked = || ends.iter().map(|end| end.got().len()).sum::<usize>();
    assert_eq!(stage.get("shop.test", "/").await.status, 502);
    assert_eq!(asked(), 3);
    let request = Request::post("/").header(HOST, "shop.test").body(Full::from("once")).unwrap();
    assert_eq!(stage.send(request).await.status, 502);
    assert_eq!(asked(), 4);
    let request = Request::put("/").header(HOST, "shop.test").body(Full::from("again")).unwrap();
    assert_eq!(stage.send(request).await.status, 502);
    assert_eq!(asked(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_have_a_budget() {
    let ends = [Endpoint::raw(b"").await, Endpoint::raw(b"").await, Endpoint::raw(b"").await];
    let mut setting = without_checks();
    setting.limits.failures = u32::MAX;
    let stage =
        Stage::with(vec![service("shop", &[&ends[0], &ends[1], &ends[2]])], Folder::new(), setting).await;
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(stage.get("shop.test", "/").await.status, 502);
    }
    let retries = stage.current.routes().pools[0].flows[0].retries.load(Relaxed) as f64;
    let most = 10.0 + 20.0 + 10.0 * begun.elapsed().as_secs_f64();
    assert!(retries <= most + 1.0 && retries >= 10.0, "{retries} retries of {most}");
    assert!(stage.proxy.counts().retries_refused.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_whose_queue_was_full_for_a_moment_costs_no_second() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel drops what comes beyond the queue, as a busy host or a bad line does.
    let full = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let mut row = service("shop", &[]);
    row.endpoints.push(endpoint("vm_0", address));
    let stage = Stage::with(Vec::new(), Folder::new(), without_checks()).await;
    // Tried again after 250 and 500 ms.
    let mut far = table(vec![row]);
    far.regions[0].rtt_ms = Some(100);
    stage.current.replace(far);
    let (accepted, counts) = (Arc::new(AtomicU32::new(0)), Arc::clone(&stage.current));
    let counted = Arc::clone(&accepted);
    let serving = tokio::spawn(async move {
        // The first socket has asked in vain then.
        while counts.routes().pools[0].region(0).open == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                let mut head = [0; 1024];
                if tcp.read(&mut head).await.unwrap_or(0) > 0 {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    tcp.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let begun = Instant::now();
    let request = Request::post("/").header(HOST, "shop.test").body(Full::from("once")).unwrap();
    let answer = stage.send(request).await;
    assert_eq!((answer.status, &*answer.body), (200, "ok"));
    assert!(begun.elapsed() < Duration::from_millis(900), "after {:?}", begun.elapsed());
    assert!(accepted.load(Relaxed) >= 3, "those that filled the queue, and ours");
    drop(full);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_died_is_seen_and_so_is_its_return() {
    let (one, two) = (Endpoint::start("one").await, Endpoint::start("two").await);
    let mut row = service("shop", &[&one, &two]);
    row.check_path = Some("/well".to_owned());
    let stage = Stage::of(vec![row]).await;
    let up = || stage.current.routes().pools[0].is_up(1);
    until("it was looked at", || two.got().iter().any(|got| got.line == "GET /well")).await;
    assert_eq!(two.got()[0].header("host"), Some("shop.test"));
    let address = two.address;
    drop(two);
    until("it is down", || !up()).await;
    for _ in 0..10 {
        assert_eq!(stage.get("shop.test", "/").await.body, "one");
    }
    let _two = Endpoint::start_at("two", address).await;
    until("it is back", up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_answers_checks_with_an_error_is_down() {
    let (one, two) = (Endpoint::start("one").await, Endpoint::start("two").await);
    let mut row = service("shop", &[&one, &two]);
    row.check_path = Some("/fail".to_owned());
    let stage = Stage::of(vec![row.clone()]).await;
    let up = |at| stage.current.routes().pools[0].is_up(at);
    until("both are down", || !up(0) && !up(1)).await;
    // Nobody is well: the least bad is better than nothing.
    assert_eq!(stage.get("shop.test", "/").await.status, 200);
    // A new table that asks for something else.
    row.check_path = None;
    stage.current.replace(crate::stage::table(vec![row]));
    until("both are up", || up(0) && up(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_fail_in_a_row_take_an_endpoint_out_for_a_while() {
    let shop = Endpoint::start("shop").await;
    let mut row = service("shop", &[&shop]);
    row.endpoints.push(endpoint("vm_dead", nobody().await));
    let mut setting = without_checks();
    setting.limits.failures = 3;
    let stage = Stage::with(vec![row], Folder::new(), setting).await;
    let up = || stage.current.routes().pools[0].is_up(1);
    for _ in 0..200 {
        assert_eq!(stage.get("shop.test", "/").await.status, 200);
    }
    assert!(!up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_begin_in_time_is_given_up() {
    let shop = Endpoint::start("shop").await;
    let mut setting = without_checks();
    setting.limits.answer_ms = 100;
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    assert_eq!(stage.get("shop.test", "/slow").await.status, 504);
    assert_eq!(stage.get("shop.test", "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_was_closed_meanwhile_costs_nothing() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), without_checks()).await;
    let address = shop.address;
    let mut shop = Some(shop);
    for _ in 0..5 {
        let request = Request::post("/echo").header(HOST, "shop.test").body(Full::from("once")).unwrap();
        assert_eq!(stage.send(request).await.status, 200);
        drop(shop.take());
        tokio::time::sleep(Duration::from_millis(50)).await;
        shop = Some(Endpoint::start_at("shop", address).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_endpoints_are_looked_at_by_few_hands() {
    let shop = Endpoint::start("shop").await;
    let mut row = service("shop", &[&shop]);
    row.endpoints = (0..10_000).map(|i| endpoint(&format!("vm_{i:05}"), shop.address)).collect();
    let mut setting = Setting::default();
    setting.limits.check_every_ms = 2_000;
    let stage = Stage::with(vec![row], Folder::new(), setting).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    until("a thousand were looked at", || stage.proxy.counts().checks.load(Relaxed) > 1_000).await;
    let after = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(after < before + 1_000, "{before} tasks, then {after}");
    assert_eq!(stage.current.routes().pools[0].up(), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_well_in_another_region_is_looked_at_more_seldom() {
    let shop = Endpoint::start("shop").await;
    let mut setting = Setting::default();
    (setting.limits.check_every_ms, setting.limits.check_far_every_ms) = (50, 3_600_000);
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    let checks = || stage.proxy.counts().checks.load(Relaxed);
    until("it is looked at often", || checks() > 10).await;
    let table = stage.current.routes().table.clone();
    stage.current.replace(Table { here: "another".to_owned(), ..table });
    // The look that was planned still comes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = checks();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(checks(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_requests_found_most_endpoints_dead_the_one_that_lives_serves() {
    let shop = Endpoint::start("shop").await;
    let mut row = service("shop", &[&shop]);
    for number in 0..4 {
        row.endpoints.push(endpoint(&format!("vm_dead_{number}"), nobody().await));
    }
    let stage = Stage::with(vec![row], Folder::new(), without_checks()).await;
    for _ in 0..100 {
        if stage.current.routes().pools[0].up() == 1 {
            break;
        }
        stage.get("shop.test", "/").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stage.current.routes().pools[0].up(), 1);
    for _ in 0..50 {
        assert_eq!(stage.get("shop.test", "/").await.status, 200);
    }
}
