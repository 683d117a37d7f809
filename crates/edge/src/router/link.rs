//! The link to a node: what it tells becomes the table in force, what this router does is told to it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_decide::route::Table;
use dwcp_mesh::{AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle, Identity, Peer, Sent, Wan};
use dwcp_roles::protocol::{ROUTER_SLOTS, ReplicaSaid, ReplicaTold};
use dwcp_types::{Mono, RegionId, decode, encode};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::facts::Facts;
use super::{Shared, answers, log, shielded, word};

/// Frames that may wait; more slow the node's connection down.
const EVENTS: usize = 4_096;
/// Between two words about this router.
const WORD_EVERY: Duration = Duration::from_millis(500);
/// Between two looks when nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Frames after which the node is told how far this router is.
const TELL_EVERY: u64 = 64;
/// Between two tables that are written to the disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Links, on a thread of its own: taking facts in can take long. Call inside a tokio runtime.
pub fn start(shared: Arc<Shared>) -> Result<(), String> {
    let (sender, events) = mpsc::channel(EVENTS);
    let link = dial(&shared, sender)?;
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let _inside = handle.enter();
        Link::new(shared, link).run(events);
    };
    std::thread::Builder::new()
        .name("routerd-link".into())
        .spawn(run)
        .map(drop)
        .map_err(|e| format!("a thread: {e}"))
}

fn dial(shared: &Shared, events: mpsc::Sender<AgentEvent>) -> Result<AgentLinkHandle, String> {
    let (settings, config) = (&shared.settings, &shared.settings.config);
    let identity = Identity::load(&settings.pki, &config.pki.name).map_err(|e| e.to_string())?;
    let peer = |entry: &dwcp_config::host::RegionEndpoint| {
        let address = entry.mesh?;
        Some(Peer { node: entry.node, region: entry.region.clone(), address })
    };
    let mut servers: Vec<Peer> = config.regions.iter().filter_map(peer).collect();
    servers.sort_by_key(|server| server.region != config.region);
    let wan =
        settings.wan_file.as_deref().map(Wan::watch).transpose().map_err(|e| format!("the links: {e}"))?;
    let Some(own) = servers.first().cloned() else { return Err("regions: none to link to".to_owned()) };
    let usual = AgentLinkConfig::of_replica(identity, own, ROUTER_SLOTS + config.number, seed());
    let bind = config.bind.unwrap_or(usual.bind);
    let link = AgentLinkConfig { endpoints: servers, bind, wan, ..usual };
    AgentLink::start(link, events).map_err(|e| format!("the link from {bind}: {e}"))
}

