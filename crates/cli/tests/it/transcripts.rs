//! What each command prints, word for word. `DWCP_BLESS=1` writes the files anew; read the difference.

use std::path::{Path, PathBuf};

use super::answers::answer;
use super::fake::{Fake, Home};

/// File of the transcripts, and the command lines in it.
const FILES: [(&str, &[&str]); 22] = [
    ("alerts", &super::alert_answers::COMMANDS),
    ("telemetry", &super::telemetry_answers::COMMANDS),
    (
        "sla",
        &[
            "federation monitoring sla summary",
            "federation monitoring sla summary --format csv",
            "federation monitoring sla status",
            "federation monitoring sla status --name vm-availability",
            "federation monitoring sla status --name mars",
            "federation monitoring sla history --range 30d",
            "federation monitoring sla history --range soon",
            "federation monitoring sla breaches --since 30d",
            "federation monitoring sla breach-details --breach-id breach-001",
            "federation monitoring sla breach-details --breach-id breach-009",
            "federation monitoring sla create --name gold --target 99.99% --scope tenant:shop --measure availability --period 30d --exclude-maintenance",
            "federation monitoring sla create --name quick --target 20s --measure failover-time --dry-run",
            "federation monitoring sla create --name gold --target 101% --measure availability",
            "federation monitoring sla create --name gold --target 99.99999% --measure availability",
            "federation monitoring sla create --name gold --target 99% --measure latency",
            "federation monitoring sla create --name gold --target 99% --measure luck",
            "federation monitoring sla create --name gold --target 99% --measure availability --period 90d",
            "federation monitoring sla list",
            "federation monitoring sla remove --name gold",
            "federation monitoring sla report --range 30d --format pdf --output sla.pdf",
        ],
    ),
    (
        "federation",
        &[
            "federation status --global",
            "federation status --global --format csv",
            "federation capacity summary",
            "federation capacity summary --region us-east-1 --format csv",
            "federation survivability",
            "federation survivability --region us-east-1 --format csv",
            "federation promises",
            "federation promises --region us-east-1 --format csv",
            "federation events list --region us-east-1 --since 1h",
            "federation state lag-matrix",
            "federation state queue-depth",
            "federation state show",
            "federation state configure --replication-workers 20 --compression true --sync-interval 10s",
            "federation state configure --compression false --dry-run",
            "federation state configure --replication-workers 65",
            "federation state configure --sync-interval soon",
            "federation state configure",
            "federation state verify-sync",
            "federation state verify-sync --region us-east-1",
            "federation state verify-sync --region sa-east-1",
            "federation state verify-sync --region mars",
            "federation state verify-sync --format csv",
            "federation state force-sync --source us-east-1 --targets all",
            "federation state force-sync --source us-east-1 --targets eu-west-1 --dry-run",
            "federation state force-sync --source us-east-1 --targets us-east-1",
            "federation state force-sync --source us-east-1 --targets all,eu-west-1",
            "federation state force-sync --source eu-west-1 --targets us-east-1",
            "federation network latency-matrix",
            "network latency-matrix",
            "network latency-matrix --format csv",
            "federation controller configure --placement-cache-ttl 5m",
            "federation controller configure --parallel-scoring true --dry-run",
            "federation controller show",
            "federation controller cache-stats",
            "federation freeze",
            "federation freeze no-moves --reason storm",
            "federation policy show",
            "federation policy set --auto-failover false --loss-after 5s",
            "federation policy set --rto-target 45s",
        ],
    ),
    (
        "regions",
        &[
            "federation region list",
            "federation region status --region us-east-1 --compact",
            "federation region status --region us-east-1",
            "federation region status --region us-east-1 --verbose",
            "federation region status --region us-east-1 --compact --format yaml",
            "federation region status --region mars",
            "federation region health-check --region us-east-1",
            "federation region health-check --region eu-west-1",
            "federation region vm-count --region us-east-1",
            "federation region vm-count --region eu-west-1",
            "federation region vm-count --region sa-east-1",
            "federation region enable --region us-east-1 --traffic-percentage 10",
            "federation region disable --region us-east-1 --fence --reason fire",
            "federation region enable-placement --region us-east-1",
            "federation region disable-placement --region us-east-1 --dry-run",
        ],
    ),
    (
        "membership",
        &[
            "infrastructure pools",
            "infrastructure pools --region sa-east-1 --format csv",
            "infrastructure deploy --region eu-central-1 --components controller,state-manager,router,monitor",
            "infrastructure deploy --region eu-central-1 --dry-run",
            "infrastructure deploy --region eu-central-1 --components controller,state-manager",
            "infrastructure deploy --region eu-central-1 --components database",
            "infrastructure deploy --region us-east-1",
            "federation region deploy --region eu-central-1 --capacity 10000 --priority 85",
            "federation region connectivity-test --region us-east-1 --test-all-regions",
            "federation region verify-connectivity --region eu-west-1",
            "federation state enable-region --region eu-central-1",
            "federation state enable-region --region eu-central-1 --dry-run",
            "federation region set-traffic --region us-east-1 --percentage 25",
            "federation region set-traffic --region us-east-1 --percentage 125",
            "federation region remove --region us-east-1 --confirm",
            "federation region remove --region sa-east-1",
            "federation region remove --region sa-east-1 --confirm",
            "infrastructure cleanup --region sa-east-1",
        ],
    ),
    (
        "controllers",
        &[
            "infrastructure scale --component controller --replicas +2",
            "infrastructure scale --component controller --replicas 3 --region us-east-1 --dry-run",
            "infrastructure scale --component controller --replicas 0 --region us-east-1",
            "infrastructure scale --component controller --replicas -1 --region us-east-1 --format csv",
            "infrastructure scale --component controller --replicas many",
            "infrastructure scale --component controller --replicas +2 --region mars",
            "infrastructure scale --component state-manager --replicas +2",
            "infrastructure scale --component router --replicas 1 --region us-east-1",
            "infrastructure scale --component router --replicas 1 --region us-east-1 --format json",
            "federation controller status",
            "federation controller status --region us-east-1 --format csv",
        ],
    ),
    (
        "restoration",
        &[
            "federation restoration status",
            "federation restoration status --format csv",
            "federation restoration write-off --region us-east-1 --host us-east-1-b1",
            "federation restoration write-off --region us-east-1 --host us-east-1-b1 --yes --reason burnt",
            "federation restoration write-off --region us-east-1 --host us-east-1-a1 --yes",
            "federation restoration decide web-4",
            "federation restoration decide web-4 --forget --reason deleted",
            "federation restoration decide web-4 --start --dry-run",
        ],
    ),
    (
        "configuration",
        &[
            "federation region evaluate --candidates eu-central-1,ap-northeast-1,ca-central-1",
            "federation region cost-analysis --region eu-central-1 --expected-vm-count 5000",
            "federation region cost-analysis --region eu-central-1 --expected-vm-count -5",
            "federation config backup --output config.tar.gz --dry-run",
            "federation config backup --output config.tar.gz",
            "federation config backup --output config.tar.gz --format json",
            "federation config backup",
            "federation config backup --output no-folder/config.tar.gz",
            "federation config restore --input config.tar.gz",
            "federation config restore --input since.tar.gz --dry-run",
            "federation config restore --input since.tar.gz --reason oops",
            "federation config restore --input since.tar.gz --dry-run --format csv",
            "federation config restore --input elsewhere.tar.gz",
            "federation config restore --input bad.yaml",
            "federation config restore --input nowhere.tar.gz",
            "federation config restore",
        ],
    ),
    (
        "upgrades",
        &[
            "federation release list",
            "federation release list --format csv",
            "federation region upgrade --region us-east-1 --version v3.2.0 --component controller,state-manager,router,monitor",
            "federation region upgrade --region us-east-1 --version v3.2.0 --dry-run",
            "federation region upgrade --region us-east-1 --version v3.2.0 --detach",
            "federation region upgrade --region us-east-1 --version 0.1.0",
            "federation region upgrade --region us-east-1 --version v9.9.9",
            "federation region upgrade --region eu-west-1 --version v3.2.0",
            "federation release publish no-such-file",
        ],
    ),
    (
        "site",
        &[
            "federation region preflight-check --region eu-central-1",
            "federation region preflight-check --region eu-central-1 --format csv",
            "federation region preflight-check --region ap-northeast-1",
            "federation region preflight-check --region mars",
            "infrastructure check --region us-east-1",
            "infrastructure check --region us-east-1 --format csv",
            "infrastructure check --region eu-west-1",
            "infrastructure check --region mars",
            "infrastructure metrics --component controller --metric cpu",
            "infrastructure metrics --component controller",
            "infrastructure metrics --component agent --metric memory --format csv",
            "infrastructure metrics --component agent --metric io --region us-east-1",
            "infrastructure metrics --component router --metric cpu",
            "infrastructure metrics --component contoller --metric cpu",
            "infrastructure metrics --component agent --metric ram",
            "infrastructure metrics --component agent --window 2m",
            "federation region configure --region eu-central-1 --config eu-central-1.yaml",
            "federation region configure --region eu-central-1 --config eu-central-1.yaml --dry-run",
            "federation region configure --region us-east-1 --config eu-central-1.yaml",
            "federation region configure --region eu-central-1 --config bad.yaml",
            "federation region configure --region eu-central-1 --config nowhere.yaml",
            "routing endpoint add --region eu-central-1 --ip 192.0.2.1 --port 443",
            "routing endpoint add --region eu-central-1 --ip here --port 443",
            "routing endpoint add --region eu-central-1 --ip 192.0.2.1 --port 70000",
            "routing endpoint remove --region eu-central-1 --ip 192.0.2.1 --port 443",
            "routing endpoint list",
            "routing address eu-central-1",
            "routing address ca-central-1",
            "routing address mars",
            "federation region verify --region eu-central-1",
            "federation region verify --region eu-central-1 --format csv",
            "federation region verify --region eu-central-1 --full --dry-run",
            "federation region status --region eu-central-1",
            "federation region announce-decommission --region sa-east-1 --decommission-date 2025-12-01",
            "federation region announce-decommission --region sa-east-1 --cancel",
            "federation region announce-decommission --region sa-east-1 --cancel --decommission-date 2025-12-01",
            "federation region announce-decommission --region sa-east-1 --decommission-date soon",
            "federation region announce-decommission --region sa-east-1",
        ],
    ),
    ("ddos", &super::guard_answers::COMMANDS),
    ("routing", &super::routing_answers::COMMANDS),
    (
        "vms",
        &[
            "vm create --name web --count 2 --memory 64MiB --priority critical --not-regions eu-west-1 --away-from app=web:zone",
            "vm create --name web --dry-run",
            "vm create --name web --explain",
            "vm create --name web --detach",
            "vm list",
            "vm list --drills",
            "vm list --format json",
            "vm list --state runing",
            "vm show web",
            "vm start web",
            "vm stop web --force",
            "vm restart web --quiet",
            "vm delete web",
            "vm delete web --yes",
            "vm console web",
            "vm explain web",
            "vm show db",
            "vm protect db --mode sync --on-replica-loss go-on",
            "vm protect db --mode async:30s --protect-in eu-west-1 --dry-run",
            "vm protect db --mode always",
            "federation protection status",
            "federation protection status --region us-east-1 --format csv",
            "vm health-check --vm web,batch",
            "federation vm health-check --all",
            "host list",
            "host show host-1",
        ],
    ),
    (
        "failover",
        &[
            "federation failover --from-region eu-west-1 --to-regions us-east-1 --priority critical --max-time 30s",
            "federation failover --from-region eu-west-1 --dry-run",
            "federation failover --from-region eu-west-1 --detach",
            "federation failover --from-region eu-west-1 --to-regions eu-west-1",
            "federation failover --from-region eu-west-1 --relax gravity",
            "federation failover status",
            "federation failover status --failover-id failover-001",
            "federation failover list",
        ],
    ),
    (
        "backup",
        &[
            "federation state backup configure --interval 5m --retention 30d --destination s3://backups.example.com/state/ --encryption aes256",
            "federation state backup configure --interval 5m --retention 30d --destination s3://elsewhere/",
            "federation state backup configure --interval 5m --retention 30x --destination s3://b/",
            "federation state backup configure --interval 5m --retention 100 --destination s3://b/ --encryption rot13",
            "federation state backup configure --interval 5m --retention 100 --destination s3://b/ --key-file /etc/dwcp/backup.key --dry-run",
            "federation state backup create --type full",
            "federation state backup create --type full --output /backups/state-20261128-120000.db",
            "federation state backup create --detach",
            "federation state backup create --dry-run",
            "federation state backup create --type half",
            "federation state backup list",
            "federation state backup list --from s3://damaged/state --format csv",
            "federation state backup verify",
            "federation state backup verify 12",
            "federation state backup verify --all",
            "federation state backup verify 12 --all",
            "federation state backup restore --dry-run",
            "federation state backup restore 12 --dry-run --format csv",
            "federation state backup restore --only vm/web-1 --dry-run",
            "federation state backup restore --only vm/web-1",
            "federation state backup restore --only vm/web-1 --detach",
            "federation state backup status",
            "federation state backup status --format csv",
        ],
    ),
    ("incidents", &super::incident_answers::COMMANDS),
    (
        "maintenance",
        &[
            "maintenance schedule --region us-east-1 --start 2026-11-29T02:00Z --duration 2h --reason disks --no-placement",
            "maintenance schedule --host eu-west-1/host-1 --start 2026-11-29T02:00Z --duration 2h --reason fans --dry-run",
            "maintenance schedule --region us-east-1 --host host-1 --start +1h --duration 2h --reason disks",
            "maintenance schedule --region us-east-1 --start tomorrow --duration 2h --reason disks",
            "maintenance schedule --region us-east-1 --start 2026-11-29T02:00Z --duration 2h",
            "maintenance list",
            "maintenance list --all --format csv",
            "maintenance cancel --id window-001 --reason rain",
            "maintenance cancel --id window-009",
            "federation region status --region ap-south-1 --compact",
            "federation region status --region ap-south-1",
        ],
    ),
    (
        "drill",
        &[
            "federation dr-drill simulate-failure --region us-east-1",
            "federation dr-drill simulate-failure --region us-east-1 --dry-run",
            "federation dr-drill simulate-failure --region us-east-1 --live",
            "federation dr-drill restore --region us-east-1",
            "federation dr-drill results --metric rto",
            "federation dr-drill results --metric rpo",
            "federation dr-drill results --metric vms-migrated --region us-east-1",
            "federation dr-drill results --metric success-rate",
            "federation dr-drill results --metric luck",
            "federation dr-drill list",
        ],
    ),
    (
        "moves",
        &[
            "federation migrate --vm web --to eu-west-1",
            "federation migrate --vm web --to eu-west-1 --dry-run",
            "federation migrate --vm web --to eu-west-1 --detach",
            "federation migrate --vm web --max-downtime soon",
            "federation migrate --vm db --to sa-east-1",
            "federation migrate --vm cache --to sa-east-1",
            "vm protect web --mode sync",
            "explain R0048",
            "federation migrate status",
            "federation migrate status --source us-east-1 --format csv",
            "federation migrate queue",
            "federation migrate cancel --vm web,db",
            "federation region drain --region us-east-1 --timeout 5m",
            "federation region drain --region us-east-1 --dry-run",
            "host drain --host host-1",
            "federation failback --region us-east-1",
            "federation failback --region eu-west-1",
            "federation rebalance",
            "federation rebalance --max-moves 5 --budget 4GiB --dry-run",
            "federation rebalance --region us-east-1",
            "federation rebalance --max-moves none",
        ],
    ),
    (
        "images",
        &[
            "image list",
            "image list --format csv",
            "image show web",
            "image show mars",
            "image publish web --host host-1 --reason kernel",
            "image publish web --dry-run",
            "image publish shop",
            "image remove old --reason unused",
            "image remove old --dry-run",
            "image remove web",
            "explain R0070",
            "explain R0071",
        ],
    ),
    (
        "rest",
        &[
            "version",
            "explain R0037",
            "explain DWCP-R9999",
            "help exit-codes",
            "operation list",
            "operation show op_7f3",
            "operation watch op_7f3",
            "operation cancel op_7f3 --reason enough",
            "security token create --user ops@example.com --role operator --expires-in 30d",
            "security token list",
            "security token revoke --token-id token-abc123",
            "security token rotate --user ops@example.com",
            "dev link",
            "dev link --from us-east-1 --to eu-west-1 --rtt 500ms --loss 1% --cut",
            "dev link --from us-east-1 --to eu-west-1",
            "dev link --cut",
            "federation monitoring sla report --format pdf",
            "compliance report --dry-run",
        ],
    ),
];

