//! Feeds damaged titles, entries, indexes, records, keys and salts to their decoders: no panic, no memory without limit.
//!
//! `cargo run -p dwcp-backup --profile sim --example fuzz-backup -- [--seconds N] [--seed N]`. A failure prints the input.

use dwcp_backup::decoders::{
    decode_records, read_entry, read_entry_head, read_index, read_key_text, read_salt, read_title,
    write_samples,
};
use dwcp_backup::destination::s3::read_page;

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

const SALT: &str = "argon2id 1\nmemory-kib 65536\nrounds 3\nsalt \
    0707070707070707070707070707070707070707070707070707070707070707\n";
const PAGE: &str = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>\
    <Contents><Key>p/log/0000000001</Key><Size>12</Size></Contents></ListBucketResult>";
const RECORDS: &[u8] = b"\x01\x04vm/1\x05hello\x02\x00\x00";

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let [title, head, entry, index] = write_samples();
    let key = key_text();
    run("backup-title", &[title], limit, seed, |input| read_title(input).is_ok());
    run("backup-entry-head", &[head], limit, seed, |input| read_entry_head(input).is_ok());
    run("backup-entry", &[entry], limit, seed, |input| read_entry(input).is_ok());
    run("backup-index", &[index], limit, seed, |input| read_index(input).is_ok());
    run("backup-records", &[RECORDS.into()], limit, seed, |input| decode_records(input).is_ok());
    run("backup-key", &[key], limit, seed, |input| read_key_text(input).is_some());
    run("backup-salt", &[SALT.into()], limit, seed, |input| read_salt(input).is_some());
    run("backup-s3-page", &[PAGE.into()], limit, seed, |input| !read_page(input, "p/", "log/").0.is_empty());
}

fn key_text() -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("dwcp-fuzz-backup-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    dwcp_backup::FederationKey::random().write_file(&path).expect("a file in the temporary folder");
    let text = std::fs::read(&path).expect("the file just written");
    let _ = std::fs::remove_file(&path);
    text
}
