//! What the shield says to each connection, request and question.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use dwcp_decide::ddos::{Action, Event, GuardPolicy, Kind, Net, hash_text};

use super::challenge::Who as Solver;
use super::counts::count;
use super::rules::{Rule, Who};
use super::watch::Note;
use super::{DNS, Shield};
use crate::guard::{Asked, CHALLENGE_PATH, Ended, Guard, Verdict};

/// One of so many requests tells what its path is called.
const NAMED: u32 = 16;
/// The longest name that is told, characters.
const LONGEST_NAME: usize = 256;
/// Pages with puzzles that one source gets in a second.
const PAGES_PER_S: u32 = 5;

impl Shield {
    fn saw(&self, who: &Who, kind: Kind, times: u32, bytes: u32) {
        self.saw_of(who, kind, times, bytes, Of::default());
    }

    fn saw_of(&self, who: &Who, kind: Kind, times: u32, bytes: u32, of: Of) {
        let Of { path, agent, service } = of;
        let Who { ip, country, asn } = *who;
        self.note(Note::Seen(Event { ip, country, asn, path, agent, service, kind, times, bytes }));
    }

    fn of(&self, asked: &Asked<'_>) -> Of {
        Of {
            path: hash_text(self.seed, without_query(asked.path)),
            agent: hash_text(self.seed, asked.user_agent),
            service: self.service(asked.service),
        }
    }

    /// Somebody is kept out.
    fn deny(&self, who: &Who, rule: &Rule) -> Verdict {
        let geo = rule.block.action == Action::GeoBlock;
        count(if geo { &self.counts.geo_blocked } else { &self.counts.denied });
        self.dropped(who, rule);
        Verdict::Deny { reason: rule.reason.clone() }
    }

    fn dropped(&self, who: &Who, rule: &Rule) {
        self.note(Note::Dropped(who.ip, rule.id.clone(), rule.block.action));
    }

    /// One more of somebody who may have so many a second.
    fn limit(&self, who: &Who, rule: &Rule, per_s: u32, now_ms: u64) -> Verdict {
        // What is limited together has one bucket; otherwise each source has its own.
        let whom = match (rule.block.limit, rule.block.action) {
            (Some(_), Action::RateLimit) => u128::from(hash_text(self.seed, &rule.id)),
            _ => bucket(who.ip, Bucket::Requests),
        };
        match self.buckets.take(whom, per_s, now_ms) {
            Ok(()) => self.pass(),
            Err(wait_ms) => {
                count(&self.counts.limited);
                self.dropped(who, rule);
                let retry_after_s = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX).clamp(1, 60);
                Verdict::Limit { retry_after_s, reason: rule.reason.clone() }
            }
        }
    }

    fn pass(&self) -> Verdict {
        count(&self.counts.passed);
        Verdict::Pass
    }

    /// Somebody has to show a browser, unless that was done.
    fn challenge(
        &self,
        who: &Who,
        rule: &Rule,
        asked: &Asked<'_>,
        policy: &GuardPolicy,
        now_ms: u64,
    ) -> Verdict {
        let solver = Solver { ip: asked.client, user_agent: asked.user_agent };
        if self.challenges.is_cleared(solver, asked.cookies, now_ms) {
            count(&self.counts.cleared);
            return self.limit(who, rule, policy.threshold_requests, now_ms);
        }
        if is_answer(asked) {
            return self.pass();
        }
        self.dropped(who, rule);
        let pages = || self.buckets.take(bucket(who.ip, Bucket::Pages), PAGES_PER_S, now_ms).is_ok();
        let to = if asked.method == "GET" { asked.path } else { "/" };
        let page = || self.challenges.page(solver, policy.challenge_bits, to, now_ms);
        match asked.wants_html.then_some(()).filter(|()| pages()).and_then(|()| page()) {
            Some(page) => {
                count(&self.counts.challenged);
                Verdict::Challenge { page: page.into() }
            }
            None => {
                count(&self.counts.limited);
                let reason = "a browser has to solve a challenge first, which it does by itself";
                Verdict::Limit { retry_after_s: 10, reason: reason.into() }
            }
        }
    }
}

/// What an event is of.
#[derive(Clone, Copy, Default)]
struct Of {
    path: u64,
    agent: u64,
    service: u16,
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}

fn is_answer(asked: &Asked<'_>) -> bool {
    asked.method == "POST" && without_query(asked.path) == CHALLENGE_PATH
}

/// What a source has a bucket for.
#[derive(Clone, Copy)]
enum Bucket {
    Requests = 1,
    Connections,
    Names,
    Pages,
}

/// The key of a source's bucket.
fn bucket(ip: IpAddr, what: Bucket) -> u128 {
    let bits = match Net::source(ip).base() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    bits.rotate_left(64) ^ what as u128
}

