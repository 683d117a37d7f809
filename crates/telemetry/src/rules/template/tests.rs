use super::*;

fn labels() -> Labels {
    Labels::new([("region", "eu-west-1"), ("host", "h7"), ("__name__", "up")])
}

fn answers(query: &str) -> Result<Vec<QuerySample>, String> {
    let sample = |host: &str, value| QuerySample { labels: Labels::new([("host", host)]), value };
    match query {
        "none" => Ok(vec![]),
        "two" => Ok(vec![sample("a", 1.5), sample("b", 2.0)]),
        other => Err(format!("no such query: {other}")),
    }
}

fn expand_with(text: &str, value: f64) -> Result<String, String> {
    let template = Template::parse(text).map_err(|why| format!("at {}: {}", why.offset, why.message))?;
    let (labels, external) = (labels(), Labels::new([("federation", "one")]));
    template.expand(&Scope { labels: &labels, external: &external, value, query: &answers })
}

fn expand(text: &str) -> String {
    expand_with(text, 85.5).unwrap_or_else(|why| format!("!{why}"))
}

#[test]
fn labels_values_and_literals_are_printed() {
    let cases = [
        ("plain", "plain"),
        ("{{ $labels.region }} at {{ $value }}%", "eu-west-1 at 85.5%"),
        ("{{ .Labels.host }} {{ .Value }} {{ $.Value }}", "h7 85.5 85.5"),
        ("{{ $externalLabels.federation }} {{ .ExternalLabels.federation }}", "one one"),
        ("[{{ $labels.missing }}]", "[]"),
        ("{{ \"a\\\"b\\n\" }}{{ `c\\d` }}{{ 12 }} {{ 1.5e3 }} {{ true }}", "a\"b\nc\\d12 1500 true"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a {{- 1 -}} b {{- 2 }} c", "a1b2 c"),
        ("{{ $x := \"y\" }}{{ $x }}{{ $x = \"z\" }}{{ $x }}", "yz"),
        ("{{ (query \"two\" | first).Labels.host }}", "a"),
        ("{{ $labels }}", "map[__name__:up host:h7 region:eu-west-1]"),
    ];
    for (text, wanted) in cases {
        assert_eq!(expand(text), wanted, "{text}");
    }
}

#[test]
fn branches_and_ranges_follow_what_they_are_given() {
    let cases = [
        ("{{ if gt $value 80.0 }}high{{ else if gt $value 50.0 }}some{{ else }}low{{ end }}", "high"),
        ("{{ if lt $value 80.0 }}low{{ else if gt $value 50.0 }}some{{ else }}none{{ end }}", "some"),
        ("{{ if and (eq $labels.host \"h7\") (ne $labels.region \"x\") }}both{{ end }}", "both"),
        ("{{ if or (eq $labels.host \"x\" \"h7\") false }}one{{ end }}", "one"),
        ("{{ if not $labels.missing }}not{{ end }}", "not"),
        ("{{ with $labels.host }}<{{ . }}>{{ end }}{{ with $labels.no }}x{{ else }}y{{ end }}", "<h7>y"),
        ("{{ with $h := $labels.host }}{{ $h }}{{ end }}", "h7"),
        ("{{ range query \"two\" }}{{ .Labels.host }}={{ .Value }} {{ end }}", "a=1.5 b=2 "),
        ("{{ range $i, $s := query \"two\" }}{{ $i }}{{ $s | label \"host\" }}{{ end }}", "0a1b"),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ range $k, $v := .ExternalLabels }}{{ $k }}:{{ $v }}{{ end }}", "federation:one"),
        ("{{ query \"two\" | first | value | printf \"%.2f\" }}", "1.50"),
        ("{{ or $labels.missing $labels.host }}", "h7"),
    ];
    for (text, wanted) in cases {
        assert_eq!(expand(text), wanted, "{text}");
    }
}

