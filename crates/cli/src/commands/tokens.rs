//! Tokens.

use dwcp_api::Role;
use dwcp_api::token::{
    TokenCreate, TokenCreateRequest, TokenList, TokenListRequest, TokenRevoke, TokenRevokeRequest,
};

use super::{Ended, all_pages, dry, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{RoleName, TokenCommand};

pub fn run(session: &Session, command: &TokenCommand) -> Ended {
    match command {
        TokenCommand::Create { user, role, expires_in, description } => {
            let request = TokenCreateRequest {
                user: user.clone(),
                role: Some(role_of(*role)),
                expires_in_ms: Some(*expires_in),
                description: description.clone(),
                dry_run: session.global.dry_run,
            };
            create(session, &request)
        }
        TokenCommand::List { user, all } => {
            let request = TokenListRequest { user: user.clone(), all: *all, ..Default::default() };
            read(session, || {
                let page = all_pages::<TokenList, _>(session, None, |cursor| TokenListRequest {
                    cursor,
                    ..request.clone()
                })?;
                let mut table = Table::new(&[
                    "TOKEN",
                    "USER",
                    "ROLE",
                    "STATE",
                    "EXPIRES",
                    "LAST USED~1",
                    "DESCRIPTION~2",
                ])
                .or("no tokens");
                for token in &page.items {
                    table.row(vec![
                        Cell::from(&token.token_id),
                        Cell::from(&token.user),
                        token.role.name().into(),
                        words::state(&token.state),
                        words::instant_or_dash(token.expires_at_ms),
                        words::instant_or_dash(token.last_used_at_ms),
                        Cell::from(&token.description),
                    ]);
                }
                Ok((Document::page(&page, table), Exit::Done))
            })
        }
        TokenCommand::Revoke { token_id } => {
            let request = TokenRevokeRequest {
                token_id: token_id.clone(),
                dry_run: session.global.dry_run,
                ..Default::default()
            };
            let token = session.call::<TokenRevoke>(&request)?;
            let line = format!("{} of {} is revoked{}", token.token_id, token.user, dry(session));
            session.show(&Document::bare(&token, line))?;
            Ok(Exit::Done)
        }
    }
}

fn role_of(name: RoleName) -> Role {
    match name {
        RoleName::Viewer => Role::Viewer,
        RoleName::Operator => Role::Operator,
        RoleName::Admin => Role::Admin,
    }
}

fn create(session: &Session, request: &TokenCreateRequest) -> Ended {
    let created = session.call::<TokenCreate>(request)?;
    session.show(&Document::of(&created).pairs(vec![
        ("token id", Cell::from(&created.token.token_id)),
        ("user", Cell::from(&created.token.user)),
        ("role", created.token.role.name().into()),
        ("expires", words::instant_or_dash(created.token.expires_at_ms)),
        ("secret", words::or_dash((!created.secret.is_empty()).then_some(&created.secret))),
    ]))?;
    session.note(match session.global.dry_run {
        true => "dry run: nothing was created",
        false => "the secret is shown this once only",
    });
    Ok(Exit::Done)
}
