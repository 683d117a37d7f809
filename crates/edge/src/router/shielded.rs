//! What keeps attackers out: the federation's blocks, other routers' blocks, and the kernel's part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use dwcp_decide::ddos::{Action, Block, Country, GuardPolicy, Net, RouterReport, Status};
use dwcp_roles::protocol::RouterBeat;
use dwcp_state::{DocumentKind, Federation};
use dwcp_types::Revision;
use ring::hmac;

use super::link::wall_ms;
use super::{Settings, Shared};
use crate::geo::Geo;
use crate::kernel::Dropped;
use crate::shield::{DropRecord, Secrets, Setup, Shield};

/// The document that says what is too much.
const POLICY_ID: &str = "policy";

/// Between two times at which it is logged who was not served, s, and the lines that tell of one source each.
const LOG_EVERY_S: u64 = 10;
const LOGGED: usize = 32;

/// What was said last about whom to keep out.
#[derive(Default)]
pub struct Heard {
    /// The newest document that was read.
    revision: Option<Revision>,
    /// Documents that were read.
    count: usize,
    /// The federation's.
    blocks: Vec<Block>,
    /// Other routers', by router.
    others: BTreeMap<String, Vec<Block>>,
    /// Attacks of the last report, and how many there were in all.
    attacks: BTreeSet<String>,
    detected: u64,
    /// Up to which second it was said who was not served, since 1970.
    logged_s: u64,
}

/// A key for one purpose, of the secret that all routers share.
pub fn derived(secret: &[u8; 32], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(tag.as_ref());
    key
}

