use super::answers::{answer, problem};
use super::fake::{Fake, Home};

/// Exit code of a command whose request is answered with this error.
fn exit_on(status: u16, code: &'static str) -> i32 {
    let fake = Fake::start(move |_| problem(status, code, "no"));
    Home::new().run(&format!("--endpoint {} vm show web", fake.endpoint)).exit
}

#[test]
fn each_kind_of_refusal_has_its_exit_code() {
    assert_eq!(exit_on(400, "DWCP-R0001"), 2);
    assert_eq!(exit_on(404, "DWCP-R0011"), 3);
    assert_eq!(exit_on(401, "DWCP-R0020"), 4);
    assert_eq!(exit_on(403, "DWCP-R0021"), 4);
    assert_eq!(exit_on(409, "DWCP-R0030"), 5);
    assert_eq!(exit_on(503, "DWCP-R0050"), 6);
}

#[test]
fn a_code_of_a_later_version_is_judged_by_its_status() {
    assert_eq!(exit_on(404, "DWCP-R9001"), 3);
    assert_eq!(exit_on(409, "DWCP-R9002"), 5);
    assert_eq!(exit_on(500, "DWCP-R9003"), 1);
}

#[test]
fn an_operation_ends_with_its_own_exit_code() {
    for (state, exit) in [("done", 0), ("partly", 7), ("failed", 1), ("cancelled", 1)] {
        let fake = Fake::start(move |request| {
            if request.route() != "GET /v1/operations/op_7f3" {
                return answer(request);
            }
            let operation = super::answers::operation("vm_change", state, 1);
            (200, serde_json::json!({ "operation": operation, "as_of": [] }).to_string())
        });
        let ran = Home::new().run(&format!("--endpoint {} vm start web --quiet", fake.endpoint));
        assert_eq!((ran.exit, ran.stderr.as_str()), (exit, ""), "{state}");
    }
}

#[test]
fn a_refusal_says_what_why_next_and_what_to_type() {
    let fake = Fake::start(|_| problem(409, "DWCP-R0031", "cannot start web"));
    let ran = Home::new().run(&format!("--endpoint {} vm start web", fake.endpoint));
    assert_eq!(
        ran.stderr,
        "refused DWCP-R0031: cannot start web\n\
         \u{20} cause   180 VMs need 212 vCPUs; 140 are free\n\
         \u{20} next    nothing was changed\n\
         \u{20} try     dwcp-cli federation status --global\n\
         \u{20} more    dwcp-cli explain DWCP-R0031\n\
         \u{20} request req_42\n"
    );
    let json = Home::new().run(&format!("--endpoint {} vm start web --format json", fake.endpoint)).stderr;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["code"], "DWCP-R0031");
}

#[test]
fn bad_input_is_refused_before_anything_is_asked() {
    let fake = Fake::start(answer);
    let home = Home::new();
    for (line, named) in [
        ("federation region enable --region us-east-1 --traffic-percentage 101", "--traffic-percentage"),
        ("federation failover --from-region a --max-time soon", "--max-time"),
        ("federation failover --from-region a --to-regions b,,c", "--to-regions"),
        ("federation failover --from-region a --priority urgent", "--priority"),
        ("vm create --name web --count -3", "--count"),
        ("vm create --name web --count 0", "--count"),
        ("vm create --name web --memory 4XB", "--memory"),
        ("vm create --name web --probe smtp:25", "--probe"),
        ("vm create", "--name"),
        ("vm list --state runing", "--state"),
        ("vm list --format xml", "--format"),
        ("federation events list --since yesterday", "--since"),
        ("federation controller configure", "--placement-cache-ttl"),
        ("federation controller configure --profile fast", "--profile"),
        ("federation vm health-check", "--all"),
        ("dev link --from a --to b --loss 200", "--loss"),
        ("--endpoint ftp://x vm list", "--endpoint"),
        ("--timeout 5 vm list", "--timeout"),
    ] {
        let ran = home.run_with(line, &[("DWCP_ENDPOINT", &fake.endpoint)], "");
        assert_eq!(ran.exit, 2, "{line}\n{}", ran.stderr);
        assert!(ran.stderr.contains(named), "{line}\n{}", ran.stderr);
    }
    assert!(fake.arrived().is_empty(), "{:?}", fake.arrived());
}

#[test]
fn an_answer_that_is_no_answer_is_a_failure() {
    let fake = Fake::start(|_| (200, "<html>".to_owned()));
    assert_eq!(Home::new().run(&format!("--endpoint {} vm list", fake.endpoint)).exit, 1);
}

#[test]
fn a_vm_file_is_what_is_asked_for_and_its_mistakes_are_named_by_line_and_column() {
    let home = Home::new();
    std::fs::write(home.0.join("bad.yaml"), "name: filed\nvcpus: two\n").unwrap();
    let ran = home.run("vm create --file bad.yaml");
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("line 2, column 8"), "{}", ran.stderr);
    std::fs::write(home.0.join("vm.yaml"), "name: filed\nvcpus: 2\npolicy: {regions_allow: [eu-west-1]}\n")
        .unwrap();
    let ran = home.run("vm create --file vm.yaml --vcpus 3");
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    let fake = Fake::start(|_| problem(409, "DWCP-R0030", "no"));
    assert_eq!(
        home.run(&format!("--endpoint {} vm create --file vm.yaml --name other", fake.endpoint)).exit,
        5
    );
    let asked: serde_json::Value = serde_json::from_str(&fake.arrived()[0].body).unwrap();
    assert_eq!((&asked["name"], &asked["vcpus"]), (&"other".into(), &2.into()));
    assert_eq!(asked["policy"]["regions_allow"][0], "eu-west-1");
}

#[test]
fn explaining_a_refused_creation_shows_every_candidate_and_keeps_the_exit_code() {
    let fake = Fake::start(|request| match request.route().as_str() {
        "POST /v1/vms" => problem(409, "DWCP-R0030", "web fits nowhere"),
        _ => answer(request),
    });
    let ran = Home::new().run(&format!("--endpoint {} vm create --name web --explain", fake.endpoint));
    assert_eq!(ran.exit, 5);
    assert!(ran.stdout.contains("candidates"), "{}", ran.stdout);
    assert!(ran.stderr.contains("web fits nowhere"), "{}", ran.stderr);
}
