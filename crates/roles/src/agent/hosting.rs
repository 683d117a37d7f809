//! The region's own node, where this host runs it: decisions only.
//!
//! What a leader wants is remembered on disk and holds until a leader wants something else: a node that was started once is
//! started again after every end, also while no leader is there, as it may be the very one that is missing. Only a leader's
//! word that none is wanted stops it; then its files go too. A node under another number is another node: what there is of
//! the one before goes first.

use crate::protocol::{
    AgentMessage, CertificateAsked, Certified, ControlPlane, Hosting, HostingPhase, HostingReport,
};

use super::{Agent, Effect};

/// Between two requests for a certificate, ms.
const ASK_MS: u64 = 3_000;
/// Shortest and longest wait before a node that ended is started again, ms.
const BACK_OFF_MS: (u64, u64) = (500, 30_000);
/// A node that ran so long is well: what was wrong before counts no more, ms.
const WELL_MS: u64 = 60_000;
/// How long a node may take to hand over and end before it is killed, ms.
const END_MS: u64 = 10_000;
/// Between two tries at what the disk refused, and between two kills, ms.
const AGAIN_MS: u64 = 5_000;
/// What did not change is said again after, ms.
const SAY_AGAIN_MS: u64 = 10_000;

/// What the disk holds at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostingFound {
    /// What was wanted last; none: nothing that can be read.
    pub wanted: Option<Hosting>,
    /// The public key, of the form of [`CertificateAsked`]; empty: there is none.
    pub public_key: Vec<u8>,
    /// How long the certificate serves; none: there is none for that key.
    pub certificate: Option<CertificateLife>,
    /// The process that runs; 0: none.
    pub pid: u32,
    /// There are files of a node.
    pub files: bool,
}

/// How long a certificate serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateLife {
    /// Until less than half of its life is left, ms.
    pub renew_in_ms: u64,
    /// Until it ends, ms.
    pub ends_in_ms: u64,
}

/// What happened to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostingEvent {
    /// First of all, on a host that may run one.
    Found(HostingFound),
    /// Answers [`HostingEffect::MakeKey`].
    KeyMade(Result<Vec<u8>, String>),
    /// Answers [`HostingEffect::KeepCertificate`].
    CertificateKept(Result<CertificateLife, String>),
    /// Answers [`HostingEffect::WriteSettings`].
    SettingsWritten(Result<(), String>),
    /// Answers [`HostingEffect::Start`].
    Started(Result<u32, String>),
    /// The process is gone.
    Ended { reason: String },
    /// Answers [`HostingEffect::Wipe`].
    Wiped(Result<(), String>),
}

/// What is to be done about the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostingEffect {
    /// Remember durably what is wanted.
    Remember(Hosting),
    /// Make a key that stays here, and keep it.
    MakeKey,
    /// Keep this certificate if it is the region's and of the key here.
    KeepCertificate { pem: String },
    /// Write the node's settings.
    WriteSettings(Box<ControlPlane>),
    /// Start its process.
    Start {
        /// As one that has lost its state.
        lost: bool,
    },
    /// Ask it to end.
    Terminate,
    /// End it.
    Kill,
    /// Remove keys, settings and state.
    Wipe,
}

/// Work of the shell that is answered; one piece at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Key,
    Certificate,
    Settings,
    Start,
    Wipe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Process {
    #[default]
    None,
    Running {
        pid: u32,
        since_us: u64,
    },
    Stopping {
        pid: u32,
        kill_at_us: u64,
    },
}

impl Process {
    fn pid(self) -> u32 {
        match self {
            Process::None => 0,
            Process::Running { pid, .. } | Process::Stopping { pid, .. } => pid,
        }
    }
}

/// The node as this host has it.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnNode {
    /// The shell has looked; on a host that never runs one it never does.
    found: bool,
    wanted: Option<Hosting>,
    /// What is there is to go before anything else.
    clearing: bool,
    /// There may be files of a node.
    files: bool,
    public_key: Vec<u8>,
    /// From when on another is asked for, and when it ends.
    certificate_us: Option<(u64, u64)>,
    /// A certificate that came and is to be kept.
    came: Option<String>,
    next_ask_us: u64,
    settings_written: bool,
    process: Process,
    work: Option<Work>,
    /// Nothing that failed is tried before.
    try_at_us: u64,
    start_at_us: u64,
    failures: u32,
    ended_before: bool,
    restarts: u64,
    trouble: String,
    said: Option<(HostingReport, u64)>,
}

impl OwnNode {
    fn node(&self) -> Option<&ControlPlane> {
        match &self.wanted {
            Some(Hosting::Node(node)) => Some(node),
            _ => None,
        }
    }

