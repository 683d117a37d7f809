//! The regions' nodes: as the settings name them, and as the federation has named them since.
//!
//! What the federation says goes before the settings and is kept on disk. What the settings name besides stays at the end:
//! a list that has grown old must not cut a host off.

use std::path::Path;

use dwcp_mesh::Peer;
use dwcp_roles::protocol::Endpoint;
use dwcp_types::{decode, encode};
use serde_json::json;

use super::memory;
use crate::host_config::{HostConfig, RegionEndpoint};
use crate::journal;

const NODES_FILE: &str = "nodes";

/// The regions' nodes, best first.
pub(super) struct Nodes {
    own: String,
    configured: Vec<RegionEndpoint>,
    learned: Vec<RegionEndpoint>,
}

impl Nodes {
    /// As of the settings and of what was learned before this start.
    pub(super) fn load(config: &HostConfig) -> Nodes {
        let learned = match std::fs::read(config.data_dir.join(NODES_FILE)) {
            Ok(bytes) => decode::<Vec<Endpoint>>(&bytes).map_err(|e| e.to_string()).unwrap_or_else(|error| {
                journal::warn("nodes-not-read", json!({"error": error, "next": "as the settings name them"}));
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        let mut nodes =
            Nodes { own: config.region.clone(), configured: config.regions.clone(), learned: Vec::new() };
        nodes.learn(&learned);
        nodes
    }

    /// Takes what the federation says; true when that changes anything.
    pub(super) fn learn(&mut self, said: &[Endpoint]) -> bool {
        let (learned, wrong) = read(said);
        for entry in wrong {
            journal::warn("node-not-understood", json!({"entry": entry, "next": "it is passed over"}));
        }
        if learned.is_empty() || learned == self.learned {
            return false;
        }
        self.learned = learned;
        true
    }

    /// Every node, best first.
    pub(super) fn all(&self) -> Vec<RegionEndpoint> {
        in_order(&self.own, &self.configured, &self.learned)
    }

    /// Their mesh, by region, best first.
    pub(super) fn mesh(&self) -> Vec<Peer> {
        let peer = |node: RegionEndpoint| Peer { node: node.node, region: node.region, address: node.mesh };
        self.all().into_iter().map(peer).collect()
    }
}

/// Keeps the list for the next start. Without it that one begins with the settings.
pub(super) fn save(data: &Path, said: &[Endpoint]) {
    if let Err(error) = memory::replace(&data.join(NODES_FILE), &encode(&said.to_vec())) {
        journal::warn("nodes-not-kept", json!({"error": error}));
    }
}

/// The entries that can be used, and those that can't.
fn read(said: &[Endpoint]) -> (Vec<RegionEndpoint>, Vec<String>) {
    let (mut nodes, mut wrong): (Vec<RegionEndpoint>, _) = (Vec::new(), Vec::new());
    for entry in said {
        let api = entry.api.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        let api = api.and_then(|address| address.parse().ok());
        let twice = nodes.iter().any(|node| node.region == entry.region.as_str() || node.node == entry.node);
        match (entry.mesh.parse(), api) {
            (Ok(mesh), Some(api)) if entry.node > 0 && !entry.region.as_str().is_empty() && !twice => {
                let region = entry.region.as_str().to_owned();
                nodes.push(RegionEndpoint { region, node: entry.node, mesh, api });
            }
            _ => wrong.push(format!("{entry:?}")),
        }
    }
    (nodes, wrong)
}

/// The order in which nodes are tried: the own region's first, then as configured, then those that came since by number, and
/// last what is configured and not known to the federation.
pub(super) fn in_order(
    own: &str,
    configured: &[RegionEndpoint],
    learned: &[RegionEndpoint],
) -> Vec<RegionEndpoint> {
    let place = |node: &RegionEndpoint| {
        let at = configured.iter().position(|known| known.region == node.region);
        (node.region != own, at.unwrap_or(usize::MAX), node.node)
    };
    let mut first = learned.to_vec();
    first.sort_by_key(place);
    let rest = configured.iter().filter(|node| !learned.iter().any(|known| known.region == node.region));
    let mut rest: Vec<RegionEndpoint> = rest.cloned().collect();
    rest.sort_by_key(place);
    first.extend(rest);
    first
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn node(number: u64) -> RegionEndpoint {
        let address = SocketAddr::from(([127, 77, number as u8, 1], 7443));
        RegionEndpoint { region: format!("r{number}"), node: number, mesh: address, api: address }
    }

    fn said(number: u64) -> Endpoint {
        let address = format!("127.77.{number}.1:7443");
        Endpoint {
            node: number,
            region: format!("r{number}").as_str().into(),
            mesh: address.clone(),
            api: format!("https://{address}"),
        }
    }

    fn numbers(nodes: &[RegionEndpoint]) -> Vec<u64> {
        nodes.iter().map(|node| node.node).collect()
    }

    #[test]
    fn the_own_region_comes_first_then_as_configured_then_by_number() {
        let configured = [node(3), node(1), node(2)];
        assert_eq!(numbers(&in_order("r2", &configured, &[])), [2, 3, 1]);
        let learned = [node(7), node(1), node(6), node(2)];
        assert_eq!(numbers(&in_order("r2", &configured, &learned)), [2, 1, 6, 7, 3]);
        assert_eq!(numbers(&in_order("r6", &configured, &learned)), [6, 1, 2, 7, 3]);
        assert_eq!(numbers(&in_order("r9", &configured, &learned)), [1, 2, 6, 7, 3], "not there yet");
    }

    #[test]
    fn a_node_that_moved_is_asked_where_it_is_now() {
        let moved = RegionEndpoint { mesh: SocketAddr::from(([10, 0, 0, 1], 1)), ..node(1) };
        assert_eq!(in_order("r1", &[node(1)], std::slice::from_ref(&moved)), [moved]);
    }

    #[test]
    fn entries_that_make_no_sense_are_passed_over() {
        let bad = [
            Endpoint { mesh: "nowhere".into(), ..said(2) },
            Endpoint { api: "127.77.3.1:7443".into(), ..said(3) },
            Endpoint { node: 0, ..said(4) },
            said(1),
        ];
        let all: Vec<Endpoint> = [said(1)].into_iter().chain(bad).chain([said(5)]).collect();
        let (nodes, wrong) = read(&all);
        assert_eq!((numbers(&nodes), wrong.len()), (vec![1, 5], 4));
        let mut nodes = Nodes { own: "r1".into(), configured: vec![node(1)], learned: nodes };
        assert!(!nodes.learn(&all[1..2]), "a list of nothing changes nothing");
        assert!(!nodes.learn(&[said(1), said(5)]));
        assert!(nodes.learn(&[said(1), said(6)]));
        assert_eq!(numbers(&nodes.all()), [1, 6]);
    }

    #[test]
    fn a_list_survives_a_restart_and_a_damaged_one_is_none() {
        let dir = std::env::temp_dir().join(format!("dwcp-nodes-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        let text = "federation: f\nregion: r1\nzone: a\nhost: h\ndata_dir: data\nvcpus: 1\nmemory_mib: 64\n\
                    regions: [{region: r1, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}]\n\
                    pki: {dir: pki, name: h}\nvm_addresses: {base: '127.77.1', first: 32, count: 1}\n";
        let config = HostConfig { data_dir: dir.clone(), ..HostConfig::parse(text).expect("settings") };
        assert_eq!(numbers(&Nodes::load(&config).all()), [1]);
        save(&dir, &[said(4), said(1)]);
        assert_eq!(numbers(&Nodes::load(&config).all()), [1, 4]);
        std::fs::write(dir.join(NODES_FILE), b"\xff\xff").expect("write");
        assert_eq!(numbers(&Nodes::load(&config).all()), [1]);
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
