//! A Prometheus of Debian's package, for as long as a test needs it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::http;

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program is installed; says so when it is not.
pub fn installed(program: &str) -> bool {
    let there =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: {program} is not installed (Debian: apt-get install prometheus)");
    }
    there
}

/// A running Prometheus; ended and its folder removed when dropped.
pub struct Prometheus {
    pub address: SocketAddr,
    folder: PathBuf,
    process: Child,
}

impl Prometheus {
    /// Started with a configuration and rules, named `rules.yml` there.
    pub fn start(configuration: &str, rules: &str) -> Prometheus {
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("a port");
        let name = format!("dwcp-telemetry-prometheus-{}-{}", std::process::id(), address.port());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, configuration).expect("the configuration");
        std::fs::write(folder.join("rules.yml"), rules).expect("the rules");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args([
                "--enable-feature=native-histograms",
                "--web.enable-remote-write-receiver",
                "--log.level=error",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        Prometheus { address, folder, process }
    }

    /// The `data` of an answer of its API, as soon as it `satisfies`.
    pub fn ask(&self, path: &str, satisfies: impl Fn(&Json) -> bool) -> Json {
        let (began, mut last) = (Instant::now(), String::new());
        while began.elapsed() < PATIENCE {
            match http::get(self.address, path, "application/json") {
                Ok(answer) => {
                    let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
                    if satisfies(&json["data"]) {
                        return json["data"].clone();
                    }
                    last = String::from_utf8_lossy(&answer.body).into_owned();
                }
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{path}: {last}");
    }

    /// The result of an instant query, as soon as it has so many series.
    pub fn query(&self, promql: &str, series: usize) -> Vec<Json> {
        self.result(promql, |found| found == series)
    }

    /// The result of an instant query, as soon as the number of its series `suffices`.
    pub fn result(&self, promql: &str, suffices: impl Fn(usize) -> bool) -> Vec<Json> {
        let encoded: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = self.ask(&format!("/api/v1/query?query={encoded}"), |data| {
            data["result"].as_array().is_some_and(|result| suffices(result.len()))
        });
        found["result"].as_array().expect("a list").clone()
    }

    /// The only value that a query has.
    pub fn number(&self, promql: &str) -> f64 {
        number(&self.query(promql, 1)[0]["value"][1])
    }
}

/// A number, which the API writes as text.
pub fn number(json: &Json) -> f64 {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{json} is no number"))
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