/// The shield of this router.
///
/// # Errors
/// The system gives no random numbers.
pub fn shield(settings: &Settings, geo: Option<Arc<Geo>>) -> Result<Arc<Shield>, String> {
    let mut seed = [0; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
        .map_err(|_| "no random numbers".to_owned())?;
    let look = move |ip| {
        let found = geo.as_ref().map(|geo| geo.look(ip)).unwrap_or_default();
        (found.country.map(Country::of).unwrap_or_default(), found.asn.unwrap_or_default())
    };
    let config = &settings.config;
    Ok(Arc::new(Shield::new(Setup {
        router: format!("{}/{}", config.host, config.number),
        policy: GuardPolicy::default(),
        secrets: Secrets { current: derived(&settings.secret, "challenge"), previous: None },
        seed: u64::from_le_bytes(seed),
        geo: Box::new(look),
        clock: Box::new(wall_ms),
    })))
}

/// Reads what the federation says about whom to keep out, when that has changed; what is wrong with it.
pub fn read(shared: &Shared, facts: &Federation) -> Vec<String> {
    let kinds = [DocumentKind::Guard, DocumentKind::Block];
    let all = || facts.core.documents.iter().filter(|(key, _)| kinds.contains(&key.kind));
    let newest = all().map(|(_, document)| document.revision).max();
    let count = all().count();
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if (heard.revision, heard.count) == (newest, count) {
        return Vec::new();
    }
    (heard.revision, heard.count) = (newest, count);
    let mut wrong = Vec::new();
    let mut policy = GuardPolicy::default();
    heard.blocks.clear();
    for (key, document) in all() {
        let read = match key.kind {
            DocumentKind::Guard if key.id == POLICY_ID => {
                serde_json::from_str(&document.text).map(|read| policy = read)
            }
            DocumentKind::Block => serde_json::from_str(&document.text).map(|block| heard.blocks.push(block)),
            _ => Ok(()),
        };
        if let Err(error) = read {
            wrong.push(format!("{key} can't be read: {error}"));
        }
    }
    let pardons = policy.pardons.clone();
    shared.shield.set_policy(policy);
    let now_ms = wall_ms();
    for pardon in pardons.iter().filter(|pardon| pardon.until_ms > now_ms) {
        shared.shield.pardon(&pardon.what, pardon.until_ms);
    }
    put(shared, &heard);
    wrong
}

/// Attacks that go on, and all that this router has seen.
pub fn attacks(shared: &Shared, report: &RouterReport) -> (u64, u64) {
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    let known: BTreeSet<String> = report.attacks.iter().map(|attack| attack.key.clone()).collect();
    heard.detected += known.difference(&heard.attacks).count() as u64;
    heard.attacks = known;
    let active = report.attacks.iter().filter(|attack| attack.status == Status::Active).count();
    (active as u64, heard.detected)
}

/// Who was not served since that was said last, as lines for the log: those that came most often, then how many others.
pub fn kept_out(shared: &Shared) -> Vec<String> {
    let now_s = wall_ms() / 1_000;
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.logged_s + LOG_EVERY_S > now_s {
        return Vec::new();
    }
    let since_s = std::mem::replace(&mut heard.logged_s, now_s);
    drop(heard);
    let mut early = shared.early.lock().unwrap_or_else(PoisonError::into_inner);
    let packets = early.dropped.packets.saturating_sub(early.told);
    early.told = early.dropped.packets;
    drop(early);
    let mut lines = lines(&shared.shield.drops(since_s), now_s);
    if packets > 0 {
        lines.push(format!("the kernel dropped {packets} packets of sources that are blocked"));
    }
    lines
}

/// The seconds before `until_s` as lines.
fn lines(drops: &[DropRecord], until_s: u64) -> Vec<String> {
    let mut sums: BTreeMap<(Option<Net>, &str, Action), (u64, u64)> = BTreeMap::new();
    for one in drops.iter().filter(|one| one.at_s < until_s) {
        let (count, seconds) = sums.entry((one.source, one.rule.as_str(), one.action)).or_default();
        *count += one.count;
        *seconds += 1;
    }
    let mut all: Vec<_> = sums.into_iter().collect();
    all.sort_by_key(|((source, ..), (count, _))| (source.is_none(), std::cmp::Reverse(*count)));
    let line = |((source, rule, action), (count, seconds)): &((Option<Net>, &str, Action), (u64, u64))| {
        let who = source.map_or_else(|| "others were".to_owned(), |net| format!("{net} was"));
        format!("{who} kept out {count} times in {seconds} s: {} ({rule})", action.name())
    };
    let mut lines: Vec<String> = all.iter().take(LOGGED).map(line).collect();
    let rest = all.get(LOGGED..).unwrap_or_default();
    if !rest.is_empty() {
        let count: u64 = rest.iter().map(|(_, (count, _))| count).sum();
        lines.push(format!("{} further sources were kept out {count} times", rest.len()));
    }
    lines
}

/// Takes what other routers say of attackers.
pub fn hear(shared: &Shared, routers: &[RouterBeat]) {
    let config = &shared.settings.config;
    let others = routers.iter().filter(|router| {
        !(router.region.as_str() == config.region
            && router.host.as_str() == config.host
            && router.number == config.number)
    });
    let read = others.filter_map(|router| {
        let report: RouterReport = serde_json::from_slice(&router.shield.0).ok()?;
        Some((report.router, report.blocks))
    });
    let others: BTreeMap<String, Vec<Block>> = read.collect();
    let mut heard = shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.others != others {
        heard.others = others;
        put(shared, &heard);
    }
}

fn put(shared: &Shared, heard: &Heard) {
    let others = heard.others.values().flatten();
    shared.shield.set_blocks(heard.blocks.iter().chain(others).cloned().collect());
}

/// What the kernel dropped, and how much of that was told.
#[derive(Clone, Copy, Default)]
pub struct EarlyDrops {
    pub dropped: Dropped,
    told: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_served_is_told_once_the_most_frequent_first_and_briefly() {
        let drop = |at_s, source: Option<&str>, count| DropRecord {
            at_s,
            source: source.and_then(|text| text.parse().ok()),
            rule: "block-1".to_owned(),
            action: Action::Blacklist,
            count,
        };
        let drops = [
            drop(5, Some("10.0.0.1"), 3),
            drop(6, Some("10.0.0.1"), 4),
            drop(6, Some("10.0.0.2"), 90),
            drop(6, None, 500),
            drop(7, Some("10.0.0.3"), 1),
        ];
        assert_eq!(
            lines(&drops, 7),
            [
                "10.0.0.2 was kept out 90 times in 1 s: blacklist (block-1)",
                "10.0.0.1 was kept out 7 times in 2 s: blacklist (block-1)",
                "others were kept out 500 times in 1 s: blacklist (block-1)",
            ]
        );
        let many: Vec<DropRecord> =
            (0..100).map(|n| drop(1, Some(format!("10.0.1.{n}").as_str()), n + 1)).collect();
        let told = lines(&many, 2);
        assert_eq!(told.len(), LOGGED + 1);
        assert_eq!(told[LOGGED], "68 further sources were kept out 2346 times");
    }
}
