//! From a request to its answer.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dwcp_decide::route::Client;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use siphasher::sip::SipHasher24;

use super::DnsConfig;
use super::addresses::{Family, Finder, Found, Some3};
use super::cookie::Cookies;
use super::limit::{Kind, Limit, Passage};
use super::question::{self, Asked, Question};
use super::sign::{self, Signer, There};
use super::write::{self, Ending, Options, Signing, Writer};
use super::zone::{Place, SERVERS_TTL_S, Zone};
use crate::geo::{Geo, cut};
use crate::guard::Guard;
use crate::routes::{Current, Routes};

/// Requests longer than this are taken in parts by nobody.
const PAYLOAD: u16 = 1_232;
/// An answer to who has not shown that its address is its own has at most so many times the request's bytes.
const AMPLIFICATION: usize = 2;
const INTERNET: u16 = 1;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Udp,
    Tcp,
}

/// Answers requests.
pub struct Responder {
    zone: Zone,
    this_router: IpAddr,
    payload: u16,
    nsid: String,
    secret: [u8; 16],
    cookies: Cookies,
    limit: Option<Limit>,
    signer: Option<Signer>,
    current: Arc<Current>,
    geo: Option<Arc<Geo>>,
    guard: Arc<dyn Guard>,
    begun: Instant,
}

/// What an answer says.
enum Body<'a> {
    Empty,
    Addresses(Some3, u32),
    ServerAddresses(&'a [IpAddr], Family),
    Soa,
    Servers,
    /// RFC 8482: not everything that there is.
    Any,
    /// The zone's key, or what the zone above is to say of it.
    Key(RecordType),
    /// What there is instead.
    NotThere(There),
}

struct Content<'a> {
    code: ResponseCode,
    authoritative: bool,
    body: Body<'a>,
    /// Bits of the client's network that it depends on.
    scope: u8,
}

impl Content<'_> {
    fn error(code: ResponseCode) -> Content<'static> {
        Content { code, authoritative: false, body: Body::Empty, scope: 0 }
    }

    fn known(body: Body<'_>) -> Content<'_> {
        Content { code: ResponseCode::NoError, authoritative: true, body, scope: 0 }
    }

    fn kind(&self) -> Kind {
        match (self.code, &self.body) {
            (ResponseCode::NoError | ResponseCode::NXDomain, Body::NotThere(_)) => Kind::NotThere,
            (ResponseCode::NoError, _) => Kind::Found,
            _ => Kind::Error,
        }
    }
}

impl Responder {
    /// # Errors
    /// A name of the configuration is none.
    pub fn new(
        config: &DnsConfig,
        current: Arc<Current>,
        geo: Option<Arc<Geo>>,
        guard: Arc<dyn Guard>,
    ) -> Result<Responder, String> {
        let limit = (config.rrl_per_s > 0).then(|| Limit::new(config.rrl_per_s, config.cookie_secret));
        let zone = Zone::of(config)?;
        let signer = config.signing_seed.map(|seed| Signer::new(&seed, &zone.written())).transpose()?;
        Ok(Responder {
            zone,
            signer,
            this_router: config.this_router,
            payload: config.udp_payload.clamp(512, PAYLOAD),
            nsid: config.nsid.chars().take(64).filter(char::is_ascii_graphic).collect(),
            secret: config.cookie_secret,
            cookies: Cookies::new(config.cookie_secret, config.cookie_secret_before),
            limit,
            current,
            geo,
            guard,
            begun: Instant::now(),
        })
    }

    /// The table in force, for a few requests.
    pub fn routes(&self) -> Arc<Routes> {
        self.current.routes()
    }

    /// Writes the answer of a request; false: there is none.
    pub fn respond(
        &self,
        routes: &Routes,
        request: &[u8],
        from: SocketAddr,
        way: Way,
        out: &mut Vec<u8>,
    ) -> bool {
        let figures = &self.current.figures;
        let from_ip = from.ip().to_canonical();
        if from.port() == 0 || !self.guard.dns(from_ip) {
            figures.dns_dropped.fetch_add(1, Relaxed);
            return false;
        }
        let failed = match question::read(request) {
            Asked::Question(question) => return self.respond_to(routes, &question, from_ip, way, out),
            Asked::Noise => {
                figures.dns_malformed.fetch_add(1, Relaxed);
                return false;
            }
            Asked::Malformed => {
                figures.dns_malformed.fetch_add(1, Relaxed);
                ResponseCode::FormErr
            }
            Asked::NotImplemented => ResponseCode::NotImp,
        };
        let Some(slip) = self.passes(from_ip, Kind::Error, way, false) else { return false };
        out.clear();
        out.extend_from_slice(&write::header(request, failed, false, slip));
        figures.dns_answered.fetch_add(1, Relaxed);
        true
    }

