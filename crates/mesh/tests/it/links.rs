//! Frames, round trips, cuts and loss between regions.

use std::time::{Duration, Instant};

use dwcp_mesh::wan::published_rtt_ms;
use dwcp_mesh::{Class, DropReason, Limits, LinkTable, MeshEvent, Sent};

use crate::federation::{Federation, delay, frame_from, published, uniform, until};
use crate::lateness::Lateness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_regions_exchange_frames_of_every_class() {
    let mut f = Federation::start(5, published(), Limits::default()).await;
    let payload = |class: Class| {
        let mut text = b"state of the federation ".repeat(if class == Class::Bulk { 20_000 } else { 3 });
        text.push(class as u8);
        text
    };
    for from in &f.regions {
        for to in f.regions.iter().filter(|to| to.node != from.node) {
            for class in Class::ALL {
                let send = || from.mesh.send(to.node, class, payload(class)) == Sent::Queued;
                until(4000, "a link that is up", send).await;
            }
        }
    }
    for region in &mut f.regions {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 16 {
            let event = region.expect(|e| matches!(e, MeshEvent::Frame { .. }), 4000).await;
            if let MeshEvent::Frame { from, class, bytes, .. } = event {
                assert_eq!(bytes, payload(class));
                assert!(seen.insert((from, class)), "twice");
            }
        }
    }
    let sent: u64 = f.regions[0].mesh.stats().iter().map(|s| s.sent_bytes).sum();
    assert!(sent < 100_000, "text of 4 x 480 kB is sent compressed, not as {sent} bytes");
    f.stop().await;
}

/// How much longer each link's median round trip is than the published one, sorted.
fn above_the_matrix_ms(f: &Federation) -> Vec<f64> {
    let mut above_ms = Vec::new();
    for region in &f.regions {
        for link in region.mesh.stats() {
            let set = published_rtt_ms(region.name, &link.region).expect("a published pair");
            above_ms.push(link.rtt_p50_ms.expect("answered pings") - set);
        }
    }
    above_ms.sort_by(f64::total_cmp);
    above_ms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_trips_follow_the_matrix_within_three_milliseconds() {
    let f = Federation::start(5, published(), Limits::default()).await;
    // Other work on the machine holds pings up, so the best of some looks counts; no look may be too quick.
    let (mut looks, lateness) = (Vec::new(), Lateness::start());
    for _ in 0..8 {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(3000)).await;
        let above_ms = above_the_matrix_ms(&f);
        println!("medians above the matrix, ms: {above_ms:.2?}");
        assert!(above_ms[0] > -0.2, "no link is quicker than set");
        let (middle, last) = (above_ms[above_ms.len() / 2], above_ms[above_ms.len() - 1]);
        // A ping and its answer wake some ten threads one after the other.
        let late_ms = 10.0 * lateness.mean_since(began).as_secs_f64() * 1e3;
        looks.push((middle, last, late_ms));
        if middle < 3.0 + late_ms && last < 25.0 + 2.0 * late_ms {
            f.stop().await;
            return;
        }
    }
    panic!("above the matrix, ms: (median link, worst link, what the machine adds) {looks:?}");
}

