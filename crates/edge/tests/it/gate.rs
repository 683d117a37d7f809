//! Who is let in.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_edge::guard::{Asked, CHALLENGE_PATH, Ended, Guard, Verdict};
use dwcp_edge::proxy::LogTo;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Setting, Stage, service, until};

/// Decides by the path, and by what it is told about connections; remembers what it was told.
#[derive(Default)]
struct Watch {
    connection: Mutex<Option<Verdict>>,
    said: Mutex<Vec<String>>,
}

impl Watch {
    fn say(&self, text: String) {
        self.said.lock().unwrap().push(text);
    }
}

impl Guard for Watch {
    fn connection(&self, client: IpAddr) -> Verdict {
        self.say(format!("came {client}"));
        self.connection.lock().unwrap().clone().unwrap_or(Verdict::Pass)
    }

    fn connection_ended(&self, client: IpAddr, ended: Ended) {
        self.say(format!("left {client} {} {}", ended.bytes_in > 0, ended.bytes_out > 0));
    }

    fn request(&self, asked: &Asked<'_>) -> Verdict {
        match asked.path {
            "/limit" => Verdict::Limit { retry_after_s: 7, reason: "too fast".into() },
            "/deny" => Verdict::Deny { reason: "not you".into() },
            "/tarpit" => Verdict::Tarpit,
            "/" => Verdict::Pass,
            _ => Verdict::Challenge { page: "<p>prove it".into() },
        }
    }

    fn request_ended(&self, asked: &Asked<'_>, ended: Ended) {
        let Asked { client, service, method, path, user_agent, cookies, .. } = asked;
        let Ended { status, bytes_out, .. } = ended;
        self.say(format!("{client} {service} {method} {path} {user_agent} {cookies} {status} {bytes_out}"));
    }

    fn dns(&self, _: IpAddr) -> bool {
        true
    }

