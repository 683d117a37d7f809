//! Messages to people: sent by hand, tried, listed.

use dwcp_api::notification::{
    NotificationList, NotificationListRequest, NotificationRetry, NotificationRetryRequest, NotificationRow,
    NotificationSend, NotificationSendRequest, NotificationState, NotificationTest, NotificationTestRequest,
    NotificationsAnswer,
};
use dwcp_api::{Page, Problem};
use dwcp_state::DocumentKind;
use dwcp_telemetry::notify::{Delivery, Facts, Message, Outbox, Settings, State};
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::routes::Serve;
use super::{names, page};
use crate::clock;
use crate::monitor::documents::{self, Documents, Draft};
use crate::monitor::outbox::{outbox, post};

const KINDS: &[DocumentKind] = &[DocumentKind::Delivery];
/// Longest text of a request, bytes.
const LONGEST: usize = 4 << 10;

fn row(settings: &Settings, delivery: &Delivery) -> NotificationRow {
    let unsigned = |ms: i64| ms.max(0).unsigned_abs();
    let (state, at_ms, why) = match &delivery.state {
        State::Pending { next_at_ms, .. } => (NotificationState::Pending, *next_at_ms, None),
        State::Delivered { at_ms } => (NotificationState::Delivered, *at_ms, None),
        State::Dead { at_ms, why } => (NotificationState::Dead, *at_ms, Some(why.clone())),
    };
    let last = delivery.attempts.last().map(|attempt| attempt.said.clone());
    NotificationRow {
        key: delivery.key.clone(),
        receiver: delivery.receiver.clone(),
        kind: settings.receivers.get(&delivery.receiver).map_or("", |of| of.kind.name()).to_owned(),
        about: delivery.message.about().to_owned(),
        template: delivery.message.template.clone(),
        title: delivery.message.title.clone(),
        state,
        attempts: delivery.attempts.len() as u32,
        said: why.or(last).unwrap_or_default(),
        created_at_ms: unsigned(delivery.created_at_ms),
        at_ms: unsigned(at_ms),
    }
}

async fn answer(
    call: &Call,
    made: &[Delivery],
    warnings: Vec<String>,
) -> Result<NotificationsAnswer, Problem> {
    let settings = call.api.monitor().settings();
    let messages = made.iter().map(|delivery| row(&settings, delivery)).collect();
    call.look(move |view| NotificationsAnswer { messages, warnings, as_of: names::as_of_federation(view) })
        .await
}

/// Changes messages under the request's key.
async fn change<T>(
    call: &Call,
    mut decide: impl FnMut(&mut Outbox, &mut Draft) -> Result<T, Refusal>,
) -> Result<T, Problem> {
    let (monitor, asked) = (call.api.monitor(), call.asked());
    let changed =
        documents::change(&monitor.node, &asked, KINDS, |seen, draft| decide(&mut outbox(seen)?, draft));
    changed.await.map_err(|refusal| Problem::from(&refusal))
}

fn put(draft: &mut Draft, all: &[Delivery]) -> Result<(), Refusal> {
    all.iter().try_for_each(|delivery| draft.put(DocumentKind::Delivery, &delivery.key, delivery))
}

/// A message of what was asked for; it is the same for a repeated request.
fn message(call: &Call, settings: &Settings, request: &NotificationSendRequest) -> Result<Message, Problem> {
    let texts = [&request.title, &request.text, &request.status];
    if texts.into_iter().flatten().any(|text| text.len() > LONGEST) {
        return Err(bad_value("text", format!("at most {LONGEST} bytes")));
    }
    let severity = request.severity.as_deref().map(str::parse).transpose();
    let facts = Facts {
        federation: call.api.federation.clone(),
        region: request.region.clone().unwrap_or_default(),
        status: request.status.clone().unwrap_or_default(),
        title: request.title.clone().unwrap_or_default(),
        text: request.text.clone().unwrap_or_default(),
        severity: severity.map_err(|why: String| bad_value("severity", why))?,
        path: String::new(),
    };
    let id = call.key.clone().unwrap_or_else(|| call.request_id.clone());
    let made = Message::announcement(settings, &request.template, &id, &facts, clock::wall_ms());
    made.map_err(|why| Problem::from(&Refusal::new(Code::BadValue, "that can't be said").because(why)))
}

