//! Backups over the API of one region, into a folder of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_api::Endpoint;
use dwcp_api::backup::*;
use dwcp_api::event::{EventList, EventListRequest};
use dwcp_api::freeze::{FreezeSet, FreezeSetRequest, FreezeState};
use dwcp_api::operation::{Operation, OperationRead, OperationReadRequest, OperationState};
use dwcp_api::page::Nothing;
use dwcp_api::vm::{VmCreate, VmCreateRequest, VmDelete, VmDeleteRequest, VmRead, VmReadRequest};
use dwcp_backup::{FederationKey, Folder, Repository};
use dwcp_state::{Facts, Piece};

use crate::http_node::{ADMIN, Served, VIEWER};
use crate::scratch::Scratch;

fn ended(served: &Served, operation: &Operation) -> Operation {
    let began = Instant::now();
    loop {
        let read = OperationReadRequest { operation: operation.operation.clone(), watch: false };
        let now = served.call::<OperationRead>(&read).expect("it is kept").operation;
        if now.state.ended() {
            return now;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never ends: {now:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run<E: Endpoint<Response = BackupStarted>>(served: &Served, request: &E::Request) -> (Operation, String) {
    let started = served.call::<E>(request).expect("begun");
    let operation = ended(served, &started.operation.expect("an operation"));
    let note = operation.steps[0].note.clone();
    (operation, note)
}

fn configure(served: &Served, destination: &str) -> BackupConfigureRequest {
    BackupConfigureRequest {
        // Long enough that none is made by itself after the first.
        interval_ms: 3_600_000,
        keep_last: Some(2),
        destination: destination.to_owned(),
        key_file: Some(served.backup_key.display().to_string()),
        ..Default::default()
    }
}

fn status(served: &Served) -> BackupStatus {
    served.call::<BackupStatusRead>(&Nothing {}).expect("status")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn make(served: &Served, kind: BackupKind) -> (Operation, String) {
    run::<BackupCreate>(served, &BackupCreateRequest { kind: Some(kind), ..Default::default() })
}

/// Every object of a destination whose name begins so.
fn objects(root: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.join(part)];
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.map(|entry| entry.expect("an entry").path())),
            Err(_) => found.push(path),
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in objects(from, "") {
        let target = to.join(file.strip_prefix(from).expect("inside"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        fs::copy(&file, &target).expect("copied");
    }
}

#[test]
fn the_first_backup_is_made_at_once_and_holds_every_fact_of_every_group() {
    let (served, scratch) = (Served::start("backup-first").with_backup_key(), Scratch::new("backup-first"));
    let root = scratch.path().join("state");
    assert_eq!(status(&served).state, BackupState::NotConfigured);
    let create = VmCreateRequest { name: "web".to_owned(), ..Default::default() };
    served.call::<VmCreate>(&create).expect("a VM");
    let before = served.call::<BackupCreate>(&BackupCreateRequest::default()).expect_err("no plan");
    assert_eq!((before.code.as_str(), before.status), ("DWCP-R0084", 409));

    let destination = format!("file://{}", root.display());
    let planned = served.call::<BackupConfigure>(&configure(&served, &destination)).expect("configured");
    let plan = planned.plan.expect("a plan");
    assert_eq!((plan.destination.as_str(), plan.by.as_str()), (destination.as_str(), "admin"));
    until("the first backup", || status(&served).newest_verified.is_some());
    let now = status(&served);
    assert_eq!((now.state, now.newest.map(|mark| mark.backup)), (BackupState::InTime, Some(1)));
    assert_eq!((now.runs[0].by.as_str(), now.runs[0].task), ("dwcp", BackupTask::Incremental));

    let (made, note) = make(&served, BackupKind::Incremental);
    assert_eq!((made.state, made.related.as_deref()), (OperationState::Done, Some("2")), "{note}");
    assert!(note.contains("read again, whole"), "{note}");
    let listing = served.call::<BackupList>(&BackupListRequest::default()).expect("list");
    assert_eq!((listing.backups.len(), listing.faults.len()), (2, 0));
    let newest = &listing.backups[1];
    assert_eq!((newest.kind, newest.parent), (BackupKind::Incremental, Some(1)));
    assert!(newest.revisions["federation"] > 0 && newest.revisions["us-east-1"] > 0);

    // What lies there, opened without any server, is the facts.
    let key = FederationKey::read_file(&served.backup_key).expect("the key");
    let folder = Arc::new(Folder::open(&root).expect("the folder"));
    let repository = Repository::open(folder, "test", key).expect("it opens");
    let (_, records) = repository.restore(Some(2)).expect("there");
    let (mut core, mut region) = (Vec::new(), Vec::new());
    for record in records {
        let record = record.expect("whole");
        let name = String::from_utf8(record.key).expect("a name");
        let piece = Piece { name, bytes: record.value };
        if record.group == 0 { core.push(piece) } else { region.push(piece) }
    }
    let Ok(Facts::Core(core)) = Facts::of_pieces(true, &core) else { panic!("the federation's facts") };
    let Ok(Facts::Region(region)) = Facts::of_pieces(false, &region) else { panic!("the region's facts") };
    assert_eq!((core.name.as_str(), core.tokens.len()), ("test", 3));
    assert_eq!(core.backups.places[&destination].newest.map(|mark| mark.number), Some(1));
    assert!(region.vms.values().any(|vm| vm.name == "web"));
    // Nothing of it can be read without the key, the key itself nowhere.
    for file in objects(&root, "") {
        let bytes = fs::read(&file).expect("an object");
        for word in ["us-east-1", "web", "token-admin"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} in {file:?}");
        }
    }
    let secret = fs::read_to_string(&served.backup_key).expect("the key");
    let secret = secret.lines().nth(2).expect("its third line").to_owned();
    let answers = ["/v1/backups", "/v1/backups/list", "/v1/events"];
    for target in answers {
        let body = String::from_utf8(served.get(target, ADMIN).body).expect("text");
        assert!(!body.contains(&secret), "{target}");
    }
}

#[test]
fn a_flipped_byte_is_refused_by_the_name_of_its_object_and_a_full_backup_helps() {
    let (served, scratch) = (Served::start("backup-flip").with_backup_key(), Scratch::new("backup-flip"));
    let root = scratch.path().join("state");
    let destination = format!("file://{}", root.display());
    served.call::<BackupConfigure>(&configure(&served, &destination)).expect("configured");
    until("the first backup", || status(&served).newest_verified.is_some());
    let all = BackupVerifyRequest { all: true, ..Default::default() };
    let (whole, note) = run::<BackupVerify>(&served, &all);
    assert_eq!(whole.state, OperationState::Done, "{note}");

    let pack = objects(&root, "packs").into_iter().find(|path| !path.ends_with("index")).expect("a pack");
    let mut bytes = fs::read(&pack).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&pack, &bytes).expect("written");
    let name = pack.strip_prefix(&root).expect("inside").display().to_string();
    for request in [all.clone(), BackupVerifyRequest::default()] {
        let (damaged, note) = run::<BackupVerify>(&served, &request);
        assert_eq!(damaged.state, OperationState::Failed);
        assert!(note.contains(&name), "{note} does not name {name}");
    }
    let events = served.call::<EventList>(&EventListRequest::default()).expect("events").items;
    assert!(events.iter().any(|event| event.kind == "backup.damaged" && event.message.contains(&name)));

    // An incremental one would use what is damaged: it is made, read again, and does not count as verified.
    let (incremental, note) = make(&served, BackupKind::Incremental);
    assert_eq!(incremental.state, OperationState::Failed);
    assert!(note.contains(&name), "{note}");
    let (full, note) = make(&served, BackupKind::Full);
    assert_eq!(full.state, OperationState::Done, "{note}");
    assert_eq!(
        status(&served).newest_verified.map(|mark| mark.backup),
        status(&served).newest.map(|mark| mark.backup)
    );
}

#[test]
fn a_destination_that_goes_back_in_time_or_is_emptied_is_found() {
    let (served, scratch) = (Served::start("backup-back").with_backup_key(), Scratch::new("backup-back"));
    let (root, old) = (scratch.path().join("state"), scratch.path().join("old"));
    let destination = format!("file://{}", root.display());
    served.call::<BackupConfigure>(&configure(&served, &destination)).expect("configured");
    until("the first backup", || status(&served).newest_verified.is_some());
    copy(&root, &old);
    let (made, note) = make(&served, BackupKind::Incremental);
    assert_eq!(made.state, OperationState::Done, "{note}");
    fs::remove_dir_all(&root).expect("removed");
    copy(&old, &root);
    let (back, note) = run::<BackupVerify>(&served, &BackupVerifyRequest::default());
    assert_eq!(back.state, OperationState::Failed, "{note}");
    assert!(note.contains("log/"), "{note}");
    let (more, note) = make(&served, BackupKind::Full);
    assert_eq!(
        more.state,
        OperationState::Failed,
        "nothing is written behind a chain that went back: {note}"
    );

    fs::remove_dir_all(&root).expect("removed");
    let (gone, note) = make(&served, BackupKind::Full);
    assert_eq!(gone.state, OperationState::Failed);
    assert!(note.contains("are gone"), "{note}");
    let again = served.call::<BackupConfigure>(&configure(&served, &destination)).expect_err("gone");
    assert_eq!(again.code, "DWCP-R0082");
    let elsewhere = format!("{destination}-anew");
    served.call::<BackupConfigure>(&configure(&served, &elsewhere)).expect("a new chain");
    until("a backup there", || status(&served).newest_verified.is_some());
}

#[test]
fn what_is_kept_is_what_retention_says_and_another_place_is_for_once() {
    let (served, scratch) = (Served::start("backup-keep").with_backup_key(), Scratch::new("backup-keep"));
    let root = scratch.path().join("state");
    let destination = format!("file://{}", root.display());
    served.call::<BackupConfigure>(&configure(&served, &destination)).expect("configured");
    until("the first backup", || status(&served).newest_verified.is_some());
    for _ in 0..2 {
        make(&served, BackupKind::Incremental);
    }
    let listing = served.call::<BackupList>(&BackupListRequest::default()).expect("list");
    let numbers: Vec<u64> = listing.backups.iter().map(|backup| backup.backup).collect();
    assert_eq!(numbers, [2, 3], "two are kept; entry 4 says so");
    assert!(listing.removed.is_some());
    let gone = BackupVerifyRequest { backup: Some(1), ..Default::default() };
    let (gone, note) = run::<BackupVerify>(&served, &gone);
    assert_eq!(gone.state, OperationState::Failed, "{note}");

    let once = scratch.path().join("state-20261128-120000.db");
    let place = Some(once.display().to_string());
    let request = BackupCreateRequest {
        kind: Some(BackupKind::Full),
        destination: place.clone(),
        ..Default::default()
    };
    let dry = BackupCreateRequest { dry_run: true, ..request.clone() };
    assert!(served.call::<BackupCreate>(&dry).expect("a preview").operation.is_none());
    assert!(!once.exists());
    let (made, note) = run::<BackupCreate>(&served, &request);
    assert_eq!(made.state, OperationState::Done, "{note}");
    let list = BackupListRequest { destination: place.clone() };
    assert_eq!(served.call::<BackupList>(&list).expect("list").backups.len(), 1);
    let refused = served.call_as::<BackupList>(&list, VIEWER, None).expect_err("a place of one's own");
    assert_eq!(refused.code, "DWCP-R0021");
    let verify = BackupVerifyRequest { destination: place, ..Default::default() };
    assert_eq!(run::<BackupVerify>(&served, &verify).0.state, OperationState::Done);
    assert_eq!(status(&served).newest.map(|mark| mark.backup), Some(3), "of the plan's destination");
}

#[test]
fn what_can_not_be_is_refused_before_anything_changes() {
    let (served, scratch) = (Served::start("backup-wrong").with_backup_key(), Scratch::new("backup-wrong"));
    let root = scratch.path().join("state");
    let good = configure(&served, &format!("file://{}", root.display()));
    let wrong = |change: &dyn Fn(&mut BackupConfigureRequest)| {
        let mut asked = good.clone();
        change(&mut asked);
        let problem = served.call::<BackupConfigure>(&asked).expect_err("refused");
        assert_eq!(status(&served).state, BackupState::NotConfigured);
        (problem.code, problem.field.unwrap_or_default())
    };
    let field = |name: &str| ("DWCP-R0003".to_owned(), name.to_owned());
    let code = |code: &str| (code.to_owned(), String::new());
    assert_eq!(wrong(&|asked| asked.interval_ms = 59_999), field("interval_ms"));
    assert_eq!(wrong(&|asked| asked.keep_last = Some(0)), field("keep_last"));
    assert_eq!(wrong(&|asked| asked.keep_last = None), field("keep_last"));
    assert_eq!(
        wrong(&|asked| (asked.keep_last, asked.keep_within_ms) = (None, Some(1_000))),
        field("keep_within_ms")
    );
    assert_eq!(wrong(&|asked| asked.encryption = Some("rot13".to_owned())), field("encryption"));
    for place in ["backups", "ftp://x", "s3://", "file://"] {
        assert_eq!(wrong(&|asked| asked.destination = place.to_owned()), field("destination"));
    }
    assert_eq!(wrong(&|asked| asked.key_file = Some("backup.key".to_owned())), field("key_file"));
    assert_eq!(wrong(&|asked| asked.key_file = Some("/nowhere/backup.key".to_owned())), code("DWCP-R0080"));
    let open = scratch.path().join("open.key");
    fs::copy(&served.backup_key, &open).expect("copied");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("ours");
    let open = Some(open.display().to_string());
    assert_eq!(wrong(&|asked| asked.key_file.clone_from(&open)), code("DWCP-R0080"));
    assert_eq!(wrong(&|asked| asked.destination = "file:///proc/none".to_owned()), code("DWCP-R0081"));
    assert_eq!(
        wrong(&|asked| asked.destination = "s3://bucket/x".to_owned()),
        code("DWCP-R0081"),
        "no access key"
    );
    let full = scratch.path().join("full");
    fs::create_dir_all(full.join("other")).expect("made");
    fs::write(full.join("other/thing"), "x").expect("written");
    let occupied = format!("file://{}", full.display());
    assert_eq!(wrong(&|asked| asked.destination.clone_from(&occupied)), code("DWCP-R0081"));

    let dry = BackupConfigureRequest { dry_run: true, ..good.clone() };
    assert!(served.call::<BackupConfigure>(&dry).expect("a preview").plan.is_some());
    assert!(!root.exists() && status(&served).plan.is_none());
    let viewer = served.call_as::<BackupConfigure>(&good, VIEWER, None).expect_err("not a viewer's");
    assert_eq!(viewer.code, "DWCP-R0021");
    served.call::<BackupConfigure>(&good).expect("configured");
    until("the first backup", || status(&served).newest_verified.is_some());

    // Another key than what lies there was sealed with.
    let other = scratch.path().join("other.key");
    FederationKey::random().write_file(&other).expect("a key");
    let other = BackupConfigureRequest { key_file: Some(other.display().to_string()), ..good.clone() };
    assert_eq!(served.call::<BackupConfigure>(&other).expect_err("another key").code, "DWCP-R0080");
    let stale = BackupConfigureRequest { expected_revision: Some(1), ..good.clone() };
    assert_eq!(served.call::<BackupConfigure>(&stale).expect_err("stale").code, "DWCP-R0032");
    assert_eq!(status(&served).plan.expect("as before").destination, format!("file://{}", root.display()));
}

#[test]
fn a_passphrase_in_a_file_seals_backups_too() {
    let (served, scratch) = (Served::start("backup-phrase").with_backup_key(), Scratch::new("backup-phrase"));
    let file = scratch.path().join("phrase");
    fs::write(&file, "correct horse battery staple\n").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
    let destination = format!("file://{}", scratch.path().join("state").display());
    let asked = BackupConfigureRequest {
        key_file: Some(file.display().to_string()),
        ..configure(&served, &destination)
    };
    let first = served.call::<BackupConfigure>(&asked).expect("configured").plan.expect("a plan").key_id;
    until("the first backup", || status(&served).newest_verified.is_some());
    let again = served.call::<BackupConfigure>(&asked).expect("the same again").plan.expect("a plan").key_id;
    assert_eq!(first, again);
    fs::write(&file, "wrong\n").expect("written");
    assert_eq!(served.call::<BackupConfigure>(&asked).expect_err("wrong").code, "DWCP-R0080");
}

#[test]
fn frozen_federations_are_backed_up_too() {
    let (served, scratch) = (Served::start("backup-frozen").with_backup_key(), Scratch::new("backup-frozen"));
    let frozen = FreezeSetRequest { state: FreezeState::Frozen, ..Default::default() };
    served.call::<FreezeSet>(&frozen).expect("frozen");
    let destination = format!("file://{}", scratch.path().join("state").display());
    served.call::<BackupConfigure>(&configure(&served, &destination)).expect("configured");
    until("the first backup", || status(&served).newest_verified.is_some());
}

fn restore(served: &Served, only: Option<&str>, dry_run: bool) -> Result<BackupRestored, dwcp_api::Problem> {
    let only = only.map(str::to_owned);
    served.call::<BackupRestore>(&BackupRestoreRequest { only, dry_run, ..Default::default() })
}

#[test]
fn a_restore_is_shown_record_by_record_and_one_vm_comes_back_as_a_new_one() {
    let (served, scratch) =
        (Served::start("backup-restore").with_backup_key(), Scratch::new("backup-restore"));
    let destination = format!("file://{}", scratch.path().join("state").display());
    let labels = [("tier".to_owned(), "front".to_owned())].into();
    let web = VmCreateRequest { name: "web".to_owned(), vcpus: Some(2), labels, ..Default::default() };
    let first = served.call::<VmCreate>(&web).expect("a VM").vms.remove(0);
    served.call::<BackupConfigure>(&configure(&served, &destination)).expect("configured");
    until("the first backup", || status(&served).newest_verified.is_some());
    let later = VmCreateRequest { name: "later".to_owned(), ..Default::default() };
    let later = served.call::<VmCreate>(&later).expect("a VM").vms.remove(0);
    let delete = VmDeleteRequest { vm: "web".to_owned(), ..Default::default() };
    served.call::<VmDelete>(&delete).expect("deleted");

    let shown = restore(&served, None, true).expect("a difference");
    assert_eq!((shown.backup, &shown.vm, shown.left_out), (1, &None, 0));
    assert!(shown.records.is_sorted_by_key(|one| (one.group != "federation", one.record.clone())));
    let of = |record: &str| shown.records.iter().find(|one| one.record == record);
    let gone = of(&format!("vms/{}", later.vm)).expect("it would go");
    assert_eq!((gone.change, gone.name.as_deref()), (RecordChange::Removed, Some("later")));
    if let Some(changed) = of(&format!("vms/{}", first.vm)) {
        // Nobody has taken it away yet.
        let want = changed.fields.iter().find(|field| field.field == "want").expect("it is deleted");
        assert_eq!((want.now.as_deref(), want.backup.as_deref()), (Some("Deleted"), Some("Running")));
    }
    assert!(shown.counted.iter().any(|count| count.records == "events" && count.removed > 0));
    let secrets = serde_json::to_string(&shown).expect("text");
    assert!(!secrets.contains("secret_hash"), "{secrets}");

    let refused = restore(&served, None, false).expect_err("as a whole");
    assert_eq!(refused.code, "DWCP-R0035");
    assert_eq!(restore(&served, Some("vm/none"), true).expect_err("no such VM").code, "DWCP-R0011");
    assert_eq!(restore(&served, Some("policy"), true).expect_err("no VM").code, "DWCP-R0003");
    let dry = restore(&served, Some("vm/web"), true).expect("it would come back");
    assert_eq!((dry.records.len(), dry.vm), (1, None));
    let back = restore(&served, Some("vm/web"), false).expect("it comes back");
    let id = back.vm.expect("a VM");
    assert_ne!(id, first.vm, "nothing that was given out for the first is given out again");
    let vm = served.call::<VmRead>(&VmReadRequest { vm: "web".to_owned(), watch: false }).expect("there").vm;
    assert_eq!((vm.vm.as_str(), vm.generation, vm.vcpus), (id.as_str(), 1, 2));
    assert_eq!(vm.labels["tier"], "front");
    assert_eq!(restore(&served, Some("vm/web"), false).expect_err("it is there").code, "DWCP-R0033");
    let viewer = BackupRestoreRequest { dry_run: true, ..Default::default() };
    let refused = served.call_as::<BackupRestore>(&viewer, VIEWER, None).expect_err("every record");
    assert_eq!(refused.code, "DWCP-R0021");
}
