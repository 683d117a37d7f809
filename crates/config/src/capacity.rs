//! `capacity-thresholds.yaml`: from which use on a region is short of something.

use crate::{Complaints, Fields, reader};

/// What can run short, as the file names it.
pub const RESOURCES: [&str; 5] = ["cpu", "memory", "storage", "network", "vm_count"];

/// Above these percentages of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Someone should look at it in time.
    pub warning: f64,
    /// Someone must look at it.
    pub critical: f64,
}

/// The thresholds of each of [`RESOURCES`], in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(pub [Threshold; 5]);

impl Default for Thresholds {
    fn default() -> Thresholds {
        let usual = [(70.0, 85.0), (75.0, 90.0), (60.0, 75.0), (60.0, 80.0), (70.0, 85.0)];
        Thresholds(usual.map(|(warning, critical)| Threshold { warning, critical }))
    }
}

impl Thresholds {
    /// Reads the file's text. What it does not name has its usual threshold.
    pub fn parse(text: &str) -> Result<Thresholds, Complaints> {
        reader::read(text, |fields| {
            let mut all = Thresholds::default();
            fields.required_map("thresholds", |fields| {
                for (name, threshold) in RESOURCES.into_iter().zip(&mut all.0) {
                    let usual = *threshold;
                    *threshold = fields.map(name, |f| read(f, usual)).unwrap_or(usual);
                }
            });
            all
        })
    }
}

fn read(fields: &mut Fields<'_>, usual: Threshold) -> Threshold {
    let read = Threshold {
        warning: fields.optional("warning", percent).unwrap_or(usual.warning),
        critical: fields.optional("critical", percent).unwrap_or(usual.critical),
    };
    if read.warning >= read.critical {
        let message = format!("'warning' ({}) must be below 'critical' ({})", read.warning, read.critical);
        fields.complain("warning", message);
    }
    read
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err(format!("'{text}' is not a percentage above 0 and up to 100")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> String {
        Thresholds::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn what_is_not_named_has_its_usual_threshold() {
        let text = "thresholds:\n  cpu:\n    warning: 50\n    critical: 62.5\n  vm_count: {critical: 99%}\n";
        let mut wanted = Thresholds::default();
        wanted.0[0] = Threshold { warning: 50.0, critical: 62.5 };
        wanted.0[4].critical = 99.0;
        assert_eq!(Thresholds::parse(text), Ok(wanted));
        assert_eq!(Thresholds::parse("thresholds: {}\n"), Ok(Thresholds::default()));
    }

    #[test]
    fn every_error_is_told_with_its_place() {
        let text = "thresholds:\n  cpu: {warning: 90, critical: 80}\n  memroy: {warning: 1}\n  disk: 7\n  network: {warning: 0}\n";
        let all = complaints(text);
        for wanted in [
            "line 2, column 18: thresholds.cpu.warning: 'warning' (90) must be below 'critical' (80)",
            "line 3, column 3: thresholds: unknown key 'memroy'; did you mean 'memory'?",
            "line 5, column 22: thresholds.network.warning: '0' is not a percentage above 0 and up to 100",
        ] {
            assert!(all.contains(wanted), "{wanted}\nis not in\n{all}");
        }
        assert_eq!(complaints(""), "line 1, column 1: 'thresholds' is missing");
        for wrong in ["NaN", "inf", "-1", "100.1", "a"] {
            let text = format!("thresholds: {{cpu: {{warning: {wrong}}}}}");
            assert!(complaints(&text).contains("percentage"), "{text}");
        }
    }
}
