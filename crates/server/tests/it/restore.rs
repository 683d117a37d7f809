//! `dwcpd restore`: a region's store from a backup of everything, or nothing at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dwcp_backup::{Create, FederationKey, Folder, Kind, Record, Repository};
use dwcp_consensus::Disk;
use dwcp_roles::node::Node;
use dwcp_server::dev::{self, DevPlan, Kept};
use dwcp_server::restore::{RestoreOptions, restore};
use dwcp_server::store::Store;
use dwcp_server::{clock, setup};
use dwcp_state::{FEDERATION_GROUP, Facts, Host, HostFacts, RegionFacts, Vm};
use dwcp_types::{Generation, GroupId, Revision, VmId, Wall};

use crate::scratch::Scratch;

/// A development federation that has only its configuration, and a place with one backup of it.
struct Lost {
    scratch: Scratch,
}

impl Lost {
    fn begin(name: &str) -> Lost {
        let scratch = Scratch::new(name);
        let plan = DevPlan { regions: 3, hosts_per_region: 1, pools: 0, store: Kept::Embedded };
        dev::init(scratch.path(), plan).expect("written");
        let lost = Lost { scratch };
        lost.back_up("dev", &lost.place(), &lost.key());
        lost
    }

    fn config(&self, region: &str) -> PathBuf {
        self.scratch.path().join(format!("config/{region}.yaml"))
    }

    fn place(&self) -> PathBuf {
        self.scratch.path().join("backups")
    }

    fn key(&self) -> FederationKey {
        let file = setup::load(&self.config("us-east-1")).expect("valid").backup.key_file.expect("a key");
        FederationKey::read_file(Path::new(&file)).expect("the key")
    }

    fn store(&self, region: &str) -> PathBuf {
        Path::new(&setup::load(&self.config(region)).expect("valid").data_dir).join("store")
    }

    fn facts(&self) -> BTreeMap<GroupId, Facts> {
        let config = setup::load(&self.config("us-east-1")).expect("valid");
        let core = setup::node_config(&config, 7).expect("complete").genesis;
        let mut facts = BTreeMap::new();
        for region in core.regions.values() {
            let host = format!("{}-a1", region.id);
            let vm = Vm {
                id: VmId(region.number),
                name: format!("web-{}", region.number),
                host: host.as_str().into(),
                generation: Generation(4),
                ..Vm::default()
            };
            let own = HostFacts { id: host.as_str().into(), ..HostFacts::default() };
            let of = RegionFacts {
                name: region.id.clone(),
                number: region.number,
                revision: Revision(9),
                hosts: [(own.id.clone(), Host { facts: own, ..Host::default() })].into(),
                vms: [(vm.id, vm)].into(),
                ..RegionFacts::default()
            };
            facts.insert(region.number, Facts::Region(Box::new(of)));
        }
        facts.insert(FEDERATION_GROUP, Facts::Core(Box::new(core)));
        facts
    }

    fn back_up(&self, federation: &str, place: &Path, key: &FederationKey) {
        fs::create_dir_all(place).expect("made");
        let folder = Arc::new(Folder::open(place).expect("a folder"));
        let repository = Repository::create(folder, federation, key.clone()).expect("a repository");
        let records = self.facts().into_iter().flat_map(|(group, facts)| {
            let of =
                move |piece: dwcp_state::Piece| Record { group, key: piece.name.into(), value: piece.bytes };
            facts.into_pieces().into_iter().map(of)
        });
        let at = Wall(clock::wall().0 - 60_000);
        let create = Create { kind: Kind::Full, at, metadata: BTreeMap::new() };
        repository.create_backup(create, records).expect("made");
    }

    fn restore(&self, region: &str, options: RestoreOptions) -> Result<String, String> {
        let from = match options.from.is_empty() {
            true => format!("file://{}", self.place().display()),
            false => options.from.clone(),
        };
        restore(&self.config(region), &RestoreOptions { from, ..options }).map(|lines| lines.join("\n"))
    }

    fn node(&self, region: &str) -> Node {
        let config = setup::load(&self.config(region)).expect("valid");
        let store = Store::open(&self.store(region)).expect("a store");
        assert!(!store.lost);
        let config = setup::node_config(&config, 7).expect("complete");
        Node::open(config, clock::now(), &store.store).expect("it opens")
    }
}

