//! The file of the emulated WAN.

use dwcp_mesh::{LinkTable, Wan};

use crate::federation::until;

#[tokio::test]
async fn a_change_of_the_file_is_obeyed_soon_and_a_broken_file_changes_nothing() {
    let dir = std::env::temp_dir().join(format!("dwcp-wan-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join("wan.toml");
    let mut table = LinkTable::development();
    table.store(&path).expect("stored");
    let wan = Wan::watch(&path).expect("a table");
    assert_eq!(*wan.table(), table);
    table.set_region_cut("sa-east-1", true);
    table.store(&path).expect("stored");
    let took = until(1000, "the cut is seen", || wan.is_cut("us-east-1", "sa-east-1")).await;
    println!("seen after {took:?}");
    assert!(!wan.is_cut("sa-east-1", "sa-east-1"), "a region is never cut inside");
    // Whole or not at all: an empty file would be a good one.
    let broken = dir.join("broken.toml");
    std::fs::write(&broken, "[links]\nnonsense\n").expect("written");
    std::fs::rename(&broken, &path).expect("renamed");
    until(1000, "the error is told", || wan.error().is_some_and(|e| e.contains("line 2"))).await;
    assert!(wan.is_cut("us-east-1", "sa-east-1"));
    std::fs::remove_dir_all(&dir).expect("removed");
}
