//! Feeds damaged blocks, files, shipments, cursors, patterns, headers and texts to their decoders: no panic, no
//! memory without limit, and what is understood is what it says.
//!
//! `cargo run -p dwcp-telemetry --profile sim --example fuzz-logs -- [--seconds N] [--seed N]`. A failure prints the input.

use dwcp_telemetry::logs::block::{Builder, Header};
use dwcp_telemetry::logs::decoders::{entries, parse_dropped};
use dwcp_telemetry::logs::text::{Escaped, json_line};
use dwcp_telemetry::logs::{
    Cursor, Entry, Grep, InTrace, Level, Limits, Origin, Query, Record, Shipment, SpanId, Store, Timing,
    TraceId, Traceparent,
};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

fn sample() -> Vec<Entry> {
    let span = SpanId::new([3; 8]).expect("an id");
    let place = InTrace { trace: TraceId::new([9; 16]).expect("an id"), span };
    let whole = Entry {
        at_ms: 1_764_412_092_345,
        component: "security".into(),
        level: Level::Error,
        message: "login refused".into(),
        request_id: "req_1".into(),
        operation_id: "op_1".into(),
        fields: vec![("vm".into(), "vm-17".into()), ("x".into(), String::new())],
        trace: Some(place),
        span: Some(Timing { parent: Some(span), start_rest_us: 7, duration_us: 9 }),
        cut_bytes: 5,
    };
    let short =
        Entry { at_ms: -5, component: "agent".into(), message: "vm started".into(), ..Entry::default() };
    vec![whole, short]
}

fn blocks() -> Vec<Vec<u8>> {
    let mut builder = Builder::default();
    let mut block = |compress| {
        (5..).zip(sample().iter().cycle().take(20)).for_each(|(seq, entry)| builder.push(seq, entry));
        builder.finish(3, 30, compress)
    };
    vec![block(false), block(true)]
}

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let origin = Origin::parse("eu-west-1").expect("an origin");
    run("log-block", &blocks(), limit, seed, |input| {
        let Some(header) = Header::read(input) else { return false };
        let Some(stored) = input.get(header.length..header.block()) else { return false };
        let mut room = Vec::new();
        header.open(stored, &mut room).is_some_and(|plain| entries(&header, plain).count() > 0)
    });
    // The records themselves, without the checksum that keeps damage from them.
    let names = vec![("security".into(), 0), ("agent".into(), 0)];
    let plain = |block: Vec<u8>| Header::read(&block).map(|header| block[header.length..].to_vec());
    let records = plain(blocks().remove(0)).expect("a block");
    let mut header = Header::read(&blocks()[0]).expect("a block");
    header.names = names;
    run("log-records", &[records], limit, seed, |input| {
        let read: Vec<(u64, Entry)> = entries(&header, input).collect();
        for (seq, entry) in &read {
            let record = Record { origin: origin.clone(), seq: *seq, entry: entry.clone() };
            assert!(!record.to_string().chars().any(char::is_control));
            assert!(!json_line(&record).contains('\n'));
        }
        !read.is_empty()
    });
    let record = |(seq, entry)| Record { origin: origin.clone(), seq, entry };
    let records = (1..).zip(sample()).map(record).collect();
    let shipment = Shipment { origin: origin.clone(), from: 1, through: 9, records }.encode();
    run("log-shipment", &[shipment], limit, seed, |input| Shipment::decode(input).is_ok());
    let cursors = ["p:-5:eu-west-1@2:17", "f:a=1,b@x=2"].map(|text| text.as_bytes().to_vec());
    run("log-cursor", &cursors, limit, seed, |input| {
        let Some(read) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Cursor>().ok()) else {
            return false;
        };
        assert_eq!(read.to_string().parse(), Ok(read));
        true
    });
    let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec();
    run("log-traceparent", &[header], limit, seed, |input| {
        std::str::from_utf8(input).is_ok_and(|text| text.parse::<Traceparent>().is_ok())
    });
    let dropped = format!("1 5\n7 9\ncrc32 {:08x}\n", crc32fast::hash(b"1 5\n7 9\n"));
    run("log-dropped", &[dropped.into_bytes()], limit, seed, |input| parse_dropped(input).is_some());
    run("log-grep", &[b"(?i)fail|lost\0region lost".to_vec()], limit, seed, |input| {
        let Some((pattern, text)) = std::str::from_utf8(input).ok().and_then(|text| text.split_once('\0'))
        else {
            return false;
        };
        let Ok(grep) = Grep::new(pattern) else { return false };
        assert!(!grep.is_match(text) || grep.may_match(text.as_bytes()), "{pattern:?} in {text:?}");
        true
    });
    run("log-entry", &[b"password=x Bearer abcdefgh".to_vec()], limit, seed, |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        assert!(!Escaped(&text).to_string().chars().any(char::is_control));
        let once = Entry { message: text.clone(), fields: vec![(text.clone(), text)], ..Entry::default() }
            .admitted();
        assert!(once.cut_bytes > 0 || once.clone().admitted() == once, "{once:?}");
        true
    });
    files(limit, seed, &origin);
}

/// A damaged file is opened, read and written to.
fn files(limit: std::time::Duration, seed: u64, origin: &Origin) {
    let folder = std::env::temp_dir().join(format!("dwcp-fuzz-logs-{}", std::process::id()));
    for name in ["00000001.log", "00000001.seg"] {
        run(&format!("log-file-{}", &name[9..]), &[blocks().concat()], limit, seed, |input| {
            let log = folder.join(origin.as_str());
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&log).expect("a folder");
            std::fs::write(log.join(name), input).expect("written");
            let store = Store::open(&folder, origin, Limits::default()).expect("a store");
            let found = store.query(&Query::default()).expect("an answer").records.len();
            store.append(sample()).expect("written");
            found > 0
        });
    }
    let _ = std::fs::remove_dir_all(&folder);
}
