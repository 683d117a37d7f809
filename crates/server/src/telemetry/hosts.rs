//! What hosts measure and their agents log: asked of the agents over their links, past the node.
//!
//! An agent that is linked here for want of its own region's server is asked here.

mod families;
mod lines;
mod scrape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dwcp_mesh::{MeshHandle, Room, Sent};
use dwcp_roles::protocol::{AgentSaid, HostFigures, ServerAsked};
use dwcp_types::{decode, encode};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::Instruments;
use crate::asked::Asked;
use crate::clock;
use crate::log::Log;
use lines::Allowance;

pub use dwcp_roles::protocol::is_of_figures as is_mine;
pub use families::{Known, families};
pub use scrape::{JOB, keep, own_hosts};

/// A host that has not answered by then is silent.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);
/// Longest frame that is read, bytes: more than a host of the most VMs tells.
const LONGEST: usize = 320 << 10;

/// Region and name of a host.
pub type HostName = (String, String);

/// What a host answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    pub figures: HostFigures,
    /// How far its clock is ahead of this one, ms, less the time that the answer was on its way.
    pub clock_ahead_ms: f64,
}

/// How the last question to a host went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Last {
    /// When it was asked, ms since 1970.
    pub at_ms: i64,
    /// How long the answer took, s.
    pub seconds: f64,
    /// Why there is none; empty: there is one.
    pub error: String,
    /// What its network can carry, Mbit/s, and how much of that it did, in hundredths of a percent.
    pub network: Option<(u64, u64)>,
}

/// A frame from an agent.
pub type Frame = (u64, Vec<u8>, Room);

/// Everything of hosts that measure. Clones share it.
#[derive(Clone)]
pub struct Hosts {
    inner: Arc<Inner>,
}

struct Inner {
    /// None: nobody is linked.
    mesh: Option<MeshHandle>,
    frames: UnboundedSender<Frame>,
    sessions: Mutex<BTreeMap<u64, Session>>,
    last: Mutex<BTreeMap<HostName, Last>>,
    asked: Asked<Measured>,
    log: Log,
    instruments: Instruments,
}

/// An agent's connection.
struct Session {
    name: HostName,
    /// It said that it answers.
    answers: bool,
    lines: Allowance,
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// Those that are linked to `mesh`; what they send comes out at the other end, for [`Hosts::hear`].
    pub fn new(
        mesh: Option<MeshHandle>,
        log: Log,
        instruments: Instruments,
    ) -> (Hosts, UnboundedReceiver<Frame>) {
        let (frames, incoming) = unbounded_channel();
        let inner = Inner {
            mesh,
            frames,
            sessions: Mutex::default(),
            last: Mutex::default(),
            asked: Asked::new(),
            log,
            instruments,
        };
        (Hosts { inner: Arc::new(inner) }, incoming)
    }

    /// An agent is linked.
    pub fn up(&self, session: u64, region: &str, host: &str) {
        let name = (region.to_owned(), host.to_owned());
        let lines = Allowance::full(Instant::now());
        held(&self.inner.sessions).insert(session, Session { name, answers: false, lines });
    }

    /// Its link ended.
    pub fn down(&self, session: u64) {
        held(&self.inner.sessions).remove(&session);
    }

    /// A frame of its came. Never waits.
    pub fn receive(&self, session: u64, bytes: Vec<u8>, room: Room) {
        // Nobody hears when the process stops.
        let _ = self.inner.frames.send((session, bytes, room));
    }

