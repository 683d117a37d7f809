//! A share of a core for each process, as if each were on a machine of its own: by a control group with a quota.

use std::fs;
use std::path::{Path, PathBuf};

/// Between two refills of a quota, µs.
const PERIOD_US: u32 = 20_000;

/// A control group of this benchmark for each process; gone when it is dropped and its processes have ended.
pub struct Shares {
    percent: u32,
    groups: Vec<PathBuf>,
}

impl Shares {
    /// Of so many per cent of a core each; 0: as much as there is.
    pub fn of(percent: u32) -> Shares {
        Shares { percent, groups: Vec::new() }
    }

    /// Gives a process its share.
    pub fn give(&mut self, pid: u32) -> Result<(), String> {
        if self.percent == 0 {
            return Ok(());
        }
        let quota = PERIOD_US * self.percent / 100;
        let first = Path::new("/sys/fs/cgroup/cpu");
        let (parent, limits, processes) = match first.exists() {
            true => {
                let period = ("cpu.cfs_period_us", PERIOD_US.to_string());
                (first, vec![period, ("cpu.cfs_quota_us", quota.to_string())], "cgroup.procs")
            }
            false => {
                let max = ("cpu.max", format!("{quota} {PERIOD_US}"));
                (Path::new("/sys/fs/cgroup"), vec![max], "cgroup.procs")
            }
        };
        let group = parent.join(format!("dwcp-bench-{}-{pid}", std::process::id()));
        fs::create_dir(&group).map_err(|e| format!("{}: {e}", group.display()))?;
        self.groups.push(group.clone());
        for (file, text) in limits.into_iter().chain([(processes, pid.to_string())]) {
            let file = group.join(file);
            fs::write(&file, text)
                .map_err(|e| format!("{}: {e}: no control group for CPU", file.display()))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.percent {
            0 => f.write_str("takes what there is"),
            percent => write!(f, "has {percent} % of a core"),
        }
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        for group in &self.groups {
            // This process leaves its own group first; the others have ended.
            if let Some(parent) = group.parent() {
                let _ = fs::write(parent.join("cgroup.procs"), std::process::id().to_string());
            }
            let _ = fs::remove_dir(group);
        }
    }
}
