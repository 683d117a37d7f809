//! The proxies that are compared, and the endpoint behind them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// A proxy may take so long until it listens.
const WAIT: Duration = Duration::from_secs(10);
/// The proxy behind the shield that a router has.
pub const SHIELDED: &str = "shielded";
/// Ours first: the others are compared with it.
pub const NAMES: [&str; 3] = ["dwcp", "nginx", "haproxy"];

/// A process with its children; it ends with this.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        for process in self.tree().into_iter().rev() {
            let _ = Command::new("kill").arg(process.to_string()).status();
        }
        let _ = self.0.wait();
    }
}

impl Process {
    /// At a lower priority than what is measured, when it is only `beside` that.
    fn start(program: &str, words: &[&str], beside: bool) -> std::io::Result<Process> {
        let mut command = Command::new(if beside { "nice" } else { program });
        command.args(["-n", "19", program].iter().filter(|_| beside)).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Process)
    }

    /// It and its children.
    fn tree(&self) -> Vec<u32> {
        let own = self.0.id();
        let is_child = |process: &u32| field(*process, 1) == u64::from(own);
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        std::iter::once(own).chain(all.filter(is_child)).collect()
    }

    /// Processor seconds so far.
    pub fn cpu_s(&self) -> f64 {
        let ticks = |process: u32| field(process, 11) + field(process, 12);
        self.tree().into_iter().map(ticks).sum::<u64>() as f64 / 100.0
    }

    /// Memory that is only theirs, MiB.
    pub fn memory_mib(&self) -> f64 {
        let kib = |process: u32| {
            let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
            let fields = ["Private_Dirty:", "Private_Clean:"];
            let line = |name: &&str| {
                let line = text.lines().find_map(|line| line.strip_prefix(*name))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            };
            fields.iter().filter_map(line).sum::<u64>()
        };
        self.tree().into_iter().map(kib).sum::<u64>() as f64 / 1024.0
    }
}

/// A number of a process's `stat`, counted from its state.
fn field(process: u32, at: usize) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').nth(at).and_then(|word| word.parse().ok()).unwrap_or(0)
}

pub struct Peer {
    pub process: Process,
    pub http: SocketAddr,
    pub https: SocketAddr,
}

/// Where a proxy runs, and how.
pub struct Setting {
    /// Certificates, and what its programs write.
    pub folder: PathBuf,
    pub endpoint: SocketAddr,
    /// It runs beside what is measured, at a lower priority.
    pub beside: bool,
}

impl Setting {
    /// Makes certificates.
    pub fn new(folder: PathBuf, beside: bool) -> Outcome<Setting> {
        std::fs::create_dir_all(&folder)?;
        let key = rcgen::KeyPair::generate()?;
        let cert = rcgen::CertificateParams::new(vec!["bench.test".to_owned()])?.self_signed(&key)?;
        std::fs::write(folder.join("default.key"), key.serialize_pem())?;
        std::fs::write(folder.join("default.crt"), cert.pem())?;
        std::fs::write(folder.join("both"), cert.pem() + &key.serialize_pem())?;
        Ok(Setting { folder, endpoint: free()?, beside })
    }
}

/// An address that nobody listens at.
fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What every nginx here has in common.
fn nginx(setting: &Setting, name: &str, servers: &str) -> Outcome<Process> {
    let base = setting.folder.display();
    let text = format!(
        "daemon off; pid {base}/{name}.pid; error_log {base}/{name}.log crit; worker_processes 2; \
         worker_rlimit_nofile 20000; events {{ worker_connections 20000; }} \
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s; sendfile on; tcp_nodelay on; \
         client_body_temp_path {base}/{name}-a; proxy_temp_path {base}/{name}-b; fastcgi_temp_path {base}/{name}-c; \
         uwsgi_temp_path {base}/{name}-d; scgi_temp_path {base}/{name}-e; {servers} }}"
    );
    let file = setting.folder.join(format!("{name}.conf"));
    std::fs::write(&file, text)?;
    Ok(Process::start("nginx", &["-c", &file.display().to_string()], setting.beside)?)
}

/// Answers `/` with 100 bytes and `/mb` with a megabyte.
pub fn endpoint(setting: &Setting) -> Outcome<Process> {
    std::fs::write(setting.folder.join("mb"), vec![b'x'; 1 << 20])?;
    let servers = format!(
        "server {{ listen {} backlog=4096; root {}; location = / {{ return 200 \"{}\"; }} location = /mb {{ }} }}",
        setting.endpoint,
        setting.folder.display(),
        "y".repeat(100)
    );
    nginx(setting, "endpoint", &servers)
}

impl Peer {
    /// Until it listens.
    fn wait(&self) -> std::io::Result<()> {
        let begun = Instant::now();
        loop {
            let reached = TcpStream::connect(self.http).and_then(|_| TcpStream::connect(self.https));
            match reached {
                Err(_) if begun.elapsed() < WAIT => std::thread::sleep(Duration::from_millis(50)),
                other => return other.map(drop),
            }
        }
    }

    /// None: it is not installed.
    pub fn start(name: &str, setting: &Setting) -> Outcome<Option<Peer>> {
        let Setting { folder, endpoint, beside } = setting;
        let (base, http, https) = (folder.display(), free()?, free()?);
        let process = match name {
            "dwcp" | SHIELDED => {
                let own = std::env::current_exe()?.display().to_string();
                let words = [endpoint.to_string(), http.to_string(), https.to_string(), base.to_string()];
                let mut words: Vec<&str> =
                    std::iter::once("serve").chain(words.iter().map(|word| &**word)).collect();
                words.extend((name == SHIELDED).then_some(SHIELDED));
                Process::start(&own, &words, *beside)?
            }
            "nginx" => {
                let servers = format!(
                    "upstream e {{ server {endpoint}; keepalive 256; keepalive_requests 100000000; }} \
                     server {{ listen {http} backlog=4096; listen {https} ssl backlog=4096; \
                     ssl_certificate {base}/default.crt; ssl_certificate_key {base}/default.key; \
                     location / {{ proxy_pass http://e; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                     proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; \
                     proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id; }} }}"
                );
                nginx(setting, "proxy", &servers)?
            }
            _ => {
                let text = format!(
                    "global\n nbthread 2\n maxconn 9700\ndefaults\n mode http\n timeout connect 2s\n timeout client 300s\n \
                     timeout server 60s\n option forwardfor\n http-reuse always\nfrontend f\n bind {http}\n \
                     bind {https} ssl crt {base}/both\n default_backend e\nbackend e\n server e {endpoint}\n"
                );
                let file = folder.join("haproxy.cfg");
                std::fs::write(&file, text)?;
                match Process::start("haproxy", &["-db", "-f", &file.display().to_string()], *beside) {
                    Ok(process) => process,
                    Err(_) => return Ok(None),
                }
            }
        };
        let peer = Peer { process, http, https };
        peer.wait().map_err(|e| format!("{name} does not listen: {e}"))?;
        Ok(Some(peer))
    }
}
