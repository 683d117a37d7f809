//! What the loss of a region, or of two at once, would leave without a place.

use crate::Freshness;
use crate::vm_spec::Priority;

endpoint! {
    #[doc = "Which VMs would have no place elsewhere if a region were lost, or any two at once."]
    SurvivabilityRead: Get "/v1/survivability", Read, SurvivabilityReadRequest => SurvivabilityReport;
}

request! {
    /// Which losses to look at.
    pub struct SurvivabilityReadRequest {
        /// Only losses of this region, alone and with each other one; `null`: all.
        pub region: Option<String>,
    }
}

wire! {
    /// Room, of each kind.
    #[derive(Copy, Eq, Default)]
    pub struct Room {
        pub vcpus: u64,
        pub memory_mib: u64,
        pub disk_gib: u64,
    }

    /// A VM that would have no place.
    #[derive(Eq)]
    pub struct UnplacedVm {
        pub vm: String,
        pub name: String,
        /// Where it lives.
        pub region: String,
        pub priority: Priority,
        pub needs: Room,
        /// True: more room in a region that its rules allow would help. False: its rules leave no region.
        pub lacks_room: bool,
        /// Why, by region.
        pub why: String,
    }

    /// What one loss would do.
    #[derive(Eq)]
    pub struct Loss {
        /// The regions that are lost.
        pub lost: Vec<String>,
        /// VMs that live there.
        pub vms: u64,
        /// Of those, VMs that stay by their own rule.
        pub stay: u64,
        /// Of those, VMs without a place elsewhere.
        pub unplaced: u64,
        /// Of those, VMs whose rules leave no region, however much room there is.
        pub by_rules: u64,
        /// What the others take: so much room is missing.
        pub missing: Room,
        /// The most important VMs without a place, at most a hundred.
        pub unplaced_vms: Vec<UnplacedVm>,
    }

    /// Losses of one region, then of two.
    #[derive(Eq)]
    pub struct SurvivabilityReport {
        pub losses: Vec<Loss>,
        /// Every VM that may move has a place elsewhere, whichever one region is lost.
        pub survives_one: bool,
        /// Losses of two regions were not looked at: there are too many of them for so many VMs.
        pub pairs_left_out: bool,
        /// Time it took to think all of them through, in microseconds.
        pub took_us: u64,
        pub as_of: Vec<Freshness>,
    }

    /// The worst loss of one region.
    #[derive(Eq)]
    pub struct WorstLoss {
        /// Its region; `null`: no loss of one region leaves a VM without a place.
        pub region: Option<String>,
        /// VMs that it would leave without a place.
        pub unplaced: u64,
        /// How old this is.
        pub age_ms: u64,
    }
}
