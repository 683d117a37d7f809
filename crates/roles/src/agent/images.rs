//! Images, as the agent sees them: which it has, which it fetches next and from whom, which VMs wait for, which it removes.
//!
//! Its region says which images every host is to have, by digest, and who has them. The agent fetches what is missing, one
//! after the other, before it is needed; what a VM here waits for goes first. A host that gave something else than what was
//! asked for is left alone for a while. Copies that nobody wants any more are removed after a while; those of the image
//! folder are never touched.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dwcp_types::{HostId, ImageDigest, RegionId, VmId};

use super::vm::{LocalVm, Outgoing};
use super::{Agent, Effect};
use crate::protocol::{ImageDamage, ImageHere, ImageSource, ImageWanted, Phase, Stage};

/// Images are said again after this, in case a leader has not heard of them, ms.
const SAY_AGAIN_MS: u64 = 5_000;
/// Damages are repeated for so long, ms.
const SAY_DAMAGE_MS: u64 = 5_000;
/// Damages that are said at once.
const DAMAGES_SAID: usize = 16;
/// A host that could not give an image is not asked for it again before, ms; twice as long each time, up to so long.
const FAILED_MS: (u64, u64) = (3_000, 60_000);
/// One that gave something else than the image is not asked for it again before, ms.
const LIED_MS: u64 = 600_000;
/// A copy that nobody wants is kept for so long, ms.
const UNWANTED_MS: u64 = 600_000;

/// Why an image did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFault {
    /// The host can't be reached or refuses, or there is no room here.
    Failed(String),
    /// What came is not what was asked for. It was discarded.
    Wrong(String),
}

/// A fetch that is going on.
#[derive(Clone, Debug)]
struct Fetch {
    number: u64,
    digest: ImageDigest,
    /// None: from the own image folder.
    from: Option<ImageSource>,
}

/// An image that is not here yet.
#[derive(Clone, Debug, Default)]
struct Partly {
    done: u64,
    /// 0: not known yet.
    total: u64,
    /// Why it did not come the last time; empty: nothing is wrong.
    trouble: String,
}

/// What the agent knows of images.
#[derive(Clone, Debug, Default)]
pub(super) struct Images {
    /// What the region wants the host to have; none before it was told.
    wanted: Option<Vec<ImageWanted>>,
    /// True when that was told on the connection of now: only then is it reason enough to remove something.
    current: bool,
    /// What is here; none before the shell has looked.
    here: Option<Vec<ImageHere>>,
    said_us: Option<u64>,
    fetching: Option<Fetch>,
    fetches: u64,
    /// Until when a host is not asked for an image, µs, and how often in a row it could not give it.
    avoided: BTreeMap<(ImageDigest, RegionId, HostId), (u64, u32)>,
    /// How far an image is that is not here yet.
    partly: BTreeMap<ImageDigest, Partly>,
    /// Since when a copy is wanted by nobody, µs.
    unwanted: BTreeMap<ImageDigest, u64>,
    /// What was discarded, and until when that is said, µs.
    damages: VecDeque<(ImageDamage, u64)>,
    /// Whether the shell was told to leave room for VMs that move.
    gentle: bool,
}

impl Images {
    fn has_copy(&self, digest: &ImageDigest) -> bool {
        self.here.iter().flatten().any(|image| image.is_copy() && image.digest == *digest)
    }

    fn in_folder(&self, digest: &ImageDigest) -> bool {
        self.here.iter().flatten().any(|image| !image.is_copy() && image.digest == *digest)
    }

    /// True when a host was asked for an image in vain, and how long ago does not matter.
    fn failed(&self, digest: &ImageDigest, (region, host): &(RegionId, HostId)) -> bool {
        self.avoided.contains_key(&(digest.clone(), region.clone(), host.clone()))
    }

    /// An image is here.
    fn forget_trouble(&mut self, digest: &ImageDigest) {
        self.partly.remove(digest);
        self.avoided.retain(|(of, ..), _| of != digest);
    }

