use std::collections::BTreeMap;

use dwcp_api::sla::{SlaMeasure, SlaPromise, SlaVerdict};
use dwcp_decide::sla::{
    Account, Day, FailoverOutcome, Found, Loss, Outage, Period, Sight, Sights, Stand, Subject, Tally,
};
use dwcp_state::DocumentKind;
use dwcp_types::{FailoverId, VmId, Wall};

use super::breaches::news;
use super::measure::{Failover, days, standing};
use super::stored::{self, Kept};
use super::{promises, series};
use crate::monitor::documents::{Documents, Draft};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// 2026-11-01 00:00 UTC.
const NOVEMBER: u64 = 1_793_491_200_000;

fn seen(documents: &Documents, with: impl FnOnce(&mut Draft)) -> Documents {
    let mut draft = Draft::default();
    with(&mut draft);
    documents.clone().after(draft)
}

fn sight(vm: u64, stand: Stand) -> Sight {
    Sight {
        vm: VmId(vm),
        name: format!("a-rather-long-name-of-a-machine-{vm}"),
        tenant: "a-tenant".into(),
        region: "eu-west-1".into(),
        host: "h1".into(),
        created_at: Wall(0),
        boot_id: String::new(),
        stand,
    }
}

fn sights(vms: u64, stand: &Stand) -> Sights {
    Sights { vms: (1..=vms).map(|vm| sight(vm, stand.clone())).collect(), ..Sights::default() }
}

fn at(minutes: u64) -> Wall {
    Wall(NOVEMBER + minutes * MINUTE)
}

fn keep(documents: &Documents, account: &Account) -> Documents {
    seen(documents, |draft| {
        stored::put_outages(draft, &stored::outages(account)).expect("outages");
        stored::put(draft, account).expect("the account");
    })
}

#[test]
fn a_lost_region_of_three_thousand_vms_fits_and_reads_back_as_it_was() {
    let mut account = Account::default();
    let up = Stand::Up { since: at(0) };
    let cause = "region eu-west-1 was lost".to_owned();
    let lost = Stand::Down { since: at(1), cause, failover: Some(FailoverId(7)) };
    account.look(&sights(3_000, &up), at(0));
    account.look(&sights(3_000, &up), at(1));
    account.look(&sights(3_000, &lost), at(2));
    account.booting.insert(VmId(9_999));
    let documents = keep(&Documents::default(), &account);
    assert!(documents.sizes().max().is_some_and(|most| most <= 200 << 10));
    let kept = stored::read(&documents).expect("read");
    assert_eq!((kept.until, &kept.booting), (Some(at(2)), &account.booting));
    assert_eq!(kept.days, account.days);
    assert_eq!(stored::until(&documents), Ok(Some(at(2))));
    // The next leader goes on with the same outages, and ends them.
    let mut next = Account::resume(at(2), kept.days, kept.booting);
    next.look(&sights(3_000, &Stand::Up { since: at(3) }), at(3));
    let documents = keep(&documents, &next);
    let kept = stored::read(&documents).expect("read");
    let outages = &kept.days[&at(0)].outages;
    assert_eq!(outages.len(), 3_000);
    assert!(outages.iter().all(|one| one.until == Some(at(3)) && one.failover == Some(FailoverId(7))));
    let tally = kept.tally(&Subject::Federation, Period::month(at(0)));
    assert_eq!([tally.up_ms, tally.down_ms, tally.unknown_ms], [3_000 * MINUTE, 6_000 * MINUTE, 0]);
}

fn day_of(down_min: u64) -> Day {
    let mut tally = Tally::default();
    tally.add(Found::Up, DAY - down_min * MINUTE, 0);
    tally.add(Found::Down, down_min * MINUTE, 0);
    let subject = Subject::Tenant("shop".into());
    Day { tallies: [(subject.clone(), tally)].into(), counted: [(subject, 1)].into(), outages: Vec::new() }
}

/// An account of one VM for some days from November on; each day with so many minutes down.
fn account(downs: &[u64]) -> Account {
    let mut account = Account::default();
    for (number, down) in downs.iter().enumerate() {
        let from = NOVEMBER + number as u64 * DAY;
        let mut day = day_of(*down);
        if *down > 0 {
            day.outages.push(Outage {
                vm: VmId(1),
                name: "web".into(),
                tenant: "shop".into(),
                region: "eu-west-1".into(),
                from: Wall(from),
                until: Some(Wall(from + down * MINUTE)),
                cause: "failed".into(),
                failover: None,
                planned: false,
            });
        }
        account.days.insert(Wall(from), day);
    }
    account.until = Some(Wall(NOVEMBER + downs.len() as u64 * DAY - 1));
    account
}

