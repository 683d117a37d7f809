//! A region dies, and so does the monitor that was about to tell people: one incident, one page, one end.

mod receivers;

use super::stage::{Stage, told};
use crate::run::{Failure, fault, wait_until};
use receivers::Receivers;
use serde_json::Value;
use std::time::Duration;

/// A loss is declared within seconds, scraped and evaluated every 15 s each, and the receivers are slow on purpose.
const PAGED_WITHIN: Duration = Duration::from_secs(150);
/// An alert fires two minutes longer than its cause; then the end is told like the beginning.
const ENDED_WITHIN: Duration = Duration::from_secs(300);
/// So long nobody may say more than was said.
const QUIET: Duration = Duration::from_secs(40);

/// Kills a region, then the region of the monitor while it pages.
///
/// # Errors
/// Says what did not hold.
pub fn paging(stage: &Stage) -> Result<(), Failure> {
    let receivers = Receivers::start()?;
    let path = stage.tree.dev.join("config/notifications.yaml");
    std::fs::write(&path, settings(&receivers)).map_err(|e| fault("can't write", &path, &e))?;
    let held = pages_once(stage, &receivers);
    // Whoever drills next is to page nobody.
    let removed = std::fs::remove_file(&path).map_err(|e| fault("can't remove", &path, &e));
    held.and(removed)
}

fn settings(receivers: &Receivers) -> String {
    let address = receivers.address();
    format!(
        "receivers:\n\
         \x20 - {{name: page, pagerduty: {{routing_key: 0123456789abcdef0123456789abcdef, url: \"http://{address}/pagerduty\"}}}}\n\
         \x20 - {{name: chat, slack: {{url: \"http://{address}/slack\"}}}}\n\
         routes:\n\
         \x20 - {{name: grave, match: 'severity=~\"P0|P1\"', receivers: [page, chat]}}\n\
         people:\n\
         \x20 - {{name: ada, email: ada@example.com}}\n\
         on_call:\n\
         \x20 - {{role: primary, people: [ada], zone: UTC, start: \"2026-01-05T09:00\", shift: 7d}}\n\
         allow_private_addresses: [127.0.0.0/8]\n"
    )
}

fn pages_once(stage: &Stage, receivers: &Receivers) -> Result<(), Failure> {
    receivers_work(stage)?;
    let monitor = leader(stage)?;
    let lost = stage.other_than(&[&monitor]);
    let witness = stage.other_than(&[&monitor, &lost]);
    stage.fill(&lost, 3)?;
    receivers.be_difficult();
    let before = receivers.accepted().len();
    stage.kill(&lost)?;
    stage.say(&format!("{lost} is killed; {monitor} monitors"));
    if !wait_until(PAGED_WITHIN, Duration::from_millis(50), || receivers.tried(&lost) > 0) {
        return Err(Failure::new(format!("nobody was told of {lost} within {} s", PAGED_WITHIN.as_secs())));
    }
    stage.kill(&monitor)?;
    stage.say(&format!("{monitor} is killed while it tells people"));
    let paged = |region: &str| keys(receivers, region).len();
    let both =
        wait_until(PAGED_WITHIN, Duration::from_millis(200), || paged(&lost) > 0 && paged(&monitor) > 0);
    let incidents = open(stage, &witness)?;
    stage.say(&format!(
        "paged: {} for {lost}, {} for {monitor}; {} of {} attempts were taken; open: {}",
        paged(&lost),
        paged(&monitor),
        receivers.accepted().len() - before,
        receivers.attempts(),
        incidents.join(", ")
    ));
    if !both {
        return Err(Failure::new("not every dead region paged somebody"));
    }
    std::thread::sleep(QUIET);
    for region in [&lost, &monitor] {
        let of_region = incidents.iter().filter(|title| title.contains(region.as_str())).count();
        if of_region != 1 || paged(region) != 1 {
            return Err(Failure::new(format!(
                "{region}: {of_region} open incidents, {} pages; one each was promised: {}",
                paged(region),
                incidents.join(", ")
            )));
        }
    }
    stage.heal(&[&lost, &monitor])?;
    // An end has no text of its own: the page's key is all that it carries.
    let ended = |region: &str| {
        let keys = keys(receivers, region);
        receivers.pages("resolve").iter().filter(|(key, _)| keys.contains(key)).count()
    };
    wait_until(ENDED_WITHIN, Duration::from_millis(500), || ended(&lost) > 0 && ended(&monitor) > 0);
    std::thread::sleep(QUIET);
    for region in [&lost, &monitor] {
        if ended(region) != 1 || paged(region) != 1 {
            return Err(Failure::new(format!(
                "{region} is back: {} ends of {} pages; one each was promised",
                ended(region),
                paged(region)
            )));
        }
    }
    stage.say(&format!("{lost} and {monitor} are back: each page has ended once"));
    Ok(())
}

/// The keys of the pages that say that a region is down.
fn keys(receivers: &Receivers, region: &str) -> Vec<String> {
    let about = format!("Region {region} is down");
    receivers
        .pages("trigger")
        .into_iter()
        .filter(|(_, text)| text.contains(&about))
        .map(|(key, _)| key)
        .collect()
}

/// The test message of every receiver arrives.
fn receivers_work(stage: &Stage) -> Result<(), Failure> {
    let mut last = String::new();
    // The file is looked at every few seconds.
    let works = wait_until(Duration::from_secs(30), Duration::from_secs(1), || {
        let output = stage.cli(&["notification", "test"]);
        last = output.as_ref().map(told).unwrap_or_default();
        output.is_ok_and(|output| output.status.success())
    });
    if works { Ok(()) } else { Err(Failure::new(format!("notification test: {last}"))) }
}

/// The region whose node leads the federation's group: the one that monitors.
fn leader(stage: &Stage) -> Result<String, Failure> {
    let status = stage.json_at(&stage.regions[0], &["federation", "status", "--global"])?;
    let leader = status["leader"].as_str().filter(|leader| !leader.is_empty());
    leader.map(str::to_owned).ok_or_else(|| Failure::new("nobody leads the federation's group"))
}

/// The titles of all open incidents of P0 and P1.
fn open(stage: &Stage, at: &str) -> Result<Vec<String>, Failure> {
    let list = stage.json_at(at, &["federation", "monitoring", "incidents", "list", "--status", "open"])?;
    let grave = |one: &&Value| matches!(one["severity"].as_str(), Some("P0" | "P1"));
    let items = list["items"].as_array().into_iter().flatten();
    Ok(items.filter(grave).filter_map(|one| one["title"].as_str().map(str::to_owned)).collect())
}
