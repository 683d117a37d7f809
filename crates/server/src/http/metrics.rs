//! PromQL over every region, and figures a day.

use std::collections::BTreeMap;

use dwcp_api::Problem;
use dwcp_api::metrics::{
    MetricsAnswer, MetricsDay, MetricsDays, MetricsExport, MetricsExportRequest, MetricsPoint, MetricsQuery,
    MetricsQueryRequest, MetricsRow,
};
use dwcp_telemetry::model::{Labels, NAME, Value};
use dwcp_telemetry::promql::observed::Bare;
use dwcp_telemetry::promql::{Answer, AnswerValue, ParseError, Query, QueryError, expand_globs};
use dwcp_types::{Code, Refusal};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Api;
use super::call::{Call, bad_value};
use super::names;
use super::routes::Serve;
use crate::clock::{self, ms};
use crate::handle::View;
use crate::telemetry::reader::{Reader, engine};
use crate::telemetry::regions::{Federated, Others, Regions};

/// Queries of this process at once; more wait for their turn.
const AT_ONCE: usize = 4;
/// Names that globs may stand for, and columns of an export.
const MOST_NAMES: usize = 40;
/// Values of one answer.
const MOST_VALUES: u64 = 500_000;
/// Most values of one row, as Prometheus has it.
const MOST_POINTS: u64 = 11_000;
/// A step that is chosen here gives so many values.
const POINTS: u64 = 60;
/// Least step that is chosen here, ms.
const LEAST_STEP_MS: u64 = 15_000;
const DAY_MS: u64 = 86_400_000;
/// Most days of an export.
const MOST_DAYS: u64 = 400;

/// An answer that is not too long to be sent.
///
/// # Errors
/// It has more values than are sent at once.
pub fn bounded(answer: Answer) -> Result<Answer, QueryError> {
    let values = match &answer.value {
        AnswerValue::Scalar(_) | AnswerValue::String(_) => 1,
        AnswerValue::Vector(rows) => rows.len(),
        AnswerValue::Matrix(all) => all.iter().map(|series| series.samples.len()).sum(),
    };
    match values as u64 {
        samples if samples > MOST_VALUES => Err(QueryError::TooMuch { samples, limit: MOST_VALUES }),
        _ => Ok(answer),
    }
}

/// Whom to ask, for one query.
pub async fn reader(api: &Api) -> Result<Reader, Problem> {
    let (regions, others) = all(api).await?;
    Ok(regions.reader(others, Handle::current()))
}

/// Every region, for one query that no other program answers.
pub async fn federated(api: &Api) -> Result<Federated, Problem> {
    let (regions, others) = all(api).await?;
    Ok(Federated::new(regions, others, Handle::current()))
}

async fn all(api: &Api) -> Result<(Regions, Others), Problem> {
    let Some(regions) = api.measured.clone() else {
        return Err(Problem::from(&Refusal::new(Code::NotPossibleHere, "this process keeps no metrics")));
    };
    let others = api.node.look(others).await.ok_or_else(super::call::stopping)?;
    Ok((regions, others))
}

fn others(view: &View<'_>) -> Others {
    let regions = view.node.regions().iter();
    regions.map(|(node, region)| (*node, region.as_str().to_owned(), names::is_heard(view, *node))).collect()
}

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Runs what reads disks and waits for regions on a thread of its own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    // Each may hold as many samples as it may.
    let _turn = TURNS.acquire().await;
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(super::call::stopping()))
}

/// An expression that is none: shown with a mark under the place.
pub fn malformed(text: &str, error: &ParseError) -> Problem {
    let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or("");
    let mark = format!("{}^", " ".repeat(error.column.saturating_sub(1)));
    let mut problem = bad_value("expression", error.to_string());
    problem.cause.extend([line.to_owned(), mark]);
    problem
}

/// A query without an answer.
pub fn unanswered(error: &QueryError) -> Problem {
    match error {
        QueryError::Source(why) => {
            Problem::from(&Refusal::new(Code::NotReady, "the metrics can't be read").because(why))
        }
        error => bad_value("expression", error.to_string()),
    }
}

