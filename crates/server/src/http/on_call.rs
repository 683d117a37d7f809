//! Who is on call: now, in the days to come, and who stands in.

use dwcp_api::Problem;
use dwcp_api::on_call::{
    Calendar, OnCall, OnCallCalendar, OnCallDays, OnCallOverride, OnCallOverrideRequest, OnCallRead,
    OnCallReadRequest, OnCallRemove, OnCallRemoveRequest, OnCallSchedule, OnCallScheduleRequest, OnCallShift,
    OnDuty, StandIn,
};
use dwcp_state::DocumentKind;
use dwcp_telemetry::incidents::{DAYS_MAX, NAME_BYTES, Override, Role, Schedule, calendar};
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::incidents::{at, line, role_word};
use super::names;
use super::routes::Serve;
use crate::clock;
use crate::monitor::documents::{self, Documents};

const KINDS: &[DocumentKind] = &[DocumentKind::OnCall];
const DAY_MS: i64 = 86_400_000;
/// Days that are listed where nothing is said.
const DAYS: u32 = 14;
/// Overrides that are kept, at most.
const OVERRIDES_MAX: usize = 500;
/// What is over is kept for so long, ms.
const KEPT_MS: i64 = 30 * DAY_MS;

fn problem(refusal: Refusal) -> Problem {
    Problem::from(&refusal)
}

fn role(text: &str) -> Result<Role, Problem> {
    match text.trim() {
        "primary" => Ok(Role::Primary),
        "secondary" => Ok(Role::Secondary),
        _ => Err(bad_value("role", "primary or secondary")),
    }
}

/// What is known here of who is on call.
async fn look(call: &Call) -> Result<(Documents, Schedule), Problem> {
    let seen = Documents::look(&call.api.node, KINDS).await.map_err(problem)?;
    let schedule = call.api.monitor().schedule(&seen).map_err(problem)?;
    let schedule = schedule.map_err(|wrong| {
        problem(Refusal::new(Code::NotReady, "the on-call schedule can't be read").because(wrong.join("; ")))
    })?;
    Ok((seen, schedule))
}

impl Serve for OnCallRead {
    async fn answer(call: &Call, request: OnCallReadRequest) -> Result<OnCall, Problem> {
        let at_ms = request.at_ms.map_or_else(clock::wall_ms, clock::ms);
        if at_ms > clock::wall_ms().saturating_add(DAYS_MAX * DAY_MS) {
            return Err(bad_value("at_ms", format!("within {DAYS_MAX} days")));
        }
        let (_, schedule) = look(call).await?;
        let duty = [Role::Primary, Role::Secondary].map(|role| on_duty(&schedule, &role, at_ms));
        let as_of = call.look(names::as_of_federation).await?;
        Ok(OnCall { at_ms: at(at_ms), duty: duty.to_vec(), as_of })
    }
}

fn on_duty(schedule: &Schedule, role: &Role, at_ms: i64) -> OnDuty {
    let who = schedule.on_call(role, at_ms).map(str::to_owned);
    let last_ms = at_ms.saturating_add(DAYS_MAX * DAY_MS);
    let shifts = if who.is_some() { schedule.shifts(role, at_ms, last_ms) } else { Vec::new() };
    let until_ms = shifts.first().map(|shift| shift.until_ms).filter(|until_ms| *until_ms < last_ms);
    OnDuty { role: role_word(role).to_owned(), who, until_ms: until_ms.map(at) }
}

/// The shifts of both roles in the days to come, in their order.
fn days(
    schedule: &Schedule,
    request: &OnCallScheduleRequest,
    now_ms: i64,
) -> Result<Vec<dwcp_telemetry::incidents::Shift>, Problem> {
    let days = i64::from(request.days.unwrap_or(DAYS));
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(bad_value("days", format!("1 to {DAYS_MAX}")));
    }
    let until_ms = now_ms.saturating_add(days * DAY_MS);
    let of = |role| schedule.shifts(&role, now_ms, until_ms);
    let mut shifts: Vec<_> = [Role::Primary, Role::Secondary].into_iter().flat_map(of).collect();
    shifts.sort_by_key(|shift| (shift.from_ms, shift.role.clone()));
    Ok(shifts)
}

