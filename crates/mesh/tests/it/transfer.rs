//! Links between agents, over an emulated WAN.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_mesh::transfer::{
    Acceptor, Admission, Kind, Link, Opening, Pace, TransferConfig, TransferHandle, TransferLink,
};
use dwcp_mesh::{Ca, LinkShape, LinkTable, PeerId, Wan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use crate::federation::{PATIENCE, REGIONS, delay, identity, uniform};
use crate::lateness::Lateness;

/// Two hosts in two regions.
struct Pair {
    ca: Ca,
    wan: Wan,
    a: TransferHandle,
    b: TransferHandle,
    dir: PathBuf,
}

fn host(number: usize) -> PeerId {
    PeerId::Host { region: REGIONS[number].into(), host: format!("host-{number}") }
}

fn start(ca: &Ca, wan: &Wan, number: usize) -> TransferHandle {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 78, number as u8 + 1, 11));
    let identity = identity(ca, &host(number));
    let federation = identity.federation();
    let listen = SocketAddr::new(ip, 0);
    let config = TransferConfig { identity, federation, listen, seed: 5, wan: Some(wan.clone()) };
    TransferLink::start(config).expect("a transfer link")
}

impl Pair {
    fn start(name: &str, shape: LinkShape) -> Pair {
        let dir = std::env::temp_dir().join(format!("dwcp-transfer-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        let ca = Ca::create("test", Duration::from_secs(3600)).expect("a CA");
        let wan = Wan::fixed(uniform(shape));
        let (a, b) = (start(&ca, &wan, 0), start(&ca, &wan, 1));
        Pair { ca, wan, a, b, dir }
    }

    fn address(&self) -> SocketAddr {
        self.b.local_addr().expect("an address")
    }

    async fn link(&self) -> Link {
        self.a.link(&host(1), self.address()).await.expect("a link")
    }

    fn edit(&self, change: impl FnOnce(&mut LinkTable)) {
        let mut table = (*self.wan.table()).clone();
        change(&mut table);
        self.wan.set(table);
    }

    /// B gives streams of this kind for VM 7 to a socket; the listener behind it.
    fn socket(&self, kind: Kind) -> UnixListener {
        let path = self.dir.join(format!("{kind:?}.sock"));
        let listener = UnixListener::bind(&path).expect("a socket");
        let acceptor: Acceptor = Arc::new(move |from, _| {
            if *from == host(0) { Ok(Admission::Socket(path.clone())) } else { Err("not you".into()) }
        });
        self.b.register(kind, Some(7), acceptor);
        listener
    }

    async fn stop(self) {
        tokio::join!(self.a.shutdown(), self.b.shutdown());
        std::fs::remove_dir_all(&self.dir).expect("remove");
    }
}

fn opening(kind: Kind, number: u64) -> Opening {
    Opening { kind, vm: 7, generation: 2, migration: 9, number, ..Opening::default() }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

/// Our end of a joined stream; the other end belongs to the link.
fn local() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair")
}

async fn within<T>(seconds: u64, what: &str, work: impl Future<Output = T>) -> T {
    let limit = PATIENCE * Duration::from_secs(seconds);
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| panic!("not in {limit:?}: {what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_both_ways_between_sockets_of_two_hosts_and_both_ends_see_the_end() {
    let pair = Pair::start("bytes", LinkShape { loss_ppm: 5_000, ..delay(10) });
    let listener = pair.socket(Kind::Disk);
    let link = pair.link().await;
    assert_eq!(link.host(), &host(1));
    let (mut ours, theirs) = local();
    let opened = link.open(&opening(Kind::Disk, 0)).await.expect("a stream");
    let pace = Arc::new(Pace::new(0));
    let counted = pace.clone();
    let joined = tokio::spawn(async move { opened.join(theirs, &counted).await });
    let (mut far, _) = within(5, "a connection", listener.accept()).await.expect("a connection");

    let (there, back) = (content(3 << 20), content(100_000));
    let answer = back.clone();
    let far = tokio::spawn(async move {
        let mut got = vec![0; 3 << 20];
        far.read_exact(&mut got).await.expect("what was sent");
        far.write_all(&answer).await.expect("written");
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.expect("the end");
        (got, rest)
    });
    ours.write_all(&there).await.expect("written");
    let mut got = vec![0; back.len()];
    within(10, "the answer", ours.read_exact(&mut got)).await.expect("the answer");
    assert!(got == back);
    drop(ours);
    let (got, rest) = within(5, "the far end", far).await.expect("no panic");
    assert!(got == there && rest.is_empty());
    within(5, "the end", joined).await.expect("no panic").expect("a whole end");
    assert_eq!((pace.sent(), pace.received()), (3 << 20, 100_000));
    // The connection is used again, not made anew.
    let again = pair.link().await;
    assert!(again.rtt() >= Duration::from_millis(20), "{:?}", again.rtt());
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_answer_keeps_nobody_from_another_one() {
    let pair = Pair::start("silent", delay(1));
    let silent = std::net::UdpSocket::bind((Ipv4Addr::new(127, 78, 3, 11), 0)).expect("a socket");
    let (a, address) = (pair.a.clone(), silent.local_addr().expect("an address"));
    let waits = tokio::spawn(async move { a.link(&host(2), address).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    pair.link().await;
    assert!(!waits.is_finished(), "it is still being asked");
    assert!(within(5, "the end of it", waits).await.expect("no panic").is_err());
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_meet_the_socket_in_the_order_in_which_they_were_opened() {
    let pair = Pair::start("order", LinkShape { loss_ppm: 50_000, ..delay(5) });
    let listener = pair.socket(Kind::Memory);
    let link = pair.link().await;
    let mut ends = Vec::new();
    for number in 0..20u8 {
        let (mut ours, theirs) = local();
        let opened = link.open(&opening(Kind::Memory, number.into())).await.expect("a stream");
        tokio::spawn(async move { opened.join(theirs, &Pace::new(0)).await });
        ours.write_all(&[number]).await.expect("written");
        ends.push(ours);
    }
    for number in 0..20u8 {
        let (mut far, _) = within(10, "a connection", listener.accept()).await.expect("a connection");
        assert_eq!(within(10, "its byte", far.read_u8()).await.expect("a byte"), number);
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_noticed_by_both_ends_within_four_seconds_and_no_end_looks_whole() {
    let lateness = Lateness::start();
    let pair = Pair::start("cut", delay(20));
    let listener = pair.socket(Kind::Memory);
    let (gone_in, gone) = oneshot::channel();
    let (_end_in, end) = oneshot::channel();
    let place = Mutex::new(Some((end, gone_in)));
    pair.b.register(
        Kind::Move,
        None,
        Arc::new(move |_, _| {
            let (end, gone) = place.lock().expect("no panic").take().ok_or("once only")?;
            Ok(Admission::Standing { end, gone })
        }),
    );
    let link = pair.link().await;
    let standing = link.open(&opening(Kind::Move, 0)).await.expect("a stream");
    let standing = standing.accepted().await.expect("accepted");
    let (mut ours, theirs) = local();
    let opened = link.open(&opening(Kind::Memory, 0)).await.expect("a stream");
    let joined = tokio::spawn(async move { opened.join(theirs, &Pace::new(0)).await });
    let (mut far, _) = within(5, "a connection", listener.accept()).await.expect("a connection");
    ours.write_all(b"first").await.expect("written");
    let mut got = [0; 5];
    within(5, "the first bytes", far.read_exact(&mut got)).await.expect("bytes");

    pair.edit(|t| t.set_region_cut(REGIONS[1], true));
    let cut = Instant::now();
    let (error, ended, why, far_end, lost) = within(10, "everybody to notice", async {
        let mut byte = [0];
        tokio::join!(joined, standing.ended(), gone, far.read(&mut byte), link.lost())
    })
    .await;
    lateness.assert_within("noticed", cut, Duration::from_millis(4_000));
    assert!(cut.elapsed() > Duration::from_millis(2_000), "{:?}", cut.elapsed());
    assert!(error.expect("no panic").is_err());
    assert!(lost.contains("nothing was heard for 3 s"), "{lost}");
    assert!(!ended.is_empty() && why.is_ok());
    assert!(matches!(far_end, Ok(0) | Err(_)), "the socket at the far end is closed");
    let mut byte = [0];
    assert!(matches!(ours.read(&mut byte).await, Ok(0) | Err(_)), "and so is ours");

    // Healed, the next one is dialed anew.
    pair.edit(|t| t.set_region_cut(REGIONS[1], false));
    tokio::time::sleep(Duration::from_millis(200)).await;
    pair.link().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_stream_is_ended_with_a_reason_and_a_word_is_noted_once_acknowledged() {
    let pair = Pair::start("standing", delay(1));
    let (end_in, end) = oneshot::channel();
    let (gone_in, _gone) = oneshot::channel();
    let place = Mutex::new(Some((end, gone_in)));
    pair.b.register(
        Kind::Move,
        Some(7),
        Arc::new(move |_, _| {
            let (end, gone) = place.lock().expect("no panic").take().ok_or("once only")?;
            Ok(Admission::Standing { end, gone })
        }),
    );
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    pair.b.register(
        Kind::Released,
        None,
        Arc::new(move |from, opening| {
            hears.lock().expect("no panic").push((from.clone(), opening.clone()));
            Ok(Admission::Noted)
        }),
    );
    let link = pair.link().await;
    let standing = link.open(&opening(Kind::Move, 3)).await.expect("a stream");
    let standing = standing.accepted().await.expect("accepted");
    end_in.send("its emulator ended".to_string()).expect("somebody listens");
    assert_eq!(within(5, "the reason", standing.ended()).await, "its emulator ended");
    let twice = link.open(&opening(Kind::Move, 3)).await.expect("a stream").accepted().await;
    assert_eq!(twice.err().as_deref(), Some("once only"));

    let released = opening(Kind::Released, 0);
    link.say(&released).await.expect("noted");
    assert_eq!(*heard.lock().expect("no panic"), vec![(host(0), released)]);
    let refused = link.say(&Opening { vm: 8, ..opening(Kind::Move, 0) }).await;
    assert!(refused.as_ref().is_err_and(|text| text.contains("nobody here waits")), "{refused:?}");
    pair.b.unregister(Kind::Released, None);
    assert!(link.say(&opening(Kind::Released, 0)).await.is_err());
    let (_ours, theirs) = local();
    let opened = link.open(&opening(Kind::Disk, 0)).await.expect("a stream");
    let refused = within(5, "the refusal", opened.join(theirs, &Pace::new(0))).await;
    assert!(refused.as_ref().is_err_and(|text| text.contains("nobody here waits")), "{refused:?}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_host_that_was_asked_for_answers_and_only_hosts_of_the_federation_may_ask() {
    let pair = Pair::start("who", delay(1));
    let other = PeerId::Host { region: REGIONS[1].into(), host: "host-9".into() };
    let refused = pair.a.link(&other, pair.address()).await.err().unwrap_or_default();
    assert!(refused.contains("answered in place of"), "{refused}");

    // A host of another authority: the dialed end turns it away.
    let strangers = Ca::create("test", Duration::from_secs(3600)).expect("a CA");
    let stranger = start(&strangers, &pair.wan, 2);
    assert!(stranger.link(&host(1), pair.address()).await.is_err());

    // A region has no business here, in neither role.
    let region = identity(&pair.ca, &PeerId::Region { region: REGIONS[2].into(), number: 3 });
    let config = TransferConfig {
        federation: region.federation(),
        identity: region,
        listen: SocketAddr::from(([127, 78, 3, 1], 0)),
        seed: 1,
        wan: None,
    };
    let refused = TransferLink::start(config).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("is not a host's certificate"), "{refused}");
    stranger.shutdown().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_nobody_listens_on_is_a_refusal_and_paced_bytes_take_their_time() {
    let pair = Pair::start("pace", delay(5));
    let listener = pair.socket(Kind::Disk);
    let link = pair.link().await;
    let (mut ours, theirs) = local();
    let opened = link.open(&opening(Kind::Disk, 0)).await.expect("a stream");
    tokio::spawn(async move { opened.join(theirs, &Pace::new(2 << 20)).await });
    let (mut far, _) = within(5, "a connection", listener.accept()).await.expect("a connection");
    let begin = Instant::now();
    let sending = tokio::spawn(async move { ours.write_all(&content(2 << 20)).await });
    let mut got = vec![0; 2 << 20];
    within(10, "the bytes", far.read_exact(&mut got)).await.expect("bytes");
    assert!(begin.elapsed() >= Duration::from_millis(850), "2 MiB at 2 MiB/s in {:?}", begin.elapsed());
    assert!(got == content(2 << 20));
    sending.await.expect("no panic").expect("written");

    drop(listener);
    std::fs::remove_file(Path::new(&pair.dir).join("Disk.sock")).expect("remove");
    let opened = link.open(&opening(Kind::Disk, 1)).await.expect("a stream");
    let refused = opened.accepted().await.err().unwrap_or_default();
    assert!(refused.contains("Disk.sock"), "{refused}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_far_and_slow_link_packets_are_lost_and_never_the_connection() {
    let pair = Pair::start("slow", LinkShape { rate_bps: Some(60_000_000), ..delay(60) });
    let listener = pair.socket(Kind::Disk);
    let link = pair.link().await;
    let (mut ours, theirs) = local();
    let opened = link.open(&opening(Kind::Disk, 0)).await.expect("a stream");
    let joined = tokio::spawn(async move { opened.join(theirs, &Pace::new(0)).await });
    let (mut far, _) = within(5, "a connection", listener.accept()).await.expect("a connection");
    let sending = tokio::spawn(async move { ours.write_all(&content(8 << 20)).await });
    let mut got = vec![0; 8 << 20];
    within(30, "the bytes", far.read_exact(&mut got)).await.expect("all bytes");
    assert!(got == content(8 << 20));
    sending.await.expect("no panic").expect("written");
    drop(far);
    within(10, "the end", joined).await.expect("no panic").expect("a whole end");
    pair.stop().await;
}
