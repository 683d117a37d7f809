//! Disks kept on another host: what a guest was told is written is there, whatever dies.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_mesh::{Ca, LinkShape, LinkTable};
use dwcp_roles::protocol::{GuardPhase, Phase, ProtectTo, ReplicaIntent, Run, VmIntent, VmSpec};
use dwcp_types::VmId;

use super::agent::{Host, images, request, signal, wait_for};
use super::leader::{FEDERATION, HOST, Leader, REGION};
use super::wanted::{LONG, directory, intent, report, running};

pub const THERE: (&str, &str) = ("eu-west-1", "h2");
/// Agents look at the table of links every 100 ms.
const TABLE_SEEN: Duration = Duration::from_millis(300);

/// Two hosts in two regions, each with its leader.
pub struct Pair {
    pub dir: PathBuf,
    pub here: Leader,
    pub there: Leader,
    pub host: Host,
    pub keeper: Host,
    pub address: String,
    pub address_there: String,
    bases: [String; 2],
}

impl Pair {
    pub async fn start(name: &str, images: &Path, number: u8) -> Pair {
        let dir = directory(name);
        let bases = [format!("127.92.{number}"), format!("127.92.{}", number + 1)];
        let pair_wan = dir.join("wan.toml");
        table(&bases, false).store(&pair_wan).expect("a table of links");
        let ca = Ca::create(FEDERATION, Duration::from_secs(86_400)).expect("authority");
        let any = "127.0.0.1:0".parse().expect("address");
        let (a, b) = (dir.join("a"), dir.join("b"));
        let here = Leader::start_in(&ca, &a.join("pki"), any, (REGION, HOST)).await;
        let there = Leader::start_in(&ca, &b.join("pki"), any, THERE).await;
        let host = Host::start_in(&a, &here, images, &bases[0], (REGION, HOST));
        let keeper = Host::start_in(&b, &there, images, &bases[1], THERE);
        let transfer = || Some(there.transfer()).filter(|at| !at.is_empty());
        wait_for("the other host's endpoint", LONG, transfer).await;
        let [address, address_there] = bases.clone().map(|base| format!("{base}.32:8080"));
        Pair { dir, here, there, host, keeper, address, address_there, bases }
    }

    /// Cuts the link or mends it; when this returns both agents have seen it.
    pub async fn cut(&self, cut: bool) {
        table(&self.bases, cut).store(&self.dir.join("wan.toml")).expect("a table of links");
        tokio::time::sleep(TABLE_SEEN).await;
    }

    /// The way to the other region takes so long from now on, each way.
    pub async fn delay(&self, delay: Duration) {
        let mut links = table(&self.bases, false);
        for (from, to) in [(REGION, THERE.0), (THERE.0, REGION)] {
            links.edit(from, to, |shape| shape.delay_us = delay.as_micros() as u64);
        }
        links.store(&self.dir.join("wan.toml")).expect("a table of links");
        tokio::time::sleep(TABLE_SEEN).await;
    }

    /// The link carries no more than this from now on, bits a second; none: as much as there is.
    pub async fn pace(&self, rate_bps: Option<u64>) {
        let mut links = table(&self.bases, false);
        for (from, to) in [(REGION, THERE.0), (THERE.0, REGION)] {
            links.edit(from, to, |shape| shape.rate_bps = rate_bps);
        }
        links.store(&self.dir.join("wan.toml")).expect("a table of links");
        tokio::time::sleep(TABLE_SEEN).await;
    }

    /// The VM is to run, with its copy of this epoch on the other host.
    fn protect(&self, epoch: u64, go_on: bool) {
        self.protect_each(epoch, go_on, 0);
    }

    /// As [`Pair::protect`], in points in time unless the interval is 0.
    pub fn protect_each(&self, epoch: u64, go_on: bool, interval_ms: u64) {
        let kept = ReplicaIntent {
            vm: VmId(7),
            epoch,
            from_region: REGION.into(),
            from_host: HOST.into(),
            disk_gib: 1,
            points: interval_ms > 0,
        };
        self.there.keep(vec![kept]);
        let to = self.to(epoch, go_on, interval_ms);
        self.here.want(vec![VmIntent { protect: Some(to), ..with_disk(1) }]);
    }

