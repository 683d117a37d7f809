//! Who is kept out, and who never is: changed by people.

use std::collections::BTreeSet;

use dwcp_api::Problem;
use dwcp_api::guard::{
    BlockAdd, BlockAddRequest, BlockRemove, BlockRemoveRequest, BlocksChanged, WhitelistChange,
    WhitelistChangeRequest,
};
use dwcp_decide::ddos::{Action, Block, GuardPolicy, Net, Pardon, Target, Whitelisted, block_id};
use dwcp_state::{DocumentEvent, DocumentKind};
use dwcp_types::{Code, Refusal};

use super::super::call::{Call, bad_value, reason, told};
use super::super::policy_document::{self, ID};
use super::super::routes::Serve;
use super::super::routing::services::unknown;
use super::settings::action;
use super::{KINDS, Seen, excepted, shown};
use crate::clock;
use crate::monitor::documents::{self, Documents};

/// Blocks of the federation.
const MOST_BLOCKS: usize = 10_000;
/// Whom one request may name.
const MOST_AT_ONCE: usize = 1_000;
/// A block lasts at least and at most so long, ms.
const SHORTEST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 366 * 86_400_000;
/// What routers did by themselves and people took back, they don't do again for so long, ms.
const PARDON_MS: u64 = 3_600_000;
/// A network with fewer bits is half of the world.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 16;

/// Whom texts name, each once.
fn targets(texts: &[String]) -> Result<Vec<Target>, Problem> {
    if texts.is_empty() || texts.len() > MOST_AT_ONCE {
        return Err(bad_value("who", format!("1 to {MOST_AT_ONCE}")));
    }
    let mut all = Vec::new();
    for text in texts {
        let target: Target = text.trim().parse().map_err(|why: String| bad_value("who", why))?;
        if !all.contains(&target) {
            all.push(target);
        }
    }
    Ok(all)
}

fn is_too_wide(net: &Net) -> bool {
    net.bits() < if net.base().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 }
}

/// What can be done with whom.
fn fits(target: &Target, action: Action, limit: Option<u32>) -> Result<(), Problem> {
    if target.net().is_some_and(|net| is_too_wide(&net)) {
        let why =
            format!("{target} is too wide: /{WIDEST_V4} (IPv6: /{WIDEST_V6}) is the widest that can be");
        return Err(bad_value("who", why));
    }
    if action == Action::GeoBlock && !matches!(target, Target::Country(_)) {
        return Err(bad_value("who", format!("{target} is no country: geo_block is of countries")));
    }
    if action == Action::Blacklist && matches!(target, Target::Service(_) | Target::Path { .. }) {
        let why = format!(
            "{target} is a service: nobody could reach it; `dwcp-cli routing service remove` ends it"
        );
        return Err(bad_value("who", why));
    }
    match limit {
        Some(0) => Err(bad_value("limit", "1 or more; blacklist lets nothing through")),
        Some(_) if action != Action::RateLimit => Err(bad_value("limit", "only a rate_limit has one")),
        _ => Ok(()),
    }
}

/// Something may last so long.
fn lasts(duration_ms: u64) -> Result<(), Problem> {
    let fits = (SHORTEST_MS..=LONGEST_MS).contains(&duration_ms);
    if fits { Ok(()) } else { Err(bad_value("duration_ms", "1 s to 366 days")) }
}

/// The services that targets name are there.
fn known(seen: &Documents, targets: &[Target]) -> Result<(), Refusal> {
    let named = targets.iter().filter_map(|target| match target {
        Target::Service(service) | Target::Path { service, .. } => Some(service),
        _ => None,
    });
    let services: BTreeSet<&str> = seen.ids(DocumentKind::Service).collect();
    match named.into_iter().find(|name| !services.contains(name.as_str())) {
        Some(name) => Err(unknown(name)),
        None => Ok(()),
    }
}

