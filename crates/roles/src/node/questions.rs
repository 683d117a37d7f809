//! Questions that need an answer from elsewhere: a host's console or probes, a region as the others see it, a read that
//! must not be stale.

use std::collections::BTreeMap;

use dwcp_consensus::Input as RaftInput;
use dwcp_types::{Code, GroupId, HostId, Mono, NodeId, Refusal, RegionId, VmId, Wall, decode, encode};

use super::pool_checks::{MEASURED_WITHIN_MS, MOST_OVER_MS};
use super::wire::{AskHost, HostAnswer, Opaque, PingFor, PingReport};
use super::{Asked, Class, ImageOffer, MeshMessage, Node, NodeConfig, PoolCheck, Reply};
use crate::protocol::{
    AgentMessage, ControllerMessage, ProbeRequest, ProbeResult, ReadConsole, ReadImage, RouterAsk,
};

/// A question is answered with what came in by then, ms.
const LIMIT_MS: u64 = 2_500;
/// A region's check waits so long for the others' pings, ms.
const CHECK_MS: u64 = 1_200;

/// One region's view of another, asked for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Who looked.
    pub observer: RegionId,
    /// The round trip, µs; none: no answer in time.
    pub rtt_us: Option<u64>,
}

/// A region as the others see it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionCheck {
    /// Every other region's view. Regions that did not report are missing.
    pub observations: Vec<Observation>,
    /// Regions that did not report at all.
    pub mute: Vec<RegionId>,
}

/// An open question.
#[derive(Debug)]
pub(super) enum Question {
    Console { ticket: u64 },
    Probes { ticket: u64, waiting: usize, results: Vec<ProbeResult> },
    Check { ticket: u64, subject: NodeId, reports: BTreeMap<NodeId, u64> },
    Barrier { ticket: u64 },
    Image { ticket: u64, asked: Box<Asked>, offer: Box<ImageOffer> },
    Pool { ticket: u64, asked_at: Wall },
    Router { ticket: u64 },
}

impl Question {
    /// A host is to measure itself.
    pub(super) fn pool(ticket: u64, asked_at: Wall) -> Question {
        Question::Pool { ticket, asked_at }
    }
}

/// All open questions.
pub(super) struct Questions {
    open: BTreeMap<u64, (Question, Mono)>,
    /// Questions passed on to hosts: (asking node, its number).
    passed: BTreeMap<u64, (NodeId, u64, Mono)>,
    next: u64,
}

impl Questions {
    pub(super) fn new(config: &NodeConfig) -> Questions {
        Questions { open: BTreeMap::new(), passed: BTreeMap::new(), next: config.first_number() }
    }

    /// The number under which answers to what was passed on from a node come.
    pub(super) fn pass(&mut self, from: NodeId, id: u64, deadline: Mono) -> u64 {
        self.next += 1;
        self.passed.insert(self.next, (from, id, deadline));
        self.next
    }

    pub(super) fn open(&mut self, question: Question, deadline: Mono) -> u64 {
        self.next += 1;
        self.open.insert(self.next, (question, deadline));
        self.next
    }
}

fn no_router() -> Refusal {
    Refusal::new(Code::NotReady, "no router of the region is linked to its node")
        .because("only a router knows where it would send somebody")
        .try_this("dwcp-cli routing routers")
}

impl Node {
    pub(super) fn ask_console(&mut self, ticket: u64, vm: VmId, offset: u64) {
        let Some((region, record)) = self.facts.vm(vm) else {
            self.refuse(ticket, Refusal::new(Code::UnknownVm, format!("no VM {vm}")));
            return;
        };
        let (region, host) = (region.clone(), record.host.clone());
        let deadline = self.now.mono.plus_ms(LIMIT_MS);
        let id = self.questions.open(Question::Console { ticket }, deadline);
        self.ask_host(
            id,
            region,
            host,
            &ControllerMessage::ReadConsole(ReadConsole { request: id, vm, offset }),
        );
    }

