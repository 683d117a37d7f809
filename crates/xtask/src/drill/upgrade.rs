//! Rolling upgrades: programs that do not work come back by themselves, a leader that dies over one changes nothing, and the
//! guide's script takes every region to the next version while VMs serve and clients write and place VMs.

use super::script;
use super::stage::{Stage, told};
use super::writer::Writer;
use crate::federation::demo::{self, Vm};
use crate::federation::{api_url, process, up};
use crate::run::{Failure, capture, command, fault, run, text_of, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Guide 4.2, as printed there.
const GUIDE: &str = r#"REGIONS=("us-east-1" "eu-west-1" "ap-south-1" "sa-east-1" "au-southeast-1")
VERSION="v3.2.0"

for region in "${REGIONS[@]}"; do
    echo "Upgrading region: $region"

    # 1. Disable region from placement
    dwcp-cli federation region disable-placement --region $region

    # 2. Wait for in-flight operations
    sleep 60

    # 3. Drain VMs to other regions
    dwcp-cli federation region drain --region $region --timeout 5m

    # 4. Upgrade control plane
    dwcp-cli federation region upgrade \
      --region $region \
      --version $VERSION \
      --component controller,state-manager,router,monitor

    # 5. Verify upgrade
    dwcp-cli federation region verify --region $region

    # 6. Re-enable region
    dwcp-cli federation region enable-placement --region $region

    # 7. Wait for health stabilization
    sleep 120

    echo "Region $region upgraded successfully"
done

echo "All regions upgraded to $VERSION"
"#;
/// The version that it names.
const NEXT: &str = "3.2.0";
/// The whole script may take so long.
const SCRIPT: Duration = Duration::from_secs(1_500);
/// Between two VMs that a client makes.
const PLACE_EVERY: Duration = Duration::from_secs(20);
/// A program may take so long to become well, and its upgrade to end after that.
const PATIENCE: &str = "3m";

/// Upgrades that fail, one whose leader dies, and one of every region.
///
/// # Errors
/// Says what did not hold.
pub fn upgrade(stage: &Stage) -> Result<(), Failure> {
    let folder = stage.tree.dev.join("releases");
    std::fs::create_dir_all(&folder).map_err(|e| fault("cannot create", &folder, &e))?;
    publish_all(stage, &folder)?;
    refused(stage)?;
    for region in &stage.regions {
        stage.fill(region, 1)?;
    }
    let before = demo::vms(stage.tree)?;
    let writer = Writer::start(stage.tree);
    let began = stage.probe.now();
    for (version, what) in [("3.2.0-exits", "ends at once"), ("3.2.0-hangs", "does nothing")] {
        rolled_back(stage, version, what)?;
    }
    let silence = stage.undisturbed(&before, (began, stage.probe.now()))?;
    stage.say(&format!("{} VMs went on, longest silence {} ms", before.len(), silence.as_millis()));
    let written = writer.finish();
    stage.check_written(&written, &stage.regions)?;
    if written.failed > 0 {
        return Err(Failure::new(format!(
            "{} writes failed while programs were rolled back",
            written.failed
        )));
    }
    leader_dies(stage)?;
    rolls(stage)?;
    stage.check_no_doubles()
}

/// The guide's script, with VMs that serve, a client that writes and one that places VMs.
fn rolls(stage: &Stage) -> Result<(), Failure> {
    let before = demo::vms(stage.tree)?;
    let (writer, began) = (Writer::start(stage.tree), stage.probe.now());
    let done = AtomicBool::new(false);
    let (ran, placed) = std::thread::scope(|scope| {
        let placer = scope.spawn(|| place(stage, &done));
        let script = GUIDE.replace("sleep 60", "sleep 3").replace("sleep 120", "sleep 5");
        let ran = script::run(stage, &script, SCRIPT);
        done.store(true, Ordering::Relaxed);
        (ran, placer.join().unwrap_or((0, usize::MAX)))
    });
    let (ran, written) = (ran?, writer.finish());
    stage.say(&format!(
        "the script of guide 4.2:\n{}\n    exit {:?}, {:.0} s",
        ran.told(),
        ran.exit,
        ran.took.as_secs_f64()
    ));
    stage.say(&format!("a client placed {} VMs, {} were refused", placed.0, placed.1));
    if ran.exit != Some(0) {
        return Err(Failure::new("the script did not end with exit 0"));
    }
    for region in &stage.regions {
        let version = version_of(stage, region);
        if version != NEXT {
            return Err(Failure::new(format!("{region} runs version {version} after the script")));
        }
    }
    boots(stage, &before, (began, stage.probe.now()))?;
    stage.check_written(&written, &stage.regions)?;
    let level = wait_until(Duration::from_secs(20), Duration::from_millis(500), || {
        releases(stage).is_ok_and(|releases| releases["level"] == 2)
    });
    stage.say(&format!("the next level is in force: {level}"));
    match (written.failed, placed.1, level) {
        (0, 0, true) => Ok(()),
        _ => Err(Failure::new(format!(
            "{} writes and {} placements failed; level raised: {level}",
            written.failed, placed.1
        ))),
    }
}

/// Makes a VM and removes it, again and again; how many were made, and how many could not be.
fn place(stage: &Stage, done: &AtomicBool) -> (usize, usize) {
    let (mut made, mut failed) = (0, 0);
    let mut last: Option<Instant> = None;
    while !done.load(Ordering::Relaxed) {
        if last.is_some_and(|at| at.elapsed() < PLACE_EVERY) {
            std::thread::sleep(Duration::from_millis(200));
            continue;
        }
        last = Some(Instant::now());
        let name = format!("drill-place-{made}-{failed}");
        match stage.cli(&["vm", "create", "--name", &name, "--detach"]) {
            Ok(output) if output.status.success() => made += 1,
            other => {
                failed += 1;
                stage.say(&format!("{name}: {}", other.as_ref().map(told).unwrap_or_default()));
                continue;
            }
        }
        let removed = stage.cli(&["vm", "delete", &name, "--yes", "--detach"]);
        if !removed.is_ok_and(|output| output.status.success()) {
            failed += 1;
        }
    }
    (made, failed)
}

/// That every VM answered under one boot all the while, wherever it moved.
fn boots(stage: &Stage, before: &BTreeMap<String, Vm>, window: (Duration, Duration)) -> Result<(), Failure> {
    let book = stage.probe.book();
    for (name, vm) in before {
        let boots = book.get(&vm.id).into_iter().flat_map(|boots| boots.values());
        let here = boots.filter(|boot| {
            boot.answers.iter().any(|(sent, answered)| *sent >= window.0 && *answered <= window.1)
        });
        let ids: BTreeSet<&str> = here.map(|boot| boot.id.as_str()).collect();
        if ids.len() != 1 {
            return Err(Failure::new(format!("{name} answered under {} boots", ids.len())));
        }
    }
    stage.say(&format!("{} VMs answered under one boot each", before.len()));
    Ok(())
}

/// At each step of an upgrade, the node that leads the federation's group dies while another region is upgraded; whoever leads
/// after it brings the upgrade to the same end.
fn leader_dies(stage: &Stage) -> Result<(), Failure> {
    for (step, version, ends) in [
        ("begun", "3.2.0-exits", "failed"),
        ("going over", "3.2.0-exits", "failed"),
        ("on trial", "3.2.0-hangs", "failed"),
        ("on trial", NEXT, "done"),
    ] {
        leader_dies_when(stage, step, version, ends)?;
    }
    Ok(())
}

fn leader_dies_when(stage: &Stage, step: &str, version: &str, ends: &str) -> Result<(), Failure> {
    let status = stage.json_at(&stage.regions[0], &["federation", "status", "--global"])?;
    let leader = status["leader"].as_str().unwrap_or_default().to_owned();
    let target = stage.other_than(&[&leader]);
    may_go(stage, &target)?;
    let before = version_of(stage, &target);
    let begun = upgrade_of(stage, &target, version, &["--detach"])?;
    if !begun.status.success() {
        return Err(Failure::new(format!("upgrade --detach: {}", told(&begun))));
    }
    let operation = told(&begun);
    let there = wait_until(Duration::from_secs(20), Duration::from_millis(20), || {
        step == "begun" || step_of(&operation_of(stage, &operation)) == step
    });
    let at = step_of(&operation_of(stage, &operation));
    process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd" && one.region == leader);
    // A program on trial needs a majority only, and may not listen; before that nobody goes over while a voter is away.
    let on_trial = step == "on trial";
    if !on_trial {
        std::thread::sleep(Duration::from_secs(3));
        stage.heal(&[])?;
    }
    let mut last = String::new();
    let ended = wait_until(Duration::from_secs(240), Duration::from_secs(1), || {
        last = operation_of(stage, &operation)["state"].as_str().unwrap_or_default().to_owned();
        !matches!(last.as_str(), "" | "running" | "waiting")
    });
    if on_trial {
        stage.heal(&[])?;
    }
    let (mut after, wanted) = (String::new(), if ends == "done" { version } else { &before });
    // Whoever is asked may have come back a moment ago.
    wait_until(Duration::from_secs(10), Duration::from_millis(500), || {
        after = version_of(stage, &target);
        after == wanted
    });
    stage.say(&format!(
        "{leader} led and died over the upgrade of {target} to {version}, which was {at}: {last}, it runs {after}"
    ));
    match there && ended && last == ends && after == wanted {
        true => Ok(()),
        false => Err(Failure::new(format!("an upgrade whose leader died when it was {step} must be {ends}"))),
    }
}

/// An operation as the API shows it; nothing when nobody says.
fn operation_of(stage: &Stage, operation: &str) -> Value {
    let output = stage.cli(&["operation", "show", operation, "--format", "json"]);
    output.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok()).unwrap_or_default()
}

