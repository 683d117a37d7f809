//! Bytes that an earlier version wrote are read by this one. The files are never changed.

use std::path::PathBuf;

use dwcp_state::{Envelope, Federation};
use dwcp_types::{decode, encode};

use super::samples;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn facts_written_by_version_1_are_read() {
    let mut view = Federation::default();
    view.open_group(1, &"a".into());
    view.restore(0, &read("v1-core.bin")).expect("the core of version 1");
    view.restore(1, &read("v1-region.bin")).expect("the region of version 1");
    assert_eq!(view.core, samples::core());
    assert_eq!(view.regions[&"a".into()], samples::region_facts());
}

#[test]
fn commands_written_by_version_1_are_read() {
    let envelopes: Vec<Envelope> = decode(&read("v1-commands.bin")).expect("the commands of version 1");
    let expected: Vec<Envelope> = samples::commands().into_iter().map(samples::envelope).collect();
    assert_eq!(envelopes, expected);
}

/// Run once when a format is new: `cargo test -p dwcp-state -- --ignored golden`. It never overwrites.
#[test]
#[ignore = "writes the files of a new format"]
fn golden_files_are_written_once() {
    let mut view = Federation::default();
    view.open_group(1, &"a".into());
    view.core = samples::core();
    view.regions.insert("a".into(), samples::region_facts());
    let commands: Vec<Envelope> = samples::commands().into_iter().map(samples::envelope).collect();
    for (name, bytes) in [
        ("v1-core.bin", view.snapshot(0)),
        ("v1-region.bin", view.snapshot(1)),
        ("v1-commands.bin", encode(&commands)),
    ] {
        if !path(name).exists() {
            std::fs::write(path(name), bytes).expect("the folder can be written");
        }
    }
}
