//! A federation of meshes for tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dwcp_mesh::wan::Network;
use dwcp_mesh::{
    Ca, Identity, Limits, LinkShape, LinkTable, Mesh, MeshConfig, MeshEvent, MeshHandle, NodeId, Peer,
    PeerId, San, Wan,
};
use tokio::sync::mpsc;

pub const REGIONS: [&str; 5] = ["us-east-1", "eu-west-1", "ap-south-1", "sa-east-1", "au-southeast-1"];

pub struct Region {
    pub node: u64,
    pub name: &'static str,
    pub mesh: MeshHandle,
    pub events: mpsc::Receiver<MeshEvent>,
}

pub struct Federation {
    pub ca: Ca,
    pub wan: Wan,
    pub regions: Vec<Region>,
}

pub fn address(node: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 78, node as u8, 1))
}

fn networks() -> impl Iterator<Item = (String, Network)> {
    REGIONS.iter().enumerate().map(|(i, name)| {
        (name.to_string(), Network { address: Ipv4Addr::new(127, 78, i as u8 + 1, 0), prefix: 24 })
    })
}

/// The five regions with the published round trips.
pub fn published() -> LinkTable {
    LinkTable::published(networks())
}

/// The five regions, every link with the same shape.
pub fn uniform(shape: LinkShape) -> LinkTable {
    let mut table = published();
    table.links.values_mut().for_each(|s| *s = shape);
    table
}

pub fn delay(ms: u64) -> LinkShape {
    LinkShape { delay_us: ms * 1000, ..LinkShape::default() }
}

pub fn identity(ca: &Ca, peer: &PeerId) -> Identity {
    let issued = ca.issue(peer, &[San::Ip(address(1))], Duration::from_secs(3600)).expect("a leaf");
    Identity::from_pem(ca.cert_pem(), &issued.cert_pem, &issued.key_pem).expect("an identity")
}

pub fn config(identity: Identity, node: u64, wan: Wan) -> MeshConfig {
    MeshConfig {
        me: NodeId(node),
        federation: identity.federation(),
        listen: SocketAddr::new(address(node), 0),
        identity,
        peers: Vec::new(),
        limits: Limits::default(),
        seed: 7 + node,
        wan: Some(wan),
    }
}

impl Federation {
    /// `count` regions under one table, all links up.
    pub async fn start(count: usize, table: LinkTable, limits: Limits) -> Self {
        let ca = Ca::create("test", Duration::from_secs(3600)).expect("a CA");
        let wan = Wan::fixed(table);
        let mut regions = Vec::new();
        for (i, name) in REGIONS.iter().take(count).enumerate() {
            let node = i as u64 + 1;
            let leaf = identity(&ca, &PeerId::Region { region: name.to_string(), number: node });
            let (sender, events) = mpsc::channel(1024);
            let config = MeshConfig { limits, ..config(leaf, node, wan.clone()) };
            let mesh = Mesh::start(config, sender).expect("a mesh");
            regions.push(Region { node, name, mesh, events });
        }
        let mut federation = Self { ca, wan, regions };
        let peers = federation.peers();
        for region in &federation.regions {
            region.mesh.set_peers(peers.clone()).expect("peers");
        }
        for region in &mut federation.regions {
            for _ in 1..count {
                region.expect(|e| matches!(e, MeshEvent::Up { .. }), 5000).await;
            }
        }
        federation
    }

    pub fn peers(&self) -> Vec<Peer> {
        let peer = |r: &Region| Peer {
            node: r.node,
            region: r.name.to_owned(),
            address: r.mesh.local_addr().expect("an address"),
        };
        self.regions.iter().map(peer).collect()
    }

    pub fn edit(&self, change: impl FnOnce(&mut LinkTable)) {
        let mut table = (*self.wan.table()).clone();
        change(&mut table);
        self.wan.set(table);
    }

    pub async fn stop(self) {
        let mut stopping = tokio::task::JoinSet::new();
        for region in self.regions {
            stopping.spawn(async move { region.mesh.shutdown().await });
        }
        stopping.join_all().await;
    }
}

/// How often the time that a test gives is waited for on a machine that others keep busy. What is promised about times is
/// measured and asserted where it is promised; a wait is none.
pub const PATIENCE: u32 = 5;

impl Region {
    /// The next event that matches, others are skipped; panics after `within_ms`.
    pub async fn expect(&mut self, matches: impl Fn(&MeshEvent) -> bool, within_ms: u64) -> MeshEvent {
        let limit = tokio::time::Instant::now() + PATIENCE * Duration::from_millis(within_ms);
        loop {
            match tokio::time::timeout_at(limit, self.events.recv()).await {
                Ok(Some(event)) if matches(&event) => return event,
                Ok(Some(_)) => {}
                Ok(None) => panic!("the mesh of {} is gone", self.name),
                Err(_) => panic!("{} saw nothing in {PATIENCE} times {within_ms} ms", self.name),
            }
        }
    }

    /// How many events match in the next `ms`.
    pub async fn count(&mut self, matches: impl Fn(&MeshEvent) -> bool, ms: u64) -> usize {
        let limit = tokio::time::Instant::now() + Duration::from_millis(ms);
        let mut count = 0;
        while let Ok(Some(event)) = tokio::time::timeout_at(limit, self.events.recv()).await {
            count += usize::from(matches(&event));
        }
        count
    }
}

pub fn frame_from(node: u64) -> impl Fn(&MeshEvent) -> bool {
    move |event| matches!(event, MeshEvent::Frame { from, .. } if *from == node)
}

pub async fn until(within_ms: u64, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        let limit = PATIENCE * Duration::from_millis(within_ms);
        assert!(start.elapsed() < limit, "not in {PATIENCE} times {within_ms} ms: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}
