//! Copies of other regions' logs.

use dwcp_telemetry::logs::{Entry, Limits, Page, Query, Shipment, Span, SpanId, Store, TraceId};

use super::{Scratch, all, line, open, origin, small};

fn source(scratch: &Scratch) -> Store {
    let store = Store::open(&scratch.0.join("from"), &origin("us-east-1@7"), small()).expect("a store");
    for number in 1..=300 {
        store.append([line(number, "agent", &format!("line {number}"))]).expect("written");
    }
    store.sync().expect("synced");
    store
}

#[test]
fn a_copy_has_what_was_shipped_once_and_knows_its_gaps() {
    let scratch = Scratch::new("copy");
    let from = source(&scratch);
    let to = open(&scratch.0.join("to"), small());
    let ship = |after, limit| from.after(from.origin(), after, limit).expect("records");
    assert_eq!(to.append_copy(ship(0, 50)).expect("written"), 50);
    assert_eq!(to.append_copy(ship(0, 50)).expect("written"), 0);
    assert_eq!(to.append_copy(ship(100, 100)).expect("written"), 100);
    assert_eq!(to.gaps(from.origin()), [(51, 100)]);
    assert_eq!(to.append_copy(ship(40, 20)).expect("written"), 10);
    assert_eq!(to.gaps(from.origin()), [(61, 100)]);
    // What goes on from the copy ends at the gap.
    let again = to.after(from.origin(), 30, 1_000).expect("records");
    assert_eq!((again.from, again.through, again.records.len()), (31, 60, 30));
    let again = to.after(from.origin(), 60, 1_000).expect("records");
    assert_eq!((again.from, again.through), (101, 200));
    drop(to);
    let to = open(&scratch.0.join("to"), small());
    assert_eq!(to.gaps(from.origin()), [(61, 100)]);
    assert_eq!(to.append_copy(ship(0, 1_000)).expect("written"), 140);
    assert_eq!((to.gaps(from.origin()), all(&to)), (vec![], all(&from)));
    assert_eq!(to.logs(), [(origin("eu-west-1"), 0), (origin("us-east-1@7"), 300)]);
    assert_eq!(to.take_faults(), []);
    let own = Query { copies: false, ..Query::default() };
    assert_eq!(to.query(&own).expect("an answer").records, []);
}

#[test]
fn what_was_not_synced_is_not_shipped() {
    let scratch = Scratch::new("unsynced");
    let from = source(&scratch);
    let first = from.append([line(301, "agent", "late")]).expect("written");
    assert_eq!(from.after(from.origin(), 0, 1_000).expect("records").through, first - 1);
    assert_eq!(from.after(from.origin(), first - 1, 1_000), None);
    from.sync().expect("synced");
    assert_eq!(from.after(from.origin(), first - 1, 1_000).expect("records").records.len(), 1);
}

#[test]
fn a_shipment_is_read_as_it_was_written_and_a_wrong_one_is_refused() {
    let scratch = Scratch::new("shipment");
    let from = source(&scratch);
    let span = Span {
        trace: TraceId::new([7; 16]).expect("an id"),
        id: SpanId::new([1; 8]).expect("an id"),
        parent: SpanId::new([2; 8]),
        name: "place".into(),
        component: "federation-controller".into(),
        start_us: -1_234_567,
        duration_us: u64::MAX,
        failed: true,
        request_id: "req_1".into(),
        operation_id: "op_1".into(),
        fields: vec![("vm".into(), "a=b=c".into()), ("empty".into(), String::new())],
    };
    from.append([span.clone().entry()]).expect("written");
    from.sync().expect("synced");
    let shipment = from.after(from.origin(), 0, 1_000).expect("records");
    let bytes = shipment.encode();
    assert_eq!(Shipment::decode(&bytes), Ok(shipment.clone()));
    assert_eq!(Span::of(shipment.records.last().expect("a record")), Some(span));
    for cut in [0, 1, 20, bytes.len() - 1] {
        assert!(Shipment::decode(&bytes[..cut]).is_err());
    }
    let to = open(&scratch.0.join("to"), small());
    let wrong = |change: &dyn Fn(&mut Shipment)| {
        let mut wrong = shipment.clone();
        change(&mut wrong);
        assert!(to.append_copy(wrong).is_err());
    };
    wrong(&|one| one.from = 0);
    wrong(&|one| one.through = 299);
    wrong(&|one| one.records.swap(3, 4));
    wrong(&|one| one.origin = origin("us-east-1@8"));
    wrong(&|one| (one.origin, one.records) = (origin("eu-west-1"), vec![]));
    assert_eq!(to.logs(), [(origin("eu-west-1"), 0)]);
}

#[test]
fn secrets_do_not_get_in_from_another_region_either() {
    let scratch = Scratch::new("copied-secret");
    let to = open(&scratch.0, small());
    let entry = Entry { fields: vec![("password".into(), "hunter2".into())], ..line(1, "agent", "x") };
    let from = origin("us-east-1");
    let record = dwcp_telemetry::logs::Record { origin: from.clone(), seq: 1, entry };
    to.append_copy(Shipment { origin: from, from: 1, through: 1, records: vec![record] }).expect("written");
    assert_eq!(all(&to)[0].entry.fields[0].1, "[redacted]");
    let active = super::files(&scratch.0, "us-east-1", "log").remove(0);
    let bytes = std::fs::read(active).expect("a file");
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
}

#[test]
fn what_a_copy_let_go_is_no_gap() {
    let scratch = Scratch::new("let-go");
    let from = source(&scratch);
    let limits = Limits { age_ms: 100, ..small() };
    let to = open(&scratch.0.join("to"), limits.clone());
    let mut after = 0;
    while let Some(shipment) = from.after(from.origin(), after, 40) {
        after = shipment.through;
        to.append_copy(shipment).expect("written");
    }
    to.retain(300).expect("bounded");
    let kept = all(&to).len();
    assert!((101..300).contains(&kept), "{kept}");
    assert_eq!(to.gaps(from.origin()), []);
    drop(to);
    let to = open(&scratch.0.join("to"), limits);
    assert_eq!((all(&to).len(), to.gaps(from.origin())), (kept, vec![]));
    assert_eq!(to.append_copy(from.after(from.origin(), 0, 1_000).expect("records")).expect("written"), 0);
}

#[test]
fn a_dead_regions_log_is_read_from_its_copy_and_merged_with_others() {
    let scratch = Scratch::new("dead");
    let from = source(&scratch);
    let to = open(&scratch.0.join("to"), small());
    to.append_copy(from.after(from.origin(), 0, 1_000).expect("records")).expect("written");
    to.append((1..=300).map(|number| line(number, "agent", "here"))).expect("written");
    let query = Query { limit: 7, ..Query::default() };
    // Both hold the dead region's records: each comes once.
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let query = Query { cursor: cursor.clone(), ..query.clone() };
        let pages = [&from, &to].map(|store| store.query(&query).expect("an answer"));
        let page = Page::merged(pages.into(), &query);
        assert!(page.records.len() <= 7);
        seen.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    seen.reverse();
    assert_eq!(seen, all(&to));
    assert_eq!(seen.len(), 600);
    let region = Query { region: Some("us-east-1".into()), limit: 1_000, ..query };
    assert_eq!(to.query(&region).expect("an answer").records.len(), 300);
}
