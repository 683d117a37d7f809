//! Floods through the routers: found within a second, kept out at every router within five, and users who notice nothing.

use super::crew::Crew;
use super::stage::{Stage, must, told};
use crate::run::{Failure, wait_until, wall_ms};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::FromRawFd as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests a second that a source may send while this goes on. VMs without acceleration bear no more of an attack.
const THRESHOLD: &str = "20";
/// Of a service that is not known well: four times as much.
const SERVICE_FACTOR: &str = "4";
/// From begin to detection, and to the refusal at every router.
const DETECTED: Duration = Duration::from_secs(1);
const MITIGATED: Duration = Duration::from_secs(5);
/// Those who flood, all at once: two through a balancer, which names them, one by an own connection. And threads of each.
const ATTACKERS: [Client; 3] = [
    Client { address: Ipv4Addr::new(203, 0, 113, 7), balancer: Some(1) },
    Client { address: Ipv4Addr::new(192, 0, 2, 77), balancer: Some(2) },
    Client { address: Ipv4Addr::new(127, 66, 0, 9), balancer: None },
];
const HANDS: usize = 2;
/// Good clients, and between two requests of one.
const GOOD: u8 = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// A crowd: sources, and how long it stays.
const CROWD: u8 = 120;
const STAYS: Duration = Duration::from_secs(6);
/// Addresses of China and of Germany by the registries, and how long the first country is kept out.
const CHINESE: Ipv4Addr = Ipv4Addr::new(1, 12, 0, 1);
const GERMAN: Ipv4Addr = Ipv4Addr::new(46, 4, 0, 1);
const GEO_BLOCKED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// Floods, crowds, and what people do about them.
///
/// # Errors
/// Says what did not hold.
pub fn attack(stage: &Stage) -> Result<(), Failure> {
    configure(stage, &["--threshold-requests", THRESHOLD, "--service-factor", SERVICE_FACTOR])?;
    let done =
        flood(stage).and_then(|()| crowd(stage)).and_then(|()| country(stage)).and_then(|()| lists(stage));
    // A development federation goes on with what is usual.
    configure(stage, &["--threshold-requests", "1000", "--service-factor", "100"])?;
    done
}

fn configure(stage: &Stage, flags: &[&str]) -> Result<(), Failure> {
    must(stage, &[&["routing", "ddos", "configure"], flags].concat())
}

fn ddos(stage: &Stage, words: &[&str]) -> Result<Value, Failure> {
    stage.json_at(&stage.regions[0], &[&["routing", "ddos"], words].concat())
}

/// Who asks: through a balancer with this number, which says for whom it comes, or from an own address of this machine.
#[derive(Clone, Copy)]
struct Client {
    address: Ipv4Addr,
    balancer: Option<u8>,
}

impl Client {
    fn through(balancer: u8, address: Ipv4Addr) -> Client {
        Client { address, balancer: Some(balancer) }
    }

    /// A connection to a region's router.
    fn connect(self, region: usize) -> std::io::Result<TcpStream> {
        let from = self.balancer.map_or(self.address, |number| Ipv4Addr::new(127, 77, 250, number));
        let to = SocketAddrV4::new(Ipv4Addr::new(127, 77, region as u8, 1), 80);
        let mut stream = bound(SocketAddrV4::new(from, 0), to)?;
        if self.balancer.is_some() {
            stream.write_all(format!("PROXY TCP4 {} {} 1024 80\r\n", self.address, to.ip()).as_bytes())?;
        }
        Ok(stream)
    }
}

/// Connects from an address, which the standard library leaves to the kernel.
fn bound(from: SocketAddrV4, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    let raw = |at: SocketAddrV4| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: at.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*at.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: plain socket calls on addresses that live as long; the descriptor is owned by the stream from the start.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let stream = TcpStream::from_raw_fd(fd);
        // Connecting is over by then, too.
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (from, to) = (raw(from), raw(to));
        let bound = libc::bind(fd, (&raw const from).cast(), length);
        if bound < 0 || libc::connect(fd, (&raw const to).cast(), length) < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(stream)
    }
}