impl Serve for MetricsQuery {
    async fn answer(call: &Call, request: MetricsQueryRequest) -> Result<MetricsAnswer, Problem> {
        let window = Window::of(&request)?;
        let reader = reader(&call.api).await?;
        let me = call.api.region.clone();
        blocking(move || {
            let (rows, kind, text, mut warnings) = evaluate(&reader, &request.expression, &window)?;
            let missing = reader.missing();
            warnings.extend(missing.iter().map(|(region, why)| format!("{region}: {why}")));
            let regions = reader.regions().into_iter().filter(|region| !missing.contains_key(region));
            let mut regions: Vec<String> = regions.collect();
            if regions.is_empty() {
                regions.push(me);
            }
            Ok(MetricsAnswer {
                kind: kind.to_owned(),
                rows,
                text,
                warnings,
                regions,
                missing: missing.into_keys().collect(),
                at_ms: window.end_ms,
            })
        })
        .await
    }
}

/// The times that are asked for.
struct Window {
    end_ms: u64,
    range_ms: Option<u64>,
    step_ms: Option<u64>,
}

impl Window {
    fn of(request: &MetricsQueryRequest) -> Result<Window, Problem> {
        let now = clock::wall().0;
        let end_ms = request.at_ms.unwrap_or(now);
        if end_ms > now {
            return Err(bad_value("at_ms", "nothing was measured in the future"));
        }
        let range_ms = request.range_ms;
        if range_ms.is_some_and(|range| range == 0 || range > end_ms) {
            return Err(bad_value("range_ms", "more than 0, and not before 1970"));
        }
        let step_ms = match (request.step_ms, range_ms) {
            (Some(_), None) => return Err(bad_value("step_ms", "a step needs a range")),
            (Some(0), _) => return Err(bad_value("step_ms", "more than 0")),
            (Some(step), Some(range)) if range / step > MOST_POINTS => {
                let why =
                    format!("{} values a row, and at most {MOST_POINTS}: take a longer step", range / step);
                return Err(bad_value("step_ms", why));
            }
            (step, _) => step,
        };
        Ok(Window { end_ms, range_ms, step_ms })
    }
}