    /// Where the copy is kept.
    pub fn to(&self, epoch: u64, go_on: bool, interval_ms: u64) -> ProtectTo {
        ProtectTo {
            epoch,
            region: THERE.0.into(),
            host: THERE.1.into(),
            endpoint: self.there.transfer(),
            interval_ms,
            go_on,
        }
    }

    fn phase(&self) -> Option<(u64, GuardPhase)> {
        report(&self.here, 7, |_| true)?.guard.map(|guard| (guard.epoch, guard.phase))
    }

    pub async fn wait_phase(&self, epoch: u64, phase: GuardPhase) {
        let fits = || (self.phase() == Some((epoch, phase))).then_some(());
        wait_for(&format!("{phase:?} of epoch {epoch}"), LONG, fits).await;
    }

    fn copy(&self) -> PathBuf {
        self.dir.join("b/data/replicas").join(VmId(7).to_string()).join("disk.raw")
    }

    /// Numbers of acknowledged records that the copy lacks, each looked for on its own.
    fn missing(&self, acknowledged: &BTreeMap<u64, String>) -> Vec<u64> {
        let mut file = std::fs::File::open(self.copy()).expect("the copy");
        let lacks = |(number, text): &(&u64, &String)| {
            let mut bytes = vec![0; 12 + text.len()];
            file.seek(SeekFrom::Start((1 << 20) + **number * 4096)).expect("seek");
            file.read_exact(&mut bytes).expect("read");
            bytes[..8] != *b"DWCPREC1" || bytes[12..] != *text.as_bytes()
        };
        acknowledged.iter().filter(lacks).map(|(number, _)| *number).collect()
    }

    fn servers(&self) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").expect("proc").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
        let ours = self.dir.join("b/data/replicas");
        pids.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let at = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            line.starts_with(b"qemu-storage-daemon") && at.starts_with(&ours)
        })
        .collect()
    }

    pub fn stop(mut self) {
        assert!(self.host.stop() && self.keeper.stop());
        assert_eq!(self.servers(), Vec::<u32>::new(), "no server outlives its agent");
        let dir = self.dir.clone();
        drop(self);
        std::fs::remove_dir_all(dir).expect("remove");
    }
}

fn table(bases: &[String; 2], cut: bool) -> LinkTable {
    let mut table = LinkTable::default();
    for (name, base) in [REGION, THERE.0].into_iter().zip(bases) {
        let address: Ipv4Addr = format!("{base}.0").parse().expect("address");
        let network = dwcp_mesh::wan::Network { address, prefix: 24 };
        table.regions.insert(name.to_string(), vec![network]);
    }
    for (from, to) in [(REGION, THERE.0), (THERE.0, REGION)] {
        table.edit(from, to, |shape| *shape = LinkShape { delay_us: 5_000, cut, ..LinkShape::default() });
    }
    table
}

pub fn with_disk(generation: u64) -> VmIntent {
    let plain = intent(7, generation, Run::Running);
    VmIntent { spec: VmSpec { disk_gib: 1, ..plain.spec.clone() }, ..plain }
}

