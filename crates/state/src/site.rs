//! What operators say of a region: where it is and what it may hold, where its users reach it, and when it is to end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dwcp_types::{RegionId, Wall, ZoneId};

use crate::Prices;

const DAY_MS: u64 = 86_400_000;

/// A place on the earth. Counted from the south pole and from the date line, so that no number is below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coordinates {
    /// Millionths of a degree north of the south pole.
    pub north: u64,
    /// Millionths of a degree east of the meridian opposite to Greenwich.
    pub east: u64,
}

impl Coordinates {
    /// From latitude and longitude in millionths of a degree; none when that is no place.
    pub fn new(latitude: i64, longitude: i64) -> Option<Coordinates> {
        let within = |value: i64, most: i64| (-most..=most).contains(&value).then(|| (value + most) as u64);
        Some(Coordinates { north: within(latitude, 90_000_000)?, east: within(longitude, 180_000_000)? })
    }

    /// Latitude and longitude, in millionths of a degree.
    pub fn degrees(self) -> (i64, i64) {
        (self.north as i64 - 90_000_000, self.east as i64 - 180_000_000)
    }

    /// True when it lies on the earth.
    fn is_valid(self) -> bool {
        self.north <= 180_000_000 && self.east <= 360_000_000
    }
}

/// Where a region is, and what it may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Its name for people; empty: none.
    pub display_name: String,
    /// The zones that it is said to have; empty: nothing is said.
    pub zones: BTreeSet<ZoneId>,
    /// Where it is.
    pub coordinates: Option<Coordinates>,
    /// VMs that it may hold by choice, whatever its hosts have room for; 0: as many as fit.
    pub vms_most: u64,
}

/// What an operator says of a region; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionSettings {
    /// Which region.
    pub region: RegionId,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Its zones.
    pub zones: Option<BTreeSet<ZoneId>>,
    /// Where it is.
    pub coordinates: Option<Coordinates>,
    /// VMs that it may hold; 0: as many as fit.
    pub vms_most: Option<u64>,
    /// Preferred in placement, 0 to 100.
    pub priority: Option<u8>,
    /// Compliance tags it carries.
    pub compliance: Option<BTreeSet<String>>,
    /// Whose law it is under.
    pub jurisdiction: Option<String>,
    /// What it costs.
    pub prices: Option<Prices>,
}

impl RegionSettings {
    /// Most characters of a name, a zone, a tag or a jurisdiction.
    pub const LONGEST: usize = 80;
    /// Most zones, and most tags.
    pub const MOST: usize = 64;

    /// What is wrong with it; none: nothing.
    pub(crate) fn flaw(&self) -> Option<String> {
        if self.priority.is_some_and(|priority| priority > 100) {
            return Some("a priority is at most 100".to_string());
        }
        if self.coordinates.is_some_and(|place| !place.is_valid()) {
            return Some("the coordinates are no place on the earth".to_string());
        }
        let zones = self.zones.iter().flatten().map(ZoneId::as_str);
        let tags = self.compliance.iter().flatten().map(String::as_str);
        if zones.clone().count() > Self::MOST || tags.clone().count() > Self::MOST {
            return Some(format!("at most {} zones and {} tags", Self::MOST, Self::MOST));
        }
        let names = self.display_name.iter().chain(&self.jurisdiction).map(String::as_str);
        let unfit = |text: &&str| text.chars().count() > Self::LONGEST || text.chars().any(char::is_control);
        let empty = |text: &&str| text.is_empty();
        if let Some(text) = zones.clone().chain(tags.clone()).chain(names).find(unfit) {
            let shown: String = text.chars().take(Self::LONGEST).filter(|c| !c.is_control()).collect();
            return Some(format!("`{shown}` is not one line of at most {} characters", Self::LONGEST));
        }
        zones.chain(tags).any(|text| empty(&text)).then(|| "a zone or a tag is empty".to_string())
    }
}

/// Where users reach a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicEndpoint {
    /// The address, as text in its shortest form.
    pub ip: String,
    /// The TCP port.
    pub port: u16,
}

impl PublicEndpoint {
    /// Most endpoints of one region.
    pub const MOST: usize = 16;

    /// The endpoint, its address in its shortest form; says what is wrong otherwise.
    ///
    /// # Errors
    /// When nobody could be sent there.
    pub fn new(ip: &str, port: u16) -> Result<PublicEndpoint, String> {
        let address: IpAddr = ip.parse().map_err(|_| format!("`{ip}` is no IP address"))?;
        if address.is_unspecified() || address.is_multicast() || ip == "255.255.255.255" {
            return Err(format!("{address} is not the address of one machine"));
        }
        if port == 0 {
            return Err("port 0 can't be reached".to_string());
        }
        Ok(PublicEndpoint { ip: address.to_string(), port })
    }
}

impl std::fmt::Display for PublicEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip.contains(':') {
            true => write!(f, "[{}]:{}", self.ip, self.port),
            false => write!(f, "{}:{}", self.ip, self.port),
        }
    }
}

/// What is told of an announced end, each once and never one after a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reminder {
    /// That it is announced.
    #[default]
    Announced,
    /// That it is due in 30 days.
    Month,
    /// That it is due in seven days.
    Week,
    /// That it is due in 24 hours.
    Day,
    /// That it is due.
    Due,
}

/// The announced end of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decommission {
    /// When it is due.
    pub at: Wall,
    /// Who announced it.
    pub by: String,
    /// When.
    pub asked_at: Wall,
    /// Why, in that one's words.
    pub reason: String,
    /// The newest that was told.
    pub said: Reminder,
}

impl Decommission {
    /// The farthest that one may be from now.
    pub const FARTHEST_MS: u64 = 3_660 * DAY_MS;

    /// What is to be told now: the newest whose time has come. What would have been due before it was announced is not told
    /// any more, but that it is due always is.
    pub fn due(&self, now: Wall) -> Option<Reminder> {
        let before = |days: u64| Wall(self.at.0.saturating_sub(days * DAY_MS));
        let times = [
            (Reminder::Month, before(30)),
            (Reminder::Week, before(7)),
            (Reminder::Day, before(1)),
            (Reminder::Due, self.at),
        ];
        let told = |(reminder, at): &&(Reminder, Wall)| {
            *at <= now && (*reminder == Reminder::Due || self.asked_at <= *at)
        };
        let newest = times.iter().rev().find(told).map(|(reminder, _)| *reminder)?;
        (newest > self.said).then_some(newest)
    }
}
