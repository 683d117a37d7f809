//! Runs controllers and routers beside the region's node, where the leader says so and the settings allow it.
//!
//! A helper is a child of the worker that holds the worker's end of a pipe as its standard input: however the worker ends, the
//! pipe does, and the helper with it. It keeps nothing that would be missed, so nothing of it is to be found again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dwcp_roles::agent::{HelpersEffect, HelpersEvent, Input};
use dwcp_roles::protocol::HelperKind;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::Happened;
use super::hosting::hold_to_limits;
use crate::host_config::HostConfig;
use crate::journal;

/// A log begins anew when it has outgrown this, bytes.
const LOG_MAX: u64 = 16 << 20;
/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at their logs.
const LOGS_EVERY: Duration = Duration::from_secs(1);

type Children = Arc<Mutex<BTreeMap<(HelperKind, u8), Child>>>;

/// Every helper on this host.
pub(super) struct Helpers {
    config: Arc<HostConfig>,
    inputs: UnboundedSender<Happened>,
    children: Children,
}

fn log_file(kind: HelperKind) -> String {
    format!("{}s.log", kind.name())
}

impl Helpers {
    pub(super) fn new(config: &Arc<HostConfig>, inputs: &UnboundedSender<Happened>) -> Helpers {
        let children = Children::default();
        tokio::spawn(watch(config.data_dir.clone(), children.clone(), inputs.clone()));
        Helpers { config: config.clone(), inputs: inputs.clone(), children }
    }

    pub(super) fn carry_out(&self, effect: HelpersEffect) {
        match effect {
            HelpersEffect::Start { kind, slot, node, mesh } => {
                let result = self.start(kind, slot, node, &mesh);
                let told = json!({"kind": kind.name(), "slot": slot, "result": format!("{result:?}")});
                journal::info("helper-started", told);
                tell(&self.inputs, HelpersEvent::Started { kind, slot, result });
            }
            HelpersEffect::End { kind, slot } => {
                journal::info("helper-ends", json!({"kind": kind.name(), "slot": slot}));
                let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
                // Its end is told by whoever watches it, as any other.
                if let Some(Err(error)) = children.get_mut(&(kind, slot)).map(|child| end(kind, child)) {
                    let told = json!({"kind": kind.name(), "slot": slot, "error": error.to_string()});
                    journal::warn("helper-not-ended", told);
                }
            }
        }
    }

    fn start(&self, kind: HelperKind, slot: u8, node: u64, mesh: &str) -> Result<u32, String> {
        let log = self.log(kind)?;
        let errors = log.try_clone().map_err(|e| format!("{}: {e}", log_file(kind)))?;
        let mut command = match kind {
            HelperKind::Controller => self.controller(slot, node, mesh),
            HelperKind::Router => self.router(slot)?,
        };
        command.current_dir(&self.config.data_dir).stdin(Stdio::piped()).stdout(log).stderr(errors);
        let child =
            command.spawn().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
        let pid = child.id();
        self.children.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, slot), child);
        Ok(pid)
    }

    fn controller(&self, slot: u8, node: u64, mesh: &str) -> Command {
        let host = &self.config;
        let mut command = Command::new(&host.controllers.program);
        command.args(["controller", "--until-stdin-ends", "--pki"]).arg(&host.pki.dir);
        command.args(["--name", &host.pki.name, "--node", &node.to_string(), "--mesh", mesh]);
        command.args(["--slot", &slot.to_string(), "--bind", &host.bind.to_string()]);
        if let Some(wan) = &host.wan_file {
            command.arg("--wan").arg(wan);
        }
        // SAFETY: between fork and exec only calls that may be made there.
        unsafe {
            command.pre_exec(|| {
                hold_to_limits();
                Ok(())
            });
        }
        command
    }

    /// Its slot counts after the router that is always there. It raises its own limits, as that one does.
    fn router(&self, slot: u8) -> Result<Command, String> {
        let here = self.config.routers.as_ref().ok_or("this host runs no routers")?;
        let mut command = Command::new(&here.program);
        command.arg("--until-stdin-ends").arg("--config").arg(&here.config);
        command.args(["--further", &(u32::from(slot) + 1).to_string()]);
        Ok(command)
    }

    fn log(&self, kind: HelperKind) -> Result<File, String> {
        let name = log_file(kind);
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        options.open(self.config.data_dir.join(&name)).map_err(|e| format!("{name}: {e}"))
    }
}

/// Whoever writes to a log appends to it, and goes on at its new end.
fn bound_logs(folder: &Path) {
    for kind in HelperKind::ALL {
        let name = log_file(kind);
        let path = folder.join(&name);
        let large = std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_MAX);
        let emptied = || OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0));
        if let Some(Err(error)) = large.then(emptied) {
            journal::warn("log-not-bound", json!({"log": name, "error": error.to_string()}));
        }
    }
}

