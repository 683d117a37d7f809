//! Feeds damaged questions to DNS: no panic, and an answer is one that can be read, belongs to its question and is not longer
//! than twice that.
//!
//! `cargo run -p dwcp-edge --profile sim --example fuzz-dns -- [--seconds N] [--seed N]`. A failure prints the input.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dwcp_decide::route::{EndpointRow, RegionRow, ServiceRow, Table};
use dwcp_edge::dns::{DnsConfig, Responder, Way};
use dwcp_edge::guard::Open;
use dwcp_edge::routes::Current;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

const FROM: ([u8; 4], u16) = ([192, 0, 2, 7], 4_000);

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let current = Arc::new(Current::new(table()));
    let mut config = DnsConfig::new("dwcp.test.", IpAddr::from([192, 0, 2, 1])).expect("a zone");
    config.rrl_per_s = 0;
    let responder = Responder::new(&config, Arc::clone(&current), None, Arc::new(Open)).expect("a zone");
    let mut out = Vec::new();
    let mut answer = |input: &[u8], way: Way| {
        let answered = responder.respond(&current.routes(), input, FROM.into(), way, &mut out);
        if answered {
            assert_eq!(out[..2], input[..2], "of another question");
            assert!(way == Way::Tcp || out.len() <= 2 * input.len(), "longer than twice the question");
            Message::from_vec(&out).expect("an answer can be read");
        }
        answered && out[3] & 0xf != 1
    };
    run("dns-udp", &questions(), limit, seed, |input| answer(input, Way::Udp));
    run("dns-tcp", &questions(), limit, seed, |input| answer(input, Way::Tcp));
}

fn questions() -> Vec<Vec<u8>> {
    let question = |name: &str, kind: RecordType, options: Vec<EdnsOption>| {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        let mut edns = Edns::new();
        options.into_iter().for_each(|option| edns.options_mut().insert(option));
        message.set_edns(edns);
        message.to_vec().expect("a question")
    };
    let network = EdnsOption::Subnet("203.0.113.0/24".parse().expect("a network"));
    vec![
        question("shop.dwcp.test.", RecordType::A, vec![network, EdnsOption::Unknown(10, vec![7; 24])]),
        question("shop.dwcp.test.", RecordType::AAAA, vec![EdnsOption::Unknown(3, Vec::new())]),
        question("x.dwcp.test.", RecordType::TXT, vec![EdnsOption::Unknown(10, vec![7; 8])]),
        question("dwcp.test.", RecordType::SOA, Vec::new()),
        question("dwcp.test.", RecordType::ANY, Vec::new()),
    ]
}

fn table() -> Table {
    let region = RegionRow {
        region: "us-east-1".into(),
        takes_part: true,
        traffic_percent: 100,
        routers: vec![IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])],
        ..RegionRow::default()
    };
    let endpoint = EndpointRow {
        id: "vm_1".into(),
        name: "shop-1".into(),
        region: 0,
        zone: "a".into(),
        address: SocketAddr::from(([10, 0, 0, 1], 80)),
        serves: true,
        draining: false,
    };
    let service = ServiceRow {
        name: "shop".into(),
        hosts: vec!["shop.dwcp.test".into()],
        endpoints: vec![endpoint],
        ..ServiceRow::default()
    };
    Table { here: "us-east-1".into(), regions: vec![region], services: vec![service], ..Table::default() }
}
