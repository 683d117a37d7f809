//! Where clients go: each rule of the choice.

use dwcp_decide::route::{Algorithm, Client, Plan, Qos, Weights, Why};

use super::routing_world::{Net, client, place};

#[test]
fn the_shortest_round_trip_wins() {
    let net = Net::new(&["a", "b", "c"], 4);
    assert_eq!(net.split(1_000), [100.0, 0.0, 0.0]);
    assert_eq!(net.goes(1), "a Best");
}

#[test]
fn clients_whose_place_is_known_go_to_the_nearest_region() {
    let mut net = Net::new(&["frankfurt", "virginia", "sydney"], 4);
    net.region("frankfurt").place = place(50.1, 8.7);
    net.region("virginia").place = place(38.9, -77.4);
    net.region("sydney").place = place(-33.9, 151.2);
    for algorithm in [Algorithm::Latency, Algorithm::GeoProximity, Algorithm::Hybrid] {
        net.table.policy.algorithm = algorithm;
        let from = |latitude, longitude| {
            let asking = Client { place: place(latitude, longitude), ..client(7) };
            net.words(net.choose(&asking, &[]))
        };
        assert_eq!(from(48.8, 2.3), "frankfurt Best", "{algorithm:?}");
        assert_eq!(from(40.7, -74.0), "virginia Best", "{algorithm:?}");
        assert_eq!(from(-36.8, 174.8), "sydney Best", "{algorithm:?}");
    }
}

#[test]
fn what_was_not_measured_is_never_good() {
    let mut net = Net::new(&["a", "b", "c"], 2);
    net.region("a").rtt_ms = None;
    assert_eq!(net.goes(1), "b Best");
    net.region("b").rtt_ms = None;
    assert_eq!(net.goes(1), "a Best", "all are as bad as the worst: the first");
    net.region("c").rtt_ms = Some(0);
    assert_eq!(net.goes(1), "c Best");
}

#[test]
fn a_region_without_a_place_is_not_near_to_anybody() {
    let mut net = Net::new(&["a", "b", "c"], 2);
    net.region("b").place = place(38.9, -77.4);
    net.region("c").place = place(-33.9, 151.2);
    let asking = Client { place: place(40.7, -74.0), ..client(7) };
    assert_eq!(net.words(net.choose(&asking, &[])), "b Best");
}

#[test]
fn the_cheapest_wins_by_cost_and_of_equal_prices_the_nearest() {
    let mut net = Net::new(&["a", "b", "c"], 2);
    net.table.policy.algorithm = Algorithm::Cost;
    net.region("a").price_micros = 20_000;
    assert_eq!(net.goes(1), "b Best");
    net.region("c").price_micros = 9_000;
    assert_eq!(net.goes(1), "c Best");
    net.region("b").price_micros = 0;
    assert_eq!(net.goes(1), "c Best", "an unknown price is not a low one");
}

#[test]
fn clients_are_spread_by_free_capacity() {
    let mut net = Net::new(&["a", "b"], 4);
    net.table.policy.algorithm = Algorithm::LoadBalanced;
    let even = net.split(20_000);
    assert!((even[0] - 50.0).abs() < 1.0, "{even:?}");
    net.load("a", 75);
    let split = net.split(20_000);
    assert!((split[0] - 20.0).abs() < 1.0, "25 free of a hundred against 100: {split:?}");
}

#[test]
fn weights_decide_which_term_counts() {
    let mut net = Net::new(&["a", "b"], 2);
    net.table.policy.algorithm = Algorithm::Hybrid;
    net.region("a").price_micros = 20_000;
    net.region("b").health = Some(70);
    assert_eq!(net.goes(1), "a Best");
    net.table.policy.weights = Weights { latency: 10, cost: 90, load: 0, distance: 0, health: 0 };
    assert_eq!(net.goes(1), "b Best");
    net.table.policy.weights = Weights { latency: 0, cost: 10, load: 0, distance: 0, health: 90 };
    assert_eq!(net.goes(1), "a Best");
}

