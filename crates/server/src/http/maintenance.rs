//! Maintenance windows: planned, listed, called off; and what they mute.

use dwcp_api::maintenance::{
    InMaintenance, MaintenanceAnswer, MaintenanceCancel, MaintenanceCancelRequest, MaintenanceList,
    MaintenanceListRequest, MaintenanceSchedule, MaintenanceScheduleRequest, MaintenanceWindow, WindowState,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::Request;
use dwcp_state::{Core, Event, Notice, Severity, Window};
use dwcp_types::{Code, HostId, Refusal, RegionId, Wall, WindowId};

use super::call::{Call, bad_value, expect_revision, reason};
use super::outlook::{self, Worse};
use super::routes::Serve;
use super::{hosts, names, page};
use crate::handle::View;

/// A window as the API shows it.
fn shown(window: &Window, now: Wall) -> MaintenanceWindow {
    let state = match window {
        Window { cancelled_at: Some(_), .. } => WindowState::Cancelled,
        _ if window.said == Notice::Ended || window.ends_at <= now => WindowState::Over,
        _ if window.holds_at(now) => WindowState::Running,
        _ => WindowState::Planned,
    };
    let notice = match window.said {
        Notice::Planned => "planned",
        Notice::Week => "7 days",
        Notice::Day => "24 hours",
        Notice::Started => "started",
        Notice::Ended => "ended",
    };
    MaintenanceWindow {
        window: if window.id == WindowId(0) { String::new() } else { window.id.to_string() },
        region: window.region.as_str().to_owned(),
        host: window.host.as_ref().map(|host| host.as_str().to_owned()),
        state,
        starts_at_ms: window.starts_at.0,
        ends_at_ms: window.ends_at.0,
        reason: window.reason.clone(),
        by: window.by.clone(),
        no_placement: window.no_placement,
        notice: notice.to_owned(),
        cancelled_at_ms: window.cancelled_at.map(|at| at.0),
        revision: window.revision.0,
    }
}

/// What is in maintenance now: a region, or one of its hosts.
pub fn of(view: &View<'_>, region: &RegionId, host: Option<&HostId>) -> Option<InMaintenance> {
    let holds = |window: &&Window| {
        window.region == *region && window.host.as_ref() == host && window.holds_at(view.now.wall)
    };
    let window = view.node.facts().core.windows.values().find(holds)?;
    Some(InMaintenance {
        window: window.id.to_string(),
        until_at_ms: window.ends_at.0,
        reason: window.reason.clone(),
    })
}

/// The window that mutes an event: what is worse than information, of a region within its window, or of a host within its.
pub fn muted_by(core: &Core, region: Option<&RegionId>, event: &Event) -> Option<String> {
    if event.severity == Severity::Info {
        return None;
    }
    let concerned = |window: &&Window| match &window.host {
        None => match region {
            Some(region) => window.region == *region,
            None => window.region.as_str() == event.subject,
        },
        Some(host) => region == Some(&window.region) && host.as_str() == event.subject,
    };
    let holds = |window: &&Window| window.holds_at(event.at);
    core.windows.values().filter(concerned).find(holds).map(|window| window.id.to_string())
}

/// The window that is asked for, as far as it can be told here.
fn wanted(view: &View<'_>, request: &MaintenanceScheduleRequest, by: &str) -> Result<Window, Problem> {
    let (region, host) = match (&request.region, &request.host) {
        (Some(region), None) => (names::region(view, region)?.0.id.clone(), None),
        (None, Some(host)) => {
            let (facts, host) = hosts::find(view, host)?;
            (facts.name.clone(), Some(host.facts.id.clone()))
        }
        _ => return Err(bad_value("region", "a window is of a region or of a host: give one of the two")),
    };
    let why = reason(Some(&request.reason))?;
    if why.is_empty() {
        return Err(bad_value("reason", "a maintenance window needs a reason"));
    }
    if request.duration_ms == 0 || request.duration_ms > Window::LONGEST_MS {
        return Err(bad_value("duration_ms", "more than nothing and at most 31 days"));
    }
    let (starts_at, now) = (Wall(request.starts_at_ms), view.now.wall);
    if starts_at < now {
        let why = format!("{} is in the past: it is {}", starts_at.utc(), now.utc());
        return Err(bad_value("starts_at_ms", why));
    }
    if starts_at.ms_since(now) > Window::FARTHEST_MS {
        return Err(bad_value("starts_at_ms", "within 366 days"));
    }
    Ok(Window {
        region,
        host,
        starts_at,
        ends_at: Wall(request.starts_at_ms + request.duration_ms),
        reason: why,
        by: by.to_owned(),
        no_placement: request.no_placement,
        ..Window::default()
    })
}

/// Windows of other regions as a whole at the same time.
fn at_once(core: &Core, asked: &Window) -> Vec<Window> {
    let other = |window: &&Window| {
        window.is_open() && window.host.is_none() && window.region != asked.region && window.overlaps(asked)
    };
    if asked.host.is_some() { Vec::new() } else { core.windows.values().filter(other).cloned().collect() }
}

impl Serve for MaintenanceSchedule {
    async fn answer(call: &Call, request: MaintenanceScheduleRequest) -> Result<MaintenanceAnswer, Problem> {
        let (asked, by) = (request.clone(), call.caller.user.clone());
        let (window, others) = call
            .find(move |view| {
                let window = wanted(view, &asked, &by)?;
                let others = at_once(&view.node.facts().core, &window);
                Ok((window, others))
            })
            .await?;
        let mut warnings: Vec<String> = others.iter().map(overlap).collect();
        let worse = if window.host.is_some() {
            Worse::nothing()
        } else {
            let closed = std::iter::once(&window).chain(&others).map(|window| window.region.clone());
            outlook::without(call, closed.collect()).await
        };
        let id = if request.dry_run {
            None
        } else {
            let planned = Request::ScheduleWindow(call.asked(), Box::new(window.clone()));
            call.change(planned).await?.window
        };
        warnings.extend(worse.warnings().await);
        call.look(move |view| {
            let planned = id.and_then(|id| view.node.facts().core.windows.get(&id));
            let window = shown(planned.unwrap_or(&window), view.now.wall);
            MaintenanceAnswer { window, warnings, as_of: names::as_of_federation(view) }
        })
        .await
    }
}

fn overlap(other: &Window) -> String {
    format!(
        "{} of {} is at the same time: {} to {} ({})",
        other.id,
        other.subject(),
        other.starts_at.utc(),
        other.ends_at.utc(),
        other.reason
    )
}

impl Serve for MaintenanceList {
    async fn answer(
        call: &Call,
        request: MaintenanceListRequest,
    ) -> Result<Page<MaintenanceWindow>, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let wanted = |window: &&Window| {
                (request.all || window.is_open())
                    && request.region.as_ref().is_none_or(|region| window.region.as_str() == region)
            };
            let windows = view.node.facts().core.windows.values().filter(wanted);
            let key = |window: &Window| format!("{:016x}-{:08}", window.starts_at.0, window.id.0);
            let mut items: Vec<_> =
                windows.map(|window| (key(window), shown(window, view.now.wall))).collect();
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            page::cut(items, request.limit, request.cursor.as_deref(), names::as_of_federation(view))
        })
        .await
    }
}

