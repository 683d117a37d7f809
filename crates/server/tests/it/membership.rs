//! A region that comes in from its host pool, over the API.

use std::time::{Duration, Instant};

use dwcp_api::membership::{
    Membership, MembershipRead, MembershipRequest, PoolList, PoolListRequest, RegionDeploy,
    RegionDeployRequest, RegionRemove, RegionRemoveRequest, RegionReplicate, RegionReplicateRequest,
};
use dwcp_api::region::{RegionEnable, RegionEnableRequest, RegionTraffic, RegionTrafficRequest};

use crate::http_node::{POOL, POOL_HOST, POOL_NODE, REGION, Served};

fn deploy(region: &str, dry_run: bool) -> RegionDeployRequest {
    RegionDeployRequest { region: region.into(), dry_run, ..Default::default() }
}

fn step<'m>(membership: &'m Membership, step: &str) -> (bool, &'m str) {
    let found = membership.steps.iter().find(|found| found.step == step).expect("there is such a step");
    (found.done, &found.detail)
}

#[test]
fn a_host_that_waits_for_its_region_is_told_to_run_its_node_once_it_is_deployed() {
    let served = Served::start("membership");
    let pools = || served.call::<PoolList>(&PoolListRequest::default()).expect("pools").hosts;
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("the host is seen", &|| !pools().is_empty());
    let host = pools().remove(0);
    assert_eq!((host.region.as_str(), host.host.as_str(), host.vcpus), (POOL, POOL_HOST, 4));
    assert_eq!((host.control.as_deref(), host.phase.as_str()), (Some(POOL_NODE), "nothing"));

    let nowhere = served.call::<RegionDeploy>(&deploy("nowhere-1", false)).expect_err("no such pool");
    assert!(nowhere.cause[0].contains("no host with a certificate of nowhere-1"), "{nowhere:?}");
    let dry = served.call::<RegionDeploy>(&deploy(POOL, true)).expect("a plan");
    assert_eq!((dry.number, dry.host.as_str(), dry.memory_mib), (None, POOL_HOST, 2_048));
    assert_eq!(pools().len(), 1, "nothing was changed");

    let deployed = served.call::<RegionDeploy>(&deploy(POOL, false)).expect("deployed");
    assert_eq!((deployed.number, deployed.address.as_str()), (Some(2), POOL_NODE));
    let twice = served.call::<RegionDeploy>(&deploy(POOL, false)).expect_err("twice");
    assert!(twice.title.contains("is a region already"), "{twice:?}");
    assert!(pools().is_empty(), "it is no pool any more");
    let look =
        || served.call::<MembershipRead>(&MembershipRequest { region: POOL.into() }).expect("its membership");
    let certified = format!("{POOL_HOST} runs it: for {POOL_NODE}");
    until("its host has a certificate", &|| step(&look(), "node").1 == certified);
    assert_eq!(step(&look(), "node"), (false, certified.as_str()), "nobody hears that node here");
    assert!(step(&look(), "founded").0);
    assert_eq!(step(&look(), "replicas"), (false, "it is to have none yet"));

    let enable = RegionEnableRequest { region: POOL.into(), ..Default::default() };
    let early = served.call::<RegionEnable>(&enable).expect_err("it has no state");
    assert!(early.title.contains("has no replica of the state yet"), "{early:?}");
    let replicate = RegionReplicateRequest { region: POOL.into(), ..Default::default() };
    assert!(served.call::<RegionReplicate>(&replicate).expect("begun").changed);
    assert!(!served.call::<RegionReplicate>(&replicate).expect("again").changed);

    let remove = |region: &str| RegionRemoveRequest { region: region.into(), ..Default::default() };
    let active = served.call::<RegionRemove>(&remove(REGION)).expect_err("it takes part");
    assert!(active.title.contains("takes part"), "{active:?}");
}

#[test]
fn a_share_of_traffic_is_set_and_one_beyond_all_of_it_is_refused() {
    let served = Served::start("traffic");
    let set = |percent| {
        let request = RegionTrafficRequest { region: REGION.into(), percent, ..Default::default() };
        served.call::<RegionTraffic>(&request)
    };
    assert_eq!(set(25).expect("set").region.traffic_percent, Some(25.0));
    assert!(!set(25).expect("again").changed);
    assert_eq!(set(101).expect_err("too much").field.as_deref(), Some("percent"));
}
