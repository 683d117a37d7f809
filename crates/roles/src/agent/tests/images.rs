//! Images: what is fetched next and from whom, who waits for it, what is removed and when.

use dwcp_types::{ImageDigest, Priority};

use super::*;
use crate::agent::FetchFault;
use crate::protocol::{ImageHere, ImageRead, ImageSource, ImageWanted, Images, ReadImage, TransferTo};

fn digest(digit: char) -> ImageDigest {
    ImageDigest::from(digit.to_string().repeat(64).as_str())
}

fn source(host: &str) -> ImageSource {
    ImageSource { region: "r".into(), host: host.into(), endpoint: "127.0.0.1:1".into() }
}

fn wanted(digit: char, hosts: &[&str]) -> ImageWanted {
    let sources = hosts.iter().map(|host| source(host)).collect();
    ImageWanted { name: format!("image-{digit}"), digest: digest(digit), sources }
}

fn copy(digit: char) -> ImageHere {
    ImageHere { name: String::new(), digest: digest(digit), bytes: 1 << 20 }
}

/// A VM that was created with an image.
fn with_image(vm: u64, digit: char, priority: u8) -> VmIntent {
    let spec = VmSpec { image: format!("image-{digit}"), image_digest: digest(digit), ..http() };
    VmIntent { spec, priority: Priority(priority), ..intent(vm, 1) }
}

impl World {
    fn told(&mut self, images: Vec<ImageWanted>) {
        self.hear(ControllerMessage::Images(Images { wanted: images }));
    }

    fn here(&mut self, images: Vec<ImageHere>) {
        self.input(Input::Images(images));
    }

    /// Every fetch that was begun: its number, digit and host.
    fn fetches(&self) -> Vec<(u64, char, String)> {
        let fetch = |effect: &Effect| match effect {
            Effect::FetchImage { fetch, digest, from } => {
                let host = from.as_ref().map_or("own".to_string(), |source| source.host.to_string());
                Some((*fetch, digest.as_str().chars().next()?, host))
            }
            _ => None,
        };
        self.effects.iter().filter_map(fetch).collect()
    }

    fn last_fetch(&self) -> (u64, char, String) {
        self.fetches().pop().expect("a fetch was begun")
    }

    fn came(&mut self, digit: char, others: Vec<ImageHere>) {
        let fetch = self.last_fetch().0;
        self.here([vec![copy(digit)], others].concat());
        self.input(Input::ImageFetched { fetch, result: Ok(()) });
    }

    fn failed(&mut self, fault: FetchFault) {
        let fetch = self.last_fetch().0;
        self.input(Input::ImageFetched { fetch, result: Err(fault) });
    }

    fn removed(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::RemoveImage { .. }))
    }
}

fn refused() -> FetchFault {
    FetchFault::Failed("it gives images to others now".into())
}

#[test]
fn what_is_missing_is_fetched_one_after_the_other_before_it_is_needed() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2"]), wanted('b', &["h3"]), wanted('c', &[])]);
    assert!(world.fetches().is_empty(), "nobody has looked at what is here");
    world.here(Vec::new());
    assert_eq!(world.last_fetch(), (1, 'a', "h2".into()));
    world.pass(10_000);
    assert_eq!(world.fetches().len(), 1, "one at a time");
    world.came('a', Vec::new());
    assert_eq!(world.last_fetch(), (2, 'b', "h3".into()));
    world.came('b', vec![copy('a')]);
    world.pass(10_000);
    assert_eq!(world.fetches().len(), 2, "nobody has the third one");
}

#[test]
fn the_own_image_folder_comes_before_every_host() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2"])]);
    world.here(vec![ImageHere { name: "web".into(), ..copy('a') }]);
    assert_eq!(world.last_fetch(), (1, 'a', "own".into()));
    world.failed(refused());
    assert_eq!(world.last_fetch(), (2, 'a', "h2".into()));
}

#[test]
fn a_vm_whose_image_lies_in_the_image_folder_starts_from_there_when_no_copy_can_be_made() {
    let mut world = World::leased();
    let folder = ImageHere { name: "web".into(), ..copy('a') };
    world.here(vec![folder.clone()]);
    world.told(vec![wanted('a', &[])]);
    world.want(vec![with_image(1, 'a', 50)]);
    assert_eq!(
        (world.last_fetch(), world.launches()),
        ((1, 'a', "own".into()), vec![]),
        "a copy comes first"
    );
    world.failed(FetchFault::Failed("no room".into()));
    assert_eq!(world.launches(), vec![(1, 1)]);
    // It counts only as long as it is what the VM was created with.
    world.exited(1, 1);
    world.here(vec![ImageHere { digest: digest('b'), ..folder }]);
    world.pass_led(20_000);
    assert_eq!((world.launches().len(), world.report(1).reason.contains("waits for image")), (1, true));
}

