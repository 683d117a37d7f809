//! The region's own node on this host.

use super::*;
use crate::protocol::{Certified, ControlPlane, Endpoint, Hosting, HostingPhase, HostingReport};

const SECOND: u64 = 1_000;
const DAY: CertificateLife =
    CertificateLife { renew_in_ms: 12 * 3_600 * SECOND, ends_in_ms: 24 * 3_600 * SECOND };

fn node(number: u64) -> Hosting {
    Hosting::Node(Box::new(ControlPlane { number, ..ControlPlane::default() }))
}

/// A machine whose shell does what it is told.
struct Host {
    world: World,
    pid: u32,
    starts: Vec<u64>,
    /// Which of the starts were those of a node that has lost its state.
    lost: Vec<bool>,
    remembered: Option<Hosting>,
    done: Vec<&'static str>,
    asked: u32,
}

impl Host {
    fn found(found: HostingFound) -> Host {
        let mut world = World::new();
        world.input(Input::Connected);
        world.input(Input::Hosting(HostingEvent::Found(found)));
        let mut host = Host {
            world,
            pid: 100,
            starts: Vec::new(),
            lost: Vec::new(),
            remembered: None,
            done: Vec::new(),
            asked: 0,
        };
        host.settle();
        host
    }

    fn running() -> Host {
        let mut host = Host::found(HostingFound::default());
        host.hear(ControllerMessage::Hosting(node(6)));
        host.certify();
        host
    }

    fn settle(&mut self) {
        while !self.world.effects.is_empty() {
            for effect in std::mem::take(&mut self.world.effects) {
                match effect {
                    Effect::Hosting(effect) => self.carry_out(effect),
                    Effect::Send(AgentMessage::Certify(_)) => self.asked += 1,
                    _ => {}
                }
            }
        }
    }

    fn carry_out(&mut self, effect: HostingEffect) {
        let answer = match effect {
            HostingEffect::Remember(hosting) => {
                self.remembered = Some(hosting);
                return;
            }
            HostingEffect::MakeKey => {
                self.done.push("key");
                HostingEvent::KeyMade(Ok(vec![4; 65]))
            }
            HostingEffect::KeepCertificate { .. } => HostingEvent::CertificateKept(Ok(DAY)),
            HostingEffect::WriteSettings(_) => {
                self.done.push("settings");
                HostingEvent::SettingsWritten(Ok(()))
            }
            HostingEffect::Start { lost } => {
                self.lost.push(lost);
                self.pid += 1;
                self.starts.push(self.world.now_us);
                HostingEvent::Started(Ok(self.pid))
            }
            HostingEffect::Terminate => return self.done.push("terminate"),
            HostingEffect::Kill => return self.done.push("kill"),
            HostingEffect::Wipe => {
                self.done.push("wipe");
                self.remembered = None;
                HostingEvent::Wiped(Ok(()))
            }
        };
        self.world.input(Input::Hosting(answer));
    }

    fn hear(&mut self, message: ControllerMessage) {
        self.world.hear(message);
        self.settle();
    }

    fn certify(&mut self) {
        let certificate = "pem".to_string();
        let certified = Certified { public_key: vec![4; 65], certificate, refused: String::new() };
        self.hear(ControllerMessage::Certified(certified));
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.world.now_us += 100 * MS;
            self.world.input(Input::Tick);
            self.settle();
        }
    }

    fn end(&mut self) {
        self.world.input(Input::Hosting(HostingEvent::Ended { reason: "killed".into() }));
        self.settle();
    }

    fn report(&self) -> HostingReport {
        self.world.agent.node_report(self.world.now_us)
    }
}

#[test]
fn a_node_is_started_once_it_has_its_key_certificate_and_settings() {
    let mut host = Host::found(HostingFound::default());
    assert_eq!(host.report().phase, HostingPhase::Nothing);
    host.hear(ControllerMessage::Hosting(node(6)));
    assert_eq!((host.report().phase, host.asked), (HostingPhase::Certifying, 1));
    assert_eq!(host.remembered, Some(node(6)));
    host.pass(7 * SECOND);
    assert_eq!((host.asked, host.starts.len()), (3, 0), "asked again every three seconds");
    let stranger = Certified { public_key: vec![4; 64], certificate: "pem".into(), refused: String::new() };
    host.hear(ControllerMessage::Certified(stranger));
    assert_eq!(host.starts.len(), 0, "a certificate of another key is none");
    host.certify();
    assert_eq!((host.report().phase, host.report().pid), (HostingPhase::Running, 101));
    assert_eq!(host.done, ["key", "settings"]);
    host.hear(ControllerMessage::Hosting(node(6)));
    host.pass(10 * SECOND);
    assert_eq!((host.starts.len(), host.asked), (1, 3), "nothing is done twice");
}

