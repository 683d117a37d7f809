//! Where the server keeps what it must not forget: in a file of its own, or in the region's etcd cluster.

use crate::Fields;

/// The shortest and the longest time that writes may wait for etcd, milliseconds.
const PATIENCE_MS: std::ops::RangeInclusive<u64> = 5_000..=86_400_000;

/// The store under this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The etcd cluster that holds it; without it, the embedded store in `data_dir`.
    pub etcd: Option<Etcd>,
}

/// An etcd cluster, and the part of it that is this server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Etcd {
    /// `https://host:port` of each member, asked in turn.
    pub endpoints: Vec<String>,
    /// PEM file of the authority that the members' certificates are checked with; the system's without it.
    pub ca: Option<String>,
    /// PEM file of the certificate that this server shows.
    pub certificate: Option<String>,
    /// PEM file of its key.
    pub key: Option<String>,
    /// In front of every key; `/dwcp/FEDERATION/REGION/` without it.
    pub prefix: Option<String>,
    /// Drop the cluster's history now and then. Without it the cluster must do so itself (`--auto-compaction-…`).
    pub compact: bool,
    /// How long a write waits for a cluster that does not answer before the server ends, milliseconds.
    pub patience_ms: u64,
}

pub(super) fn read(fields: &mut Fields<'_>) -> State {
    let store = fields.optional("store", |text| match text {
        "embedded" => Ok(false),
        "etcd" => Ok(true),
        other => Err(format!("'{other}' is neither embedded nor etcd")),
    });
    let etcd = fields.map("etcd", etcd);
    match (store, &etcd) {
        (Some(true), None) => {
            fields.complain("store", "'store: etcd' needs 'etcd' with its endpoints beside it")
        }
        (None | Some(false), Some(_)) => fields.complain("etcd", "it is used only with 'store: etcd'"),
        _ => {}
    }
    State { etcd }
}

fn etcd(fields: &mut Fields<'_>) -> Etcd {
    let etcd = Etcd {
        endpoints: fields.texts("endpoints"),
        ca: fields.optional_text("ca"),
        certificate: fields.optional_text("certificate"),
        key: fields.optional_text("key"),
        prefix: fields.optional_text("prefix"),
        compact: fields.flag("compact", true),
        patience_ms: fields.duration_ms("patience", PATIENCE_MS, 600_000),
    };
    if etcd.endpoints.is_empty() {
        fields.complain("endpoints", "at least one endpoint is needed, such as https://10.0.0.1:2379");
    }
    for endpoint in &etcd.endpoints {
        let sound = matches!(endpoint.split_once("://"), Some(("http" | "https", host))
            if !host.is_empty() && !host.contains('/'));
        if !sound {
            let message = format!("'{endpoint}' is not an endpoint such as https://10.0.0.1:2379");
            fields.complain("endpoints", message);
        }
    }
    if etcd.certificate.is_some() != etcd.key.is_some() {
        fields.complain("certificate", "'certificate' and 'key' belong together");
    }
    etcd
}
