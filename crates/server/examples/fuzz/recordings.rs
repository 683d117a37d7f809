//! Decoders of what `dwcpd run --record` writes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dwcp_roles::node::{
    Asked, Change, CreateVm, FailoverRequest, Input, LinkReading, Measures, NodeConfig, Request, StoreCheck,
};
use dwcp_roles::recording::{self, Decided, Record, Records, from_memory};
use dwcp_state::Core;
use dwcp_types::{Mono, Now, VmId, Wall, decode, encode};

use crate::Target;
use crate::targets::Memory;

pub fn all() -> Vec<Target> {
    vec![whole(), records()]
}

/// A recording as a file: what a damaged one says of itself.
fn whole() -> Target {
    let read = |bytes: &[u8]| {
        let Ok(mut records) = Records::new(from_memory(bytes)) else { return false };
        loop {
            match records.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    Target { name: "recording", corpus: vec![recorded()], read: Box::new(read) }
}

/// The content of single records, which digests keep damage away from in a file.
fn records() -> Target {
    let read = |bytes: &[u8]| {
        let Ok(record) = decode::<Record<'static>>(bytes) else { return false };
        let written = encode(&record);
        let again = decode::<Record<'static>>(&written).expect("what was written is read again");
        assert_eq!(encode(&again), written, "what was read is written and read again");
        true
    };
    let file = recorded();
    let mut records = Records::new(from_memory(&file)).expect("it was just written");
    let mut corpus = Vec::new();
    while let Some(record) = records.next_record().expect("it was just written") {
        corpus.push(encode(&record));
    }
    Target { name: "recording-records", corpus, read: Box::new(read) }
}

/// A node that begins from a disk with a record on it and hears one of everything.
fn recorded() -> Vec<u8> {
    let mut bytes = Vec::new();
    let now = Now { mono: Mono(1_000_000), wall: Wall(1_795_442_709_042) };
    let config = NodeConfig::new(1, BTreeMap::from([(1, "a".into())]), Core::default(), 7);
    let mut disk = Memory::default();
    disk.0.insert(b"r\0\0\0\0\0\0\0\0\x01".to_vec(), vec![0; 12]);
    let opened = recording::open(config, now, &disk, &mut |part| bytes.extend_from_slice(part));
    let mut node = opened.expect("a node opens, whatever the disk holds");
    for input in inputs() {
        bytes.extend(Record::Step(now, 1).frame());
        bytes.extend(Record::Input(Cow::Borrowed(&input)).frame());
        let mut effects = Vec::new();
        node.step(now, input, &mut effects);
        bytes.extend(Record::Decided(Decided::of(&effects, node.wake_at())).frame());
    }
    bytes
}

fn inputs() -> Vec<Input> {
    let asked = Asked {
        by: "admin".into(),
        key: Some("k".into()),
        digest: 9,
        request_id: "req_1".into(),
        ..Asked::default()
    };
    let requests = vec![
        Request::CreateVm(
            asked.clone(),
            Box::new(CreateVm { users_in: Some("a".into()), ..CreateVm::default() }),
        ),
        Request::PreviewVms(Box::default(), 3),
        Request::ChangeVm(asked.clone(), VmId(7), Change::Restart),
        Request::ChangeRegion(asked.clone(), Default::default()),
        Request::SetPolicy(asked.clone(), Default::default()),
        Request::SetFreeze(asked.clone(), Default::default()),
        Request::PutToken(asked.clone(), Default::default()),
        Request::RevokeToken(asked.clone(), "token-1".into()),
        Request::Failover(asked.clone(), FailoverRequest { from: "a".into(), ..FailoverRequest::default() }),
        Request::CancelOperation(asked.clone(), Default::default()),
        Request::ForceSync(asked, "a".into(), vec!["b".into()], true),
        Request::Console(VmId(7), 4_096),
        Request::Probe(vec![VmId(7), VmId(8)]),
        Request::CheckRegion("a".into()),
        Request::Barrier(1),
        Request::VerifySync(Some("a".into()), 1_000),
    ];
    let requests =
        requests.into_iter().map(|request| Input::Request { ticket: 5, request: Box::new(request) });
    let mut all = vec![
        Input::Wake,
        Input::Mesh { from: 2, bytes: vec![1, 2, 3] },
        Input::Persisted { seq: 1 },
        Input::Links(vec![LinkReading { node: 2, up: true, ..LinkReading::default() }]),
        Input::Measures(Measures { rss_mib: 40, ..Measures::default() }),
        Input::AgentUp { session: 1, region: "a".into(), host: "h".into() },
        Input::AgentFrame { session: 1, bytes: vec![0] },
        Input::AgentDown { session: 1 },
    ];
    all.extend(requests);
    let flaws = vec![(Some(1), "rotten".to_string()), (None, "gone".to_string())];
    all.push(Input::StoreChecked(StoreCheck { flaws, records: 7, ..StoreCheck::default() }));
    all.push(Input::HandOver);
    all
}
