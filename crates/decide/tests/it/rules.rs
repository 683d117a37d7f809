//! Each rule excludes what it should, and nothing else.

use dwcp_decide::{PlaceRequest, ReasonKind, Reservations};
use dwcp_state::{Command, Decommission, Lifecycle, Scope, Standing, Want};
use dwcp_types::{Code, Wall};

use super::world::{World, host, labels, region, regions, request, set, size, to_label, to_vm};

const SMALL: dwcp_types::Amount = dwcp_types::Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

/// Two regions; `change` makes a rule forbid `a`; the VM must go to `b` and the report must say why.
fn excludes(kind: ReasonKind, change: impl FnOnce(&mut World, &mut PlaceRequest)) {
    let mut world = World::new(&["a", "b"], 2);
    world.change("a", |region| region.priority = 100);
    let mut ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h1", "before the change");
    change(&mut world, &mut ask);
    assert_eq!(world.placed(&ask), "b/h1");
    assert_eq!(world.why(&ask, "a"), Some(kind));
}

#[test]
fn a_region_that_takes_no_placements_is_left_out() {
    excludes(ReasonKind::Closed, |world, _| world.change("a", |region| region.placement = false));
    excludes(ReasonKind::Closed, |world, _| world.change("a", |r| r.lifecycle = Lifecycle::Disabled));
    excludes(ReasonKind::Closed, |world, _| world.change("a", |region| region.standing = Standing::Lost));
    excludes(ReasonKind::Closed, |world, _| world.change("a", |r| r.standing = Standing::Returned));
    excludes(ReasonKind::Closed, |world, _| {
        world.accept("a", Command::BeginEvacuation(1));
    });
}

#[test]
fn a_region_holds_as_many_vms_as_it_is_configured_to_and_more_only_after_a_loss() {
    excludes(ReasonKind::Capacity, |world, _| {
        world.fill("a", "h1", SMALL);
        world.fill("a", "h2", SMALL);
        world.change("a", |region| region.site.vms_most = 2);
    });
    let mut world = World::new(&["a"], 1);
    let there = world.fill("a", "h1", SMALL);
    world.change("a", |region| region.site.vms_most = 1);
    let ask = PlaceRequest { for_failover: true, ..request(world.vm(SMALL)) };
    assert_eq!(world.placed(&ask), "a/h1");
    let again = world.view.regions[&region("a")].vms[&there].clone();
    assert_eq!(world.placed(&request(again)), "a/h1", "what is there may stay there");
}

#[test]
fn a_vm_bound_to_a_region_that_is_to_end_is_not_placed_there_unless_it_is_over_by_then() {
    let end = Decommission { at: Wall(5_000), ..Decommission::default() };
    let mut world = World::new(&["a", "b"], 1);
    world.change("a", |region| (region.priority, region.decommission) = (100, Some(end)));
    let mut ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h1", "it can leave");
    ask.vm.rules.allowed_regions = regions(&["a", "b"]);
    assert_eq!(world.placed(&ask), "a/h1", "it can leave");
    ask.vm.rules.allowed_regions = regions(&["a"]);
    assert_eq!(world.why(&ask, "a"), Some(ReasonKind::RegionRule));
    ask.vm.expires_at = Wall(5_001);
    assert_eq!(world.why(&ask, "a"), Some(ReasonKind::RegionRule));
    ask.vm.expires_at = Wall(5_000);
    assert_eq!(world.placed(&ask), "a/h1");
}

#[test]
fn an_unhealthy_region_is_left_out_for_new_vms_only() {
    let sick = |world: &mut World| {
        world.measured.health.insert(region("a"), Some(59));
    };
    excludes(ReasonKind::Unhealthy, |world, _| sick(world));
    let mut world = World::new(&["a"], 1);
    sick(&mut world);
    let ask = PlaceRequest { for_failover: true, ..request(world.vm(SMALL)) };
    assert_eq!(world.placed(&ask), "a/h1");
}

#[test]
fn unknown_health_is_allowed_and_scores_nothing() {
    let mut world = World::new(&["a", "b"], 1);
    world.measured.health.insert(region("a"), None);
    let ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "b/h1");
    world.measured.health.clear();
    assert_eq!(world.placed(&ask), "a/h1");
}

#[test]
fn lists_of_regions_are_obeyed() {
    excludes(ReasonKind::RegionRule, |_, ask| ask.vm.rules.allowed_regions = regions(&["b"]));
    excludes(ReasonKind::RegionRule, |_, ask| ask.vm.rules.denied_regions = regions(&["a"]));
    excludes(ReasonKind::NotAsked, |_, ask| ask.only_regions = Some(regions(&["b"])));
    excludes(ReasonKind::NotAsked, |_, ask| ask.exclude_regions = regions(&["a"]));
}

#[test]
fn every_compliance_tag_is_required() {
    excludes(ReasonKind::Compliance, |world, ask| {
        world.change("a", |region| region.compliance = set(&["gdpr"]));
        world.change("b", |region| region.compliance = set(&["gdpr", "hipaa"]));
        ask.vm.rules.compliance = set(&["gdpr", "hipaa"]);
    });
}

