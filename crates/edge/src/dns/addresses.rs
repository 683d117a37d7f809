//! Which addresses a client gets for a service: those of the routers of the region that is best for it.

use std::net::IpAddr;

use dwcp_decide::route::{Choice, Client, ServiceRow};

use crate::routes::{Current, Routes};

/// At most so many addresses are in an answer.
const MOST: usize = 3;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

/// Addresses in the order to try them.
#[derive(Clone, Copy, Debug)]
pub struct Some3 {
    list: [IpAddr; MOST],
    count: usize,
}

impl Some3 {
    fn none() -> Some3 {
        Some3 { list: [IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED); MOST], count: 0 }
    }

    fn add(&mut self, address: IpAddr) {
        if let Some(next) = self.list.get_mut(self.count) {
            *next = address;
            self.count += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + Clone + '_ {
        self.list[..self.count].iter().copied()
    }
}

/// What there is for a client.
#[derive(Debug)]
pub enum Found {
    /// These; whether they depend on who asks.
    Addresses(Some3, bool),
    /// The service has none of the family.
    OtherFamily,
    /// The service has no endpoint: nothing is known of it.
    Nothing,
}

/// Finds addresses.
pub struct Finder<'a> {
    pub current: &'a Current,
    pub routes: &'a Routes,
    pub this_router: IpAddr,
}

impl Finder<'_> {
    /// For a service's index.
    pub fn find(&self, service: usize, client: &Client, family: Family) -> Found {
        let Some(row) = self.routes.table.services.get(service) else { return Found::Nothing };
        if row.endpoints.is_empty() {
            return Found::Nothing;
        }
        if let Some(shared) = row.anycast.as_deref().and_then(|text| text.parse().ok()) {
            if !family.has(&shared) {
                return Found::OtherFamily;
            }
            let mut one = Some3::none();
            one.add(shared);
            return Found::Addresses(one, false);
        }
        let Some(first) = self.current.choose_again(self.routes, service, client) else {
            return Found::Nothing;
        };
        let addresses = self.at(row, &first, client.key, family);
        if addresses.count > 0 {
            return Found::Addresses(addresses, true);
        }
        let reach = self.routes.reach(service);
        if !(if family == Family::V4 { reach.v4 } else { reach.v6 }) {
            return Found::OtherFamily;
        }
        self.elsewhere(row, service, client, family, first)
    }

    /// The best region that has an address of the family, when the best of all has none.
    fn elsewhere(
        &self,
        row: &ServiceRow,
        service: usize,
        client: &Client,
        family: Family,
        first: Choice,
    ) -> Found {
        let mut not = Vec::new();
        let mut region = first.region;
        loop {
            let there = row.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.region == region);
            not.extend(there.map(|(index, _)| index as u32));
            let next = self.current.choose(self.routes, service, client, &not);
            let Some(next) = next.filter(|next| !not.contains(&next.endpoint)) else {
                return Found::OtherFamily;
            };
            let addresses = self.at(row, &next, client.key, family);
            if addresses.count > 0 {
                return Found::Addresses(addresses, true);
            }
            region = next.region;
            not.push(next.endpoint);
        }
    }

    /// Addresses of a choice: of its region's routers, beginning with one that the key says; where none is known of the
    /// endpoint itself.
    fn at(&self, row: &ServiceRow, choice: &Choice, key: u64, family: Family) -> Some3 {
        let mut found = Some3::none();
        let Some(region) = self.routes.table.regions.get(usize::from(choice.region)) else { return found };
        if region.routers.is_empty() {
            let own = (region.region == self.routes.table.here).then_some(self.this_router);
            let endpoint = row.endpoints.get(choice.endpoint as usize).map(|endpoint| endpoint.address.ip());
            if let Some(address) = own.or(endpoint).filter(|address| family.has(address)) {
                found.add(address);
            }
            return found;
        }
        let fitting = || region.routers.iter().filter(|address| family.has(address));
        let count = fitting().count();
        let begin = (key % count.max(1) as u64) as usize;
        fitting().cycle().skip(begin).take(count.min(MOST)).for_each(|address| found.add(*address));
        found
    }
}
