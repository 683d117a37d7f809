//! Attacks from their begin to their end, and what is proposed against them.

use std::collections::BTreeMap;

use super::super::{
    Action, Attack, AttackKind, Block, Evidence, Judgement, Status, Target, Verdict, validate,
};
use super::judge::{Finding, Hot, Over, Scope};
use super::{Detection, Detector, Phase};

/// The most attacks at a time; those that come then wait until one is over.
const MOST_OPEN: usize = 512;
/// The most blocks that are proposed at a time.
const MOST_BLOCKS: usize = 256;
/// The most blocks of one attack that are remembered.
const MOST_REMEMBERED: usize = 65_536;
/// Quiet for so long: it is over.
const QUIET_MS: u64 = 10_000;
/// An attack that goes on is told again after so long.
const TELL_MS: u64 = 5_000;

/// An attack that goes on.
pub struct Open {
    attack: Attack,
    told_ms: u64,
    told_peak: u64,
    /// Who has been proposed to be blocked, until when, and how.
    blocked: BTreeMap<Target, (u64, Action)>,
}

impl Open {
    fn new(key: &str, finding: &Finding, now_ms: u64, target: Target, service: &str) -> Open {
        let attack = Attack {
            id: String::new(),
            key: key.to_owned(),
            kind: finding.over.kind,
            target,
            service: service.to_owned(),
            peak_rate: 0,
            first_ms: now_ms,
            last_ms: now_ms,
            sources: 0,
            status: Status::Active,
            evidence: Evidence::default(),
            typical: finding.typical,
            judgement: Judgement::default(),
        };
        Open { attack, told_ms: 0, told_peak: 0, blocked: BTreeMap::new() }
    }

    /// The service that it goes to.
    pub fn service(&self) -> &str {
        &self.attack.service
    }

    /// It is no crowd.
    pub fn is_trouble(&self) -> bool {
        self.attack.judgement.verdict != Verdict::FalsePositive
    }

    /// Somebody's block has been taken back.
    pub fn forgive(&mut self, target: &Target) {
        self.blocked.remove(target);
    }

    /// It is seen again; whether its verdict has become sterner.
    fn go_on(&mut self, finding: &Finding, judgement: Judgement, target: Target, now_ms: u64) -> bool {
        let attack = &mut self.attack;
        let sterner = judgement.verdict > attack.judgement.verdict && attack.peak_rate > 0;
        attack.last_ms = now_ms;
        attack.sources = attack.sources.max(finding.evidence.sources);
        if finding.over.rate > attack.peak_rate || sterner {
            attack.peak_rate = attack.peak_rate.max(finding.over.rate);
            attack.evidence = finding.evidence.clone();
            if judgement.verdict >= attack.judgement.verdict || self.told_ms == 0 {
                attack.judgement = judgement;
            }
            attack.target = target;
        }
        sterner
    }
}

