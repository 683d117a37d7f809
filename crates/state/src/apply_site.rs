//! Applies what operators say of a region: its settings, its public endpoints, its announced end.

use dwcp_types::{Code, Refusal, RegionId, Wall};

use crate::apply_core::unknown_region;
use crate::apply_region::{Applied, Stamp};
use crate::command::{Command, Receipt};
use crate::site::{Coordinates, Decommission, PublicEndpoint, RegionSettings, Reminder};
use crate::{Core, Lifecycle, Region, Severity};

impl Region {
    /// The region as it would be with these settings.
    pub fn with(&self, settings: &RegionSettings) -> Region {
        let mut next = self.clone();
        let RegionSettings { region: _, display_name, zones, coordinates, vms_most, .. } = settings.clone();
        let site = &mut next.site;
        site.display_name = display_name.unwrap_or_else(|| std::mem::take(&mut site.display_name));
        site.zones = zones.unwrap_or_else(|| std::mem::take(&mut site.zones));
        site.coordinates = coordinates.or(site.coordinates);
        site.vms_most = vms_most.unwrap_or(site.vms_most);
        next.priority = settings.priority.unwrap_or(next.priority);
        next.prices = settings.prices.unwrap_or(next.prices);
        if let Some(compliance) = &settings.compliance {
            next.compliance.clone_from(compliance);
        }
        if let Some(jurisdiction) = &settings.jurisdiction {
            next.jurisdiction.clone_from(jurisdiction);
        }
        next
    }

    /// What can be set, as text, by name and always in the same order: to compare two of them and to show them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let list = |items: Vec<&str>| items.join(", ");
        let place = self.site.coordinates.map(Coordinates::degrees);
        let degrees = |value: i64| format!("{:.4}", value as f64 / 1e6);
        let usd = |micros: u64| {
            let whole = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            whole.trim_end_matches('0').trim_end_matches('.').to_string()
        };
        let vms = match self.site.vms_most {
            0 => "as many as fit".to_string(),
            most => most.to_string(),
        };
        vec![
            ("display name", self.site.display_name.clone()),
            ("zones", list(self.site.zones.iter().map(|zone| zone.as_str()).collect())),
            (
                "coordinates",
                place.map_or(String::new(), |(north, east)| format!("{}, {}", degrees(north), degrees(east))),
            ),
            ("VMs at most", vms),
            ("priority", self.priority.to_string()),
            ("compliance", list(self.compliance.iter().map(String::as_str).collect())),
            ("jurisdiction", self.jurisdiction.clone()),
            ("USD an hour: vCPU", usd(self.prices.vcpu_micros)),
            ("USD an hour: GiB of memory", usd(self.prices.memory_gib_micros)),
            ("USD an hour: GiB of disk", usd(self.prices.disk_gib_micros)),
        ]
    }
}

/// What a region has one of at least.
struct Counted {
    noun: &'static str,
    /// The one that it has anyway.
    first: &'static str,
    most: u64,
    count: fn(&Region) -> u64,
    field: fn(&mut Region) -> &mut u64,
}

const CONTROLLERS: Counted = Counted {
    noun: "controllers",
    first: "that of its node",
    most: Region::CONTROLLERS_MOST,
    count: Region::controllers,
    field: |region| &mut region.controllers,
};

const ROUTERS: Counted = Counted {
    noun: "routers",
    first: "that of its own settings",
    most: Region::ROUTERS_MOST,
    count: Region::routers,
    field: |region| &mut region.routers,
};

impl Core {
    /// The commands of this file.
    pub(crate) fn change_site(&mut self, command: &Command, stamp: &Stamp<'_>) -> Applied {
        match command {
            Command::ConfigureRegion(settings) => self.configure_region(settings, stamp),
            Command::SetEndpoint((region, (endpoint, there))) => {
                self.set_endpoint(region, endpoint, *there, stamp)
            }
            Command::AnnounceDecommission((region, at)) => self.announce_decommission(region, *at, stamp),
            Command::CancelDecommission(region) => self.cancel_decommission(region, stamp),
            Command::NoteDecommission((region, reminder)) => self.note_decommission(region, *reminder, stamp),
            Command::SetControllers((region, count)) => self.set_count(&CONTROLLERS, region, *count, stamp),
            Command::SetRouters((region, count)) => self.set_count(&ROUTERS, region, *count, stamp),
            _ => Err(Refusal::new(Code::WrongState, "a region's command reached the federation's group")),
        }
    }

    fn open_region(&mut self, id: &RegionId) -> Result<&mut Region, Refusal> {
        let region = self.regions.get_mut(id).ok_or_else(|| unknown_region(id))?;
        if region.lifecycle == Lifecycle::Leaving {
            return Err(Refusal::new(Code::WrongState, format!("{id} leaves the federation")));
        }
        Ok(region)
    }

    fn configure_region(&mut self, settings: &RegionSettings, stamp: &Stamp<'_>) -> Applied {
        if let Some(flaw) = settings.flaw() {
            let what = format!("{} can't be configured like that", settings.region);
            return Err(Refusal::new(Code::BadValue, what).because(flaw));
        }
        let region = self.open_region(&settings.region)?;
        let next = region.with(settings);
        let (before, after) = (region.settings(), next.settings());
        let differ = before.iter().zip(&after).filter(|(before, after)| before != after);
        let (before, after): (Vec<String>, Vec<String>) = differ
            .map(|((name, before), (_, after))| (format!("{name} {before}"), format!("{name} {after}")))
            .unzip();
        if after.is_empty() {
            return Ok(Receipt::default());
        }
        *region = next;
        region.revision = stamp.revision;
        let text =
            format!("region {} is configured: {}{}", settings.region, after.join("; "), stamp.because());
        let event = stamp.event(Severity::Info, "region.configured", &settings.region, text);
        self.ledger.note(event.changing(before.join("; "), after.join("; ")));
        Ok(Receipt::default())
    }

