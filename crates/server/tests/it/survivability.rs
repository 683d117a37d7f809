//! Survivability over the API of one region, which has no other to go to.

use std::time::{Duration, Instant};

use dwcp_api::federation::{FederationRead, FederationReadRequest};
use dwcp_api::policy::{PoliciesSet, PoliciesSetRequest};
use dwcp_api::promises::{PromisesRead, PromisesReadRequest};
use dwcp_api::region::{RegionHealthCheck, RegionProbeRequest, RegionRead, RegionReadRequest};
use dwcp_api::survivability::{Room, SurvivabilityRead, SurvivabilityReadRequest};
use dwcp_api::vm::{VmCreate, VmCreateRequest};
use dwcp_api::vm_spec::{OnRegionLoss, Policy};

use crate::http_node::{REGION, Served};

fn vm(name: &str) -> VmCreateRequest {
    VmCreateRequest { name: name.to_owned(), vcpus: Some(2), memory_mib: Some(512), ..Default::default() }
}

#[test]
fn a_vm_without_a_place_elsewhere_is_warned_of_listed_and_taken_off_its_regions_health() {
    let served = Served::start("survivability");
    let everything = SurvivabilityReadRequest::default();
    let nothing = served.call::<SurvivabilityRead>(&everything).expect("a report");
    assert!(nothing.survives_one && nothing.losses.len() == 1, "{nothing:?}");

    let stays = Policy { failover: OnRegionLoss::Stay, ..Policy::default() };
    let created =
        served.call::<VmCreate>(&VmCreateRequest { policy: stays, ..vm("stays") }).expect("created");
    assert_eq!(created.warnings, Vec::<String>::new());
    let created = served.call::<VmCreate>(&vm("alone")).expect("created");
    assert_eq!(created.warnings.len(), 1, "{:?}", created.warnings);
    let wanted = "1 VM would not survive the loss of us-east-1 (0 before this change): alone (there is no other region)";
    assert!(created.warnings[0].ends_with(wanted), "{}", created.warnings[0]);
    let more = served.call::<VmCreate>(&VmCreateRequest { count: Some(2), ..vm("more") }).expect("created");
    assert!(
        more.warnings[0].contains("3 VMs") && more.warnings[0].contains("(1 before"),
        "{:?}",
        more.warnings
    );
    let dry = served.call::<VmCreate>(&VmCreateRequest { dry_run: true, ..vm("dry") }).expect("a preview");
    assert_eq!(dry.warnings, Vec::<String>::new());

    let report = served.call::<SurvivabilityRead>(&everything).expect("a report");
    let loss = &report.losses[0];
    assert_eq!((report.survives_one, loss.lost.as_slice()), (false, [REGION.to_owned()].as_slice()));
    assert_eq!((loss.vms, loss.stay, loss.unplaced, loss.by_rules), (4, 1, 3, 3));
    assert_eq!(loss.missing, Room::default(), "room elsewhere would not help: there is no elsewhere");
    let unknown = SurvivabilityReadRequest { region: Some("mars".to_owned()) };
    assert_eq!(served.call::<SurvivabilityRead>(&unknown).expect_err("unknown").status, 404);

    let began = Instant::now();
    loop {
        let status = served.call::<FederationRead>(&FederationReadRequest::default()).expect("status");
        let read = RegionReadRequest { region: REGION.to_owned(), watch: false };
        let region = served.call::<RegionRead>(&read).expect("region").summary;
        let probe = RegionProbeRequest { region: REGION.to_owned(), timeout_ms: None };
        let probed = served.call::<RegionHealthCheck>(&probe).expect("probed").health;
        let cause = "survivability: 3 VMs would not survive its loss";
        let named = |health: &dwcp_api::region::Health| health.deductions.iter().any(|d| d.cause == cause);
        let worst =
            status.survivability.and_then(|worst| worst.region.map(|region| (region, worst.unplaced)));
        if named(&region.health) && named(&probed) && worst == Some((REGION.to_owned(), 3)) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?} {worst:?}", region.health);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_same_facts_are_not_thought_through_twice() {
    let served = Served::start("survivability-once");
    served.call::<VmCreate>(&vm("one")).expect("created");
    let look = || served.call::<SurvivabilityRead>(&SurvivabilityReadRequest::default()).expect("a report");
    let (first, second) = (look(), look());
    // The second answer is the first one: a second look would have taken another time.
    let unchanged = first.as_of.iter().map(|of| of.revision).eq(second.as_of.iter().map(|of| of.revision));
    assert!(!unchanged || first.took_us == second.took_us, "{first:?} {second:?}");
    served.call::<VmCreate>(&vm("two")).expect("created");
    assert_eq!(look().losses[0].unplaced, 2);
}

#[test]
fn a_promise_that_can_not_be_kept_says_why_and_its_target_is_a_policy() {
    let served = Served::start("promises");
    served.call::<VmCreate>(&vm("one")).expect("created");
    let target = PoliciesSetRequest { rto_target_ms: Some(45_000), ..Default::default() };
    let policy = served.call::<PoliciesSet>(&target).expect("set");
    assert_eq!(policy.rto_target_ms, Some(45_000));
    let wrong = PoliciesSetRequest { rto_target_ms: Some(10), ..Default::default() };
    assert_eq!(
        served.call::<PoliciesSet>(&wrong).expect_err("refused").field.as_deref(),
        Some("rto_target_ms")
    );

    let report = served.call::<PromisesRead>(&PromisesReadRequest::default()).expect("a report");
    assert_eq!((report.rto_target_ms, report.kept, report.regions.len()), (45_000, false, 1));
    let promise = &report.regions[0];
    assert_eq!((promise.rto_ms, promise.rpo_ms, promise.vms), (None, None, 0));
    assert!(promise.broken[0].contains("0 of 1 voters are heard: 1 are needed"), "{:?}", promise.broken);
    assert!(promise.broken[1].contains("1 of its 1 VMs have no place"), "{:?}", promise.broken);
    let unknown = PromisesReadRequest { region: Some("mars".to_owned()) };
    assert_eq!(served.call::<PromisesRead>(&unknown).expect_err("unknown").status, 404);
}
