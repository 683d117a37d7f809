//! Promises: what holds for any observations.

use dwcp_decide::sla::{
    Availability, Observed, Period, Sla, State, Step, Timeline, Times, Verdict, assess, history, measure,
};
use dwcp_types::Wall;
use proptest::prelude::*;

fn observed() -> impl Strategy<Value = Observed> {
    let states = [State::Up, State::Down, State::Unknown, State::Maintenance];
    (0u64..300, 0u64..60, 0usize..4).prop_map(move |(from, more, state)| Observed {
        from: Wall(from),
        until: Wall(from + more),
        state: states[state],
    })
}

fn timeline() -> impl Strategy<Value = Timeline> {
    let wanted = proptest::collection::vec((0u64..300, 0u64..120), 0..3);
    (wanted, proptest::collection::vec(observed(), 0..12)).prop_map(|(wanted, observed)| Timeline {
        wanted: wanted.into_iter().map(|(from, more)| (Wall(from), Wall(from + more))).collect(),
        observed,
    })
}

/// Looks at every moment by itself.
fn moment_by_moment(timeline: &Timeline, period: Period, without_maintenance: bool) -> Availability {
    let mut found = Availability::default();
    for at in (period.from.0..period.until.0).map(Wall) {
        let during = |(from, until): (Wall, Wall)| from <= at && at < until;
        let is =
            |state| timeline.observed.iter().any(|one| one.state == state && during((one.from, one.until)));
        let counted = if !timeline.wanted.iter().any(|one| during(*one)) {
            continue;
        } else if without_maintenance && is(State::Maintenance) {
            &mut found.excluded_ms
        } else if is(State::Down) {
            &mut found.down_ms
        } else if is(State::Unknown) {
            &mut found.unknown_ms
        } else if is(State::Up) {
            &mut found.up_ms
        } else if is(State::Maintenance) {
            &mut found.down_ms
        } else {
            &mut found.unknown_ms
        };
        *counted += 1;
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn availability_is_what_each_moment_says(
        one in timeline(),
        (from, until) in (0u64..350, 0u64..350),
        without in any::<bool>(),
    ) {
        let period = Period { from: Wall(from), until: Wall(until) };
        prop_assert_eq!(measure(&one, period, without), moment_by_moment(&one, period, without));
    }

    #[test]
    fn the_order_of_observations_makes_no_difference(one in timeline(), seed in any::<u64>()) {
        let mut other = one.clone();
        let mut rng = dwcp_types::Rng::new(seed);
        for last in (1..other.observed.len()).rev() {
            other.observed.swap(last, rng.below(last as u64 + 1) as usize);
        }
        other.wanted.reverse();
        let period = Period { from: Wall(0), until: Wall(400) };
        for without in [false, true] {
            prop_assert_eq!(measure(&one, period, without), measure(&other, period, without));
        }
        let pairs = |timeline: &Timeline| Times::new(timeline.observed.iter().map(|one| (one.from, one.until)));
        prop_assert_eq!(pairs(&one), pairs(&other));
    }

    #[test]
    fn the_parts_of_a_period_add_up_to_it(one in timeline(), mut cuts in proptest::collection::vec(0u64..400, 0..6)) {
        cuts.extend([0, 400]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| Period { from: Wall(pair[0]), until: Wall(pair[1]) });
        let sum: Availability = parts.map(|part| measure(&one, part, true)).sum();
        prop_assert_eq!(sum, measure(&one, Period { from: Wall(0), until: Wall(400) }, true));
    }

    #[test]
    fn days_add_up_to_the_period(from in 0u64..5_000_000_000, more in 0u64..500_000_000, down in 0u64..500_000_000) {
        let period = Period { from: Wall(from), until: Wall(from + more) };
        let state = State::Down;
        let observed = vec![Observed { from: Wall(from + down / 3), until: Wall(from + down), state }];
        let one = Timeline { wanted: vec![(Wall(0), Wall(u64::MAX))], observed };
        for step in [Step::Day, Step::Month] {
            let days = history(&one, period, step, false);
            prop_assert!(days.windows(2).all(|pair| pair[0].0.until == pair[1].0.from));
            prop_assert_eq!(days.into_iter().map(|(_, part)| part).sum::<Availability>(), measure(&one, period, false));
        }
    }

    #[test]
    fn availability_is_a_part_of_the_whole_and_knowing_more_only_narrows_it(one in timeline(), now in 0u64..500) {
        let period = Period { from: Wall(0), until: Wall(400) };
        let found = measure(&one, period, false);
        if let (Some(lower), Some(upper)) = (found.lower_ppm(), found.upper_ppm()) {
            prop_assert!(lower <= upper && upper <= 1_000_000);
        }
        let sla = &Sla::defaults()[0];
        let verdict = assess(sla, std::slice::from_ref(&one), period, Wall(now)).expect("availability").verdict;
        // All that was not known turns out as up, or as down: the verdict was right.
        for (state, kept) in [(State::Up, true), (State::Down, false)] {
            let mut known = one.clone();
            known.observed.retain(|one| one.state != State::Unknown);
            let seen: Vec<_> = one.observed.iter().filter(|one| one.state != State::Unknown).copied().collect();
            let gaps = Times::new([(Wall(0), Wall(400))]).minus(&Times::new(
                seen.iter().map(|one| (one.from, one.until)),
            ));
            let gaps = gaps.or(&Times::new(
                one.observed.iter().filter(|one| one.state == State::Unknown).map(|one| (one.from, one.until)),
            ));
            let keep = |time: &Times| time.iter().map(|(from, until)| Observed { from, until, state }).collect::<Vec<_>>();
            known.observed.extend(keep(&gaps));
            let then = assess(sla, &[known], period, Wall(now)).expect("availability");
            match (verdict, kept) {
                (Verdict::Breached, _) => prop_assert_eq!(then.verdict, Verdict::Breached),
                (Verdict::Met | Verdict::AtRisk, _) => prop_assert!(then.verdict <= Verdict::AtRisk),
                (Verdict::Unknown, true) => prop_assert!(
                    then.verdict != Verdict::Breached || then.availability.counted_ms() == 0
                ),
                (Verdict::Unknown, false) => prop_assert!(
                    then.verdict == Verdict::Breached || then.availability.counted_ms() == 0
                ),
            }
        }
    }
}
