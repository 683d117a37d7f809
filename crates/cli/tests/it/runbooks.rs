//! Runbooks against a federation that changes by what is typed: a region that comes in, one that leaves, and the ways back.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::answers::{as_of, operation, page, problem, region, vm};
use super::fake::{Arrived, Fake, Home, Reply};
use super::transcripts::same_as;

/// The region that comes or goes.
const R: &str = "eu-central-1";

/// What the federation holds, and what is wrong with it.
struct World {
    there: bool,
    lifecycle: &'static str,
    node: bool,
    replicas: bool,
    placement: bool,
    traffic: u64,
    phase: &'static str,
    endpoints: Vec<Value>,
    ends_at_ms: Option<u64>,
    /// Name and region.
    vms: Vec<(String, String)>,
    /// The health score of the other region.
    score: u64,
    /// The other region's score once this one has so much traffic.
    sick_at: Option<u64>,
    /// A request that is refused.
    refuses: &'static str,
    /// VMs that do not move.
    stuck: bool,
}

impl World {
    fn pool() -> World {
        World {
            there: false,
            lifecycle: "joining",
            node: false,
            replicas: false,
            placement: false,
            traffic: 0,
            phase: "nothing",
            endpoints: Vec::new(),
            ends_at_ms: None,
            vms: vec![("web".into(), "us-east-1".into())],
            score: 97,
            sick_at: None,
            refuses: "-",
            stuck: false,
        }
    }

    fn in_service() -> World {
        let vms = [("web", "us-east-1"), ("shop", R)];
        World {
            there: true,
            lifecycle: "active",
            node: true,
            replicas: true,
            placement: true,
            traffic: 100,
            phase: "running",
            vms: vms.map(|(name, region)| (name.to_owned(), region.to_owned())).to_vec(),
            ..World::pool()
        }
    }

    fn summary(&self) -> Value {
        let mut summary = region("us-east-1", true);
        summary["region"] = json!(R);
        summary["number"] = json!(6);
        summary["lifecycle"] = json!(self.lifecycle);
        summary["traffic_percent"] = json!(self.traffic);
        summary["placement"]["enabled"] = json!(self.placement);
        summary["vms"] = json!(self.living());
        summary["decommission"] = json!(
            self.ends_at_ms.map(|at_ms| json!({ "at_ms": at_ms, "by": "ops", "reason": "", "due": false }))
        );
        summary
    }

    fn other(&self) -> Value {
        let mut other = region("us-east-1", true);
        let sick = self.sick_at.is_some_and(|at| self.traffic >= at);
        other["health"] = match sick {
            false => json!({ "score": self.score, "state": "healthy", "deductions": [] }),
            true => {
                json!({ "score": 55, "state": "unhealthy", "deductions": [{ "points": 45, "cause": "replication lag is 9 s" }] })
            }
        };
        other
    }

    fn living(&self) -> usize {
        self.vms.iter().filter(|(_, region)| region == R).count()
    }

    fn vm(&self, name: &str) -> Option<Value> {
        let (name, region) = self.vms.iter().find(|(of, _)| of == name || format!("vm_{of}") == name)?;
        let mut vm = vm(name, "running");
        vm["region"] = json!(region);
        Some(vm)
    }

    fn membership(&self) -> Value {
        let step = |step: &str, done: bool| json!({ "step": step, "done": done, "detail": "as told" });
        json!({ "region": R, "number": 6, "lifecycle": self.lifecycle, "leaving": false, "host": "eu-central-1-a1",
            "address": "127.77.6.1:7443", "as_of": as_of(),
            "steps": [step("added", true), step("founded", true), step("node", self.node),
                step("replicas", self.replicas), step("hosts", true)] })
    }

    fn changed(&self) -> Value {
        json!({ "region": self.summary(), "changed": true, "notes": [], "warnings": [] })
    }

