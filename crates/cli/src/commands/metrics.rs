//! Metrics: values, lines and rows a day.

use dwcp_api::metrics::{
    MetricsAnswer, MetricsDays, MetricsExport, MetricsExportRequest, MetricsQuery, MetricsQueryRequest,
    MetricsRow,
};
use dwcp_config::units::{Moment, show_duration};

use super::{Ended, read, without};
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{self, Format, MetricsCommand};

/// Heights of a line, from low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Widest line, columns.
const WIDEST: usize = 60;
/// The label of a metric's name.
const NAME: &str = "__name__";

pub fn run(session: &Session, command: &MetricsCommand) -> Ended {
    match command {
        MetricsCommand::Query(wanted) => query(session, wanted),
        MetricsCommand::Export(wanted) => export(session, wanted),
    }
}

fn query(session: &Session, wanted: &typed::MetricsQuery) -> Ended {
    let at_ms = match wanted.at {
        None => None,
        Some(Moment::At(ms)) => Some(ms),
        Some(Moment::In(_)) => return Err(Failure::usage("--at: nothing was measured in the future")),
    };
    read(session, || {
        let request = MetricsQueryRequest {
            expression: wanted.expression.clone(),
            at_ms,
            range_ms: wanted.range,
            step_ms: wanted.step,
        };
        let answer = session.call::<MetricsQuery>(&request)?;
        Ok((document(&answer, wanted.step.is_some()), without(&answer.missing, None)))
    })
}

fn document(answer: &MetricsAnswer, lines: bool) -> Document {
    let mut document = Document::of(answer);
    document = match (&answer.text, lines) {
        (Some(text), _) => document.text_block(text),
        (None, true) => line_table(document, answer),
        (None, false) => document.table(values(answer)),
    };
    for warning in &answer.warnings {
        document = document.text_block(format!("warning: {warning}"));
    }
    let missing = match answer.missing.is_empty() {
        true => String::new(),
        false => format!("; missing {}", answer.missing.join(", ")),
    };
    document.text_block(format!(
        "at {}, of {}{missing}",
        words::instant(answer.at_ms),
        or_none(&answer.regions)
    ))
}

fn or_none(regions: &[String]) -> String {
    if regions.is_empty() { "no region".to_owned() } else { regions.join(", ") }
}

/// Every label that a row has, the name first.
fn label_names(rows: &[MetricsRow]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|row| row.labels.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (*name != NAME, *name));
    names
}

fn head(name: &str) -> String {
    if name == NAME { "METRIC".to_owned() } else { name.to_uppercase() }
}

fn labels(row: &MetricsRow, names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| words::or_dash(row.labels.get(*name))).collect()
}

/// The newest value of each row.
fn values(answer: &MetricsAnswer) -> Table {
    let names = label_names(&answer.rows);
    let several = answer.rows.iter().any(|row| row.points.len() > 1);
    let mut heads: Vec<String> = names.iter().map(|name| head(name)).collect();
    heads.extend(several.then(|| "TIME".to_owned()));
    heads.push(">VALUE".to_owned());
    let mut table = Table::new(&heads).or("no data");
    for row in &answer.rows {
        for point in &row.points {
            let mut cells = labels(row, &names);
            cells.extend(several.then(|| words::instant(point.at_ms).into()));
            cells.push(Cell::from(short(&point.value)));
            table.row(cells);
        }
    }
    table
}

