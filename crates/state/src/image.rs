//! The catalogue of images: what the federation calls by a name, by digest.

use dwcp_types::{HostId, ImageDigest, ImagePart, RegionId, Revision, Wall, image_bytes};

/// An image in the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub digest: ImageDigest,
    /// The files it is made of.
    pub parts: Vec<ImagePart>,
    /// The region of the host whose image it was.
    pub region: RegionId,
    /// That host.
    pub host: HostId,
    /// Who put this digest under this name.
    pub by: String,
    /// When.
    pub at: Wall,
    /// The revision at which that happened.
    pub revision: Revision,
}

impl Image {
    /// Images in the catalogue, at most.
    pub const MOST: usize = 1_000;

    /// Bytes of all its parts together.
    pub fn bytes(&self) -> u64 {
        image_bytes(&self.parts)
    }
}

/// A host was given something else than the image that it asked for, or its own copy was found changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFault {
    /// The image's name.
    pub name: String,
    /// The digest that it should have had.
    pub digest: ImageDigest,
    /// The host that noticed.
    pub host: HostId,
    /// The region of the host that gave it.
    pub from_region: RegionId,
    /// That host; the one that noticed when it was its own copy.
    pub from_host: HostId,
    /// What is wrong with it.
    pub reason: String,
}
