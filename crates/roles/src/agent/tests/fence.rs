//! Leases, fences, memory of intents.

use super::*;

/// How often the agent introduced itself, and what it last said that it acts on.
fn introductions(world: &World) -> (usize, (u64, u64)) {
    let said = world.effects.iter().filter_map(|effect| match effect {
        Effect::Send(AgentMessage::Hello(hello)) => Some((hello.term, hello.revision)),
        _ => None,
    });
    let hellos: Vec<(u64, u64)> = said.collect();
    (hellos.len(), hellos.last().copied().unwrap_or_default())
}

#[test]
fn an_agent_whose_introduction_was_lost_introduces_itself_again() {
    let mut world = World::leased();
    assert_eq!(introductions(&world).0, 1);
    world.pass_led(5_000);
    assert_eq!(introductions(&world).0, 1, "its renewals are answered");
    world.pass(7_000);
    let (times, acted_on) = introductions(&world);
    assert!((3..=4).contains(&times), "about every two seconds: {times}");
    assert_eq!(acted_on, (1, world.revision));
}

#[test]
fn an_agent_that_nobody_welcomed_introduces_itself_again_although_its_renewals_are_granted() {
    let mut world = World::new();
    world.input(Input::Connected);
    world.want(Vec::new());
    world.pass_led(2_000);
    let (times, _) = introductions(&world);
    assert!((3..=5).contains(&times), "with its renewals: {times}");
    world.hear(ControllerMessage::Welcome(Welcome { lease_ms: 3_000, ..Welcome::default() }));
    world.pass_led(3_000);
    assert_eq!(introductions(&world).0, times, "it is known now");
    world.input(Input::Disconnected);
    world.input(Input::Connected);
    world.pass_led(1_100);
    assert!(introductions(&world).0 >= times + 2, "each connection needs a welcome of its own");
}

#[test]
fn a_restarted_agent_acts_on_nothing_until_intents_came_and_says_so() {
    let seen = Seen { newest: (1, 7), ..Seen::default() };
    let mut world = World::with(seen, Vec::new(), 0);
    world.revision = 7;
    world.input(Input::Connected);
    assert_eq!(introductions(&world).1, (0, 0));
    assert_eq!((world.renewal().term, world.renewal().revision), (0, 0));
    world.want(vec![intent(1, 1)]);
    world.pass(500);
    assert_eq!((world.renewal().term, world.renewal().revision), (1, 8));
}

#[test]
fn nothing_starts_without_a_lease() {
    let mut world = World::new();
    world.input(Input::Connected);
    world.want(vec![intent(1, 1)]);
    world.pass(5_000);
    assert_eq!(world.launches(), vec![]);
    assert_eq!(world.phase(1), Some(Phase::Pending));
    world.grant();
    assert_eq!(world.launches(), vec![(1, 1)]);
}

#[test]
fn the_lease_counts_from_before_the_renewal_was_sent_and_never_shortens() {
    let mut world = World::leased();
    world.pass(600);
    let sent_us = world.agent.last_renew_us;
    let first = world.renewal().seq;
    world.pass(300);
    let grant = |seq, lease_ms| {
        ControllerMessage::Grant(Grant { seq, lease_ms, term: 1, revision: 1, ..Grant::default() })
    };
    world.hear(grant(first, 3_000));
    assert_eq!(world.agent.lease_until_us(), sent_us + 3_000 * MS);
    assert!(world.effects.contains(&Effect::SetLease { until_us: sent_us + 3_000 * MS }));
    world.hear(grant(first, 9_000));
    assert_eq!(world.agent.lease_until_us(), sent_us + 3_000 * MS, "a renewal is granted once");
    world.pass(400);
    world.hear(grant(world.renewal().seq, 1_000));
    assert_eq!(world.agent.lease_until_us(), sent_us + 3_000 * MS, "a shorter one changes nothing");
    world.hear(grant(12_345, 60_000));
    assert_eq!(world.agent.lease_until_us(), sent_us + 3_000 * MS, "an unknown renewal can't be dated");
}

