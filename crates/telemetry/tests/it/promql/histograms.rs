//! Classic and native histograms.

use dwcp_telemetry::promql::{Dialect, Query};

use super::{MINUTE, ask_as, check, check_numbers, engine, memory};

#[test]
fn classic_buckets_are_gathered_by_their_labels() {
    let some = memory(
        "h_bucket{le=\"1\",i=\"1\"} | 0 60
         h_bucket{le=\"2\",i=\"1\"} | 0 120
         h_bucket{le=\"+Inf\",i=\"1\"} | 0 120
         h_bucket{le=\"1\",i=\"2\"} | 0 0
         h_bucket{le=\"2\",i=\"2\"} | 0 60
         h_bucket{le=\"+Inf\",i=\"2\"} | 0 60
         h_bucket{le=\"nonsense\",i=\"2\"} | 0 60",
    );
    check(
        &some,
        MINUTE,
        &[
            ("histogram_quantile(0.5, rate(h_bucket[1m]))", r#"{i="1"} 1; {i="2"} 1.5"#),
            ("histogram_quantile(0.5, sum by (le) (rate(h_bucket[1m])))", "1.25"),
            ("histogram_quantile(2, h_bucket)", r#"{i="1"} inf; {i="2"} inf"#),
            ("histogram_fraction(0, 1, h_bucket)", r#"{i="1"} 0.5; {i="2"} 0"#),
        ],
    );
}

const NATIVE: &str = "n{i=\"1\"} | h(sum=2,pos=1:2) h(sum=10,pos=1:2/2:2)
    n{i=\"2\"} | h(schema=1,sum=1,pos=1:1) h(schema=1,sum=7,pos=1:1/3:2)";

#[test]
fn the_bare_name_of_a_native_histogram_has_quantiles() {
    let some = memory(NATIVE);
    check(&some, MINUTE, &[("histogram_quantile(1, n)", r#"{i="1"} 4; {i="2"} 2.8284271247461903"#)]);
    let exponential = ask_as(Dialect::Prometheus3, &some, "histogram_quantile(0.25, n{i=\"1\"})", MINUTE);
    assert_eq!(exponential, Ok(vec![r#"{i="1"} 1.4142135623730951"#.to_owned()]));
    check_numbers(&some, MINUTE, &[("histogram_quantile(0.25, n{i=\"1\"})", 1.5)]);
}

#[test]
fn a_histogram_tells_its_count_sum_mean_and_deviation() {
    let some = memory(NATIVE);
    check_numbers(
        &some,
        MINUTE,
        &[
            ("histogram_count(n{i=\"1\"})", 4.0),
            ("histogram_sum(n{i=\"1\"})", 10.0),
            ("histogram_avg(n{i=\"1\"})", 2.5),
            ("histogram_fraction(0, 2, n{i=\"1\"})", 0.5),
            // The middles of the buckets are the roots of 2 and 8; the mean is 2.5.
            (
                "histogram_stdvar(n{i=\"1\"})",
                (((2f64.sqrt() - 2.5).powi(2)) + (8f64.sqrt() - 2.5).powi(2)) / 2.0,
            ),
            ("histogram_stddev(n) ^ 2 - on (i) histogram_stdvar(n{i=\"1\"})", 0.0),
        ],
    );
    check(&memory("x | 1"), 0, &[("histogram_count(x)", ""), ("histogram_quantile(0.5, x)", "")]);
}

#[test]
fn histograms_add_up_at_the_coarser_resolution() {
    check(
        &memory(NATIVE),
        MINUTE,
        &[
            ("sum(n)", "h(0 7 17 1:3/2:4 )"),
            ("avg(n)", "h(0 3.5 8.5 1:1.5/2:2 )"),
            ("n{i=\"1\"} + ignoring (i) n{i=\"2\"}", "h(0 7 17 1:3/2:4 )"),
            ("n{i=\"1\"} - ignoring (i) n{i=\"2\"}", "h(0 1 3 1:1 )"),
            ("n{i=\"1\"} * 2", r#"{i="1"} h(0 8 20 1:4/2:4 )"#),
            ("2 * n{i=\"1\"}", r#"{i="1"} h(0 8 20 1:4/2:4 )"#),
            ("n{i=\"1\"} / 2", r#"{i="1"} h(0 2 5 1:1/2:1 )"#),
            ("-n{i=\"1\"}", r#"{i="1"} h(0 -4 -10 1:-2/2:-2 )"#),
            ("n == n", r#"n{i="1"} h(0 4 10 1:2/2:2 ); n{i="2"} h(1 3 7 1:1/3:2 )"#),
            ("n != n", ""),
            ("count(n)", "2"),
            ("max(n)", ""),
        ],
    );
}

#[test]
fn histograms_have_rates_and_sums_over_time() {
    check(
        &memory(NATIVE),
        MINUTE,
        &[
            ("increase(n{i=\"1\"}[1m])", r#"{i="1"} h(0 2 8 2:2 )"#),
            ("rate(n{i=\"2\"}[1m]) * 60", r#"{i="2"} h(1 2 6 3:2 )"#),
            ("delta(n{i=\"1\"}[1m])", r#"{i="1"} h(0 2 8 2:2 )"#),
            ("irate(n{i=\"1\"}[1m]) * 60", r#"{i="1"} h(0 2 8 2:2 )"#),
            ("sum_over_time(n{i=\"1\"}[1m])", r#"{i="1"} h(0 6 12 1:4/2:2 )"#),
            ("avg_over_time(n{i=\"1\"}[1m])", r#"{i="1"} h(0 3 6 1:2/2:1 )"#),
            ("count_over_time(n{i=\"1\"}[1m])", r#"{i="1"} 2"#),
            ("last_over_time(n{i=\"1\"}[1m])", r#"n{i="1"} h(0 4 10 1:2/2:2 )"#),
            ("changes(n{i=\"1\"}[1m])", r#"{i="1"} 1"#),
            ("resets(n{i=\"1\"}[1m])", r#"{i="1"} 0"#),
            ("max_over_time(n[1m])", ""),
        ],
    );
    // Begun anew: what was counted since counts.
    let anew = memory("n | h(sum=9,pos=1:5/2:4) h(sum=3,pos=1:6)");
    check(&anew, MINUTE, &[("increase(n[1m])", "h(0 6 3 1:6 )"), ("resets(n[1m])", "1")]);
}

#[test]
fn numbers_and_histograms_don_t_mix_and_that_is_said() {
    let some = memory("n{i=\"1\"} | h(sum=2,pos=1:2)\n n{i=\"2\"} | 5\n m | 1 h(sum=2,pos=1:2)");
    for expression in [
        "sum(n)",
        "n{i=\"1\"} + ignoring (i) n{i=\"2\"}",
        "n{i=\"1\"} + 1",
        "rate(m[1m])",
        "topk(1, n{i=\"1\"})",
    ] {
        let query = Query::parse(expression).expect("a query");
        let answer = engine(Dialect::default()).instant(&some, &query, MINUTE).expect("an answer");
        assert_eq!((super::text(&answer.value), answer.warnings.len()), (vec![], 1), "{expression}");
    }
}
