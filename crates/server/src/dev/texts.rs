//! The files of a development federation, as text.

use std::fmt::Write;
use std::path::Path;

use dwcp_config::emit::scalar;

use super::{DevHost, DevRegion, FEDERATION, host_file, region_file, router_file};

const PORT: u16 = 7443;
/// Of the first member of a region's etcd cluster, for clients; the next port is for members, and each further member has the
/// next two.
const ETCD_PORT: u16 = 2379;

/// Facts a region of the development federation is born with.
struct Birth {
    region: &'static str,
    priority: u8,
    compliance: &'static [&'static str],
    jurisdiction: &'static str,
    /// US dollars an hour: virtual CPU, GiB of memory, GiB of disk.
    prices: (f64, f64, f64),
}

const BIRTHS: [Birth; 8] = [
    Birth {
        region: "us-east-1",
        priority: 100,
        compliance: &["hipaa", "soc2"],
        jurisdiction: "us",
        prices: (0.034, 0.0046, 0.00011),
    },
    Birth {
        region: "eu-west-1",
        priority: 95,
        compliance: &["gdpr", "soc2"],
        jurisdiction: "eu",
        prices: (0.0376, 0.0051, 0.00012),
    },
    Birth {
        region: "ap-south-1",
        priority: 90,
        compliance: &["dpdp", "soc2"],
        jurisdiction: "in",
        prices: (0.0301, 0.0044, 0.000125),
    },
    Birth {
        region: "sa-east-1",
        priority: 85,
        compliance: &["lgpd"],
        jurisdiction: "br",
        prices: (0.0523, 0.0072, 0.00021),
    },
    Birth {
        region: "au-southeast-1",
        priority: 80,
        compliance: &["irap", "soc2"],
        jurisdiction: "au",
        prices: (0.0428, 0.0058, 0.00013),
    },
    Birth {
        region: "eu-central-1",
        priority: 75,
        compliance: &["gdpr", "c5"],
        jurisdiction: "eu",
        prices: (0.0391, 0.0053, 0.00013),
    },
    Birth {
        region: "ap-northeast-1",
        priority: 70,
        compliance: &["ismap"],
        jurisdiction: "jp",
        prices: (0.0428, 0.0059, 0.00013),
    },
    Birth {
        region: "ca-central-1",
        priority: 65,
        compliance: &["pipeda", "soc2"],
        jurisdiction: "ca",
        prices: (0.0373, 0.0051, 0.00012),
    },
];

/// Names and places of regions: the cities that cloud providers name their regions of these names after.
const PLACES: [(&str, &str, f64, f64); 8] = [
    ("us-east-1", "US East (Virginia)", 38.9519, -77.4481),
    ("eu-west-1", "Europe (Dublin)", 53.3498, -6.2603),
    ("ap-south-1", "Asia Pacific (Mumbai)", 19.0760, 72.8777),
    ("sa-east-1", "South America (São Paulo)", -23.5505, -46.6333),
    ("au-southeast-1", "Australia (Sydney)", -33.8688, 151.2093),
    ("eu-central-1", "Europe (Frankfurt)", 50.1109, 8.6821),
    ("ap-northeast-1", "Asia Pacific (Tokyo)", 35.6762, 139.6503),
    ("ca-central-1", "Canada (Central)", 45.5019, -73.5674),
];

