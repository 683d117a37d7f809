//! Routing: what holds for any table, any view of it, and any client.

use dwcp_decide::route::{Algorithm, Client, Place, Plan, Qos, Why};
use proptest::prelude::*;

use super::routing_world::{Net, client};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

type RegionPart = (bool, u8, Option<u8>, Option<u32>, Option<(i32, i32)>, u64);
type EndpointPart = (bool, bool, bool, u32);

fn regions() -> impl Strategy<Value = Vec<(RegionPart, Vec<EndpointPart>)>> {
    let place = proptest::option::of((-90i32..=90, -180i32..=180));
    let share = prop_oneof![Just(0u8), Just(100), 0u8..=100];
    let health = proptest::option::of(0u8..=100);
    let rtt = proptest::option::of(0u32..400);
    let region = (prop::bool::weighted(0.8), share, health, rtt, place, 0u64..3);
    let well = || prop::bool::weighted(0.7);
    let endpoint = (well(), prop::bool::weighted(0.2), well(), 0u32..200);
    proptest::collection::vec((region, proptest::collection::vec(endpoint, 0..6)), 1..=NAMES.len())
}

fn net() -> impl Strategy<Value = Net> {
    (regions(), 0usize..5, 0usize..3, 0u32..=100).prop_map(|(regions, algorithm, qos, doubt)| {
        let mut net = Net::new(&NAMES[..regions.len()], 0);
        net.table.policy.algorithm = [
            Algorithm::Latency,
            Algorithm::Cost,
            Algorithm::LoadBalanced,
            Algorithm::GeoProximity,
            Algorithm::Hybrid,
        ][algorithm];
        net.table.policy.doubt_below_percent = doubt;
        net.qos([Qos::Critical, Qos::Standard, Qos::Bulk][qos]);
        for (at, ((takes_part, share, health, rtt_ms, place, price), endpoints)) in
            regions.into_iter().enumerate()
        {
            let row = &mut net.table.regions[at];
            (row.takes_part, row.traffic_percent, row.health, row.rtt_ms) =
                (takes_part, share, health, rtt_ms);
            row.place = place.map(|(north, east)| Place { latitude: north as f32, longitude: east as f32 });
            row.price_micros = price;
            for (number, (serves, draining, up, open)) in endpoints.into_iter().enumerate() {
                let mut row = super::routing_world::row(at as u16, number);
                (row.serves, row.draining) = (serves, draining);
                if !up {
                    net.down.insert(net.open.len() as u32);
                }
                net.open.push(open);
                net.table.services[0].endpoints.push(row);
            }
        }
        net
    })
}

fn asking() -> impl Strategy<Value = (Client, Vec<u32>)> {
    let place = proptest::option::of((-90i32..=90, -180i32..=180));
    let pinned = proptest::option::of(0u32..30);
    (any::<u64>(), place, pinned, proptest::collection::vec(0u32..30, 0..8)).prop_map(
        |(key, place, pinned, not)| {
            let place = place.map(|(north, east)| Place { latitude: north as f32, longitude: east as f32 });
            (Client { key, place, pinned }, not)
        },
    )
}

