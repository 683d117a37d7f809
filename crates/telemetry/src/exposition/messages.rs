//! Writes and reads messages of `io.prometheus.client.MetricFamily`, each behind its length. The numbers of the fields are those of
//! `metrics.proto` of the Prometheus client model.

mod read;

use super::families::{Family, Observed, Points};
use crate::model::{CounterReset, Labels};
use crate::protobuf::Writer;
use crate::protobuf::spans::{self, SideFields};

pub use read::decode;

const NEGATIVE: SideFields = SideFields { spans: 9, deltas: 10, counts: 11 };
const POSITIVE: SideFields = SideFields { spans: 12, deltas: 13, counts: 14 };

/// Families as messages. A histogram shows its native and its classic buckets, as far as it has them.
pub fn encode(families: &[Family]) -> Vec<u8> {
    let mut writer = Writer::default();
    for family in families {
        writer.delimited(|writer| write_family(writer, family));
    }
    writer.finish()
}

fn write_family(writer: &mut Writer, family: &Family) {
    writer.text(1, &family.name);
    writer.text(2, &family.help);
    match &family.points {
        Points::Counter(points) => {
            writer.uint(3, 0);
            for (labels, value) in points {
                write_metric(writer, labels, 3, |counter| {
                    counter.double(1, *value);
                    write_created(counter, 3, family.created_ms);
                });
            }
        }
        Points::Gauge(points) => {
            writer.uint(3, 1);
            for (labels, value) in points {
                write_metric(writer, labels, 2, |gauge| gauge.double(1, *value));
            }
        }
        Points::Histogram(points) => {
            writer.uint(3, if is_gauge(points) { 5 } else { 4 });
            for (labels, observed) in points {
                write_metric(writer, labels, 7, |histogram| {
                    write_histogram(histogram, observed);
                    write_created(histogram, 15, family.created_ms);
                });
            }
        }
    }
    writer.text(5, family.unit());
}

/// Whether these histograms may go down again.
fn is_gauge(points: &[(Labels, Observed)]) -> bool {
    let native = points.first().and_then(|(_, observed)| observed.native.as_ref());
    native.is_some_and(|native| native.reset == CounterReset::Gauge)
}

fn write_metric(writer: &mut Writer, labels: &Labels, number: u64, write: impl FnOnce(&mut Writer)) {
    writer.message(4, |metric| {
        for (name, value) in labels.iter() {
            metric.message(1, |pair| {
                pair.text(1, name);
                pair.text(2, value);
            });
        }
        metric.message(number, write);
    });
}

/// A `google.protobuf.Timestamp`.
fn write_created(writer: &mut Writer, number: u64, created_ms: Option<i64>) {
    if let Some(created_ms) = created_ms {
        writer.message(number, |stamp| {
            stamp.int(1, created_ms.div_euclid(1000));
            stamp.int(2, created_ms.rem_euclid(1000) * 1_000_000);
        });
    }
}

fn write_histogram(writer: &mut Writer, observed: &Observed) {
    let counts = observed.classic.iter().map(|(_, count)| *count).chain([observed.count]);
    let integer =
        observed.native.as_ref().is_none_or(spans::is_integer) && counts.into_iter().all(spans::is_whole);
    if integer {
        writer.uint(1, observed.count as u64)
    } else {
        writer.double(4, observed.count)
    }
    writer.double(2, observed.sum);
    for (bound, count) in &observed.classic {
        writer.message(3, |bucket| {
            if integer {
                bucket.uint(1, *count as u64)
            } else {
                bucket.double(4, *count)
            }
            bucket.double(2, *bound);
        });
    }
    let Some(native) = &observed.native else { return };
    writer.sint(5, i64::from(native.schema));
    writer.double(6, native.zero_threshold);
    if integer {
        writer.uint(7, native.zero_count as u64)
    } else {
        writer.double(8, native.zero_count)
    }
    spans::write_side(writer, NEGATIVE, &native.negative, integer);
    spans::write_side(writer, POSITIVE, &native.positive, integer);
    if native.positive.is_empty() && native.negative.is_empty() {
        // An empty span says that the histogram is native, though it observed nothing yet.
        writer.message(POSITIVE.spans, |span| {
            span.sint(1, 0);
            span.uint(2, 0);
        });
    }
}
