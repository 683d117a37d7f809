//! What the federation says of a region before a runbook begins: what is done already follows from it.

use dwcp_api::membership::{MembershipRead, MembershipRequest, PoolList, PoolListRequest};
use dwcp_api::region::{Lifecycle, RegionRead, RegionReadRequest};
use dwcp_api::site::{EndpointList, EndpointListRequest, PublicEndpoint};

use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// A region, and what its hosts have while it is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// None: it is not there.
    pub region: Option<Known>,
    /// Its hosts that wait for it: name, and how far they are with its node.
    pub pool: Vec<(String, String)>,
}

/// A region that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub lifecycle: Lifecycle,
    /// It is on its way out.
    pub leaving: bool,
    /// Its node is heard.
    pub node: bool,
    /// Its node has every group.
    pub replicas: bool,
    /// None: not known.
    pub traffic_percent: Option<u8>,
    pub placement: bool,
    /// None: not known.
    pub vms: Option<u64>,
    pub endpoints: Vec<PublicEndpoint>,
    /// Its announced end, ms since 1970.
    pub ends_at_ms: Option<u64>,
}

impl Known {
    /// A region in service with a few VMs and this share of its traffic.
    #[cfg(test)]
    pub fn in_service(traffic_percent: u8) -> Known {
        Known {
            lifecycle: Lifecycle::Active,
            leaving: false,
            node: true,
            replicas: true,
            traffic_percent: Some(traffic_percent),
            placement: true,
            vms: Some(3),
            endpoints: Vec::new(),
            ends_at_ms: None,
        }
    }

    /// It takes placements or traffic.
    pub fn serves(&self) -> bool {
        self.lifecycle == Lifecycle::Active
    }

    /// Its share of traffic; none while it is not in service.
    pub fn share(&self) -> Option<u8> {
        self.traffic_percent.filter(|_| self.serves())
    }
}

/// Asks the federation.
pub fn read(session: &Session, region: &str) -> Result<Facts, Failure> {
    let pools = session.call::<PoolList>(&PoolListRequest { region: Some(region.to_owned()) })?;
    let of_region = pools.hosts.into_iter().filter(|host| host.region == region);
    let pool = of_region.map(|host| (host.host, host.phase)).collect();
    let asked = MembershipRequest { region: region.to_owned() };
    let membership = match session.call::<MembershipRead>(&asked) {
        Ok(membership) => membership,
        Err(failure) if failure.exit == Exit::NotFound => return Ok(Facts { region: None, pool }),
        Err(failure) => return Err(failure),
    };
    let status =
        session.call::<RegionRead>(&RegionReadRequest { region: region.to_owned(), watch: false })?;
    let endpoints = session.call::<EndpointList>(&EndpointListRequest { region: Some(region.to_owned()) })?;
    let done = |name: &str| membership.steps.iter().any(|step| step.step == name && step.done);
    let endpoints = endpoints.regions.into_iter().find(|of| of.region == region);
    let summary = status.summary;
    let known = Known {
        lifecycle: membership.lifecycle,
        leaving: membership.leaving,
        node: done("node"),
        replicas: done("replicas"),
        traffic_percent: summary.traffic_percent.map(|percent| percent as u8),
        placement: summary.placement.enabled,
        vms: summary.vms,
        endpoints: endpoints.map_or_else(Vec::new, |of| of.endpoints),
        ends_at_ms: summary.decommission.map(|end| end.at_ms),
    };
    Ok(Facts { region: Some(known), pool })
}
