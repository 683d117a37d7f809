//! Who is blocked, limited, challenged or let through whatever happens: prepared so that a request looks it up in a moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dwcp_decide::ddos::{Block, Country, GuardPolicy, Lists, Net, Target};

/// Somebody, as far as is known.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub ip: IpAddr,
    pub country: Country,
    /// 0: unknown.
    pub asn: u32,
}

/// A block ready to be acted on.
#[derive(Clone, Debug)]
pub struct Rule {
    pub block: Block,
    pub id: Arc<str>,
    /// For the client.
    pub reason: Arc<str>,
}

impl Rule {
    fn new(block: Block) -> Rule {
        let id: Arc<str> = block.id.as_str().into();
        Rule { reason: format!("{} by rule {id}", block.action.name()).into(), id, block }
    }
}

/// A long list of networks, all with the same rule.
#[derive(Clone)]
pub struct Bulk {
    lists: Arc<Lists>,
    rule: Rule,
}

impl Bulk {
    /// A list, and the block that says what is done with everybody in it.
    pub fn new(lists: Lists, block: Block) -> Bulk {
        Bulk { lists: Arc::new(lists), rule: Rule::new(block) }
    }
}

/// All of it.
#[derive(Default)]
pub struct Rules {
    pub policy: GuardPolicy,
    /// Of those let through: until when; `u64::MAX`: until further notice.
    white: Lists,
    white_nets: BTreeMap<Net, u64>,
    white_asns: BTreeMap<u32, u64>,
    bulk: Option<Bulk>,
    rules: Vec<Rule>,
    listed: Lists,
    nets: BTreeMap<Net, Vec<u32>>,
    asns: BTreeMap<u32, Vec<u32>>,
    countries: BTreeMap<Country, Vec<u32>>,
    services: BTreeMap<String, Places>,
}

/// What concerns a service: all of it, or paths.
#[derive(Default)]
struct Places {
    whole: Vec<u32>,
    paths: BTreeMap<String, Vec<u32>>,
}

impl Rules {
    pub fn new(policy: GuardPolicy, blocks: impl IntoIterator<Item = Block>, bulk: Option<Bulk>) -> Rules {
        let mut all = Rules { bulk, ..Rules::default() };
        for entry in &policy.whitelist {
            let until = entry.until_ms.unwrap_or(u64::MAX);
            let longest = |known: &mut u64| *known = until.max(*known);
            match &entry.what {
                Target::Asn(asn) => longest(all.white_asns.entry(*asn).or_default()),
                what => {
                    what.net().into_iter().for_each(|net| longest(all.white_nets.entry(net).or_default()));
                }
            }
        }
        for block in blocks {
            let at = all.rules.len() as u32;
            match &block.what {
                Target::Ip(net) | Target::Cidr(net) => all.nets.entry(*net).or_default().push(at),
                Target::Asn(asn) => all.asns.entry(*asn).or_default().push(at),
                Target::Country(country) => all.countries.entry(*country).or_default().push(at),
                Target::Service(service) => {
                    all.services.entry(service.clone()).or_default().whole.push(at);
                }
                Target::Path { service, path } => {
                    let places = all.services.entry(service.clone()).or_default();
                    places.paths.entry(path.clone()).or_default().push(at);
                }
            }
            all.rules.push(Rule::new(block));
        }
        all.white = Lists::new(all.white_nets.keys().copied());
        all.listed = Lists::new(all.nets.keys().copied());
        Rules { policy, ..all }
    }

    /// Somebody is let through, whatever else is said.
    pub fn is_whitelisted(&self, who: &Who, now_ms: u64) -> bool {
        let lasts = |until: &u64| *until > now_ms;
        let by_net = || {
            let net = self.white.net(who.ip)?;
            self.white.larger(net).find(|net| self.white_nets.get(net).is_some_and(lasts))
        };
        let by_asn = || who.asn != 0 && self.white_asns.get(&who.asn).is_some_and(lasts);
        by_asn() || by_net().is_some()
    }

    /// The sternest rule that concerns somebody, and what is asked for: service and path without its query.
    pub fn rule(&self, who: &Who, asked: Option<(&str, &str)>, now_ms: u64) -> Option<&Rule> {
        let mut found = Vec::new();
        if let Some(net) = self.listed.net(who.ip) {
            found.extend(self.listed.larger(net).filter_map(|net| self.nets.get(&net)));
        }
        if !self.asns.is_empty() && who.asn != 0 {
            found.extend(self.asns.get(&who.asn));
        }
        if !self.countries.is_empty() {
            found.extend(self.countries.get(&who.country));
        }
        let places = asked.and_then(|(service, path)| Some((self.services.get(service)?, path)));
        if let Some((places, path)) = places {
            found.push(&places.whole);
            found.extend(places.paths.get(path));
        }
        let rules = found.into_iter().flatten().filter_map(|at| self.rules.get(*at as usize));
        let bulk = self.bulk.iter().filter(|bulk| bulk.lists.net(who.ip).is_some()).map(|bulk| &bulk.rule);
        let lasting = rules.chain(bulk).filter(|rule| rule.block.until_ms > now_ms);
        lasting.max_by_key(|rule| rule.block.action)
    }

    /// Networks that nothing is served to, and until when; for the kernel.
    pub fn blacklisted(&self, now_ms: u64) -> Vec<(Net, u64)> {
        let stern = |rule: &&Rule| rule.block.action == dwcp_decide::ddos::Action::Blacklist;
        let lasting = self.rules.iter().filter(stern).filter(|rule| rule.block.until_ms > now_ms);
        lasting.filter_map(|rule| Some((rule.block.what.net()?, rule.block.until_ms))).collect()
    }

    /// Networks that are let through.
    pub fn whitelisted(&self, now_ms: u64) -> Vec<Net> {
        self.white_nets.iter().filter(|(_, until)| **until > now_ms).map(|(net, _)| *net).collect()
    }

    /// Autonomous systems are let through: the kernel does not know them.
    pub fn whitelists_systems(&self) -> bool {
        !self.white_asns.is_empty()
    }
}
