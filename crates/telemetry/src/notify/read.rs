//! `notifications.yaml` to settings.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_config::reader::{self, Fields};
use dwcp_config::spelling::nearest;
use dwcp_config::{Complaints, units};
use jiff::tz::TimeZone;

use crate::alerting::Conditions;
use crate::incidents::{Layer, Role, Schedule};
use crate::rules::Template;

use super::guard::{self, Network};
use super::templates::KNOWN;
use super::{
    Allowed, Email, Heartbeat, Kind, Person, Receiver, Route, Secret, Security, Settings, Templates, Wording,
    email, pagerduty,
};

const DAY_MS: u64 = 86_400_000;
/// How often a beat may be wanted, ms, and how often it is when nothing is said.
const BEATS_MS: std::ops::RangeInclusive<u64> = 10_000..=3_600_000;
const BEAT_MS: u64 = 60_000;

/// Reads the file. An empty one tells nobody anything.
///
/// # Errors
/// Everything that is wrong with it, each with line and column: YAML, unknown and missing keys, names that nothing has, URLs and addresses
/// that nothing may be sent to, templates, shifts.
pub fn read(text: &str) -> Result<Settings, Complaints> {
    reader::read(text, settings)
}

fn settings(fields: &mut Fields<'_>) -> Settings {
    let allowed = networks(fields);
    let (receivers, receiver_names) = receivers(fields, &allowed);
    let (people, people_names) = people(fields, &receiver_names);
    let routes = routes(fields, &receiver_names);
    let escalation = escalation(fields, &people_names);
    let layers = layers(fields, &people_names);
    let heartbeats = heartbeats(fields, &allowed);
    let templates = templates(fields);
    let zone = fields.optional("business_zone", |text| {
        TimeZone::get(text).map(|_| text.to_owned()).map_err(|_| format!("'{text}' is not a time zone"))
    });
    let console_url = fields.optional("console_url", |text| {
        guard::url(text)?;
        if text.contains('?') { Err("a base of links has no query".to_owned()) } else { Ok(text.to_owned()) }
    });
    Settings {
        receivers,
        routes,
        escalation,
        people,
        layers,
        heartbeats,
        business_zone: zone.unwrap_or_else(|| "UTC".to_owned()),
        templates,
        allowed,
        console_url: console_url.map(|url| url.trim_end_matches('/').to_owned()),
    }
}

fn networks(fields: &mut Fields<'_>) -> Allowed {
    let mut networks = Vec::new();
    for text in fields.texts("allow_private_addresses") {
        match Network::parse(&text) {
            Ok(network) => networks.push(network),
            Err(why) => fields.complain("allow_private_addresses", why),
        }
    }
    Allowed(networks)
}

/// A name that stands in keys and on lines: letters, digits, `-`, `_` and `.`.
fn name(fields: &mut Fields<'_>) -> String {
    fields.required("name", |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(text.to_owned())
        } else {
            Err("a name has up to 64 letters, digits, '-', '_' and '.'".to_owned())
        }
    })
}

/// Things by their names, each name once, and the names of all of them: also of those with which something is wrong.
fn named<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    mut read: impl FnMut(&mut Fields<'_>) -> Option<T>,
) -> (BTreeMap<String, T>, BTreeSet<String>) {
    let (mut found, mut names) = (BTreeMap::new(), BTreeSet::new());
    fields.maps(key, |fields| {
        let name = name(fields);
        let thing = read(fields);
        if !names.insert(name.clone()) {
            fields.complain("name", format!("'{name}' is there already"));
        }
        found.extend(thing.map(|thing| (name, thing)));
    });
    (found, names)
}

fn receivers(fields: &mut Fields<'_>, allowed: &Allowed) -> (BTreeMap<String, Receiver>, BTreeSet<String>) {
    named(fields, "receivers", |fields| {
        let kinds = [
            fields.map("pagerduty", |fields| pagerduty(fields, allowed)).flatten(),
            fields.map("slack", |fields| slack(fields, allowed)).flatten(),
            fields.map("webhook", |fields| webhook(fields, allowed)).flatten(),
            fields.map("email", |fields| mail(fields, allowed)),
            fields.flag("status_page", false).then_some(Kind::StatusPage),
            fields.map("alertmanager", |fields| alertmanager(fields, allowed)),
        ];
        const KINDS: [&str; 6] = ["pagerduty", "slack", "webhook", "email", "status_page", "alertmanager"];
        let given = KINDS.iter().filter(|kind| fields.has(kind)).count();
        if given != 1 {
            fields.complain("name", format!("a receiver has one of {}, not {given}", KINDS.join(", ")));
        }
        let ca_file = fields.optional("ca_file", absolute);
        let kind = kinds.into_iter().flatten().next()?;
        Some(Receiver { kind, ca_file })
    })
}

fn absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("an absolute path is needed".to_owned()) }
}