fn kept(downs: &[u64]) -> (Kept, Wall) {
    let account = account(downs);
    let now = account.until.expect("looked");
    (Kept { until: Some(now), days: account.days, ..Kept::default() }, now)
}

#[test]
fn old_days_become_months_and_old_months_are_forgotten() {
    let account = account(&[1; 70]);
    let now = account.until.expect("looked");
    let mut documents = keep(&Documents::default(), &account);
    let all = Period { from: Wall(NOVEMBER), until: Wall(NOVEMBER + 100 * DAY) };
    let before = stored::read(&documents).expect("read").tally(&Subject::Federation, all);
    let fold = |documents: &mut Documents, now: Wall| {
        let mut steps = 0;
        loop {
            let mut draft = Draft::default();
            if !stored::fold(documents, &mut draft, now).expect("folded") {
                return steps;
            }
            *documents = documents.clone().after(draft);
            steps += 1;
        }
    };
    // Day 69 is today: 62 days before it are kept.
    assert_eq!(fold(&mut documents, now), 7);
    let kept = stored::read(&documents).expect("read");
    assert_eq!((kept.days.len(), kept.months.len(), kept.until), (63, 1, Some(now)));
    assert_eq!(kept.tally(&Subject::Federation, all), before);
    assert_eq!(kept.months[&Wall(NOVEMBER)].tallies[&Subject::Tenant("shop".into())].down_ms, 7 * MINUTE);
    fold(&mut documents, Wall(NOVEMBER + 600 * DAY));
    let kept = stored::read(&documents).expect("read");
    assert_eq!((kept.days.len(), kept.months.len()), (0, 0));
}

fn all() -> Vec<SlaPromise> {
    promises::all(&Documents::default()).expect("standard")
}

fn availability() -> SlaPromise {
    all().into_iter().find(|one| one.measure == SlaMeasure::Availability).expect("standard")
}

#[test]
fn standard_promises_can_be_replaced_and_ended() {
    let names = |documents: &Documents| -> Vec<String> {
        promises::all(documents).expect("read").into_iter().map(|one| one.name).collect()
    };
    let documents = Documents::default();
    assert_eq!(names(&documents), ["data-loss", "failover-time", "p99-latency", "vm-availability"]);
    let gold = SlaPromise { target_ppm: Some(999_900), standard: false, ..availability() };
    let documents = seen(&documents, |draft| promises::put(draft, &gold).expect("put"));
    assert_eq!(names(&documents).len(), 4);
    assert!(promises::all(&documents).expect("read").contains(&gold));
    let documents = seen(&documents, |draft| promises::end(draft, "vm-availability").expect("ended"));
    assert_eq!(names(&documents), ["data-loss", "failover-time", "p99-latency"]);
    assert!(documents.raw(DocumentKind::Sla, "vm-availability").is_some());
}

#[test]
fn a_month_has_21_minutes_and_36_seconds() {
    for (downs, verdict, left) in [
        (vec![0; 30], SlaVerdict::Met, 21.6),
        (vec![1; 15], SlaVerdict::Met, 6.6),
        (vec![1; 18], SlaVerdict::AtRisk, 3.6),
        (vec![2; 10], SlaVerdict::AtRisk, 1.6),
        (vec![2; 11], SlaVerdict::Breached, -0.4),
    ] {
        let (kept, now) = kept(&downs);
        let found = standing(&kept, &availability(), &[], now);
        assert_eq!(found.verdict, verdict, "{downs:?}");
        let budget = found.budget_minutes.zip(found.budget_left_minutes).expect("a budget");
        assert!((budget.0 - 21.6).abs() < 0.001 && (budget.1 - left).abs() < 0.001, "{budget:?}");
    }
    let nothing = standing(&Kept::default(), &availability(), &[], Wall(NOVEMBER));
    assert_eq!((nothing.verdict, nothing.measured), (SlaVerdict::NoData, None));
    let latency = all().into_iter().find(|one| one.measure == SlaMeasure::Latency).expect("standard");
    assert_eq!(standing(&Kept::default(), &latency, &[], Wall(NOVEMBER)).verdict, SlaVerdict::NoData);
}

#[test]
fn what_is_worst_and_what_proves_it_is_told() {
    let (kept, now) = kept(&[3, 0, 5]);
    let found = standing(&kept, &availability(), &[], now);
    assert_eq!((found.worst_tenants[0].name.as_str(), found.worst_tenants[0].down_minutes), ("shop", 8.0));
    assert_eq!(found.worst_vms[0].name, "web");
    assert!(found.evidence[0].starts_with("web in eu-west-1 from 2026-11-03T00:00:00Z for 300.0 s: failed"));
    let of = Period { from: Wall(NOVEMBER), until: Wall(NOVEMBER + 3 * DAY) };
    let history = days(&kept, &availability(), &[], of, now);
    let told: Vec<(&str, f64)> = history.iter().map(|day| (&*day.day, day.down_vm_minutes)).collect();
    assert_eq!(told, [("2026-11-03", 5.0), ("2026-11-02", 0.0), ("2026-11-01", 3.0)]);
}

