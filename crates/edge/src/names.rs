//! What DNS asks of a table beside its services' names.

use std::collections::HashSet;

use dwcp_decide::route::{ServiceRow, Table};

/// Names and kinds of addresses.
pub(crate) struct Names {
    /// Names that no service may have but that names of services end with.
    above_hosts: HashSet<String>,
    /// In the order of the table's services.
    reaches: Vec<Reach>,
}

/// Which kinds of addresses clients of a service can be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub v4: bool,
    pub v6: bool,
}

impl Names {
    pub(crate) fn of(table: &Table) -> Names {
        let mut above_hosts = HashSet::new();
        for host in table.services.iter().flat_map(|service| &service.hosts) {
            let mut rest = host.as_str();
            while let Some((_, above)) = rest.split_once('.') {
                // Whoever is above this name was noted with it.
                if !above_hosts.insert(above.to_owned()) {
                    break;
                }
                rest = above;
            }
        }
        Names {
            above_hosts,
            reaches: table.services.iter().map(|service| Reach::of(service, table)).collect(),
        }
    }

    /// Whether a service has a name that ends with this one.
    pub(crate) fn is_above_a_host(&self, name: &str) -> bool {
        self.above_hosts.contains(name)
    }

    pub(crate) fn reach(&self, service: usize) -> Reach {
        self.reaches.get(service).copied().unwrap_or_default()
    }
}

impl Reach {
    fn of(service: &ServiceRow, table: &Table) -> Reach {
        let mut reach = Reach::default();
        for row in &service.endpoints {
            let region = table.regions.get(usize::from(row.region));
            match region.filter(|region| !region.routers.is_empty()) {
                Some(region) => {
                    reach.v4 |= region.routers.iter().any(|address| address.is_ipv4());
                    reach.v6 |= region.routers.iter().any(|address| address.is_ipv6());
                }
                None => {
                    reach.v4 |= row.address.is_ipv4();
                    reach.v6 |= row.address.is_ipv6();
                }
            }
        }
        reach
    }
}
