//! The words of notifications: built in, or an operator's own.
//!
//! They are written as those of alert rules; `$labels` holds what is known of the message.

use std::collections::BTreeMap;

use crate::model::Labels;
use crate::rules::{Scope, Template};

/// What a notification is titled, and what it says.
#[derive(Clone, Debug)]
pub struct Wording {
    pub title: Template,
    pub text: Template,
}

/// An operator's own words, by name; they come before the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct Templates(pub BTreeMap<String, Wording>);

/// What `$labels` has in a template, where it is known.
pub const KNOWN: [&str; 14] = [
    "cause",
    "duration",
    "due",
    "federation",
    "incident",
    "link",
    "opened",
    "person",
    "region",
    "severity",
    "severity_word",
    "status",
    "text",
    "title",
];

/// Name, title and text of the built-in ones.
pub const BUILT_IN: [(&str, &str, &str); 7] = [
    (
        "incident-opened",
        "[{{ $labels.severity }}] {{ $labels.title }}",
        "Incident {{ $labels.incident }} of severity {{ $labels.severity }} ({{ $labels.severity_word }}) is open since \
         {{ $labels.opened }}.{{ if $labels.region }}\nRegion: {{ $labels.region }}{{ end }}{{ if $labels.cause }}\nCause: \
         {{ $labels.cause }}{{ end }}{{ if $labels.due }}\nTo be taken until {{ $labels.due }}.{{ end }}{{ if $labels.text }}\n\n\
         {{ $labels.text }}{{ end }}",
    ),
    (
        "incident-acknowledged",
        "Taken: [{{ $labels.severity }}] {{ $labels.title }}",
        "Incident {{ $labels.incident }} was taken{{ if $labels.person }} by {{ $labels.person }}{{ end }}.",
    ),
    (
        "incident-resolved",
        "Resolved: [{{ $labels.severity }}] {{ $labels.title }}",
        "Incident {{ $labels.incident }} is resolved, {{ $labels.duration }} after it was opened.{{ if $labels.text }}\n\n\
         {{ $labels.text }}{{ end }}",
    ),
    (
        "region-failover",
        "Failover of region {{ $labels.region }}{{ if $labels.status }}: {{ $labels.status }}{{ end }}",
        "The failover of region {{ $labels.region }} of federation {{ $labels.federation }}{{ if $labels.status }} is \
         {{ $labels.status }}{{ else }} was announced{{ end }}.{{ if $labels.text }}\n\n{{ $labels.text }}{{ end }}",
    ),
    (
        "maintenance",
        "Planned maintenance{{ if $labels.region }} of region {{ $labels.region }}{{ end }}{{ if $labels.status }}: \
         {{ $labels.status }}{{ end }}",
        "{{ if $labels.text }}{{ $labels.text }}{{ else }}Federation {{ $labels.federation }} has planned maintenance.{{ end }}",
    ),
    (
        "sla-breach",
        "SLA breach: {{ $labels.title }}",
        "A promised level of service was not kept in federation {{ $labels.federation }}{{ if $labels.region }}, region \
         {{ $labels.region }}{{ end }}.{{ if $labels.text }}\n\n{{ $labels.text }}{{ end }}",
    ),
    (
        "test",
        "Test of the notifications of {{ $labels.federation }}",
        "This is a test. Whoever reads it will also be told of what matters.{{ if $labels.text }}\n\n{{ $labels.text }}{{ end }}",
    ),
];

impl Templates {
    /// Whether there is a template of that name.
    pub fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name) || BUILT_IN.iter().any(|(known, ..)| *known == name)
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<&str> {
        let built_in = BUILT_IN.iter().map(|(name, ..)| *name);
        let all: std::collections::BTreeSet<&str> =
            self.0.keys().map(String::as_str).chain(built_in).collect();
        all.into_iter().collect()
    }

    /// Title and text.
    ///
    /// # Errors
    /// There is no template of that name, or it fails on what it is given.
    pub fn render(&self, name: &str, known: &Labels) -> Result<(String, String), String> {
        let (own, empty) = (self.0.get(name), Labels::default());
        let scope = Scope {
            labels: known,
            external: &empty,
            value: 0.0,
            query: &|_| Err("a notification asks no metrics".to_owned()),
        };
        if let Some(own) = own {
            return Ok((own.title.expand(&scope)?, own.text.expand(&scope)?));
        }
        let Some((_, title, text)) = BUILT_IN.iter().find(|(known, ..)| *known == name) else {
            return Err(format!("there is no template '{name}'; there are: {}", self.names().join(", ")));
        };
        let expand = |text: &str| Template::parse(text).map_err(|error| error.message)?.expand(&scope);
        Ok((expand(title)?, expand(text)?))
    }
}
