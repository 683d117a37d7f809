//! How fast the kernel drops who is blocked: by our program at the interface (XDP), and by nftables, in the same run.
//!
//! `cargo run --profile sim -p dwcp-edge --example bench-drops -- [--packets N] [--blocked N]`. It needs root, namespaces, `ip`, `nft` and
//! `ethtool`. Packets are sent by the kernel itself from one end of a pair of interfaces to the other (BPF_PROG_TEST_RUN with live
//! frames), so that the drop is part of what this process is charged for.

use std::fs::File;
use std::io::Error;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use dwcp_decide::ddos::Net;
use dwcp_edge::kernel::{Early, Kernel, Listen, Xdp};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PORT: u16 = 80;
/// Of the program's clock: nothing ends during a run.
const UNTIL_MS: u64 = 3_600_000;
/// bpf(2).
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const TYPE_XDP: u32 = 6;
const LIVE_FRAMES: u32 = 2;
const BATCH: u32 = 64;

/// `struct bpf_insn`.
#[repr(C)]
struct Instruction(u8, u8, i16, i32);
/// Sends every frame back to where it seems to come from: r0 = XDP_TX; exit.
static SEND: [Instruction; 2] = [Instruction(0xb7, 0, 0, 3), Instruction(0x95, 0, 0, 0)];

/// The parts of `union bpf_attr` that are used; what follows is 0.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 12],
}

#[repr(C)]
struct TestRun {
    program: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    rest: u32,
}

/// `struct xdp_md`.
#[repr(C)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    interface: u32,
    queue: u32,
    egress: u32,
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> Outcome<i32> {
    // SAFETY: the attributes and what they point to live during the call.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if done < 0 { Err(Error::last_os_error().into()) } else { Ok(done as i32) }
}

fn sender() -> Outcome<OwnedFd> {
    let load = Load {
        kind: TYPE_XDP,
        count: SEND.len() as u32,
        instructions: SEND.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        rest: [0; 12],
    };
    let fd = bpf(PROG_LOAD, &load)?;
    // SAFETY: a descriptor that the kernel has just given us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn run(words: &str) -> Outcome<String> {
    let mut split = words.split(' ');
    let out = Command::new(split.next().unwrap_or_default()).args(split).output()?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(format!("{words}: {}", String::from_utf8_lossy(&out.stderr).trim()).into()),
    }
}

/// Two namespaces with a pair of interfaces: `v0` is the router's, `v1` the attacker's.
struct Pair(String);

impl Drop for Pair {
    fn drop(&mut self) {
        for end in ["r", "c"] {
            let _ = run(&format!("ip netns del {}{end}", self.0));
        }
    }
}

impl Pair {
    fn new() -> Outcome<Pair> {
        let pair = Pair(format!("dwcp-drops-{}", std::process::id()));
        let name = &pair.0;
        for words in [
            format!("ip netns add {name}r"),
            format!("ip netns add {name}c"),
            format!("ip link add v0 netns {name}r type veth peer name v1 netns {name}c"),
            format!("ip -n {name}r addr add 10.99.0.1/16 dev v0"),
            format!("ip -n {name}r link set v0 up"),
            format!("ip -n {name}c link set v1 up"),
            // Otherwise frames that a program sends are not taken where there is no program.
            format!("ip netns exec {name}r ethtool -K v0 gro on"),
        ] {
            run(&words)?;
        }
        Ok(pair)
    }

    /// Runs something with the network of one end.
    fn inside<T: Send>(&self, end: &str, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        let path = format!("/run/netns/{}{end}", self.0);
        let entered = move || {
            let namespace = File::open(path)?;
            // SAFETY: changes the namespace of this thread only, which ends soon.
            if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(Error::last_os_error().into());
            }
            work()
        };
        std::thread::scope(|scope| scope.spawn(entered).join()).map_err(|_| "a thread panicked")?
    }

    fn hardware(&self) -> Outcome<[u8; 6]> {
        let text = run(&format!("ip -n {}r -o link show v0", self.0))?;
        let word = text.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("");
        let bytes: Vec<u8> = word.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().map_err(|_| "no hardware address".into())
    }
}

