//! `dwcp-dpdk`: passes packets from one port of DPDK to another and back, but for those that a router keeps out.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use dwcp_edge::dpdk::{Order, Rules, Told, asked};

/// A packet of DPDK.
#[repr(C)]
struct Packet {
    _opaque: [u8; 0],
}

// SAFETY: as in `ports.c`.
unsafe extern "C" {
    fn dwcp_begin(argc: c_int, argv: *mut *mut c_char) -> c_int;
    fn dwcp_end();
    fn dwcp_error(error: c_int) -> *const c_char;
    fn dwcp_port(name: *const c_char) -> c_int;
    fn dwcp_queues(port: u16) -> c_uint;
    fn dwcp_open(port: u16, queues: u16) -> c_int;
    fn dwcp_close(port: u16);
    fn dwcp_join() -> c_int;
    fn dwcp_leave();
    fn dwcp_receive(port: u16, queue: u16, packets: *mut *mut Packet, most: u16) -> u16;
    fn dwcp_send(port: u16, queue: u16, packets: *mut *mut Packet, count: u16) -> u16;
    fn dwcp_free(packets: *mut *mut Packet, count: c_uint);
    fn dwcp_bytes(packet: *const Packet, first: *mut u16, all: *mut u32) -> *const u8;
}

/// Packets that are taken at a time.
const BURST: usize = 32;
/// Rounds without a packet after which a thread rests for a moment, unless it has its processor for itself.
const IDLE: u32 = 1_000;
const REST: Duration = Duration::from_micros(50);
/// What is told is told so often.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Passes packets between two ports of DPDK, but for those that the router keeps out.
///
/// It reads whom to drop from its standard input, a line of JSON each time, tells what it did on its standard output, and ends with its
/// input.
#[derive(Parser)]
#[command(name = "dwcp-dpdk", version)]
struct Arguments {
    /// The device towards users: a virtual one (`net_af_packet0,iface=eth0`) or a PCI address.
    #[arg(long, value_name = "DEVICE")]
    outside: String,
    /// The device towards the router.
    #[arg(long, value_name = "DEVICE")]
    inside: String,
    /// Processors to run on, such as 0-7 or 2,4.
    #[arg(long, value_name = "CORES", default_value = "0")]
    cores: String,
    /// Memory of large pages; without it ordinary memory, 256 MiB.
    #[arg(long)]
    huge_pages: bool,
    /// Threads never rest: for processors that nobody else uses.
    #[arg(long)]
    spin: bool,
}

/// Towards users, and towards the router.
#[derive(Clone, Copy)]
struct Ports {
    outside: u16,
    inside: u16,
}