    fn wanted(&self, digest: &ImageDigest) -> Option<&ImageWanted> {
        self.wanted.iter().flatten().find(|wanted| wanted.digest == *digest)
    }

    /// From where an image is to come now: the own image folder, else the first host in order that is not left alone.
    fn source(
        &self,
        now_us: u64,
        digest: &ImageDigest,
        own: &(RegionId, HostId),
    ) -> Option<Option<ImageSource>> {
        let open = |region: &RegionId, host: &HostId| {
            let key = (digest.clone(), region.clone(), host.clone());
            self.avoided.get(&key).is_none_or(|(until, _)| now_us >= *until)
        };
        if self.in_folder(digest) && open(&own.0, &own.1) {
            return Some(None);
        }
        let mut sources = self.wanted(digest).into_iter().flat_map(|wanted| &wanted.sources);
        sources.find(|source| open(&source.region, &source.host)).map(|source| Some(source.clone()))
    }
}

impl Agent {
    fn own_name(&self) -> (RegionId, HostId) {
        (self.config.hello.region.clone(), self.config.hello.host.clone())
    }

    /// True when the image that a VM was created with is here, or the VM has none. What is in the image folder only is copied
    /// first, so that nobody changes it under the VM's disk; where no copy of it can be made, the VM starts from there.
    pub(super) fn has_image(&self, vm: VmId) -> bool {
        let Some(local) = self.vms.get(&vm) else { return true };
        let (images, digest) = (&self.images, &local.spec.image_digest);
        let uncopied = || images.in_folder(digest) && images.failed(digest, &self.own_name());
        digest.is_none() || images.has_copy(digest) || uncopied()
    }

    /// A process that may not start yet because its image is not here says so.
    pub(super) fn wait_for_image(&mut self, vm: VmId) {
        let Some(local) = self.vms.get(&vm) else { return };
        let reason = self.why_no_image(&local.spec.image, &local.spec.image_digest);
        if let Some(local) = self.vms.get_mut(&vm).filter(|local| local.reason != reason) {
            local.reason = reason;
            self.changed = true;
        }
    }

    fn why_no_image(&self, name: &str, digest: &ImageDigest) -> String {
        let what = format!("waits for image {name} ({})", digest.short());
        let images = &self.images;
        if images.here.is_none() {
            return format!("{what}: this host looks at its images");
        }
        let partly = images.partly.get(digest).cloned().unwrap_or_default();
        let how_far = if partly.total > 0 {
            // In steps: each change of it is written down.
            let tenth = partly.total.div_ceil(10).max(1);
            let done = partly.done / tenth * tenth;
            format!("{} of {} MiB are here", done >> 20, partly.total.div_ceil(1 << 20))
        } else if !images.in_folder(digest) && images.wanted(digest).is_none_or(|of| of.sources.is_empty()) {
            "no host that has it is known yet".to_string()
        } else {
            "its parts are asked for".to_string()
        };
        match partly.trouble.as_str() {
            "" => format!("{what}: {how_far}"),
            trouble => format!("{what}: {how_far}; {trouble}"),
        }
    }

    /// A VM waits for its image; whatever it waits for goes first, that of the most important VM before all others.
    fn waited_for(&self) -> Vec<ImageDigest> {
        let waits = |(vm, local): &(&VmId, &LocalVm)| {
            local.phase == Phase::Pending && !local.process && !self.has_image(**vm)
        };
        let mut waiting: Vec<_> = self.vms.iter().filter(waits).map(|(_, local)| local).collect();
        waiting.sort_by_key(|local| Reverse(local.priority.0));
        let mut digests: Vec<ImageDigest> = Vec::new();
        for local in waiting {
            if !digests.contains(&local.spec.image_digest) {
                digests.push(local.spec.image_digest.clone());
            }
        }
        digests
    }

