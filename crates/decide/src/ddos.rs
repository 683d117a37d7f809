//! Who floods a router, and what is done about it.
//!
//! A router feeds a [`Detector`] with everything it sees; every 250 ms it says which sources, networks, countries, paths or
//! services are out of bounds, with the evidence and the blocks it proposes. [`validate`] says whether the evidence shows an
//! attack or a crowd. [`Lists`] tells for an address whether it is listed. Memory is bounded everywhere: an attacker chooses
//! what is counted, not how much.

mod attack;
mod baseline;
mod detect;
mod journal;
mod lists;
mod merge;
mod net;
mod settings;
pub mod sketch;
mod validate;

pub use attack::{Attack, AttackKind, Evidence, Judgement, Status, Verdict, attack_name};
pub use baseline::{Baseline, Hour, Sample, Shares, Typical};
pub use detect::{Detection, Detector, Event, Kind, Learned, Phase, ServiceTraffic, Talker, Traffic};
pub use journal::{JournalChange, journal};
pub use lists::{Lists, Matches};
pub use merge::{BlockSeen, Merged, RouterReport, Sighting, merge};
pub use net::{Country, Net, hash_text};
pub use settings::{Action, Block, GuardPolicy, Pardon, Target, Whitelisted, block_id};
pub use validate::validate;
