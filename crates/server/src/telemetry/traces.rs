//! Traces: what requests and failovers went through, as spans among the entries of the log.
//!
//! The trace of a request follows from its id, so whoever has the id finds it, and regions need not tell each other: each
//! notes what it saw itself. The spans are kept, bounded and copied to other regions as lines of the log are.

use std::sync::{Arc, Mutex, PoisonError};

use dwcp_roles::node::{Stage, Work, Written};
use dwcp_state::{FEDERATION_GROUP, Failover, FailoverState, PhaseName};
use dwcp_telemetry::logs::{Kinds, Order, Query, Span, SpanId, TraceId, Traceparent, span_of, trace_of};
use dwcp_types::{GroupId, Mono, Wall};

use super::Instruments;
use crate::clock;
use crate::handle::View;
use crate::log::Log;

/// Spans that are noted in a second, on average; and how many may come at once.
const A_SECOND: f64 = 200.0;
const AT_ONCE: f64 = 20_000.0;
/// A read is noted when it took longer than this, µs.
const SLOW_US: u64 = 500_000;
/// Most spans of a trace that are shown.
pub const SHOWN: usize = 10_000;

/// Both clocks, read together: turns moments of this machine's clock into ones that other machines know.
#[derive(Clone, Copy)]
pub struct Moment {
    mono: Mono,
    wall_us: i64,
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment { mono: clock::mono(), wall_us: clock::wall_us() }
    }

    /// µs since 1970.
    fn of(self, mono: Mono) -> i64 {
        let later =
            i64::try_from(mono.0).unwrap_or(i64::MAX) - i64::try_from(self.mono.0).unwrap_or(i64::MAX);
        self.wall_us.saturating_add(later)
    }
}

/// Where spans go. Clones write to the same place.
#[derive(Clone)]
pub struct Traces {
    region: Arc<str>,
    log: Log,
    instruments: Instruments,
    budget: Arc<Mutex<(f64, Mono)>>,
}

/// A request of the API that was answered.
pub struct Answered<'a> {
    pub request_id: &'a str,
    /// What the client says of its own trace.
    pub caller: Option<Traceparent>,
    pub method: &'a str,
    /// As in the table of endpoints.
    pub path: &'a str,
    pub status: u16,
    pub began: Mono,
    /// It may have changed something.
    pub writes: bool,
}

impl Traces {
    /// Those of a region's process.
    pub fn new(region: &str, log: Log, instruments: Instruments) -> Traces {
        let budget = Arc::new(Mutex::new((AT_ONCE, clock::mono())));
        Traces { region: region.into(), log, instruments, budget }
    }

    fn keep(&self, span: Span) {
        let fits = {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock::mono();
            let since_us = now.0.saturating_sub(budget.1.0);
            *budget = ((budget.0 + since_us as f64 * A_SECOND / 1e6).min(AT_ONCE), now);
            let fits = budget.0 >= 1.0;
            budget.0 -= if fits { 1.0 } else { 0.0 };
            fits
        };
        let kept = fits && self.log.span(span);
        self.instruments.traced(kept);
    }

    /// A request was answered: kept when it may have changed something, or was slow.
    pub fn answered(&self, answered: &Answered<'_>) {
        let ended = clock::mono();
        let duration_us = ended.0.saturating_sub(answered.began.0);
        if !answered.writes && duration_us < SLOW_US {
            return;
        }
        let (trace, mut fields) = (trace_of(answered.request_id), vec![]);
        fields.push(("http.response.status_code".to_owned(), answered.status.to_string()));
        let caller = answered.caller.filter(|caller| caller.trace == trace);
        if let Some(other) = answered.caller.filter(|caller| caller.trace != trace) {
            // The id that the client gave the request leads to another trace than its own.
            fields.push(("dwcp.caller.traceparent".to_owned(), other.to_string()));
        }
        self.keep(Span {
            trace,
            id: of_request(answered.request_id, &self.region),
            parent: caller.map(|caller| caller.parent),
            name: format!("{} {}", answered.method, answered.path),
            component: "federation-controller".into(),
            start_us: Moment::now().of(answered.began),
            duration_us,
            failed: answered.status >= 500,
            request_id: answered.request_id.to_owned(),
            operation_id: String::new(),
            fields,
        });
    }