/// A controller decides nothing that is not decided again without it; a router serves what it has begun, for ten seconds at most.
fn end(kind: HelperKind, child: &mut Child) -> std::io::Result<()> {
    if kind == HelperKind::Controller {
        return child.kill();
    }
    // SAFETY: a signal to a child of ours that nobody has waited for.
    match unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Tells of processes that have ended.
async fn watch(folder: PathBuf, children: Children, inputs: UnboundedSender<Happened>) {
    let mut looked = Instant::now();
    while !inputs.is_closed() {
        tokio::time::sleep(LOOK_EVERY).await;
        if looked.elapsed() >= LOGS_EVERY {
            looked = Instant::now();
            bound_logs(&folder);
        }
        let mut children = children.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Vec::new();
        for ((kind, slot), child) in children.iter_mut() {
            if let Ok(Some(status)) = child.try_wait() {
                let reason = match (status.code(), status.signal()) {
                    (Some(code), _) => {
                        format!("it ended with status {code} ({} says why)", log_file(*kind))
                    }
                    (_, Some(signal)) => format!("it was ended by signal {signal}"),
                    _ => "it ended".to_string(),
                };
                ended.push((*kind, *slot, reason));
            }
        }
        for (kind, slot, reason) in ended {
            children.remove(&(kind, slot));
            let told = json!({"kind": kind.name(), "slot": slot, "reason": reason});
            journal::warn("helper-ended", told);
            tell(&inputs, HelpersEvent::Ended { kind, slot, reason });
        }
    }
}

fn tell(inputs: &UnboundedSender<Happened>, event: HelpersEvent) {
    // Nobody listens any more when the worker stops.
    let _ = inputs.send(Happened::Input(Input::Helpers(event)));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;

    async fn next(happened: &mut UnboundedReceiver<Happened>) -> HelpersEvent {
        let next = tokio::time::timeout(Duration::from_secs(20), happened.recv()).await;
        match next.expect("something happens") {
            Some(Happened::Input(Input::Helpers(event))) => event,
            _ => panic!("something else happened"),
        }
    }

    fn runs(pid: u32) -> bool {
        crate::process_id::Stat::of(pid).is_some_and(|stat| stat.state != 'Z')
    }

    /// A host on which helpers are this program.
    fn host(name: &str, program: &str) -> (PathBuf, Arc<HostConfig>) {
        let dir = std::env::temp_dir().join(format!("dwcp-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let path = dir.join("program");
        std::fs::write(&path, program).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("may be run");
        let text = format!(
            "federation: f\nregion: r\nzone: a\nhost: h\ndata_dir: {0}\nvcpus: 1\nmemory_mib: 64\n\
             regions: [{{region: r, node: 1, mesh: '127.77.1.1:7443', api: '127.77.1.1:7443'}}]\n\
             pki: {{dir: pki, name: h}}\nvm_addresses: {{base: '127.77.1', first: 32, count: 1}}\n\
             controllers: {{most: 2, program: {0}/program}}\n\
             routers: {{most: 3, program: {0}/program, config: {0}/router.yaml}}\n",
            dir.display()
        );
        (dir, Arc::new(HostConfig::parse(&text).expect("settings")))
    }

    #[tokio::test]
    async fn a_router_has_the_next_number_and_ends_when_it_is_done() {
        // Says what it was told, and takes its time to end.
        let program =
            "#!/bin/sh\nexec 3<&0\ntrap 'echo ends; exit 0' TERM\necho \"$*\"\ncat <&3 > /dev/null &\nwait\n";
        let (dir, config) = host("routers", program);
        assert_eq!(config.routers.as_ref().map(|here| here.most), Some(3));
        let (inputs, mut happened) = tokio::sync::mpsc::unbounded_channel();
        let helpers = Helpers::new(&config, &inputs);
        let kind = HelperKind::Router;
        helpers.carry_out(HelpersEffect::Start { kind, slot: 0, node: 0, mesh: String::new() });
        assert!(matches!(next(&mut happened).await, HelpersEvent::Started { slot: 0, result: Ok(_), .. }));
        let said = || std::fs::read_to_string(dir.join("routers.log")).unwrap_or_default();
        let begun = Instant::now();
        while !said().contains('\n') && begun.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            said(),
            format!("--until-stdin-ends --config {}/router.yaml --further 1\n", dir.display())
        );
        helpers.carry_out(HelpersEffect::End { kind, slot: 0 });
        let ended = next(&mut happened).await;
        assert!(
            matches!(&ended, HelpersEvent::Ended { slot: 0, reason, .. } if reason.contains("status 0")),
            "{ended:?}"
        );
        assert!(said().ends_with("ends\n"), "{}", said());
        std::fs::write(dir.join("routers.log"), vec![b'x'; LOG_MAX as usize + 1]).expect("a long log");
        let begun = Instant::now();
        while !said().is_empty() && begun.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(said().is_empty(), "a log that is too long begins anew");
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[tokio::test]
    async fn a_controller_is_started_as_told_watched_ended_and_never_outlives_the_agent() {
        // Ends with its standard input, as the real one does.
        let (dir, config) = host("controllers", "#!/bin/sh\ncat > /dev/null\n");
        assert_eq!(config.controllers.most, 2);
        let (inputs, mut happened) = tokio::sync::mpsc::unbounded_channel();
        let helpers = Helpers::new(&config, &inputs);
        let kind = HelperKind::Controller;
        let start = |slot| HelpersEffect::Start { kind, slot, node: 1, mesh: "127.77.1.1:7443".into() };
        let mut pids = Vec::new();
        for slot in [0, 1] {
            helpers.carry_out(start(slot));
            match next(&mut happened).await {
                HelpersEvent::Started { slot: started, result: Ok(pid), .. } if started == slot => {
                    pids.push(pid)
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(pids.iter().all(|pid| runs(*pid)));
        helpers.carry_out(HelpersEffect::End { kind, slot: 0 });
        let ended = next(&mut happened).await;
        assert!(
            matches!(&ended, HelpersEvent::Ended { slot: 0, reason, .. } if reason.contains('9')),
            "{ended:?}"
        );
        assert!(runs(pids[1]), "the other one goes on");
        // The worker ends, however that comes: the pipes do.
        let end_pipe = |child: &mut Child| drop(child.stdin.take());
        helpers.children.lock().expect("not poisoned").values_mut().for_each(end_pipe);
        assert!(matches!(next(&mut happened).await, HelpersEvent::Ended { slot: 1, .. }));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
