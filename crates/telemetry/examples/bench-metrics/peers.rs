//! Peers on the same data: VictoriaMetrics over HTTP on the loopback, and promtool. Each is started here and ended by its id.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a peer took.
pub struct Taken {
    pub cpu_s: f64,
    pub bytes: u64,
    /// Of an hour.
    pub queries: Option<Queries>,
}

/// How long the same query took.
pub struct Queries {
    /// Sorted.
    times_ms: Vec<f64>,
    /// CPU time of one.
    pub cpu_ms: f64,
}

impl Queries {
    pub fn new(mut times_ms: Vec<f64>, cpu_s: f64) -> Queries {
        times_ms.sort_by(f64::total_cmp);
        let cpu_ms = cpu_s * 1e3 / times_ms.len().max(1) as f64;
        Queries { times_ms, cpu_ms }
    }

    pub fn percentile_ms(&self, percent: usize) -> f64 {
        self.times_ms.get(self.times_ms.len() * percent / 100).copied().unwrap_or(0.0)
    }
}

/// A program in the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Bytes of all files below a folder.
pub fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// CPU seconds of a process, from the clock ticks (100 a second) in its `stat`: its own, or of its children that ended.
fn cpu_s(process: &str, children: bool) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<f64> = after_name.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // The state is no number: of the fields that are, these are the 11th to the 14th.
    let at = if children { 12 } else { 10 };
    fields.get(at..at + 2).map_or(0.0, |ticks| (ticks[0] + ticks[1]) / 100.0)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn request(port: u16, head: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    write!(stream, "{head} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains(" 200 ") || answer.contains(" 204 ") {
        Ok(answer)
    } else {
        Err(std::io::Error::other(answer.lines().next().unwrap_or("no answer").to_owned()))
    }
}

/// Imports `text` (pieces of Prometheus' text form) into VictoriaMetrics, then asks `query` at `at_ms` some times.
pub fn victoria_metrics(
    program: &Path,
    folder: &Path,
    text: &[String],
    query: &str,
    at_ms: i64,
) -> std::io::Result<Taken> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let data = folder.join("victoria-metrics");
    let child = Command::new(program)
        .arg(format!("-storageDataPath={}", data.display()))
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .args(["-retentionPeriod=100y", "-search.disableCache", "-loggerLevel=ERROR"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let child = Ended(child);
    let id = child.0.id().to_string();
    let began = Instant::now();
    while request(port, "GET /health", b"").is_err() {
        if began.elapsed() > Duration::from_secs(30) {
            return Err(std::io::Error::other("it is not ready after 30 s"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = cpu_s(&id, false);
    for piece in text {
        request(port, "POST /api/v1/import/prometheus", piece.as_bytes())?;
    }
    request(port, "GET /internal/force_flush", b"")?;
    let taken_s = cpu_s(&id, false) - before;
    request(port, "GET /internal/force_merge", b"")?;
    std::thread::sleep(Duration::from_secs(3));
    let mut queries_ms = Vec::new();
    let before = cpu_s(&id, false);
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for _ in 0..21 {
        let began = Instant::now();
        let path = format!("GET /api/v1/query?query={encoded}&time={}&nocache=1", at_ms / 1000);
        let answer = request(port, &path, b"")?;
        queries_ms.push(began.elapsed().as_secs_f64() * 1e3);
        if queries_ms.len() == 1 {
            println!("  VictoriaMetrics says {}", answer.lines().last().unwrap_or(""));
        }
    }
    let queries = Queries::new(queries_ms, cpu_s(&id, false) - before);
    let bytes = size(&data.join("data")) + size(&data.join("indexdb"));
    Ok(Taken { cpu_s: taken_s, bytes, queries: Some(queries) })
}

/// Makes blocks of Prometheus of a file in the OpenMetrics form.
pub fn promtool(program: &Path, folder: &Path, text: &Path) -> std::io::Result<Taken> {
    let blocks = folder.join("prometheus");
    let before = cpu_s("self", true);
    let status = Command::new(program)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([text, &blocks])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(std::io::Error::other("promtool failed"));
    }
    Ok(Taken { cpu_s: cpu_s("self", true) - before, bytes: size(&blocks), queries: None })
}

/// A running Prometheus that takes remote writes and answers queries.
pub struct Prometheus {
    port: u16,
    child: Ended,
}

impl Prometheus {
    /// Started with its data in `folder`.
    pub fn start(program: &Path, folder: &Path) -> std::io::Result<Prometheus> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = folder.join("prometheus.yml");
        std::fs::write(&settings, "global: {scrape_interval: 1h}\n")?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", settings.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus-live").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args([
                "--web.enable-remote-write-receiver",
                "--storage.tsdb.retention.time=100y",
                "--log.level=error",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let started = Prometheus { port, child: Ended(child) };
        let began = Instant::now();
        while request(port, "GET /-/ready", b"").is_err() {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(std::io::Error::other("Prometheus is not ready after 60 s"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(started)
    }

    /// Writes the body of a request of remote write 1.0.
    pub fn write(&self, body: &[u8]) -> std::io::Result<()> {
        request(self.port, "POST /api/v1/write", body).map(drop)
    }

    /// Asks, such as `query?time=1`, for an expression.
    pub fn ask(&self, path: &str, expression: &str) -> std::io::Result<String> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        request(self.port, &format!("GET /api/v1/{path}&query={encoded}"), b"")
    }

    /// Memory in MiB.
    pub fn memory_mib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}
