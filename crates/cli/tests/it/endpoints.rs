use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::answers::{answer, problem};
use super::fake::{Fake, Home};

#[test]
fn a_dead_endpoint_is_passed_over_and_the_good_one_is_asked_first_next_time() {
    let fake = Fake::start(answer);
    let home = Home::new();
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    home.run(&format!("context add dev --endpoint {dead},{}", fake.endpoint));
    assert_eq!(home.run("federation status").exit, 0);
    let remembered = std::fs::read_to_string(home.0.join(".local/state/dwcp/last-endpoint")).unwrap();
    assert_eq!(remembered.trim(), fake.endpoint);
}

#[test]
fn an_endpoint_that_accepts_and_says_nothing_is_passed_over() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let fake = Fake::start(answer);
    let home = Home::new();
    let line =
        format!("--endpoint http://{},{} federation status", silent.local_addr().unwrap(), fake.endpoint);
    let began = Instant::now();
    assert_eq!(home.run(&line).exit, 0);
    assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
}

#[test]
fn a_write_goes_to_the_next_endpoint_as_the_same_request_under_the_same_key() {
    let unwell = Fake::start(|_| problem(503, "DWCP-R0053", "this region's control plane is not ready"));
    let fake = Fake::start(answer);
    // Nothing of a request is made up anew when it is repeated; the second one names a time.
    for line in ["vm start web --detach", "security token create --user ci --expires-in 2s"] {
        let ran = Home::new().run(&format!("--endpoint {},{} {line}", unwell.endpoint, fake.endpoint));
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
    }
    let (first, second) = (unwell.arrived(), fake.arrived());
    assert_eq!((first.len(), second.len()), (2, 2));
    for (one, other) in first.iter().zip(&second) {
        let key = |arrived: &super::fake::Arrived| arrived.headers["idempotency-key"].clone();
        assert_eq!((key(one), &one.target, &one.body), (key(other), &other.target, &other.body));
        assert!(key(one).len() > 30);
    }
}

#[test]
fn two_runs_of_a_write_have_two_keys() {
    let fake = Fake::start(answer);
    let home = Home::new();
    for _ in 0..2 {
        home.run(&format!("--endpoint {} vm start web --detach", fake.endpoint));
    }
    let keys: Vec<String> = fake.arrived().iter().map(|a| a.headers["idempotency-key"].clone()).collect();
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn when_all_are_away_every_attempt_is_named() {
    let home = Home::new();
    let ran = home.run("--endpoint http://127.0.0.1:1,http://127.0.0.1:2 vm list");
    assert_eq!(ran.exit, 6);
    for part in ["http://127.0.0.1:1: ", "http://127.0.0.1:2: ", "next    "] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.stderr);
    }
}

#[test]
fn a_timeout_ends_the_wait() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    let began = Instant::now();
    let ran =
        home.run(&format!("--timeout 500ms --endpoint http://{} vm list", silent.local_addr().unwrap()));
    assert_eq!(ran.exit, 6, "{}", ran.stderr);
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
}

#[test]
fn following_outlives_a_federation_that_is_away_for_a_moment() {
    let looks = AtomicU32::new(0);
    let fake = Fake::start(move |request| {
        if request.route() != "GET /v1/operations/op_7f3" {
            return answer(request);
        }
        match looks.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => problem(503, "DWCP-R0050", "no majority can be reached"),
            _ => answer(request),
        }
    });
    let home = Home::new();
    let ran = home.run(&format!("--endpoint {} vm start web", fake.endpoint));
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("1/2 vm_change web: start\n") && ran.stderr.contains("2/2 done\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn following_outlives_a_region_that_has_not_heard_of_the_operation_yet() {
    let looks = AtomicU32::new(0);
    let fake = Fake::start(move |request| {
        let first =
            looks.fetch_add(u32::from(request.route() == "GET /v1/operations/op_7f3"), Ordering::Relaxed);
        match request.route() == "GET /v1/operations/op_7f3" && first == 0 {
            true => problem(404, "DWCP-R0013", "no operation op_7f3"),
            false => answer(request),
        }
    });
    let ran = Home::new().run(&format!("--endpoint {} vm start web", fake.endpoint));
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
}

/// Runs a command that does not end by itself until the fake federation was asked that often.
fn asked(fake: &Fake, home: &Home, line: &str, times: usize) -> String {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_dwcp-cli"))
        .args(super::fake::words(line))
        .env_clear()
        .env("HOME", &home.0)
        .env("DWCP_ENDPOINT", &fake.endpoint)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while fake.arrived().len() < times && began.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    assert!(fake.arrived().len() >= times, "{line}");
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn watch_shows_an_answer_again_and_again() {
    let (fake, home) = (Fake::start(answer), Home::new());
    let shown = asked(&fake, &home, "--watch 100ms federation region vm-count --region us-east-1", 4);
    assert!(shown.starts_with("12\n12\n"), "{shown}");
}

#[test]
fn a_followed_console_goes_on_where_its_stream_ended() {
    let fake = Fake::start(|request| match request.target.contains("offset=12") {
        false => (200, "{\"offset\":0,\"next_offset\":12,\"text\":\"hello world\\n\"}\n".to_owned()),
        true => (200, "{\"offset\":12,\"next_offset\":12,\"text\":\"\"}\n".to_owned()),
    });
    let shown = asked(&fake, &Home::new(), "vm console web --follow", 3);
    assert_eq!(shown, "hello world\n");
}

#[test]
fn followed_events_are_shown_once() {
    let (fake, home) = (Fake::start(answer), Home::new());
    let shown = asked(&fake, &home, "federation events list --follow", 3);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(fake.arrived()[1].target.contains("since_ms="));
}

#[test]
fn a_list_of_several_pages_is_shown_whole() {
    let fake = Fake::start(|request| {
        let (name, next) = match request.target.contains("cursor=two") {
            false => ("first", Some("two")),
            true => ("second", None),
        };
        let items = [super::answers::vm(name, "running")];
        let page =
            serde_json::json!({ "items": items, "next_cursor": next, "as_of": super::answers::as_of() });
        (200, page.to_string())
    });
    let home = Home::new();
    let whole = home.run(&format!("--endpoint {} vm list", fake.endpoint)).stdout;
    assert!(whole.contains("first") && whole.contains("second"), "{whole}");
    let cut = home.run(&format!("--endpoint {} vm list --limit 1", fake.endpoint)).stdout;
    assert!(!cut.contains("second") && cut.contains("there are more"), "{cut}");
}

#[test]
fn what_repeats_ends_when_nobody_reads_any_more() {
    use std::io::{BufRead, BufReader};
    let (fake, home) = (Fake::start(answer), Home::new());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_dwcp-cli"))
        .args(["--watch", "100ms", "federation", "region", "vm-count", "--region", "us-east-1"])
        .env_clear()
        .env("HOME", &home.0)
        .env("DWCP_ENDPOINT", &fake.endpoint)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = child.kill();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