#[test]
fn when_the_lease_runs_out_vms_are_held_and_later_killed() {
    let mut world = World::leased();
    world.running(1, 1);
    let until_us = world.agent.lease_until_us();
    world.pass((until_us - world.now_us) / MS - 1);
    assert_eq!(world.count(|e| *e == Effect::FenceNow), 0);
    world.pass(1);
    assert_eq!(world.count(|e| *e == Effect::FenceNow), 1);
    assert_eq!(world.report(1).phase, Phase::Paused);
    assert_eq!(world.report(1).healthy, Health::Unknown);
    world.pass(2_999);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 0);
    world.pass(1);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 1);
    world.exited(1, 1);
    assert_eq!(world.phase(1), Some(Phase::Failed));
    world.pass(10_000);
    assert_eq!(world.launches(), vec![], "not without a lease");
    world.grant();
    assert_eq!(world.launches(), vec![(1, 1)], "at once with one: the fence was no fault of its own");
}

#[test]
fn a_lease_that_comes_back_lets_wanted_vms_go_on() {
    let mut world = World::leased();
    world.running(1, 1);
    world.pass(4_000);
    assert_eq!(world.phase(1), Some(Phase::Paused));
    world.grant();
    assert_eq!(world.count(|e| *e == Effect::Resume { vm: VM, generation: 1 }), 1);
    assert_eq!(world.phase(1), Some(Phase::Running));
    assert_eq!(world.report(1).healthy, Health::Unknown, "until it answers again");
    let lease = world.effects.iter().position(|e| matches!(e, Effect::SetLease { .. }));
    let resume = world.effects.iter().position(|e| matches!(e, Effect::Resume { .. }));
    assert!(lease < resume, "the watchdog must know the lease before it lets the VM go on");
}

#[test]
fn a_lease_that_comes_back_revives_nothing_that_was_moved_meanwhile() {
    let mut world = World::leased();
    world.running(1, 1);
    world.pass(4_000);
    // The leader has moved the VM away; its grant overtakes its new intents.
    let seq = world.renewal().seq;
    world.hear(ControllerMessage::Grant(Grant {
        seq,
        lease_ms: 3_000,
        term: 1,
        revision: 9,
        ..Grant::default()
    }));
    assert_eq!(world.count(|e| matches!(e, Effect::Resume { .. } | Effect::SetLease { .. })), 0);
    world.revision = 8;
    world.want(Vec::new());
    assert_eq!(world.count(|e| matches!(e, Effect::SetLease { .. })), 1, "now the grant counts");
    assert_eq!(world.count(|e| matches!(e, Effect::Resume { .. })), 0);
    assert_eq!(world.count(|e| *e == kill(1, 1)), 1);
    world.exited(1, 1);
    assert_eq!(world.count(|e| *e == Effect::Remove { vm: VM, generation: 1 }), 1);
    assert_eq!(world.phase(1), None);
}

#[test]
fn intents_older_than_those_acted_on_are_ignored_also_after_a_restart() {
    let mut world = World::leased();
    world.hear(ControllerMessage::Intents(Intents {
        term: 2,
        revision: 7,
        vms: vec![intent(1, 4)],
        replicas: Vec::new(),
    }));
    let saved = world
        .effects
        .iter()
        .find_map(|e| if let Effect::SaveSeen(seen) = e { Some(seen.clone()) } else { None });
    let saved = saved.map(|_| world.agent.seen.clone()).expect("saved");
    let save = world.effects.iter().rposition(|e| matches!(e, Effect::SaveSeen(_)));
    let launch = world.effects.iter().position(|e| matches!(e, Effect::Launch { .. }));
    assert!(save < launch, "remembered before it is acted on");
    for pair in [(2, 6), (1, 99)] {
        world.hear(ControllerMessage::Intents(Intents {
            term: pair.0,
            revision: pair.1,
            vms: Vec::new(),
            replicas: Vec::new(),
        }));
        assert_eq!(world.count(|e| matches!(e, Effect::Kill { .. })), 0, "{pair:?}");
    }
    let mut restarted = World::with(saved, Vec::new(), 60_000_000);
    restarted.input(Input::Connected);
    restarted.hear(ControllerMessage::Intents(Intents {
        term: 2,
        revision: 6,
        vms: vec![intent(5, 1)],
        replicas: Vec::new(),
    }));
    assert_eq!(restarted.launches(), vec![]);
    restarted.hear(ControllerMessage::Intents(Intents {
        term: 2,
        revision: 7,
        vms: vec![intent(1, 4)],
        replicas: Vec::new(),
    }));
    assert_eq!(restarted.launches(), vec![(1, 4)]);
}

