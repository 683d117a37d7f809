//! Clients that lie, flood, stall or talk nonsense.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dwcp_edge::dns::{DnsConfig, Responder, Way};
use dwcp_edge::guard::{Asked, Ended, Guard, Open, Verdict};
use dwcp_edge::routes::Current;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use proptest::prelude::*;

use crate::dns_stage::{DUBLIN, Stage, addresses, framed, next, of_network, question, read, table, with};

const A: RecordType = RecordType::A;

fn cookie(bytes: &[u8]) -> EdnsOption {
    EdnsOption::Unknown(10, bytes.to_vec())
}

/// The cookie in an answer: the client's 8 bytes and the server's 16.
fn given(answer: &Message) -> Vec<u8> {
    match answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie)) {
        Some(EdnsOption::Unknown(10, bytes)) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

fn of_every_kind() -> Vec<Message> {
    let nsid = || EdnsOption::try_from((EdnsCode::NSID, &[][..])).expect("an option");
    let mut all = Vec::new();
    let names =
        ["shop.dwcp.test.", "american.dwcp.test.", "anycast.dwcp.test.", "empty.dwcp.test.", "x.dwcp.test."];
    for name in names.into_iter().chain(["dwcp.test.", "ns1.dwcp.test.", "deep.dwcp.test.", "other.example."])
    {
        for kind in [A, RecordType::AAAA, RecordType::NS, RecordType::SOA, RecordType::ANY, RecordType::AXFR]
        {
            all.push(question(name, kind));
            all.push(with(name, kind, Vec::new()));
            all.push(of_network(name, kind, DUBLIN));
            all.push(with(name, kind, vec![nsid()]));
            all.push(with(name, kind, vec![cookie(&[7; 8])]));
            let mut later = with(name, kind, vec![nsid()]);
            later.edns.as_mut().expect("EDNS").set_version(3);
            all.push(later);
        }
    }
    all
}

#[test]
fn no_answer_to_who_may_lie_is_longer_than_twice_the_question() {
    let stage = Stage::new();
    let mut largest: f64 = 0.0;
    for request in &*REQUESTS {
        let answer = stage.send(request).expect("an answer");
        let ratio = answer.len() as f64 / request.len() as f64;
        assert!(ratio <= 2.0, "{ratio}: {:?}", read(&answer));
        largest = largest.max(ratio);
    }
    println!("largest answer: {largest:.2} times its question");
}

#[test]
fn what_does_not_fit_is_asked_for_again_by_tcp() {
    let stage = Stage::new();
    let request = question("dwcp.test.", RecordType::SOA);
    let short = stage.ask(&request);
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = stage.ask_tcp(&[request]).remove(0);
    assert!(!whole.metadata.truncation && whole.answers.len() == 1);
}

#[test]
fn who_shows_its_cookie_gets_everything() {
    let stage = Stage::with(|config| config.rrl_per_s = 1);
    let first = stage.ask(&with("nothing.dwcp.test.", A, vec![cookie(b"client 1")]));
    assert!(first.metadata.truncation);
    let cookie_given = given(&first);
    assert!(cookie_given.starts_with(b"client 1") && cookie_given.len() == 24);
    for _ in 0..50 {
        let again = stage.ask(&with("nothing.dwcp.test.", A, vec![cookie(&cookie_given)]));
        assert_eq!(again.metadata.response_code, ResponseCode::NXDomain);
        assert!(!again.metadata.truncation && again.authorities.len() == 1);
    }
    let mut forged = cookie_given;
    forged[20] ^= 1;
    let forged = with("nothing.dwcp.test.", A, vec![cookie(&forged)]).to_vec().expect("a request");
    let answers = (0..8).filter_map(|_| stage.send_briefly(&forged));
    let whole = answers.filter(|answer| !read(answer).metadata.truncation).count();
    assert!(whole < 7, "{whole} of 8");
}

#[test]
fn a_cookie_of_a_wrong_length_is_an_error() {
    let stage = Stage::new();
    for length in [0, 7, 9, 15, 41] {
        let answer = stage.ask(&with("shop.dwcp.test.", A, vec![cookie(&vec![1; length])]));
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{length}");
    }
}

#[test]
fn a_flood_is_limited_and_every_second_limited_answer_says_tcp() {
    let stage = Stage::with(|config| config.rrl_per_s = 1);
    let (mut full, mut slipped, mut dropped) = (0, 0, 0);
    let request = question("shop.dwcp.test.", A).to_vec().expect("a request");
    for _ in 0..60 {
        match stage.send_briefly(&request) {
            None => dropped += 1,
            Some(answer) if read(&answer).metadata.truncation => slipped += 1,
            Some(_) => full += 1,
        }
    }
    assert!((3..40).contains(&full), "{full} answers");
    assert!(dropped >= 8 && slipped >= 8, "{dropped} dropped, {slipped} slipped");
    let other = stage.send_from(IpAddr::from([127, 0, 9, 1]), &request, Duration::from_secs(5));
    assert_eq!(addresses(&read(&other.expect("an answer"))).len(), 2);
    assert_eq!(addresses(&stage.ask_tcp(&[question("shop.dwcp.test.", A)]).remove(0)).len(), 3);
}

/// Lets nobody ask.
struct Closed;

impl Guard for Closed {
    fn connection(&self, _: IpAddr) -> Verdict {
        Verdict::Pass
    }

    fn connection_ended(&self, _: IpAddr, _: Ended) {}

    fn request(&self, _: &Asked<'_>) -> Verdict {
        Verdict::Pass
    }

    fn request_ended(&self, _: &Asked<'_>, _: Ended) {}

    fn dns(&self, _: IpAddr) -> bool {
        false
    }

    fn solved(&self, _: IpAddr, _: &str, _: &[u8]) -> Result<(String, String), String> {
        Err(String::new())
    }
}

#[test]
fn whom_the_guard_does_not_let_ask_hears_nothing() {
    let stage = Stage::guarded(|_| {}, Arc::new(Closed));
    let request = question("shop.dwcp.test.", A);
    assert!(stage.send_briefly(&request.to_vec().expect("a request")).is_none());
    assert!(stage.ask_tcp(&[request]).is_empty());
}

#[test]
fn an_answer_is_never_answered() {
    let stage = Stage::new();
    let mut answer = question("shop.dwcp.test.", A).to_vec().expect("a request");
    answer[2] |= 0x80;
    assert!(stage.send_briefly(&answer).is_none());
}

#[test]
fn questions_on_a_connection_are_answered_in_turn() {
    let stage = Stage::new();
    let mut requests = Vec::new();
    for id in 0..500_u16 {
        let mut request = question("shop.dwcp.test.", A);
        request.metadata.id = id;
        requests.push(request);
    }
    let ids: Vec<u16> = stage.ask_tcp(&requests).iter().map(|answer| answer.metadata.id).collect();
    assert_eq!(ids, (0..500).collect::<Vec<u16>>());
}

#[test]
fn a_request_in_pieces_is_put_together() {
    let stage = Stage::new();
    let mut stream = stage.connect();
    stream.set_nodelay(true).expect("an option");
    for byte in framed(&question("shop.dwcp.test.", A).to_vec().expect("a request")) {
        stream.write_all(&[byte]).expect("it is sent");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(addresses(&read(&next(&mut stream).expect("an answer"))).len(), 3);
}

#[test]
fn a_length_that_no_question_has_ends_the_connection() {
    let stage = Stage::new();
    for length in [0_u16, 1, 11, 4_097, 65_535] {
        let mut stream = stage.connect();
        stream.write_all(&length.to_be_bytes()).expect("it is sent");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}

#[test]
fn a_client_has_fifty_connections_and_loses_them_when_it_says_nothing() {
    let stage = Stage::new();
    let request = framed(&question("shop.dwcp.test.", A).to_vec().expect("a request"));
    let mut open: Vec<_> = (0..50).map(|_| stage.connect()).collect();
    for stream in &mut open {
        stream.write_all(&request).expect("it is sent");
        assert!(next(stream).is_some());
    }
    let mut more = stage.connect();
    let _ = more.write_all(&request);
    assert!(next(&mut more).is_none());
    let begun = Instant::now();
    let mut rest = Vec::new();
    open[0].read_to_end(&mut rest).expect("it is closed");
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(open);
    std::thread::sleep(Duration::from_millis(500));
    let mut again = stage.connect();
    again.write_all(&request).expect("it is sent");
    assert!(next(&mut again).is_some());
}

static RESPONDER: LazyLock<(Responder, Arc<Current>)> = LazyLock::new(responder);
static REQUESTS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| of_every_kind().iter().map(|request| request.to_vec().expect("a request")).collect());

fn responder() -> (Responder, Arc<Current>) {
    let current = Arc::new(Current::new(table()));
    let mut config = DnsConfig::new("dwcp.test", IpAddr::from([192, 0, 2, 99])).expect("a zone");
    config.rrl_per_s = 0;
    let responder = Responder::new(&config, Arc::clone(&current), None, Arc::new(Open));
    (responder.expect("a responder"), current)
}

/// Whether there is an answer; it is one that can be read and belongs to the request.
fn answered(responder: &Responder, current: &Current, request: &[u8], way: Way) -> bool {
    let mut answer = Vec::new();
    let from = ([192, 0, 2, 5], 4_000).into();
    if !responder.respond(&current.routes(), request, from, way, &mut answer) {
        return false;
    }
    let message = read(&answer);
    assert_eq!(answer[..2], request[..2]);
    assert!(answer[2] & 0x80 != 0);
    assert!(way == Way::Tcp || answer.len() <= 2 * request.len(), "{message:?}");
    true
}

#[test]
fn no_part_of_a_request_is_taken_for_all_of_it() {
    let (responder, current) = &*RESPONDER;
    for request in &*REQUESTS {
        for length in 0..request.len() {
            let answered = answered(responder, current, &request[..length], Way::Udp);
            assert_eq!(answered, length >= 12, "{length} of {request:02x?}");
        }
    }
}

#[test]
fn a_name_that_points_somewhere_is_an_error() {
    let (responder, current) = &*RESPONDER;
    for pointer in [[0xc0, 0x00], [0xc0, 0x04], [0xc0, 0x0c], [0xff, 0xff]] {
        let mut request = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        request.extend_from_slice(&[pointer[0], pointer[1], 0, 1, 0, 1]);
        let mut answer = Vec::new();
        let from = ([192, 0, 2, 5], 4_000).into();
        assert!(responder.respond(&current.routes(), &request, from, Way::Udp, &mut answer));
        assert_eq!(read(&answer).metadata.response_code, ResponseCode::FormErr, "{pointer:02x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered_with_a_message_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (responder, current) = &*RESPONDER;
        let answer = answered(responder, current, &bytes, Way::Udp);
        prop_assert!(!answer || (bytes.len() >= 12 && bytes[2] & 0x80 == 0));
        answered(responder, current, &bytes, Way::Tcp);
    }

    #[test]
    fn a_damaged_question_is_answered_with_a_message_or_not_at_all(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (responder, current) = &*RESPONDER;
        let mut bytes = REQUESTS[which.index(REQUESTS.len())].clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let answer = answered(responder, current, &bytes, Way::Udp);
        prop_assert!(!answer || bytes[2] & 0x80 == 0);
        answered(responder, current, &bytes, Way::Tcp);
    }
}
