//! What every command of one run shares: global flags, terminal, client.

use std::cell::OnceCell;
use std::io::IsTerminal;
use std::time::Duration;

use dwcp_api::Endpoint;

use crate::client::{Client, Target};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings;
use crate::show::{Document, Style};
use crate::typed::{Format, Global};

/// Time for one request when `--timeout` does not say.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// One run of the program.
pub struct Session {
    pub global: Global,
    client: OnceCell<Client>,
}

impl Session {
    pub fn new(global: Global) -> Session {
        Session { global, client: OnceCell::new() }
    }

    /// Calls an endpoint of the federation that the flags, the environment or the current context name.
    pub fn call<E: Endpoint>(&self, request: &E::Request) -> Result<E::Response, Failure> {
        self.client()?.call::<E>(request)
    }

    /// The client, made at the first call.
    pub fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(self.target()?)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Where to call: `--endpoint` and `--context` before the environment before the current context.
    pub fn target(&self) -> Result<Target, Failure> {
        let global = &self.global;
        let config = settings::load()?;
        let mut target = Target {
            timeout: global.timeout.map_or(REQUEST_TIMEOUT, Duration::from_millis),
            ..Target::default()
        };
        let context = match &global.context {
            Some(name) => Some(config.context(name).ok_or_else(|| {
                let known: Vec<&str> = config.contexts.iter().map(|c| c.name.as_str()).collect();
                Failure::new(Exit::NotFound, format!("there is no context '{name}'"))
                    .because(format!("known contexts: {}", or_none(&known.join(", "))))
                    .suggest("dwcp-cli context list")
            })?),
            None => config.current.as_deref().and_then(|name| config.context(name)),
        };
        if let Some(context) = context {
            target.context.clone_from(&context.name);
            target.endpoints.clone_from(&context.endpoints);
            target.ca.clone_from(&context.ca);
            target.token.clone_from(&context.token);
        }
        if !global.endpoint.is_empty() {
            target.context = global.endpoint.join(", ");
            target.endpoints.clone_from(&global.endpoint);
        }
        if global.ca.is_some() {
            target.ca.clone_from(&global.ca);
        }
        if global.token.is_some() {
            target.token.clone_from(&global.token);
        }
        Ok(target)
    }

    /// Prints an answer in the chosen format, to stdout or into the chosen file; says whether somebody still reads.
    pub fn show(&self, document: &Document) -> Result<bool, Failure> {
        self.show_as(document, Format::Table)
    }

    /// The same, in `usual` where no format was chosen.
    pub fn show_as(&self, document: &Document, usual: Format) -> Result<bool, Failure> {
        let text = document.text(self.global.format.unwrap_or(usual), &self.style());
        match &self.global.output {
            None => Ok(crate::print_quietly(&text)),
            Some(path) => {
                settings::write_atomically(path, text.as_bytes(), 0o644).map(|()| true).map_err(|error| {
                    Failure::usage(format!("--output {} can't be written: {error}", path.display()))
                })
            }
        }
    }

    /// How tables look: width and colours of the terminal; neither limit nor colour in a pipe or a file.
    pub fn style(&self) -> Style {
        let terminal = std::io::stdout().is_terminal() && self.global.output.is_none();
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
        let measured = || match terminal {
            true => terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).or(Some(80)),
            false => None,
        };
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style {
            width: columns.or_else(measured).map(|width| width.max(40)),
            color: terminal && !plain && !self.global.no_color,
        }
    }

    /// What a change made worse, on stderr; the exit code is that of the change.
    pub fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.note(&format!("warning: {warning}")));
    }

    /// A remark for people, on stderr.
    pub fn note(&self, text: &str) {
        if !self.global.quiet {
            crate::remark(&format!("{text}\n"));
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