/// A SYN to the router's port from a source that is blocked.
fn frame(to: [u8; 6], source: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&to[..], &[2, 0, 0, 0, 0, 1], &[8, 0]].concat();
    let mut head = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    head.extend(source.octets());
    head.extend([10, 99, 0, 1]);
    let sum: u32 = head.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !(((sum & 0xffff) + (sum >> 16)) as u16);
    head[10..12].copy_from_slice(&folded.to_be_bytes());
    frame.extend(head);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// Processor time of this thread.
fn cpu() -> Duration {
    // SAFETY: writes one struct of ours.
    let used = unsafe {
        let mut used: libc::rusage = zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut used);
        used
    };
    let time = |of: libc::timeval| Duration::new(of.tv_sec as u64, of.tv_usec as u32 * 1_000);
    time(used.ru_utime) + time(used.ru_stime)
}

/// Sends so many; how long that took, and the processor time.
fn flood(pair: &Pair, frame: &[u8], packets: u32) -> Outcome<(Duration, Duration)> {
    pair.inside("c", || {
        let program = sender()?;
        // SAFETY: the name ends with 0.
        let interface = unsafe { libc::if_nametoindex(c"v1".as_ptr()) };
        let length = frame.len() as u32;
        let context = Context { data: 0, data_end: length, data_meta: 0, interface, queue: 0, egress: 0 };
        let test = TestRun {
            program: program.as_raw_fd() as u32,
            retval: 0,
            data_size_in: length,
            data_size_out: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat: packets,
            duration: 0,
            ctx_size_in: size_of::<Context>() as u32,
            ctx_size_out: 0,
            ctx_in: std::ptr::from_ref(&context) as u64,
            ctx_out: 0,
            flags: LIVE_FRAMES,
            cpu: 0,
            batch_size: BATCH,
            rest: 0,
        };
        let (begun, before) = (Instant::now(), cpu());
        bpf(PROG_TEST_RUN, &test)?;
        Ok((begun.elapsed(), cpu() - before))
    })
}

fn number(words: &[String], name: &str, otherwise: u32) -> Outcome<u32> {
    let at = words.iter().position(|word| word == name);
    Ok(at.and_then(|at| words.get(at + 1)).map_or(Ok(otherwise), |word| word.parse())?)
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (packets, blocked) = (number(&words, "--packets", 2_000_000)?, number(&words, "--blocked", 10_000)?);
    let pair = Pair::new()?;
    let address: IpAddr = "10.99.0.1".parse()?;
    let listens = vec![Listen { address, port: PORT, udp: false }];
    let first = u32::from(Ipv4Addr::new(100, 64, 0, 0));
    let host = |at: u32| Net::new(IpAddr::V4(Ipv4Addr::from(first + 2 * at)), 32);
    let list: Vec<(Net, u64)> = (0..blocked).filter_map(host).map(|net| (net, UNTIL_MS)).collect();
    let frame = frame(pair.hardware()?, Ipv4Addr::from(first + 2 * (blocked / 2)));
    println!("{packets} SYNs of one source, {} networks blocked", list.len());
    let mut rates = Vec::new();
    for name in ["nftables", "XDP"] {
        let mut early: Box<dyn Early> = match name {
            "XDP" => {
                let program = pair.inside("r", || Ok(Xdp::start("v0", &listens)?))?;
                println!("XDP {}", if program.native { "by the driver" } else { "by the kernel" });
                Box::new(program)
            }
            _ => {
                let nft = format!("ip netns exec {}r nft", pair.0);
                Box::new(Kernel::start(
                    "bench",
                    listens.clone(),
                    nft.split(' ').map(str::to_owned).collect(),
                )?)
            }
        };
        early.sync(&list, &[], 0)?;
        flood(&pair, &frame, packets / 10)?;
        let before = early.dropped()?.packets;
        let (wall, cpu) = flood(&pair, &frame, packets)?;
        std::thread::sleep(Duration::from_millis(100));
        let dropped = early.dropped()?.packets - before;
        let rate = dropped as f64 / cpu.as_secs_f64() / 1e6;
        println!(
            "{name}: {dropped} dropped, {:.2} million a second, {rate:.2} million a second of processor, sending included",
            dropped as f64 / wall.as_secs_f64() / 1e6
        );
        rates.push(rate);
    }
    println!("XDP / nftables: {:.2}", rates[1] / rates[0]);
    Ok(())
}
