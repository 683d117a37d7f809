//! What the loss of a region would do, kept from one look to the next.
//!
//! It is thought through on a copy of the facts, beside the node's thread, once a state of the facts: what is shown with
//! the health of regions is what was found last, and never computed for that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dwcp_decide::{Goes, Loss, Losses, Measured, Serial, relocate, survivability, warnings};
use dwcp_state::{FEDERATION_GROUP, Federation, Region};
use dwcp_types::{HostId, RegionId, Revision, VmId};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Api;
use super::call::Call;
use crate::handle::{NodeHandle, View};

/// Between two looks whether the facts have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Thinking takes no larger share of a processor than one part in so many.
const SHARE: u32 = 30;
/// Round trips and health count as well, and no revision tells of them: nothing older than this is used again.
const LASTS: Duration = Duration::from_secs(30);
/// How long a change waits to learn what it made worse.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a creation waits until others have been thought through.
const CREATION_WAITS: Duration = Duration::from_millis(50);
/// Places to look for in losses of two regions: more take seconds, and only single losses are looked at.
const PLACES: usize = 500_000;

/// What was found, for one state of the facts.
pub struct Assessed {
    revisions: Vec<Revision>,
    depth: Losses,
    made: Instant,
    /// Losses of one region, then, where they were asked for, of two.
    pub losses: Vec<Loss>,
    /// Losses of two regions were asked for and are too many.
    pub pairs_left_out: bool,
    /// How long it took.
    pub took: Duration,
}

/// What was found last, and who looks now.
#[derive(Default)]
pub struct Outlook {
    latest: Mutex<Option<Arc<Assessed>>>,
    /// One look at a time: who waits mostly finds that it was done for him.
    looking: tokio::sync::Mutex<()>,
    /// One change is thought through at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// What was found last; nothing just after the start.
#[derive(Clone, Default)]
pub struct Lately(Option<Arc<Assessed>>);

impl Lately {
    /// VMs of a region that would have no place if it were lost; 0 while that is not known.
    pub fn would_not_survive(&self, region: &RegionId) -> u32 {
        let of = |loss: &&Loss| loss.regions.len() == 1 && loss.regions[0] == *region;
        let loss = self.0.iter().flat_map(|found| &found.losses).find(of);
        loss.map_or(0, |loss| u32::try_from(loss.unplaced.len()).unwrap_or(u32::MAX))
    }

    /// The loss of one region that leaves the most VMs without a place, and how old that is; none while not known.
    pub fn worst(&self) -> Option<(Option<&Loss>, Duration)> {
        let found = self.0.as_ref()?;
        let ones = found.losses.iter().filter(|loss| loss.regions.len() == 1 && !loss.unplaced.is_empty());
        Some((ones.rev().max_by_key(|loss| loss.unplaced.len()), found.made.elapsed()))
    }
}

fn revisions(view: &View<'_>) -> Vec<Revision> {
    let groups = std::iter::once(FEDERATION_GROUP).chain(view.node.regions().keys().copied());
    groups.map(|group| view.node.facts().revision(group)).collect()
}

impl Outlook {
    fn latest(&self) -> Option<Arc<Assessed>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was found last.
    pub fn lately(&self) -> Lately {
        Lately(self.latest())
    }

    /// What holds of the facts as they are now; thought through unless that was done. None: the node stops.
    pub async fn now(&self, node: &NodeHandle, depth: Losses) -> Option<Arc<Assessed>> {
        let _one = self.looking.lock().await;
        let known = self.latest();
        let look = move |view: &View<'_>| {
            let revisions = revisions(view);
            let holds = |found: &Arc<Assessed>| {
                found.revisions == revisions && found.depth >= depth && found.made.elapsed() < LASTS
            };
            match known.filter(holds) {
                Some(found) => Ok(found),
                None => Err((revisions, view.node.facts().for_placement(), view.node.measured())),
            }
        };
        let (revisions, copy, measured) = match node.look(look).await? {
            Ok(found) => return Some(found),
            Err(copied) => copied,
        };
        let think = move || assess(&copy, &measured, depth, revisions);
        let found = Arc::new(tokio::task::spawn_blocking(think).await.ok()?);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Some(found)
    }
}

fn assess(copy: &Federation, measured: &Measured, depth: Losses, revisions: Vec<Revision>) -> Assessed {
    let made = Instant::now();
    let others = copy.core.regions.len().saturating_sub(1);
    let pairs_left_out = depth == Losses::OfTwo && copy.vms().count() * others > PLACES;
    let looked = if pairs_left_out { Losses::OfOne } else { depth };
    let losses = survivability(copy, measured, looked, &Serial);
    Assessed { revisions, depth, made, losses, pairs_left_out, took: made.elapsed() }
}

