//! Random work with crashes at random bytes, compared with plain lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dwcp_telemetry::logs::{
    Cursor, Entry, Grep, InTrace, Kinds, Level, Order, Query, Record, SpanId, Store, Timing, TraceId,
};
use proptest::prelude::*;

use super::{Scratch, all, asked, files, open, origin, small};

const COMPONENTS: [&str; 3] = ["agent", "security", "monitor"];
const WORDS: [&str; 5] = ["failover", "of", "vm-17", "Ärger", "lost"];

fn entry() -> impl Strategy<Value = Entry> {
    let fields = proptest::collection::vec((0usize..3, "[a-c=\n]{0,3}"), 0..3);
    let ids = (0u8..3, 0u8..3, 0u8..4);
    (0i64..60, 0usize..3, 0usize..3, proptest::collection::vec(0usize..5, 0..4), fields, ids).prop_map(
        |(at_ms, component, level, words, fields, (request, operation, trace))| {
            let id = |prefix: &str, number: u8| {
                if number == 0 { String::new() } else { format!("{prefix}_{number}") }
            };
            let span = SpanId::new([5; 8]).expect("an id");
            let trace_id = TraceId::new([trace; 16]);
            let timing = Timing { parent: Some(span), start_rest_us: 999, duration_us: u64::from(operation) };
            Entry {
                at_ms,
                component: COMPONENTS[component].into(),
                level: Level::ALL[level],
                message: words.into_iter().map(|word| WORDS[word]).collect::<Vec<_>>().join(" "),
                request_id: id("req", request),
                operation_id: id("op", operation),
                fields: fields.into_iter().map(|(name, value)| (format!("f{name}"), value)).collect(),
                trace: trace_id.map(|trace| InTrace { trace, span }),
                span: (trace == 2).then_some(timing),
                cut_bytes: u32::from(trace == 3),
            }
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Entry>),
    Sync,
    /// The machine stops: of what was not synced so many parts of 1,000 are left, and then there may be rubbish.
    Crash(u64, bool),
    Reopen,
    /// The other region takes so many records from behind this one.
    Ship(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(entry(), 0..8).prop_map(Step::Append),
        2 => Just(Step::Sync),
        1 => (0u64..=1_000, any::<bool>()).prop_map(|(part, rubbish)| Step::Crash(part, rubbish)),
        1 => Just(Step::Reopen),
        2 => (0u64..60, 1usize..40).prop_map(|(back, limit)| Step::Ship(back, limit)),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let patterns = ["failover", "^vm-17", "(?i)äRG", "lost$|of", "f1=", "."];
    let grep = proptest::option::of(
        (0..patterns.len()).prop_map(move |at| Grep::new(patterns[at]).expect("a pattern")),
    );
    let what = (0usize..5, 0u8..8, grep, 0u8..5, 0u8..5, 0u8..6, 0u8..3);
    let bounds =
        (proptest::option::of(0i64..60), proptest::option::of(0i64..60), 1usize..9, any::<bool>(), 0u64..3);
    (what, bounds).prop_map(|(what, (since_ms, until_ms, limit, newest, cost))| {
        let (component, levels, grep, request, operation, trace, kind) = what;
        let id = |prefix: &str, number: u8| (number > 2).then(|| format!("{prefix}_{}", number - 2));
        let wanted = |level: &Level| levels & (1 << *level as u8) != 0;
        Query {
            components: COMPONENTS.get(component).map(|name| (*name).to_owned()).into_iter().collect(),
            levels: Level::ALL.into_iter().filter(wanted).collect(),
            kinds: [Kinds::Lines, Kinds::Spans, Kinds::Both][usize::from(kind)],
            since_ms,
            until_ms,
            grep,
            request_id: id("req", request),
            operation_id: id("op", operation),
            trace: TraceId::new([if trace < 4 { trace } else { 0 }; 16]),
            limit,
            order: if newest { Order::NewestFirst } else { Order::OldestFirst },
            max_bytes: [1_500, 6_000, u64::MAX][cost as usize],
            ..Query::default()
        }
    })
}

fn fulfils(record: &Record, query: &Query) -> bool {
    let entry = &record.entry;
    let id = |wanted: &Option<String>, id: &String| wanted.as_ref().is_none_or(|wanted| wanted == id);
    (query.components.is_empty() || query.components.iter().any(|name| **name == *entry.component))
        && (query.levels.is_empty() || query.levels.contains(&entry.level))
        && match query.kinds {
            Kinds::Lines => entry.span.is_none(),
            Kinds::Spans => entry.span.is_some(),
            Kinds::Both => true,
        }
        && query.since_ms.is_none_or(|since| entry.at_ms >= since)
        && query.until_ms.is_none_or(|until| entry.at_ms <= until)
        && query.grep.as_ref().is_none_or(|grep| {
            let field = |(name, value): &(String, String)| grep.is_match(&format!("{name}={value}"));
            grep.is_match(&entry.message) || entry.fields.iter().any(field)
        })
        && id(&query.request_id, &entry.request_id)
        && id(&query.operation_id, &entry.operation_id)
        && query.trace.is_none_or(|trace| entry.trace.is_some_and(|place| place.trace == trace))
}

/// What is kept of a log that crashes.
struct Model {
    records: Vec<Record>,
    synced: usize,
    /// The last number that was given to a record.
    given: u64,
    /// Nothing was written since the store was opened.
    opened: bool,
    /// Length of the file that was written to, by its name, when it was synced.
    lengths: BTreeMap<String, u64>,
}

impl Model {
    fn append(&mut self, store: &Store, here: &Path, entries: Vec<Entry>) {
        if std::mem::take(&mut self.opened) {
            // The first one after an opening syncs the numbers that are left out.
            store.append([]).expect("written");
            self.lengths = active(here).into_iter().collect();
        }
        let first = store.append(entries.clone()).expect("written");
        if !entries.is_empty() {
            assert!(first > self.given, "no number is given twice, also not after a crash");
            self.given = first + entries.len() as u64 - 1;
        }
        let origin = store.origin();
        let numbered = (first..).zip(entries.into_iter().map(Entry::admitted));
        self.records.extend(numbered.map(|(seq, entry)| Record { origin: origin.clone(), seq, entry }));
    }
}

fn active(folder: &Path) -> Vec<(String, u64)> {
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let logs = files(folder, "eu-west-1", "log");
    logs.iter().map(|path| (name(path), fs::metadata(path).expect("a file").len())).collect()
}

fn crash(folder: &Path, model: &Model, part: u64, rubbish: bool) {
    for (name, length) in active(folder) {
        let synced = model.lengths.get(&name).copied().unwrap_or(0);
        let path = folder.join("eu-west-1").join(name);
        let mut bytes = fs::read(&path).expect("a file");
        bytes.truncate((synced + (length - synced) * part / 1_000) as usize);
        if rubbish {
            bytes.extend_from_slice(&[0x5a; 97]);
        }
        fs::write(path, bytes).expect("written");
    }
}

fn run(steps: Vec<Step>, queries: &[Query]) {
    let scratch = Scratch::new("model");
    let (here, there) = (scratch.0.join("here"), scratch.0.join("there"));
    let mut store = open(&here, small());
    let copy = Store::open(&there, &origin("us-east-1"), small()).expect("a store");
    let mut model =
        Model { records: Vec::new(), synced: 0, given: 0, opened: true, lengths: BTreeMap::new() };
    let mut shipped: BTreeMap<u64, Record> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Append(entries) => model.append(&store, &here, entries),
            Step::Sync => {
                store.sync().expect("synced");
                model.synced = model.records.len();
                model.lengths = active(&here).into_iter().collect();
            }
            Step::Crash(part, rubbish) => {
                drop(store);
                crash(&here, &model, part, rubbish);
                store = open(&here, small());
                let left = store.logs()[0].1;
                let left = model.records.partition_point(|record| record.seq <= left);
                assert!(left >= model.synced, "what was synced is there");
                model.records.truncate(left);
                (model.synced, model.opened) = (left, true);
                model.lengths = active(&here).into_iter().collect();
            }
            Step::Reopen => {
                drop(store);
                store = open(&here, small());
                assert_eq!(store.take_faults(), []);
                (model.synced, model.opened) = (model.records.len(), true);
                model.lengths = active(&here).into_iter().collect();
            }
            Step::Ship(back, limit) => {
                let at = model.records.len().saturating_sub(back as usize);
                let after = model.records.get(at).map_or(0, |record| record.seq - 1);
                if let Some(shipment) = store.after(store.origin(), after, limit) {
                    let new = shipment.records.iter().filter(|one| !shipped.contains_key(&one.seq)).count();
                    shipped.extend(shipment.records.iter().map(|record| (record.seq, record.clone())));
                    assert_eq!(copy.append_copy(shipment).expect("written"), new as u64);
                }
            }
        }
    }
    let mut expected = model.records.clone();
    expected.sort_by_key(|record| (record.entry.at_ms, record.seq));
    let both = Query { kinds: Kinds::Both, limit: usize::MAX, order: Order::OldestFirst, ..Query::default() };
    assert_eq!(asked(&store, &both).records, expected);
    let mut copied: Vec<Record> = asked(&copy, &both).records;
    copied.sort_by_key(|record| record.seq);
    assert_eq!(copied, shipped.into_values().collect::<Vec<_>>(), "what was shipped outlives any crash");
    assert!(all(&store).len() <= expected.len());
    for query in queries {
        check(&store, &expected, query);
    }
    follow(&store, &model.records);
}