impl Detector {
    /// What is to be told at a moment; to be asked every 250 ms.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Detection> {
        self.turn(now_ms);
        self.pardoned.retain(|_, until| *until > now_ms);
        let mut told = Vec::new();
        for finding in self.findings(now_ms) {
            told.extend(self.tell(&finding, now_ms));
        }
        let over = |open: &Open| open.attack.last_ms + QUIET_MS <= now_ms;
        let ended: Vec<String> =
            self.open.iter().filter(|(_, open)| over(open)).map(|(key, _)| key.clone()).collect();
        for mut open in ended.iter().filter_map(|key| self.open.remove(key)) {
            open.attack.status = Status::Over;
            told.push(Detection { phase: Phase::Ends, attack: open.attack, blocks: Vec::new() });
        }
        told
    }

    /// Attacks that go on.
    pub fn attacks(&self) -> impl Iterator<Item = &Attack> {
        self.open.values().map(|open| &open.attack)
    }

    fn tell(&mut self, finding: &Finding, now_ms: u64) -> Option<Detection> {
        let service = self.services.get(usize::from(finding.service)).cloned().unwrap_or_default();
        let target = self.target(finding, &service);
        let key = self.goes_on_as(finding, &service).unwrap_or_else(|| key(finding, &service, &target));
        if !self.open.contains_key(&key) && self.open.len() >= MOST_OPEN {
            return None;
        }
        let mut open = match self.open.remove(&key) {
            Some(open) => open,
            None => Open::new(&key, finding, now_ms, target.clone(), &service),
        };
        let judgement = validate(finding.over.kind, &finding.evidence, &finding.typical);
        let verdict = judgement.verdict;
        let sterner = open.go_on(finding, judgement, target.clone(), now_ms);
        let blocks = self.blocks(finding, verdict, &target, &mut open, now_ms);
        let phase = if open.told_ms == 0 { Phase::Begins } else { Phase::GoesOn };
        let larger = open.attack.peak_rate >= open.told_peak.saturating_mul(2);
        let due = open.told_ms + TELL_MS <= now_ms;
        let tells = phase == Phase::Begins || sterner || larger || due || !blocks.is_empty();
        if tells {
            (open.told_ms, open.told_peak) = (now_ms.max(1), open.attack.peak_rate);
        }
        let attack = open.attack.clone();
        self.open.insert(key, open);
        tells.then_some(Detection { phase, attack, blocks })
    }

    /// The attack that sources are blocked for already: who is not served any more and only knocks has not begun another one.
    fn goes_on_as(&self, finding: &Finding, service: &str) -> Option<String> {
        if finding.scope != Scope::Sources || finding.sources.is_empty() {
            return None;
        }
        let blocked = |open: &Open| {
            (service.is_empty() || open.service() == service)
                && finding.sources.iter().all(|hot| open.blocked.contains_key(&Target::Ip(hot.net)))
        };
        self.open.iter().find(|(_, open)| blocked(open)).map(|(key, _)| key.clone())
    }

    /// Whom an attack comes from; of many sources, and of what has no other name, what it goes to.
    fn target(&self, finding: &Finding, service: &str) -> Target {
        let service = service.to_owned();
        match (finding.scope, &finding.sources[..]) {
            (Scope::Sources, [one]) => Target::Ip(one.net),
            (Scope::Sources | Scope::Service, _) => Target::Service(service),
            (Scope::Neighbours(net), _) => Target::Cidr(net),
            (Scope::Asn(asn), _) => Target::Asn(asn),
            (Scope::Country(country), _) => Target::Country(country),
            (Scope::Path(path), _) => match self.names.get(&path) {
                Some(path) => Target::Path { service, path: path.clone() },
                None => Target::Service(service),
            },
        }
    }

    fn blocks(
        &self,
        finding: &Finding,
        verdict: Verdict,
        target: &Target,
        open: &mut Open,
        now_ms: u64,
    ) -> Vec<Block> {
        open.blocked.retain(|_, (until, _)| *until > now_ms);
        let whom: Vec<(Target, Over)> = match finding.scope {
            Scope::Sources => {
                finding.sources.iter().map(|Hot { net, over, .. }| (Target::Ip(*net), *over)).collect()
            }
            _ => vec![(target.clone(), finding.over)],
        };
        let renew_ms = self.policy.block_ms / 4;
        let mut blocks = Vec::new();
        for (what, over) in whom {
            let full = blocks.len() >= MOST_BLOCKS || open.blocked.len() >= MOST_REMEMBERED;
            if full || self.pardoned.contains_key(&what) {
                continue;
            }
            let Some((action, limit)) = self.action(finding.scope, verdict, &over) else { continue };
            let lasts = |(until, before): &(u64, Action)| *until > now_ms + renew_ms && *before >= action;
            if open.blocked.get(&what).is_some_and(lasts) {
                continue;
            }
            let until_ms = now_ms + self.policy.block_ms;
            open.blocked.insert(what.clone(), (until_ms, action));
            blocks.push(Block {
                id: format!("auto-{what}"),
                action,
                by: "router".to_owned(),
                reason: format!("{}: {} a second; {} may be", over.kind.name(), over.rate, over.threshold),
                at_ms: now_ms,
                until_ms,
                attack: Some(open.attack.key.clone()),
                limit,
                what,
            });
        }
        blocks
    }

    /// What is to be done, and the limit if it is one: the mildest thing that helps. What hits people who did nothing is
    /// done only when it is surely an attack; a puzzle hits nobody.
    fn action(&self, scope: Scope, verdict: Verdict, over: &Over) -> Option<(Action, Option<u32>)> {
        let may = |action: Action| self.policy.actions.contains(&action).then_some((action, None));
        let real = verdict == Verdict::Real;
        let when = |is: bool, action: Action| if is { may(action) } else { None };
        let of_requests = over.kind.is_of_requests();
        let puzzle = when(of_requests, Action::ChallengeResponse);
        let together = u32::try_from(over.threshold).unwrap_or(u32::MAX);
        let limit = || may(Action::RateLimit).map(|(action, _)| (action, Some(together)));
        match (verdict, scope) {
            (Verdict::FalsePositive, _) => None,
            (_, Scope::Sources) => {
                let far = real && (over.rate >= over.threshold.saturating_mul(10) || !of_requests);
                when(far && over.kind != AttackKind::DnsFlood, Action::Blacklist)
                    .or_else(|| when(over.kind == AttackKind::Scan, Action::Tarpit))
                    .or(puzzle)
                    .or_else(|| may(Action::RateLimit))
                    .or_else(|| when(real, Action::Blacklist))
            }
            (_, Scope::Neighbours(_)) => puzzle.or_else(limit).or_else(|| when(real, Action::Blacklist)),
            (_, Scope::Country(_)) => {
                puzzle.or_else(|| when(real, Action::GeoBlock)).or_else(|| limit().filter(|_| real))
            }
            _ => puzzle.or_else(|| limit().filter(|_| real)),
        }
    }
}

/// The same at every router.
fn key(finding: &Finding, service: &str, target: &Target) -> String {
    let kind = finding.over.kind.name();
    match finding.scope {
        Scope::Sources => format!("{kind}:{service}:sources"),
        Scope::Service => format!("{kind}:{service}:all"),
        Scope::Path(_) => format!("{kind}:{service}:path:{target}"),
        _ => format!("{kind}:{service}:{target}"),
    }
}
