//! Reads Prometheus text 0.0.4 and OpenMetrics text, as tolerant as Prometheus: samples in any order, with or without metadata.

mod cursor;

use std::sync::Arc;

use super::names::{Names, check_label};
use super::{
    Exposed, Exposition, ExpositionError, Kind, Limits, Place, is_label_name, is_metric_name, number,
};
use crate::model::{Labels, NAME, Value};
use cursor::Cursor;

/// Reads all lines.
///
/// # Errors
/// A line that is none, or beyond a limit; of OpenMetrics also that its end is not there.
pub fn decode(body: &[u8], open: bool, limits: &Limits) -> Result<Exposition, ExpositionError> {
    let mut reader = Reader {
        open,
        limits,
        found: Exposition::default(),
        names: Names::default(),
        current: Family::default(),
    };
    let (mut ended, mut rest, mut line) = (false, body, 0);
    while !rest.is_empty() {
        line += 1;
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (bytes, behind) = rest.split_at(length);
        rest = behind.get(1..).unwrap_or(&[]);
        let wrong = |why: String| ExpositionError { at: Place::Line(line), why };
        if ended {
            return Err(wrong("there is more behind `# EOF`".to_owned()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("not UTF-8".to_owned()))?;
        ended = open && text.trim_end() == "# EOF";
        if !ended {
            reader.line(text).map_err(wrong)?;
        }
    }
    if open && !ended {
        return Err(ExpositionError {
            at: Place::Line(line),
            why: "it does not end with `# EOF`".to_owned(),
        });
    }
    Ok(reader.found)
}

/// The family whose type was said last.
#[derive(Default)]
struct Family {
    name: String,
    kind: Kind,
}

struct Reader<'a> {
    open: bool,
    limits: &'a Limits,
    found: Exposition,
    names: Names,
    current: Family,
}

impl Reader<'_> {
    fn line(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim_start_matches([' ', '\t']);
        match text.strip_prefix('#') {
            Some(comment) => self.comment(comment),
            None if text.is_empty() => Ok(()),
            None => self.sample(text),
        }
    }

    fn comment(&mut self, text: &str) -> Result<(), String> {
        let mut cursor = Cursor(text);
        cursor.skip_blanks();
        let what = cursor.word();
        let known = matches!(what, "HELP" | "TYPE") || (self.open && what == "UNIT");
        if !known {
            return Ok(());
        }
        cursor.skip_blanks();
        let name = cursor.word();
        if !is_metric_name(name) {
            return Err(format!("`# {what}` of {name:?}, which can't name a metric"));
        }
        cursor.skip_blanks();
        let families = self.found.metadata.len();
        let metadata = match self.found.metadata.get_mut(name) {
            Some(known) => known,
            None if families >= self.limits.samples => return Err(format!("more than {families} families")),
            None => self.found.metadata.entry(name.to_owned()).or_default(),
        };
        match what {
            "HELP" => metadata.help = cursor::unescape(cursor.0, self.open).into_owned(),
            "UNIT" => {
                cursor.0.trim_end().clone_into(&mut metadata.unit);
                if !metadata.unit.is_empty() && !has_unit(name, &metadata.unit) {
                    return Err(format!("{name} does not end in its unit, {}", metadata.unit));
                }
            }
            _ => {
                metadata.kind = kind(cursor.0.trim_end(), self.open)?;
                self.current = Family { name: name.to_owned(), kind: metadata.kind };
            }
        }
        Ok(())
    }

    fn sample(&mut self, text: &str) -> Result<(), String> {
        if self.found.samples.len() == self.limits.samples {
            return Err(format!("more than {} samples", self.limits.samples));
        }
        let mut cursor = Cursor(text);
        let name = cursor.until(|character| matches!(character, '{' | ' ' | '\t'));
        if !is_metric_name(name) {
            return Err(format!("{name:?} can't name a metric"));
        }
        let mut pairs = vec![(self.names.get(NAME), self.names.get(name))];
        let mut blank = Vec::new();
        cursor.skip_blanks();
        if cursor.eat('{') {
            self.labels(&mut cursor, name, &mut pairs, &mut blank)?;
        }
        cursor.skip_blanks();
        let value = cursor.word();
        let value =
            number::parse(value).ok_or_else(|| format!("{name}: its value, {value:?}, is no number"))?;
        cursor.skip_blanks();
        let at_ms = match cursor.0.starts_with('#') {
            true => None,
            false => self.moment(cursor.word())?,
        };
        cursor.skip_blanks();
        // An exemplar: read over, as far as it can be told apart.
        let exemplar = self.open && cursor.0.starts_with("# {");
        if !cursor.0.is_empty() && !exemplar {
            return Err(format!("{name}: {:?} behind its value", cursor.0));
        }
        self.found.samples.push(Exposed {
            labels: Labels::new(pairs),
            value: Value::Float(value),
            at_ms,
            blank,
        });
        Ok(())
    }

    fn labels(
        &mut self,
        cursor: &mut Cursor<'_>,
        metric: &str,
        pairs: &mut Vec<(Arc<str>, Arc<str>)>,
        blank: &mut Vec<Arc<str>>,
    ) -> Result<(), String> {
        loop {
            cursor.skip_blanks();
            if cursor.eat('}') {
                return Ok(());
            }
            let name = cursor.until(|character| matches!(character, '=' | ' ' | '\t' | '}' | ','));
            cursor.skip_blanks();
            if !is_label_name(name) || !cursor.eat('=') {
                return Err(format!("{metric}: {name:?} can't name a label, or has no value"));
            }
            cursor.skip_blanks();
            let value =
                cursor.quoted().ok_or_else(|| format!("{metric}: the value of {name} is not in quotes"))?;
            let value = cursor::unescape(value, true);
            check_label(name, &value, pairs.len() + blank.len(), self.limits)
                .map_err(|why| format!("{metric}: {why}"))?;
            if pairs.iter().any(|(known, _)| **known == *name) || blank.iter().any(|known| **known == *name) {
                return Err(format!("{metric}: the label {name} is there twice"));
            }
            if value.is_empty() {
                blank.push(self.names.get(name));
            } else {
                let value = match self.canonical(metric, name, &value) {
                    Some(canonical) => self.names.get(&canonical),
                    None => self.names.get(&value),
                };
                pairs.push((self.names.get(name), value));
            }
            cursor.skip_blanks();
            if !cursor.eat(',') && !cursor.0.starts_with('}') {
                return Err(format!("{metric}: a `,` or `}}` is wanted behind the label {name}"));
            }
        }
    }

    /// Bounds and quantiles in one form, so that a series is the same however its exporter writes numbers.
    fn canonical(&self, metric: &str, label: &str, value: &str) -> Option<String> {
        let bound = match self.current.kind {
            Kind::Histogram | Kind::GaugeHistogram => {
                label == "le" && metric.strip_suffix("_bucket") == Some(&self.current.name)
            }
            Kind::Summary => label == "quantile" && metric == self.current.name,
            _ => false,
        };
        bound.then(|| number::parse(value).map(number::canonical))?
    }

    /// ms of a text's, seconds of OpenMetrics'.
    fn moment(&self, text: &str) -> Result<Option<i64>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let at_ms = if self.open {
            let seconds = number::parse(text).filter(|seconds| seconds.abs() < 9e15);
            seconds.map(|seconds| (seconds * 1000.0).round() as i64)
        } else {
            text.parse().ok()
        };
        at_ms.map(Some).ok_or_else(|| format!("its time, {text:?}, is no number"))
    }
}

fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_'))
}

fn kind(text: &str, open: bool) -> Result<Kind, String> {
    Ok(match (text, open) {
        ("counter", _) => Kind::Counter,
        ("gauge", _) => Kind::Gauge,
        ("histogram", _) => Kind::Histogram,
        ("summary", _) => Kind::Summary,
        ("untyped", false) | ("unknown", true) => Kind::Unknown,
        ("gaugehistogram", true) => Kind::GaugeHistogram,
        ("info", true) => Kind::Info,
        ("stateset", true) => Kind::StateSet,
        _ => return Err(format!("{text:?} is no type of metrics")),
    })
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
