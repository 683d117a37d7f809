//! Programs between regions: pieces asked for and given over the mesh, in the class that waits for all others.
//!
//! A region fetches every release that it may run, from any region that has it, piece after piece; what has come stays when the
//! link or the process breaks off. Nothing is taken for a program before all of its bytes were compared with its digest.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dwcp_mesh::{Class, MeshHandle};
use dwcp_roles::node::{Input, MeshMessage, Opaque, Program, ProgramAsk, ProgramPart};
use dwcp_state::{FEDERATION_GROUP, Release};
use dwcp_types::{LEVEL, NodeId, OperationId, decode, encode};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::{Programs, digest_of, launcher, signature};
use crate::handle::{NodeHandle, View};
use crate::log::Log;

/// Bytes of a piece.
const PIECE: u64 = 256 << 10;
/// Pieces asked for at once.
const AHEAD: u64 = 16;
/// Who gives nothing for so long is not asked any more for now.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two looks at the facts.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For so long a program must have been well to stay.
const WELL_FOR: Duration = Duration::from_secs(2);

/// A program that is no release is kept for so long.
const SPARED: Duration = Duration::from_secs(600);

/// What came over the mesh for this part: who sent it, and what.
pub type Incoming = (NodeId, Vec<u8>);

/// The door for what comes over the mesh, and what comes through it.
pub fn door() -> (UnboundedSender<Incoming>, UnboundedReceiver<Incoming>) {
    unbounded_channel()
}

/// Fetches and gives programs, and says of this one what the federation is to know.
pub struct Keeper {
    /// Where they are.
    pub programs: Programs,
    /// Keys that releases may be signed with.
    pub keys: Vec<String>,
    /// The node.
    pub node: NodeHandle,
    /// The links.
    pub mesh: MeshHandle,
    /// The log.
    pub log: Log,
    /// This program is on trial.
    pub trial: bool,
}

/// What the facts and the others say, looked up at once.
struct Sight {
    releases: Vec<Release>,
    /// Who has which digests.
    holders: Vec<(NodeId, Vec<String>)>,
    well: Result<(), String>,
    /// The federation's facts are all here.
    current: bool,
}

impl Keeper {
    /// Runs for as long as the process does.
    pub async fn keep(self, incoming: UnboundedReceiver<Incoming>) {
        let own = || digest_of(&launcher::own_program()).unwrap_or_default();
        let sha256 = tokio::task::spawn_blocking(own).await.unwrap_or_default();
        let mut told = Program { trial: self.trial, ..self.program(&sha256, &[], String::new()) };
        self.tell(&told);
        let parts = Arc::new(Mutex::new(None));
        tokio::spawn(take(incoming, self.programs.clone(), self.mesh.clone(), parts.clone()));
        let (mut trial, mut well_since, mut lacks) = (self.trial, None, String::new());
        let mut misses = 0;
        // Checked when the releases change: the keys that are trusted are those of this process's start.
        let (mut releases, mut may_run): (Vec<Release>, Vec<String>) = Default::default();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(sight) = self.node.look(sight).await else { return };
            if sight.releases != releases {
                releases.clone_from(&sight.releases);
                let trusted = releases.iter().filter(|of| signature::check(of, &self.keys).is_ok());
                may_run = trusted.map(|of| of.sha256.clone()).collect();
            }
            if trial && self.judge(&sight.well, &mut well_since) {
                trial = false;
            }
            let now = Program { trial, ..self.program(&sha256, &may_run, lacks.clone()) };
            if now != told {
                self.tell(&now);
                told = now;
            }
            // What is there of releases says nothing before the facts are all here, and a trial waits for nothing.
            if trial || !sight.current {
                continue;
            }
            let digests: Vec<String> = releases.iter().map(|of| of.sha256.clone()).collect();
            self.programs.keep(&digests, SPARED);
            lacks = self.fetch_next(&sight, &parts, &mut misses).await;
        }
    }

    fn tell(&self, program: &Program) {
        self.node.tell(Input::Program(Box::new(program.clone())));
    }

    /// What the federation is to know. What is here and may not run, its key being none that is trusted now, is left out.
    fn program(&self, sha256: &str, may_run: &[String], lacks: String) -> Program {
        let ended = self.programs.state().ok().and_then(|state| state.ended);
        let mut has = self.programs.whole();
        has.retain(|digest| may_run.contains(digest));
        Program {
            level: LEVEL,
            sha256: sha256.to_owned(),
            has,
            ended: ended.map(|ended| (OperationId(ended.operation), (ended.well, ended.why))),
            lacks,
            ..Program::default()
        }
    }

    /// True when the program on trial has been well for long enough: it stays.
    fn judge(&self, well: &Result<(), String>, since: &mut Option<Instant>) -> bool {
        if well.is_err() {
            *since = None;
            return false;
        }
        if since.get_or_insert_with(Instant::now).elapsed() < WELL_FOR {
            return false;
        }
        match self.programs.stay() {
            Ok(_) => {
                self.log.info("state-manager", "this program is well: it stays");
                true
            }
            Err(error) => {
                self.log.error("state-manager", format!("program.json: {error}"));
                false
            }
        }
    }

    /// Fetches a while of the newest release that is not here; says why it is not.
    async fn fetch_next(
        &self,
        sight: &Sight,
        parts: &Arc<Mutex<Option<Arrival>>>,
        misses: &mut usize,
    ) -> String {
        let here = self.programs.whole();
        let missing = sight.releases.iter().filter(|release| !here.contains(&release.sha256));
        let Some(release) = missing.max_by_key(|release| release.revision) else { return String::new() };
        if let Err(refusal) = signature::check(release, &self.keys) {
            return refusal.to_string();
        }
        let holders = sight.holders.iter().filter(|(_, has)| has.contains(&release.sha256));
        let holders: Vec<NodeId> = holders.map(|(node, _)| *node).collect();
        if holders.is_empty() {
            return format!("no region that is heard has version {}", release.version);
        }
        // Whoever gave nothing, or other bytes: another one the next time.
        match self.fetch(release, holders[*misses % holders.len()], parts).await {
            Ok(()) => String::new(),
            Err(why) => {
                *misses += 1;
                why
            }
        }
    }

    async fn fetch(
        &self,
        release: &Release,
        from: NodeId,
        parts: &Arc<Mutex<Option<Arrival>>>,
    ) -> Result<(), String> {
        let sha256 = &release.sha256;
        let (sender, mut came) = unbounded_channel();
        *parts.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arrival { sha256: sha256.clone(), told: sender });
        let mut asked = self.programs.come(sha256);
        loop {
            let come = self.programs.come(sha256);
            if come >= release.bytes {
                let (programs, digest) = (self.programs.clone(), sha256.clone());
                let finished = tokio::task::spawn_blocking(move || programs.finish(&digest)).await;
                finished.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
                self.log.info("state-manager", format!("version {} is here", release.version));
                return Ok(());
            }
            while asked < release.bytes && asked < come + AHEAD * PIECE {
                let ask = ProgramAsk { sha256: sha256.clone(), offset: asked, bytes: PIECE };
                // What is not taken is asked for again.
                let _ = self.mesh.send(from, Class::Bulk, encode(&MeshMessage::ProgramAsk(ask)));
                asked += PIECE;
            }
            match timeout(PATIENCE, came.recv()).await {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Err(format!("node {from} does not have it after all")),
                _ => {
                    let percent = come * 100 / release.bytes.max(1);
                    return Err(format!("{percent} % of version {} has come", release.version));
                }
            }
        }
    }
}

