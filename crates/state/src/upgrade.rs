//! Published programs, and the upgrade of a region to one of them.

use dwcp_types::{RegionId, Revision, Wall};

/// A program that regions can be upgraded to. Its bytes are told by their digest and come from whoever has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Its version, without a leading `v`.
    pub version: String,
    /// The highest level that it knows.
    pub level: u64,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub bytes: u64,
    /// What it runs on, such as `x86_64-linux`.
    pub platform: String,
    /// The public key that the signature holds by, 64 hexadecimal digits.
    pub key: String,
    /// Ed25519 over [`Release::signed_text`], 128 hexadecimal digits.
    pub signature: String,
    /// Who published it.
    pub by: String,
    /// When.
    pub at: Wall,
    /// The revision at which that happened.
    pub revision: Revision,
}

impl Release {
    /// Releases that are kept; of more, the oldest is forgotten.
    pub const KEPT: usize = 8;
    /// Largest program, bytes.
    pub const LARGEST: u64 = 512 << 20;

    /// What is signed: everything that a region relies on.
    pub fn signed_text(&self) -> String {
        let Release { version, level, sha256, bytes, platform, .. } = self;
        format!(
            "dwcp release 1\nversion {version}\nlevel {level}\nsha256 {sha256}\nbytes {bytes}\nplatform {platform}\n"
        )
    }
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpgradeStep {
    /// The region fetches the program.
    #[default]
    Fetching,
    /// The region's node may go over to it: nobody may count on that node until it says what came of it.
    Switching,
}

/// The upgrade of one region's control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// The region.
    pub region: RegionId,
    /// The version it is to have.
    pub version: String,
    /// SHA-256 of that program.
    pub sha256: String,
    /// The version it had.
    pub before: String,
    /// How far it is.
    pub step: UpgradeStep,
    /// Since when.
    pub since: Wall,
}
