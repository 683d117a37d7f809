//! Images of simulated hosts: which host has which, and how long it takes to get one from another.

use dwcp_roles::agent::{Effect, FetchFault, Input};
use dwcp_roles::protocol::{ImageHere, ImageRead, ImageSource};
use dwcp_types::{IMAGE_FILE, ImageDigest, ImagePart};

use crate::world::{Event, World};

/// How long an image takes to come, µs.
const FETCH_US: u64 = 3_000_000;
/// Bytes of every image.
const BYTES: u64 = 64 << 20;

/// An image that is on its way to a host.
#[derive(Clone, Debug)]
pub struct Coming {
    host: usize,
    incarnation: u64,
    fetch: u64,
    digest: ImageDigest,
    from: Option<ImageSource>,
}

impl World {
    /// A host has an image under a name in its image folder from now on. What it holds is told by a digit. Every agent has
    /// then looked at its images.
    pub fn place_image(&mut self, host: usize, name: &str, digit: char) {
        let digest = ImageDigest::from(digit.to_string().repeat(64).as_str());
        let images = &mut self.hosts[host].images;
        images.retain(|image| image.name != name);
        images.push(ImageHere { name: name.to_string(), digest, bytes: BYTES });
        self.images_told = true;
        (0..self.hosts.len()).for_each(|host| self.tell_images(host));
    }

    /// The agent of a host has looked at its images, where any matter.
    pub(crate) fn tell_images(&mut self, host: usize) {
        if self.images_told {
            self.later(host, 1_000, Input::Images(self.hosts[host].images.clone()));
        }
    }

    /// What an agent does about images, or else about VMs that move.
    pub(crate) fn carry_out_image(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::FetchImage { fetch, digest, from } => self.fetch_image(host, fetch, digest, from),
            Effect::StopFetch { .. } => self.hosts[host].fetch = None,
            Effect::RemoveImage { digest } => {
                self.hosts[host].images.retain(|image| !image.is_copy() || image.digest != digest);
            }
            Effect::ReadImage { request, name } => self.read_image(host, request, &name),
            moves => self.carry_out_move(host, moves),
        }
    }

    fn fetch_image(&mut self, host: usize, fetch: u64, digest: ImageDigest, from: Option<ImageSource>) {
        let incarnation = self.hosts[host].incarnation;
        self.hosts[host].fetch = Some(fetch);
        let coming = Coming { host, incarnation, fetch, digest, from };
        self.schedule(FETCH_US, Event::ImageCame(Box::new(coming)));
    }

    /// The time is over that an image takes to come.
    pub(crate) fn image_came(&mut self, coming: Coming) {
        let Coming { host, incarnation, fetch, digest, from } = coming;
        let going = self.hosts[host].fetch == Some(fetch) && self.hosts[host].incarnation == incarnation;
        if !going || self.hosts[host].agent.is_none() {
            return;
        }
        self.hosts[host].fetch = None;
        let gives = |source: &ImageSource| {
            let found = self.hosts.iter().find(|of| of.region == source.region && of.name == source.host);
            found.is_some_and(|of| {
                let home = self.hosts[host].home;
                let has = of.images.iter().any(|image| image.digest == digest);
                of.alive && has && !self.net.is_cut(of.home, home) && !self.net.is_cut(home, of.home)
            })
        };
        let result = match &from {
            Some(source) if !gives(source) => Err(FetchFault::Failed("it does not answer".to_string())),
            _ => Ok(()),
        };
        if result.is_ok() {
            let name = self.hosts[host].name.clone();
            self.note(format!("host {name} has image {}", digest.short()));
            self.hosts[host].images.push(ImageHere { name: String::new(), digest, bytes: BYTES });
            let here = self.hosts[host].images.clone();
            self.step_agent(host, Input::Images(here));
        }
        self.step_agent(host, Input::ImageFetched { fetch, result });
    }

    fn read_image(&mut self, host: usize, request: u64, name: &str) {
        let image = self.hosts[host].images.iter().find(|image| image.name == name).cloned();
        let digest = image.unwrap_or_default().digest;
        let part = ImagePart { file: IMAGE_FILE.into(), bytes: BYTES, sha256: digest.to_string() };
        self.later(host, 1_000, Input::ImageRead(ImageRead { request, digest, parts: vec![part] }));
    }

    /// Hosts that are on and have a copy of what the catalogue has under a name.
    pub fn hosts_with_image(&self, name: &str) -> usize {
        let alive = self.nodes.values().filter_map(|slot| slot.node.as_ref());
        let newest = alive.max_by_key(|node| node.facts().revision(0));
        let Some(image) = newest.and_then(|node| node.facts().core.images.get(name)) else { return 0 };
        let has = |host: &&crate::host::Host| {
            host.alive && host.images.iter().any(|of| of.is_copy() && of.digest == image.digest)
        };
        self.hosts.iter().filter(has).count()
    }
}
