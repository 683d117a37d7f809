//! Promises: the arithmetic by table.

use dwcp_decide::sla::{
    Availability, Evidence, FailoverOutcome, LatencyCounts, Loss, Objective, Observed, Period, Sla, State,
    Step, Subject, Timeline, Times, Verdict, assess, availability_breach, burn_milli, data_loss,
    failover_breach, failover_time, history, latency, latency_breach, measure, sustained,
};
use dwcp_types::Wall;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// 2026-11-01 00:00 UTC.
const NOVEMBER: u64 = 1_793_491_200_000;

fn at(text: &str) -> Wall {
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().expect("a date");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let days =
        (0..).find(|days| Wall(days * DAY).utc().starts_with(&format!("{year:04}-{month:02}-{day:02}")));
    Wall(days.expect("a day") * DAY)
}

fn november() -> Period {
    Period { from: Wall(NOVEMBER), until: Wall(NOVEMBER + 30 * DAY) }
}

/// From and until in minutes after the beginning of November.
fn seen(from: u64, until: u64, state: State) -> Observed {
    Observed { from: Wall(NOVEMBER + from * MINUTE), until: Wall(NOVEMBER + until * MINUTE), state }
}

/// A VM that is there all the time, and up but for what is observed.
fn up_but(observed: &[Observed]) -> Timeline {
    let mut all = vec![Observed { from: Wall(0), until: Wall(u64::MAX), state: State::Up }];
    all.extend_from_slice(observed);
    Timeline { wanted: vec![(Wall(0), Wall(u64::MAX))], observed: all }
}

fn availability() -> Sla {
    Sla::defaults()[0].clone()
}

fn minutes(found: Availability) -> [u64; 4] {
    [found.up_ms, found.down_ms, found.unknown_ms, found.excluded_ms].map(|ms| ms / MINUTE)
}

#[test]
fn three_and_a_half_nines_of_thirty_days_are_21_minutes_and_36_seconds() {
    let found = assess(&availability(), &[up_but(&[])], november(), Wall(NOVEMBER)).expect("availability");
    assert_eq!(found.budget.allowed_ms, 21 * MINUTE + 36_000);
    let days = |days| {
        let period = Period { from: Wall(NOVEMBER), until: Wall(NOVEMBER + days * DAY) };
        assess(&availability(), &[up_but(&[])], period, Wall(NOVEMBER))
            .expect("availability")
            .budget
            .allowed_ms
    };
    assert_eq!([1, 7, 28, 31, 365].map(days), [43_200, 302_400, 1_209_600, 1_339_200, 15_768_000]);
}

#[test]
fn overlapping_outages_count_once_and_contradictions_count_against_us() {
    let all = 30 * 24 * 60;
    for (observed, expected) in [
        (vec![seen(0, 10, State::Down), seen(5, 15, State::Down)], [all - 15, 15, 0, 0]),
        (
            vec![seen(5, 15, State::Down), seen(0, 10, State::Down), seen(2, 3, State::Down)],
            [all - 15, 15, 0, 0],
        ),
        (vec![seen(0, 10, State::Down), seen(10, 20, State::Down)], [all - 20, 20, 0, 0]),
        (vec![seen(10, 10, State::Down), seen(20, 15, State::Down)], [all, 0, 0, 0]),
        // Down before unknown before up.
        (vec![seen(0, 10, State::Down), seen(5, 15, State::Unknown)], [all - 15, 10, 5, 0]),
        // What lies across the edges of the period counts inside.
        (
            vec![Observed { from: Wall(0), until: Wall(NOVEMBER + MINUTE), state: State::Down }],
            [all - 1, 1, 0, 0],
        ),
        (vec![seen(all - 3, all + 50, State::Unknown)], [all - 3, 0, 3, 0]),
        // Maintenance through which it was up.
        (vec![seen(0, 60, State::Maintenance)], [all, 0, 0, 0]),
        (vec![seen(0, 60, State::Maintenance), seen(10, 20, State::Down)], [all - 10, 10, 0, 0]),
    ] {
        assert_eq!(minutes(measure(&up_but(&observed), november(), false)), expected, "{observed:?}");
    }
}

