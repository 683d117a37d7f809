//! Writes OpenMetrics 1.0 text.

use super::families::{Family, Points};
use super::text::{comment, histogram, sample};
use crate::model::Labels;

/// Families as OpenMetrics. A histogram shows its classic buckets.
pub fn encode(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let stem = family.stem();
        comment(&mut out, "TYPE", stem, family.kind().name(), false);
        if !family.unit().is_empty() {
            comment(&mut out, "UNIT", stem, family.unit(), false);
        }
        comment(&mut out, "HELP", stem, &family.help, true);
        let created = |out: &mut String, labels: &Labels| {
            if let Some(created_ms) = family.created_ms {
                sample(out, (stem, "_created"), labels, None, created_ms as f64 / 1000.0);
            }
        };
        match &family.points {
            Points::Counter(points) => {
                for (labels, value) in points {
                    sample(&mut out, (stem, "_total"), labels, None, *value);
                    created(&mut out, labels);
                }
            }
            Points::Gauge(points) => {
                for (labels, value) in points {
                    sample(&mut out, (stem, ""), labels, None, *value);
                }
            }
            Points::Histogram(points) => {
                for (labels, observed) in points {
                    histogram(&mut out, stem, labels, observed);
                    created(&mut out, labels);
                }
            }
        }
    }
    out.push_str("# EOF\n");
    out
}
