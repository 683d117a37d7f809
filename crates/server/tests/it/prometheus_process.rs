//! A Prometheus of Debian's package, for as long as a test needs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scratch::Scratch;

/// Whether it is installed; says so when it is not.
pub fn installed() -> bool {
    let mut version = Command::new("prometheus");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let there = version.status().is_ok();
    if !there {
        eprintln!("skipped: prometheus is not installed (Debian: apt-get install prometheus)");
    }
    there
}

/// A running one; ended when dropped.
pub struct Prometheus {
    pub address: SocketAddr,
    process: Child,
    _scratch: Scratch,
}

impl Prometheus {
    /// Started with a configuration, `{address}` in it replaced by its own address.
    pub fn start(name: &str, configuration: &str) -> Prometheus {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("a port");
        let scratch = Scratch::new(&format!("prometheus-{name}"));
        let file = scratch.path().join("prometheus.yml");
        std::fs::write(&file, configuration.replace("{address}", &address.to_string())).expect("settings");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", scratch.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args([
                "--enable-feature=native-histograms",
                "--web.enable-remote-write-receiver",
                "--log.level=warn",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        Prometheus { address, process, _scratch: scratch }
    }

    /// The rows of an instant query; none while it does not answer.
    pub fn query(&self, promql: &str) -> Vec<Value> {
        let encoded: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            write!(stream, "GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = asked().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        json["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The same once there are some.
    pub fn rows(&self, promql: &str) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let rows = self.query(promql);
            if !rows.is_empty() {
                return rows;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "{promql}: no row");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