/// Files beside which the lines are typed: as the documents show it, and with mistakes.
const REGION_FILES: [(&str, &str); 4] = [
    ("eu-central-1.yaml", include_str!("../../../../docs/operations/examples/regions/eu-central-1.yaml")),
    ("bad.yaml", "region: eu-central-1\npriority: 101\nzones: [a, a]\ncompliances: [gdpr]\n"),
    ("rules.yaml", "groups: [{name: g, rules: [{alert: A, expr: up}]}]\n"),
    ("bad-rules.yaml", "groups: [{name: g, rules: [{alert: A, expr: sum(up}]}]\n"),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(format!("{name}.txt"))
}

fn transcript(lines: &[&str]) -> String {
    let fake = Fake::start(answer);
    let home = Home::new();
    for (name, text) in REGION_FILES {
        std::fs::write(home.0.join(name), text).unwrap();
    }
    let changed = |name: &str, change: fn(&mut serde_json::Value)| {
        let other = Fake::start(move |_| {
            let mut settings = super::settings_answers::settings();
            change(&mut settings);
            (200, settings.to_string())
        });
        let line = format!("federation config backup --output {name}");
        assert_eq!(home.run_with(&line, &[("DWCP_ENDPOINT", &other.endpoint)], "").exit, 0);
    };
    changed("since.tar.gz", |settings| {
        settings["policies"]["auto_failover"] = false.into();
        settings["regions"][1]["priority"] = 80.into();
        settings["regions"][1]["traffic_percent"] = 25.into();
        settings["regions"][1]["region"] = "us-east-1".into();
        settings["regions"][0]["region"] = "eu-north-1".into();
        settings["hosts"][1]["labels"]["disk"] = "slow".into();
    });
    changed("elsewhere.tar.gz", |settings| settings["federation"] = "prod".into());
    let mut text = String::new();
    for line in lines {
        let ran = home.run_with(line, &[("DWCP_ENDPOINT", &fake.endpoint)], "");
        text.push_str(&format!("$ dwcp-cli {line}\n{}", ran.stdout));
        if !ran.stderr.is_empty() {
            ran.stderr
                .lines()
                .for_each(|line| text.push_str(&format!("{}\n", format!("! {line}").trim_end())));
        }
        text.push_str(&format!("exit {}\n\n", ran.exit));
    }
    text.replace(&fake.endpoint, "http://ENDPOINT")
}

