//! Five regions in one process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dwcp_config::region::{Listen, Peer, Pki, RegionConfig};
use dwcp_mesh::{Ca, PeerId, San};
use dwcp_roles::node::Node;
use dwcp_server::log::Log;
use dwcp_server::program::Programs;
use dwcp_server::record::Recorder;
use dwcp_server::region::{Options, Region};
use dwcp_server::store::Store;

use crate::scratch::Scratch;

const NAMES: [&str; 5] = ["us-east-1", "eu-west-1", "ap-south-1", "sa-east-1", "au-southeast-1"];
const DAY: Duration = Duration::from_secs(86_400);

pub struct Regions {
    scratch: Scratch,
    configs: Vec<RegionConfig>,
    running: Vec<Option<Region>>,
    /// Turns true when a store of a region failed.
    logs: Vec<Log>,
    pub failed: Arc<AtomicBool>,
}

impl Regions {
    /// Keys, certificates and settings; nothing runs yet. `lane` keeps the ports of tests apart.
    pub fn new(name: &str, lane: u16) -> Regions {
        let scratch = Scratch::new(name);
        let pki = scratch.path().join("pki");
        let ca = Ca::create("test", DAY).expect("authority");
        ca.store(&pki).expect("stored");
        let port = 20_000 + lane * 4_000 + (std::process::id() % 4_000) as u16;
        let address = |number: usize| format!("127.79.{number}.1:{port}");
        let peers: Vec<Peer> = NAMES
            .iter()
            .zip(1..)
            .map(|(region, number)| Peer {
                region: region.to_string(),
                number: number as u64,
                mesh: address(number),
                api: format!("https://{}", address(number)),
            })
            .collect();
        let file = |name: String| pki.join(name).to_string_lossy().into_owned();
        let configs = NAMES.iter().zip(1..).map(|(region, number)| {
            let ip = San::Ip(format!("127.79.{number}.1").parse().expect("address"));
            let peer = PeerId::Region { region: region.to_string(), number: number as u64 };
            ca.issue(&peer, &[ip], DAY).expect("issued").store(&pki, region).expect("stored");
            RegionConfig {
                federation: "test".to_owned(),
                region: region.to_string(),
                number: number as u64,
                data_dir: scratch.path().join(region).to_string_lossy().into_owned(),
                listen: Listen { api: address(number), mesh: address(number) },
                pki: Pki {
                    ca: file("ca.pem".to_owned()),
                    certificate: file(format!("{region}.pem")),
                    key: file(format!("{region}.key")),
                    ca_key: None,
                },
                peers: peers.clone(),
                voters: NAMES.map(str::to_owned).to_vec(),
                ..RegionConfig::default()
            }
        });
        let configs = configs.collect();
        let running = NAMES.iter().map(|_| None).collect();
        let logs = NAMES.iter().map(|region| Log::silent(region)).collect();
        Regions { scratch, configs, running, logs, failed: Arc::default() }
    }

    fn options(&self, number: usize) -> Options {
        let failed = self.failed.clone();
        Options {
            log: self.logs[number - 1].clone(),
            state_lost: false,
            recorder: None,
            switch: tokio::sync::mpsc::unbounded_channel().0,
            trial: false,
            joins: Box::new(|| Ok(())),
            failed: Box::new(move |_| failed.store(true, Ordering::SeqCst)),
        }
    }

    /// Starts region `number` (from 1). The address of one that has just stopped may take a moment to be free.
    pub async fn start(&mut self, number: usize) {
        self.start_with(number, None).await;
    }

    /// The same, written down in `file`.
    pub async fn start_recorded(&mut self, number: usize, file: &Path) {
        self.start_with(number, Some(file)).await;
    }

    async fn start_with(&mut self, number: usize, recording: Option<&Path>) {
        let mut tries = 0;
        let region = loop {
            let recorder = recording.map(|file| Recorder::create(file).expect("a recording"));
            match Region::start(&self.configs[number - 1], Options { recorder, ..self.options(number) }) {
                Ok(region) => break region,
                Err(error) if tries == 100 => panic!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            tries += 1;
        };
        self.running[number - 1] = Some(region);
    }

    /// Starts region `number` apart from the others; `joins` is called just before it takes part.
    pub fn start_joining(
        &self,
        number: usize,
        joins: Box<dyn FnOnce() -> Result<(), String> + Send>,
    ) -> Result<Region, String> {
        Region::start(&self.configs[number - 1], Options { joins, ..self.options(number) })
    }

    /// Starts region `number` on this store.
    pub fn start_on(&mut self, number: usize, store: Store) {
        let region =
            Region::start_on(&self.configs[number - 1], self.options(number), store).expect("started");
        self.running[number - 1] = Some(region);
    }

    /// Lets all but the last region run what is signed with this key.
    pub fn trust(&mut self, key: &str) {
        let last = self.configs.len() - 1;
        self.configs[..last].iter_mut().for_each(|config| config.upgrade_keys = vec![key.to_owned()]);
    }

    /// The programs of region `number`.
    pub fn programs(&self, number: usize) -> Programs {
        Programs::in_folder(Path::new(&self.configs[number - 1].data_dir))
    }

    pub async fn start_all(&mut self) {
        for number in 1..=NAMES.len() {
            self.start(number).await;
        }
    }

    pub async fn stop(&mut self, number: usize) {
        let region = self.running[number - 1].take().expect("it runs");
        region.stop().await;
    }

    pub async fn stop_all(&mut self) {
        for number in 1..=NAMES.len() {
            self.stop(number).await;
        }
    }

    /// Where region `number` says what happens.
    pub fn log(&self, number: usize) -> &Log {
        &self.logs[number - 1]
    }

    pub fn region(&self, number: usize) -> &Region {
        self.running[number - 1].as_ref().expect("it runs")
    }

    /// Where a recording may go.
    pub fn recording(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The settings of region `number`.
    pub fn config(&self, number: usize) -> &RegionConfig {
        &self.configs[number - 1]
    }

    /// The folder of the authority and of every certificate.
    pub fn pki(&self) -> PathBuf {
        self.scratch.path().join("pki")
    }

    /// The folder of region `number`'s store.
    pub fn store_folder(&self, number: usize) -> PathBuf {
        self.scratch.path().join(NAMES[number - 1]).join("store")
    }

    /// Waits until what `look` sees at every running node is true.
    pub async fn until(&self, what: &str, look: fn(&Node) -> bool) {
        let began = Instant::now();
        loop {
            let mut all = true;
            for region in self.running.iter().flatten() {
                all &= region.node.look(move |view| look(view.node)).await.expect("the node runs");
            }
            if all {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
