//! The configuration of the whole federation as a file, and back.

mod archive;
mod changes;
mod files;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_api::backup::BackupConfigure;
use dwcp_api::controller::ControllerConfigure;
use dwcp_api::controllers::ControllersScale;
use dwcp_api::freeze::FreezeSet;
use dwcp_api::image::{ImagePublish, ImagePublishRequest, ImageRemove};
use dwcp_api::maintenance::{MaintenanceCancel, MaintenanceSchedule};
use dwcp_api::page::Nothing;
use dwcp_api::policy::PoliciesSet;
use dwcp_api::protection::VmProtect;
use dwcp_api::region::{
    PlacementSwitchRequest, RegionDisable, RegionDisablePlacement, RegionEnable, RegionEnablePlacement,
    RegionTraffic,
};
use dwcp_api::settings::{Settings, SettingsRead};
use dwcp_api::site::{EndpointSet, RegionConfigure, RegionDecommission};
use dwcp_api::state::ReplicationConfigure;
use serde::Serialize;
use serde_json::json;

use super::Ended;
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::settings::write_atomically;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{ConfigurationCommand, Global};
use changes::{Act, Change};

/// Most bytes of a backup that are read.
const MOST_BYTES: u64 = 64 << 20;

pub fn run(session: &Session, command: &ConfigurationCommand) -> Ended {
    match command {
        ConfigurationCommand::Backup => backup(session),
        ConfigurationCommand::Restore(wanted) => restore(session, &wanted.input, wanted.reason.as_deref()),
    }
}

fn backup(session: &Session) -> Ended {
    let Some(path) = &session.global.output else {
        return Err(Failure::usage("--output is missing: the file to write")
            .suggest("dwcp-cli federation config backup --output config.tar.gz"));
    };
    let settings = session.call::<SettingsRead>(&Nothing {})?;
    let files = files::write(&settings);
    let cannot = |error: std::io::Error| {
        Failure::usage(format!("--output {} can't be written: {error}", path.display()))
    };
    let bytes = archive::pack(&files).map_err(cannot)?;
    if !session.global.dry_run {
        write_atomically(path, &bytes, 0o644).map_err(cannot)?;
    }
    let value = json!({ "federation": settings.federation, "output": path, "bytes": bytes.len(),
        "files": files.keys().collect::<Vec<_>>() });
    let (is, dry) = match session.global.dry_run {
        true => ("would be", " (dry run: nothing was written)"),
        false => ("is", ""),
    };
    let line = format!(
        "the configuration of {} {is} in {}: {} files, {} bytes{dry}",
        settings.federation,
        path.display(),
        files.len(),
        bytes.len()
    );
    // `--output` is where the backup goes, and not where the answer is written.
    let here = Session::new(Global { output: None, ..session.global.clone() });
    here.show(&Document::bare(&value, line).text_block(words::as_of(&settings.as_of)))?;
    Ok(Exit::Done)
}

/// What became of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Became {
    Done,
    /// In a dry run: its command has checked it.
    WouldChange,
    /// Its command refused.
    Refused,
    /// No command does it.
    Cannot,
}

#[derive(Debug, Serialize)]
struct Row {
    subject: String,
    #[serde(flatten)]
    field: changes::Field,
    outcome: Became,
    why: String,
}

fn restore(session: &Session, input: &Path, reason: Option<&str>) -> Ended {
    let wanted = read(input)?;
    let mut now = session.call::<SettingsRead>(&Nothing {})?;
    if now.federation != wanted.federation {
        let title = format!(
            "{} holds the configuration of the federation {}, and this is {}",
            input.display(),
            wanted.federation,
            now.federation
        );
        return Err(Failure::new(Exit::Refused, title).suggest("dwcp-cli --context NAME …"));
    }
    let why = reason.map_or_else(|| format!("restored from {}", name(input)), str::to_owned);
    let mut rows: Vec<Row> = Vec::new();
    for change in changes::difference(&wanted, &now, now_ms()) {
        let (outcome, said) = match carry_out(session, &change, &why) {
            Ok(()) if session.global.dry_run => (Became::WouldChange, String::new()),
            Ok(()) => (Became::Done, String::new()),
            Err(Refused::Cannot(why)) => (Became::Cannot, why),
            Err(Refused::Told(failure)) => (Became::Refused, told(&failure)),
        };
        let row = |field| Row { subject: change.subject.clone(), field, outcome, why: said.clone() };
        rows.extend(change.fields.iter().cloned().map(row));
    }
    if rows.iter().any(|row| row.outcome == Became::Done) {
        now = session.call::<SettingsRead>(&Nothing {})?;
        look_again(&mut rows, &changes::difference(&wanted, &now, now_ms()));
    }
    show(session, input, &wanted.federation, &rows)
}