    /// Adds an endpoint, or takes it away.
    fn set_endpoint(
        &mut self,
        id: &RegionId,
        asked: &PublicEndpoint,
        there: bool,
        stamp: &Stamp<'_>,
    ) -> Applied {
        let bad = |why: String| Refusal::new(Code::BadValue, "that is no endpoint").because(why);
        let endpoint = PublicEndpoint::new(&asked.ip, asked.port).map_err(bad)?;
        let other =
            self.regions.values().find(|other| other.id != *id && other.endpoints.contains(&endpoint));
        if let Some(other) = other.filter(|_| there) {
            return Err(Refusal::new(Code::WrongState, format!("{endpoint} leads to {} already", other.id))
                .try_this("dwcp-cli routing endpoint list"));
        }
        let region = self.open_region(id)?;
        if there && region.endpoints.len() >= PublicEndpoint::MOST && !region.endpoints.contains(&endpoint) {
            let what = format!("{id} has {} endpoints; no more are kept", PublicEndpoint::MOST);
            return Err(Refusal::new(Code::WrongState, what).try_this("dwcp-cli routing endpoint list"));
        }
        let changed = match there {
            true => region.endpoints.insert(endpoint.clone()),
            false => region.endpoints.remove(&endpoint),
        };
        if changed {
            region.revision = stamp.revision;
            let (kind, what) = match there {
                true => ("region.endpoint_added", "users reach"),
                false => ("region.endpoint_removed", "users no longer reach"),
            };
            let text = format!("{what} {id} at {endpoint}{}", stamp.because());
            self.ledger.note(stamp.event(Severity::Info, kind, id, text));
        }
        Ok(Receipt::default())
    }

    fn set_count(&mut self, of: &Counted, id: &RegionId, count: u64, stamp: &Stamp<'_>) -> Applied {
        let Counted { noun, first, most, .. } = of;
        if count == 0 || count > *most {
            let what = format!("{id} can't have {count} {noun}");
            return Err(Refusal::new(Code::BadValue, what).because(format!("from 1, {first}, to {most}")));
        }
        let region = self.open_region(id)?;
        let before = (of.count)(region);
        if before == count {
            return Ok(Receipt::default());
        }
        *(of.field)(region) = count;
        region.revision = stamp.revision;
        let text = format!("{id} is to have {count} {noun}, not {before}{}", stamp.because());
        let event = stamp.event(Severity::Info, &format!("region.{noun}"), id, text);
        self.ledger.note(event.changing(before, count));
        Ok(Receipt::default())
    }

    fn announce_decommission(&mut self, id: &RegionId, at: Wall, stamp: &Stamp<'_>) -> Applied {
        let now = stamp.envelope.at;
        if at.ms_since(now) > Decommission::FARTHEST_MS {
            return Err(Refusal::new(Code::BadValue, "a decommission is due within ten years")
                .because(format!("it would be at {}; it is {}", at.utc(), now.utc())));
        }
        let region = self.open_region(id)?;
        if region.decommission.as_ref().is_some_and(|announced| announced.at == at) {
            return Ok(Receipt::default());
        }
        let decommission = Decommission {
            at,
            by: stamp.envelope.by.clone(),
            asked_at: now,
            reason: stamp.envelope.reason.clone(),
            said: Reminder::Announced,
        };
        let before = region.decommission.replace(decommission);
        region.revision = stamp.revision;
        let before = before.map_or("none".to_string(), |before| before.at.utc());
        let text = format!("region {id} is to be decommissioned at {}{}", at.utc(), stamp.because());
        let event = stamp.event(Severity::Warning, "region.decommission_announced", id, text);
        self.ledger.note(event.changing(before, at.utc()));
        Ok(Receipt::default())
    }

    fn cancel_decommission(&mut self, id: &RegionId, stamp: &Stamp<'_>) -> Applied {
        let region = self.open_region(id)?;
        if let Some(before) = region.decommission.take() {
            region.revision = stamp.revision;
            let text = format!("region {id} is not decommissioned{}", stamp.because());
            let event = stamp.event(Severity::Info, "region.decommission_cancelled", id, text);
            self.ledger.note(event.changing(before.at.utc(), "none"));
        }
        Ok(Receipt::default())
    }

    /// What was told, once: what was told already, or is not due, changes nothing.
    fn note_decommission(&mut self, id: &RegionId, reminder: Reminder, stamp: &Stamp<'_>) -> Applied {
        let region = self.regions.get_mut(id).ok_or_else(|| unknown_region(id))?;
        let Some(announced) = region.decommission.as_mut() else { return Ok(Receipt::default()) };
        if announced.due(stamp.envelope.at) != Some(reminder) {
            return Ok(Receipt::default());
        }
        announced.said = reminder;
        let at = announced.at.utc();
        let (kind, text) = match reminder {
            Reminder::Announced | Reminder::Month => (
                "region.decommission_in_30_days",
                format!("region {id} is decommissioned in 30 days, at {at}"),
            ),
            Reminder::Week => {
                ("region.decommission_in_7_days", format!("region {id} is decommissioned in 7 days, at {at}"))
            }
            Reminder::Day => (
                "region.decommission_in_1_day",
                format!("region {id} is decommissioned in 24 hours, at {at}"),
            ),
            Reminder::Due => {
                ("region.decommission_due", format!("the decommission of region {id} is due, since {at}"))
            }
        };
        self.ledger.note(stamp.event(Severity::Warning, kind, id, text));
        Ok(Receipt::default())
    }
}