/// Keeps what is shown with the health of regions up to date until the API stops.
pub async fn keep(api: Arc<Api>) {
    let mut stopping = api.stopping.subscribe();
    loop {
        let took = api.outlook.now(&api.node, Losses::OfOne).await.map_or(Duration::ZERO, |found| found.took);
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = sleep(LOOK_EVERY.max(took * SHARE)) => {}
        }
    }
}

/// What a change makes worse, being thought through.
pub struct Worse(Option<JoinHandle<Vec<String>>>);

impl Worse {
    /// Nothing to think through.
    pub fn nothing() -> Worse {
        Worse(None)
    }

    /// What became worse; nothing when that takes too long to find out: the health of regions shows it then.
    pub async fn warnings(self) -> Vec<String> {
        let Some(thinking) = self.0 else { return Vec::new() };
        timeout(PATIENCE, thinking).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Thinks on a copy of the facts as they are now, one change at a time: copies take the node's time, so of many changes
/// at once those that would wait longer than this go without.
async fn think(
    call: &Call,
    wait: Duration,
    thought: impl FnOnce(Federation, &Measured) -> Vec<String> + Send + 'static,
) -> Worse {
    let Ok(place) = timeout(wait, call.api.outlook.changing.clone().lock_owned()).await else {
        return Worse::nothing();
    };
    let copy = |view: &View<'_>| (view.node.facts().for_placement(), view.node.measured());
    let Some((copy, measured)) = call.api.node.look(copy).await else { return Worse::nothing() };
    Worse(Some(tokio::task::spawn_blocking(move || {
        let warnings = thought(copy, &measured);
        drop(place);
        warnings
    })))
}

fn ones(copy: &Federation, measured: &Measured) -> Vec<Loss> {
    survivability(copy, measured, Losses::OfOne, &Serial)
}

/// What the creation of VMs, which are in the facts by now, has made worse.
pub async fn after_creation(call: &Call, vms: Vec<VmId>) -> Worse {
    if vms.is_empty() {
        return Worse::nothing();
    }
    let thought = move |mut copy: Federation, measured: &Measured| {
        let after = ones(&copy, measured);
        if after.iter().all(|loss| loss.unplaced.is_empty()) {
            return Vec::new();
        }
        copy.leave_out(&vms);
        warnings(&ones(&copy, measured), &after)
    };
    think(call, CREATION_WAITS, thought).await
}

/// What it would make worse if a region's record were this one.
pub async fn of_region(call: &Call, next: Region) -> Worse {
    let thought = move |mut copy: Federation, measured: &Measured| {
        let before = ones(&copy, measured);
        copy.core.regions.insert(next.id.clone(), next);
        warnings(&before, &ones(&copy, measured))
    };
    think(call, PATIENCE, thought).await
}

/// What it would make worse if these VMs lived there, and nothing came any more to what is emptied: a region, or one of its hosts.
pub async fn of_moves(call: &Call, goes: Vec<Goes>, emptied: Option<(RegionId, Option<HostId>)>) -> Worse {
    if goes.is_empty() {
        return Worse::nothing();
    }
    let thought = move |mut copy: Federation, measured: &Measured| {
        let before = ones(&copy, measured);
        relocate(&mut copy, measured, &goes);
        let takes_vms = match &emptied {
            None => None,
            Some((region, None)) => copy.core.regions.get_mut(region).map(|region| &mut region.placement),
            Some((region, Some(host))) => {
                let found = copy.regions.get_mut(region).and_then(|facts| facts.hosts.get_mut(host));
                found.map(|host| &mut host.placement)
            }
        };
        if let Some(placement) = takes_vms {
            *placement = false;
        }
        warnings(&before, &ones(&copy, measured))
    };
    think(call, PATIENCE, thought).await
}

/// What it would make worse if these regions could not be counted on for a while, and what would have no place if all of them
/// were lost in that time.
pub async fn without(call: &Call, regions: Vec<RegionId>) -> Worse {
    let thought = move |mut copy: Federation, measured: &Measured| {
        let before = ones(&copy, measured);
        let mut pair = None;
        if let [first, second] = regions.as_slice() {
            let both = [first.min(second).clone(), first.max(second).clone()];
            let all = survivability(&copy, measured, Losses::OfTwo, &Serial);
            pair = all.into_iter().find(|loss| loss.regions == both);
        }
        for region in &regions {
            if let Some(record) = copy.core.regions.get_mut(region) {
                record.placement = false;
            }
        }
        let mut said = warnings(&before, &ones(&copy, measured));
        if let Some(loss) = pair.filter(|loss| !loss.unplaced.is_empty()) {
            let (count, name) = (loss.unplaced.len(), loss.name());
            said.push(format!("survivability: {count} VMs would have no place if {name} were lost together"));
        }
        said
    };
    think(call, PATIENCE, thought).await
}
