//! From what was discovered to what is scraped.

use std::fmt::Write;

use super::{Relabel, relabel};
use crate::model::Labels;

/// Where a target is scraped, and the labels that all of its series get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port.
    pub address: String,
    /// Path and query.
    pub path: String,
    pub labels: Labels,
}

impl Endpoint {
    /// Applies `relabel_configs` to the labels of a discovered target, which hold `job` and `__address__`, and what of
    /// `__scheme__`, `__metrics_path__` and `__param_…` differs from `http`, `/metrics` and nothing. None when it is dropped, or
    /// has no address after that. Labels that begin with `__` end here; without an `instance`, the address is that.
    pub fn resolve(discovered: &Labels, rules: &[Relabel]) -> Option<Endpoint> {
        let labels = relabel(discovered, rules)?;
        let or = |name: &str, otherwise: &str| {
            let value = labels.get(name);
            if value.is_empty() { otherwise.to_owned() } else { value.to_owned() }
        };
        let (scheme, address) = (or("__scheme__", "http"), or("__address__", ""));
        if address.is_empty() {
            return None;
        }
        let mut path = or("__metrics_path__", "/metrics");
        for (name, value) in labels.iter() {
            if let Some(parameter) = name.strip_prefix("__param_") {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.extend([parameter, "="]);
                escape(&mut path, value);
            }
        }
        let instance = (labels.get("instance").is_empty()).then_some(("instance", &*address));
        let kept = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        let labels = Labels::new(kept.chain(instance));
        Some(Endpoint { scheme, address, path, labels })
    }
}

/// A value in a query (RFC 3986, 2.1).
fn escape(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::RelabelSpec;

    #[test]
    fn a_target_is_what_relabelling_makes_of_what_was_discovered() {
        let discovered = Labels::new([
            ("__address__", "vm-1"),
            ("__meta_region", "eu-west-1"),
            ("__param_collect", "cpu & more"),
            ("job", "vm"),
        ]);
        let spec = |source: &str, target: &str, replacement: &str| RelabelSpec {
            source_labels: vec![source.to_owned()],
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            ..RelabelSpec::default()
        };
        let specs = [spec("__address__", "__address__", "$1:9100"), spec("__meta_region", "region", "$1")];
        let rules = specs.map(|spec| Relabel::new(spec).expect("a rule"));
        let wanted = Endpoint {
            scheme: "http".to_owned(),
            address: "vm-1:9100".to_owned(),
            path: "/metrics?collect=cpu%20%26%20more".to_owned(),
            labels: Labels::new([("instance", "vm-1:9100"), ("job", "vm"), ("region", "eu-west-1")]),
        };
        assert_eq!(Endpoint::resolve(&discovered, &rules), Some(wanted));
        let dropped = RelabelSpec {
            regex: "us-.*".to_owned(),
            action: "keep".to_owned(),
            ..spec("__meta_region", "", "")
        };
        assert_eq!(Endpoint::resolve(&discovered, &[Relabel::new(dropped).expect("a rule")]), None);
        assert_eq!(Endpoint::resolve(&Labels::new([("job", "vm")]), &[]), None);
    }
}
