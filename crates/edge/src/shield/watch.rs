//! Looking at what happened, beside the data path: requests only leave a note, which is never waited for.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use dwcp_decide::ddos::{Action, Attack, Detection, Detector, Event, Phase};

use super::Shield;
use super::counts::Drops;
use crate::repeated::Repeated;

/// Notes that may wait; what comes then is missed, and counted.
pub const NOTES: usize = 1 << 16;
/// How often notes are read, ms. Nobody is woken by a note: that would cost the request.
const TURN: Duration = Duration::from_millis(10);
/// How often is looked for attacks, ms.
const TICK_MS: u64 = 250;
/// For how long an attack that is over is told, ms.
const TELL_MS: u64 = 60_000;
/// The most of those.
const MOST_ENDED: usize = 64;

/// What the data path tells.
pub enum Note {
    Seen(Event),
    /// What a path or user agent is called.
    Name(u64, Box<str>),
    Dropped(IpAddr, Arc<str>, Action),
}

/// Who reads the notes.
pub struct Watch {
    notes: Receiver<Note>,
    pub detector: Detector,
    pub drops: Drops,
    ended: VecDeque<Attack>,
    ticked_ms: u64,
}

impl Watch {
    pub fn new(notes: Receiver<Note>, detector: Detector) -> Watch {
        Watch { notes, detector, drops: Drops::default(), ended: VecDeque::new(), ticked_ms: 0 }
    }

    /// Reads what there is, and looks for attacks when it is time.
    pub fn turn(&mut self, now_ms: u64) -> Vec<Detection> {
        for note in self.notes.try_iter().take(NOTES) {
            match note {
                Note::Seen(event) => self.detector.seen(now_ms, &event),
                Note::Name(hash, name) => self.detector.named(hash, &name),
                Note::Dropped(ip, rule, action) => self.drops.add(now_ms, ip, rule, action),
            }
        }
        if now_ms < self.ticked_ms + TICK_MS {
            return Vec::new();
        }
        self.ticked_ms = now_ms;
        let told = self.detector.tick(now_ms);
        let ended = told.iter().filter(|one| one.phase == Phase::Ends).map(|one| one.attack.clone());
        self.ended.extend(ended);
        let old = self.ended.len().saturating_sub(MOST_ENDED);
        self.ended.drain(..old);
        self.ended.retain(|attack| attack.last_ms + TELL_MS > now_ms);
        told
    }

    /// Attacks that go on and those that ended lately.
    pub fn attacks(&self) -> Vec<Attack> {
        self.detector.attacks().chain(&self.ended).cloned().collect()
    }
}

/// Watches for as long as what it gives is there.
///
/// # Errors
/// No thread could be had.
pub fn watching(shield: Arc<Shield>) -> std::io::Result<Repeated> {
    Repeated::start("shield", TURN, move || drop(shield.turn()))
}