impl Serve for NotificationSend {
    async fn answer(call: &Call, request: NotificationSendRequest) -> Result<NotificationsAnswer, Problem> {
        if let Some(region) = request.region.clone() {
            call.find(move |view| names::region(view, &region).map(drop)).await?;
        }
        let settings = call.api.monitor().settings();
        let message = message(call, &settings, &request)?;
        let now_ms = clock::wall_ms();
        let made = if request.dry_run {
            Outbox::default().add(&settings, &message, now_ms)
        } else {
            change(call, |outbox, draft| post(call.api.monitor(), outbox, draft, &message, now_ms)).await?
        };
        let none = "no route of the settings takes this: nobody is told";
        let warnings = if made.is_empty() { vec![none.to_owned()] } else { Vec::new() };
        self::answer(call, &made, warnings).await
    }
}

impl Serve for NotificationTest {
    async fn answer(call: &Call, request: NotificationTestRequest) -> Result<NotificationsAnswer, Problem> {
        let settings = call.api.monitor().settings();
        let names: Vec<String> = match &request.receiver {
            Some(name) if settings.receivers.contains_key(name) => vec![name.clone()],
            Some(name) => {
                let known: Vec<&str> = settings.receivers.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
                return Err(bad_value("receiver", format!("'{name}' is not in the settings: {known}")));
            }
            None => settings.receivers.keys().cloned().collect(),
        };
        if names.is_empty() {
            let refusal = Refusal::new(Code::WrongState, "there is nobody to send a test to")
                .because("the settings of notifications name no receiver");
            return Err(Problem::from(&refusal));
        }
        let asked = NotificationSendRequest { template: "test".to_owned(), ..Default::default() };
        let message = message(call, &settings, &asked)?;
        let now_ms = clock::wall_ms();
        let made = change(call, |outbox, draft| {
            let made: Vec<Delivery> =
                names.iter().filter_map(|name| outbox.add_to(name, &message, now_ms)).collect();
            put(draft, &made)?;
            Ok(made)
        });
        self::answer(call, &made.await?, Vec::new()).await
    }
}

impl Serve for NotificationRetry {
    async fn answer(call: &Call, request: NotificationRetryRequest) -> Result<NotificationsAnswer, Problem> {
        let now_ms = clock::wall_ms();
        let made = change(call, |outbox, draft| {
            let keys: Vec<String> = match &request.key {
                Some(key) if outbox.get(key).is_none() => {
                    let refusal = Refusal::new(Code::UnknownNotification, format!("no message {key}"));
                    return Err(refusal.try_this("dwcp-cli notification list --state dead"));
                }
                Some(key) => vec![key.clone()],
                None => outbox.dead().map(|delivery| delivery.key.clone()).collect(),
            };
            let tried: Vec<Delivery> =
                keys.iter().filter_map(|key| outbox.retry(key, now_ms).cloned()).collect();
            put(draft, &tried)?;
            Ok(tried)
        });
        self::answer(call, &made.await?, Vec::new()).await
    }
}

impl Serve for NotificationList {
    async fn answer(call: &Call, request: NotificationListRequest) -> Result<Page<NotificationRow>, Problem> {
        let monitor = call.api.monitor();
        let seen = Documents::look(&monitor.node, KINDS).await.map_err(|refusal| Problem::from(&refusal))?;
        let outbox = outbox(&seen).map_err(|refusal| Problem::from(&refusal))?;
        let state = match request.state.as_deref() {
            None => None,
            Some("pending") => Some(NotificationState::Pending),
            Some("delivered") => Some(NotificationState::Delivered),
            Some("dead") => Some(NotificationState::Dead),
            Some(other) => {
                return Err(bad_value("state", format!("'{other}' is not pending, delivered or dead")));
            }
        };
        let settings = monitor.settings();
        let from_ms = request.since_ms.map_or(0, |since_ms| clock::wall().0.saturating_sub(since_ms));
        let wanted = |row: &NotificationRow| {
            state.is_none_or(|state| row.state == state)
                && request.about.as_ref().is_none_or(|about| row.about == *about)
                && row.created_at_ms >= from_ms
        };
        let rows = outbox.iter().map(|delivery| row(&settings, delivery)).filter(wanted);
        let mut items: Vec<_> =
            rows.map(|row| (page::newest_first(row.created_at_ms, &row.key), row)).collect();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        call.look(move |view| {
            page::cut(items, request.limit, request.cursor.as_deref(), names::as_of_federation(view))
        })
        .await?
    }
}