/// `name`, or `name_file`. Two keys, as one of them may be read by everyone who may read settings.
fn secret(
    fields: &mut Fields<'_>,
    key: &'static str,
    file: &'static str,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Option<Secret> {
    let given = fields.optional(key, |text| {
        if text.trim().is_empty() {
            return Err("must not be empty".to_owned());
        }
        check(text).map(|()| Secret::Text(text.to_owned()))
    });
    let in_file = fields.optional(file, |text| absolute(text).map(Secret::File));
    if fields.has(key) && fields.has(file) {
        fields.complain(file, format!("'{key}' or '{file}', not both"));
    }
    given.or(in_file)
}

fn needed(fields: &Fields<'_>, key: &'static str, file: &'static str) {
    if !fields.has(key) && !fields.has(file) {
        fields.complain(key, format!("'{key}' or '{file}' is missing"));
    }
}

fn url(text: &str, allowed: &Allowed) -> Result<(), String> {
    guard::url(text).and_then(|url| allowed.check_literal(&url.host))
}

fn pagerduty(fields: &mut Fields<'_>, allowed: &Allowed) -> Option<Kind> {
    let routing_key = secret(fields, "routing_key", "routing_key_file", |text| {
        let is_key = text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_key { Ok(()) } else { Err("an integration key has 32 letters and digits".to_owned()) }
    });
    needed(fields, "routing_key", "routing_key_file");
    let url = fields.optional("url", |text| url(text, allowed).map(|()| text.to_owned()));
    Some(Kind::PagerDuty { routing_key: routing_key?, url: url.unwrap_or_else(|| pagerduty::URL.to_owned()) })
}

fn slack(fields: &mut Fields<'_>, allowed: &Allowed) -> Option<Kind> {
    let url = secret(fields, "url", "url_file", |text| url(text, allowed));
    needed(fields, "url", "url_file");
    let channel = fields.optional("channel", |text| {
        let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '#' | '@' | '-' | '_' | '.'));
        if plain && (1..=80).contains(&text.chars().count()) {
            Ok(text.to_owned())
        } else {
            Err("a channel such as '#incidents' is needed".to_owned())
        }
    });
    Some(Kind::Slack { url: url?, channel })
}

fn webhook(fields: &mut Fields<'_>, allowed: &Allowed) -> Option<Kind> {
    let url = secret(fields, "url", "url_file", |text| url(text, allowed));
    needed(fields, "url", "url_file");
    let secret = secret(fields, "secret", "secret_file", |_| Ok(()));
    Some(Kind::Webhook { url: url?, secret })
}

fn mail(fields: &mut Fields<'_>, allowed: &Allowed) -> Kind {
    let host = fields.required("host", |text| {
        guard::host_name(text)?;
        allowed.check_literal(text).map(|()| text.to_owned())
    });
    let security = fields.optional("security", |text| match text {
        "starttls" => Ok(Security::StartTls),
        "tls" => Ok(Security::Tls),
        "none" => Ok(Security::None),
        other => Err(format!("'{other}' is none of starttls, tls, none")),
    });
    let security = security.unwrap_or(Security::StartTls);
    let port = match security {
        Security::StartTls => 587,
        Security::Tls => 465,
        Security::None => 25,
    };
    let port = fields.number("port", 1..=65_535, port);
    let user = fields.optional_text("user");
    let password = secret(fields, "password", "password_file", |_| Ok(()));
    if user.is_some() != password.is_some() {
        fields.complain("user", "a user needs a password, and a password a user");
    }
    if user.is_some() && security == Security::None {
        fields.complain("user", "a password is not sent without TLS: security is starttls or tls");
    }
    let checked = |text: &str| email::address(text).map(|()| text.to_owned());
    let from = fields.required("from", checked);
    let to = fields.texts("to");
    if to.is_empty() {
        fields.complain("to", "'to' needs an address");
    }
    for why in to.iter().filter_map(|address| email::address(address).err()) {
        fields.complain("to", why);
    }
    let port = u16::try_from(port).unwrap_or(25);
    Kind::Email(Email { host, port, security, user, password, from, to })
}

fn alertmanager(fields: &mut Fields<'_>, allowed: &Allowed) -> Kind {
    let urls = fields.texts("urls");
    if urls.is_empty() {
        fields.complain("urls", "'urls' needs a URL");
    }
    for text in &urls {
        if let Err(why) = url(text, allowed) {
            fields.complain("urls", why);
        }
    }
    Kind::Alertmanager { urls: urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect() }
}

/// Complains about names that nothing has.
fn check_known(fields: &Fields<'_>, key: &str, names: &[String], kind: &str, known: &BTreeSet<String>) {
    for name in names.iter().filter(|name| !known.contains(*name)) {
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(word) => format!("; did you mean '{word}'?"),
            None => String::new(),
        };
        fields.complain(key, format!("there is no {kind} '{name}'{hint}"));
    }
}

