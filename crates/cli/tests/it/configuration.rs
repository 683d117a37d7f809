//! The configuration of a federation as a file, and back into one that keeps what it is told.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::answers;
use super::fake::{Arrived, Fake, Home, Reply};
use super::settings_answers::{region, settings};

/// A federation whose commands change what it says is set.
struct Federation {
    fake: Fake,
    set: Arc<Mutex<Value>>,
    home: Home,
}

impl Federation {
    fn of(set: Value) -> Federation {
        let set = Arc::new(Mutex::new(set));
        let kept = set.clone();
        let fake = Fake::start(move |request| answer(request, &mut kept.lock().unwrap()));
        Federation { fake, set, home: Home::new() }
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.set.lock().unwrap());
    }

    fn run(&self, line: &str) -> super::fake::Ran {
        self.home.run_with(line, &[("DWCP_ENDPOINT", &self.fake.endpoint)], "")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.0.join(name)
    }

    fn backup(&self, name: &str) -> Vec<u8> {
        let ran = self.run(&format!("federation config backup --output {name}"));
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
        std::fs::read(self.file(name)).unwrap()
    }

    fn restored(&self, arguments: &str) -> (i32, Value) {
        let ran = self.run(&format!("federation config restore {arguments} --format json"));
        let value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        (ran.exit, value)
    }

    fn writes(&self) -> Vec<Arrived> {
        self.fake.arrived().into_iter().filter(|request| request.method != "GET").collect()
    }
}

fn named<'s>(set: &'s mut Value, list: &str, key: &str, name: &str) -> &'s mut Value {
    let all = set[list].as_array_mut().unwrap();
    all.iter_mut().find(|one| one[key] == name).unwrap()
}

/// Takes over what a request says, as the server does.
fn take(into: &mut Value, body: &Value, fields: &[(&str, &str)]) {
    for (from, to) in fields {
        if let Some(value) = body.get(*from) {
            into[*to] = value.clone();
        }
    }
}

fn same(names: &'static [&'static str]) -> Vec<(&'static str, &'static str)> {
    names.iter().map(|name| (*name, *name)).collect()
}

const POLICIES: &[&str] = &[
    "auto_failover",
    "loss_after_ms",
    "return_after_ms",
    "failovers_per_hour",
    "cpu_overcommit_percent",
    "memory_overcommit_percent",
    "rto_target_ms",
];
const CONTROLLER: &[&str] = &["placement_cache_ttl_ms", "parallel_scoring", "profile", "weights"];
const REPLICATION: &[&str] = &["replication_workers", "compression", "sync_interval_ms"];
const REGION: &[&str] = &[
    "display_name",
    "zones",
    "latitude",
    "longitude",
    "max_vms",
    "priority",
    "compliance",
    "jurisdiction",
    "vcpu_usd_hour",
    "memory_gib_usd_hour",
    "disk_gib_usd_hour",
];

fn images(set: &mut Value) -> &mut Vec<Value> {
    set["images"].as_array_mut().unwrap()
}

fn protect(set: &mut Value, vm: &str, body: &Value) {
    let all = set["protections"].as_array_mut().unwrap();
    all.retain(|one| one["vm"] != vm);
    let mut wanted = json!({ "interval_ms": null, "on_replica_loss": "stop", "region": null });
    take(&mut wanted, &body["protection"], &same(&["mode", "interval_ms", "on_replica_loss", "region"]));
    all.push(json!({ "vm": vm, "protection": wanted }));
}

