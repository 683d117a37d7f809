use dwcp_config::region::RegionConfig;

const GOOD: &str = "\
federation: dev
region: us-east-1
number: 1
dev: true
data_dir: .dwcp/us-east-1
listen:
  api: 127.77.1.1:7443
  mesh: 127.77.1.1:7443
pki:
  ca: pki/ca.pem
  certificate: pki/us-east-1.pem
  key: pki/us-east-1.key
peers:
  - { region: us-east-1, number: 1, mesh: 127.77.1.1:7443, api: https://127.77.1.1:7443 }
  - { region: eu-west-1, number: 2, mesh: 127.77.2.1:7443, api: https://127.77.2.1:7443 }
  - { region: ap-south-1, number: 3, mesh: 127.77.3.1:7443, api: https://127.77.3.1:7443 }
voters: [us-east-1, eu-west-1, ap-south-1]
wan: wan.toml
bootstrap_admin_token_sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
timing:
  lease: 2s
genesis:
  - region: eu-west-1
    priority: 90
    compliance: [gdpr]
    jurisdiction: eu
    prices: { vcpu_usd_hour: 0.02, memory_gib_usd_hour: 0.003 }
";

#[test]
fn a_good_file_becomes_settings() {
    let config = RegionConfig::parse(GOOD).unwrap();
    assert_eq!((config.region.as_str(), config.number, config.dev), ("us-east-1", 1, true));
    assert_eq!((config.peers.len(), config.voters.len()), (3, 3));
    assert_eq!((config.timing.lease_ms, config.timing.beat_ms), (2_000, 250));
    let eu = &config.genesis["eu-west-1"];
    assert_eq!((eu.priority, eu.jurisdiction.as_str(), eu.vcpu_usd_hour), (90, "eu", 0.02));
}

#[test]
fn each_wrong_value_is_told_with_its_line() {
    let cases = [
        ("number: 1\n", "number: 7\n", "line 3, column 9: number: 'us-east-1' has number 7 here and 1 among"),
        ("number: 1\n", "", "line 1, column 1: 'number' is missing"),
        ("dev: true", "dev: maybe", "line 4, column 6: dev: 'maybe' is neither true nor false"),
        ("dev: true", "dev: false", "wan: links are emulated only with 'dev: true'"),
        (
            "api: 127.77.1.1:7443\n",
            "api: localhost\n",
            "line 7, column 8: listen.api: 'localhost' is not an address",
        ),
        ("eu-west-1, ap-south-1]", "mars]", "line 17, column 9: voters: 'mars' is not among the peers"),
        ("lease: 2s", "lease: soon", "line 21, column 10: timing.lease: 'soon' is not a duration"),
        ("lease: 2s", "lease: 9h", "timing.lease: '9h' is out of range"),
        ("lease: 2s", "beat: 2s", "timing: 'loss_after' must be at least four times 'beat'"),
        ("priority: 90", "priority: 101", "genesis[0].priority: '101' is not a whole number from 0 to 100"),
        ("0123456789abcdef0123456789abcdef0123", "zz", "not a SHA-256 in hex"),
        ("dev: true", "dev: true\njoins: true", "voters: with 'joins: true' the federation says who votes"),
        ("number: 2,", "number: 1,", "'us-east-1' and 'eu-west-1' have the same number 1"),
    ];
    for (from, to, expected) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from:?}");
        let told = RegionConfig::parse(&text).unwrap_err().to_string();
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
}

#[test]
fn an_empty_file_tells_all_that_is_missing() {
    let told = RegionConfig::parse("").unwrap_err();
    for name in ["federation", "region", "number", "data_dir", "listen", "pki"] {
        assert!(told.0.iter().any(|c| c.message == format!("'{name}' is missing")), "{name}:\n{told}");
    }
}

#[test]
fn a_region_that_joins_names_no_voters() {
    let text = GOOD.replacen("voters: [us-east-1, eu-west-1, ap-south-1]", "joins: true", 1);
    let config = RegionConfig::parse(&text).unwrap();
    assert!(config.joins && config.voters.is_empty());
    assert!(!RegionConfig::parse(GOOD).unwrap().joins);
    assert!(RegionConfig::parse(&text.replace("joins: true", "joins: false")).is_err(), "somebody must vote");
}

const ETCD: &str = "\
state:
  store: etcd
  etcd:
    endpoints: [https://10.0.0.1:2379, https://10.0.0.2:2379]
    ca: etcd-ca.pem
    certificate: etcd.pem
    key: etcd.key
    patience: 2m
";

#[test]
fn the_state_is_embedded_unless_an_etcd_cluster_is_named() {
    assert_eq!(RegionConfig::parse(GOOD).unwrap().state.etcd, None);
    let embedded = RegionConfig::parse(&format!("{GOOD}state: {{ store: embedded }}\n")).unwrap();
    assert_eq!(embedded.state.etcd, None);
    let etcd = RegionConfig::parse(&format!("{GOOD}{ETCD}")).unwrap().state.etcd.unwrap();
    assert_eq!((etcd.endpoints.len(), etcd.prefix, etcd.compact, etcd.patience_ms), (2, None, true, 120_000));
}

#[test]
fn half_an_etcd_cluster_is_told() {
    let cases = [
        ("store: etcd", "store: redis", "state.store: 'redis' is neither embedded nor etcd"),
        ("store: etcd", "store: embedded", "state.etcd: it is used only with 'store: etcd'"),
        ("https://10.0.0.1:2379", "10.0.0.1", "state.etcd.endpoints: '10.0.0.1' is not an endpoint"),
        ("    key: etcd.key\n", "", "'certificate' and 'key' belong together"),
        (
            "    endpoints: [https://10.0.0.1:2379, https://10.0.0.2:2379]\n",
            "",
            "at least one endpoint is needed",
        ),
        ("patience: 2m", "patience: 1s", "state.etcd.patience: '1s' is out of range"),
    ];
    for (from, to, expected) in cases {
        let text = format!("{GOOD}{}", ETCD.replacen(from, to, 1));
        let told = RegionConfig::parse(&text).unwrap_err().to_string();
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
    let told = RegionConfig::parse(&format!("{GOOD}state: {{ store: etcd }}\n")).unwrap_err().to_string();
    assert!(told.contains("needs 'etcd' with its endpoints"), "{told}");
}

const OTLP: &str = "\
telemetry:
  otlp:
    endpoint: https://collector:4318/tenants/7
    headers_file: headers
    metrics: false
    interval: 30s
";

#[test]
fn nobody_else_is_told_unless_a_collector_is_named() {
    assert_eq!(RegionConfig::parse(GOOD).unwrap().telemetry.otlp, None);
    let otlp = RegionConfig::parse(&format!("{GOOD}{OTLP}")).unwrap().telemetry.otlp.unwrap();
    assert_eq!((otlp.logs, otlp.metrics, otlp.traces, otlp.interval_ms), (true, false, true, 30_000));
    assert_eq!((otlp.headers_file.as_deref(), otlp.ca), (Some("headers"), None));
    for (good, bad, complaint) in [
        (
            "https://collector:4318/tenants/7",
            "collector:4318",
            "otlp.endpoint: 'collector:4318' is not an endpoint",
        ),
        ("https://collector:4318/tenants/7", "https:///v1", "is not an endpoint"),
        ("https://collector:4318/tenants/7", "https://user@collector", "is not an endpoint"),
        ("    endpoint: https://collector:4318/tenants/7\n", "", "endpoint"),
        ("interval: 30s", "interval: 10ms", "otlp.interval: '10ms' is out of range"),
        ("metrics: false", "metrics: some", "otlp.metrics"),
        ("headers_file", "header_file", "header_file"),
    ] {
        assert!(OTLP.contains(good), "{good}");
        let text = format!("{GOOD}{}", OTLP.replace(good, bad));
        let told = RegionConfig::parse(&text).unwrap_err().to_string();
        assert!(told.contains(complaint), "{bad}: {told}");
    }
}