#[test]
fn maintenance_is_left_out_only_when_that_is_agreed() {
    let all = 30 * 24 * 60;
    let observed = vec![seen(0, 60, State::Maintenance), seen(60, all, State::Up), seen(30, 70, State::Down)];
    let one = Timeline { wanted: vec![(Wall(0), Wall(u64::MAX))], observed };
    assert_eq!(minutes(measure(&one, november(), false)), [all - 70, 70, 0, 0]);
    assert_eq!(minutes(measure(&one, november(), true)), [all - 70, 10, 0, 60]);
    let without = |without_maintenance| {
        let objective = Objective::Availability { target_ppm: 999_500, without_maintenance };
        let found = assess(
            &Sla { objective, ..availability() },
            std::slice::from_ref(&one),
            november(),
            november().until,
        );
        let found = found.expect("availability");
        (found.verdict, found.budget.allowed_ms)
    };
    assert_eq!(without(false), (Verdict::Breached, 1_296_000));
    // What is left out allows nothing either: 43,140 minutes are left.
    assert_eq!(without(true), (Verdict::Met, 1_294_200));
}

#[test]
fn what_nobody_saw_is_not_up() {
    let observed = vec![seen(0, 14_400, State::Up), seen(14_400, 14_410, State::Down)];
    let one = Timeline { wanted: vec![(Wall(0), Wall(u64::MAX))], observed };
    let found = measure(&one, november(), false);
    assert_eq!(minutes(found), [14_400, 10, 43_200 - 14_410, 0]);
    assert_eq!((found.lower_ppm(), found.upper_ppm()), (Some(333_333), Some(999_768)));
    let assessed = assess(&availability(), &[one], november(), november().until).expect("availability");
    assert_eq!(assessed.verdict, Verdict::Unknown);
    assert_eq!(assessed.budget.left_ms(), 1_296_000 - 600_000);
    assert_eq!(Availability::default().lower_ppm(), None);
}

#[test]
fn a_vm_is_measured_while_it_is_there() {
    let wanted = vec![
        (Wall(NOVEMBER + 10 * DAY), Wall(NOVEMBER + 11 * DAY)),
        // Stopped by its owner for nine days, and then for good.
        (Wall(NOVEMBER + 20 * DAY), Wall(NOVEMBER + 21 * DAY)),
    ];
    let one = Timeline { wanted, ..up_but(&[seen(0, 14_401, State::Down)]) };
    let found = assess(&availability(), &[one], november(), november().until).expect("availability");
    assert_eq!(minutes(found.availability), [2 * 1_440 - 1, 1, 0, 0]);
    assert_eq!((found.budget.allowed_ms, found.verdict), (86_400, Verdict::Met));
    let gone = Timeline { wanted: vec![(Wall(0), Wall(NOVEMBER))], ..up_but(&[]) };
    let found = assess(&availability(), &[gone], november(), november().until).expect("availability");
    assert_eq!((found.verdict, found.availability.counted_ms()), (Verdict::Unknown, 0));
}

#[test]
fn the_verdict_follows_what_is_used_up_to_the_millisecond() {
    let now = Wall(NOVEMBER + 20 * DAY);
    for (down_ms, unknown_ms, expected) in [
        (0, 0, Verdict::Met),
        (971_999, 0, Verdict::Met),
        (972_000, 0, Verdict::AtRisk),
        (900_000, 72_000, Verdict::AtRisk),
        (1_296_000, 0, Verdict::AtRisk),
        (1_295_999, 2, Verdict::Unknown),
        (0, DAY, Verdict::Unknown),
        (1_296_001, 0, Verdict::Breached),
        (1_296_001, DAY, Verdict::Breached),
    ] {
        let down = Observed { from: Wall(NOVEMBER), until: Wall(NOVEMBER + down_ms), state: State::Down };
        let unknown =
            Observed { from: down.until, until: Wall(down.until.0 + unknown_ms), state: State::Unknown };
        let found =
            assess(&availability(), &[up_but(&[down, unknown])], november(), now).expect("availability");
        assert_eq!(found.verdict, expected, "{down_ms} {unknown_ms}");
        assert_eq!(found.availability.counted_ms(), 20 * DAY, "what is to come is not measured");
        assert_eq!(found.budget.allowed_ms, 1_296_000, "and counts for what is allowed");
    }
    // A promise of everything allows nothing.
    let objective = Objective::Availability { target_ppm: 1_000_000, without_maintenance: false };
    let sla = Sla { objective, ..availability() };
    let found =
        |observed: &[Observed]| assess(&sla, &[up_but(observed)], november(), now).expect("availability");
    assert_eq!(found(&[]).verdict, Verdict::Met);
    assert_eq!(found(&[seen(1, 2, State::Down)]).verdict, Verdict::Breached);
    assert_eq!(found(&[seen(1, 2, State::Down)]).budget.left_ms(), -60_000);
}

