use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dwcp_decide::ddos::{Action, AttackKind, Lists, Phase, Verdict as Judged, Whitelisted};

use super::*;
use crate::guard::{Asked, CHALLENGE_PATH, Ended, Guard, Verdict};

const NOW: u64 = 1_700_000_000_000;

struct World {
    shield: Arc<Shield>,
    now_ms: Arc<AtomicU64>,
}

fn world(policy: GuardPolicy) -> World {
    let now_ms = Arc::new(AtomicU64::new(NOW));
    let clock = now_ms.clone();
    // 9.x is in Germany, everybody else in France; the second byte is the system.
    let geo = |ip: IpAddr| match ip {
        IpAddr::V4(ip) if ip.octets()[0] == 9 => ("DE".parse().unwrap(), u32::from(ip.octets()[1])),
        _ => ("FR".parse().unwrap(), 0),
    };
    let shield = Shield::new(Setup {
        router: "r1".to_owned(),
        policy,
        secrets: Secrets { current: [3; 32], previous: None },
        seed: 5,
        geo: Box::new(geo),
        clock: Box::new(move || clock.load(Relaxed)),
    });
    World { shield: Arc::new(shield), now_ms }
}

fn policy(actions: &[Action]) -> GuardPolicy {
    GuardPolicy { actions: actions.iter().copied().collect(), challenge_bits: 4, ..GuardPolicy::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn asked(client: &str) -> Asked<'static> {
    Asked {
        client: ip(client),
        service: "web",
        method: "GET",
        path: "/a?b=c",
        user_agent: "browser/1",
        cookies: "",
        wants_html: true,
    }
}

fn block(what: Target, action: Action) -> Block {
    Block {
        id: format!("block-{what}"),
        what,
        action,
        by: "ops".to_owned(),
        reason: String::new(),
        at_ms: NOW,
        until_ms: NOW + 60_000,
        attack: None,
        limit: None,
    }
}

fn cidr(text: &str) -> Target {
    Target::Cidr(text.parse().unwrap())
}

impl World {
    fn passes(&self, client: &str) -> bool {
        self.shield.request(&asked(client)) == Verdict::Pass
    }

    fn denied(&self, client: &str) -> bool {
        matches!(self.shield.request(&asked(client)), Verdict::Deny { .. })
    }

    fn later(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Relaxed);
    }

    /// So many requests a second of one client for so long; what was detected, and when.
    fn flood(&self, per_ms: u64, for_ms: u64, client: &str) -> Vec<(u64, Detection)> {
        let begun = self.now_ms.load(Relaxed);
        let mut told = Vec::new();
        for _ in 0..for_ms {
            self.later(1);
            (0..per_ms).for_each(|_| drop(self.shield.request(&asked(client))));
            let now = self.now_ms.load(Relaxed);
            if now.is_multiple_of(10) {
                told.extend(self.shield.turn().into_iter().map(|one| (now - begun, one)));
            }
        }
        told
    }

    fn count(&self, name: &str) -> u64 {
        self.shield.report().counters[name]
    }
}

#[test]
fn each_action_does_what_it_says_until_its_time_is_over() {
    let world = world(GuardPolicy::default());
    let service = Target::Path { service: "web".to_owned(), path: "/a".to_owned() };
    let of = |action, what| world.shield.set_blocks(vec![block(what, action)]);
    assert!(world.passes("9.1.0.1"));
    of(Action::Blacklist, cidr("9.0.0.0/8"));
    assert!(world.denied("9.1.0.1") && world.passes("8.1.0.1") && !world.shield.dns(ip("9.1.0.1")));
    assert!(matches!(world.shield.connection(ip("9.1.0.1")), Verdict::Deny { .. }));
    of(Action::GeoBlock, Target::Country("DE".parse().unwrap()));
    assert!(world.denied("9.1.0.1") && world.passes("8.1.0.1"));
    of(Action::Blacklist, Target::Asn(7));
    assert!(world.denied("9.7.0.1") && world.passes("9.8.0.1"));
    of(Action::Tarpit, service);
    assert_eq!(world.shield.request(&asked("9.1.0.1")), Verdict::Tarpit);
    assert_eq!(world.shield.request(&Asked { path: "/b", ..asked("9.1.0.1") }), Verdict::Pass);
    assert_eq!(world.shield.request(&Asked { service: "other", ..asked("9.1.0.1") }), Verdict::Pass);
    assert!(world.shield.dns(ip("9.1.0.1")) && world.shield.connection(ip("9.1.0.1")) == Verdict::Pass);
    world.later(60_000);
    assert!(world.passes("9.1.0.1"), "it ends without anybody telling");
    assert_eq!((world.count("geo_blocked"), world.count("tarpitted"), world.count("dns_refused")), (1, 1, 1));
}