/// The step that an upgrade is at, from what it shows. A program that does nothing does not say that it is on trial.
fn step_of(shown: &Value) -> &'static str {
    let left = shown["left"].to_string();
    match shown["state"].as_str() {
        Some("running") if left.contains("is on trial") || left.contains("has been silent") => "on trial",
        Some("running") if shown["done"].as_u64() > Some(0) => "going over",
        Some("running") => "begun",
        Some(_) => "ended",
        None => "",
    }
}

/// A program that does not work is tried and goes, and its region is as before.
fn rolled_back(stage: &Stage, version: &str, what: &str) -> Result<(), Failure> {
    let region = &stage.regions[1];
    let before = version_of(stage, region);
    let began = Instant::now();
    let output = upgrade_of(stage, region, version, &[])?;
    let after = version_of(stage, region);
    stage.say(&format!(
        "a program that {what}: exit {}, {:.1} s; {region} runs {after}: {}",
        output.status.code().unwrap_or(-1),
        began.elapsed().as_secs_f64(),
        told(&output)
    ));
    if output.status.code() != Some(1) || !told(&output).contains("rolled back") || before != after {
        return Err(Failure::new(format!("a program that {what} must be rolled back, with exit 1")));
    }
    Ok(())
}

/// What must be refused: a version nobody published, a part of the process, and a quorum at risk.
fn refused(stage: &Stage) -> Result<(), Failure> {
    let region = &stage.regions[1];
    let expect = |what: &str, output: Output, exit: i32| {
        stage.say(&format!("{what}: exit {}: {}", output.status.code().unwrap_or(-1), told(&output)));
        let wanted = output.status.code() == Some(exit);
        if wanted { Ok(()) } else { Err(Failure::new(format!("{what} must end with exit {exit}"))) }
    };
    expect("an unknown version", upgrade_of(stage, region, "v9.9.9", &[])?, 3)?;
    expect("one part", upgrade_of(stage, region, NEXT, &["--component", "controller"])?, 2)?;
    expect("a dry run", upgrade_of(stage, region, NEXT, &["--dry-run"])?, 0)?;
    let away = &stage.regions[2];
    process::stop(&stage.tree.dev, Duration::ZERO, |one| one.program == "dwcpd" && one.region == *away);
    std::thread::sleep(Duration::from_secs(4));
    let risky = upgrade_of(stage, region, NEXT, &[])?;
    if !told(&risky).contains(away.as_str()) {
        return Err(Failure::new(format!("nothing is said of {away}: {}", told(&risky))));
    }
    expect(&format!("with {away} away"), risky, 5)?;
    stage.heal(&[])?;
    may_go(stage, region)
}

