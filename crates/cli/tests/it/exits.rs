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
        ("dev link set --from a --to b --loss 200", "--loss"),
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
