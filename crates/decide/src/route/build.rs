//! The table of the federation's facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use dwcp_state::{
    DocumentKey, DocumentKind, FEDERATION_GROUP, Federation, Lifecycle, Probe, Region, RegionFacts, Standing,
    Vm, Want,
};
use dwcp_types::{Generation, RegionId, VmId};

use super::reading::{Reading, read};
use super::{EndpointRow, Place, RegionRow, RoutingPolicy, Service, ServiceRow, Table};
use crate::Measured;

/// The id of the one document of kind [`DocumentKind::Routing`].
pub const POLICY_ID: &str = "policy";

/// A table, and what could not be read of the settings that it was made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Built {
    pub table: Table,
    /// Services that are left out because what they are could not be read.
    pub unread: BTreeSet<String>,
    /// For people, a line each.
    pub complaints: Vec<String>,
}

/// The table of a router in region `here`. What can't be read of the settings keeps its default; it never takes the rest away.
pub fn build(view: &Federation, measured: &Measured, here: &RegionId, now_ms: u64) -> Built {
    let mut built = Built::default();
    built.table = Table {
        here: here.to_string(),
        made_at_ms: now_ms,
        revisions: revisions(view),
        restoration: view.core.restoration.as_ref().map_or(0, |restoration| restoration.id),
        policy: policy(view, &mut built.complaints),
        regions: view.core.regions.values().map(|region| region_row(region, measured, here)).collect(),
        services: Vec::new(),
    };
    let services = services(view, &mut built);
    let mut makers: Vec<Maker<'_>> =
        services.iter().map(|(name, service)| Maker { name, service, found: Vec::new() }).collect();
    let wanted = Wanted::of(&services);
    for (index, region) in (0u16..).zip(view.core.regions.values()) {
        let Some(facts) = view.regions.get(&region.id) else { continue };
        for vm in facts.vms.values() {
            let Some(address) = address(vm) else { continue };
            wanted.each(vm, |at| makers[at].take(index, facts, vm, address));
        }
    }
    built.table.services = makers.into_iter().map(|maker| maker.finish()).collect();
    built
}

impl Built {
    /// Services that could not be read stay as an older table has them.
    pub fn keeping(mut self, old: &Table) -> Built {
        let table = &mut self.table;
        for row in old.services.iter().filter(|row| self.unread.contains(&row.name)) {
            let mut row = row.clone();
            let index = |region: u16| {
                let name = &old.regions.get(region as usize)?.region;
                table.regions.binary_search_by(|row| row.region.cmp(name)).ok()
            };
            row.endpoints.retain_mut(|it| match index(it.region) {
                Some(at) => {
                    it.region = at as u16;
                    true
                }
                None => false,
            });
            let taken = |host: &String| table.services.iter().any(|other| other.hosts.contains(host));
            row.hosts.retain(|host| !taken(host));
            table.services.push(row);
        }
        table.services.sort_by(|one, other| one.name.cmp(&other.name));
        self
    }
}

fn revisions(view: &Federation) -> BTreeMap<u64, u64> {
    let regions = view.regions.values().map(|facts| (facts.number, facts.revision.0));
    std::iter::once((FEDERATION_GROUP, view.core.revision.0)).chain(regions).collect()
}

fn policy(view: &Federation, complaints: &mut Vec<String>) -> RoutingPolicy {
    let key = DocumentKey::new(DocumentKind::Routing, POLICY_ID);
    let Some(document) = view.core.documents.get(&key) else { return RoutingPolicy::default() };
    let Reading { value, unread } = read::<RoutingPolicy>(&document.text);
    complaints.extend(unread.iter().map(|what| format!("{key}: {what} can't be read: the default counts")));
    if let Err(flaw) = value.check() {
        complaints.push(format!("{key}: {flaw}"));
    }
    value
}

/// Every service that can be read. A name that two have stays with the first.
fn services(view: &Federation, built: &mut Built) -> Vec<(String, Service)> {
    let first = DocumentKey::new(DocumentKind::Service, "");
    let documents =
        view.core.documents.range(first..).take_while(|(key, _)| key.kind == DocumentKind::Service);
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut services = Vec::new();
    for (key, document) in documents {
        let Reading { value: mut service, unread } = read::<Service>(&document.text);
        // Without these nobody knows who is to be sent where.
        let vital = ["the text", "hosts", "labels", "protocol", "port", "vm_port"];
        let lost = unread.iter().any(|what| vital.contains(&&**what));
        let then = if lost { "the service is left out" } else { "the default counts" };
        built.complaints.extend(unread.iter().map(|what| format!("{key}: {what} can't be read: {then}")));
        if lost {
            built.unread.insert(key.id.clone());
            continue;
        }
        if let Err(flaw) = service.check() {
            built.complaints.push(format!("{key}: {flaw}"));
        }
        service.hosts.retain(|host| match owners.get(host) {
            Some(owner) => {
                built
                    .complaints
                    .push(format!("{key}: `{host}` is a name of service {owner}, and stays there"));
                false
            }
            None => owners.insert(host.clone(), key.id.clone()).is_none(),
        });
        services.push((key.id.clone(), service));
    }
    services
}

