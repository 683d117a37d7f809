use dwcp_config::host::{Accelerator, HostConfig};

const GOOD: &str = "\
federation: dev
region: us-east-1
zone: a
host: h1
regions:
  - {region: eu-west-1, node: 2, mesh: '127.77.2.1:7443', api: '127.77.2.1:7443'}
  - {region: us-east-1, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}
pki: {dir: pki, name: host-us-east-1-h1}
data_dir: data
vcpus: 8
memory_mib: 4096
labels: {disk: ssd}
vm_addresses: {base: '127.77.1', first: 32, count: 32}
";

#[test]
fn a_good_host_file_becomes_settings() {
    let config = HostConfig::parse(GOOD).unwrap();
    assert_eq!((config.vcpus, config.memory_mib, config.boot_concurrency), (8, 4096, None));
    assert_eq!((config.accelerator, config.vm_addresses.first), (Accelerator::Tcg, 32));
    assert_eq!(config.labels["disk"], "ssd");
    assert_eq!(config.network, None);
    let text = format!("{GOOD}network: {{interfaces: [eth0, eth1], mbps: 25000}}\n");
    let network = HostConfig::parse(&text).unwrap().network.unwrap();
    assert_eq!((network.interfaces.len(), network.mbps), (2, Some(25_000)));
}

#[test]
fn each_mistake_of_a_host_file_is_told_with_its_place() {
    let cases = [
        ("vcpus: 8", "vcpus: 0", "line 10, column 8: vcpus: '0' is not a whole number from 1"),
        ("count: 32", "count: 250", "vm_addresses: 250 addresses from .32 on go past .255"),
        ("zone: a", "zone: ''", "line 3, column 7: zone: must not be empty"),
        ("host: h1", "hosst: h1", "line 4, column 1: unknown key 'hosst'; did you mean 'host'?"),
        (
            "region: us-east-1\n",
            "region: mars\n",
            "regions: this host's own region, 'mars', is not among them",
        ),
        ("'127.77.1', f", "'127.77', f", "base '127.77' is not three numbers"),
        (
            "vcpus: 8",
            "vcpus: 8\nboot_concurrency: 0",
            "boot_concurrency: '0' is not a whole number from 1 to 1024",
        ),
        (
            "vcpus: 8",
            "control_plane: {address: localhost}\nvcpus: 8",
            "line 10, column 26: control_plane.address: 'localhost' is not an address",
        ),
        (
            "vcpus: 8",
            "control_plane: {address: '0.0.0.0:7443'}\nvcpus: 8",
            "line 10, column 26: control_plane.address: '0.0.0.0:7443' can't be dialed",
        ),
        (
            "vcpus: 8",
            "control_plane: {program: dwcpd}\nvcpus: 8",
            "line 10, column 16: control_plane: 'address' is missing",
        ),
        (
            "vcpus: 8",
            "network: {interfaces: [eth0, a/b], mbps: 0}\nvcpus: 8",
            "line 10, column 42: network.mbps: '0' is not a whole number from 1",
        ),
        (
            "vcpus: 8",
            "network: {interfaces: [eth0, a/b]}\nvcpus: 8",
            "network: 'a/b' can't be the name of an",
        ),
        ("data_dir: data", "accelerator: warp", "accelerator: 'warp' is neither tcg nor auto"),
    ];
    for (from, to, expected) in cases {
        let told = HostConfig::parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
}

#[test]
fn a_host_that_is_to_run_its_regions_node_may_be_there_before_the_region() {
    let block = "control_plane: {address: '127.77.6.1:7443', program: /opt/dwcpd}\nregion: mars\n";
    let config = HostConfig::parse(&GOOD.replacen("region: us-east-1\n", block, 1)).unwrap();
    let control = config.control_plane.unwrap();
    assert_eq!(control.address.map(|address| address.to_string()).as_deref(), Some("127.77.6.1:7443"));
    assert_eq!(control.program.as_deref(), Some("/opt/dwcpd"));
    assert_eq!(HostConfig::parse(GOOD).unwrap().control_plane, None);
}