#[test]
fn an_older_generation_than_ever_seen_is_never_acted_on() {
    let mut world = World::leased();
    world.want(vec![intent(1, 5)]);
    world.launched(1, 5);
    world.want(vec![intent(1, 4)]);
    assert_eq!(world.count(|e| matches!(e, Effect::Kill { .. })), 0, "what runs is newer");
    world.exited(1, 5);
    world.pass_led(2_000);
    assert_eq!(world.launches(), vec![(1, 5)], "and it is not started");
    let mut gone = World::with(world.agent.seen.clone(), Vec::new(), 60_000_000);
    gone.revision = world.revision;
    gone.want(vec![intent(1, 4)]);
    assert_eq!(gone.launches(), vec![]);
    assert_eq!(gone.phase(1), None);
}

#[cfg(feature = "mutations")]
#[test]
fn the_mutation_acts_on_an_older_generation() {
    let mut world = World::leased();
    world.agent.mutate(Mutation::IgnoreGeneration);
    world.want(vec![intent(1, 5)]);
    world.want(Vec::new());
    world.exited(1, 5);
    world.hear(ControllerMessage::Intents(Intents {
        term: 0,
        revision: 0,
        vms: vec![intent(1, 4)],
        replicas: Vec::new(),
    }));
    assert_eq!(world.launches(), vec![(1, 5), (1, 4)]);
}

#[test]
fn a_vm_that_the_watchdog_held_by_itself_goes_on_when_the_lease_holds() {
    let mut world = World::leased();
    world.running(1, 1);
    world.input(Input::Held { vm: VM });
    assert_eq!(world.count(|e| *e == Effect::Resume { vm: VM, generation: 1 }), 1);
    assert_eq!(world.phase(1), Some(Phase::Running));
}

fn adopted(paused: bool) -> Adopted {
    Adopted {
        vm: VM,
        generation: 3,
        spec: http(),
        slot: 2,
        boot_id: "b".into(),
        process: true,
        paused,
        incoming: 0,
        copied: false,
    }
}

#[test]
fn adopted_vms_stay_untouched_until_the_leader_speaks() {
    let seen = Seen { newest: (1, 4), generations: [(VM, 3)].into(), ..Seen::default() };
    let mut world = World::with(seen, vec![adopted(false)], 3_000_000);
    world.input(Input::Connected);
    world.pass(500);
    let touches =
        |e: &Effect| matches!(e, Effect::Kill { .. } | Effect::Launch { .. } | Effect::Remove { .. });
    assert_eq!(world.count(touches), 0);
    assert_eq!(world.report(1).address, "127.77.1.34:8080");
    world.answered(1, 3);
    assert_eq!(world.phase(1), Some(Phase::Running));
    world.revision = 3;
    world.want(vec![intent(1, 3)]);
    world.grant();
    assert_eq!(world.count(touches), 0);
    assert!(world.agent.has_lease(world.now_us));
}

#[test]
fn an_adopted_vm_that_dies_before_the_leader_speaks_waits_for_it() {
    let seen = Seen { newest: (1, 4), generations: [(VM, 3)].into(), ..Seen::default() };
    let mut world = World::with(seen, vec![adopted(false)], 9_000_000);
    world.exited(1, 3);
    world.pass(2_000);
    assert_eq!(world.launches(), vec![]);
    world.revision = 4;
    world.want(vec![intent(1, 3)]);
    assert_eq!(world.launches(), vec![(1, 3)]);
}

