use std::collections::BTreeMap;
use std::sync::Arc;

use dwcp_consensus::Disk;
use dwcp_decide::Serial;
use dwcp_state::{Core, Region, Role, Token, Vm};
use dwcp_types::{Amount, Code, Mono, NodeId, Now, RegionId, TokenId, Wall, decode, encode};

use super::super::{Asked, CreateVm, Effect, Input, Node, NodeConfig, Reply, Request};
use super::*;
use crate::protocol::{
    AgentMessage, ControllerMessage, Hello, HelperKind, ROUTER_SLOTS, RouterAsk, RouterBeat, RouterWord,
};
use crate::replica::Replica;

const HOSTS: [&str; 2] = ["h1", "h2"];

struct Empty;

impl Disk for Empty {
    fn range(&self, _: &[u8], _: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }
}

/// A region of its own with two hosts of 8 vCPUs, and replicas of its controller.
struct Bench {
    node: Node,
    now_us: u64,
    replicas: BTreeMap<u64, Replica>,
    /// Answers of replicas that nobody has carried to the node yet.
    answers: Vec<(u64, Decided)>,
    /// Replicas answer by themselves.
    answering: bool,
    replies: BTreeMap<u64, Reply>,
    ended: Vec<(u64, String)>,
    told: Vec<ReplicaTold>,
    /// What hosts were told of routers last, by session.
    routers: BTreeMap<u64, u32>,
    tickets: u64,
}

