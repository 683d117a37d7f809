//! What the zone says.

use std::net::IpAddr;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use crate::dns_stage::{DUBLIN, Stage, VIRGINIA, addresses, of_network, question, with};

const A: RecordType = RecordType::A;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn code(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

/// The network that an answer says it is for: address, asked and used bits.
fn scope(answer: &Message) -> Option<(IpAddr, u8, u8)> {
    match answer.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(it) => Some((it.addr(), it.source_prefix(), it.scope_prefix())),
        _ => None,
    }
}

#[test]
fn a_client_gets_the_routers_of_the_region_that_is_nearest_to_its_network() {
    let stage = Stage::new();
    let european = stage.ask(&of_network("shop.dwcp.test.", A, DUBLIN));
    assert_eq!(addresses(&european), [ip("198.51.100.1")]);
    assert_eq!(scope(&european), Some((ip("203.0.113.0"), 24, 24)));
    assert_eq!(european.answers[0].ttl, 5);
    assert!(european.metadata.authoritative && !european.metadata.recursion_available);
    let american = stage.ask(&of_network("shop.dwcp.test.", A, VIRGINIA));
    let routers: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(ip).to_vec();
    assert!(!addresses(&american).is_empty() && addresses(&american).iter().all(|one| routers.contains(one)));
}

#[test]
fn a_network_is_used_up_to_24_and_56_bits() {
    let stage = Stage::new();
    let exact = stage.ask(&of_network("shop.dwcp.test.", A, "203.0.113.77/32"));
    assert_eq!(addresses(&exact), [ip("198.51.100.1")]);
    assert_eq!(scope(&exact), Some((ip("203.0.113.77"), 32, 24)));
    let six = stage.ask(&of_network("shop.dwcp.test.", RecordType::AAAA, "2001:db8:1:2:3::/80"));
    assert_eq!(addresses(&six), [ip("2001:db8:ffff::1")]);
    assert_eq!(scope(&six), Some((ip("2001:db8:1:2:3::"), 80, 56)));
    let hidden = stage.ask(&of_network("shop.dwcp.test.", A, "0.0.0.0/0"));
    assert_eq!(scope(&hidden), Some((ip("0.0.0.0"), 0, 0)));
    let shared = stage.ask(&of_network("anycast.dwcp.test.", A, DUBLIN));
    assert_eq!(addresses(&shared), [ip("203.0.113.77")]);
    assert_eq!(scope(&shared), Some((ip("203.0.113.0"), 24, 0)));
}

#[test]
fn a_region_with_an_address_of_the_family_is_taken_when_the_nearest_has_none() {
    let stage = Stage::new();
    let answer = stage.ask(&of_network("shop.dwcp.test.", RecordType::AAAA, VIRGINIA));
    assert_eq!(addresses(&answer), [ip("2001:db8:ffff::1")]);
}

#[test]
fn a_region_whose_routers_are_not_known_gives_the_address_of_the_vm() {
    let stage = Stage::new();
    assert_eq!(addresses(&stage.ask(&question("bare.dwcp.test.", A))), [ip("10.1.0.1")]);
}

#[test]
fn by_tcp_there_are_up_to_three_addresses_in_an_order_of_the_networks_own() {
    let stage = Stage::new();
    let ask = |network: &str| stage.ask_tcp(&[of_network("american.dwcp.test.", A, network)]).remove(0);
    let mut first: Vec<IpAddr> = Vec::new();
    for network in 0..40 {
        let answer = addresses(&ask(&format!("10.0.{network}.0/24")));
        assert_eq!(answer.len(), 3);
        assert_eq!(answer, addresses(&ask(&format!("10.0.{network}.0/24"))));
        first.push(answer[0]);
    }
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 4, "{first:?}");
}

#[test]
fn a_name_that_is_not_there_is_denied_with_the_zones_record() {
    let stage = Stage::new();
    for name in ["nothing.dwcp.test.", "x.shop.dwcp.test.", "*.dwcp.test.", "a\\.b.dwcp.test."] {
        let answer = stage.ask_tcp(&[question(name, A)]).remove(0);
        assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::NXDomain, 0), "{name}");
        assert_soa(&answer);
    }
}

#[test]
fn a_name_without_such_a_record_is_there_all_the_same() {
    let stage = Stage::new();
    let kinds = [
        ("shop.dwcp.test.", RecordType::TXT),
        ("american.dwcp.test.", RecordType::AAAA),
        ("deep.dwcp.test.", A),
        ("ns1.dwcp.test.", RecordType::AAAA),
        ("dwcp.test.", RecordType::MX),
    ];
    for (name, kind) in kinds {
        let answer = stage.ask_tcp(&[question(name, kind)]).remove(0);
        assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::NoError, 0), "{name}");
        assert_soa(&answer);
    }
}

