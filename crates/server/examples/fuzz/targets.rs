//! Decoders of bytes: the codec's types, and the consensus.

use std::collections::BTreeMap;

use dwcp_consensus::{Config, Disk, GroupSetup, Input, MultiRaft, Output};
use dwcp_decide::{HostVerdict, PlaceReport, Placement, RegionVerdict};
use dwcp_roles::node::{Beat, GroupBeat, LinkReading, MeshMessage, SelfAsk, SelfTell};
use dwcp_roles::protocol::{
    AgentLine, AgentLines, AgentMessage, AgentSaid, AppliedEntry, Checked, ControllerMessage, DecideAsk,
    Decided, Grant, Hello, HostFigures, Intents, Placed, ProcessReport, Renew, ReplicaHello, ReplicaSaid,
    ReplicaTold, Reserved, ServerAsked, SnapshotPart, VmFigures, VmIntent, VmReport,
};
use dwcp_state::{Envelope, Federation};
use dwcp_types::{Wire, decode, encode};

use crate::Target;

#[path = "../../../state/tests/it/samples.rs"]
#[allow(dead_code, unused_imports)]
mod samples;

pub fn all() -> Vec<Target> {
    vec![
        coded::<Envelope>("envelope", samples::commands().into_iter().map(samples::envelope).collect()),
        snapshot("facts-federation", 0),
        snapshot("facts-region", 1),
        coded::<MeshMessage>("mesh-message", mesh_messages()),
        coded::<AgentMessage>("agent-message", agent_messages()),
        coded::<ControllerMessage>("controller-message", controller_messages()),
        coded::<AgentSaid>("agent-said", agent_said()),
        coded::<ServerAsked>("server-asked", vec![ServerAsked::Measure(7), ServerAsked::Kept(9)]),
        coded::<ReplicaTold>("replica-told", replica_told()),
        coded::<ReplicaSaid>("replica-said", replica_said()),
        frames(),
        records(),
    ]
}

fn agent_said() -> Vec<AgentSaid> {
    let vm = VmFigures { vm: dwcp_types::VmId(7), disk: Some(Default::default()), ..VmFigures::default() };
    let figures = HostFigures { question: 3, load: vec![5, 7], vms: vec![vm], ..HostFigures::default() };
    let line =
        AgentLine { event: "e".into(), fields: vec![("a".into(), "b".into())], ..AgentLine::default() };
    vec![
        AgentSaid::Measures,
        AgentSaid::Figures(Box::new(figures)),
        AgentSaid::Lines(AgentLines { through: 1, lines: vec![line] }),
    ]
}

fn replica_told() -> Vec<ReplicaTold> {
    let snapshot = SnapshotPart { group: 1, region: "a".into(), last: true, ..SnapshotPart::default() };
    vec![
        ReplicaTold::Snapshot(snapshot),
        ReplicaTold::Applied(AppliedEntry { group: 1, revision: 7, ..AppliedEntry::default() }),
        ReplicaTold::Measured(Box::default()),
        ReplicaTold::Reserved(Box::new(Reserved { region: "a".into(), coming: true, ..Reserved::default() })),
        ReplicaTold::Decide(Box::new(DecideAsk { id: 3, count: 1, explain: true, ..DecideAsk::default() })),
    ]
}

fn replica_said() -> Vec<ReplicaSaid> {
    let verdict = HostVerdict { host: "h".into(), left_percent: Some([1, 2, 3]), ..HostVerdict::default() };
    let region = RegionVerdict { region: "a".into(), hosts: vec![verdict], ..RegionVerdict::default() };
    let report = PlaceReport { regions: vec![region], ..PlaceReport::default() };
    let place = Placement { region: "a".into(), host: "h".into(), score_milli: 7 };
    let places = vec![Placed::At(place), Placed::Nowhere(dwcp_types::Refusal::default())];
    vec![
        ReplicaSaid::Hello(ReplicaHello { version: "0.1.0".into(), level: 1, pid: 9 }),
        ReplicaSaid::Taken(4),
        ReplicaSaid::Decided(Box::new(Decided { id: 3, places, report, at: 4, took_us: 11 })),
    ]
}

fn coded<T: Wire + PartialEq + std::fmt::Debug + 'static>(name: &'static str, real: Vec<T>) -> Target {
    let read = |bytes: &[u8]| {
        let Ok(value) = decode::<T>(bytes) else { return false };
        assert_eq!(
            decode::<T>(&encode(&value)).as_ref(),
            Ok(&value),
            "what was read is written and read again"
        );
        true
    };
    Target { name, corpus: real.iter().map(encode).collect(), read: Box::new(read) }
}

fn snapshot(name: &'static str, group: u64) -> Target {
    let open = || {
        let mut view = Federation::default();
        view.open_group(1, &"a".into());
        view
    };
    let mut real = open();
    real.core = samples::core();
    real.regions.insert("a".into(), samples::region_facts());
    let corpus = vec![real.snapshot(group), open().snapshot(group)];
    Target { name, corpus, read: Box::new(move |bytes| open().restore(group, bytes).is_ok()) }
}