    /// Asks a host what the image that it offers is made of; what it answers is proposed.
    pub(super) fn ask_image(&mut self, ticket: u64, asked: Asked, offer: ImageOffer) {
        let (region, host, name) = (offer.region.clone(), offer.host.clone(), offer.name.clone());
        let deadline = self.now.mono.plus_ms(LIMIT_MS);
        let question = Question::Image { ticket, asked: Box::new(asked), offer: Box::new(offer) };
        let id = self.questions.open(question, deadline);
        self.ask_host(id, region, host, &ControllerMessage::ReadImage(ReadImage { request: id, name }));
    }

    /// Asks the VMs' own probes, by way of their hosts; all running VMs when `vms` is empty.
    pub(super) fn ask_probes(&mut self, ticket: u64, vms: &[VmId]) {
        let mut by_host: BTreeMap<(RegionId, HostId), Vec<VmId>> = BTreeMap::new();
        let mut ask = |(region, vm): (&RegionId, &dwcp_state::Vm)| {
            by_host.entry((region.clone(), vm.host.clone())).or_default().push(vm.id);
        };
        if vms.is_empty() {
            self.facts.vms().filter(|(_, vm)| vm.want == dwcp_state::Want::Running).for_each(&mut ask);
        }
        vms.iter().filter_map(|vm| self.facts.vm(*vm)).for_each(&mut ask);
        let deadline = self.now.mono.plus_ms(LIMIT_MS);
        let question = Question::Probes { ticket, waiting: by_host.len(), results: Vec::new() };
        let nothing = by_host.is_empty();
        let id = self.questions.open(question, deadline);
        for ((region, host), vms) in by_host {
            self.ask_host(id, region, host, &ControllerMessage::Probe(ProbeRequest { request: id, vms }));
        }
        if nothing {
            self.finish_question(id);
        }
    }

    /// Every other node pings the region's node now.
    pub(super) fn check_region(&mut self, ticket: u64, region: &RegionId) {
        let Some(subject) = self.facts.group_of(region) else {
            self.refuse(ticket, Refusal::new(Code::UnknownRegion, format!("no region {region}")));
            return;
        };
        let deadline = self.now.mono.plus_ms(CHECK_MS);
        let id = self.questions.open(Question::Check { ticket, subject, reports: BTreeMap::new() }, deadline);
        let asker = self.config.me;
        let ask = PingFor { id, asker, subject, sent_us: 0 };
        let others: Vec<NodeId> =
            self.regions.keys().copied().filter(|node| *node != asker && *node != subject).collect();
        for node in others {
            self.send(node, Class::Operations, &MeshMessage::PingFor(ask));
        }
        if subject != asker {
            self.ping_for(ask);
        }
    }

    pub(super) fn ping_for(&mut self, ask: PingFor) {
        let ping = PingFor { sent_us: self.now.mono.0, ..ask };
        self.send(ask.subject, Class::Operations, &MeshMessage::Ping(ping));
    }

    pub(super) fn pong(&mut self, ping: PingFor) {
        let rtt_us = self.now.mono.0.saturating_sub(ping.sent_us);
        let report = PingReport { id: ping.id, subject: ping.subject, rtt_us };
        if ping.asker == self.config.me {
            self.ping_report(self.config.me, report);
        } else {
            self.send(ping.asker, Class::Operations, &MeshMessage::PingReport(report));
        }
    }

    pub(super) fn ping_report(&mut self, from: NodeId, report: PingReport) {
        let all = self.regions.len().saturating_sub(1);
        if let Some((Question::Check { reports, subject, .. }, _)) = self.questions.open.get_mut(&report.id) {
            if *subject == report.subject {
                reports.insert(from, report.rtt_us);
                if reports.len() >= all {
                    self.finish_question(report.id);
                }
            }
        }
    }

    pub(super) fn ask_host(&mut self, id: u64, region: RegionId, host: HostId, question: &ControllerMessage) {
        let leader = self
            .facts
            .group_of(&region)
            .and_then(|group| self.raft.status(group))
            .and_then(|status| status.leader);
        let ask = AskHost { id, region, host, question: Opaque(encode(question)) };
        match leader {
            Some(node) if node == self.config.me => self.ask_host_for(node, ask),
            Some(node) => self.send(node, Class::Operations, &MeshMessage::AskHost(ask)),
            None => self.host_answered(HostAnswer { id, answer: None }),
        }
    }