    fn switched(&mut self, what: &str, body: &Value) -> Value {
        match what {
            "enable" => {
                (self.lifecycle, self.placement) = ("active", true);
                self.traffic = body["traffic_percent"].as_u64().unwrap_or(100);
            }
            "disable" => (self.lifecycle, self.placement, self.traffic) = ("disabled", false, 0),
            "traffic" => self.traffic = body["percent"].as_u64().unwrap(),
            "enable-placement" => self.placement = true,
            "disable-placement" => self.placement = false,
            other => panic!("{other}"),
        }
        self.changed()
    }

    fn moved(&mut self, body: &Value) -> Value {
        let named = body["vms"].as_array().filter(|vms| !vms.is_empty()).cloned();
        let to = body["to"][0].as_str().unwrap_or("us-east-1").to_owned();
        for (name, region) in self.vms.iter_mut().filter(|_| !self.stuck) {
            let wanted = named.as_ref().map_or(region == R, |vms| vms.contains(&json!(name)));
            if wanted {
                region.clone_from(&to);
            }
        }
        json!({ "operations": [operation("migrate", if self.stuck { "failed" } else { "done" }, 2)], "planned": [],
            "left": 0, "notes": [], "warnings": [], "as_of": as_of() })
    }

    /// About the region itself.
    fn of_region(&mut self, method: &str, rest: &str, body: &Value) -> Option<Value> {
        let note = |note: &str| json!({ "region": R, "changed": true, "notes": [note] });
        Some(match (method, rest) {
            ("POST", "/preflight") => json!({ "region": R, "took_ms": 640, "as_of": as_of(), "checks": [
                { "subject": R, "check": "pool", "verdict": "ok", "measured": "1 connected", "limit": "", "advice": "" }] }),
            ("POST", "/deploy") => {
                (self.there, self.node, self.phase) = (true, true, "running");
                json!({ "region": R, "number": 6, "host": "eu-central-1-a1", "address": "127.77.6.1:7443", "hosts": 1,
                    "vcpus": 8, "memory_mib": 4_096, "disk_gib": 64 })
            }
            ("POST", "/clean-up") => {
                self.phase = "nothing";
                note("eu-central-1-a1 stops its node and removes keys and state")
            }
            _ if !self.there => return None,
            ("GET", "/membership") => self.membership(),
            ("GET", "") => {
                json!({ "summary": self.summary(), "zones": [], "hosts": [], "components": [], "links": [],
                "recent_events": [], "as_of": as_of() })
            }
            ("GET", "/vm-count") => {
                json!({ "region": R, "vms": self.living(), "last_known": false, "as_of": as_of() })
            }
            ("POST", "/configure") => json!({ "region": R, "changed": true, "warnings": [], "settings": [
                { "name": "priority", "before": "50", "after": "85" }] }),
            ("POST", "/health-check") => json!({ "region": R, "verdict": "healthy", "as_of": as_of(),
                "health": { "score": 97, "state": "healthy", "deductions": [] },
                "probes": [{ "from": "us-east-1", "verdict": "answers", "rtt_ms": 92, "silent_ms": 20, "detail": "" }] }),
            ("POST", "/replicate") => {
                self.replicas = true;
                note("its node learns every group first")
            }
            ("POST", "/endpoints") => {
                let remove = body["remove"] == json!(true);
                self.endpoints.clear();
                if !remove {
                    self.endpoints.push(json!({ "ip": body["ip"], "port": body["port"] }));
                }
                json!({ "region": R, "changed": true, "endpoints": self.endpoints })
            }
            ("POST", "/decommission") => {
                self.ends_at_ms = body["at_ms"].as_u64();
                let end =
                    self.ends_at_ms.map(|at| json!({ "at_ms": at, "by": "ops", "reason": "", "due": false }));
                json!({ "region": R, "changed": true, "decommission": end, "notes": [] })
            }
            ("POST", "/remove") => {
                self.there = false;
                note("it is forgotten")
            }
            ("POST", what) => self.switched(what.trim_start_matches('/'), body),
            _ => return None,
        })
    }

