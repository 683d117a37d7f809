//! Images: what every host is told to have and who has it, and how one comes into the catalogue and goes out of it.
//!
//! Wanted everywhere is what the catalogue holds and what any VM was created with, wherever it lives: a VM whose host, or
//! whose region, is lost finds its image wherever it goes. Who has what is soft: agents say it in their renewals, leaders
//! tell each other in their beats.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Command, HostStanding, Image, ImageFault, Vm};
use dwcp_types::{Code, GroupId, HostId, ImageDigest, Refusal, RegionId, encode};

use super::intents::digest;
use super::{Asked, Node};
use crate::protocol::{
    ControllerMessage, ImageDamage, ImageHere, ImageRead, ImageSource, ImageWanted, Images,
};

/// Between two looks at what hosts are to have, ms.
const LOOK_MS: u64 = 2_000;
/// Hosts are told again what they heard already, should it have been lost, ms.
const TELL_AGAIN_MS: u64 = 30_000;
/// A host that was not heard for so long is not counted on, ms. Others hear of a large region's hosts in turns.
const HEARD_MS: u64 = 20_000;
/// Hosts that an image may be had from are named to a host, at most.
const SOURCES: usize = 8;
/// What was discarded is told once in so long, ms.
const DAMAGE_AGAIN_MS: u64 = 50_000;
/// VMs and hosts named in a refusal.
const NAMED: usize = 5;

/// An image that a host has in its image folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOffer {
    /// Its name.
    pub name: String,
    /// The host's region.
    pub region: RegionId,
    /// The host.
    pub host: HostId,
    /// What it holds.
    pub digest: ImageDigest,
    /// Bytes of all its parts.
    pub bytes: u64,
}

impl Node {
    /// Every host that leases are granted to and that was heard of late, with its region and its images.
    pub fn hosts_with_images(&self) -> impl Iterator<Item = (&RegionId, &HostId, &[ImageHere])> {
        self.facts.regions.iter().flat_map(move |(region, facts)| {
            let up = facts.hosts.iter().filter(|(_, host)| host.standing == HostStanding::Up);
            let heard =
                move |id: &HostId| self.host_now(facts.number, id).is_some_and(|now| now.heard_ms < HEARD_MS);
            let heard = up.filter(move |(id, _)| heard(id));
            heard.map(move |(id, _)| (region, id, self.images_on(facts.number, id)))
        })
    }

    /// VMs that were created from an image of the catalogue, wherever they live or are on their way to.
    pub fn vms_with_images(&self) -> impl Iterator<Item = &Vm> {
        let regions = self.facts.regions.values();
        regions.flat_map(|facts| {
            let left = facts.departures.values().map(|departure| &departure.vm);
            let coming = facts.arrivals.values().map(|arrival| &arrival.vm);
            facts.vms.values().chain(left).chain(coming).filter(|vm| !vm.spec.digest.is_none())
        })
    }

    /// Every image that all hosts are to have, with a name of it.
    fn wanted_images(&self) -> BTreeMap<ImageDigest, String> {
        let of_vms = self.vms_with_images().map(|vm| (vm.spec.digest.clone(), vm.spec.image.clone()));
        let published =
            self.facts.core.images.values().map(|image| (image.digest.clone(), image.name.clone()));
        of_vms.chain(published).collect()
    }

    /// Tells the hosts of a group which images to have and where they are, when that changed.
    pub(super) fn tell_images(&mut self, group: GroupId) {
        if !self.due(format!("images {group}"), LOOK_MS) {
            return;
        }
        let known =
            self.leases.hosts.iter().filter(|((of, _), session)| *of == group && session.images.is_some());
        let hosts: Vec<HostId> = known.map(|((_, host), _)| host.clone()).collect();
        let Some(region) = self.facts.region_of(group).cloned().filter(|_| !hosts.is_empty()) else { return };
        let wanted = self.wanted_images();
        let sources = self.image_sources(&wanted, &region);
        for host in hosts {
            let of = |(digest, name): (&ImageDigest, &String)| ImageWanted {
                name: name.clone(),
                digest: digest.clone(),
                sources: sources[digest].ordered(&region, &host),
            };
            let message = Images { wanted: wanted.iter().map(of).collect() };
            let hash = digest(&encode(&message));
            let now = self.now.mono;
            let Some(session) = self.leases.hosts.get_mut(&(group, host.clone())) else { continue };
            if session.images_told.is_some_and(|(told, at)| told == hash && now < at.plus_ms(TELL_AGAIN_MS)) {
                continue;
            }
            session.images_told = Some((hash, now));
            self.tell_host(group, &host, &ControllerMessage::Images(message));
        }
    }