/// Writes one record after the other, each in a place of its own, and keeps what the guest said is written.
pub struct Writer {
    pub acknowledged: Arc<Mutex<BTreeMap<u64, String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub fn start(address: &str, from: u64) -> Writer {
        let (acknowledged, stop) =
            (Arc::<Mutex<BTreeMap<u64, String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (kept, end, address) = (acknowledged.clone(), stop.clone(), address.to_string());
        let thread = std::thread::spawn(move || {
            let mut number = from;
            while !end.load(Ordering::Relaxed) {
                let text = format!("record {number} of the writer");
                let answer = request(&address, "PUT", &format!("/record?{number}"), text.as_bytes());
                if answer.is_some_and(|(status, _)| status == 200) {
                    kept.lock().expect("lock").insert(number, text);
                    number += 1;
                }
            }
        });
        Writer { acknowledged, stop, thread: Some(thread) }
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().expect("lock").len()
    }

    pub async fn wait_for_more(&self, more: usize) {
        let target = self.count() + more;
        wait_for("more records", LONG, || (self.count() >= target).then_some(())).await;
    }

    pub fn finish(mut self) -> BTreeMap<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("a thread").join().expect("the writer");
        self.acknowledged.lock().expect("lock").clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_record_is_on_the_copy_though_guest_and_copys_server_die_together() {
    let Some(images) = images() else { return };
    let pair = Pair::start("protect", &images, 10).await;
    pair.protect(1, false);
    running(&pair.here, 7, 1).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    let writer = Writer::start(&pair.address, 1);
    writer.wait_for_more(40).await;

    // The server alone: writes wait for the next one, which goes on with the same copy.
    let server = pair.servers();
    assert_eq!(server.len(), 1);
    signal(server[0], libc::SIGKILL);
    writer.wait_for_more(20).await;

    // The worker of the guest's host: QEMU goes on waiting, and the next worker carries on.
    signal(pair.host.children("worker")[0], libc::SIGKILL);
    writer.wait_for_more(20).await;
    pair.wait_phase(1, GuardPhase::Synced).await;

    let qemu = pair.host.children("qemu-system")[0];
    signal(qemu, libc::SIGKILL);
    pair.servers().into_iter().for_each(|pid| signal(pid, libc::SIGKILL));
    let acknowledged = writer.finish();
    assert!(acknowledged.len() >= 80, "{}", acknowledged.len());
    assert_eq!(pair.missing(&acknowledged), Vec::<u64>::new(), "of {}", acknowledged.len());
    eprintln!("{} records were acknowledged, all are on the copy", acknowledged.len());

    // A next process could write what the copy lacks: it waits until its region has begun another epoch.
    pair.wait_phase(1, GuardPhase::Ended).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pair.host.children("qemu-system"), Vec::<u32>::new());

    // The copy becomes the VM's disk over there, and takes no more writes.
    pair.here.want(Vec::new());
    pair.there.keep(Vec::new());
    pair.there.want(vec![VmIntent { boot_replica: 1, ..with_disk(2) }]);
    running(&pair.there, 7, 2).await;
    for (number, text) in acknowledged {
        let read = || {
            request(&pair.address_there, "GET", &format!("/record?{number}"), b"").filter(|(s, _)| *s == 200)
        };
        let (_, body) = wait_for(&text, LONG, read).await;
        assert_eq!(String::from_utf8_lossy(&body), text);
    }
    assert!(!pair.copy().exists() && pair.servers().is_empty());
    pair.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_link_is_cut_writes_wait_and_go_on_with_the_copy_or_when_its_region_says_so() {
    let Some(images) = images() else { return };
    let pair = Pair::start("protect-cut", &images, 20).await;
    pair.protect(1, false);
    running(&pair.here, 7, 1).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    let writer = Writer::start(&pair.address, 1);
    writer.wait_for_more(10).await;

    pair.cut(true).await;
    pair.wait_phase(1, GuardPhase::Lost).await;
    let waiting = writer.count();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(writer.count(), waiting, "nothing was acknowledged meanwhile");
    let told = report(&pair.here, 7, |_| true).and_then(|report| report.guard).expect("a word");
    assert!(told.reason.contains("writes of the guest wait"), "{told:?}");

    pair.cut(false).await;
    pair.wait_phase(1, GuardPhase::Synced).await;
    writer.wait_for_more(10).await;
    let acknowledged = writer.finish();
    assert_eq!(pair.missing(&acknowledged), Vec::<u64>::new(), "the same copy has them all");

    // Cut again; this time its region says that the copy is behind, so the guest goes on.
    pair.cut(true).await;
    let writer = Writer::start(&pair.address, 1_000);
    pair.wait_phase(1, GuardPhase::Lost).await;
    assert_eq!(report(&pair.here, 7, |_| true).map(|report| report.phase), Some(Phase::Running));
    let before = writer.count();
    pair.protect(1, true);
    pair.wait_phase(1, GuardPhase::Released).await;
    let began = Instant::now();
    writer.wait_for_more(10).await;
    assert!(before <= 2, "what was acknowledged before the cut was noticed: {before}");
    eprintln!("10 records {} ms after the guest was let go on", began.elapsed().as_millis());

    // Another epoch, when the link is back: all of it is copied again.
    pair.cut(false).await;
    pair.protect(2, false);
    pair.wait_phase(2, GuardPhase::Synced).await;
    writer.wait_for_more(10).await;
    let acknowledged = writer.finish();
    assert_eq!(pair.missing(&acknowledged), Vec::<u64>::new());
    pair.stop();
}
