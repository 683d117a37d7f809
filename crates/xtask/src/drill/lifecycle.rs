//! The operations guide's runbooks for a region that comes and for one that leaves, line by line as printed there.
//!
//! Changed are only the sleeps, and two paths of the operator's own machine, `/etc/dwcp` and `/docs`, which lie in the folder of
//! the development federation instead.

use super::script::{self, Ran};
use super::stage::Stage;
use crate::federation::demo;
use crate::run::{Failure, wait_until};
use serde_json::Value;
use std::time::Duration;

/// Guide 10.1, one entry a command.
const COMES: [&str; 11] = [
    "dwcp-cli federation region preflight-check --region eu-central-1",
    "dwcp-cli infrastructure deploy \\\n  --region eu-central-1 \\\n  --components controller,state-manager,router,monitor",
    "dwcp-cli federation region configure \\\n  --region eu-central-1 \\\n  --config /etc/dwcp/regions/eu-central-1.yaml",
    "dwcp-cli federation region connectivity-test \\\n  --region eu-central-1 \\\n  --test-all-regions",
    "dwcp-cli federation state enable-region --region eu-central-1",
    "sleep 60\ndwcp-cli federation state verify-sync --region eu-central-1",
    "dwcp-cli routing endpoint add \\\n  --region eu-central-1 \\\n  --ip $(get-region-ip eu-central-1) \\\n  --port 443",
    "dwcp-cli federation region enable \\\n  --region eu-central-1 \\\n  --traffic-percentage 10",
    "for pct in 25 50 75 100; do\n    dwcp-cli federation region set-traffic \\\n      --region eu-central-1 \\\n      \
     --percentage $pct\n    sleep 3600  # Wait 1 hour\ndone",
    "dwcp-cli federation region verify --region eu-central-1 --full",
    "echo \"Region eu-central-1 added on $(date)\" >> /docs/changelog.md",
];
/// Guide 4.3.
const LEAVES: [&str; 7] = [
    "dwcp-cli federation region announce-decommission \\\n  --region sa-east-1 \\\n  --decommission-date 2025-12-01",
    "dwcp-cli federation region disable-placement \\\n  --region sa-east-1",
    "dwcp-cli federation migrate-all \\\n  --source sa-east-1 \\\n  --targets us-east-1,eu-west-1 \\\n  --reason decommission",
    "dwcp-cli federation region vm-count --region sa-east-1",
    "dwcp-cli federation region disable --region sa-east-1",
    "dwcp-cli federation region remove --region sa-east-1 --confirm",
    "dwcp-cli infrastructure cleanup --region sa-east-1",
];
/// The whole life of a VM, of which a program that is killed leaves one behind.
const VERIFY: &str = "dwcp-cli federation region verify --region eu-central-1 --full";
/// No line takes longer.
const PATIENCE: Duration = Duration::from_secs(240);

/// Both runbooks, and what a verification leaves that is killed in between.
///
/// # Errors
/// Says which line ended otherwise than with exit 0, or what is not as promised afterwards.
pub fn lifecycle(stage: &Stage) -> Result<(), Failure> {
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    let before = demo::vms(stage.tree)?;
    let waits = wait_until(PATIENCE, Duration::from_secs(1), || {
        line(stage, "dwcp-cli infrastructure pools").is_ok_and(|ran| ran.text.contains("eu-central-1"))
    });
    if !waits {
        return Err(Failure::new("no host waits for eu-central-1"));
    }
    let began = stage.probe.now();
    COMES.iter().try_for_each(|words| typed(stage, words).map(|_| ()))?;
    let stay: std::collections::BTreeMap<_, _> =
        before.into_iter().filter(|(_, vm)| vm.region != "sa-east-1").collect();
    let longest = stage.undisturbed(&stay, (began, stage.probe.now()))?;
    stage.say(&format!("{} VMs went on, longest silence {} ms", stay.len(), longest.as_millis()));
    came_in(stage)?;
    killed_verification(stage)?;
    leaves(stage)?;
    stage.wait_until_all_answer(PATIENCE)?;
    stage.check_no_doubles()
}