    /// Every host that has one of these images and can be reached for it, as a region's hosts are to ask them.
    fn image_sources(
        &self,
        wanted: &BTreeMap<ImageDigest, String>,
        own: &RegionId,
    ) -> BTreeMap<ImageDigest, Sources> {
        let mut all: BTreeMap<ImageDigest, Sources> =
            wanted.keys().map(|digest| (digest.clone(), Sources::default())).collect();
        for (region, host, images) in self.hosts_with_images() {
            let endpoint = &self.facts.regions[region].hosts[host].facts.transfer;
            let digests: BTreeSet<&ImageDigest> = images.iter().map(|image| &image.digest).collect();
            for digest in digests.into_iter().filter(|_| !endpoint.is_empty()) {
                if let Some(sources) = all.get_mut(digest) {
                    let (host, endpoint) = (host.clone(), endpoint.clone());
                    let source = ImageSource { region: region.clone(), host, endpoint };
                    if region == own { sources.near.push(source) } else { sources.far.push(source) }
                }
            }
        }
        all
    }

    /// Tells of what a host has discarded, once.
    pub(super) fn conclude_damages(&mut self, group: GroupId, host: &HostId, damages: Vec<ImageDamage>) {
        for damage in damages {
            let ImageDamage { name, digest, from_region, from_host, reason } = damage;
            // Of what nobody wants, nothing need be known; and a host can't fill the events with what it makes up.
            if !self.wanted_images().contains_key(&digest) {
                continue;
            }
            let what = format!("image fault {group} {host} {digest} {from_region}/{from_host}");
            if self.due(what, DAMAGE_AGAIN_MS) {
                let fault = ImageFault { name, digest, host: host.clone(), from_region, from_host, reason };
                self.conclude(group, Command::NoteImageFault(fault));
            }
        }
    }

    /// What would come into the catalogue under a name: what this host has, or what all hosts have that have anything.
    ///
    /// # Errors
    /// No host that is heard has one of that name; or what they have differs.
    pub fn image_offer(&self, name: &str, from: Option<&(RegionId, HostId)>) -> Result<ImageOffer, Refusal> {
        let offer = |(region, host, images): (&RegionId, &HostId, &[ImageHere])| {
            let image = images.iter().find(|image| image.name == name)?;
            let (name, digest) = (name.to_string(), image.digest.clone());
            Some(ImageOffer { name, region: region.clone(), host: host.clone(), digest, bytes: image.bytes })
        };
        let asked = |region: &RegionId, host: &HostId| from.is_none_or(|(r, h)| r == region && h == host);
        let hosts = self.hosts_with_images().filter(|(region, host, _)| asked(region, host));
        let offers: Vec<ImageOffer> =
            if name.is_empty() { Vec::new() } else { hosts.filter_map(offer).collect() };
        let Some(first) = offers.first() else {
            let whose =
                from.map_or("no host".to_string(), |(region, host)| format!("{region}/{host}: not there"));
            return Err(Refusal::new(Code::UnknownImage, format!("no image {name} can be published"))
                .because(format!("{whose}, or not heard, with an image of that name in its image folder"))
                .try_this("dwcp-cli image list"));
        };
        if offers.iter().all(|offer| offer.digest == first.digest) {
            return Ok(first.clone());
        }
        let mut refusal = Refusal::new(Code::ImagesDiffer, format!("hosts have different images {name}"));
        let mut hosts: BTreeMap<&ImageDigest, Vec<String>> = BTreeMap::new();
        for offer in &offers {
            hosts.entry(&offer.digest).or_default().push(format!("{}/{}", offer.region, offer.host));
        }
        for (digest, hosts) in hosts {
            let more = if hosts.len() > NAMED {
                format!(" and {} more", hosts.len() - NAMED)
            } else {
                String::new()
            };
            let named = hosts[..hosts.len().min(NAMED)].join(", ");
            refusal = refusal.because(format!("{} on {named}{more}", digest.short()));
        }
        let example = format!("dwcp-cli image publish {name} --host {}/{}", first.region, first.host);
        Err(refusal.then("nothing was changed").try_this(example))
    }

