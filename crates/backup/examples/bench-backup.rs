//! Backups of state-like records in a folder: full, after one change in a hundred, verified, restored; against restic on the
//! same bytes in files. `cargo xtask bench backup [--mib N]` (1024).

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use dwcp_backup::{Create, FederationKey, Folder, Kind, Record, Repository};
use dwcp_types::{Rng, Wall};

/// Of one group's file in restic's folder, bytes.
const FILE: usize = 16 << 20;
const GROUPS: u64 = 5;

fn value(rng: &mut Rng) -> Vec<u8> {
    let (name, host, digest) = (rng.below(100_000), rng.below(5_000), rng.next_u64());
    let (zone, image) =
        (["a", "b", "c"][rng.below(3) as usize], ["debian-12", "alpine-3"][rng.below(2) as usize]);
    let (revision, second) = (rng.below(1 << 40), rng.below(1 << 30));
    format!(
        "name=vm-{name};image={image};network=user;probe=http:/healthz;zone={zone};host=host-{host:04};digest={digest:016x};\
         want=running;observed=running;class=standard;vcpus=2;memory-mib=2048;disk-gib=20;created={second};revision={revision};\
         protection=none;generation=1;labels=tier:web,team:{name}"
    )
    .into_bytes()
}

/// So many MiB of records in a few groups, sorted.
fn state(mib: usize) -> Vec<Record> {
    let (mut rng, mut records, mut bytes) = (Rng::new(1), Vec::new(), 0);
    for group in 0..GROUPS {
        let mut id = 0u64;
        while bytes < (mib << 20) / GROUPS as usize * (group as usize + 1) {
            id += 1 + rng.below(1 << 40);
            let record = Record { group, key: format!("vm/{id:016x}").into_bytes(), value: value(&mut rng) };
            bytes += record.key.len() + record.value.len();
            records.push(record);
        }
    }
    records
}

fn change(records: &mut [Record], which: impl Fn(usize) -> bool) {
    let mut rng = Rng::new(2);
    for (_, one) in records.iter_mut().enumerate().filter(|(at, _)| which(*at)) {
        one.value = value(&mut rng);
    }
}

/// In runs of a thousand, as hosts of a zone change, or ledgers.
fn in_runs(at: usize) -> bool {
    at / 1_000 % 100 == 7
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
        })
        .sum()
}