/// As printed, but for the sleeps and the two paths.
fn here(stage: &Stage, words: &str) -> String {
    let dev = stage.tree.dev.display().to_string();
    let shorter = words.replace("sleep 3600", "sleep 1").replace("sleep 60\n", "sleep 1\n");
    shorter.replace("/etc/dwcp/", &format!("{dev}/")).replace("/docs/", &format!("{dev}/log/"))
}

fn line(stage: &Stage, words: &str) -> Result<Ran, Failure> {
    script::run(stage, &here(stage, words), PATIENCE)
}

fn typed(stage: &Stage, words: &str) -> Result<Ran, Failure> {
    let ran = line(stage, words)?;
    let shown = words.replace("\\\n  ", "");
    let (said, took) = (ran.told(), ran.took.as_secs_f64());
    stage.say(&format!("$ {shown}\n{said}\n    exit {:?} after {took:.1} s", ran.exit));
    match ran.exit {
        Some(0) => Ok(ran),
        exit => Err(Failure::new(format!("`{shown}` ended with {exit:?}"))),
    }
}

fn json(stage: &Stage, words: &str) -> Result<Value, Failure> {
    let ran = line(stage, &format!("dwcp-cli --format json {words}"))?;
    serde_json::from_str(&ran.text)
        .map_err(|e| Failure::new(format!("`{words}` printed no JSON: {e}\n{}", ran.told())))
}

fn came_in(stage: &Stage) -> Result<(), Failure> {
    let status = json(stage, "federation region status --region eu-central-1")?;
    let summary = &status["summary"];
    if summary["lifecycle"] != "active" || summary["traffic_percent"] != 100.0 {
        return Err(Failure::new(format!("eu-central-1 is not in service: {summary}")));
    }
    let endpoints = json(stage, "routing endpoint list --region eu-central-1")?;
    let found = &endpoints["regions"][0]["endpoints"][0];
    if found["ip"] != "127.77.6.1" || found["port"] != 443 {
        return Err(Failure::new(format!("its endpoint is {found}")));
    }
    let again = typed(stage, COMES[2])?;
    if !again.text.contains("like that already") {
        return Err(Failure::new("the same settings again change something"));
    }
    no_canary(stage)
}

fn no_canary(stage: &Stage) -> Result<(), Failure> {
    let vms = demo::vms(stage.tree)?;
    match vms.keys().find(|name| name.starts_with("canary-")) {
        Some(left) => Err(Failure::new(format!("{left} is left"))),
        None => Ok(()),
    }
}

/// A verification that is killed leaves a VM, and the next one removes it.
fn killed_verification(stage: &Stage) -> Result<(), Failure> {
    let mut left = false;
    for seconds in [8, 15, 30] {
        line(stage, &format!("timeout --signal=KILL {seconds} {VERIFY}"))?;
        left = no_canary(stage).is_err();
        if left {
            break;
        }
    }
    if !left {
        return Err(Failure::new("a killed verification left nothing: it was killed too early or too late"));
    }
    let ran = typed(stage, VERIFY)?;
    if !ran.text.contains("of an earlier run is deleted") {
        return Err(Failure::new("the next verification says nothing of what was left"));
    }
    no_canary(stage)
}

fn leaves(stage: &Stage) -> Result<(), Failure> {
    typed(stage, LEAVES[0])?;
    let reminded = wait_until(Duration::from_secs(20), Duration::from_secs(1), || {
        let events = line(stage, "dwcp-cli federation events list --region sa-east-1 --since 1h");
        events.is_ok_and(|ran| ran.text.contains("decommission_due"))
    });
    if !reminded {
        return Err(Failure::new("nobody says that the decommission of sa-east-1 is due"));
    }
    for words in &LEAVES[1..] {
        let ran = typed(stage, words)?;
        if words.contains("vm-count") && ran.text.trim() != "0" {
            return Err(Failure::new(format!("{} VMs are left in sa-east-1", ran.text.trim())));
        }
    }
    match line(stage, "dwcp-cli federation region status --region sa-east-1")?.exit {
        Some(3) => Ok(()),
        exit => Err(Failure::new(format!("sa-east-1 is still known: exit {exit:?}"))),
    }
}
