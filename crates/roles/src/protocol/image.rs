//! What leader and agent say about images.

use dwcp_types::{HostId, ImageDigest, ImagePart, RegionId, wire_struct};

/// An image that a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageHere {
    /// Its name in the host's image folder; empty: a copy kept by digest.
    pub name: String,
    /// What it holds.
    pub digest: ImageDigest,
    /// Bytes of all its parts.
    pub bytes: u64,
}
wire_struct!(ImageHere { 1 name, 2 digest, 3 bytes });

impl ImageHere {
    /// True for a copy kept by digest, which nobody changes.
    pub fn is_copy(&self) -> bool {
        self.name.is_empty()
    }
}

/// A host that has an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageSource {
    /// Its region.
    pub region: RegionId,
    /// The host.
    pub host: HostId,
    /// Where its agent gives it, `ip:port`.
    pub endpoint: String,
}
wire_struct!(ImageSource { 1 region, 2 host, 3 endpoint });

/// An image that every host is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageWanted {
    /// Its name, for people.
    pub name: String,
    /// What it holds.
    pub digest: ImageDigest,
    /// Some hosts that have it, in the order in which they are to be asked; not this one.
    pub sources: Vec<ImageSource>,
}
wire_struct!(ImageWanted { 1 name, 2 digest, 3 sources });

/// The full set of images that a host is to have besides those of its image folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Each once.
    pub wanted: Vec<ImageWanted>,
}
wire_struct!(Images { 1 wanted });

/// A host was given something else than what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDamage {
    /// The image's name.
    pub name: String,
    /// The digest that was asked for.
    pub digest: ImageDigest,
    /// The region of the host that gave it.
    pub from_region: RegionId,
    /// That host; the own one: a copy here was found changed.
    pub from_host: HostId,
    /// What is wrong.
    pub reason: String,
}
wire_struct!(ImageDamage { 1 name, 2 digest, 3 from_region, 4 from_host, 5 reason });

/// Asks what an image of the host's image folder is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadImage {
    /// Repeated in the answer.
    pub request: u64,
    /// Its name in the image folder.
    pub name: String,
}
wire_struct!(ReadImage { 1 request, 2 name });

/// What an image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRead {
    /// The request's number.
    pub request: u64,
    /// What it holds; none: the host has no such image.
    pub digest: ImageDigest,
    /// Its parts.
    pub parts: Vec<ImagePart>,
}
wire_struct!(ImageRead { 1 request, 2 digest, 3 parts });