#[test]
fn what_lies_in_the_image_folder_does_not_wait_for_what_comes_from_another_host() {
    let mut world = World::leased();
    world.here(Vec::new());
    world.told(vec![wanted('a', &["h2"]), wanted('b', &["h2"])]);
    world.want(vec![with_image(1, 'a', 90)]);
    assert_eq!(world.last_fetch(), (1, 'a', "h2".into()));
    world.here(vec![ImageHere { name: "web".into(), ..copy('b') }]);
    world.pass_led(1_000);
    assert_eq!(world.fetches().len(), 1, "nobody waits for the other one");
    world.want(vec![with_image(1, 'a', 90), with_image(2, 'b', 10)]);
    assert_eq!(world.last_fetch(), (2, 'b', "own".into()));
    world.pass_led(1_000);
    assert_eq!(world.fetches().len(), 2, "they do not take turns");
    world.came('b', Vec::new());
    assert_eq!((world.last_fetch(), world.launches()), ((3, 'a', "h2".into()), vec![(2, 1)]));
}

#[test]
fn a_vm_waits_for_its_image_and_says_how_far_it_is() {
    let mut world = World::leased();
    world.here(Vec::new());
    world.want(vec![with_image(1, 'a', 50)]);
    assert_eq!((world.phase(1), world.launches()), (Some(Phase::Pending), vec![]));
    assert!(
        world.report(1).reason.contains("no host that has it is known yet"),
        "{}",
        world.report(1).reason
    );
    world.told(vec![wanted('a', &["h2"])]);
    let fetch = world.last_fetch().0;
    world.input(Input::ImageProgress { fetch, done: 13 << 20, total: 100 << 20 });
    let reason = world.report(1).reason;
    assert_eq!(reason, "waits for image image-a (aaaaaaaaaaaa): 10 of 100 MiB are here");
    world.input(Input::ImageProgress { fetch, done: 19 << 20, total: 100 << 20 });
    assert_eq!(world.report(1).reason, reason, "told in steps: each is written down");
    world.failed(FetchFault::Failed("it did not answer".into()));
    assert!(
        world.report(1).reason.ends_with("are here; r/h2: it did not answer"),
        "{}",
        world.report(1).reason
    );
    world.pass_led(4_000);
    assert_eq!(world.fetches().len(), 2, "and is tried again");
    world.came('a', Vec::new());
    assert_eq!((world.launches(), world.report(1).reason), (vec![(1, 1)], String::new()));
}

#[test]
fn a_vm_without_a_digest_waits_for_nothing() {
    let mut world = World::leased();
    world.want(vec![intent(1, 1)]);
    assert_eq!(world.launches(), vec![(1, 1)]);
}

#[test]
fn what_a_vm_waits_for_goes_first_and_the_more_important_vm_before_the_other() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2"]), wanted('b', &["h2"]), wanted('c', &["h2"])]);
    world.here(Vec::new());
    assert_eq!(world.last_fetch().1, 'a');
    world.want(vec![with_image(1, 'b', 10), with_image(2, 'c', 90)]);
    assert!(world.effects.contains(&Effect::StopFetch { fetch: 1 }), "nobody waits for that one");
    assert_eq!(world.last_fetch(), (2, 'c', "h2".into()));
    // What was stopped says so late.
    world.input(Input::ImageFetched { fetch: 1, result: Ok(()) });
    world.pass_led(1_000);
    assert_eq!(world.fetches().len(), 2, "a fetch that a VM waits for is not stopped for another one");
    world.came('c', Vec::new());
    assert_eq!(world.last_fetch().1, 'b');
    world.came('b', vec![copy('c')]);
    assert_eq!(world.last_fetch().1, 'a');
}

#[test]
fn a_host_that_fails_is_left_alone_for_longer_each_time_and_the_next_one_is_asked() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2", "h3"])]);
    world.here(Vec::new());
    world.failed(refused());
    assert_eq!(world.last_fetch(), (2, 'a', "h3".into()));
    world.failed(refused());
    world.pass(2_900);
    assert_eq!(world.fetches().len(), 2);
    world.pass(600);
    assert_eq!(world.last_fetch(), (3, 'a', "h2".into()));
    world.failed(refused());
    assert_eq!(world.last_fetch().2, "h3");
    world.failed(refused());
    world.pass(5_500);
    assert_eq!(world.fetches().len(), 4, "six seconds by now");
    world.pass(1_000);
    assert_eq!(world.fetches().len(), 5);
}

