//! Stores, and five whole regions in one process: real stores, real links on loopback addresses.

#[path = "it/alerts.rs"]
mod alerts;
#[path = "it/backups.rs"]
mod backups;
#[path = "it/checkup.rs"]
mod checkup;
#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/controllers.rs"]
mod controllers;
#[path = "it/dashboards.rs"]
mod dashboards;
#[path = "it/dev.rs"]
mod dev;
#[path = "it/etcd.rs"]
mod etcd;
#[path = "it/export.rs"]
mod export;
#[path = "it/federation.rs"]
mod federation;
#[path = "it/host_figures.rs"]
mod host_figures;
#[path = "it/http.rs"]
mod http;
#[path = "it/http_node.rs"]
mod http_node;
#[path = "it/images.rs"]
mod images;
#[path = "it/incidents.rs"]
mod incidents;
#[path = "it/inspection.rs"]
mod inspection;
#[path = "it/intake.rs"]
mod intake;
#[path = "it/logs.rs"]
mod logs;
#[path = "it/maintenance.rs"]
mod maintenance;
#[path = "it/medium.rs"]
mod medium;
#[path = "it/membership.rs"]
mod membership;
#[path = "it/metrics.rs"]
mod metrics;
#[path = "it/metrics_elsewhere.rs"]
mod metrics_elsewhere;
#[path = "it/monitoring.rs"]
mod monitoring;
#[path = "it/notify.rs"]
mod notify;
#[path = "it/notify_mail.rs"]
mod notify_mail;
#[path = "it/notify_mock.rs"]
mod notify_mock;
#[path = "it/programs.rs"]
mod programs;
#[path = "it/prometheus_process.rs"]
mod prometheus_process;
#[path = "it/recording.rs"]
mod recording;
#[path = "it/regions.rs"]
mod regions;
#[path = "it/remote_write.rs"]
mod remote_write;
#[path = "it/replication.rs"]
mod replication;
#[path = "it/restore.rs"]
mod restore;
#[path = "it/scratch.rs"]
mod scratch;
#[path = "it/settings.rs"]
mod settings;
#[path = "it/store.rs"]
mod store;
#[path = "it/survivability.rs"]
mod survivability;
#[path = "it/traces.rs"]
mod traces;
