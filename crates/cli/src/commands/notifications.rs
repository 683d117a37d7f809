//! Messages to people.

use std::time::{Duration, Instant};

use dwcp_api::notification::{
    NotificationList, NotificationListRequest, NotificationRetry, NotificationRetryRequest, NotificationRow,
    NotificationSend, NotificationSendRequest, NotificationState, NotificationTest, NotificationTestRequest,
    NotificationsAnswer,
};

use super::{Ended, LOOK_EVERY, all_pages, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{self, NotificationCommand};

pub fn run(session: &Session, command: &NotificationCommand) -> Ended {
    match command {
        NotificationCommand::Send(wanted) => send(session, wanted),
        NotificationCommand::Test { receiver, timeout } => {
            test(session, receiver.clone(), Duration::from_millis(*timeout))
        }
        NotificationCommand::List { state, about, since, limit } => read(session, || {
            let page = all_pages::<NotificationList, _>(session, *limit, |cursor| NotificationListRequest {
                state: state.clone(),
                about: about.clone(),
                since_ms: *since,
                limit: *limit,
                cursor,
            })?;
            Ok((Document::page(&page, table(&page.items)), Exit::Done))
        }),
        NotificationCommand::Retry { key } => {
            let answer = session.call::<NotificationRetry>(&NotificationRetryRequest { key: key.clone() })?;
            let line = match answer.messages.len() {
                0 => "there is no dead letter to try again".to_owned(),
                1 => "1 message is tried again".to_owned(),
                many => format!("{many} messages are tried again"),
            };
            session.show(&Document::bare(&answer, line))?;
            Ok(Exit::Done)
        }
    }
}

fn send(session: &Session, wanted: &typed::NotificationSend) -> Ended {
    let answer = session.call::<NotificationSend>(&NotificationSendRequest {
        template: wanted.template.clone(),
        region: wanted.region.clone(),
        status: wanted.status.clone(),
        title: wanted.title.clone(),
        text: wanted.text.clone(),
        severity: wanted.severity.clone(),
        dry_run: session.global.dry_run,
    })?;
    let is = if session.global.dry_run { "would be" } else { "is" };
    let to: Vec<&str> = answer.messages.iter().map(|message| message.receiver.as_str()).collect();
    let line = match to.as_slice() {
        [] => format!("nobody {is} told{}", dry(session)),
        to => format!("{} {is} on its way to {}{}", wanted.template, to.join(", "), dry(session)),
    };
    session.show(&Document::bare(&answer, line))?;
    session.warn(&answer.warnings);
    Ok(Exit::Done)
}

/// Sends a test and waits until each message was delivered or given up; what was tried and not taken is shown, too.
fn test(session: &Session, receiver: Option<String>, patience: Duration) -> Ended {
    let mut answer = session.call::<NotificationTest>(&NotificationTestRequest { receiver })?;
    let until = Instant::now() + patience;
    while is_pending(&answer.messages) && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
        renew(session, &mut answer)?;
    }
    session.show(&Document::of(&answer).table(table(&answer.messages)))?;
    let delivered = answer.messages.iter().all(|message| message.state == NotificationState::Delivered);
    Ok(if delivered { Exit::Done } else { Exit::Partly })
}

fn is_pending(messages: &[NotificationRow]) -> bool {
    messages.iter().any(|message| message.state == NotificationState::Pending)
}

/// Reads again where the messages stand.
fn renew(session: &Session, answer: &mut NotificationsAnswer) -> Result<(), Failure> {
    let Some(about) = answer.messages.first().map(|message| message.about.clone()) else { return Ok(()) };
    let page = all_pages::<NotificationList, _>(session, None, |cursor| NotificationListRequest {
        about: Some(about.clone()),
        cursor,
        ..Default::default()
    })?;
    for message in &mut answer.messages {
        if let Some(now) = page.items.iter().find(|row| row.key == message.key) {
            message.clone_from(now);
        }
    }
    answer.as_of = page.as_of;
    Ok(())
}

fn table(messages: &[NotificationRow]) -> Table {
    let mut table = Table::new(&["MADE", "TO", "KIND~2", "STATE", "TRIED~1", "ABOUT~1", "TITLE", "SAID"])
        .or("no messages");
    for message in messages {
        table.row(vec![
            words::instant(message.created_at_ms).into(),
            Cell::from(&message.receiver),
            Cell::from(&message.kind),
            words::state(&message.state),
            Cell::from(message.attempts.to_string()),
            Cell::from(&message.about),
            Cell::from(&message.title),
            Cell::from(&message.said),
        ]);
    }
    table
}