fn region_row(region: &Region, measured: &Measured, here: &RegionId) -> RegionRow {
    let degrees = |millionths: i64| (millionths as f64 / 1e6) as f32;
    let place = region.site.coordinates.map(|at| {
        let (latitude, longitude) = at.degrees();
        Place { latitude: degrees(latitude), longitude: degrees(longitude) }
    });
    let prices = &region.prices;
    RegionRow {
        region: region.id.to_string(),
        takes_part: region.lifecycle == Lifecycle::Active && region.standing == Standing::Present,
        traffic_percent: region.traffic_percent,
        health: measured.health_of(&region.id),
        rtt_ms: measured.rtt(here, &region.id).map(|ms| ms.min(u64::from(u32::MAX)) as u32),
        place,
        price_micros: prices.vcpu_micros.saturating_add(prices.memory_gib_micros.saturating_mul(2)),
        routers: region
            .endpoints
            .iter()
            .filter_map(|at| at.ip.parse().ok())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    }
}

/// Where a VM answers; none: nobody is sent to it.
fn address(vm: &Vm) -> Option<SocketAddr> {
    let asked = vm.want == Want::Running && vm.spec.probe != Probe::None && vm.drill.is_none();
    if asked { vm.observed.address.parse().ok() } else { None }
}

/// Which services a VM can be of, without a look at all of them.
#[derive(Default)]
struct Wanted<'a> {
    /// Services by the first of their labels.
    by_label: BTreeMap<(&'a str, &'a str), Vec<usize>>,
    /// Services of every VM.
    of_all: Vec<usize>,
}

impl<'a> Wanted<'a> {
    fn of(services: &'a [(String, Service)]) -> Wanted<'a> {
        let mut wanted = Wanted::default();
        for (at, (_, service)) in services.iter().enumerate() {
            match service.labels.first_key_value() {
                Some((key, value)) => wanted.by_label.entry((key, value)).or_default().push(at),
                None => wanted.of_all.push(at),
            }
        }
        wanted
    }

    fn each(&self, vm: &Vm, mut take: impl FnMut(usize)) {
        self.of_all.iter().for_each(|at| take(*at));
        let by_label = vm.labels.iter().filter_map(|(key, value)| self.by_label.get(&(&**key, &**value)));
        by_label.flatten().for_each(|at| take(*at));
    }
}

/// Gathers the endpoints of a service.
struct Maker<'a> {
    name: &'a str,
    service: &'a Service,
    found: Vec<(VmId, Generation, EndpointRow)>,
}

impl Maker<'_> {
    /// A VM of a region, when it carries all of the service's labels.
    fn take(&mut self, region: u16, facts: &RegionFacts, vm: &Vm, mut address: SocketAddr) {
        let fits = |(key, value): (&String, &String)| vm.labels.get(key) == Some(value);
        if !self.service.labels.iter().all(fits) {
            return;
        }
        if let Some(port) = self.service.vm_port {
            address.set_port(port);
        }
        let id = vm.id.to_string();
        let row = EndpointRow {
            draining: self.is_draining(&[&vm.name, &id, &vm.observed.address], address),
            id,
            name: vm.name.clone(),
            region,
            zone: facts.hosts.get(&vm.host).map_or(String::new(), |host| host.facts.zone.to_string()),
            address,
            serves: vm.serves(),
        };
        self.found.push((vm.id, vm.generation, row));
    }

    fn is_draining(&self, names: &[&str], address: SocketAddr) -> bool {
        let draining = &self.service.draining;
        !draining.is_empty()
            && (names.iter().any(|name| draining.contains(*name)) || draining.contains(&address.to_string()))
    }

    fn finish(mut self) -> ServiceRow {
        // A VM that has moved is known of in two regions until both have said so: the newer generation counts.
        self.found
            .sort_by(|one, other| (one.0, other.1, one.2.region).cmp(&(other.0, one.1, other.2.region)));
        self.found.dedup_by_key(|(vm, ..)| *vm);
        let mut endpoints: Vec<EndpointRow> =
            std::mem::take(&mut self.found).into_iter().map(|(.., row)| row).collect();
        endpoints.sort_by(|one, other| (one.region, &one.id).cmp(&(other.region, &other.id)));
        let service = self.service;
        ServiceRow {
            name: self.name.to_owned(),
            hosts: service.hosts.iter().cloned().collect(),
            protocol: service.protocol,
            port: service.port,
            sticky: service.sticky,
            qos: service.qos,
            check_path: service.check_path.clone(),
            anycast: service.anycast.clone(),
            endpoints,
        }
    }
}
