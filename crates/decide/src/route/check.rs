//! What is wrong with settings and tables, in a sentence.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Protocol, RoutingPolicy, Service, Table};

/// Most characters of a label's key or value, and of what is draining.
const LONGEST: usize = 253;
/// Most names, labels and draining endpoints of a service.
const MOST: usize = 1_000;
/// Longest time that something is remembered, ms.
const TTL_MOST_MS: u64 = 86_400_000;

impl RoutingPolicy {
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), String> {
        let weights = &self.weights;
        let all = [weights.latency, weights.cost, weights.load, weights.distance, weights.health];
        let sum: u64 = all.iter().map(|weight| u64::from(*weight)).sum();
        let spill = &self.spill;
        let percent = |value: u32| (1..=100).contains(&value);
        require(sum == 100, || format!("the weights come to {sum} % together, and must come to 100"))?;
        require([spill.critical, spill.standard, spill.bulk].iter().all(|limit| percent(*limit)), || {
            "a limit from which on requests spill is 1 to 100 percent".to_owned()
        })?;
        require(spill.bulk <= spill.standard && spill.standard <= spill.critical, || {
            format!(
                "what matters less must spill first: bulk at {} %, standard at {} %, critical at {} %",
                spill.bulk, spill.standard, spill.critical
            )
        })?;
        require(self.least_health <= 100, || {
            format!("a health score is at most 100, not {}", self.least_health)
        })?;
        require(self.doubt_below_percent <= 100, || {
            format!("checks are doubted below at most 100 %, not {}", self.doubt_below_percent)
        })?;
        require(self.endpoint_capacity > 0, || "an endpoint carries at least one request".to_owned())?;
        require((1..=TTL_MOST_MS).contains(&self.cache_ttl_ms), || {
            format!("where clients go is remembered for 1 ms to a day, not for {} ms", self.cache_ttl_ms)
        })?;
        require((1..=86_400).contains(&self.dns_ttl_s), || {
            format!("DNS answers live for 1 s to a day, not for {} s", self.dns_ttl_s)
        })?;
        let (dscp, shares) = (&self.dscp, &self.shares);
        let marks = [dscp.critical, dscp.standard, dscp.bulk];
        require(marks.iter().all(|mark| *mark < 64), || {
            format!(
                "a class is marked by a number of 0 to 63 (DSCP), not by {}",
                marks.iter().max().unwrap_or(&0)
            )
        })?;
        let parts = [shares.critical, shares.standard, shares.bulk];
        let sum: u64 = parts.iter().map(|share| u64::from(*share)).sum();
        require(sum == 100 && parts.iter().all(|share| *share > 0), || {
            format!("each class has a share, and all together 100 %; these come to {sum} %")
        })?;
        require(self.dpdk_cores.is_empty() || self.dpdk_cores.split(',').all(is_cores), || {
            format!("`{}` are no processors; such as `0-7` or `2,4-6`", self.dpdk_cores)
        })
    }
}

impl Service {
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), String> {
        require(self.hosts.len().max(self.labels.len()).max(self.draining.len()) <= MOST, || {
            format!("a service has at most {MOST} names, labels and draining endpoints each")
        })?;
        for host in &self.hosts {
            host_name(host)?;
        }
        self.check_ports()?;
        if let Some(path) = &self.check_path {
            require(
                path.starts_with('/') && path.len() <= 2_048 && path.bytes().all(|c| c.is_ascii_graphic()),
                || format!("`{}` is no path to ask for; such as `/health`", shown(path)),
            )?;
            require(self.protocol != Protocol::TlsPassthrough, || {
                "endpoints behind TLS that is passed through are not asked for a path".to_owned()
            })?;
        }
        if let Some(anycast) = &self.anycast {
            let address = anycast.parse::<IpAddr>();
            require(address.is_ok_and(|ip| !ip.is_unspecified() && !ip.is_multicast()), || {
                format!("`{}` is no IP address that a router could answer at", shown(anycast))
            })?;
        }
        for (key, value) in &self.labels {
            require(is_line(key), || {
                format!("`{}` is no label: one line with at most {LONGEST} characters", shown(key))
            })?;
            require(value.is_empty() || is_line(value), || {
                format!("the value of label `{key}` is not one line with at most {LONGEST} characters")
            })?;
        }
        let unfit = self.draining.iter().find(|name| !is_line(name));
        require(unfit.is_none(), || {
            "what is draining is named by a VM's name or id or by `ip:port`".to_owned()
        })
    }

    fn check_ports(&self) -> Result<(), String> {
        require(self.vm_port != Some(0), || "port 0 of a VM can't be reached".to_owned())?;
        match (self.protocol, self.port) {
            (Protocol::Tcp, None) => Err("a TCP service needs a port of the router".to_owned()),
            (Protocol::Tcp, Some(0)) => Err("port 0 can't be reached".to_owned()),
            (Protocol::Tcp, Some(_)) => Ok(()),
            (_, Some(port)) => Err(format!(
                "port {port} is for TCP services only: others share the router's HTTP and TLS ports"
            )),
            (_, None) => {
                require(!self.hosts.is_empty(), || "without a name nobody reaches the service".to_owned())
            }
        }
    }
}

