use std::collections::BTreeMap;

use dwcp_api::event::{EventList, EventListRequest, Severity};
use dwcp_api::region::{RegionEnable, RegionEnableRequest};
use dwcp_api::vm::{VmCreate, VmCreateRequest, VmList, VmListRequest};
use dwcp_api::vm_spec::Priority;
use dwcp_api::{Endpoint, Method, Permission, Problem, Role, decode, encode};

fn path(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn a_query_comes_back_as_it_was_sent() {
    let request = EventListRequest {
        region: Some("us east&1".into()),
        since_ms: Some(3_600_000),
        severity: Some(Severity::Warning),
        limit: Some(10),
        watch: true,
        ..Default::default()
    };
    let call = encode::<EventList>(&request).unwrap();
    assert_eq!(
        call.target,
        "/v1/events?limit=10&region=us%20east%261&severity=warning&since_ms=3600000&watch=true"
    );
    let query = call.target.split_once('?').unwrap().1;
    assert_eq!(decode::<EventList>(&path(&[]), Some(query), b"").unwrap(), request);
}

#[test]
fn lists_travel_in_a_query_as_commas() {
    let request = VmListRequest { label: vec!["app=web".into(), "tier=1".into()], ..Default::default() };
    let call = encode::<VmList>(&request).unwrap();
    let query = call.target.split_once('?').unwrap().1;
    assert_eq!(decode::<VmList>(&path(&[]), Some(query), b"").unwrap(), request);
}

#[test]
fn a_path_parameter_leaves_the_body() {
    let request =
        RegionEnableRequest { region: "a/b".into(), traffic_percent: Some(10), ..Default::default() };
    let call = encode::<RegionEnable>(&request).unwrap();
    assert_eq!((call.method, call.target.as_str()), (Method::Post, "/v1/regions/a%2Fb/enable"));
    let body = serde_json::to_vec(&call.body.unwrap()).unwrap();
    assert_eq!(decode::<RegionEnable>(&path(&[("region", "a/b")]), None, &body).unwrap(), request);
}

#[test]
fn an_empty_path_parameter_is_not_sent() {
    assert!(encode::<RegionEnable>(&RegionEnableRequest::default()).is_err());
}

#[test]
fn a_misspelt_field_is_refused() {
    let problem = decode::<VmCreate>(&path(&[]), None, br#"{"name":"a","memory_mb":64}"#).unwrap_err();
    assert_eq!(problem.status, 400);
    assert!(problem.cause[0].contains("memory_mb"), "{problem:?}");
    let problem = decode::<VmList>(&path(&[]), Some("regoin=x"), b"").unwrap_err();
    assert!(problem.cause[0].contains("regoin"), "{problem:?}");
}

#[test]
fn a_field_of_the_wrong_kind_is_named_with_its_path() {
    let problem = decode::<VmCreate>(&path(&[]), None, br#"{"name":"a","vcpus":-1}"#).unwrap_err();
    assert_eq!(problem.field.as_deref(), Some("vcpus"));
    assert!(problem.cause[0].starts_with("vcpus: "), "{problem:?}");
    let nested = br#"{"name":"a","policy":{"max_latency":{"to":7,"max_latency_ms":5}}}"#;
    let problem = decode::<VmCreate>(&path(&[]), None, nested).unwrap_err();
    assert_eq!(problem.field.as_deref(), Some("policy.max_latency.to"));
}

#[test]
fn a_query_number_that_is_none_names_its_field() {
    let problem = decode::<EventList>(&path(&[]), Some("limit=many"), b"").unwrap_err();
    assert!(problem.cause[0].starts_with("limit: 'many'"), "{problem:?}");
}

#[test]
fn priorities_are_words_or_numbers() {
    for (text, number) in [("\"critical\"", 100), ("\"low\"", 25), ("80", 80)] {
        let body = format!(r#"{{"name":"a","priority":{text}}}"#);
        let request: VmCreateRequest = decode::<VmCreate>(&path(&[]), None, body.as_bytes()).unwrap();
        assert_eq!(request.priority, Priority(number));
    }
    assert!(decode::<VmCreate>(&path(&[]), None, br#"{"name":"a","priority":101}"#).is_err());
}

#[test]
fn a_viewer_reads_and_an_operator_changes() {
    assert!(Role::Viewer.allows(Permission::Read) && !Role::Viewer.allows(Permission::Operate));
    assert!(Role::Operator.allows(VmCreate::NEEDS) && !Role::Operator.allows(Permission::Administer));
    assert!(Role::Admin.allows(Permission::Administer));
}

#[test]
fn a_problem_of_an_older_server_can_be_read() {
    let problem: Problem =
        serde_json::from_str(r#"{"title":"no","status":409,"code":"DWCP-R0031","new":1}"#).unwrap();
    assert_eq!((problem.status, problem.cause.len()), (409, 0));
}
