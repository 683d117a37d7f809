//! Full queues and priorities.

use std::time::{Duration, Instant};

use dwcp_mesh::{Class, DropReason, Limits, LinkShape, MeshEvent, Sent};

use crate::agents::agent;
use crate::federation::{Federation, Region, delay, frame_from, uniform};
use crate::lateness::Lateness;

/// Bytes that zstd cannot shorten.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn slow(rate_bps: u64) -> LinkShape {
    LinkShape { delay_us: 10_000, rate_bps: Some(rate_bps), ..LinkShape::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_instead_of_growing() {
    let limits = Limits { queue_bytes: [1 << 20; 4], frame_bytes: 2 << 20, ..Limits::default() };
    let f = Federation::start(2, uniform(slow(1_000_000)), limits).await;
    let mesh = &f.regions[0].mesh;
    let frame = noise(256 << 10);
    let outcomes: Vec<Sent> = (0..80).map(|_| mesh.send(2, Class::Bulk, frame.clone())).collect();
    assert!(outcomes.iter().filter(|s| **s == Sent::Queued).count() < 60);
    assert!(outcomes.contains(&Sent::Dropped(DropReason::Full)));
    let link = mesh.stats().remove(0);
    let bulk = link.queues[Class::Bulk.index()];
    assert!(bulk.bytes <= 1 << 20, "{bulk:?}");
    assert!(bulk.dropped >= 20, "{bulk:?}");
    // Other classes have their own room.
    assert_eq!(mesh.send(2, Class::Consensus, frame.clone()), Sent::Queued);
    assert_eq!(mesh.send(2, Class::State, noise((2 << 20) + 1)), Sent::Dropped(DropReason::TooLarge));
    f.stop().await;
}

/// Reads on without giving any room back, until nothing has come for a while.
async fn kept(region: &mut Region) -> Vec<MeshEvent> {
    let mut kept = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), region.events.recv()).await {
        kept.push(event);
    }
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_kept_hold_up_their_class_and_no_other() {
    let limits = Limits { queue_bytes: [4 << 20; 4], frame_bytes: 2 << 20, ..Limits::default() };
    let mut f = Federation::start(2, uniform(delay(5)), limits).await;
    let mesh = f.regions[0].mesh.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..12 {
            // Zeros: next to nothing on the wire, a mebibyte when unpacked.
            while mesh.send(2, Class::Bulk, vec![0; 1 << 20]) != Sent::Queued {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let first = kept(&mut f.regions[1]).await;
    assert_eq!(first.len(), 4, "as many as there is room for");
    let urgent = vec![0; 1 << 20];
    assert_eq!(f.regions[0].mesh.send(2, Class::Consensus, urgent), Sent::Queued);
    f.regions[1].expect(|e| matches!(e, MeshEvent::Frame { class: Class::Consensus, .. }), 1_000).await;
    drop(first);
    for _ in 4..12 {
        f.regions[1].expect(frame_from(1), 1_000).await;
    }
    sending.await.expect("the sender ends");
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_agents_have_room_together_as_well() {
    let limits = Limits { agents_intake_bytes: 3 << 20, ..Limits::default() };
    let mut f = Federation::start(1, uniform(delay(5)), limits).await;
    let (agent, mut events) = agent(&f);
    events.recv().await.expect("the link is up");
    f.regions[0].expect(|e| matches!(e, MeshEvent::AgentUp { .. }), 1_000).await;
    for _ in 0..7 {
        assert_eq!(agent.send(vec![0; 1 << 20]), Sent::Queued);
    }
    let first = kept(&mut f.regions[0]).await;
    assert_eq!(first.len(), 3, "as many as there is room for");
    drop(first);
    for _ in 3..7 {
        f.regions[0].expect(|e| matches!(e, MeshEvent::AgentFrame { .. }), 1_000).await;
    }
    agent.shutdown().await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consensus_frame_is_not_delayed_behind_twenty_mebibytes_of_bulk() {
    let mut f = Federation::start(2, uniform(slow(20_000_000)), Limits::default()).await;
    let bulk = noise(20 << 20);
    let mesh = f.regions[0].mesh.clone();
    assert_eq!(mesh.send(2, Class::Bulk, bulk), Sent::Queued);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (begin, lateness) = (Instant::now(), Lateness::start());
    let sending = tokio::spawn(async move {
        for _ in 0..40 {
            let sent_us = begin.elapsed().as_micros() as u64;
            mesh.send(2, Class::Consensus, sent_us.to_be_bytes().to_vec());
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let mut ages_ms = Vec::new();
    while ages_ms.len() < 40 {
        if let MeshEvent::Frame { class, bytes, .. } = f.regions[1].expect(frame_from(1), 4000).await {
            assert_eq!(class, Class::Consensus, "the bulk frame needs 8 s");
            let sent_us = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
            ages_ms.push((begin.elapsed().as_micros() as u64 - sent_us) as f64 / 1e3);
        }
    }
    sending.await.expect("the sender ends");
    ages_ms.sort_by(f64::total_cmp);
    println!("consensus behind bulk at 20 Mbit/s, 10 ms: p50 {:.1}, max {:.1} ms", ages_ms[20], ages_ms[39]);
    let late_ms = lateness.worst_since(begin).as_secs_f64() * 1e3;
    let fine = ages_ms[20] < 120.0 + late_ms && ages_ms[39] < 500.0 + 2.0 * late_ms;
    assert!(fine, "{ages_ms:?}; the machine itself was {late_ms} ms late");
    let link = f.regions[0].mesh.stats().remove(0);
    println!("{link:?}");
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run alone with --ignored --nocapture"]
async fn bulk_throughput() {
    let ideal = LinkShape::default();
    let far = LinkShape { delay_us: 40_000, ..ideal };
    let lossy = LinkShape { delay_us: 40_000, loss_ppm: 1000, ..ideal };
    for (name, shape) in [("no delay", ideal), ("80 ms", far), ("80 ms, 0.1 % loss", lossy)] {
        let mut f = Federation::start(2, uniform(shape), Limits::default()).await;
        let frame = noise(4 << 20);
        let (begin, count) = (Instant::now(), 8);
        for _ in 0..count {
            assert_eq!(f.regions[0].mesh.send(2, Class::Bulk, frame.clone()), Sent::Queued);
        }
        for _ in 0..count {
            f.regions[1].expect(frame_from(1), 30_000).await;
        }
        let mbit = (count * frame.len() * 8) as f64 / 1e6 / begin.elapsed().as_secs_f64();
        println!("bulk, {name}: {mbit:.0} Mbit/s, loss {:.2} %", f.regions[0].mesh.stats()[0].loss_percent);
        f.stop().await;
    }
}
