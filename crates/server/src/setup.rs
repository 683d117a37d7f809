//! From the configuration of a region to that of its node.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dwcp_config::region::{Genesis, RegionConfig};
use dwcp_mesh::{Identity, Limits, MeshConfig, NodeId, Peer, Wan};
use dwcp_roles::node::NodeConfig;
use dwcp_state::{Core, Policy, Prices, Region, Role, Token};
use dwcp_types::{RegionId, TokenId};
use ring::rand::{SecureRandom, SystemRandom};

use crate::clock;
use crate::store::etcd::Place;

/// A dwcpd that is gone keeps one on another machine out of its etcd store for so long.
const ETCD_LEASE: Duration = Duration::from_secs(10);

/// Id of the token that the first administrator uses.
pub const BOOTSTRAP_TOKEN: &str = "token-bootstrap";

/// Reads and checks `dwcpd.yaml`. Relative paths are taken from the file's folder.
///
/// # Errors
/// Every complaint, one a line, with the file's name.
pub fn load(path: &Path) -> Result<RegionConfig, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut config =
        RegionConfig::parse(&text).map_err(|complaints| format!("{}:\n{complaints}", path.display()))?;
    let full = std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let folder = full.parent().unwrap_or(Path::new("/"));
    let resolve = |text: &mut String| *text = folder.join(&*text).to_string_lossy().into_owned();
    resolve(&mut config.data_dir);
    resolve(&mut config.pki.ca);
    resolve(&mut config.pki.certificate);
    resolve(&mut config.pki.key);
    resolve(&mut config.monitoring.notifications);
    let backup = &mut config.backup;
    let s3 = [&mut backup.s3.credentials_file, &mut backup.s3.ca];
    let etcd =
        config.state.etcd.iter_mut().flat_map(|etcd| [&mut etcd.ca, &mut etcd.certificate, &mut etcd.key]);
    let metrics = &mut config.metrics;
    let remotes = metrics.prometheus.iter_mut().chain(&mut metrics.remote_write);
    let remotes = remotes.flat_map(|remote| [&mut remote.bearer_token_file, &mut remote.ca]);
    let others = [&mut config.pki.ca_key, &mut config.wan, &mut backup.key_file];
    others.into_iter().chain(s3).chain(etcd).chain(remotes).flatten().for_each(resolve);
    Ok(config)
}

/// The certificate, key and authorities that the configuration names.
///
/// # Errors
/// Names the file that can't be read or used.
pub fn identity(config: &RegionConfig) -> Result<Identity, String> {
    let (ca, certificate, key) = pem_texts(config)?;
    Identity::from_pem(&ca, &certificate, &key).map_err(|e| format!("{}: {e}", config.pki.certificate))
}

/// Authorities, certificate and key as PEM.
pub(crate) fn pem_texts(config: &RegionConfig) -> Result<(String, String, String), String> {
    let read = |path: &String| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    Ok((read(&config.pki.ca)?, read(&config.pki.certificate)?, read(&config.pki.key)?))
}

/// What the node of this region must know. `seed` differs each time the process starts.
///
/// # Errors
/// A voter or this region itself is not among the peers.
pub fn node_config(config: &RegionConfig, seed: u64) -> Result<NodeConfig, String> {
    let regions: BTreeMap<u64, RegionId> =
        config.peers.iter().map(|peer| (peer.number, peer.region.as_str().into())).collect();
    if !regions.contains_key(&config.number) {
        return Err(format!("region number {} is not among the peers", config.number));
    }
    let voters = config.voters.iter().map(|voter| {
        let peer = config.peers.iter().find(|peer| peer.region == *voter);
        peer.map(|peer| peer.number).ok_or_else(|| format!("voter {voter} is not among the peers"))
    });
    let voters = voters.collect::<Result<Vec<u64>, String>>()?;
    let timing = &config.timing;
    let mut node = NodeConfig::new(config.number, regions, genesis(config), seed);
    node.voters = voters;
    node.joins = config.joins;
    node.issues = config.pki.ca_key.is_some();
    node.lease_ms = timing.lease_ms;
    node.beat_ms = timing.beat_ms;
    node.commit_timeout_ms = timing.commit_timeout_ms;
    node.consensus.tick_us = timing.tick_ms * 1_000;
    node.consensus.election_ticks = u32::try_from(timing.election_ms / timing.tick_ms).unwrap_or(u32::MAX);
    Ok(node)
}

