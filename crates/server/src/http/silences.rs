//! Silences: made, listed, ended.

use dwcp_api::alert::{
    Silence as ApiSilence, SilenceCreate, SilenceCreateRequest, SilenceExpire, SilenceExpireRequest,
    SilenceList, SilenceListRequest, SilenceState,
};
use dwcp_api::{Page, Problem};
use dwcp_telemetry::alerting::{Conditions, Silence};
use dwcp_types::Refusal;

use super::call::{Call, bad_value};
use super::incidents::at;
use super::routes::Serve;
use super::{alerts, auth, names, page};
use crate::clock;
use crate::monitor::alerts::Known;
use crate::monitor::silences;

fn problem(refusal: Refusal) -> Problem {
    Problem::from(&refusal)
}

/// Where a silence is in its life.
pub fn state(silence: &Silence, now_ms: i64) -> SilenceState {
    match () {
        () if silence.until_ms <= now_ms => SilenceState::Expired,
        () if silence.from_ms > now_ms => SilenceState::Pending,
        () => SilenceState::Active,
    }
}

fn shown(id: &str, silence: &Silence, alerts: &[Known], now_ms: i64) -> ApiSilence {
    let concerned =
        |known: &&Known| known.alert.ended_at_ms.is_none() && silence.conditions.hold(&known.alert.labels);
    ApiSilence {
        silence: id.to_owned(),
        state: state(silence, now_ms),
        conditions: silence.conditions.0.iter().map(ToString::to_string).collect(),
        starts_at_ms: at(silence.from_ms),
        ends_at_ms: at(silence.until_ms),
        by: silence.who.clone(),
        comment: silence.comment.clone(),
        alerts: alerts.iter().filter(concerned).count() as u64,
    }
}

/// An id for what this call makes: the same for its repetitions.
///
/// # Errors
/// The system has no randomness.
pub fn fresh_id(call: &Call) -> Result<String, Problem> {
    let secret = match call.asked().key {
        Some(key) => format!("silence/{key}/{}", call.digest),
        None => auth::fresh_secret().map_err(|why| Problem::bad_request(&why))?,
    };
    Ok(silences::id(&auth::secret_hash(&secret)))
}

impl Serve for SilenceCreate {
    async fn answer(call: &Call, request: SilenceCreateRequest) -> Result<ApiSilence, Problem> {
        let now_ms = clock::wall_ms();
        let mut conditions = Vec::new();
        for text in &request.conditions {
            let read: Conditions = text.parse().map_err(|why: String| bad_value("conditions", why))?;
            conditions.extend(read.0);
        }
        let from_ms = request.starts_at_ms.map_or(now_ms, clock::ms);
        let silence = Silence {
            conditions: Conditions(conditions),
            from_ms,
            until_ms: from_ms.saturating_add(clock::ms(request.duration_ms)),
            who: call.caller.user.clone(),
            comment: request.comment.trim().to_owned(),
        };
        let seen = alerts::look(call).await?;
        if request.dry_run {
            silences::check(&silence, now_ms).map_err(problem)?;
            return Ok(shown("", &silence, &seen.alerts, now_ms));
        }
        let id = fresh_id(call)?;
        let made = silences::put(call.api.monitor(), &call.asked(), (&id, false), &silence, now_ms).await;
        Ok(shown(&id, &made.map_err(problem)?, &seen.alerts, now_ms))
    }
}

impl Serve for SilenceList {
    async fn answer(call: &Call, request: SilenceListRequest) -> Result<Page<ApiSilence>, Problem> {
        let seen = alerts::look(call).await?;
        let all = silences::all(call.api.monitor()).await.map_err(problem)?;
        let wanted = all.iter().filter(|(_, silence)| request.all || silence.until_ms > seen.now_ms);
        let key = |id: &str, silence: &Silence| format!("{:016x}-{id}", at(silence.until_ms));
        let mut items: Vec<_> =
            wanted.map(|(id, of)| (key(id, of), shown(id, of, &seen.alerts, seen.now_ms))).collect();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let as_of = call.look(names::as_of_federation).await?;
        page::cut(items, request.limit, request.cursor.as_deref(), as_of)
    }
}

impl Serve for SilenceExpire {
    async fn answer(call: &Call, request: SilenceExpireRequest) -> Result<ApiSilence, Problem> {
        let (id, monitor) = (&request.silence, call.api.monitor());
        let seen = alerts::look(call).await?;
        let silence = if request.dry_run {
            let mut all = silences::all(monitor).await.map_err(problem)?;
            let mut silence = all.remove(id).ok_or_else(|| problem(silences::unknown(id)))?;
            // One that is over stays as it is.
            let _ = silences::end(&mut silence, seen.now_ms);
            silence
        } else {
            silences::expire(monitor, &call.asked(), id, seen.now_ms).await.map_err(problem)?
        };
        Ok(shown(id, &silence, &seen.alerts, seen.now_ms))
    }
}
