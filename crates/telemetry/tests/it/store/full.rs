//! A disk or a memory that is full.

use dwcp_telemetry::store::{Config, Store, StoreError};

use super::memory::Memory;
use super::{open, read, row, series, small};

#[test]
fn a_full_disk_refuses_clearly_and_goes_on_when_there_is_space() {
    let (disk, config) = (Memory::default(), small());
    let store = open(&disk, config.clone(), 0);
    let all: Vec<_> = (0..10).map(|n| series("requests_total", n)).collect();
    let (mut kept, mut refused) = (0, 0);
    for n in 0..200i64 {
        let now_ms = n * 1_000;
        let room = [None, Some(0), Some(1), Some(70), Some(150)][(n / 10) as usize % 5];
        disk.set_room(room);
        let rows: Vec<_> = all.iter().map(|series| row(series, now_ms, n as f64)).collect();
        match store.append(&rows, now_ms) {
            Ok(appended) => kept += appended.added,
            Err(error) => {
                assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
                assert!(error.to_string().contains("the disk is full"));
                assert!(room.is_some());
                refused += 1;
            }
        }
        for problem in store.maintain(now_ms).problems {
            assert!(matches!(problem, StoreError::NoSpace { .. }), "{problem}");
        }
    }
    assert!(refused > 50 && kept > 500, "{refused} {kept}");
    let count = |store: &Store| read(store).iter().map(|series| series.samples.len() as u64).sum::<u64>();
    assert_eq!(count(&store), kept);
    disk.set_room(None);
    assert_eq!(store.maintain(200_000).problems, []);
    drop(store);
    let store = open(&disk, config, 200_000);
    assert_eq!(count(&store), kept);
}

#[test]
fn memory_is_bounded_a_block_is_written_early_and_appends_are_refused_when_that_fails() {
    let disk = Memory::default();
    let config = Config { head_bytes_max: 20_000, ..small() };
    let store = open(&disk, config, 0);
    let all: Vec<_> = (0..100).map(|n| series("requests_total", n)).collect();
    let append = |n: i64| {
        let rows: Vec<_> = all.iter().map(|series| row(series, n * 400, 1.0 / (1 + n) as f64)).collect();
        store.append(&rows, n * 400)
    };
    let mut refused = None;
    for n in 0..40 {
        if let Err(error) = append(n) {
            refused = Some(error);
        }
    }
    assert!(matches!(refused, Some(StoreError::MemoryFull { limit: 20_000, .. })), "{refused:?}");
    // Nothing is older than the window for samples out of order: it is given up.
    let kept = store.stats().head_samples;
    assert_eq!(store.maintain(40 * 400).problems, []);
    let stats = store.stats();
    assert!(stats.fine_blocks == 1 && stats.head_bytes < 10_000, "{stats:?}");
    assert_eq!(stats.head_samples + stats.fine_samples, kept);
    append(40).expect("there is room again");
}
