//! The region's log, kept to be searched, and copies of other regions' logs: a region that is gone can be read here.
//!
//! Every region keeps copies of the logs of the two that follow it by number. It asks them for what it does not have; they need
//! not know.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use dwcp_api::log::LogQueryRequest;
use dwcp_telemetry::logs::{
    Cursor, Entry, Grep, Level, Limits, Order, Origin, Page, Query, Record, Shipment, Store, TraceId,
};
use dwcp_types::{NodeId, decode, encode};

use super::regions::Regions;
use super::traces;
use super::wire::{Ask, Tell, What};
use crate::clock::{self, ms};
use crate::handle::NodeHandle;
use crate::http::names;
use crate::log::Log;

/// Lines that may wait to be kept; what is more is on standard error and in the log's file only.
const WAITING: usize = 10_000;
/// A line is on the disk after this at most.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Between two looks for what is too old or too much.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// Between two looks for what the logs that are copied have more.
const COPY_EVERY: Duration = Duration::from_secs(2);
/// Records asked for at once.
const RECORDS: u64 = 5_000;
/// Logs of one region that are copied: it begins a new one where its folder was lost.
const LOGS_OF_A_REGION: usize = 16;
/// How many other regions' logs are copied here.
const COPIES: usize = 2;

/// Opens the log of a region, and starts the thread that writes it: lines go in through the sender.
///
/// # Errors
/// The folder can't be used, or the system starts no thread.
pub fn open(folder: &Path, region: &str, log: &Log) -> Result<(Arc<Store>, SyncSender<Entry>), String> {
    let name = format!("{region}@{}", clock::wall().0);
    let own = Origin::parse(&name).ok_or_else(|| format!("'{name}' can't name a log"))?;
    let store = Store::open(folder, &own, Limits::default()).map_err(|e| e.to_string())?;
    for fault in store.take_faults() {
        log.warning("monitor", format!("the kept log: {fault}"));
    }
    let store = Arc::new(store);
    let (sender, lines) = sync_channel(WAITING);
    let kept = store.clone();
    std::thread::Builder::new()
        .name("dwcpd-log".into())
        .spawn(move || write(&kept, &lines))
        .map_err(|e| e.to_string())?;
    Ok((store, sender))
}