type Evaluated = (Vec<MetricsRow>, &'static str, Option<String>, Vec<String>);

/// An expression, with every name in the place of its globs.
fn evaluate(source: &Reader, text: &str, window: &Window) -> Result<Evaluated, Problem> {
    let mut globs = Vec::new();
    if text.contains('*') {
        let since = ms(window.end_ms.saturating_sub(window.range_ms.unwrap_or(DAY_MS)));
        let names =
            source.label_values(NAME, (since, ms(window.end_ms))).map_err(|error| unanswered(&error))?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        globs = expand_globs(text, &names);
    }
    if globs.is_empty() {
        return one(source, text, window, None);
    }
    if globs.len() > MOST_NAMES {
        let why = format!("its * stands for {} names, and for at most {MOST_NAMES}", globs.len());
        return Err(bad_value("expression", why));
    }
    let (mut rows, mut kind, mut warnings) = (Vec::new(), "vector", Vec::new());
    for (name, text) in globs {
        let (found, of, _, told) = one(source, &text, window, Some(&name))?;
        kind = of;
        rows.extend(found);
        warnings.extend(told);
    }
    Ok((rows, kind, None, warnings))
}

fn one(source: &Reader, text: &str, window: &Window, name: Option<&str>) -> Result<Evaluated, Problem> {
    let query = Query::parse(text).map_err(|error| malformed(text, &error))?;
    let engine = engine();
    let (end, range) = (ms(window.end_ms), window.range_ms.map(ms));
    if let (Some(bare), None) = (Bare::of(&query), window.step_ms) {
        let found =
            source.observed(&engine, (&bare, &query), range, end).map_err(|error| unanswered(&error))?;
        let labels = name.map(|name| (NAME.to_owned(), name.to_owned())).into_iter().collect();
        let row = |value: f64| MetricsRow {
            labels,
            points: vec![MetricsPoint { at_ms: window.end_ms, value: number(value) }],
        };
        return Ok((found.quantile.map(row).into_iter().collect(), "vector", None, found.warnings));
    }
    let answer = match range {
        None => source.instant(&engine, &query, end),
        Some(range) => {
            let chosen = || (window.range_ms.unwrap_or(0) / POINTS).max(LEAST_STEP_MS);
            let step = ms(window.step_ms.unwrap_or_else(chosen));
            source.range(&engine, &query, (end - range, end), step)
        }
    };
    let answer = answer.and_then(bounded).map_err(|error| unanswered(&error))?;
    Ok(shown(answer, window.end_ms, name))
}

fn shown(answer: Answer, at_ms: u64, name: Option<&str>) -> Evaluated {
    let labels_of = |labels: &Labels| {
        let mut all: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if let Some(name) = name {
            all.insert(NAME.to_owned(), name.to_owned());
        }
        all
    };
    let point = |at_ms: i64, value: &Value| MetricsPoint { at_ms: at_ms.max(0) as u64, value: text(value) };
    let (rows, kind, string) = match answer.value {
        AnswerValue::Scalar(value) => {
            let points = vec![MetricsPoint { at_ms, value: number(value) }];
            (vec![MetricsRow { labels: labels_of(&Labels::default()), points }], "scalar", None)
        }
        AnswerValue::String(text) => (vec![], "string", Some(text)),
        AnswerValue::Vector(rows) => {
            let row = |(labels, value): &(Labels, Value)| MetricsRow {
                labels: labels_of(labels),
                points: vec![point(ms(at_ms), value)],
            };
            (rows.iter().map(row).collect(), "vector", None)
        }
        AnswerValue::Matrix(all) => {
            let row = |series: &dwcp_telemetry::Series| MetricsRow {
                labels: labels_of(&series.labels),
                points: series.samples.iter().map(|sample| point(sample.at_ms, &sample.value)).collect(),
            };
            (all.iter().map(row).collect(), "matrix", None)
        }
    };
    (rows, kind, string, answer.warnings)
}

/// A number as Prometheus writes it.
pub fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Float(value) => number(*value),
        Value::Histogram(histogram) => {
            format!("{} observed, sum {}", number(histogram.count), number(histogram.sum))
        }
    }
}

/// The expression of a figure by the guide's name, or of a metric: over the whole federation, or one region.
fn figure(name: &str, region: Option<&str>) -> Result<String, Problem> {
    let within = region.map_or(String::new(), |region| format!("{{region={region:?}}}"));
    let expression = match name {
        "vm_count" => format!("sum(dwcp_federation_active_vms{within})"),
        "cpu_usage" => format!("avg(dwcp_federation_cpu_utilization{within})"),
        "memory_usage" => format!("avg(dwcp_federation_memory_utilization{within})"),
        "storage_usage" => format!("avg(dwcp_federation_storage_utilization{within})"),
        "network_usage" => format!("avg(dwcp_federation_network_utilization{within})"),
        name => format!("avg({name}{within})"),
    };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
    if !is_name || Query::parse(&expression).is_err() {
        let known = "vm_count, cpu_usage, memory_usage, storage_usage, network_usage, or a metric's name";
        return Err(bad_value("metrics", format!("'{name}' is no figure: {known}")));
    }
    Ok(expression)
}

impl Serve for MetricsExport {
    async fn answer(call: &Call, request: MetricsExportRequest) -> Result<MetricsDays, Problem> {
        let days = request.range_ms.div_ceil(DAY_MS);
        if !(1..=MOST_DAYS).contains(&days) {
            return Err(bad_value("range_ms", format!("1 to {MOST_DAYS} days")));
        }
        if let Some(region) = request.region.clone() {
            call.find(move |view| names::region(view, &region).map(drop)).await?;
        }
        let metrics: Vec<String> = request.metrics.split(',').map(|name| name.trim().to_owned()).collect();
        if metrics.len() > MOST_NAMES {
            return Err(bad_value("metrics", format!("at most {MOST_NAMES} names")));
        }
        let expressions: Result<Vec<String>, Problem> =
            metrics.iter().map(|name| figure(name, request.region.as_deref())).collect();
        let expressions = expressions?;
        let reader = reader(&call.api).await?;
        blocking(move || export(&reader, metrics, &expressions, days)).await
    }
}