    fn take(&mut self, mut hosting: Hosting, out: &mut Vec<HostingEffect>) {
        // What is remembered here knows better: whoever says that it is lost has heard this host before it had read its disk, and
        // whoever says that it is not has heard that it has begun anew.
        if let (Some(before), Hosting::Node(now)) = (self.node(), &mut hosting)
            && before.number == now.number
        {
            now.lost = before.lost;
        }
        if !self.found || self.wanted.as_ref() == Some(&hosting) {
            return;
        }
        let other = match (&self.wanted, &hosting) {
            (Some(Hosting::Node(before)), Hosting::Node(now)) => before.number != now.number,
            (_, Hosting::Nothing) => true,
            (_, Hosting::Node(_)) => false,
        };
        self.wanted = Some(hosting);
        self.settings_written = false;
        self.came = None;
        self.clearing |= other && (self.files || self.process != Process::None || self.work.is_some());
        self.remember(out);
    }

    /// While something is cleared away, what a restart must know is that nothing of it is wanted.
    fn remember(&mut self, out: &mut Vec<HostingEffect>) {
        let wanted = if self.clearing { Some(Hosting::Nothing) } else { self.wanted.clone() };
        self.files |= matches!(wanted, Some(Hosting::Node(_)));
        if self.files {
            out.extend(wanted.map(HostingEffect::Remember));
        }
    }

    fn hear(&mut self, now_us: u64, event: HostingEvent, out: &mut Vec<HostingEffect>) {
        match event {
            HostingEvent::Found(found) => self.begin(now_us, found),
            HostingEvent::KeyMade(result) => {
                let made = result.map(|key| self.public_key = key);
                self.done(now_us, Work::Key, "key", made);
            }
            HostingEvent::CertificateKept(result) => {
                let life = result.map(|life| self.certificate_us = Some(life.from(now_us)));
                self.done(now_us, Work::Certificate, "certificate", life);
            }
            HostingEvent::SettingsWritten(result) => {
                let written = result.map(|()| self.settings_written = true);
                self.done(now_us, Work::Settings, "settings", written);
            }
            HostingEvent::Started(result) => self.started(now_us, result),
            HostingEvent::Ended { reason } => self.ended(now_us, reason),
            HostingEvent::Wiped(result) => {
                let wiped = result.is_ok();
                self.done(now_us, Work::Wipe, "files not removed", result);
                if wiped {
                    let (wanted, said) = (self.wanted.take(), self.said.take());
                    *self = OwnNode { found: true, wanted, said, ..OwnNode::default() };
                    self.remember(out);
                }
            }
        }
    }

    fn begin(&mut self, now_us: u64, found: HostingFound) {
        self.found = true;
        self.files = found.files;
        self.clearing = found.wanted == Some(Hosting::Nothing) && (found.files || found.pid != 0);
        self.wanted = found.wanted;
        self.public_key = found.public_key;
        self.certificate_us = found.certificate.map(|life| life.from(now_us));
        if found.pid != 0 {
            self.process = Process::Running { pid: found.pid, since_us: now_us };
        }
    }

    /// A piece of work was answered.
    fn done(&mut self, now_us: u64, work: Work, what: &str, result: Result<(), String>) {
        self.work.take_if(|doing| *doing == work);
        match result {
            Ok(()) if self.failures == 0 => self.trouble.clear(),
            Ok(()) => {}
            Err(why) => {
                self.trouble = format!("{what}: {why}");
                self.try_at_us = now_us + AGAIN_MS * 1_000;
            }
        }
    }

    fn started(&mut self, now_us: u64, result: Result<u32, String>) {
        self.work.take_if(|doing| *doing == Work::Start);
        match result {
            Ok(pid) => {
                self.process = Process::Running { pid, since_us: now_us };
                self.restarts += u64::from(self.ended_before);
            }
            Err(why) => self.back_off(now_us, why),
        }
    }

    fn ended(&mut self, now_us: u64, reason: String) {
        if let Process::Running { since_us, .. } = self.process {
            if now_us.saturating_sub(since_us) >= WELL_MS * 1_000 {
                self.failures = 0;
            }
            self.ended_before = true;
            self.back_off(now_us, reason);
        }
        self.process = Process::None;
    }

    fn back_off(&mut self, now_us: u64, why: String) {
        let (least_ms, most_ms) = BACK_OFF_MS;
        let wait_ms = least_ms.saturating_mul(1 << self.failures.min(16)).min(most_ms);
        self.failures = self.failures.saturating_add(1);
        self.start_at_us = now_us + wait_ms * 1_000;
        self.trouble = why;
    }

    /// A certificate came, or the word that there is none.
    fn certified(&mut self, now_us: u64, certified: Certified) {
        let asked = self.asks(now_us) && certified.public_key == self.public_key;
        match certified.certificate.is_empty() {
            _ if !asked => {}
            true => self.trouble = format!("no certificate: {}", certified.refused),
            false => self.came = Some(certified.certificate),
        }
    }

    fn asks(&self, now_us: u64) -> bool {
        let due = self.certificate_us.is_none_or(|(renew_at_us, _)| now_us >= renew_at_us);
        self.node().is_some() && !self.clearing && !self.public_key.is_empty() && self.came.is_none() && due
    }

    fn has_certificate(&self, now_us: u64) -> bool {
        self.certificate_us.is_some_and(|(_, ends_at_us)| now_us < ends_at_us)
    }

