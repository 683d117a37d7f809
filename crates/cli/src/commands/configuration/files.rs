//! The configuration of a federation as YAML files, one a thing, and back.

use dwcp_api::settings::{Settings, WindowSet};
use dwcp_config::tree::read_as;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::archive::Files;
use crate::show::yaml_text;

/// The form of the files; a later one is refused.
const FORMAT: u64 = 1;
/// The file that names all others.
const FIRST: &str = "federation.yaml";

/// Every setting in its file, keys and names in order.
pub fn write(settings: &Settings) -> Files {
    let mut files = Files::new();
    let mut put = |name: String, value: Value| {
        files.insert(name, yaml_text(&value));
    };
    for region in &settings.regions {
        put(file("regions", &[&region.region]), whole(region));
    }
    for host in &settings.hosts {
        put(file("hosts", &[&host.region, &host.host]), whole(host));
    }
    for image in &settings.images {
        put(file("images", &[&image.image]), whole(image));
    }
    for vm in &settings.protections {
        put(file("protections", &[&vm.vm]), whole(vm));
    }
    for (number, window) in settings.windows.iter().enumerate() {
        let mut name = format!("{}-{}-{}", window.starts_at_ms, window.ends_at_ms, window.region);
        if let Some(host) = &window.host {
            // Another region may have a host of that name.
            name.push_str(&format!("-{host}"));
        }
        // Two for the same time differ in their reasons.
        let before = settings.windows[..number].iter().filter(|other| same_time(other, window)).count();
        if before > 0 {
            name.push_str(&format!("-{}", before + 1));
        }
        let mut value = whole(window);
        // One that is planned again has another number.
        value.as_object_mut().map(|fields| fields.remove("window"));
        put(file("windows", &[&name]), value);
    }
    put("policies.yaml".to_owned(), whole(&settings.policies));
    put("controller.yaml".to_owned(), whole(&settings.controller));
    if let Some(replication) = &settings.replication {
        put("replication.yaml".to_owned(), whole(replication));
    }
    if let Some(backups) = &settings.backups {
        put("backups.yaml".to_owned(), whole(backups));
    }
    let names: Vec<&String> = files.keys().collect();
    let first = json!({ "federation": settings.federation, "format": FORMAT, "freeze": settings.freeze,
        "files": names });
    files.insert(FIRST.to_owned(), yaml_text(&first));
    files
}

/// Two windows of one subject at one time.
fn same_time(a: &WindowSet, b: &WindowSet) -> bool {
    let of = |window: &WindowSet| {
        (window.region.clone(), window.host.clone(), window.starts_at_ms, window.ends_at_ms)
    };
    of(a) == of(b)
}

fn whole<T: Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

/// `folder/name.yaml`; what could mean something in a path is written as its number.
fn file(folder: &str, names: &[&str]) -> String {
    let mut path = folder.to_owned();
    for name in names {
        path.push('/');
        for c in name.chars() {
            match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => path.push(c),
                '.' if !path.ends_with('/') => path.push(c),
                other => path.push_str(&format!("%{:X}", u32::from(other))),
            }
        }
    }
    path + ".yaml"
}

/// What the files say; or which file is wrong, where, and why.
pub fn read(files: &Files) -> Result<Settings, String> {
    let first: Value = match files.get(FIRST) {
        Some(text) => read_as(text).map_err(|found| format!("{FIRST}: {found}"))?,
        None => return Err(format!("{FIRST} is not in it: it is no backup of a configuration")),
    };
    match first["format"].as_u64() {
        Some(FORMAT) => {}
        Some(later) if later > FORMAT => {
            return Err(format!(
                "it has format {later}, which a later version wrote; this one reads up to {FORMAT}"
            ));
        }
        _ => return Err(format!("{FIRST}: format: a whole number from 1 is needed")),
    }
    let names: Vec<String> = part(&first, "files")?;
    if let Some(missing) = names.iter().find(|name| !files.contains_key(*name)) {
        return Err(format!("{missing} is named in {FIRST} and is not there"));
    }
    if let Some(other) = files.keys().find(|name| *name != FIRST && !names.contains(name)) {
        return Err(format!("{other} is there and not named in {FIRST}"));
    }
    let backups = files.contains_key("backups.yaml").then(|| one(files, "backups.yaml")).transpose()?;
    let replication =
        files.contains_key("replication.yaml").then(|| one(files, "replication.yaml")).transpose()?;
    let settings = Settings {
        federation: part(&first, "federation")?,
        freeze: part(&first, "freeze")?,
        regions: all(files, "regions/")?,
        hosts: all(files, "hosts/")?,
        images: all(files, "images/")?,
        windows: all(files, "windows/")?,
        protections: all(files, "protections/")?,
        policies: one(files, "policies.yaml")?,
        controller: one(files, "controller.yaml")?,
        backups,
        replication,
        as_of: Vec::new(),
    };
    // Under another name than its own, a file would say one thing and mean another; and so would a file of no kind.
    match files.keys().find(|name| !write(&settings).contains_key(*name)) {
        Some(other) => Err(format!("{other} is not the file of what stands in it")),
        None => Ok(settings),
    }
}

fn part<T: DeserializeOwned>(first: &Value, name: &str) -> Result<T, String> {
    serde_json::from_value(first[name].clone()).map_err(|error| format!("{FIRST}: {name}: {error}"))
}

fn all<T: DeserializeOwned + Serialize>(files: &Files, folder: &str) -> Result<Vec<T>, String> {
    files.keys().filter(|name| name.starts_with(folder)).map(|name| one(files, name)).collect()
}

fn one<T: DeserializeOwned + Serialize>(files: &Files, name: &str) -> Result<T, String> {
    let text = files.get(name).ok_or_else(|| format!("{name} is not there"))?;
    let found: T = read_as(text).map_err(|found| format!("{name}: {found}"))?;
    let typed: Value = read_as(text).map_err(|found| format!("{name}: {found}"))?;
    match unknown(&typed, &whole(&found)) {
        Some(key) => Err(format!("{name}: '{key}' is no setting")),
        None => Ok(found),
    }
}

/// A key that was typed and not read.
fn unknown(typed: &Value, read: &Value) -> Option<String> {
    match (typed, read) {
        (Value::Object(typed), Value::Object(read)) => typed.iter().find_map(|(key, value)| {
            let Some(known) = read.get(key) else { return Some(key.clone()) };
            unknown(value, known).map(|inner| format!("{key}.{inner}"))
        }),
        _ => None,
    }
}
