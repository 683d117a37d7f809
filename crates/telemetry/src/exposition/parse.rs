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
    let wrong = |at: usize, why: String| {
        let line = 1 + body[..at].iter().filter(|byte| **byte == b'\n').count();
        ExpositionError::new(Place::Line(line), why)
    };
    let text =
        std::str::from_utf8(body).map_err(|error| wrong(error.valid_up_to(), "not UTF-8".to_owned()))?;
    let (found, names, current) = (Exposition::default(), Names::default(), Family::default());
    let mut reader = Reader { open, limits, found, names, current };
    let mut cursor = Cursor(text);
    while !cursor.0.is_empty() {
        let at = text.len() - cursor.0.len();
        let line = reader.line(&mut cursor).map_err(|why| wrong(at, why))?;
        if line == Line::End {
            let more = !cursor.0.is_empty();
            return if more {
                Err(wrong(at, "there is more behind `# EOF`".to_owned()))
            } else {
                Ok(reader.found)
            };
        }
    }
    if open { Err(wrong(body.len(), "it does not end with `# EOF`".to_owned())) } else { Ok(reader.found) }
}

#[derive(PartialEq)]
enum Line {
    Read,
    /// That of OpenMetrics says that all is there.
    End,
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
    /// Reads a line, its end included.
    fn line(&mut self, cursor: &mut Cursor<'_>) -> Result<Line, String> {
        cursor.skip_blanks();
        if cursor.0.starts_with('#') {
            let comment = cursor.line();
            if self.open && comment.trim_end() == "# EOF" {
                return Ok(Line::End);
            }
            self.comment(&comment[1..])?;
        } else if !cursor.0.is_empty() && !cursor.0.starts_with('\n') {
            self.sample(cursor)?;
        } else {
            cursor.line();
        }
        Ok(Line::Read)
    }

    fn comment(&mut self, text: &str) -> Result<(), String> {
        let mut cursor = Cursor(text);
        cursor.skip_blanks();
        let apart = cursor.0.len() < text.len();
        let what = cursor.word();
        cursor.skip_blanks();
        let known = matches!(what, "HELP" | "TYPE") || (self.open && what == "UNIT");
        if !apart || !known || cursor.0.is_empty() {
            return Ok(());
        }
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

    fn sample(&mut self, cursor: &mut Cursor<'_>) -> Result<(), String> {
        if self.found.samples.len() == self.limits.samples {
            return Err(format!("more than {} samples", self.limits.samples));
        }
        let name = cursor.until(|character| matches!(character, '{' | ' ' | '\t' | '\n'));
        if !is_metric_name(name) {
            return Err(format!("{name:?} can't name a metric"));
        }
        check_label(NAME, name, 0, self.limits)?;
        let mut pairs = vec![(self.names.get(NAME), self.names.get(name))];
        let mut blank = Vec::new();
        cursor.skip_blanks();
        if cursor.eat('{') {
            self.labels(cursor, name, &mut pairs, &mut blank)?;
        }
        let mut rest = Cursor(cursor.line());
        rest.skip_blanks();
        let value = rest.word();
        let value =
            number::parse(value).ok_or_else(|| format!("{name}: its value, {value:?}, is no number"))?;
        rest.skip_blanks();
        let at_ms = match rest.0.starts_with('#') {
            true => None,
            false => self.moment(rest.word())?,
        };
        rest.skip_blanks();
        // An exemplar: read over, as far as it can be told apart.
        let exemplar = self.open && rest.0.starts_with("# {");
        if !rest.0.is_empty() && !exemplar {
            return Err(format!("{name}: {:?} behind its value", rest.0));
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
            let name = cursor.until(|character| matches!(character, '=' | ' ' | '\t' | '\n' | '}' | ','));
            cursor.skip_blanks();
            if !is_label_name(name) || !cursor.eat('=') {
                return Err(format!("{metric}: {name:?} can't name a label, or has no value"));
            }
            cursor.skip_blanks();
            // Of text, Prometheus takes values with a line's end in them.
            let value = cursor.quoted().filter(|value| !self.open || !value.contains('\n'));
            let value = value.ok_or_else(|| format!("{metric}: the value of {name} is not in quotes"))?;
            let value = cursor::unescape(value, true);
            let before = pairs.len() + blank.len();
            check_label(name, &value, before, self.limits).map_err(|why| format!("{metric}: {why}"))?;
            if value.is_empty() {
                blank.push(self.names.get(name));
            } else if pairs.iter().any(|(known, _)| **known == *name) {
                return Err(format!("{metric}: the label {name} is there twice"));
            } else {
                let value = match self.canonical(metric, name, &value) {
                    Some(canonical) => self.names.get(&canonical),
                    None => self.names.get(&value),
                };
                pairs.push((self.names.get(name), value));
            }
            cursor.skip_blanks();
            // So does it do without commas.
            if !cursor.eat(',') && self.open && !cursor.0.starts_with('}') {
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
            let seconds = number::parse(text).filter(|seconds| seconds.is_finite());
            // Beyond all time it is the last or the first moment.
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