impl Serve for OnCallSchedule {
    async fn answer(call: &Call, request: OnCallScheduleRequest) -> Result<OnCallDays, Problem> {
        let (seen, schedule) = look(call).await?;
        let now_ms = clock::wall_ms();
        let shifts = days(&schedule, &request, now_ms)?.into_iter().map(|shift| OnCallShift {
            role: role_word(&shift.role).to_owned(),
            who: shift.who,
            from_ms: at(shift.from_ms),
            until_ms: at(shift.until_ms),
        });
        let overrides = seen.all::<Override>(DocumentKind::OnCall).map_err(problem)?;
        let lasting = overrides.into_iter().filter(|(_, one)| one.until_ms > now_ms);
        let overrides = lasting.map(|(id, one)| stand_in(&seen, id, &one)).collect();
        let as_of = call.look(names::as_of_federation).await?;
        Ok(OnCallDays { shifts: shifts.collect(), overrides, as_of })
    }
}

impl Serve for OnCallCalendar {
    async fn answer(call: &Call, request: OnCallScheduleRequest) -> Result<Calendar, Problem> {
        let (_, schedule) = look(call).await?;
        let now_ms = clock::wall_ms();
        let name = format!("On call for {}", call.api.federation);
        Ok(Calendar { ics: calendar(&name, &days(&schedule, &request, now_ms)?, now_ms) })
    }
}

fn stand_in(seen: &Documents, id: String, one: &Override) -> StandIn {
    StandIn {
        by: seen.raw(DocumentKind::OnCall, &id).map(|document| document.by.clone()).unwrap_or_default(),
        id,
        role: role_word(&one.role).to_owned(),
        who: one.who.clone(),
        from_ms: at(one.from_ms),
        until_ms: at(one.until_ms),
    }
}

fn wanted(request: &OnCallOverrideRequest, now_ms: i64) -> Result<Override, Problem> {
    let one = Override {
        role: role(&request.role)?,
        who: line("who", &request.who, NAME_BYTES)?,
        from_ms: clock::ms(request.from_ms),
        until_ms: clock::ms(request.until_ms),
    };
    if one.until_ms <= one.from_ms {
        return Err(bad_value("until_ms", "it ends before it begins"));
    }
    if one.until_ms <= now_ms {
        return Err(bad_value("until_ms", "it is over already"));
    }
    if one.until_ms > now_ms.saturating_add(DAYS_MAX * DAY_MS) {
        return Err(bad_value("until_ms", format!("within {DAYS_MAX} days")));
    }
    Ok(one)
}

/// `override-007`: the number after the highest there is.
fn next_id(known: &[(String, Override)]) -> String {
    let number = |id: &String| id.strip_prefix("override-").and_then(|rest| rest.parse::<u32>().ok());
    let last = known.iter().filter_map(|(id, _)| number(id)).max().unwrap_or(0);
    format!("override-{:03}", last + 1)
}

