//! A region dies under a guest whose disk is kept elsewhere in points in time, and with it the server of the copy: what was
//! written before the point that was told is there afterwards, and no more is lost than was said.

use super::single::kill_workers;
use super::stage::{Stage, must};
use super::sync_loss::{PROMISED, Record, Writer, back, missing, proven, vm, wait_whole};
use crate::run::{Failure, wall_ms};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The VM; drills take away what begins so.
const NAME: &str = "drill-async";
/// The shortest interval there is.
const INTERVAL: &str = "async:5s";
/// How long the guest writes before its region dies, and how much longer each round: so it dies at ever other moments of an
/// interval.
const WRITES: Duration = Duration::from_secs(11);
const LONGER: Duration = Duration::from_millis(1_700);
const LONGER_ROUNDS: usize = 5;

/// What was said of the copy right before the loss.
struct Told {
    point_at_ms: u64,
    lose_ms: u64,
}

/// Kills the VM's region and the copy's server, as often as asked.
///
/// # Errors
/// Says which record is missing after which round, or what else did not hold.
pub fn async_loss(stage: &Stage) -> Result<(), Failure> {
    must(stage, &["federation", "policy", "set", "--failovers-per-hour", "1000"])?;
    let size = ["--disk", "1GiB", "--protection", INTERVAL];
    must(stage, &[&["vm", "create", "--name", NAME][..], &size].concat())?;
    let (mut records, mut worst_ms, mut slowest) = (0, 0, Duration::ZERO);
    for round in 1..=stage.rounds {
        let named = |failure: Failure| Failure::new(format!("round {round}: {}", failure.message));
        let (count, lost_ms, took) = lose(stage, round).map_err(named)?;
        records += count;
        worst_ms = worst_ms.max(lost_ms);
        slowest = slowest.max(took);
    }
    stage.say(&format!(
        "{} regions lost under the writer: {records} acknowledged records, none missing of those before a point; \
         at most {:.1} s were lost; the slowest return took {:.1} s",
        stage.rounds,
        worst_ms as f64 / 1_000.0,
        slowest.as_secs_f64()
    ));
    must(stage, &["federation", "policy", "set", "--failovers-per-hour", "6"])?;
    stage.check_no_doubles()
}

/// One round: how many records, how much was lost, and how long until the VM answered elsewhere.
fn lose(stage: &Stage, round: usize) -> Result<(usize, u64, Duration), Failure> {
    wait_whole(stage, NAME)?;
    let before = vm(stage, NAME)?;
    let address = before.address.ok_or_else(|| Failure::new(format!("{NAME} has no address")))?;
    let writer = Writer::start(address, round as u64 * 4_000);
    std::thread::sleep(WRITES + LONGER * (round % LONGER_ROUNDS) as u32);
    let other = stage.other_than(&[&before.region]);
    let shown = stage.json_at(&other, &["vm", "show", NAME])?;
    let told = told(&shown["protection"])?;
    // The copy's server, which may just be receiving a point, dies first; its watchdog starts another one.
    let keeper = shown["protection"]["region"].as_str().unwrap_or_default().to_owned();
    let servers = kill_workers(stage, &keeper);
    let cut_ms = wall_ms();
    let cut = stage.kill(&before.region)?;
    let written = writer.finish();
    let (after, took) = back(stage, NAME, &before, cut)?;
    let proven = proven(stage, NAME, &before.region);
    let missing = missing(&after, &written);
    let lost_ms = lost_ms(&written, &missing, &told, cut_ms)?;
    let said_s =
        seconds(&proven).ok_or_else(|| Failure::new(format!("the failover's record says {proven:?}")))?;
    stage.say(&format!(
        "round {round}: {} and {servers} servers of copies in {keeper} lost; {NAME} answers in {} after {:.1} s; \
         {} records acknowledged, {} after the point are gone, {:.1} s of them; at most {:.1} s were told; the record says {proven:?}",
        before.region,
        after.region,
        took.as_secs_f64(),
        written.len(),
        missing.len(),
        lost_ms as f64 / 1_000.0,
        told.lose_ms as f64 / 1_000.0,
    ));
    if lost_ms > said_s * 1_000 {
        return Err(Failure::new(format!("{lost_ms} ms were lost; the failover's record says {proven:?}")));
    }
    if after.region != keeper || servers == 0 {
        return Err(Failure::new(format!("it answers in {}, its copy was in {keeper}", after.region)));
    }
    if took > PROMISED {
        return Err(Failure::new(format!("it took longer than {} s", PROMISED.as_secs())));
    }
    stage.heal(&[&before.region])?;
    Ok((written.len(), lost_ms, took))
}

fn told(protection: &Value) -> Result<Told, Failure> {
    let number = |name: &str| protection[name].as_u64();
    let told = number("point_at_ms").zip(number("would_lose_ms"));
    let told = told.ok_or_else(|| Failure::new(format!("no point is told: {protection}")))?;
    Ok(Told { point_at_ms: told.0, lose_ms: told.1 })
}

/// From the first record that is gone until the loss, ms.
///
/// # Errors
/// A record is gone that was acknowledged before the point, so more than was told; or one is there although an earlier one is
/// not.
fn lost_ms(
    written: &BTreeMap<u64, Record>,
    missing: &[u64],
    told: &Told,
    cut_ms: u64,
) -> Result<u64, Failure> {
    let first = missing.first().copied();
    let old: Vec<u64> =
        missing.iter().filter(|number| written[number].at_ms < told.point_at_ms).copied().collect();
    if !old.is_empty() {
        return Err(Failure::new(format!("acknowledged before the point and not there: {old:?}")));
    }
    let after = first.map_or(0, |first| written.range(first..).count());
    if after != missing.len() {
        return Err(Failure::new(format!("the disk is of no one moment: {missing:?} are not there")));
    }
    Ok(first.map_or(0, |first| cut_ms.saturating_sub(written[&first].at_ms)))
}

/// The seconds in what a failover's record says of a point.
fn seconds(proven: &str) -> Option<u64> {
    proven.strip_prefix("at most ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at_ms: &[u64]) -> BTreeMap<u64, Record> {
        let numbered = at_ms.iter().enumerate();
        numbered
            .map(|(number, at_ms)| (number as u64, Record { text: String::new(), at_ms: *at_ms }))
            .collect()
    }

    #[test]
    fn only_what_came_after_the_point_may_be_gone_and_only_from_one_moment_on() {
        let written = written(&[100, 200, 300, 400]);
        let told = Told { point_at_ms: 250, lose_ms: 250 };
        assert_eq!(lost_ms(&written, &[], &told, 500).ok(), Some(0));
        assert_eq!(lost_ms(&written, &[2, 3], &told, 500).ok(), Some(200));
        assert!(lost_ms(&written, &[1, 2, 3], &told, 500).is_err_and(|e| e.message.contains("[1]")));
        assert!(lost_ms(&written, &[2], &told, 500).is_err_and(|e| e.message.contains("no one moment")));
    }

    #[test]
    fn a_record_of_a_failover_tells_the_seconds() {
        assert_eq!(seconds("at most 7 s (its copy is of 6 s before)"), Some(7));
        assert_eq!(seconds("0 (sync, protected until the end)"), None);
    }
}
