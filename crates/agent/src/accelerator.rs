//! How guests run on this host: by the kernel only when a guest has proven that it works.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dwcp_roles::protocol::{Accelerator, VmSpec};
use dwcp_types::VmId;
use serde_json::json;

use crate::host_config::{AcceleratorChoice, HostConfig};
use crate::image::Image;
use crate::journal;
use crate::process_id::{Stat, kernel_boot};
use crate::qemu::{self, CONSOLE_FILE, Machine};

/// How long the test guest may take.
const LIMIT: Duration = Duration::from_secs(8);
/// Between two looks at the test guest.
const LOOK: Duration = Duration::from_millis(100);
/// Where the verdict is kept, in the data directory, with the watchdog it was found under.
const VERDICT_FILE: &str = "accelerator";
/// What the small image writes on its console once it serves.
const PROOF: &str = "answering on";

/// What a verdict is found by.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The device without which there is nothing to try.
    pub device: PathBuf,
    /// Names the watchdog: under the same one a verdict is kept.
    pub watchdog: String,
    /// How long the test guest may take.
    pub limit: Duration,
}

impl Trial {
    /// The trial of this host, by the worker of a watchdog.
    pub fn here() -> Trial {
        let parent = std::os::unix::process::parent_id();
        // A process number comes back, after a restart of the host even at once; with its start it names one process.
        let started = Stat::of(parent).map_or(0, |stat| stat.started);
        let watchdog = format!("{parent}-{started}-{}", kernel_boot().unwrap_or_default());
        Trial { device: PathBuf::from("/dev/kvm"), watchdog, limit: LIMIT }
    }

    /// How guests run. A guest is started to find out only where the host's settings leave the choice, the device is there,
    /// and this watchdog has no verdict yet.
    pub async fn choose(&self, config: &HostConfig) -> Accelerator {
        // The device's mere presence proves nothing: it opens on hosts where no guest would run.
        if config.accelerator == AcceleratorChoice::Tcg || !self.device.exists() {
            return Accelerator::Tcg;
        }
        // A worker that comes back must not spend the lease on a test that was made under the same watchdog.
        let verdict = config.data_dir.join(VERDICT_FILE);
        let known = std::fs::read_to_string(&verdict).unwrap_or_default();
        match known.strip_prefix(&format!("{} ", self.watchdog)) {
            Some("kvm") => return Accelerator::Kvm,
            Some(_) => return Accelerator::Tcg,
            None => {}
        }
        let accelerator = match self.prove(config).await {
            Ok(()) => Accelerator::Kvm,
            Err(why) => {
                journal::warn("kvm-not-usable", json!({"why": why, "next": "guests are emulated"}));
                Accelerator::Tcg
            }
        };
        if let Err(error) = std::fs::write(&verdict, format!("{} {}", self.watchdog, accelerator.name())) {
            journal::warn("verdict-not-kept", json!({"error": error.to_string()}));
        }
        accelerator
    }

    async fn prove(&self, config: &HostConfig) -> Result<(), String> {
        let images = config.data_dir.join("images");
        let names = std::fs::read_dir(&images).map_err(|e| format!("{}: {e}", images.display()))?;
        let mut names: Vec<String> =
            names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let image = names
            .iter()
            .filter_map(|name| Image::load(&images, name).ok())
            .find(|image| image.kernel.is_some());
        let image = image.ok_or("no image with a kernel to test with")?;
        let dir = config.data_dir.join("kvm-test");
        // What an earlier trial left that was cut short must not be taken for this one's proof.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let spec = VmSpec { vcpus: 1, memory_mib: image.memory_min_mib.max(96), ..VmSpec::default() };
        let address = config.vm_addresses.all().last().cloned().unwrap_or_default();
        let line = qemu::command_line(&Machine {
            program: &config.qemu,
            vm: VmId(0),
            generation: 0,
            spec: &spec,
            image: &image,
            address: &address,
            disk: None,
            accelerator: Accelerator::Kvm,
            tap: None,
            incoming: false,
        });
        let done = self.watch(&line, &dir).await;
        let _ = std::fs::remove_dir_all(&dir);
        done
    }

    async fn watch(&self, line: &[String], dir: &Path) -> Result<(), String> {
        let mut command = tokio::process::Command::new(&line[0]);
        command
            .args(&line[1..])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().map_err(|e| format!("{}: {e}", line[0]))?;
        let deadline = tokio::time::Instant::now() + self.limit;
        let done = loop {
            tokio::time::sleep(LOOK).await;
            let console = std::fs::read(dir.join(CONSOLE_FILE)).unwrap_or_default();
            if String::from_utf8_lossy(&console).contains(PROOF) {
                break Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                break Err(format!("the test guest ended: {status}"));
            }
            if tokio::time::Instant::now() >= deadline {
                break Err(format!("the test guest did not come up within {} ms", self.limit.as_millis()));
            }
        };
        let _ = child.kill().await;
        done
    }
}