/// Pages through an answer and compares it with a plain filter.
fn check(store: &Store, expected: &[Record], query: &Query) {
    let mut wanted: Vec<&Record> = expected.iter().filter(|record| fulfils(record, query)).collect();
    if query.order == Order::NewestFirst {
        wanted.reverse();
    }
    let (mut cursor, mut found): (Option<Cursor>, Vec<Record>) = (None, Vec::new());
    loop {
        let Ok(page) = store.query(&Query { cursor: cursor.clone(), ..query.clone() }) else {
            // A bound too small for one moment; with room for everything there is none.
            assert!(query.max_bytes < u64::MAX);
            return;
        };
        assert!(page.records.len() <= query.limit && page.read_bytes <= query.max_bytes);
        found.extend(page.records);
        let text = page.next.as_ref().map(Cursor::to_string);
        assert!(text.is_none() || text != cursor.map(|cursor| cursor.to_string()), "it goes on");
        cursor = text.map(|text| text.parse().expect("a cursor"));
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{query:?}");
}

fn follow(store: &Store, records: &[Record]) {
    let (mut cursor, mut found): (Option<Cursor>, Vec<Record>) =
        (Some(Cursor::Follow(BTreeMap::new())), Vec::new());
    while cursor.is_some() {
        let query = Query { cursor, limit: 7, max_bytes: 700, kinds: Kinds::Both, ..Query::default() };
        let page = asked(store, &query);
        found.extend(page.records);
        cursor = page.next;
    }
    assert_eq!(found, records);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_that_crashes_has_what_was_synced_and_finds_what_a_filter_finds(
        steps in proptest::collection::vec(step(), 1..60),
        queries in proptest::collection::vec(query(), 6),
    ) {
        run(steps, &queries);
    }
}
