use std::collections::BTreeMap;

use dwcp_consensus::Disk;
use dwcp_state::{Admission, Core, Departing, Freeze, Observed, Region, Vm};
use dwcp_types::{Amount, Generation, NodeId, Now, TokenId, encode};

use super::*;
use crate::node::{CreateVm, Effect, Input, NodeConfig, Reply, Request};
use crate::protocol::{AgentMessage, Hello};

const REQUEST: &str = "req_1";

struct Empty;

impl Disk for Empty {
    fn range(&self, _: &[u8], _: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }
}

/// A region of its own with one host; time goes on by a millisecond with each input.
struct Bench {
    node: Node,
    now_us: u64,
    replies: Vec<Reply>,
}

impl Bench {
    fn new() -> Bench {
        let region = RegionId::from("a");
        let record = Region {
            id: region.clone(),
            number: 1,
            placement: true,
            traffic_percent: 100,
            ..Region::default()
        };
        let (id, hash) = (TokenId::from("token-admin"), "5ec7e7".into());
        let role = dwcp_state::Role::Admin;
        let token = dwcp_state::Token { id: id.clone(), role, secret_hash: hash, ..Default::default() };
        let genesis = Core {
            name: "bench".into(),
            regions: [(region.clone(), record)].into(),
            tokens: [(id, token)].into(),
            ..Core::default()
        };
        let regions: BTreeMap<NodeId, RegionId> = [(1, region.clone())].into();
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_000) };
        let node = Node::open(NodeConfig::new(1, regions, genesis, 7), now, &Empty).expect("opened");
        let mut bench = Bench { node, now_us: now.mono.0, replies: Vec::new() };
        bench.run_ms(5_000);
        bench.give(Input::AgentUp { session: 9, region: region.clone(), host: "h1".into() });
        let (host, zone) = ("h1".into(), "a".into());
        let (vcpus, memory_mib, disk_gib, incarnation) = (8, 8_192, 100, 1);
        let hello =
            Hello { host, region, zone, vcpus, memory_mib, disk_gib, incarnation, ..Hello::default() };
        bench.give(Input::AgentFrame { session: 9, bytes: encode(&AgentMessage::Hello(hello)) });
        bench.run_ms(1_000);
        bench.node.take_stages();
        bench
    }

    fn give(&mut self, input: Input) {
        let mut waiting = vec![input];
        while let Some(input) = waiting.pop() {
            self.now_us += 1_000;
            let now = Now { mono: Mono(self.now_us), wall: Wall(self.now_us / 1_000) };
            let mut effects = Vec::new();
            self.node.step(now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist { seq, .. } => waiting.push(Input::Persisted { seq }),
                    Effect::Reply { reply, .. } => self.replies.push(reply),
                    _ => {}
                }
            }
        }
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now_us += 10_000;
            self.give(Input::Wake);
        }
    }

    fn ask(&mut self, request: Request) -> Vec<Stage> {
        self.give(Input::Request { ticket: 1, request: Box::new(request) });
        self.run_ms(200);
        self.node.take_stages()
    }

    /// As if the group had agreed on it.
    fn applied(&mut self, command: Command) -> Vec<Stage> {
        self.node.now.mono = self.node.now.mono.plus_ms(10);
        let outcome = Outcome::Accepted(dwcp_state::Receipt::default());
        self.node.note_applied(1, 99, &Envelope { command, ..Envelope::default() }, &outcome);
        self.node.take_stages()
    }
}

fn asked() -> Asked {
    Asked { by: "test".into(), request_id: REQUEST.into(), ..Asked::default() }
}

fn names(stages: &[Stage]) -> Vec<String> {
    let name = |stage: &Stage| match &stage.work {
        Work::Propose(written) => format!("propose {}", written.command),
        Work::Commit(written) => format!("commit {}", written.command),
        Work::Apply(written) => format!("apply {}", written.command),
        other => format!("{other:?}"),
    };
    stages.iter().map(name).collect()
}

fn seen(vm: VmId, generation: u64, phase: Phase) -> Command {
    let observed = Observed { generation: Generation(generation), phase, ..Observed::default() };
    Command::Observe(("h1".into(), vec![Observation { vm, observed, gone: false }]))
}