fn answer(request: &Arrived, set: &mut Value) -> Reply {
    let body: Value = serde_json::from_str(&request.body).unwrap_or(Value::Null);
    let dry = body["dry_run"] == true || request.target.contains("dry_run=true");
    let route = request.route();
    let parts: Vec<&str> = route.split('/').collect();
    let mut changed = set.clone();
    let said = match parts.as_slice() {
        ["GET ", "v1", "settings"] => Some(set.clone()),
        ["PUT ", "v1", "policies"] => {
            take(&mut changed["policies"], &body, &same(POLICIES));
            None
        }
        ["PUT ", "v1", "controller"] => {
            take(&mut changed["controller"], &body, &same(CONTROLLER));
            None
        }
        ["PUT ", "v1", "state", "replication"] => {
            take(&mut changed["replication"], &body, &same(REPLICATION));
            None
        }
        ["PUT ", "v1", "freeze"] => {
            take(&mut changed, &body, &[("state", "freeze")]);
            None
        }
        ["PUT ", "v1", "backups"] => {
            let mut plan = json!({ "keep_within_ms": null, "keep_last": 1, "key_file": null });
            let names = &["destination", "interval_ms", "keep_within_ms", "keep_last", "key_file"];
            take(&mut plan, &body, &same(names));
            changed["backups"] = plan;
            None
        }
        ["POST ", "v1", "maintenance"] => {
            let host = body["host"].as_str().and_then(|host| host.split_once('/'));
            let ends = body["starts_at_ms"].as_u64().unwrap() + body["duration_ms"].as_u64().unwrap();
            let mut window = json!({ "window": "window-007", "ends_at_ms": ends, "no_placement": false,
                "host": host.map(|(_, host)| host),
                "region": host.map_or_else(|| body["region"].clone(), |(region, _)| region.into()) });
            take(&mut window, &body, &same(&["starts_at_ms", "reason", "no_placement"]));
            changed["windows"].as_array_mut().unwrap().push(window);
            None
        }
        ["POST ", "v1", "maintenance", number, "cancel"] => {
            changed["windows"].as_array_mut().unwrap().retain(|window| window["window"] != *number);
            None
        }
        ["PUT ", "v1", "vms", vm, "protection"] => {
            protect(&mut changed, vm, &body);
            None
        }
        ["POST ", "v1", "images", image, "publish"] => {
            images(&mut changed).push(json!({ "image": image, "digest": "3f2a".repeat(16) }));
            None
        }
        ["DELETE ", "v1", "images", image] => {
            images(&mut changed).retain(|one| one["image"] != *image);
            None
        }
        ["POST ", "v1", "regions", name, what] => {
            of_region(named(&mut changed, "regions", "region", name), what, &body)
        }
        _ => None,
    };
    if !dry {
        *set = changed;
    }
    said.map_or_else(|| answers::answer(request), |value| (200, value.to_string()))
}

fn of_region(region: &mut Value, what: &str, body: &Value) -> Option<Value> {
    let name = region["region"].clone();
    match what {
        "enable" | "disable" => {
            let on = what == "enable";
            region["state"] = json!(if on { "active" } else { "disabled" });
            region["placement"] = json!(on);
            region["traffic_percent"] = json!(if on { 100 } else { 0 });
            take(region, body, &[("traffic_percent", "traffic_percent")]);
        }
        "enable-placement" | "disable-placement" => region["placement"] = json!(what == "enable-placement"),
        "traffic" => take(region, body, &[("percent", "traffic_percent")]),
        "configure" => {
            take(region, body, &same(REGION));
            return Some(json!({ "region": name, "changed": true, "settings": [], "warnings": [] }));
        }
        "endpoints" => {
            let (ip, port) = (body["ip"].as_str().unwrap(), &body["port"]);
            let at = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
            let all = region["endpoints"].as_array_mut().unwrap();
            all.retain(|one| *one != at);
            if body["remove"] != true {
                all.push(json!(at));
            }
            all.sort_by_key(ToString::to_string);
            all.sort_by_key(|one| one.as_str().unwrap().starts_with('['));
            return Some(json!({ "region": name, "changed": true, "endpoints": [] }));
        }
        "decommission" => {
            region["decommission_at_ms"] = body.get("at_ms").cloned().unwrap_or(Value::Null);
            return Some(json!({ "region": name, "changed": true, "decommission": null, "notes": [] }));
        }
        _ => {}
    }
    None
}

