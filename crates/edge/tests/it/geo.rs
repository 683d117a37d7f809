//! Where clients are.

use std::net::IpAddr;

use dwcp_edge::geo::{COUNTRIES, Geo, OWN, SYSTEMS};

use crate::stage::Folder;

/// A database in MaxMind's form with IPv4 networks of 8 bits: each with a value that is written already.
fn database(networks: &[(u8, Vec<u8>)]) -> Vec<u8> {
    const NODES: u32 = 256;
    let mut values = Vec::new();
    let mut at = vec![NODES; 256];
    for (network, value) in networks {
        at[usize::from(*network)] = NODES + 16 + values.len() as u32;
        values.extend_from_slice(value);
    }
    // A whole binary tree of eight levels; the node 0 is the root, and one is left over.
    let mut tree = Vec::new();
    for node in 1..256_u32 {
        for child in [2 * node, 2 * node + 1] {
            let record = if child < 256 { child - 1 } else { at[child as usize - 256] };
            tree.extend_from_slice(&record.to_be_bytes()[1..]);
        }
    }
    tree.extend_from_slice(&[0, 1, 0, 0, 1, 0]);
    let mut bytes = tree;
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&values);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let entries: Vec<Vec<u8>> = vec![
        [text("binary_format_major_version"), number16(2)].concat(),
        [text("binary_format_minor_version"), number16(0)].concat(),
        [text("build_epoch"), vec![0x01, 0x02, 1]].concat(),
        [text("database_type"), text("test")].concat(),
        [text("description"), map(&[])].concat(),
        [text("ip_version"), number16(4)].concat(),
        [text("languages"), vec![0x00, 0x04]].concat(),
        [text("node_count"), number32(NODES)].concat(),
        [text("record_size"), number16(24)].concat(),
    ];
    bytes.extend_from_slice(&map(&entries));
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&[0x40 | text.len() as u8], text.as_bytes()].concat()
}

fn number16(number: u8) -> Vec<u8> {
    vec![0xa1, number]
}

fn number32(number: u32) -> Vec<u8> {
    [&[0xc4][..], &number.to_be_bytes()].concat()
}

fn map(entries: &[Vec<u8>]) -> Vec<u8> {
    [vec![0xe0 | entries.len() as u8], entries.concat()].concat()
}

fn country(code: &str) -> Vec<u8> {
    map(&[[text("country_code"), text(code)].concat()])
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_client_is_where_people_of_its_country_live() {
    let folder = Folder::new();
    std::fs::write(
        folder.0.join(COUNTRIES),
        database(&[(5, country("DE")), (9, country("AU")), (11, country("ZZ"))]),
    )
    .expect("a file");
    let system = map(&[[text("autonomous_system_number"), number32(64_500)].concat()]);
    std::fs::write(folder.0.join(SYSTEMS), database(&[(5, system)])).expect("a file");
    let geo = Geo::open(&folder.0).expect("a database");
    let german = geo.look(ip("5.6.7.8"));
    assert_eq!((german.country, german.asn), (Some(*b"DE"), Some(64_500)));
    let place = german.place.expect("a place");
    assert!((place.latitude - 52.5).abs() < 2.0 && (place.longitude - 13.4).abs() < 2.0, "{place:?}");
    assert_eq!(geo.look(ip("::ffff:5.6.7.8")), german);
    assert_eq!(geo.look(ip("9.0.0.1")).country, Some(*b"AU"));
    let nowhere = geo.look(ip("11.0.0.1"));
    assert_eq!((nowhere.country, nowhere.place), (Some(*b"ZZ"), None));
    for unknown in ["10.0.0.1", "127.0.0.1", "2001:db8::1"] {
        assert_eq!(geo.look(ip(unknown)).place, None);
    }
}

#[test]
fn a_file_that_changes_is_read_again_and_a_damaged_one_is_not_used() {
    let folder = Folder::new();
    let file = folder.0.join(COUNTRIES);
    std::fs::write(&file, database(&[(5, country("DE"))])).expect("a file");
    let geo = Geo::open(&folder.0).expect("a database");
    // Another file of the same length that is said to have been written at the same time, as archives do.
    let next = folder.0.join("next");
    std::fs::write(&next, database(&[(5, country("FR"))])).expect("a file");
    let written = std::fs::metadata(&file).and_then(|about| about.modified()).expect("a time");
    std::fs::File::options()
        .write(true)
        .open(&next)
        .and_then(|next| next.set_modified(written))
        .expect("set");
    std::fs::rename(&next, &file).expect("a file");
    geo.look_again();
    assert_eq!(geo.look(ip("5.6.7.8")).country, Some(*b"FR"));
    std::fs::write(&file, "damaged").expect("a file");
    geo.look_again();
    assert_eq!(geo.look(ip("5.6.7.8")).country, Some(*b"FR"));
    assert!(geo.trouble().is_some_and(|trouble| trouble.contains(COUNTRIES)));
    std::fs::remove_file(&file).expect("it was there");
    geo.look_again();
    assert_eq!(geo.look(ip("5.6.7.8")).country, Some(*b"FR"));
}

#[test]
fn a_folder_without_a_database_says_how_to_get_one() {
    let reason = Geo::open(&Folder::new().0).err().expect("there is none");
    assert!(reason.contains("cargo xtask geo"), "{reason}");
}

#[test]
fn networks_of_our_own_go_before_countries_and_the_narrowest_first() {
    let folder = Folder::new();
    std::fs::write(folder.0.join(COUNTRIES), database(&[(10, country("DE"))])).expect("a file");
    std::fs::write(folder.0.join(OWN), "# offices\n10.0.0.0/8, 1.0, 2.0\n10.7.0.0/16,3.5,4.5\n")
        .expect("a file");
    let geo = Geo::open(&folder.0).expect("a database");
    let at = |text: &str| geo.look(ip(text)).place.map(|place| (place.latitude, place.longitude));
    assert_eq!((at("10.1.0.1"), at("10.7.0.1")), (Some((1.0, 2.0)), Some((3.5, 4.5))));
    for wrong in ["10.0.0.0/33,1,2", "10.0.0.0,1,2", "10.0.0.0/8,91,2", "x/8,1,2", "10.0.0.0/8,1"] {
        std::fs::write(folder.0.join(OWN), wrong).expect("a file");
        assert!(Geo::open(&folder.0).is_err(), "{wrong}");
    }
}
