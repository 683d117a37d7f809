//! Contexts of `dwcp-cli`: which federation, by which endpoints, with which token.

use crate::{Complaints, Fields, emit::scalar, reader};

/// Where the file is, under `$XDG_CONFIG_HOME` or `~/.config`.
pub const FILE: &str = "dwcp/config.yaml";

/// One federation as the operator reaches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub name: String,
    /// `https://host:port`, tried in this order; at least one.
    pub endpoints: Vec<String>,
    /// The federation's CA: a path, or the PEM text itself; `None`: the system decides (plain http needs none).
    pub ca: Option<String>,
    /// The token's secret.
    pub token: Option<String>,
}

/// The file `dwcp/config.yaml` in the user's configuration folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CliConfig {
    /// Name of the context that is used when none is named.
    pub current: Option<String>,
    pub contexts: Vec<Context>,
}

impl CliConfig {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<CliConfig, Complaints> {
        reader::read(text, |fields| {
            let config = CliConfig {
                current: fields.optional_text("current"),
                contexts: fields.maps("contexts", context),
            };
            check(&config, fields);
            config
        })
    }

    /// The file's text; [`CliConfig::parse`] reads it back.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        if let Some(current) = &self.current {
            text.push_str(&format!("current: {}\n", scalar(current)));
        }
        text.push_str(if self.contexts.is_empty() { "contexts: []\n" } else { "contexts:\n" });
        for context in &self.contexts {
            text.push_str(&format!("  - name: {}\n    endpoints:\n", scalar(&context.name)));
            for endpoint in &context.endpoints {
                text.push_str(&format!("      - {}\n", scalar(endpoint)));
            }
            for (key, value) in [("ca", &context.ca), ("token", &context.token)] {
                if let Some(value) = value {
                    text.push_str(&format!("    {key}: {}\n", scalar(value)));
                }
            }
        }
        text
    }

    /// The context of that name.
    pub fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// Adds a context, or replaces the one of the same name. The first one added becomes the current one.
    pub fn put(&mut self, context: Context) {
        if self.current.is_none() {
            self.current = Some(context.name.clone());
        }
        match self.contexts.iter_mut().find(|known| known.name == context.name) {
            Some(known) => *known = context,
            None => self.contexts.push(context),
        }
    }
}

fn context(fields: &mut Fields<'_>) -> Context {
    let name = fields.text("name");
    let endpoints = fields.texts("endpoints");
    if endpoints.is_empty() {
        fields.complain("endpoints", "at least one endpoint is needed, such as https://127.0.0.1:7443");
    }
    for endpoint in &endpoints {
        if let Err(message) = check_endpoint(endpoint) {
            fields.complain("endpoints", message);
        }
    }
    Context { name, endpoints, ca: fields.optional_text("ca"), token: fields.optional_text("token") }
}

fn check(config: &CliConfig, fields: &Fields<'_>) {
    for (index, context) in config.contexts.iter().enumerate() {
        if config.contexts[..index].iter().any(|other| other.name == context.name) {
            fields.complain("contexts", format!("two contexts are called '{}'", context.name));
        }
    }
    if let Some(current) = &config.current
        && config.context(current).is_none()
    {
        fields.complain("current", format!("there is no context '{current}'"));
    }
}

/// Whether an endpoint is a URL this product can talk to.
pub fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let host = rest.map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', ' ', '?', '#', '@']) => Ok(()),
        _ => Err(format!("'{endpoint}' is not an endpoint such as https://127.0.0.1:7443")),
    }
}