#[test]
fn data_stays_in_its_jurisdictions() {
    excludes(ReasonKind::Residency, |world, ask| {
        world.change("b", |region| region.jurisdiction = "eu".into());
        ask.vm.rules.residency = set(&["eu", "ch"]);
    });
}

#[test]
fn a_region_too_far_from_users_is_left_out_and_so_is_one_of_unknown_distance() {
    excludes(ReasonKind::Latency, |world, ask| {
        world.rtt("b", "users", 40);
        world.rtt("a", "users", 41);
        ask.vm.rules.max_latency = vec![(region("users"), 40)];
    });
    excludes(ReasonKind::Latency, |world, ask| {
        world.rtt("users", "b", 40);
        ask.vm.rules.max_latency = vec![(region("users"), 40)];
    });
}

#[test]
fn a_cost_limit_holds_except_in_recovery() {
    excludes(ReasonKind::Cost, |world, ask| {
        world.change("a", |region| region.prices.vcpu_micros = 20_000);
        ask.vm.rules.cost_limit_millis = Some(25_000);
    });
    let mut world = World::new(&["a"], 1);
    let mut ask = request(world.vm(SMALL));
    ask.vm.rules.cost_limit_millis = Some(1);
    assert!(world.placed(&ask).contains("USD"), "{}", world.placed(&ask));
    ask.for_failover = true;
    assert_eq!(world.placed(&ask), "a/h1");
}

/// One region with hosts h1 (zone a) and h2 (zone b); `change` makes a rule forbid h1.
fn excludes_host(kind: ReasonKind, change: impl FnOnce(&mut World, &mut PlaceRequest)) {
    let mut world = World::new(&["a"], 2);
    let mut ask = request(world.vm(SMALL));
    assert_eq!(world.placed(&ask), "a/h1", "before the change");
    change(&mut world, &mut ask);
    assert_eq!(world.placed(&ask), "a/h2");
    assert_eq!(world.why(&ask, "a/h1"), Some(kind));
}

#[test]
fn hosts_are_left_out_by_zone_label_list_and_standing() {
    excludes_host(ReasonKind::Zone, |_, ask| ask.vm.rules.zones = set(&["b"]));
    excludes_host(ReasonKind::HostLabel, |world, ask| {
        world.label_host("a", "h1", "disk", "hdd");
        world.label_host("a", "h2", "disk", "ssd");
        ask.vm.rules.host_labels = labels(&[("disk", "ssd")]);
    });
    excludes_host(ReasonKind::HostRule, |_, ask| ask.vm.rules.hosts = [host("h2")].into());
    excludes_host(ReasonKind::HostRule, |_, ask| ask.vm.rules.denied_hosts = [host("h1")].into());
    excludes_host(ReasonKind::HostClosed, |world, _| {
        world.accept("a", Command::SetHostPlacement((host("h1"), false)));
    });
    excludes_host(ReasonKind::HostClosed, |_, ask| ask.exclude_hosts = [(region("a"), host("h1"))].into());
    excludes_host(ReasonKind::HostLost, |world, _| {
        world.accept("a", Command::LoseHost((host("h1"), 0)));
    });
}

#[test]
fn a_host_needs_room_in_every_dimension() {
    excludes_host(ReasonKind::Capacity, |world, _| {
        world.fill("a", "h1", size(7, 1, 1));
        world.fill("a", "h2", size(6, 30_000, 400));
    });
    excludes_host(ReasonKind::Capacity, |world, _| {
        world.fill("a", "h1", size(1, 31_000, 1));
        world.fill("a", "h2", size(6, 30_000, 400));
    });
    excludes_host(ReasonKind::Capacity, |world, _| {
        world.fill("a", "h1", size(1, 1, 495));
        world.fill("a", "h2", size(6, 30_000, 400));
    });
}

#[test]
fn overcommit_stretches_processors_and_not_disk() {
    let mut world = World::new(&["a"], 1);
    let large = request(world.vm(size(16, 1_024, 10)));
    assert!(world.decide(&large).0.is_err());
    world.accept("a", Command::SetOvercommit((200, 100)));
    assert_eq!(world.placed(&large), "a/h1");
    let disk = request(world.vm(size(1, 1_024, 501)));
    assert!(world.decide(&disk).0.is_err());
}

#[test]
fn what_is_reserved_is_not_given_twice() {
    let mut world = World::new(&["a"], 2);
    let first = world.vm(size(8, 1_024, 10));
    world.reserved.add(&region("a"), &host("h1"), &first);
    let ask = request(world.vm(size(8, 1_024, 10)));
    assert_eq!(world.placed(&ask), "a/h2");
    world.reserved.add(&region("a"), &host("h2"), &ask.vm);
    let more = request(world.vm(size(8, 1_024, 10)));
    assert!(world.decide(&more).0.is_err());
    assert!(world.reserved.remove(first.id));
    assert!(!world.reserved.remove(first.id));
    assert_eq!(world.placed(&more), "a/h1");
}

