use std::process::{Command, Stdio};

use super::*;

const NOW: u64 = 1_700_000_000_000;
const WHO: Who<'static> =
    Who { ip: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)), user_agent: "browser/1" };

fn challenges() -> Challenges {
    Challenges::new("r1", Secrets { current: [7; 32], previous: None })
}

/// What stands between two texts of a page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let at = page.find(before).unwrap() + before.len();
    &page[at..at + page[at..].find(after).unwrap()]
}

fn token(page: &str) -> &str {
    between(page, "name=\"token\" value=\"", "\"")
}

fn answer(token: &str, bits: u32) -> u64 {
    let tag = &token[token.len() - 64..];
    (0..).find(|n| zero_bits(&format!("{tag}:{n}")) >= bits).unwrap()
}

fn form(token: &str, answer: u64, to: &str) -> Vec<u8> {
    format!("token={token}&answer={answer}&to={to}").into_bytes()
}

/// A cookie header of a `Set-Cookie` value.
fn cookies(set: &str) -> String {
    format!("other=1; {}; more=x", set.split(';').next().unwrap())
}

#[test]
fn a_solved_puzzle_clears_who_solved_it_until_it_ends() {
    let challenges = challenges();
    let page = challenges.page(WHO, 8, "/a?b=c", NOW).unwrap();
    let token = token(&page);
    let body = form(token, answer(token, 8), "%2Fa%3Fb%3Dc");
    let (cookie, to) = challenges.solve(WHO, &body, 60_000, NOW + 1_000).unwrap();
    assert_eq!(to, "/a?b=c");
    assert!(cookie.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"), "{cookie}");
    let cookies = cookies(&cookie);
    assert!(challenges.is_cleared(WHO, &cookies, NOW + 60_999));
    assert!(!challenges.is_cleared(WHO, &cookies, NOW + 61_000), "it has ended");
    let neighbour = Who { ip: "203.0.113.99".parse().unwrap(), ..WHO };
    assert!(challenges.is_cleared(neighbour, &cookies, NOW + 2_000), "the same network");
    let other = Who { ip: "203.0.114.7".parse().unwrap(), ..WHO };
    assert!(!challenges.is_cleared(other, &cookies, NOW + 2_000), "another network");
    let agent = Who { user_agent: "curl", ..WHO };
    assert!(!challenges.is_cleared(agent, &cookies, NOW + 2_000), "another user agent");
    let elsewhere = Challenges::new("r2", Secrets { current: [7; 32], previous: None });
    assert!(elsewhere.is_cleared(WHO, &cookies, NOW + 2_000), "every router of the federation");
}

#[test]
fn a_replayed_foreign_late_wrong_or_forged_token_does_not_count() {
    let challenges = challenges();
    let page = challenges.page(WHO, 8, "/", NOW).unwrap();
    let token = token(&page);
    let body = form(token, answer(token, 8), "/");
    let refused = |challenges: &Challenges, who, body: &[u8], now| {
        challenges.solve(who, body, 60_000, now).unwrap_err()
    };
    let late = refused(&challenges, WHO, &body, NOW + PUZZLE_MS);
    assert!(late.contains("ended"), "{late}");
    let agent = Who { user_agent: "curl", ..WHO };
    assert!(refused(&challenges, agent, &body, NOW).contains("not made here for you"));
    let router = Challenges::new("r2", Secrets { current: [7; 32], previous: None });
    assert!(refused(&router, WHO, &body, NOW).contains("not made here for you"));
    let secret = Challenges::new("r1", Secrets { current: [8; 32], previous: None });
    assert!(refused(&secret, WHO, &body, NOW).contains("not made here for you"));
    let easier = form(&token.replace(".8.", ".0."), 1, "/");
    assert!(refused(&challenges, WHO, &easier, NOW).contains("not made here for you"));
    let wrong = (0..).find(|n| zero_bits(&format!("{}:{n}", &token[token.len() - 64..])) < 8).unwrap();
    assert!(refused(&challenges, WHO, &form(token, wrong, "/"), NOW).contains("wrong"));
    assert!(challenges.solve(WHO, &body, 60_000, NOW).is_ok(), "none of that used it up");
    assert!(refused(&challenges, WHO, &body, NOW).contains("solved before"));
    for odd in [
        &b""[..],
        b"token=",
        b"token=a&answer=x",
        b"token=a&answer=1",
        b"\xff\xfe",
        b"token=%&answer=1",
        b"token=.&answer=1",
    ] {
        refused(&challenges, WHO, odd, NOW);
    }
    for odd in [
        "",
        "dwcp-clear",
        "dwcp-clear=",
        "dwcp-clear=1.ffffffffffff.00",
        "dwcp-clear=1.zz.zz",
        "dwcp-clear=..",
    ] {
        assert!(!challenges.is_cleared(WHO, odd, NOW), "{odd}");
    }
}

#[test]
fn a_puzzle_is_no_clearance() {
    let challenges = challenges();
    let page = challenges.page(WHO, 8, "/", NOW).unwrap();
    let tag = &token(&page)[token(&page).len() - 64..];
    assert!(!challenges.is_cleared(WHO, &format!("{COOKIE}=1.{:x}.{tag}", NOW + 1_000), NOW));
}

#[test]
fn what_the_secret_before_signed_is_good_until_the_next_change() {
    let challenges = challenges();
    let page = challenges.page(WHO, 4, "/", NOW).unwrap();
    let body = form(token(&page), answer(token(&page), 4), "/");
    challenges.set_secrets(Secrets { current: [9; 32], previous: Some([7; 32]) });
    let (cookie, _) = challenges.solve(WHO, &body, 60_000, NOW).unwrap();
    challenges.set_secrets(Secrets { current: [10; 32], previous: Some([9; 32]) });
    assert!(challenges.is_cleared(WHO, &cookies(&cookie), NOW));
    challenges.set_secrets(Secrets { current: [11; 32], previous: Some([10; 32]) });
    assert!(!challenges.is_cleared(WHO, &cookies(&cookie), NOW));
}

#[test]
fn nobody_is_sent_to_another_site() {
    for to in [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil",
        "",
        "evil",
        "/a\r\nSet-Cookie: x",
        "/\u{e9}",
        "/ x",
        crate::guard::CHALLENGE_PATH,
    ] {
        assert_eq!(place(to), "/", "{to:?}");
    }
    assert_eq!(place("/a/b?c=%2F#d"), "/a/b?c=%2F#d");
}

#[test]
fn solved_puzzles_that_are_forgotten_do_not_count_again() {
    let challenges = challenges();
    for nonce in 0..MOST_SOLVED as u64 + 10 {
        assert!(challenges.first_time(NOW + 1_000 + nonce, &format!("{nonce}"), NOW));
    }
    assert!(!challenges.first_time(NOW + 1_003, "3", NOW), "forgotten, but not good again");
    assert!(challenges.solved.lock().unwrap().tokens.len() <= MOST_SOLVED);
    assert!(challenges.first_time(NOW + 10_000_000, "new", NOW));
}

#[test]
fn sums_are_written_as_browsers_read_them() {
    for (bytes, text) in
        [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")]
    {
        assert_eq!(base64(bytes), text);
    }
}

/// The script as a browser would run it, in node where that is installed: the same page, the same answer.
#[test]
fn the_page_solves_itself() {
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no node here to run the page's script");
        return;
    }
    let challenges = challenges();
    let page = challenges.page(WHO, 16, "/next", NOW).unwrap();
    let (token, script) = (token(&page), between(&page, "<script>", "</script>"));
    let form_of = format!(
        "var f={{dataset:{{bits:'16'}},elements:{{token:{{value:'{token}'}},answer:{{value:''}}}},submit:function(){{console.log(f.elements.answer.value)}}}};var document={{forms:[f]}};"
    );
    let begun = std::time::Instant::now();
    let out = Command::new("node").args(["-e", &format!("{form_of}{script}")]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    println!("16 bits: answer {text} after {:?}, with node's start", begun.elapsed());
    let answer = text.parse().unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&out.stderr)));
    assert!(challenges.solve(WHO, &form(token, answer, "/next"), 60_000, NOW).is_ok());
    let sum = base64(digest::digest(&digest::SHA256, script.as_bytes()).as_ref());
    assert!(page.contains(&format!("script-src 'sha256-{sum}'")), "the page lets its own script run");
}