    /// True while a VM of this host is on its way to another, or one is on its way here.
    fn moves_vms(&self) -> bool {
        let leaves = |outgoing: &Outgoing| !matches!(outgoing.report.stage, Stage::Failed | Stage::Released);
        let moves =
            |vm: &LocalVm| vm.outgoing.as_ref().is_some_and(leaves) || (vm.incoming.is_some() && vm.process);
        self.vms.values().any(moves)
    }

    /// Begins what is to be fetched next, removes what nobody wants, and leaves room for VMs that move.
    pub(super) fn keep_images(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let gentle = self.moves_vms();
        if gentle != self.images.gentle {
            self.images.gentle = gentle;
            out.push(Effect::PaceImages { gentle });
        }
        self.images.damages.retain(|(_, until)| now_us < *until);
        if self.images.here.is_none() {
            return;
        }
        self.fetch_next(now_us, gentle, out);
        self.remove_unwanted(now_us, out);
    }

    fn fetch_next(&mut self, now_us: u64, gentle: bool, out: &mut Vec<Effect>) {
        let mut waited = self.waited_for();
        let own = self.own_name();
        let current = self.images.fetching.as_ref();
        let copies = current.is_some_and(|fetch| fetch.from.is_none());
        let current = current.map(|fetch| fetch.digest.clone());
        if current.as_ref().is_some_and(|digest| waited.contains(digest)) {
            // Only a copy of what is on this host is made meanwhile: that takes no other host, and little time.
            waited.retain(|digest| !copies && self.images.source(now_us, digest, &own) == Some(None));
            if waited.is_empty() {
                return;
            }
        }
        let missing = self.images.wanted.iter().flatten().map(|wanted| wanted.digest.clone());
        let missing: Vec<ImageDigest> =
            missing.filter(|digest| !self.images.has_copy(digest) && !waited.contains(digest)).collect();
        // What nobody waits for neither interrupts anything nor begins while VMs move.
        let others = if current.is_some() || gentle { Vec::new() } else { missing };
        let mut next = waited.into_iter().chain(others);
        let found = next.find_map(|digest| {
            let from = self.images.source(now_us, &digest, &own)?;
            Some((digest, from))
        });
        let Some((digest, from)) = found else { return };
        if let Some(fetch) = self.images.fetching.take() {
            out.push(Effect::StopFetch { fetch: fetch.number });
        }
        self.images.fetches += 1;
        let number = self.images.fetches;
        self.images.fetching = Some(Fetch { number, digest: digest.clone(), from: from.clone() });
        out.push(Effect::FetchImage { fetch: number, digest, from });
    }

    fn remove_unwanted(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        if !self.images.current || self.intents.is_none() {
            self.images.unwanted.clear();
            return;
        }
        let intents = self.intents.iter().flat_map(|intents| intents.values());
        let used: BTreeSet<ImageDigest> = intents
            .map(|intent| &intent.spec)
            .chain(self.vms.values().map(|local| &local.spec))
            .map(|spec| spec.image_digest.clone())
            .collect();
        let images = &mut self.images;
        let copies = images.here.iter().flatten().filter(|image| image.is_copy());
        let idle: BTreeSet<ImageDigest> = copies
            .map(|image| image.digest.clone())
            .filter(|digest| !used.contains(digest) && images.wanted(digest).is_none())
            .collect();
        images.unwanted.retain(|digest, _| idle.contains(digest));
        for digest in idle {
            let since = *images.unwanted.entry(digest.clone()).or_insert(now_us);
            if now_us.saturating_sub(since) >= UNWANTED_MS * 1_000 {
                images.unwanted.remove(&digest);
                let copy = |image: &ImageHere| image.is_copy() && image.digest == digest;
                images.here.iter_mut().for_each(|here| here.retain(|image| !copy(image)));
                out.push(Effect::RemoveImage { digest });
            }
        }
    }

    /// The region says what every host is to have.
    pub(super) fn take_images(&mut self, images: crate::protocol::Images) {
        let known: BTreeSet<ImageDigest> = images.wanted.iter().map(|of| of.digest.clone()).collect();
        self.images.avoided.retain(|(digest, ..), _| known.contains(digest));
        self.images.partly.retain(|digest, _| known.contains(digest));
        self.images.wanted = Some(images.wanted);
        self.images.current = true;
    }