#[test]
fn numbers_are_written_for_people() {
    let cases: [(&str, f64, &str); 24] = [
        ("humanize", 0.0, "0"),
        ("humanize", 1_234_567.0, "1.235M"),
        ("humanize", 0.001_22, "1.22m"),
        ("humanize", -1_000.0, "-1k"),
        ("humanize", f64::NAN, "NaN"),
        ("humanize", f64::INFINITY, "+Inf"),
        ("humanize1024", 1_048_576.0, "1Mi"),
        ("humanize1024", 1_023.0, "1023"),
        ("humanize1024", 0.5, "0.5"),
        ("humanizeDuration", 0.0, "0s"),
        ("humanizeDuration", 0.0123, "12.3ms"),
        ("humanizeDuration", 59.5, "59.5s"),
        ("humanizeDuration", 3_661.0, "1h 1m 1s"),
        ("humanizeDuration", 90_061.0, "1d 1h 1m 1s"),
        ("humanizeDuration", -61.0, "-1m 1s"),
        ("humanizePercentage", 0.123_456, "12.35%"),
        ("humanizePercentage", 1.0, "100%"),
        ("humanizeTimestamp", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("humanizeTimestamp", 0.0, "1970-01-01 00:00:00 +0000 UTC"),
        ("printf \"%v\"", 1e6, "1e+06"),
        ("printf \"%v\"", 123_456.0, "123456"),
        ("printf \"%.3g|\"", 0.000_012_345, "1.23e-05|"),
        ("printf \"%08.2f|\"", -3.2468, "-0003.25|"),
        ("printf \"%-7.1e|\"", 12_345.0, "1.2e+04|"),
    ];
    for (pipe, value, wanted) in cases {
        let text = format!("{{{{ $value | {pipe} }}}}");
        assert_eq!(expand_with(&text, value).as_deref(), Ok(wanted), "{text} of {value}");
    }
}

#[test]
fn texts_are_changed_matched_and_formatted() {
    let cases = [
        ("{{ title \"a region-is_down o'x\" }}", "A Region-Is_down O'X"),
        ("{{ $labels.host | toUpper }}{{ toLower \"AB\" }}", "H7ab"),
        ("{{ if match \"eu-.*\" $labels.region }}europe{{ end }}", "europe"),
        ("{{ reReplaceAll \"([a-z]+)-([a-z]+)-1\" \"$2 of ${1}\" $labels.region }}", "west of eu"),
        ("{{ printf \"%s/%q %5d|%-5d|%x\" $labels.host \"a\" 42 7 255 }}", "h7/\"a\"    42|7    |ff"),
        ("{{ printf \"100%% %t\" true }}", "100% true"),
        ("{{ strvalue (query \"two\" | first) }}", ""),
    ];
    for (text, wanted) in cases {
        assert_eq!(expand(text), wanted, "{text}");
    }
}

#[test]
fn what_is_not_supported_is_refused_where_it_stands() {
    let cases = [
        ("ab {{ $lables.x }}", 6, "no $lables"),
        ("{{ .Lables.x }}", 3, "no .Lables"),
        ("{{ $value.x }}", 9, "has no .x"),
        ("{{ humanise $value }}", 3, "'humanise' is not supported"),
        ("{{ tableLink \"up\" }}", 3, "not supported"),
        ("{{ template \"x\" }}", 3, "'template' is not supported"),
        ("{{ define \"x\" }}{{ end }}", 3, "not supported"),
        ("{{ if $value }}x", 16, "no 'end'"),
        ("{{ end }}", 3, "'end' without"),
        ("{{ if true }}{{ else }}{{ else }}{{ end }}", 26, "second 'else'"),
        ("{{ $value", 0, "no '}}'"),
        ("{{ \"abc }}", 3, "no end"),
        ("{{ gt $value 80 }}", 3, "80.0"),
        ("{{ printf \"%d\" $value }}", 3, "%d does not take"),
        ("{{ printf \"%s\" }}", 3, "takes 1, not 0"),
        ("{{ printf \"%y\" 1 }}", 3, "%y"),
        ("{{ match \"(\" \"a\" }}", 3, "not a pattern"),
        ("{{ first $value }}", 3, "takes the samples"),
        ("{{ $value | 3 }}", 12, "function is needed"),
        ("{{ range $value }}{{ end }}", 9, "can't go over"),
        ("{{ printf \"%v\" humanize 1 }}", 15, "parentheses"),
        ("{{ $labels.host 3 }}", 16, "only a function"),
        ("{{ 'a' }}", 3, "can't stand here"),
        ("{{ 0x1f }}", 3, "not a decimal"),
        ("{{ }}", 3, "value is needed"),
        ("{{ $x := 1 }}{{ $x = \"a\" }}", 16, "can't become"),
        ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", 38, "no $x"),
    ];
    for (text, offset, message) in cases {
        let error = Template::parse(text).expect_err(text);
        assert_eq!(error.offset, offset, "{text}: {}", error.message);
        assert!(error.message.contains(message), "{text}: {}", error.message);
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(40), ")".repeat(40));
    assert!(Template::parse(&deep).expect_err("too deep").message.contains("within each other"));
    assert!(Template::parse(&"x".repeat(20_000)).is_err());
}

#[test]
fn what_shows_only_at_run_time_is_an_error_and_no_text() {
    assert_eq!(expand("{{ query \"none\" | first | value }}"), "!'first' of a query that found nothing");
    assert_eq!(expand("{{ query \"other\" }}"), "!no such query: other");
    assert_eq!(expand("{{ humanize $labels.host }}"), "!'h7' is not a number");
    let doubled = "{{ $x := \"aaaaaaaaaaaaaaaa\" }}".to_owned()
        + &"{{ $x = reReplaceAll \".\" \"$0$0$0$0$0$0$0$0$0$0\" $x }}".repeat(9);
    assert!(expand(&doubled).contains("grows beyond"));
}