    fn solved(&self, _: IpAddr, user_agent: &str, body: &[u8]) -> Result<(String, String), String> {
        if body == b"right" {
            Ok((format!("pass={user_agent}"), "/wanted".to_owned()))
        } else {
            Err("wrong".to_owned())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guards_word_about_requests_is_carried_out() {
    let shop = Endpoint::start("shop").await;
    let guard = Arc::new(Watch::default());
    let mut setting = Setting { guard: guard.clone(), ..Setting::default() };
    setting.limits.tarpit_ms = 300;
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    let limit = stage.get("shop.test", "/limit").await;
    assert_eq!((limit.status, limit.header("retry-after"), &*limit.body), (429, "7", "too fast\n"));
    let deny = stage.get("shop.test", "/deny").await;
    assert_eq!((deny.status, &*deny.body), (403, "not you\n"));
    assert_eq!(stage.get("shop.test", "/other").await.status, 429);
    let page = Request::get("/other").header(HOST, "shop.test").header("accept", "text/html,*/*");
    let page = stage.send(page.body(Full::default()).unwrap()).await;
    assert_eq!((page.status, &*page.body), (403, "<p>prove it"));
    assert!(
        page.header("content-type").starts_with("text/html") && page.header("cache-control") == "no-store"
    );
    let begun = Instant::now();
    assert_eq!(stage.raw("GET /tarpit HTTP/1.1\r\nHost: shop.test\r\n\r\n").await, "");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let prove = |proof: &'static str| {
        let request = Request::post(CHALLENGE_PATH).header(HOST, "shop.test").header("user-agent", "me");
        stage.send(request.body(Full::from(proof)).unwrap())
    };
    let right = prove("right").await;
    assert_eq!(
        (right.status, right.header("location"), right.header("set-cookie")),
        (303, "/wanted", "pass=me")
    );
    assert_eq!(prove("left").await.status, 403);
    assert!(shop.got().is_empty());
    let served =
        Request::get("/").header(HOST, "shop.test").header("user-agent", "me").header("cookie", "a=b");
    assert_eq!(stage.send(served.body(Full::default()).unwrap()).await.status, 200);
    let told = |text: &str| guard.said.lock().unwrap().iter().any(|said| said == text);
    until("the guard is told", || told("127.0.0.1 shop GET / me a=b 200 4")).await;
    until("the guard is told", || told("left 127.0.0.1 true true")).await;
    assert!(told("127.0.0.1 shop GET /limit   429 9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_denied_gets_nothing_and_who_is_in_the_tarpit_waits() {
    let shop = Endpoint::start("shop").await;
    let guard = Arc::new(Watch::default());
    let mut setting = Setting { guard: guard.clone(), ..Setting::default() };
    (setting.limits.tarpit_ms, setting.limits.tarpitted) = (500, 1);
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    *guard.connection.lock().unwrap() = Some(Verdict::Deny { reason: "no".into() });
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    assert_eq!(stage.raw(request).await, "");
    *guard.connection.lock().unwrap() = Some(Verdict::Tarpit);
    let begun = Instant::now();
    let both = tokio::join!(stage.raw(request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = Instant::now();
        (stage.raw(request).await, second.elapsed())
    });
    assert!(both.0.is_empty() && both.1.0.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(500) && both.1.1 < Duration::from_millis(400));
    *guard.connection.lock().unwrap() = None;
    assert!(stage.raw(request).await.contains(" 200 OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_for_one_client_and_in_all() {
    let shop = Endpoint::start("shop").await;
    for (client, all) in [(5, 100), (100, 5)] {
        let mut setting = Setting::default();
        (setting.limits.connections_per_client, setting.limits.connections) = (client, all);
        let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(TcpStream::connect(stage.http()).await.unwrap());
        }
        let open = || stage.current.figures.connections.load(Relaxed);
        until("all are in", || open() == 5).await;
        assert_eq!(stage.raw("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await, "");
        let counts = stage.proxy.counts();
        assert_eq!(counts.refused_client.load(Relaxed) + counts.refused_full.load(Relaxed), 1);
        held.clear();
        until("all are out", || open() == 0).await;
        assert_eq!(stage.get("shop.test", "/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_trusted_balancer_says_for_whom_it_comes() {
    let shop = Endpoint::start("shop").await;
    let request =
        "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n";
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\0\x50\x01\xbb".to_vec();
    second.extend(request.as_bytes());
    let first = format!("PROXY TCP4 192.0.2.7 10.0.0.1 80 443\r\n{request}").into_bytes();
    let setting = Setting { trusted: vec!["10.0.0.0/8"], ..Setting::default() };
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    for preface in [&first, &second] {
        let answer = stage.raw(preface).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert!(shop.got().is_empty());
    let setting = Setting { trusted: vec!["127.0.0.0/8"], ..Setting::default() };
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    for preface in [&first, &second] {
        let answer = stage.raw(preface).await;
        assert!(answer.contains(" 200 "), "{answer}");
        assert_eq!(shop.last().all("x-forwarded-for"), ["192.0.2.7"]);
    }
    // Without a preface its own header counts.
    assert!(stage.raw(request).await.contains(" 200 "));
    assert_eq!(shop.last().all("x-forwarded-for"), ["9.9.9.9, 127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_has_a_sample_and_every_failure_and_never_stops_anybody() {
    let shop = Endpoint::start("shop").await;
    let (to, mut entries) = tokio::sync::mpsc::channel(100);
    let setting = Setting { log: Some(LogTo { one_of: 4, to }), ..Setting::default() };
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    for _ in 0..80 {
        stage.get("shop.test", "/a?b").await;
    }
    for _ in 0..80 {
        stage.get("shop.test", "/fail").await;
    }
    let mut all = Vec::new();
    while let Ok(entry) = entries.try_recv() {
        all.push(entry);
    }
    let failed = all.iter().filter(|entry| entry.status == 500).count();
    let dropped = stage.proxy.counts().log_dropped.load(Relaxed) as usize;
    assert!(
        all.len() + dropped > 80 && all.len() - failed > 3 && all.len() - failed < 50,
        "{} {failed}",
        all.len()
    );
    let entry = &all[0];
    assert_eq!(
        (&*entry.service, &*entry.endpoint, &*entry.path, &*entry.host),
        ("shop", "vm_0", "/a?b", "shop.test")
    );
    assert!(
        entry.took_us >= entry.upstream_us && entry.upstream_us > 0 && entry.bytes_out == 4 && !entry.broken
    );
}