/// Waits until everybody is heard again and a region could be upgraded.
fn may_go(stage: &Stage, region: &str) -> Result<(), Failure> {
    let ready = wait_until(Duration::from_secs(60), Duration::from_secs(1), || {
        upgrade_of(stage, region, NEXT, &["--dry-run"]).is_ok_and(|output| output.status.success())
    });
    if ready { Ok(()) } else { Err(Failure::new(format!("{region} could not be upgraded within 60 s"))) }
}

fn upgrade_of(stage: &Stage, region: &str, version: &str, more: &[&str]) -> Result<Output, Failure> {
    let mut cli = demo::cli(stage.tree);
    let asked = stage.other_than(&[region, &stage.regions[2]]);
    cli.args(["--endpoint", &api_url(stage.number(&asked)), "--timeout", PATIENCE]);
    cli.args(["federation", "region", "upgrade", "--region", region, "--version", version]).args(more);
    capture(&mut cli)
}

fn version_of(stage: &Stage, region: &str) -> String {
    let status =
        stage.json_at(&stage.other_than(&[region]), &["federation", "region", "status", "--region", region]);
    let status = status.unwrap_or_default();
    status["summary"]["version"].as_str().unwrap_or("unknown").to_owned()
}

fn releases(stage: &Stage) -> Result<Value, Failure> {
    stage.json_at(&stage.regions[0], &["federation", "release", "list"])
}

