//! `dwcpd dev init`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dwcp_server::dev::{self, DevPlan, Kept};
use dwcp_server::setup;

use crate::scratch::Scratch;

#[test]
fn a_development_federation_is_written_once_and_kept() {
    let scratch = Scratch::new("dev");
    let plan = DevPlan { regions: 5, hosts_per_region: 2, pools: 3, store: Kept::Embedded };
    dev::init(scratch.path(), plan).expect("written");
    let token = fs::read_to_string(scratch.path().join("admin.token")).expect("token");
    let mode = fs::metadata(scratch.path().join("admin.token")).expect("token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let leaf = fs::read(scratch.path().join("pki/us-east-1.pem")).expect("leaf");
    dev::init(scratch.path(), plan).expect("again");
    assert_eq!(fs::read_to_string(scratch.path().join("admin.token")).expect("token"), token);
    assert_eq!(fs::read(scratch.path().join("pki/us-east-1.pem")).expect("leaf"), leaf);

    for (number, region) in
        ["us-east-1", "eu-west-1", "ap-south-1", "sa-east-1", "au-southeast-1"].iter().enumerate()
    {
        let config = setup::load(&scratch.path().join(format!("config/{region}.yaml"))).expect("valid");
        let node = setup::node_config(&config, 7).expect("complete");
        assert_eq!((node.me, node.voters.len(), node.genesis.regions.len()), (number as u64 + 1, 5, 5));
        assert_eq!(node.genesis.tokens.len(), 1);
        assert!(node.genesis.regions.values().all(|region| region.prices.vcpu_micros > 0));
        setup::identity(&config).expect("a certificate of its own");
    }
    let processes = fs::read_to_string(scratch.path().join("processes.txt")).expect("list");
    assert_eq!(processes.lines().filter(|line| line.contains("\tagentd\t")).count(), 13);
    let pool = fs::read_to_string(scratch.path().join("config/eu-central-1-a1.yaml")).expect("host");
    assert!(pool.ends_with("control_plane:\n  address: \"127.77.6.1:7443\"\n"), "{pool}");
    assert!(!scratch.path().join("pki/eu-central-1.pem").exists(), "its node makes a key of its own");
    let host = fs::read_to_string(scratch.path().join("config/us-east-1-b1.yaml")).expect("host");
    assert!(host.contains("first: 64"), "{host}");
    assert!(host.contains("boot_concurrency: "), "not as many as a host with all cores for itself: {host}");
    assert!(host.contains("accelerator: tcg\n"), "emulated, whatever this machine has: {host}");
}

#[test]
fn a_development_federation_may_keep_its_state_in_etcd() {
    let scratch = Scratch::new("dev-etcd");
    let plan = DevPlan { regions: 2, hosts_per_region: 1, pools: 1, store: Kept::Etcd };
    dev::init(scratch.path(), plan).expect("written");
    let load =
        |region: &str| setup::load(&scratch.path().join(format!("config/{region}.yaml"))).expect("valid");
    let place = setup::etcd(&load("us-east-1")).expect("in etcd");
    assert_eq!((place.endpoints.len(), place.prefix.as_str()), (3, "/dwcp/dev/us-east-1/"));
    assert!(
        [&place.ca, &place.certificate, &place.key]
            .into_iter()
            .flatten()
            .filter(|file| file.is_file())
            .count()
            == 3
    );
    assert_eq!(setup::etcd(&load("eu-west-1")).expect("in etcd").endpoints, ["https://127.77.2.1:2379"]);
    let processes = fs::read_to_string(scratch.path().join("processes.txt")).expect("list");
    let kinds: Vec<&str> = processes.lines().skip(1).filter_map(|line| line.split('\t').nth(2)).collect();
    let of_regions = ["etcd", "etcd", "etcd", "dwcpd", "routerd", "etcd", "dwcpd", "routerd"];
    assert_eq!(kinds, [&of_regions[..], &["agentd"; 3]].concat());
}