#[test]
fn an_adopted_vm_that_is_held_waits_for_intents_before_it_goes_on() {
    let seen = Seen { newest: (1, 4), generations: [(VM, 3)].into(), ..Seen::default() };
    let mut world = World::with(seen, vec![adopted(true)], 0);
    world.input(Input::Connected);
    world.revision = 4;
    world.grant();
    assert_eq!(world.count(|e| matches!(e, Effect::Resume { .. })), 0);
    world.revision = 3;
    world.want(vec![intent(1, 3)]);
    assert_eq!(world.count(|e| matches!(e, Effect::Resume { .. })), 1);
}

/// Lets the lease run low and returns the time of the first question.
fn asked(world: &mut World) -> u64 {
    world.effects.clear();
    for _ in 0..3_000 {
        world.pass(1);
        if world.effects.contains(&Effect::AskVoters { nodes: vec![1, 2, 3] }) {
            return world.now_us;
        }
    }
    panic!("the voters were never asked");
}

fn answer(world: &mut World, asked_at_us: u64, states: [VoterState; 3]) {
    let answers = (1..).zip(states).collect();
    world.input(Input::VoterAnswers { asked_at_us, answers });
}

/// Has known leaders for longer than anybody asks.
const OLD: VoterState = VoterState::NotLeader { led_ms: u64::MAX };
const ALL_DEAD: [VoterState; 3] = [VoterState::Dead, VoterState::Dead, VoterState::Dead];

#[test]
fn voters_are_asked_when_little_of_the_lease_is_left() {
    let mut world = World::leased();
    world.running(1, 1);
    let until_us = world.agent.lease_until_us();
    let asked_us = asked(&mut world);
    assert_eq!(until_us - asked_us, 1_800 * MS);
    world.effects.clear();
    world.pass(400);
    assert_eq!(world.count(|e| matches!(e, Effect::AskVoters { .. })), 1, "and again while it falls");
}

#[test]
fn with_every_voter_accounted_for_twice_the_lease_goes_on() {
    let mut world = World::leased();
    world.running(1, 1);
    for _ in 0..20 {
        let first_us = asked(&mut world);
        world.pass(30);
        answer(&mut world, first_us, ALL_DEAD);
        let second_us = asked(&mut world);
        world.pass(30);
        answer(&mut world, second_us, [VoterState::Dead, OLD, VoterState::Dead]);
        assert!(world.agent.lease_until_us() >= first_us + 3_000 * MS);
        assert!(world.agent.lease_until_us() <= second_us + 3_000 * MS);
    }
    assert_eq!(world.phase(1), Some(Phase::Running));
}

#[test]
fn voters_that_have_just_known_a_leader_keep_the_lease_for_as_long_as_they_could_count() {
    let young = |led_ms| VoterState::NotLeader { led_ms };
    // Of three, the second youngest counts: every majority has one that knew no leader before.
    for (states, majority_led_ms) in [
        ([young(300), young(500), young(700)], 500),
        ([young(500), young(300), OLD], 500),
        ([VoterState::Dead, young(500), OLD], 500),
    ] {
        let mut world = World::leased();
        world.running(1, 1);
        let first_us = asked(&mut world);
        world.pass(30);
        answer(&mut world, first_us, states);
        let second_us = asked(&mut world);
        world.pass(30);
        let led_ms = (second_us - first_us) / MS;
        let older = states.map(|state| match state {
            VoterState::NotLeader { led_ms: before } => young(before.saturating_add(led_ms)),
            other => other,
        });
        answer(&mut world, second_us, older);
        assert_eq!(world.agent.lease_until_us(), first_us + (3_000 - majority_led_ms) * MS, "{states:?}");
    }
}