/// Something of each kind is another one.
fn everything_changes(set: &mut Value) {
    set["policies"]["auto_failover"] = json!(false);
    set["policies"]["rto_target_ms"] = json!(60_000);
    set["controller"]["parallel_scoring"] = json!(true);
    set["controller"]["weights"]["cost"] = json!(90);
    set["replication"] =
        json!({ "replication_workers": 20, "compression": false, "sync_interval_ms": 10_000 });
    set["freeze"] = json!("frozen");
    set["backups"]["interval_ms"] = json!(600_000);
    set["images"] = json!([{ "image": "old", "digest": "90bc".repeat(16) }]);
    set["windows"][0]["reason"] = json!("memory");
    set["protections"][0]["protection"] =
        json!({ "mode": "async", "interval_ms": 30_000, "on_replica_loss": "stop", "region": "us-east-1" });
    let one = named(set, "regions", "region", "us-east-1");
    one["state"] = json!("disabled");
    one["placement"] = json!(false);
    one["traffic_percent"] = json!(0);
    one["priority"] = json!(7);
    one["latitude"] = json!(-12.5);
    one["zones"] = json!([]);
    one["display_name"] = json!("");
    one["vcpu_usd_hour"] = json!(1.0);
    one["endpoints"] = json!(["192.0.2.9:443", "[2001:db8::1]:443"]);
    one["decommission_at_ms"] = json!(1_900_000_000_000u64);
}

#[test]
fn what_was_changed_since_is_put_back_and_the_next_backup_has_the_same_bytes() {
    let federation = Federation::of({
        let mut set = settings();
        let one = named(&mut set, "regions", "region", "us-east-1");
        // Enabling opens a region for placement: it is to be closed again.
        one["placement"] = json!(false);
        one["traffic_percent"] = json!(35);
        set
    });
    let before = federation.backup("before.tar.gz");
    assert_eq!(before, federation.backup("again.tar.gz"), "the same configuration, the same bytes");
    federation.change(everything_changes);
    assert_ne!(before, federation.backup("between.tar.gz"));

    let (exit, told) = federation.restored("--input before.tar.gz --dry-run");
    assert_eq!((exit, told["left"].as_u64()), (0, Some(0)), "{told:#}");
    let checked = federation.writes();
    assert!(!checked.is_empty(), "each command has checked what it would do");
    let dry = |request: &Arrived| format!("{}{}", request.target, request.body).contains("dry_run");
    assert!(checked.iter().all(dry), "{checked:#?}");

    let (exit, told) = federation.restored("--input before.tar.gz --reason oops");
    assert_eq!((exit, told["left"].as_u64()), (0, Some(0)), "{told:#}");
    assert!(federation.writes().iter().any(|request| request.body.contains("\"reason\":\"oops\"")));
    assert_eq!(before, federation.backup("after.tar.gz"), "{}", federation.set.lock().unwrap());
    let (exit, told) = federation.restored("--input before.tar.gz");
    assert_eq!((exit, told["changes"].as_array().map(Vec::len)), (0, Some(0)), "{told:#}");
}

#[test]
fn what_nothing_puts_back_is_named_and_the_rest_is_put_back() {
    let federation = Federation::of(settings());
    federation.backup("before.tar.gz");
    federation.change(|set| {
        set["policies"]["failovers_per_hour"] = json!(1);
        named(set, "hosts", "host", "host-1")["labels"] = json!({ "disk": "slow" });
        set["hosts"].as_array_mut().unwrap().retain(|host| host["host"] != "host-2");
        let mut regions = vec![region("us-east-1"), region("za-1")];
        std::mem::swap(set["regions"].as_array_mut().unwrap(), &mut regions);
        set["protections"][0]["vm"] = json!("other");
    });
    let (exit, told) = federation.restored("--input before.tar.gz");
    let rows = told["changes"].as_array().unwrap();
    let of = |outcome: &str| -> Vec<String> {
        let rows = rows.iter().filter(|row| row["outcome"] == outcome);
        rows.map(|row| format!("{} {}", row["subject"].as_str().unwrap(), row["setting"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(exit, 7, "{told:#}");
    assert_eq!(of("done"), ["policies failovers_per_hour", "protection of VM db mode"]);
    assert_eq!(
        of("cannot"),
        [
            "region eu-west-1 region",
            "region za-1 region",
            "host eu-west-1/host-2 host",
            "host us-east-1/host-1 labels",
            "protection of VM other mode",
        ]
    );
    assert!(rows.iter().filter(|row| row["outcome"] == "cannot").all(|row| row["why"] != ""));
}

#[test]
fn a_command_that_refuses_is_told_with_its_reason_and_the_others_go_on() {
    let federation = Federation::of(settings());
    federation.backup("before.tar.gz");
    // Hosts have no image of that digest, and one is used by VMs: see the answers.
    federation.change(|set| {
        set["policies"]["failovers_per_hour"] = json!(1);
        set["images"].as_array_mut().unwrap().push(json!({ "image": "shop", "digest": "00aa".repeat(16) }));
    });
    let fake = Fake::start({
        let set = federation.set.clone();
        move |request| match request.route().as_str() {
            "DELETE /v1/images/shop" => answers::problem(409, "DWCP-R0070", "2 VMs use image shop"),
            _ => answer(request, &mut set.lock().unwrap()),
        }
    });
    let line = "federation config restore --input before.tar.gz";
    let ran = federation.home.run_with(line, &[("DWCP_ENDPOINT", &fake.endpoint)], "");
    assert_eq!(ran.exit, 7, "{}", ran.stdout);
    assert!(ran.stdout.contains("refused: DWCP-R0070: 2 VMs use image shop"), "{}", ran.stdout);
    assert_eq!(federation.set.lock().unwrap()["policies"]["failovers_per_hour"], 6);
}

fn unpacked(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), text)
    });
    files.collect()
}

