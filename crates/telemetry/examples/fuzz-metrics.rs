//! Feeds damaged records of the log, chunks, pages, indexes and directories of blocks to their decoders: no panic, no memory
//! without limit.
//!
//! `cargo run -p dwcp-telemetry --profile sim --example fuzz-metrics -- [--seconds N] [--seed N]`. A failure prints the input.

use dwcp_telemetry::store::decoders::{
    read_chunk, read_columns, read_directory, read_index, read_log, read_page, read_record, real_input,
};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

fn main() {
    let (_, limit, seed) = rounds::arguments();
    let real = real_input().expect("memory for a page");
    run("metrics-log", &[real.log], limit, seed, read_log);
    run("metrics-record", &[real.record], limit, seed, read_record);
    run("metrics-chunk", &[real.chunk], limit, seed, |input| read_chunk(input).is_ok());
    run("metrics-page", &[real.page], limit, seed, |input| read_page(input).is_ok());
    run("metrics-columns", &[real.columns], limit, seed, |input| read_columns(input).is_ok());
    run("metrics-directory", &[real.directory], limit, seed, |input| read_directory(input).is_ok());
    run("metrics-index", &[real.series, real.postings], limit, seed, |input| read_index(input).is_ok());
}
