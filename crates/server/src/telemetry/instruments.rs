//! What this process counts as it happens.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dwcp_telemetry::exposition::Family;
use dwcp_telemetry::model::Labels;
use dwcp_telemetry::registry::{Counter, Gathered, Metrics, Observer, Registry};

use super::intake::Intake;
use super::keeper;
use super::sender::Receiver;
use crate::clock;

/// What a region's own process logs as.
const COMPONENTS: [&str; 6] =
    ["federation-controller", "state-manager", "global-router", "firewall", "monitor", "security"];

/// Upper bounds of the classic buckets of short times, ms: about two in each doubling up to ten seconds.
const SHORT_MS: [f64; 16] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1_000.0, 10_000.0];
/// The same of times between regions, ms.
const BETWEEN_REGIONS_MS: [f64; 12] =
    [1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 150.0, 200.0, 250.0, 500.0, 1_000.0, 10_000.0];
/// The same of what is answered over the network, s.
const ANSWERS_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Handles on what is counted. Clones count together.
#[derive(Clone)]
pub struct Instruments {
    registry: Arc<Registry>,
    /// Placement decisions, ms, by the region that decided.
    placement: Arc<Observer>,
    /// From the append at the home region until readable in a region, ms.
    sync: Metrics<Observer, 2>,
    /// Making a batch durable, s.
    commit: Arc<Observer>,
    /// Answers of the API, s, by what was asked and how it ended.
    answers: Metrics<Observer, 3>,
    counters: Counters,
    /// What follows from the state, as it was looked up last.
    figures: Arc<Mutex<Vec<Family>>>,
    region: Arc<str>,
}

/// Why making one can not fail.
const MADE: &str = "a name that can be shown, once";

/// What is counted and has no time.
#[derive(Clone)]
struct Counters {
    /// Lines of the log.
    lines: Metrics<Counter, 3>,
    /// Lines that could not be kept, by why.
    left_out: Metrics<Counter, 1>,
    /// Samples that other programs wrote here.
    written: Metrics<Counter, 1>,
    /// Those that were refused, by why.
    unwritten: Metrics<Counter, 2>,
    /// Spans of traces, by whether they were kept.
    spans: Metrics<Counter, 1>,
    /// What was handed on to a collector, by kind and outcome.
    exported: Metrics<Counter, 2>,
}

impl Counters {
    fn new(registry: &Registry) -> Counters {
        let lines = registry.counter(
            "dwcp_log_lines_total",
            "Lines of the log, by component and level.",
            ["region", "component", "level"],
        );
        let written = registry.counter(
            "dwcp_remote_write_received_samples_total",
            "Samples that other programs wrote into a region's store.",
            ["region"],
        );
        let unwritten = registry.counter(
            "dwcp_remote_write_received_refused_samples_total",
            "Samples that other programs wrote and a region's store did not take, by why.",
            ["region", "reason"],
        );
        let left_out = registry.counter(
            "dwcp_log_lines_left_out_total",
            "Lines that can't be searched later: the queue of those that wait to be kept was full, or a host sent too many.",
            ["reason"],
        );
        let spans = registry.counter(
            "dwcp_trace_spans_total",
            "Spans of traces, by outcome: kept, or dropped because there were too many.",
            ["outcome"],
        );
        let exported = registry.counter(
            "dwcp_otlp_items_total",
            "Lines, values and spans for an OpenTelemetry collector, by outcome: sent, refused, or dropped because too many waited.",
            ["signal", "outcome"],
        );
        let left_out = left_out.expect(MADE);
        // Both are there from the start: a series that begins above 0 shows no increase.
        let _ = (left_out.with(["queue"]), left_out.with(["rate"]));
        Counters {
            lines: lines.expect(MADE),
            left_out,
            written: written.expect(MADE),
            unwritten: unwritten.expect(MADE),
            spans: spans.expect(MADE),
            exported: exported.expect(MADE),
        }
    }
}

