//! The settings of a region, for `dwcp-cli federation region configure`: what its operators say of it. What is not there stays
//! as it is.

use std::collections::BTreeSet;

use crate::{Complaints, Fields, reader};

/// What a region is like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionSettings {
    /// Its name.
    pub region: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Its data centres.
    pub zones: Option<Vec<String>>,
    /// Latitude and longitude, degrees; north and east are above 0.
    pub coordinates: Option<(f64, f64)>,
    /// VMs that it may hold, whatever its hosts have room for; 0: as many as fit.
    pub max_vms: Option<u64>,
    /// Preferred in placement, 0 to 100.
    pub priority: Option<u8>,
    /// Tags it carries: `gdpr`, `hipaa`, …
    pub compliance: Option<Vec<String>>,
    /// Whose law it is under: `eu`, `us`, …
    pub jurisdiction: Option<String>,
    /// What it costs.
    pub prices: Option<Prices>,
}

/// US dollars an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// One virtual CPU.
    pub vcpu: f64,
    /// One GiB of memory.
    pub memory_gib: f64,
    /// One GiB of disk.
    pub disk_gib: f64,
}

impl RegionSettings {
    /// Most characters of a name, a zone or a tag.
    pub const LONGEST: usize = 80;
    /// Most zones, and most tags.
    pub const MOST: usize = 64;

    /// Reads the file's text; `region` is the region that it is meant for, where that is known.
    pub fn parse(text: &str, region: Option<&str>) -> Result<RegionSettings, Complaints> {
        reader::read(text, |fields| {
            let settings = settings(fields);
            if let Some(meant) =
                region.filter(|meant| !settings.region.is_empty() && settings.region != **meant)
            {
                fields.complain("region", format!("the file is of '{}', not of '{meant}'", settings.region));
            }
            settings
        })
    }
}

fn line(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > RegionSettings::LONGEST || text.chars().any(char::is_control) {
        return Err(format!("must be one line of 1 to {} characters", RegionSettings::LONGEST));
    }
    Ok(text.to_owned())
}

fn degrees(most: f64) -> impl FnOnce(&str) -> Result<f64, String> {
    move |text| match text.parse::<f64>() {
        Ok(value) if (-most..=most).contains(&value) => Ok(value),
        _ => Err(format!("'{text}' is not from -{most} to {most} degrees")),
    }
}

fn price(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(price) if (0.0..1_000_000.0).contains(&price) => Ok(price),
        _ => Err(format!("'{text}' is not a price in US dollars")),
    }
}

/// A list without repetitions; none when the key is not there.
fn list(fields: &mut Fields<'_>, name: &'static str) -> Option<Vec<String>> {
    if !fields.has(name) {
        return None;
    }
    let items = fields.texts(name);
    let mut seen = BTreeSet::new();
    for item in &items {
        if let Err(why) = line(item) {
            fields.complain(name, format!("an entry {why}"));
        }
        if !seen.insert(item) {
            fields.complain(name, format!("'{item}' stands there twice"));
        }
    }
    if items.len() > RegionSettings::MOST {
        fields.complain(name, format!("{} entries; at most {} are kept", items.len(), RegionSettings::MOST));
    }
    Some(items)
}

fn settings(fields: &mut Fields<'_>) -> RegionSettings {
    RegionSettings {
        region: fields.text("region"),
        display_name: fields.optional("display_name", line),
        zones: list(fields, "zones"),
        coordinates: fields.map("coordinates", |f| {
            (f.required("latitude", degrees(90.0)), f.required("longitude", degrees(180.0)))
        }),
        max_vms: fields.optional("max_vms", |text| {
            text.parse().map_err(|_| format!("'{text}' is not a whole number; 0: as many as fit"))
        }),
        priority: fields.optional("priority", |text| match text.parse::<u8>() {
            Ok(priority) if priority <= 100 => Ok(priority),
            _ => Err(format!("'{text}' is not a whole number from 0 to 100")),
        }),
        compliance: list(fields, "compliance"),
        jurisdiction: fields.optional("jurisdiction", line),
        prices: fields.map("prices", |f| Prices {
            vcpu: f.required("vcpu_usd_hour", price),
            memory_gib: f.required("memory_gib_usd_hour", price),
            disk_gib: f.required("disk_gib_usd_hour", price),
        }),
    }
}
