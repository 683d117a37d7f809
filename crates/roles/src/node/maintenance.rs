//! Maintenance windows: told when their time comes, placement stopped and given back. What is next follows from the facts, so
//! whoever comes to lead goes on, and nothing is told twice: the facts say what was told.

use dwcp_state::{Command, FEDERATION_GROUP, Host, Notice, Window};
use dwcp_types::{Code, GroupId, HostId, Refusal, WindowId};

use super::{Asked, Node};

/// What was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;

impl Node {
    fn host_of(&self, window: &Window) -> Option<&Host> {
        self.facts.regions.get(&window.region)?.hosts.get(window.host.as_ref()?)
    }

    /// Tells what is due, and notes which hosts are open again. For the leader of the federation's group.
    pub(super) fn keep_windows(&mut self) {
        let now = self.now.wall;
        let open = |window: &Window| self.host_of(window).is_some_and(|host| host.placement);
        let windows = self.facts.core.windows.values();
        let due: Vec<(WindowId, Notice, bool)> =
            windows.clone().filter_map(|window| Some((window.id, window.due(now)?, open(window)))).collect();
        // A host that is gone is not opened any more.
        let owes = |window: &&Window| window.host.is_some() && window.closed && !window.is_open();
        let done = |window: &&Window| self.host_of(window).is_none_or(|host| host.placement);
        let settled: Vec<WindowId> = windows.filter(owes).filter(done).map(|window| window.id).collect();
        for (id, notice, host_is_open) in due {
            if self.due(format!("tell {id} {notice:?}"), AGAIN_MS) {
                self.conclude(FEDERATION_GROUP, Command::NoteWindow((id, (notice, host_is_open))));
            }
        }
        for id in settled {
            if self.due(format!("settle {id}"), AGAIN_MS) {
                self.conclude(FEDERATION_GROUP, Command::SettleWindow(id));
            }
        }
    }

    /// Closes hosts for windows that run and opens them after. For the leader of a region's group. Each switch has a key of its
    /// own, so it is made once: who opens a host within a window keeps it open.
    pub(super) fn keep_windows_of(&mut self, group: GroupId) {
        if self.facts.core.windows.is_empty() {
            return;
        }
        let Some(region) = self.facts.region_of(group) else { return };
        let wanted = |window: &&Window| window.region == *region && window.closed && window.host.is_some();
        let switches: Vec<(WindowId, HostId, bool)> = self
            .facts
            .core
            .windows
            .values()
            .filter(wanted)
            .filter_map(|window| {
                let host = self.host_of(window)?;
                let on = !window.is_open();
                (window.runs() != on && host.placement != on).then(|| (window.id, host.facts.id.clone(), on))
            })
            .collect();
        for (id, host, on) in switches {
            let key = format!("{id}/{}", if on { "open" } else { "close" });
            if self.due(format!("switch {key}"), AGAIN_MS) {
                self.tell(group, key, Command::SetHostPlacement((host, on)));
            }
        }
    }

    /// Plans a window. Whether its host is there is looked at here: its facts are another group's.
    pub(super) fn schedule_window(&mut self, ticket: u64, asked: &Asked, window: Window) {
        if window.host.is_some() && self.host_of(&window).is_none() {
            let refusal = Refusal::new(Code::UnknownHost, format!("no host {}", window.subject()));
            self.refuse(ticket, refusal.try_this("dwcp-cli host list"));
            return;
        }
        self.ask_federation(ticket, asked, Command::ScheduleWindow(Box::new(window)));
    }
}
