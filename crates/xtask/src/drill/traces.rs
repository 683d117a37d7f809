//! What a federation has on its machine besides what it was started with: processes, files of VMs, sockets, interfaces. Taken
//! before something and after it, the difference is what that has left behind.

use super::single::arguments;
use super::stage::Stage;
use crate::federation::process;
use crate::run::{Failure, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Files that grow with everything that happens and are no trace of a VM: logs, the regions' stores, notes of processes.
const NO_TRACES: [&str; 4] = ["log", "run", "cache", "lock"];

/// A picture, one line a thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// What is there now.
    pub fn take(stage: &Stage) -> Traces {
        let mut all = BTreeSet::new();
        for one in process::owned(&stage.tree.dev) {
            let what = super::leaks::vm_of(&arguments(one.id)).unwrap_or_default();
            all.insert(format!("process {} {} {what}", one.program, one.region));
        }
        files(&stage.tree.dev, &stage.tree.dev, &stage.regions, &mut all);
        for (file, kind, listens) in [("tcp", "TCP", true), ("tcp6", "TCP", true), ("udp", "UDP", false)] {
            let text = fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default();
            all.extend(sockets(&text, listens).into_iter().map(|socket| format!("{kind} socket {socket}")));
        }
        for interface in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
            all.insert(format!("interface {}", interface.file_name().to_string_lossy()));
        }
        Traces(all)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What is here and was not there before.
    fn beyond(&self, before: &Traces) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// Fails when something is left that was not there before, 30 s after what made it was ended.
///
/// # Errors
/// Names all of it.
pub fn nothing_left(stage: &Stage, before: &Traces) -> Result<(), Failure> {
    let mut left = Vec::new();
    let gone = wait_until(Duration::from_secs(30), Duration::from_millis(500), || {
        left = Traces::take(stage).beyond(before);
        left.is_empty()
    });
    if gone { Ok(()) } else { Err(Failure::new(format!("left behind: {}", left.join("; ")))) }
}

fn files(root: &Path, folder: &Path, regions: &[String], all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if folder == root && NO_TRACES.contains(&name.as_str()) {
            continue;
        }
        // A region's own store; its hosts have folders beside it.
        if regions.contains(&name) {
            continue;
        }
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        all.insert(format!("file {shown}"));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(root, &path, regions, all);
        }
    }
}

/// Local addresses out of a table of `/proc/net`: of sockets that listen, or that are bound to a number below those that the
/// system hands out.
fn sockets(table: &str, only_listening: bool) -> Vec<String> {
    const LISTENS: &str = "0A";
    const HANDED_OUT_FROM: u32 = 32_768;
    let lines = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
        let port = u32::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        let counts = if only_listening { state == LISTENS } else { port < HANDED_OUT_FROM };
        counts.then(|| local.to_owned())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_stay_are_traces() {
        let table = "  sl  local_address rem_address   st\n   0: 20014D7F:1F90 00000000:0000 0A 0\n   \
                     1: 20014D7F:1F91 00000000:0000 01 0\n";
        assert_eq!(sockets(table, true), ["20014D7F:1F90"]);
        assert_eq!(
            sockets("head\n 0: 01014D7F:D000 0:0 07\n 1: 01014D7F:1D13 0:0 07\n", false),
            ["01014D7F:1D13"]
        );
    }

    #[test]
    fn what_is_new_is_named() {
        let of = |lines: &[&str]| Traces(lines.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(of(&["a", "b"]).beyond(&of(&["b", "c"])), ["a"]);
    }
}
