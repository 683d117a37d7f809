use super::answers::answer;
use super::fake::{Fake, Home};

#[test]
fn a_context_is_added_used_shown_and_forgotten() {
    let home = Home::new();
    let ran = home.run("context add dev --endpoint http://127.0.0.1:1,http://127.0.0.1:2 --token s3cret");
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, "context 'dev' is stored\n"), "{}", ran.stderr);
    assert_eq!(home.run("context add prod --endpoint http://127.0.0.1:3").exit, 0);
    assert_eq!(home.run("context use prod").exit, 0);
    let list = home.run("context list").stdout;
    assert!(list.contains("*        prod  no") && list.contains("dev   yes"), "{list}");
    let shown = home.run("context show dev").stdout;
    assert!(shown.contains("http://127.0.0.1:1, http://127.0.0.1:2") && !shown.contains("s3cret"), "{shown}");
    assert_eq!(home.run("context use mars").exit, 3);
    assert_eq!(home.run("context remove prod").exit, 0);
    assert_eq!(home.run("context show").exit, 3);
}

#[test]
fn the_configuration_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.run("context add dev --endpoint http://127.0.0.1:1 --token s3cret");
    let file = home.0.join(".config/dwcp/config.yaml");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn login_checks_the_token_before_it_stores_it() {
    let fake = Fake::start(answer);
    let home = Home::new();
    let line = format!("login --context dev --endpoint {}", fake.endpoint);
    let ran = home.run_with(&line, &[], "s3cret\n");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert!(fake.arrived()[0].body.contains("s3cret"));
    assert_eq!(home.run("vm list").exit, 0);
    let sent = fake.arrived().last().unwrap().headers["authorization"].clone();
    assert_eq!(sent, "Bearer s3cret");

    let refusing = Fake::start(|_| super::answers::problem(401, "DWCP-R0020", "no valid token"));
    let ran = home.run_with(&format!("login --context other --endpoint {}", refusing.endpoint), &[], "bad\n");
    assert_eq!(ran.exit, 4);
    assert_eq!(home.run("context show other").exit, 3);
}

#[test]
fn a_broken_configuration_names_line_and_column() {
    let home = Home::new();
    let folder = home.0.join(".config/dwcp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.yaml"), "contexts:\n  - nmae: dev\n    endpoints: [https://x:1]\n")
        .unwrap();
    let ran = home.run("vm list");
    assert_eq!(ran.exit, 2);
    assert!(
        ran.stderr.contains("line 2, column 5: contexts[0]: unknown key 'nmae'; did you mean 'name'?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn config_check_tells_every_mistake_with_its_place() {
    let home = Home::new();
    std::fs::write(home.0.join("dwcpd.yaml"), "federation: dev\nregoin: us-east-1\nnumber: -1\n").unwrap();
    let ran = home.run("config check dwcpd.yaml");
    assert_eq!(ran.exit, 2);
    for part in [
        "unknown key 'regoin'; did you mean 'region'?",
        "line 3, column 9: number: '-1' is not a region number",
        "'data_dir' is missing",
    ] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.stderr);
    }
    std::fs::write(home.0.join("host.yaml"), "host: h1\nvcpus: 0\n").unwrap();
    let ran = home.run("config check host.yaml");
    assert!(ran.exit == 2 && ran.stderr.contains("(host.yaml of an agent)"), "{}", ran.stderr);
    std::fs::write(home.0.join("contexts.yaml"), "contexts: []\n").unwrap();
    assert_eq!(home.run("config check contexts.yaml").exit, 0);
    assert_eq!(home.run("config check nowhere.yaml").exit, 2);
}
