//! Controllers and routers beside the region's node on this host.

use super::*;
use crate::protocol::{HelperKind, HelpersWanted};

fn wanted(count: u32, mesh: &str) -> ControllerMessage {
    ControllerMessage::Controllers(HelpersWanted { count, node: 1, mesh: mesh.into() })
}

fn world(most: u32) -> World {
    let mut config = config();
    config.hello.controllers = most;
    let agent = Agent::new(config, Seen::default(), Vec::new(), 0, 1_000_000);
    let mut world = World { agent, now_us: 1_000_000, effects: Vec::new(), revision: 0 };
    world.input(Input::Connected);
    world
}

/// What is to be done about controllers; every start succeeds, under a process number of its own.
fn settle(world: &mut World, pid: &mut u32) -> (Vec<u8>, Vec<u8>) {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    loop {
        let mut events = Vec::new();
        for effect in std::mem::take(&mut world.effects) {
            match effect {
                Effect::Helpers(HelpersEffect::Start { kind, slot, .. }) => {
                    *pid += 1;
                    starts.push(slot);
                    events.push(HelpersEvent::Started { kind, slot, result: Ok(*pid) });
                }
                Effect::Helpers(HelpersEffect::End { kind, slot }) => {
                    ends.push(slot);
                    events.push(HelpersEvent::Ended { kind, slot, reason: "killed".into() });
                }
                _ => {}
            }
        }
        if events.is_empty() {
            return (starts, ends);
        }
        events.into_iter().for_each(|event| world.input(Input::Helpers(event)));
    }
}

#[test]
fn as_many_run_as_are_wanted_and_no_more_than_the_host_allows() {
    let (mut world, mut pid) = (world(2), 100);
    world.input(Input::Tick);
    assert_eq!(settle(&mut world, &mut pid), (vec![], vec![]), "nobody wants one");
    world.hear(wanted(5, "10.0.0.1:7443"));
    assert_eq!(settle(&mut world, &mut pid), (vec![0, 1], vec![]));
    world.hear(wanted(5, "10.0.0.1:7443"));
    assert_eq!(settle(&mut world, &mut pid), (vec![], vec![]), "they run already");
    world.hear(wanted(1, "10.0.0.1:7443"));
    assert_eq!(settle(&mut world, &mut pid), (vec![], vec![1]));
    world.hear(wanted(0, "10.0.0.1:7443"));
    assert_eq!(settle(&mut world, &mut pid), (vec![], vec![0]));
}

#[test]
fn one_that_ends_is_started_again_after_longer_and_longer() {
    let (mut world, mut pid) = (world(1), 100);
    world.hear(wanted(1, "10.0.0.1:7443"));
    assert_eq!(settle(&mut world, &mut pid).0, [0]);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let ended = HelpersEvent::Ended { kind: HelperKind::Controller, slot: 0, reason: "status 1".into() };
        world.input(Input::Helpers(ended));
        let ended_us = world.now_us;
        while settle(&mut world, &mut pid).0.is_empty() {
            world.now_us += 100 * MS;
            world.input(Input::Tick);
        }
        waits.push((world.now_us - ended_us) / MS);
    }
    assert_eq!(waits, [500, 1_000, 2_000]);
}

#[test]
fn one_of_another_node_is_ended_before_it_is_started_anew() {
    let (mut world, mut pid) = (world(1), 100);
    world.hear(wanted(1, "10.0.0.1:7443"));
    settle(&mut world, &mut pid);
    world.hear(wanted(1, "10.0.0.9:7443"));
    assert_eq!(settle(&mut world, &mut pid), (vec![0], vec![0]));
}

#[test]
fn what_runs_is_told_when_it_changes() {
    let (mut world, mut pid) = (world(1), 100);
    let said = |world: &mut World| {
        world.now_us += 1_000 * MS;
        world.input(Input::Tick);
        let all = std::mem::take(&mut world.effects);
        all.into_iter().find_map(|effect| match effect {
            Effect::Send(AgentMessage::Renew(Renew { controllers, .. })) => controllers,
            _ => None,
        })
    };
    assert!(said(&mut world).is_some_and(|report| report.running.is_empty()));
    assert_eq!(said(&mut world), None, "nothing changed");
    world.hear(wanted(1, "10.0.0.1:7443"));
    settle(&mut world, &mut pid);
    assert_eq!(said(&mut world).map(|report| report.running), Some([(0, 101)].into()));
}

#[test]
fn routers_and_controllers_are_counted_apart() {
    let mut config = config();
    (config.hello.controllers, config.hello.routers) = (1, 2);
    let agent = Agent::new(config, Seen::default(), Vec::new(), 0, 1_000_000);
    let mut world = World { agent, now_us: 1_000_000, effects: Vec::new(), revision: 0 };
    world.input(Input::Connected);
    let mut pid = 100;
    world.hear(ControllerMessage::Routers(HelpersWanted { count: 3, ..HelpersWanted::default() }));
    assert_eq!(settle(&mut world, &mut pid), (vec![0, 1], vec![]), "no more than the host runs");
    world.hear(wanted(1, "10.0.0.1:7443"));
    assert_eq!(settle(&mut world, &mut pid), (vec![0], vec![]));
    world.hear(ControllerMessage::Routers(HelpersWanted { count: 1, ..HelpersWanted::default() }));
    assert_eq!(settle(&mut world, &mut pid), (vec![], vec![1]));
    world.now_us += 1_000 * MS;
    world.input(Input::Tick);
    let said = std::mem::take(&mut world.effects).into_iter().find_map(|effect| match effect {
        Effect::Send(AgentMessage::Renew(renew)) => renew.controllers.zip(renew.routers),
        _ => None,
    });
    let running = said.map(|(controllers, routers)| (controllers.running, routers.running));
    assert_eq!(running, Some(([(0, 103)].into(), [(0, 101)].into())));
}
