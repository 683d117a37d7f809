//! Requests and answers that could be read in two ways, or that take too long or too much.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::stage::{Folder, Setting, Stage, all, service};

/// Each with a second request behind it, which must not reach the endpoint either.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "both lengths",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "both, the other way round",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "two equal lengths",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    ("a list of lengths", "400", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1, 1\r\n\r\na"),
    ("a signed length", "400", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +1\r\n\r\na"),
    ("a length in hexadecimal", "400", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0x1\r\n\r\na"),
    (
        "a length beyond all",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 99999999999999999999\r\n\r\na",
    ),
    ("an empty length", "400", "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: \r\n\r\na"),
    (
        "gzip, chunked",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "identity after chunked",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    ("xchunked", "400", "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (
        "a vertical tab before chunked",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunks in HTTP/1.0",
        "400",
        "POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the colon",
        "400",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a name with a space", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nX Y: z\r\n\r\n"),
    ("a name with NUL", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nX\0Y: z\r\n\r\n"),
    ("a value with NUL", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nX: y\0z\r\n\r\n"),
    ("a value with a bare CR", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nX: y\rContent-Length: 5\r\n\r\n"),
    ("a folded line", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nX: y\r\n Content-Length: 5\r\n\r\n"),
    ("a folded first line", "400", "GET / HTTP/1.1\r\n Host: shop.test\r\n\r\n"),
    ("no colon", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nX\r\n\r\n"),
    ("an empty name", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\n: x\r\n\r\n"),
    ("lines without CR", "400", "GET / HTTP/1.1\nHost: shop.test\n\n"),
    ("one line without CR", "400", "GET / HTTP/1.1\r\nHost: shop.test\nX: y\r\n\r\n"),
    ("no Host", "400", "GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", "400", "GET / HTTP/1.1\r\nHost: shop.test\r\nHost: shop.test\r\n\r\n"),
    ("an empty Host", "400", "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    ("a Host with a path", "400", "GET / HTTP/1.1\r\nHost: shop.test/x\r\n\r\n"),
    ("a Host with a user", "400", "GET / HTTP/1.1\r\nHost: x@shop.test\r\n\r\n"),
    ("two Hosts in one", "400", "GET / HTTP/1.1\r\nHost: shop.test, blog.test\r\n\r\n"),
    ("a port that is no port", "400", "GET / HTTP/1.1\r\nHost: shop.test:x\r\n\r\n"),
    ("a user in the URI", "400", "GET http://x@shop.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("a space in the URI", "400", "GET /a b HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("a tab in the URI", "400", "GET /a\tb HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("a control character in the URI", "400", "GET /a\x01b HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("DEL in the URI", "400", "GET /a\x7fb HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("a tunnel", "405", "CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("HTTP/1.2", "400", "GET / HTTP/1.2\r\nHost: shop.test\r\n\r\n"),
    ("no version", "400", "GET /\r\n\r\n"),
    ("no HTTP", "400", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
    (
        "a preface of nobody trusted",
        "400",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_two_could_read_in_two_ways_are_refused_and_reach_nobody() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    for (what, status, bytes) in REFUSED {
        let behind = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n";
        // At once, and byte by byte.
        let whole = stage.raw(format!("{bytes}{behind}")).await;
        let mut tcp = TcpStream::connect(stage.http()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        for byte in bytes.bytes() {
            if tcp.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let pieces = all(&mut tcp).await;
        for answer in [whole, pieces] {
            let first = answer.lines().next().unwrap_or_default();
            assert!(
                first.starts_with(&format!("HTTP/1.1 {status}"))
                    || (status.is_empty() && !first.contains("200")),
                "{what}: {answer:?}"
            );
            assert_eq!(
                answer.matches("HTTP/1.").count(),
                usize::from(!answer.is_empty()),
                "{what}: {answer:?}"
            );
        }
        assert!(shop.got().is_empty(), "{what}: {:?}", shop.got());
    }
    assert_eq!(stage.get("shop.test", "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_looks_unusual_is_served() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let served = [
        "GET http://shop.test/x HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n",
        "GET http://SHOP.test:80 HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nhost:shop.test\r\nx:\t y \t\r\nconnection:close\r\n\r\n",
        "GET /%20?a=%00&b=ä HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ];
    for bytes in served {
        let answer = stage.raw(bytes).await;
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 OK\r\n"), "{bytes:?}: {answer:?}");
    }
    // The name in the URI is the one that counts, and the one that is told.
    assert_eq!(shop.got()[0].all("host"), ["shop.test"]);
    assert_eq!(shop.got()[0].line, "GET /x");
    assert_eq!(shop.got()[1].line, "GET /");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_contradicts_its_chunks_never_becomes_a_second_request() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let head = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let behind = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    for body in [
        "5\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 x\r\nabc\r\n0\r\n\r\n",
        "x\r\n",
        "-1\r\n",
    ] {
        let answer = stage.raw(format!("{head}{body}{behind}")).await;
        assert!(!answer.contains(" 200 "), "{body:?}: {answer}");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(shop.got().iter().all(|got| !got.line.contains("smuggled")), "{:?}", shop.got());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_are_refused() {
    let shop = Endpoint::start("shop").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let head = "GET / HTTP/1.1\r\nHost: shop.test\r\n";
    let large = stage.raw(format!("{head}X: {}\r\n\r\n", "x".repeat(40_000))).await;
    let many = stage.raw(format!("{head}{}\r\n", "X: y\r\n".repeat(150))).await;
    let endless = stage.raw(format!("{head}X: {}", "x".repeat(1_000_000))).await;
    for answer in [large, many, endless] {
        assert!(
            ["431", "400", ""]
                .iter()
                .any(|status| answer.starts_with(&format!("HTTP/1.1 {status}")) || answer.is_empty()),
            "{answer}"
        );
        assert!(!answer.contains("200 OK"));
    }
    let long = stage.raw(format!("GET /{} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "x".repeat(9_000))).await;
    assert!(long.starts_with("HTTP/1.1 414 "), "{long}");
    assert!(shop.got().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_slow_is_cut_off_in_the_head_in_the_body_and_in_between() {
    let shop = Endpoint::start("shop").await;
    let mut setting = Setting::default();
    (setting.limits.header_ms, setting.limits.idle_ms, setting.limits.body_idle_ms) = (300, 600, 300);
    let stage = Stage::with(vec![service("shop", &[&shop])], Folder::new(), setting).await;
    // A byte every 50 ms never ends the head.
    let mut tcp = TcpStream::connect(stage.http()).await.unwrap();
    let begun = Instant::now();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nX: ").await.unwrap();
    while begun.elapsed() < Duration::from_secs(3) && tcp.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let head = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nabc";
    let begun = Instant::now();
    let answer = stage.raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let answer = stage.raw("GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    assert!(answer.contains(" 200 OK"), "{answer}");
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(stage.raw("").await, "");
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(stage.proxy.counts().slow.load(Relaxed) >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_two_could_read_in_two_ways_are_no_answers() {
    let answers: [&'static [u8]; 8] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ];
    for bytes in answers {
        let shop = Endpoint::raw(bytes).await;
        let stage = Stage::of(vec![service("shop", &[&shop])]).await;
        let answer = stage.get("shop.test", "/").await;
        assert_eq!(answer.status, 502, "{:?}: {answer:?}", String::from_utf8_lossy(bytes));
    }
    let shop = Endpoint::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    let cut = stage.raw("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    // The connection ends before the tenth byte, whether or not the first three were on their way.
    assert!(cut.is_empty() || cut.contains("content-length: 10\r\n") && cut.ends_with("abc"), "{cut}");
    let shop = Endpoint::raw(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    let stage = Stage::of(vec![service("shop", &[&shop])]).await;
    assert_eq!(stage.get("shop.test", "/").await.body, "until the end");
}
