//! Images.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_api::image::{
    Image as ApiImage, ImageAnswer, ImageList, ImageListRequest, ImageOlder, ImageOnHost,
    ImagePart as ApiPart, ImagePublish, ImagePublishRequest, ImageRead, ImageReadRequest, ImageRemove,
    ImageRemoveRequest, ImageRemoved,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::Request;
use dwcp_state::Image;
use dwcp_types::{Code, HostId, ImageDigest, Refusal, RegionId};

use super::call::{Call, reason};
use super::routes::Serve;
use super::{hosts, names, page, vm_rules};
use crate::handle::View;

/// Where every image is and which VMs use it, looked up once an answer.
struct Census<'a> {
    hosts_total: u64,
    /// By digest: hosts that have it, and their regions.
    places: BTreeMap<&'a ImageDigest, (u64, BTreeSet<&'a RegionId>)>,
    /// By the image's name and the digest that they were created with.
    vms: BTreeMap<(&'a str, &'a ImageDigest), u64>,
}

impl<'a> Census<'a> {
    fn of(view: &'a View<'_>) -> Census<'a> {
        let mut census = Census { hosts_total: 0, places: BTreeMap::new(), vms: BTreeMap::new() };
        for (region, _, images) in view.node.hosts_with_images() {
            census.hosts_total += 1;
            let digests: BTreeSet<&ImageDigest> = images.iter().map(|image| &image.digest).collect();
            for digest in digests {
                let (hosts, regions) = census.places.entry(digest).or_default();
                *hosts += 1;
                regions.insert(region);
            }
        }
        for found in names::every_vm(view) {
            let spec = &found.vm.spec;
            *census.vms.entry((&spec.image, &spec.digest)).or_default() += 1;
        }
        census
    }

    /// An image under a name and what it holds; `image` where the catalogue has that.
    fn show(&self, name: &str, (digest, bytes): (&ImageDigest, u64), image: Option<&Image>) -> ApiImage {
        let none = (0, BTreeSet::new());
        let (hosts, regions) = self.places.get(digest).unwrap_or(&none);
        let unpinned = ImageDigest::default();
        let with = if image.is_some() { digest } else { &unpinned };
        ApiImage {
            image: name.to_owned(),
            digest: digest.to_string(),
            bytes,
            published: image.is_some(),
            vms: self.vms.get(&(name, with)).copied().unwrap_or(0),
            hosts: *hosts,
            hosts_total: self.hosts_total,
            regions: regions.len() as u64,
            published_at_ms: image.map(|image| image.at.0),
            by: image.map(|image| image.by.clone()),
            from: image.map(|image| format!("{}/{}", image.region, image.host)),
        }
    }

    fn published(&self, image: &Image) -> ApiImage {
        self.show(&image.name, (&image.digest, image.bytes()), Some(image))
    }
}

/// What hosts have in their image folders that the catalogue has not, by name and digest.
fn only_on_hosts(view: &View<'_>) -> BTreeMap<(String, ImageDigest), u64> {
    let catalogue = &view.node.facts().core.images;
    let all = view.node.hosts_with_images().flat_map(|(_, _, images)| images);
    let in_folders = all.filter(|image| !image.is_copy());
    let others = in_folders
        .filter(|image| catalogue.get(&image.name).is_none_or(|known| known.digest != image.digest));
    others.map(|image| ((image.name.clone(), image.digest.clone()), image.bytes)).collect()
}

fn unknown(name: &str) -> Problem {
    let refusal = Refusal::new(Code::UnknownImage, format!("no image {name}"));
    Problem::from(&refusal.try_this("dwcp-cli image list"))
}

/// An image by its name.
fn find(view: &View<'_>, name: &str) -> Result<ImageAnswer, Problem> {
    let image = match view.node.facts().core.images.get(name) {
        Some(image) => Census::of(view).published(image),
        None => {
            let others = only_on_hosts(view);
            let ((_, digest), bytes) =
                others.iter().find(|((of, _), _)| of == name).ok_or_else(|| unknown(name))?;
            Census::of(view).show(name, (digest, *bytes), None)
        }
    };
    Ok(answer(view, image))
}