impl Table {
    /// # Errors
    /// What is wrong with it: it must not be used.
    pub fn check(&self) -> Result<(), String> {
        require(self.services.is_empty() || !self.regions.is_empty(), || {
            format!("the table has {} services and no region", self.services.len())
        })?;
        require(self.regions.is_sorted_by(|one, next| one.region < next.region), || {
            "the regions are not in order".to_owned()
        })?;
        require(self.services.is_sorted_by(|one, next| one.name < next.name), || {
            "the services are not in order".to_owned()
        })?;
        let mut hosts = BTreeSet::new();
        for service in &self.services {
            let name = &service.name;
            let endpoints = &service.endpoints;
            let beyond = endpoints.iter().find(|row| row.region as usize >= self.regions.len());
            if let Some(row) = beyond {
                return Err(format!(
                    "service {name}: endpoint {} is in region {} of {}",
                    row.id,
                    row.region,
                    self.regions.len()
                ));
            }
            require(endpoints.is_sorted_by(|a, b| (a.region, &a.id) < (b.region, &b.id)), || {
                format!("service {name}: the endpoints are not in order")
            })?;
            if let Some(host) = service.hosts.iter().find(|host| !hosts.insert(host.as_str())) {
                return Err(format!("two services have the name `{host}`; one is {name}"));
            }
        }
        Ok(())
    }

    /// # Errors
    /// It is of older facts than `old`, or has no endpoint where that one has: it must not come after it.
    pub fn may_replace(&self, old: &Table) -> Result<(), String> {
        if self.restoration < old.restoration {
            return Err(format!(
                "the table is of restoration {}, and one of restoration {} is in force",
                self.restoration, old.restoration
            ));
        }
        if self.restoration == old.restoration {
            for (group, revision) in &self.revisions {
                let before = old.revisions.get(group).copied().unwrap_or(0);
                require(*revision >= before, || {
                    format!("the table is of revision {revision} of group {group}, and {before} is in force")
                })?;
            }
        }
        let count = |table: &Table| table.services.iter().map(|row| row.endpoints.len()).sum::<usize>();
        let before = count(old);
        require(self.services.is_empty() || before == 0 || count(self) > 0, || {
            format!("the table has no endpoint, and the one in force has {before}")
        })
    }
}

fn require(holds: bool, flaw: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(flaw()) }
}

fn host_name(host: &str) -> Result<(), String> {
    if host == "*" {
        return Ok(());
    }
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    require(host.len() <= 253 && host.split('.').all(part), || {
        format!(
            "`{}` is no host name: parts of a-z, 0-9 and `-`, with dots between them, or `*` for all names",
            shown(host)
        )
    })
}

/// `3` or `0-7`.
fn is_cores(text: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|c| c.is_ascii_digit()));
    match text.split_once('-') {
        None => number(text).is_some(),
        Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
    }
}

fn is_line(text: &str) -> bool {
    let count = text.chars().count();
    (1..=LONGEST).contains(&count) && !text.chars().any(char::is_control)
}

/// As much of a text as fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(80).filter(|c| !c.is_control()).collect()
}
