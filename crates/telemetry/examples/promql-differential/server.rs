//! A Prometheus of our own for the time of the comparison.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dwcp_telemetry::model::Series;
use dwcp_telemetry::remote_write;

use crate::{Answer, Moments, compare};

/// A process and its folder; both end with it.
pub struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
}

const FEATURES: &str = "native-histograms,promql-at-modifier,promql-negative-offset";
/// One request brings what was taken in this time: a Prometheus takes samples in the order of time only.
const BATCH_MS: i64 = 600_000;

impl Server {
    pub fn start(program: &str) -> Result<Server, String> {
        let folder = std::env::temp_dir().join(format!("dwcp-promql-differential-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "scrape_configs: []\n")
            .map_err(|error| format!("{}: {error}", config.display()))?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|error| format!("no free port: {error}"))?.port();
        let child = Command::new(program)
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"])
            .arg(format!("--enable-feature={FEATURES}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("{program}: {error}; apt-get install --no-install-recommends prometheus")
            });
        let child = child.inspect_err(|_| drop(std::fs::remove_dir_all(&folder)))?;
        let server = Server { child, folder, port };
        let began = Instant::now();
        while !matches!(server.request("GET /-/ready", "", b""), Ok((200, _))) {
            if began.elapsed() > Duration::from_secs(30) {
                return Err(format!("{program} is not ready after 30 s"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Hands it all samples.
    pub fn write(&self, series: &[Series]) -> Result<(), String> {
        let times = || series.iter().flat_map(|series| series.samples.iter().map(|sample| sample.at_ms));
        let (Some(mut from), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        while from <= last {
            let inside = |series: &Series| {
                let inside =
                    series.samples.iter().filter(|sample| (from..from + BATCH_MS).contains(&sample.at_ms));
                Series { labels: series.labels.clone(), samples: inside.cloned().collect() }
            };
            let batch: Vec<Series> =
                series.iter().map(inside).filter(|series| !series.samples.is_empty()).collect();
            let body =
                remote_write::encode(&batch, &BTreeMap::new()).map_err(|error| format!("{error:?}"))?;
            let headers = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
                           X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
            let (status, answer) = self.request("POST /api/v1/write", headers, &body)?;
            if status / 100 != 2 {
                return Err(format!("samples were refused: {status} {}", String::from_utf8_lossy(&answer)));
            }
            from += BATCH_MS;
        }
        Ok(())
    }

    /// What it says of an expression.
    pub fn ask(&self, text: &str, moments: Moments) -> Result<Answer, String> {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
        let Moments { start_ms, end_ms, step_ms } = moments;
        let (path, times) = match step_ms {
            0 => ("query", format!("time={}", seconds(start_ms))),
            _ => (
                "query_range",
                format!("start={}&end={}&step={}", seconds(start_ms), seconds(end_ms), seconds(step_ms)),
            ),
        };
        let body = format!("query={}&{times}", escaped(text));
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let (_, answer) = self.request(&format!("POST /api/v1/{path}"), headers, body.as_bytes())?;
        let json = serde_json::from_slice(&answer).map_err(|error| format!("{text}: {error}"))?;
        Ok(compare::read(&json))
    }

    /// Status and body.
    fn request(&self, what: &str, headers: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let exchange = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            // 1.0: the body comes in one piece and ends with the connection.
            let head = format!(
                "{what} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat())?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|error| format!("{what}: {error}"))?;
        let split =
            answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(format!("{what}: no answer"))?;
        let status = String::from_utf8_lossy(&answer[..split]);
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(format!("{what}: no status"))?, answer[split + 4..].to_vec()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