/// The federation or the router says that an endpoint is well, whichever counts.
fn is_well(net: &Net, at: u32) -> bool {
    let rows = &net.table.services[0].endpoints;
    let counted = rows.iter().filter(|row| row.serves && !row.draining).count();
    let doubt = (dwcp_decide::route::Live::undoubted(net) as usize) * 100
        < counted * net.table.policy.doubt_below_percent as usize;
    if doubt { rows[at as usize].serves } else { !net.down.contains(&at) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_never_empty_and_always_an_endpoint_of_its_region(net in net(), (client, not) in asking()) {
        let rows = &net.table.services[0].endpoints;
        match net.choose(&client, &not) {
            None => prop_assert!(rows.is_empty()),
            Some(choice) => prop_assert_eq!(rows[choice.endpoint as usize].region, choice.region),
        }
    }

    #[test]
    fn what_is_not_well_is_chosen_only_as_the_least_bad(net in net(), (client, not) in asking()) {
        let Some(choice) = net.choose(&client, &not) else { return Ok(()) };
        if choice.why == Why::LeastBad {
            return Ok(());
        }
        let (at, region) = (choice.endpoint, &net.table.regions[choice.region as usize]);
        let row = &net.table.services[0].endpoints[at as usize];
        prop_assert!(is_well(&net, at) && !not.contains(&at));
        prop_assert!(region.takes_part && region.traffic_percent > 0);
        if choice.why != Why::Pinned {
            prop_assert!(row.serves && !row.draining);
            prop_assert!(region.health.is_none_or(|health| health >= net.table.policy.least_health));
        }
    }

    #[test]
    fn the_least_bad_is_chosen_only_when_nothing_is_well(net in net(), (client, not) in asking()) {
        let Some(choice) = net.choose(&client, &not) else { return Ok(()) };
        let rows = net.table.services[0].endpoints.iter().zip(0u32..);
        let mut better = rows.filter(|(row, at)| {
            let region = &net.table.regions[row.region as usize];
            region.takes_part && region.traffic_percent > 0
                && region.health.is_none_or(|health| health >= net.table.policy.least_health)
                && row.serves && !row.draining && is_well(&net, *at) && !not.contains(at)
        });
        prop_assert!(choice.why != Why::LeastBad || better.next().is_none());
    }

    #[test]
    fn what_was_tried_is_tried_again_only_when_everything_was(net in net(), (client, not) in asking()) {
        let Some(choice) = net.choose(&client, &not) else { return Ok(()) };
        let all = 0..net.open.len() as u32;
        prop_assert!(!not.contains(&choice.endpoint) || all.clone().all(|at| not.contains(&at)));
    }

    #[test]
    fn a_pinned_client_stays_where_it_is(net in net(), (client, not) in asking()) {
        let Some(choice) = net.choose(&client, &not) else { return Ok(()) };
        let stays = client.pinned.filter(|at| (*at as usize) < net.open.len()).is_some_and(|at| {
            let region = &net.table.regions[net.table.services[0].endpoints[at as usize].region as usize];
            is_well(&net, at) && !not.contains(&at) && region.takes_part && region.traffic_percent > 0
        });
        prop_assert_eq!(choice.why == Why::Pinned, stays);
        prop_assert!(!stays || client.pinned == Some(choice.endpoint));
    }

    #[test]
    fn a_share_that_grows_only_adds_clients(
        mut net in net(),
        of in 0usize..5,
        (less, more) in (1u8..=100, 0u8..=100),
    ) {
        let of = of % net.table.regions.len();
        let with = |net: &mut Net, percent: u8| {
            net.table.regions[of].traffic_percent = percent;
            let plan = Plan::of(&net.table);
            (0..100).map(|key| plan.choose(0, &client(key), net, &[]).map(|it| it.region)).collect::<Vec<_>>()
        };
        let before = with(&mut net, less);
        let after = with(&mut net, less.saturating_add(more).min(100));
        for (before, after) in before.iter().zip(after) {
            prop_assert!(*before != Some(of as u16) || after == Some(of as u16));
        }
    }

    #[test]
    fn what_is_explained_is_what_is_chosen(net in net(), (client, not) in asking()) {
        let plan = Plan::of(&net.table);
        let choice = plan.choose(0, &client, &net, &not);
        let explained = plan.explain(0, &client, &net, &not);
        prop_assert_eq!(explained.choice, choice);
        let first = explained.scores.iter().position(|score| score.rank == Some(1));
        match choice {
            Some(choice) if choice.why == Why::Pinned => {}
            choice => prop_assert_eq!(choice.map(|choice| choice.region as usize), first),
        }
        let unused = explained.scores.iter().filter(|score| score.rank != Some(1));
        prop_assert!(unused.into_iter().all(|score| score.reason.is_some()));
    }

    #[test]
    fn settings_that_are_any_text_are_read_without_a_panic(text in ".{0,60}") {
        let mut world = super::world::World::new(&["a"], 0);
        for kind in [dwcp_state::DocumentKind::Routing, dwcp_state::DocumentKind::Service] {
            let key = dwcp_state::DocumentKey::new(kind, dwcp_decide::route::POLICY_ID);
            let document = dwcp_state::Document { text: text.clone(), ..Default::default() };
            world.view.core.documents.insert(key, document);
        }
        let built = dwcp_decide::route::build(&world.view, &world.measured, &super::world::region("a"), 0);
        prop_assert!(!built.complaints.is_empty() && built.table.check().is_ok());
    }
}