    fn answer(&mut self, request: &Arrived) -> Reply {
        let route = request.route();
        if route == self.refuses {
            return problem(409, "DWCP-R0035", "not today");
        }
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let (method, path) = route.split_once(' ').unwrap();
        if let Some(rest) = path.strip_prefix(&format!("/v1/regions/{R}")) {
            return match self.of_region(method, rest, &body) {
                Some(value) => (200, value.to_string()),
                None => problem(404, "DWCP-R0010", "no region eu-central-1"),
            };
        }
        if let Some(name) = path.strip_prefix("/v1/vms/").filter(|name| *name != "health-check") {
            let Some(vm) = self.vm(name) else { return problem(404, "DWCP-R0011", "no VM") };
            if method == "DELETE" {
                self.vms.retain(|(of, _)| of != name && format!("vm_{of}") != name);
                return (200, json!({ "vm": vm, "operation": null }).to_string());
            }
            return (200, json!({ "vm": vm, "as_of": [] }).to_string());
        }
        match self.of_federation(&route, request, &body) {
            Some(value) => (200, value.to_string()),
            None => super::answers::answer(request),
        }
    }

    fn of_federation(&mut self, route: &str, request: &Arrived, body: &Value) -> Option<Value> {
        Some(match route {
            "GET /v1/pools" if self.there => json!({ "as_of": as_of(), "hosts": [] }),
            "GET /v1/pools" => {
                json!({ "as_of": as_of(), "hosts": [{ "region": R, "host": "eu-central-1-a1", "zone": "a",
                "vcpus": 8, "memory_mib": 4_096, "disk_gib": 64, "accelerator": "tcg", "version": "0.1.0",
                "control": "127.77.6.1:7443", "phase": self.phase }] })
            }
            "GET /v1/regions" if self.there => page(vec![self.other(), self.summary()]),
            "GET /v1/regions" => page(vec![self.other()]),
            "GET /v1/endpoints" => json!({ "as_of": as_of(), "regions": [
                { "region": R, "endpoints": self.endpoints, "node": "127.77.6.1:7443" }] }),
            "GET /v1/vms" if request.target.contains("dwcp-canary") => page(Vec::<Value>::new()),
            "GET /v1/vms" => page(self.vms.iter().filter_map(|(name, _)| self.vm(name)).collect()),
            "POST /v1/vms" => {
                let name = body["name"].as_str().unwrap().to_owned();
                self.vms.push((name, body["place_in"].as_str().unwrap().to_owned()));
                let mut made: Value = serde_json::from_str(&super::answers::answer(request).1).unwrap();
                made["operation"] = operation("vm_create", "done", 2);
                made
            }
            "POST /v1/vms/health-check" => {
                json!({ "as_of": [], "healthy": 1, "unhealthy": 0, "unknown": 0, "vms": [
                { "vm": "vm_canary", "name": "canary", "region": R, "host": "h", "state": "running", "healthy": true,
                  "probe": "http", "detail": "200", "took_ms": 3 }] })
            }
            "POST /v1/migrations" => self.moved(body),
            "GET /v1/migrations" => page(Vec::<Value>::new()),
            "POST /v1/state/verify-sync" => {
                let store = json!({ "flaws": [], "unread": null, "records": 412, "bytes": 1_724_416,
                    "file_bytes": 1_601_536, "took_ms": 88, "held_us": 410, "longest_commit_us": 3_200 });
                json!({ "state": "equal", "groups": [], "took_ms": 912, "as_of": as_of(), "regions": [
                    { "region": R, "state": "equal", "silent_ms": null, "groups": 7, "of_groups": 7, "records": 9,
                      "digest": "5f1c7a0be2d94c83", "differs": [], "left_out": [], "store": store }] })
            }
            "GET /v1/hosts" => {
                let mut one = super::answers::host("eu-central-1-a1");
                (one["state"], one["lease_left_ms"]) = (json!("up"), json!(2_400));
                page(vec![one])
            }
            _ => return None,
        })
    }
}

