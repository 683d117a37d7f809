//! Feeds damaged expressions to the parser and evaluates what it reads: no panic, no memory without limit.
//!
//! `cargo run -p dwcp-telemetry --profile sim --example fuzz-promql -- [--seconds N] [--seed N]`. A failure prints the input.

use std::time::Duration;

use dwcp_telemetry::promql::{Dialect, Engine, Memory, Query, expand_globs};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

const EXPRESSIONS: &[&str] = &[
    "sum by (region) (rate(x{a=\"1\",b=~\"c|d\",e!=\"f\",g!~\"h.*\"}[5m] offset -1m)) / on (region) group_left (v) y @ end()",
    "max_over_time(deriv(x[10m])[1h30m:1m] @ 1.5) > bool 0x1F or label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")",
    "histogram_quantile(0.99, n) + topk without (a) (5, -x ^ 2) unless absent(y) and ignoring (b) clamp(x, 1, Inf)",
    "count_values(\"v\", x) == limitk(2, {\"x\", 'a'=`1`}) # comment\n % quantile(NaN, holt_winters(x[5m:], 0.1, 0.2))",
    "fed_*_ms * *_count + a*b",
];

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let series =
        "x{a=\"1\",b=\"c\"} | 1 2 stale 4*3 0..5/1\n x{a=\"2\"} | NaN Inf 3\n y{region=\"e\",v=\"1\"} | 5*9
        n | h(schema=2,sum=5,zero=1,pos=1:1/4:2,neg=2:1)*5";
    let memory = Memory::parse(series, 0, 60_000).expect("series");
    let engine = Engine {
        max_samples: 10_000,
        timeout: Duration::from_secs(5),
        dialect: Dialect::Prometheus3,
        ..Engine::default()
    };
    let real: Vec<Vec<u8>> = EXPRESSIONS.iter().map(|text| text.as_bytes().to_vec()).collect();
    rounds::run("promql", &real[..4], limit, seed, |input| {
        let text = String::from_utf8_lossy(input);
        expand_globs(&text, &["fed_a_ms", "fed_count", "a"]);
        let Ok(query) = Query::parse(&text) else { return false };
        assert!(Query::parse(&query.format()).is_ok(), "what is written is read again");
        query.selectors(&engine, 0, 600_000);
        // What it evaluates to does not matter here, nor whether it is refused.
        let _ = engine.instant(&memory, &query, 240_000);
        let _ = engine.range(&memory, &query, 0, 600_000, 50_000);
        true
    });
    rounds::run("promql-globs", &real[4..], limit, seed, |input| {
        let text = String::from_utf8_lossy(input);
        !expand_globs(&text, &["fed_a_ms", "a_count", "x_count"]).is_empty()
    });
}
