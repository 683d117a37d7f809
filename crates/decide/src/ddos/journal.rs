//! The federation's record of attacks: each under a number that people can name, from what routers say now.

use std::collections::BTreeMap;

use super::{Attack, Status, attack_name};

/// What comes back so soon after it was over is the same attack, ms.
const SAME_MS: u64 = 600_000;
/// An attack that no router tells of for so long is over, ms: its router is gone, or has forgotten it.
const UNSEEN_MS: u64 = 60_000;
/// One that goes on without a change is written down anew after so long, ms.
const AGAIN_MS: u64 = 30_000;
/// How long one that is over is kept, ms.
const KEPT_MS: u64 = 30 * 86_400_000;
/// The most that are kept; the oldest that are over give way.
const MOST: usize = 1_000;

/// What is to be written down and forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalChange {
    /// Each with its id, those that are new with the next numbers.
    pub put: Vec<Attack>,
    /// Ids.
    pub removed: Vec<String>,
}

/// What becomes of the record with what all routers see (each attack once, as [`Merged::attacks`](super::Merged::attacks) gives them).
/// Nothing that would only say the same again: whoever asks every second writes seldom.
pub fn journal(known: &[Attack], seen: &[Attack], now_ms: u64) -> JournalChange {
    let mut change = JournalChange::default();
    let newest = known.iter().filter_map(number).max().unwrap_or(0);
    let mut next = newest;
    // By key, the latest under it.
    let mut latest: BTreeMap<&str, &Attack> = BTreeMap::new();
    for attack in known {
        let later = latest.get(attack.key.as_str()).is_none_or(|other| other.first_ms <= attack.first_ms);
        if later {
            latest.insert(&attack.key, attack);
        }
    }
    for attack in seen {
        match latest.get(attack.key.as_str()) {
            Some(before) if is_same(before, attack) => {
                let after = together(before, attack);
                if is_news(before, &after) {
                    change.put.push(after);
                }
            }
            // What ended before it was ever told is still told, but not what was forgotten.
            _ if attack.last_ms + UNSEEN_MS > now_ms => {
                next += 1;
                change.put.push(Attack { id: attack_name(next), ..attack.clone() });
            }
            _ => {}
        }
    }
    let unseen = |attack: &&Attack| {
        attack.status == Status::Active
            && attack.last_ms + UNSEEN_MS <= now_ms
            && !seen.iter().any(|one| one.key == attack.key && one.status == Status::Active)
    };
    let gone = known.iter().filter(unseen).map(|attack| Attack { status: Status::Over, ..attack.clone() });
    for attack in gone {
        if !change.put.iter().any(|one| one.id == attack.id) {
            change.put.push(attack);
        }
    }
    // The newest stays, so that no number is given twice.
    let mut over: Vec<&Attack> = known
        .iter()
        .filter(|one| one.status == Status::Over && number(one) != Some(newest))
        .filter(|one| !change.put.iter().any(|put| put.id == one.id))
        .collect();
    over.sort_by_key(|one| (one.last_ms, number(one)));
    let surplus = known.len().saturating_sub(MOST);
    let old = |at: usize, one: &Attack| at < surplus || one.last_ms + KEPT_MS <= now_ms;
    change.removed =
        over.iter().enumerate().filter(|(at, one)| old(*at, one)).map(|(_, one)| one.id.clone()).collect();
    change
}

fn number(attack: &Attack) -> Option<u64> {
    attack.id.strip_prefix("attack-")?.parse().ok()
}

fn is_same(before: &Attack, now: &Attack) -> bool {
    before.status == Status::Active || now.first_ms <= before.last_ms + SAME_MS
}

fn together(before: &Attack, now: &Attack) -> Attack {
    let larger = now.peak_rate > before.peak_rate;
    let mut after = if larger { now.clone() } else { before.clone() };
    after.id = before.id.clone();
    after.first_ms = before.first_ms.min(now.first_ms);
    after.last_ms = before.last_ms.max(now.last_ms);
    after.sources = before.sources.max(now.sources);
    after.judgement = before.judgement.clone().max(now.judgement.clone());
    // What is told late does not open again what was over.
    after.status = if now.last_ms < before.last_ms { before.status } else { now.status };
    after
}

fn is_news(before: &Attack, after: &Attack) -> bool {
    before.status != after.status
        || before.judgement.verdict != after.judgement.verdict
        || after.peak_rate > before.peak_rate.saturating_add(before.peak_rate / 4)
        || after.last_ms >= before.last_ms + AGAIN_MS
}

