//! What the zone says is signed for those who ask for that, and another implementation finds every signature right.

use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_edge::dns;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey, Verifier};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::dns_stage::{Stage, addresses, question, with};

const SEED: [u8; 32] = [42; 32];

fn signed() -> Stage {
    Stage::with(|config| (config.rrl_per_s, config.signing_seed) = (0, Some(SEED)))
}

/// A question of who checks signatures.
fn checking(name: &str, kind: RecordType) -> Message {
    let mut message = with(name, kind, vec![]);
    message.edns.as_mut().unwrap().set_dnssec_ok(true);
    message
}

fn ask(stage: &Stage, name: &str, kind: RecordType) -> Message {
    stage.ask_tcp(&[checking(name, kind)]).remove(0)
}

fn rrsig(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

fn denials(answer: &Message) -> Vec<(&Name, &NSEC)> {
    answer
        .authorities
        .iter()
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => Some((&record.name, nsec)),
            _ => None,
        })
        .collect()
}

fn key(stage: &Stage) -> DNSKEY {
    let answer = ask(stage, "dwcp.test.", RecordType::DNSKEY);
    let keys = answer.answers.iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
        _ => None,
    });
    let [key] = keys.collect::<Vec<_>>().try_into().expect("one key");
    key
}

/// Every set of records is signed by this key, now. How many there were.
fn check(key: &DNSKEY, answer: &Message) -> Result<usize, String> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let mut sets = 0;
    for section in [&answer.answers, &answer.authorities] {
        let signatures: Vec<_> = section.iter().filter_map(|record| Some((record, rrsig(record)?))).collect();
        let mut kinds: Vec<_> =
            section.iter().map(Record::record_type).filter(|kind| *kind != RecordType::RRSIG).collect();
        kinds.dedup();
        assert_eq!(kinds.len(), signatures.len(), "{answer}");
        for kind in kinds {
            let set: Vec<&Record> = section.iter().filter(|record| record.record_type() == kind).collect();
            let (owner, rrsig) =
                signatures.iter().find(|(_, rrsig)| rrsig.input().type_covered == kind).unwrap();
            assert_eq!(owner.name, set[0].name);
            let input = rrsig.input();
            assert!(input.sig_inception.get() < now_s && input.sig_expiration.get() > now_s + 86_400);
            key.verify_rrsig(&set[0].name, DNSClass::IN, rrsig, set.iter().copied())
                .map_err(|e| format!("{kind}: {e}"))?;
            assert_eq!(input.key_tag, key.calculate_key_tag().unwrap());
            sets += 1;
        }
    }
    Ok(sets)
}

#[test]
fn everything_that_is_there_is_signed() {
    let stage = signed();
    for (name, kind, sets) in [
        ("shop.dwcp.test.", RecordType::A, 1),
        ("ShOp.dWcP.tEsT.", RecordType::AAAA, 1),
        ("american.dwcp.test.", RecordType::A, 1),
        ("dwcp.test.", RecordType::A, 1),
        ("dwcp.test.", RecordType::SOA, 1),
        ("DWCP.test.", RecordType::NS, 1),
        ("ns2.dwcp.test.", RecordType::A, 1),
        ("shop.dwcp.test.", RecordType::ANY, 1),
        ("dwcp.test.", RecordType::DNSKEY, 1),
        ("dwcp.test.", RecordType::CDS, 1),
        ("dwcp.test.", RecordType::CDNSKEY, 1),
    ] {
        let answer = ask(&stage, name, kind);
        assert!(!answer.answers.is_empty(), "{name} {kind}: {answer}");
        assert_eq!(check(&key(&stage), &answer), Ok(sets), "{name} {kind}");
    }
    assert!(
        addresses(&ask(&stage, "american.dwcp.test.", RecordType::A)).len() > 1,
        "more than one of a kind"
    );
    let other = Stage::with(|config| config.signing_seed = Some([1; 32]));
    let others = ask(&other, "shop.dwcp.test.", RecordType::A);
    assert!(check(&key(&stage), &others).is_err(), "another key's signatures do not count");
    assert_eq!(check(&key(&other), &others), Ok(1));
}

