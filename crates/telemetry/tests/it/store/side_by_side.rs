//! Threads beside each other, and a real folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use dwcp_telemetry::model::Matcher;
use dwcp_telemetry::store::Store;
use dwcp_telemetry::store::disk::Folder;

use super::memory::Memory;
use super::{open, read, read_one, row, series, small};

#[test]
fn readers_see_every_sample_once_while_memory_becomes_blocks() {
    let store = open(&Memory::default(), small(), 0);
    let (kept, done) = (AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let all: Vec<_> = (0..5).map(|n| series("up", n)).collect();
            for n in 0..400 {
                let rows: Vec<_> = all.iter().map(|series| row(series, n * 1_000, n as f64)).collect();
                store.append(&rows, n * 1_000).expect("kept");
                kept.store(n + 1, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                assert_eq!(store.maintain(kept.load(Ordering::SeqCst) * 1_000).problems, []);
                std::thread::yield_now();
            }
        });
        while !done.load(Ordering::SeqCst) {
            let least = kept.load(Ordering::SeqCst);
            let times: Vec<i64> =
                read_one(&store, Matcher::equal("instance", "host-3")).iter().map(|one| one.0).collect();
            let most = kept.load(Ordering::SeqCst) + 1;
            assert!((least..=most).contains(&(times.len() as i64)), "{} of {least} to {most}", times.len());
            assert!(times.iter().zip(0..).all(|(at_ms, n)| *at_ms == n * 1_000), "{times:?}");
        }
    });
    assert!(store.maintain(400_000).problems.is_empty() && store.stats().fine_blocks > 0);
}

struct TempFolder(PathBuf);

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_of_the_file_system_keeps_log_and_blocks() {
    let folder = TempFolder(std::env::temp_dir().join(format!("dwcp-metrics-{}", std::process::id())));
    let open = || {
        Store::open(Arc::new(Folder::new(&folder.0).expect("a folder")), small(), 500_000).expect("a store")
    };
    let counter = series("requests_total", 1);
    let (store, _) = open();
    for n in 0..300 {
        store.append(&[row(&counter, n * 1_000, n as f64)], n * 1_000).expect("kept");
        assert_eq!(store.maintain(n * 1_000).problems, []);
    }
    drop(store);
    // What a process that was killed leaves.
    std::fs::write(folder.0.join("fine-0-60000.block.new"), b"half").expect("a file");
    let (store, opened) = open();
    assert_eq!(opened.found, [""; 0]);
    assert!(opened.replayed > 0 && store.stats().fine_blocks > 0);
    assert_eq!(read(&store)[0].samples.len(), 300);
    assert!(!folder.0.join("fine-0-60000.block.new").exists());
}