fn export(
    source: &Reader,
    metrics: Vec<String>,
    expressions: &[String],
    count: u64,
) -> Result<MetricsDays, Problem> {
    let now = clock::wall().0;
    let today = now / DAY_MS;
    let first = today + 1 - count;
    let mut days: Vec<MetricsDay> = (0..count)
        .map(|number| MetricsDay {
            day: number + 1,
            date: date(first + number),
            values: vec![None; metrics.len()],
        })
        .collect();
    let mut warnings = Vec::new();
    for (column, expression) in expressions.iter().enumerate() {
        let mut put = |at_ms: i64, value: &Value| {
            let Value::Float(value) = value else { return };
            // The end of a day is the first moment of the next one.
            let day = (at_ms.max(1) as u64 - 1) / DAY_MS;
            let row = day.checked_sub(first).and_then(|at| days.get_mut(at as usize));
            if let (Some(row), true) = (row, value.is_finite()) {
                row.values[column] = Some(*value);
            }
        };
        let since_midnight = (now % DAY_MS).max(1);
        // Today is looked at more closely: it may have begun a minute ago.
        let spans = [(DAY_MS, "5m", (first + 1) * DAY_MS, today * DAY_MS), (since_midnight, "15s", now, now)];
        for (window, every, start, end) in spans.into_iter().filter(|(_, _, start, end)| start <= end) {
            let text = format!("avg_over_time(({expression})[{window}ms:{every}])");
            let query = Query::parse(&text).map_err(|error| malformed(&text, &error))?;
            let answer = source.range(&engine(), &query, (ms(start), ms(end)), ms(DAY_MS));
            let answer = answer.map_err(|error| unanswered(&error))?;
            warnings.extend(answer.warnings);
            if let AnswerValue::Matrix(all) = answer.value {
                all.iter().flat_map(|of| &of.samples).for_each(|sample| put(sample.at_ms, &sample.value));
            }
        }
    }
    // A day of which nothing is known is none: a spreadsheet or a regression would take it for something.
    days.retain(|day| day.values.iter().any(Option::is_some));
    let missing = source.missing();
    warnings.extend(missing.iter().map(|(region, why)| format!("{region}: {why}")));
    warnings.sort();
    warnings.dedup();
    Ok(MetricsDays { metrics, days, warnings, missing: missing.into_keys().collect() })
}

/// The date of a day since 1970.
fn date(day: u64) -> String {
    let text = clock::utc(dwcp_types::Wall(day * DAY_MS));
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_guides_names_and_bad_ones_are_refused() {
        assert_eq!(figure("vm_count", None).expect("one"), "sum(dwcp_federation_active_vms)");
        let of_one = figure("up", Some("eu-west-1")).expect("one");
        assert_eq!(of_one, "avg(up{region=\"eu-west-1\"})");
        for bad in ["", "a b", "sum(x)", "9lives", "a{b=\"c\"}"] {
            assert!(figure(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_place_of_an_error_is_marked() {
        let error = Query::parse("sum(").expect_err("not closed");
        let problem = malformed("sum(", &error);
        assert_eq!(problem.cause[1], "sum(");
        assert!(problem.cause[2].ends_with('^'));
    }

    #[test]
    fn windows_are_checked() {
        let of = |at_ms, range_ms, step_ms| {
            Window::of(&MetricsQueryRequest { at_ms, range_ms, step_ms, ..Default::default() })
        };
        assert!(of(None, Some(60_000), Some(1_000)).is_ok() && of(Some(5), None, None).is_ok());
        assert!(of(Some(u64::MAX), None, None).is_err(), "the future");
        assert!(of(None, None, Some(1)).is_err(), "a step of nothing");
        assert!(of(None, Some(DAY_MS), Some(1_000)).is_err(), "86,400 values");
        assert!(of(None, Some(0), None).is_err() && of(None, Some(9), Some(0)).is_err());
    }
}