fn listed<T: ToString>(all: &[T]) -> String {
    let first: Vec<String> = all.iter().take(5).map(ToString::to_string).collect();
    match all.len().saturating_sub(5) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Whom an exception keeps from what is done.
fn spared(policy: &GuardPolicy, targets: &[Target], now_ms: u64) -> Vec<String> {
    let lasting = || policy.whitelist.iter().filter(|one| one.lasts(now_ms));
    let by = |target: &Target| {
        lasting().find(|one| match (one.what.net(), target.net()) {
            (Some(white), Some(net)) => white.covers(&net) || net.covers(&white),
            _ => one.what == *target,
        })
    };
    let told = |(target, white): (&Target, &Whitelisted)| {
        format!("{} is whitelisted, which goes before the block of {target}", white.what)
    };
    targets.iter().filter_map(|target| by(target).map(|white| told((target, white)))).collect()
}

impl Serve for BlockAdd {
    async fn answer(call: &Call, request: BlockAddRequest) -> Result<BlocksChanged, Problem> {
        const SEEN: &[DocumentKind] =
            &[DocumentKind::Guard, DocumentKind::Block, DocumentKind::Attack, DocumentKind::Service];
        let because = reason(request.reason.as_deref())?;
        let (who, action) = (targets(&request.who)?, action(&request.action)?);
        who.iter().try_for_each(|target| fits(target, action, request.limit))?;
        lasts(request.duration_ms)?;
        let at_ms = clock::wall().0;
        let block = |what: &Target| Block {
            id: block_id(what, action),
            what: what.clone(),
            action,
            by: call.caller.user.clone(),
            reason: because.clone(),
            at_ms,
            until_ms: at_ms + request.duration_ms,
            attack: request.attack.clone(),
            limit: request.limit,
        };
        let blocks: Vec<Block> = who.iter().map(block).collect();
        let check = |seen: &Documents| -> Result<(), Refusal> {
            known(seen, &who)?;
            if let Some(id) = &request.attack
                && seen.raw(DocumentKind::Attack, id).is_none()
            {
                return Err(unknown_attack(id));
            }
            let new = blocks.iter().filter(|block| seen.raw(DocumentKind::Block, &block.id).is_none());
            let there = seen.ids(DocumentKind::Block).count();
            if there + new.count() > MOST_BLOCKS {
                let what = format!("a federation has up to {MOST_BLOCKS} blocks, {there} are there");
                return Err(Refusal::new(Code::BadValue, what)
                    .then("block a network, an autonomous system or a country instead of each address"));
            }
            Ok(())
        };
        let seen = call.look(|view| Documents::of(view, SEEN)).await?;
        check(&seen).map_err(|refusal| Problem::from(&refusal))?;
        if !request.dry_run {
            let asked = call.asked_because(because.clone(), None);
            let done = documents::change(&call.api.node, &asked, SEEN, |seen, draft| {
                check(seen)?;
                for block in &blocks {
                    draft.put(DocumentKind::Block, &block.id, block)?;
                }
                let (verb, whom) = (action.name(), listed(&who));
                draft.event(DocumentEvent::info(
                    "ddos.blocked",
                    &whom,
                    format!("{verb} of {whom}{}", told(&because)),
                ));
                Ok(())
            });
            done.await.map_err(|refusal| Problem::from(&refusal))?;
        }
        let (policy, _) = policy_document::in_force::<GuardPolicy>(&seen);
        let blocks = blocks.iter().map(|block| shown(block, &[])).collect();
        let notes = spared(&policy, &who, at_ms);
        Ok(BlocksChanged { changed: true, blocks, excepted: Vec::new(), ended: Vec::new(), notes })
    }
}

/// No attack has that id.
pub fn unknown_attack(id: &str) -> Refusal {
    Refusal::new(Code::UnknownAttack, format!("no attack {id}"))
        .try_this("dwcp-cli routing ddos detections --since 24h")
}

impl Serve for BlockRemove {
    async fn answer(call: &Call, request: BlockRemoveRequest) -> Result<BlocksChanged, Problem> {
        let because = reason(request.reason.as_deref())?;
        let only = request.action.as_deref().map(action).transpose()?;
        if request.who.is_empty() || request.who.len() > MOST_AT_ONCE {
            return Err(bad_value("who", format!("1 to {MOST_AT_ONCE}")));
        }
        // A text names a block by its id, or somebody.
        let named: Vec<(&str, Option<Target>)> =
            request.who.iter().map(|text| (text.trim(), text.trim().parse().ok())).collect();
        let is_named = |block: &Block| {
            only.is_none_or(|action| action == block.action)
                && named.iter().any(|(id, what)| block.id == *id || what.as_ref() == Some(&block.what))
        };
        let seen = Seen::now(call).await?;
        let (blocks, _) = seen.blocks();
        let at_ms = seen.now_ms;
        let ending: Vec<&Block> = blocks.iter().filter(|block| is_named(block)).collect();
        let missed = named.iter().find(|(id, what)| {
            !ending.iter().any(|block| block.id == *id || what.as_ref() == Some(&block.what))
        });
        if let Some((text, _)) = missed {
            let refusal = Refusal::new(Code::UnknownBlock, format!("nothing keeps {text} out"))
                .try_this("dwcp-cli routing ddos blacklist list");
            return Err(Problem::from(&refusal));
        }
        // What routers did by themselves has no document: they are told to take it back.
        let automatic: BTreeSet<Target> = ending
            .iter()
            .filter(|block| seen.documents.raw(DocumentKind::Block, &block.id).is_none())
            .map(|block| block.what.clone())
            .collect();
        let ended: Vec<String> =
            ending.iter().map(|block| block.what.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
        if !request.dry_run {
            let asked = call.asked_because(because.clone(), None);
            let ids: Vec<String> = ending.iter().map(|block| block.id.clone()).collect();
            let done = documents::change(&call.api.node, &asked, KINDS, |seen, draft| {
                let gone = ids.iter().filter(|id| seen.raw(DocumentKind::Block, id).is_some());
                gone.for_each(|id| draft.remove(DocumentKind::Block, id));
                if !automatic.is_empty() {
                    let mut policy: GuardPolicy = seen.get(DocumentKind::Guard, ID)?.unwrap_or_default();
                    policy.pardons.retain(|one| one.until_ms > at_ms && !automatic.contains(&one.what));
                    let pardon = |what: &Target| Pardon {
                        what: what.clone(),
                        owner: call.caller.user.clone(),
                        until_ms: at_ms + PARDON_MS,
                    };
                    policy.pardons.extend(automatic.iter().map(pardon));
                    draft.put(DocumentKind::Guard, ID, &policy)?;
                }
                let whom = listed(&ended);
                draft.event(DocumentEvent::info(
                    "ddos.unblocked",
                    &whom,
                    format!("{whom} is let in{}", told(&because)),
                ));
                Ok(())
            });
            done.await.map_err(|refusal| Problem::from(&refusal))?;
        }
        let mut notes = Vec::new();
        if !automatic.is_empty() {
            notes.push(format!(
                "routers don't block {} again by themselves for an hour",
                listed(&Vec::from_iter(&automatic))
            ));
        }
        Ok(BlocksChanged { changed: true, blocks: Vec::new(), excepted: Vec::new(), ended, notes })
    }
}

/// The whitelist that is asked for, on top of what is there.
fn whitelist(
    policy: &GuardPolicy,
    request: &WhitelistChangeRequest,
    who: &[Target],
    (owner, because, now_ms): (&str, &str, u64),
) -> Result<GuardPolicy, Problem> {
    let mut next = policy.clone();
    next.whitelist.retain(|one| one.lasts(now_ms));
    if request.remove
        && let Some(target) = who.iter().find(|target| !next.whitelist.iter().any(|one| one.what == **target))
    {
        let refusal = Refusal::new(Code::UnknownBlock, format!("{target} is not whitelisted"))
            .try_this("dwcp-cli routing ddos whitelist list");
        return Err(Problem::from(&refusal));
    }
    next.whitelist.retain(|one| !who.contains(&one.what));
    if !request.remove {
        next.whitelist.extend(who.iter().map(|what| Whitelisted {
            what: what.clone(),
            owner: owner.to_owned(),
            reason: because.to_owned(),
            until_ms: request.duration_ms.map(|ms| now_ms + ms),
        }));
    }
    let wrong = next.check();
    if wrong.is_empty() { Ok(next) } else { Err(bad_value("who", wrong.join("; "))) }
}

impl Serve for WhitelistChange {
    async fn answer(call: &Call, request: WhitelistChangeRequest) -> Result<BlocksChanged, Problem> {
        const SEEN: &[DocumentKind] = &[DocumentKind::Guard];
        let because = reason(request.reason.as_deref())?;
        let who = targets(&request.who)?;
        request.duration_ms.map_or(Ok(()), lasts)?;
        let (user, now_ms) = (call.caller.user.clone(), clock::wall().0);
        let seen = call.look(|view| Documents::of(view, SEEN)).await?;
        let before: Option<GuardPolicy> =
            seen.get(DocumentKind::Guard, ID).map_err(|refusal| Problem::from(&refusal))?;
        let next = whitelist(&before.unwrap_or_default(), &request, &who, (&user, &because, now_ms))?;
        if !request.dry_run {
            let asked = call.asked_because(because.clone(), None);
            let done = documents::change(&call.api.node, &asked, SEEN, |seen, draft| {
                let now: GuardPolicy = seen.get(DocumentKind::Guard, ID)?.unwrap_or_default();
                let next = whitelist(&now, &request, &who, (&user, &because, now_ms)).map_err(|problem| {
                    Refusal::new(Code::WrongState, problem.title.clone()).because("somebody else was quicker")
                })?;
                draft.put(DocumentKind::Guard, ID, &next)?;
                let (whom, is) = (listed(&who), if request.remove { "no longer" } else { "now" });
                let text = format!("{whom} is {is} whitelisted{}", told(&because));
                draft.event(DocumentEvent::info("ddos.whitelisted", &whom, text));
                Ok(())
            });
            done.await.map_err(|refusal| Problem::from(&refusal))?;
        }
        let named = |one: &&Whitelisted| who.contains(&one.what);
        let systems = next.whitelist.iter().any(|one| matches!(one.what, Target::Asn(_)));
        let notes = match systems && !request.remove {
            true => vec![
                "while autonomous systems are whitelisted, the kernel drops nothing by itself: routers do"
                    .to_owned(),
            ],
            false => Vec::new(),
        };
        Ok(BlocksChanged {
            changed: true,
            blocks: Vec::new(),
            excepted: next.whitelist.iter().filter(named).map(excepted).collect(),
            ended: if request.remove { who.iter().map(ToString::to_string).collect() } else { Vec::new() },
            notes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = [
            ("203.0.113.7", Action::Blacklist, None),
            ("CN", Action::GeoBlock, None),
            ("AS64500", Action::RateLimit, Some(10)),
            ("service:shop/login", Action::ChallengeResponse, None),
        ];
        good.iter()
            .for_each(|(who, action, limit)| assert!(fits(&target(who), *action, *limit).is_ok(), "{who}"));
        let wrong = [
            ("0.0.0.0/0", Action::Blacklist, None),
            ("::/0", Action::RateLimit, Some(5)),
            ("203.0.113.7", Action::GeoBlock, None),
            ("service:shop", Action::Blacklist, None),
            ("203.0.113.7", Action::RateLimit, Some(0)),
            ("203.0.113.7", Action::Tarpit, Some(5)),
        ];
        wrong.iter().for_each(|(who, action, limit)| {
            assert!(fits(&target(who), *action, *limit).is_err(), "{who}");
        });
        assert!(targets(&[]).is_err() && targets(&["moon".to_owned()]).is_err());
        assert_eq!(targets(&["10.0.0.1".to_owned(), " 10.0.0.1/32".to_owned()]).map(|all| all.len()), Ok(1));
    }

    #[test]
    fn exceptions_are_made_renewed_and_taken_back() {
        let said = ("ann", "our office", 1_000);
        let who = [target("10.0.0.0/8"), target("AS64500")];
        let add = WhitelistChangeRequest { duration_ms: Some(500), ..WhitelistChangeRequest::default() };
        let policy = whitelist(&GuardPolicy::default(), &add, &who, said).expect("a policy");
        assert_eq!((policy.whitelist.len(), policy.whitelist[0].until_ms), (2, Some(1_500)));
        let for_ever = WhitelistChangeRequest::default();
        let policy = whitelist(&policy, &for_ever, &who[..1], said).expect("a policy");
        assert_eq!(policy.whitelist.iter().filter(|one| one.what == who[0]).count(), 1);
        let remove = WhitelistChangeRequest { remove: true, ..WhitelistChangeRequest::default() };
        let later = ("ann", "", 2_000);
        assert!(whitelist(&policy, &remove, &who[1..], later).is_err(), "it has ended by itself");
        let policy = whitelist(&policy, &remove, &who[..1], later).expect("a policy");
        assert!(policy.whitelist.is_empty());
        let country = whitelist(&policy, &for_ever, &[target("DE")], said);
        assert!(country.is_err_and(|problem| problem.cause.join(" ").contains("whitelist")));
    }

    #[test]
    fn a_block_that_an_exception_overrides_is_said_to_do_nothing() {
        let said = ("ann", "", 1_000);
        let all = WhitelistChangeRequest::default();
        let policy =
            whitelist(&GuardPolicy::default(), &all, &[target("10.0.0.0/8")], said).expect("a policy");
        let of = |text: &str| spared(&policy, &[target(text)], 1_000).len();
        assert_eq!((of("10.1.2.3"), of("11.1.2.3"), of("CN")), (1, 0, 0));
    }
}