fn assert_soa(answer: &Message) {
    assert!(answer.metadata.authoritative);
    let [record] = &answer.authorities[..] else { panic!("{answer:?}") };
    let RData::SOA(soa) = &record.data else { panic!("{record:?}") };
    assert_eq!((record.name.to_ascii().as_str(), record.ttl), ("dwcp.test.", 5));
    assert_eq!((soa.serial, soa.minimum), (1_764_000_000, 5));
}

#[test]
fn the_zone_tells_of_itself_and_of_its_servers() {
    let stage = Stage::new();
    let asked = [
        question("dwcp.test.", RecordType::SOA),
        question("dwcp.test.", RecordType::NS),
        question("ns2.dwcp.test.", A),
        question("dwcp.test.", A),
    ];
    let answers = stage.ask_tcp(&asked);
    let RData::SOA(soa) = &answers[0].answers[0].data else { panic!("{:?}", answers[0]) };
    let names = (soa.mname.to_ascii(), soa.rname.to_ascii());
    assert_eq!(names, ("ns1.dwcp.test.".to_owned(), "hostmaster.dwcp.test.".to_owned()));
    let servers: Vec<String> = answers[1].answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(servers, ["ns1.dwcp.test.", "ns2.dwcp.test."]);
    assert_eq!(addresses(&answers[2]), [ip("198.51.100.53")]);
    assert!(!addresses(&answers[3]).is_empty());
}

#[test]
fn other_zones_other_classes_and_transfers_are_refused() {
    let stage = Stage::new();
    let mut version = Message::query();
    let mut query = Query::query(Name::from_ascii("version.bind.").expect("a name"), RecordType::TXT);
    query.set_query_class(DNSClass::CH);
    version.add_query(query);
    let asked = [
        question("shop.example.org.", A),
        question("xdwcp.test.", A),
        question("test.", A),
        question(".", RecordType::NS),
        question("dwcp.test.", RecordType::AXFR),
        question("dwcp.test.", RecordType::IXFR),
        version,
    ];
    for request in asked {
        let answer = stage.ask(&request);
        assert_eq!(code(&answer), ResponseCode::Refused, "{request:?}");
        assert!(answer.answers.is_empty() && answer.authorities.is_empty());
    }
}

#[test]
fn a_question_for_anything_gets_little() {
    let stage = Stage::new();
    let answer = stage.ask(&question("shop.dwcp.test.", RecordType::ANY));
    let [record] = &answer.answers[..] else { panic!("{answer:?}") };
    assert_eq!(record.record_type(), RecordType::HINFO);
}

#[test]
fn what_is_not_known_is_no_denial() {
    let stage = Stage::new();
    let none = stage.ask(&question("empty.dwcp.test.", A));
    assert_eq!(code(&none), ResponseCode::ServFail);
    let mut table = crate::dns_stage::table();
    table.services.clear();
    stage.current.replace(table);
    for name in ["shop.dwcp.test.", "nothing.dwcp.test."] {
        assert_eq!(code(&stage.ask(&question(name, A))), ResponseCode::ServFail, "{name}");
    }
    assert_eq!(addresses(&stage.ask(&question("ns1.dwcp.test.", A))), [ip("192.0.2.53")]);
}

#[test]
fn a_name_comes_back_letter_by_letter() {
    let stage = Stage::new();
    let answer = stage.ask(&question("sHoP.DwCp.TeSt.", A));
    assert_eq!(answer.queries[0].name.to_string(), "sHoP.DwCp.TeSt.");
    assert_eq!(answer.answers[0].name.to_string(), "sHoP.DwCp.TeSt.");
}

#[test]
fn other_operations_and_later_versions_are_not_served() {
    let stage = Stage::new();
    let mut update = question("dwcp.test.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&stage.ask(&update)), ResponseCode::NotImp);
    let mut later = with("shop.dwcp.test.", A, Vec::new());
    later.edns.as_mut().expect("EDNS").set_version(1);
    let answer = stage.ask(&later);
    // 16 is the code of both, in different places of a message.
    assert!(matches!(code(&answer), ResponseCode::BADVERS | ResponseCode::BADSIG));
    assert_eq!(answer.edns.map(|edns| edns.version()), Some(0));
}

#[test]
fn who_asks_is_told_which_router_answered() {
    let stage = Stage::new();
    let nsid = EdnsOption::try_from((EdnsCode::NSID, &[][..])).expect("an option");
    let answer = stage.ask(&with("shop.dwcp.test.", A, vec![nsid]));
    let Some(EdnsOption::NSID(name)) = answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::NSID))
    else {
        panic!("{answer:?}")
    };
    assert_eq!(name.as_ref(), b"router-1");
}
