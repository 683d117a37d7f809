//! Versions of the control plane: published, listed, taken by a region.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dwcp_api::upgrade::{
    RegionUpgrade, RegionUpgradeRequest, Release, ReleaseList, ReleaseListRequest, ReleasePublish,
    ReleasePublishRequest, ReleaseUpload, ReleaseUploadRequest, Releases,
};

use super::operations::{exit_of, follow_within, show as show_operation};
use super::{Ended, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{RegionUpgradeArgs, ReleaseCommand};

/// Digits of a digest that people are shown.
const SHORT: usize = 12;
/// Bytes of a program in one request.
const PIECE: usize = 256 << 10;

pub fn run(session: &Session, command: &ReleaseCommand) -> Ended {
    match command {
        ReleaseCommand::List => read(session, || {
            let releases = session.call::<ReleaseList>(&ReleaseListRequest {})?;
            Ok((shown(&releases), Exit::Done))
        }),
        ReleaseCommand::Publish { file, signed, version } => {
            publish(session, file, signed.as_ref(), version.as_ref())
        }
    }
}

fn size(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn digest_cell(digest: &str) -> Cell {
    Cell { raw: Some(digest.to_owned()), ..Cell::from(digest.get(..SHORT).unwrap_or(digest)) }
}

fn shown(releases: &Releases) -> Document {
    let mut table =
        Table::new(&["VERSION", ">LEVEL", "DIGEST", ">SIZE", "PUBLISHED~2", "BY~1", ">HERE", "RUNS"])
            .or("no version is published");
    for release in &releases.items {
        table.row(vec![
            Cell::from(&release.version),
            release.level.into(),
            digest_cell(&release.sha256),
            size(release.bytes).into(),
            words::instant_or_dash(Some(release.published_at_ms)),
            Cell::from(&release.by),
            (release.here.len() as u64).into(),
            words::or_dash(Some(release.runs.join(", ")).filter(|regions| !regions.is_empty()).as_ref()),
        ]);
    }
    Document::of(releases).table(table).text_block(format!("level {} is in force", releases.level))
}

fn publish(session: &Session, file: &Path, signed: Option<&PathBuf>, version: Option<&String>) -> Ended {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::usage(format!("{} can't be read: {error}", path.display()))
    };
    let beside = PathBuf::from(format!("{}.release", file.display()));
    let signed = signed.unwrap_or(&beside);
    let text = std::fs::read(signed).map_err(|error| {
        unreadable(signed, &error)
            .suggest(format!("dwcpd sign-release --key FILE --out {}", signed.display()))
    })?;
    let release: ReleasePublishRequest =
        serde_json::from_slice(&text).map_err(|error| unreadable(signed, &error))?;
    let plain = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    if let Some(other) = version.filter(|wanted| plain(wanted) != plain(&release.version)) {
        let what = format!("--version: {other} is meant, and {} was signed", release.version);
        return Err(Failure::usage(what));
    }
    let mut bytes = Vec::new();
    let program = File::open(file).and_then(|mut program| program.read_to_end(&mut bytes));
    program.map_err(|error| unreadable(file, &error))?;
    if bytes.len() as u64 != release.bytes {
        let what = format!(
            "{} has {} bytes, and a program of {} was signed",
            file.display(),
            bytes.len(),
            release.bytes
        );
        return Err(Failure::usage(what).and_then("nothing was changed"));
    }
    if session.global.dry_run {
        let line = format!("version {} would be published{}", release.version, dry(session));
        session.show(&Document::bare(&release, line))?;
        return Ok(Exit::Done);
    }
    hand_in(session, &release.sha256, &bytes)?;
    let published: Release = session.call::<ReleasePublish>(&release)?;
    let line = format!(
        "version {} is published: level {}, {}, {}",
        published.version,
        published.level,
        size(published.bytes),
        published.sha256.get(..SHORT).unwrap_or(&published.sha256)
    );
    session.show(&Document::bare(&published, line))?;
    Ok(Exit::Done)
}

/// Sends what has not come yet, piece after piece, also when another server answers meanwhile.
fn hand_in(session: &Session, sha256: &str, bytes: &[u8]) -> Result<(), Failure> {
    let mut come = session.call::<ReleaseUpload>(&piece(sha256, 0, &[]))?;
    while !come.whole && (come.bytes as usize) < bytes.len() {
        let begin = come.bytes as usize;
        let end = bytes.len().min(begin + PIECE);
        come = session.call::<ReleaseUpload>(&piece(sha256, begin as u64, &bytes[begin..end]))?;
    }
    Ok(())
}

fn piece(sha256: &str, offset: u64, bytes: &[u8]) -> ReleaseUploadRequest {
    ReleaseUploadRequest { sha256: sha256.to_owned(), offset, hex: dwcp_types::hex(bytes) }
}

pub fn upgrade(session: &Session, wanted: &RegionUpgradeArgs) -> Ended {
    let request = RegionUpgradeRequest {
        region: wanted.region.clone(),
        version: wanted.version.clone(),
        components: wanted.component.clone().map(|words| words.0),
        dry_run: session.global.dry_run,
    };
    let upgraded = session.call::<RegionUpgrade>(&request)?;
    let Some(operation) = upgraded.operation.clone() else {
        let (region, version) = (&upgraded.region, &upgraded.version);
        let line = if upgraded.already {
            format!("{region} runs version {version} already")
        } else {
            format!(
                "{region} would go from version {} to {version}; nothing stands against it{}",
                upgraded.before,
                dry(session)
            )
        };
        session.show(&Document::bare(&upgraded, line))?;
        return Ok(Exit::Done);
    };
    if session.global.detach {
        session.show(&Document::of(&operation).text_block(operation.operation.clone()))?;
        return Ok(Exit::Done);
    }
    let within = session.global.timeout.map(Duration::from_millis);
    let ended = follow_within(session, operation, within)?;
    session.show(&show_operation(&ended))?;
    Ok(exit_of(&ended))
}
