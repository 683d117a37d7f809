//! Programs that regions can be upgraded to, and upgrades.

use crate::operation::Operation;

endpoint! {
    #[doc = "Lists the programs that regions can be upgraded to, and which regions run or have them."]
    ReleaseList: Get "/v1/releases", Read, ReleaseListRequest => Releases;
    #[doc = "Hands in a piece of a program; without a piece, says how much has come."]
    ReleaseUpload: Post "/v1/releases/{sha256}/upload", Administer, ReleaseUploadRequest => ReleaseUploaded;
    #[doc = "Publishes a program that was handed in, under the signature it comes with."]
    ReleasePublish: Post "/v1/releases/{version}/publish", Administer, ReleasePublishRequest => Release;
    #[doc = "Replaces a region's control plane by another version, which is rolled back when it does not work."]
    RegionUpgrade: Post "/v1/regions/{region}/upgrade", Administer, RegionUpgradeRequest => RegionUpgraded;
}

request! {
    /// Nothing: all of them.
    pub struct ReleaseListRequest {}

    /// A piece of a program.
    pub struct ReleaseUploadRequest {
        /// SHA-256 of the whole, 64 hexadecimal digits.
        pub sha256: String,
        /// Where the piece begins.
        pub offset: u64,
        /// The piece, in hexadecimal digits.
        #[serde(default)]
        pub hex: String,
    }

    /// A program as it was signed.
    pub struct ReleasePublishRequest {
        pub version: String,
        /// The highest level of commands and facts that it knows.
        pub level: u64,
        /// SHA-256 of its bytes, 64 hexadecimal digits.
        pub sha256: String,
        pub bytes: u64,
        /// Such as `x86_64-linux`.
        pub platform: String,
        /// The public key, 64 hexadecimal digits.
        pub key: String,
        /// Ed25519, 128 hexadecimal digits.
        pub signature: String,
    }

    /// What to upgrade, and to what.
    pub struct RegionUpgradeRequest {
        pub region: String,
        pub version: String,
        /// Parts to upgrade; `null`: all. They run as one process, so it is all of them or none.
        pub components: Option<Vec<String>>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// The programs that regions can be upgraded to.
    #[derive(Eq)]
    pub struct Releases {
        /// The level in force.
        pub level: u64,
        pub items: Vec<Release>,
    }

    /// A program.
    #[derive(Eq)]
    pub struct Release {
        pub version: String,
        pub level: u64,
        pub sha256: String,
        pub bytes: u64,
        pub platform: String,
        pub by: String,
        /// Milliseconds since 1970 (UTC).
        pub published_at_ms: u64,
        /// Regions that have its bytes.
        pub here: Vec<String>,
        /// Regions that run it.
        pub runs: Vec<String>,
    }

    /// How much of a program has come.
    #[derive(Eq)]
    pub struct ReleaseUploaded {
        pub sha256: String,
        pub bytes: u64,
        /// All of it has come and has the digest.
        pub whole: bool,
    }

    /// What becomes of a region.
    pub struct RegionUpgraded {
        pub region: String,
        pub version: String,
        /// The version that it has.
        pub before: String,
        /// It runs that version already.
        pub already: bool,
        /// The upgrade; `null`: nothing was begun.
        pub operation: Option<Operation>,
    }
}