#[test]
fn the_burn_rate_is_one_when_the_budget_lasts_exactly() {
    let window = |up_ms, down_ms| Availability { up_ms, down_ms, ..Availability::default() };
    for (availability, target_ppm, expected) in [
        (window(999_500, 500), 999_500, Some(1_000)),
        (window(999_000, 1_000), 999_500, Some(2_000)),
        (window(0, 3_600_000), 999_500, Some(2_000_000)),
        (window(3_600_000, 0), 999_500, Some(0)),
        (window(0, 0), 999_500, None),
        (window(5, 5), 1_000_000, None),
        (window(u64::MAX / 2, u64::MAX / 2), 999_999, Some(500_000_000)),
    ] {
        assert_eq!(burn_milli(availability, target_ppm), expected, "{availability:?}");
    }
}

#[test]
fn months_are_those_of_the_calendar_with_its_leap_days() {
    for (inside, from, until) in [
        ("2024-02-29", "2024-02-01", "2024-03-01"),
        ("2026-02-28", "2026-02-01", "2026-03-01"),
        ("2100-02-28", "2100-02-01", "2100-03-01"),
        ("2000-02-29", "2000-02-01", "2000-03-01"),
        ("2026-12-31", "2026-12-01", "2027-01-01"),
        ("1970-01-01", "1970-01-01", "1970-02-01"),
    ] {
        assert_eq!(Period::month(at(inside)), Period { from: at(from), until: at(until) }, "{inside}");
        assert_eq!(Period::month(Wall(at(until).0 - 1)), Period { from: at(from), until: at(until) });
    }
    let leap = Period::month(at("2024-02-10"));
    assert_eq!(leap.ms(), 29 * DAY);
    let found = assess(&availability(), &[up_but(&[])], leap, leap.until).expect("availability");
    assert_eq!(found.budget.allowed_ms, 1_252_800);
    let parts = Period { from: at("2023-12-31"), until: at("2024-03-02") }.cut(Step::Month);
    assert_eq!(parts.iter().map(|part| part.ms() / DAY).collect::<Vec<_>>(), [1, 31, 29, 1]);
    let last = Period { from: Wall(u64::MAX - DAY * 2), until: Wall(u64::MAX) }.cut(Step::Day);
    assert_eq!(last.last().map(|part| part.until), Some(Wall(u64::MAX)));
}

#[test]
fn a_history_has_each_day_and_its_parts_add_up() {
    let one = up_but(&[seen(1_430, 1_450, State::Down), seen(4_000, 4_001, State::Unknown)]);
    let period = Period { from: Wall(NOVEMBER + 12 * 60 * MINUTE), until: Wall(NOVEMBER + 3 * DAY) };
    let days = history(&one, period, Step::Day, false);
    let found: Vec<_> = days.iter().map(|(day, found)| (day.ms() / MINUTE, minutes(*found))).collect();
    let expected = [(720, [710, 10, 0, 0]), (1_440, [1_430, 10, 0, 0]), (1_440, [1_439, 0, 1, 0])];
    assert_eq!(found, expected);
    assert_eq!(days.iter().map(|(_, found)| *found).sum::<Availability>(), measure(&one, period, false));
}

