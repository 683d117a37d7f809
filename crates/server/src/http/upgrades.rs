//! Programs that regions can be upgraded to, and upgrades.

use dwcp_api::Problem;
use dwcp_api::operation::{Step, StepState};
use dwcp_api::upgrade::{
    RegionUpgrade, RegionUpgradeRequest, RegionUpgraded, Release as ApiRelease, ReleaseList,
    ReleaseListRequest, ReleasePublish, ReleasePublishRequest, ReleaseUpload, ReleaseUploadRequest,
    ReleaseUploaded, Releases,
};
use dwcp_roles::node::{Reply, Request, UpgradeRequest};
use dwcp_state::{Operation, OperationState, Release, Upgrade, UpgradeStep};
use dwcp_types::{Code, Refusal, is_sha256};

use super::call::{Call, bad_value, unexpected};
use super::routes::Serve;
use super::{names, operations};
use crate::handle::View;
use crate::program::signature;

/// What a region's node is made of, by the names that people know.
const PARTS: [&str; 3] = ["controller", "state-manager", "monitor"];
/// Names that stand for more, or for what is not there.
const OTHERS: [&str; 3] = ["router", "all", "dwcpd"];

fn show(view: &View<'_>, release: &Release) -> ApiRelease {
    let with = |has: &dyn Fn(&dwcp_roles::node::Program) -> bool| {
        let regions = view.node.regions().iter();
        regions
            .filter(|(node, _)| view.node.program_of(**node).is_some_and(|program| has(&program)))
            .map(|(_, region)| region.to_string())
            .collect()
    };
    ApiRelease {
        version: release.version.clone(),
        level: release.level,
        sha256: release.sha256.clone(),
        bytes: release.bytes,
        platform: release.platform.clone(),
        by: release.by.clone(),
        published_at_ms: release.at.0,
        here: with(&|program| program.has.contains(&release.sha256)),
        runs: with(&|program| program.sha256 == release.sha256),
    }
}

fn plain(version: &str) -> String {
    version.strip_prefix('v').unwrap_or(version).to_owned()
}

impl Serve for ReleaseList {
    async fn answer(call: &Call, _request: ReleaseListRequest) -> Result<Releases, Problem> {
        call.look(|view| {
            let core = &view.node.facts().core;
            let mut releases: Vec<&Release> = core.releases.values().collect();
            releases.sort_by_key(|release| std::cmp::Reverse(release.revision));
            Releases {
                level: core.level,
                items: releases.into_iter().map(|release| show(view, release)).collect(),
            }
        })
        .await
    }
}

impl Serve for ReleaseUpload {
    async fn answer(call: &Call, request: ReleaseUploadRequest) -> Result<ReleaseUploaded, Problem> {
        let ReleaseUploadRequest { sha256, offset, hex } = request;
        if !is_sha256(&sha256) {
            return Err(bad_value("sha256", "64 hexadecimal digits in lower case"));
        }
        if offset.saturating_add(hex.len() as u64 / 2) > Release::LARGEST {
            return Err(bad_value("offset", format!("a program has at most {} bytes", Release::LARGEST)));
        }
        let bytes = signature::unhex(&hex).ok_or_else(|| bad_value("hex", "pairs of hexadecimal digits"))?;
        let programs = call.api.programs.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let path = programs.path(&sha256);
            if let Ok(found) = std::fs::metadata(&path) {
                return Ok(ReleaseUploaded { sha256, bytes: found.len(), whole: true });
            }
            let bytes = programs.add(&sha256, offset, &bytes)?;
            Ok(ReleaseUploaded { sha256, bytes, whole: false })
        });
        let kept: std::io::Result<ReleaseUploaded> = kept.await.map_err(|_| super::call::stopping())?;
        kept.map_err(|error| unusable(&error))
    }
}

fn unusable(error: &std::io::Error) -> Problem {
    let refusal = Refusal::new(Code::ReleaseRefused, "the program can't be kept").because(error.to_string());
    Problem::from(&refusal.then("nothing was changed"))
}