#[test]
fn voters_that_have_known_no_leader_yet_keep_the_lease_as_dead_ones_do() {
    let mut world = World::leased();
    world.running(1, 1);
    for _ in 0..20 {
        let mut first_us = 0;
        for _ in 0..2 {
            let at_us = asked(&mut world);
            first_us = if first_us == 0 { at_us } else { first_us };
            world.pass(30);
            answer(&mut world, at_us, [VoterState::NotLeader { led_ms: 0 }; 3]);
        }
        assert!(world.agent.lease_until_us() >= first_us + 3_000 * MS);
    }
    assert_eq!(world.phase(1), Some(Phase::Running));
}

#[test]
fn voters_that_had_a_leader_for_as_long_as_a_lease_keep_nothing() {
    let mut world = World::leased();
    let until_us = world.agent.lease_until_us();
    for round in 0..2 {
        let at_us = asked(&mut world);
        world.pass(30);
        answer(&mut world, at_us, [VoterState::NotLeader { led_ms: 1_800 + round * 400 }; 3]);
    }
    assert_eq!(world.agent.lease_until_us(), until_us);
}

#[test]
fn one_round_of_answers_keeps_nothing() {
    let mut world = World::leased();
    let until_us = world.agent.lease_until_us();
    let first_us = asked(&mut world);
    world.pass(30);
    answer(&mut world, first_us, ALL_DEAD);
    answer(&mut world, first_us + 10 * MS, ALL_DEAD);
    assert_eq!(world.agent.lease_until_us(), until_us, "a second round must begin after the first ended");
}

#[test]
fn silence_a_leader_or_a_living_majority_keep_nothing() {
    use VoterState::{Dead, Silent};
    for states in [[Dead, Dead, Silent], [Dead, Dead, VoterState::Leader { led_ms: 100 }], [Dead, OLD, OLD]] {
        let mut world = World::leased();
        let until_us = world.agent.lease_until_us();
        for _ in 0..2 {
            let at_us = asked(&mut world);
            world.pass(30);
            answer(&mut world, at_us, states);
        }
        assert_eq!(world.agent.lease_until_us(), until_us, "{states:?}");
    }
}

#[test]
fn a_leader_that_came_after_the_first_round_lets_that_round_count_and_one_that_came_before_does_not() {
    for (after_ms, counts) in [(100_u64, true), (0, false)] {
        let mut world = World::leased();
        let until_us = world.agent.lease_until_us();
        let first_us = asked(&mut world);
        world.pass(30);
        answer(&mut world, first_us, ALL_DEAD);
        let ended_us = world.now_us;
        let second_us = asked(&mut world);
        // What its clock tells may be short of the time that passed here.
        let led_ms = (second_us - ended_us) / MS - after_ms;
        world.pass(30);
        let leads = |led_ms| [VoterState::Leader { led_ms }, VoterState::NotLeader { led_ms: 0 }, OLD];
        answer(&mut world, second_us, leads(led_ms));
        let kept_us = if counts { first_us + 3_000 * MS } else { until_us };
        assert_eq!(world.agent.lease_until_us(), kept_us, "elected {after_ms} ms after the first round");
        // Its round is no first one: who led then may count what voters said before.
        let third_us = asked(&mut world);
        world.pass(30);
        answer(&mut world, third_us, ALL_DEAD);
        assert_eq!(world.agent.lease_until_us(), kept_us);
    }
}

#[test]
fn a_lease_that_ran_out_is_not_brought_back_by_dead_voters() {
    let mut world = World::leased();
    let first_us = asked(&mut world);
    world.pass(30);
    answer(&mut world, first_us, ALL_DEAD);
    let second_us = asked(&mut world);
    world.pass(2_000);
    answer(&mut world, second_us, ALL_DEAD);
    assert!(!world.agent.has_lease(world.now_us));
}

/// What the agent remembers of a group of five voters with this lease, as it was saved last.
fn remembered(lease_ms: u64) -> Seen {
    let mut world = World::leased();
    world.hear(ControllerMessage::Welcome(Welcome {
        lease_ms,
        voters: (1..=5).collect(),
        ..Welcome::default()
    }));
    let saved = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::SaveSeen(seen) => Some(seen.clone()),
        _ => None,
    });
    saved.expect("it was saved")
}