#[test]
fn reservations_end_when_the_facts_show_the_vm() {
    let mut world = World::new(&["a"], 1);
    let vm = world.vm(SMALL);
    let mut reserved = Reservations::default();
    reserved.add(&region("a"), &host("h1"), &vm);
    reserved.drop_settled(&world.view);
    assert_eq!(reserved.len(), 1);
    world.put("a", "h1", &vm);
    reserved.drop_settled(&world.view);
    assert!(reserved.is_empty());
}

#[test]
fn anti_affinity_holds_for_host_zone_and_region_and_from_either_side() {
    for (scope, expected) in [(Scope::Host, "a/h2"), (Scope::Zone, "a/h2"), (Scope::Region, "b/h1")] {
        for own_rule in [true, false] {
            let mut world = World::new(&["a", "b"], 3);
            world.change("a", |region| region.priority = 100);
            let mut other = world.vm(SMALL);
            let mut new = world.vm(SMALL);
            other.labels = labels(&[("app", "db")]);
            if own_rule {
                new.rules.anti_affinity = vec![to_label("app", "db", scope)];
            } else {
                other.rules.anti_affinity = vec![to_vm(new.id, scope)];
            }
            world.put("a", "h1", &other);
            if scope == Scope::Host {
                world.fill("a", "h3", size(4, 1_024, 1));
            }
            assert_eq!(world.placed(&request(new.clone())), expected, "{scope:?}, own rule {own_rule}");
            if scope != Scope::Region {
                assert_eq!(world.why(&request(new.clone()), "a/h1"), Some(ReasonKind::AntiAffinity));
            }
        }
    }
}

#[test]
fn affinity_holds_for_host_zone_and_region_and_from_either_side() {
    for (scope, allowed) in [
        (Scope::Host, vec!["b/h2"]),
        (Scope::Zone, vec!["b/h2", "b/h4"]),
        (Scope::Region, vec!["b/h1", "b/h2", "b/h3", "b/h4"]),
    ] {
        for own_rule in [true, false] {
            let mut world = World::new(&["a", "b"], 4);
            world.change("a", |region| region.priority = 100);
            let mut other = world.vm(SMALL);
            let mut new = world.vm(SMALL);
            new.labels = labels(&[("app", "web")]);
            if own_rule {
                new.rules.affinity = vec![to_vm(other.id, scope)];
            } else {
                other.rules.affinity = vec![to_label("app", "web", scope)];
            }
            world.put("b", "h2", &other);
            let ask = request(new);
            assert!(allowed.contains(&world.placed(&ask).as_str()), "{scope:?}: {}", world.placed(&ask));
            assert_eq!(world.why(&ask, "a"), Some(ReasonKind::Affinity));
            let possible = |on: &&str| world.why(&ask, on).is_none();
            let hosts = ["b/h1", "b/h2", "b/h3", "b/h4"];
            assert_eq!(hosts.into_iter().filter(possible).collect::<Vec<_>>(), allowed, "{scope:?}");
        }
    }
}

#[test]
fn a_vm_that_is_being_deleted_holds_nobody_off() {
    let mut world = World::new(&["a"], 1);
    let mut other = world.vm(SMALL);
    other.labels = labels(&[("app", "db")]);
    let id = world.put("a", "h1", &other);
    let mut new = world.vm(SMALL);
    new.rules.anti_affinity = vec![to_label("app", "db", Scope::Region)];
    let ask = request(new);
    assert!(world.decide(&ask).0.is_err());
    world.accept("a", Command::SetWant((id, (Want::Deleted, Default::default()))));
    assert_eq!(world.placed(&ask), "a/h1");
}

#[test]
fn a_reserved_vm_counts_for_relations() {
    let mut world = World::new(&["a"], 2);
    let mut first = world.vm(SMALL);
    first.labels = labels(&[("app", "db")]);
    first.rules.anti_affinity = vec![to_label("app", "db", Scope::Host)];
    world.reserved.add(&region("a"), &host("h1"), &first);
    let second = dwcp_state::Vm { id: dwcp_types::VmId(99), name: "second".into(), ..first };
    assert_eq!(world.placed(&request(second)), "a/h2");
}

#[test]
fn together_with_vms_of_two_regions_is_impossible_and_says_with_whom() {
    let mut world = World::new(&["a", "b"], 1);
    for name in ["a", "b"] {
        let mut other = world.vm(SMALL);
        other.labels = labels(&[("app", "db")]);
        world.put(name, "h1", &other);
    }
    let mut new = world.vm(SMALL);
    new.rules.affinity = vec![to_label("app", "db", Scope::Region)];
    let refusal = world.decide(&request(new)).0.expect_err("nothing can fit");
    assert_eq!(refusal.code, Code::NothingFits);
    assert!(refusal.to_string().contains("it must be with vm-"), "{refusal}");
}
