//! Expressions from a seed.

use dwcp_types::Rng;

/// Gauges and counters with labels region and host.
const HOSTED: [&str; 5] = ["temperature", "load", "queue_length", "requests_total", "build_info"];
const SELECTORS: [&str; 16] = [
    "temperature",
    "load",
    "queue_length",
    "requests_total",
    "requests_total{code=\"200\"}",
    "requests_total{code!=\"200\",region=~\"eu.*|us.*\"}",
    "requests_total{code=~\"4..|5..\"}",
    "load{host!~\"host1.*\"}",
    "temperature{region=\"eu-west-1\"}",
    "{__name__=\"temperature\",host=\"host2\"}",
    "special",
    "special{kind!=\"nan\"}",
    "sparse",
    "moment_seconds",
    "latency_seconds_bucket",
    "nothing",
];
const NUMBER_FUNCTIONS: [&str; 17] = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "deg", "exp", "ln", "log10", "log2",
    "rad", "sinh", "sqrt", "tanh",
];
/// What rounding of large numbers may push over an edge, or round a circle, is asked of samples only.
const STEP_FUNCTIONS: [&str; 7] = ["ceil", "floor", "round", "sgn", "sin", "cos", "tan"];
const DATE_FUNCTIONS: [&str; 8] =
    ["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];
const RANGE_FUNCTIONS: [&str; 20] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "resets",
    "changes",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "rate",
    "increase",
    "delta",
];
const AGGREGATIONS: [&str; 8] = ["sum", "min", "max", "avg", "group", "stddev", "stdvar", "count"];
const ARITHMETIC: [&str; 6] = ["+", "-", "*", "/", "%", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const NUMBERS: [&str; 12] = ["0", "1", "2", "-1", "0.5", "3.7", "100", "1e3", "Inf", "-Inf", "NaN", "0x1F"];

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.below(from.len() as u64) as usize]
}

/// One expression, of a scalar or an instant vector.
pub fn expression(rng: &mut Rng) -> String {
    match rng.below(20) {
        0 => scalar(rng, 3),
        1 | 2 => native(rng),
        _ => vector(rng, 3),
    }
}

fn scalar(rng: &mut Rng, depth: u32) -> String {
    if depth == 0 {
        return pick(rng, &NUMBERS).to_owned();
    }
    match rng.below(8) {
        0..4 => pick(rng, &NUMBERS).to_owned(),
        4 => format!("scalar({})", vector(rng, depth - 1)),
        5 => pick(rng, &["time()", "pi()"]).to_owned(),
        6 => format!("({} {} {})", scalar(rng, depth - 1), pick(rng, &ARITHMETIC), scalar(rng, depth - 1)),
        _ => format!(
            "({} {} bool {})",
            scalar(rng, depth - 1),
            pick(rng, &COMPARISONS),
            scalar(rng, depth - 1)
        ),
    }
}

fn modifiers(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => " offset 7m".to_owned(),
        1 => " offset -3m".to_owned(),
        2 => format!(" @ {}.5", 1_700_000_000 + rng.below(7200)),
        3 => " @ end()".to_owned(),
        4 => " @ start() offset 1m".to_owned(),
        _ => String::new(),
    }
}

fn selector(rng: &mut Rng) -> String {
    pick(rng, &SELECTORS).to_owned() + &modifiers(rng)
}

fn range(rng: &mut Rng, depth: u32) -> String {
    if depth > 1 && rng.chance(1, 4) {
        let step = pick(rng, &["1m", "45s", "", "2m"]);
        return format!(
            "({})[{}:{step}]{}",
            vector(rng, depth - 2),
            pick(rng, &["5m", "10m", "23m"]),
            modifiers(rng)
        );
    }
    let length = pick(rng, &["1m", "2m", "5m", "17m", "1h"]);
    format!("{}[{length}]{}", pick(rng, &SELECTORS), modifiers(rng))
}