    /// The connection is gone: what was wanted is fetched all the same, but nothing is removed over it.
    pub(super) fn images_not_current(&mut self) {
        self.images.current = false;
        self.images.said_us = None;
    }

    /// The shell has looked at what is here.
    pub(super) fn images_here(&mut self, here: Vec<ImageHere>) {
        let images = &mut self.images;
        if images.here.as_ref() != Some(&here) {
            images.here = Some(here);
            images.said_us = None;
            self.changed = true;
        }
        if let Some(digest) = images.fetching.as_ref().map(|fetch| fetch.digest.clone()) {
            if images.has_copy(&digest) {
                images.fetching = None;
                images.forget_trouble(&digest);
            }
        }
    }

    pub(super) fn image_progress(&mut self, fetch: u64, done: u64, total: u64) {
        if let Some(going) = self.images.fetching.as_ref().filter(|going| going.number == fetch) {
            let partly = self.images.partly.entry(going.digest.clone()).or_default();
            (partly.done, partly.total) = (done, total);
        }
    }

    pub(super) fn image_fetched(&mut self, now_us: u64, fetch: u64, result: Result<(), FetchFault>) {
        let Some(going) = self.images.fetching.take_if(|going| going.number == fetch) else { return };
        let (region, host) = match &going.from {
            Some(source) => (source.region.clone(), source.host.clone()),
            None => self.own_name(),
        };
        let key = (going.digest.clone(), region.clone(), host.clone());
        let failures = self.images.avoided.get(&key).map_or(0, |(_, failures)| *failures);
        let (for_ms, why) = match result {
            Ok(()) => return self.images.forget_trouble(&going.digest),
            Err(FetchFault::Failed(why)) => {
                let (least_ms, most_ms) = FAILED_MS;
                (least_ms.saturating_mul(1 << failures.min(16)).min(most_ms), why)
            }
            Err(FetchFault::Wrong(why)) => {
                self.note_damage(now_us, &going.digest, (&region, &host), &why);
                (LIED_MS, why)
            }
        };
        self.images.avoided.insert(key, (now_us + for_ms * 1_000, failures.saturating_add(1)));
        self.images.partly.entry(going.digest).or_default().trouble = format!("{region}/{host}: {why}");
    }

    /// A copy here was found changed, and is taken away.
    pub(super) fn image_changed(&mut self, now_us: u64, digest: &ImageDigest, reason: &str) {
        let (region, host) = self.own_name();
        self.note_damage(now_us, digest, (&region, &host), reason);
    }

    fn note_damage(
        &mut self,
        now_us: u64,
        digest: &ImageDigest,
        (region, host): (&RegionId, &HostId),
        reason: &str,
    ) {
        let of_vm =
            || self.vms.values().find(|vm| vm.spec.image_digest == *digest).map(|vm| vm.spec.image.clone());
        let name = self.images.wanted(digest).map(|wanted| wanted.name.clone()).or_else(of_vm);
        let damage = ImageDamage {
            name: name.unwrap_or_default(),
            digest: digest.clone(),
            from_region: region.clone(),
            from_host: host.clone(),
            reason: reason.to_string(),
        };
        self.images.damages.truncate(DAMAGES_SAID - 1);
        self.images.damages.push_front((damage, now_us + SAY_DAMAGE_MS * 1_000));
        self.changed = true;
    }

    /// What the next renewal says of images.
    pub(super) fn say_images(&mut self, now_us: u64) -> (Option<Vec<ImageHere>>, Vec<ImageDamage>) {
        let images = &mut self.images;
        let due = images.said_us.is_none_or(|said| now_us.saturating_sub(said) >= SAY_AGAIN_MS * 1_000);
        let here = images.here.clone().filter(|_| due);
        if here.is_some() {
            images.said_us = Some(now_us);
        }
        (here, images.damages.iter().map(|(damage, _)| damage.clone()).collect())
    }
}
