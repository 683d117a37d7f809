//! The table of the facts, and what is wrong with tables and settings.

use dwcp_decide::route::{
    Algorithm, Built, POLICY_ID, Protocol, RoutingPolicy, Service, Shares, Spill, Table, Weights, build,
};
use dwcp_state::{
    Coordinates, Document, DocumentKey, DocumentKind, DrillMark, Health, Lifecycle, Phase, Probe,
    PublicEndpoint, Restoration, Standing, Vm, Want,
};
use dwcp_types::{Generation, VmId};

use super::routing_world::Net;
use super::world::{World, labels, region, set, size};

fn say(world: &mut World, kind: DocumentKind, id: &str, text: &str) {
    let document = Document { text: text.to_owned(), ..Document::default() };
    world.view.core.documents.insert(DocumentKey::new(kind, id), document);
}

fn service(world: &mut World, name: &str, service: &Service) {
    let text = serde_json::to_string(service).expect("a service as JSON");
    say(world, DocumentKind::Service, name, &text);
}

fn web() -> Service {
    Service { hosts: set(&["web.test"]), ..Service::default() }
}

/// A VM that serves, at 10.0.0.`id`.
fn put(world: &mut World, of: &str, change: impl FnOnce(&mut Vm)) -> VmId {
    let vm = world.vm(size(1, 1_024, 10));
    let id = world.put(of, "h1", &vm);
    let vm = world
        .view
        .regions
        .get_mut(&region(of))
        .and_then(|facts| facts.vms.get_mut(&id))
        .expect("it is there");
    vm.spec.probe = Probe::Http("/".into());
    vm.observed.generation = vm.generation;
    (vm.observed.phase, vm.observed.health) = (Phase::Running, Health::Healthy);
    vm.observed.address = format!("10.0.0.{}:8080", id.0);
    change(vm);
    id
}

fn built(world: &World) -> Built {
    let built = build(&world.view, &world.measured, &region("a"), 7);
    assert_eq!(built.table.check(), Ok(()));
    built
}

/// `region/address`, with what is not as usual.
fn endpoints(built: &Built, service: usize) -> Vec<String> {
    let rows = built.table.services[service].endpoints.iter().map(|row| {
        let region = &built.table.regions[row.region as usize].region;
        let serves = if row.serves { "" } else { " does not serve" };
        format!("{region}/{}{serves}{}", row.address, if row.draining { " draining" } else { "" })
    });
    rows.collect()
}

#[test]
fn vms_that_are_asked_whether_they_serve_are_endpoints() {
    let mut world = World::new(&["a", "b"], 1);
    service(&mut world, "web", &web());
    put(&mut world, "b", |_| ());
    put(&mut world, "a", |vm| vm.observed.health = Health::Unhealthy);
    put(&mut world, "a", |vm| vm.spec.probe = Probe::None);
    put(&mut world, "a", |vm| vm.want = Want::Stopped);
    put(&mut world, "a", |vm| vm.drill = Some(DrillMark::default()));
    put(&mut world, "a", |vm| vm.observed.address = "somewhere".into());
    let built = built(&world);
    assert_eq!(endpoints(&built, 0), ["a/10.0.0.2:8080 does not serve", "b/10.0.0.1:8080"]);
    let row = &built.table.services[0].endpoints[1];
    assert_eq!((&*row.id, &*row.name, &*row.zone), (&*VmId(1).to_string(), "vm-1", "a"));
    assert_eq!(built.complaints, Vec::<String>::new());
}

#[test]
fn labels_and_the_port_of_a_service_count() {
    let mut world = World::new(&["a"], 1);
    let labels = labels(&[("app", "shop"), ("tier", "web")]);
    service(&mut world, "web", &Service { labels: labels.clone(), vm_port: Some(9_000), ..web() });
    put(&mut world, "a", |vm| vm.labels = labels.clone());
    put(&mut world, "a", |vm| vm.labels.extend([("app".into(), "shop".into())]));
    assert_eq!(endpoints(&built(&world), 0), ["a/10.0.0.1:9000"]);
}