impl Bench {
    fn new(controllers: u64) -> Bench {
        let region = RegionId::from("a");
        let record = Region {
            id: region.clone(),
            number: 1,
            placement: true,
            traffic_percent: 100,
            controllers,
            ..Region::default()
        };
        let id = TokenId::from("token-admin");
        let token =
            Token { id: id.clone(), role: Role::Admin, secret_hash: "5ec7e7".into(), ..Token::default() };
        let genesis = Core {
            name: "bench".into(),
            regions: [(region.clone(), record)].into(),
            tokens: [(id, token)].into(),
            ..Core::default()
        };
        let regions: BTreeMap<NodeId, RegionId> = [(1, region)].into();
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_000_000) };
        let node = Node::open(NodeConfig::new(1, regions, genesis, 7), now, &Empty).expect("opened");
        let mut bench = Bench {
            node,
            now_us: now.mono.0,
            replicas: BTreeMap::new(),
            answers: Vec::new(),
            answering: true,
            replies: BTreeMap::new(),
            ended: Vec::new(),
            told: Vec::new(),
            routers: BTreeMap::new(),
            tickets: 0,
        };
        bench.run_ms(5_000);
        for (at, host) in HOSTS.into_iter().enumerate() {
            let (session, region) = (100 + at as u64, RegionId::from("a"));
            bench.give(Input::AgentUp { session, region, host: host.into() });
        }
        bench.run_ms(1_000);
        assert_eq!(bench.node.facts().regions[&RegionId::from("a")].hosts.len(), 2);
        bench
    }

    /// Hosts are heard.
    fn greet(&mut self) {
        for (at, host) in HOSTS.into_iter().enumerate() {
            let (session, region) = (100 + at as u64, RegionId::from("a"));
            let hello = Hello {
                host: host.into(),
                region,
                zone: "a".into(),
                vcpus: 8,
                memory_mib: 8_192,
                disk_gib: 100,
                incarnation: 1,
                routers: 2,
                ..Hello::default()
            };
            let bytes = encode(&AgentMessage::Hello(hello));
            self.give(Input::AgentFrame { session, bytes });
        }
    }

    fn give(&mut self, input: Input) {
        let mut waiting = vec![input];
        while let Some(input) = waiting.pop() {
            let now = Now { mono: Mono(self.now_us), wall: Wall(self.now_us / 1_000) };
            let mut effects = Vec::new();
            self.node.step(now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist { seq, .. } => waiting.push(Input::Persisted { seq }),
                    Effect::Reply { ticket, reply } => drop(self.replies.insert(ticket, reply)),
                    Effect::SendAgent { session, bytes } => {
                        if let Ok(ControllerMessage::Routers(wanted)) = decode(&bytes) {
                            self.routers.insert(session, wanted.count);
                        }
                    }
                    Effect::EndReplica { session, reason } => {
                        self.replicas.remove(&session);
                        self.ended.push((session, reason));
                    }
                    Effect::TellReplica { session, told } => {
                        self.told.push((*told).clone());
                        let said = self.tell(session, *told);
                        waiting.splice(
                            0..0,
                            said.into_iter().map(|said| Input::ReplicaSaid { session, said: Box::new(said) }),
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    fn tell(&mut self, session: u64, told: ReplicaTold) -> Vec<ReplicaSaid> {
        let Some(replica) = self.replicas.get_mut(&session) else { return Vec::new() };
        let bytes = encode(&told);
        let read = dwcp_types::decode(&bytes).expect("what is told is read");
        let mut said = Vec::new();
        if let Some(decided) = replica.take(Mono(self.now_us), read).expect("what is told is understood") {
            match self.answering {
                true => said.push(ReplicaSaid::Decided(Box::new(decided))),
                false => self.answers.push((session, decided)),
            }
        }
        said.push(ReplicaSaid::Taken(replica.taken()));
        said
    }

    fn run_ms(&mut self, ms: u64) {
        for step in 0..ms / 10 {
            self.now_us += 10_000;
            self.give(Input::Wake);
            if step % 50 == 0 {
                self.greet();
            }
        }
    }

    fn connect(&mut self, session: u64) {
        self.replicas.insert(session, Replica::new(Arc::new(Serial)));
        let (region, host) = (RegionId::from("a"), HostId::from("h1"));
        self.give(Input::ReplicaUp { session, region, host, slot: session as u8 });
        let hello = Replica::hello(4_000 + session as u32);
        self.give(Input::ReplicaSaid { session, said: Box::new(hello) });
        self.run_ms(200);
    }

    /// Asks for a VM of so much memory whose rules make the decision a long one.
    fn create(&mut self, name: &str, memory_mib: u64) -> u64 {
        let mut template = Vm { name: name.into(), ..Vm::default() };
        template.spec.size = Amount { vcpus: 1, memory_mib, disk_gib: 1 };
        template.rules.zones = ["a".to_string()].into();
        self.ask(CreateVm { template, ..CreateVm::default() })
    }

    fn ask(&mut self, create: CreateVm) -> u64 {
        self.tickets += 1;
        let request =
            Box::new(Request::CreateVm(Asked { by: "test".into(), ..Asked::default() }, Box::new(create)));
        self.give(Input::Request { ticket: self.tickets, request });
        self.tickets
    }

    /// The host of the VM that was created for a ticket.
    fn host(&self, ticket: u64) -> Option<HostId> {
        match self.replies.get(&ticket)? {
            Reply::Placed { created: Some((vm, ..)), .. } => Some(self.node.facts().vm(*vm)?.1.host.clone()),
            _ => None,
        }
    }

    fn answer(&mut self, session: u64, decided: Decided) {
        self.give(Input::ReplicaSaid { session, said: Box::new(ReplicaSaid::Decided(Box::new(decided))) });
    }
}

#[test]
fn a_replica_knows_the_facts_to_the_byte_but_no_secret() {
    let mut bench = Bench::new(2);
    bench.connect(1);
    let token = Token { id: TokenId::from("token-b"), secret_hash: "0dd".into(), ..Token::default() };
    let put = Request::PutToken(Asked { by: "test".into(), ..Asked::default() }, token);
    bench.give(Input::Request { ticket: 900, request: Box::new(put) });
    for number in 0..4 {
        bench.create(&format!("vm-{number}"), 128);
        bench.run_ms(100);
    }
    let (facts, known) = (bench.node.facts(), bench.replicas[&1].facts());
    assert_eq!(facts.regions[&RegionId::from("a")].vms.len(), 4);
    assert_eq!(known.snapshot(1), facts.snapshot(1));
    assert_eq!(known.snapshot(0), facts.open_snapshot(0));
    assert_eq!(known.core.tokens.len(), 2);
    assert!(known.core.tokens.values().all(|token| token.secret_hash.is_empty()));
    assert!(facts.core.tokens.values().all(|token| !token.secret_hash.is_empty()));
}

#[test]
fn long_decisions_go_to_replicas_and_short_ones_stay() {
    let mut bench = Bench::new(3);
    bench.connect(1);
    bench.connect(2);
    let tickets: Vec<u64> = (0..4).map(|number| bench.create(&format!("vm-{number}"), 128)).collect();
    let plain =
        bench.ask(CreateVm { template: Vm { name: "plain".into(), ..Vm::default() }, ..CreateVm::default() });
    bench.run_ms(200);
    assert!(
        tickets.iter().chain([&plain]).all(|ticket| bench.host(*ticket).is_some()),
        "{:?}",
        bench.replies
    );
    let decisions = bench.node.decisions();
    assert_eq!((decisions.by_replicas, decisions.here, decisions.late), (4, 1, 0));
    let views = bench.node.replicas();
    assert_eq!(views.iter().map(|view| view.decided).collect::<Vec<_>>(), [2, 2], "each has its share");
    assert!(views.iter().all(|view| view.ready && view.lag_ms == 0 && view.pid > 4_000));
}

#[test]
fn what_a_replica_does_not_answer_is_decided_here_and_its_late_word_changes_nothing() {
    let mut bench = Bench::new(2);
    bench.connect(1);
    bench.answering = false;
    let ticket = bench.create("vm", 128);
    bench.run_ms(ANSWER_MS - 200);
    assert_eq!(bench.host(ticket), None, "the replica has time");
    bench.run_ms(600);
    assert!(bench.host(ticket).is_some());
    assert_eq!(bench.node.decisions(), &Decisions { here: 1, late: 1, ..Decisions::default() });
    let (session, late) = bench.answers.pop().expect("an answer");
    for _ in 0..2 {
        bench.answer(session, late.clone());
        bench.run_ms(100);
    }
    assert_eq!(bench.node.facts().vms().count(), 1);
    assert_eq!(bench.node.decisions().by_replicas, 0);
}

#[test]
fn what_a_replica_was_asked_that_goes_away_is_decided_at_once() {
    let mut bench = Bench::new(3);
    bench.connect(1);
    bench.answering = false;
    let ticket = bench.create("vm", 128);
    bench.give(Input::ReplicaDown { session: 1 });
    bench.run_ms(50);
    assert!(bench.host(ticket).is_some());
    assert_eq!(bench.node.decisions(), &Decisions { here: 1, late: 1, ..Decisions::default() });
    assert!(bench.node.replicas().is_empty());
}

#[test]
fn an_answer_counts_once_and_only_from_whom_it_was_asked() {
    let mut bench = Bench::new(3);
    bench.connect(1);
    bench.connect(2);
    bench.answering = false;
    let ticket = bench.create("vm", 128);
    let (session, decided) = bench.answers.pop().expect("an answer");
    bench.answer(3 - session, decided.clone());
    bench.run_ms(50);
    assert_eq!(bench.host(ticket), None, "it was not asked");
    bench.answer(session, decided.clone());
    bench.answer(session, decided);
    bench.run_ms(50);
    assert!(bench.host(ticket).is_some());
    assert_eq!(bench.node.facts().vms().count(), 1);
    assert_eq!(bench.node.decisions().by_replicas, 1);
}

#[test]
fn a_place_that_breaks_a_rule_or_does_not_exist_is_not_used() {
    for host in ["h2", "nowhere"] {
        let mut bench = Bench::new(2);
        bench.connect(1);
        bench.answering = false;
        let mut template = Vm { name: "vm".into(), ..Vm::default() };
        template.rules.denied_hosts = [HostId::from("h2")].into();
        let ticket = bench.ask(CreateVm { template, ..CreateVm::default() });
        let (session, mut decided) = bench.answers.pop().expect("an answer");
        let there = Placement { region: "a".into(), host: host.into(), score_milli: 1_000 };
        decided.places = vec![crate::protocol::Placed::At(there)];
        bench.answer(session, decided);
        bench.run_ms(100);
        assert_eq!(bench.host(ticket), Some("h1".into()));
        assert_eq!(bench.node.decisions(), &Decisions { here: 1, not_held: 1, ..Decisions::default() });
        assert_eq!(bench.node.replicas()[0].failed, 1);
    }
}

#[test]
fn two_replicas_that_choose_the_last_room_give_it_once() {
    let mut bench = Bench::new(3);
    bench.connect(1);
    bench.connect(2);
    bench.answering = false;
    // Each host holds one of them; three are asked for before anybody has answered.
    let tickets: Vec<u64> = (0..3).map(|number| bench.create(&format!("vm-{number}"), 8_192)).collect();
    let answers = std::mem::take(&mut bench.answers);
    assert_eq!(answers.len(), 3);
    for (session, decided) in answers {
        bench.answer(session, decided);
    }
    bench.run_ms(500);
    let hosts: Vec<HostId> = tickets.iter().filter_map(|ticket| bench.host(*ticket)).collect();
    assert_eq!(hosts.len(), 2, "{:?}", bench.replies);
    assert_ne!(hosts[0], hosts[1]);
    let refused = bench.replies.values().filter_map(|reply| match reply {
        Reply::Placed { refusal: Some(refusal), .. } => Some(refusal.code),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [Code::NothingFits]);
    assert!(bench.node.decisions().not_held >= 2, "{:?}", bench.node.decisions());
}

#[test]
fn a_preview_by_a_replica_is_that_of_the_node() {
    let preview = |bench: &mut Bench| {
        let template = Vm { name: "vm".into(), ..Vm::default() };
        let create = CreateVm { template, explain: true, dry_run: true, ..CreateVm::default() };
        let request = Box::new(Request::PreviewVms(Box::new(create), 20));
        bench.give(Input::Request { ticket: 77, request });
        match bench.replies.remove(&77) {
            Some(Reply::Previewed(places, report)) => (places, report),
            other => panic!("{other:?}"),
        }
    };
    let mut bench = Bench::new(2);
    let own = preview(&mut bench);
    bench.connect(1);
    assert_eq!(preview(&mut bench), own);
    assert_eq!((bench.node.decisions().here, bench.node.decisions().by_replicas), (1, 1));
}

#[test]
fn replicas_that_are_not_wanted_are_turned_away_and_those_no_longer_wanted_end() {
    let mut alone = Bench::new(1);
    alone.connect(1);
    assert_eq!(alone.ended.len(), 1, "{:?}", alone.ended);
    assert!(alone.told.is_empty(), "it is told nothing");
    let mut bench = Bench::new(2);
    let (region, host) = (RegionId::from("b"), HostId::from("h1"));
    bench.give(Input::ReplicaUp { session: 9, region, host, slot: 0 });
    assert_eq!(bench.ended.pop().map(|(session, _)| session), Some(9), "a host of another region");
    bench.connect(1);
    let asked = Asked { by: "test".into(), ..Asked::default() };
    let request = Box::new(Request::SetControllers(asked, "a".into(), 1));
    bench.give(Input::Request { ticket: 50, request });
    bench.run_ms(500);
    assert_eq!(bench.ended.pop().map(|(session, _)| session), Some(1));
    assert!(bench.node.replicas().is_empty());
}

#[test]
fn a_replica_that_is_behind_is_asked_nothing() {
    let mut bench = Bench::new(2);
    bench.connect(1);
    // It takes nothing in any more, and says nothing.
    bench.replicas.clear();
    bench.create("first", 128);
    bench.run_ms(BEHIND_MS + ANSWER_MS + 500);
    assert_eq!(bench.node.facts().vms().count(), 1, "decided here");
    let ticket = bench.create("second", 128);
    bench.run_ms(100);
    assert!(bench.host(ticket).is_some(), "nobody waited for it: {:?}", bench.replies.get(&ticket));
    assert_eq!(bench.node.decisions().late, 1);
}

#[test]
fn a_router_knows_all_facts_decides_nothing_and_answers_for_its_region() {
    // Also where the region has one controller alone.
    let mut bench = Bench::new(1);
    let session = u64::from(ROUTER_SLOTS) + 1;
    let ask = |ticket: u64, region: &str| Input::Request {
        ticket,
        request: Box::new(Request::AskRouter(region.into(), "where?".into())),
    };
    bench.give(ask(50, "a"));
    assert!(matches!(&bench.replies[&50], Reply::Refused(refusal) if refusal.code == Code::NotReady));
    bench.connect(session);
    bench.run_ms(1_000);
    assert!(bench.ended.is_empty(), "{:?}", bench.ended);
    assert!(bench.node.replicas().is_empty(), "it is no controller");
    assert_eq!(bench.replicas[&session].facts().snapshot(1), bench.node.facts().snapshot(1));
    let whole = bench.told.iter().position(|told| matches!(told, ReplicaTold::Routers(_))).expect("told");
    let last = bench.told.iter().rposition(|told| matches!(told, ReplicaTold::Snapshot(_))).expect("told");
    assert!(whole > last, "the facts are whole before routers are told of each other");

    let ticket = bench.create("web", 128);
    bench.run_ms(100);
    assert!(bench.host(ticket).is_some(), "decided here");
    assert!(!bench.told.iter().any(|told| matches!(told, ReplicaTold::Decide(_))));

    let beat = RouterBeat { pid: 7, region: "forged".into(), requests: 3, ..RouterBeat::default() };
    let word = RouterWord { beat, ..RouterWord::default() };
    bench.give(Input::ReplicaSaid { session, said: Box::new(ReplicaSaid::Router(Box::new(word))) });
    let known = bench.node.routers();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].region.as_str(), known[0].host.as_str(), known[0].number), ("a", "h1", 1));
    assert_eq!(bench.node.own_beat().routers, known, "the other regions hear of it");

    bench.give(ask(51, "a"));
    let asked = bench.told.iter().rev().find_map(|told| match told {
        ReplicaTold::AskRouter(ask) => Some(ask.clone()),
        _ => None,
    });
    let asked = asked.expect("it is asked");
    let answer = RouterAsk { text: "there".into(), ..*asked };
    bench.give(Input::ReplicaSaid { session, said: Box::new(ReplicaSaid::RouterAnswer(Box::new(answer))) });
    assert!(matches!(&bench.replies[&51], Reply::RouterAnswered(text) if text == "there"));
    bench.give(ask(52, "a"));
    bench.run_ms(3_000);
    assert!(matches!(&bench.replies[&52], Reply::Refused(refusal) if refusal.code == Code::TimedOut));
}

#[test]
fn a_router_on_an_unknown_host_is_turned_away() {
    let mut bench = Bench::new(1);
    let (region, host) = (RegionId::from("a"), HostId::from("elsewhere"));
    bench.give(Input::ReplicaUp { session: 9, region, host, slot: ROUTER_SLOTS });
    assert_eq!(bench.ended.pop().map(|(session, _)| session), Some(9));
}

#[test]
fn hosts_are_told_how_many_routers_to_run_beside_the_one_that_is_always_there() {
    let mut bench = Bench::new(1);
    bench.greet();
    bench.run_ms(1_000);
    assert_eq!(bench.routers, [(100, 0), (101, 0)].into());
    let room = |bench: &Bench, kind| bench.node.room_for(kind, &bench.node.facts().core.regions[&"a".into()]);
    assert_eq!(room(&bench, HelperKind::Router), Some(4));
    assert_eq!(room(&bench, HelperKind::Controller), Some(0));
    for (count, told) in [(4, [(100, 2), (101, 1)]), (2, [(100, 1), (101, 0)]), (1, [(100, 0), (101, 0)])] {
        let asked = Asked { by: "test".into(), ..Asked::default() };
        let request = Box::new(Request::SetRouters(asked, "a".into(), count));
        bench.give(Input::Request { ticket: 50 + count, request });
        bench.run_ms(2_000);
        assert_eq!(bench.routers, told.into(), "{count}");
    }
}