/// A step: its seconds and what it added, bytes.
type Row = (&'static str, f64, u64);

fn timed(name: &'static str, repository: &Path, work: impl FnOnce()) -> Row {
    let (began, before) = (Instant::now(), size(repository));
    work();
    (name, began.elapsed().as_secs_f64(), size(repository) - before)
}

fn ours(folder: &Path, records: &mut [Record]) -> Vec<Row> {
    let place = folder.join("ours");
    let destination = Arc::new(Folder::open(&place).expect("a folder"));
    let repository = Repository::create(destination, "bench", FederationKey::random()).expect("a repository");
    let create = |kind, records: &[Record]| {
        let create = Create { kind, at: Wall(0), ..Create::default() };
        repository.create_backup(create, records.iter().cloned()).expect("a backup");
    };
    let mut rows = vec![timed("full", &place, || create(Kind::Full, records))];
    change(records, in_runs);
    rows.push(timed("1 % in runs", &place, || create(Kind::Incremental, records)));
    rows.push(timed("verify", &place, || {
        let verified = repository.verify().expect("verified");
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }));
    rows.push(timed("restore", &place, || {
        let mut expected = records.iter();
        for record in repository.restore(None).expect("a backup").1 {
            assert_eq!(record.as_ref().expect("a whole record"), expected.next().expect("a record more"));
        }
        assert!(expected.next().is_none());
    }));
    change(records, |at| at % 100 == 7);
    rows.push(timed("1 % scattered", &place, || create(Kind::Incremental, records)));
    rows
}

/// Writes records to files of each group.
fn write_files(folder: &Path, records: &[Record]) {
    fs::create_dir_all(folder).expect("a folder");
    let (mut number, mut left, mut file) = (0, 0, None::<BufWriter<File>>);
    for record in records {
        if left < record.value.len() {
            number += 1;
            file = Some(BufWriter::new(File::create(folder.join(format!("{number:04}"))).expect("a file")));
            left = FILE;
        }
        let file = file.as_mut().expect("just opened");
        for part in [&record.key, &record.value] {
            file.write_all(&(part.len() as u32).to_be_bytes())
                .and_then(|()| file.write_all(part))
                .expect("room");
            left = left.saturating_sub(part.len());
        }
    }
}

fn restic(folder: &Path, first: &[Record], runs: &[Record], scattered: &[Record]) -> Vec<Row> {
    let (place, files) = (folder.join("restic"), folder.join("files"));
    let run = |arguments: &[&str]| {
        let status = Command::new("restic")
            .args(arguments)
            .env("RESTIC_REPOSITORY", &place)
            .env("RESTIC_PASSWORD", "bench")
            .env("RESTIC_CACHE_DIR", folder.join("cache"))
            .stdout(Stdio::null())
            .status()
            .expect("restic runs");
        assert!(status.success(), "restic {arguments:?}");
    };
    let path = files.to_str().expect("a path in UTF-8");
    let back = folder.join("back");
    run(&["init"]);
    write_files(&files, first);
    let mut rows = vec![timed("full", &place, || run(&["backup", path]))];
    write_files(&files, runs);
    rows.push(timed("1 % in runs", &place, || run(&["backup", path])));
    rows.push(timed("verify", &place, || run(&["check", "--read-data"])));
    rows.push(timed("restore", &place, || {
        run(&["restore", "latest", "--verify", "--target", back.to_str().expect("a path in UTF-8")]);
    }));
    write_files(&files, scattered);
    rows.push(timed("1 % scattered", &place, || run(&["backup", path])));
    rows
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = arguments.iter().position(|word| word == "--mib");
    let mib: usize = at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(1024);
    let folder = std::env::temp_dir().join(format!("dwcp-bench-backup-{}", std::process::id()));
    let mut records = state(mib);
    println!("{} records, {mib} MiB", records.len());
    let first = records.clone();
    let mut runs = records.clone();
    change(&mut runs, in_runs);
    let ours = ours(&folder, &mut records);
    let there =
        Command::new("restic").arg("version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    let theirs = if there { restic(&folder, &first, &runs, &records) } else { copied(&folder, &first) };
    let peer = if there { "restic" } else { "cp" };
    if !there {
        println!(
            "restic is missing (apt-get install restic): only a full one is compared, with a plain copy"
        );
    }
    println!(
        "{:<14} {:>8} {:>8} {:>10} {:>8} {:>10} {:>7}",
        "step", "s", "MiB/s", "added KiB", peer, "added KiB", "ratio"
    );
    for (at, (name, seconds, added)) in ours.iter().enumerate() {
        let (rate, kib) = (mib as f64 / seconds, added >> 10);
        match theirs.get(at) {
            Some((_, peer, theirs)) => println!(
                "{name:<14} {seconds:>8.2} {rate:>8.0} {kib:>10} {peer:>8.2} {:>10} {:>7.2}",
                theirs >> 10,
                peer / seconds
            ),
            None => println!("{name:<14} {seconds:>8.2} {rate:>8.0} {kib:>10}"),
        }
    }
    println!("ratio: the peer's seconds for one of ours");
    let _ = fs::remove_dir_all(&folder);
}

fn copied(folder: &Path, records: &[Record]) -> Vec<Row> {
    let (files, place): (PathBuf, PathBuf) = (folder.join("files"), folder.join("copy"));
    write_files(&files, records);
    vec![timed("full", &place, || {
        let copy = Command::new("cp").arg("-r").args([&files, &place]).status();
        assert!(copy.is_ok_and(|status| status.success()));
        assert!(Command::new("sync").arg("-f").arg(&place).status().is_ok_and(|status| status.success()));
    })]
}