#[test]
fn a_host_that_gave_something_else_is_left_alone_and_that_is_said() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2", "h3"])]);
    world.here(Vec::new());
    world.failed(FetchFault::Wrong("vmlinuz has not the SHA-256 of the list".into()));
    assert_eq!(world.last_fetch().2, "h3");
    world.pass(60);
    let said = world.renewal().damages;
    assert_eq!((said.len(), said[0].from_host.as_str(), said[0].name.as_str()), (1, "h2", "image-a"));
    world.failed(refused());
    for _ in 0..8 {
        world.pass(61_000);
        assert_eq!(world.last_fetch().2, "h3");
        world.failed(refused());
    }
    assert!(world.renewal().damages.is_empty(), "it is not said for ever");
    world.pass(180_000);
    world.failed(refused());
    assert_eq!(world.last_fetch().2, "h2", "ten minutes later");
}

#[test]
fn images_that_nobody_wants_go_after_a_while_and_never_one_that_a_vm_uses() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2"])]);
    let folder = ImageHere { name: "web".into(), ..copy('d') };
    world.here(vec![copy('a'), copy('b'), copy('c'), folder]);
    world.want(vec![with_image(1, 'b', 50)]);
    world.pass(599_000);
    assert_eq!(world.removed(), 0);
    // Wanted again in time: it counts from the beginning.
    world.told(vec![wanted('a', &[]), wanted('c', &[])]);
    world.pass(5_000);
    world.told(vec![wanted('a', &[])]);
    world.pass(599_000);
    assert_eq!(world.removed(), 0);
    world.pass(2_000);
    assert!(world.effects.contains(&Effect::RemoveImage { digest: digest('c') }));
    world.pass(2_000_000);
    assert_eq!(world.removed(), 1, "not the VM's, not the wanted one, not the image folder's");
    world.want(Vec::new());
    world.pass(2_000);
    world.exited(1, 1);
    world.pass(601_000);
    assert!(world.effects.contains(&Effect::RemoveImage { digest: digest('b') }));
    assert_eq!(world.removed(), 2);
}

#[test]
fn nothing_is_removed_over_what_an_earlier_connection_said() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &[])]);
    world.here(vec![copy('b')]);
    world.pass(500_000);
    world.input(Input::Disconnected);
    world.pass(2_000_000);
    world.input(Input::Connected);
    world.pass(2_000_000);
    assert_eq!(world.removed(), 0);
    world.told(vec![wanted('a', &[])]);
    world.pass(599_000);
    assert_eq!(world.removed(), 0);
    world.pass(2_000);
    assert_eq!(world.removed(), 1);
}

#[test]
fn while_a_vm_moves_nothing_begins_that_nobody_waits_for() {
    let mut world = World::leased();
    world.running(1, 1);
    let to = TransferTo { migration: 7, host: "h2".into(), generation: 2, ..TransferTo::default() };
    world.want(vec![VmIntent { transfer: Some(to), ..intent(1, 1) }]);
    assert!(world.effects.contains(&Effect::PaceImages { gentle: true }));
    world.told(vec![wanted('a', &["h2"]), wanted('b', &["h2"])]);
    world.here(Vec::new());
    assert!(world.fetches().is_empty());
    world.input(Input::TransferFailed { vm: VM, generation: 1, migration: 7, reason: "no".into() });
    assert!(world.effects.contains(&Effect::PaceImages { gentle: false }));
    assert_eq!(world.last_fetch().1, 'a');
}

#[test]
fn what_is_here_is_said_at_once_and_now_and_then() {
    let mut world = World::leased();
    world.pass(60);
    assert_eq!(world.renewal().images, None, "nobody has looked");
    world.here(vec![copy('a')]);
    world.pass(60);
    assert_eq!(world.renewal().images, Some(vec![copy('a')]));
    world.pass(1_000);
    assert_eq!(world.renewal().images, None);
    world.pass(4_500);
    let said = |e: &Effect| matches!(e, Effect::Send(AgentMessage::Renew(renew)) if renew.images.is_some());
    assert_eq!(world.count(said), 2);
    world.input(Input::Connected);
    assert_eq!(world.count(said), 3, "another leader may not know");
}

#[test]
fn a_copy_that_changed_is_said_and_fetched_anew() {
    let mut world = World::leased();
    world.told(vec![wanted('a', &["h2"])]);
    world.here(vec![copy('a')]);
    assert!(world.fetches().is_empty());
    world.input(Input::ImageChanged { digest: digest('a'), reason: "it holds something else".into() });
    world.here(Vec::new());
    assert_eq!(world.last_fetch().1, 'a');
    world.pass(60);
    assert_eq!(world.renewal().damages[0].from_host.as_str(), "h1");
}

#[test]
fn what_an_image_is_made_of_is_asked_and_answered() {
    let mut world = World::leased();
    world.hear(ControllerMessage::ReadImage(ReadImage { request: 9, name: "web".into() }));
    assert!(world.effects.contains(&Effect::ReadImage { request: 9, name: "web".into() }));
    let read = ImageRead { request: 9, digest: digest('a'), parts: Vec::new() };
    world.input(Input::ImageRead(read.clone()));
    assert!(world.effects.contains(&Effect::Send(AgentMessage::ImageRead(read))));
}