/// What still differs was not put back, whatever its command said.
fn look_again(rows: &mut Vec<Row>, left: &[Change]) {
    for (change, field) in
        left.iter().flat_map(|change| change.fields.iter().map(move |field| (change, field)))
    {
        let of = |row: &&mut Row| row.subject == change.subject && row.field.setting == field.setting;
        let found = rows.iter_mut().rev().find(of);
        let why = "its command was accepted, and it is not so by now: look whether somebody else changes it";
        match found {
            Some(row) if row.outcome == Became::Done => {
                (row.outcome, row.why) = (Became::Refused, why.to_owned());
            }
            Some(_) => {}
            None => rows.push(Row {
                subject: change.subject.clone(),
                field: field.clone(),
                outcome: Became::Refused,
                why: "it has changed meanwhile".to_owned(),
            }),
        }
    }
}

fn name(input: &Path) -> String {
    input.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The file, checked as a whole before anything is asked or changed.
fn read(input: &Path) -> Result<Settings, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::usage(format!("--input {} can't be read: {error}", input.display()));
    if std::fs::metadata(input).map_err(unreadable)?.len() > MOST_BYTES {
        let most = MOST_BYTES >> 20;
        return Err(Failure::usage(format!("--input {} has more than {most} MiB", input.display())));
    }
    let bytes = std::fs::read(input).map_err(unreadable)?;
    let settings = archive::unpack(&bytes).and_then(|files| files::read(&files));
    settings.map_err(|why| {
        Failure::usage(format!("{} is no configuration to restore", input.display())).because(why)
    })
}

/// Why a difference stays.
enum Refused {
    Cannot(String),
    Told(Box<Failure>),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Told(Box::new(failure))
    }
}

/// A refusal on one line.
fn told(failure: &Failure) -> String {
    let problem = &failure.problem;
    let title = match problem.code.as_str() {
        "" => problem.title.clone(),
        code => format!("{code}: {}", problem.title),
    };
    problem.cause.iter().fold(title, |all, cause| format!("{all}; {cause}"))
}