    /// The next piece of work.
    fn next_work(&mut self, now_us: u64) -> Option<(Work, HostingEffect)> {
        if self.work.is_some() {
            return None;
        }
        let may_try = now_us >= self.try_at_us;
        if self.clearing {
            let clear = self.process == Process::None && may_try;
            return clear.then_some((Work::Wipe, HostingEffect::Wipe));
        }
        let node = self.node()?.clone();
        if let Some(pem) = self.came.take() {
            return Some((Work::Certificate, HostingEffect::KeepCertificate { pem }));
        }
        if self.public_key.is_empty() {
            return may_try.then_some((Work::Key, HostingEffect::MakeKey));
        }
        if !self.settings_written {
            return may_try.then_some((Work::Settings, HostingEffect::WriteSettings(Box::new(node))));
        }
        let start =
            self.process == Process::None && now_us >= self.start_at_us && self.has_certificate(now_us);
        start.then_some((Work::Start, HostingEffect::Start { lost: node.lost }))
    }

    /// What is due; true when a certificate is to be asked for.
    fn go_on(&mut self, now_us: u64, connected: bool, out: &mut Vec<HostingEffect>) -> bool {
        if !self.found {
            return false;
        }
        match self.process {
            Process::Running { pid, .. } if self.clearing => {
                self.process = Process::Stopping { pid, kill_at_us: now_us + END_MS * 1_000 };
                out.push(HostingEffect::Terminate);
            }
            Process::Stopping { pid, kill_at_us } if now_us >= kill_at_us => {
                self.process = Process::Stopping { pid, kill_at_us: now_us + AGAIN_MS * 1_000 };
                out.push(HostingEffect::Kill);
            }
            Process::Running { since_us, .. } if now_us.saturating_sub(since_us) >= WELL_MS * 1_000 => {
                if std::mem::take(&mut self.failures) > 0 {
                    self.trouble.clear();
                }
                if let Some(Hosting::Node(node)) = &mut self.wanted
                    && std::mem::take(&mut node.lost)
                {
                    self.remember(out);
                }
            }
            _ => {}
        }
        if let Some((work, effect)) = self.next_work(now_us) {
            self.work = Some(work);
            out.push(effect);
        }
        let ask = connected && now_us >= self.next_ask_us && self.work.is_none() && self.asks(now_us);
        if ask {
            self.next_ask_us = now_us + ASK_MS * 1_000;
        }
        ask
    }

    fn report(&self, now_us: u64) -> HostingReport {
        let phase = match (self.process, &self.wanted) {
            _ if self.clearing => HostingPhase::Stopping,
            (Process::Running { .. } | Process::Stopping { .. }, _) => HostingPhase::Running,
            (Process::None, Some(Hosting::Node(_))) if !self.has_certificate(now_us) => {
                HostingPhase::Certifying
            }
            (Process::None, Some(Hosting::Node(_))) => HostingPhase::Waiting,
            (Process::None, _) if self.files => HostingPhase::Waiting,
            (Process::None, _) => HostingPhase::Nothing,
        };
        HostingReport {
            phase,
            pid: self.process.pid(),
            restarts: self.restarts,
            trouble: self.trouble.clone(),
        }
    }
}

impl CertificateLife {
    fn from(self, now_us: u64) -> (u64, u64) {
        let at = |in_ms: u64| now_us.saturating_add(in_ms.saturating_mul(1_000));
        (at(self.renew_in_ms), at(self.ends_in_ms))
    }
}

impl Agent {
    pub(super) fn take_hosting(&mut self, hosting: Hosting, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        self.node.take(hosting, &mut effects);
        out.extend(effects.into_iter().map(Effect::Hosting));
    }

    pub(super) fn take_certificate(&mut self, now_us: u64, certified: Certified) {
        self.node.certified(now_us, certified);
    }

    pub(super) fn hear_of_node(&mut self, now_us: u64, event: HostingEvent, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        self.node.hear(now_us, event, &mut effects);
        out.extend(effects.into_iter().map(Effect::Hosting));
    }

    pub(super) fn keep_node(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        if self.node.go_on(now_us, self.connected, &mut effects) {
            let public_key = self.node.public_key.clone();
            out.push(Effect::Send(AgentMessage::Certify(CertificateAsked { public_key })));
        }
        out.extend(effects.into_iter().map(Effect::Hosting));
        let news = self.node.said.as_ref().is_some_and(|(said, _)| *said != self.node.report(now_us));
        self.changed |= news;
        self.keep_helpers(now_us, out);
    }

    pub(super) fn node_report(&self, now_us: u64) -> HostingReport {
        self.node.report(now_us)
    }

    /// What the next renewal says of the node.
    pub(super) fn say_node(&mut self, now_us: u64) -> Option<HostingReport> {
        if !self.node.found {
            return None;
        }
        let report = self.node.report(now_us);
        let due = self.node.said.as_ref().is_none_or(|(said, at_us)| {
            *said != report || now_us.saturating_sub(*at_us) >= SAY_AGAIN_MS * 1_000
        });
        if due {
            self.node.said = Some((report.clone(), now_us));
        }
        due.then_some(report)
    }
}