/// Builds the next version, makes two that do not work, and publishes all three; waits until every region has them.
fn publish_all(stage: &Stage, folder: &Path) -> Result<(), Failure> {
    let next = folder.join("dwcpd");
    build_next(stage, &next)?;
    publish(stage, &next, &next, &[])?;
    for (name, script) in [("exits", "#!/bin/sh\nexit 3\n"), ("hangs", "#!/bin/sh\nexec sleep 1000\n")] {
        let path = folder.join(name);
        std::fs::write(&path, script).map_err(|e| fault("cannot write", &path, &e))?;
        let version = format!("{NEXT}-{name}");
        let path_text = path.display().to_string();
        let described = ["--program", &path_text, "--version", &version, "--level", "1"];
        publish(stage, &stage.tree.binary("dwcpd"), &path, &described)?;
    }
    let began = Instant::now();
    let mut last = String::new();
    let there = wait_until(Duration::from_secs(180), Duration::from_millis(500), || {
        let Ok(releases) = releases(stage) else { return false };
        last = releases.to_string();
        let items = releases["items"].as_array().cloned().unwrap_or_default();
        items.len() == 3
            && items.iter().all(|of| of["here"].as_array().is_some_and(|at| at.len() == stage.regions.len()))
    });
    stage.say(&format!("three programs are in every region after {:.1} s", began.elapsed().as_secs_f64()));
    if there { Ok(()) } else { Err(Failure::new(format!("not every region has the programs: {last}"))) }
}

/// Signs a program with `by` and hands it in.
fn publish(stage: &Stage, by: &Path, program: &Path, described: &[&str]) -> Result<(), Failure> {
    let (key, signed) = (stage.tree.dev.join("release.key"), program.with_extension("release"));
    let mut sign = command(by);
    sign.arg("sign-release").arg("--key").arg(&key).arg("--out").arg(&signed).args(described);
    run(&mut sign)?;
    let mut cli = demo::cli(stage.tree);
    cli.args(["--endpoint", &api_url(1), "--timeout", PATIENCE, "federation", "release", "publish"]);
    let said = text_of(cli.arg(program).arg("--signed").arg(&signed))?;
    stage.say(said.trim());
    Ok(())
}

/// The next version of `dwcpd`, from this tree; what is there and newer than the present one stays.
fn build_next(stage: &Stage, out: &Path) -> Result<(), Failure> {
    let (kept, present) = (stage.tree.target.join("next/dwcpd"), stage.tree.binary("dwcpd"));
    let built_at = |path: &PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    if built_at(&kept) < built_at(&present) {
        stage.say("building the next version of dwcpd");
        let build = || {
            let mut build = up::building(stage.tree);
            build.args(["--quiet", "--bin", "dwcpd"]);
            build
        };
        run(build().args(["--features", "dwcp-server/next"]))?;
        let folder = stage.tree.target.join("next");
        std::fs::create_dir_all(&folder).map_err(|e| fault("cannot create", &folder, &e))?;
        let copied = std::fs::copy(&present, &kept);
        // The present version is in its place again, whatever becomes of the copy.
        run(&mut build())?;
        copied.map_err(|e| fault("cannot copy to", &kept, &e))?;
    }
    let stripped = run(command("strip").arg("-o").arg(out).arg(&kept));
    if stripped.is_err() {
        std::fs::copy(&kept, out).map_err(|e| fault("cannot copy to", out, &e))?;
    }
    std::fs::set_permissions(out, std::fs::Permissions::from_mode(0o755))
        .map_err(|e| fault("cannot change", out, &e))
}
