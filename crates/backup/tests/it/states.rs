//! States like those of groups, and the repositories that tests keep them in.

use std::sync::Arc;

use dwcp_backup::{Create, Created, Destination, Error, FederationKey, Kind, Record, Repository};
use dwcp_types::{Rng, Wall};

pub const FEDERATION: &str = "dev";
pub const HOUR_MS: u64 = 3_600_000;

/// A record like that of a VM: some of it repeats in every record, some of it is nowhere else.
pub fn record(rng: &mut Rng, group: u64, id: u64) -> Record {
    let (name, host, revision) = (rng.below(100_000), rng.below(500), rng.next_u64());
    let zone = ["a", "b", "c"][rng.below(3) as usize];
    let pad = "x".repeat(rng.below(120) as usize);
    let value = format!(
        "image=debian-12;network=user;probe=http:/healthz;name=vm-{name};zone={zone};host=host-{host:04};\
         revision={revision:016x};want=running;observed=running;class=standard;{pad}"
    );
    Record { group, key: format!("vm/{id:016x}").into_bytes(), value: value.into_bytes() }
}

/// So many records in each of three groups, sorted.
pub fn state(seed: u64, each: usize) -> Vec<Record> {
    let mut rng = Rng::new(seed);
    let mut records: Vec<Record> = (0..3)
        .flat_map(|group| (0..each).map(move |_| group))
        .map(|group| {
            let id = rng.next_u64();
            record(&mut rng, group, id)
        })
        .collect();
    records.sort();
    records
}

/// Gives the records of a range other values, others each time.
pub fn change(records: &mut [Record], range: std::ops::Range<usize>) {
    let was = &records[range.start].value;
    let mut rng =
        Rng::new(was.iter().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte))));
    for one in &mut records[range] {
        one.value = record(&mut rng, 0, 0).value;
    }
}

pub fn new(destination: &Arc<impl Destination + 'static>, key: &FederationKey) -> Repository {
    Repository::create(destination.clone(), FEDERATION, key.clone()).unwrap()
}

pub fn open(destination: &Arc<impl Destination + 'static>, key: &FederationKey) -> Result<Repository, Error> {
    Repository::open(destination.clone(), FEDERATION, key.clone())
}

/// Makes a backup at an hour.
pub fn backup(repository: &Repository, kind: Kind, hour: u64, records: &[Record]) -> Result<Created, Error> {
    let metadata = [("revision/1".to_owned(), hour.to_string())].into();
    let create = Create { kind, at: Wall(hour * HOUR_MS), metadata };
    repository.create_backup(create, records.iter().cloned())
}

pub fn restored(repository: &Repository, sequence: Option<u64>) -> Result<Vec<Record>, Error> {
    repository.restore(sequence)?.1.collect()
}

#[track_caller]
pub fn whole(repository: &Repository) {
    let verified = repository.verify().unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}
