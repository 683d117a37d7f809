//! Functions of ranges, and which samples a moment sees.

use dwcp_telemetry::promql::{AnswerValue, Dialect, Query};

use super::{MINUTE, ask, ask_as, check, check_numbers, check_refused, engine, memory, text};

fn range(memory: &dwcp_telemetry::promql::Memory, expression: &str, steps: (i64, i64, i64)) -> Vec<String> {
    let query = Query::parse(expression).expect("a query");
    let answer = engine(Dialect::default()).range(memory, &query, steps.0, steps.1, steps.2);
    text(&answer.unwrap_or_else(|error| panic!("{expression}: {error}")).value)
}

#[test]
fn each_function_of_a_range_is_what_it_is_called() {
    let some = memory("x{a=\"1\"} | 1 3 2 2 8");
    let table: &[(&str, f64)] = &[
        ("sum_over_time(x[4m])", 16.0),
        ("avg_over_time(x[4m])", 3.2),
        ("min_over_time(x[4m])", 1.0),
        ("max_over_time(x[4m])", 8.0),
        ("count_over_time(x[4m])", 5.0),
        ("first_over_time(x[4m])", 1.0),
        ("last_over_time(x[4m])", 8.0),
        ("present_over_time(x[4m])", 1.0),
        ("stdvar_over_time(x[4m])", 6.16),
        ("stddev_over_time(x[4m])", 6.16f64.sqrt()),
        ("quantile_over_time(0.5, x[4m])", 2.0),
        ("quantile_over_time(0.75, x[4m])", 3.0),
        ("mad_over_time(x[4m])", 1.0),
        ("changes(x[4m])", 3.0),
        ("resets(x[4m])", 1.0),
        ("delta(x[4m])", 7.0),
        ("idelta(x[4m])", 6.0),
        ("irate(x[4m])", 0.1),
        ("increase(x[4m])", 10.0),
        ("rate(x[4m])", 10.0 / 240.0),
        ("deriv(x[4m])", 1.3 / 60.0),
        ("predict_linear(x[4m], 60)", 3.2 + 3.0 * 1.3),
        ("holt_winters(x[4m], 0.5, 0.5)", 5.96875),
        ("double_exponential_smoothing(x[4m], 0.5, 0.5)", 5.96875),
        ("ts_of_max_over_time(x[4m])", 240.0),
        ("ts_of_min_over_time(x[4m])", 0.0),
        ("ts_of_first_over_time(x[4m])", 0.0),
        ("ts_of_last_over_time(x[4m])", 240.0),
    ];
    check_numbers(&some, 4 * MINUTE, table);
    check(
        &some,
        4 * MINUTE,
        &[("last_over_time(x[4m])", r#"x{a="1"} 8"#), ("rate(x[30s])", ""), ("idelta(x[30s])", "")],
    );
    check_refused(&some, 4 * MINUTE, &[("holt_winters(x[4m], 1, 0.5)", "between 0 and 1")]);
}

#[test]
fn a_rate_reaches_to_the_ends_of_its_range_when_samples_are_near() {
    let some = memory("x | 100 160 220 280 340");
    // Samples each minute from 0 to 240 s: seen from 250 s they end 10 s before the range does.
    check_numbers(
        &some,
        250_000,
        &[
            ("increase(x[3m])", 180.0),
            // The first sample is at 120 s, 1 s behind where the range begins.
            ("increase(x[131s])", 131.0),
            // Nothing is near the beginning: half a minute more is taken for granted.
            ("increase(x[20m])", 240.0 + 30.0 + 10.0),
        ],
    );
    // A counter was not below zero before.
    check_numbers(
        &memory("x | 10 70 130"),
        120_000,
        &[("increase(x[150s])", 130.0), ("delta(x[150s])", 150.0)],
    );
}

#[test]
fn a_counter_that_begins_anew_has_lost_nothing() {
    check_numbers(&memory("x | 10 20 5 15"), 180_000, &[("increase(x[3m])", 25.0), ("resets(x[3m])", 1.0)]);
    check_numbers(&memory("x | 10 4"), 60_000, &[("irate(x[1m])", 4.0 / 60.0), ("idelta(x[1m])", -6.0)]);
}

#[test]
fn versions_differ_in_whether_a_range_includes_its_beginning() {
    let some = memory("x | 1 2 3");
    let count = |dialect| ask_as(dialect, &some, "count_over_time(x[1m])", 2 * MINUTE).expect("a count");
    assert_eq!(
        (count(Dialect::Prometheus2), count(Dialect::Prometheus3)),
        (vec!["2".into()], vec!["1".into()])
    );
    let last = |dialect| ask_as(dialect, &some, "x", 7 * MINUTE).expect("a value").len();
    assert_eq!((last(Dialect::Prometheus2), last(Dialect::Prometheus3)), (1, 0));
    let steps = |dialect| ask_as(dialect, &some, "count_over_time(x[2m:1m])", 2 * MINUTE).expect("a count");
    assert_eq!(
        (steps(Dialect::Prometheus2), steps(Dialect::Prometheus3)),
        (vec!["3".into()], vec!["2".into()])
    );
}

#[test]
fn versions_differ_in_how_far_back_a_counter_is_followed_to_zero() {
    // Every 60 s by 60: half a minute is 30 s, a sample is near within 66 s, and zero lies 60 s back.
    let some = memory("x | _ _ _ _ 60 120 180");
    let increase = |dialect| ask_as(dialect, &some, "increase(x[6m])", 6 * MINUTE).expect("an increase");
    assert_eq!(increase(Dialect::Prometheus2), ["180"]);
    assert_eq!(increase(Dialect::Prometheus3), ["150"]);
}

#[test]
fn a_sample_is_seen_for_five_minutes_or_until_its_series_ends() {
    let some = memory("x | 1 2\n y | 1 stale");
    check(&some, 6 * MINUTE, &[("x", "x 2")]);
    check(&some, 6 * MINUTE + 1, &[("x", "")]);
    check(&some, MINUTE - 1, &[("y", "y 1")]);
    check(&some, MINUTE, &[("y", ""), ("last_over_time(y[5m])", "y 1"), ("count_over_time(y[5m])", "1")]);
}

#[test]
fn offsets_and_moments_move_what_is_seen() {
    let some = memory("x | 0..10/1");
    check(
        &some,
        5 * MINUTE,
        &[
            ("x offset 2m", "x 3"),
            ("x offset -2m", "x 7"),
            ("x @ 60", "x 1"),
            ("x @ 60.5 offset -1m", "x 2"),
            ("x offset 1m @ 120", "x 1"),
            ("x @ start()", "x 5"),
            ("sum_over_time(x[2m] @ 180)", "6"),
            ("sum_over_time(x[2m] offset 3m)", "3"),
            ("sum_over_time(x[2m:1m] @ 180 offset 1m)", "3"),
            ("x[1m] @ 60", "x 0@0 1@60"),
        ],
    );
    assert_eq!(range(&some, "x @ start()", (MINUTE, 3 * MINUTE, MINUTE)), ["x 1@60 1@120 1@180"]);
    assert_eq!(range(&some, "x - x @ end()", (MINUTE, 3 * MINUTE, MINUTE)), ["-2@60 -1@120 0@180"]);
    assert_eq!(range(&some, "predict_linear(x[2m] @ 120, 0)", (MINUTE, 2 * MINUTE, MINUTE)), ["1@60 2@120"]);
}

#[test]
fn a_subquery_steps_at_multiples_of_its_step() {
    let some = memory("x | 0..10/1");
    check(
        &some,
        5 * MINUTE + 1234,
        &[
            ("x[2m:1m]", "x 4@240 5@300"),
            ("x[2m:]", "x 4@240 5@300"),
            ("x[90s:30s] offset 1m", "x 3@180 3@210 4@240"),
            ("max_over_time(sum_over_time(x[1m])[3m:1m])", "9"),
            ("avg_over_time((x > 3)[4m:1m])", "4.5"),
        ],
    );
}

#[test]
fn a_range_query_gives_a_value_for_each_step_that_has_one() {
    let some = memory("x{a=\"2\"} | 1 _ _ _ _ _ _ 8\n x{a=\"1\"} | 2 stale 4");
    let found = range(&some, "x", (0, 7 * MINUTE, MINUTE));
    assert_eq!(
        found,
        [
            r#"x{a="1"} 2@0 4@120 4@180 4@240 4@300 4@360 4@420"#,
            r#"x{a="2"} 1@0 1@60 1@120 1@180 1@240 1@300 8@420"#,
        ]
    );
    assert_eq!(range(&some, "1 + 1", (0, 2, 1)), ["2@0 2@0 2@0"]);
    assert_eq!(range(&some, "time()", (0, 2000, 1000)), ["0@0 1@1 2@2"]);
    assert_eq!(range(&some, "nothing", (0, 2, 1)), [""; 0]);
    assert_eq!(range(&some, "count(x)", (0, MINUTE, MINUTE)), ["2@0 1@60"]);
}

#[test]
fn only_scalars_and_instant_vectors_are_evaluated_over_a_range() {
    let (none, engine) = (memory(""), engine(Dialect::default()));
    let refusal = |expression, start, end, step| {
        let query = Query::parse(expression).expect("a query");
        engine.range(&none, &query, start, end, step).expect_err("a refusal").to_string()
    };
    assert!(refusal("x[5m]", 0, 1, 1).contains("range vector"));
    assert!(refusal("\"a\"", 0, 1, 1).contains("string"));
    assert!(refusal("1", 1, 0, 1).contains("before the start"));
    assert!(refusal("1", 0, 1, 0).contains("step"));
    assert!(refusal("1", 0, i64::MAX, 1).contains("out of range"));
}

#[test]
fn a_range_vector_at_a_moment_is_its_samples() {
    let some = memory("x | 1 stale 3");
    let query = Query::parse("x[5m]").expect("a query");
    let answer = engine(Dialect::default()).instant(&some, &query, 3 * MINUTE).expect("an answer");
    assert!(matches!(answer.value, AnswerValue::Matrix(_)));
    assert_eq!(text(&answer.value), ["x 1@0 3@120"]);
    assert_eq!(ask(&some, "nothing[5m]", 0), Ok(vec![]));
}
