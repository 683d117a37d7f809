//! Digests of one group's facts as a tree: the root stands for kinds of records, a kind for buckets, a bucket for records.
//!
//! Two replicas at one revision have the same root exactly when their facts have the same bytes. When the roots differ, the
//! children of what differs are compared, and so on: what is asked for is proportional to what differs.
//!
//! A digest takes the step of FNV-1a of 128 bits for every eight bytes: a replica stands still while it takes one, and byte by
//! byte that would be eight times as long. Each step is a bijection, so another byte anywhere always gives another sum; of other
//! changes hardly any does not. It guards against rot and mistakes, not against people: who could forge facts holds the keys of
//! a region.

use std::collections::{BTreeMap, VecDeque};

use dwcp_types::codec::{Reader, Writer};
use dwcp_types::{DecodeError, GroupId, Wire, encode};

use crate::{Core, Event, Federation, Ledger, RegionFacts};

/// Stands for some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(u128);

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl Default for Digest {
    fn default() -> Digest {
        Digest(OFFSET)
    }
}

impl Digest {
    /// With its length: where one piece ends and the next begins counts too.
    fn piece(&mut self, bytes: &[u8]) {
        self.word((bytes.len() as u64).to_le_bytes());
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.word(*word));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(last);
        }
    }

    fn word(&mut self, bytes: [u8; 8]) {
        self.0 = (self.0 ^ u128::from(u64::from_le_bytes(bytes))).wrapping_mul(PRIME);
    }

    /// The bucket of whatever it stands for. Its low bits follow from few of the bytes, so all are mixed.
    fn bucket(self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        ((self.0 >> 64) as u64 ^ self.0 as u64).wrapping_mul(GOLDEN) >> (u64::BITS - BUCKETS.ilog2())
    }

    fn of(pieces: &[&[u8]]) -> Digest {
        let mut sum = Digest::default();
        pieces.iter().for_each(|piece| sum.piece(piece));
        sum
    }

    /// Stands for several that are told apart by their names.
    pub fn of_children<'a>(children: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
        let mut sum = Digest::default();
        for (name, digest) in children {
            sum.piece(name.as_bytes());
            sum.piece(&digest.0.to_le_bytes());
        }
        sum
    }

    /// Enough of it to compare by eye.
    pub fn short(self) -> String {
        self.to_string()[..12].to_string()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Wire for Digest {
    fn put(&self, w: &mut Writer) {
        w.bytes(&self.0.to_le_bytes());
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = r.bytes()?.try_into().map_err(|_| DecodeError::Invalid("a digest of another length"))?;
        Ok(Digest(u128::from_le_bytes(bytes)))
    }
}

/// Children of a part of a tree: names with their digests, in order.
pub type Children = Vec<(String, Digest)>;

/// Buckets a kind, a power of two.
const BUCKETS: u64 = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kind {
    buckets: BTreeMap<String, BTreeMap<String, Digest>>,
}

impl Kind {
    fn children(&self) -> Children {
        let sum_of = |records: &BTreeMap<String, Digest>| {
            Digest::of_children(records.iter().map(|(id, digest)| (id.as_str(), *digest)))
        };
        self.buckets.iter().map(|(name, records)| (name.clone(), sum_of(records))).collect()
    }
}

/// The digests of one group's facts at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    kinds: BTreeMap<String, Kind>,
}

fn sum(children: &[(String, Digest)]) -> Digest {
    Digest::of_children(children.iter().map(|(name, digest)| (name.as_str(), *digest)))
}

impl Tree {
    /// Stands for all of it.
    pub fn root(&self) -> Digest {
        sum(&self.kinds())
    }

    /// How many records it stands for.
    pub fn records(&self) -> u64 {
        let buckets = self.kinds.values().flat_map(|kind| kind.buckets.values());
        buckets.map(|bucket| bucket.len() as u64).sum()
    }

    /// What a part is made of: of the whole its kinds, of a kind its buckets, of a bucket its records; none when there is no
    /// such part.
    pub fn children(&self, path: &[String]) -> Option<Children> {
        match path {
            [] => Some(self.kinds()),
            [kind] => Some(self.kinds.get(kind)?.children()),
            [kind, bucket] => {
                let records = self.kinds.get(kind)?.buckets.get(bucket)?;
                Some(records.iter().map(|(id, digest)| (id.clone(), *digest)).collect())
            }
            _ => None,
        }
    }

    /// How deep paths go: children of a path of this length less one are records.
    pub const DEPTH: usize = 3;

    fn kinds(&self) -> Children {
        self.kinds.iter().map(|(name, kind)| (name.clone(), sum(&kind.children()))).collect()
    }

