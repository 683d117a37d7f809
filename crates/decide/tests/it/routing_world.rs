//! A small table of one service to route by, and what its router sees.

use std::collections::BTreeSet;

use dwcp_decide::route::{
    Algorithm, Choice, Client, EndpointRow, Live, Place, Plan, Qos, RegionRow, ServiceRow, Sums, Table,
};

#[derive(Debug)]
pub struct Net {
    pub table: Table,
    pub down: BTreeSet<u32>,
    pub open: Vec<u32>,
}

impl Net {
    /// Regions of these names, each with as many endpoints, 10 ms apart from each other as seen from the first one; otherwise
    /// alike. Routed by round trips.
    pub fn new(names: &[&str], endpoints: usize) -> Net {
        let mut table = Table { here: names[0].to_owned(), ..Table::default() };
        table.policy.algorithm = Algorithm::Latency;
        table.policy.endpoint_capacity = 100;
        let mut service =
            ServiceRow { name: "web".into(), hosts: vec!["web".into()], ..ServiceRow::default() };
        for (at, name) in names.iter().enumerate() {
            table.regions.push(RegionRow {
                region: name.to_string(),
                takes_part: true,
                traffic_percent: 100,
                health: Some(100),
                rtt_ms: Some(at as u32 * 10),
                place: None,
                price_micros: 10_000,
                routers: Vec::new(),
            });
            service.endpoints.extend((0..endpoints).map(|number| row(at as u16, number)));
        }
        let open = vec![0; service.endpoints.len()];
        table.services.push(service);
        Net { table, down: BTreeSet::new(), open }
    }

    pub fn region(&mut self, name: &str) -> &mut RegionRow {
        self.table.regions.iter_mut().find(|row| row.region == name).expect("a region of the table")
    }

    /// The endpoints of a region.
    pub fn of(&self, name: &str) -> Vec<u32> {
        let at = self.table.regions.iter().position(|row| row.region == name).expect("a region") as u16;
        let rows = self.table.services[0].endpoints.iter().enumerate();
        rows.filter(|(_, row)| row.region == at).map(|(index, _)| index as u32).collect()
    }

    pub fn lose(&mut self, name: &str) {
        self.down.extend(self.of(name));
    }

    /// So many requests under way on each endpoint of a region.
    pub fn load(&mut self, name: &str, open: u32) {
        self.of(name).into_iter().for_each(|at| self.open[at as usize] = open);
    }

    pub fn endpoint(&mut self, at: u32) -> &mut EndpointRow {
        &mut self.table.services[0].endpoints[at as usize]
    }

    pub fn qos(&mut self, qos: Qos) {
        self.table.services[0].qos = qos;
    }

    pub fn choose(&self, client: &Client, not: &[u32]) -> Option<Choice> {
        Plan::of(&self.table).choose(0, client, self, not)
    }

    /// Where a client with a key goes: region and why.
    pub fn goes(&self, key: u64) -> String {
        self.words(self.choose(&client(key), &[]))
    }

    pub fn words(&self, choice: Option<Choice>) -> String {
        choice.map_or("nowhere".into(), |choice| {
            format!("{} {:?}", self.table.regions[choice.region as usize].region, choice.why)
        })
    }

    /// How many of so many clients go to each region, in percent.
    pub fn split(&self, clients: u64) -> Vec<f64> {
        let plan = Plan::of(&self.table);
        let mut counts = vec![0u64; self.table.regions.len()];
        for key in 0..clients {
            let choice = plan.choose(0, &client(key), self, &[]).expect("there are endpoints");
            counts[choice.region as usize] += 1;
        }
        counts.into_iter().map(|count| count as f64 * 100.0 / clients as f64).collect()
    }
}

impl Live for Net {
    fn is_up(&self, endpoint: u32) -> bool {
        !self.down.contains(&endpoint)
    }

    fn open(&self, endpoint: u32) -> u32 {
        self.open[endpoint as usize]
    }

    fn region(&self, region: u16) -> Sums {
        let mut sums = Sums::default();
        for (row, at) in
            self.table.services[0].endpoints.iter().zip(0..).filter(|(row, _)| row.region == region)
        {
            sums.up += u32::from(self.is_up(at));
            sums.ready += u32::from(self.is_up(at) && row.serves && !row.draining);
            sums.open += self.open[at as usize];
        }
        sums
    }

    fn undoubted(&self) -> u32 {
        (0..self.table.regions.len() as u16).map(|region| self.region(region).ready).sum()
    }
}

pub fn row(region: u16, number: usize) -> EndpointRow {
    EndpointRow {
        id: format!("vm_{region:03}_{number:05}"),
        name: format!("web-{region}-{number}"),
        region,
        zone: "a".into(),
        address: ([10, region as u8, (number / 250) as u8, (number % 250) as u8], 80).into(),
        serves: true,
        draining: false,
    }
}

pub fn client(key: u64) -> Client {
    Client { key, place: None, pinned: None }
}

pub fn place(latitude: f32, longitude: f32) -> Option<Place> {
    Some(Place { latitude, longitude })
}