fn mesh_messages() -> Vec<MeshMessage> {
    let beat = Beat {
        incarnation: 7,
        seq: 9,
        version: "0.1.0".into(),
        groups: vec![GroupBeat { group: 1, term: 3, leader: 1, ..GroupBeat::default() }],
        silent_ms: BTreeMap::from([(2, 100), (3, 250)]),
        hosts_heard: BTreeMap::from([("a".into(), 2)]),
        links: vec![LinkReading { node: 2, up: true, ..LinkReading::default() }],
        ..Beat::default()
    };
    let agent = encode(&AgentMessage::Renew(Renew { seq: 5, ..Renew::default() }));
    let relayed = encode(&agent).len() as u8;
    let mut all = vec![encode(&MeshMessage::Beat(Box::new(beat)))];
    // The other kinds by their tags: what is inside is found by mutation.
    all.extend((1..=12).map(|tag| vec![tag, relayed, 0]));
    let ask = SelfAsk { id: 9, window_ms: 1_000, dial: vec![Default::default()], ..SelfAsk::default() };
    all.push(encode(&MeshMessage::SelfAsk(Box::new(ask))));
    let tell = SelfTell { process: process(), disk: Some(Default::default()), ..SelfTell::default() };
    all.push(encode(&MeshMessage::SelfTell(Box::new(tell))));
    all.iter().filter_map(|bytes| decode::<MeshMessage>(bytes).ok()).collect()
}

fn process() -> ProcessReport {
    ProcessReport { kind: "qemu".into(), pid: 99, fds: Some(7), ..ProcessReport::default() }
}

fn reports() -> Vec<VmReport> {
    vec![VmReport { vm: dwcp_types::VmId(7), generation: 2, boot_id: "x".into(), ..VmReport::default() }]
}

fn agent_messages() -> Vec<AgentMessage> {
    vec![
        AgentMessage::Hello(Hello {
            host: "h".into(),
            region: "a".into(),
            vms: reports(),
            ..Hello::default()
        }),
        AgentMessage::Renew(Renew { seq: 5, vms: reports(), ..Renew::default() }),
        AgentMessage::Probed(Default::default()),
        AgentMessage::Console(Default::default()),
        AgentMessage::Checked(Checked { processes: vec![process()], ..Checked::default() }),
        AgentMessage::ImageRead(Default::default()),
    ]
}

fn controller_messages() -> Vec<ControllerMessage> {
    vec![
        ControllerMessage::Welcome(Default::default()),
        ControllerMessage::Grant(Grant { seq: 1, lease_ms: 3_000, ..Grant::default() }),
        ControllerMessage::Intents(Intents { vms: vec![VmIntent::default()], ..Intents::default() }),
        ControllerMessage::Probe(Default::default()),
        ControllerMessage::ReadConsole(Default::default()),
        ControllerMessage::Check(Default::default()),
        ControllerMessage::Images(dwcp_roles::protocol::Images { wanted: vec![Default::default()] }),
        ControllerMessage::ReadImage(Default::default()),
    ]
}

#[derive(Clone, Default)]
pub struct Memory(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk for Memory {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        let range = self.0.range(from.to_vec()..to.to_vec());
        Box::new(range.map(|(key, value)| (key.clone(), value.clone())))
    }
}

fn raft(me: u64, voters: &[u64], disk: &Memory) -> MultiRaft {
    let mut config = Config::new(me, 1);
    config.snapshot_every_entries = 20;
    config.keep_entries = 5;
    let mut raft = MultiRaft::new(config);
    let setup = GroupSetup { group: 1, voters: voters.to_vec(), ..GroupSetup::default() };
    raft.open(0, setup, disk).expect("a group opens, whatever the disk holds");
    raft
}

/// Lets a group run by itself: what it writes, and what it says.
fn live(raft: &mut MultiRaft, disk: &mut Memory, said: &mut Vec<Vec<u8>>) {
    let mut inputs = vec![Input::Wake];
    for round in 1..200u64 {
        let mut out = Vec::new();
        raft.step_all(round * 50_000, std::mem::take(&mut inputs), &mut out);
        for output in out {
            match output {
                Output::Send { bytes, .. } => said.push(bytes),
                Output::Persist { seq, batch } => {
                    disk.0.extend(batch.puts);
                    inputs.push(Input::Persisted { seq });
                }
                _ => {}
            }
        }
        inputs.push(Input::Wake);
        if round > 60 {
            inputs.push(Input::Propose { group: 1, ticket: round, data: vec![7; 40] });
        }
    }
}

fn frames() -> Target {
    let mut said = Vec::new();
    live(&mut raft(1, &[1, 2, 3], &Memory::default()), &mut Memory::default(), &mut said);
    said.sort();
    said.dedup();
    said.truncate(64);
    let read = |bytes: &[u8]| {
        let mut raft = raft(2, &[1, 2, 3], &Memory::default());
        raft.step(1, Input::Message { from: 1, bytes: bytes.to_vec() }, &mut Vec::new());
        raft.ignored_frames() == 0
    };
    Target { name: "consensus-frames", corpus: said, read: Box::new(read) }
}

/// The input damages one record of a real log, the first byte chooses which.
fn records() -> Target {
    let mut disk = Memory::default();
    live(&mut raft(1, &[1], &Memory::default()), &mut disk, &mut Vec::new());
    let keys: Vec<Vec<u8>> = disk.0.keys().cloned().collect();
    let corpus = keys.iter().enumerate().take(200).map(|(at, key)| {
        let mut input = vec![at as u8];
        input.extend_from_slice(&disk.0[key]);
        input
    });
    let corpus = corpus.collect();
    let read = move |bytes: &[u8]| {
        let Some((at, value)) = bytes.split_first() else { return false };
        let mut damaged = disk.clone();
        damaged.0.insert(keys[usize::from(*at) % keys.len()].clone(), value.to_vec());
        let mut raft = raft(1, &[1], &damaged);
        raft.step(1, Input::Wake, &mut Vec::new());
        true
    };
    Target { name: "consensus-records", corpus, read: Box::new(read) }
}