    fn respond_to(
        &self,
        routes: &Routes,
        question: &Question<'_>,
        from: IpAddr,
        way: Way,
        out: &mut Vec<u8>,
    ) -> bool {
        let extra = question.extra.as_ref();
        let cookie = extra.and_then(|extra| extra.cookie.as_ref());
        let cookie = cookie.map(|cookie| self.cookies.answer(cookie, from, now_s() as u32));
        let proven = cookie.is_some_and(|(valid, _)| valid);
        let mut content = self.content(routes, question, from);
        let signing = self.signing(question);
        let denies = matches!(content.body, Body::NotThere(_));
        if signing.is_some() && denies && question.name_bytes().len() > sign::LONGEST {
            // No name follows it that could be written.
            content = Content::error(ResponseCode::ServFail);
        }
        if signing.is_some() && content.code == ResponseCode::NXDomain {
            // The denial says it; older resolvers find that it is of the name, and take the other code for wrong (RFC 9824).
            let compact = extra.is_some_and(|extra| extra.compact_ok);
            content.code = if compact { ResponseCode::NXDomain } else { ResponseCode::NoError };
        }
        let Some(slip) = self.passes(from, content.kind(), way, proven) else { return false };
        let limit = match way {
            Way::Tcp => usize::from(u16::MAX),
            Way::Udp => {
                let payload = extra.map_or(512, |extra| extra.payload.clamp(512, self.payload));
                let most = if proven { usize::MAX } else { question.request.len() * AMPLIFICATION };
                usize::from(payload).min(most)
            }
        };
        let mut writer = Writer::new(out, question, self.zone.length, limit, signing);
        if let Some(extra) = extra {
            let cookie = cookie.map(|(_, next)| next);
            let options = Options { payload: self.payload, cookie, scope: content.scope, nsid: &self.nsid };
            writer.options(extra, content.code, &options);
        }
        if !slip {
            self.write_body(&mut writer, routes, &content.body);
        }
        let truncated = writer.end(question, content.code, content.authoritative, slip);
        let figures = &self.current.figures;
        figures.dns_answered.fetch_add(1, Relaxed);
        if truncated {
            figures.dns_truncated.fetch_add(1, Relaxed);
        }
        true
    }