/// The status of one request; none: there was no answer.
fn ask(region: usize, client: Client, path: &str) -> Option<u16> {
    let mut stream = client.connect(region).ok()?;
    let even = client.address.octets()[3].is_multiple_of(2);
    let agent = if even { "Mozilla/5.0 (X11)" } else { "Mozilla/5.0 (Macintosh)" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: demo.dwcp.test\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A router that closes hard after its answer is no error for us.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

fn routers(stage: &Stage) -> std::ops::RangeInclusive<usize> {
    1..=stage.regions.len()
}

/// Users who ask now and then, through all routers: how long each answer took, none for those that were not served.
fn good_clients(stage: &Stage, crew: &mut Crew) -> Arc<Mutex<Vec<Option<Duration>>>> {
    let seen: Arc<Mutex<Vec<Option<Duration>>>> = Arc::default();
    let all = stage.regions.len();
    for number in 0..GOOD {
        let seen = seen.clone();
        crew.add(move || {
            let address = Ipv4Addr::new(198, 51, 100, number + 1);
            let (begun, client) = (Instant::now(), Client::through(100 + number, address));
            let status = ask(usize::from(number) % all + 1, client, "/");
            let took = (status == Some(200)).then(|| begun.elapsed());
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(took);
            std::thread::sleep(PAUSE);
        });
    }
    seen
}

/// How many answers there were, how many were missing, and the 99th percentile.
fn summed(seen: &Mutex<Vec<Option<Duration>>>) -> (usize, usize, Duration) {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut took: Vec<Duration> = seen.iter().flatten().copied().collect();
    took.sort_unstable();
    let at = (took.len() * 99).div_ceil(100).saturating_sub(1);
    (took.len(), seen.len() - took.len(), took.get(at).copied().unwrap_or_default())
}

/// Some flood one router.
fn flood(stage: &Stage) -> Result<(), Failure> {
    let mut users = Crew::new();
    let seen = good_clients(stage, &mut users);
    std::thread::sleep(Duration::from_secs(3));
    let quiet = summed(&seen);
    let mut attackers = Crew::new();
    let sent = Arc::new(AtomicUsize::new(0));
    let (begun, begun_ms) = (Instant::now(), wall_ms());
    for attacker in ATTACKERS.iter().flat_map(|one| [*one; HANDS]) {
        let sent = sent.clone();
        attackers.add(move || {
            if ask(1, attacker, "/").is_some() {
                sent.fetch_add(1, Relaxed);
            }
        });
    }
    let all = |one: &Client| routers(stage).map(move |router| (router, *one)).collect::<Vec<_>>();
    let mut left: Vec<(usize, Client)> = ATTACKERS.iter().flat_map(all).collect();
    let refused = wait_until(MITIGATED * 2, Duration::from_millis(50), || {
        left.retain(|(router, attacker)| !matches!(ask(*router, *attacker, "/"), Some(403 | 429) | None));
        left.is_empty()
    });
    let mitigated = begun.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    drop(attackers);
    drop(users);
    let after = summed(&seen);
    let answers = sent.load(Relaxed);
    stage.say(&format!(
        "{answers} answers to a flood of {} sources; refused at every router after {:.2} s; good clients: {} answers, {} missing, P99 {} ms ({} ms before)",
        ATTACKERS.len(),
        mitigated.as_secs_f64(),
        after.0,
        after.1,
        after.2.as_millis(),
        quiet.2.as_millis()
    ));
    if !refused || mitigated > MITIGATED {
        let left: Vec<String> =
            left.iter().map(|(router, one)| format!("{} at router {router}", one.address)).collect();
        return Err(Failure::new(format!("not refused within {MITIGATED:?}: {}", left.join(", "))));
    }
    // Routers saw the sources one by one; it is one attack.
    let attack = newest(stage, "http_flood", ATTACKERS.len())?;
    let detected_ms = attack["first_ms"].as_u64().unwrap_or(u64::MAX).saturating_sub(begun_ms);
    let (id, verdict) =
        (attack["attack"].as_str().unwrap_or_default(), attack["verdict"].as_str().unwrap_or_default());
    stage.say(&format!("{id}: {} sources, detected after {detected_ms} ms, {verdict}", attack["sources"]));
    if Duration::from_millis(detected_ms) > DETECTED || verdict != "real" {
        return Err(Failure::new(format!("{id} was detected after {detected_ms} ms and is {verdict}")));
    }
    must(stage, &["routing", "ddos", "validate", "--attack-id", id])?;
    let listed = ddos(stage, &["blacklist", "list"])?.to_string();
    let unlisted: Vec<Ipv4Addr> = ATTACKERS
        .iter()
        .map(|one| one.address)
        .filter(|one| !listed.contains(&format!("\"{one}\"")))
        .collect();
    if !unlisted.is_empty() {
        return Err(Failure::new(format!("not in the blacklist: {unlisted:?}: {listed}")));
    }
    if after.1 > 0 {
        return Err(Failure::new(format!("{} requests of good clients were not served", after.1)));
    }
    Ok(())
}

/// The newest attack of a kind, with so many sources at least.
fn newest(stage: &Stage, kind: &str, sources: usize) -> Result<Value, Failure> {
    let mut found = None;
    let mut why = String::new();
    wait_until(Duration::from_secs(10), Duration::from_millis(250), || {
        match ddos(stage, &["detections", "--since", "10m"]) {
            Ok(all) => {
                let is_it = |one: &Value| {
                    one["kind"].as_str() == Some(kind) && one["sources"].as_u64() >= Some(sources as u64)
                };
                found = all["attacks"].as_array().into_iter().flatten().find(|one| is_it(one)).cloned();
                why = all.to_string();
            }
            Err(failure) => why = failure.message,
        }
        found.is_some()
    });
    found.ok_or_else(|| Failure::new(format!("no {kind} of {sources} sources is told: {why}")))
}

/// Many who each ask a little: a crowd, which is told and not blocked.
fn crowd(stage: &Stage) -> Result<(), Failure> {
    let mut users = Crew::new();
    let seen: Arc<Mutex<Vec<Option<u16>>>> = Arc::default();
    let paths = ["/", "/news", "/tickets", "/seats"];
    for number in 0..CROWD {
        let (seen, mut round) = (seen.clone(), usize::from(number));
        users.add(move || {
            round += 1;
            let address = Ipv4Addr::new(100, 64 + number % 60, number, number);
            let status = ask(2, Client::through(1 + number, address), paths[round % paths.len()]);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(status);
            std::thread::sleep(Duration::from_millis(900));
        });
    }
    std::thread::sleep(STAYS);
    drop(users);
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for status in seen.iter().filter(|status| **status != Some(200)) {
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        *others.entry(status).or_default() += 1;
    }
    let attack = newest(stage, "surge", 0)?;
    let id = attack["attack"].as_str().unwrap_or_default();
    let judged = stage.cli(&["routing", "ddos", "validate", "--attack-id", id])?;
    stage.say(&format!(
        "a crowd of {CROWD}: {} requests, not served {others:?}; {}",
        seen.len(),
        told(&judged)
    ));
    if judged.status.code() != Some(1) || others.contains_key("403") || others.contains_key("429") {
        return Err(Failure::new("a crowd was taken for an attack"));
    }
    if !others.is_empty() {
        return Err(Failure::new(format!("a crowd was not served: {others:?}")));
    }
    Ok(())
}

/// Which of two are served at every router: somebody of the country, and somebody else.
fn served(stage: &Stage) -> (usize, usize) {
    let of = |who| {
        routers(stage).filter(|router| ask(*router, Client::through(60, who), "/") == Some(200)).count()
    };
    (of(CHINESE), of(GERMAN))
}

/// A country is kept out, only that, and not longer than it was said.
fn country(stage: &Stage) -> Result<(), Failure> {
    let all = stage.regions.len();
    let before = served(stage);
    let duration = format!("{}s", GEO_BLOCKED.as_secs());
    let begun = Instant::now();
    must(stage, &["routing", "ddos", "geo-block", "--countries", "CN", "--duration", &duration])?;
    let blocked = wait_until(MITIGATED, Duration::from_millis(100), || served(stage).0 == 0);
    let (took, others) = (begun.elapsed(), served(stage).1);
    let ended = wait_until(GEO_BLOCKED + MITIGATED, Duration::from_millis(250), || served(stage).0 == all);
    stage.say(&format!(
        "CN kept out everywhere after {:.2} s, DE served by {others} of {all} meanwhile; let in again after {:.1} s",
        took.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ));
    if before != (all, all) || !blocked || others != all || !ended {
        return Err(Failure::new(format!(
            "before {before:?}, blocked {blocked}, others {others}, ended {ended}"
        )));
    }
    Ok(())
}

/// What people say goes before everything else, and the firewall's log tells of it.
fn lists(stage: &Stage) -> Result<(), Failure> {
    let all = stage.regions.len();
    let german = Client::through(70, GERMAN);
    let served = || routers(stage).filter(|router| ask(*router, german, "/") == Some(200)).count();
    let reaches = |wanted: usize| wait_until(MITIGATED, Duration::from_millis(100), || served() == wanted);
    let who = GERMAN.to_string();
    let mut wrong = Vec::new();
    let mut step = |words: &[&str], wanted: usize| -> Result<(), Failure> {
        must(stage, &[&["routing", "ddos"], words].concat())?;
        if !reaches(wanted) {
            wrong.push(format!("{}: served by {} of {all}", words.join(" "), served()));
        }
        Ok(())
    };
    step(&["blacklist", "add", "--ip", &who, "--duration", "10m", "--reason", "a drill"], 0)?;
    step(&["whitelist", "add", "--ip", &who], all)?;
    step(&["whitelist", "remove", "--ip", &who], 0)?;
    step(&["blacklist", "remove", "--ip", &who], all)?;
    // What a router did by itself is taken back as well.
    let attacker = ATTACKERS[0].address.to_string();
    let listed = ddos(stage, &["blacklist", "list"])?.to_string().contains(&attacker);
    if listed {
        must(stage, &["routing", "ddos", "blacklist", "remove", "--ip", &attacker])?;
        let back = wait_until(MITIGATED, Duration::from_millis(100), || {
            routers(stage).all(|router| ask(router, ATTACKERS[0], "/") == Some(200))
        });
        if !back {
            wrong.push("a router's own block was not taken back".to_owned());
        }
    } else {
        wrong.push(format!("{attacker} is not in the blacklist"));
    }
    let logged = wait_until(Duration::from_secs(20), Duration::from_secs(1), || {
        let logs = stage.cli(&["security", "firewall-logs", "--level", "warning,error", "--since", "24h"]);
        logs.is_ok_and(|logs| told(&logs).contains(&format!("{attacker} was kept out")))
    });
    if !logged {
        wrong.push(format!("no line of the firewall's log names {attacker}"));
    }
    let mut traffic = Value::Null;
    let mut told = (0, 0);
    // What routers count is there when the monitor has read it twice.
    let analysed = wait_until(Duration::from_secs(45), Duration::from_secs(1), || {
        let words = ["routing", "traffic-analysis", "--since", "10m"];
        traffic = stage.json_at(&stage.regions[0], &words).unwrap_or_default();
        let verdicts = traffic["verdicts"].as_object().into_iter().flatten();
        let kept_out = verdicts.filter(|(name, _)| *name != "passed").filter_map(|(_, count)| count.as_u64());
        told = (traffic["flows"].as_array().map_or(0, Vec::len), kept_out.sum());
        told.0 > 0 && told.1 > 0
    });
    stage.say(&format!(
        "lists hold at every router; {} flows told, {} times somebody was kept out",
        told.0, told.1
    ));
    if !analysed {
        wrong.push(format!("traffic-analysis tells nothing: {traffic}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("; "))) }
}