impl Serve for OnCallOverride {
    async fn answer(call: &Call, request: OnCallOverrideRequest) -> Result<StandIn, Problem> {
        let now_ms = clock::wall_ms();
        let one = wanted(&request, now_ms)?;
        let shown = |id: String| StandIn {
            id,
            role: role_word(&one.role).to_owned(),
            who: one.who.clone(),
            from_ms: at(one.from_ms),
            until_ms: at(one.until_ms),
            by: call.caller.user.clone(),
        };
        if request.dry_run {
            return Ok(shown(String::new()));
        }
        let asked = call.asked();
        let changed = documents::change(&call.api.node, &asked, KINDS, |seen, draft| {
            let known = seen.all::<Override>(DocumentKind::OnCall)?;
            // The same once more is what is there already, whoever repeats it.
            if let Some((id, _)) = known.iter().find(|(_, known)| *known == one) {
                return Ok(id.clone());
            }
            let old = |known: &&(String, Override)| known.1.until_ms.saturating_add(KEPT_MS) < now_ms;
            let forgotten = known.iter().filter(old).map(|(id, _)| draft.remove(DocumentKind::OnCall, id));
            if known.len() - forgotten.count() >= OVERRIDES_MAX {
                let refusal = Refusal::new(Code::WrongState, "too many overrides of the on-call schedule");
                return Err(refusal.because(format!("at most {OVERRIDES_MAX}")));
            }
            let id = next_id(&known);
            draft.put(DocumentKind::OnCall, &id, &one)?;
            Ok(id)
        });
        let id = changed.await.map_err(problem)?;
        // A repetition that came before the first one was known here chose an id that is not there.
        let (seen, _) = look(call).await?;
        let known = seen.all::<Override>(DocumentKind::OnCall).map_err(problem)?;
        let there = known.into_iter().find(|(_, known)| *known == one);
        Ok(there.map_or_else(|| shown(id), |(id, known)| stand_in(&seen, id, &known)))
    }
}

impl Serve for OnCallRemove {
    async fn answer(call: &Call, request: OnCallRemoveRequest) -> Result<StandIn, Problem> {
        let id = request.id;
        let unknown = || {
            let refusal = Refusal::new(Code::UnknownOverride, format!("there is no override {id}"));
            refusal.try_this("dwcp-cli federation monitoring oncall schedule")
        };
        let find = |seen: &Documents| {
            let one = seen.get::<Override>(DocumentKind::OnCall, &id)?.ok_or_else(unknown)?;
            Ok(stand_in(seen, id.clone(), &one))
        };
        if request.dry_run {
            let (seen, _) = look(call).await?;
            return find(&seen).map_err(problem);
        }
        let asked = call.asked();
        let changed = documents::change(&call.api.node, &asked, KINDS, |seen, draft| {
            let found = find(seen)?;
            draft.remove(DocumentKind::OnCall, &id);
            Ok(found)
        });
        changed.await.map_err(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from_ms: u64, until_ms: u64, role: &str, who: &str) -> OnCallOverrideRequest {
        OnCallOverrideRequest {
            role: role.to_owned(),
            who: who.to_owned(),
            from_ms,
            until_ms,
            dry_run: false,
        }
    }

    #[test]
    fn an_override_that_makes_no_sense_is_refused_and_names_the_field() {
        let year_ms = 366 * DAY_MS as u64;
        for (request, field) in [
            (asked(10, 20, "tertiary", "ada"), "role"),
            (asked(10, 20, "primary", " "), "who"),
            (asked(10, 20, "primary", "a\u{1b}[2J"), "who"),
            (asked(10, 20, "primary", &"a".repeat(101)), "who"),
            (asked(20, 20, "primary", "ada"), "until_ms"),
            (asked(1, 5, "primary", "ada"), "until_ms"),
            (asked(1, 2 * year_ms, "primary", "ada"), "until_ms"),
        ] {
            let refused = wanted(&request, 5).expect_err(field);
            assert_eq!(refused.field.as_deref(), Some(field));
        }
        assert!(wanted(&asked(1, 6, "secondary", " ada "), 5).is_ok_and(|one| one.who == "ada"));
    }

    #[test]
    fn ids_go_on_behind_the_highest() {
        let one = Override { role: Role::Primary, who: "ada".to_owned(), from_ms: 1, until_ms: 2 };
        let known = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), one.clone())).collect::<Vec<_>>();
        assert_eq!(next_id(&known(&[])), "override-001");
        assert_eq!(next_id(&known(&["override-009", "override-002", "other"])), "override-010");
    }
}