    /// Passes a question on to a host of a group this node leads, under a number of its own.
    pub(super) fn ask_host_for(&mut self, from: NodeId, ask: AskHost) {
        let group = self.facts.group_of(&ask.region).unwrap_or(0);
        let known = self.leases.hosts.get(&(group, ask.host.clone()));
        let heard = known.is_some_and(|host| self.now.mono.ms_since(host.heard) < self.config.host_loss_ms);
        let Ok(mut question) = decode::<ControllerMessage>(&ask.question.0) else { return };
        if !heard {
            self.answer_host(from, HostAnswer { id: ask.id, answer: None });
            return;
        }
        let limit_ms = match &question {
            ControllerMessage::Check(check) => MEASURED_WITHIN_MS + check.processes_over_ms.min(MOST_OVER_MS),
            _ => LIMIT_MS,
        };
        let number = self.questions.pass(from, ask.id, self.now.mono.plus_ms(limit_ms));
        match &mut question {
            ControllerMessage::Probe(probe) => probe.request = number,
            ControllerMessage::ReadConsole(read) => read.request = number,
            ControllerMessage::Check(check) => check.request = number,
            ControllerMessage::ReadImage(read) => read.request = number,
            _ => return,
        }
        self.tell_host(group, &ask.host, &question);
    }

    pub(super) fn pass_answer(&mut self, number: u64, answer: AgentMessage) {
        // A host may answer one question in two parts (VMs that run, VMs that don't), so the number stays open.
        let Some((node, id, _)) = self.questions.passed.get(&number).copied() else { return };
        self.answer_host(node, HostAnswer { id, answer: Some(Opaque(encode(&answer))) });
    }

    pub(super) fn answer_host(&mut self, node: NodeId, answer: HostAnswer) {
        if node == self.config.me {
            self.host_answered(answer);
        } else {
            self.send(node, Class::Operations, &MeshMessage::HostAnswer(answer));
        }
    }

    pub(super) fn host_answered(&mut self, answer: HostAnswer) {
        let message = answer.answer.and_then(|bytes| decode::<AgentMessage>(&bytes.0).ok());
        let Some((question, _)) = self.questions.open.get_mut(&answer.id) else { return };
        let done = match (question, message) {
            (Question::Console { ticket }, Some(AgentMessage::Console(console))) => {
                let ticket = *ticket;
                self.questions.open.remove(&answer.id);
                self.reply(ticket, Reply::Console { bytes: console.bytes, next_offset: console.next_offset });
                return;
            }
            (Question::Probes { waiting, results, .. }, message) => {
                if let Some(AgentMessage::Probed(probed)) = message {
                    results.extend(probed.results);
                }
                *waiting = waiting.saturating_sub(1);
                *waiting == 0
            }
            (Question::Image { ticket, asked, offer }, Some(AgentMessage::ImageRead(read))) => {
                let (ticket, asked, offer) = (*ticket, (**asked).clone(), (**offer).clone());
                self.questions.open.remove(&answer.id);
                self.propose_image(ticket, &asked, offer, read);
                return;
            }
            (Question::Pool { ticket, asked_at }, Some(AgentMessage::Checked(checked))) => {
                let (ticket, asked_at) = (*ticket, *asked_at);
                self.questions.open.remove(&answer.id);
                let check = PoolCheck::new(checked, asked_at, self.now.wall);
                self.reply(ticket, Reply::PoolChecked(Some(Box::new(check))));
                return;
            }
            (_, None) => true,
            _ => false,
        };
        if done {
            self.finish_question(answer.id);
        }
    }

    /// Takes a router's answer, or passes it on to the node that asked. An empty one: there is no router.
    pub(super) fn router_answered(&mut self, answer: RouterAsk) {
        if let Some((node, id, _)) = self.questions.passed.remove(&answer.id) {
            let answer = RouterAsk { id, ..answer };
            return self.send(node, Class::Operations, &MeshMessage::RouterAnswer(Box::new(answer)));
        }
        self.router_told(answer);
    }

    /// Takes a router's answer to a question of this node.
    pub(super) fn router_told(&mut self, answer: RouterAsk) {
        if let Some((Question::Router { ticket }, _)) = self.questions.open.get(&answer.id) {
            let ticket = *ticket;
            self.questions.open.remove(&answer.id);
            match answer.text.is_empty() {
                true => self.refuse(ticket, no_router()),
                false => self.reply(ticket, Reply::RouterAnswered(answer.text)),
            }
        }
    }