impl Serve for ReleasePublish {
    async fn answer(call: &Call, request: ReleasePublishRequest) -> Result<ApiRelease, Problem> {
        let release = Release {
            version: plain(&request.version),
            level: request.level,
            sha256: request.sha256,
            bytes: request.bytes,
            platform: request.platform,
            key: request.key,
            signature: request.signature,
            ..Release::default()
        };
        if !is_sha256(&release.sha256) {
            return Err(bad_value("sha256", "64 hexadecimal digits in lower case"));
        }
        signature::check(&release, &call.api.upgrade_keys).map_err(|refusal| Problem::from(&refusal))?;
        let (programs, sha256) = (call.api.programs.clone(), release.sha256.clone());
        let finished = tokio::task::spawn_blocking(move || programs.finish(&sha256)).await;
        finished.map_err(|_| super::call::stopping())?.map_err(|error| unusable(&error))?;
        let version = release.version.clone();
        call.change(Request::PublishRelease(call.asked(), Box::new(release))).await?;
        call.find(move |view| {
            let found = view.node.facts().core.releases.get(&version);
            found.map(|release| show(view, release)).ok_or_else(super::call::stopping)
        })
        .await
    }
}

/// All parts of a region's node, or none: they are one process.
fn check_parts(named: &[String]) -> Result<(), Problem> {
    let known = |name: &&String| PARTS.contains(&name.as_str()) || OTHERS.contains(&name.as_str());
    if let Some(other) = named.iter().find(|name| !known(name)) {
        return Err(bad_value(
            "components",
            format!("'{other}' is none of {}, router, all", PARTS.join(", ")),
        ));
    }
    let whole = named.iter().any(|name| name == "all" || name == "dwcpd")
        || PARTS.iter().all(|part| named.iter().any(|name| name == part));
    if whole {
        return Ok(());
    }
    let why = format!("{} run as one process here: name all of them, or all", PARTS.join(", "));
    Err(bad_value("components", why))
}

impl Serve for RegionUpgrade {
    async fn answer(call: &Call, request: RegionUpgradeRequest) -> Result<RegionUpgraded, Problem> {
        if let Some(named) = &request.components {
            check_parts(named)?;
        }
        let (region, version) = (request.region.clone(), plain(&request.version));
        let asked = region.clone();
        let id = call.find(move |view| Ok(names::region(view, &asked)?.1.name.clone())).await?;
        let wanted = UpgradeRequest { region: id, version: version.clone(), dry_run: request.dry_run };
        match call.ask(Request::Upgrade(call.asked(), wanted)).await? {
            Reply::UpgradePlanned(Upgrade { before, .. }) => {
                // Only a dry run ends without an operation when the region runs something else.
                let already = !request.dry_run || before == version;
                Ok(RegionUpgraded { region, version, before, already, operation: None })
            }
            Reply::Done(_, receipt) => {
                let found = call.look(move |view| {
                    let id = receipt.operation?;
                    let core = &view.node.facts().core;
                    let before = core.upgrades().find(|(of, _)| of.id == id)?.1.before.clone();
                    Some((before, operations::show_id(view, id)?))
                });
                let (before, operation) = found.await?.ok_or_else(super::call::stopping)?;
                Ok(RegionUpgraded { region, version, before, already: false, operation: Some(operation) })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The steps of an upgrade.
pub fn steps(view: &View<'_>, operation: &Operation, upgrade: &Upgrade) -> Vec<Step> {
    let progress = view.node.progress(operation);
    let node = view.node.facts().core.regions.get(&upgrade.region).map(|region| region.number);
    let program = node.and_then(|node| view.node.program_of(node)).unwrap_or_default();
    let tried = program.sha256 == upgrade.sha256;
    // How far it is: fetching, going over, on trial.
    let at = match upgrade.step {
        UpgradeStep::Fetching => 0,
        UpgradeStep::Switching if tried => 2,
        UpgradeStep::Switching => 1,
    };
    let ended = operation.state != OperationState::Running;
    let names = ["the program is fetched and compared", "the node goes over to it", "it is well and stays"];
    let state = |step: usize| match operation.state {
        OperationState::Done => StepState::Done,
        OperationState::Running if step == at => StepState::Running,
        OperationState::Failed if step == at.max(1) => StepState::Failed,
        _ if step < at.max(usize::from(ended)) => StepState::Done,
        OperationState::Running => StepState::Waiting,
        _ => StepState::Skipped,
    };
    let note = |step: usize| match operation.state {
        OperationState::Running if step == at => progress.waiting.first().cloned().unwrap_or_default(),
        OperationState::Failed if step == at.max(1) => operation.result.clone(),
        _ => String::new(),
    };
    let step = |(number, name): (usize, &&str)| Step {
        name: (*name).to_owned(),
        state: state(number),
        done: u64::from(state(number) == StepState::Done),
        total: Some(1),
        note: note(number),
        took_ms: None,
    };
    names.iter().enumerate().map(step).collect()
}
