//! Maintenance windows: when work on a region or a host is planned, who was told of it, and what was closed for it.

use dwcp_types::{HostId, RegionId, Revision, Wall, WindowId};

const DAY_MS: u64 = 86_400_000;

/// What is told of a window, each once and never one after a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// That it is planned.
    #[default]
    Planned,
    /// That it begins in seven days.
    Week,
    /// That it begins in 24 hours.
    Day,
    /// That it has begun.
    Started,
    /// That it is over.
    Ended,
}

/// A maintenance window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Its number.
    pub id: WindowId,
    /// The region that is worked on, or that the host is in.
    pub region: RegionId,
    /// Only this host; none: the whole region.
    pub host: Option<HostId>,
    /// When it begins.
    pub starts_at: Wall,
    /// When it ends.
    pub ends_at: Wall,
    /// Why, in the words of who asked.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked_at: Wall,
    /// Placement stops at its beginning and comes back at its end.
    pub no_placement: bool,
    /// The newest that was told.
    pub said: Notice,
    /// It has closed placement, and is to open it again.
    pub closed: bool,
    /// When it was called off.
    pub cancelled_at: Option<Wall>,
    /// The revision at which it last changed by intent.
    pub revision: Revision,
}

impl Window {
    /// Longest window.
    pub const LONGEST_MS: u64 = 31 * DAY_MS;
    /// The farthest that one may begin from now.
    pub const FARTHEST_MS: u64 = 366 * DAY_MS;

    /// `us-east-1`, or `us-east-1/h1`.
    pub fn subject(&self) -> String {
        match &self.host {
            Some(host) => format!("{}/{host}", self.region),
            None => self.region.to_string(),
        }
    }

    /// True until it was called off or its end was told.
    pub fn is_open(&self) -> bool {
        self.cancelled_at.is_none() && self.said < Notice::Ended
    }

    /// True at moments within it, by the plan, unless it was called off before.
    pub fn holds_at(&self, at: Wall) -> bool {
        let end = self.cancelled_at.map_or(self.ends_at, |cancelled| cancelled.min(self.ends_at));
        self.starts_at <= at && at < end
    }

    /// True when both hold at some moment.
    pub fn overlaps(&self, other: &Window) -> bool {
        self.starts_at < other.ends_at && other.starts_at < self.ends_at
    }

    /// True while it has begun, as was told, and is neither over nor called off.
    pub fn runs(&self) -> bool {
        self.is_open() && self.said == Notice::Started
    }

    /// What is to be told now: the newest whose time has come. What would have been due before it was planned, or was missed
    /// because a later one is due as well, is not told any more.
    pub fn due(&self, now: Wall) -> Option<Notice> {
        let before = |ms: u64| Wall(self.starts_at.0.saturating_sub(ms));
        let times = [
            (Notice::Week, before(7 * DAY_MS)),
            (Notice::Day, before(DAY_MS)),
            (Notice::Started, self.starts_at),
            (Notice::Ended, self.ends_at),
        ];
        let asked = self.asked_at;
        let told =
            |(notice, at): &&(Notice, Wall)| *at <= now && (*notice >= Notice::Started || asked <= *at);
        let newest = times.iter().rev().find(told).map(|(notice, _)| *notice)?;
        (self.is_open() && newest > self.said).then_some(newest)
    }
}