fn people(
    fields: &mut Fields<'_>,
    receivers: &BTreeSet<String>,
) -> (BTreeMap<String, Person>, BTreeSet<String>) {
    let (mut people, names) = named(fields, "people", |fields| {
        let email = fields.optional("email", |text| email::address(text).map(|()| text.to_owned()));
        let slack = fields.optional("slack", |text| {
            let is_id = (2..=32).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            if is_id { Ok(text.to_owned()) } else { Err("the id of a member such as U012AB3CD".to_owned()) }
        });
        let own = fields.texts("receivers");
        check_known(fields, "receivers", &own, "receiver", receivers);
        Some(Person { name: String::new(), email, slack, receivers: own })
    });
    for (name, person) in &mut people {
        person.name.clone_from(name);
    }
    (people, names)
}

fn routes(fields: &mut Fields<'_>, receivers: &BTreeSet<String>) -> Vec<Route> {
    let mut names: Vec<String> = Vec::new();
    fields.maps("routes", |fields| {
        let name = name(fields);
        if names.contains(&name) {
            fields.complain("name", format!("'{name}' is there already"));
        }
        names.push(name.clone());
        let conditions = fields.optional("match", str::parse::<Conditions>);
        let told = fields.texts("receivers");
        if !fields.has("receivers") {
            fields.complain("receivers", "'receivers' is missing; [] tells nobody");
        }
        check_known(fields, "receivers", &told, "receiver", receivers);
        Route { name, conditions: conditions.unwrap_or_default(), receivers: told }
    })
}

fn role(text: &str) -> Role {
    match text {
        "primary" => Role::Primary,
        "secondary" => Role::Secondary,
        person => Role::Person(person.to_owned()),
    }
}

fn escalation(fields: &mut Fields<'_>, people: &BTreeSet<String>) -> Vec<Role> {
    let steps = fields.texts("escalation");
    let roles: Vec<Role> = steps.iter().map(|step| role(step)).collect();
    let persons: Vec<String> =
        steps.iter().filter(|step| matches!(role(step), Role::Person(_))).cloned().collect();
    check_known(fields, "escalation", &persons, "role or person", people);
    if roles.is_empty() { vec![Role::Primary, Role::Secondary] } else { roles }
}

fn layers(fields: &mut Fields<'_>, people: &BTreeSet<String>) -> Vec<Layer> {
    fields.maps("on_call", |fields| {
        let role = role(&fields.text("role"));
        let rotation = fields.texts("people");
        check_known(fields, "people", &rotation, "person", people);
        let shift_ms = fields.optional("shift", |text| match units::duration_ms(text)? {
            ms if ms % DAY_MS == 0 && (DAY_MS..=366 * DAY_MS).contains(&ms) => Ok(ms),
            _ => Err(format!("'{text}' is not whole days from 1d to 366d")),
        });
        let hours = fields.texts("hours");
        let zone = fields.optional_text("zone").unwrap_or_else(|| "UTC".to_owned());
        let start = fields.text("start");
        let layer = Layer {
            role,
            people: rotation,
            zone,
            start,
            shift_days: u32::try_from(shift_ms.unwrap_or(7 * DAY_MS) / DAY_MS).unwrap_or(7),
            hours: <[String; 2]>::try_from(hours.clone()).ok(),
        };
        if !hours.is_empty() && layer.hours.is_none() {
            fields.complain("hours", "two times of the day are needed: ['08:00', '16:00']");
        }
        if !layer.start.is_empty() {
            if let Err(wrong) = Schedule::new(std::slice::from_ref(&layer), &[]) {
                for why in wrong {
                    fields.complain("role", why.trim_start_matches("layers[0]: "));
                }
            }
        }
        layer
    })
}

fn heartbeats(fields: &mut Fields<'_>, allowed: &Allowed) -> Vec<Heartbeat> {
    let (found, _) = named(fields, "heartbeats", |fields| {
        let url = secret(fields, "url", "url_file", |text| url(text, allowed));
        needed(fields, "url", "url_file");
        let every_ms = fields.optional("every", |text| match units::duration_ms(text)? {
            ms if BEATS_MS.contains(&ms) => Ok(ms),
            _ => Err(format!("'{text}' is not from 10s to 1h")),
        });
        let ca_file = fields.optional("ca_file", absolute);
        let every_ms = every_ms.unwrap_or(BEAT_MS);
        Some(Heartbeat { name: String::new(), url: url?, every_ms, ca_file })
    });
    found.into_iter().map(|(name, heartbeat)| Heartbeat { name, ..heartbeat }).collect()
}

fn templates(fields: &mut Fields<'_>) -> Templates {
    let (own, _) = named(fields, "templates", |fields| {
        let title = fields.required("title", template);
        let text = fields.required("text", template);
        Some(Wording { title: title?, text: text? })
    });
    Templates(own)
}

fn template(text: &str) -> Result<Option<Template>, String> {
    let read = Template::parse(text);
    let read = read.map_err(|error| format!("character {}: {}", error.offset + 1, error.message))?;
    for (_, rest) in text.match_indices("$labels.").map(|(at, found)| text.split_at(at + found.len())) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        if !KNOWN.contains(&name) {
            let known = match nearest(name, KNOWN) {
                Some(word) => format!("did you mean '{word}'?"),
                None => format!("known here: {}", KNOWN.join(", ")),
            };
            return Err(format!("$labels has no '{name}'; {known}"));
        }
    }
    Ok(Some(read))
}
