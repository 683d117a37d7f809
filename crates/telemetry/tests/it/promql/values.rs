//! Functions of one value at a time, scalars and literals.

use super::{MINUTE, ask, check, check_numbers, check_refused, memory};

#[test]
fn literals_are_themselves() {
    let none = memory("");
    check(
        &none,
        0,
        &[
            ("1.5", "scalar 1.5"),
            ("0x1F", "scalar 31"),
            ("5m", "scalar 300"),
            ("\"a\\tb\"", "string a\tb"),
            ("-Inf", "scalar -inf"),
            ("(1 + 2) * 3", "scalar 9"),
            ("pi()", "scalar 3.141592653589793"),
            ("vector(7)", "7"),
            ("vector(1) - vector(2)", "-1"),
        ],
    );
    check(
        &none,
        90_000,
        &[("time()", "scalar 90"), ("vector(time())", "90"), ("timestamp(vector(1))", "90")],
    );
}

#[test]
fn each_function_of_a_number_is_that_of_mathematics() {
    let one = memory("x | -0.5");
    let table: &[(&str, f64)] = &[
        ("abs(x)", 0.5),
        ("ceil(x)", -0.0),
        ("floor(x)", -1.0),
        ("round(x)", 0.0),
        ("round(x, 0.2)", -0.4),
        ("round(x * 5, 2)", -2.0),
        ("sgn(x)", -1.0),
        ("sqrt(-x)", 0.5f64.sqrt()),
        ("exp(x)", (-0.5f64).exp()),
        ("ln(-x)", 0.5f64.ln()),
        ("ln(x)", f64::NAN),
        ("log2(-x)", -1.0),
        ("log10(-x)", 0.5f64.log10()),
        ("sin(x)", (-0.5f64).sin()),
        ("cos(x)", 0.5f64.cos()),
        ("tan(x)", (-0.5f64).tan()),
        ("asin(x)", (-0.5f64).asin()),
        ("acos(x)", (-0.5f64).acos()),
        ("atan(x)", (-0.5f64).atan()),
        ("sinh(x)", (-0.5f64).sinh()),
        ("cosh(x)", 0.5f64.cosh()),
        ("tanh(x)", (-0.5f64).tanh()),
        ("asinh(x)", (-0.5f64).asinh()),
        ("acosh(x + 2)", 1.5f64.acosh()),
        ("atanh(x)", (-0.5f64).atanh()),
        ("deg(x)", -28.64788975654116),
        ("rad(x * 360)", -std::f64::consts::PI),
        ("clamp(x, 0, 1)", 0.0),
        ("clamp_min(x, 3)", 3.0),
        ("clamp_max(x, -3)", -3.0),
        ("clamp_min(x, NaN)", f64::NAN),
        ("scalar(x)", -0.5),
        ("scalar(nothing)", f64::NAN),
    ];
    check_numbers(&one, 0, table);
    check(&one, 0, &[("clamp(x, 1, 0)", "")]);
}

#[test]
fn functions_drop_the_name_and_keep_the_labels() {
    let two = memory("x{a=\"1\"} | 1\n x{a=\"2\"} | 4");
    check(
        &two,
        0,
        &[
            ("sqrt(x)", r#"{a="1"} 1; {a="2"} 2"#),
            ("-x", r#"{a="1"} -1; {a="2"} -4"#),
            ("+x", r#"x{a="1"} 1; x{a="2"} 4"#),
            ("scalar(x)", "scalar NaN"),
            ("(x)", r#"x{a="1"} 1; x{a="2"} 4"#),
        ],
    );
}

#[test]
fn dates_are_those_of_utc() {
    // 2024-02-29 13:45:06.
    let leap = memory("at | 1709214306");
    check(
        &leap,
        0,
        &[
            ("year(at)", "2024"),
            ("month(at)", "2"),
            ("day_of_month(at)", "29"),
            ("day_of_week(at)", "4"),
            ("day_of_year(at)", "60"),
            ("days_in_month(at)", "29"),
            ("hour(at)", "13"),
            ("minute(at)", "45"),
        ],
    );
    check(&leap, 3_600_000, &[("hour()", "1"), ("year()", "1970")]);
}

#[test]
fn what_is_not_there_can_be_seen() {
    let one = memory("x{a=\"1\"} | 1");
    check(
        &one,
        0,
        &[
            ("absent(x)", ""),
            ("absent(y)", "1"),
            (r#"absent(y{a="1",b=~"2",c!="3"})"#, r#"{a="1"} 1"#),
            (r#"absent(y{a="1",a="2",b="3"})"#, r#"{b="3"} 1"#),
            ("absent(sum(y))", "1"),
            (r#"absent_over_time(y{a="1"}[5m])"#, r#"{a="1"} 1"#),
            ("absent_over_time(x[5m])", ""),
            ("absent_over_time(x[1m] offset 5m)", "1"),
        ],
    );
}

#[test]
fn a_timestamp_is_that_of_the_sample() {
    let two = memory("x | 1 _ 3");
    check(&two, 100_000, &[("timestamp(x)", "0"), ("timestamp(x + 0)", "100")]);
    check(&two, 2 * MINUTE + 1, &[("timestamp((x))", "120"), ("timestamp(x offset 1m)", "0")]);
}

#[test]
fn sorting_puts_nan_last_either_way() {
    let some = memory("x{n=\"node10\"} | 2\n x{n=\"node2\"} | NaN\n x{n=\"node1\"} | 3");
    let order = |expression| ask(&some, expression, 0).expect("an answer");
    let lines = |values: [&str; 3]| values.map(|value| format!("x{{n={value}")).to_vec();
    assert_eq!(order("sort(x)"), lines([r#""node10"} 2"#, r#""node1"} 3"#, r#""node2"} NaN"#]));
    assert_eq!(order("sort_desc(x)"), lines([r#""node1"} 3"#, r#""node10"} 2"#, r#""node2"} NaN"#]));
    assert_eq!(
        order("sort_by_label(x, \"n\")"),
        lines([r#""node1"} 3"#, r#""node2"} NaN"#, r#""node10"} 2"#])
    );
    assert_eq!(
        order("sort_by_label_desc(x, \"n\")"),
        lines([r#""node10"} 2"#, r#""node2"} NaN"#, r#""node1"} 3"#])
    );
}

#[test]
fn two_names_without_a_name_are_one_too_many() {
    let two = memory("x | 1\n y | 2");
    let words = "the same labels";
    check_refused(&two, 0, &[("-{__name__=~\"x|y\"}", words), ("abs({__name__=~\"x|y\"})", words)]);
}
