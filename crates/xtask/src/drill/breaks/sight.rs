//! What is to be seen of one move: its record, and the processes that have to do with it.

use super::super::single::arguments;
use super::super::stage::Stage;
use super::{NAME, Phase};
use crate::federation::process::{self, Owned, ProcessId};
use serde_json::Value;

/// A move as `migrate status` shows it.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// `queued`, `running`, `done`, …
    pub state: String,
    /// What its copy is doing.
    pub stage: String,
    /// Why it ended so.
    pub reason: String,
    done: u64,
    total: u64,
}

impl Sight {
    /// The newest look at the move of this operation, asked for in a region; none when it does not say.
    pub fn of(stage: &Stage, region: &str, operation: &str) -> Option<Sight> {
        let words = ["federation", "migrate", "status", "--vm", NAME, "--limit", "5"];
        let shown = stage.json_at(region, &words).ok()?;
        shown["items"].as_array()?.iter().find(|item| item["operation"] == operation).map(Sight::read)
    }

    fn read(item: &Value) -> Sight {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        Sight {
            state: text("state"),
            stage: text("stage"),
            reason: text("reason"),
            done: item["bytes_done"].as_u64().unwrap_or(0),
            total: item["bytes_total"].as_u64().unwrap_or(0),
        }
    }

    /// False once it has ended.
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "running")
    }

    /// The moment it is at; none when it has ended, or is being stopped.
    pub fn phase(&self, target_has_process: bool) -> Option<Phase> {
        if !self.is_open() {
            return None;
        }
        match self.stage.as_str() {
            "stopping" | "failed" => None,
            "disk" | "memory" if self.done * 3 <= self.total => Some(Phase::Begin),
            "disk" | "memory" => Some(Phase::Middle),
            "switching" => Some(Phase::Switch),
            "released" => Some(Phase::Books),
            _ if target_has_process => Some(Phase::Room),
            _ => Some(Phase::Noted),
        }
    }

    /// In a few words.
    pub fn told(&self) -> String {
        format!("{} {} {}/{} {}", self.state, self.stage, self.done, self.total, self.reason)
    }
}

/// The name under which `up` starts the agent of a host.
fn agent_of(host: &str) -> String {
    format!("agentd-{host}")
}

/// What `up` called the process that this one descends from.
fn started_as(id: ProcessId) -> String {
    let environment = std::fs::read(format!("/proc/{}/environ", id.pid)).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let found = variables.find_map(|variable| variable.strip_prefix("DWCP_DEV_NAME=").map(str::to_owned));
    found.unwrap_or_default()
}

/// Every emulator of this VM: its process, its region and its host.
pub fn emulators(stage: &Stage, vm: &str) -> Vec<(Owned, String)> {
    let of_vm = |one: &Owned| one.is_vm() && arguments(one.id).iter().any(|word| word == vm);
    let all = process::owned(&stage.tree.dev).into_iter().filter(of_vm);
    all.map(|one| {
        let host = started_as(one.id).trim_start_matches("agentd-").to_owned();
        (one, host)
    })
    .collect()
}

/// The worker of a host's agent.
pub fn worker(stage: &Stage, host: &str) -> Option<ProcessId> {
    let is_worker = |one: &Owned| {
        one.program.starts_with("dwcp-agent")
            && arguments(one.id).iter().any(|word| word == "worker")
            && started_as(one.id) == agent_of(host)
    };
    process::owned(&stage.tree.dev).into_iter().find(is_worker).map(|one| one.id)
}

/// The server of a region.
pub fn server(stage: &Stage, region: &str) -> Option<ProcessId> {
    let is_server = |one: &Owned| one.program == "dwcpd" && one.region == region;
    process::owned(&stage.tree.dev).into_iter().find(is_server).map(|one| one.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_moment_follows_from_what_migrate_status_shows() {
        let at = |state, stage, done| {
            let item = json!({"state": state, "stage": stage, "bytes_done": done, "bytes_total": 90});
            Sight::read(&item)
        };
        assert_eq!(at("running", Some("making room"), 0).phase(false), Some(Phase::Noted));
        assert_eq!(at("running", None, 0).phase(true), Some(Phase::Room));
        assert_eq!(at("running", Some("memory"), 30).phase(true), Some(Phase::Begin));
        assert_eq!(at("running", Some("memory"), 31).phase(true), Some(Phase::Middle));
        assert_eq!(at("running", Some("switching"), 90).phase(true), Some(Phase::Switch));
        assert_eq!(at("running", Some("released"), 90).phase(true), Some(Phase::Books));
        assert_eq!(at("running", Some("stopping"), 31).phase(true), None);
        assert_eq!(at("done", None, 90).phase(true), None);
    }
}
