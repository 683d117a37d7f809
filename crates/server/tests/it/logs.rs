//! Logs: searched over every region, also of one that is gone.

use std::time::{Duration, Instant};

use dwcp_api::log::LogQueryRequest;
use dwcp_server::telemetry::logs::query;
use dwcp_server::telemetry::regions::{Federated, Others};
use dwcp_telemetry::logs::Page;
use tokio::runtime::Handle;

use crate::regions::Regions;

/// The texts of the lines of `region`, asked at region 1, and who did not answer.
async fn texts(regions: &Regions, others: Others, region: &str) -> (Vec<String>, Vec<String>) {
    let measured = regions.region(1).measured.clone();
    let (runtime, region) = (Handle::current(), region.to_owned());
    tokio::task::spawn_blocking(move || {
        let asked =
            LogQueryRequest { region: Some(region), grep: Some("NEEDLE".into()), ..Default::default() };
        let now_ms = dwcp_server::clock::wall().0;
        let wanted = query(&asked, now_ms).expect("a question");
        let federated = Federated::new(measured, others, runtime);
        let text = serde_json::to_string(&asked).expect("text");
        let (pages, warnings) = federated.lines(&wanted, text, now_ms).expect("an answer");
        assert!(warnings.is_empty(), "{warnings:?}");
        let page = Page::merged(pages, &wanted);
        let texts = page.records.iter().map(|record| record.entry.message.clone()).collect();
        (texts, federated.missing().into_keys().collect())
    })
    .await
    .expect("asked")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_gone_is_read_from_its_copies() {
    let mut regions = Regions::new("logged", 7);
    regions.start_all().await;
    regions.until("all are linked", |node| node.peers().values().all(|peer| peer.beat.is_some())).await;
    let named = |number: u64| (number, regions.config(number as usize).region.clone(), true);
    let mut others: Others = (1..=5).map(named).collect();
    let third = others[2].1.clone();
    regions.log(3).error("security", "NEEDLE one");
    regions.log(3).info("monitor", "NEEDLE two");
    regions.log(4).info("monitor", "NEEDLE of another region");
    let began = Instant::now();
    loop {
        let (found, missing) = texts(&regions, others.clone(), &third).await;
        assert!(missing.is_empty(), "{missing:?}");
        if found == ["NEEDLE two", "NEEDLE one"] {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "never searched: {found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Its neighbours come for what they do not have within seconds; nobody else is asked here.
    let nobody: Others = others.iter().map(|(number, name, _)| (*number, name.clone(), false)).collect();
    while texts(&regions, nobody.clone(), &third).await.0.len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "never copied");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    regions.stop(3).await;
    others[2].2 = false;
    let (found, missing) = texts(&regions, others, &third).await;
    assert_eq!((found, missing), (vec!["NEEDLE two".to_owned(), "NEEDLE one".to_owned()], vec![third]));
}
