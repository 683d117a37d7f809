//! Applies what is planned, told and called off of maintenance windows.

use dwcp_types::{Code, Refusal, WindowId};

use crate::apply_core::unknown_region;
use crate::apply_region::{Applied, Stamp};
use crate::command::Receipt;
use crate::maintenance::{Notice, Window};
use crate::{Core, Event, Severity};

impl Core {
    /// Windows that are neither over nor called off, at most.
    pub const WINDOWS_OPEN: usize = 500;
    /// Windows kept with those that are over or called off.
    pub const WINDOWS_KEPT: usize = 600;

    pub(crate) fn schedule_window(&mut self, asked: &Window, stamp: &Stamp<'_>) -> Applied {
        if !self.regions.contains_key(&asked.region) {
            return Err(unknown_region(&asked.region));
        }
        self.check_window(asked, stamp)?;
        let id = WindowId(self.windows_numbered + 1);
        self.windows_numbered = id.0;
        let window = Window {
            id,
            by: stamp.envelope.by.clone(),
            asked_at: stamp.envelope.at,
            said: Notice::Planned,
            closed: false,
            cancelled_at: None,
            revision: stamp.revision,
            ..asked.clone()
        };
        let closes = if window.no_placement { ", without placement" } else { "" };
        let text = format!(
            "{id} of {} is planned from {} to {}{closes} ({})",
            window.subject(),
            window.starts_at.utc(),
            window.ends_at.utc(),
            window.reason
        );
        self.ledger.note(about(&window, stamp, "maintenance.planned", text));
        self.windows.insert(id, window);
        self.trim_windows();
        Ok(Receipt { window: Some(id), ..Receipt::default() })
    }

    fn check_window(&self, asked: &Window, stamp: &Stamp<'_>) -> Result<(), Refusal> {
        let now = stamp.envelope.at;
        let bad = |what: &str| Err(Refusal::new(Code::BadValue, what));
        if asked.reason.is_empty() {
            return bad("a maintenance window needs a reason");
        }
        if asked.starts_at < now {
            let refusal = Refusal::new(Code::BadValue, "a maintenance window can't begin in the past");
            return Err(refusal.because(format!(
                "it would begin at {}; it is {}",
                asked.starts_at.utc(),
                now.utc()
            )));
        }
        if asked.ends_at <= asked.starts_at {
            return bad("a maintenance window must end after it begins");
        }
        if asked.ends_at.ms_since(asked.starts_at) > Window::LONGEST_MS {
            return bad("a maintenance window lasts at most 31 days");
        }
        if asked.starts_at.ms_since(now) > Window::FARTHEST_MS {
            return bad("a maintenance window begins within 366 days");
        }
        let same = |window: &&Window| (&window.region, &window.host) == (&asked.region, &asked.host);
        let open = || self.windows.values().filter(|window| window.is_open());
        if let Some(other) = open().filter(same).find(|window| window.overlaps(asked)) {
            let what = format!("{} overlaps {} of the same subject", asked.subject(), other.id);
            let times = format!("{} is from {} to {}", other.id, other.starts_at.utc(), other.ends_at.utc());
            return Err(Refusal::new(Code::WrongState, what)
                .because(times)
                .try_this(format!("dwcp-cli maintenance cancel --id {}", other.id)));
        }
        if open().count() >= Self::WINDOWS_OPEN {
            return Err(Refusal::new(
                Code::WrongState,
                format!("{} maintenance windows are open; no more are kept", Self::WINDOWS_OPEN),
            )
            .try_this("dwcp-cli maintenance list"));
        }
        Ok(())
    }

    /// What was told, once: what was told already, or is not due, changes nothing.
    pub(crate) fn note_window(
        &mut self,
        id: WindowId,
        notice: Notice,
        host_is_open: bool,
        stamp: &Stamp<'_>,
    ) -> Applied {
        let window = self.windows.get(&id).ok_or_else(|| unknown_window(id))?;
        if window.due(stamp.envelope.at) != Some(notice) {
            return Ok(Receipt { window: Some(id), ..Receipt::default() });
        }
        let (subject, reason) = (window.subject(), window.reason.clone());
        let (kind, mut text) = match notice {
            Notice::Planned | Notice::Week => (
                "maintenance.week_before",
                format!("{id} of {subject} begins in 7 days, at {}", window.starts_at.utc()),
            ),
            Notice::Day => (
                "maintenance.day_before",
                format!("{id} of {subject} begins in 24 hours, at {}", window.starts_at.utc()),
            ),
            Notice::Started => (
                "maintenance.started",
                format!("{id} of {subject} has begun; it ends at {}", window.ends_at.utc()),
            ),
            Notice::Ended => ("maintenance.ended", format!("{id} of {subject} is over")),
        };
        match notice {
            Notice::Started => text.push_str(self.close_for(id, host_is_open, stamp)),
            Notice::Ended => text.push_str(self.open_after(id, stamp)),
            _ => {}
        }
        let Some(window) = self.windows.get_mut(&id) else { return Err(unknown_window(id)) };
        window.said = notice;
        let event = about(window, stamp, kind, format!("{text} ({reason})"));
        self.ledger.note(event);
        Ok(Receipt { window: Some(id), ..Receipt::default() })
    }

