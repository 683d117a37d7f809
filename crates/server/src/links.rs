//! What the mesh and this process tell the node: frames, agents, links, load.

use std::time::Duration;

use dwcp_mesh::{Class, LinkStats, MeshEvent, MeshHandle};
use dwcp_roles::node::{Input, LinkReading, Measures};
use dwcp_types::decode;
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::handle::NodeHandle;
use crate::inspect;
use crate::log::Log;
use crate::placement_times::PlacementTimes;
use crate::program::fetch::Incoming;
use crate::telemetry;
use crate::telemetry::hosts::{self, Hosts};
use crate::writer::CommitTimes;

const LINKS_EVERY: Duration = Duration::from_millis(250);
const MEASURES_EVERY: Duration = Duration::from_secs(1);

/// Where frames between shells go: those of programs, of the inspector, of what was measured.
pub type Doors = (UnboundedSender<Incoming>, UnboundedSender<Incoming>, UnboundedSender<Incoming>);

/// Passes what happens on the mesh on to the node, until the mesh ends.
pub async fn pass_events(
    mut events: Receiver<MeshEvent>,
    mesh: MeshHandle,
    node: NodeHandle,
    (programs, inspector, measured): Doors,
    hosts: Hosts,
    log: Log,
) {
    while let Some(event) = events.recv().await {
        match event {
            // Nothing that the node decides by: pieces of programs, what processes say of themselves and measured.
            MeshEvent::Frame { from, class: Class::Bulk, bytes, .. } => {
                let to = match () {
                    () if inspect::is_mine(&bytes) => &inspector,
                    () if telemetry::is_mine(&bytes) => &measured,
                    () => &programs,
                };
                let _ = to.send((from, bytes));
            }
            MeshEvent::Frame { from, bytes, room, .. } => node.receive(Input::Mesh { from, bytes }, room),
            MeshEvent::AgentUp { session, region, host, remote } => {
                log.info("monitor", format!("agent of host {host} of {region} connected from {remote}"));
                hosts.up(session, &region, &host);
                let (region, host) = (region.as_str().into(), host.as_str().into());
                node.tell(Input::AgentUp { session, region, host });
            }
            MeshEvent::AgentFrame { session, bytes, room } if hosts::is_mine(&bytes) => {
                hosts.receive(session, bytes, room);
            }
            MeshEvent::AgentFrame { session, bytes, room } => {
                node.receive(Input::AgentFrame { session, bytes }, room);
            }
            MeshEvent::AgentDown { session } => {
                log.info("monitor", format!("agent connection {session} ended"));
                hosts.down(session);
                node.tell(Input::AgentDown { session });
            }
            MeshEvent::ReplicaUp { session, region, host, slot } => {
                let (region, host) = (region.as_str().into(), host.as_str().into());
                node.tell(Input::ReplicaUp { session, region, host, slot });
            }
            // Read here, and not on the node's thread: a report on every host is long.
            MeshEvent::ReplicaFrame { session, bytes, room } => match decode(&bytes) {
                Ok(said) => node.receive(Input::ReplicaSaid { session, said: Box::new(said) }, room),
                Err(error) => {
                    log.warning(
                        "federation-controller",
                        format!("a controller's frame can't be read: {error}"),
                    );
                    mesh.close_agent(session, "a frame can't be read");
                }
            },
            MeshEvent::ReplicaDown { session } => node.tell(Input::ReplicaDown { session }),
            MeshEvent::Up { node } => log.info("monitor", format!("the link to node {node} is up")),
            MeshEvent::Down { node } => log.warning("monitor", format!("the link to node {node} is down")),
            MeshEvent::Refused { remote, reason } => {
                log.warning("security", format!("turned {remote} away: {reason}"));
            }
        }
    }
}

/// Tells the node what its links and its process are like, for as long as the process lives.
pub async fn measure(mesh: MeshHandle, node: NodeHandle, times: CommitTimes, placements: PlacementTimes) {
    let mut links = interval(LINKS_EVERY);
    links.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut load = Load::begin();
    loop {
        links.tick().await;
        let policy = node.look(|view| {
            let policy = &view.node.facts().core.policy;
            (policy.append_messages(), policy.plain_frames)
        });
        let (append_messages, plain_frames) = policy.await.unwrap_or_default();
        mesh.compress(!plain_frames);
        let stats = mesh.stats();
        node.tell(Input::Links(stats.iter().map(reading).collect()));
        if let Some(measures) = load.due(&times, &placements) {
            let (framed_bytes, sent_bytes) = (
                stats.iter().map(|link| link.framed_bytes).sum(),
                stats.iter().map(|link| link.sent_bytes).sum(),
            );
            let measures = Measures { append_messages, plain_frames, framed_bytes, sent_bytes, ..measures };
            node.tell(Input::Measures(measures));
        }
    }
}

fn reading(link: &LinkStats) -> LinkReading {
    let us = |ms: Option<f64>| ms.map_or(0, |ms| (ms * 1_000.0) as u64);
    LinkReading {
        node: link.node,
        up: link.up,
        rtt_p50_us: us(link.rtt_p50_ms),
        rtt_p99_us: us(link.rtt_p99_ms),
        loss_basis_points: (link.loss_percent * 100.0) as u64,
        throughput_bps: link.throughput_bps,
        queued_frames: link.queues.iter().map(|queue| queue.frames).sum(),
        queued_bytes: link.queues.iter().map(|queue| queue.bytes).sum(),
    }
}

/// Memory and processor time of this process.
struct Load {
    at: Instant,
    cpu_us: u64,
}

impl Load {
    fn begin() -> Load {
        Load { at: Instant::now(), cpu_us: cpu_us() }
    }

    fn due(&mut self, times: &CommitTimes, placements: &PlacementTimes) -> Option<Measures> {
        let elapsed = self.at.elapsed();
        if elapsed < MEASURES_EVERY {
            return None;
        }
        let used_us = cpu_us().saturating_sub(self.cpu_us);
        *self = Load::begin();
        let (p50_us, p95_us, p99_us) = placements.quantiles_us();
        Some(Measures {
            rss_mib: rss_mib(),
            cpu_percent: used_us * 100 / (elapsed.as_micros() as u64).max(1),
            fsync_p50_us: times.p50_us(),
            placement_us: (p50_us, p95_us),
            placement_p99_us: p99_us,
            ..Measures::default()
        })
    }
}

/// Processor time of this process, µs.
fn cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which lives through it.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// Resident memory, MiB; 0 where the kernel does not tell.
fn rss_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: reads a constant of the system.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as u64;
    (pages * page_bytes) >> 20
}
