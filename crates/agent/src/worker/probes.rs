//! The VMs' own probes.

use std::time::{Duration, Instant};

use dwcp_roles::protocol::{Health, HealthProbe, ProbeResult, VmSpec};
use dwcp_types::VmId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most that is read of an answer, bytes.
const ANSWER_MAX: u64 = 16 << 10;
/// How long a TCP probe's connection must stay open. User-mode networking accepts for the guest and resets when it refuses.
const HELD_OPEN: Duration = Duration::from_millis(150);

/// Asks a VM's probe. `Err` says why it failed.
pub(super) async fn ask(address: &str, spec: &VmSpec, limit: Duration) -> Result<String, String> {
    match &spec.probe {
        HealthProbe::Process => Ok("its process runs".to_string()),
        HealthProbe::Http(http) => {
            let (status, _) = get(address, spec.outside_port(http.port), &http.path, limit).await?;
            if (200..400).contains(&status) {
                Ok(format!("status {status}"))
            } else {
                Err(format!("status {status}"))
            }
        }
        HealthProbe::Tcp(port) => {
            let port = spec.outside_port(*port);
            timed(limit, async {
                let mut stream = TcpStream::connect((address, port)).await?;
                let mut byte = [0];
                match tokio::time::timeout(HELD_OPEN, stream.read(&mut byte)).await {
                    Ok(Ok(0)) => Err(std::io::Error::other("the connection was closed at once")),
                    Ok(Err(error)) => Err(error),
                    Ok(Ok(_)) | Err(_) => Ok(()),
                }
            })
            .await?;
            Ok(format!("port {port} accepts"))
        }
    }
}

/// Asks on the leader's behalf.
pub(super) async fn result(vm: VmId, address: &str, spec: &VmSpec, limit: Duration) -> ProbeResult {
    let asked = Instant::now();
    match ask(address, spec, limit).await {
        Ok(detail) => {
            ProbeResult { vm, healthy: Health::Healthy, detail, took_us: asked.elapsed().as_micros() as u64 }
        }
        Err(detail) => ProbeResult { vm, healthy: Health::Unhealthy, detail, took_us: 0 },
    }
}

/// What the guest calls this boot, when it tells: the small image's answer to `GET /` carries `"boot_id":"…"`.
pub(super) async fn guest_boot_id(address: &str, spec: &VmSpec, limit: Duration) -> Option<String> {
    let (_, body) = get(address, spec.outside_port(80), "/", limit).await.ok()?;
    let answer: serde_json::Value = serde_json::from_str(&body).ok()?;
    let boot_id = answer.get("boot_id")?.as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (boot_id.len() <= 64 && boot_id.chars().all(plain)).then(|| boot_id.to_string())
}

async fn timed<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    }
}

async fn get(address: &str, port: u16, path: &str, limit: Duration) -> Result<(u16, String), String> {
    if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("the probe's path {path:?} is not a path"));
    }
    let text = timed(limit, async {
        let mut stream = TcpStream::connect((address, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
    .await?;
    let status =
        text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|digits| digits.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_string();
    status.map(|status| (status, body)).ok_or_else(|| "the answer is not HTTP".to_string())
}