#[test]
fn what_is_draining_is_named_by_name_by_id_or_by_address() {
    let mut world = World::new(&["a"], 1);
    let ids: Vec<VmId> = (0..4).map(|_| put(&mut world, "a", |_| ())).collect();
    let draining = set(&["vm-1", &ids[1].to_string(), "10.0.0.3:8080"]);
    service(&mut world, "web", &Service { draining, ..web() });
    assert_eq!(
        endpoints(&built(&world), 0),
        [
            "a/10.0.0.1:8080 draining",
            "a/10.0.0.2:8080 draining",
            "a/10.0.0.3:8080 draining",
            "a/10.0.0.4:8080"
        ]
    );
}

#[test]
fn public_endpoints_are_the_routers_and_no_endpoint_of_a_service() {
    let mut world = World::new(&["a", "b", "c"], 1);
    world.change("b", |region| {
        for port in [80, 443] {
            region.endpoints.insert(PublicEndpoint::new("192.0.2.1", port).expect("an address"));
        }
    });
    put(&mut world, "a", |_| ());
    service(&mut world, "all", &web());
    let built = built(&world);
    assert_eq!(endpoints(&built, 0), ["a/10.0.0.1:8080"], "a router must not send anybody to a router");
    let routers: Vec<usize> = built.table.regions.iter().map(|row| row.routers.len()).collect();
    assert_eq!(routers, [0, 1, 0]);
}

#[test]
fn a_vm_that_is_known_of_in_two_regions_is_where_its_newer_generation_is() {
    let mut world = World::new(&["a", "b"], 1);
    let id = put(&mut world, "a", |_| ());
    let mut moved = world.view.regions[&region("a")].vms[&id].clone();
    moved.generation = Generation(moved.generation.0 + 1);
    moved.observed.generation = moved.generation;
    moved.observed.address = "10.0.0.99:8080".into();
    world.view.regions.get_mut(&region("b")).expect("a region").vms.insert(id, moved);
    service(&mut world, "web", &web());
    assert_eq!(endpoints(&built(&world), 0), ["b/10.0.0.99:8080"]);
}