/// The facts the federation is founded with.
fn genesis(config: &RegionConfig) -> Core {
    let nothing = Genesis { priority: 50, ..Genesis::default() };
    let regions = config.peers.iter().map(|peer| {
        let genesis = config.genesis.get(&peer.region).unwrap_or(&nothing);
        let region = Region {
            id: peer.region.as_str().into(),
            number: peer.number,
            placement: true,
            traffic_percent: 100,
            priority: genesis.priority,
            prices: Prices {
                vcpu_micros: micros(genesis.vcpu_usd_hour),
                memory_gib_micros: micros(genesis.memory_gib_usd_hour),
                disk_gib_micros: micros(genesis.disk_gib_usd_hour),
            },
            compliance: genesis.compliance.iter().cloned().collect(),
            jurisdiction: genesis.jurisdiction.clone(),
            api: peer.api.clone(),
            mesh: peer.mesh.clone(),
            ..Region::default()
        };
        (region.id.clone(), region)
    });
    let product = Policy::default();
    // People of a development federation kill regions all day.
    let failovers_per_hour = if config.dev { 1_000 } else { product.failovers_per_hour };
    let policy = Policy { loss_after_ms: config.timing.loss_after_ms, failovers_per_hour, ..product };
    let tokens = config.bootstrap_admin_token_sha256.iter().map(|secret_hash| {
        let id: TokenId = BOOTSTRAP_TOKEN.into();
        let token = Token {
            id: id.clone(),
            user: "admin".to_owned(),
            role: Role::Admin,
            secret_hash: secret_hash.clone(),
            created_at: clock::wall(),
            ..Token::default()
        };
        (id, token)
    });
    Core {
        name: config.federation.clone(),
        regions: regions.collect(),
        policy,
        tokens: tokens.collect(),
        level: dwcp_types::LEVEL,
        ..Core::default()
    }
}

/// US dollars in millionths.
fn micros(usd: f64) -> u64 {
    (usd * 1e6).round() as u64
}

/// What the mesh of this region must know.
///
/// # Errors
/// An address is none, or the file of the emulated links can't be read.
pub fn mesh_config(config: &RegionConfig, identity: Identity, seed: u64) -> Result<MeshConfig, String> {
    let address = |text: &str| text.parse().map_err(|_| format!("'{text}' is not an address and port"));
    let peers = config.peers.iter().map(|peer| {
        let address = address(&peer.mesh)?;
        Ok(Peer { node: peer.number, region: peer.region.clone(), address })
    });
    let wan = config.wan.as_ref().map(|file| Wan::watch(Path::new(file)).map_err(|e| format!("{file}: {e}")));
    Ok(MeshConfig {
        me: NodeId(config.number),
        federation: config.federation.clone(),
        listen: address(&config.listen.mesh)?,
        identity,
        peers: peers.collect::<Result<_, String>>()?,
        limits: Limits::default(),
        seed,
        wan: wan.transpose()?,
    })
}

/// The part of an etcd cluster that holds this region's state, where it is kept in one.
pub fn etcd(config: &RegionConfig) -> Option<Place> {
    let etcd = config.state.etcd.as_ref()?;
    let path = |path: &Option<String>| path.as_ref().map(Into::into);
    let store = format!("{}/{}", config.federation, config.region);
    let prefix = etcd.prefix.clone().unwrap_or_else(|| format!("/dwcp/{store}"));
    Some(Place {
        endpoints: etcd.endpoints.clone(),
        ca: path(&etcd.ca),
        certificate: path(&etcd.certificate),
        key: path(&etcd.key),
        prefix: format!("{}/", prefix.trim_end_matches('/')),
        store,
        compact: etcd.compact,
        patience: Duration::from_millis(etcd.patience_ms),
        lease: ETCD_LEASE,
    })
}

/// A number nobody can guess, for the node's seed.
///
/// # Errors
/// The system has no randomness.
pub fn random_seed() -> Result<u64, String> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no randomness".to_owned())?;
    Ok(u64::from_le_bytes(bytes))
}

/// How the metric store is set up.
pub fn metrics(config: &RegionConfig) -> dwcp_telemetry::store::Config {
    dwcp_telemetry::store::Config {
        fine_retention_ms: clock::ms(config.metrics.keep_ms),
        coarse_retention_ms: clock::ms(config.metrics.keep_coarse_ms),
        // They share a disk and a machine with the state, which must not suffer.
        blocks_bytes_max: Some(8 << 30),
        head_bytes_max: 512 << 20,
        ..Default::default()
    }
}
