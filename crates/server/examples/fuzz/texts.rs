//! Decoders of text: settings, the emulated WAN, paths and bodies of the HTTP API.

use std::path::Path;

use dwcp_api::{policy, token, vm};
use dwcp_config::cli::CliConfig;
use dwcp_config::host::HostConfig;
use dwcp_config::region::RegionConfig;
use dwcp_mesh::LinkTable;
use dwcp_server::dev::{self, DevPlan};
use dwcp_server::http::routes;
use dwcp_telemetry::notify;
use serde::de::DeserializeOwned;

use crate::Target;

pub fn all() -> Vec<Target> {
    let (regions, hosts) = written();
    vec![
        text("region-yaml", regions, |text| RegionConfig::parse(text).is_ok()),
        text("host-yaml", hosts, |text| HostConfig::parse(text).is_ok()),
        text("cli-yaml", vec![CLI.into()], read_cli),
        text("notifications-yaml", vec![NOTIFICATIONS.into()], |text| notify::read(text).is_ok()),
        text("notifications-url", URLS.map(str::to_owned).to_vec(), |text| notify::guard::url(text).is_ok()),
        text("wan-toml", vec![LinkTable::development().to_text()], read_links),
        text("http-path", PATHS.map(str::to_owned).to_vec(), read_path),
        text("api-bodies", BODIES.map(str::to_owned).to_vec(), read_body),
    ]
}

fn text(name: &'static str, real: Vec<String>, read: fn(&str) -> bool) -> Target {
    let read = move |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(read);
    Target { name, corpus: real.into_iter().map(String::into_bytes).collect(), read: Box::new(read) }
}

/// The settings that a development federation writes: of its regions and of its hosts.
fn written() -> (Vec<String>, Vec<String>) {
    let folder = std::env::temp_dir().join(format!("dwcp-fuzz-{}", std::process::id()));
    dev::init(&folder, DevPlan { regions: 2, hosts_per_region: 1, pools: 0, store: dev::Kept::default() })
        .expect("a temporary folder");
    let mut found = (Vec::new(), Vec::new());
    collect(&folder, &mut found);
    std::fs::remove_dir_all(&folder).expect("it was just made");
    found
}

fn collect(folder: &Path, found: &mut (Vec<String>, Vec<String>)) {
    for entry in std::fs::read_dir(folder).expect("it was just made").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).expect("it was just written");
            if RegionConfig::parse(&text).is_ok() {
                found.0.push(text);
            } else if HostConfig::parse(&text).is_ok() {
                found.1.push(text);
            }
        }
    }
}

const CLI: &str =
    "current: dev\ncontexts:\n  - name: dev\n    endpoints: ['https://127.77.1.1:7443']\n    token: t\n";

fn read_cli(text: &str) -> bool {
    let Ok(config) = CliConfig::parse(text) else { return false };
    assert_eq!(
        CliConfig::parse(&config.to_yaml()).as_ref(),
        Ok(&config),
        "what was read is written and read again"
    );
    true
}

fn read_links(text: &str) -> bool {
    let Ok(table) = LinkTable::parse(text) else { return false };
    assert!(LinkTable::parse(&table.to_text()).is_ok(), "what was read is written and read again");
    true
}

const NOTIFICATIONS: &str = include_str!("../../../../docs/operations/examples/notifications.yaml");

const URLS: [&str; 3] = [
    "https://hooks.example.com/services/T0/B0/x?y=z",
    "http://[2600:1f18::1]:9093/",
    "https://192.0.2.1:8443",
];

const PATHS: [&str; 5] = [
    "GET /v1/vms/web-1",
    "POST /v1/vms/vm_0000000000000007/start",
    "GET /v1/federation",
    "GET /v1/regions/us-east-1",
    "DELETE /v1/vms/a%20b%C3%A9",
];

fn read_path(text: &str) -> bool {
    let Some((method, path)) = text.split_once(' ') else { return false };
    let _ = routes::unescape(path);
    matches!(routes::find(method, path), routes::Found::Route(..)) || PATHS.contains(&text)
}

const BODIES: [&str; 4] = [
    r#"{"name":"web-1","image":"small","vcpus":1,"memory_mib":128}"#,
    r#"{"vms":["web-1"]}"#,
    r#"{"name":"ci","role":"operator"}"#,
    r#"{}"#,
];

fn read_body(text: &str) -> bool {
    fn reads<T: DeserializeOwned>(text: &str) -> bool {
        serde_json::from_str::<T>(text).is_ok()
    }
    let _ = reads::<vm::VmCreateRequest>(text);
    let _ = reads::<vm::VmListRequest>(text);
    let _ = reads::<vm::VmHealthCheckRequest>(text);
    let _ = reads::<token::TokenCreateRequest>(text);
    let _ = reads::<policy::PoliciesSetRequest>(text);
    reads::<serde_json::Value>(text)
}