#[test]
fn regions_say_what_they_are() {
    let mut world = World::new(&["a", "b", "c"], 1);
    world.change("a", |region| region.site.coordinates = Coordinates::new(50_100_000, -8_700_000));
    world.change("b", |region| region.standing = Standing::Lost);
    world.change("c", |region| (region.lifecycle, region.traffic_percent) = (Lifecycle::Disabled, 30));
    world.measured.health.insert(region("b"), None);
    world.measured.rtt_ms.remove(&(region("a"), region("c")));
    let regions = built(&world).table.regions;
    let place = regions[0].place.expect("a place");
    assert!((place.latitude - 50.1).abs() < 1e-3 && (place.longitude + 8.7).abs() < 1e-3);
    assert_eq!(regions.iter().map(|row| row.takes_part).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(regions.iter().map(|row| row.rtt_ms).collect::<Vec<_>>(), [Some(0), Some(100), None]);
    assert_eq!((regions[1].health, regions[2].health), (None, Some(100)));
    assert_eq!((regions[2].traffic_percent, regions[2].price_micros), (30, 20_000));
}

#[test]
fn settings_of_a_later_version_keep_the_default_and_are_told() {
    let mut world = World::new(&["a"], 1);
    put(&mut world, "a", |_| ());
    let later = r#"{"algorithm": "by_moon", "least_health": 40, "spill": {"bulk": 10}, "tides": true}"#;
    say(&mut world, DocumentKind::Routing, POLICY_ID, later);
    say(&mut world, DocumentKind::Service, "odd", r#"{"hosts": ["odd.test"], "qos": "royal"}"#);
    say(&mut world, DocumentKind::Service, "worse", r#"{"hosts": ["worse.test"], "labels": 7}"#);
    say(&mut world, DocumentKind::Service, "wrong", "no JSON");
    let built = built(&world);
    let policy = &built.table.policy;
    assert_eq!((policy.algorithm, policy.least_health, policy.spill.bulk), (Algorithm::Hybrid, 40, 10));
    assert_eq!(endpoints(&built, 0), ["a/10.0.0.1:8080"]);
    assert_eq!(built.table.services.len(), 1);
    assert_eq!(
        built.complaints,
        [
            "routing/policy: algorithm can't be read: the default counts",
            "service/odd: qos can't be read: the default counts",
            "service/worse: labels can't be read: the service is left out",
            "service/wrong: the text can't be read: the service is left out",
        ]
    );
}

#[test]
fn a_service_that_can_not_be_read_any_more_stays_as_it_was() {
    let mut world = World::new(&["b", "c"], 1);
    put(&mut world, "b", |_| ());
    service(&mut world, "web", &web());
    let old = built(&world).table;
    say(&mut world, DocumentKind::Service, "web", r#"{"hosts": ["web.test"], "protocol": "udp"}"#);
    let mut with_a = World::new(&["a", "b"], 1);
    with_a.view.core.documents = world.view.core.documents.clone();
    let kept = built(&with_a).keeping(&old);
    assert_eq!((kept.table.check(), endpoints(&kept, 0)), (Ok(()), vec!["b/10.0.0.1:8080".to_owned()]));
}

#[test]
fn a_name_of_two_services_stays_with_the_first() {
    let mut world = World::new(&["a"], 1);
    service(&mut world, "one", &web());
    service(&mut world, "two", &Service { hosts: set(&["web.test", "two.test"]), ..web() });
    let built = built(&world);
    assert_eq!(built.table.services[1].hosts, ["two.test"]);
    assert_eq!(built.complaints, ["service/two: `web.test` is a name of service one, and stays there"]);
}

#[test]
fn older_facts_never_replace_newer_ones() {
    let mut world = World::new(&["a", "b"], 1);
    let old = built(&world).table;
    put(&mut world, "b", |_| ());
    let new = built(&world).table;
    assert_eq!(new.may_replace(&old), Ok(()));
    let said = format!(
        "the table is of revision {} of group 2, and {} is in force",
        old.revisions[&2], new.revisions[&2]
    );
    assert_eq!(old.may_replace(&new), Err(said));
    world.view.core.restoration = Some(Restoration { id: 5, ..Restoration::default() });
    let restored = built(&world).table;
    assert_eq!(restored.restoration, 5);
    assert_eq!(Table { restoration: 5, ..old.clone() }.may_replace(&new), Ok(()), "of a later restoration");
    let said = "the table is of restoration 0, and one of restoration 5 is in force";
    assert_eq!(new.may_replace(&restored), Err(said.to_owned()));
    let mut without = new.clone();
    without.revisions.remove(&2);
    assert_eq!(without.may_replace(&new), Ok(()), "a group that is gone");
}

#[test]
fn a_table_without_endpoints_never_replaces_one_that_has_some() {
    let net = Net::new(&["a"], 3);
    let mut empty = net.table.clone();
    empty.services[0].endpoints.clear();
    assert_eq!(
        empty.may_replace(&net.table),
        Err("the table has no endpoint, and the one in force has 3".to_owned())
    );
    assert_eq!(net.table.may_replace(&empty), Ok(()));
    assert_eq!(Table::default().may_replace(&net.table), Ok(()), "there are no services any more");
}

#[test]
fn tables_that_make_no_sense_are_told() {
    let good = Net::new(&["a", "b"], 2).table;
    let with = |change: fn(&mut Table)| {
        let mut table = good.clone();
        change(&mut table);
        table.check().expect_err("something is wrong")
    };
    assert_eq!(good.check(), Ok(()));
    assert_eq!(Table::default().check(), Ok(()));
    assert_eq!(with(|table| table.regions.clear()), "the table has 1 services and no region");
    assert_eq!(with(|table| table.regions.reverse()), "the regions are not in order");
    let said = with(|table| table.services[0].endpoints[3].region = 2);
    assert_eq!(said, "service web: endpoint vm_001_00001 is in region 2 of 2");
    let said = with(|table| table.services[0].endpoints.swap(0, 1));
    assert_eq!(said, "service web: the endpoints are not in order");
    let twice = |table: &mut Table| {
        let mut other = table.services[0].clone();
        other.name = "zeb".into();
        table.services.push(other);
    };
    assert_eq!(with(twice), "two services have the name `web`; one is zeb");
}

#[test]
fn a_service_with_a_mistake_is_told_which() {
    let flaw = |change: fn(&mut Service)| {
        let mut service = web();
        change(&mut service);
        service.check().expect_err("something is wrong")
    };
    let tcp = Service { protocol: Protocol::Tcp, port: Some(25), hosts: set(&[]), ..Service::default() };
    assert_eq!((web().check(), tcp.check()), (Ok(()), Ok(())));
    assert_eq!(
        Service { hosts: set(&["*", "a-1.b.test"]), anycast: Some("192.0.2.7".into()), ..web() }.check(),
        Ok(())
    );
    for host in ["Web.test", "-a.test", "a..b", "a_b", "*.test", "a.", ""] {
        let service = Service { hosts: set(&[host]), ..web() };
        assert!(
            service.check().is_err_and(|said| said.starts_with(&format!("`{host}` is no host name"))),
            "{host}"
        );
    }
    assert_eq!(flaw(|it| it.hosts.clear()), "without a name nobody reaches the service");
    assert_eq!(flaw(|it| it.protocol = Protocol::Tcp), "a TCP service needs a port of the router");
    assert_eq!(
        flaw(|it| it.port = Some(25)),
        "port 25 is for TCP services only: others share the router's HTTP and TLS ports"
    );
    assert_eq!(flaw(|it| it.vm_port = Some(0)), "port 0 of a VM can't be reached");
    assert_eq!(
        flaw(|it| it.anycast = Some("here".into())),
        "`here` is no IP address that a router could answer at"
    );
    assert_eq!(
        flaw(|it| it.check_path = Some("health".into())),
        "`health` is no path to ask for; such as `/health`"
    );
    assert_eq!(
        flaw(|it| drop(it.labels.insert("a\nb".into(), String::new()))),
        "`ab` is no label: one line with at most 253 characters"
    );
    let nameless = |it: &mut Service| it.draining.extend([String::new()]);
    assert!(flaw(nameless).starts_with("what is draining is named by"));
}

#[test]
fn a_policy_with_a_mistake_is_told_which() {
    let flaw = |change: fn(&mut RoutingPolicy)| {
        let mut policy = RoutingPolicy::default();
        change(&mut policy);
        policy.check().expect_err("something is wrong")
    };
    assert_eq!(RoutingPolicy::default().check(), Ok(()));
    let said = flaw(|it| it.weights = Weights { latency: 50, ..Weights::default() });
    assert_eq!(said, "the weights come to 105 % together, and must come to 100");
    let said = flaw(|it| it.spill = Spill { bulk: 90, ..Spill::default() });
    assert_eq!(said, "what matters less must spill first: bulk at 90 %, standard at 85 %, critical at 95 %");
    assert!(flaw(|it| it.spill.critical = 101).starts_with("a limit from which on requests spill"));
    assert_eq!(flaw(|it| it.least_health = 101), "a health score is at most 100, not 101");
    assert_eq!(flaw(|it| it.endpoint_capacity = 0), "an endpoint carries at least one request");
    assert!(flaw(|it| it.cache_ttl_ms = 0).starts_with("where clients go is remembered"));
    assert!(flaw(|it| it.dns_ttl_s = 0).starts_with("DNS answers live for"));
    let said = flaw(|it| it.dscp.bulk = 64);
    assert_eq!(said, "a class is marked by a number of 0 to 63 (DSCP), not by 64");
    let said = flaw(|it| it.shares.bulk = 20);
    assert_eq!(said, "each class has a share, and all together 100 %; these come to 110 %");
    assert!(flaw(|it| it.shares = Shares { critical: 60, standard: 40, bulk: 0 }).starts_with("each class"));
    for cores in ["a", "3-1", "1,,2", "-1", "70000"] {
        let policy = RoutingPolicy { dpdk_cores: cores.into(), ..RoutingPolicy::default() };
        assert!(policy.check().is_err(), "{cores}");
    }
    let policy = RoutingPolicy { dpdk_cores: "0-7,9".into(), ..RoutingPolicy::default() };
    assert_eq!(policy.check(), Ok(()));
}
