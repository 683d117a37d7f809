//! `router.yaml`: what a router must be told about itself. Where it sends users follows from the federation's facts.

use std::net::SocketAddr;

use crate::host::{PkiPaths, RegionEndpoint};
use crate::{Complaints, Fields, reader};

/// Routers of one host.
pub const MOST_OF_A_HOST: u64 = 16;

/// Settings of one router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterConfig {
    /// The federation's name.
    pub federation: String,
    /// The region of its host.
    pub region: String,
    /// Its host's name; the certificate is the host's.
    pub host: String,
    /// Its number among the routers of the host, from 0.
    pub number: u8,
    /// Every region's node; the own region's is linked to first whatever the order.
    pub regions: Vec<RegionEndpoint>,
    pub pki: PkiPaths,
    /// Where the last table lives.
    pub data_dir: String,
    /// Local UDP address of the link to the nodes; `None`: any.
    pub bind: Option<SocketAddr>,
    /// File of the emulated links, development only.
    pub wan_file: Option<String>,
    /// Where HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served, and TLS is passed through.
    pub https: Vec<SocketAddr>,
    /// Where DNS is answered, by UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// The zone that DNS answers for, such as `dwcp.test`.
    pub zone: String,
    /// Names of the zone's name servers outside of it; none: `ns.` in the zone, which is this router.
    pub name_servers: Vec<String>,
    /// DNS answers are signed (DNSSEC) for those who ask for that.
    pub dnssec: bool,
    /// Folder of certificates for HTTPS, PEM: `NAME.crt` and `NAME.key` for each name.
    pub certificates: String,
    /// File of the secret that all routers of the federation share: 64 hexadecimal digits.
    pub secret: String,
    /// Folder of the databases that say where an address is; `None`: no place is known.
    pub geo: Option<String>,
    /// Addresses, such as `10.0.0.0/8`, whose word on whom they speak for is taken (PROXY protocol).
    pub trusted_proxies: Vec<String>,
    /// One of so many requests is logged, and every one that failed.
    pub access_log_one_in: u64,
    /// Attackers are kept out by the kernel as well.
    pub nftables: bool,
    /// Interfaces at which a program drops attackers' packets before the kernel looks at them (XDP).
    pub xdp: Vec<String>,
    /// Interfaces whose traffic is shaped: each class of services has its share of the rate.
    pub shape: Vec<Shape>,
    /// Where DPDK filters when the policy says so; `None`: nowhere.
    pub dpdk: Option<Dpdk>,
}

/// Between which devices DPDK filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dpdk {
    /// Towards users: a virtual device such as `net_af_packet0,iface=eth0`, or a PCI address.
    pub outside: String,
    /// Towards the router.
    pub inside: String,
    /// It uses memory of large pages.
    pub huge_pages: bool,
    /// The program; `None`: `dwcp-dpdk` beside the router's own.
    pub program: Option<String>,
}

/// An interface, and what goes out of it at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub interface: String,
    /// Megabits a second.
    pub rate_mbit: u64,
}

impl RouterConfig {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Every mistake, with line and column.
    pub fn parse(text: &str) -> Result<RouterConfig, Complaints> {
        reader::read(text, |fields| {
            let config = settings(fields);
            relations(&config, fields);
            config
        })
    }
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is not an address such as 127.77.1.1:8080"))
}

fn whole(bounds: std::ops::RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<u64, String> {
    move |text| match text.parse::<u64>() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!("'{text}' is not a whole number from {} to {}", bounds.start(), bounds.end())),
    }
}

fn sockets(fields: &mut Fields<'_>, name: &'static str) -> Vec<SocketAddr> {
    let mut read = Vec::new();
    for text in fields.texts(name) {
        match socket(&text) {
            Ok(address) => read.push(address),
            Err(why) => fields.complain(name, why),
        }
    }
    read
}

fn settings(fields: &mut Fields<'_>) -> RouterConfig {
    let dialed = |text: &str| socket(text).map(Some);
    RouterConfig {
        federation: fields.text("federation"),
        region: fields.text("region"),
        host: fields.text("host"),
        number: fields.number("number", 0..=MOST_OF_A_HOST - 1, 0) as u8,
        regions: fields.maps("regions", |f| RegionEndpoint {
            region: f.text("region"),
            node: f.required("node", whole(1..=10_000)),
            mesh: f.required("mesh", dialed),
            api: f.required("api", dialed),
        }),
        pki: fields.required_map("pki", |f| PkiPaths { dir: f.text("dir"), name: f.text("name") }),
        data_dir: fields.text("data_dir"),
        bind: fields.optional("bind", socket),
        wan_file: fields.optional_text("wan_file"),
        http: sockets(fields, "http"),
        https: sockets(fields, "https"),
        dns: sockets(fields, "dns"),
        zone: fields.text("zone"),
        name_servers: fields.texts("name_servers"),
        dnssec: fields.flag("dnssec", false),
        certificates: fields.text("certificates"),
        secret: fields.text("secret"),
        geo: fields.optional_text("geo"),
        trusted_proxies: fields.texts("trusted_proxies"),
        access_log_one_in: fields.number("access_log_one_in", 1..=1_000_000, 100),
        nftables: fields.flag("nftables", false),
        xdp: fields.texts("xdp"),
        shape: fields.maps("shape", |f| Shape {
            interface: f.text("interface"),
            rate_mbit: f.required("rate_mbit", whole(1..=1_000_000)),
        }),
        dpdk: fields.map("dpdk", |f| Dpdk {
            outside: f.text("outside"),
            inside: f.text("inside"),
            huge_pages: f.flag("huge_pages", false),
            program: f.optional_text("program"),
        }),
    }
}

fn relations(config: &RouterConfig, fields: &Fields<'_>) {
    let known = config.regions.iter().any(|entry| entry.region == config.region);
    if !config.region.is_empty() && !known {
        fields
            .complain("regions", format!("the router's own region, '{}', is not among them", config.region));
    }
    let unfit = |name: &str| name.is_empty() || name.len() > 15 || name.contains(['/', ' ']);
    if let Some(shape) = config.shape.iter().find(|shape| unfit(&shape.interface)) {
        fields.complain("shape", format!("'{}' is no interface such as eth0", shape.interface));
    }
    if config.http.is_empty() && config.https.is_empty() && config.dns.is_empty() {
        fields.complain("http", "without http, https and dns there is nothing to serve".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
federation: dev
region: us-east-1
host: us-east-1-a1
data_dir: data
pki: {dir: pki, name: us-east-1-a1}
regions:
  - {region: us-east-1, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}
http: ['127.77.1.1:80']
zone: dwcp.test
certificates: certificates
secret: router.key
";

    #[test]
    fn what_is_needed_is_little_and_every_mistake_is_told() {
        let config = RouterConfig::parse(GOOD).expect("settings");
        assert_eq!((config.number, config.access_log_one_in, config.nftables), (0, 100, false));
        let bad =
            GOOD.replace("127.77.1.1:80'", "here'").replace("region: us-east-1\nhost", "region: x\nhost");
        let told = RouterConfig::parse(&bad).expect_err("two mistakes").to_string();
        assert!(told.contains("'here' is not an address") && told.contains("own region, 'x'"), "{told}");
    }
}