    /// Deals with what agents send, until the process stops.
    pub async fn hear(self, mut incoming: UnboundedReceiver<Frame>) {
        while let Some((session, bytes, _room)) = incoming.recv().await {
            if bytes.len() > LONGEST {
                continue;
            }
            match decode::<AgentSaid>(&bytes) {
                Ok(AgentSaid::Measures) => {
                    if let Some(known) = held(&self.inner.sessions).get_mut(&session) {
                        known.answers = true;
                    }
                    // It may send its lines now.
                    self.tell(session, ServerAsked::Kept(0));
                }
                Ok(AgentSaid::Figures(figures)) if figures.is_bounded() => self.measured(session, *figures),
                Ok(AgentSaid::Lines(lines)) if lines.is_bounded() => {
                    let through = lines.through;
                    self.keep_lines(session, lines);
                    self.tell(session, ServerAsked::Kept(through));
                }
                // More than may be told, or of a later version.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn measured(&self, session: u64, figures: HostFigures) {
        let question = figures.question;
        let clock_ahead_ms = figures.wall_ms as f64 - clock::wall().0 as f64;
        self.inner.asked.answered(session, question, Measured { figures, clock_ahead_ms });
    }

    fn tell(&self, session: u64, what: ServerAsked) -> bool {
        let sent = self.inner.mesh.as_ref().map(|mesh| mesh.send_agent(session, encode(&what)));
        matches!(sent, Some(Sent::Queued))
    }

    /// Whom this process asks: its region's hosts, and those of other regions that are linked here and answer.
    pub fn to_ask(&self, own: Vec<HostName>) -> BTreeSet<HostName> {
        let sessions = held(&self.inner.sessions);
        let linked = sessions.values().filter(|session| session.answers).map(|session| session.name.clone());
        own.into_iter().chain(linked).collect()
    }

    /// Asks a host what it measures now.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn measure(&self, name: &HostName) -> Result<Measured, String> {
        let session = {
            let sessions = held(&self.inner.sessions);
            // The newest connection counts.
            let mut of = sessions.iter().rev().filter(|(_, session)| session.name == *name);
            let (id, session) = of.next().ok_or("its agent is not linked here")?;
            if !session.answers {
                return Err("its agent is of a version that measures nothing".to_owned());
            }
            *id
        };
        let mut question = self.inner.asked.begin(session);
        if !self.tell(session, ServerAsked::Measure(question.id)) {
            return Err("its agent can't be asked: the link is down or full".to_owned());
        }
        match timeout(ANSWERED_WITHIN, question.answers.recv()).await {
            Ok(Some(measured)) => Ok(measured),
            _ => Err(format!("no answer within {} s", ANSWERED_WITHIN.as_secs())),
        }
    }

    /// How the last question to each host went.
    pub fn last(&self) -> BTreeMap<HostName, Last> {
        held(&self.inner.last).clone()
    }

    /// How much of what the networks of a region's hosts can carry they did, percent; none: not known.
    pub fn network_utilization(&self, region: &str) -> Option<f64> {
        let last = held(&self.inner.last);
        let known = last.iter().filter(|((of, _), _)| of == region).filter_map(|(_, last)| last.network);
        let (all, used) = known.fold((0.0, 0.0), |(all, used), (mbps, basis_points)| {
            (all + mbps as f64, used + mbps as f64 * basis_points as f64 / 100.0)
        });
        (all > 0.0).then(|| used / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_linked_and_answers_is_asked_beside_the_regions_own_hosts() {
        let (hosts, _incoming) = Hosts::new(None, Log::silent("us-east-1"), Instruments::new("us-east-1"));
        let name = |region: &str, host: &str| (region.to_owned(), host.to_owned());
        let own = || vec![name("us-east-1", "h1"), name("us-east-1", "h2")];
        for (session, region, host) in [(1, "us-east-1", "h1"), (2, "pool", "h3"), (3, "pool", "h4")] {
            hosts.up(session, region, host);
        }
        assert_eq!(hosts.to_ask(own()), own().into_iter().collect());
        for session in [1, 2] {
            held(&hosts.inner.sessions).get_mut(&session).unwrap().answers = true;
        }
        let all = [name("pool", "h3"), name("us-east-1", "h1"), name("us-east-1", "h2")];
        assert_eq!(hosts.to_ask(own()), all.into());
        hosts.down(2);
        assert_eq!(hosts.to_ask(own()), own().into_iter().collect());
    }
}