#[test]
fn a_node_whose_disk_is_gone_begins_as_one_that_has_lost_its_votes_until_it_is_well() {
    let mut host = Host::found(HostingFound::default());
    let lost = Hosting::Node(Box::new(ControlPlane { number: 6, lost: true, ..ControlPlane::default() }));
    host.hear(ControllerMessage::Hosting(lost.clone()));
    // The leader has heard that something of it is there, before anything has begun.
    host.hear(ControllerMessage::Hosting(node(6)));
    assert_eq!(host.remembered.as_ref(), Some(&lost), "also for a worker that is restarted now");
    host.certify();
    host.end();
    host.pass(2 * SECOND);
    assert_eq!(host.lost, [true, true]);
    host.pass(61 * SECOND);
    assert_eq!(host.remembered, Some(node(6)));
    host.end();
    host.pass(2 * SECOND);
    assert_eq!(host.lost, [true, true, false]);
    // Said by somebody who heard this host before it had read its disk.
    host.hear(ControllerMessage::Hosting(lost));
    host.end();
    host.pass(2 * SECOND);
    assert_eq!(host.lost, [true, true, false, false]);
}

#[test]
fn a_refused_certificate_is_reported_and_asked_for_again() {
    let mut host = Host::found(HostingFound::default());
    host.hear(ControllerMessage::Hosting(node(6)));
    let refused = Certified { public_key: vec![4; 65], certificate: String::new(), refused: "no CA".into() };
    host.hear(ControllerMessage::Certified(refused));
    assert_eq!(host.report().trouble, "no certificate: no CA");
    host.pass(4 * SECOND);
    assert_eq!(host.asked, 2);
    host.certify();
    assert_eq!((host.report().phase, host.report().trouble.as_str()), (HostingPhase::Running, ""));
}

#[test]
fn a_node_that_ends_is_started_again_ever_later_until_it_ran_for_a_minute() {
    let mut host = Host::running();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let ended_us = host.world.now_us;
        host.end();
        assert_eq!(host.report().phase, HostingPhase::Waiting);
        host.pass(31 * SECOND);
        waits.push((host.starts.last().expect("a start") - ended_us) / 1_000);
        if waits.len() == 1 {
            assert_eq!((host.report().restarts, host.report().trouble.as_str()), (1, "killed"));
        }
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    host.pass(61 * SECOND);
    assert_eq!(host.report().trouble, "", "it is well again");
    let ended_us = host.world.now_us;
    host.end();
    host.pass(SECOND);
    assert_eq!((host.starts.last().expect("a start") - ended_us) / 1_000, 500);
}

#[test]
fn a_node_that_nobody_wants_any_more_is_ended_and_leaves_nothing() {
    let mut host = Host::running();
    host.done.clear();
    host.hear(ControllerMessage::Hosting(Hosting::Nothing));
    assert_eq!(
        (host.report().phase, host.remembered.clone()),
        (HostingPhase::Stopping, Some(Hosting::Nothing))
    );
    assert_eq!(host.done, ["terminate"]);
    host.pass(9_900);
    assert_eq!(host.done, ["terminate"], "it has ten seconds");
    host.pass(200);
    assert_eq!(host.done, ["terminate", "kill"]);
    host.end();
    assert_eq!(host.done, ["terminate", "kill", "wipe"]);
    assert_eq!((host.report(), host.remembered.clone()), (HostingReport::default(), None));
    host.pass(60 * SECOND);
    assert_eq!(host.starts.len(), 1);
}

#[test]
fn a_node_under_another_number_begins_with_nothing_of_the_one_before() {
    let mut host = Host::running();
    host.done.clear();
    host.hear(ControllerMessage::Hosting(node(7)));
    assert_eq!(host.remembered, Some(Hosting::Nothing), "a restart now clears away first");
    host.end();
    assert_eq!(host.done, ["terminate", "wipe", "key", "settings"]);
    assert_eq!(host.remembered, Some(node(7)));
    host.certify();
    assert_eq!(host.report().phase, HostingPhase::Running);
}