    /// Stops placement where the window asks for it; a host's own group does it there, when it is open.
    fn close_for(&mut self, id: WindowId, host_is_open: bool, stamp: &Stamp<'_>) -> &'static str {
        let Some(window) = self.windows.get_mut(&id).filter(|window| window.no_placement) else { return "" };
        if window.host.is_some() {
            window.closed = host_is_open;
            return if host_is_open { "; placement stops" } else { "; placement was off" };
        }
        let Some(region) = self.regions.get_mut(&window.region) else { return "" };
        if !region.placement {
            return "; placement was off";
        }
        window.closed = true;
        region.placement = false;
        region.placement_by = id.to_string();
        region.placement_since = stamp.envelope.at;
        region.placement_reason.clone_from(&window.reason);
        region.revision = stamp.revision;
        "; placement stops"
    }

    /// Gives placement back that the window stopped, unless somebody has switched it since.
    fn open_after(&mut self, id: WindowId, stamp: &Stamp<'_>) -> &'static str {
        let Some(window) = self.windows.get_mut(&id).filter(|window| window.closed) else { return "" };
        if window.host.is_some() {
            // Its own group does it, and then this is settled.
            return "; placement comes back";
        }
        window.closed = false;
        let Some(region) = self.regions.get_mut(&window.region) else { return "" };
        if region.placement || region.placement_by != id.to_string() {
            return "; placement was switched by others meanwhile and stays as it is";
        }
        region.placement = true;
        region.placement_since = stamp.envelope.at;
        region.placement_reason = format!("{id} is over");
        region.revision = stamp.revision;
        "; placement comes back"
    }

    /// A host's group has opened it again.
    pub(crate) fn settle_window(&mut self, id: WindowId) -> Applied {
        let window = self.windows.get_mut(&id).ok_or_else(|| unknown_window(id))?;
        if window.host.is_some() && !window.is_open() {
            window.closed = false;
        }
        Ok(Receipt { window: Some(id), ..Receipt::default() })
    }

    pub(crate) fn cancel_window(&mut self, id: WindowId, stamp: &Stamp<'_>) -> Applied {
        let window = self.windows.get(&id).ok_or_else(|| unknown_window(id))?;
        if let Some(at) = window.cancelled_at {
            return Err(Refusal::new(Code::WrongState, format!("{id} was called off at {}", at.utc())));
        }
        if !window.is_open() || window.ends_at <= stamp.envelope.at {
            return Err(Refusal::new(
                Code::WrongState,
                format!("{id} is over since {}", window.ends_at.utc()),
            ));
        }
        let state = if window.runs() { "running" } else { "planned" };
        let placement = self.open_after(id, stamp);
        let Some(window) = self.windows.get_mut(&id) else { return Err(unknown_window(id)) };
        window.cancelled_at = Some(stamp.envelope.at);
        window.revision = stamp.revision;
        let text = format!("{id} of {} is called off{placement}{}", window.subject(), stamp.because());
        let event = about(window, stamp, "maintenance.cancelled", text).changing(state, "cancelled");
        self.ledger.note(event);
        Ok(Receipt { window: Some(id), ..Receipt::default() })
    }

    /// Forgets the oldest that are over and owe nothing.
    fn trim_windows(&mut self) {
        while self.windows.len() > Self::WINDOWS_KEPT {
            let settled = |window: &&Window| !window.is_open() && !window.closed;
            let Some(oldest) = self.windows.values().find(settled).map(|window| window.id) else { return };
            self.windows.remove(&oldest);
        }
    }
}

/// An event of the region that the window is in.
fn about(window: &Window, stamp: &Stamp<'_>, kind: &str, text: String) -> Event {
    stamp.event(Severity::Info, kind, &window.region, text)
}

pub(crate) fn unknown_window(id: WindowId) -> Refusal {
    Refusal::new(Code::UnknownWindow, format!("no maintenance window {id}"))
        .try_this("dwcp-cli maintenance list")
}