#[test]
fn who_is_whitelisted_passes_whatever_else_is_said() {
    let entry =
        |what, until_ms| Whitelisted { what, owner: "ops".to_owned(), reason: String::new(), until_ms };
    let whitelist = vec![
        entry(cidr("9.1.0.0/16"), None),
        entry(cidr("9.1.2.0/24"), Some(NOW + 1_000)),
        entry(cidr("9.2.0.0/16"), Some(NOW + 1_000)),
        entry(Target::Asn(3), None),
    ];
    let world = world(GuardPolicy { whitelist, ..GuardPolicy::default() });
    let all = [Action::Blacklist, Action::Tarpit, Action::RateLimit];
    let everybody = all.map(|action| block(cidr("0.0.0.0/0"), action)).to_vec();
    world.shield.set_blocks(everybody);
    world.shield.set_bulk(Some(Bulk::new(
        Lists::new(["9.0.0.0/8".parse().unwrap()]),
        block(cidr("0.0.0.0/0"), Action::Blacklist),
    )));
    for client in ["9.1.0.1", "9.1.2.1", "9.2.0.1", "9.3.0.1"] {
        assert!(world.passes(client) && world.shield.dns(ip(client)), "{client}");
        assert_eq!(world.shield.connection(ip(client)), Verdict::Pass);
    }
    assert!(world.denied("9.4.0.1"));
    assert_eq!(world.flood(20, 1_500, "9.1.0.1"), [], "what is whitelisted is no flood");
    assert!(world.passes("9.1.2.1"), "the larger network goes on");
    assert!(world.denied("9.2.0.1"), "this one has ended");
    assert_eq!(world.shield.for_kernel().0, [], "the kernel knows no systems, so it drops nobody");
}

#[test]
fn a_flood_is_blocked_within_a_second_and_others_are_still_served() {
    let world = world(policy(&[Action::RateLimit, Action::Blacklist]));
    let told = world.flood(30, 2_000, "9.1.0.1");
    let (after_ms, first) = &told[0];
    assert!(*after_ms <= 1_000, "{after_ms}");
    assert_eq!((first.phase, first.attack.kind), (Phase::Begins, AttackKind::HttpFlood));
    assert!(world.denied("9.1.0.1") && world.passes("9.1.0.2"));
    let report = world.shield.report();
    assert_eq!((report.blocks[0].by.as_str(), report.blocks[0].action), ("router r1", Action::Blacklist));
    assert_eq!(report.attacks[0].judgement.verdict, Judged::Real);
    assert_eq!(report.attacks[0].evidence.top_path, "/a");
    assert_eq!(world.shield.for_kernel().0[0].0, "9.1.0.1".parse().unwrap());
    let target = report.blocks[0].what.clone();
    world.shield.pardon(&target, NOW + 600_000);
    assert!(world.passes("9.1.0.1"), "people have decided");
    world.flood(30, 1_000, "9.1.0.1");
    assert!(world.passes("9.1.0.1") && world.shield.report().blocks.is_empty());
}

#[test]
fn without_leave_nothing_is_blocked_but_it_is_told() {
    let world = world(GuardPolicy { automatic: false, ..policy(&[Action::Blacklist]) });
    let told = world.flood(30, 1_000, "9.1.0.1");
    assert!(told.iter().any(|(_, one)| !one.blocks.is_empty()) && world.passes("9.1.0.1"));
}

