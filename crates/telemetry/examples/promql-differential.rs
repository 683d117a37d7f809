//! Compares our PromQL with a Prometheus: the same samples, the same expressions, made from a seed.
//!
//! `cargo run -p dwcp-telemetry --profile sim --example promql-differential -- [--seed N] [--expressions N] [--prometheus FILE]
//! [--expression TEXT]`
//!
//! Starts Debian's `prometheus` on a free port of 127.0.0.1 with a temporary folder, writes samples into it by remote write,
//! asks it and the engine here for each expression at one moment and over a range, and prints what differs by more than rounding.
//! The last line is a summary. 1: something differs. What was started is ended, and the folder removed, in any case.

#[path = "promql-differential/compare.rs"]
mod compare;
#[path = "promql-differential/expressions.rs"]
mod expressions;
#[path = "promql-differential/fixed.rs"]
mod fixed;
#[path = "promql-differential/samples.rs"]
mod samples;
#[path = "promql-differential/server.rs"]
mod server;

use dwcp_telemetry::model::Series;
use dwcp_telemetry::promql::{AnswerValue, Dialect, Engine, Memory, Query};
use dwcp_types::Rng;

use compare::Outcome;
use samples::{END_MS, START_MS};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: u64| flag(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, count) = (number("--seed", 1), number("--expressions", 500));
    let program = flag("--prometheus").unwrap_or_else(|| "/usr/bin/prometheus".to_owned());
    match compare_all(&program, seed, count, flag("--expression")) {
        Ok(0) => {}
        Ok(_) => std::process::exit(1),
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(2);
        }
    }
}

/// How many outcomes there were of each kind.
#[derive(Default)]
struct Tally {
    asked: u64,
    equal: u64,
    empty: u64,
    refused: u64,
    different: u64,
}

/// How many answers differ.
fn compare_all(program: &str, seed: u64, count: u64, only: Option<String>) -> Result<u64, String> {
    let mut rng = Rng::new(seed);
    let series = samples::series(&mut rng);
    let server = server::Server::start(program)?;
    server.write(&series)?;
    let source = Memory::new(series);
    let expressions: Vec<String> = match only {
        Some(text) => vec![text],
        None => {
            let made = (0..count).map(|_| expressions::expression(&mut rng));
            fixed::EXPRESSIONS.iter().map(|text| (*text).to_owned()).chain(made).collect()
        }
    };
    let mut tally = Tally::default();
    for text in &expressions {
        let moment = START_MS + 3_600_000 + rng.below(3_600_000) as i64;
        compare_one(
            &server,
            &source,
            text,
            Moments { start_ms: moment, end_ms: moment, step_ms: 0 },
            &mut tally,
        )?;
        let step_ms = [15_000, 60_000, 61_000, 300_000][rng.below(4) as usize];
        let range = Moments {
            start_ms: START_MS + 600_000 + rng.below(60_000) as i64,
            end_ms: END_MS + 600_000,
            step_ms,
        };
        compare_one(&server, &source, text, range, &mut tally)?;
    }
    let Tally { asked, equal, empty, refused, different } = tally;
    println!(
        "{} expressions, {asked} answers: {equal} equal ({empty} of them empty), {refused} refused by both, {different} \
         different, seed {seed}",
        expressions.len()
    );
    Ok(different)
}

/// When an expression is evaluated.
#[derive(Clone, Copy)]
pub struct Moments {
    pub start_ms: i64,
    pub end_ms: i64,
    /// 0: at the start only.
    pub step_ms: i64,
}

impl Moments {
    /// Each step alone.
    fn each(self) -> impl Iterator<Item = Moments> {
        let steps = if self.step_ms == 0 { 0 } else { (self.end_ms - self.start_ms) / self.step_ms };
        (0..=steps).map(move |step| {
            let at = self.start_ms + step * self.step_ms;
            Moments { start_ms: at, end_ms: at, step_ms: 0 }
        })
    }
}

fn compare_one(
    server: &server::Server,
    source: &Memory,
    text: &str,
    moments: Moments,
    tally: &mut Tally,
) -> Result<(), String> {
    let theirs = if compare::is_asked_by_step(text) {
        let second = |at_ms: i64| format!("{:.3}", at_ms as f64 / 1000.0);
        let text =
            text.replace("start()", &second(moments.start_ms)).replace("end()", &second(moments.end_ms));
        let steps = moments.each().map(|moment| server.ask(&text, moment)).collect::<Result<Vec<_>, _>>()?;
        compare::joined(steps)
    } else {
        server.ask(text, moments)?
    };
    let ours = ask(source, text, moments);
    tally.asked += 1;
    match compare::compare(text, &ours, &theirs) {
        Outcome::Equal { empty } => {
            tally.equal += 1;
            tally.empty += u64::from(empty);
        }
        Outcome::Refused => tally.refused += 1,
        Outcome::Different(why) => {
            tally.different += 1;
            let Moments { start_ms, end_ms, step_ms } = moments;
            println!("{text}\n  from {start_ms} to {end_ms} by {step_ms}: {why}");
        }
    }
    Ok(())
}

/// An answer in the form in which both are compared: labels and samples. A scalar or string is a series without labels.
pub type Answer = Result<Vec<Series>, String>;

fn ask(source: &Memory, text: &str, moments: Moments) -> Answer {
    let engine = Engine { dialect: Dialect::Prometheus2, ..Engine::default() };
    let query = Query::parse(text).map_err(|error| error.to_string())?;
    let Moments { start_ms, end_ms, step_ms } = moments;
    let answer = match step_ms {
        0 => engine.instant(source, &query, start_ms),
        _ => engine.range(source, &query, start_ms, end_ms, step_ms),
    };
    Ok(match answer.map_err(|error| error.to_string())?.value {
        AnswerValue::Scalar(number) => vec![compare::single(start_ms, number)],
        AnswerValue::String(_) => Vec::new(),
        AnswerValue::Vector(elements) => {
            let series = elements.into_iter().map(|(labels, value)| compare::one(labels, start_ms, value));
            series.collect()
        }
        AnswerValue::Matrix(series) => series,
    })
}