struct Stage {
    world: Arc<Mutex<World>>,
    fake: Fake,
    home: Home,
    text: String,
}

impl Stage {
    fn new(world: World) -> Stage {
        let world = Arc::new(Mutex::new(world));
        let answering = world.clone();
        let fake = Fake::start(move |request| answering.lock().unwrap().answer(request));
        Stage { world, fake, home: Home::new(), text: String::new() }
    }

    /// Types a line; returns its exit code.
    fn types(&mut self, line: &str) -> i32 {
        let ran = self.home.run_with(line, &[("DWCP_ENDPOINT", &self.fake.endpoint)], "");
        self.text.push_str(&format!("$ dwcp-cli {line}\n{}", ran.stdout));
        for line in ran.stderr.lines() {
            self.text.push_str(format!("! {line}").trim_end());
            self.text.push('\n');
        }
        self.text.push_str(&format!("exit {}\n\n", ran.exit));
        ran.exit
    }

    fn changes(&self) -> Vec<String> {
        let changes =
            ["enable", "disable", "traffic", "deploy", "remove", "clean-up", "decommission", "migrations"];
        let all = self.fake.arrived().into_iter().map(|request| request.route());
        all.filter(|route| {
            route.starts_with("POST ") && changes.iter().any(|end| route.ends_with(&format!("/{end}")))
        })
        .map(|route| route.rsplit('/').next().unwrap().to_owned())
        .collect()
    }
}

const ADD: &str =
    "runbook run add-region --region eu-central-1 --traffic 10,50,100 --first-soak 0 --soak 0 --patience 0";
const LEAVE: &str =
    "runbook run decommission-region --region eu-central-1 --decommission-date 2025-12-01 --patience 0";

#[test]
fn what_a_runbook_prints_is_in_its_transcript() {
    let mut text = String::new();
    let mut told = |world: World, lines: &[String]| {
        let mut stage = Stage::new(world);
        for line in lines {
            stage.types(line);
        }
        text.push_str(&stage.text);
    };
    told(World::pool(), &["runbook list".into(), format!("{ADD} --dry-run"), "runbook run rest".into()]);
    told(World { sick_at: Some(50), ..World::pool() }, &[ADD.into()]);
    told(
        World::in_service(),
        &[format!("{LEAVE} --dry-run"), LEAVE.into(), format!("{LEAVE} --yes"), LEAVE.into()],
    );
    told(
        World { refuses: "POST /v1/regions/eu-central-1/remove", ..World::in_service() },
        &[format!("{LEAVE} --yes")],
    );
    told(World::in_service(), &["runbook run decommission-region --region eu-central-1".into()]);
    same_as("runbooks", &text);
}

#[test]
fn a_region_comes_in_and_the_same_line_typed_again_changes_nothing() {
    let mut stage = Stage::new(World::pool());
    assert_eq!(stage.types(ADD), 0, "{}", stage.text);
    let changes = stage.changes();
    let canary = ["migrations", "migrations"];
    assert_eq!(changes[..4], ["deploy", "enable", "traffic", "traffic"], "{changes:?}");
    assert_eq!(changes[4..], canary);
    assert_eq!(stage.world.lock().unwrap().traffic, 100);
    assert_eq!(stage.types(ADD), 0, "{}", stage.text);
    assert_eq!(stage.changes()[6..], canary, "it is only verified again");
}

#[test]
fn a_region_that_makes_another_one_sick_is_taken_out_and_removed_by_who_deployed_it() {
    let mut stage = Stage::new(World { sick_at: Some(50), ..World::pool() });
    assert_eq!(stage.types(ADD), 1, "{}", stage.text);
    let changes = stage.changes();
    assert_eq!(
        changes,
        ["deploy", "enable", "traffic", "traffic", "disable", "remove", "clean-up"],
        "{}",
        stage.text
    );
    assert!(!stage.world.lock().unwrap().there);

    let mut stage = Stage::new(World { sick_at: Some(50), ..World::pool() });
    assert_eq!(stage.types(&format!("{ADD} --keep")), 1, "{}", stage.text);
    let world = stage.world.lock().unwrap();
    assert_eq!((world.there, world.lifecycle, world.traffic), (true, "disabled", 0), "{}", stage.text);
}