impl Instruments {
    /// Those of a region's process, nothing counted yet.
    pub fn new(region: &str) -> Instruments {
        let registry = Registry::new(Some(clock::wall_ms()));
        let placement = registry.histogram(
            "dwcp_federation_placement_latency_ms",
            "Time of a placement decision, in milliseconds.",
            ["region"],
            &SHORT_MS,
        );
        let sync = registry.histogram(
            "dwcp_federation_state_sync_latency_ms",
            "From a command's append at its home region until it is readable in region `to`, in milliseconds.",
            ["region", "to"],
            &BETWEEN_REGIONS_MS,
        );
        let commit = registry.histogram(
            "dwcp_store_commit_duration_seconds",
            "Time to make a batch of the log durable.",
            ["region"],
            &ANSWERS_SECONDS,
        );
        let answers = registry.histogram(
            "dwcp_api_request_duration_seconds",
            "Time to answer a request of the API, by endpoint and class of status.",
            ["region", "endpoint", "status"],
            &ANSWERS_SECONDS,
        );
        let counters = Counters::new(&registry);
        // A series that begins above 0 shows no increase: the first error would be in no rate.
        for component in COMPONENTS {
            let _ = (
                counters.lines.with([region, component, "error"]),
                counters.lines.with([region, component, "warning"]),
            );
        }
        let figures: Arc<Mutex<Vec<Family>>> = Arc::default();
        let shown = figures.clone();
        registry.collect(move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Instruments {
            figures,
            placement: placement.expect(MADE).with([region]),
            sync: sync.expect(MADE),
            commit: commit.expect(MADE).with([region]),
            answers: answers.expect(MADE),
            counters,
            region: region.into(),
            registry: Arc::new(registry),
        }
    }

    /// `decisions` placements were decided in `us` microseconds together.
    pub fn placed(&self, us: u64, decisions: u64) {
        for _ in 0..decisions {
            self.placement.observe(us as f64 / decisions as f64 / 1e3);
        }
    }

    /// A command of a region's group was readable in another one after `us` microseconds.
    pub fn synced(&self, home: &str, to: &str, us: u64) {
        self.sync.with([home, to]).observe(us as f64 / 1e3);
    }

    /// A batch was durable after `us` microseconds.
    pub fn committed(&self, us: u64) {
        self.commit.observe(us as f64 / 1e6);
    }

    /// A request was answered.
    pub fn answered(&self, endpoint: &str, status: u16, seconds: f64) {
        let class = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.answers.with([&self.region, endpoint, class]).observe(seconds);
    }

    /// A line was logged.
    pub fn logged(&self, component: &str, level: &str) {
        self.counters.lines.with([&self.region, component, level]).inc();
    }

    /// Another program wrote so many samples that were kept.
    pub fn written(&self, samples: u64) {
        self.counters.written.with([&self.region]).inc_by(samples);
    }

    /// Another program wrote so many samples that were not.
    pub fn unwritten(&self, reason: &str, samples: u64) {
        self.counters.unwritten.with([&self.region, reason]).inc_by(samples);
    }

    /// From now on what is kept and sent to other programs is shown too, and how large the file of the state is.
    pub fn show_kept(&self, intake: Intake, state: PathBuf) {
        let region = self.region.clone();
        self.registry.collect(move || {
            let mut families = Receiver::families(&intake.receivers, &region);
            families.extend(intake.store.iter().flat_map(|store| keeper::families(store, &region)));
            let size =
                std::fs::metadata(&state).map(|of| (Labels::new([("region", &*region)]), of.len() as f64));
            families.push(Family::gauge(
                "dwcp_federation_state_size_bytes",
                "Size of the file that holds a region's replicas.",
                size.into_iter().collect(),
            ));
            families
        });
    }

    /// So many lines could not be kept.
    pub fn left_out(&self, reason: &str, count: u64) {
        self.counters.left_out.with([reason]).inc_by(count);
    }

    /// A span was noted, or was one too many.
    pub fn traced(&self, kept: bool) {
        self.counters.spans.with([if kept { "kept" } else { "dropped" }]).inc();
    }

    /// So many items of a kind were handed on to a collector, or were not.
    pub fn exported(&self, signal: &str, outcome: &str, items: u64) {
        if items > 0 {
            self.counters.exported.with([signal, outcome]).add(items as f64);
        }
    }

    /// The region whose process this is.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What was counted, with the figures of now, and what can't be shown of it.
    pub fn gather(&self, figures: Vec<Family>) -> Gathered {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
        self.registry.gather()
    }
}
