//! What `dwcpd run --record` writes runs again, and shows where it differs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use dwcp_consensus::{Config, Disk as _, GroupSetup, Input as RaftInput, MultiRaft, Output};
use dwcp_roles::node::{Asked, CreateVm, Effect, Input, Node, NodeConfig, Request};
use dwcp_roles::recording::{self, Decided, Record, from_memory};
use dwcp_sim::client::template;
use dwcp_sim::disk::Disk;
use dwcp_sim::recording::{Verdict, replay};
use dwcp_sim::world::{REGIONS, genesis};
use dwcp_state::Rules;
use dwcp_types::{Mono, Now, Wall};

/// A region alone in its federation, and what was recorded of it.
struct Lone {
    node: Node,
    disk: Disk,
    bytes: Vec<u8>,
    now_us: u64,
}

impl Lone {
    fn open(disk: Disk, now_us: u64) -> Lone {
        let mut bytes = Vec::new();
        let config = NodeConfig::new(1, BTreeMap::from([(1, REGIONS[0].into())]), genesis(1), 7 + now_us);
        let opened = recording::open(config, now(now_us), &disk, &mut |part| bytes.extend_from_slice(part));
        Lone { node: opened.expect("it opens"), disk, bytes, now_us }
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let now = now(self.now_us);
        self.bytes.extend(Record::Step(now, inputs.len() as u64).frame());
        for input in &inputs {
            self.bytes.extend(Record::Input(Cow::Borrowed(input)).frame());
        }
        let mut effects = Vec::new();
        self.node.step_all(now, inputs, &mut effects);
        self.bytes.extend(Record::Decided(Decided::of(&effects, self.node.wake_at())).frame());
        for effect in effects {
            if let Effect::Persist { seq, batch } = effect {
                self.disk.hand_over(seq, batch);
                self.disk.sync(seq);
                self.step(vec![Input::Persisted { seq }]);
            }
        }
    }

    /// Lives for some time, and is asked for a VM that no host has room for, and for the policy.
    fn live(&mut self, steps: u64) {
        for number in 0..steps {
            self.now_us += 50_000;
            let asked = Asked { by: "test".into(), key: Some(format!("key {number}")), ..Asked::default() };
            let request = match number % 40 {
                7 => {
                    let template = template("vm-1", Rules::default());
                    Some(Request::CreateVm(asked, Box::new(CreateVm { template, ..CreateVm::default() })))
                }
                23 => Some(Request::SetPolicy(asked, Default::default())),
                _ => None,
            };
            let request =
                request.map(|request| Input::Request { ticket: number, request: Box::new(request) });
            self.step(request.into_iter().collect());
        }
    }
}

fn now(mono_us: u64) -> Now {
    Now { mono: Mono(mono_us), wall: Wall(1_795_392_000_000 + mono_us / 1_000) }
}

/// A node that was restarted: it begins from a disk that holds something.
fn recorded() -> Vec<u8> {
    let mut first = Lone::open(Disk::new(0), 1_000_000);
    first.live(120);
    let mut second = Lone::open(first.disk, 9_000_000);
    assert!(second.disk.range(b"r", b"s").next().is_some(), "the first life left something");
    second.live(160);
    second.bytes
}

fn replayed(bytes: &[u8]) -> (Result<Verdict, String>, Vec<String>) {
    let mut lines = Vec::new();
    let verdict = replay(from_memory(bytes), &mut |line| lines.push(line));
    (verdict, lines)
}

