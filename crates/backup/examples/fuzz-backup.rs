//! Feeds damaged titles, entries, indexes, records, keys and salts to their decoders: no panic, no memory without limit.
//!
//! `cargo run -p dwcp-backup --profile sim --example fuzz-backup -- [--seconds N] [--seed N]`. A failure prints the input.

use std::time::{Duration, Instant};

use dwcp_backup::decoders::{
    decode_records, read_entry, read_entry_head, read_index, read_key_text, read_salt, read_title,
    write_samples,
};
use dwcp_backup::destination::s3::read_page;
use dwcp_types::Rng;

#[path = "../../server/examples/fuzz/mutate.rs"]
mod mutate;

const SALT: &str = "argon2id 1\nmemory-kib 65536\nrounds 3\nsalt \
    0707070707070707070707070707070707070707070707070707070707070707\n";
const PAGE: &str = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>\
    <Contents><Key>p/log/0000000001</Key><Size>12</Size></Contents></ListBucketResult>";
const RECORDS: &[u8] = b"\x01\x04vm/1\x05hello\x02\x00\x00";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str, default: u64| {
        let at = arguments.iter().position(|word| word == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (limit, seed) = (Duration::from_secs(flag("--seconds", 20)), flag("--seed", 1));
    let [title, head, entry, index] = write_samples();
    let key = key_text();
    run("backup-title", &title, limit, seed, |input| read_title(input).is_ok());
    run("backup-entry-head", &head, limit, seed, |input| read_entry_head(input).is_ok());
    run("backup-entry", &entry, limit, seed, |input| read_entry(input).is_ok());
    run("backup-index", &index, limit, seed, |input| read_index(input).is_ok());
    run("backup-records", RECORDS, limit, seed, |input| decode_records(input).is_ok());
    run("backup-key", &key, limit, seed, |input| read_key_text(input).is_some());
    run("backup-salt", SALT.as_bytes(), limit, seed, |input| read_salt(input).is_some());
    run("backup-s3-page", PAGE.as_bytes(), limit, seed, |input| !read_page(input, "p/", "log/").0.is_empty());
}

fn key_text() -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("dwcp-fuzz-backup-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    dwcp_backup::FederationKey::random().write_file(&path).expect("a file in the temporary folder");
    let text = std::fs::read(&path).expect("the file just written");
    let _ = std::fs::remove_file(&path);
    text
}

fn run(name: &str, real: &[u8], limit: Duration, seed: u64, mut read: impl FnMut(&[u8]) -> bool) {
    let mut rng = Rng::new(seed);
    let mut corpus = vec![real.to_vec()];
    assert!(read(&corpus[0]), "{name}: the real input is not understood");
    let (began, mut rounds, mut understood) = (Instant::now(), 0u64, 0u64);
    while began.elapsed() < limit {
        let mut input = corpus[rng.below(corpus.len() as u64) as usize].clone();
        mutate::mutate(&mut rng, &mut input, real);
        input.truncate(16 << 10);
        rounds += 1;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&input)));
        let Ok(found) = found else {
            eprintln!("{name}, round {rounds}, seed {seed}: {input:02x?}");
            std::process::exit(1);
        };
        if found {
            understood += 1;
            if corpus.len() < 500 {
                corpus.push(input);
            }
        }
    }
    println!("{name:<20} {rounds:>10} inputs, {understood} understood, seed {seed}");
}