/// Differs from process to process; only jitter comes of it.
fn seed() -> u64 {
    wall_ms() ^ (u64::from(std::process::id()) << 32)
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

struct Link {
    shared: Arc<Shared>,
    link: AgentLinkHandle,
    begun: Instant,
    /// None: not linked, or what was told could not be read.
    facts: Option<Facts>,
    told: u64,
    said: Instant,
    kept: Instant,
    /// The table in force is not on the disk yet.
    unkept: bool,
}

impl Link {
    fn new(shared: Arc<Shared>, link: AgentLinkHandle) -> Link {
        let begun = Instant::now();
        Link { shared, link, begun, facts: None, told: 0, said: begun, kept: begun, unkept: false }
    }

    fn now(&self) -> Mono {
        Mono(self.begun.elapsed().as_micros() as u64)
    }

    fn run(mut self, mut events: mpsc::Receiver<AgentEvent>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.take(event),
                Err(TryRecvError::Empty) => {
                    self.tell_taken(1);
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryRecvError::Disconnected) => return,
            }
            self.make_table();
            self.say();
            self.keep();
        }
    }

    fn take(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Up { region } => {
                log(&format!("linked to the node of {region}"));
                self.shared.trouble("the link", String::new());
                self.shared.trouble("the facts", String::new());
                self.send(&Facts::hello());
                self.facts = Some(Facts::new(RegionId::from(self.shared.settings.config.region.as_str())));
                self.told = 0;
            }
            AgentEvent::Down { region } => {
                self.facts = None;
                self.shared.trouble(
                    "the link",
                    format!("the node of {region} is gone; the last table stays in force"),
                );
            }
            AgentEvent::Refused { region, reason } => {
                log(&format!("the node of {region} turned this router away: {reason}"));
            }
            AgentEvent::Frame { bytes } => self.take_frame(&bytes),
        }
    }

    fn take_frame(&mut self, bytes: &[u8]) {
        let now = self.now();
        let Some(facts) = &mut self.facts else { return };
        let taken =
            decode::<ReplicaTold>(bytes).map_err(|e| format!("what the node says can't be read: {e}"));
        let done = taken.and_then(|told| {
            match &told {
                ReplicaTold::AskRouter(ask) => {
                    let answer = answers::answer(&self.shared, ask);
                    send(&self.link, &ReplicaSaid::RouterAnswer(Box::new(answer)));
                }
                ReplicaTold::Routers(told) => shielded::hear(&self.shared, &told.routers),
                _ => {}
            }
            facts.take(now, told)
        });
        if let Err(why) = done {
            // What follows would be another federation's; the node tells everything anew when it is linked to again.
            self.facts = None;
            self.shared.trouble("the facts", why);
        }
        self.tell_taken(TELL_EVERY);
    }

    fn tell_taken(&mut self, every: u64) {
        let taken = self.facts.as_ref().map_or(0, Facts::taken);
        if taken >= self.told + every {
            self.told = taken;
            self.send(&ReplicaSaid::Taken(taken));
        }
    }

    fn make_table(&mut self) {
        let now = self.now();
        let Some(facts) = self.facts.as_mut().filter(|facts| facts.due().is_some_and(|at| now >= at)) else {
            return;
        };
        let begun = Instant::now();
        let built = facts.table(wall_ms());
        let before = self.shared.current.routes();
        let built = built.keeping(&before.table);
        let may = built.table.check().and_then(|()| built.table.may_replace(&before.table));
        facts.took(begun.elapsed().as_millis() as u64);
        let mut wrong = built.complaints.clone();
        wrong.extend(shielded::read(&self.shared, facts.facts()));
        self.shared.trouble("the settings", wrong.join("; "));
        match may {
            Ok(()) => {
                self.shared.trouble("the table", String::new());
                // Only when it was made is not worth a place on the disk.
                let same = Table { made_at_ms: before.table.made_at_ms, ..built.table.clone() };
                self.unkept |= same != before.table;
                self.shared.current.replace(built.table);
            }
            Err(why) => {
                self.shared.trouble("the table", format!("refused: {why}; the last one stays in force"))
            }
        }
    }

    fn say(&mut self) {
        if self.said.elapsed() >= WORD_EVERY {
            self.said = Instant::now();
            if self.facts.is_some() {
                self.send(&ReplicaSaid::Router(Box::new(word::word(&self.shared))));
            }
        }
    }

    fn keep(&mut self) {
        if self.unkept && self.kept.elapsed() >= KEEP_EVERY {
            (self.kept, self.unkept) = (Instant::now(), false);
            let done = self.shared.kept.save(&self.shared.current.routes().table);
            if done.is_ok() {
                self.shared.trouble(super::ON_DISK, String::new());
            }
            self.shared.trouble("the disk", done.err().unwrap_or_default());
        }
    }

    fn send(&self, said: &ReplicaSaid) {
        send(&self.link, said);
    }
}

/// Says something to the node. What does not fit is said again soon, or not needed.
fn send(link: &AgentLinkHandle, said: &ReplicaSaid) {
    if let Sent::Dropped(reason) = link.send(encode(said)) {
        log(&format!("not said to the node: {reason:?}"));
    }
}