#[test]
fn a_recorded_node_decides_the_same_again() {
    let (verdict, lines) = replayed(&recorded());
    assert_eq!(verdict, Ok(Verdict::Identical), "{lines:#?}");
    let text = lines.join("\n");
    for part in ["leads group 1", "requests", "replies", "batches made durable", "IDENTICAL"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn a_byte_that_changed_anywhere_is_detected() {
    let whole = recorded();
    // Every place of the first records, then places all over the file.
    for at in (0..400).chain((400..whole.len()).step_by(whole.len() / 60)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let (verdict, lines) = replayed(&bytes);
        assert_ne!(verdict, Ok(Verdict::Identical), "byte {at}: {lines:#?}");
    }
}

#[test]
fn another_input_than_the_recorded_one_is_named_with_its_step() {
    let whole = recorded();
    let mut records = recording::Records::new(from_memory(&whole)).expect("a recording");
    let mut changed = recording::MAGIC.to_vec();
    let (mut steps, mut changed_step) = (0, 0);
    while let Some(mut record) = records.next_record().expect("it is whole") {
        match &mut record {
            Record::Step(..) => steps += 1,
            Record::Input(input) => {
                if let Input::Request { ticket, .. } = input.to_mut() {
                    if changed_step == 0 {
                        (*ticket, changed_step) = (77_777, steps);
                    }
                }
            }
            _ => {}
        }
        changed.extend(record.frame());
    }
    let (verdict, lines) = replayed(&changed);
    assert_eq!(verdict, Ok(Verdict::Differs));
    let end = lines.last().expect("lines");
    assert!(end.starts_with("DIFFERS in step "), "{end}");
    let named: u64 = end.split([' ', ':']).find_map(|word| word.parse().ok()).expect("a step");
    assert!(named >= changed_step && named < changed_step + 5, "{named} for {changed_step}");
}

#[test]
fn a_recording_without_its_end_is_replayed_up_to_there() {
    let whole = recorded();
    for cut in [whole.len() - 1, whole.len() - 30, whole.len() / 2] {
        let (verdict, lines) = replayed(&whole[..cut]);
        assert_eq!(verdict, Ok(Verdict::Identical), "{lines:#?}");
        let end = lines.last().expect("lines");
        assert!(end.contains("cut off") || end.contains("ends inside"), "{end}");
    }
}

/// A disk whose log of the federation holds an entry that this version can't read: applying it fails an assertion.
fn unreadable() -> Disk {
    let mut disk = Disk::new(0);
    let mut raft = MultiRaft::new(Config::new(1, 1));
    let setup = GroupSetup { group: 0, voters: vec![1], ..GroupSetup::default() };
    raft.open(0, setup, &disk).expect("it opens");
    for round in 1..100 {
        let propose = RaftInput::Propose { group: 0, ticket: round, data: vec![0xff] };
        let mut inputs = vec![if round == 90 { propose } else { RaftInput::Wake }];
        while !inputs.is_empty() {
            let mut out = Vec::new();
            raft.step_all(round * 50_000, std::mem::take(&mut inputs), &mut out);
            for output in out {
                if let Output::Persist { seq, batch } = output {
                    disk.hand_over(seq, batch);
                    disk.sync(seq);
                    inputs.push(RaftInput::Persisted { seq });
                }
            }
        }
    }
    disk
}

#[test]
fn an_assertion_that_failed_fails_again_in_the_same_step() {
    let mut lone = Lone::open(unreadable(), 9_000_000);
    catch_unwind(AssertUnwindSafe(|| lone.live(200))).expect_err("the entry can't be read");
    let (verdict, lines) = replayed(&lone.bytes);
    assert_eq!(verdict, Ok(Verdict::Identical), "{lines:#?}");
    let end = lines.last().expect("lines");
    assert!(end.contains("fails (above), and the recording ends there"), "{end}");

    let survived = [&lone.bytes[..], &Record::Decided(Decided::default()).frame()].concat();
    let (verdict, lines) = replayed(&survived);
    assert_eq!(verdict, Ok(Verdict::Differs), "{lines:#?}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let whole = recorded();
    let headless = &whole[recording::MAGIC.len()..];
    for bytes in [&b""[..], b"#!/bin/sh\n", headless, &whole[..recording::MAGIC.len()], &whole[..100]] {
        assert!(replayed(bytes).0.is_err());
    }
}

#[test]
fn exit_codes_tell_identical_from_different_from_no_recording() {
    let file = std::env::temp_dir().join(format!("dwcp-recording-{}", std::process::id()));
    let code = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("a temporary file");
        let run = Command::new(env!("CARGO_BIN_EXE_dwcp-sim")).arg("replay").arg(&file).output();
        run.expect("it starts").status.code()
    };
    let whole = recorded();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let codes = [code(&whole), code(&whole[..whole.len() - 3]), code(&damaged), code(b"#!/bin/sh\n")];
    std::fs::remove_file(&file).expect("it was just made");
    assert_eq!(codes, [Some(0), Some(0), Some(1), Some(2)]);
}
