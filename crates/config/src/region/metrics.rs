//! How the server measures itself, where what it measured is kept and who else gets it.

use crate::Fields;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
/// Most places that measurements are sent to.
const MOST_RECEIVERS: usize = 8;

/// What this server measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Between two measurements, milliseconds.
    pub interval_ms: u64,
    /// How long every measurement is kept, milliseconds.
    pub keep_ms: u64,
    /// How long one of each five minutes is kept, milliseconds.
    pub keep_coarse_ms: u64,
    /// The server that answers queries in place of the embedded store, which is not opened then.
    pub prometheus: Option<Remote>,
    /// Who gets what is measured and kept here.
    pub remote_write: Vec<Remote>,
}

/// Another program that speaks Prometheus' protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// `http(s)://host[:port][/path]`, no `/` at its end, no name, password, query or fragment in it.
    pub url: String,
    /// File with the token that it wants.
    pub bearer_token_file: Option<String>,
    /// PEM file of the authority that its certificate is checked with; the system's without it.
    pub ca: Option<String>,
}

impl Remote {
    /// The address without its scheme: a name for people and metrics.
    pub fn place(&self) -> &str {
        self.url.split_once("://").map_or(&*self.url, |(_, place)| place)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            interval_ms: 15 * SECOND_MS,
            keep_ms: 15 * DAY_MS,
            keep_coarse_ms: 400 * DAY_MS,
            prometheus: None,
            remote_write: Vec::new(),
        }
    }
}

pub(super) fn read(fields: &mut Fields<'_>) -> Metrics {
    let standard = Metrics::default();
    let metrics = Metrics {
        interval_ms: fields.duration_ms("interval", SECOND_MS..=120 * SECOND_MS, standard.interval_ms),
        keep_ms: fields.duration_ms("keep", DAY_MS..=400 * DAY_MS, standard.keep_ms),
        keep_coarse_ms: fields.duration_ms("keep_coarse", DAY_MS..=3_650 * DAY_MS, standard.keep_coarse_ms),
        prometheus: engine(fields),
        remote_write: fields.maps("remote_write", remote),
    };
    if metrics.keep_coarse_ms < metrics.keep_ms {
        fields.complain("keep_coarse", "it can't be shorter than 'keep'");
    }
    receivers(&metrics.remote_write, fields);
    metrics
}

fn engine(fields: &mut Fields<'_>) -> Option<Remote> {
    let foreign = fields.optional("engine", |text| match text {
        "embedded" => Ok(false),
        "prometheus" => Ok(true),
        other => Err(format!("'{other}' is neither embedded nor prometheus")),
    });
    if foreign == Some(true) {
        for unused in ["keep", "keep_coarse"].into_iter().filter(|name| fields.has(name)) {
            fields
                .complain(unused, "with 'engine: prometheus' that server says how long it keeps what it has");
        }
        return Some(remote(fields));
    }
    for name in ["url", "bearer_token_file", "ca"] {
        if fields.optional_text(name).is_some() {
            fields.complain(name, "it is used only with 'engine: prometheus'");
        }
    }
    None
}

fn remote(fields: &mut Fields<'_>) -> Remote {
    Remote {
        url: fields.required("url", url),
        bearer_token_file: fields.optional_text("bearer_token_file"),
        ca: fields.optional_text("ca"),
    }
}

fn url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("'{text}' {why}"));
    let Some((scheme @ ("http" | "https"), place)) = text.split_once("://") else {
        return wrong("is not an address such as https://prometheus.example.com:9090");
    };
    let host = place.split('/').next().unwrap_or("");
    if host.contains('@') {
        return Err("a name and a password in an address end in logs: put a token into 'bearer_token_file'"
            .to_owned());
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if host.is_empty() || host.starts_with(':') || !place.bytes().all(is_plain) {
        return wrong("is not an address without a query, such as https://prometheus.example.com:9090");
    }
    Ok(format!("{scheme}://{}", place.trim_end_matches('/')))
}

fn receivers(all: &[Remote], fields: &Fields<'_>) {
    if all.len() > MOST_RECEIVERS {
        fields.complain("remote_write", format!("{} receivers, and at most {MOST_RECEIVERS}", all.len()));
    }
    for (at, of) in all.iter().enumerate() {
        if !of.url.is_empty() && all[..at].iter().any(|before| before.place() == of.place()) {
            fields.complain("remote_write", format!("'{}' stands there twice", of.place()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader;

    fn of(text: &str) -> Result<Metrics, String> {
        reader::read(text, read).map_err(|complaints| complaints.to_string())
    }

    #[test]
    fn an_engine_and_receivers_are_read() {
        let text = "engine: prometheus\nurl: https://prometheus.example.com:9090/\nbearer_token_file: token\n\
                    remote_write:\n- url: http://[::1]:9090/api/v1/write\n  ca: ca.pem\n";
        let metrics = of(text).expect("settings");
        let prometheus = metrics.prometheus.expect("one");
        assert_eq!(prometheus.url, "https://prometheus.example.com:9090");
        assert_eq!(prometheus.bearer_token_file.as_deref(), Some("token"));
        assert_eq!(metrics.remote_write[0].place(), "[::1]:9090/api/v1/write");
        assert_eq!(metrics.remote_write[0].ca.as_deref(), Some("ca.pem"));
        assert_eq!(of("interval: 15s\n").expect("settings"), Metrics::default());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (text, why) in [
            ("engine: graphite\n", "neither embedded nor prometheus"),
            ("engine: prometheus\n", "'url' is missing"),
            ("engine: prometheus\nurl: http://a\nkeep: 30d\n", "that server says how long"),
            ("url: http://a\n", "used only with"),
            ("remote_write:\n- url: ftp://a\n", "not an address"),
            ("remote_write:\n- url: https://me:secret@a/write\n", "bearer_token_file"),
            ("remote_write:\n- url: https://a/write?token=secret\n", "without a query"),
            ("remote_write:\n- url: http://a/w\n- url: https://a/w/\n", "stands there twice"),
            ("remote_write:\n- bearer_token_file: x\n", "'url' is missing"),
        ] {
            let told = of(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
            assert!(!told.contains("secret") || why.contains("query"), "{told}");
        }
    }
}