/// User and system time of this process, milliseconds (the kernel counts in ticks of 10 ms).
fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number") * 10).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run alone with --ignored --nocapture"]
async fn five_idle_meshes_use_little_processor_time() {
    let f = Federation::start(5, published(), Limits::default()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (start, before) = (Instant::now(), processor_ms());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let percent = (processor_ms() - before) as f64 / start.elapsed().as_millis() as f64 * 100.0;
    println!("five idle meshes, 20 connections: {percent:.1} % of one core");
    assert!(percent < 40.0, "{percent}");
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_one_way_delivers_nothing_that_way_and_heals_in_two_seconds() {
    let mut f = Federation::start(2, uniform(delay(20)), Limits::default()).await;
    f.edit(|t| t.set_cut("us-east-1", "eu-west-1", true));
    let beats = |f: &Federation| {
        f.regions[0].mesh.send(2, Class::Consensus, b"beat".to_vec());
    };
    // Long enough for the connection to die (3 s), so that healing needs a new one.
    let start = Instant::now();
    let mut delivered = 0;
    while start.elapsed() < Duration::from_millis(4200) {
        beats(&f);
        delivered += f.regions[1].count(frame_from(1), 50).await;
    }
    assert_eq!(delivered, 0);
    let link = f.regions[0].mesh.stats().remove(0);
    assert!(!link.up && link.loss_percent > 10.0, "{link:?}");
    assert_eq!(f.regions[0].mesh.send(2, Class::Consensus, vec![1]), Sent::Dropped(DropReason::Down));
    f.edit(|t| t.set_cut("us-east-1", "eu-west-1", false));
    let (healed, lateness) = (Instant::now(), Lateness::start());
    while f.regions[1].count(frame_from(1), 20).await == 0 {
        beats(&f);
        lateness.assert_within("not healed", healed, Duration::from_secs(2));
    }
    println!("healed after {:?}", healed.elapsed());
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_cut_does_not_lose_the_connection() {
    let mut f = Federation::start(2, uniform(delay(20)), Limits::default()).await;
    f.edit(|t| t.set_region_cut("eu-west-1", true));
    f.regions[0].mesh.send(2, Class::Consensus, b"late".to_vec());
    assert_eq!(f.regions[1].count(frame_from(1), 700).await, 0);
    f.edit(|t| t.set_region_cut("eu-west-1", false));
    let start = Instant::now();
    f.regions[1].expect(frame_from(1), 2000).await;
    println!("after the cut: {:?}", start.elapsed());
    assert_eq!(f.regions[0].mesh.stats()[0].reconnects, 0);
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_frames_stay_quick_under_one_percent_of_loss() {
    let mut shape = delay(40);
    shape.loss_ppm = 10_000;
    let mut f = Federation::start(2, uniform(shape), Limits::default()).await;
    let sender = f.regions[0].mesh.clone();
    let (begin, lateness) = (Instant::now(), Lateness::start());
    let sending = tokio::spawn(async move {
        for _ in 0..400 {
            let now_us = begin.elapsed().as_micros() as u64;
            sender.send(2, Class::Consensus, now_us.to_be_bytes().repeat(25));
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    });
    let mut ages_ms = Vec::new();
    for _ in 0..400 {
        if let MeshEvent::Frame { bytes, .. } = f.regions[1].expect(frame_from(1), 3000).await {
            let sent_us = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
            ages_ms.push((begin.elapsed().as_micros() as u64 - sent_us) as f64 / 1e3);
        }
    }
    sending.await.expect("the sender ends");
    ages_ms.sort_by(f64::total_cmp);
    println!(
        "one way 40 ms, 1 % loss: p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1} ms",
        ages_ms[200], ages_ms[360], ages_ms[395], ages_ms[399]
    );
    let late_ms = lateness.worst_since(begin).as_secs_f64() * 1e3;
    assert!(ages_ms[200] < 60.0 + late_ms, "median {}, machine {late_ms}", ages_ms[200]);
    assert!(ages_ms[395] < 400.0 + 2.0 * late_ms, "p99 {}, machine {late_ms}", ages_ms[395]);
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_can_be_added_and_removed() {
    let mut f = Federation::start(3, LinkTable::default(), Limits::default()).await;
    let peers = f.peers();
    f.regions[0].mesh.set_peers(peers[..2].to_vec()).expect("peers");
    f.regions[0].expect(|e| *e == MeshEvent::Down { node: 3 }, 1000).await;
    assert_eq!(f.regions[0].mesh.send(3, Class::State, vec![1]), Sent::Dropped(DropReason::Unknown));
    f.regions[0].mesh.set_peers(peers).expect("peers");
    f.regions[0].expect(|e| *e == MeshEvent::Up { node: 3 }, 3000).await;
    let mesh = f.regions[0].mesh.clone();
    until(1000, "both links up", || mesh.stats().iter().filter(|s| s.up).count() == 2).await;
    f.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_uncompressed_arrives_the_same_and_takes_its_length() {
    let mut f = Federation::start(2, uniform(delay(1)), Limits::default()).await;
    let text = b"state of the federation ".repeat(20_000);
    let mut sent_bytes = 0;
    for (compress, least, most) in [(true, 0, 50_000), (false, text.len() as u64, 600_000), (true, 0, 50_000)]
    {
        f.regions[0].mesh.compress(compress);
        let send = || f.regions[0].mesh.send(2, Class::State, text.clone()) == Sent::Queued;
        until(4000, "a link that is up", send).await;
        let event = f.regions[1].expect(frame_from(1), 4000).await;
        assert!(matches!(&event, MeshEvent::Frame { bytes, .. } if *bytes == text), "compressed: {compress}");
        // The sender counts when its stream has taken all of it.
        let counted = || f.regions[0].mesh.stats()[0].framed_bytes % text.len() as u64 == 0;
        until(4000, "what was sent is counted", counted).await;
        let stats = f.regions[0].mesh.stats().remove(0);
        let taken = stats.sent_bytes - sent_bytes;
        assert!((least..most).contains(&taken), "compressed: {compress}: {taken} bytes");
        sent_bytes = stats.sent_bytes;
    }
    f.stop().await;
}
