//! What a drill may have lost: numbered records are written to its copies that have disks until they are lost, and read
//! again where they came back. The federation's leader does so, from outside the VMs, over their own service. What is not
//! counted stays unknown: a leader that dies takes its counts with it unless they were recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dwcp_roles::node::Request;
use dwcp_state::{Drill, DrillMode, DrillNews, DrillState, DrillVm, DrillVmState, FEDERATION_GROUP};
use dwcp_types::{DrillId, VmId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::handle::{NodeHandle, View, own};

/// Between two looks at the drills.
const LOOK: Duration = Duration::from_millis(300);
/// Between two records to one copy.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// A guest keeps so many records in places of their own.
const MOST: u64 = 60_000;
/// Most that is read of an answer, bytes.
const ANSWER_MAX: u64 = 4 << 10;

/// What is to be done about a copy.
#[derive(Clone, Debug, PartialEq)]
enum Work {
    /// It runs and is to be lost: write to it.
    Write { address: String },
    /// It is lost: say how many records it has acknowledged.
    Count(DrillVm),
    /// It is back: look for so many records.
    Read { address: String, written: u64, vm: DrillVm },
}

/// A copy that is written to.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs until the node has stopped.
pub async fn keep(node: NodeHandle) {
    let mut writers: BTreeMap<(DrillId, VmId), Writer> = BTreeMap::new();
    while let Some(work) = node.look(work).await {
        writers.retain(|key, _| work.contains_key(key));
        for ((drill, vm), wanted) in work {
            match wanted {
                Work::Write { address } => {
                    writers.entry((drill, vm)).or_insert_with(|| write(drill, vm, address));
                }
                Work::Count(of) => {
                    let Some(writer) = writers.get(&(drill, vm)) else { continue };
                    writer.task.abort();
                    // Nothing acknowledged: the guest may keep no records at all, which says nothing about its disk.
                    let written = Some(writer.acknowledged.load(Ordering::SeqCst)).filter(|count| *count > 0);
                    if written.is_some() {
                        note(&node, drill, DrillVm { written, ..of }).await;
                    }
                }
                Work::Read { address, written, vm: of } => {
                    if let Some(kept) = read(drill, vm, &address, written).await {
                        note(&node, drill, DrillVm { kept: Some(kept), ..of }).await;
                    }
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What there is to do about each copy with a disk, when this node leads the federation's group.
fn work(view: &View<'_>) -> BTreeMap<(DrillId, VmId), Work> {
    let node = view.node;
    let mut all = BTreeMap::new();
    if !node.leads(FEDERATION_GROUP) {
        return all;
    }
    let runs = |drill: &&Drill| drill.mode == DrillMode::Isolated && drill.state == DrillState::Running;
    for drill in node.facts().core.drills.values().filter(runs) {
        for vm in drill.vms.iter().filter(|vm| vm.disk) {
            let copy = node.facts().vm(vm.vm).map(|(_, copy)| copy);
            let serving = copy.filter(|copy| copy.serves() && !copy.observed.address.is_empty());
            let address = serving.map(|copy| copy.observed.address.clone());
            let lost = copy.is_some_and(|copy| copy.drill.is_some_and(|mark| mark.lost.is_some()));
            let work = match (vm.state, address) {
                (DrillVmState::Waiting | DrillVmState::Ready, Some(address)) if !lost => {
                    Work::Write { address }
                }
                (DrillVmState::Waiting | DrillVmState::Ready, _) => continue,
                _ if vm.lost && vm.written.is_none() => Work::Count(vm.clone()),
                (DrillVmState::Verified, Some(address)) if vm.kept.is_none() => {
                    Work::Read { address, written: vm.written.unwrap_or(0), vm: vm.clone() }
                }
                _ => continue,
            };
            all.insert((drill.id, vm.vm), work);
        }
    }
    all
}

async fn note(node: &NodeHandle, drill: DrillId, vm: DrillVm) {
    let asked = own();
    let news = DrillNews { drill, vms: vec![vm], ..DrillNews::default() };
    // Refused or not answered: it is told again at the next look.
    let _ = node.ask(Request::NoteDrill(asked, news)).await;
}

/// What record `number` of a copy says.
fn record(drill: DrillId, vm: VmId, number: u64) -> String {
    format!("{drill} {vm} {number}")
}

/// Writes one record after the other, each when the one before was acknowledged.
fn write(drill: DrillId, vm: VmId, address: String) -> Writer {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let count = acknowledged.clone();
    let task = tokio::spawn(async move {
        while count.load(Ordering::SeqCst) < MOST {
            let number = count.load(Ordering::SeqCst) + 1;
            let target = format!("PUT /record?{number}");
            if matches!(exchange(&address, &target, &record(drill, vm, number)).await, Some((200, _))) {
                count.store(number, Ordering::SeqCst);
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Writer { acknowledged, task }
}

/// How many of the records are there; none when the guest does not answer.
async fn read(drill: DrillId, vm: VmId, address: &str, written: u64) -> Option<u64> {
    let mut kept = 0;
    for number in 1..=written {
        let (status, body) = exchange(address, &format!("GET /record?{number}"), "").await?;
        kept += u64::from(status == 200 && body == record(drill, vm, number));
    }
    Some(kept)
}

/// One request of HTTP/1.1 and its answer: status and body.
async fn exchange(address: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        let length = body.len();
        let head = format!(
            "{target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        Ok::<String, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let text = tokio::time::timeout(ANSWER, talk).await.ok()?.ok()?;
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A guest that keeps records in memory, and forgets those that `forgets` names.
    async fn guest(forgets: fn(u64) -> bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        tokio::spawn(async move {
            let mut kept: BTreeMap<u64, String> = BTreeMap::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("somebody calls");
                let mut bytes = [0u8; 2_048];
                let length = stream.read(&mut bytes).await.expect("a request");
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let (head, body) = text.split_once("\r\n\r\n").expect("a head");
                let target = head.split(' ').nth(1).expect("a target");
                let number: u64 = target.rsplit('?').next().and_then(|n| n.parse().ok()).expect("a number");
                let (status, answer) = if head.starts_with("PUT") {
                    if !forgets(number) {
                        kept.insert(number, body.to_owned());
                    }
                    ("200 OK", "written".to_owned())
                } else {
                    kept.get(&number)
                        .map_or(("404 Not Found", String::new()), |body| ("200 OK", body.clone()))
                };
                let reply = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
                stream.write_all(reply.as_bytes()).await.expect("it listens");
            }
        });
        address
    }

    async fn written(address: &str) -> u64 {
        let writer = write(DrillId(1), VmId(7), address.to_owned());
        while writer.acknowledged.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        writer.task.abort();
        writer.acknowledged.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn what_was_acknowledged_and_is_not_there_is_counted_as_missing() {
        let address = guest(|number| number == 3).await;
        let count = written(&address).await;
        assert_eq!(read(DrillId(1), VmId(7), &address, count).await, Some(count - 1));
        assert_eq!(read(DrillId(2), VmId(7), &address, count).await, Some(0), "another drill's records");
    }

    #[tokio::test]
    async fn a_guest_that_does_not_answer_is_not_taken_for_one_that_lost_everything() {
        assert_eq!(read(DrillId(1), VmId(7), "127.0.0.1:1", 3).await, None);
    }
}
