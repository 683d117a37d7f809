//! No VM runs in two places at once.

use dwcp_types::VmId;

use crate::host::Host;

pub(super) fn check(hosts: &[Host], vm: VmId) -> Option<String> {
    let running: Vec<String> = hosts
        .iter()
        .filter(|host| host.alive)
        .filter_map(|host| {
            let process = host.processes.get(&vm).filter(|process| process.runs())?;
            Some(format!("{} (generation {})", host.name, process.generation))
        })
        .collect();
    (running.len() > 1).then(|| format!("{vm} runs twice: on {}", running.join(" and on ")))
}