fn vector(rng: &mut Rng, depth: u32) -> String {
    if depth == 0 {
        return selector(rng);
    }
    match rng.below(20) {
        0 | 1 => selector(rng),
        2..6 => over_range(rng, depth),
        6..9 => aggregation(rng, depth),
        9..12 => binary(rng, depth),
        12 | 13 => matched(rng),
        14 if rng.chance(1, 6) => format!("{} ^ {}", selector(rng), pick(rng, &["2", "0.5", "-1", "(load)"])),
        14 if rng.chance(1, 3) => format!("{}({})", pick(rng, &STEP_FUNCTIONS), selector(rng)),
        14 => format!("{}({})", pick(rng, &NUMBER_FUNCTIONS), vector(rng, depth - 1)),
        15 => special(rng, depth),
        16 => histogram(rng),
        17 => labels(rng, depth),
        18 => format!("-{}", selector(rng)),
        _ => format!("({})", vector(rng, depth - 1)),
    }
}

fn over_range(rng: &mut Rng, depth: u32) -> String {
    match rng.below(10) {
        0 => format!(
            "quantile_over_time({}, {})",
            pick(rng, &["0.5", "0.99", "0", "1", "-1", "2"]),
            range(rng, depth)
        ),
        1 => format!("predict_linear({}, {})", range(rng, depth), scalar(rng, depth - 1)),
        2 => format!("holt_winters({}, 0.{}, 0.{})", range(rng, depth), 1 + rng.below(9), 1 + rng.below(9)),
        3 => format!("absent_over_time({})", range(rng, depth)),
        _ => {
            let function = pick(rng, &RANGE_FUNCTIONS);
            // Rounding makes a reset of what stays the same.
            let counts = ["rate", "increase", "irate", "resets", "changes"].contains(&function);
            match counts && rng.chance(1, 4) {
                true => format!("{function}({}[17m:1m]{})", pick(rng, &SELECTORS), modifiers(rng)),
                false => format!("{function}({})", range(rng, if counts { 0 } else { depth })),
            }
        }
    }
}

fn grouping(rng: &mut Rng) -> &'static str {
    pick(
        rng,
        &[
            "",
            " by (region)",
            " by (host, region)",
            " without (host)",
            " without (code, le)",
            " by (nothing)",
            " by (__name__, code)",
        ],
    )
}

fn aggregation(rng: &mut Rng, depth: u32) -> String {
    let by = grouping(rng);
    match rng.below(8) {
        0 => format!("topk{by} ({}, {})", pick(rng, &["1", "3", "0", "100", "-2"]), selector(rng)),
        1 => format!("bottomk{by} ({}, {})", pick(rng, &["1", "2", "5"]), selector(rng)),
        2 => format!(
            "quantile{by} ({}, {})",
            pick(rng, &["0.3", "0.9", "1", "2", "NaN"]),
            vector(rng, depth - 1)
        ),
        3 => format!(
            "count_values{by} (\"value\", {})",
            pick(rng, &["queue_length", "build_info", "special", "load"])
        ),
        _ => format!("{}{by} ({})", pick(rng, &AGGREGATIONS), vector(rng, depth - 1)),
    }
}

fn binary(rng: &mut Rng, depth: u32) -> String {
    let (left, right) = (vector(rng, depth - 1), vector(rng, depth - 1));
    match rng.below(8) {
        0 => format!("{left} {} {right}", pick(rng, &["and", "or", "unless"])),
        1 => format!("{left} {} on (region, host) {right}", pick(rng, &["and", "or", "unless"])),
        2 => format!("({left}) {} {}", pick(rng, &ARITHMETIC), scalar(rng, depth - 1)),
        3 => format!("{} {} ({right})", scalar(rng, depth - 1), pick(rng, &ARITHMETIC)),
        4 => format!("({left}) {} {}", pick(rng, &COMPARISONS), scalar(rng, depth - 1)),
        5 => format!("{} {} bool ({right})", scalar(rng, depth - 1), pick(rng, &COMPARISONS)),
        6 => format!("({left}) {} ({right})", pick(rng, &ARITHMETIC)),
        _ => format!("({left}) {} ({right})", pick(rng, &COMPARISONS)),
    }
}

