//! One request's way: read in one way only, for a service, let by the guard, to an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dwcp_decide::route::Protocol;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, VIA};
use hyper::{Method, Request, Response, StatusCode};

use crate::guard::{CHALLENGE_PATH, Verdict};

use super::answer::{Answer, Broken};
use super::ask;
use super::conversation::Conversation;
use super::forward::{self, Errand};
use super::headers;
use super::heads::Part;
use super::mark::Mark;
use super::record::Record;
use super::refusal::Refusal;

/// The longest proof of work, bytes.
const PROOF_BYTES: usize = 16 * 1024;

/// What is answered instead of what was asked for.
pub(super) enum Instead {
    Answer(Refusal),
    /// Nothing: the connection ends.
    Silence,
}

impl From<Refusal> for Instead {
    fn from(refusal: Refusal) -> Instead {
        Instead::Answer(refusal)
    }
}

/// Answers a request.
///
/// # Errors
/// It is not answered at all.
pub(super) async fn take(
    talk: Arc<Conversation>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Broken> {
    if talk.http2 {
        talk.line.enters(Part::Between);
    }
    let named = if talk.trusted { headers::named_client(request.headers()) } else { None };
    let client = named.unwrap_or(talk.line.client);
    let mut record = Some(Record::begin(&talk, client));
    let instead = match serve(&talk, request, &mut record).await {
        Ok(answer) => return Ok(answer),
        Err(instead) => instead,
    };
    let mut record = record.unwrap_or_else(|| Record::begin(&talk, client));
    let Instead::Answer(refusal) = instead else {
        record.broken_off = true;
        return Err(Broken("kept waiting"));
    };
    if refusal.status == StatusCode::BAD_REQUEST {
        talk.shared.counts.malformed.fetch_add(1, Relaxed);
    }
    record.status = refusal.status.as_u16();
    let mut answer = refusal.answer(talk.http2);
    answer.headers_mut().insert(VIA, via(&talk).clone());
    Ok(answer.map(|bytes| Answer::own(bytes, record)))
}

fn via(talk: &Conversation) -> &HeaderValue {
    &talk.shared.via[usize::from(talk.http2)]
}

async fn serve(
    talk: &Arc<Conversation>,
    request: Request<Incoming>,
    record: &mut Option<Record>,
) -> Result<Response<Answer>, Instead> {
    let shared = &talk.shared;
    if let Some(why) = talk.line.refused() {
        return Err(Refusal::malformed(why).into());
    }
    if shared.requests.load(Relaxed) > shared.limits.requests {
        let reason = "too many requests are under way here";
        return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, reason, 1).into());
    }
    let (parts, body) = request.into_parts();
    let whom = ask::look(&parts, &shared.limits)?;
    let routes = shared.current.routes();
    let Some(service) = routes.service(&whom.host) else {
        shared.counts.unknown_names.fetch_add(1, Relaxed);
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no service has this name").into());
    };
    talk.line.mark.set(Mark::of(routes.table.services[service].qos, &routes.table.policy));
    let Some(kept) = record.as_mut() else { return Err(Instead::Silence) };
    kept.is_for(&routes, service, whom.host, &parts);
    if routes.table.services[service].protocol != Protocol::Http {
        let reason = "this service does not speak HTTP here";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason).into());
    }
    let proof = parts.method == Method::POST && parts.uri.path() == CHALLENGE_PATH;
    judge(talk, kept, proof).await?;
    if proof {
        return Err(solved(talk, kept, body).await.into());
    }
    if headers::loops(&parts.headers, via(talk)) {
        let reason = "this request went through here before";
        return Err(Refusal::new(StatusCode::LOOP_DETECTED, reason).into());
    }
    // Behind a balancer's connection are many clients, who don't answer for each other.
    let hold_ms =
        if talk.http2 && !talk.trusted { talk.line.taken_back.hold_ms(talk.line.now_ms()) } else { 0 };
    if hold_ms > 0 {
        tokio::time::sleep(Duration::from_millis(hold_ms)).await;
    }
    let errand = Errand { routes, service, authority: whom.authority };
    Ok(forward::carry(talk, errand, parts, body, record).await?)
}

/// Asks the guard.
async fn judge(talk: &Conversation, record: &Record, proof: bool) -> Result<(), Instead> {
    let shared = &talk.shared;
    let Some(asked) = record.asked() else { return Ok(()) };
    let refusal = match shared.guard.request(&asked) {
        Verdict::Pass => return Ok(()),
        Verdict::Challenge { .. } if proof => return Ok(()),
        Verdict::Limit { retry_after_s, reason } => {
            shared.counts.limited.fetch_add(1, Relaxed);
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, reason.to_string(), retry_after_s)
        }
        Verdict::Deny { reason } => {
            shared.counts.denied.fetch_add(1, Relaxed);
            Refusal::new(StatusCode::FORBIDDEN, reason.to_string())
        }
        Verdict::Challenge { page } => {
            shared.counts.challenged.fetch_add(1, Relaxed);
            if asked.wants_html {
                Refusal::page(StatusCode::FORBIDDEN, page)
            } else {
                let reason = "a browser has to show first that a person is there";
                Refusal::later(StatusCode::TOO_MANY_REQUESTS, reason, 30)
            }
        }
        Verdict::Tarpit => {
            shared.counts.tarpitted.fetch_add(1, Relaxed);
            if let Ok(_place) = shared.tarpit.try_acquire() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(shared.limits.tarpit_ms)) => {}
                    () = shared.closed() => {}
                }
            }
            return Err(Instead::Silence);
        }
    };
    Err(refusal.into())
}

/// A proof of work came.
async fn solved(talk: &Conversation, record: &Record, body: Incoming) -> Refusal {
    let shared = &talk.shared;
    let within = Duration::from_millis(shared.limits.body_idle_ms);
    let body = tokio::time::timeout(within, Limited::new(body, PROOF_BYTES).collect()).await;
    let Ok(Ok(body)) = body else {
        return Refusal::new(StatusCode::BAD_REQUEST, "no proof in the body").closing();
    };
    let Some(asked) = record.asked() else { return Refusal::malformed("nobody asked") };
    match shared.guard.solved(asked.client, asked.user_agent, &body.to_bytes()) {
        Ok((cookie, place)) => Refusal::goes_to(place, cookie),
        Err(why) => Refusal::new(StatusCode::FORBIDDEN, why),
    }
}
