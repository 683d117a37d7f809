use dwcp_config::cli::{CliConfig, Context};

#[test]
fn contexts_come_back_as_they_were_written() {
    let mut config = CliConfig::default();
    config.put(Context {
        name: "dev".into(),
        endpoints: vec!["https://127.77.1.1:7443".into(), "https://127.77.2.1:7443".into()],
        ca: Some("-----BEGIN CERTIFICATE-----\nMIIB: \"x\"\n-----END CERTIFICATE-----\n".into()),
        token: Some("dwcp_0123".into()),
    });
    config.put(Context {
        name: "123".into(),
        endpoints: vec!["http://[::1]:80".into()],
        ..Default::default()
    });
    let text = config.to_yaml();
    assert_eq!(CliConfig::parse(&text).unwrap(), config, "{text}");
}

#[test]
fn an_empty_file_has_no_contexts() {
    assert_eq!(CliConfig::parse("# nothing yet\n").unwrap(), CliConfig::default());
    assert_eq!(CliConfig::parse(&CliConfig::default().to_yaml()).unwrap(), CliConfig::default());
}

#[test]
fn every_complaint_comes_at_once_with_its_place() {
    let text = "current: prod\ncontexts:\n  - nmae: dev\n    endpoints: [ftp://x]\n    tokn: abc\n";
    let told = CliConfig::parse(text).unwrap_err().to_string();
    for part in [
        "line 1, column 10: current: there is no context 'prod'",
        "contexts[0]: 'name' is missing",
        "line 3, column 5: contexts[0]: unknown key 'nmae'; did you mean 'name'?",
        "'ftp://x' is not an endpoint",
        "line 5, column 5: contexts[0]: unknown key 'tokn'; did you mean 'token'?",
    ] {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}

#[test]
fn text_that_is_no_yaml_names_its_line() {
    let complaints = CliConfig::parse("current: dev\ncontexts: [\n").unwrap_err();
    assert!(complaints.0[0].line >= 2, "{complaints}");
    assert!(!complaints.0[0].message.is_empty());
}

#[test]
fn a_list_where_a_mapping_belongs_is_told_once() {
    let complaints = CliConfig::parse("- a\n- b\n").unwrap_err();
    assert_eq!(complaints.0.len(), 1, "{complaints}");
}