    /// The node noted what it did in the step that ended just now.
    pub fn stages(&self, stages: Vec<Stage>, view: &View<'_>) {
        let moment = Moment::now();
        for stage in stages {
            if let Work::Failover(id) = stage.work {
                let failovers = &view.node.facts().core.failovers;
                let spans = failovers.get(&id).map(failover).unwrap_or_default();
                spans.into_iter().for_each(|span| self.keep(span));
                continue;
            }
            let name = |group| group_name(view, group);
            if let Some(span) = span(stage, &self.region, name, moment) {
                self.keep(span);
            }
        }
    }
}

/// The question for the spans of a trace.
pub fn query(trace: TraceId) -> Query {
    Query {
        kinds: Kinds::Spans,
        trace: Some(trace),
        limit: SHOWN,
        order: Order::OldestFirst,
        ..Query::default()
    }
}

/// The span of a request at the region whose API took it.
fn of_request(request_id: &str, region: &str) -> SpanId {
    span_of(&[request_id, "request", region])
}

fn of_failover(id: &str) -> SpanId {
    span_of(&[id, "failover"])
}

fn group_name(view: &View<'_>, group: GroupId) -> String {
    match view.node.region_name(group) {
        _ if group == FEDERATION_GROUP => "federation".to_owned(),
        Some(region) => region.to_string(),
        None => group.to_string(),
    }
}

fn span(stage: Stage, region: &str, group_name: impl Fn(GroupId) -> String, moment: Moment) -> Option<Span> {
    let Stage { of, proposer, work, began, ended, failed, fields } = stage;
    let root = match proposer.as_str() {
        "" => of_failover(&of),
        proposer => of_request(&of, proposer),
    };
    let proposal = |written: &Written| {
        let Written { group, command, at } = written;
        span_of(&[&of, "propose", proposer.as_str(), &group.to_string(), command, &at.0.to_string()])
    };
    let began_us = began.0.to_string();
    let mut parts = vec![of.as_str(), region, &began_us];
    parts.extend(fields.iter().map(|(_, value)| value.as_str()));
    let own = |name: &str| span_of(&[&parts[..], &[name]].concat());
    let (controller, manager) = ("federation-controller", "state-manager");
    let (component, id, parent, name) = match &work {
        // Its request is this region's.
        Work::Decide => (controller, own("decide"), root, "decide placement".to_owned()),
        Work::Propose(written) => {
            (controller, proposal(written), root, format!("propose {}", written.command))
        }
        Work::Commit(written) => {
            (manager, own("commit"), proposal(written), format!("commit {}", written.command))
        }
        Work::Apply(written) => {
            let own = own(&format!("apply {}", written.group));
            (manager, own, proposal(written), format!("apply {}", written.command))
        }
        Work::Host => (controller, own("host"), root, "carry out on host".to_owned()),
        Work::HandOver => (controller, own("hand over"), root, "hand over between regions".to_owned()),
        Work::Failover(_) => return None,
    };
    let ended = match work {
        // The core knows the time at which its step began.
        Work::Decide => moment.mono.max(ended),
        _ => ended,
    };
    let mut all: Vec<(String, String)> = Vec::new();
    if let Work::Propose(written) | Work::Commit(written) | Work::Apply(written) = &work {
        all.push(("group".to_owned(), group_name(written.group)));
    }
    all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let trace = trace_of(&of);
    Some(Span {
        trace,
        id,
        parent: Some(parent),
        name,
        component: component.into(),
        start_us: moment.of(began),
        duration_us: ended.0.saturating_sub(began.0),
        failed,
        operation_id: if proposer.as_str().is_empty() { of.clone() } else { String::new() },
        request_id: if proposer.as_str().is_empty() { String::new() } else { of.clone() },
        fields: all,
    })
}

/// The spans of a failover that is over, from its record: the whole, and its phases.
fn failover(failover: &Failover) -> Vec<Span> {
    let of = failover.id.to_string();
    let root = of_failover(&of);
    let whole = Span {
        trace: trace_of(&of),
        id: root,
        parent: None,
        name: format!("fail over {}", failover.from),
        component: "federation-controller".into(),
        start_us: us(failover.first_missed_at),
        duration_us: between(failover.first_missed_at, failover.ended_at.unwrap_or_default()),
        failed: failover.state != FailoverState::Done,
        request_id: String::new(),
        operation_id: of.clone(),
        fields: vec![
            ("operation".to_owned(), failover.operation.to_string()),
            ("state".to_owned(), format!("{:?}", failover.state).to_lowercase()),
            ("vms".to_owned(), failover.vms.len().to_string()),
        ],
    };
    let phases = failover.phases.iter().map(|phase| {
        let name = phase_name(phase.name);
        Span {
            id: span_of(&[&of, "phase", name]),
            parent: Some(root),
            name: name.to_owned(),
            start_us: us(phase.started_at),
            duration_us: between(phase.started_at, phase.ended_at),
            failed: false,
            fields: vec![],
            ..whole.clone()
        }
    });
    let phases: Vec<Span> = phases.collect();
    std::iter::once(whole).chain(phases).collect()
}

