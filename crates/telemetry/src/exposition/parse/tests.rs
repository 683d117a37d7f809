use super::*;
use crate::exposition::Metadata;

fn text(body: &str) -> Result<Exposition, ExpositionError> {
    decode(body.as_bytes(), false, &Limits::default())
}

fn open(body: &str) -> Result<Exposition, ExpositionError> {
    decode(body.as_bytes(), true, &Limits::default())
}

fn lines(found: &Exposition) -> Vec<String> {
    let line = |sample: &Exposed| match (&sample.value, sample.at_ms) {
        (Value::Float(value), None) => format!("{} {value}", sample.labels),
        (Value::Float(value), Some(at_ms)) => format!("{} {value} @{at_ms}", sample.labels),
        (Value::Histogram(_), _) => panic!("text has no native histograms"),
    };
    found.samples.iter().map(line).collect()
}

#[test]
fn text_is_read_as_tolerantly_as_prometheus_reads_it() {
    let body = "# a comment\n#\n\n# HELP requests_total Requests\\nby \\\\ \"method\".\n# TYPE requests_total counter\n\
        requests_total{method=\"GET\",path=\"C:\\\\\\n\\\"x\\\"\",} 3e2 1395066363000\n\
        \t untyped { a = \"1\" , b=\"\" }\t  -Inf\nnan NaN\nlast 1";
    let found = text(body).expect("readable");
    let wanted = [
        "requests_total{method=\"GET\", path=\"C:\\\\\\n\\\"x\\\"\"} 300 @1395066363000",
        "untyped{a=\"1\"} -inf",
        "nan NaN",
        "last 1",
    ];
    assert_eq!(lines(&found), wanted);
    assert_eq!(found.samples[1].blank, [Arc::from("b")]);
    let metadata = &found.metadata["requests_total"];
    assert_eq!((metadata.kind, &*metadata.help), (Kind::Counter, "Requests\nby \\ \"method\"."));
}

#[test]
fn open_metrics_has_units_seconds_exemplars_and_an_end() {
    let body = "# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n# HELP wait_seconds How \\\"long\\\".\n\
        wait_seconds_bucket{le=\"1\"} 1 # {trace=\"# 1\"} 0.5 1.2\nwait_seconds_bucket{le=\"+Inf\"} 2 1.5 # {} 3\n\
        wait_seconds_sum 4.5\nwait_seconds_count 2\n# EOF\n";
    let found = open(body).expect("readable");
    let wanted = [
        "wait_seconds_bucket{le=\"1.0\"} 1",
        "wait_seconds_bucket{le=\"+Inf\"} 2 @1500",
        "wait_seconds_sum 4.5",
        "wait_seconds_count 2",
    ];
    assert_eq!(lines(&found), wanted);
    let metadata = &found.metadata["wait_seconds"];
    let wanted =
        Metadata { kind: Kind::Histogram, help: "How \"long\".".to_owned(), unit: "seconds".to_owned() };
    assert_eq!(*metadata, wanted);
    assert!(open("up 1\n").is_err(), "no end");
    assert!(open("# EOF\nup 1\n").is_err(), "more behind the end");
    assert!(open("# UNIT wait seconds\n# EOF").is_err(), "a unit that the name does not end in");
    assert!(open("# EOF").is_ok());
    assert!(open("up{a=\"1\" b=\"2\"} 1\n# EOF").is_err(), "no comma between labels");
}

#[test]
fn bounds_are_canonical_only_where_they_are_bounds() {
    let body = "# TYPE a histogram\na_bucket{le=\"1e6\"} 1\n# TYPE b gauge\nb_bucket{le=\"1\"} 1\n\
        # TYPE c summary\nc{quantile=\"5e-1\"} 1\n";
    let wanted = ["a_bucket{le=\"1e+06\"} 1", "b_bucket{le=\"1\"} 1", "c{quantile=\"0.5\"} 1"];
    assert_eq!(lines(&text(body).expect("readable")), wanted);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let cases = [
        ("up 1\nup{ 1\n", "line 2: up: \"1\" can't name a label, or has no value"),
        ("up{a=\"1} 1\n", "line 1: up: the value of a is not in quotes"),
        ("up{a=\"1\"; b=\"2\"} 1\n", "line 1: up: \";\" can't name a label, or has no value"),
        ("up{a=\"1\",a=\"2\"} 1\n", "line 1: up: the label a is there twice"),
        ("\n\nup one\n", "line 3: up: its value, \"one\", is no number"),
        ("up 1 2.5\n", "line 1: its time, \"2.5\", is no number"),
        ("up 1 2 3\n", "line 1: up: \"3\" behind its value"),
        ("1up 1\n", "line 1: \"1up\" can't name a metric"),
        ("# TYPE up guage\n", "line 1: \"guage\" is no type of metrics"),
        ("up{__name__=\"down\"} 1\n", "line 1: up: the label __name__ is there twice"),
    ];
    for (body, wanted) in cases {
        assert_eq!(text(body).map_err(|error| error.to_string()), Err(wanted.to_owned()));
    }
    assert!(decode(b"up{a=\"\xff\"} 1\n", false, &Limits::default()).is_err());
}

#[test]
fn limits_are_held() {
    let limits =
        Limits { samples: 2, labels: 2, label_name_bytes: 8, label_value_bytes: 4, ..Limits::default() };
    let why = |body: &str| decode(body.as_bytes(), false, &limits).expect_err("beyond a limit").to_string();
    assert_eq!(why("a 1\nb 1\nc 1\n"), "line 3: more than 2 samples");
    assert_eq!(why("a{b=\"1\",c=\"2\"} 1\n"), "line 1: a: more than 2 labels");
    assert_eq!(why("a{b=\"12345\"} 1\n"), "line 1: a: the label b has 5 bytes, and at most 4 are read");
    assert_eq!(why("abcde 1\n"), "line 1: the label __name__ has 5 bytes, and at most 4 are read");
    assert!(why("a{b23456789=\"1\"} 1\n").contains("a label's name of 9 bytes"));
    assert_eq!(why("# HELP a\n# HELP b\n# TYPE a gauge\n# HELP c\n"), "line 4: more than 2 families");
    assert!(decode(b"a{b=\"1234\"} 1\nb 1\n", false, &limits).is_ok());
}

#[test]
fn an_error_quotes_no_more_than_people_read() {
    let long = format!("up {}\n", "ü".repeat(100_000));
    let why = text(&long).expect_err("no number").to_string();
    assert!(why.starts_with("line 1: up: its value, \"üüü") && why.chars().count() < 320, "{why}");
}
