//! Images: the catalogue, and what hosts have.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Lists the images of the catalogue, then those that hosts have in their image folders only."]
    ImageList: Get "/v1/images", Read, ImageListRequest => Page<Image>, watch;
    #[doc = "One image: its parts, and which hosts have what under its name."]
    ImageRead: Get "/v1/images/{image}", Read, ImageReadRequest => ImageAnswer;
    #[doc = "Puts what a host has in its image folder into the catalogue, for VMs created from now on."]
    ImagePublish: Post "/v1/images/{image}/publish", Operate, ImagePublishRequest => ImageAnswer;
    #[doc = "Takes an image out of the catalogue; refused while VMs use it."]
    ImageRemove: Delete "/v1/images/{image}", Operate, ImageRemoveRequest => ImageRemoved;
}

request! {
    /// Which images to list.
    pub struct ImageListRequest {
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which image: its name.
    pub struct ImageReadRequest {
        pub image: String,
    }

    /// What to publish.
    pub struct ImagePublishRequest {
        pub image: String,
        /// Whose, by name or `region/name`; `null`: any host's, when all that have it agree.
        pub host: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// What to remove.
    pub struct ImageRemoveRequest {
        pub image: String,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// An image under a name: of the catalogue, or of hosts' image folders only.
    #[derive(Eq)]
    pub struct Image {
        pub image: String,
        /// SHA-256 of the list of its parts, 64 hexadecimal digits.
        pub digest: String,
        /// Bytes of all its parts.
        pub bytes: u64,
        /// Whether the catalogue has this digest under this name.
        pub published: bool,
        /// VMs that use it: of the catalogue, those created with this digest; else those that name it and carry none.
        pub vms: u64,
        /// Hosts that are heard and have it.
        pub hosts: u64,
        /// Hosts that are heard.
        pub hosts_total: u64,
        /// Regions with a host that has it.
        pub regions: u64,
        /// Milliseconds since 1970 (UTC); `null`: not in the catalogue.
        pub published_at_ms: Option<u64>,
        /// Who put it there; `null`: not in the catalogue.
        pub by: Option<String>,
        /// The host whose image it was, `region/name`; `null`: not in the catalogue.
        pub from: Option<String>,
    }

    /// One file of an image.
    #[derive(Eq)]
    pub struct ImagePart {
        pub file: String,
        pub bytes: u64,
        /// 64 hexadecimal digits.
        pub sha256: String,
    }

    /// What one host has under a name.
    #[derive(Eq)]
    pub struct ImageOnHost {
        pub region: String,
        pub host: String,
        /// Digest in its image folder; `null`: nothing under that name.
        pub folder: Option<String>,
        /// Whether it has the catalogue's digest, in whatever place.
        pub present: bool,
    }

    /// One image, with where it is and how old the answer is.
    #[derive(Eq)]
    pub struct ImageAnswer {
        pub image: Image,
        /// Empty: not in the catalogue.
        pub parts: Vec<ImagePart>,
        pub hosts: Vec<ImageOnHost>,
        /// Older digests of the name that VMs were created with, and how many VMs each.
        pub older: Vec<ImageOlder>,
        pub as_of: Vec<Freshness>,
    }

    /// What was removed.
    #[derive(Eq)]
    pub struct ImageRemoved {
        pub image: String,
    }

    /// A digest that the catalogue had under a name before.
    #[derive(Eq)]
    pub struct ImageOlder {
        pub digest: String,
        pub vms: u64,
    }
}