    fn record(&mut self, kind: &str, id: String, value: &[u8]) {
        let digest = Digest::of(&[kind.as_bytes(), id.as_bytes(), value]);
        let bucket = Digest::of(&[id.as_bytes()]).bucket();
        let kind = self.kinds.entry(kind.to_string()).or_default();
        kind.buckets.entry(format!("{bucket:02}")).or_default().insert(id, digest);
    }

    fn map<K: ToString, V: Wire>(&mut self, kind: &str, records: &BTreeMap<K, V>) {
        for (id, value) in records {
            self.record(kind, id.to_string(), &encode(value));
        }
    }

    /// What is kept in order: records whose ids don't tell the order.
    fn order(&mut self, kind: &str, ids: &VecDeque<String>) {
        self.record(&format!("{kind} in order"), "all".to_string(), &encode(ids));
    }

    fn ledger(&mut self, ledger: &Ledger) {
        let Ledger { events, outcomes, order } = ledger;
        let mut last: Option<(&Event, u64)> = None;
        let mut ids = VecDeque::new();
        for event in events {
            let number = match last {
                Some((before, number)) if before.revision == event.revision => number + 1,
                _ => 1,
            };
            last = Some((event, number));
            let id = format!("{}.{number}", event.revision.0);
            self.record("events", id.clone(), &encode(event));
            ids.push_back(id);
        }
        self.order("events", &ids);
        self.map("requests", outcomes);
        self.order("requests", order);
    }

    fn of_core(core: &Core) -> Tree {
        let mut tree = Tree::default();
        // Every field by name: a new one must find its place here.
        let Core {
            revision,
            name,
            regions,
            policy,
            freeze,
            tokens,
            failovers,
            operations,
            ledger,
            policy_revision,
            freeze_revision,
            windows,
            windows_numbered,
            drills,
            images,
            backups,
            regions_numbered,
            keepers,
            cleaned,
            level,
            releases,
            restoration,
            documents,
        } = core;
        tree.map("regions", regions);
        tree.map("tokens", tokens);
        tree.map("failovers", failovers);
        tree.map("operations", operations);
        tree.map("windows", windows);
        tree.map("drills", drills);
        tree.map("images", images);
        tree.map("cleaned", cleaned);
        tree.map("releases", releases);
        tree.map("documents", documents);
        // As in the bytes: what an earlier version does not know counts once it is set.
        if *level > 0 {
            tree.record("level", "level".to_string(), &encode(level));
        }
        tree.ledger(ledger);
        tree.record("policy", "policy".to_string(), &encode(&(policy.clone(), *policy_revision)));
        tree.record("freeze", "freeze".to_string(), &encode(&(*freeze, *freeze_revision)));
        tree.record("backups", "backups".to_string(), &encode(backups));
        // Versions that don't know of it have none.
        if let Some(restoration) = restoration {
            tree.record("restoration", "restoration".to_string(), &encode(restoration));
        }
        tree.record(
            "federation",
            name.clone(),
            &encode(&((*revision, *windows_numbered), (*regions_numbered, keepers.clone()))),
        );
        tree
    }

    fn of_region(facts: &RegionFacts) -> Tree {
        let mut tree = Tree::default();
        // As above; the index follows from the rest.
        let RegionFacts {
            revision,
            name,
            number,
            hosts,
            vms,
            departures,
            tombstones,
            declined,
            claims,
            claim_order,
            evacuation,
            evacuated,
            overcommit,
            operations,
            ledger,
            born,
            horizons,
            unbarred_born,
            migrations,
            migrated,
            arrivals,
            replicas,
            replicas_declined,
            closed,
            adoption,
            index: _,
        } = facts;
        tree.map("hosts", hosts);
        tree.map("vms", vms);
        tree.map("departures", departures);
        tree.map("tombstones", tombstones);
        tree.map("declined", declined);
        tree.map("claims", claims);
        tree.order("claims", claim_order);
        tree.map("operations", operations);
        tree.ledger(ledger);
        tree.map("born", born);
        tree.map("horizons", horizons);
        tree.map("migrations", migrations);
        for migration in migrated {
            tree.record("migrated", migration.id.to_string(), &encode(migration));
        }
        tree.order("migrated", &migrated.iter().map(|migration| migration.id.to_string()).collect());
        tree.map("arrivals", arrivals);
        tree.map("replicas", replicas);
        tree.map("replicas declined", replicas_declined);
        if let Some(adoption) = adoption {
            tree.record("adoption", "adoption".to_string(), &encode(adoption));
        }
        let rest = encode(&(
            (*revision, *number),
            ((*evacuation, *evacuated), (*overcommit, (*unbarred_born, *closed))),
        ));
        tree.record("region", name.to_string(), &rest);
        tree
    }
}

impl Federation {
    /// The digests of one group's facts as they are.
    pub fn digest_tree(&self, group: GroupId) -> Tree {
        match self.region_of(group) {
            Some(name) => Tree::of_region(&self.regions[name]),
            None => Tree::of_core(&self.core),
        }
    }
}
