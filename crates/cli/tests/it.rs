//! Tests of the program as an operator meets it: command, exit code, stdout, stderr.

mod it {
    mod alert_answers;
    mod answers;
    mod backup_answers;
    mod canary;
    mod configuration;
    mod contexts;
    mod controllers_answers;
    mod endpoints;
    mod exits;
    mod fake;
    mod guard_answers;
    mod guide;
    mod incident_answers;
    mod looks;
    mod membership_answers;
    mod move_answers;
    mod restoration_answers;
    mod routing_answers;
    mod runbooks;
    mod settings_answers;
    mod site_answers;
    mod sla_answers;
    mod sync_answers;
    mod telemetry_answers;
    mod tls;
    mod transcripts;
    mod upgrade_answers;
}