    /// Asks a router of a region, by way of that region's node.
    pub(super) fn ask_router(&mut self, ticket: u64, region: &RegionId, text: String) {
        let Some(node) = self.facts.group_of(region) else {
            self.refuse(ticket, Refusal::new(Code::UnknownRegion, format!("no region {region}")));
            return;
        };
        let deadline = self.now.mono.plus_ms(LIMIT_MS);
        let ask = RouterAsk { id: self.questions.open(Question::Router { ticket }, deadline), text };
        if node != self.config.me {
            return self.send(node, Class::Operations, &MeshMessage::AskRouter(Box::new(ask)));
        }
        let id = ask.id;
        if !self.ask_router_here(ask) {
            self.router_answered(RouterAsk { id, text: String::new() });
        }
    }

    /// Asks a router linked here for another node.
    pub(super) fn ask_router_for(&mut self, from: NodeId, ask: RouterAsk) {
        let id = self.questions.pass(from, ask.id, self.now.mono.plus_ms(LIMIT_MS));
        if !self.ask_router_here(RouterAsk { id, ..ask }) {
            self.router_answered(RouterAsk { id, text: String::new() });
        }
    }

    /// Waits until this node's facts of a group are at least as new as this moment.
    pub(super) fn ask_barrier(&mut self, ticket: u64, group: GroupId) {
        let deadline = self.now.mono.plus_ms(self.config.commit_timeout_ms);
        let id = self.questions.open(Question::Barrier { ticket }, deadline);
        self.inbox.push_back(RaftInput::Read { group, ticket: id });
    }

    pub(super) fn barrier_passed(&mut self, id: u64) {
        if let Some((Question::Barrier { ticket }, _)) = self.questions.open.remove(&id) {
            self.reply(ticket, Reply::Current);
        }
    }

    pub(super) fn barrier_failed(&mut self, id: u64) {
        self.finish_question(id);
    }

    pub(super) fn expire_questions(&mut self) {
        let now = self.now.mono;
        let late: Vec<u64> = self
            .questions
            .open
            .iter()
            .filter(|(_, (_, deadline))| now >= *deadline)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.finish_question(id);
        }
        self.questions.passed.retain(|_, (_, _, deadline)| now < *deadline);
    }

    /// Answers with what is there.
    fn finish_question(&mut self, id: u64) {
        let Some((question, _)) = self.questions.open.remove(&id) else { return };
        match question {
            Question::Console { ticket } => {
                let refusal = Refusal::new(Code::ConsoleUnavailable, "the VM's host does not answer");
                self.refuse(ticket, refusal);
            }
            Question::Probes { ticket, results, .. } => self.reply(ticket, Reply::Probed(results)),
            Question::Router { ticket } => {
                let refusal = Refusal::new(Code::TimedOut, "the router does not answer");
                self.refuse(ticket, refusal.then("nothing was changed"));
            }
            Question::Pool { ticket, .. } => self.reply(ticket, Reply::PoolChecked(None)),
            Question::Image { ticket, offer, .. } => {
                let what = format!("host {}/{} does not answer", offer.region, offer.host);
                self.refuse(ticket, Refusal::new(Code::TimedOut, what).then("nothing was changed"));
            }
            Question::Barrier { ticket } => {
                let refusal =
                    Refusal::new(Code::NoLeader, "no read that is certain to be current is possible now")
                        .then("a plain read answers with what this region knows, and its age");
                self.refuse(ticket, refusal);
            }
            Question::Check { ticket, subject, reports } => {
                let others = self.regions.iter().filter(|(node, _)| **node != subject);
                let mut check = RegionCheck::default();
                for (node, name) in others {
                    let rtt_us = reports.get(node).copied();
                    let mute = rtt_us.is_none() && self.silent_ms(*node) > CHECK_MS;
                    if mute {
                        check.mute.push(name.clone());
                    } else {
                        check.observations.push(Observation { observer: name.clone(), rtt_us });
                    }
                }
                self.reply(ticket, Reply::Checked(check));
            }
        }
    }
}
