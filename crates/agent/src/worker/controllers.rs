//! Runs controllers beside the region's node, where the leader says so and the settings allow it.
//!
//! A controller is a child of the worker that holds the worker's end of a pipe as its standard input: however the worker ends, the
//! pipe does, and the controller with it. It keeps nothing, so nothing of it is to be found again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dwcp_roles::agent::{ControllersEffect, ControllersEvent, Input};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::Happened;
use super::hosting::hold_to_limits;
use crate::host_config::HostConfig;
use crate::journal;

const LOG_FILE: &str = "controllers.log";
/// The log begins anew when it has outgrown this at a start, bytes.
const LOG_MAX: u64 = 16 << 20;
/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Every controller on this host.
pub(super) struct Controllers {
    config: Arc<HostConfig>,
    inputs: UnboundedSender<Happened>,
    children: Arc<Mutex<BTreeMap<u8, Child>>>,
}

impl Controllers {
    pub(super) fn new(config: &Arc<HostConfig>, inputs: &UnboundedSender<Happened>) -> Controllers {
        let children = Arc::new(Mutex::new(BTreeMap::new()));
        tokio::spawn(watch(children.clone(), inputs.clone()));
        Controllers { config: config.clone(), inputs: inputs.clone(), children }
    }

    pub(super) fn carry_out(&self, effect: ControllersEffect) {
        match effect {
            ControllersEffect::Start { slot, node, mesh } => {
                let result = self.start(slot, node, &mesh);
                journal::info("controller-started", json!({"slot": slot, "result": format!("{result:?}")}));
                tell(&self.inputs, ControllersEvent::Started { slot, result });
            }
            ControllersEffect::End { slot } => {
                journal::info("controller-ends", json!({"slot": slot}));
                let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
                // Its end is told by whoever watches it, as any other.
                if let Some(Err(error)) = children.get_mut(&slot).map(Child::kill) {
                    journal::warn("controller-not-killed", json!({"slot": slot, "error": error.to_string()}));
                }
            }
        }
    }

    fn start(&self, slot: u8, node: u64, mesh: &str) -> Result<u32, String> {
        let host = &self.config;
        let program = &host.controllers.program;
        let log = self.log()?;
        let errors = log.try_clone().map_err(|e| format!("{LOG_FILE}: {e}"))?;
        let mut command = Command::new(program);
        command.args(["controller", "--until-stdin-ends", "--pki"]).arg(&host.pki.dir);
        command.args(["--name", &host.pki.name, "--node", &node.to_string(), "--mesh", mesh]);
        command.args(["--slot", &slot.to_string(), "--bind", &host.bind.to_string()]);
        if let Some(wan) = &host.wan_file {
            command.arg("--wan").arg(wan);
        }
        command.current_dir(&host.data_dir).stdin(Stdio::piped()).stdout(log).stderr(errors);
        // SAFETY: between fork and exec only calls that may be made there.
        unsafe {
            command.pre_exec(|| {
                hold_to_limits();
                Ok(())
            });
        }
        let child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let pid = child.id();
        self.children.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, child);
        Ok(pid)
    }

    fn log(&self) -> Result<File, String> {
        let path: PathBuf = self.config.data_dir.join(LOG_FILE);
        let large = std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_MAX);
        let mut options = OpenOptions::new();
        // Those that run append to it as well, so they go on at its new end.
        options.create(true).append(true);
        let file = options.open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if large {
            file.set_len(0).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(file)
    }
}

/// Tells of processes that have ended.
async fn watch(children: Arc<Mutex<BTreeMap<u8, Child>>>, inputs: UnboundedSender<Happened>) {
    while !inputs.is_closed() {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut children = children.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Vec::new();
        for (slot, child) in children.iter_mut() {
            if let Ok(Some(status)) = child.try_wait() {
                let reason = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("it ended with status {code} ({LOG_FILE} says why)"),
                    (_, Some(signal)) => format!("it was ended by signal {signal}"),
                    _ => "it ended".to_string(),
                };
                ended.push((*slot, reason));
            }
        }
        for (slot, reason) in ended {
            children.remove(&slot);
            journal::warn("controller-ended", json!({"slot": slot, "reason": reason}));
            tell(&inputs, ControllersEvent::Ended { slot, reason });
        }
    }
}

fn tell(inputs: &UnboundedSender<Happened>, event: ControllersEvent) {
    // Nobody listens any more when the worker stops.
    let _ = inputs.send(Happened::Input(Input::Controllers(event)));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;

    async fn next(happened: &mut UnboundedReceiver<Happened>) -> ControllersEvent {
        let next = tokio::time::timeout(Duration::from_secs(20), happened.recv()).await;
        match next.expect("something happens") {
            Some(Happened::Input(Input::Controllers(event))) => event,
            _ => panic!("something else happened"),
        }
    }

    fn runs(pid: u32) -> bool {
        crate::process_id::Stat::of(pid).is_some_and(|stat| stat.state != 'Z')
    }

    #[tokio::test]
    async fn a_controller_is_started_as_told_watched_ended_and_never_outlives_the_agent() {
        let dir = std::env::temp_dir().join(format!("dwcp-controllers-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let program = dir.join("dwcpd");
        // Ends with its standard input, as the real one does.
        std::fs::write(&program, "#!/bin/sh\ncat > /dev/null\n").expect("a program");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("may be run");
        let text = format!(
            "federation: f\nregion: r\nzone: a\nhost: h\ndata_dir: {0}\nvcpus: 1\nmemory_mib: 64\n\
             regions: [{{region: r, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}}]\n\
             pki: {{dir: pki, name: h}}\nvm_addresses: {{base: '127.77.1', first: 32, count: 1}}\n\
             controllers: {{most: 2, program: {0}/dwcpd}}\n",
            dir.display()
        );
        let config = Arc::new(HostConfig::parse(&text).expect("settings"));
        assert_eq!(config.controllers.most, 2);
        let (inputs, mut happened) = tokio::sync::mpsc::unbounded_channel();
        let controllers = Controllers::new(&config, &inputs);
        let start = |slot| ControllersEffect::Start { slot, node: 1, mesh: "127.77.1.1:7443".into() };
        let mut pids = Vec::new();
        for slot in [0, 1] {
            controllers.carry_out(start(slot));
            match next(&mut happened).await {
                ControllersEvent::Started { slot: started, result: Ok(pid) } if started == slot => {
                    pids.push(pid)
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(pids.iter().all(|pid| runs(*pid)));
        controllers.carry_out(ControllersEffect::End { slot: 0 });
        let ended = next(&mut happened).await;
        assert!(
            matches!(&ended, ControllersEvent::Ended { slot: 0, reason } if reason.contains('9')),
            "{ended:?}"
        );
        assert!(runs(pids[1]), "the other one goes on");
        // The worker ends, however that comes: the pipes do.
        controllers
            .children
            .lock()
            .expect("not poisoned")
            .values_mut()
            .for_each(|child| drop(child.stdin.take()));
        assert!(matches!(next(&mut happened).await, ControllersEvent::Ended { slot: 1, .. }));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