#[test]
fn what_a_request_asks_for_is_noted_from_the_proposal_to_the_facts() {
    let mut bench = Bench::new();
    let stages = bench.ask(Request::SetFreeze(asked(), Freeze::NoMoves));
    assert_eq!(names(&stages), ["apply SetFreeze", "commit SetFreeze", "propose SetFreeze"]);
    let [applied, committed, proposed] = &stages[..] else { panic!("{stages:?}") };
    assert!(stages.iter().all(|stage| stage.of == REQUEST && !stage.failed), "{stages:?}");
    assert!(proposed.began <= committed.began && committed.began < committed.ended, "{stages:?}");
    assert_eq!((applied.began, committed.ended), (applied.ended, proposed.ended));
    let (Work::Propose(a), Work::Commit(b), Work::Apply(c)) =
        (&proposed.work, &committed.work, &applied.work)
    else {
        panic!("{stages:?}")
    };
    assert!(a == b && b == c, "everybody names it the same");
    // What DWCP does by itself is of no request.
    bench.run_ms(5_000);
    assert_eq!(bench.node.take_stages(), []);
}

#[test]
fn a_vm_is_followed_until_its_host_has_it_as_wanted_also_to_another_region() {
    let mut bench = Bench::new();
    let mut template = Vm { name: "web".into(), ..Vm::default() };
    template.spec.size = Amount { vcpus: 1, memory_mib: 96, disk_gib: 1 };
    let create = Box::new(CreateVm { template, ..CreateVm::default() });
    let stages = bench.ask(Request::CreateVm(asked(), create));
    assert_eq!(names(&stages), ["Decide", "apply CreateVms", "commit CreateVms", "propose CreateVms"]);
    let Some(Reply::Placed { created: Some((vm, ..)), .. }) = bench.replies.last() else {
        panic!("{:?}", bench.replies)
    };
    let vm = *vm;

    // What is said of another generation, or on the way, ends nothing.
    assert_eq!(names(&bench.applied(seen(vm, 7, Phase::Running))), [""; 0]);
    assert_eq!(names(&bench.applied(seen(vm, 1, Phase::Starting))), [""; 0]);
    let stages = bench.applied(seen(vm, 1, Phase::Running));
    assert_eq!(names(&stages), ["Host"]);
    assert!(stages[0].of == REQUEST && stages[0].began < stages[0].ended, "{stages:?}");
    assert_eq!(names(&bench.applied(seen(vm, 1, Phase::Running))), [""; 0], "once");

    // A failover takes it elsewhere: nobody asked, so it goes under the failover's id.
    let step = Departing { vm, generation: Generation(1), ..Departing::default() };
    assert_eq!(bench.applied(Command::Depart((Some(FailoverId(3)), vec![step]))), []);
    let record = bench.node.facts().vm(vm).expect("there").1.clone();
    let admission = Admission { vm: record, host: "h1".into(), ..Admission::default() };
    let stages = bench.applied(Command::Admit(Box::new(admission)));
    assert_eq!(names(&stages), ["HandOver"]);
    assert_eq!((stages[0].of.as_str(), stages[0].ended.0 - stages[0].began.0), ("failover-003", 10_000));
    let stages = bench.applied(seen(vm, 1, Phase::Failed));
    assert_eq!((names(&stages), stages[0].failed), (vec!["Host".to_owned()], true));
}

#[test]
fn what_nobody_takes_and_what_is_followed_is_bounded() {
    let mut bench = Bench::new();
    let command = |id: u64| {
        let vm = Vm { id: VmId(id), ..Vm::default() };
        Command::CreateVms((vec![dwcp_state::NewVm { vm }], dwcp_state::Operation::default()))
    };
    let outcome = Outcome::Accepted(dwcp_state::Receipt::default());
    for id in 0..FOLLOWED_KEPT as u64 + 10 {
        let envelope = Envelope { command: command(id), request_id: REQUEST.into(), ..Envelope::default() };
        bench.node.note_applied(1, id, &envelope, &outcome);
    }
    assert_eq!(bench.node.traced.followed.len(), FOLLOWED_KEPT);
    let stages = bench.node.take_stages();
    assert_eq!(stages.len(), NOTED_KEPT);
    assert_eq!(stages.last().map(|stage| &*stage.fields[0].1), Some(&*(FOLLOWED_KEPT + 9).to_string()));
    // Later ones are followed once those are old.
    bench.node.now.mono = bench.node.now.mono.plus_ms(FOLLOWED_MS + 1);
    let envelope = Envelope { command: command(1), request_id: REQUEST.into(), ..Envelope::default() };
    bench.node.note_applied(1, 1, &envelope, &outcome);
    assert_eq!(bench.node.traced.followed.len(), 1);
}