fn failover(number: u64, took_ms: u64, loss: Loss) -> Failover {
    let began = Wall(NOVEMBER + number * DAY);
    let outcome = FailoverOutcome {
        id: FailoverId(number).to_string(),
        began,
        ended: Some(Wall(began.0 + took_ms)),
        loss,
    };
    Failover { outcome, from_region: "eu-west-1".into() }
}

#[test]
fn a_breach_is_found_once_with_what_proves_it() {
    let (kept, now) = kept(&[10, 10, 10]);
    let failovers = [failover(1, 29_000, Loss::Writes(0)), failover(2, 42_000, Loss::Writes(1_500))];
    let found = news(&all(), &kept, &failovers, &[], now).found;
    let told: Vec<(&str, &str)> = found.iter().map(|one| (&*one.breach, &*one.promise.name)).collect();
    let expected =
        [("breach-001", "data-loss"), ("breach-002", "failover-time"), ("breach-003", "vm-availability")];
    assert_eq!(told, expected);
    assert_eq!(found[1].failovers[0].took_ms, 42_000);
    assert_eq!(found[1].broken_at_ms, NOVEMBER + 2 * DAY + 30_000);
    assert_eq!((found[2].outages_in_all, found[2].outages.len()), (3, 3));
    // 21.6 minutes are used up 1.6 minutes into the third outage.
    assert_eq!(found[2].broken_at_ms, NOVEMBER + 2 * DAY + 96_000);
    // Whoever leads next knows them, and finds only what is new.
    assert_eq!(news(&all(), &kept, &failovers, &found, now), super::breaches::News::default());
    let more = [&failovers[..], &[failover(3, 31_000, Loss::Unknown)]].concat();
    let later = news(&all(), &kept, &more, &found, now).found;
    assert_eq!((later.len(), later[0].breach.as_str()), (1, "breach-004"));
}

#[test]
fn a_promise_over_the_last_days_is_broken_again_only_after_it_was_kept() {
    let week = SlaPromise { period_days: Some(7), ..availability() };
    let (bad, now) = kept(&[30, 0, 0]);
    let found = news(std::slice::from_ref(&week), &bad, &[], &[], now);
    assert_eq!((found.found.len(), found.over.len()), (1, 0));
    let mut downs = vec![0; 10];
    downs[0] = 30;
    let (good, later) = kept(&downs);
    let over = news(std::slice::from_ref(&week), &good, &[], &found.found, later);
    assert_eq!((over.found.len(), over.over.len(), over.over[0].over_at_ms), (0, 1, Some(later.0)));
    downs[9] = 30;
    let (bad, later) = kept(&downs);
    let again = news(std::slice::from_ref(&week), &bad, &[], &over.over, later);
    assert_eq!((again.found.len(), again.found[0].breach.as_str()), (1, "breach-002"));
}

#[test]
fn counters_count_what_a_look_added_and_not_what_was_before() {
    let promises = [availability()];
    let mut account = account(&[10]);
    let mut counters = series::Counters::default();
    let since = Wall(NOVEMBER);
    let families = |counters: &series::Counters| {
        let shown = series::families(
            counters,
            &[standing(&Kept::default(), &promises[0], &[], since)],
            &[],
            "r1",
            since,
        );
        let text: BTreeMap<String, String> =
            shown.into_iter().map(|family| (family.name.clone(), format!("{family:?}"))).collect();
        text
    };
    let step = |account: &mut Account, counters: &mut series::Counters, down_ms: u64| {
        let before = series::sums(&promises, account, since);
        let day = account.days.get_mut(&since).expect("a day");
        let tally = day.tallies.values_mut().next().expect("a tally");
        tally.add(Found::Up, 15_000, 0);
        tally.correct(down_ms, 0);
        let after = series::sums(&promises, account, since);
        counters.count(&before, &after);
    };
    step(&mut account, &mut counters, 0);
    step(&mut account, &mut counters, 4_000);
    let text = families(&counters);
    assert!(text["dwcp_federation_sla_events_total"].contains("30.0"), "{text:?}");
    assert!(text["dwcp_federation_sla_bad_events_total"].contains("4.0"), "{text:?}");
    assert!(text["dwcp_federation_sla_objective_ratio"].contains("0.9995"), "{text:?}");
    // Nothing is promised any more.
    counters.count(&BTreeMap::new(), &BTreeMap::new());
    assert!(!families(&counters)["dwcp_federation_sla_events_total"].contains("30.0"));
}