fn holds(name: &str) {
    let lines = FILES.iter().find(|(file, _)| *file == name).unwrap().1;
    same_as(name, &transcript(lines));
}

/// Compares what was printed with the file.
pub fn same_as(name: &str, got: &str) {
    if std::env::var_os("DWCP_BLESS").is_some() {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), got).unwrap();
        return;
    }
    let want = std::fs::read_to_string(path(name)).unwrap_or_default();
    for (number, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "{}:{}", path(name).display(), number + 1);
    }
    assert_eq!(got, want);
}

#[test]
fn federation_commands_print_what_their_transcript_says() {
    holds("federation");
}

#[test]
fn commands_about_what_is_promised_print_what_their_transcript_says() {
    holds("sla");
}

#[test]
fn region_commands_print_what_their_transcript_says() {
    holds("regions");
}

#[test]
fn commands_about_attacks_print_what_their_transcript_says() {
    holds("ddos");
}

#[test]
fn routing_commands_print_what_their_transcript_says() {
    holds("routing");
}

#[test]
fn vm_and_host_commands_print_what_their_transcript_says() {
    holds("vms");
}

#[test]
fn failover_commands_print_what_their_transcript_says() {
    holds("failover");
}

#[test]
fn backup_commands_print_what_their_transcript_says() {
    holds("backup");
}

