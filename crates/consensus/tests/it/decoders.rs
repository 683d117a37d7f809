use crate::world::{Rng, Store, World};
use dwcp_consensus::{Config, GroupSetup, Input, MultiRaft, Output};
use proptest::prelude::*;

fn lone_follower() -> MultiRaft {
    let mut raft = MultiRaft::new(Config::new(1, 1));
    let setup = GroupSetup { group: 3, voters: vec![1, 2, 3], ..GroupSetup::default() };
    raft.open(0, setup, &Store::default()).unwrap();
    raft.step(0, Input::Wake, &mut Vec::new());
    raft
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_from_the_network_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut raft = lone_follower();
        raft.step(1, Input::Message { from: 2, bytes }, &mut Vec::new());
    }

    #[test]
    fn any_frame_with_a_true_header_is_survived(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut raft = lone_follower();
        let mut bytes = vec![1, body.len() as u8 + 1, 3];
        bytes.extend(body);
        raft.step(1, Input::Message { from: 2, bytes }, &mut Vec::new());
    }

    #[test]
    fn flipped_bits_in_real_packets_are_survived(seed in 0u64..1000, flips in 1usize..4) {
        let mut rng = Rng::new(seed);
        for (to, from, bytes) in real_packets() {
            let mut raft = follower_of(to);
            let mut bytes = bytes.clone();
            for _ in 0..flips {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
            let mut out = Vec::new();
            raft.step(1, Input::Message { from, bytes }, &mut out);
            for tick in 1..4 {
                raft.step(tick * 50_000, Input::Persisted { seq: tick }, &mut out);
            }
        }
    }

    #[test]
    fn any_damage_to_the_disk_is_survived(seed in 0u64..1000, flips in 1usize..6) {
        let mut rng = Rng::new(seed);
        let mut store = used_store();
        for _ in 0..flips {
            let at = rng.below(store.0.len() as u64) as usize;
            let key = store.0.keys().nth(at).cloned().unwrap();
            match rng.below(3) {
                0 => {
                    store.0.remove(&key);
                }
                1 => {
                    let value = store.0.get_mut(&key).unwrap();
                    let at = rng.below(value.len() as u64) as usize;
                    if let Some(byte) = value.get_mut(at) {
                        *byte ^= 1 << rng.below(8);
                    }
                }
                _ => {
                    let value = store.0.get_mut(&key).unwrap();
                    let len = rng.below(value.len() as u64) as usize;
                    value.truncate(len);
                }
            }
            if store.0.is_empty() {
                break;
            }
        }
        let mut raft = MultiRaft::new(Config::new(1, 1));
        let setup = GroupSetup { group: 1, voters: vec![1, 2, 3, 4, 5], ..GroupSetup::default() };
        raft.open(0, setup, &store).unwrap();
        for tick in 0..60 {
            raft.step(tick * 50_000, Input::Persisted { seq: tick }, &mut Vec::new());
        }
    }
}

fn follower_of(to: u64) -> MultiRaft {
    let mut raft = MultiRaft::new(Config::new(to, 1));
    for group in [0, 1, 2, 4] {
        let setup = GroupSetup { group, voters: vec![1, 2, 3, 4, 5], ..GroupSetup::default() };
        raft.open(0, setup, &Store::default()).unwrap();
    }
    raft
}

thread_local! {
    static USED: (Store, Vec<(u64, u64, Vec<u8>)>) = {
        let mut world = World::new(1, |config| {
            config.snapshot_every_entries = 20;
            config.keep_entries = 5;
        });
        world.run_for(5_000_000);
        let mut packets = Vec::new();
        for _ in 0..40 {
            for group in [0, 1, 2, 4] {
                let ticket = world.ticket();
                let now = world.now_us;
                let raft = world.nodes.get_mut(&1).unwrap().raft.as_mut().unwrap();
                let mut out = Vec::new();
                raft.step(now, Input::Propose { group, ticket, data: vec![7; 40] }, &mut out);
                for output in out {
                    if let Output::Send { to, bytes } = &output {
                        packets.push((*to, 1, bytes.clone()));
                    }
                    world.obey(1, output);
                }
            }
            world.run_for(200_000);
        }
        world.crash(1);
        packets.truncate(12);
        (world.nodes[&1].store.clone(), packets)
    };
}

fn used_store() -> Store {
    USED.with(|used| used.0.clone())
}

fn real_packets() -> Vec<(u64, u64, Vec<u8>)> {
    USED.with(|used| used.1.clone())
}
