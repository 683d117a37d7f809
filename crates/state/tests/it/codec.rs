//! What is written is read back, and what was not written here is an error or a value, never a panic.

use dwcp_state::{DrillMark, Envelope, Federation};
use dwcp_types::{DrillId, Generation, Revision, Rng, VmId, Wall, decode, encode};
use proptest::prelude::*;

use super::samples;

fn federation() -> Federation {
    let mut view = Federation::default();
    view.open_group(1, &"a".into());
    view.core = samples::core();
    let mut facts = samples::region_facts();
    facts.migrations.insert(VmId(1), samples::migration());
    facts.migrated.push_back(samples::migration());
    facts.arrivals.insert(samples::arrival().vm.id, samples::arrival());
    view.regions.insert("a".into(), facts);
    view
}

#[test]
fn every_command_has_a_sample_and_is_read_back() {
    let all = samples::commands().into_iter().chain(samples::later_commands());
    let all = all.chain(samples::adoption_commands());
    for (at, command) in all.enumerate() {
        assert_eq!(samples::position(&command), at);
        let mut envelope = samples::envelope(command);
        envelope.expected = Some(Revision(at as u64));
        envelope.reason = "why".into();
        envelope.looked_at = vec![("b".into(), Revision(7))];
        assert_eq!(decode::<Envelope>(&encode(&envelope)), Ok(envelope));
    }
}

#[test]
fn both_kinds_of_facts_are_read_back_byte_for_byte() {
    let view = federation();
    let mut other = Federation::default();
    other.open_group(1, &"a".into());
    for group in [0, 1] {
        other.restore(group, &view.snapshot(group)).expect("it was written by this version");
        assert_eq!(other.snapshot(group), view.snapshot(group));
    }
    assert_eq!(other, view);
}

#[test]
fn what_was_added_since_version_1_is_read_back_too() {
    let mut view = federation();
    view.core.policy_revision = Revision(3);
    view.core.freeze_revision = Revision(4);
    view.core.drills.insert(DrillId(2), samples::drill());
    view.core.backups = samples::backups();
    view.core.regions.insert("a".into(), samples::told_region());
    view.core.restoration = Some(samples::restoration());
    view.core.regions.values_mut().for_each(|region| region.revision = Revision(5));
    view.core.tokens.values_mut().for_each(|token| token.revision = Revision(6));
    view.core.operations.values_mut().for_each(|operation| operation.revision = Revision(7));
    for event in &mut view.core.ledger.events {
        (event.before, event.after, event.reason) = ("one".into(), "two".into(), "why".into());
    }
    view.core.policy.rto_target_ms = 45_000;
    view.core.policy.replication_workers = 20;
    view.core.policy.plain_frames = true;
    view.core.policy.soft_state_every_ms = 10_000;
    view.core.windows.insert(dwcp_types::WindowId(3), samples::window());
    view.core.windows_numbered = 3;
    view.core.images.insert("web".into(), samples::image());
    let before = Some(view.core.regions[&"a".into()].clone());
    view.core.failovers.values_mut().for_each(|failover| failover.before = before.clone());
    let facts = view.regions.get_mut(&"a".into()).expect("the region");
    let mark = DrillMark { drill: DrillId(2), lost: Some((Generation(1), Wall(20))) };
    facts.vms.values_mut().for_each(|vm| (vm.revision, vm.drill) = (Revision(8), Some(mark)));
    facts.vms.values_mut().for_each(|vm| vm.expires_at = Wall(77));
    facts.vms.values_mut().for_each(|vm| vm.spec.digest = samples::image().digest);
    facts.hosts.values_mut().for_each(|host| host.revision = Revision(9));
    facts.born.insert(dwcp_types::VmId(9), Wall(10));
    facts.horizons.insert("b".into(), Revision(11));
    facts.unbarred_born = Wall(12);
    facts.adoption = Some(Box::new(samples::adoption()));
    let mut other = Federation::default();
    other.open_group(1, &"a".into());
    for group in [0, 1] {
        other.restore(group, &view.snapshot(group)).expect("it was written by this version");
    }
    assert_eq!((&other.core, &other.regions), (&view.core, &view.regions));
}

#[test]
fn a_snapshot_of_a_later_format_is_refused() {
    let mut bytes = federation().snapshot(0);
    bytes[0] = 2;
    let error = Federation::default().restore(0, &bytes).expect_err("it is of version 2");
    assert!(error.to_string().contains("snapshot format"), "{error}");
    bytes[0] = 0;
    assert!(Federation::default().restore(0, &bytes).is_err());
    assert!(Federation::default().restore(0, &[]).is_err());
}

#[test]
fn every_truncation_of_every_command_is_an_error() {
    for command in samples::commands() {
        let bytes = encode(&samples::envelope(command));
        for end in 0..bytes.len() {
            assert!(decode::<Envelope>(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn a_restored_region_answers_like_the_one_it_came_from() {
    let mut world = super::world::World::new();
    world.accept(1, super::world::create(vec![super::world::vm(1, "h1"), super::world::vm(2, "h2")]));
    let bytes = world.view.snapshot(1);
    world.view.restore(1, &bytes).expect("it was written by this version");
    assert_eq!(world.facts(1).vm_named("vm-2").map(|vm| vm.id.0), Some(2));
    let taken = dwcp_state::Vm { name: "vm-1".into(), ..super::world::vm(3, "h1") };
    assert_eq!(world.refuse(1, super::world::create(vec![taken])), dwcp_types::Code::NameTaken);
    assert_eq!(world.view.flaws(), vec![]);
}

fn read_everything(bytes: &[u8]) {
    let _ = decode::<Envelope>(bytes);
    let mut view = Federation::default();
    view.open_group(1, &"a".into());
    let _ = view.restore(0, bytes);
    let _ = view.restore(1, bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_everything(&bytes);
    }

    #[test]
    fn mutated_bytes_never_panic_and_what_is_read_can_be_written(seed in any::<u64>(), count in 1u64..8) {
        let mut rng = Rng::new(seed);
        let view = federation();
        let mut sources: Vec<Vec<u8>> = vec![view.snapshot(0), view.snapshot(1)];
        sources.extend(samples::commands().into_iter().map(|command| encode(&samples::envelope(command))));
        for mut bytes in sources {
            for _ in 0..count {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(3) {
                    0 => bytes[at] = rng.next_u64() as u8,
                    1 => { bytes.remove(at); }
                    _ => bytes.insert(at, rng.next_u64() as u8),
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            read_everything(&bytes);
            if let Ok(envelope) = decode::<Envelope>(&bytes) {
                prop_assert_eq!(decode::<Envelope>(&encode(&envelope)), Ok(envelope));
            }
        }
    }
}