    pub(super) fn publish_image(
        &mut self,
        ticket: u64,
        asked: Asked,
        name: &str,
        from: Option<&(RegionId, HostId)>,
    ) {
        match self.image_offer(name, from) {
            Ok(offer) => self.ask_image(ticket, asked, offer),
            Err(refusal) => self.refuse(ticket, refusal),
        }
    }

    /// The host has said what its image is made of.
    pub(super) fn propose_image(&mut self, ticket: u64, asked: &Asked, offer: ImageOffer, read: ImageRead) {
        let ImageOffer { name, region, host, digest, .. } = offer;
        if read.digest != digest {
            let what = format!("image {name} on {region}/{host} has just changed");
            let refusal = Refusal::new(Code::WrongState, what).then("nothing was changed");
            self.refuse(ticket, refusal.try_this("dwcp-cli image list"));
            return;
        }
        let image = Image { name, digest, parts: read.parts, region, host, ..Image::default() };
        self.ask_federation(ticket, asked, Command::PublishImage(Box::new(image)));
    }

    /// Whether an image may go out of the catalogue.
    ///
    /// # Errors
    /// VMs were created from it under its name.
    pub fn may_remove_image(&self, name: &str) -> Result<(), Refusal> {
        let users: BTreeSet<&str> =
            self.vms_with_images().filter(|vm| vm.spec.image == name).map(|vm| vm.name.as_str()).collect();
        if users.is_empty() {
            return Ok(());
        }
        let verb = if users.len() == 1 { "VM uses" } else { "VMs use" };
        let mut refusal = Refusal::new(Code::ImageInUse, format!("{} {verb} image {name}", users.len()));
        for vm in users.iter().take(NAMED) {
            refusal = refusal.because(format!("VM {vm}"));
        }
        Err(refusal.then("nothing was changed").try_this("dwcp-cli vm list"))
    }

    pub(super) fn remove_image(&mut self, ticket: u64, asked: &Asked, name: String) {
        match self.may_remove_image(&name) {
            Ok(()) => self.ask_federation(ticket, asked, Command::RemoveImage(name)),
            Err(refusal) => self.refuse(ticket, refusal),
        }
    }
}

/// The hosts that have an image: those of the region that asks, and the others.
#[derive(Default)]
struct Sources {
    near: Vec<ImageSource>,
    far: Vec<ImageSource>,
}

impl Sources {
    /// The first ones that a host of the region is to ask; which of them first differs from host to host, so that not all ask
    /// one.
    fn ordered(&self, region: &RegionId, host: &HostId) -> Vec<ImageSource> {
        let turn = digest(format!("{region}/{host}").as_bytes()) as usize;
        let turned = |count: usize| (0..count).map(move |at| (turn % count + at) % count);
        let near = turned(self.near.len()).map(|at| &self.near[at]).filter(|source| source.host != *host);
        near.chain(turned(self.far.len()).map(|at| &self.far[at])).take(SOURCES).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(region: &str, host: &str) -> ImageSource {
        ImageSource { region: region.into(), host: host.into(), endpoint: "127.0.0.1:1".into() }
    }

    #[test]
    fn hosts_of_the_own_region_come_first_and_not_everybody_asks_the_same_one() {
        let far: Vec<ImageSource> = (0..20).map(|n| source("b", &format!("h{n}"))).collect();
        let near = vec![source("a", "h1"), source("a", "h2"), source("a", "h3")];
        let first = Sources { near, far: far.clone() }.ordered(&"a".into(), &"h1".into());
        assert_eq!(first.len(), SOURCES);
        assert!(first[..2].iter().all(|of| of.region.as_str() == "a") && first[2].region.as_str() == "b");
        assert!(!first.contains(&source("a", "h1")), "not itself");
        let others = Sources { near: Vec::new(), far };
        let asked = |n: u32| others.ordered(&"c".into(), &format!("h{n}").as_str().into());
        let firsts: BTreeSet<ImageSource> = (0..20).map(|n| asked(n)[0].clone()).collect();
        assert_eq!(BTreeSet::from_iter(asked(1)).len(), SOURCES);
        assert!(firsts.len() > 5, "{firsts:?}");
    }
}
