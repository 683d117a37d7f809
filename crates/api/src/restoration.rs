//! A control plane that was lost as a whole and came back from a backup.

use crate::Freshness;

endpoint! {
    #[doc = "From what the control plane was restored, how far it is, what was adopted and what is lost."]
    RestorationRead: Get "/v1/restoration", Read, crate::page::Nothing => RestorationStatus;
    #[doc = "Vouches that a host is off for good: a restored region does not wait for it any longer."]
    RestorationWriteOff: Post "/v1/restoration/write-off", Administer, RestorationWriteOffRequest => RestorationStatus;
    #[doc = "Starts a VM that no host has with a new disk, or forgets it."]
    RestorationDecide: Post "/v1/restoration/decide", Administer, RestorationDecideRequest => RestorationStatus;
}

request! {
    /// A host that is not to be waited for.
    pub struct RestorationWriteOffRequest {
        pub region: String,
        pub host: String,
        pub reason: Option<String>,
    }

    /// What is to become of a VM that no host has.
    pub struct RestorationDecideRequest {
        /// Its id, or its name.
        pub vm: String,
        pub choice: MissingChoice,
        pub reason: Option<String>,
    }
}

wire! {
    /// What is to become of a VM that no host has.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "kebab-case")]
    pub enum MissingChoice {
        /// It is forgotten.
        #[default]
        Forget,
        /// It starts again, with a new disk of its image.
        Start,
    }

    /// How far a restoration is.
    #[derive(Eq)]
    pub struct RestorationStatus {
        /// Names it: the moment of it. `null`: the control plane was never restored.
        pub restoration: Option<u64>,
        /// The backup's number in its chain.
        pub backup: Option<u64>,
        /// Digest of its records.
        pub digest: Option<String>,
        /// What was acknowledged after this is lost.
        pub taken_at_ms: Option<u64>,
        /// Every region has adopted what its hosts have.
        pub done: bool,
        pub regions: Vec<RestoredRegion>,
        /// VMs that are not as the backup has them.
        pub vms: Vec<RestoredVm>,
        /// What is lost, in words.
        pub lost: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// One region of it.
    #[derive(Eq)]
    pub struct RestoredRegion {
        pub region: String,
        /// Hosts that have said what they have.
        pub heard: Vec<String>,
        /// Hosts that are waited for.
        pub awaited: Vec<String>,
        /// Hosts that are not waited for any longer.
        pub written_off: Vec<String>,
        /// Since when everything is adopted.
        pub done_at_ms: Option<u64>,
        /// VMs as the backup has them.
        pub unchanged: u64,
        /// VMs that had changed since.
        pub changed: u64,
        /// VMs that the backup does not have.
        pub unknown: u64,
        /// VMs that no host has.
        pub missing: u64,
    }

    /// One VM.
    #[derive(Eq)]
    pub struct RestoredVm {
        pub vm: String,
        pub name: String,
        pub region: String,
        pub host: String,
        /// What became of it.
        pub how: String,
    }
}
