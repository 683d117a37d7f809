//! When nothing fits, the refusal says why with numbers, and which single change would help.

use dwcp_decide::PlaceRequest;
use dwcp_state::Scope;
use dwcp_types::{Amount, Code};

use super::world::{World, host, labels, region, regions, request, set, size, to_label};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn change(world: &World, ask: &PlaceRequest) -> String {
    let (result, report) = world.decide(ask);
    let refusal = result.expect_err("nothing fits");
    assert_eq!(refusal.code, Code::NothingFits);
    match report.smallest_change {
        Some(change) => {
            assert_eq!(refusal.tries, vec![change.command.clone()]);
            format!("{} -> {}/{}", change.change, change.region, change.host)
        }
        None => {
            assert!(refusal.to_string().contains("no single change"), "{refusal}");
            String::new()
        }
    }
}

#[test]
fn a_longer_round_trip_is_offered_by_the_shortest_that_helps() {
    let mut world = World::new(&["a", "b", "c"], 1);
    world.rtt("users", "a", 80);
    world.rtt("users", "b", 60);
    world.rtt("users", "c", 90);
    world.fill("b", "h1", size(8, 1, 1));
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.max_latency = vec![(region("users"), 50)];
    assert_eq!(change(&world, &ask), "allow 80 ms to users (for a) instead of 50 ms -> a/h1");
}

#[test]
fn a_higher_cost_limit_is_offered_by_the_lowest_that_helps() {
    let mut world = World::new(&["a", "b"], 1);
    world.change("a", |region| region.prices.vcpu_micros = 30_000);
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.cost_limit_millis = Some(10_000);
    assert_eq!(change(&world, &ask), "raise the cost limit to 22.63 USD a month from 10.00 USD -> b/h1");
}

#[test]
fn another_region_is_offered() {
    let mut world = World::new(&["a", "b"], 1);
    world.fill("a", "h1", size(8, 1, 1));
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.allowed_regions = regions(&["a"]);
    assert_eq!(change(&world, &ask), "allow the region b -> b/h1");
    ask.vm.rules.allowed_regions.clear();
    ask.vm.rules.denied_regions = regions(&["b"]);
    assert_eq!(change(&world, &ask), "no longer deny the region b -> b/h1");
    ask.vm.rules.denied_regions.clear();
    ask.only_regions = Some(regions(&["a"]));
    assert_eq!(change(&world, &ask), "ask for b as well -> b/h1");
}

#[test]
fn one_relation_or_host_rule_is_offered_for_dropping() {
    let mut world = World::new(&["a"], 1);
    let mut other = world.vm(SMALL);
    other.labels = labels(&[("app", "db")]);
    world.put("a", "h1", &other);
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.anti_affinity = vec![to_label("app", "db", Scope::Host)];
    assert_eq!(change(&world, &ask), "drop the rule to be away from app=db:host -> a/h1");
    ask.vm.rules.anti_affinity.clear();
    ask.vm.rules.zones = set(&["b"]);
    assert_eq!(change(&world, &ask), "drop the required zones -> a/h1");
    ask.vm.rules.zones.clear();
    ask.vm.rules.hosts = [host("h9")].into();
    assert_eq!(change(&world, &ask), "drop the required hosts -> a/h1");
}

#[test]
fn what_is_offered_can_be_typed_as_it_stands() {
    let mut world = World::new(&["a", "b"], 1);
    world.fill("a", "h1", size(8, 1, 1));
    let mut ask = request(world.vm(SMALL));
    ask.vm.name = "web".into();
    ask.vm.spec.image = "small".into();
    ask.vm.spec.probe = dwcp_state::Probe::Http("/health".into());
    ask.vm.labels = labels(&[("app", "db")]);
    ask.vm.rules.allowed_regions = regions(&["a"]);
    ask.vm.rules.anti_affinity = vec![to_label("app", "web", Scope::Zone)];
    let refusal = world.decide(&ask).0.expect_err("nothing fits");
    let line = "dwcp-cli vm create --name web --vcpus 2 --memory 2048MiB --disk 10GiB --regions a,b \
                --away-from app=web:zone --label app=db";
    assert_eq!(refusal.tries, vec![line]);
}

#[test]
fn a_smaller_vm_is_offered_by_what_the_nearest_host_has_free() {
    let mut world = World::new(&["a"], 2);
    world.fill("a", "h1", size(4, 30_720, 10));
    world.fill("a", "h2", size(6, 1_024, 10));
    let ask = request(world.vm(size(4, 4_096, 10)));
    let (result, _) = world.decide(&ask);
    let text = result.expect_err("no host has both").to_string();
    assert!(text.contains("2 hosts: too little room"), "{text}");
    assert!(text.contains("it needs 4 vCPUs, 4096 MiB, 10 GiB; the most that is free is"), "{text}");
    assert_eq!(change(&world, &ask), "ask for 2048 MiB of memory instead of 4096 -> a/h1");
}

#[test]
fn a_size_beyond_every_host_is_said_to_be_that() {
    let mut world = World::new(&["a"], 1);
    world.add_host("a", "big", "a", size(64, 65_536, 500));
    let ask = request(world.vm(size(128, 1_024, 10)));
    let text = world.decide(&ask).0.expect_err("too large").to_string();
    assert!(text.contains("more than any host has in all; the largest, big in a, has 64 vCPUs"), "{text}");
}

#[test]
fn a_region_behind_a_switch_is_offered_for_opening() {
    let mut world = World::new(&["a"], 1);
    world.change("a", |region| region.placement = false);
    let ask = request(world.vm(SMALL));
    assert_eq!(change(&world, &ask), "open a for placement -> a/h1");
    let refusal = world.decide(&ask).0.expect_err("closed");
    assert_eq!(refusal.tries, vec!["dwcp-cli federation region enable-placement --region a"]);
}

#[test]
fn when_two_rules_are_in_the_way_no_single_change_is_offered() {
    let mut world = World::new(&["a", "b"], 1);
    world.fill("a", "h1", size(8, 1, 1));
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.allowed_regions = regions(&["a"]);
    ask.vm.rules.residency = set(&["eu"]);
    assert_eq!(change(&world, &ask), "");
}

#[test]
fn residency_is_never_offered_for_dropping() {
    let mut world = World::new(&["a"], 1);
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.residency = set(&["eu"]);
    assert_eq!(change(&world, &ask), "");
}
