use super::*;
use crate::exposition::{Buckets, Format, Limits, decode};

fn target() -> Target {
    Target {
        labels: Labels::new([("instance", "vm-1:9100"), ("job", "vm")]),
        honor_timestamps: true,
        ..Target::default()
    }
}

fn exposed(text: &str) -> Exposition {
    decode(Format::Text, text.as_bytes(), Buckets::Native, &Limits::default()).expect("text")
}

fn at(at_ms: i64) -> Moment {
    Moment { at_ms, seconds: 0.25 }
}

/// What was stored, without what is told of the scrape.
fn stored(scraped: &Scraped) -> Vec<String> {
    let own = |labels: &Labels| REPORT.contains(&labels.name());
    scraped.samples.iter().filter(|(labels, _)| !own(labels)).map(line).collect()
}

fn reported(scraped: &Scraped) -> Vec<f64> {
    let mut values = Vec::new();
    for (labels, sample) in &scraped.samples {
        if let (true, Value::Float(value)) = (REPORT.contains(&labels.name()), &sample.value) {
            values.push(*value);
        }
    }
    values
}

fn line((labels, sample): &(Labels, Sample)) -> String {
    match &sample.value {
        value if value.is_stale() => format!("{labels} ends @{}", sample.at_ms),
        Value::Float(value) => format!("{labels} {value} @{}", sample.at_ms),
        Value::Histogram(_) => format!("{labels} histogram @{}", sample.at_ms),
    }
}

#[test]
fn a_series_that_vanishes_ends_and_one_that_comes_back_is_new() {
    let mut cache = ScrapeCache::new(target());
    let first = cache.up(exposed("a 1\nb{x=\"1\"} 2\n"), at(1000));
    let wanted = [
        "a{instance=\"vm-1:9100\", job=\"vm\"} 1 @1000",
        "b{instance=\"vm-1:9100\", job=\"vm\", x=\"1\"} 2 @1000",
    ];
    assert_eq!(stored(&first), wanted);
    assert_eq!(reported(&first), [1.0, 0.25, 2.0, 2.0, 2.0]);
    let second = cache.up(exposed("a 3\n"), at(2000));
    let wanted = [
        "a{instance=\"vm-1:9100\", job=\"vm\"} 3 @2000",
        "b{instance=\"vm-1:9100\", job=\"vm\", x=\"1\"} ends @2000",
    ];
    assert_eq!(stored(&second), wanted);
    assert_eq!(reported(&second), [1.0, 0.25, 1.0, 1.0, 0.0]);
    let third = cache.up(exposed("a 3\nb{x=\"1\"} 4\n"), at(3000));
    assert_eq!(reported(&third), [1.0, 0.25, 2.0, 2.0, 1.0]);
}

#[test]
fn all_series_of_a_target_that_is_down_end_once() {
    let mut cache = ScrapeCache::new(target());
    cache.up(exposed("a 1\n"), at(1000));
    let down = cache.down(at(2000));
    assert_eq!(stored(&down), ["a{instance=\"vm-1:9100\", job=\"vm\"} ends @2000"]);
    assert_eq!(reported(&down), [0.0, 0.25, 0.0, 0.0, 0.0]);
    assert!(stored(&cache.down(at(3000))).is_empty());
    assert_eq!(line(&cache.down(at(4000)).samples[0]), "up{instance=\"vm-1:9100\", job=\"vm\"} 0 @4000");
    assert_eq!(reported(&cache.up(exposed("a 1\n"), at(5000))), [1.0, 0.25, 1.0, 1.0, 1.0]);
    let gone = cache.gone(6000);
    assert!(gone.samples.iter().all(|(_, sample)| sample.value.is_stale()));
    assert_eq!(gone.samples.len(), 1 + REPORT.len());
    assert!(ScrapeCache::new(target()).gone(1).samples.is_empty());
}

#[test]
fn labels_of_the_target_win_unless_those_of_the_series_are_honoured() {
    let text = "a{job=\"guest\",instance=\"\",exported_job=\"x\"} 1\n";
    let mut cache = ScrapeCache::new(target());
    let wanted =
        "a{exported_exported_job=\"guest\", exported_job=\"x\", instance=\"vm-1:9100\", job=\"vm\"} 1 @1000";
    assert_eq!(stored(&cache.up(exposed(text), at(1000))), [wanted]);
    let mut cache = ScrapeCache::new(Target { honor_labels: true, ..target() });
    assert_eq!(stored(&cache.up(exposed(text), at(1000))), ["a{exported_job=\"x\", job=\"guest\"} 1 @1000"]);
}

#[test]
fn moments_of_the_exposition_count_when_they_are_honoured_and_such_series_do_not_end() {
    let text = "a 1 500\na 2 600\n";
    let mut cache = ScrapeCache::new(target());
    let all = "{instance=\"vm-1:9100\", job=\"vm\"}";
    assert_eq!(
        stored(&cache.up(exposed(text), at(1000))),
        [format!("a{all} 1 @500"), format!("a{all} 2 @600")]
    );
    assert!(stored(&cache.down(at(2000))).is_empty());
    let mut cache = ScrapeCache::new(Target { honor_timestamps: false, ..target() });
    let scraped = cache.up(exposed(text), at(1000));
    assert_eq!((stored(&scraped), scraped.duplicates), (vec![format!("a{all} 1 @1000")], 1));
    assert_eq!(stored(&cache.down(at(2000))), [format!("a{all} ends @2000")]);
}

#[test]
fn series_that_relabelling_drops_are_scraped_but_not_stored() {
    let spec = RelabelSpec {
        source_labels: vec![NAME.to_owned()],
        regex: "go_.*".to_owned(),
        action: "drop".to_owned(),
        ..RelabelSpec::default()
    };
    let rule = Relabel::new(spec).expect("a rule");
    let mut cache = ScrapeCache::new(Target { metric_relabel: vec![rule], ..target() });
    for at_ms in [1000, 2000] {
        let scraped = cache.up(exposed("go_threads 1\na 1\n"), at(at_ms));
        assert_eq!(stored(&scraped).len(), 1);
        assert_eq!(reported(&scraped)[2..4], [2.0, 1.0]);
    }
}