/// Has the agent ask twice, with these nodes dead and the others of seven not leading.
fn two_rounds(world: &mut World, dead: &[NodeId]) -> u64 {
    let states = |node| if dead.contains(&node) { VoterState::Dead } else { OLD };
    let answers: Vec<_> = (1..=7).map(|node| (node, states(node))).collect();
    let mut first_us = 0;
    for _ in 0..2 {
        world.effects.clear();
        while world.count(|effect| matches!(effect, Effect::AskVoters { .. })) == 0
            && world.agent.has_lease(world.now_us)
        {
            world.pass(1);
        }
        let asked_at_us = world.now_us;
        first_us = if first_us == 0 { asked_at_us } else { first_us };
        world.pass(30);
        world.input(Input::VoterAnswers { asked_at_us, answers: answers.clone() });
    }
    first_us
}

#[test]
fn a_restarted_agent_counts_the_voters_that_a_leader_named_and_no_others() {
    // Four of seven nodes are dead, but only two of five voters: the others may elect a leader.
    let mut world = World::with(remembered(3_000), Vec::new(), 3_000 * MS);
    two_rounds(&mut world, &[1, 2, 6, 7]);
    assert_eq!(world.agent.lease_until_us(), 3_000 * MS);
    let mut world = World::with(remembered(3_000), Vec::new(), 3_000 * MS);
    let first_us = two_rounds(&mut world, &[1, 2, 3]);
    assert_eq!(world.agent.lease_until_us(), first_us + 3_000 * MS, "three of five are a majority");
}

#[test]
fn a_restarted_agent_keeps_a_lease_by_the_length_that_a_leader_told() {
    let mut world = World::with(remembered(2_000), Vec::new(), 2_500 * MS);
    let first_us = two_rounds(&mut world, &[1, 2, 3, 4, 5]);
    assert_eq!(first_us, 2_500 * MS - 1_200 * MS);
    assert_eq!(world.agent.lease_until_us(), first_us + 2_000 * MS);
}

#[test]
fn an_agent_that_no_leader_has_told_of_its_voters_keeps_no_lease() {
    let mut world = World::with(Seen::default(), Vec::new(), 3_000 * MS);
    two_rounds(&mut world, &[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(world.agent.lease_until_us(), 3_000 * MS);
    assert_eq!(world.count(|effect| matches!(effect, Effect::AskVoters { .. })), 0, "it knows nobody to ask");
}

#[test]
fn two_rounds_about_different_voters_prove_nothing() {
    let mut world = World::with(remembered(3_000), Vec::new(), 3_000 * MS);
    let dead: Vec<_> = (1..=7).map(|node| (node, VoterState::Dead)).collect();
    world.pass(1_000);
    world.input(Input::VoterAnswers { asked_at_us: world.now_us - 10 * MS, answers: dead.clone() });
    world.hear(ControllerMessage::Welcome(Welcome {
        lease_ms: 3_000,
        voters: vec![5, 6, 7],
        ..Welcome::default()
    }));
    world.pass(100);
    world.input(Input::VoterAnswers { asked_at_us: world.now_us - 10 * MS, answers: dead });
    assert_eq!(world.agent.lease_until_us(), 3_000 * MS);
}

#[test]
fn what_an_older_version_remembered_is_read() {
    let older = Seen { newest: (3, 9), generations: [(VM, 4)].into(), ..Seen::default() };
    assert_eq!(dwcp_types::decode::<Seen>(&[1, 2, 3, 9, 2, 3, 1, 1, 4, 0]), Ok(older.clone()));
    let newer = Seen { voters: vec![1, 2], lease_ms: 3_000, ..older };
    assert_eq!(dwcp_types::decode::<Seen>(&dwcp_types::encode(&newer)), Ok(newer));
}