impl Serve for MaintenanceCancel {
    async fn answer(call: &Call, request: MaintenanceCancelRequest) -> Result<MaintenanceAnswer, Problem> {
        let unknown = |name: &str| {
            let refusal = Refusal::new(Code::UnknownWindow, format!("no maintenance window {name}"));
            Problem::from(&refusal.try_this("dwcp-cli maintenance list"))
        };
        let id: WindowId = request.window.parse().map_err(|_| unknown(&request.window))?;
        let why = reason(request.reason.as_deref())?;
        let expected = request.expected_revision;
        let read = move |view: &View<'_>| {
            let window = view.node.facts().core.windows.get(&id).ok_or_else(|| unknown(&id.to_string()))?;
            let window = shown(window, view.now.wall);
            Ok(MaintenanceAnswer { window, warnings: Vec::new(), as_of: names::as_of_federation(view) })
        };
        if request.dry_run {
            let mut answer = call.find(read).await?;
            let holds = dwcp_types::Revision(answer.window.revision);
            expect_revision(&id.to_string(), expected, holds, "dwcp-cli maintenance list")?;
            answer.window.state = WindowState::Cancelled;
            return Ok(answer);
        }
        call.change(Request::CancelWindow(call.asked_because(why, expected), id)).await?;
        call.find(read).await
    }
}
