//! What a query may use, and what it says of itself.

use std::time::Duration;

use dwcp_telemetry::model::{Select, Selected, Source, SourceError};
use dwcp_telemetry::promql::{Dialect, Engine, Query, QueryError};

use super::{MINUTE, engine, memory};

#[test]
fn a_query_that_needs_too_many_samples_is_refused_with_what_it_needs() {
    let some = memory("x{i=\"1\"} | 0..99/1\n x{i=\"2\"} | 0..99/1");
    let small = Engine { max_samples: 150, ..engine(Dialect::default()) };
    let refusal = |expression, step_ms| {
        let query = Query::parse(expression).expect("a query");
        small.range(&some, &query, 0, 99 * MINUTE, step_ms)
    };
    assert_eq!(refusal("x", MINUTE), Err(QueryError::TooMuch { samples: 200, limit: 150 }));
    assert_eq!(refusal("time()", 1), Err(QueryError::TooMuch { samples: 5_940_001, limit: 150 }));
    assert!(refusal("x{i=\"1\"}", MINUTE).is_err(), "100 samples and 100 steps are 200");
    assert!(refusal("sum_over_time(vector(1)[1000d:1ms])", MINUTE * 99).is_err());
    // What was let go does not count.
    let answer = refusal("avg_over_time(x{i=\"1\"}[2m]) + min_over_time(x{i=\"1\"}[3m])", 50 * MINUTE);
    assert_eq!(answer.map(|answer| answer.samples), Ok(2 * 51));
}

#[test]
fn a_query_ends_at_its_deadline() {
    let some = memory("x | 0..99/1");
    let hasty = Engine { timeout: Duration::ZERO, ..engine(Dialect::default()) };
    let query = Query::parse("x").expect("a query");
    assert_eq!(hasty.instant(&some, &query, 0), Err(QueryError::Timeout(Duration::ZERO)));
}

struct Broken;

impl Source for Broken {
    fn select(&self, wanted: &Select) -> Result<Selected, SourceError> {
        match wanted.matchers.len() {
            1 => Err(SourceError::Failed("the disk is gone".to_owned())),
            _ => Ok(Selected { series: Vec::new(), warnings: vec!["eu-west-1 did not answer".to_owned()] }),
        }
    }
}

#[test]
fn what_a_source_says_is_passed_on() {
    let ask = |expression| {
        engine(Dialect::default()).instant(&Broken, &Query::parse(expression).expect("a query"), 0)
    };
    assert!(ask("x").is_err_and(|error| error.to_string().contains("the disk is gone")));
    let answer = ask("x{a=\"1\"} + x{a=\"2\"}").expect("an answer");
    assert_eq!(answer.warnings, ["eu-west-1 did not answer"]);
}

#[test]
fn a_query_lists_its_selectors_with_the_times_they_read() {
    let text = "rate(x[10m] offset 1m) + y @ 500 + max_over_time(z[1h:1m])";
    let query = Query::parse(text).expect("a query");
    let found = query.selectors(&engine(Dialect::default()), 10_000_000, 20_000_000);
    let times: Vec<_> = found
        .iter()
        .map(|one| (&text[one.span.from..one.span.to], one.start_ms, one.end_ms, one.range_ms))
        .collect();
    assert_eq!(
        times,
        [
            ("x[10m] offset 1m", 10_000_000 - 660_000, 20_000_000 - 60_000, 600_000),
            ("y @ 500", 200_000, 500_000, 0),
            ("z", 10_000_000 - 3_900_000, 20_000_000, 0),
        ]
    );
}

#[test]
fn the_deepest_tree_is_evaluated_on_a_small_stack() {
    let some = memory("x | 1");
    let deep = |open: &str, close: &str, count| format!("{}x{}", open.repeat(count), close.repeat(count));
    for (open, close) in [
        ("(", ")"),
        ("-", ""),
        ("abs(", ")"),
        ("sum(", ")"),
        ("1 + ", ""),
        ("", " + 1"),
        ("max_over_time(", "[1m:])"),
    ] {
        let text = deep(open, close, if close == "[1m:])" { 60 } else { 120 });
        let query = Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(engine(Dialect::default()).instant(&some, &query, 0).is_ok(), "{text}");
        let error = Query::parse(&deep(open, close, 10_000)).expect_err("too deep");
        assert!(error.message.contains("deep"), "{error}");
    }
}