fn phase_name(name: PhaseName) -> &'static str {
    match name {
        PhaseName::Detect => "detect",
        PhaseName::Agree => "agree",
        PhaseName::Fence => "fence",
        PhaseName::Plan => "plan",
        PhaseName::Restart => "restart",
        PhaseName::Verify => "verify",
    }
}

fn us(at: Wall) -> i64 {
    clock::ms(at.0).saturating_mul(1_000)
}

fn between(from: Wall, to: Wall) -> u64 {
    to.ms_since(from).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use dwcp_types::FailoverId;

    use super::*;

    const REQUEST: &str = "req_4bf92f3577b34da6a3ce929d0e0e4736";

    fn stage(work: Work, proposer: &str) -> Stage {
        let (began, ended) = (Mono(1_000), Mono(3_500));
        let (of, proposer) = (REQUEST.to_owned(), dwcp_types::RegionId::from(proposer));
        Stage { of, proposer, work, began, ended, failed: false, fields: vec![("index", "7".to_owned())] }
    }

    fn seen(work: Work, region: &str) -> Span {
        let moment = Moment { mono: Mono(4_000), wall_us: 1_000_000 };
        span(stage(work, "eu-west-1"), region, |group| format!("group {group}"), moment).expect("a span")
    }

    #[test]
    fn regions_that_never_spoke_of_it_make_one_tree() {
        let written = Written { group: 2, command: "CreateVms".into(), at: Wall(5) };
        let propose = seen(Work::Propose(written.clone()), "eu-west-1");
        let commit = seen(Work::Commit(written.clone()), "us-east-1");
        let applied = ["eu-west-1", "us-east-1"].map(|region| seen(Work::Apply(written.clone()), region));
        assert_eq!(propose.parent, Some(of_request(REQUEST, "eu-west-1")));
        assert_eq!(propose.trace.to_string(), REQUEST[4..]);
        for child in [&commit, &applied[0], &applied[1]] {
            assert_eq!((child.trace, child.parent), (propose.trace, Some(propose.id)));
        }
        let ids = [propose.id, commit.id, applied[0].id, applied[1].id];
        assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "{ids:?}");
        assert_eq!((commit.start_us, commit.duration_us), (997_000, 2_500));
        assert_eq!(commit.fields[0], ("group".to_owned(), "group 2".to_owned()));
        // Another proposal of the same request has a span of its own.
        let again = seen(Work::Propose(Written { at: Wall(6), ..written }), "eu-west-1");
        assert_ne!(again.id, propose.id);
    }

    #[test]
    fn a_decision_lasts_until_its_step_is_over() {
        assert_eq!(seen(Work::Decide, "eu-west-1").duration_us, 3_000);
    }

    #[test]
    fn a_failover_is_a_trace_of_its_own() {
        let phase =
            |name, from, to| dwcp_state::PhaseSpan { name, started_at: Wall(from), ended_at: Wall(to) };
        let record = Failover {
            id: FailoverId(7),
            from: "eu-west-1".into(),
            first_missed_at: Wall(1_000),
            ended_at: Some(Wall(9_000)),
            state: FailoverState::Done,
            phases: vec![phase(PhaseName::Detect, 1_000, 4_000), phase(PhaseName::Agree, 4_000, 4_200)],
            ..Failover::default()
        };
        let spans = failover(&record);
        let shown: Vec<(&str, i64, u64)> =
            spans.iter().map(|span| (&*span.name, span.start_us, span.duration_us)).collect();
        assert_eq!(
            shown,
            [
                ("fail over eu-west-1", 1_000_000, 8_000_000),
                ("detect", 1_000_000, 3_000_000),
                ("agree", 4_000_000, 200_000)
            ]
        );
        assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].id)));
        // What its VMs went through is noted with no proposer, under the same root.
        let mut moved = stage(Work::HandOver, "");
        moved.of = "failover-007".into();
        let moment = Moment { mono: Mono(4_000), wall_us: 0 };
        let moved = span(moved, "us-east-1", |_| String::new(), moment).expect("a span");
        assert_eq!((moved.trace, moved.parent), (spans[0].trace, Some(spans[0].id)));
    }
}