#[test]
fn a_region_at_a_share_takes_that_share_of_its_clients() {
    for percent in [10, 25, 50, 75, 100] {
        let mut net = Net::new(&["a", "b"], 2);
        net.region("a").traffic_percent = percent;
        let split = net.split(100_000);
        assert!((split[0] - f64::from(percent)).abs() < 1.0, "{percent}: {split:?}");
    }
}

#[test]
fn the_next_region_takes_its_share_of_those_that_are_left() {
    let mut net = Net::new(&["a", "b", "c"], 2);
    net.region("a").traffic_percent = 50;
    net.region("b").traffic_percent = 50;
    let split = net.split(100_000);
    assert!(split.iter().zip([50.0, 25.0, 25.0]).all(|(is, is_to)| (is - is_to).abs() < 1.0), "{split:?}");
}

#[test]
fn clients_in_no_share_are_spread_by_the_shares() {
    let mut net = Net::new(&["a", "b"], 2);
    net.region("a").traffic_percent = 30;
    net.region("b").traffic_percent = 10;
    let split = net.split(100_000);
    // 30 % are in a's share, 7 % in b's alone; of the other 63 % three of four go to a.
    assert!((split[0] - 77.25).abs() < 1.0, "{split:?}");
}

#[test]
fn who_is_not_in_a_share_is_told_so() {
    let mut net = Net::new(&["a", "b"], 2);
    net.region("a").traffic_percent = 50;
    let whys: Vec<String> = (0..50).map(|key| net.goes(key)).collect();
    assert!(whys.contains(&"a Best".to_owned()) && whys.contains(&"b Share".to_owned()), "{whys:?}");
}

#[test]
fn full_regions_spill_and_the_important_last() {
    let mut net = Net::new(&["a", "b", "c"], 4);
    net.load("a", 80);
    let mut of = |qos| {
        net.qos(qos);
        net.goes(1)
    };
    assert_eq!([of(Qos::Critical), of(Qos::Standard), of(Qos::Bulk)], ["a Best", "a Best", "b Spilled"]);
    net.load("a", 90);
    net.load("b", 86);
    net.qos(Qos::Standard);
    assert_eq!(net.goes(1), "c Spilled");
    net.load("c", 88);
    assert_eq!(net.goes(1), "b Spilled", "all are full: the least full");
}

#[test]
fn endpoints_that_are_down_carry_nothing() {
    let mut net = Net::new(&["a", "b"], 4);
    net.load("a", 50);
    let of = net.of("a");
    net.down.extend(&of[..2]);
    of[..2].iter().for_each(|at| net.open[*at as usize] = 0);
    assert_eq!(net.goes(1), "a Best");
    of[2..].iter().for_each(|at| net.open[*at as usize] = 90);
    assert_eq!(net.goes(1), "b Spilled");
}

#[test]
fn unhealthy_regions_come_last_and_unknown_ones_before_them() {
    let mut net = Net::new(&["a", "b", "c", "d"], 2);
    net.region("a").health = Some(59);
    net.region("b").health = None;
    net.region("c").takes_part = false;
    assert_eq!(net.goes(1), "d Best");
    net.lose("d");
    assert_eq!(net.goes(1), "b Best");
    net.lose("b");
    assert_eq!(net.goes(1), "a LeastBad");
    net.table.policy.doubt_below_percent = 0;
    net.lose("a");
    assert_eq!(net.goes(1), "c LeastBad");
    net.lose("c");
    assert_eq!(net.goes(1), "d LeastBad", "none is up: by the facts");
}

#[test]
fn a_region_without_traffic_is_used_when_nothing_else_is_there() {
    let mut net = Net::new(&["a", "b"], 2);
    net.region("a").traffic_percent = 0;
    assert_eq!(net.split(1_000), [0.0, 100.0]);
    net.lose("b");
    assert_eq!(net.goes(1), "a LeastBad");
}

