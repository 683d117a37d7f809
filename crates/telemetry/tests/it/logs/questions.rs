//! Queries by table; that they find what a plain filter finds is a property.

use dwcp_telemetry::logs::{
    Cursor, Entry, Grep, InTrace, Kinds, Level, Order, Query, QueryError, Span, SpanId, Store, TraceId,
};

use super::{Scratch, asked, line, messages, open, small};

fn filled(scratch: &Scratch) -> Store {
    let store = open(&scratch.0, small());
    let trace =
        InTrace { trace: TraceId::new([9; 16]).expect("an id"), span: SpanId::new([3; 8]).expect("an id") };
    store
        .append([
            Entry { level: Level::Error, ..line(10, "federation-controller", "placement of vm-1 failed") },
            Entry {
                level: Level::Warning,
                operation_id: "op_7".into(),
                ..line(20, "security", "login refused")
            },
            Entry {
                level: Level::Error,
                request_id: "req_1".into(),
                fields: vec![("vm".into(), "vm-17".into())],
                ..line(30, "security", "forged token")
            },
            Entry { trace: Some(trace), ..line(40, "agent", "vm started") },
            Entry { ..line(40, "agent", "vm stopped") },
        ])
        .expect("written");
    let span = Span {
        trace: trace.trace,
        id: trace.span,
        parent: None,
        name: "start".into(),
        component: "agent".into(),
        start_us: 39_500,
        duration_us: 900,
        failed: false,
        request_id: String::new(),
        operation_id: String::new(),
        fields: vec![],
    };
    store.append([span.entry()]).expect("written");
    store
}

fn grep(pattern: &str) -> Query {
    Query { grep: Some(Grep::new(pattern).expect("a pattern")), ..Query::default() }
}

#[test]
fn each_condition_finds_what_it_says() {
    let scratch = Scratch::new("conditions");
    let store = filled(&scratch);
    let q = Query::default;
    let levels = vec![Level::Warning, Level::Error];
    for (query, expected) in [
        (q(), &["vm stopped", "vm started", "forged token", "login refused", "placement of vm-1 failed"][..]),
        (Query { limit: 2, ..q() }, &["vm stopped", "vm started"]),
        (
            Query { limit: 2, order: Order::OldestFirst, ..q() },
            &["placement of vm-1 failed", "login refused"],
        ),
        (
            Query { components: vec!["security".into()], levels: levels.clone(), ..q() },
            &["forged token", "login refused"],
        ),
        (Query { levels: vec![Level::Error], ..q() }, &["forged token", "placement of vm-1 failed"]),
        (Query { since_ms: Some(20), until_ms: Some(30), ..q() }, &["forged token", "login refused"]),
        (Query { region: Some("eu-west-1".into()), limit: 1, ..q() }, &["vm stopped"]),
        (Query { region: Some("us-east-1".into()), ..q() }, &[]),
        (grep("vm-1"), &["forged token", "placement of vm-1 failed"]),
        (grep("^vm=vm-17$"), &["forged token"]),
        (grep("(?i)LOGIN|started"), &["vm started", "login refused"]),
        (grep("^$"), &[]),
        (Query { request_id: Some("req_1".into()), ..q() }, &["forged token"]),
        (Query { request_id: Some("req".into()), ..q() }, &[]),
        (Query { operation_id: Some("op_7".into()), ..q() }, &["login refused"]),
        (Query { trace: TraceId::new([9; 16]), ..q() }, &["vm started"]),
        (Query { trace: TraceId::new([8; 16]), ..q() }, &[]),
        (Query { kinds: Kinds::Spans, ..q() }, &["start"]),
    ] {
        let page = asked(&store, &query);
        assert_eq!(messages(&page.records), expected, "{query:?}");
        assert_eq!(page.next.is_some(), page.records.len() == query.limit);
    }
    let trace = store.trace(TraceId::new([9; 16]).expect("an id"), None).expect("an answer");
    assert_eq!(messages(&trace), ["start", "vm started"]);
}

#[test]
fn what_would_read_too_much_is_cut_and_goes_on_or_is_refused_with_its_cost() {
    let scratch = Scratch::new("cost");
    let store = open(&scratch.0, small());
    for number in 0..500 {
        store.append([line(number, "agent", &format!("line {number} of many"))]).expect("written");
    }
    let query = Query { max_bytes: 5_000, limit: 10, ..grep("line 17 ") };
    let refused = store.query(&Query { refuse: true, ..query.clone() });
    let Err(QueryError::TooMuch { bytes, limit: 5_000 }) = refused else { panic!("{refused:?}") };
    assert!((10_000..40_000).contains(&bytes), "{bytes}");
    let (mut cursor, mut pages, mut found) = (None, 0, Vec::new());
    loop {
        let page = asked(&store, &Query { cursor: cursor.clone(), ..query.clone() });
        assert!(page.read_bytes <= 5_000);
        assert_eq!(page.truncated, page.next.is_some());
        pages += 1;
        found.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(messages(&found), ["line 17 of many"]);
    assert!((3..20).contains(&pages), "{pages}");
    // A bound that no block fits in is refused, rather than never ending.
    let refused = store.query(&Query { max_bytes: 10, ..Query::default() });
    assert!(matches!(refused, Err(QueryError::TooMuch { limit: 10, .. })));
}

#[test]
fn who_follows_sees_each_record_once_also_one_that_is_late() {
    let scratch = Scratch::new("follow");
    let store = filled(&scratch);
    let first = asked(&store, &Query { limit: 1, ..Query::default() });
    let follow = |cursor: &Option<Cursor>| {
        asked(&store, &Query { cursor: cursor.clone(), limit: 2, ..Query::default() })
    };
    let nothing = follow(&first.follow);
    assert_eq!((nothing.records.len(), nothing.next), (0, None));
    store
        .append([line(50, "agent", "new"), line(5, "agent", "late"), line(51, "agent", "newer")])
        .expect("written");
    let page = follow(&nothing.follow);
    assert_eq!(messages(&page.records), ["new", "late"]);
    assert_eq!(page.next, page.follow);
    let page = follow(&page.follow);
    assert_eq!((messages(&page.records), page.next), (vec!["newer"], None));
    assert_eq!(follow(&page.follow).records.len(), 0);
    // From the beginning, as it is written.
    let page = asked(&store, &Query { cursor: "f:".parse().ok(), limit: 100, ..Query::default() });
    assert_eq!(page.records.len(), 8);
    assert_eq!(page.records[7].entry.message, "newer");
}
