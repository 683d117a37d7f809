//! Writes Prometheus text 0.0.4; and the lines that OpenMetrics shares with it.

use super::families::{Family, Observed, Points};
use super::number;
use crate::model::Labels;

/// Families as text. A histogram shows its classic buckets.
pub fn encode(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        comment(&mut out, "HELP", &family.name, &family.help, false);
        comment(&mut out, "TYPE", &family.name, family.kind().name(), false);
        match &family.points {
            Points::Counter(points) | Points::Gauge(points) => {
                for (labels, value) in points {
                    sample(&mut out, (&family.name, ""), labels, None, *value);
                }
            }
            Points::Histogram(points) => {
                for (labels, observed) in points {
                    histogram(&mut out, &family.name, labels, observed);
                }
            }
        }
    }
    out
}

/// A line such as `# HELP name text`; `quotes`: they are escaped too.
pub fn comment(out: &mut String, what: &str, name: &str, text: &str, quotes: bool) {
    out.extend(["# ", what, " ", name, " "]);
    escape(out, text, quotes);
    out.push('\n');
}

/// The samples of one histogram: buckets, sum, count.
pub fn histogram(out: &mut String, name: &str, labels: &Labels, observed: &Observed) {
    for (bound, count) in &observed.classic {
        sample(out, (name, "_bucket"), labels, Some(("le", &number::canonical(*bound))), *count);
    }
    sample(out, (name, "_bucket"), labels, Some(("le", "+Inf")), observed.count);
    sample(out, (name, "_sum"), labels, None, observed.sum);
    sample(out, (name, "_count"), labels, None, observed.count);
}

/// A line with a sample; the name is given as two parts.
pub fn sample(out: &mut String, name: (&str, &str), labels: &Labels, more: Option<(&str, &str)>, value: f64) {
    out.extend([name.0, name.1]);
    for (place, (label, value)) in labels.iter().chain(more).enumerate() {
        out.extend([if place == 0 { "{" } else { "," }, label, "=\""]);
        escape(out, value, true);
        out.push('"');
    }
    out.push_str(if labels.is_empty() && more.is_none() { " " } else { "} " });
    number::write(out, value);
    out.push('\n');
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}
