use super::answers::answer;
use super::fake::{Fake, Home};

const TABLES: [&str; 13] = [
    "federation status --global",
    "federation region list",
    "federation region status --region us-east-1 --verbose",
    "federation region health-check --region eu-west-1",
    "federation events list",
    "federation state queue-depth",
    "federation state verify-sync",
    "network latency-matrix",
    "federation failover status",
    "vm list",
    "vm show web",
    "vm explain web",
    "operation list",
];

#[test]
fn eighty_columns_are_enough_for_every_table() {
    let fake = Fake::start(answer);
    let home = Home::new();
    for line in TABLES {
        let ran = home.run_with(line, &[("DWCP_ENDPOINT", &fake.endpoint), ("COLUMNS", "80")], "");
        for row in ran.stdout.lines() {
            assert!(row.chars().count() <= 80, "{line}: {} columns\n{}", row.chars().count(), ran.stdout);
        }
    }
}

#[test]
fn a_pipe_gets_neither_colours_nor_cut_columns() {
    let fake = Fake::start(answer);
    let home = Home::new();
    for line in TABLES {
        let ran = home.run_with(line, &[("DWCP_ENDPOINT", &fake.endpoint)], "");
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{line}");
        assert!(!ran.stdout.contains("left out"), "{line}");
    }
}

#[test]
fn every_read_says_how_old_it_is() {
    let fake = Fake::start(answer);
    let home = Home::new();
    for line in TABLES {
        let ran = home.run_with(line, &[("DWCP_ENDPOINT", &fake.endpoint)], "");
        assert!(ran.stdout.contains("as of  us-east-1 0.1s, eu-west-1 unknown"), "{line}\n{}", ran.stdout);
    }
}

#[test]
fn json_and_yaml_say_null_where_nothing_is_known() {
    let fake = Fake::start(answer);
    let home = Home::new();
    let ask = |format: &str| {
        home.run(&format!("--endpoint {} federation status --format {format}", fake.endpoint)).stdout
    };
    let json: serde_json::Value = serde_json::from_str(&ask("json")).unwrap();
    assert_eq!(json["regions"][1]["vms"], serde_json::Value::Null);
    assert_eq!(json["regions"][1]["health"]["state"], "unknown");
    assert!(ask("yaml").contains("vms: null"));
}

#[test]
fn output_writes_the_whole_file_or_nothing() {
    let fake = Fake::start(answer);
    let home = Home::new();
    let ran = home.run(&format!("--endpoint {} vm list --format csv --output vms.csv", fake.endpoint));
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""));
    let csv = std::fs::read_to_string(home.0.join("vms.csv")).unwrap();
    assert!(csv.starts_with("name,state,region,host,healthy,"), "{csv}");
    let left: Vec<_> = std::fs::read_dir(&home.0).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    let ran = home.run(&format!("--endpoint {} vm list --output no/such/folder", fake.endpoint));
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("--output no/such/folder"), "{}", ran.stderr);
}

#[test]
fn help_answers_at_once() {
    let home = Home::new();
    let fastest = (0..20)
        .map(|_| {
            let began = std::time::Instant::now();
            assert_eq!(home.run("--help").exit, 0);
            began.elapsed()
        })
        .min()
        .unwrap();
    // The bound is 10 ms for the release program; this one is built without optimisation.
    assert!(fastest.as_millis() < 50, "{fastest:?}");
}