/// Vectors that do match each other.
fn matched(rng: &mut Rng) -> String {
    let operator = if rng.chance(1, 2) { pick(rng, &ARITHMETIC) } else { pick(rng, &COMPARISONS) };
    let bool = if COMPARISONS.contains(&operator) && rng.chance(1, 2) { " bool" } else { "" };
    let one = pick(rng, &HOSTED[..3]);
    match rng.below(6) {
        0 => format!("{} {operator}{bool} {one}", pick(rng, &HOSTED[..3])),
        1 => format!("{one} {operator}{bool} on (region, host) build_info"),
        2 => format!("requests_total {operator}{bool} ignoring (code) group_left {one}"),
        3 => {
            format!("requests_total {operator}{bool} on (region, host) group_left (version, arch) build_info")
        }
        4 => format!("{one} {operator}{bool} on (region, host) group_right (kind) requests_total"),
        _ => format!(
            "sum by (region) ({one}) {operator}{bool} on (region) group_right () {}",
            pick(rng, &HOSTED[..4])
        ),
    }
}

fn special(rng: &mut Rng, depth: u32) -> String {
    let inner = vector(rng, depth - 1);
    match rng.below(12) {
        0 => format!("clamp({inner}, {}, {})", scalar(rng, 1), scalar(rng, 1)),
        1 => format!("clamp_min({inner}, {})", scalar(rng, 1)),
        2 => format!("clamp_max({inner}, {})", scalar(rng, 1)),
        3 => format!("round({}, {})", selector(rng), pick(rng, &["0.1", "5", "0.003", "1e3"])),
        4 => format!("absent({inner})"),
        5 => format!("timestamp({inner})"),
        6 => format!("vector({})", scalar(rng, depth - 1)),
        7 => format!("sort({})", pick(rng, &["load", "temperature"])),
        8 => format!("sort_desc({})", pick(rng, &["load", "temperature"])),
        9 => format!("{}()", pick(rng, &DATE_FUNCTIONS)),
        _ => format!("{}(moment_seconds)", pick(rng, &DATE_FUNCTIONS)),
    }
}

fn histogram(rng: &mut Rng) -> String {
    let q = pick(rng, &["0", "0.5", "0.9", "0.999", "1", "1.5", "-0.5", "NaN"]);
    let length = pick(rng, &["2m", "5m", "20m"]);
    match rng.below(4) {
        0 => format!("histogram_quantile({q}, latency_seconds_bucket)"),
        1 => format!("histogram_quantile({q}, rate(latency_seconds_bucket[{length}]))"),
        2 => format!("histogram_quantile({q}, sum by (le, region) (rate(latency_seconds_bucket[{length}])))"),
        _ => format!("rate(latency_seconds_sum[{length}]) / rate(latency_seconds_count[{length}])"),
    }
}

fn labels(rng: &mut Rng, depth: u32) -> String {
    let inner = vector(rng, depth - 1);
    match rng.below(5) {
        0 => format!("label_replace({inner}, \"zone\", \"$1-$2\", \"region\", \"(.*)-(.*)-.*\")"),
        1 => format!("label_replace({inner}, \"host\", \"\", \"host\", \"host1\")"),
        2 => format!("label_join({inner}, \"all\", \"/\", \"region\", \"host\", \"code\")"),
        3 => format!("label_replace({inner}, \"region\", \"one\", \"region\", \".*\")"),
        _ => format!("label_replace({inner}, \"copy\", \"${{name}}x\", \"__name__\", \"(?P<name>.+)\")"),
    }
}

/// Native histograms.
fn native(rng: &mut Rng) -> String {
    let length = pick(rng, &["2m", "5m", "20m"]);
    let inner = match rng.below(7) {
        0 => "native_seconds".to_owned(),
        1 => format!("rate(native_seconds[{length}])"),
        2 => format!("increase(native_seconds[{length}])"),
        3 => format!("delta(native_gauge[{length}])"),
        4 => format!("sum(rate(native_seconds[{length}]))"),
        5 => "sum by (region) (native_seconds)".to_owned(),
        _ => "native_seconds + native_seconds".to_owned(),
    };
    match rng.below(6) {
        0 => format!("histogram_count({inner})"),
        1 => format!("histogram_sum({inner})"),
        2 => format!(
            "histogram_fraction({}, {}, {inner})",
            pick(rng, &["-Inf", "0", "1"]),
            pick(rng, &["2", "Inf", "0.3"])
        ),
        3 => inner,
        _ => format!("histogram_quantile({}, {inner})", pick(rng, &["0.01", "0.5", "0.9", "0.99", "1", "2"])),
    }
}
