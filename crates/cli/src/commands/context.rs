//! Contexts, and signing in.

use std::io::{IsTerminal, Read};

use dwcp_api::session::{Login, LoginRequest};
use dwcp_config::cli::{CliConfig, Context};
use serde_json::json;

use super::Ended;
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::settings;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::ContextCommand;

pub fn run(session: &Session, command: &ContextCommand) -> Ended {
    let mut config = settings::load()?;
    match command {
        ContextCommand::List => {
            session.show(&list(&config))?;
            return Ok(Exit::Done);
        }
        ContextCommand::Show { name } => {
            let name = name.as_ref().or(session.global.context.as_ref()).or(config.current.as_ref());
            let name = name.ok_or_else(|| Failure::new(Exit::NotFound, "there is no current context"))?;
            session.show(&show(find(&config, name)?))?;
            return Ok(Exit::Done);
        }
        ContextCommand::Use { name } => {
            find(&config, name)?;
            config.current = Some(name.clone());
        }
        ContextCommand::Remove { name } => {
            find(&config, name)?;
            config.contexts.retain(|context| context.name != *name);
            if config.current.as_ref() == Some(name) {
                config.current = None;
            }
        }
        ContextCommand::Add { name } => config.put(added(session, name, config.context(name))?),
    }
    let done = match command {
        ContextCommand::Use { name } => format!("context '{name}' is used from now on"),
        ContextCommand::Remove { name } => format!("context '{name}' is forgotten"),
        ContextCommand::Add { name } => format!("context '{name}' is stored"),
        ContextCommand::List | ContextCommand::Show { .. } => String::new(),
    };
    if !session.global.dry_run {
        settings::save(&config)?;
    }
    let value = json!({ "current": config.current, "contexts": config.contexts.len() });
    session.show(&Document::bare(&value, done + super::dry(session)))?;
    Ok(Exit::Done)
}

fn find<'a>(config: &'a CliConfig, name: &str) -> Result<&'a Context, Failure> {
    config.context(name).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no context '{name}'")).suggest("dwcp-cli context list")
    })
}

/// A context of the flags; what they leave out stays as it was.
fn added(session: &Session, name: &str, known: Option<&Context>) -> Result<Context, Failure> {
    let global = &session.global;
    let mut context = known.cloned().unwrap_or_default();
    context.name = name.to_owned();
    if !global.endpoint.is_empty() {
        context.endpoints.clone_from(&global.endpoint);
    }
    if let Some(ca) = &global.ca {
        context.ca = Some(absolute(ca)?);
    }
    if global.token.is_some() {
        context.token.clone_from(&global.token);
    }
    if context.endpoints.is_empty() {
        return Err(Failure::usage("--endpoint is missing: a context needs at least one")
            .suggest(format!("dwcp-cli context add {name} --endpoint https://ADDRESS:7443 --ca ca.pem")));
    }
    Ok(context)
}

/// The context outlives the folder one stands in.
fn absolute(ca: &str) -> Result<String, Failure> {
    std::fs::canonicalize(ca)
        .map(|path| path.display().to_string())
        .map_err(|error| Failure::usage(format!("--ca {ca} can't be read: {error}")))
}

fn list(config: &CliConfig) -> Document {
    let mut table = Table::new(&["CURRENT", "NAME", "TOKEN", "ENDPOINTS"])
        .or("no context is known; add one with dwcp-cli context add NAME --endpoint URL");
    let mut values = Vec::new();
    for context in &config.contexts {
        let current = config.current.as_ref() == Some(&context.name);
        table.row(vec![
            Cell::toned(if current { "*" } else { "" }, Tone::Good),
            Cell::from(&context.name),
            Cell::from(if context.token.is_some() { "yes" } else { "no" }),
            Cell::from(context.endpoints.join(", ")),
        ]);
        let mut value = value_of(context);
        value["current"] = current.into();
        values.push(value);
    }
    Document::of(&json!({ "contexts": values })).table(table)
}

fn value_of(context: &Context) -> serde_json::Value {
    json!({
        "name": context.name,
        "endpoints": context.endpoints,
        "ca": context.ca,
        "has_token": context.token.is_some(),
    })
}

fn show(context: &Context) -> Document {
    let ca = match &context.ca {
        Some(text) if text.contains("-----BEGIN") => "inside the configuration".to_owned(),
        Some(path) => path.clone(),
        None => "the system's".to_owned(),
    };
    Document::of(&value_of(context)).pairs(vec![
        ("name", Cell::from(&context.name)),
        ("endpoints", context.endpoints.join(", ").into()),
        ("ca", ca.into()),
        ("token", Cell::from(if context.token.is_some() { "stored" } else { "none" })),
    ])
}

/// Checks a token against the federation, then stores it.
pub fn login(session: &Session) -> Ended {
    let mut config = settings::load()?;
    let name =
        session.global.context.clone().or(config.current.clone()).unwrap_or_else(|| "default".to_owned());
    let mut context = added(session, &name, config.context(&name))?;
    if session.global.token.is_none() {
        context.token = Some(typed_token()?);
    }
    let token = context.token.clone().unwrap_or_default();
    // The new context may not be stored yet: call with what was typed, not with what the file says.
    let mut global = session.global.clone();
    global.context = None;
    global.endpoint.clone_from(&context.endpoints);
    global.ca.clone_from(&context.ca);
    global.token = None;
    let principal = Session::new(global).call::<Login>(&LoginRequest { token })?;
    config.put(context);
    config.current = Some(name.clone());
    if !session.global.dry_run {
        settings::save(&config)?;
    }
    let document = Document::of(&principal).pairs(vec![
        ("context", name.into()),
        ("federation", Cell::from(&principal.federation)),
        ("user", Cell::from(&principal.user)),
        ("role", principal.role.name().into()),
        ("token", Cell::from(&principal.token_id)),
        ("expires", words::instant_or_dash(principal.expires_at_ms)),
    ]);
    session.show(&document)?;
    Ok(Exit::Done)
}

fn typed_token() -> Result<String, Failure> {
    let mut text = String::new();
    let read = if std::io::stdin().is_terminal() {
        crate::remark("token: ");
        std::io::stdin().read_line(&mut text).map(|_| ())
    } else {
        std::io::stdin().take(4096).read_to_string(&mut text).map(|_| ())
    };
    let token = text.trim();
    match read {
        Ok(()) if !token.is_empty() => Ok(token.to_owned()),
        _ => Err(Failure::usage("no token was given").suggest("dwcp-cli login --token TOKEN")),
    }
}