fn packed(files: &BTreeMap<String, String>) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gz);
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_700_000_000);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

#[test]
fn edited_files_are_restored_and_their_mistakes_named_by_file_line_and_column() {
    let federation = Federation::of(settings());
    let files = unpacked(&federation.backup("before.tar.gz"));
    assert!(
        files["config/regions/us-east-1.yaml"].starts_with("compliance:\n  - gdpr\n  - soc2\n"),
        "{files:#?}"
    );
    let with = |name: &str, from: &str, to: &str| {
        let mut edited = files.clone();
        let text = edited.get_mut(name).unwrap();
        assert!(text.contains(from), "{text}");
        *text = text.replace(from, to);
        std::fs::write(federation.file("edited.tar.gz"), packed(&edited)).unwrap();
    };
    with("config/regions/us-east-1.yaml", "priority: 50", "priority: 51");
    let (exit, told) = federation.restored("--input edited.tar.gz");
    assert_eq!((exit, &told["changes"][0]["after"]), (0, &json!("51")), "{told:#}");

    let sent = federation.writes().len();
    let refused = |exit: i32, words: &str| {
        let ran = federation.run("federation config restore --input edited.tar.gz");
        assert!(ran.exit == exit && ran.stderr.contains(words), "{} {}", ran.exit, ran.stderr);
    };
    with("config/policies.yaml", "rto_target_ms: 30000", "rto_target_ms: soon");
    refused(2, "policies.yaml: line 7, column 16");
    with("config/policies.yaml", "rto_target_ms", "rto_targets_ms");
    refused(2, "policies.yaml: ");
    with("config/policies.yaml", "rto_target_ms", "more: 1\nrto_target_ms");
    refused(2, "policies.yaml: 'more' is no setting");
    with("config/federation.yaml", "format: 1", "format: 2");
    refused(2, "format 2, which a later version wrote; this one reads up to 1");
    with("config/federation.yaml", "federation: dev", "federation: prod");
    refused(5, "holds the configuration of the federation prod, and this is dev");
    with("config/regions/us-east-1.yaml", "region: us-east-1", "region: us-east-2");
    refused(2, "regions/us-east-1.yaml is not the file of what stands in it");
    let mut fewer = files.clone();
    fewer.remove("config/policies.yaml");
    std::fs::write(federation.file("edited.tar.gz"), packed(&fewer)).unwrap();
    refused(2, "policies.yaml is named in federation.yaml and is not there");
    let whole = std::fs::read(federation.file("before.tar.gz")).unwrap();
    std::fs::write(federation.file("edited.tar.gz"), &whole[..whole.len() - 5]).unwrap();
    refused(2, "no whole gzip file");
    assert_eq!(federation.writes().len(), sent, "nothing was asked of anybody");
}
