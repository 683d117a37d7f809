//! Whether guests run by the kernel is found out by a guest, here a script in place of the emulator.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dwcp_agent::accelerator::Trial;
use dwcp_agent::host_config::HostConfig;
use dwcp_roles::protocol::Accelerator;

use super::agent::state;

/// A host whose emulator is a script; it appends to `runs` each time, so that tests count its starts.
struct Stand {
    dir: PathBuf,
}

impl Stand {
    fn new(name: &str, script: &str) -> Stand {
        let dir = std::env::temp_dir().join(format!("dwcp-accelerator-{name}-{}", std::process::id()));
        let image = dir.join("data/images/small");
        std::fs::create_dir_all(&image).expect("temp dir");
        std::fs::write(image.join("kernel"), "").expect("kernel");
        std::fs::write(image.join("image.yaml"), "kernel: kernel\n").expect("image.yaml");
        std::fs::write(dir.join("device"), "").expect("device");
        let emulator = dir.join("qemu");
        let text = format!("#!/bin/sh\necho \"$$ $*\" >> '{}'\n{script}\n", dir.join("runs").display());
        std::fs::write(&emulator, text).expect("script");
        std::fs::set_permissions(&emulator, std::fs::Permissions::from_mode(0o755)).expect("executable");
        Stand { dir }
    }

    fn config(&self, accelerator: &str) -> HostConfig {
        let text = format!(
            "federation: test\nregion: r\nzone: a\nhost: h\n\
             regions: [{{region: r, node: 1, mesh: '127.0.0.1:1', api: '127.0.0.1:1'}}]\n\
             pki: {{dir: pki, name: h}}\ndata_dir: data\nvcpus: 1\nmemory_mib: 128\n\
             vm_addresses: {{base: '127.91.9', first: 32, count: 1}}\naccelerator: {accelerator}\nqemu: '{}'\n",
            self.dir.join("qemu").display()
        );
        std::fs::write(self.dir.join("host.yaml"), text).expect("host.yaml");
        HostConfig::load(&self.dir.join("host.yaml")).expect("valid")
    }

    fn trial(&self, watchdog: &str) -> Trial {
        Trial { device: self.dir.join("device"), watchdog: watchdog.into(), limit: Duration::from_secs(2) }
    }

    /// Process numbers and arguments of every start of the script.
    fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("runs")).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    async fn choose(&self, watchdog: &str) -> Accelerator {
        self.trial(watchdog).choose(&self.config("auto")).await
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const PROVES: &str = "echo 'dwcp guest: answering on 10.0.2.15:80' >> console.log\nexec sleep 60";

fn is_gone(run: &str) -> bool {
    let pid = run.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a process number");
    state(pid).is_none()
}

#[tokio::test]
async fn a_guest_that_serves_proves_that_the_kernel_runs_guests() {
    let stand = Stand::new("proves", PROVES);
    assert_eq!(stand.choose("1").await, Accelerator::Kvm);
    let runs = stand.runs();
    assert!(runs.len() == 1 && runs[0].contains("-accel kvm"), "{runs:?}");
    assert!(is_gone(&runs[0]), "the test guest is ended");
    assert!(!Path::new(&stand.dir).join("data/kvm-test").exists(), "its directory is taken away");
}

#[tokio::test]
async fn a_guest_that_ends_with_an_error_leaves_emulation() {
    let stand = Stand::new("ends", "exit 1");
    let began = Instant::now();
    assert_eq!(stand.choose("1").await, Accelerator::Tcg);
    assert!(began.elapsed() < Duration::from_secs(2), "without waiting for the limit");
    assert_eq!(stand.runs().len(), 1);
}

#[tokio::test]
async fn a_guest_that_hangs_is_ended_at_the_limit_and_leaves_emulation() {
    let stand = Stand::new("hangs", "exec sleep 60");
    let began = Instant::now();
    assert_eq!(stand.choose("1").await, Accelerator::Tcg);
    assert!(began.elapsed() >= Duration::from_secs(2), "not before the limit");
    assert!(is_gone(&stand.runs()[0]), "the test guest is ended");
}

#[tokio::test]
async fn a_verdict_holds_under_its_watchdog_and_is_asked_anew_under_another() {
    let stand = Stand::new("verdict", PROVES);
    assert_eq!(stand.choose("1").await, Accelerator::Kvm);
    assert_eq!(stand.choose("1").await, Accelerator::Kvm);
    assert_eq!(stand.runs().len(), 1, "kept");
    assert_eq!(stand.choose("11").await, Accelerator::Kvm);
    assert_eq!(stand.runs().len(), 2, "asked anew");

    let stand = Stand::new("refusal", "exit 1");
    assert_eq!(stand.choose("1").await, Accelerator::Tcg);
    assert_eq!(stand.choose("1").await, Accelerator::Tcg);
    assert_eq!(stand.runs().len(), 1, "a refusal is kept too");
}

#[tokio::test]
async fn what_an_earlier_trial_wrote_is_no_proof() {
    let stand = Stand::new("stale", "exec sleep 60");
    let left = stand.dir.join("data/kvm-test");
    std::fs::create_dir_all(&left).expect("directory");
    std::fs::write(left.join("console.log"), "answering on 10.0.2.15:80").expect("console");
    assert_eq!(stand.choose("1").await, Accelerator::Tcg);
}

#[tokio::test]
async fn nothing_is_tried_without_the_device_or_where_emulation_is_set() {
    let stand = Stand::new("untried", PROVES);
    assert_eq!(stand.trial("1").choose(&stand.config("tcg")).await, Accelerator::Tcg);
    std::fs::remove_file(stand.dir.join("device")).expect("remove");
    assert_eq!(stand.choose("1").await, Accelerator::Tcg);
    assert!(stand.runs().is_empty());
}