    /// Where a signed answer is wanted, and there is a key.
    fn signing<'a>(&'a self, question: &'a Question<'_>) -> Option<Signing<'a>> {
        let wanted = question.extra.as_ref().is_some_and(|extra| extra.dnssec_ok);
        let signer = self.signer.as_ref().filter(|_| wanted)?;
        Some(Signing { signer, name: question.name_bytes(), now_s: now_s() })
    }

    /// Whether an answer goes out, and whether only to say that TCP is to be used.
    fn passes(&self, to: IpAddr, kind: Kind, way: Way, proven: bool) -> Option<bool> {
        let limit = self.limit.as_ref().filter(|_| way == Way::Udp && !proven);
        let now_us = || 1 + self.begun.elapsed().as_micros() as u64;
        match limit.map_or(Passage::Send, |limit| limit.passage(to, kind, now_us())) {
            Passage::Send => Some(false),
            Passage::Slip => Some(true),
            Passage::Drop => {
                self.current.figures.dns_dropped.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// What is said to a question.
    fn content(&self, routes: &Routes, question: &Question<'_>, from: IpAddr) -> Content<'_> {
        if question.extra.as_ref().is_some_and(|extra| extra.version > 0) {
            return Content::error(ResponseCode::BADVERS);
        }
        if question.section.is_empty() {
            return Content { authoritative: false, ..Content::known(Body::Empty) };
        }
        let kind = RecordType::from(question.kind);
        let never =
            matches!(kind, RecordType::AXFR | RecordType::IXFR | RecordType::RRSIG | RecordType::NSEC);
        if question.class != INTERNET || never {
            return Content::error(ResponseCode::Refused);
        }
        if question.kind == sign::NOT_THERE {
            return Content::error(ResponseCode::FormErr);
        }
        let place = self.zone.place(&question.name);
        if matches!(place, Place::Outside) {
            return Content::error(ResponseCode::Refused);
        }
        match (&place, kind) {
            (Place::Zone, RecordType::SOA) => return Content::known(Body::Soa),
            (Place::Zone, RecordType::NS) => return Content::known(Body::Servers),
            (Place::Zone, RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY)
                if self.signer.is_some() =>
            {
                return Content::known(Body::Key(kind));
            }
            (Place::Zone | Place::Server(_), RecordType::ANY) => return Content::known(Body::Any),
            (Place::Server(server), _) => {
                let family = family(kind).filter(|family| server.addresses.iter().any(|one| family.has(one)));
                return Content::known(match family {
                    Some(family) => Body::ServerAddresses(&server.addresses, family),
                    None => Body::NotThere(There::Addresses {
                        v4: server.addresses.iter().any(IpAddr::is_ipv4) && kind != RecordType::A,
                        v6: server.addresses.iter().any(IpAddr::is_ipv6) && kind != RecordType::AAAA,
                    }),
                });
            }
            _ => {}
        }
        if routes.table.services.is_empty() {
            // The router does not know yet what there is: nobody is to remember that there is nothing.
            return Content::error(ResponseCode::ServFail);
        }
        match routes.named(&question.name) {
            Some(_) if kind == RecordType::ANY => Content::known(Body::Any),
            Some(service) => {
                let mut content = self.service(routes, service, question, from, kind);
                if let (Place::Zone, Body::NotThere(there)) = (&place, &mut content.body)
                    && let There::Addresses { v4, v6 } = *there
                {
                    *there = There::Zone { v4, v6 };
                }
                content
            }
            None if matches!(place, Place::Inside) && !routes.is_above_a_host(&question.name) => {
                Content { code: ResponseCode::NXDomain, ..Content::known(Body::NotThere(There::Nothing)) }
            }
            None if matches!(place, Place::Zone) => {
                Content::known(Body::NotThere(There::Zone { v4: false, v6: false }))
            }
            None => Content::known(Body::NotThere(There::Below)),
        }
    }

    /// What is said of a service.
    fn service(
        &self,
        routes: &Routes,
        service: usize,
        question: &Question<'_>,
        from: IpAddr,
        kind: RecordType,
    ) -> Content<'_> {
        // What it might have otherwise is not denied.
        let others = There::Addresses { v4: kind != RecordType::A, v6: kind != RecordType::AAAA };
        let Some(family) = family(kind) else { return Content::known(Body::NotThere(others)) };
        let subnet =
            question.extra.as_ref().and_then(|extra| extra.subnet).filter(|subnet| subnet.prefix > 0);
        let address = subnet.map_or(from, |subnet| subnet.address);
        let most = if address.is_ipv4() { 24 } else { 56 };
        let used = subnet.map_or(most, |subnet| subnet.prefix.min(most));
        let address = cut(address, used);
        let place = self.geo.as_ref().and_then(|geo| geo.look(address).place);
        let client = Client { key: self.key(address), place, pinned: None };
        let finder = Finder { current: &self.current, routes, this_router: self.this_router };
        match finder.find(service, &client, family) {
            Found::Addresses(addresses, depends) => Content {
                scope: if depends && subnet.is_some() { used } else { 0 },
                ..Content::known(Body::Addresses(addresses, routes.table.policy.dns_ttl_s))
            },
            Found::OtherFamily => Content::known(Body::NotThere(others)),
            Found::Nothing => Content::error(ResponseCode::ServFail),
        }
    }

    /// Spreads networks over what is equally good, in every router in the same way.
    fn key(&self, network: IpAddr) -> u64 {
        let mut hash = SipHasher24::new_with_key(&self.secret);
        match network {
            IpAddr::V4(address) => hash.write(&address.octets()),
            IpAddr::V6(address) => hash.write(&address.octets()),
        }
        hash.finish()
    }

    fn write_body(&self, writer: &mut Writer<'_>, routes: &Routes, body: &Body<'_>) {
        let not_there_ttl_s = routes.table.policy.dns_ttl_s;
        let serial = (routes.table.made_at_ms / 1_000) as u32;
        let soa =
            |out: &mut Vec<u8>, zone: Ending<'_>| self.zone.write_soa(out, zone, serial, not_there_ttl_s);
        match body {
            Body::Empty => {}
            Body::Addresses(addresses, ttl_s) => writer.addresses(addresses.iter(), *ttl_s),
            Body::ServerAddresses(addresses, family) => {
                let fitting = addresses.iter().copied().filter(|address| family.has(address));
                writer.addresses(fitting, SERVERS_TTL_S);
            }
            Body::Soa => writer.answer(RecordType::SOA, SERVERS_TTL_S, &[&soa]),
            Body::Servers => {
                let servers: Vec<_> = self
                    .zone
                    .servers
                    .iter()
                    .map(|server| {
                        move |out: &mut Vec<u8>, zone: Ending<'_>| write::name(out, &server.written, zone)
                    })
                    .collect();
                let data: Vec<_> = servers.iter().map(|one| one as _).collect();
                writer.answer(RecordType::NS, SERVERS_TTL_S, &data);
            }
            Body::Any => writer.answer(
                RecordType::HINFO,
                SERVERS_TTL_S,
                &[&|out, _| {
                    out.extend_from_slice(b"\x07RFC8482\x00");
                }],
            ),
            Body::Key(kind) => {
                let Some(signer) = &self.signer else { return };
                let data = if *kind == RecordType::CDS { signer.ds() } else { signer.dnskey() };
                writer.answer(*kind, SERVERS_TTL_S, &[&|out, _| out.extend_from_slice(&data)]);
            }
            Body::NotThere(there) => writer.not_there(not_there_ttl_s, &soa, *there),
        }
    }
}

/// S since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn family(kind: RecordType) -> Option<Family> {
    match kind {
        RecordType::A => Some(Family::V4),
        RecordType::AAAA => Some(Family::V6),
        _ => None,
    }
}
