//! VM processes against VM records: each that should run has one process, and no process is without a record.

use super::single::arguments;
use super::stage::Stage;
use crate::federation::{demo, process};
use crate::run::{Failure, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Fails when processes and records do not agree within 30 s.
///
/// # Errors
/// Names each VM that has no process, too many, or no record.
pub fn check(stage: &Stage) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    let agree = wait_until(Duration::from_secs(30), Duration::from_millis(500), || {
        let Ok(vms) = demo::vms(stage.tree) else { return false };
        let mut processes: BTreeMap<String, usize> = BTreeMap::new();
        for one in process::owned(&stage.tree.dev).iter().filter(|one| one.is_vm()) {
            let name = vm_of(&arguments(one.id)).unwrap_or_else(|| format!("pid {}", one.id.pid));
            *processes.entry(name).or_default() += 1;
        }
        wrong.clear();
        for (name, vm) in &vms {
            let found = processes.remove(&vm.id).unwrap_or(0);
            let wanted = usize::from(vm.state != "stopped");
            if found != wanted {
                wrong.push(format!("{name} ({}) has {found} processes, state {}", vm.id, vm.state));
            }
        }
        wrong.extend(processes.keys().map(|vm| format!("{vm} runs without a record")));
        wrong.is_empty()
    });
    if agree { Ok(()) } else { Err(Failure::new(wrong.join("; "))) }
}

/// The VM that a QEMU runs, out of the command line it gives the guest's kernel.
pub fn vm_of(arguments: &[String]) -> Option<String> {
    let words = arguments.iter().flat_map(|argument| argument.split_whitespace());
    words.filter_map(|word| word.strip_prefix("dwcp.vm=")).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vm_is_found_in_the_kernel_command_line() {
        let line = ["-append", "console=ttyS0 dwcp.vm=vm_7 dwcp.generation=2"].map(str::to_owned);
        assert_eq!(vm_of(&line).as_deref(), Some("vm_7"));
        assert_eq!(vm_of(&[]), None);
    }
}