/// Until nobody can say anything any more.
fn write(store: &Store, lines: &Receiver<Entry>) {
    let (mut synced, mut retained) = (Instant::now(), Instant::now());
    loop {
        let left = SYNC_EVERY.saturating_sub(synced.elapsed());
        let ended = match lines.recv_timeout(left) {
            Ok(first) => {
                // A log that can't be kept is still on standard error, and in its file.
                let _ = store.append(std::iter::once(first).chain(lines.try_iter().take(WAITING)));
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if ended || synced.elapsed() >= SYNC_EVERY {
            let _ = store.sync();
            synced = Instant::now();
        }
        if ended {
            return;
        }
        if retained.elapsed() >= RETAIN_EVERY {
            let _ = store.retain(clock::wall_ms());
            retained = Instant::now();
        }
    }
}

/// What is asked, in the words of the store.
///
/// # Errors
/// Names the field and what is wrong with it.
pub fn query(asked: &LogQueryRequest, now_ms: u64) -> Result<Query, (&'static str, String)> {
    let list = |text: &Option<String>| -> Vec<String> {
        let words = text.as_deref().unwrap_or("").split(',').map(str::trim);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let levels = list(&asked.level).into_iter().map(|name| {
        Level::parse(&name).ok_or_else(|| ("level", format!("'{name}' is none of info, warning, error")))
    });
    let grep = asked.grep.as_deref().map(|pattern| Grep::new(pattern).map_err(|why| ("grep", why)));
    let cursor = asked.cursor.as_deref().map(|text| {
        text.parse::<Cursor>().map_err(|_| ("cursor", "it is none that an answer had".to_owned()))
    });
    Ok(Query {
        components: list(&asked.component),
        levels: levels.collect::<Result<_, _>>()?,
        since_ms: asked.since_ms.map(|since| ms(now_ms.saturating_sub(since))),
        until_ms: asked.until_at_ms.map(|until| ms(until).saturating_sub(1)),
        region: asked.region.clone(),
        grep: grep.transpose()?,
        request_id: asked.request_id.clone(),
        operation_id: asked.operation_id.clone(),
        limit: asked.limit.unwrap_or(1_000).clamp(1, 10_000) as usize,
        order: if asked.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
        cursor: cursor.transpose()?,
        ..Query::default()
    })
}

/// A page as it is sent: records of each log as a shipment, then the rest of the page.
pub fn pieces(page: Page) -> Vec<Vec<u8>> {
    let mut by_log: BTreeMap<Origin, Vec<Record>> = BTreeMap::new();
    for record in page.records {
        by_log.entry(record.origin.clone()).or_default().push(record);
    }
    let shipped = by_log.into_iter().filter_map(|(origin, mut records)| {
        records.sort_by_key(|record| record.seq);
        let (from, through) = (records.first()?.seq, records.last()?.seq);
        Some(Shipment { origin, from, through, records }.encode())
    });
    let text = |cursor: Option<Cursor>| cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
    let faults = page.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let truncated = if page.truncated { "yes" } else { "" };
    let rest = vec![text(page.next), text(page.follow), truncated.to_owned(), faults];
    shipped.chain([encode(&rest)]).collect()
}

/// The same, read.
///
/// # Errors
/// It is none.
pub fn page(pieces: &[Tell], order: Order) -> Result<(Page, Vec<String>), String> {
    let (rest, shipped) = pieces.split_last().ok_or("an empty answer")?;
    let rest: Vec<String> = decode(&rest.bytes.0).map_err(|e| e.to_string())?;
    let [next, follow, truncated, faults] = rest.as_slice() else { return Err("an answer cut short".into()) };
    let cursor = |text: &String| (!text.is_empty()).then(|| text.parse().ok()).flatten();
    let mut page = Page {
        next: cursor(next),
        follow: cursor(follow),
        truncated: !truncated.is_empty(),
        ..Page::default()
    };
    for piece in shipped {
        page.records.extend(Shipment::decode(&piece.bytes.0)?.records);
    }
    page.records.sort_by_key(Record::place);
    if order == Order::NewestFirst {
        page.records.reverse();
    }
    let faults = faults.lines().map(str::to_owned).collect();
    Ok((page, faults))
}

/// Copies the logs of the regions whose turn it is, for as long as the process lives.
pub async fn copy(regions: Regions, store: Arc<Store>, node: NodeHandle) {
    loop {
        tokio::time::sleep(COPY_EVERY).await;
        let heard = node.look(|view| {
            let all: Vec<NodeId> = view.node.regions().keys().copied().collect();
            following(view.node.config().me, &all)
                .into_iter()
                .filter(|node| names::is_heard(view, *node))
                .filter_map(|node| Some((node, view.node.region_name(node)?.as_str().to_owned())))
                .collect::<Vec<_>>()
        });
        let Some(heard) = heard.await else { return };
        for (node, name) in heard {
            // What does not come now comes the next time.
            let _ = copy_from(&regions, &store, node, &name).await;
        }
    }
}

/// The nodes that follow one by number, in a ring.
fn following(me: NodeId, all: &[NodeId]) -> Vec<NodeId> {
    let behind = all.iter().filter(|node| **node > me);
    let before = all.iter().filter(|node| **node < me);
    behind.chain(before).copied().take(COPIES).collect()
}

async fn copy_from(regions: &Regions, store: &Arc<Store>, node: NodeId, name: &str) -> Result<(), String> {
    let told = regions.ask(node, &Ask { what: What::Logs, ..Ask::default() }).await;
    let told = told.map_err(|e| e.to_string())?;
    let first = told.first().ok_or("an empty answer")?;
    let theirs: Vec<(String, u64)> = decode(&first.bytes.0).map_err(|e| e.to_string())?;
    for (text, last) in theirs.into_iter().take(LOGS_OF_A_REGION) {
        let origin = Origin::parse(&text).ok_or("the name of no log")?;
        // A region tells of itself alone.
        if origin.region() != name {
            return Err(format!("it has no log {text} of its own"));
        }
        let mut here = last_of(store, &origin).await?;
        while here < last {
            let ask = Ask { what: What::LogAfter, text: text.clone(), after: here, ..Ask::default() };
            let told = regions.ask(node, &ask).await.map_err(|e| e.to_string())?;
            let bytes = told.first().map(|piece| piece.bytes.0.clone()).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let (kept, wanted) = (store.clone(), origin.clone());
            let copied = tokio::task::spawn_blocking(move || {
                let shipment = Shipment::decode(&bytes)?;
                if shipment.origin != wanted {
                    return Err(format!("records of {}", shipment.origin));
                }
                kept.append_copy(shipment).map_err(|e| e.to_string())
            });
            copied.await.map_err(|e| e.to_string())??;
            let now = last_of(store, &origin).await?;
            if now <= here {
                break;
            }
            here = now;
        }
    }
    Ok(())
}

/// The last number that is known of a log.
async fn last_of(store: &Arc<Store>, origin: &Origin) -> Result<u64, String> {
    let (store, origin) = (store.clone(), origin.clone());
    let last =
        move || store.logs().into_iter().find(|(known, _)| *known == origin).map_or(0, |(_, last)| last);
    // It may wait for a disk.
    tokio::task::spawn_blocking(last).await.map_err(|e| e.to_string())
}

/// The answer to another region about the logs that are here. Blocks.
///
/// # Errors
/// Why there is none.
pub fn answer(store: &Store, ask: &Ask) -> Result<Vec<Vec<u8>>, String> {
    match ask.what {
        What::Lines => {
            let asked: LogQueryRequest = serde_json::from_str(&ask.text).map_err(|e| e.to_string())?;
            let query = query(&asked, ask.end_ms).map_err(|(field, why)| format!("{field}: {why}"))?;
            Ok(pieces(store.query(&query).map_err(|e| e.to_string())?))
        }
        What::Spans => {
            let trace = TraceId::parse(&ask.text).ok_or("the id of no trace")?;
            Ok(pieces(store.query(&traces::query(trace)).map_err(|e| e.to_string())?))
        }
        What::LogAfter => {
            let origin = Origin::parse(&ask.text).ok_or("the name of no log")?;
            let shipment = store.after(&origin, ask.after, RECORDS as usize);
            Ok(vec![shipment.map(|shipment| shipment.encode()).unwrap_or_default()])
        }
        // Copies of copies would go round for ever: only the region's own logs.
        _ => {
            let region = store.origin().region().to_owned();
            let own = store.logs().into_iter().filter(|(origin, _)| origin.region() == region);
            let named: Vec<(String, u64)> = own.map(|(origin, last)| (origin.to_string(), last)).collect();
            Ok(vec![encode(&named)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_is_copied_by_two_others() {
        assert_eq!(following(4, &[1, 2, 3, 4, 5]), [5, 1]);
        assert_eq!(following(1, &[1, 2, 3, 4, 5]), [2, 3]);
        assert_eq!(following(1, &[1]), [0u64; 0]);
    }

    #[test]
    fn bad_questions_name_their_field() {
        let field = |asked: LogQueryRequest| query(&asked, 1_000).map_err(|(field, _)| field).err();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(field(LogQueryRequest { level: some("error,loud"), ..Default::default() }), Some("level"));
        assert_eq!(field(LogQueryRequest { grep: some("("), ..Default::default() }), Some("grep"));
        assert_eq!(field(LogQueryRequest { cursor: some("what"), ..Default::default() }), Some("cursor"));
        let fine =
            LogQueryRequest { level: some("warning, error"), since_ms: Some(400), ..Default::default() };
        let query = query(&fine, 1_000).expect("a question");
        assert_eq!((query.levels, query.since_ms), (vec![Level::Warning, Level::Error], Some(600)));
    }
}
