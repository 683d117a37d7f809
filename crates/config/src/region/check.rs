//! Single values of `dwcpd.yaml`, and what must hold between them.

use std::net::SocketAddr;

use super::RegionConfig;
use crate::Fields;

/// Most voters a group may have.
pub const MOST_VOTERS: usize = 5;

pub fn region_number(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if (1..=10_000).contains(&number) => Ok(number),
        _ => Err(format!("'{text}' is not a region number from 1 to 10000")),
    }
}

pub fn socket(text: &str) -> Result<String, String> {
    match text.parse::<SocketAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("'{text}' is not an address such as 127.77.1.1:7443")),
    }
}

pub fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("not a SHA-256 in hex: 64 hexadecimal digits are needed".to_owned())
}

pub fn price(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(price) if (0.0..1_000_000.0).contains(&price) => Ok(price),
        _ => Err(format!("'{text}' is not a price in US dollars")),
    }
}

/// What must hold between the settings.
pub fn relations(config: &RegionConfig, fields: &Fields<'_>) {
    peers(config, fields);
    voters(config, fields);
    if config.wan.is_some() && !config.dev {
        fields.complain("wan", "links are emulated only with 'dev: true'");
    }
    for key in &config.upgrade_keys {
        if sha256(key).is_err() {
            fields.complain("upgrade", format!("'{key}' is no public key: 64 hexadecimal digits are needed"));
        }
    }
    let timing = &config.timing;
    if timing.loss_after_ms < 4 * timing.beat_ms {
        fields.complain("timing", "'loss_after' must be at least four times 'beat'");
    }
    if timing.election_ms < 4 * timing.tick_ms {
        fields.complain("timing", "'election' must be at least four times 'tick'");
    }
    for name in config.genesis.keys().filter(|name| !name.is_empty()) {
        if !config.peers.iter().any(|peer| peer.region == *name) {
            fields.complain("genesis", format!("region '{name}' is not among the peers"));
        }
    }
}

fn peers(config: &RegionConfig, fields: &Fields<'_>) {
    match config.own_peer() {
        None if config.peers.is_empty() => fields.complain("peers", "at least this region itself is needed"),
        None if !config.region.is_empty() => {
            fields.complain("peers", format!("this region, '{}', is not among the peers", config.region));
        }
        Some(own) if own.number != config.number => fields.complain(
            "number",
            format!(
                "'{}' has number {} here and {} among the peers",
                config.region, config.number, own.number
            ),
        ),
        _ => {}
    }
    for (index, peer) in config.peers.iter().enumerate() {
        for other in &config.peers[..index] {
            if other.region == peer.region {
                fields.complain("peers", format!("region '{}' stands there twice", peer.region));
            } else if other.number == peer.number {
                let (a, b) = (&other.region, &peer.region);
                fields.complain("peers", format!("'{a}' and '{b}' have the same number {}", peer.number));
            }
        }
    }
}

fn voters(config: &RegionConfig, fields: &Fields<'_>) {
    if config.joins {
        if !config.voters.is_empty() {
            fields.complain("voters", "with 'joins: true' the federation says who votes");
        }
    } else if config.voters.is_empty() {
        fields.complain("voters", "at least one voter is needed");
    }
    if config.voters.len() > MOST_VOTERS {
        let count = config.voters.len();
        fields.complain(
            "voters",
            format!("{count} voters; at most {MOST_VOTERS} make sense, the others learn"),
        );
    }
    for (index, voter) in config.voters.iter().enumerate() {
        if !config.peers.iter().any(|peer| peer.region == *voter) {
            fields.complain("voters", format!("'{voter}' is not among the peers"));
        }
        if config.voters[..index].contains(voter) {
            fields.complain("voters", format!("'{voter}' stands there twice"));
        }
    }
}
