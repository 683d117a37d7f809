//! How much may be under way to a follower.

use dwcp_consensus::Input;

use crate::world::World;

/// Entries that were sent to the follower that has the most under way, and not answered.
fn under_way(world: &World, leader: u64) -> u64 {
    let peers = world.status(leader, 1).peers;
    peers.iter().map(|peer| peer.next - peer.matched - 1).max().unwrap_or(0)
}

#[test]
fn a_leader_sends_as_many_appends_as_it_is_told_before_the_first_is_answered() {
    let mut world = World::of_groups(5, |_| {}, vec![1]);
    world.run_until(20_000_000, "a leader", |world| world.leader(1).is_some());
    world.run_for(5_000_000);
    for (most, least_under_way) in [(4, 3), (40, 30), (4, 3)] {
        let leader = world.leader(1).expect("a leader");
        world.input(leader, Input::AppendMessages { most });
        world.run_for(5_000_000);
        assert_eq!(under_way(&world, leader), 0, "all is answered");
        // No time passes meanwhile: nothing is answered.
        for _ in 0..60 {
            world.propose(leader, 1);
        }
        let seen = under_way(&world, leader);
        assert!((least_under_way..=u64::from(most)).contains(&seen), "of at most {most}: {seen}");
        world.run_for(10_000_000);
    }
    world.heal_and_check();
}