#[test]
fn latency_is_judged_by_counts_and_a_bucket_across_the_limit_is_unknown() {
    let sla = Sla::defaults()[1].clone();
    let counts = |counts: &[u64]| LatencyCounts::new(&[50_000, 100_000, 250_000], counts);
    for (of, expected, longer, unknown) in [
        (counts(&[990, 9, 1, 0]), Verdict::Met, 1, 0),
        (counts(&[990, 2, 4, 4]), Verdict::AtRisk, 8, 0),
        (counts(&[990, 0, 10, 0]), Verdict::AtRisk, 10, 0),
        (counts(&[989, 0, 0, 11]), Verdict::Breached, 11, 0),
        (counts(&[0, 0, 0, 0]), Verdict::Met, 0, 0),
        (LatencyCounts::new(&[50_000, 250_000], &[985, 15, 0]), Verdict::Unknown, 0, 15),
        (LatencyCounts::new(&[50_000, 250_000], &[985, 4, 11]), Verdict::Breached, 11, 4),
        (LatencyCounts::new(&[], &[5]), Verdict::Unknown, 0, 5),
    ] {
        let found = latency(&sla, &of).expect("latency");
        assert_eq!((found.verdict, found.longer, found.unknown), (expected, longer, unknown), "{of:?}");
    }
    // More than can be counted is not judged wrong.
    let many = latency(&sla, &LatencyCounts::new(&[10], &[u64::MAX, u64::MAX])).expect("latency");
    assert_eq!(many.requests, u64::MAX);
    // Bounds that differ from region to region: what lies across the limit in one is not certain.
    let mut both = counts(&[980, 0, 0, 0]);
    both.add(&LatencyCounts::new(&[50_000, 1_000_000], &[0, 20, 0]));
    let found = latency(&sla, &both).expect("latency");
    assert_eq!((found.verdict, found.longer, found.unknown), (Verdict::Unknown, 0, 20));
    assert_eq!(found.quantile_us, Some((50_000, Some(1_000_000))));
    assert_eq!(counts(&[990, 9, 1, 0]).quantile_us(990_000), Some((0, Some(50_000))));
    assert_eq!(counts(&[989, 9, 2, 0]).quantile_us(990_000), Some((50_000, Some(100_000))));
    assert_eq!(counts(&[0, 0, 0, 3]).quantile_us(990_000), Some((250_000, None)));
}

#[test]
fn a_promise_is_broken_for_an_hour_when_no_part_of_it_was_kept() {
    let part = |from: u64, until: u64, verdict| {
        let period = Period { from: Wall(from * MINUTE), until: Wall(until * MINUTE) };
        (period, verdict)
    };
    let parts = [
        part(30, 60, Verdict::Breached),
        part(0, 30, Verdict::Breached),
        part(60, 70, Verdict::Unknown),
        part(70, 129, Verdict::Breached),
    ];
    assert_eq!(sustained(&parts, 60 * MINUTE), [(Wall(0), Wall(60 * MINUTE))]);
    assert_eq!(sustained(&parts, 61 * MINUTE), []);
}

fn failover(id: &str, began: u64, took: Option<u64>, loss: Loss) -> FailoverOutcome {
    let began = Wall(NOVEMBER + began);
    FailoverOutcome { id: id.into(), began, ended: took.map(|ms| Wall(began.0 + ms)), loss }
}

#[test]
fn failovers_are_judged_each_for_itself() {
    let [_, _, time, loss] = Sla::defaults();
    let now = Wall(NOVEMBER + DAY + 29_999);
    let none = Loss::Writes(0);
    for (of, in_time, lost) in [
        (vec![], Verdict::Met, Verdict::Met),
        (vec![failover("a", 0, Some(12_000), none)], Verdict::Met, Verdict::Met),
        (vec![failover("a", 0, Some(22_500), none)], Verdict::AtRisk, Verdict::Met),
        (vec![failover("a", 0, Some(29_999), none)], Verdict::AtRisk, Verdict::Met),
        (vec![failover("a", 0, Some(30_000), Loss::Writes(1))], Verdict::Breached, Verdict::Breached),
        (
            vec![failover("a", 0, Some(1), none), failover("b", 1, Some(2), Loss::Unknown)],
            Verdict::Met,
            Verdict::Unknown,
        ),
        // One that goes on.
        (vec![failover("a", DAY, None, Loss::Unknown)], Verdict::AtRisk, Verdict::Unknown),
        (vec![failover("a", DAY - 1, None, none)], Verdict::Breached, Verdict::Met),
        // One of another month.
        (vec![failover("a", 30 * DAY, Some(90_000), Loss::Writes(5))], Verdict::Met, Verdict::Met),
    ] {
        assert_eq!(failover_time(&time, &of, november(), now).expect("a time").verdict, in_time, "{of:?}");
        assert_eq!(data_loss(&loss, &of, november()).expect("a loss").verdict, lost, "{of:?}");
    }
    assert!(
        failover_time(&loss, &[], november(), now).is_none() && data_loss(&time, &[], november()).is_none()
    );
}

