//! Lines of agents' logs, kept in the log of the region that they are linked to.

use std::time::Instant;

use dwcp_roles::protocol::{AgentLine, AgentLines, LineLevel};
use dwcp_telemetry::logs::{Entry, Level};

use super::{HostName, Hosts, held};
use crate::clock;

/// The component that these lines are of.
const COMPONENT: &str = "agent";
/// Lines that a host may send at once, and on and on in a second; what is more is counted and not kept: no host fills the log.
const AT_ONCE: f64 = 2_000.0;
const PER_SECOND: f64 = 20.0;
/// A line is no older than this, whatever the host's clock says, ms.
const OLDEST_MS: i64 = 24 * 3_600_000;

/// How many lines a host may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn full(now: Instant) -> Allowance {
        Allowance { left: AT_ONCE, at: now }
    }

    /// How many of so many lines may come now.
    fn take(&mut self, lines: usize, now: Instant) -> usize {
        let gained = now.duration_since(self.at).as_secs_f64() * PER_SECOND;
        *self = Allowance { left: (self.left + gained).min(AT_ONCE), at: now };
        let taken = lines.min(self.left as usize);
        self.left -= taken as f64;
        taken
    }
}

impl Hosts {
    pub(super) fn keep_lines(&self, session: u64, lines: AgentLines) {
        let (name, taken) = {
            let mut sessions = held(&self.inner.sessions);
            let Some(known) = sessions.get_mut(&session) else { return };
            (known.name.clone(), known.lines.take(lines.lines.len(), Instant::now()))
        };
        let too_many = lines.lines.len() - taken;
        if too_many > 0 {
            self.inner.instruments.left_out("rate", too_many as u64);
        }
        let (own, now_ms) = (self.inner.instruments.region(), clock::wall_ms());
        for line in lines.lines.into_iter().take(taken) {
            self.inner.log.keep(entry(line, &name, own, now_ms));
        }
    }
}

/// A line as the log has it.
fn entry(line: AgentLine, (region, host): &HostName, own: &str, now_ms: i64) -> Entry {
    let level = match line.level {
        LineLevel::Info => Level::Info,
        LineLevel::Warning => Level::Warning,
        LineLevel::Error => Level::Error,
    };
    let said = line.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let mut fields = vec![("host".to_owned(), host.clone())];
    if region != own {
        fields.push(("host_region".to_owned(), region.clone()));
    }
    Entry {
        at_ms: clock::ms(line.at_ms).clamp(now_ms - OLDEST_MS, now_ms),
        component: COMPONENT.into(),
        level,
        message: format!("host {host}: {}{said}", line.event),
        fields,
        ..Entry::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_host_sends_so_many_lines_and_then_so_many_a_second() {
        let began = Instant::now();
        let mut allowed = Allowance::full(began);
        assert_eq!(allowed.take(100, began), 100);
        assert_eq!(allowed.take(5_000, began), AT_ONCE as usize - 100);
        assert_eq!(allowed.take(100, began), 0);
        assert_eq!(allowed.take(100, began + Duration::from_secs(2)), 2 * PER_SECOND as usize);
        let later = began + Duration::from_secs(7_200);
        assert_eq!(allowed.take(9_000, later), AT_ONCE as usize, "no more than that");
    }

    #[test]
    fn a_line_names_its_host_and_no_clock_puts_it_where_nobody_looks() {
        let line = AgentLine {
            at_ms: u64::MAX,
            level: LineLevel::Warning,
            event: "link-down".into(),
            fields: vec![("region".into(), "eu".into())],
        };
        let now_ms = 1_800_000_000_000;
        let name = ("us".to_owned(), "h1".to_owned());
        let found = entry(line.clone(), &name, "us", now_ms);
        assert_eq!(found.message, "host h1: link-down region=eu");
        assert_eq!((found.at_ms, found.level, &*found.component), (now_ms, Level::Warning, "agent"));
        assert_eq!(found.fields, [("host".to_owned(), "h1".to_owned())]);
        let old = entry(AgentLine { at_ms: 5, ..line }, &name, "eu", now_ms);
        assert_eq!(old.at_ms, now_ms - OLDEST_MS);
        assert_eq!(old.fields.len(), 2, "linked to another region: {:?}", old.fields);
    }
}