/// `dwcpd.yaml` of a region.
pub(super) fn region(
    dir: &Path,
    regions: &[DevRegion],
    region: &DevRegion,
    (token_hash, release_key): (&str, &str),
) -> String {
    let path = |rest: &str| scalar(&dir.join(rest).to_string_lossy());
    let own = format!("127.77.{}.1:{PORT}", region.number);
    let mut text = format!(
        "# Region {} of a development federation; written once by `dwcpd dev init`, yours to change.\n\
         federation: {FEDERATION}\nregion: {}\nnumber: {}\ndev: true\ndata_dir: {}\n\
         listen:\n  api: \"{own}\"\n  mesh: \"{own}\"\n\
         pki:\n  ca: {}\n  certificate: {}\n  key: {}\n  ca_key: {}\nwan: {}\n\
         bootstrap_admin_token_sha256: \"{token_hash}\"\n\
         backup:\n  key_file: {}\n\
         monitoring:\n  notifications: {}\n\
         upgrade:\n  keys:\n    - \"{release_key}\"\n\
         timing:\n  election: 1200ms\n  loss_after: 2500ms\npeers:\n",
        region.number,
        region.name,
        region.number,
        path(&format!("data/{}", region.name)),
        path("pki/ca.pem"),
        path(&format!("pki/{}.pem", region.name)),
        path(&format!("pki/{}.key", region.name)),
        path("pki/ca.key"),
        path("wan.toml"),
        path("backup.key"),
        path("config/notifications.yaml"),
    );
    for peer in regions {
        let address = format!("127.77.{}.1:{PORT}", peer.number);
        let _ = writeln!(
            text,
            "  - region: {}\n    number: {}\n    mesh: \"{address}\"\n    api: \"https://{address}\"",
            peer.name, peer.number
        );
    }
    text.push_str(&state(dir, region));
    text.push_str("voters:\n");
    for voter in regions.iter().take(5) {
        let _ = writeln!(text, "  - {}", voter.name);
    }
    text.push_str("genesis:\n");
    for birth in BIRTHS.iter().filter(|birth| regions.iter().any(|region| region.name == birth.region)) {
        let (vcpu, memory, disk) = birth.prices;
        let _ = writeln!(
            text,
            "  - region: {}\n    priority: {}\n    compliance: [{}]\n    jurisdiction: \"{}\"\n    prices:\n      \
             vcpu_usd_hour: {vcpu}\n      memory_gib_usd_hour: {memory}\n      disk_gib_usd_hour: {disk}",
            birth.region,
            birth.priority,
            birth.compliance.join(", "),
            birth.jurisdiction,
        );
    }
    text
}

/// The client address and the address for other members of a member of a region's etcd cluster, from 0.
fn etcd_urls(region: &DevRegion, member: u16) -> (String, String) {
    let url = |port: u16| format!("https://127.77.{}.1:{port}", region.number);
    (url(ETCD_PORT + 2 * member), url(ETCD_PORT + 2 * member + 1))
}

/// Where the server keeps its state; nothing for the embedded store.
fn state(dir: &Path, region: &DevRegion) -> String {
    if region.members == 0 {
        return String::new();
    }
    let path =
        |rest: &str| scalar(&dir.join(format!("pki/etcd-{}", region.name)).join(rest).to_string_lossy());
    let endpoints: Vec<String> =
        (0..region.members).map(|member| format!("\"{}\"", etcd_urls(region, member).0)).collect();
    format!(
        "state:\n  store: etcd\n  etcd:\n    endpoints: [{}]\n    ca: {}\n    certificate: {}\n    key: {}\n",
        endpoints.join(", "),
        path("ca.pem"),
        path("etcd.pem"),
        path("etcd.key"),
    )
}