#[test]
fn a_breach_says_since_when_and_what_proves_it() {
    let [availability, quick, time, loss] = Sla::defaults();
    let (period, now, who) = (november(), november().until, Subject::Tenant("customer-123".into()));
    let id = || "breach-001".to_owned();
    // Two VMs of one tenant: twice 21.6 minutes are allowed, and spent twice as fast from the fifth minute on.
    let two = [up_but(&[seen(0, 15, State::Down)]), up_but(&[seen(5, 40, State::Down)])];
    let assessed = assess(&availability, &two, period, now).expect("availability");
    assert_eq!((assessed.verdict, assessed.budget.allowed_ms), (Verdict::Breached, 2_592_000));
    let breach = availability_breach(&availability, &who, &two, &assessed, now, id).expect("a breach");
    // 15 minutes of the first, and 28.2 of the second, which began 5 minutes later.
    assert_eq!(breach.at, Wall(NOVEMBER + 5 * MINUTE + 2_592_000 - 15 * MINUTE));
    assert_eq!((&*breach.id, &*breach.sla), ("breach-001", "vm-availability"));
    let outage = |which, from, until| {
        let (from, until) = (Wall(NOVEMBER + from * MINUTE), Wall(NOVEMBER + until * MINUTE));
        Evidence::Outage { which, from, until }
    };
    assert_eq!(breach.evidence, [outage(0, 0, 15), outage(1, 5, 40)]);
    let kept = assess(&availability, &[up_but(&[])], period, now).expect("availability");
    assert_eq!(availability_breach(&availability, &who, &[up_but(&[])], &kept, now, id), None);

    let slow = latency(&quick, &LatencyCounts::new(&[100_000], &[9, 1])).expect("latency");
    let breach = latency_breach(&quick, &who, period, &slow, now, id).expect("a breach");
    assert_eq!(breach.evidence, [Evidence::Requests { requests: 10, longer: 1, allowed: 0 }]);

    let of = [failover("b", 7, Some(40_000), Loss::Writes(9)), failover("a", 0, Some(2), Loss::Writes(0))];
    let found = failover_time(&time, &of, period, now).expect("a time");
    assert_eq!((found.worst_ms, found.failovers), (Some(40_000), 2));
    let breach = failover_breach(&time, &who, period, &of, &found, now, id).expect("a breach");
    assert_eq!(breach.evidence, [Evidence::Failover { id: "b".into(), took_ms: 40_000 }]);
    assert_eq!(breach.at, Wall(NOVEMBER + 7 + 30_000));
    let found = data_loss(&loss, &of, period).expect("a loss");
    let breach = failover_breach(&loss, &who, period, &of, &found, now, id).expect("a breach");
    assert_eq!(breach.evidence, [Evidence::Lost { id: "b".into(), writes_ms: 9 }]);
    assert_eq!(breach.at, Wall(NOVEMBER + 7 + 40_000));
}

#[test]
fn sets_of_moments_hold_what_they_should() {
    let times =
        |parts: &[(u64, u64)]| Times::new(parts.iter().map(|(from, until)| (Wall(*from), Wall(*until))));
    let (one, other) = (times(&[(0, 10), (20, 30)]), times(&[(5, 8), (9, 25), (30, 40)]));
    assert_eq!(one.and(&other), times(&[(5, 8), (9, 10), (20, 25)]));
    assert_eq!(one.minus(&other), times(&[(0, 5), (8, 9), (25, 30)]));
    assert_eq!(one.or(&other), times(&[(0, 40)]));
    assert!(one.minus(&one).is_empty());
}
