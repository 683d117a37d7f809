//! What is said of a decision.

use dwcp_decide::route::{Plan, Qos};

use super::routing_world::{Net, client};

/// Region, rank and reason of each.
fn reasons(net: &Net) -> Vec<String> {
    let scores = Plan::of(&net.table).scores(0, &client(1), net);
    let words = scores.iter().map(|score| {
        let rank = score.rank.map_or("-".into(), |rank| rank.to_string());
        format!("{} {rank} {}", score.region, score.reason.as_deref().unwrap_or("is used"))
    });
    words.collect()
}

#[test]
fn each_region_says_why_it_is_not_used() {
    let mut net = Net::new(&["a", "b", "c", "d", "e", "f", "g", "h"], 2);
    net.load("a", 90);
    net.region("b").takes_part = false;
    net.region("c").traffic_percent = 0;
    net.region("d").health = Some(20);
    net.region("e").health = None;
    net.lose("f");
    net.table.services[0].endpoints.retain(|row| row.region != 6);
    net.open.truncate(14);
    assert_eq!(
        reasons(&net),
        [
            "a 3 it is full: 90 % of what it can carry, and standard requests go elsewhere from 85 % on",
            "b 5 it takes no part in users' traffic",
            "c 6 its share of the traffic is 0 %",
            "d 4 its health score is 20, below 60",
            "e 2 its health is unknown",
            "f 7 none of its endpoints answers the router",
            "g - it has no endpoint of the service",
            "h 1 is used",
        ]
    );
}

#[test]
fn a_share_and_a_better_region_are_reasons() {
    let mut net = Net::new(&["a", "b", "c"], 2);
    net.region("a").traffic_percent = 1;
    assert_eq!(
        reasons(&net),
        [
            "a 3 it takes 1 % of its clients, and this one is not among them",
            "b 1 is used",
            "c 2 b is better: 0.500 against 1.000",
        ]
    );
}

#[test]
fn a_sentence_says_where_and_why() {
    let mut net = Net::new(&["a", "b"], 4);
    let says = |net: &Net| Plan::of(&net.table).explain(0, &client(1), net, &[]).sentence;
    assert_eq!(says(&net), "service web goes to a: it is the best by round trip");
    net.load("a", 80);
    net.qos(Qos::Bulk);
    assert_eq!(says(&net), "service web goes to b: better regions are full for bulk requests");
    net.lose("b");
    net.down.insert(0);
    assert_eq!(
        says(&net),
        "service web goes to b: better regions are full for bulk requests; fewer than 50 % of the endpoints seem to be up, \
         so that what the federation says of them counts"
    );
}

#[test]
fn scores_show_what_was_measured() {
    let mut net = Net::new(&["a", "b"], 4);
    net.load("b", 30);
    let scores = Plan::of(&net.table).scores(0, &client(1), &net);
    assert_eq!((scores[1].rtt_ms, scores[1].distance_km), (Some(10.0), None));
    assert_eq!((scores[1].load_percent, scores[1].open, scores[1].ready), (30.0, 120, 4));
    let terms = scores[1].terms.expect("it has endpoints");
    assert_eq!(
        (terms.latency, terms.cost, terms.load, terms.distance, terms.health),
        (1.0, 1.0, 0.3, 1.0, 0.0)
    );
    assert!(Plan::of(&net.table).scores(1, &client(1), &net).is_empty());
}
