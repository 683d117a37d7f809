use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use dwcp_api::controller::{CacheStatsRead, ControllerConfigure, ControllerConfigureRequest, ControllerRead};
use dwcp_api::event::{EventList, EventListRequest};
use dwcp_api::failover::{FailoverList, FailoverRead, FailoverReadRequest, FailoverRequest, FailoverStart};
use dwcp_api::federation::FederationRead;
use dwcp_api::freeze::{FreezeRead, FreezeSet, FreezeSetRequest, FreezeState};
use dwcp_api::host::{HostList, HostRead, HostReadRequest};
use dwcp_api::link::{LinkList, LinkSet, LinkSetRequest};
use dwcp_api::network::LatencyMatrixRead;
use dwcp_api::operation::{
    OperationCancel, OperationCancelRequest, OperationList, OperationRead, OperationReadRequest,
};
use dwcp_api::page::Nothing;
use dwcp_api::policy::{PoliciesRead, PoliciesSet, PoliciesSetRequest};
use dwcp_api::protection::{ProtectionMode, ProtectionWanted};
use dwcp_api::region::*;
use dwcp_api::server::{LeaderQuery, LeaderRead, VersionRead};
use dwcp_api::session::{Login, LoginRequest, WhoAmI};
use dwcp_api::state::{LagMatrixRead, QueueDepthRead};
use dwcp_api::token::{
    TokenCreate, TokenCreateRequest, TokenList, TokenListRequest, TokenRevoke, TokenRevokeRequest,
};
use dwcp_api::vm::*;
use dwcp_api::{Role, endpoints};

use crate::http_node::{ADMIN, EXPIRED, HOST, REGION, Served, VIEWER};

/// One region serves all tests of this file.
static SERVED: LazyLock<Served> = LazyLock::new(|| Served::start("shared"));

fn vm(name: &str) -> VmCreateRequest {
    VmCreateRequest { name: name.to_owned(), ..VmCreateRequest::default() }
}

fn region() -> RegionReadRequest {
    RegionReadRequest { region: REGION.to_owned(), watch: false }
}