/// Has the ordinary command undo a difference; in a dry run, has it check that.
fn carry_out(session: &Session, change: &Change, why: &str) -> Result<(), Refused> {
    let dry_run = session.global.dry_run;
    let reason = Some(why.to_owned());
    macro_rules! call {
        ($endpoint:ty, $request:expr, $type:ident with reason) => {
            session.call::<$endpoint>(&$type { reason, dry_run, ..$request }).map(|_| ())?
        };
        ($endpoint:ty, $request:expr, $type:ident) => {
            session.call::<$endpoint>(&$type { dry_run, ..$request }).map(|_| ())?
        };
    }
    use dwcp_api::{
        backup::BackupConfigureRequest, controller::ControllerConfigureRequest,
        controllers::ControllersScaleRequest, freeze::FreezeSetRequest, image::ImageRemoveRequest,
        maintenance::MaintenanceCancelRequest, maintenance::MaintenanceScheduleRequest,
        policy::PoliciesSetRequest, protection::VmProtectRequest, region::RegionDisableRequest,
        region::RegionEnableRequest, region::RegionTrafficRequest, site::DecommissionRequest,
        site::EndpointSetRequest, site::RegionConfigureRequest, state::ReplicationConfigureRequest,
    };
    match change.act.clone() {
        Act::Policies(request) => call!(PoliciesSet, *request, PoliciesSetRequest),
        Act::Controller(request) => call!(ControllerConfigure, request, ControllerConfigureRequest),
        Act::Replication(request) => call!(ReplicationConfigure, request, ReplicationConfigureRequest),
        Act::Freeze(request) => call!(FreezeSet, request, FreezeSetRequest with reason),
        Act::Backups(request) => call!(BackupConfigure, request, BackupConfigureRequest with reason),
        Act::Enable(request) => call!(RegionEnable, request, RegionEnableRequest with reason),
        Act::Disable(request) => call!(RegionDisable, request, RegionDisableRequest with reason),
        Act::Placement(region, on) => {
            let request = PlacementSwitchRequest { region, ..Default::default() };
            match on {
                true => call!(RegionEnablePlacement, request, PlacementSwitchRequest with reason),
                false => call!(RegionDisablePlacement, request, PlacementSwitchRequest with reason),
            }
        }
        Act::Traffic(request) => call!(RegionTraffic, request, RegionTrafficRequest with reason),
        Act::Configure(request) => call!(RegionConfigure, *request, RegionConfigureRequest with reason),
        Act::Endpoint(request) => call!(EndpointSet, request, EndpointSetRequest with reason),
        Act::Decommission(request) => call!(RegionDecommission, request, DecommissionRequest with reason),
        Act::Scale(request) => call!(ControllersScale, request, ControllersScaleRequest with reason),
        Act::Plan(request) => call!(MaintenanceSchedule, request, MaintenanceScheduleRequest),
        Act::CallOff(request) => call!(MaintenanceCancel, request, MaintenanceCancelRequest with reason),
        Act::Unpublish(request) => call!(ImageRemove, request, ImageRemoveRequest with reason),
        Act::Protect(request) => call!(VmProtect, *request, VmProtectRequest),
        Act::Publish(request, digest) => publish(session, request, &digest, reason)?,
        Act::Cannot(why) => return Err(Refused::Cannot(why.to_owned())),
    }
    Ok(())
}

/// Publishes an image again, only where hosts have what the name stood for.
fn publish(
    session: &Session,
    request: ImagePublishRequest,
    digest: &str,
    reason: Option<String>,
) -> Result<(), Refused> {
    let asked = ImagePublishRequest { reason, dry_run: true, ..request };
    let offered = session.call::<ImagePublish>(&asked)?.image.digest;
    if offered != digest {
        return Err(Refused::Cannot(format!("hosts have another image under that name: {offered}")));
    }
    if !session.global.dry_run {
        session.call::<ImagePublish>(&ImagePublishRequest { dry_run: false, ..asked })?;
    }
    Ok(())
}

fn show(session: &Session, input: &Path, federation: &str, rows: &[Row]) -> Ended {
    let left = rows.iter().filter(|row| matches!(row.outcome, Became::Refused | Became::Cannot)).count();
    let undone = rows.len() - left;
    let value = json!({ "federation": federation, "input": input, "dry_run": session.global.dry_run,
        "changes": rows, "left": left });
    let mut table = Table::new(&["WHAT", "SETTING", "NOW", "BACKUP", "OUTCOME"]);
    for row in rows {
        let outcome = match row.outcome {
            Became::Done => Cell::toned("done", Tone::Good),
            Became::WouldChange => Cell::from("would change"),
            Became::Refused => Cell::toned(format!("refused: {}", row.why), Tone::Bad),
            Became::Cannot => Cell::toned(format!("stays: {}", row.why), Tone::Warn),
        };
        let (before, after) = (words::text_or_dash(&row.field.before), words::text_or_dash(&row.field.after));
        table.row(vec![Cell::from(&row.subject), Cell::from(&row.field.setting), before, after, outcome]);
    }
    let settings =
        |count: usize| if count == 1 { "1 setting".to_owned() } else { format!("{count} settings") };
    let line = match (rows.is_empty(), session.global.dry_run) {
        (true, _) => format!("{federation} is configured as {} says", input.display()),
        (false, true) => format!(
            "{} would be put back, {left} would stay as they are (dry run: nothing was changed)",
            settings(undone)
        ),
        (false, false) => format!("{} put back, {left} left as they are", settings(undone)),
    };
    let document = Document::of(&value);
    let document = if rows.is_empty() { document } else { document.table(table) };
    session.show(&document.text_block(line))?;
    Ok(if left == 0 { Exit::Done } else { Exit::Partly })
}