#[test]
fn what_is_remembered_is_started_without_a_leader_and_what_runs_is_found_again() {
    let kept = HostingFound {
        wanted: Some(node(6)),
        public_key: vec![4; 65],
        certificate: Some(DAY),
        pid: 0,
        files: true,
    };
    let mut host = Host::found(kept.clone());
    assert_eq!(host.starts.len(), 1);
    host = Host::found(HostingFound { pid: 77, ..kept.clone() });
    host.pass(5 * SECOND);
    assert_eq!((host.starts.len(), host.report().pid), (0, 77));
    host.end();
    host.pass(SECOND);
    assert_eq!(host.starts.len(), 1, "one that was found is watched like one that was started");
    let unknown = HostingFound { wanted: None, pid: 77, ..kept.clone() };
    host = Host::found(unknown);
    host.pass(5 * SECOND);
    assert_eq!((host.done.len(), host.report().phase), (0, HostingPhase::Running), "left as it is");
    host = Host::found(HostingFound { wanted: Some(Hosting::Nothing), ..kept });
    assert_eq!((host.starts.len(), host.report().phase), (0, HostingPhase::Nothing), "cleared away");
    assert_eq!(host.done, ["wipe"]);
}

#[test]
fn a_certificate_is_renewed_at_half_its_life_and_an_ended_one_starts_nothing() {
    let mut host = Host::running();
    let half_ms = DAY.renew_in_ms;
    host.world.now_us += (half_ms - SECOND) * MS;
    host.pass(500);
    assert_eq!(host.asked, 1);
    host.pass(SECOND);
    assert_eq!(host.asked, 2);
    host.world.now_us += (half_ms + SECOND) * MS;
    host.end();
    host.pass(SECOND);
    assert_eq!((host.starts.len(), host.report().phase), (1, HostingPhase::Certifying));
    host.certify();
    assert_eq!(host.starts.len(), 2);
    assert_eq!(host.done, ["key", "settings"], "with the same key");
}

#[test]
fn what_the_disk_refuses_is_tried_again() {
    let mut world = World::new();
    world.input(Input::Connected);
    world.input(Input::Hosting(HostingEvent::Found(HostingFound::default())));
    world.hear(ControllerMessage::Hosting(node(6)));
    let keys = |world: &World| {
        world.effects.iter().filter(|effect| **effect == Effect::Hosting(HostingEffect::MakeKey)).count()
    };
    assert_eq!(keys(&world), 1);
    world.input(Input::Hosting(HostingEvent::KeyMade(Err("disk full".into()))));
    assert_eq!(world.agent.node_report(world.now_us).trouble, "key: disk full");
    world.pass(4_000);
    assert_eq!(keys(&world), 1);
    world.pass(2_000);
    assert_eq!(keys(&world), 2);
}

#[test]
fn a_host_that_runs_none_ignores_who_wants_one() {
    let mut world = World::leased();
    world.hear(ControllerMessage::Hosting(node(6)));
    world.pass(2_000);
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Hosting(_))));
    assert_eq!(world.renewal().hosting, None);
}

#[test]
fn the_node_is_told_of_when_it_changed_and_now_and_then() {
    let mut host = Host::running();
    let said = |host: &mut Host, ms: u64| {
        let mut said = 0;
        for _ in 0..ms / 100 {
            host.world.now_us += 100 * MS;
            host.world.input(Input::Tick);
            let told = |effect: &Effect| matches!(effect, Effect::Send(AgentMessage::Renew(renew)) if renew.hosting.is_some());
            said += host.world.effects.iter().filter(|effect| told(effect)).count();
            host.settle();
        }
        said
    };
    said(&mut host, 1_000);
    assert_eq!(said(&mut host, 9_000), 0);
    assert_eq!(said(&mut host, 2_000), 1, "every ten seconds");
    host.world.input(Input::Hosting(HostingEvent::Ended { reason: "killed".into() }));
    assert!(said(&mut host, 200) >= 1, "and at once when it changed");
}

#[test]
fn the_regions_nodes_are_followed() {
    let mut world = World::new();
    world.hear(ControllerMessage::Nodes(vec![Endpoint::default()]));
    assert!(world.effects.contains(&Effect::FollowNodes(vec![Endpoint::default()])));
}