fn number_in(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("restoration: ")).expect("it is printed");
    line.parse().expect("a number")
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_there_would_be_and_what_is_lost() {
    let lost = Lost::begin("restore-dry");
    let dry = RestoreOptions { dry_run: true, ..RestoreOptions::default() };
    let said = lost.restore("us-east-1", dry).expect("it is sound");
    assert!(said.starts_with("backup 1 of file://"), "{said}");
    for part in [
        "dev: 3 regions, 1 tokens",
        "eu-west-1: 1 VMs, 0 on their way elsewhere, revision 9; waits for 1 hosts: eu-west-1-a1",
        "VM web-2 (",
        "differs: eu-west-1 hosts/eu-west-1-a1: standing Lost instead of Up",
        "lost: disks of VMs that no host has",
        "dry run: nothing was written",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(!lost.store("us-east-1").exists());
}

#[test]
fn every_region_that_restores_under_one_number_begins_with_the_same_facts() {
    let lost = Lost::begin("restore-all");
    let first = lost.restore("us-east-1", RestoreOptions::default()).expect("restored");
    let restoration = number_in(&first);
    assert!(first.contains(&format!("--backup 1 --restoration {restoration}")), "{first}");
    let told = RestoreOptions { restoration: Some(restoration), ..RestoreOptions::default() };
    let second = lost.restore("eu-west-1", told).expect("restored");
    assert_eq!(number_in(&second), restoration);
    let records = |region| {
        let opened = Store::open(&lost.store(region)).expect("a store");
        opened.store.range(b"r", b"s").collect::<Vec<_>>()
    };
    assert!(!records("us-east-1").is_empty());
    assert_eq!(records("us-east-1"), records("eu-west-1"));

    let node = lost.node("us-east-1");
    assert_eq!(node.restoration(), restoration);
    assert_eq!(node.group(FEDERATION_GROUP).map(|status| status.voters), Some(vec![1, 2, 3]));
    let facts = &node.facts().regions[&"eu-west-1".into()];
    assert!(facts.is_adopting());
    assert_eq!(facts.awaited().map(ToString::to_string).collect::<Vec<_>>(), ["eu-west-1-a1"]);
    assert_eq!(facts.vms.values().map(|vm| vm.name.as_str()).collect::<Vec<_>>(), ["web-2"]);
}

#[test]
fn a_store_that_is_there_stays_as_it_is() {
    let lost = Lost::begin("restore-there");
    lost.restore("us-east-1", RestoreOptions::default()).expect("restored");
    let before = lost.node("us-east-1").restoration();
    let refused = lost.restore("us-east-1", RestoreOptions::default()).expect_err("there is one");
    assert!(refused.contains("move it away first"), "{refused}");
    assert_eq!(lost.node("us-east-1").restoration(), before);
}

#[test]
fn what_is_not_this_federations_whole_backup_is_refused_and_nothing_is_written() {
    let lost = Lost::begin("restore-refused");
    let refused = |options, part: &str| {
        let refused = lost.restore("us-east-1", options).expect_err(part);
        assert!(refused.contains(part), "{part} is not in {refused}");
        assert!(!lost.store("us-east-1").exists(), "{part}");
    };
    let from =
        |path: &Path| RestoreOptions { from: format!("file://{}", path.display()), ..Default::default() };
    refused(from(&lost.scratch.path().join("nowhere")), "nowhere");
    let other = lost.scratch.path().join("of-another");
    lost.back_up("another", &other, &lost.key());
    refused(from(&other), "another");
    let foreign = lost.scratch.path().join("of-another-key");
    lost.back_up("dev", &foreign, &FederationKey::random());
    refused(from(&foreign), "key");
    refused(RestoreOptions { backup: Some(7), ..Default::default() }, "7");
    refused(
        RestoreOptions { restoration: Some(5), ..Default::default() },
        "--restoration 5 is not the number",
    );
    let head = format!("9-{}", "ab".repeat(32));
    refused(RestoreOptions { expect_head: head, ..Default::default() }, "log/");
    for folder in ["packs", "log"] {
        let objects = walk(&lost.place().join(folder));
        for object in objects {
            let sound = fs::read(&object).expect("an object");
            let mut flipped = sound.clone();
            let at = flipped.len() / 2;
            flipped[at] ^= 1;
            fs::write(&object, flipped).expect("written");
            let name = object.strip_prefix(lost.place()).expect("inside").display().to_string();
            refused(RestoreOptions::default(), &name);
            fs::write(&object, sound).expect("written");
        }
    }
    lost.restore("us-east-1", RestoreOptions::default()).expect("whole again");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| walk(folder)));
    files
}