#[test]
fn a_pinned_client_stays_until_its_endpoint_or_its_region_is_gone() {
    let mut net = Net::new(&["a", "b"], 4);
    let at = net.of("b")[2];
    let asking = Client { pinned: Some(at), ..client(1) };
    let choice = net.choose(&asking, &[]).expect("a choice");
    assert_eq!((choice.endpoint, choice.why), (at, Why::Pinned));
    net.endpoint(at).draining = true;
    net.region("b").traffic_percent = 1;
    assert_eq!(net.words(net.choose(&asking, &[])), "b Pinned", "draining keeps those that are there");
    assert_eq!(net.words(net.choose(&asking, &[at])), "a Best", "it failed");
    net.region("b").traffic_percent = 0;
    assert_eq!(net.words(net.choose(&asking, &[])), "a Best");
    net.region("b").traffic_percent = 100;
    net.region("b").takes_part = false;
    assert_eq!(net.words(net.choose(&asking, &[])), "a Best");
    net.region("b").takes_part = true;
    net.down.insert(at);
    assert_eq!(net.words(net.choose(&asking, &[])), "a Best");
    let nobody = Client { pinned: Some(999), ..client(1) };
    assert_eq!(net.words(net.choose(&nobody, &[])), "a Best");
}

#[test]
fn of_two_endpoints_the_one_with_fewer_requests_wins() {
    let mut net = Net::new(&["a"], 10);
    net.open = vec![50; 10];
    net.open[3] = 0;
    let plan = Plan::of(&net.table);
    let chosen = |key| plan.choose(0, &client(key), &net, &[]).expect("a choice").endpoint;
    let free = (0..10_000).filter(|key| chosen(*key) == 3).count();
    assert!((1_850..2_150).contains(&free), "twice its tenth of the keys: {free}");
}

#[test]
fn endpoints_take_equal_parts() {
    let net = Net::new(&["a"], 10);
    let plan = Plan::of(&net.table);
    let mut counts = [0; 10];
    for key in 0..10_000 {
        counts[plan.choose(0, &client(key), &net, &[]).expect("a choice").endpoint as usize] += 1;
    }
    assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
}

#[test]
fn draining_and_dead_and_tried_endpoints_take_no_new_clients() {
    let mut net = Net::new(&["a"], 5);
    net.endpoint(0).draining = true;
    net.endpoint(1).serves = false;
    net.down.insert(2);
    let plan = Plan::of(&net.table);
    for key in 0..200 {
        let choice = plan.choose(0, &client(key), &net, &[3]).expect("a choice");
        assert_eq!((choice.endpoint, choice.why), (4, Why::Best), "{key}");
    }
}

#[test]
fn what_is_left_is_taken_from_good_to_bad() {
    let mut net = Net::new(&["a", "b"], 2);
    net.table.policy.doubt_below_percent = 0;
    net.endpoint(0).draining = true;
    net.endpoint(1).serves = false;
    let plan = Plan::of(&net.table);
    let mut not = Vec::new();
    for expected in ["b", "b", "a", "a"] {
        let choice = plan.choose(0, &client(5), &net, &not).expect("a choice");
        assert_eq!(net.table.regions[choice.region as usize].region, expected, "after {not:?}");
        not.push(choice.endpoint);
    }
    assert_eq!(not[2..], [1, 0], "what is up and takes clients before what is draining");
    let choice = plan.choose(0, &client(5), &net, &not).expect("never nothing");
    assert_eq!(choice.why, Why::LeastBad);
}

#[test]
fn when_most_seem_to_be_down_the_federation_is_believed() {
    let mut net = Net::new(&["a", "b"], 4);
    net.down.extend(0..4);
    net.endpoint(0).serves = false;
    assert_eq!(net.goes(1), "b Best", "four of seven are up");
    net.down.extend(4..6);
    let choice = net.choose(&client(1), &[]).expect("a choice");
    assert_eq!((choice.region, choice.why), (0, Why::Best), "two of seven: the router itself is cut off");
    assert!((0..200).all(|key| net.choose(&client(key), &[]).is_some_and(|choice| choice.endpoint != 0)));
}

#[test]
fn a_service_without_endpoints_leads_nowhere() {
    let net = Net::new(&["a"], 0);
    assert_eq!(net.choose(&client(1), &[]), None);
    assert_eq!(Plan::of(&net.table).choose(7, &client(1), &net, &[]), None);
}