/// Who waits for pieces of what.
pub struct Arrival {
    sha256: String,
    told: UnboundedSender<bool>,
}

/// Gives what is asked for, and keeps what comes.
async fn take(
    mut incoming: UnboundedReceiver<Incoming>,
    programs: Programs,
    mesh: MeshHandle,
    parts: Arc<Mutex<Option<Arrival>>>,
) {
    while let Some((from, bytes)) = incoming.recv().await {
        match decode::<MeshMessage>(&bytes) {
            Ok(MeshMessage::ProgramAsk(ask)) => {
                let part = MeshMessage::ProgramPart(piece(&programs, &ask));
                // Whoever asked asks again.
                let _ = mesh.send(from, Class::Bulk, encode(&part));
            }
            Ok(MeshMessage::ProgramPart(part)) => {
                let parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(arrival) = parts.as_ref().filter(|arrival| arrival.sha256 == part.sha256) else {
                    continue;
                };
                let kept = programs.add(&part.sha256, part.offset, &part.bytes.0);
                // Nobody waits any more when the fetch was given up.
                let _ = arrival.told.send(!part.bytes.0.is_empty() && kept.is_ok());
            }
            _ => {}
        }
    }
}

fn piece(programs: &Programs, ask: &ProgramAsk) -> ProgramPart {
    let mut bytes = vec![0; ask.bytes.min(PIECE) as usize];
    let read = dwcp_types::is_sha256(&ask.sha256).then(|| {
        File::open(programs.path(&ask.sha256)).and_then(|file| file.read_at(&mut bytes, ask.offset))
    });
    bytes.truncate(read.and_then(Result::ok).unwrap_or(0));
    ProgramPart { sha256: ask.sha256.clone(), offset: ask.offset, bytes: Opaque(bytes) }
}

fn sight(view: &View<'_>) -> Sight {
    let others = view.node.regions().keys().copied().filter(|node| *node != view.node.config().me);
    Sight {
        releases: view.node.facts().core.releases.values().cloned().collect(),
        holders: others.filter_map(|node| Some((node, view.node.program_of(node)?.has))).collect(),
        well: view.node.is_well(),
        current: view.node.facts_age_ms(FEDERATION_GROUP).is_some(),
    }
}