#[test]
fn nobody_reads_without_a_token_that_holds() {
    for header in [None, Some("Bearer nonsense"), Some("Basic abc"), Some(&*format!("Bearer {EXPIRED}"))] {
        let headers: Vec<(&str, &str)> = header.map(|value| ("authorization", value)).into_iter().collect();
        let answer = SERVED.send("GET", "/v1/federation", &headers, b"");
        let problem = answer.problem();
        assert_eq!((answer.status, problem.code.as_str()), (401, "DWCP-R0020"), "{header:?}");
    }
    assert_eq!(SERVED.send("GET", "/v1/version", &[], b"").status, 200);
    assert_eq!(SERVED.send("GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn a_viewer_changes_nothing() {
    let problem = SERVED.call_as::<VmCreate>(&vm("no"), VIEWER, None).expect_err("refused");
    assert_eq!((problem.status, problem.code.as_str()), (403, "DWCP-R0021"));
    assert!(SERVED.call_as::<VmList>(&VmListRequest::default(), VIEWER, None).is_ok());
}

#[test]
fn what_can_not_be_read_is_refused_with_its_place() {
    let admin = format!("Bearer {ADMIN}");
    let headers = [("authorization", admin.as_str())];
    let answer = SERVED.send("POST", "/v1/vms", &headers, b"{\"name\": \n oops}");
    let problem = answer.problem();
    assert_eq!((answer.status, problem.code.as_str()), (400, "DWCP-R0001"));
    assert!(problem.cause[0].contains("line 2 column"), "{problem:?}");
    let large = vec![b' '; 10 << 20];
    let answer = SERVED.send("POST", "/v1/vms", &headers, &large);
    assert_eq!((answer.status, answer.problem().code.as_str()), (413, "DWCP-R0002"));
    assert_eq!(SERVED.get("/v1/nope", ADMIN).problem().code, "DWCP-R0017");
    let answer = SERVED.send("DELETE", "/v1/regions", &headers, b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    assert_eq!(SERVED.get("/v1/vms?limit=many", ADMIN).status, 400);
    assert_eq!(SERVED.get("/v1/vms?limit=0", ADMIN).problem().field.as_deref(), Some("limit"));
    assert_eq!(SERVED.get("/v1/events?interval_ms=1", ADMIN).status, 400);
}

#[test]
fn a_request_id_comes_back_and_a_missing_one_is_made() {
    let answer = SERVED.send("GET", "/v1/version", &[("x-request-id", "req-7")], b"");
    assert_eq!(answer.header("x-request-id"), Some("req-7"));
    let answer = SERVED.send("GET", "/v1/version", &[], b"");
    assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
}

#[test]
fn the_document_lists_every_route() {
    let document = SERVED.send("GET", "/v1/openapi.json", &[], b"").json();
    for row in endpoints() {
        let operation = &document["paths"][row.path][row.method.name().to_lowercase()];
        assert_eq!(operation["operationId"], row.name, "{}", row.path);
    }
    assert!(dwcp_server::http::unrouted().is_empty());
}

#[test]
fn a_repeated_create_makes_one_vm() {
    let first = SERVED.call_as::<VmCreate>(&vm("once"), ADMIN, Some("key-1")).expect("created");
    let second = SERVED.call_as::<VmCreate>(&vm("once"), ADMIN, Some("key-1")).expect("the same");
    assert_eq!(first.vms[0].vm, second.vms[0].vm);
    assert!(first.operation.is_some());
    let problem =
        SERVED.call_as::<VmCreate>(&vm("twice"), ADMIN, Some("key-1")).expect_err("another request");
    assert_eq!(problem.code, "DWCP-R0045");
    let problem = SERVED.call::<VmCreate>(&vm("once")).expect_err("taken");
    assert_eq!(problem.code, "DWCP-R0033");
}

#[test]
fn several_vms_have_one_operation_and_come_in_pages() {
    let labels = BTreeMap::from([("batch".to_owned(), "pages".to_owned())]);
    let request = VmCreateRequest { count: Some(5), labels, ..vm("many") };
    let created = SERVED.call_as::<VmCreate>(&request, ADMIN, Some("key-many")).expect("created");
    assert_eq!((created.vms.len(), created.placement.chosen.len()), (5, 5));
    let operation = created.operation.expect("operation");
    assert_eq!((operation.total, operation.subject.as_str()), (Some(5), "many"));
    let read = OperationReadRequest { operation: operation.operation.clone(), watch: false };
    let again = SERVED.call::<OperationRead>(&read).expect("operation").operation;
    assert_eq!((again.operation, again.total), (operation.operation, Some(5)));
    let mut names = Vec::new();
    let mut cursor = None;
    loop {
        let label = vec!["batch=pages".to_owned()];
        let request = VmListRequest { label, limit: Some(2), cursor, ..VmListRequest::default() };
        let page = SERVED.call::<VmList>(&request).expect("page");
        names.extend(page.items.into_iter().map(|vm| vm.name));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["many-1", "many-2", "many-3", "many-4", "many-5"]);
}

#[test]
fn bad_values_are_refused_before_anything_changes() {
    let refused = |request: &VmCreateRequest| SERVED.call::<VmCreate>(request).expect_err("refused");
    for request in [
        vm("Bad Name"),
        VmCreateRequest { count: Some(0), ..vm("a") },
        VmCreateRequest { vcpus: Some(0), ..vm("a") },
        VmCreateRequest { memory_mib: Some(u64::MAX), ..vm("a") },
    ] {
        assert_eq!(refused(&request).code, "DWCP-R0003");
    }
    for interval_ms in [4_999, 86_400_001] {
        let wanted = ProtectionWanted {
            mode: ProtectionMode::Async,
            interval_ms: Some(interval_ms),
            ..ProtectionWanted::default()
        };
        let request = VmCreateRequest { disk_gib: Some(1), protection: wanted, ..vm("a") };
        let problem = refused(&request);
        assert_eq!(problem.field.as_deref(), Some("protection.interval_ms"));
        assert_eq!(problem.cause, ["from 5 to 86400 s between two points in time"]);
    }
    let mut request = vm("a");
    request.policy.regions_allow = vec!["mars-1".to_owned()];
    assert_eq!(refused(&request).code, "DWCP-R0010");
    let problem = SERVED.call::<RegionRead>(&RegionReadRequest { region: "mars-1".into(), watch: false });
    assert_eq!(problem.expect_err("unknown").code, "DWCP-R0010");
    let problem = SERVED.call::<VmRead>(&VmReadRequest { vm: "nobody".into(), watch: false });
    assert_eq!(problem.expect_err("unknown").code, "DWCP-R0011");
    let stale = PoliciesSetRequest { expected_revision: Some(u64::MAX), ..Default::default() };
    assert_eq!(SERVED.call::<PoliciesSet>(&stale).expect_err("stale").code, "DWCP-R0032");
}

#[test]
fn every_read_answers_with_its_declared_type() {
    let nothing = Nothing::default();
    assert_eq!(SERVED.call::<VersionRead>(&nothing).expect("version").region, REGION);
    assert!(SERVED.call::<LeaderRead>(&LeaderQuery { group: 1 }).expect("leader").leader);
    let by_name = SERVED.send("GET", &format!("/v1/leader?group={REGION}"), &[], b"");
    assert_eq!(by_name.json()["leader"], true);
    assert_eq!(SERVED.call::<Login>(&LoginRequest { token: ADMIN.into() }).expect("login").role, Role::Admin);
    assert_eq!(SERVED.call::<WhoAmI>(&nothing).expect("who").user, "admin");
    let status = SERVED.call::<FederationRead>(&Default::default()).expect("federation");
    assert_eq!((status.regions.len(), status.leader.as_deref()), (1, Some(REGION)));
    assert_eq!((status.sla_percent, status.routing.p50_ms), (None, None));
    assert_eq!(status.regions[0].cpu.used_percent, None);
    assert!(status.as_of.iter().all(|line| line.age_ms.is_some()));
    assert_eq!(SERVED.call::<RegionList>(&Default::default()).expect("regions").items.len(), 1);
    let one = SERVED.call::<RegionRead>(&region()).expect("region");
    assert_eq!((one.hosts.len(), one.zones.len(), one.components.len()), (1, 1, 5));
    assert!(!SERVED.call::<RegionVmCount>(&region()).expect("count").last_known);
    let probe = RegionProbeRequest { region: REGION.into(), timeout_ms: None };
    assert!(SERVED.call::<RegionHealthCheck>(&probe).expect("check").probes.is_empty());
    let host = HostReadRequest { host: format!("{REGION}/{HOST}") };
    assert_eq!(SERVED.call::<HostRead>(&host).expect("host").host.host, HOST);
    assert_eq!(SERVED.call::<HostList>(&Default::default()).expect("hosts").items.len(), 1);
    assert!(!SERVED.call::<EventList>(&EventListRequest::default()).expect("events").items.is_empty());
    SERVED.call::<OperationList>(&Default::default()).expect("operations");
    SERVED.call::<FailoverList>(&Default::default()).expect("failovers");
    let latest = FailoverReadRequest { failover: "latest".into(), watch: false };
    assert_eq!(SERVED.call::<FailoverRead>(&latest).expect_err("none yet").code, "DWCP-R0014");
    SERVED.call::<LagMatrixRead>(&nothing).expect("lag");
    SERVED.call::<QueueDepthRead>(&nothing).expect("queues");
    SERVED.call::<LatencyMatrixRead>(&nothing).expect("latency");
    SERVED.call::<ControllerRead>(&nothing).expect("controller");
    SERVED.call::<CacheStatsRead>(&nothing).expect("cache");
    SERVED.call::<LinkList>(&nothing).expect("links");
    SERVED.call::<PoliciesRead>(&nothing).expect("policies");
    SERVED.call::<FreezeRead>(&nothing).expect("freeze");
    assert_eq!(SERVED.get("/v1/vms?consistent=true", ADMIN).status, 200);
}

#[test]
fn every_change_answers_with_its_declared_type() {
    SERVED.call::<VmCreate>(&vm("changes")).expect("created");
    let change = |force| VmChangeRequest { vm: "changes".into(), force, ..VmChangeRequest::default() };
    assert!(!SERVED.call::<VmStop>(&change(false)).expect("stop").vm.wanted_running);
    assert!(SERVED.call::<VmStart>(&change(false)).expect("start").vm.wanted_running);
    assert!(SERVED.call::<VmRestart>(&change(false)).expect("restart").vm.generation > 1);
    assert_eq!(SERVED.call::<VmStop>(&change(true)).expect_err("force").status, 409);
    let read = VmReadRequest { vm: "changes".into(), watch: false };
    assert_eq!(SERVED.call::<VmRead>(&read).expect("vm").vm.name, "changes");
    assert_eq!(SERVED.call::<VmExplain>(&read).expect("explain").chosen[0].host, HOST);
    let preview = SERVED.call::<PlacementPreview>(&vm("preview")).expect("preview");
    assert!(preview.took_us.is_some() && preview.candidates.iter().any(|c| c.host.as_deref() == Some(HOST)));
    let dry = VmCreateRequest { dry_run: true, ..vm("dry") };
    let dry = SERVED.call::<VmCreate>(&dry).expect("dry run");
    assert!(dry.vms.is_empty() && dry.operation.is_none() && dry.placement.chosen.len() == 1);
    let console = VmConsoleRequest { vm: "changes".into(), offset: Some(0), ..Default::default() };
    assert_eq!(SERVED.call::<VmConsole>(&console).expect_err("no console").code, "DWCP-R0054");
    let health = VmHealthCheckRequest { vms: vec!["changes".into()], ..Default::default() };
    assert_eq!(SERVED.call::<VmHealthCheck>(&health).expect("health").unknown, 1);
    let delete = VmDeleteRequest { vm: "changes".into(), ..Default::default() };
    let deleted = SERVED.call::<VmDelete>(&delete).expect("delete");
    let operation = deleted.operation.expect("operation").operation;
    let cancel = OperationCancelRequest { operation, dry_run: true, ..Default::default() };
    SERVED.call::<OperationCancel>(&cancel).expect("cancel");
    let plan = FailoverRequest { from: REGION.into(), dry_run: true, ..Default::default() };
    assert_eq!(SERVED.call::<FailoverStart>(&plan).expect("plan").failover.failover, "failover-plan");
    let link = LinkSetRequest { from: "all".into(), to: "all".into(), ..Default::default() };
    SERVED.call::<LinkSet>(&link).expect("links");
    std::fs::remove_file(&SERVED.links).expect("the links' file was written");
    let policy = PoliciesSetRequest { failovers_per_hour: Some(5), ..Default::default() };
    assert_eq!(SERVED.call::<PoliciesSet>(&policy).expect("policy").failovers_per_hour, 5);
    let controller = ControllerConfigureRequest { placement_cache_ttl_ms: Some(5_000), ..Default::default() };
    assert_eq!(SERVED.call::<ControllerConfigure>(&controller).expect("set").placement_cache_ttl_ms, 5_000);
    let freeze = FreezeSetRequest { state: FreezeState::NoMoves, dry_run: true, ..Default::default() };
    assert_eq!(SERVED.call::<FreezeSet>(&freeze).expect("freeze").state, FreezeState::NoMoves);
    let dry_off = RegionDisableRequest { region: REGION.into(), dry_run: true, ..Default::default() };
    let disabled = SERVED.call::<RegionDisable>(&dry_off).expect("disable");
    assert_eq!((disabled.changed, disabled.region.lifecycle), (true, Lifecycle::Disabled));
    let off = PlacementSwitchRequest { region: REGION.into(), dry_run: true, ..Default::default() };
    assert!(!SERVED.call::<RegionDisablePlacement>(&off).expect("off").region.placement.enabled);
    assert!(!SERVED.call::<RegionEnablePlacement>(&off).expect("on").changed);
    let on = RegionEnableRequest { region: REGION.into(), traffic_percent: Some(50), ..Default::default() };
    assert_eq!(SERVED.call::<RegionEnable>(&on).expect("enable").region.traffic_percent, Some(50.0));
}

#[test]
fn a_revoked_token_opens_nothing_and_ends_its_streams() {
    let create = TokenCreateRequest { user: "ci".into(), role: Some(Role::Operator), ..Default::default() };
    let made = SERVED.call::<TokenCreate>(&create).expect("token");
    assert!(SERVED.call_as::<WhoAmI>(&Nothing::default(), &made.secret, None).is_ok());
    let mut stream = SERVED.connect();
    let head = format!(
        "GET /v1/federation?watch=true HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        made.secret
    );
    stream.write_all(head.as_bytes()).expect("request");
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.by_ref().any(|line| line.expect("line").contains("answered_by")));
    let revoke = TokenRevokeRequest { token_id: made.token.token_id.clone(), ..Default::default() };
    SERVED.call::<TokenRevoke>(&revoke).expect("revoked");
    let revoked = Instant::now();
    assert_eq!(
        SERVED.call_as::<WhoAmI>(&Nothing::default(), &made.secret, None).expect_err("out").status,
        401
    );
    lines.for_each(drop);
    assert!(
        revoked.elapsed() < Duration::from_secs(5),
        "the stream outlived its token by {:?}",
        revoked.elapsed()
    );
    let tokens =
        SERVED.call::<TokenList>(&TokenListRequest { all: true, ..Default::default() }).expect("tokens");
    assert!(tokens.items.iter().any(|token| token.token_id == made.token.token_id));
}

#[test]
fn a_repeated_token_request_gets_the_token_and_the_secret_of_the_first_time() {
    let create =
        TokenCreateRequest { user: "twice".into(), expires_in_ms: Some(60_000), ..Default::default() };
    let first = SERVED.call_as::<TokenCreate>(&create, ADMIN, Some("key-token")).expect("token");
    let again = SERVED.call_as::<TokenCreate>(&create, ADMIN, Some("key-token")).expect("the same token");
    assert_eq!((&again.token.token_id, &again.secret), (&first.token.token_id, &first.secret));
    assert_eq!(again.token.expires_at_ms, first.token.expires_at_ms);
    assert_eq!(
        SERVED.call_as::<WhoAmI>(&Nothing::default(), &again.secret, None).expect("who").user,
        "twice"
    );
    let other = TokenCreateRequest { expires_in_ms: Some(61_000), ..create.clone() };
    let problem =
        SERVED.call_as::<TokenCreate>(&other, ADMIN, Some("key-token")).expect_err("another request");
    assert_eq!(problem.code, "DWCP-R0045");
    let keyless = SERVED.call_as::<TokenCreate>(&create, ADMIN, None).expect("token");
    assert_ne!(keyless.secret, first.secret);
}

#[test]
fn events_say_why_somebody_set_the_freeze_switch_and_what_it_was() {
    let set =
        |state, reason: &str| FreezeSetRequest { state, reason: Some(reason.into()), ..Default::default() };
    let now = SERVED.call::<FreezeSet>(&set(FreezeState::NoMoves, "rack work")).expect("set");
    assert_eq!((now.reason.as_str(), now.by.as_deref()), ("rack work", Some("admin")));
    SERVED.call::<FreezeSet>(&set(FreezeState::Active, "done")).expect("lifted");
    assert_eq!(
        SERVED.call::<FreezeSet>(&set(FreezeState::Frozen, "a\nb")).expect_err("two lines").status,
        400
    );
    let events = SERVED.call::<EventList>(&EventListRequest::default()).expect("events").items;
    let event = events.iter().find(|event| event.reason.as_deref() == Some("rack work")).expect("the event");
    assert_eq!((event.before.as_deref(), event.after.as_deref()), (Some("active"), Some("no-moves")));
    assert!(event.message.contains("rack work") && event.request_id.is_some() && event.by == "admin");
}

#[test]
fn state_sync_is_how_long_commands_took_until_they_were_readable() {
    SERVED.call::<VmCreate>(&vm("synced")).expect("created");
    let sync = SERVED.call::<FederationRead>(&Default::default()).expect("federation").state_sync;
    let (p50, p99) = (sync.p50_ms.expect("measured"), sync.p99_ms.expect("measured"));
    assert!(p50 > 0.0 && p50 <= p99 && p99 < 5_000.0, "{p50} {p99}");
}

#[test]
fn a_change_that_expects_a_revision_is_refused_only_when_its_own_record_changed() {
    let first = SERVED.call::<VmCreate>(&vm("expects")).expect("created").vms.remove(0);
    SERVED.call::<VmCreate>(&vm("bystander")).expect("created");
    let change = |expected: u64| VmChangeRequest {
        vm: "expects".into(),
        expected_revision: Some(expected),
        ..VmChangeRequest::default()
    };
    let stop = change(first.revision);
    let stopped = SERVED.call_as::<VmStop>(&stop, ADMIN, Some("key-expects")).expect("nobody changed it").vm;
    assert!(!stopped.wanted_running && stopped.revision > first.revision);
    SERVED.call_as::<VmStop>(&stop, ADMIN, Some("key-expects")).expect("the same request, answered as then");
    for refused in
        [SERVED.call::<VmStart>(&stop), SERVED.call::<VmStart>(&VmChangeRequest { dry_run: true, ..stop })]
    {
        let problem = refused.expect_err("stale");
        assert_eq!(problem.code, "DWCP-R0032");
        let numbers = format!("expected revision {}, it has {}", first.revision, stopped.revision);
        assert_eq!(problem.cause, vec![numbers]);
        assert!(problem.attempts[0].starts_with("dwcp-cli vm show "), "{problem:?}");
    }
    SERVED.call::<VmStart>(&change(stopped.revision)).expect("read again, sent again");
}

#[test]
fn reads_are_fast() {
    SERVED.get("/v1/federation", ADMIN);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(SERVED.get("/v1/federation", ADMIN).status, 200);
    }
    let mean = began.elapsed() / 20;
    println!("GET /v1/federation: {mean:?} on a connection of its own");
    assert!(mean < Duration::from_millis(100), "{mean:?}");
}

#[test]
fn one_decision_asks_for_each_regions_table_once() {
    let served = Served::start("cache");
    let stats = || served.call::<CacheStatsRead>(&Nothing {}).expect("stats").caches[0].clone();
    let dry = VmCreateRequest { dry_run: true, ..vm("dry") };
    let mut counts = Vec::new();
    for _ in 0..3 {
        served.call::<VmCreate>(&dry).expect("dry run");
        let stats = stats();
        counts.push((stats.hits, stats.misses, stats.entries));
    }
    assert_eq!(counts, [(0, 1, 1), (1, 1, 1), (2, 1, 1)]);
    let off = ControllerConfigureRequest { placement_cache_ttl_ms: Some(0), ..Default::default() };
    served.call::<ControllerConfigure>(&off).expect("set");
    served.call::<VmCreate>(&dry).expect("dry run");
    let stats = stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (2, 2, 0), "no table is kept");
}
