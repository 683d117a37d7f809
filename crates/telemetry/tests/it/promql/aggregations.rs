//! Aggregations over series.

use super::{ask, check, check_numbers, check_refused, memory};

const SERIES: &str = "x{g=\"a\",i=\"1\"} | 1
    x{g=\"a\",i=\"2\"} | 2
    x{g=\"a\",i=\"3\"} | 6
    x{g=\"b\",i=\"1\"} | 5";

#[test]
fn groups_are_made_by_labels_or_without_them() {
    check(
        &memory(SERIES),
        0,
        &[
            ("sum(x)", "14"),
            ("sum by (g) (x)", r#"{g="a"} 9; {g="b"} 5"#),
            ("sum(x) without (i)", r#"{g="a"} 9; {g="b"} 5"#),
            ("sum by (__name__, g) (x)", r#"x{g="a"} 9; x{g="b"} 5"#),
            ("sum by (nothing) (x)", "14"),
            (
                "sum without () (x)",
                r#"{g="a", i="1"} 1; {g="a", i="2"} 2; {g="a", i="3"} 6; {g="b", i="1"} 5"#,
            ),
            ("min by (g) (x)", r#"{g="a"} 1; {g="b"} 5"#),
            ("max by (g) (x)", r#"{g="a"} 6; {g="b"} 5"#),
            ("avg by (g) (x)", r#"{g="a"} 3; {g="b"} 5"#),
            ("count by (g) (x)", r#"{g="a"} 3; {g="b"} 1"#),
            ("group by (g) (x)", r#"{g="a"} 1; {g="b"} 1"#),
            ("quantile by (g) (0.5, x)", r#"{g="a"} 2; {g="b"} 5"#),
            ("stdvar by (g) (x * 3)", r#"{g="a"} 42; {g="b"} 0"#),
            ("sum(nothing)", ""),
            ("count(nothing)", ""),
        ],
    );
    check_numbers(&memory(SERIES), 0, &[("stddev(x)", 4.25f64.sqrt()), ("quantile(2, x)", f64::INFINITY)]);
}

#[test]
fn nan_is_left_out_of_least_and_most_only() {
    let some = memory("x{i=\"1\"} | NaN\n x{i=\"2\"} | 3\n x{i=\"3\"} | 1");
    check(
        &some,
        0,
        &[
            ("min(x)", "1"),
            ("max(x)", "3"),
            ("sum(x)", "NaN"),
            ("min(x == NaN)", ""),
            ("quantile(0, x)", "NaN"),
        ],
    );
}

#[test]
fn the_best_keep_their_labels_and_come_in_order() {
    let some = memory(SERIES);
    let order = |expression| ask(&some, expression, 0).expect("an answer");
    assert_eq!(order("topk(2, x)"), [r#"x{g="a", i="3"} 6"#, r#"x{g="b", i="1"} 5"#]);
    assert_eq!(order("bottomk(2, x)"), [r#"x{g="a", i="1"} 1"#, r#"x{g="a", i="2"} 2"#]);
    check(
        &some,
        0,
        &[
            ("topk by (g) (1, x)", r#"x{g="a", i="3"} 6; x{g="b", i="1"} 5"#),
            ("topk(0, x)", ""),
            ("topk(-1, x)", ""),
            ("count(topk(1e9, x))", "4"),
            ("limitk by (g) (1, x)", r#"x{g="a", i="1"} 1; x{g="b", i="1"} 5"#),
        ],
    );
    check_refused(
        &some,
        0,
        &[("topk(NaN, x)", "no number of series"), ("topk(Inf, x)", "no number of series")],
    );
}

#[test]
fn ratios_that_add_up_to_one_take_each_series_once() {
    let lines: Vec<String> = (0..200).map(|i| format!("x{{i=\"{i}\"}} | 1")).collect();
    let many = memory(&lines.join("\n"));
    let count = |expression| super::number(&many, expression, 0);
    let (some, others) = (count("count(limit_ratio(0.3, x))"), count("count(limit_ratio(-0.7, x))"));
    assert_eq!(some + others, 200.0);
    assert!((30.0..=90.0).contains(&some), "{some} of 200 are a ratio of 0.3");
    check(
        &many,
        0,
        &[("limit_ratio(0.3, x) and limit_ratio(-0.7, x)", ""), ("count(limit_ratio(1, x))", "200")],
    );
    check_refused(&many, 0, &[("limit_ratio(NaN, x)", "NaN")]);
}

#[test]
fn values_are_counted_by_their_text() {
    let some = memory("x{i=\"1\"} | 1.5\n x{i=\"2\"} | 1.5\n x{i=\"3\"} | 1e21\n x{i=\"4\"} | Inf");
    check(
        &some,
        0,
        &[
            (r#"count_values("v", x)"#, r#"{v="1.5"} 2; {v="1000000000000000000000"} 1; {v="+Inf"} 1"#),
            (
                r#"count_values("i", x) by (i)"#,
                r#"{i="1.5"} 2; {i="1000000000000000000000"} 1; {i="+Inf"} 1"#,
            ),
            (r#"count_values without (i) ("i", x)"#, "4"),
        ],
    );
    check_refused(&some, 0, &[(r#"count_values("a-b", x)"#, "no name of a label")]);
}
