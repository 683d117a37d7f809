//! Images over the API of one region whose host has some.

use std::time::{Duration, Instant};

use dwcp_api::image::{
    Image, ImageList, ImagePublish, ImagePublishRequest, ImageRead, ImageReadRequest, ImageRemove,
    ImageRemoveRequest,
};
use dwcp_api::vm::{VmCreate, VmCreateRequest, VmRead, VmReadRequest};

use crate::http_node::{HOST, IMAGES, REGION, Served};

fn list(served: &Served) -> Vec<Image> {
    served.call::<ImageList>(&Default::default()).expect("images").items
}

fn published(served: &Served) -> Vec<String> {
    list(served).into_iter().filter(|image| image.published).map(|image| image.image).collect()
}

fn publish(image: &str, dry_run: bool) -> ImagePublishRequest {
    ImagePublishRequest { image: image.to_owned(), dry_run, ..Default::default() }
}

fn remove(image: &str, dry_run: bool) -> ImageRemoveRequest {
    ImageRemoveRequest { image: image.to_owned(), dry_run, ..Default::default() }
}

/// The digest that a VM made of an image holds to.
fn pinned(served: &Served, vm: &str, image: &str) -> Option<String> {
    let create =
        VmCreateRequest { name: vm.to_owned(), image: Some(image.to_owned()), ..VmCreateRequest::default() };
    served.call::<VmCreate>(&create).expect("created");
    let read = VmReadRequest { vm: vm.to_owned(), watch: false };
    served.call::<VmRead>(&read).expect("vm").vm.image_digest
}

#[test]
fn an_image_of_a_host_is_published_vms_hold_to_its_digest_and_it_stays_while_they_do() {
    let served = Served::start("images");
    let began = Instant::now();
    while list(&served).len() < IMAGES.len() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: the host's images");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(pinned(&served, "early", "web"), None);
    let dry = served.call::<ImagePublish>(&publish("web", true)).expect("dry run");
    assert_eq!((dry.image.published, dry.image.hosts), (true, 1));
    assert!(published(&served).is_empty(), "nothing was changed");
    let answer = served.call::<ImagePublish>(&publish("web", false)).expect("published");
    let from = format!("{REGION}/{HOST}");
    assert_eq!((answer.image.from, answer.image.vms, answer.parts.len()), (Some(from), 0, 1));
    assert_eq!(published(&served), ["web"]);
    assert_eq!(pinned(&served, "late", "web"), Some("a".repeat(64)));
    assert_eq!(pinned(&served, "other", "shop"), None);
    let read = served.call::<ImageRead>(&ImageReadRequest { image: "web".to_owned() }).expect("image");
    assert_eq!((read.image.vms, read.hosts[0].present), (1, true), "the early one took what its host had");
    for dry_run in [true, false] {
        let used = served.call::<ImageRemove>(&remove("web", dry_run)).expect_err("it is used");
        assert_eq!((used.code.as_str(), used.cause), ("DWCP-R0070", vec!["VM late".to_owned()]));
    }
    served.call::<ImagePublish>(&publish("shop", false)).expect("published");
    served.call::<ImageRemove>(&remove("shop", true)).expect("dry run");
    assert_eq!(published(&served), ["shop", "web"]);
    served.call::<ImageRemove>(&remove("shop", false)).expect("removed");
    assert_eq!(published(&served), ["web"]);
    for name in ["mars", "shop"] {
        assert_eq!(served.call::<ImageRemove>(&remove(name, false)).expect_err("none").code, "DWCP-R0016");
    }
    assert_eq!(served.call::<ImagePublish>(&publish("mars", false)).expect_err("none").code, "DWCP-R0016");
    let elsewhere = ImagePublishRequest { host: Some("mars-1/h9".to_owned()), ..publish("web", true) };
    assert!(served.call::<ImagePublish>(&elsewhere).is_err());
}