#[test]
fn what_is_not_there_is_denied_for_that_name_alone() {
    let stage = signed();
    let types = |answer: &Message| -> Vec<RecordType> { denials(answer)[0].1.type_bit_maps().collect() };
    use RecordType::{A, AAAA, CDNSKEY, CDS, DNSKEY, MX, NS, NSEC, RRSIG, SOA};
    let absent = RecordType::Unknown(128);
    for (name, kind, there) in [
        ("nothing.dwcp.test.", A, vec![RRSIG, NSEC, absent]),
        ("a.b.Nothing.dwcp.test.", MX, vec![RRSIG, NSEC, absent]),
        ("deep.dwcp.test.", A, vec![RRSIG, NSEC]),
        ("shop.dwcp.test.", MX, vec![A, AAAA, RRSIG, NSEC]),
        ("anycast.dwcp.test.", AAAA, vec![A, RRSIG, NSEC]),
        ("ns1.dwcp.test.", AAAA, vec![A, RRSIG, NSEC]),
        ("dwcp.test.", MX, vec![A, NS, SOA, AAAA, RRSIG, NSEC, DNSKEY, CDS, CDNSKEY]),
        ("*.dwcp.test.", A, vec![RRSIG, NSEC, absent]),
    ] {
        let answer = ask(&stage, name, kind);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name}");
        assert_eq!(check(&key(&stage), &answer), Ok(2), "{name} {kind}: {answer}");
        assert_eq!(types(&answer), there, "{name} {kind}");
        let (owner, nsec) = denials(&answer)[0];
        let lower = Name::from_ascii(name).unwrap().to_lowercase();
        assert_eq!(owner.to_lowercase(), lower);
        assert_eq!(nsec.next_domain_name().base_name(), lower);
        assert_eq!(nsec.next_domain_name().iter().next(), Some(&b"\0"[..]));
    }
    let wildcard = ask(&stage, "*.dwcp.test.", A);
    let labels = wildcard.authorities.iter().filter_map(rrsig).map(|rrsig| rrsig.input().num_labels);
    assert!(labels.eq([2, 2]), "a `*` is not counted");
    assert_eq!(ask(&stage, "shop.dwcp.test.", absent).metadata.response_code, ResponseCode::FormErr);
    let longest = format!("{0}.{0}.{0}.{1}.dwcp.test.", "a".repeat(63), "b".repeat(51));
    assert_eq!(ask(&stage, &longest, A).metadata.response_code, ResponseCode::ServFail);
    let mut compact = checking("nothing.dwcp.test.", A);
    compact.edns.as_mut().unwrap().flags_mut().z = 0x4000;
    let answer = stage.ask_tcp(&[compact]).remove(0);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(check(&key(&stage), &answer), Ok(2));
}

#[test]
fn who_does_not_check_hears_nothing_of_it() {
    let stage = signed();
    for kind in [RecordType::A, RecordType::MX] {
        let plain = stage.ask_tcp(&[with("shop.dwcp.test.", kind, vec![])]).remove(0);
        assert!(plain.answers.iter().chain(&plain.authorities).all(|record| rrsig(record).is_none()));
        assert!(denials(&plain).is_empty());
    }
    let gone = stage.ask(&question("nothing.dwcp.test.", RecordType::A));
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    let bare = Stage::new();
    let answer = ask(&bare, "dwcp.test.", RecordType::DNSKEY);
    assert!(answer.answers.is_empty() && denials(&answer).is_empty());
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
}

#[test]
fn a_signed_answer_by_udp_is_no_more_than_twice_the_question_unless_an_address_is_proven() {
    let stage = signed();
    let request = checking("shop.dwcp.test.", RecordType::A).to_vec().unwrap();
    let answer = stage.send(&request).unwrap();
    assert!(answer.len() <= 2 * request.len());
    assert!(crate::dns_stage::read(&answer).metadata.truncation);
}

#[test]
fn the_zone_above_is_told_the_digest_of_the_key() {
    let stage = signed();
    let key = key(&stage);
    assert_eq!(key.public_key().algorithm(), Algorithm::ED25519);
    assert!(key.zone_key() && key.secure_entry_point() && !key.revoke());
    let zone = Name::from_ascii("dwcp.test.").unwrap();
    let digest = key.to_digest(&zone, DigestType::SHA256).unwrap();
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let line = format!("dwcp.test. IN DS {} 15 2 {hex}", key.calculate_key_tag().unwrap());
    assert_eq!(dns::ds("dwcp.test", &SEED).unwrap(), line);
    let cds = ask(&stage, "dwcp.test.", RecordType::CDS);
    assert!(cds.answers[0].data.to_string().to_uppercase().contains(&hex), "{cds}");
}
