//! A running `dwcp-agentd` in a directory of its own, and what a test looks at.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::leader::{FEDERATION, Leader, REGION};

/// The image built by `cargo xtask guest`; tests that need a guest say so and pass when it was not built.
pub fn images() -> Option<PathBuf> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.dwcp/cache/images");
    let there = images.join("small/image.yaml").is_file();
    let emulator = Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there || !emulator {
        eprintln!(
            "skipped: no guest image or no QEMU; `cargo xtask guest` makes the one and installs the other"
        );
    }
    (there && emulator).then_some(images)
}

pub struct Host {
    pub dir: PathBuf,
    child: Child,
}

impl Host {
    pub fn start(dir: &Path, leader: &Leader, images: &Path, base: &str, extra: &[&str]) -> Host {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).expect("data dir");
        let _ = std::os::unix::fs::symlink(images, data.join("images"));
        write_settings(dir, leader, base, "");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("log");
        Host::launch(dir, extra, log.into())
    }

    /// A host whose VMs are processes that only sleep, for tests of what the agent does with processes.
    pub fn start_sleepers(dir: &Path, leader: &Leader, base: &str, extra: &[&str], log: Stdio) -> Host {
        let image = dir.join("data/images/small");
        std::fs::create_dir_all(&image).expect("image dir");
        std::fs::write(image.join("kernel"), "none").expect("kernel");
        std::fs::write(image.join("image.yaml"), "kernel: kernel\n").expect("image.yaml");
        let emulator = dir.join("emulator");
        std::fs::write(&emulator, "#!/bin/sh\nexec sleep 600\n").expect("emulator");
        std::fs::set_permissions(&emulator, Permissions::from_mode(0o755)).expect("executable");
        let more = format!("accelerator: tcg\nqemu: '{}'\n", emulator.display());
        write_settings(dir, leader, base, &more);
        Host::launch(dir, extra, log)
    }

    /// A host that may run its region's node: this script.
    pub fn start_hosting(dir: &Path, leader: &Leader, base: &str, script: &str) -> Host {
        let program = dir.join("node-program");
        std::fs::write(&program, script).expect("program");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("executable");
        let more = format!(
            "accelerator: tcg\ncontrol_plane: {{address: '{base}.2:7443', program: '{}'}}\n",
            program.display()
        );
        write_settings(dir, leader, base, &more);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("log");
        Host::launch(dir, &[], log.into())
    }

    /// A host of another region, whose agent takes copies at an address of its own.
    pub fn start_in(dir: &Path, leader: &Leader, images: &Path, base: &str, names: (&str, &str)) -> Host {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).expect("data dir");
        let _ = std::os::unix::fs::symlink(images, data.join("images"));
        let wan = dir.join("../wan.toml");
        let wan = if wan.exists() { "wan_file: ../wan.toml\n" } else { "" };
        write_settings_of(dir, leader, base, &format!("bind: '{base}.9:0'\n{wan}"), names);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("log");
        Host::launch(dir, &["--stop-vms"], log.into())
    }

    fn launch(dir: &Path, extra: &[&str], log: Stdio) -> Host {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dwcp-agentd"));
        command.arg("--config").arg(dir.join("host.yaml")).args(extra).stderr(log);
        Host { dir: dir.to_path_buf(), child: command.spawn().expect("dwcp-agentd") }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Process numbers of the watchdog's children whose command line contains `word`.
    pub fn children(&self, word: &str) -> Vec<u32> {
        let list = format!("/proc/{0}/task/{0}/children", self.pid());
        let all = std::fs::read_to_string(list).unwrap_or_default();
        let all = all.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
        all.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
        .collect()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn stop(&mut self) -> bool {
        signal(self.pid(), libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

fn write_settings(dir: &Path, leader: &Leader, base: &str, more: &str) {
    write_settings_of(dir, leader, base, more, (REGION, &leader.host));
}

fn write_settings_of(dir: &Path, leader: &Leader, base: &str, more: &str, (region, host): (&str, &str)) {
    let text = format!(
        "federation: {FEDERATION}\nregion: {region}\nzone: a\nhost: {host}\n\
         regions:\n  - {{region: {region}, node: 1, mesh: '{0}', api: '{0}'}}\n\
         pki: {{dir: pki, name: host}}\ndata_dir: data\nvcpus: 4\nmemory_mib: 1024\n\
         vm_addresses: {{base: '{base}', first: 32, count: 8}}\n{more}",
        leader.address
    );
    std::fs::write(dir.join("host.yaml"), text).expect("host.yaml");
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

pub fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: plain numbers; the process is one of this test's.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Letter of a process's state, such as `T` for stopped; `None` when it is gone.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// CPU time a process has used, ms.
pub fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<u64> = match stat.rsplit_once(')') {
        Some((_, rest)) => rest.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect(),
        None => Vec::new(),
    };
    fields.iter().sum::<u64>() * 10
}

/// What the guest says of itself.
pub fn ask_guest(address: &str) -> Option<serde_json::Value> {
    let (_, body) = request(address, "GET", "/", b"")?;
    serde_json::from_slice(&body).ok()
}

/// Status and body of the guest's answer; `None` without one.
pub fn request(address: &str, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let limit = Duration::from_millis(400);
    let address = address.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

/// Waits until `probe` gives something.
pub async fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