/// A row of low, high and newest value with a line of each series.
fn line_table(document: Document, answer: &MetricsAnswer) -> Document {
    let names = label_names(&answer.rows);
    let mut heads: Vec<String> = names.iter().map(|name| head(name)).collect();
    heads.extend([">LOW", ">HIGH", ">LAST", ">POINTS~2", "LINE~1"].map(str::to_owned));
    let mut table = Table::new(&heads).or("no data");
    for row in &answer.rows {
        let numbers: Vec<f64> = row.points.iter().filter_map(|point| point.value.parse().ok()).collect();
        let finite = || numbers.iter().copied().filter(|number| number.is_finite());
        let (low, high) = (finite().reduce(f64::min), finite().reduce(f64::max));
        let mut cells = labels(row, &names);
        cells.extend([low, high, numbers.last().copied()].map(|value| words::known(value.map(number))));
        cells.push(Cell::from(row.points.len()));
        cells.push(Cell::from(line(&numbers, low.unwrap_or(0.0), high.unwrap_or(0.0))));
        table.row(cells);
    }
    let times = answer.rows.iter().flat_map(|row| row.points.iter().map(|point| point.at_ms));
    let span = times.clone().min().zip(times.max());
    let document = document.table(table);
    match span {
        Some((from, to)) => document.text_block(format!(
            "from {} to {} ({})",
            words::instant(from),
            words::instant(to),
            show_duration(to - from)
        )),
        None => document,
    }
}

/// A line of blocks, as many as there are numbers at most; what is more is the mean of its neighbours. A gap for what is no number.
fn line(numbers: &[f64], low: f64, high: f64) -> String {
    let columns = numbers.len().min(WIDEST);
    let column = |at: usize| {
        let part = &numbers[at * numbers.len() / columns..(at + 1) * numbers.len() / columns];
        let finite: Vec<f64> = part.iter().copied().filter(|number| number.is_finite()).collect();
        if finite.is_empty() {
            return ' ';
        }
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        let height = if high > low { (mean - low) / (high - low) } else { 0.5 };
        BARS[((height * (BARS.len() - 1) as f64).round() as usize).min(BARS.len() - 1)]
    };
    (0..columns).map(column).collect()
}

/// At most four decimals; very large and very small ones as they come.
fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e15).contains(&value.abs()) {
        let text = format!("{value:.4}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{value}")
}

/// The same of a value that came as text; what is no number stays as it is.
fn short(text: &str) -> String {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map_or_else(|| text.to_owned(), number)
}

fn export(session: &Session, wanted: &typed::MetricsExport) -> Ended {
    let request = MetricsExportRequest {
        metrics: wanted.metrics.0.join(","),
        range_ms: wanted.range,
        region: wanted.region.clone(),
    };
    let found = session.call::<MetricsExport>(&request)?;
    session.warn(&found.warnings);
    session.show_as(&days(&found), Format::Csv)?;
    Ok(without(&found.missing, wanted.region.as_ref()))
}

fn days(found: &MetricsDays) -> Document {
    let mut heads = vec![">DAY".to_owned(), "DATE".to_owned()];
    heads.extend(found.metrics.iter().map(|name| format!(">{}", name.to_uppercase())));
    let mut table = Table::new(&heads).or("no day");
    for day in &found.days {
        let mut cells = vec![Cell::from(day.day), Cell::from(&day.date)];
        // An empty field: a figure that is not known is none.
        cells.extend(day.values.iter().map(|value| Cell::from(value.map(number).unwrap_or_default())));
        table.row(cells);
    }
    Document::of(found).table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_what_is_none_stays() {
        let shown =
            [("12", "12"), ("0.123456", "0.1235"), ("NaN", "NaN"), ("+Inf", "+Inf"), ("1e-9", "0.000000001")];
        for (text, wanted) in shown {
            assert_eq!(short(text), wanted);
        }
    }

    #[test]
    fn a_line_goes_from_low_to_high_and_has_gaps() {
        assert_eq!(line(&[0.0, 1.0, f64::NAN, 7.0], 0.0, 7.0), "▁▂ █");
        assert_eq!(line(&[5.0, 5.0], 5.0, 5.0), "▅▅");
        assert_eq!(line(&[1.0; 1_000], 0.0, 1.0).chars().count(), WIDEST);
        assert_eq!(line(&[], 0.0, 0.0), "");
    }
}