/// What threads share.
#[derive(Default)]
struct Shared {
    rules: Mutex<Arc<Rules>>,
    /// Changes with the rules.
    version: AtomicU64,
    passed: AtomicU64,
    dropped: AtomicU64,
    dropped_bytes: AtomicU64,
    stop: AtomicBool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn failed(what: &str, error: c_int) -> Result<(), String> {
    if error == 0 {
        return Ok(());
    }
    // SAFETY: a text that stays.
    let text = unsafe { CStr::from_ptr(dwcp_error(error)) };
    Err(format!("{what}: {}", text.to_string_lossy()))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let cores = cores(&arguments.cores)?;
    begin(arguments, &cores)?;
    let done = between(arguments, &cores);
    // SAFETY: no thread uses it any more.
    unsafe { dwcp_end() };
    done
}

/// The port of a device.
fn port(device: &str) -> Result<u16, String> {
    let name = device.split(',').next().unwrap_or(device);
    let text = CString::new(name).map_err(|_| "a device has a zero in its name".to_owned())?;
    // SAFETY: a text; the environment is there.
    let port = unsafe { dwcp_port(text.as_ptr()) };
    u16::try_from(port).map_err(|_| format!("DPDK finds no port of {name}"))
}

/// Passes packets between the two devices until the input ends.
fn between(arguments: &Arguments, cores: &[usize]) -> Result<(), String> {
    let ports = Ports { outside: port(&arguments.outside)?, inside: port(&arguments.inside)? };
    // SAFETY: the ports are there.
    let most = unsafe { dwcp_queues(ports.outside).min(dwcp_queues(ports.inside)) };
    // Each processor has both directions of its queues.
    let queues = cores.len().min(most.max(1) as usize);
    for (port, name) in [(ports.outside, &arguments.outside), (ports.inside, &arguments.inside)] {
        // SAFETY: the port is there, and nobody uses it yet.
        failed(name, unsafe { dwcp_open(port, queues as u16) })?;
    }
    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = cores[..queues]
        .iter()
        .enumerate()
        .map(|(queue, core)| {
            let (shared, core, spin) = (shared.clone(), *core, arguments.spin);
            std::thread::spawn(move || work(&shared, ports, queue as u16, (core, spin)))
        })
        .collect();
    let teller = std::thread::spawn({
        let shared = shared.clone();
        move || tell(&shared)
    });
    let heard = hear(&shared);
    shared.stop.store(true, Relaxed);
    threads.into_iter().chain([teller]).for_each(|thread| drop(thread.join()));
    // SAFETY: no thread uses them any more.
    unsafe {
        dwcp_close(ports.outside);
        dwcp_close(ports.inside);
    }
    heard
}

/// Sets the environment up.
fn begin(arguments: &Arguments, cores: &[usize]) -> Result<(), String> {
    let mut words = vec!["dwcp-dpdk".to_owned(), "-l".to_owned(), cores[0].to_string()];
    // Nothing is left behind, however it ends.
    match arguments.huge_pages {
        true => words.push("--in-memory".to_owned()),
        false => {
            words.extend(["--no-huge", "-m", "256", "--no-shconf", "--file-prefix=dwcp"].map(str::to_owned))
        }
    }
    words.push("--no-telemetry".to_owned());
    let devices = [&arguments.outside, &arguments.inside];
    let is_pci =
        |device: &str| device.starts_with(|first: char| first.is_ascii_hexdigit()) && device.contains(':');
    if !devices.iter().any(|device| is_pci(device)) {
        words.push("--no-pci".to_owned());
    }
    for device in devices {
        words.push(if is_pci(device) { format!("--allow={device}") } else { format!("--vdev={device}") });
    }
    let texts: Result<Vec<CString>, _> = words.into_iter().map(CString::new).collect();
    let mut texts: Vec<*mut c_char> = texts
        .map_err(|_| "a device has a zero in its name".to_owned())?
        .into_iter()
        .map(CString::into_raw)
        .collect();
    // SAFETY: texts that stay: the environment keeps some of them.
    failed("DPDK cannot begin", unsafe { dwcp_begin(texts.len() as c_int, texts.as_mut_ptr()) })
}

/// Processors of a list such as `0-3,6` that are there.
fn cores(list: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("`{list}` are no processors; such as 0-7 or 2,4-6");
    let mut all = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first > last || last > 1_023 {
            return Err(wrong());
        }
        all.extend(first..=last);
    }
    // SAFETY: asks for one number.
    let there = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    let there = usize::try_from(there).unwrap_or(1);
    all.retain(|core| *core < there);
    if all.is_empty() {
        Err(format!("this machine has {there} processors, and none of `{list}`"))
    } else {
        Ok(all)
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// One queue of both ports, on one processor.
fn work(shared: &Shared, ports: Ports, queue: u16, (core, spin): (usize, bool)) {
    // SAFETY: a set of our own, of this thread; it stays where it is when the system refuses.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        if dwcp_join() != 0 {
            // Its queues would swallow what comes.
            eprintln!("error: a thread cannot use DPDK");
            std::process::exit(1);
        }
    }
    let (mut rules, mut version, mut idle) = (Arc::new(Rules::default()), 0, 0_u32);
    while !shared.stop.load(Relaxed) {
        let newest = shared.version.load(Relaxed);
        if newest != version {
            version = newest;
            rules = shared.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let mut packets = [null_mut(); BURST];
        // SAFETY: room for as many; only this thread uses the queue.
        let came =
            usize::from(unsafe { dwcp_receive(ports.outside, queue, packets.as_mut_ptr(), BURST as u16) });
        if came > 0 {
            let kept = filter(shared, &rules, now_ms(), &mut packets[..came]);
            pass(shared, ports.inside, queue, &mut packets[..kept]);
        }
        // SAFETY: as above.
        let back =
            usize::from(unsafe { dwcp_receive(ports.inside, queue, packets.as_mut_ptr(), BURST as u16) });
        if back > 0 {
            pass(shared, ports.outside, queue, &mut packets[..back]);
        }
        idle = if came + back > 0 { 0 } else { idle.saturating_add(1) };
        if idle > IDLE && !spin {
            std::thread::sleep(REST);
        }
    }
    // SAFETY: this thread joined.
    unsafe { dwcp_leave() };
}

/// Drops whom the rules name; how many are left, which are the first now.
fn filter(shared: &Shared, rules: &Rules, now_ms: u64, packets: &mut [*mut Packet]) -> usize {
    let (mut kept, mut dropped, mut bytes) = (0, 0, 0);
    for at in 0..packets.len() {
        let packet = packets[at];
        let (mut first, mut all) = (0, 0);
        // SAFETY: a packet that was received, and is ours until it is sent or freed.
        let frame = unsafe {
            let begin = dwcp_bytes(packet, &raw mut first, &raw mut all);
            std::slice::from_raw_parts(begin, usize::from(first))
        };
        if asked(frame).is_some_and(|asked| rules.drops(&asked, now_ms)) {
            dropped += 1;
            bytes += u64::from(all);
            // SAFETY: as above; it is not used again.
            unsafe { dwcp_free(&mut packets[at], 1) };
        } else {
            packets[kept] = packet;
            kept += 1;
        }
    }
    shared.dropped.fetch_add(dropped, Relaxed);
    shared.dropped_bytes.fetch_add(bytes, Relaxed);
    kept
}

/// Passes packets on. What the port does not take is lost, as at any full queue.
fn pass(shared: &Shared, to: u16, queue: u16, packets: &mut [*mut Packet]) {
    if packets.is_empty() {
        return;
    }
    // SAFETY: packets of ours; those that were not taken still are.
    unsafe {
        let sent = dwcp_send(to, queue, packets.as_mut_ptr(), packets.len() as u16);
        let rest = &mut packets[usize::from(sent)..];
        if !rest.is_empty() {
            dwcp_free(rest.as_mut_ptr(), rest.len() as c_uint);
        }
        shared.passed.fetch_add(u64::from(sent), Relaxed);
    }
}

/// Takes orders until the input ends.
fn hear(shared: &Shared) -> Result<(), String> {
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| format!("standard input: {e}"))?;
        let order: Order = serde_json::from_str(&line).map_err(|e| format!("no order: {e}"))?;
        let rules = Arc::new(Rules::of(&order, now_ms())?);
        *shared.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
        shared.version.fetch_add(1, Relaxed);
    }
    Ok(())
}

fn tell(shared: &Shared) {
    while !shared.stop.load(Relaxed) {
        let told = Told {
            orders: shared.version.load(Relaxed),
            passed: shared.passed.load(Relaxed),
            dropped: shared.dropped.load(Relaxed),
            dropped_bytes: shared.dropped_bytes.load(Relaxed),
        };
        let line = serde_json::to_string(&told).unwrap_or_default();
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return;
        }
        std::thread::sleep(TELL_EVERY);
    }
}