impl Guard for Shield {
    fn connection(&self, client: IpAddr) -> Verdict {
        let (now_ms, who, rules) = ((self.clock)(), self.who(client), self.rules());
        if rules.is_whitelisted(&who, now_ms) {
            count(&self.counts.whitelisted);
            return Verdict::Pass;
        }
        self.saw(&who, Kind::Connection, 1, 0);
        let Some(rule) = rules.rule(&who, None, now_ms) else { return Verdict::Pass };
        match rule.block.action {
            Action::Blacklist | Action::GeoBlock => self.deny(&who, rule),
            Action::Tarpit => {
                count(&self.counts.tarpitted);
                self.dropped(&who, rule);
                Verdict::Tarpit
            }
            Action::RateLimit if rule.block.limit.is_none() => {
                let whom = bucket(client, Bucket::Connections);
                match self.buckets.take(whom, rules.policy.threshold_connections, now_ms) {
                    Ok(()) => Verdict::Pass,
                    Err(_) => {
                        count(&self.counts.limited);
                        self.dropped(&who, rule);
                        Verdict::Limit { retry_after_s: 1, reason: rule.reason.clone() }
                    }
                }
            }
            Action::RateLimit | Action::ChallengeResponse => Verdict::Pass,
        }
    }

    fn connection_ended(&self, client: IpAddr, ended: Ended) {
        let (now_ms, who, rules) = ((self.clock)(), self.who(client), self.rules());
        if rules.is_whitelisted(&who, now_ms) {
            return;
        }
        if ended.slow {
            self.saw(&who, Kind::SlowClient, 1, 0);
        }
        // What a long connection had comes all at once: one of them is never a flood by itself.
        let resets = ended.resets.min(rules.policy.resets / 2);
        if resets > 0 {
            self.saw(&who, Kind::Reset, resets, 0);
        }
        let bytes = ended.bytes_in.saturating_add(ended.bytes_out);
        let bytes = bytes.min(u64::from(rules.policy.threshold_bytes / 8));
        self.saw(&who, Kind::Bytes, 1, bytes as u32);
    }

    fn request(&self, asked: &Asked<'_>) -> Verdict {
        let (now_ms, who, rules) = ((self.clock)(), self.who(asked.client), self.rules());
        if rules.is_whitelisted(&who, now_ms) {
            count(&self.counts.whitelisted);
            return Verdict::Pass;
        }
        let of = self.of(asked);
        let path = without_query(asked.path);
        self.saw_of(&who, Kind::Request, 1, 0, of);
        if self.requests.fetch_add(1, Relaxed).is_multiple_of(NAMED) {
            self.note(Note::Name(of.path, path.chars().take(LONGEST_NAME).collect()));
            self.note(Note::Name(of.agent, asked.user_agent.chars().take(LONGEST_NAME).collect()));
        }
        let Some(rule) = rules.rule(&who, Some((asked.service, path)), now_ms) else { return self.pass() };
        match rule.block.action {
            Action::Blacklist | Action::GeoBlock => self.deny(&who, rule),
            Action::Tarpit => {
                count(&self.counts.tarpitted);
                self.dropped(&who, rule);
                Verdict::Tarpit
            }
            Action::RateLimit => {
                let per_s = rule.block.limit.unwrap_or(rules.policy.threshold_requests);
                self.limit(&who, rule, per_s, now_ms)
            }
            Action::ChallengeResponse => self.challenge(&who, rule, asked, &rules.policy, now_ms),
        }
    }

    fn request_ended(&self, asked: &Asked<'_>, ended: Ended) {
        let who = self.who(asked.client);
        if self.rules().is_whitelisted(&who, (self.clock)()) {
            return;
        }
        // What fails because of us (5xx) or was refused by us (403, 429) says nothing about the client.
        if (400..500).contains(&ended.status) && ended.status != 403 && ended.status != 429 {
            self.saw_of(&who, Kind::Error, 1, 0, self.of(asked));
        }
        if ended.resets > 0 {
            self.saw_of(&who, Kind::Reset, ended.resets, 0, self.of(asked));
        }
    }

    fn dns(&self, client: IpAddr) -> bool {
        let (now_ms, who, rules) = ((self.clock)(), self.who(client), self.rules());
        if rules.is_whitelisted(&who, now_ms) {
            count(&self.counts.whitelisted);
            return true;
        }
        let service = self.service(DNS);
        self.saw_of(&who, Kind::Request, 1, 0, Of { service, ..Of::default() });
        let Some(rule) = rules.rule(&who, Some((DNS, "")), now_ms) else { return true };
        let served = match rule.block.action {
            Action::Blacklist | Action::GeoBlock | Action::Tarpit => false,
            Action::ChallengeResponse => true,
            Action::RateLimit => {
                let per_s = rule.block.limit.unwrap_or(rules.policy.threshold_requests);
                self.buckets.take(bucket(client, Bucket::Names), per_s, now_ms).is_ok()
            }
        };
        if !served {
            count(&self.counts.dns_refused);
            self.dropped(&who, rule);
        }
        served
    }

    fn solved(&self, client: IpAddr, user_agent: &str, body: &[u8]) -> Result<(String, String), String> {
        let (now_ms, clearance_ms) = ((self.clock)(), self.rules().policy.clearance_ms);
        let solver = Solver { ip: client, user_agent };
        let solved = self.challenges.solve(solver, body, clearance_ms, now_ms);
        count(if solved.is_ok() { &self.counts.solved } else { &self.counts.unsolved });
        solved
    }
}
