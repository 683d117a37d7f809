//! Floods are seen within a second, with whom they come from; people are left alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dwcp_decide::ddos::{
    Action, AttackKind, Detector, Event, Evidence, GuardPolicy, Kind, Phase, Status, Target, Typical,
    Verdict, hash_text, validate,
};

use super::ddos_world::{NOON, Source, World, address, person, request};

fn policy(actions: &[Action]) -> GuardPolicy {
    GuardPolicy { actions: actions.iter().copied().collect(), ..GuardPolicy::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_flood_of_one_source_is_told_within_a_second_with_its_evidence() {
    let mut world = World::new(GuardPolicy::default());
    world.people(200, 70_000);
    assert!(world.told.is_empty(), "{:?}", world.told);
    let begun = world.now_ms;
    let (web, bad) = (world.web, ip("203.0.113.7"));
    world.detector.named(hash_text(9, "/login"), "/login");
    world.run(
        3_000,
        &mut [
            Source { per_s: 200, event: &mut |rng| person(rng, web, 2_000) },
            Source { per_s: 5_000, event: &mut |_| vec![request(bad, web, "/login", "curl")] },
        ],
    );
    let (at, first) = &world.told[0];
    assert!(at - begun <= 1_000, "after {} ms", at - begun);
    assert_eq!((first.phase, first.attack.kind), (Phase::Begins, AttackKind::HttpFlood));
    assert_eq!(first.attack.target, Target::Ip("203.0.113.7".parse().unwrap()));
    assert_eq!((first.attack.service.as_str(), first.attack.judgement.verdict), ("web", Verdict::Real));
    let evidence = &first.attack.evidence;
    assert!(evidence.rate >= 1_000 && evidence.threshold == 1_000 && evidence.sources == 1, "{evidence:?}");
    assert!(evidence.baseline.is_some_and(|usual| (150..250).contains(&usual)), "{evidence:?}");
    assert!(evidence.top_path == "/login" && evidence.top_path_percent >= 95, "{evidence:?}");
    let block = &first.blocks[0];
    assert_eq!((block.action, block.until_ms), (Action::RateLimit, at + 600_000));
    assert!(world.told.iter().all(|(_, one)| one.attack.key == first.attack.key), "one attack");
    assert!(world.detector.attacks().all(|attack| attack.peak_rate > 4_000));
}

#[test]
fn a_flood_of_one_source_is_one_attack_also_when_it_is_turned_away_and_its_service_is_not_limited_for_others()
{
    let mut world = World::new(GuardPolicy { service_factor: 2, ..GuardPolicy::default() });
    let (web, bad) = (world.web, ip("203.0.113.7"));
    // A connection for each request, which is of no service yet.
    let both = &mut |_: &mut _| {
        let request = request(bad, web, "/login", "curl");
        vec![Event { kind: Kind::Connection, service: 0, path: 0, agent: 0, ..request }, request]
    };
    world.run(3_000, &mut [Source { per_s: 12_000, event: both }]);
    // Blocked, it is turned away as soon as it connects.
    let knocks = &mut |_: &mut _| {
        vec![Event { kind: Kind::Connection, service: 0, path: 0, agent: 0, ..request(bad, web, "", "") }]
    };
    world.run(5_000, &mut [Source { per_s: 12_000, event: knocks }]);
    let keys: BTreeSet<&str> = world.told.iter().map(|(_, one)| one.attack.key.as_str()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let whom: BTreeSet<String> =
        world.told.iter().flat_map(|(_, one)| &one.blocks).map(|block| block.what.to_string()).collect();
    assert_eq!(whom, BTreeSet::from(["203.0.113.7".to_owned()]));
}

#[test]
fn a_source_just_above_the_threshold_is_told_within_a_second_and_a_quarter() {
    let mut world = World::new(GuardPolicy::default());
    world.people(100, 5_000);
    let (begun, web) = (world.now_ms, world.web);
    world
        .run(1_250, &mut [Source { per_s: 1_050, event: &mut |_| vec![request(address(5), web, "/", "a")] }]);
    assert!(world.told.first().is_some_and(|(at, _)| at - begun <= 1_250));
}

#[test]
fn a_source_below_the_threshold_is_left_alone() {
    let mut world = World::new(GuardPolicy::default());
    let web = world.web;
    world.run(10_000, &mut [Source { per_s: 900, event: &mut |_| vec![request(address(5), web, "/", "a")] }]);
    assert!(world.told.is_empty(), "{:?}", world.told);
}

#[test]
fn a_far_too_loud_source_is_blacklisted_and_a_browser_gets_a_puzzle_when_that_is_allowed() {
    for (actions, expected) in [
        (&[Action::RateLimit, Action::Blacklist][..], Action::Blacklist),
        (&[Action::RateLimit, Action::ChallengeResponse], Action::ChallengeResponse),
        (&[Action::RateLimit], Action::RateLimit),
    ] {
        let mut world = World::new(policy(actions));
        let web = world.web;
        let event = &mut |_: &mut _| vec![request(address(5), web, "/", "a")];
        world.run(1_500, &mut [Source { per_s: 30_000, event }]);
        let blocks = world.told.iter().flat_map(|(_, one)| &one.blocks);
        assert!(blocks.clone().any(|block| block.action == expected), "{:?}", world.told);
        assert!(blocks.count() <= 2);
    }
}

#[test]
fn sources_of_one_network_that_each_do_little_are_told_as_their_network() {
    let mut world = World::new(policy(&[Action::RateLimit]));
    let web = world.web;
    let event = &mut |rng: &mut dwcp_types::Rng| {
        vec![request(ip(&format!("198.51.100.{}", rng.below(256))), web, "/", "a")]
    };
    world.run(1_500, &mut [Source { per_s: 8_000, event }]);
    let (_, one) = &world.told[0];
    assert_eq!(one.attack.target, Target::Cidr("198.51.100.0/24".parse().unwrap()));
    assert!(one.attack.evidence.sources.abs_diff(256) < 80, "{:?}", one.attack.evidence);
    assert_eq!(one.blocks[0].limit, Some(4_000));
}

#[test]
fn a_network_is_not_told_besides_when_one_source_explains_it() {
    let mut world = World::new(GuardPolicy::default());
    let web = world.web;
    let bad = ip("198.51.100.9");
    world.run(3_000, &mut [Source { per_s: 60_000, event: &mut |_| vec![request(bad, web, "/", "a")] }]);
    let targets: BTreeSet<String> = world.told.iter().map(|(_, one)| one.attack.target.to_string()).collect();
    assert_eq!(targets, BTreeSet::from(["198.51.100.9".to_owned()]));
}

#[test]
fn ipv6_clients_count_by_the_64_bits_that_they_cannot_choose() {
    let mut world = World::new(GuardPolicy::default());
    let web = world.web;
    let event = &mut |rng: &mut dwcp_types::Rng| {
        vec![request(ip(&format!("2001:db8:1:2::{:x}", rng.below(60_000))), web, "/", "a")]
    };
    world.run(1_000, &mut [Source { per_s: 3_000, event }]);
    assert_eq!(world.told[0].1.attack.target, Target::Ip("2001:db8:1:2::/64".parse().unwrap()));
}

#[test]
fn each_other_kind_is_told_by_its_name() {
    for (kind, per_s, expected) in [
        (Kind::Connection, 2_000, AttackKind::ConnectionFlood),
        (Kind::Syn, 2_000, AttackKind::SynFlood),
        (Kind::SlowClient, 100, AttackKind::SlowClients),
        (Kind::Reset, 1_000, AttackKind::RapidReset),
    ] {
        let mut world = World::new(GuardPolicy::default());
        let web = world.web;
        let event = &mut |_: &mut _| vec![Event { kind, ..request(address(5), web, "/", "a") }];
        world.run(1_500, &mut [Source { per_s, event }]);
        assert_eq!(world.told[0].1.attack.kind, expected);
        assert!(!world.told[0].1.blocks.is_empty());
    }
    let mut world = World::new(GuardPolicy::default());
    let web = world.web;
    let event = &mut |_: &mut _| {
        let one = request(address(5), web, "/", "a");
        vec![one, Event { kind: Kind::Error, ..one }]
    };
    world.run(1_500, &mut [Source { per_s: 150, event }]);
    assert_eq!(world.told[0].1.attack.kind, AttackKind::Scan);
}

#[test]
fn many_weak_sources_on_one_path_are_an_attack_on_that_path() {
    let mut world = World::new(policy(&[Action::ChallengeResponse]));
    world.people(300, 70_000);
    let (begun, web) = (world.now_ms, world.web);
    world.detector.named(hash_text(9, "/search"), "/search");
    let bots = &mut |rng: &mut dwcp_types::Rng| {
        let mut bot = request(address(10_000 + rng.below(4_000)), web, "/search", "bot");
        bot.asn = 65_000 + rng.below(500) as u32;
        vec![bot]
    };
    world.run(
        3_000,
        &mut [
            Source { per_s: 300, event: &mut |rng| person(rng, web, 2_000) },
            Source { per_s: 8_000, event: bots },
        ],
    );
    let (at, one) = world.told.iter().find(|(_, one)| !one.blocks.is_empty()).unwrap();
    assert!(at - begun <= 1_250, "after {} ms", at - begun);
    let path = Target::Path { service: "web".to_owned(), path: "/search".to_owned() };
    assert_eq!((&one.attack.target, one.attack.judgement.verdict), (&path, Verdict::Real));
    assert_eq!(one.blocks[0].action, Action::ChallengeResponse);
}

#[test]
fn a_crowd_is_told_and_nobody_of_it_is_blocked() {
    let mut world = World::new(policy(&Action::ALL));
    world.people(300, 70_000);
    let web = world.web;
    world.run(8_000, &mut [Source { per_s: 6_000, event: &mut |rng| person(rng, web, 9_000) }]);
    assert!(!world.told.is_empty(), "a crowd is remarkable");
    for (_, one) in &world.told {
        assert_eq!(one.attack.judgement.verdict, Verdict::FalsePositive, "{:?}", one.attack);
        assert_eq!(one.blocks, []);
    }
}

#[test]
fn an_attack_is_over_after_ten_quiet_seconds() {
    let mut world = World::new(GuardPolicy::default());
    let web = world.web;
    world
        .run(2_000, &mut [Source { per_s: 5_000, event: &mut |_| vec![request(address(5), web, "/", "a")] }]);
    world.run(13_000, &mut []);
    let (_, last) = world.told.last().unwrap();
    assert_eq!((last.phase, last.attack.status), (Phase::Ends, Status::Over));
    assert_eq!(world.detector.attacks().count(), 0);
}

#[test]
fn who_was_pardoned_is_not_proposed_again() {
    let mut world = World::new(GuardPolicy::default());
    let web = world.web;
    world.detector.pardon(&Target::Ip("203.0.113.7".parse().unwrap()), NOON + 60_000);
    let event = &mut |_: &mut _| vec![request(ip("203.0.113.7"), web, "/", "a")];
    world.run(3_000, &mut [Source { per_s: 5_000, event }]);
    assert!(!world.told.is_empty() && world.told.iter().all(|(_, one)| one.blocks.is_empty()));
}

#[test]
fn what_was_learned_survives_and_a_flood_does_not_teach() {
    let mut world = World::new(GuardPolicy::default());
    world.people(300, 70_000);
    let text = serde_json::to_string(world.detector.learned()).unwrap();
    let mut again = Detector::new(GuardPolicy::default(), 1);
    again.restore(serde_json::from_str(&text).unwrap());
    let typical = |detector: &Detector| detector.learned().services["web"].typical(world.now_ms);
    assert_eq!(typical(&again), typical(&world.detector));
    assert_eq!(again.learned().asns.percent.len(), world.detector.learned().asns.percent.len());
    let usual = |world: &World| world.detector.learned().services["web"].typical(world.now_ms).rate;
    assert!((280..320).contains(&usual(&world)), "{}", usual(&world));
    let web = world.web;
    let event = &mut |_: &mut _| vec![request(address(5), web, "/", "a")];
    world.run(20_000, &mut [Source { per_s: 5_000, event }]);
    assert!(usual(&world) < 350, "{}", usual(&world));
}

#[test]
fn traffic_names_who_sends_most() {
    let mut world = World::new(GuardPolicy::default());
    world.people(300, 2_000);
    let web = world.web;
    world.run(2_000, &mut [Source { per_s: 700, event: &mut |_| vec![request(address(5), web, "/x", "a")] }]);
    let traffic = world.detector.traffic(world.now_ms);
    assert_eq!(traffic.sources[0].who, address(5).to_string());
    assert!(traffic.sources[0].requests.abs_diff(700) < 20, "{:?}", traffic.sources[0]);
    assert_eq!(traffic.services[0].service, "web");
    assert_eq!(traffic.asns[0].who, "AS64500");
}

#[test]
fn few_loud_sources_and_many_quiet_ones_are_judged_apart() {
    let typical = Typical {
        learned: true,
        rate: 500,
        deviation: 50,
        sources: 400,
        error_percent: 2,
        top_path_percent: 10,
        top_agent_percent: 20,
    };
    let crowd = Evidence {
        rate: 20_000,
        threshold: 1_000,
        sources: 9_000,
        error_percent: 3,
        top_path_percent: 30,
        top_agent_percent: 25,
        ..Evidence::default()
    };
    let judged = validate(AttackKind::Surge, &crowd, &typical);
    assert_eq!(judged.verdict, Verdict::FalsePositive, "{judged:?}");
    assert!(judged.reasons.iter().any(|reason| reason.contains("9000 different sources")), "{judged:?}");
    let failing = Evidence { error_percent: 60, ..crowd.clone() };
    assert_eq!(validate(AttackKind::Surge, &failing, &typical).verdict, Verdict::Unclear);
    let alike = Evidence { top_path_percent: 99, top_agent_percent: 99, ..crowd.clone() };
    assert_eq!(validate(AttackKind::Surge, &alike, &typical).verdict, Verdict::Real);
    let few = Evidence { sources: 3, top_path_percent: 99, ..crowd.clone() };
    assert_eq!(validate(AttackKind::HttpFlood, &few, &typical).verdict, Verdict::Real);
    let syns = Evidence { rate: 5_000, sources: 1, ..Evidence::default() };
    assert_eq!(validate(AttackKind::SynFlood, &syns, &typical).verdict, Verdict::Real);
}
