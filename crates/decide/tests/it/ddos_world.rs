//! Made-up traffic.

use std::net::{IpAddr, Ipv4Addr};

use dwcp_decide::ddos::{Detection, Detector, Event, GuardPolicy, Kind, hash_text};
use dwcp_types::Rng;

/// Noon of some day.
pub const NOON: u64 = 1_700_000_000_000 - 1_700_000_000_000 % 86_400_000 + 12 * 3_600_000;

/// A detector with a clock, fed millisecond by millisecond.
pub struct World {
    pub detector: Detector,
    pub now_ms: u64,
    pub web: u16,
    pub rng: Rng,
    pub told: Vec<(u64, Detection)>,
}

/// Something that sends so many events a second.
pub struct Source<'a> {
    pub per_s: u64,
    pub event: &'a mut dyn FnMut(&mut Rng) -> Vec<Event>,
}

impl World {
    pub fn new(policy: GuardPolicy) -> World {
        let mut detector = Detector::new(policy, 42);
        let web = detector.service("web");
        World { detector, now_ms: NOON, web, rng: Rng::new(11), told: Vec::new() }
    }

    /// Runs for so long, with a tick every 250 ms.
    pub fn run(&mut self, for_ms: u64, sources: &mut [Source<'_>]) {
        let begun = self.now_ms;
        while self.now_ms < begun + for_ms {
            self.now_ms += 1;
            let passed = self.now_ms - begun;
            for source in sources.iter_mut() {
                let due = source.per_s * passed / 1_000 - source.per_s * (passed - 1) / 1_000;
                for _ in 0..due {
                    for event in (source.event)(&mut self.rng) {
                        self.detector.seen(self.now_ms, &event);
                    }
                }
            }
            if self.now_ms.is_multiple_of(250) {
                let now = self.now_ms;
                self.told.extend(self.detector.tick(now).into_iter().map(|one| (now, one)));
            }
        }
    }

    /// Ordinary people: 2,000 of them, 100 paths, 20 browsers, 2 % errors.
    pub fn people(&mut self, per_s: u64, for_ms: u64) {
        let web = self.web;
        self.run(for_ms, &mut [Source { per_s, event: &mut |rng| person(rng, web, 2_000) }]);
    }
}

/// A request.
pub fn request(ip: IpAddr, service: u16, path: &str, agent: &str) -> Event {
    Event {
        ip,
        country: "DE".parse().unwrap(),
        asn: 64_500,
        path: hash_text(9, path),
        agent: hash_text(9, agent),
        service,
        kind: Kind::Request,
        times: 1,
        bytes: 0,
    }
}

/// An address of a number, far from its neighbours'.
pub fn address(number: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | ((number as u32).wrapping_mul(0x9e37_79b1) >> 8)))
}

/// What one of so many people does: a request, now and then one that fails.
pub fn person(rng: &mut Rng, service: u16, people: u64) -> Vec<Event> {
    let ip = address(rng.below(people));
    let (path, agent) = (format!("/page/{}", rng.below(100)), format!("browser {}", rng.below(20)));
    let mut one = request(ip, service, &path, &agent);
    one.asn = 64_000 + rng.below(30) as u32;
    one.country = ["DE", "FR", "US", "IN", "BR"][rng.below(5) as usize].parse().unwrap();
    let mut all = vec![one, Event { kind: Kind::Bytes, bytes: 4_000, ..one }];
    if rng.chance(2, 100) {
        all.push(Event { kind: Kind::Error, ..one });
    }
    all
}