fn answer(view: &View<'_>, image: ApiImage) -> ImageAnswer {
    let name = image.image.clone();
    let known =
        view.node.facts().core.images.get(&name).filter(|known| known.digest.as_str() == image.digest);
    let parts = known.map(|known| known.parts.clone()).unwrap_or_default();
    let on_host =
        |(region, host, images): (&RegionId, &HostId, &[dwcp_roles::protocol::ImageHere])| ImageOnHost {
            region: region.to_string(),
            host: host.to_string(),
            folder: images.iter().find(|of| of.name == name).map(|of| of.digest.to_string()),
            present: images.iter().any(|of| of.digest.as_str() == image.digest),
        };
    let mut older: BTreeMap<String, u64> = BTreeMap::new();
    for found in names::every_vm(view).filter(|found| found.vm.spec.image == name) {
        let digest = &found.vm.spec.digest;
        if !digest.is_none() && digest.as_str() != image.digest {
            *older.entry(digest.to_string()).or_default() += 1;
        }
    }
    ImageAnswer {
        parts: parts
            .into_iter()
            .map(|part| ApiPart { file: part.file, bytes: part.bytes, sha256: part.sha256 })
            .collect(),
        hosts: view.node.hosts_with_images().map(on_host).collect(),
        older: older.into_iter().map(|(digest, vms)| ImageOlder { digest, vms }).collect(),
        as_of: names::as_of(view),
        image,
    }
}

impl Serve for ImageList {
    async fn answer(call: &Call, request: ImageListRequest) -> Result<Page<ApiImage>, Problem> {
        call.find(move |view| {
            let catalogue = view.node.facts().core.images.values();
            let key = |rank: u8, image: &ApiImage| format!("{rank}{}/{}", image.image, image.digest);
            let census = Census::of(view);
            let of_hosts = only_on_hosts(view);
            let of_hosts =
                of_hosts.iter().map(|((name, digest), bytes)| (1, census.show(name, (digest, *bytes), None)));
            let all = catalogue.map(|image| (0, census.published(image))).chain(of_hosts);
            let mut items: Vec<_> = all.map(|(rank, image)| (key(rank, &image), image)).collect();
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            page::cut(items, request.limit, request.cursor.as_deref(), names::as_of(view))
        })
        .await
    }
}

impl Serve for ImageRead {
    async fn answer(call: &Call, request: ImageReadRequest) -> Result<ImageAnswer, Problem> {
        call.find(move |view| find(view, &request.image)).await
    }
}

impl Serve for ImagePublish {
    async fn answer(call: &Call, request: ImagePublishRequest) -> Result<ImageAnswer, Problem> {
        let why = reason(request.reason.as_deref())?;
        let name = request.image.clone();
        // What VMs can't name is of no use in the catalogue.
        vm_rules::check_name("image", &name)?;
        let asked = name.clone();
        let (from, offer) = call
            .find(move |view| {
                let from = request.host.as_ref().map(|host| hosts::find(view, host)).transpose()?;
                let from = from.map(|(facts, host)| (facts.name.clone(), host.facts.id.clone()));
                let offer = view.node.image_offer(&asked, from.as_ref()).map_err(|e| Problem::from(&e))?;
                Ok((from, offer))
            })
            .await?;
        if request.dry_run {
            return call
                .look(move |view| {
                    let mut image = Census::of(view).show(&offer.name, (&offer.digest, offer.bytes), None);
                    image.published = true;
                    image.from = Some(format!("{}/{}", offer.region, offer.host));
                    answer(view, image)
                })
                .await;
        }
        call.change(Request::PublishImage(call.asked_because(why, None), name.clone(), from)).await?;
        call.find(move |view| find(view, &name)).await
    }
}

impl Serve for ImageRemove {
    async fn answer(call: &Call, request: ImageRemoveRequest) -> Result<ImageRemoved, Problem> {
        let why = reason(request.reason.as_deref())?;
        let name = request.image.clone();
        if request.dry_run {
            let asked = name.clone();
            let check = move |view: &View<'_>| {
                view.node.facts().core.images.get(&asked).ok_or_else(|| unknown(&asked))?;
                view.node.may_remove_image(&asked).map_err(|refusal| Problem::from(&refusal))
            };
            call.find(check).await?;
        } else {
            call.change(Request::RemoveImage(call.asked_because(why, None), name.clone())).await?;
        }
        Ok(ImageRemoved { image: name })
    }
}