/// The lines of the members of a region's etcd cluster.
fn etcd_processes(dir: &Path, region: &DevRegion) -> String {
    let name = |member: u16| format!("etcd-{}-{}", region.name, member + 1);
    let members = 0..region.members;
    let cluster: Vec<String> =
        members.clone().map(|member| format!("{}={}", name(member), etcd_urls(region, member).1)).collect();
    let pki = |rest: &str| dir.join(format!("pki/etcd-{}", region.name)).join(rest).display().to_string();
    let mut text = String::new();
    for member in members {
        let (client, peer) = etcd_urls(region, member);
        let mut arguments = vec![
            format!("--name={}", name(member)),
            format!("--data-dir={}", dir.join("data").join(name(member)).display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", cluster.join(",")),
            format!("--initial-cluster-token={}-{}", FEDERATION, region.name),
        ];
        for side in ["", "peer-"] {
            arguments.push(format!("--{side}cert-file={}", pki("etcd.pem")));
            arguments.push(format!("--{side}key-file={}", pki("etcd.key")));
            arguments.push(format!("--{side}trusted-ca-file={}", pki("ca.pem")));
            arguments.push(format!("--{side}client-cert-auth"));
        }
        let _ = writeln!(text, "{}\t{}\tetcd\t{}", name(member), region.name, arguments.join("\t"));
    }
    text
}

/// What a region is like that is not there yet: for `dwcp-cli federation region configure`.
pub(super) fn settings(pool: &DevRegion) -> String {
    let mut text = format!(
        "# What {0} is like. dwcp-cli federation region configure --region {0} --config THIS\nregion: {0}\n\
         zones: [a, b]\nmax_vms: 10000\n",
        pool.name
    );
    if let Some((name, latitude, longitude)) =
        PLACES.iter().find(|(region, ..)| *region == pool.name).map(|(_, name, at, east)| (name, at, east))
    {
        let _ = writeln!(
            text,
            "display_name: {}\ncoordinates:\n  latitude: {latitude}\n  longitude: {longitude}",
            scalar(name)
        );
    }
    if let Some(birth) = BIRTHS.iter().find(|birth| birth.region == pool.name) {
        let (vcpu, memory, disk) = birth.prices;
        let _ = writeln!(
            text,
            "priority: {}\ncompliance: [{}]\njurisdiction: {}\nprices:\n  vcpu_usd_hour: {vcpu}\n  \
             memory_gib_usd_hour: {memory}\n  disk_gib_usd_hour: {disk}",
            birth.priority,
            birth.compliance.join(", "),
            scalar(birth.jurisdiction),
        );
    }
    text
}

/// How many VMs boot at once on each of the hosts that share this machine's cores, at least one. Guests that starve beside each
/// other use more than a boot costs, and none of them comes up.
fn boots_at_once(cores: usize, hosts: usize) -> usize {
    ((cores + 1) / hosts.max(1)).max(1)
}

/// `host.yaml` of a host.
pub(super) fn host(dir: &Path, regions: &[DevRegion], region: &DevRegion, host: &DevHost) -> String {
    let path = |rest: &str| scalar(&dir.join(rest).to_string_lossy());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let boots = boots_at_once(cores, regions.iter().map(|region| region.hosts.len()).sum());
    // Where the region's router is kept, there may be more.
    let deployed = regions.iter().any(|one| one.name == region.name);
    let kept = deployed && region.hosts.first().is_some_and(|first| first.name == host.name);
    let file = scalar(&router_file(dir, region).to_string_lossy());
    let routers = if kept { format!("routers:\n  most: 4\n  config: {file}\n") } else { String::new() };
    let mut text = format!(
        "# Host {} of a development federation; written once by `dwcpd dev init`, yours to change.\n\
         federation: {FEDERATION}\nregion: {}\nzone: {}\nhost: {}\ndata_dir: {}\n\
         pki:\n  dir: {}\n  name: {}\nvcpus: 8\nmemory_mib: 4096\ndisk_gib: 64\nboot_concurrency: {boots}\n\
         labels:\n  cpu: emulated\n  disk: local\n  rack: rack-{}\n\
         vm_addresses:\n  base: \"127.77.{}\"\n  first: {}\n  count: 32\naccelerator: tcg\n\
         bind: \"127.77.{}.{}:0\"\nwan_file: {}\ncontrollers:\n  most: 4\n{}\
         network:\n  interfaces: lo\n  mbps: 10000\nregions:\n",
        host.name,
        region.name,
        host.zone,
        host.name,
        path(&format!("data/{}", host.name)),
        path("pki"),
        host.name,
        host.number,
        region.number,
        u16::from(host.number) * 32,
        region.number,
        10 + host.number,
        path("wan.toml"),
        routers,
    );
    for peer in regions {
        let address = format!("127.77.{}.1:{PORT}", peer.number);
        let _ = writeln!(
            text,
            "  - region: {}\n    node: {}\n    mesh: \"{address}\"\n    api: \"{address}\"",
            peer.name, peer.number
        );
    }
    text
}

/// `host.yaml` of a host that waits for its region, and runs its node when it is told to.
pub(super) fn pool_host(dir: &Path, regions: &[DevRegion], pool: &DevRegion, of: &DevHost) -> String {
    let address = format!("127.77.{}.1:{PORT}", pool.number);
    format!("{}control_plane:\n  address: \"{address}\"\n", host(dir, regions, pool, of))
}

/// The zone that the routers answer for.
pub(super) const ZONE: &str = "dwcp.test";

/// `router.yaml` of the router of a region, which runs on its first host.
pub(super) fn router(dir: &Path, regions: &[DevRegion], region: &DevRegion, host: &DevHost) -> String {
    let path = |rest: &str| scalar(&dir.join(rest).to_string_lossy());
    // Who may not have the usual ports gets others.
    let (http, https, dns) = if may_bind_low_ports() { (80, 443, 53) } else { (8080, 8443, 5353) };
    let own = format!("127.77.{}.1", region.number);
    let mut text = format!(
        "# The router of {0} in a development federation; written once by `dwcpd dev init`, yours to change.\n\
         federation: {FEDERATION}\nregion: {0}\nhost: {1}\ndata_dir: {2}\npki:\n  dir: {3}\n  name: {1}\n\
         bind: \"127.77.{4}.9:0\"\nwan_file: {5}\nhttp: [\"{own}:{http}\"]\nhttps: [\"{own}:{https}\"]\n\
         dns: [\"{own}:{dns}\"]\nzone: {ZONE}\ncertificates: {6}\nsecret: {7}\ngeo: {8}\n\
         dnssec: true\ntrusted_proxies: [\"127.77.250.0/24\"]\nregions:\n",
        region.name,
        host.name,
        path(&format!("data/router-{}", region.name)),
        path("pki"),
        region.number,
        path("wan.toml"),
        path("pki/router"),
        path("router.key"),
        path("cache/geo"),
    );
    for peer in regions {
        let address = format!("127.77.{}.1:{PORT}", peer.number);
        let _ = writeln!(
            text,
            "  - region: {}\n    node: {}\n    mesh: \"{address}\"\n    api: \"{address}\"",
            peer.name, peer.number
        );
    }
    text
}

/// Whether ports below 1024 are this user's to listen at.
fn may_bind_low_ports() -> bool {
    std::net::UdpSocket::bind("127.77.255.1:53").is_ok()
}

/// What `cargo xtask up` starts: name, region, kind, arguments, TAB between them.
pub(super) fn processes(dir: &Path, regions: &[DevRegion], pools: &[DevRegion]) -> String {
    let mut text = String::from("# name\tregion\tkind\targuments\n");
    for region in regions {
        text.push_str(&etcd_processes(dir, region));
        let file = region_file(dir, region);
        let _ = writeln!(text, "dwcpd-{0}\t{0}\tdwcpd\trun\t--config\t{1}", region.name, file.display());
        if !region.hosts.is_empty() {
            let file = router_file(dir, region);
            let _ = writeln!(text, "routerd-{0}\t{0}\trouterd\t--config\t{1}", region.name, file.display());
        }
    }
    for region in regions.iter().chain(pools) {
        for host in &region.hosts {
            let file = host_file(dir, host);
            let _ =
                writeln!(text, "agentd-{}\t{}\tagentd\t--config\t{}", host.name, region.name, file.display());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_region_that_comes_is_like_can_be_read_and_is_whole() {
        for (name, ..) in PLACES {
            let pool = DevRegion { number: 6, name, hosts: Vec::new(), members: 0 };
            let text = settings(&pool);
            let read = dwcp_config::settings::RegionSettings::parse(&text, Some(name)).unwrap();
            assert!(
                read.coordinates.is_some() && read.prices.is_some() && read.jurisdiction.is_some(),
                "{text}"
            );
        }
    }

    #[test]
    fn hosts_that_share_a_machine_share_its_boots() {
        assert_eq!(boots_at_once(2, 10), 1, "never none");
        assert_eq!(boots_at_once(64, 10), 6);
        assert_eq!(boots_at_once(2, 1), 3, "as a host of its own");
        assert_eq!(boots_at_once(1, 0), 2);
    }
}