#[cfg(test)]
mod tests {
    use super::super::{AttackKind, Evidence, Judgement, Target, Typical, Verdict};
    use super::*;

    fn attack(key: &str, rate: u64, first_ms: u64, last_ms: u64) -> Attack {
        Attack {
            id: String::new(),
            key: key.to_owned(),
            kind: AttackKind::HttpFlood,
            target: Target::Service("shop".to_owned()),
            service: "shop".to_owned(),
            peak_rate: rate,
            first_ms,
            last_ms,
            sources: 3,
            status: Status::Active,
            evidence: Evidence { rate, ..Evidence::default() },
            typical: Typical::default(),
            judgement: Judgement { verdict: Verdict::Real, reasons: Vec::new() },
        }
    }

    fn after(mut known: Vec<Attack>, change: JournalChange) -> Vec<Attack> {
        known.retain(|one| {
            !change.removed.contains(&one.id) && !change.put.iter().any(|put| put.id == one.id)
        });
        known.extend(change.put);
        known.sort_by_key(number);
        known
    }

    #[test]
    fn an_attack_keeps_its_number_and_is_written_only_when_there_is_news() {
        let first = attack("a", 1_000, 10_000, 10_000);
        let known = after(Vec::new(), journal(&[], std::slice::from_ref(&first), 10_100));
        assert_eq!(known[0].id, "attack-001");
        let goes_on = Attack { last_ms: 11_000, peak_rate: 1_100, ..first.clone() };
        assert_eq!(journal(&known, &[goes_on], 11_100), JournalChange::default());
        let larger = Attack { last_ms: 12_000, ..attack("a", 9_000, 10_000, 12_000) };
        let known = after(known, journal(&known_of("a", 1_000), std::slice::from_ref(&larger), 12_100));
        assert_eq!((known[0].peak_rate, known[0].evidence.rate, known.len()), (9_000, 9_000, 1));
        let over = Attack { status: Status::Over, ..larger };
        let known = after(known.clone(), journal(&known, std::slice::from_ref(&over), 22_000));
        assert_eq!(known[0].status, Status::Over);
        assert_eq!(journal(&known, &[over], 23_000), JournalChange::default());
        // Back within ten minutes it is the same, later it is another one.
        let back = attack("a", 500, 400_000, 400_000);
        let again = after(known.clone(), journal(&known, &[back], 400_100));
        assert_eq!((again.len(), again[0].status, again[0].first_ms), (1, Status::Active, 10_000));
        let later = attack("a", 500, 700_000, 700_000);
        let two = after(known.clone(), journal(&known, &[later], 700_100));
        assert_eq!(two.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["attack-001", "attack-002"]);
    }

    fn known_of(key: &str, rate: u64) -> Vec<Attack> {
        vec![Attack { id: attack_name(1), ..attack(key, rate, 10_000, 10_000) }]
    }

    #[test]
    fn one_whose_router_is_gone_is_over_after_a_minute_and_old_ones_are_forgotten_but_the_newest() {
        let known = known_of("a", 1_000);
        assert_eq!(journal(&known, &[], 69_999), JournalChange::default());
        let known = after(known.clone(), journal(&known, &[], 70_000));
        assert_eq!(known[0].status, Status::Over);
        let day = 86_400_000;
        assert_eq!(journal(&known, &[], 40 * day), JournalChange::default(), "its number must not come back");
        let known = after(known.clone(), journal(&known, &[attack("b", 5, 40 * day, 40 * day)], 40 * day));
        let known = after(known.clone(), journal(&known, &[], 40 * day + 1));
        assert_eq!(known.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["attack-002"]);
    }

    #[test]
    fn there_are_at_most_a_thousand_and_what_is_told_late_opens_nothing() {
        let many: Vec<Attack> = (1..=1_100_u64)
            .map(|number| Attack {
                id: attack_name(number),
                status: Status::Over,
                ..attack(&format!("k{number}"), 1, number, number)
            })
            .collect();
        let change = journal(&many, &[], 2_000);
        assert_eq!((change.removed.len(), change.removed[0].as_str()), (100, "attack-001"));
        let over = Attack { status: Status::Over, ..known_of("a", 1_000).remove(0) };
        let late = attack("a", 900, 9_000, 9_500);
        assert_eq!(journal(&[over], &[late], 10_200), JournalChange::default());
    }
}