#[test]
fn commands_about_incidents_print_what_their_transcript_says() {
    holds("incidents");
}

#[test]
fn commands_about_alerts_print_what_their_transcript_says() {
    holds("alerts");
}

#[test]
fn maintenance_commands_print_what_their_transcript_says() {
    holds("maintenance");
}

#[test]
fn commands_that_move_vms_print_what_their_transcript_says() {
    holds("moves");
}

#[test]
fn drill_commands_print_what_their_transcript_says() {
    holds("drill");
}

#[test]
fn image_commands_print_what_their_transcript_says() {
    holds("images");
}

#[test]
fn all_other_commands_print_what_their_transcript_says() {
    holds("rest");
}

#[test]
fn commands_about_regions_that_come_and_go_print_what_their_transcript_says() {
    holds("membership");
}

#[test]
fn commands_about_a_restored_control_plane_print_what_their_transcript_says() {
    holds("restoration");
}

#[test]
fn commands_about_the_configuration_print_what_their_transcript_says() {
    holds("configuration");
}

#[test]
fn commands_about_versions_print_what_their_transcript_says() {
    holds("upgrades");
}

#[test]
fn commands_about_how_a_region_is_print_what_their_transcript_says() {
    holds("site");
}

#[test]
fn commands_about_controllers_print_what_their_transcript_says() {
    holds("controllers");
}

#[test]
fn commands_about_metrics_and_logs_print_what_their_transcript_says() {
    holds("telemetry");
}