#[test]
fn a_limited_source_gets_what_it_may_have_and_hears_when_to_come_back() {
    let world = world(GuardPolicy { threshold_requests: 100, ..GuardPolicy::default() });
    world.shield.set_blocks(vec![block(Target::Ip("9.1.0.1".parse().unwrap()), Action::RateLimit)]);
    let mut passed = 0;
    for _ in 0..10_000 {
        world.later(1);
        match world.shield.request(&asked("9.1.0.1")) {
            Verdict::Pass => passed += 1,
            Verdict::Limit { retry_after_s, .. } => assert_eq!(retry_after_s, 1),
            other => panic!("{other:?}"),
        }
    }
    assert!((1_000..1_040).contains(&passed), "{passed}");
    let mut together = block(cidr("9.2.0.0/16"), Action::RateLimit);
    together.limit = Some(10);
    world.shield.set_blocks(vec![together]);
    let served = (0..200_u8).filter(|i| world.passes(&format!("9.2.0.{i}"))).count();
    assert!(served <= 4, "{served} of a network that has ten a second together");
}

/// The answer to a page, as a browser finds it.
fn solve(page: &str) -> Vec<u8> {
    let after = &page[page.find("name=\"token\" value=\"").unwrap() + 20..];
    let token = &after[..after.find('"').unwrap()];
    let sum = |n: &u64| {
        let text = format!("{}:{n}", &token[token.len() - 64..]);
        ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[0]
    };
    let answer = (0..).find(|n| sum(n) < 16).unwrap();
    format!("token={token}&answer={answer}&to=%2Fa%3Fb%3Dc").into_bytes()
}

#[test]
fn a_browser_solves_its_challenge_and_an_api_client_is_told_why_not() {
    let world = world(policy(&[Action::ChallengeResponse]));
    world.shield.set_blocks(vec![block(Target::Service("web".to_owned()), Action::ChallengeResponse)]);
    let Verdict::Challenge { page } = world.shield.request(&asked("9.1.0.1")) else { panic!("no page") };
    assert!(page.contains("value=\"/a?b=c\""));
    let api = world.shield.request(&Asked { wants_html: false, ..asked("9.1.0.1") });
    assert!(matches!(api, Verdict::Limit { ref reason, .. } if reason.contains("challenge")), "{api:?}");
    let answer = Asked { method: "POST", path: CHALLENGE_PATH, wants_html: false, ..asked("9.1.0.1") };
    assert_eq!(world.shield.request(&answer), Verdict::Pass, "an answer is let through to be looked at");
    let body = solve(&page);
    let (cookie, to) = world.shield.solved(ip("9.1.0.1"), "browser/1", &body).unwrap();
    assert_eq!(to, "/a?b=c");
    let cookies = cookie.split(';').next().unwrap();
    let cleared = |client: &'static str| world.shield.request(&Asked { cookies, ..asked(client) });
    assert_eq!(cleared("9.1.0.1"), Verdict::Pass);
    assert!(matches!(cleared("9.9.0.1"), Verdict::Challenge { .. }), "another network");
    assert!(world.shield.solved(ip("9.1.0.1"), "browser/1", &body).is_err(), "it counts once");
    assert_eq!((world.count("solved"), world.count("unsolved"), world.count("cleared")), (1, 1, 1));
    world.shield.set_blocks(vec![
        block(Target::Service("web".to_owned()), Action::ChallengeResponse),
        block(cidr("9.1.0.0/16"), Action::Blacklist),
    ]);
    assert!(
        matches!(cleared("9.1.0.1"), Verdict::Deny { .. }),
        "a cleared client is still blocked by others"
    );
}

#[test]
fn who_is_cleared_and_floods_is_limited() {
    let world = world(GuardPolicy { threshold_requests: 50, ..policy(&[]) });
    world.shield.set_blocks(vec![block(Target::Service("web".to_owned()), Action::ChallengeResponse)]);
    let Verdict::Challenge { page } = world.shield.request(&asked("9.1.0.1")) else { panic!("no page") };
    let (cookie, _) = world.shield.solved(ip("9.1.0.1"), "browser/1", &solve(&page)).unwrap();
    let cookies = cookie.split(';').next().unwrap();
    let passed =
        (0..1_000).filter(|_| world.shield.request(&Asked { cookies, ..asked("9.1.0.1") }) == Verdict::Pass);
    assert!(passed.count() <= 20);
}

#[test]
fn who_never_solves_gets_few_pages() {
    let world = world(policy(&[]));
    world.shield.set_blocks(vec![block(Target::Service("web".to_owned()), Action::ChallengeResponse)]);
    let pages =
        (0..1_000).filter(|_| matches!(world.shield.request(&asked("9.1.0.1")), Verdict::Challenge { .. }));
    assert!((1..=3).contains(&pages.count()));
}

