//! Feeds damaged settings, monitor lines and watchdog lines to the agent: no panic, and no wait beyond the limit.
//!
//! `cargo run -p dwcp-agent --profile sim --example fuzz-agent -- [--seconds N] [--seed N]`. A failure prints the input.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use dwcp_agent::host_config::HostConfig;
use dwcp_agent::qmp;
use dwcp_agent::watch_protocol::{Ask, Tell};
use dwcp_mesh::transfer::{Answer, Kind, Opening};

#[path = "../../server/examples/fuzz/rounds.rs"]
mod rounds;

use rounds::run;

const SETTINGS: &str = "federation: dev\nregion: us-east-1\nzone: a\nhost: h1\nregions:\n  - {region: us-east-1, node: 1, \
    mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}\npki: {dir: pki, name: h1}\ndata_dir: data\nvcpus: 4\n\
    memory_mib: 1024\nvm_addresses: {base: '127.77.1', first: 32, count: 4}\n";
const MONITOR: &str = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}}, \"capabilities\": []}}\n\
    {\"return\": {}}\n{\"event\": \"RESUME\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\n\
    {\"return\": {\"status\": \"running\"}, \"id\": \"dwcp\"}\n";
const WATCHDOG: &str =
    "{\"tell\":\"running\",\"vm\":7,\"generation\":2,\"pid\":99,\"held\":false,\"note\":\"x\"}";
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

fn main() {
    let (_, limit, seed) = rounds::arguments();
    run("agent-host-yaml", &[SETTINGS.into()], limit, seed, |input| {
        std::str::from_utf8(input).is_ok_and(|text| HostConfig::parse(text).is_ok())
    });
    run("agent-watchdog", &[WATCHDOG.into()], limit, seed, |input| {
        serde_json::from_slice::<Ask>(input).is_ok() || serde_json::from_slice::<Tell>(input).is_ok()
    });
    let opening = dwcp_types::encode(&Opening {
        kind: Kind::Disk,
        vm: 7,
        generation: 2,
        migration: 9,
        number: 1,
        ..Opening::default()
    });
    run("agent-transfer-opening", &[opening], limit, seed, |input| {
        Answer::read(input).reason().is_none() || Opening::read(input).is_ok()
    });
    let (socket, say) = monitor();
    run("agent-qmp", &[MONITOR.into()], limit, seed, |input| {
        let _ = say.send(input.to_vec());
        let began = Instant::now();
        let answer = qmp::execute(&socket, "query-status", serde_json::Value::Null, ANSWER_LIMIT);
        assert!(began.elapsed() < ANSWER_LIMIT * 10, "waited beyond the limit");
        answer.is_ok()
    });
    let _ = std::fs::remove_file(&socket);
}

/// A monitor that says what it is told to say, once a connection.
fn monitor() -> (PathBuf, Sender<Vec<u8>>) {
    let path = std::env::temp_dir().join(format!("dwcp-fuzz-qmp-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(Path::new(&path)).expect("a socket in the temporary folder");
    let (say, said) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for (stream, text) in listener.incoming().zip(said) {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.write_all(&text);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.set_read_timeout(Some(ANSWER_LIMIT));
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (path, say)
}
