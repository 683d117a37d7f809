//! The zone: what there is under its name beside the services.

use std::net::IpAddr;

use super::DnsConfig;
use super::write::Ending;

/// Seconds that the servers' names and addresses, and the zone's own record, stay as they are.
pub const SERVERS_TTL_S: u32 = 3_600;
const REFRESH_S: u32 = 7_200;
const RETRY_S: u32 = 900;
const EXPIRE_S: u32 = 1_209_600;

/// A name as it is written in answers.
#[derive(Clone, Debug)]
pub struct Name {
    /// Its labels up to the zone, or all of them but the root.
    pub labels: Vec<u8>,
    pub in_zone: bool,
}

/// A server of the zone.
#[derive(Debug)]
pub struct Server {
    /// Lower case, without the final dot.
    name: String,
    pub written: Name,
    pub addresses: Vec<IpAddr>,
}

/// The zone.
#[derive(Debug)]
pub struct Zone {
    /// Lower case, without the final dot.
    name: String,
    /// Bytes of its name in a message.
    pub length: usize,
    pub servers: Vec<Server>,
    contact: Name,
}

/// What a name is, before the services are asked.
#[derive(Debug)]
pub enum Place<'a> {
    Outside,
    Zone,
    Server(&'a Server),
    /// Names of servers are below it.
    AboveServer,
    Inside,
}

impl Zone {
    /// # Errors
    /// A name is none.
    pub fn of(config: &DnsConfig) -> Result<Zone, String> {
        let name = plain(&config.zone)?;
        let length = labels(&name).len() + 1;
        let mut servers = Vec::new();
        for (server, addresses) in &config.ns {
            let server = plain(server)?;
            let written = written(&server, &name);
            servers.push(Server { name: server, written, addresses: addresses.clone() });
        }
        if servers.is_empty() {
            let server = if name.is_empty() { "ns1".to_owned() } else { format!("ns1.{name}") };
            let written = written(&server, &name);
            servers.push(Server { name: server, written, addresses: vec![config.this_router] });
        }
        let contact = plain(&config.contact.replacen('@', ".", 1))?;
        Ok(Zone { contact: written(&contact, &name), name, length, servers })
    }

    /// Its name as bytes.
    pub fn written(&self) -> Vec<u8> {
        [labels(&self.name), vec![0]].concat()
    }

    /// What a name is (lower case, without the final dot).
    pub fn place(&self, name: &str) -> Place<'_> {
        if name == self.name {
            return Place::Zone;
        }
        let below =
            name.strip_suffix(&self.name).is_some_and(|rest| self.name.is_empty() || rest.ends_with('.'));
        if !below {
            return Place::Outside;
        }
        if let Some(server) = self.servers.iter().find(|server| server.name == name) {
            return Place::Server(server);
        }
        let above = |server: &Server| server.name.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        if self.servers.iter().any(above) { Place::AboveServer } else { Place::Inside }
    }

    /// The data of the zone's own record.
    pub fn write_soa(&self, out: &mut Vec<u8>, zone: Ending<'_>, serial: u32, not_there_ttl_s: u32) {
        if let Some(first) = self.servers.first() {
            super::write::name(out, &first.written, zone);
        }
        super::write::name(out, &self.contact, zone);
        for number in [serial, REFRESH_S, RETRY_S, EXPIRE_S, not_there_ttl_s] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// A name in lower case without the final dot.
fn plain(name: &str) -> Result<String, String> {
    let wrong = |reason: String| format!("{name:?} is no name of DNS: {reason}");
    let parsed = hickory_proto::rr::Name::from_ascii(name).map_err(|e| wrong(e.to_string()))?;
    if parsed
        .iter()
        .any(|label| label.iter().any(|byte| !(byte.is_ascii_alphanumeric() || b"-_".contains(byte))))
    {
        return Err(wrong("a label has other characters than letters, digits, - and _".to_owned()));
    }
    Ok(parsed.to_lowercase().to_ascii().trim_end_matches('.').to_owned())
}

fn written(name: &str, zone: &str) -> Name {
    let own = if zone.is_empty() { None } else { name.strip_suffix(zone) };
    match own.filter(|own| own.is_empty() || own.ends_with('.')) {
        Some(own) => Name { labels: labels(own), in_zone: true },
        None => Name { labels: labels(name), in_zone: false },
    }
}

/// Labels of a checked name, without the root.
fn labels(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect()
}