#[test]
fn of_several_rules_the_sternest_counts_and_the_list_is_one_of_them() {
    let world = world(GuardPolicy::default());
    let mut ended = block(cidr("9.1.0.0/24"), Action::Blacklist);
    ended.until_ms = NOW - 1;
    world.shield.set_blocks(vec![
        ended,
        block(cidr("9.0.0.0/8"), Action::Tarpit),
        block(Target::Asn(1), Action::RateLimit),
    ]);
    assert_eq!(world.shield.request(&asked("9.1.0.1")), Verdict::Tarpit);
    let lists =
        Lists::new((0..1_000).map(|i| Net::host(std::net::Ipv4Addr::from_bits(0x0901_0000 + i * 7).into())));
    world.shield.set_bulk(Some(Bulk::new(lists, block(cidr("9.0.0.0/8"), Action::Blacklist))));
    assert!(world.denied("9.1.0.7"));
    assert_eq!(world.shield.request(&asked("9.1.0.1")), Verdict::Tarpit);
    world.shield.set_bulk(None);
    assert_eq!(world.shield.request(&asked("9.1.0.7")), Verdict::Tarpit);
}

#[test]
fn drops_are_recorded_by_second_with_their_rule() {
    let world = world(GuardPolicy::default());
    world.shield.set_blocks(vec![block(cidr("9.1.0.0/16"), Action::Blacklist)]);
    (0..5).for_each(|_| assert!(world.denied("9.1.0.1")));
    world.shield.turn();
    let drops = world.shield.drops(0);
    assert_eq!(drops.len(), 1);
    assert_eq!((&*drops[0].rule, drops[0].count, drops[0].at_s), ("block-9.1.0.0/16", 5, NOW / 1_000));
    assert!(world.shield.drops(NOW / 1_000 + 1).is_empty());
}

#[test]
fn what_the_watcher_cannot_read_in_time_is_counted_and_nobody_waits() {
    let world = world(GuardPolicy::default());
    (0..NOTES + 1_000).for_each(|_| drop(world.shield.connection(ip("9.1.0.1"))));
    assert_eq!(world.count("missed"), 1_000);
    world.shield.turn();
    assert!(!world.shield.report().attacks.is_empty());
}

#[test]
fn slow_clients_and_failing_ones_are_seen_and_our_own_failures_are_not_theirs() {
    let world = world(policy(&[Action::RateLimit]));
    let ended = |status| Ended { status, ..Ended::default() };
    for _ in 0..200 {
        world.shield.request(&asked("9.1.0.1"));
        world.shield.request_ended(&asked("9.1.0.1"), ended(503));
        world.shield.request_ended(&asked("9.1.0.1"), ended(429));
    }
    assert_eq!(world.shield.turn(), []);
    for _ in 0..200 {
        world.shield.request(&asked("9.1.0.2"));
        world.shield.request_ended(&asked("9.1.0.2"), ended(404));
        world.shield.connection_ended(ip("9.1.0.3"), Ended { slow: true, ..Ended::default() });
    }
    world.later(250);
    let kinds: Vec<AttackKind> = world.shield.turn().iter().map(|one| one.attack.kind).collect();
    assert!(kinds.contains(&AttackKind::Scan) && kinds.contains(&AttackKind::SlowClients), "{kinds:?}");
}

#[test]
fn a_long_download_is_no_flood_when_it_ends() {
    let world = world(GuardPolicy::default());
    world.shield.connection_ended(ip("9.1.0.1"), Ended { bytes_out: 40_000_000_000, ..Ended::default() });
    assert_eq!(world.shield.turn(), []);
}

#[test]
fn a_watcher_blocks_by_itself_and_ends() {
    let world = world(policy(&[Action::Blacklist]));
    let watching = watching(world.shield.clone()).unwrap();
    let blocked = (0..500).any(|_| {
        world.later(10);
        (0..300).for_each(|_| drop(world.shield.request(&asked("9.1.0.1"))));
        std::thread::sleep(std::time::Duration::from_millis(10));
        world.denied("9.1.0.1")
    });
    assert!(blocked);
    drop(watching);
    assert_eq!(Arc::strong_count(&world.shield), 1);
}
