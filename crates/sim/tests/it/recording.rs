//! What `dwcpd run --record` writes can be looked at.

use dwcp_sim::recording::summary;

fn record(mono_us: u64, kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() + 17) as u32;
    let head = [&length.to_le_bytes()[..], &mono_us.to_le_bytes(), &[0; 8], &[kind]].concat();
    [&head, content].concat()
}

#[test]
fn a_recording_is_counted_by_kind() {
    let bytes =
        [record(1_000_000, 0, &[]), record(1_500_000, 1, b"frame"), record(3_000_000, 1, b"")].concat();
    let lines = summary(&bytes).expect("it is whole");
    assert_eq!(lines[0], "3 inputs in 2.000 s");
    assert_eq!(
        lines[1..].iter().map(|line| line.trim()).collect::<Vec<_>>(),
        ["1 wake-ups", "2 frames of other nodes"]
    );
}

#[test]
fn what_is_no_recording_is_refused() {
    let whole = record(1, 1, b"frame");
    assert!(summary(&whole[..whole.len() - 1]).is_err());
    assert!(summary(b"#!/bin/sh\n").is_err());
    assert!(summary(&record(1, 77, &[])).is_err());
    assert!(summary(&[1, 0, 0, 0, 0]).is_err());
}
