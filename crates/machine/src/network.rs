//! What the machine's interfaces carry, and of how much that is (sysfs, `/sys/class/net`).

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use dwcp_roles::protocol::{LONGEST_NAME, MOST_DEVICES, NetworkFigures};

/// Remembers what was carried at the last look.
#[derive(Debug)]
pub struct Meter {
    folder: PathBuf,
    /// Those that count; empty: those with a device behind them, and where there is none of those all but the loopback.
    interfaces: Vec<String>,
    /// What they can carry each way, Mbit/s; none: as the kernel says.
    mbps: Option<u64>,
    last: Option<(Instant, u64, u64)>,
}

/// What was found at a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub interfaces: Vec<NetworkFigures>,
    /// Since the last look, of what they can, in hundredths of a percent: the busier direction.
    pub basis_points: Option<u64>,
    pub mbps: Option<u64>,
}

impl Meter {
    /// Counts these interfaces, which carry so many Mbit/s together each way.
    pub fn new(interfaces: Vec<String>, mbps: Option<u64>) -> Meter {
        Meter { folder: "/sys/class/net".into(), interfaces, mbps, last: None }
    }

    /// What they carried.
    pub fn measure(&mut self, now: Instant) -> Carried {
        let names = self.counted();
        let interfaces: Vec<NetworkFigures> = names.iter().filter_map(|name| self.figures(name)).collect();
        let mbps =
            self.mbps.or_else(|| names.iter().map(|name| self.speed(name)).sum()).filter(|mbps| *mbps > 0);
        let received = interfaces.iter().map(|one| one.received_bytes).sum();
        let sent = interfaces.iter().map(|one| one.sent_bytes).sum();
        let before = self.last.replace((now, received, sent));
        let basis_points = before.zip(mbps).and_then(|((at, received_before, sent_before), mbps)| {
            // An interface that went takes its bytes with it.
            let most = received.checked_sub(received_before)?.max(sent.checked_sub(sent_before)?);
            let us = now.duration_since(at).as_micros();
            // 8 bits of a byte, over Mbit/s, which are bits/µs.
            (u128::from(most) * 8 * 10_000)
                .checked_div(us * u128::from(mbps))
                .map(|points| points.min(10_000) as u64)
        });
        Carried { interfaces, basis_points, mbps }
    }

    fn counted(&self) -> Vec<String> {
        if !self.interfaces.is_empty() {
            return self.interfaces.iter().take(MOST_DEVICES).cloned().collect();
        }
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name != "lo" && name.len() <= LONGEST_NAME)
            .collect();
        all.sort();
        let real = |name: &String| self.folder.join(name).join("device").exists();
        if all.iter().any(real) {
            all.retain(real);
        }
        all.truncate(MOST_DEVICES);
        all
    }

    /// None: the kernel does not know it, as with virtual ones.
    fn speed(&self, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(name).join("speed")).ok()?;
        text.trim().parse().ok()
    }

    fn figures(&self, name: &str) -> Option<NetworkFigures> {
        figures_in(&self.folder.join(name), name)
    }
}

/// What an interface carried; none: there is no such one.
pub fn interface(name: &str) -> Option<NetworkFigures> {
    figures_in(&PathBuf::from("/sys/class/net").join(name), name)
}

fn figures_in(folder: &std::path::Path, name: &str) -> Option<NetworkFigures> {
    let count = |file: &str| {
        fs::read_to_string(folder.join("statistics").join(file)).ok()?.trim().parse::<u64>().ok()
    };
    Some(NetworkFigures {
        name: name.to_owned(),
        received_bytes: count("rx_bytes")?,
        received_packets: count("rx_packets")?,
        received_errors: count("rx_errors")?,
        received_dropped: count("rx_dropped")?,
        sent_bytes: count("tx_bytes")?,
        sent_packets: count("tx_packets")?,
        sent_errors: count("tx_errors")?,
        sent_dropped: count("tx_dropped")?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn put(folder: &Path, name: &str, speed: &str, (received, sent): (u64, u64)) {
        let statistics = folder.join(name).join("statistics");
        fs::create_dir_all(&statistics).unwrap();
        fs::write(folder.join(name).join("speed"), speed).unwrap();
        for kind in ["packets", "errors", "dropped"] {
            fs::write(statistics.join(format!("rx_{kind}")), "1\n").unwrap();
            fs::write(statistics.join(format!("tx_{kind}")), "2\n").unwrap();
        }
        fs::write(statistics.join("rx_bytes"), format!("{received}\n")).unwrap();
        fs::write(statistics.join("tx_bytes"), format!("{sent}\n")).unwrap();
    }

    #[test]
    fn the_busier_direction_counts_of_what_the_interfaces_can_carry() {
        let folder = std::env::temp_dir().join(format!("dwcp-networks-{}", std::process::id()));
        put(&folder, "eth0", "100\n", (0, 0));
        put(&folder, "lo", "-1\n", (9, 9));
        put(&folder, "tap7", "10\n", (5, 5));
        fs::create_dir_all(folder.join("eth0/device")).unwrap();
        let mut meter = Meter { folder: folder.clone(), ..Meter::new(vec![], None) };
        let began = Instant::now();
        let first = meter.measure(began);
        assert_eq!((first.interfaces.len(), first.mbps, first.basis_points), (1, Some(100), None));
        put(&folder, "eth0", "100\n", (1_250_000, 6_250_000));
        // 50 Mbit in a second.
        let second = meter.measure(began + Duration::from_secs(1));
        assert_eq!(second.basis_points, Some(5_000));
        assert_eq!((second.interfaces[0].received_packets, second.interfaces[0].sent_packets), (1, 2));
        put(&folder, "eth0", "-1\n", (1_250_001, 0));
        let third = meter.measure(began + Duration::from_secs(2));
        assert_eq!((third.mbps, third.basis_points), (None, None), "not known is not 0");
        let mut told =
            Meter { folder: folder.clone(), ..Meter::new(vec!["lo".into(), "no".into()], Some(1)) };
        told.measure(began);
        put(&folder, "lo", "-1\n", (125_009, 9));
        let found = told.measure(began + Duration::from_secs(2));
        assert_eq!((found.interfaces.len(), found.mbps, found.basis_points), (1, Some(1), Some(5_000)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