#[test]
fn a_region_of_an_earlier_run_is_not_removed_and_goes_on_where_it_was() {
    let there = World { sick_at: Some(100), traffic: 10, ..World::in_service() };
    let mut stage = Stage::new(there);
    assert_eq!(stage.types(ADD), 1, "{}", stage.text);
    assert_eq!(stage.changes(), ["traffic", "traffic", "traffic"], "50, 100, and back to 10");
    let (there, share, lifecycle) = {
        let world = stage.world.lock().unwrap();
        (world.there, world.traffic, world.lifecycle)
    };
    assert_eq!((there, share, lifecycle), (true, 10, "active"), "it served before this run, and still does");
    assert_eq!(stage.types(&format!("{ADD} --ignore-health")), 0, "{}", stage.text);
}

#[test]
fn a_way_back_that_stops_lists_what_is_left() {
    let world =
        World { sick_at: Some(10), refuses: "POST /v1/regions/eu-central-1/disable", ..World::pool() };
    let mut stage = Stage::new(world);
    assert_eq!(stage.types(ADD), 7, "{}", stage.text);
    assert!(
        stage.text.contains("left to be typed:\n     dwcp-cli federation region disable"),
        "{}",
        stage.text
    );
    assert!(stage.world.lock().unwrap().there, "what is still in service is not removed");
}

#[test]
fn a_region_leaves_only_when_it_is_confirmed_and_a_second_run_finds_it_gone() {
    let mut stage = Stage::new(World::in_service());
    assert_eq!(stage.types(LEAVE), 5, "{}", stage.text);
    assert!(stage.changes().is_empty(), "nobody has confirmed it");
    assert_eq!(stage.types(&format!("{LEAVE} --yes")), 0, "{}", stage.text);
    let all = ["decommission", "disable-placement", "migrations", "disable", "remove", "clean-up"];
    let changes: Vec<String> = stage
        .fake
        .arrived()
        .iter()
        .map(|request| request.route())
        .filter(|route| route.starts_with("POST "))
        .map(|route| route.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(changes, all);
    assert_eq!(stage.types(LEAVE), 0, "{}", stage.text);
}

#[test]
fn a_region_whose_vms_do_not_move_is_opened_again() {
    let mut stage = Stage::new(World { stuck: true, ..World::in_service() });
    assert_eq!(stage.types(&format!("{LEAVE} --yes")), 1, "{}", stage.text);
    let world = stage.world.lock().unwrap();
    assert_eq!(
        (world.lifecycle, world.placement, world.ends_at_ms),
        ("active", true, None),
        "{}",
        stage.text
    );
}

#[test]
fn what_is_not_due_waits_for_its_day() {
    let mut stage = Stage::new(World::in_service());
    let line = "runbook run decommission-region --region eu-central-1 --decommission-date +30d";
    assert_eq!(stage.types(line), 7, "{}", stage.text);
    assert_eq!(stage.changes(), ["decommission"]);
    assert_eq!(stage.types(line), 7, "{}", stage.text);
    assert_eq!(stage.changes(), ["decommission"], "announced once");
}

#[test]
fn flags_that_make_no_sense_are_refused_before_anything_is_asked() {
    let mut stage = Stage::new(World::pool());
    for flag in [
        "--output f",
        "--watch",
        "--detach",
        "--traffic 50,10",
        "--traffic 0",
        "--ip here",
        "--config none.yaml",
    ] {
        assert_eq!(
            stage.types(&format!("runbook run add-region --region eu-central-1 {flag}")),
            2,
            "{}",
            stage.text
        );
    }
    assert!(stage.fake.arrived().is_empty());
}
