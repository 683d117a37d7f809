//! What is read, how it is written again, and where it goes wrong.

use dwcp_telemetry::promql::{Query, Type};
use proptest::prelude::*;

#[test]
fn what_is_read_is_written_in_the_usual_form() {
    let table = [
        ("sum(rate(x{a='1' , b=~\"c\"}[5m]))by(a)", "sum by (a) (rate(x{a=\"1\",b=~\"c\"}[5m]))"),
        ("a+on(x,y)group_left(z)b", "a + on (x, y) group_left (z) b"),
        ("a  == bool ignoring() b", "a == bool ignoring () b"),
        ("topk without(a)(5,x)", "topk without (a) (5, x)"),
        ("x offset 90s @ 1.5", "x @ 1.500 offset 1m30s"),
        ("x[36h:] @ end() offset -1w", "x[36h:] @ end() offset -1w"),
        ("x[1d:5m]", "x[1d:5m]"),
        ("{__name__=\"x\"}", "{__name__=\"x\"}"),
        ("{\"my.metric\", \"a.b\"=\"c\"}", "{\"my.metric\",\"a.b\"=\"c\"}"),
        ("{\"up\"}", "up"),
        ("SUM BY (a) (x) AND y", "sum by (a) (x) and y"),
        ("- x ^ 2", "-x ^ 2"),
        ("1e3 + Inf - NaN", "1000 + +Inf - NaN"),
        ("\"a\\\"\\n\"", "\"a\\\"\\n\""),
        ("sum", "sum"),
        ("offset offset 5m", "offset offset 5m"),
        ("sum by (by, on, inf,) (x)", "sum by (by, on, inf) (x)"),
        ("x # a comment\n + y", "x + y"),
        ("rate(x[300])", "rate(x[5m])"),
    ];
    for (text, expected) in table {
        let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(query.format(), expected, "{text}");
        assert_eq!(Query::parse(expected).map(|again| again.format()), Ok(expected.to_owned()));
    }
}

#[test]
fn long_expressions_are_written_over_several_lines() {
    let text = "sum by (region, instance) (rate(dwcp_federation_requests_total{outcome=\"accepted\"}[5m])) / on (region) \
                group_left () sum by (region) (rate(dwcp_federation_requests_total[5m]))";
    let expected = "  sum by (region, instance) (rate(dwcp_federation_requests_total{outcome=\"accepted\"}[5m]))\n\
                    / on (region) group_left ()\n  sum by (region) (rate(dwcp_federation_requests_total[5m]))";
    let query = Query::parse(text).expect("a query");
    assert_eq!(query.format(), expected);
    assert_eq!(Query::parse(expected).expect("a query").format(), expected);
}

#[test]
fn an_expression_knows_what_it_evaluates_to() {
    let table = [
        ("1 + 1", Type::Scalar),
        ("x + 1", Type::Vector),
        ("(x[5m])", Type::Matrix),
        ("x[5m:1m]", Type::Matrix),
        ("\"a\"", Type::String),
        ("scalar(x)", Type::Scalar),
        ("-x", Type::Vector),
    ];
    for (text, expected) in table {
        assert_eq!(Query::parse(text).map(|query| query.returns()), Ok(expected), "{text}");
    }
}

#[test]
fn an_error_says_where_and_why() {
    let table = [
        ("", 1, 1, "no expression"),
        ("x +", 1, 4, "expected an expression, found the end"),
        ("sum(x", 1, 6, "\",\" or \")\""),
        ("x y", 1, 3, "an operator or the end"),
        ("sum(\n  rat(x[5m]))", 2, 3, "did you mean rad?"),
        ("rate(x)", 1, 6, "needs a range vector here, not an instant vector; a range makes one"),
        ("abs(x[5m])", 1, 5, "needs an instant vector"),
        ("abs()", 1, 1, "takes 1 argument"),
        ("clamp(x, 1)", 1, 1, "takes 3 argument"),
        ("label_join(x, \"a\")", 1, 1, "at least 3"),
        ("abs(x,)", 1, 7, "no comma"),
        ("1 > 2", 1, 1, "bool"),
        ("1 + bool 2", 1, 1, "bool"),
        ("x and 1", 1, 7, "not a scalar"),
        ("\"a\" + 1", 1, 1, "not a string"),
        ("x + on (a) 1", 1, 1, "on and ignoring"),
        ("x and on (a) group_left y", 1, 1, "don't go with and"),
        ("x + on (a) group_left (a) y", 1, 1, "as well"),
        ("x{a=1}", 1, 5, "a value in quotes"),
        ("x{a=~\"(\"}", 1, 1, "no regular expression"),
        ("x{__name__=\"y\"}", 1, 3, "twice"),
        ("{a=\"\"}", 1, 1, "at least one condition"),
        ("{}", 1, 1, "at least one condition"),
        ("x[5m] [5m]", 1, 7, "only stand behind a selector"),
        ("x offset 5m[5m]", 1, 12, "behind the range"),
        ("(x)[5m]", 1, 4, "subquery"),
        ("1[5m:1m]", 1, 1, "instant vector"),
        ("x[0s]", 1, 3, "longer than 0"),
        ("x[m]", 1, 3, "a duration"),
        ("x[5m:0s]", 1, 6, "longer than 0"),
        ("x offset 5m offset 5m", 1, 20, "twice"),
        ("x @ 1 @ 2", 1, 9, "twice"),
        ("x @ Inf", 1, 5, "out of range"),
        ("(x + y) offset 5m", 1, 1, "selector"),
        ("topk(x)", 1, 5, "takes 2 argument"),
        ("sum(1)", 1, 5, "needs an instant vector"),
        ("count_values(1, x)", 1, 14, "needs a string"),
        ("-\"a\"", 1, 2, "a sign needs"),
        ("info(x)", 1, 1, "not there"),
        ("x\u{e4}", 1, 2, "unexpected character"),
        ("\"\u{e4}\u{e4}\" $", 1, 6, "unexpected character"),
        ("x == \"a", 1, 6, "does not end"),
    ];
    for (text, line, column, words) in table {
        let error = Query::parse(text).expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.message.contains(words), "{text}: {error}");
        assert!(text.is_char_boundary(error.position), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        if let Err(error) = Query::parse(&text) {
            prop_assert!(error.position <= text.len());
        }
    }

    #[test]
    fn words_in_any_order_are_read_or_refused_and_written_alike(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "x", "sum", "rate", "(", ")", "[", "]", "{", "}", "5m", "1", "+", "-", "^", "and", "by", "on", "offset", "@",
                ",", ":", "\"a\"", "a=\"b\"", "bool", "==", "group_left", "start()",
            ]),
            1..12,
        ),
    ) {
        if let Ok(query) = Query::parse(&words.join(" ")) {
            let written = query.format();
            let again = Query::parse(&written).map(|query| query.format());
            prop_assert_eq!(again, Ok(written));
        }
    }
}
