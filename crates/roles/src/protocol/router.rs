//! What a region's node and its routers say to each other.
//!
//! A router is told the facts as a controller replica is, and makes its table of them by itself, so that it knows of a VM that has moved
//! as soon as the node does. Beside the facts go what was measured and what all routers see of attackers. A router that hears nothing
//! goes on with what it was told last.

use dwcp_types::{HostId, RegionId, wire_struct};

use super::ProcessUse;
use crate::node::Opaque;

/// Routers connect as replicas whose number is this or more; controllers have lower ones.
pub const ROUTER_SLOTS: u8 = 0x80;
/// The most [`RouterWord::lines`] that are taken at a time, and the longest of them, bytes.
pub const LINES_MOST: usize = 64;
pub const LINE_BYTES_MOST: usize = 512;
/// The longest [`RouterBeat::shield`] that is passed on, bytes.
pub const SHIELD_BYTES_MOST: usize = 64 << 10;

/// What a router is doing, for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterBeat {
    /// The region of its host.
    pub region: RegionId,
    /// Its host.
    pub host: HostId,
    /// Its number among that host's routers, from 0.
    pub number: u8,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where it serves HTTP, HTTPS and DNS: comma lists of `ip:port`.
    pub http: String,
    pub https: String,
    pub dns: String,
    /// The revision of the federation's group that its table was made at.
    pub table_revision: u64,
    /// When its table was made, ms since 1970.
    pub table_made_at_ms: u64,
    /// Services in its table, their endpoints, and those that it finds well.
    pub services: u64,
    pub endpoints: u64,
    pub endpoints_up: u64,
    /// Connections of users that are open.
    pub connections: u64,
    /// Requests and DNS answers since its process began.
    pub requests: u64,
    pub dns_answers: u64,
    /// Answers of the class 5xx or none at all, since its process began.
    pub failures: u64,
    /// Decisions that a remembered one spared, and those that were made anew.
    pub remembered: u64,
    pub decided: u64,
    /// Median, 95th and 99th percentile of the time that a decision took since its process began, ns.
    pub decision_ns: Vec<u64>,
    /// What is wrong with it; empty: nothing.
    pub trouble: String,
    /// What it sees of attackers, for other routers to act on as well; as routers write it.
    pub shield: Opaque,
    /// What its process uses; none: it could not say.
    pub usage: Option<ProcessUse>,
    /// The most files that it may have open; none: no limit.
    pub fd_limit: Option<u64>,
    /// For how long its process runs, ms, when this was said.
    pub uptime_ms: u64,
    /// It has devices between which DPDK can filter, and the program for it.
    pub dpdk: bool,
}
wire_struct!(RouterBeat {
    1 region, 2 host, 3 number, 4 pid, 5 version, 6 http, 7 https, 8 dns, 9 table_revision, 10 table_made_at_ms,
    11 services, 12 endpoints, 13 endpoints_up, 14 connections, 15 requests, 16 dns_answers, 17 failures,
    18 remembered, 19 decided, 20 decision_ns, 21 trouble, 22 shield, 250 usage, 251 fd_limit, 252 uptime_ms, 253 dpdk
});

/// How long something took: counts in buckets of which eight make a doubling, as in Prometheus' native histograms of schema 3. Bucket
/// `i` counts what took more than 2^((i-1)/8) ns and at most 2^(i/8) ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimesWord {
    /// Bucket and count, in order; none that is empty.
    pub buckets: Vec<(u64, u64)>,
    pub sum_ns: u64,
}
wire_struct!(TimesWord { 1 buckets, 2 sum_ns });

/// What happened to requests of a service that went to a region, since the router's process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowWord {
    pub service: String,
    pub region: RegionId,
    /// Answers by class: 1xx to 5xx at 1 to 5, none at 0.
    pub answers: Vec<u64>,
    pub retries: u64,
    /// From sending a request to the first byte of its answer.
    pub upstream: TimesWord,
    pub bytes_in: u64,
    pub bytes_out: u64,
}
wire_struct!(FlowWord { 1 service, 2 region, 3 answers, 4 retries, 5 upstream, 6 bytes_in, 7 bytes_out });

/// What a router counted since its process began, for its region's metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterFigures {
    /// Decisions where to send something.
    pub decisions: TimesWord,
    pub flows: Vec<FlowWord>,
    /// DNS questions by what became of them: answered, answered in part, dropped, malformed.
    pub dns: Vec<(String, u64)>,
    /// What the shield did with requests and connections, by what it did.
    pub kept_out: Vec<(String, u64)>,
    /// Decisions that sent somebody on because a better region was full.
    pub spilled: u64,
    /// Attacks that go on, and all that were detected.
    pub attacks: (u64, u64),
    /// Packets of blocked sources that its kernel dropped.
    pub early_packets: u64,
}
wire_struct!(RouterFigures { 1 decisions, 2 flows, 3 dns, 4 kept_out, 5 spilled, 6 attacks, 250 early_packets });

/// What a router says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterWord {
    pub beat: RouterBeat,
    pub figures: RouterFigures,
    /// Whom it did not serve since it said that last, for the log.
    pub lines: Vec<String>,
}
wire_struct!(RouterWord { 1 beat, 2 figures, 3 lines });

/// A question to a router; it answers in the form that it was asked in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterAsk {
    /// Comes back in the answer.
    pub id: u64,
    /// JSON.
    pub text: String,
}
wire_struct!(RouterAsk { 1 id, 2 text });

/// What all routers say, as far as this node has heard. The facts are whole with the first of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutersTold {
    pub routers: Vec<RouterBeat>,
}
wire_struct!(RoutersTold { 1 routers });
